"""What a payment's page shows, decided from the rows. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import orjson

from channels import Method
from gateway import states
from gateway.cashier.device import Visitor
from gateway.routing.seam import Choice
from gateway.states import OPEN_ATTEMPT
from gateway.tables import CASHIER, Attempt, Payment

ON_COMPUTERS = (Method.QR, Method.PAGE, Method.TRANSFER)
ON_PHONES = (Method.H5, Method.PAGE, Method.TRANSFER)


class Kind(StrEnum):
    """The screens; each has a template of its name."""

    CHOOSE = "choose"  # the payer chooses how to pay
    CODE = "code"  # a QR code to scan
    LEAVE = "leave"  # on to a page of the rail's
    BRIDGE = "bridge"  # the wallet this page is open in is asked for the money
    TRANSFER = "transfer"  # an account to transfer to
    WAIT = "wait"  # nothing to do but wait
    DONE = "done"  # how it ended


@dataclass(frozen=True, slots=True)
class Screen:
    """What is shown. attempt: whose action it is. note: a word of `words.py` said above everything else."""

    kind: Kind
    attempt: Attempt | None = None
    note: str | None = None
    result: str | None = None  # DONE: paid | refunded | reserved | failed | canceled | expired | returning

    @property
    def action(self) -> Mapping[str, Any]:
        """What the payer does, as the rail gave it."""
        if self.attempt is None or self.attempt.next_action is None:
            return {}
        action: dict[str, Any] = orjson.loads(self.attempt.next_action)
        return action


@dataclass(frozen=True, slots=True)
class Way:
    """One way to pay that is offered."""

    channel: str
    method: Method

    @property
    def name(self) -> str:
        """How a form says which was chosen."""
        return f"{self.channel}.{self.method}"


def methods_for(visitor: Visitor, in_browser: Mapping[str, Sequence[Method]]) -> Sequence[Method]:
    """Return how a visitor may pay, best first. in_browser: rail → how a page in its app may be paid."""
    if visitor.rail is not None:
        return in_browser.get(visitor.rail, ())
    return ON_PHONES if visitor.on_phone else ON_COMPUTERS


def ways(visitor: Visitor, methods: Sequence[Method], offered: Mapping[Method, Sequence[Choice]]) -> list[Way]:
    """Return one way for each rail, the merchant's preferred rail first.

    offered: the accounts that take the payment by each method.
    """
    found: dict[str, tuple[int, Way]] = {}
    for method in methods:
        for choice in offered.get(method, ()):
            account = choice.ready.account
            if visitor.rail not in (None, account.channel):
                continue
            place, way = found.get(account.channel, (account.position, Way(account.channel, method)))
            found[account.channel] = min(place, account.position), way
    return [way for _, way in sorted(found.values(), key=lambda one: (one[0], one[1].channel))]


def screen(
    payment: Payment,
    last: Attempt | None,
    visitor: Visitor,
    methods: Sequence[Method],
    now: datetime,
    *,
    is_payer: bool,
    choosing: bool,
) -> Screen:
    """Return what to show.

    last: the payment's last attempt. methods: how this visitor may pay. is_payer: whether the visitor is whom the
    attempt's wallet expects. choosing: the visitor wants another way to pay.
    """
    ended = _ended(payment)
    if ended is not None:
        return Screen(Kind.DONE, last, result=ended)
    running = last if last is not None and last.status in OPEN_ATTEMPT else None
    if payment.method != CASHIER or payment.status != states.Payment.REQUIRES_ACTION:
        return Screen(Kind.WAIT, running)
    if payment.expires_at <= now:
        return Screen(Kind.WAIT, running) if running else Screen(Kind.DONE, result="expired")
    if running is None:
        declined = last is not None and last.status in (states.Attempt.REFUSED, states.Attempt.CLOSED)
        return Screen(Kind.CHOOSE, note="declined" if declined else None)
    if choosing:
        return Screen(Kind.CHOOSE)
    is_ours = running.method in methods and visitor.rail in (None, running.channel)
    if not is_ours or (running.method == Method.JSAPI and not is_payer):
        return Screen(Kind.CHOOSE, note="elsewhere")
    return Screen(_KINDS.get(_type(running), Kind.WAIT), running)


_KINDS = {
    "qr": Kind.CODE,
    "redirect": Kind.LEAVE,
    "form": Kind.LEAVE,
    "jsapi": Kind.BRIDGE,
    "transfer": Kind.TRANSFER,
}


def _type(attempt: Attempt) -> str:
    return "" if attempt.next_action is None else str(orjson.loads(attempt.next_action).get("type", ""))


def _ended(payment: Payment) -> str | None:
    match payment.status:
        case states.Payment.SUCCEEDED:
            return "refunded" if payment.refunded_minor >= payment.captured_minor else "paid"
        case states.Payment.REQUIRES_CAPTURE:
            return "reserved"
        case states.Payment.FAILED | states.Payment.CANCELED | states.Payment.EXPIRED:
            return "returning" if payment.captured_minor else payment.status
        case _:
            return None
