"""The words of the bank's collection service and ours: bodies, answers, notifications. No signatures, no network."""

import base64
import binascii
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from typing import Any

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from channels.banks import BadStatement, Entry
from channels.banks.iso20022 import read_camt054, signing
from channels.contract import (
    BadBill,
    BillLine,
    Confirmed,
    Kind,
    Order,
    Outcome,
    Pending,
    RefundOrder,
    Refused,
    Unknown,
)
from kernel.clock import BEIJING, business_date, rfc3339
from kernel.money import Money, from_major
from kernel.safe_json import BadJson, text

MAX_NAME = 70

# The bank says no, signed, and nothing was done. True: another rail may well take the payment.
PAY_REFUSALS: Mapping[str, bool] = {
    "currency_not_offered": True,
    "amount_not_allowed": True,
    "pool_closed": True,
    "service_closed": True,
    "not_authenticated": True,
    "signature_not_valid": True,
}
REFUND_REFUSALS = frozenset({"funds_short", "exceeds_credit", "payer_account_closed", "too_old"})


class Doubt(Exception):
    """A signed answer is not believed: something is missing, of a wrong kind, or not about what we asked."""

    def __init__(self, why: str, stated_amount: Money | None = None) -> None:
        super().__init__(why)
        self.stated_amount = stated_amount


# ---- what we ask -----------------------------------------------------------------------------------------------------


def open_body(order: Order, pool: str) -> bytes:
    """Return the body that has a virtual sub-account 虚拟子账户 opened for one payment and its exact amount.

    purpose: what is bought, for the bank's own statements. Whose the account is the bank says: the pool's holder.
    """
    return orjson.dumps(
        {
            "op": "open",
            "reference": order.reference,
            "pool": pool,
            "purpose": _printable(order.description)[:MAX_NAME],
            "amount": order.amount.major(),
            "currency": order.amount.currency,
            "expires_at": rfc3339(order.expires_at),
            "notify_url": order.notify_url,
        }
    )


def close_body(order: Order) -> bytes:
    """Return the body that closes an account nothing was paid to; what is sent there later bounces."""
    return orjson.dumps({"op": "close", "reference": order.reference})


def return_body(refund: RefundOrder) -> bytes:
    """Return the body that sends money back to the account it came from."""
    return orjson.dumps(
        {
            "op": "return",
            "reference": refund.reference,
            "payment_reference": refund.payment_reference,
            "amount": refund.amount.major(),
            "currency": refund.amount.currency,
            "reason": _printable(refund.reason)[:MAX_NAME],
            "notify_url": refund.notify_url,
        }
    )


def _printable(words: str) -> str:
    # A joiner is not "printable", and yet part of a word.
    return "".join(c if c.isprintable() or c in "\u200c\u200d" else " " for c in words).strip() or "-"


# ---- what the bank answers -------------------------------------------------------------------------------------------


def collection(order: Order, said: Mapping[str, Any]) -> Outcome:
    """Return what a virtual account's state means for its payment. Raises Doubt, BadJson."""
    if said.get("reference") != order.reference:
        raise Doubt(f"the answer is about {str(said.get('reference'))[:40]!r}")
    status = said.get("status")
    if status == "open":
        asked = _money(said)
        if asked != order.amount:
            raise Doubt(f"the account waits for {asked}, we have {order.amount}")
        account = text(said.get("account"))
        action = {
            "type": "transfer",
            "account": account,
            "name": text(said.get("name")),
            "bank": text(said.get("bank_name")),
            "bic": text(said.get("bic")),
            "amount": order.amount.major(),
            "currency": order.amount.currency,
        }
        return Pending(action, channel_ref=account)
    if status == "credited":
        credit = said.get("credit")
        if not isinstance(credit, dict):
            raise Doubt("the account is credited, and the credit is not shown")
        paid = _money(credit)
        if paid != order.amount:
            raise Doubt(f"{paid} was transferred, we asked for {order.amount}", paid)
        return Confirmed(text(credit.get("bank_ref")), paid, _moment(credit.get("booked_at")))
    if status in ("closed", "expired"):
        return Refused(str(status).upper(), "the bank closed the account, nothing had been paid to it", closed=True)
    raise Doubt(f"the status {str(status)[:40]!r} is not known")


def returned(refund: RefundOrder, said: Mapping[str, Any]) -> Outcome:
    """Return what the bank says of a return of money. Raises Doubt, BadJson."""
    for name, ours in (("reference", refund.reference), ("payment_reference", refund.payment_reference)):
        if said.get(name) != ours:
            raise Doubt(f"{name} is {str(said.get(name))[:40]!r}, ours is {ours}")
    amount = _money(said)
    if amount != refund.amount:
        raise Doubt(f"the return is of {amount}, we asked for {refund.amount}", amount)
    status = said.get("status")
    if status == "processing":
        return Pending()
    if status == "booked":
        return Confirmed(text(said.get("bank_ref")), amount, _moment(said.get("booked_at")))
    if status == "failed":
        return Refused("FAILED", "the payer's bank did not take it; the money stays on the pool account")
    raise Doubt(f"the status {str(status)[:40]!r} is not known")


