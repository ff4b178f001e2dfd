"""Terms and policies in the document: the objects that their own readers take, field for field."""

from typing import Any

import pytest
from jsonschema_rs import Draft202012Validator

from gateway.accounts.terms import Terms, TermsWrong
from gateway.routing.policy import Policy, PolicyWrong
from tests.documented import openapi

SCHEMAS = openapi()["components"]["schemas"]
TERMS: dict[str, Any] = {
    "fees": {
        "basis_points": 60, "fixed_minor": 1, "minimum_minor": 10, "cap_minor": 5_000, "free_quota_minor": 100_000,
        "tiers": [{"from_volume_minor": 0, "basis_points": 60}, {"from_volume_minor": 1, "basis_points": 0}],
        "refund_fee": "kept",
    },
    "limits": {"minimum_minor": 1, "maximum_minor": 2, "day_minor": 0, "month_minor": 10**12, "day_count": 5},
    "methods": ["qr", "barcode"], "currencies": ["CNY", "JPY"],
    "windows": ["mon-fri 08:00-22:00", "sat,sun 10:00-24:00", "fri 22:00-02:00"],
    "maintenance": [{"from": "2026-11-24T02:00:00Z", "until": "2026-11-24T03:00:00+00:00", "note": "x"}],
    "regions": ["CN"],
    "share_basis_points": 5_000,
}  # fmt: skip
POLICY: dict[str, Any] = {
    "margin_bp": 200, "explore": {"fraction_bp": 0, "up_to_minor": {"CNY": 20_000}},
    "rules": [
        {
            "name": "large ones", "then": {"pin": "channel:unionpay"},
            "when": {
                "amount": {"from": 1, "below": 9}, "currency": ["CNY"], "method": ["qr"], "payer_region": ["HK"],
                "metadata": {"shop": {"in": ["7"]}, "till": "1"}, "time": "09:00-17:00", "weekday": ["mon"],
            },
        },
        {"then": {"only": ["main"]}}, {"then": {"exclude": ["main"]}}, {"then": {"prefer": {"main": 70, "spare": 30}}},
    ],
}  # fmt: skip
READERS = [("TermsIn", TERMS, Terms.of, TermsWrong), ("PolicyIn", POLICY, Policy.of, PolicyWrong)]


def faults(name: str, value: Any) -> list[str]:
    validator = Draft202012Validator({"$ref": f"#/components/schemas/{name}", "components": {"schemas": SCHEMAS}})
    return [error.message for error in validator.iter_errors(value)]


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return where in a value there are objects, the value itself among them."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    here = [at] if isinstance(value, dict) else []
    return here + [place for key, one in inside for place in places(one, (*at, key))]


def with_another_field(value: Any, at: tuple[Any, ...]) -> Any:
    if not at:
        return {**value, "another": 1}
    changed = dict(value) if isinstance(value, dict) else list(value)
    changed[at[0]] = with_another_field(value[at[0]], at[1:])
    return changed


@pytest.mark.parametrize(("name", "whole", "read", "wrong"), READERS)
def test_an_object_with_every_field_is_of_the_documents_form_and_is_read(
    name: str, whole: Any, read: Any, wrong: Any
) -> None:
    assert faults(name, whole) == []
    read(whole)
    text = str(whole)
    named, left = set(), {name}
    while left:
        schema = SCHEMAS[one := left.pop()]
        named.add(one)
        assert [field for field in schema.get("properties", ()) if f"'{field}'" not in text] == [], one
        found = str(schema)
        left |= {other for other in SCHEMAS if other.endswith("In") and f"schemas/{other}'" in found} - named


@pytest.mark.parametrize(("name", "whole", "read", "wrong"), READERS)
def test_a_field_that_is_none_is_refused_by_the_document_and_by_the_reader(
    name: str, whole: Any, read: Any, wrong: Any
) -> None:
    free = ("metadata", "prefer", "up_to_minor")  # whose names are the merchant's
    for place in [place for place in places(whole) if not (place and place[-1] in free)]:
        changed = with_another_field(whole, place)
        assert faults(name, changed) != [], place
        with pytest.raises(wrong):
            read(changed)


def with_null(value: Any, at: tuple[Any, ...]) -> Any:
    if not at:
        return None
    changed = dict(value) if isinstance(value, dict) else list(value)
    changed[at[0]] = with_null(value[at[0]], at[1:])
    return changed


def fields(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return where in a value each field and each item is."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, one in inside for place in ((*at, key), *fields(one, (*at, key)))]


@pytest.mark.parametrize(("name", "whole", "read", "wrong"), READERS)
def test_no_null_is_read_where_the_document_has_none(name: str, whole: Any, read: Any, wrong: Any) -> None:
    read_all_the_same = []
    for place in fields(whole):
        changed = with_null(whole, place)
        try:
            read(changed)
        except wrong:
            continue
        if faults(name, changed):
            read_all_the_same.append(place)
    assert read_all_the_same == []
