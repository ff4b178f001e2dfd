"""Every kind of case: what has happened, and what a person may decide about it."""

from collections.abc import Mapping
from typing import NamedTuple

# The hub's own word where a case closed without anybody; no person decides it.
GONE = "gone"
HUB = "sluice"


class Kind(NamedTuple):
    """What a case of this kind says has happened, and its decisions, each with what it brings about."""

    says: str
    decisions: Mapping[str, str]


_OUTSIDE = "the money was given back outside the rail (say how in the note); nothing more is sent"

KINDS: Mapping[str, Kind] = {
    "refund_of_unwanted_money_failed": Kind(
        "money that was paid late or twice could not be given back: the rail refused the refund",
        {
            "settled_outside": _OUTSIDE,
            "keep": "the merchant keeps the money, with the payer's consent (say why in the note)",
        },
    ),
}
