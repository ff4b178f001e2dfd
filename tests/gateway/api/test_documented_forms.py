"""What the document says of a text, an address, a code: whatever is of that form, the door takes."""

import contextlib
import re
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy
from pydantic import TypeAdapter, ValidationError

from gateway.api.methods import MethodIn
from gateway.door.calls import idempotency_key
from kernel.addresses import SHOWN_PATTERN
from kernel.cards import luhn
from kernel.errors import Rejected
from kernel.money import CURRENCIES, is_currency
from kernel.shapes import Address, MetadataValue, Text, shown
from ops.openapi import records
from tests.documented import answer_faults, openapi, unseen
from tests.gateway.api.test_kind_to_people import NOT_TAKEN, TAKEN

SCHEMAS = openapi()["components"]["schemas"]
KEY = next(
    parameter["schema"]
    for parameter in openapi()["paths"]["/v1/payments"]["post"]["parameters"]
    if parameter["name"] == "Idempotency-Key"
)
METHOD: TypeAdapter[Any] = TypeAdapter(MethodIn)
TEXT = re.compile(TypeAdapter(Text).json_schema()["pattern"])
LINES = re.compile(TypeAdapter(MetadataValue).json_schema()["pattern"])
MARKS = "\u200c\u200d\u200b\u202e\u00ad\u2028\x7f\x85\n\t é茶😀a \U0001f3f4\U000e0067\U000e007f"


def is_taken(adapter: TypeAdapter[Any], value: Any) -> bool:
    try:
        adapter.validate_python(value)
    except ValidationError:
        return False
    return True


@given(st.text() | st.text(alphabet=MARKS))
def test_a_text_has_the_documents_pattern_exactly_where_all_of_it_is_shown(words: str) -> None:
    try:
        shown(words)
    except ValueError:
        assert not TEXT.fullmatch(words)
    else:
        assert TEXT.fullmatch(words)
    if LINES.fullmatch(words):
        assert is_taken(TypeAdapter(MetadataValue), words)


def test_words_with_joiners_have_the_pattern_and_what_hides_has_not() -> None:
    assert [words for words in TAKEN if not TEXT.fullmatch(words)] == []
    assert [words for words in NOT_TAKEN if TEXT.fullmatch(words)] == []


@given(st.from_regex(SHOWN_PATTERN, fullmatch=True).filter(lambda address: len(address) <= 512))
@example("https://shop.example/thanks?order=1#top")
@example("http://127.0.0.1:65535/")
def test_an_address_of_the_documents_pattern_is_taken(address: str) -> None:
    assert is_taken(TypeAdapter(Address), address), address


@pytest.mark.parametrize(
    "address",
    ["https://me:word@shop.example/", "https://shop.example:0/", "https://300.1.1.1/", "https:///x", "ftp://x/"],
)
def test_an_address_that_is_refused_has_not_the_pattern(address: str) -> None:
    assert not is_taken(TypeAdapter(Address), address)
    assert not re.search(SHOWN_PATTERN, address)


def test_an_address_need_not_be_a_uri() -> None:
    """RFC 3986 has no | in an address; browsers do, and so does the door."""
    assert re.search(SHOWN_PATTERN, "https://shop.example/a|b")
    assert is_taken(TypeAdapter(Address), "https://shop.example/a|b")
    assert "format" not in TypeAdapter(Address).json_schema()


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        ("payment.created", True), ("payment.created,refund.failed", True), ("payment.created,", False), ("", False),
        ("payment", False), ("paymentxcreated", False), ("payment.created,·", False),
    ],
)  # fmt: skip
def test_types_of_events_are_taken_as_the_document_says(text: str, taken: bool) -> None:
    route = next(route for route in records() if route.name == "list_events")
    types = next(one for one in route.query or () if one.name == "type")
    assert bool(re.search(types.schema["pattern"], text)) == taken
    with contextlib.nullcontext() if taken else pytest.raises(Rejected):
        types.read(text)


@given(st.from_regex(SCHEMAS["MethodBarcodeIn"]["properties"]["auth_code"]["pattern"], fullmatch=True))
@example(next(f"62{n:017}" for n in range(10) if luhn(f"62{n:017}")))
def test_a_payers_code_of_the_documents_pattern_is_taken_though_it_may_look_like_a_card(code: str) -> None:
    if code.isascii():
        assert METHOD.validate_python({"type": "barcode", "auth_code": code}).auth_code == code