def refusal(said: Mapping[str, Any], final: Mapping[str, bool]) -> Outcome:
    """Return the meaning of a signed refusal: one on our list is final, anything else leaves it open."""
    code, words = str(said.get("code", ""))[:60], str(said.get("message", ""))[:300]
    if code in final:
        return Refused(code, words, retriable=final[code])
    return Unknown(f"the bank refused: {code}: {words}")


def _money(said: Mapping[str, Any]) -> Money:
    try:
        return from_major(text(said.get("amount")), text(said.get("currency")))
    except (ValueError, KeyError) as error:
        raise Doubt(f"no amount of money: {error}") from None


def _moment(value: object) -> datetime:
    try:
        moment = datetime.fromisoformat(text(value))
    except ValueError:
        raise Doubt(f"{str(value)[:40]!r} is not a moment") from None
    if moment.tzinfo is None:
        raise Doubt(f"{str(value)[:40]!r} does not say its time zone")
    return moment


def endorsed(listed: object, known: Mapping[str, rsa.RSAPublicKey]) -> dict[str, rsa.RSAPublicKey]:
    """Return the keys we know and, of a list of the bank's, those that one of them vouches for, directly or not.

    An endorsement is a signature over the new key's id, a line feed and its PEM. Raises ValueError.
    """
    trusted = dict(known)
    if not isinstance(listed, list):
        raise BadJson("the keys are no list")
    for one in listed:  # oldest first
        key_id, pem = text(one["key_id"]), text(one["public_key"])
        voucher = trusted.get(str(one.get("endorsed_by")))
        if key_id in trusted or voucher is None:
            continue
        try:
            signature = base64.b64decode(text(one["endorsement"]), validate=True)
            voucher.verify(signature, f"{key_id}\n{pem}".encode(), padding.PKCS1v15(), hashes.SHA256())
        except (InvalidSignature, binascii.Error):
            raise BadJson(f"key {key_id[:40]} carries a false endorsement") from None
        trusted[key_id] = signing.public_key(pem)
    return trusted


# ---- notifications and the day's report ------------------------------------------------------------------------------


def read_notification(xml: bytes) -> Entry:
    """Return the one booking a notification tells of. Raises BadStatement."""
    entries = read_camt054(xml)
    if len(entries) != 1:
        raise BadStatement("malformed", f"{len(entries)} bookings in a notification of one")
    return entries[0]


def booking(entry: Entry) -> tuple[Kind, str, Confirmed]:
    """Return (kind, our reference, outcome) of a booking on a virtual account. Raises Doubt.

    Money in is a payment: its creditor reference is ours. Money out is a return, whose end-to-end id is ours.
    """
    if entry.creditor_ref is None or entry.accepted_at is None:
        raise Doubt(f"booking {entry.entry_ref} does not say which payment it belongs to, and when it was")
    if entry.amount.minor > 0:
        return Kind.PAYMENT, entry.creditor_ref, Confirmed(entry.booking_ref, entry.amount, entry.accepted_at)
    if entry.end_to_end_id is None:
        raise Doubt(f"booking {entry.entry_ref} is a return without a number")
    amount = Money(-entry.amount.minor, entry.amount.currency)
    return Kind.REFUND, entry.end_to_end_id, Confirmed(entry.booking_ref, amount, entry.accepted_at)


def report_lines(xml: bytes, day: date, pool: str, *, only_late: bool = False) -> Iterator[BillLine]:
    """Return the lines of a day's collection report, a camt.054; all of it is read first. Raises BadBill."""
    try:
        entries = read_camt054(xml)
        lines = [_line(entry, row, pool) for row, entry in enumerate(entries, 1)]
    except BadStatement as error:
        raise BadBill(error.code, error.message) from None
    except Doubt as error:
        raise BadBill("malformed", str(error)) from None
    days = {line.happened_at.astimezone(BEIJING).date() for line in lines}
    if days and day not in days and not only_late:
        raise BadBill("other_day", f"asked for {day}, the report is of {', '.join(map(str, sorted(days)))}")
    if any(business_date(line.happened_at) > day for line in lines):
        raise BadBill("other_day", f"the report of {day} holds bookings of a later day")
    return iter(lines)


def _line(entry: Entry, row: int, pool: str) -> BillLine:
    if entry.account != pool:
        raise BadBill("other_account", f"the report is of account {entry.account}, ours is {pool}")
    kind, reference, said = booking(entry)
    assert entry.creditor_ref is not None
    assert entry.accepted_at is not None
    status = "success"
    if entry.reversal:
        status = "reversed" if kind is Kind.PAYMENT else "failed"
    return BillLine(
        kind,
        reference,
        entry.creditor_ref,
        said.channel_ref,
        said.amount,
        Money(0, said.amount.currency),
        status,
        entry.accepted_at,
        row,
    )
