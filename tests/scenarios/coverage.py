"""What the plays show: posting rules, ends of objects, cases, and decisions that something follows from. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, TypeVar

from cases import KINDS
from ledger.rules import RULES
from ops.cases import EFFECTS
from ops.money_states import MEANING
from tests.scenarios.reader import Play, states_of
from tests.scenarios.stage import understand

K = TypeVar("K")

# Where an object is still under way. Every other state is an end, and so is one that is added and not listed here.
UNDER_WAY: Mapping[str, frozenset[str]] = {
    "payment": frozenset({"processing", "requires_action", "requires_capture"}),
    "attempt": frozenset({"created", "pending", "unknown", "authorized"}),
    "refund": frozenset({"processing"}),
    "chargeback": frozenset({"opened"}),
    "split": frozenset({"planned"}),
    "hold": frozenset({"held"}),
    "instruction": frozenset({"in_transit"}),
    "batch": frozenset({"draft", "awaiting_release", "created", "refused", "cancelled", "sent"}),
    "share_order": frozenset({"planned", "sent"}),
    "share_return": frozenset({"waiting", "sent"}),
    "withdrawal": frozenset({"requested", "stopped", "sent"}),
    "recall": frozenset({"requested", "sent", "pending"}),
    "case": frozenset({"open"}),
    "discrepancy": frozenset({"open", "explained", "suspended"}),
}

# Ends that the tables of states have and nothing of the hub leads to yet: why no play shows them.
NOT_REACHED: Mapping[tuple[str, str], str] = {
    ("hold", "expired"): "no posting of the hub's gives its hold a time at which it ends",
    ("discrepancy", "adjusted"): "there are no remedies for discrepancies yet",
    ("discrepancy", "written_off"): "there are no remedies for discrepancies yet",
}


class Place(NamedTuple):
    """A line of a play."""

    play: str  # the file's name without its ending
    number: int


def rules_shown(plays: Iterable[Play]) -> dict[str, list[Place]]:
    """Return for each posting rule where each play shows it first; the plainest play first."""
    return _first(
        (posting.rule, Place(play.path.stem, posting.number))
        for play in _plainest_first(plays)
        for step in play.steps
        for posting in step.postings
    )


def states_shown(plays: Iterable[Play]) -> dict[tuple[str, str], list[Place]]:
    """Return the same for each object and state."""
    return _first(
        ((claim.object, claim.state), Place(play.path.stem, claim.number))
        for play in _plainest_first(plays)
        for step in play.steps
        for claim in step.claims
    )


def cases_shown(plays: Iterable[Play]) -> dict[str, list[Place]]:
    """Return the same for each kind of case."""
    return _first(
        (claim.name.partition(" of ")[0], Place(play.path.stem, claim.number))
        for play in _plainest_first(plays)
        for step in play.steps
        for claim in step.claims
        if claim.object == "case"
    )


def decisions_shown(plays: Iterable[Play]) -> dict[tuple[str, str], list[Place]]:
    """Return the same for each kind of case and decision."""
    return _first(
        ((said["case"], said["decision"]), Place(play.path.stem, step.number))
        for play in _plainest_first(plays)
        for step in play.steps
        if not step.is_standing and "decision" in (said := understand(step.text).values)
    )


def _plainest_first(plays: Iterable[Play]) -> list[Play]:
    """Return plays by how little else is in them."""
    return sorted(plays, key=lambda play: (len(play.steps), sum(len(step.postings) for step in play.steps)))


def _first(found: Iterator[tuple[K, Place]]) -> dict[K, list[Place]]:
    places: dict[K, list[Place]] = {}
    for key, place in found:
        there = places.setdefault(key, [])
        if all(one.play != place.play for one in there):
            there.append(place)
    return places


def ends() -> list[tuple[str, str]]:
    """Return every end there is, as object and state."""
    return [
        (name, state) for name in MEANING for state in sorted(states_of(name)) if state not in UNDER_WAY.get(name, ())
    ]


def missing(plays: list[Play]) -> list[str]:
    """Return what no play shows, and what is said to be shown by none and is; empty when all is well."""
    rules, states, decisions, kinds = (
        shown(plays) for shown in (rules_shown, states_shown, decisions_shown, cases_shown)
    )
    reached = [end for end in NOT_REACHED if end in states]
    return [
        *(f"posting rule {rule}: no play shows it" for rule in RULES if rule not in rules),
        *(f"{' '.join(end)}: no play ends so" for end in ends() if end not in states and end not in NOT_REACHED),
        *(f"{' '.join(end)}: a play ends so, and coverage.py says that none can" for end in reached),
        *(f"case {kind}: no play shows it" for kind in KINDS if kind not in kinds),
        *(f"case {kind}, {word}: no play shows it" for kind, word in EFFECTS if (kind, word) not in decisions),
    ]
