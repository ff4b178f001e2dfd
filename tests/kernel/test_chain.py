"""The hash chain: whatever is changed in whatever record, the first record that does not follow is found."""

import random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from kernel.chain import GENESIS, first_broken, follows, link, linked

Field = str | int
Rows = list[tuple[int, bytes, tuple[Field, ...]]]

PARTED = "\x1f"  # what stands between two fields
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=PARTED), max_size=8)
records = st.lists(st.tuples(texts, st.integers(), texts), min_size=1, max_size=12)


def chained(fields: list[tuple[Field, ...]]) -> Rows:
    rows: Rows = []
    previous = GENESIS
    for number, those in enumerate(fields, 1):
        previous = link(previous, *those)
        rows.append((number, previous, those))
    return rows


@given(records)
def test_an_untouched_chain_holds(fields: list[tuple[Field, ...]]) -> None:
    assert first_broken(chained(fields)) is None


several = st.lists(texts, min_size=1, max_size=4)


@given(several, several, st.binary(min_size=32, max_size=32))
def test_different_fields_have_different_hashes_however_they_are_cut(
    one: list[str], other: list[str], before: bytes
) -> None:
    assume(one != other)
    assert link(before, *one) != link(before, *other)


@given(several, st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_the_same_record_after_another_one_has_another_hash(fields: list[str], one: bytes, other: bytes) -> None:
    assume(one != other)
    assert link(one, *fields) != link(other, *fields)


def test_a_field_that_could_pass_for_two_is_refused_and_never_follows() -> None:
    with pytest.raises(ValueError, match="separator"):
        link(GENESIS, f"a{PARTED}b")
    assert follows(link(GENESIS, "a", "b"), GENESIS, "a", "b")
    assert not follows(link(GENESIS, "a", "b"), GENESIS, f"a{PARTED}b")
    assert first_broken([(1, link(GENESIS, "a", "b"), (f"a{PARTED}b",))]) == 1


def test_fields_joined_by_their_caller_have_the_hash_they_have_apart_and_are_counted() -> None:
    assert linked(GENESIS, f"a{PARTED}7{PARTED}", 3) == link(GENESIS, "a", 7, "")
    for wrong in (2, 4):
        with pytest.raises(ValueError, match="separator"):
            linked(GENESIS, f"a{PARTED}7{PARTED}", wrong)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("ab", "c"), ("a", "bc")),
        (("a", ""), ("", "a")),
        (("a",), ("a", "")),
        (("1:a",), ("1", "a")),
        (("\u00e9",), ("e\u0301",)),  # the same letter, composed and not
        ((12, 3), (1, 23)),
        ((-1,), (1,)),
    ],
)
def test_a_byte_moved_between_neighbours_changes_the_hash(one: tuple[Field, ...], other: tuple[Field, ...]) -> None:
    assert link(GENESIS, *one) != link(GENESIS, *other)


def test_three_hundred_changes_of_a_single_byte_are_all_found_where_they_were_made() -> None:
    rng = random.Random(20261124)
    sound = chained(
        [(f"t{n}", n, f"merchant:{n % 7}:CNY", 10 * n, "2026-11-24T08:00:00.000000+00:00") for n in range(1, 60)]
    )
    for _ in range(300):
        rows = list(sound)
        place = rng.randrange(len(rows))
        number, stored, fields = rows[place]
        column = rng.randrange(-1, len(fields))
        if column < 0:
            byte = rng.randrange(32)
            stored = stored[:byte] + bytes([stored[byte] ^ (1 << rng.randrange(8))]) + stored[byte + 1 :]
        else:
            value = fields[column]
            new: Field
            if isinstance(value, int):
                new = value ^ (1 << rng.randrange(40))
            else:
                letter = rng.randrange(len(value))
                changed = chr(ord(value[letter]) ^ (1 << rng.randrange(7)))
                new = value[:letter] + changed + value[letter + 1 :]
            fields = (*fields[:column], new, *fields[column + 1 :])
        rows[place] = (number, stored, fields)
        assert first_broken(rows) == number


def test_records_left_out_repeated_or_in_another_order_are_found() -> None:
    sound = chained([(f"t{n}", n) for n in range(1, 11)])
    assert first_broken(sound[:4] + sound[5:]) == 5
    assert first_broken(sound[1:]) == 1
    assert first_broken(sound[:4] + sound[3:]) == 5
    assert first_broken([*sound[:4], sound[5], sound[4], *sound[6:]]) == 5
    renumbered = [(number + 1, stored, fields) for number, stored, fields in sound]
    assert first_broken(renumbered) == 1
    # One who leaves out the end must also change the head of the book, which the invariants compare.
    assert first_broken(sound[:4]) is None
    assert first_broken([]) is None


def test_a_forged_record_that_is_chained_itself_breaks_the_next_one() -> None:
    sound = chained([(f"t{n}", n) for n in range(1, 11)])
    forged = link(sound[3][1], "forged", 5)
    assert first_broken([*sound[:4], (5, forged, ("forged", 5)), *sound[5:]]) == 6
