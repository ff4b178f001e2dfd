"""What the hub has told a merchant, kept outside the hub: nothing it once acknowledged may be lost or taken back.

A payment may move from open to ended, and money may be captured and refunded; nothing ever moves the other way.
"""

from collections.abc import Iterable, Mapping
from typing import Any

# What must stay as it was told, and what may only grow.
_FIXED = ("amount", "currency", "merchant_order_id", "payment")
_GROWING = ("amount_captured", "amount_refunded", "channel_fee_returned")
_OPEN = ("processing", "requires_action", "requires_capture")  # in this order; every other status is an end
_CAPTURING = ("requires_capture", "processing")  # the capture is under way; it may even be refused


class Witness:
    """Hears every payment and refund that the merchant API answers with, and what is wrong with that."""

    def __init__(self) -> None:
        self.told: dict[str, dict[str, Any]] = {}  # id → the last that was told of it
        self.contradictions: list[str] = []

    def saw(self, answer: Mapping[str, Any]) -> None:
        """Take in one answer; it must agree with whatever was told of the same object before."""
        if answer.get("object") not in ("payment", "refund"):
            return
        ident = str(answer["id"])
        before = self.told.get(ident)
        if before is not None:
            self.contradictions += contradictions(before, answer)
        self.told[ident] = dict(answer)

    def judge(self, listed: Iterable[Mapping[str, Any]]) -> list[str]:
        """Return what is wrong with everything the hub lists in the end: lost, taken back, or never told of."""
        now = {str(found["id"]): found for found in listed}
        wrong = list(self.contradictions)
        for ident, before in self.told.items():
            if ident in now:
                wrong += contradictions(before, now[ident])
            else:
                wrong.append(f"{ident} was acknowledged as {before['status']} and is gone")
        # Every request was repeated until it was answered, so an object nobody was told of is one made twice.
        return wrong + [f"{ident} exists and nobody was told of it" for ident in now if ident not in self.told]


def contradictions(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return what two answers about one object, the earlier first, say that cannot both be."""
    ident, old, new = before["id"], before["status"], now["status"]
    wrong = [
        f"{ident}: {name} was {before[name]}, now {now.get(name)}" for name in _FIXED if _differs(name, before, now)
    ]
    wrong += [
        f"{ident}: {name} fell from {before[name]} to {now.get(name, 0)}"
        for name in _GROWING
        if name in before and now.get(name, 0) < before[name]
    ]
    if old in _OPEN:
        back = new in _OPEN and _OPEN.index(new) < _OPEN.index(old) and (old, new) != _CAPTURING
    else:
        back = new != old
    return [*wrong, f"{ident} was {old}, now {new}"] if back else wrong


def _differs(name: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    return name in before and now.get(name) != before[name]
