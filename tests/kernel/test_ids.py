"""Identifiers sort by time; references lead back to book and object, and nobody else's text is taken for one."""

import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kernel.ids import Ids, base36, is_id, parse_reference, reference

bodies = st.text("0123456789abcdef", min_size=26, max_size=26)
books_of_32_characters = st.integers(0, 36**4 - 1)
INT4_MAX = 2**31 - 1  # what a book's column holds


@given(st.lists(st.integers(0, 2**48 - 1), min_size=2, max_size=20), st.integers(0, 2**56 - 1))
def test_ids_sort_by_the_time_they_were_made(moments: list[int], bits: int) -> None:
    ticking = iter(moments)
    ids = Ids(lambda: next(ticking), lambda n: bits >> (56 - n))
    made = [(moment, ids.new("pay")) for moment in moments]
    assert [moment for moment, _ in sorted(made, key=lambda pair: pair[1])] == sorted(moments)
    assert all(is_id(ident, "pay") for _, ident in made)


def test_ids_of_one_moment_differ_by_chance() -> None:
    numbers = iter(range(1_000))
    ids = Ids(lambda: 1_764_000_000_000, lambda bits: next(numbers))
    assert len({ids.new("evt") for _ in range(1_000)}) == 1_000


@pytest.mark.parametrize(
    "text",
    [
        "",
        "pay",
        "pay_",
        "pay_" + "0" * 25,
        "pay_" + "0" * 27,
        "pay_" + "G" * 26,
        "pay_" + "A" * 26,
        "pay_" + "0" * 26 + "\n",
        "\npay_" + "0" * 26,
        "pay_" + "0" * 25 + "０",  # a full-width digit
        "pay_" + "0" * 25 + "\0",
        "re_" + "0" * 26,
        "PAY_" + "0" * 26,
        "pay_" + "0" * 26 + "_",
        "pay_" + "0" * 26 + "_00",
        "pay_" + "0" * 26 + "'; DROP TABLE payment; --",
    ],
)
def test_other_text_is_not_an_id(text: str) -> None:
    assert not is_id(text, "pay")


# -- references --------------------------------------------------------------------------------------------------------


@given(books_of_32_characters, bodies, st.none() | st.sampled_from(string.digits + string.ascii_lowercase))
@example(36**4 - 1, "f" * 26, "z")
@example(0, "0" * 26, None)
def test_a_reference_fits_every_rail_and_leads_back(book: int, body: str, attempt: str | None) -> None:
    ident = f"pay_{body}" + (f"_{attempt}" if attempt else "")
    text = reference(book, ident)
    assert 6 <= len(text) <= 32
    assert set(text) <= set(string.digits + string.ascii_lowercase + "-")
    assert parse_reference(text, "pay") == (book, ident)


@given(st.integers(0, INT4_MAX), bodies)
def test_a_reference_of_any_book_leads_back(book: int, body: str) -> None:
    assert parse_reference(reference(book, f"re_{body}"), "re") == (book, f"re_{body}")


@given(st.integers(0, INT4_MAX), st.integers(0, INT4_MAX), bodies, bodies)
def test_references_of_different_objects_differ(book: int, other: int, body: str, another: str) -> None:
    same = (book, body) == (other, another)
    assert (reference(book, f"pay_{body}") == reference(other, f"pay_{another}")) is same


@given(st.text(max_size=40))
@example("1-" + "0" * 26 + "\n")
@example("1-" + "0" * 26 + "_0")
@example("01-" + "0" * 26)  # the same book written otherwise
@example("000001-" + "0" * 26)
@example("zzzzzz-" + "0" * 26)  # no column holds such a book
@example("-" + "0" * 26)
@example("A-" + "0" * 26)
@example("１-" + "0" * 26)
@example("1-" + "0" * 25)
@example("1-" + "0" * 28)
@example("1-" + "0" * 25 + "g")
@example("1--" + "0" * 26)
@example("1-" + "0" * 26 + " ")
def test_only_what_we_made_is_parsed(text: str) -> None:
    parsed = parse_reference(text, "pay")
    if parsed is not None:
        assert reference(*parsed) == text
        assert parsed[0] <= INT4_MAX


@given(st.text("01az-_\n", max_size=3), bodies, st.text("0az_-\n", max_size=3))
def test_only_what_we_made_is_parsed_however_near_it_comes(start: str, body: str, end: str) -> None:
    test_only_what_we_made_is_parsed.hypothesis.inner_test(f"{start}-{body}{end}")  # type: ignore[attr-defined]


@given(st.integers(0, 10**30))
def test_base36_is_what_int_reads(number: int) -> None:
    written = base36(number)
    assert int(written, 36) == number
    assert written == written.lower()
    assert len(written) == 1 or written[0] != "0"
