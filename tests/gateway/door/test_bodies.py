"""Whatever bytes a body is made of, it is either an order with one meaning or refused with a code of the page."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.api.payments import PaymentIn
from gateway.api.refunds import RefundIn
from gateway.door import responses
from kernel.errors import Rejected
from kernel.shapes import metadata_text, name_given_twice
from splitting.routes import PayeeIn
from tests.gateway.api.test_problems_page import CODES
from tests.gateway.front import an_order

MODELS = (PaymentIn, RefundIn, PayeeIn)
leaves = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.sampled_from(["CNY", "qr", "auto"])
)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = sorted({name for model in MODELS for name in model.model_fields} | {"type", "payee", "remainder", "status"})
bodies = st.one_of(
    st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=8), values, max_size=6),
    st.builds(lambda change: {**an_order(), **change}, st.dictionaries(st.sampled_from(FIELDS), values, max_size=2)),
)


def refusal_of(model: Any, raw: bytes) -> Rejected | None:
    """Read a body as the routes do; return why it is refused, None when it is taken."""
    try:
        model.model_validate_json(raw)
    except ValidationError as error:
        return responses.rejected(error, model)
    twice = name_given_twice(raw)
    return Rejected("duplicate_field", "twice", param=twice) if twice is not None else None


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(MODELS), st.one_of(st.binary(max_size=64), bodies.map(lambda body: json.dumps(body).encode())))
def test_any_body_is_taken_or_refused_with_a_code(model: Any, raw: bytes) -> None:
    refusal = refusal_of(model, raw)
    if refusal is None:
        assert isinstance(orjson.loads(raw), dict)
    else:
        assert refusal.code in CODES
        answer = responses.problem(refusal, "req_1")
        assert 400 <= answer.status < 500
        assert orjson.loads(bytes(answer.body))["code"] == refusal.code  # type: ignore[arg-type]


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=130), st.dictionaries(st.text(max_size=45), st.text(max_size=20), max_size=3))
def test_text_that_is_taken_is_shown_as_it_came_and_fits_the_database(words: str, metadata: dict[str, str]) -> None:
    raw = json.dumps(an_order(description=words, metadata=metadata)).encode()
    if refusal_of(PaymentIn, raw) is not None:
        return
    order = PaymentIn.model_validate_json(raw)
    assert order.description == words
    assert 1 <= len(words) <= 127
    assert not any(mark in "\n\r\t" for text in (words, *metadata) for mark in text), "lines are a value's alone"
    for text in (words, *metadata, *metadata.values()):
        text.encode()  # no lone surrogate
        assert not any((ord(mark) < 32 and mark not in "\n\r\t") or 0x7F <= ord(mark) < 0xA0 for mark in text)
    assert orjson.loads(metadata_text(order.metadata) or "{}") == metadata


@given(
    st.recursive(
        st.integers(0, 9),
        lambda inner: st.lists(st.tuples(st.sampled_from("abc"), inner), max_size=4),
        max_leaves=12,
    )
)
def test_a_name_is_found_twice_exactly_where_it_is_twice(tree: Any) -> None:
    def written(node: Any) -> str:
        if isinstance(node, list):
            return "{" + ",".join(f'"{name}":{written(value)}' for name, value in node) + "}"
        return str(node)

    def twice(node: Any) -> bool:
        if not isinstance(node, list):
            return False
        names = [name for name, _ in node]
        return len(set(names)) < len(names) or any(twice(value) for _, value in node)

    assert (name_given_twice(written(tree).encode()) is not None) == twice(tree)


@pytest.mark.parametrize("raw", [b"", b" ", b"\xef\xbb\xbf{}", b"{", b"[" * 100_000, b'{"a":' * 100_000, b"1" * 5_000])
def test_a_body_nobody_can_read_is_refused_by_every_model(raw: bytes) -> None:
    for model in MODELS:
        refusal = refusal_of(model, raw)
        assert refusal is not None
        assert refusal.code == "malformed_json"


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        (b'{"a":1,"a":2}', "a"),
        (b'{"a" :1, "a"\n:2}', "a"),
        (b'{"a":1,"\\u0061":2}', "a"),
        (b'{"x":"A",":n":1,":n":2}', ":n"),
        (b'{"x":[{"a":1},{"a":2}]}', None),
        (b'{"x":"\\"a\\":","a":1}', None),
        (b'{"x":"a:","a":"x"}', None),
    ],
)
def test_a_name_given_twice_is_seen_however_it_is_written(raw: bytes, name: str | None) -> None:
    assert name_given_twice(raw) == name
