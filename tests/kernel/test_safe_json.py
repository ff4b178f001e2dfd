"""JSON from outside: read like everybody does where everybody agrees, refused where two readers might not."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.safe_json import BadJson, loads, loads_object, text, whole

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc茶", max_size=4), inner, max_size=4),
)


@given(values, st.booleans())
def test_what_everybody_reads_alike_is_read(value: Any, escaped: bool) -> None:
    assert loads(json.dumps(value, ensure_ascii=escaped).encode()) == value


@given(st.binary(max_size=200))
def test_bytes_of_any_kind_are_read_or_refused_and_nothing_else(raw: bytes) -> None:
    try:
        read = loads(raw)
    except BadJson:
        return
    assert read == json.loads(raw)


REFUSED = {
    "nothing": b"",
    "blank": b"  ",
    "a mark": b"\xef\xbb\xbf{}",
    "two texts": b"{} {}",
    "a comment": b"{} // yes",
    "single quotes": b"{'a':1}",
    "a comma too many": b"[1,]",
    "a name twice": b'{"a":1,"a":1}',
    "a name twice inside": b'[{"b":{"a":1,"\\u0061":2}}]',
    "NaN": b"[NaN]",
    "Infinity": b"[-Infinity]",
    "more than any float": b"[1e400]",
    "less than any float": b"[-1e400]",
    "a very large exponent": b"[1e5000000]",
    "five thousand digits": b"[" + b"1" * 5000 + b"]",
    "underscores": b"[1_000]",
    "a leading zero": b"[01]",
    "wide digits": "[１２]".encode(),
    "latin": b'["\xe9"]',
    "a surrogate alone": b'["\\ud800"]',
    "NUL": b'["\\u0000"]',
    "NUL in a name": b'{"a":[{"\\u0000":1}]}',
    "NUL itself": b'["\0"]',
    "a line end inside a text": b'["\n"]',
    "a hundred thousand lists": b"[" * 100_000 + b"]" * 100_000,
    "a hundred thousand objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "UTF-16": '{"a":1}'.encode("utf-16"),
    "too long": b'"' + b"x" * (1 << 20) + b'"',
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_two_readers_could_read_differently_is_refused(what: str) -> None:
    with pytest.raises(BadJson):
        loads(REFUSED[what])


def test_what_looks_like_an_escaped_nul_and_is_none_is_read() -> None:
    assert loads(b'["\\\\u0000"]') == ["\\u0000"]


def test_the_limit_of_length_is_the_callers() -> None:
    assert loads(b"[1,2]", max_bytes=5) == [1, 2]
    with pytest.raises(BadJson):
        loads(b"[1,2]", max_bytes=4)


def test_an_object_is_asked_for_and_given() -> None:
    assert loads_object(b'{"a":1}') == {"a": 1}
    for raw in (b"[]", b"1", b'"a"', b"null"):
        with pytest.raises(BadJson):
            loads_object(raw)


@pytest.mark.parametrize("value", [True, 1.0, "1", None, [], float("inf")])
def test_a_whole_number_is_one_and_not_something_like_it(value: object) -> None:
    assert whole(7) == 7
    with pytest.raises(BadJson):
        whole(value)


@pytest.mark.parametrize("value", [1, None, b"a", ["a"]])
def test_a_text_is_one(value: object) -> None:
    assert text("茶") == "茶"
    with pytest.raises(BadJson):
        text(value)