@given(st.from_regex(KEY["pattern"], fullmatch=True))
@example("sk_0123456789abcdef")
@example("-rk_0123456789abcdef")
@example("pk_0123456789abcdef")
@example("pk_live_0123456789abcdef")  # a publishable key is no secret
@example("kwsk_0123456789abcdef")  # in a word it is none
def test_an_idempotency_key_of_the_documents_form_is_taken(key: str) -> None:
    if key.endswith("\n"):  # Python's $ stands before a last line end, too; JSON Schema's does not
        return
    headers = CIMultiDictProxy(CIMultiDict({"Idempotency-Key": key}))
    if re.search(KEY["not"]["pattern"], key):
        with pytest.raises(Rejected):
            idempotency_key(headers)
    else:
        assert idempotency_key(headers) == key


def test_the_currencies_of_the_document_are_those_that_are_known() -> None:
    assert SCHEMAS["Currency"]["enum"] == list(CURRENCIES)
    assert {"CNY", "JPY", "KWD"} < set(CURRENCIES)
    assert not {"XXX", "XAU", "cny", ""} & set(CURRENCIES)
    assert all(is_currency(code) for code in CURRENCIES)


def test_each_way_to_pay_has_a_schema_of_its_own_that_its_type_chooses() -> None:
    method = SCHEMAS["PaymentIn"]["properties"]["method"]
    chosen = method["discriminator"]["mapping"]
    assert sorted(chosen.values()) == sorted(one["$ref"] for one in method["oneOf"])
    needed = {kind: SCHEMAS[ref.rpartition("/")[2]]["required"] for kind, ref in chosen.items()}
    assert {kind: names[1:] for kind, names in needed.items() if len(names) > 1} == {
        "barcode": ["auth_code"], "jsapi": ["payer"], "h5": ["client_ip"], "app": ["channel"], "card": ["token"],
    }  # fmt: skip


# ---- that an answer is held to the document --------------------------------------------------------------------------

PLACE = "/v1/payments/pay_" + "0" * 26
HEADERS = {"Content-Type": "application/problem+json", "X-Request-Id": "req_1"}


def a_problem(code: str, status: int) -> bytes:
    return orjson.dumps(
        {
            "type": f"https://sluice.invalid/problems/{code}", "title": "x", "status": status, "code": code,
            "detail": "x", "retriable": False, "request_id": "req_1",
        }
    )  # fmt: skip


def test_a_problem_that_an_operation_does_not_name_is_a_fault() -> None:
    assert answer_faults("GET", PLACE, 404, HEADERS, a_problem("no_such_payment", 404)) == []
    for code in ("no_such_route", "no_such_refund"):
        assert answer_faults("GET", PLACE, 404, HEADERS, a_problem(code, 404))
    assert answer_faults("GET", "/v1/nothing", 404, HEADERS, a_problem("no_such_route", 404)) == []
    assert answer_faults("GET", "/v1/nothing", 404, HEADERS, a_problem("no_such_payment", 404))
    assert answer_faults("PUT", PLACE, 405, HEADERS, a_problem("method_not_allowed", 405)) == []
    assert answer_faults("PUT", PLACE, 404, HEADERS, a_problem("no_such_route", 404))


def test_a_banks_own_code_may_follow_the_beginning_that_is_named() -> None:
    assert answer_faults("POST", "/v1/payees", 422, HEADERS, a_problem("bank_name_too_long", 422)) == []
    assert answer_faults("POST", "/v1/refunds/x/retry", 422, HEADERS, a_problem("bank_name_too_long", 422))


def test_a_problem_that_no_test_was_answered_is_listed_for_the_operation_that_names_it() -> None:
    none = unseen([])
    assert "close_payment payment_ended" in none
    assert "any operation key_missing" in none
    some = unseen(["close_payment payment_ended", "list_events key_missing", "create_payee bank_name_too_long"])
    assert set(none) - set(some) == {
        "close_payment payment_ended", "any operation key_missing", "create_payee bank_…",
    }  # fmt: skip
