"""Stripe's disputes 拒付: which events name one, and what one says by what it did to the balance.

A dispute takes its money at once, by a balance transaction of type `adjustment` with the dispute's fee, and gives it
back by another. An inquiry (`warning_…`) takes none. So money is read off the transactions, and `status` says only
whether what was taken is lost. Source: docs.stripe.com, API reference, "Disputes"; README.md here.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import quote

from channels.contract import BadNotice, Dispute, DisputeStatus, Kind, Notice, Request, Response, Unknown, Unmoved
from channels.stripe import messages
from channels.stripe.calls import Calls
from channels.stripe.messages import Doubt, moment
from kernel.money import MAX_MINOR, Money, is_currency
from kernel.safe_json import BadJson, loads_object, text, whole

EVENTS = frozenset(
    f"charge.dispute.{change}" for change in ("created", "updated", "closed", "funds_withdrawn", "funds_reinstated")
)
EXPAND = ("expand[]", "payment_intent")
INQUIRIES = frozenset({"warning_needs_response", "warning_under_review", "warning_closed"})
STATUSES = INQUIRIES | {"needs_response", "under_review", "won", "lost", "charge_refunded", "prevented"}


class Moved(NamedTuple):
    """What a dispute did to the balance once; `amount` is below nothing where it took."""

    amount: Money
    fee: Money
    at: datetime


class Disputes:
    """The calls and events about the disputes of one account."""

    def __init__(self, *, base_url: str, calls: Calls, livemode: bool) -> None:
        self._url = f"{base_url}/v1/disputes"
        self._calls = calls
        self._livemode = livemode

    def request(self, ref: str) -> Request:
        """Return the request for a dispute, with the intent that it is about."""
        return self._calls.get(f"{self._url}/{quote(ref, safe='')}?{messages.query([EXPAND])}")

    def outcome(self, ref: str, answer: Response) -> Dispute | Unmoved | Unknown:
        """Return how a dispute stands, as an answer says; Unknown(not_found=True) where Stripe has none of that id."""
        if answer.status != 200:
            error = messages.rail_error(answer)
            missing = (answer.status, error.code) == (404, "resource_missing")
            return replace(messages.unknown(error), not_found=missing)
        try:
            return read(loads_object(answer.body), ref, livemode=self._livemode)
        except (BadJson, Doubt) as doubt:
            return Unknown(f"HTTP {answer.status}, not believed: {doubt}")

    def notice(self, event: Mapping[str, Any], about: Mapping[str, Any]) -> Notice:
        """Return that the dispute of a verified event is to be asked about. Raises BadNotice.

        What the event says of it is as old as the event, and it does not name our number of the payment.
        """
        try:
            messages.same_mode(event, self._livemode)
            return Notice(Kind.CHARGEBACK, number(about), Unknown("it is to be asked about"), event["id"])
        except Doubt as error:
            raise BadNotice("not_ours", f"the notice is signed but not believed: {error}", about="") from None


def number(body: Mapping[str, Any]) -> str:
    """Return the number of the dispute that an event or an answer shows. Raises Doubt."""
    messages.expect(body, "object", "dispute")
    return messages.identifier(body, "id", "dp", "du")


def read(body: Mapping[str, Any], ref: str, *, livemode: bool) -> Dispute | Unmoved:
    """Return how the dispute of this number stands. Raises Doubt."""
    messages.same("id", number(body), ref)
    messages.same_mode(body, livemode)
    status = messages.required(body, "status")
    if status not in STATUSES:
        raise Doubt(f"status {status[:40]!r} is not known")
    paid = body.get("payment_intent")
    reference, intent = None, ""
    if isinstance(paid, dict):  # of a charge without an intent there is none; ours have one
        messages.expect(paid, "object", "payment_intent")
        reference, intent = messages.metadata(paid, messages.REFERENCE), messages.identifier(paid, "id", "pi")
    elif paid is not None:
        raise Doubt("payment_intent is not shown")
    moved = _transactions(body)
    taken = [one for one in moved if one.amount.minor < 0]
    back = [one for one in moved if one.amount.minor > 0]
    if not taken:
        return Unmoved(status, reference)
    amount, fee = -_sum(one.amount for one in taken), _sum(one.fee for one in taken)
    returned, fee_back = _sum(one.amount for one in back), -_sum(one.fee for one in back)
    currencies = {one.amount.currency for one in moved}
    if len(currencies) != 1 or fee < 0 or fee_back < 0:
        raise Doubt("what it did to the balance makes no sum")
    (currency,) = currencies
    stands = DisputeStatus.WON if back else DisputeStatus.LOST if status == "lost" else DisputeStatus.OPENED
    details = body.get("evidence_details")
    due = isinstance(details, dict) and details.get("due_by") is not None
    return Dispute(
        ref,
        reference,
        intent,
        stands,
        Money(amount, currency),
        Money(fee, currency),
        messages.required(body, "reason"),
        min(one.at for one in taken),
        moment(details, "due_by") if due and isinstance(details, dict) else None,
        max(one.at for one in back) if back else None,
        Money(fee_back, currency),
        Money(returned, currency) if back else None,
    )


def _transactions(body: Mapping[str, Any]) -> Sequence[Moved]:
    listed = body.get("balance_transactions")
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise Doubt("balance_transactions is no list of transactions")
    return [_moved(one) for one in listed]


def _moved(one: Mapping[str, Any]) -> Moved:
    messages.expect(one, "object", "balance_transaction")
    try:
        amount, fee, currency = whole(one.get("amount")), whole(one.get("fee")), text(one.get("currency")).upper()
    except BadJson as error:
        raise Doubt(f"a balance transaction: {error}") from None
    if max(abs(amount), abs(fee)) > MAX_MINOR or not is_currency(currency):
        raise Doubt(f"{amount} {currency[:10]!r} is not an amount of money")
    return Moved(Money(amount, currency), Money(fee, currency), moment(one, "created"))


def _sum(amounts: Iterable[Money]) -> int:
    return sum(one.minor for one in amounts)
