"""Files that a bank gets wrong: which and when, what the hub must say of each, and what two people then do."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

# Each way, with the types of files and what the hub must call it; None: another file's bytes, which change nothing.
WAYS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...] | None]] = {
    "file_version": (("camt.054", "pain.002", "camt.053"), ("wrong_namespace",)),
    "file_totals": (("pain.002", "camt.054", "camt.053"), ("totals_differ", "count_differs")),
    "file_truncated": (("camt.053", "camt.054", "pain.002"), ("not_xml",)),
    "file_other_day": (("camt.053",), ("other_day",)),
    "file_odd_entry": (("camt.054",), ("bad_currency", "other_currency")),
    "file_doubled": (("camt.054", "pain.002", "camt.053"), None),
}
# The same of the direct link, which writes no files: what it answers is kept as such.
CMB_WAYS: Mapping[str, tuple[str, str]] = {"other_amount": ("cmb.batch", "amount_differs")}
SHARE = 0.02  # of the files of a bank
A_NIGHT = 10  # files, about


@dataclass(frozen=True, slots=True)
class Spoil:
    """One file to be spoiled: the first of its type that is of this date."""

    way: str
    type: str
    on: date


def drawn(dates: Sequence[date], nights: Sequence[date], paying: Sequence[date], seed: int) -> list[Spoil]:
    """Return what is spoiled: each way once, and more where that is less than the share of all files.

    dates: of which the bank has statements. nights: on which deposits arrive. paying: those of them on which it carries
    a batch out. Of one type and date at most one file is spoiled.
    """
    rng = random.Random(f"spoils {seed}")
    free = (
        [("pain.002", on) for on in paying] + [("camt.054", on) for on in nights] + [("camt.053", on) for on in dates]
    )
    found = []
    for way in _turns(rng, max(len(WAYS), round(SHARE * A_NIGHT * len(nights)))):
        # The first statement of all has no other day's before it.
        places = [one for one in free if one[0] in WAYS[way][0] and (way, one[1]) != ("file_other_day", dates[0])]
        if places:
            place = rng.choice(places)
            free.remove(place)
            found.append(Spoil(way, *place))
    return found


def _turns(rng: random.Random, count: int) -> Iterator[str]:
    """Yield ways, each before any comes again; those that fit few files first."""
    ways = sorted(WAYS, key=lambda way: len(WAYS[way][0]))
    for n in range(count):
        if n and n % len(ways) == 0:
            rng.shuffle(ways)
        yield ways[n % len(ways)]


def remedy(way: str, kind: str) -> str:
    """Return what two people do about a file: replace, release or discard."""
    if way == "file_odd_entry":
        return "discard"  # the bank says that the booking is not ours; the others were applied
    if way == "file_totals" and kind != "camt.053":
        return "release"  # the bank stands by the lines
    return "replace"
