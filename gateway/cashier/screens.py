"""What a payment's page shows, decided from the rows. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import orjson

from channels import Method
from gateway import states
from gateway.cashier.device import Device
from gateway.payments.shown import ends_at, has_run_out
from gateway.routing.seam import Choice
from gateway.states import OPEN_ATTEMPT
from gateway.tables import CASHIER, Attempt, Payment

ON_COMPUTERS = (Method.QR, Method.PAGE, Method.TRANSFER)
ON_PHONES = (Method.H5, Method.PAGE, Method.TRANSFER)


class ScreenKind(StrEnum):
    """The screens; each has a template of its name."""

    CHOOSE = "choose"  # the payer chooses how to pay
    CODE = "code"  # a QR code to scan
    LEAVE = "leave"  # on to a page of the rail's
    BRIDGE = "bridge"  # the wallet this page is open in is asked for the money
    TRANSFER = "transfer"  # an account to transfer to
    WAIT = "wait"  # nothing to do but wait
    CHECK = "check"  # the payer came back, and the rail has yet to say what became of it
    DONE = "done"  # how it ended


@dataclass(frozen=True, slots=True)
class Screen:
    """What is shown. attempt: whose action it is. note: a word of `words.py` said above everything else."""

    kind: ScreenKind
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

    def lasts_s(self, now: datetime) -> int | None:
        """Return in how many seconds the page is to be asked for anew; None: what is shown is good to the very end."""
        if self.kind not in _KINDS.values() or self.attempt is None or self.attempt.next_action is None:
            return None
        until = ends_at(self.attempt.next_action)
        return None if until is None else math.ceil((until - now).total_seconds())


@dataclass(frozen=True, slots=True)
class Way:
    """One way to pay that is offered."""

    channel: str
    method: Method

    @property
    def name(self) -> str:
        """How a form says which was chosen."""
        return f"{self.channel}.{self.method}"


def methods_for(device: Device, in_browser: Mapping[str, Sequence[Method]]) -> Sequence[Method]:
    """Return how a visitor may pay, best first. in_browser: rail → how a page in its app may be paid."""
    if device.rail is not None:
        return in_browser.get(device.rail, ())
    return ON_PHONES if device.on_phone else ON_COMPUTERS


def ways(device: Device, methods: Sequence[Method], offered: Mapping[Method, Sequence[Choice]]) -> list[Way]:
    """Return one way for each rail, the merchant's preferred rail first.

    offered: the accounts that take the payment by each method.
    """
    found: dict[str, tuple[int, Way]] = {}
    for method in methods:
        for choice in offered.get(method, ()):
            account = choice.ready.account
            if device.rail not in (None, account.channel):
                continue
            place, way = found.get(account.channel, (account.position, Way(account.channel, method)))
            found[account.channel] = min(place, account.position), way
    return [way for _, way in sorted(found.values(), key=lambda one: (one[0], one[1].channel))]


def screen(
    payment: Payment,
    last: Attempt | None,
    device: Device,
    methods: Sequence[Method],
    now: datetime,
    *,
    is_payer: bool,
    choosing: bool,
) -> Screen:
    """Return what to show.

    last: the payment's last attempt. methods: how this device may pay. is_payer: whether the visitor is whom the
    attempt's wallet expects. choosing: the visitor wants another way to pay.
    """
    ended = _ended(payment)
    if ended is not None:
        return Screen(ScreenKind.DONE, last, result=ended)
    running = last if last is not None and last.status in OPEN_ATTEMPT else None
    if payment.method != CASHIER or payment.status != states.PaymentStatus.REQUIRES_ACTION:
        return Screen(ScreenKind.WAIT, running)
    if payment.expires_at <= now:
        return Screen(ScreenKind.WAIT, running) if running else Screen(ScreenKind.DONE, result="expired")
    if running is None:
        declined = last is not None and last.status in (states.AttemptStatus.REFUSED, states.AttemptStatus.CLOSED)
        return Screen(ScreenKind.CHOOSE, note="declined" if declined else None)
    if has_run_out(running.next_action, now):
        return Screen(ScreenKind.CHOOSE, note="run_out")
    if choosing:
        return Screen(ScreenKind.CHOOSE)
    is_ours = running.method in methods and device.rail in (None, running.channel)
    if not is_ours or (running.method == Method.JSAPI and not is_payer):
        return Screen(ScreenKind.CHOOSE, note="elsewhere")
    return Screen(_KINDS.get(_type(running), ScreenKind.WAIT), running)


_KINDS = {
    "qr": ScreenKind.CODE,
    "redirect": ScreenKind.LEAVE,
    "form": ScreenKind.LEAVE,
    "jsapi": ScreenKind.BRIDGE,
    "transfer": ScreenKind.TRANSFER,
}


def _type(attempt: Attempt) -> str:
    return "" if attempt.next_action is None else str(orjson.loads(attempt.next_action).get("type", ""))


def _ended(payment: Payment) -> str | None:
    match payment.status:
        case states.PaymentStatus.SUCCEEDED:
            return "refunded" if payment.refunded_minor >= payment.captured_minor else "paid"
        case states.PaymentStatus.REQUIRES_CAPTURE:
            return "reserved"
        case states.PaymentStatus.FAILED | states.PaymentStatus.CANCELED | states.PaymentStatus.EXPIRED:
            return "returning" if payment.captured_minor else payment.status
        case _:
            return None
