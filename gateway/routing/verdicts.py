"""What an answer says of the rail that gave it: whether the rail did its part. The payer's part is not judged here."""

from collections.abc import Mapping
from enum import StrEnum


class Verdict(StrEnum):
    """How a rail did with one attempt."""

    WORKED = "worked"  # paid, or taken on: what comes now is the payer's to do
    FAILED = "failed"  # not reached, silent, in doubt, or refused for reasons of its own
    NEUTRAL = "neutral"  # the rail answered, and the answer is not its doing


# By the kinds of outcome which the gateway tells apart. One that stands not here is taken for silence.
_OF_KIND: Mapping[str, Verdict] = {
    "confirmed": Verdict.WORKED,
    "pending": Verdict.WORKED,
    "refused": Verdict.NEUTRAL,  # of this payer or this order: no money, wrong code, said no, closed
    "not_found": Verdict.NEUTRAL,  # it was asked for an order that never reached it
    "refused_retriable": Verdict.FAILED,  # its own risk, limit, maintenance, frequency
    "not_sent": Verdict.FAILED,
    "unknown": Verdict.FAILED,
}


def verdict_of(kind: str) -> Verdict:
    """Return what a kind of outcome says of the rail."""
    return _OF_KIND.get(kind, Verdict.FAILED)
