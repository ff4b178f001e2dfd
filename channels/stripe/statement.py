"""A day's balance transactions as a bill: page by page, and then read whole or not at all.

Stripe has no file: it lists what changed the balance, newest first, a hundred a page. A page becomes some lines of
JSON, a head that says which page of which day it is, and one line a transaction with what the hub needs of it; whose
card it was stays with Stripe. The lines of all pages together are the bill, and the heads prove that none is missing.
Source: docs.stripe.com, API reference, "balance transactions" and "reporting categories" (2025).
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from email.utils import parsedate_to_datetime
from io import BytesIO
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import orjson

from channels.contract import BadBill, BillFile, BillLine, Kind, Request, Response
from channels.stripe import messages
from channels.stripe.messages import Doubt
from kernel.clock import BEIJING, business_date
from kernel.money import MAX_MINOR, Money, is_currency
from kernel.safe_json import BadJson, loads_object, text, whole

LIMIT = 100
MAX_PAGE_BYTES = 16 << 20
ONE_DAY = timedelta(days=1)

PAYMENTS = frozenset({"charge", "payment"})
REFUNDS = frozenset({"refund", "payment_refund"})
# A refund that could not be paid out: its money is back, by a transaction of its own that undoes the refund's. API
# reference, refund, "failure_balance_transaction"; README.md here has a recording of it.
RETURNED = "refund_failure"
# What a dispute took, and what of it came back: adjustments whose source is the dispute; README.md here says more.
DISPUTES = "adjustment"
# Money on its way to the bank or back from there. The bank's own statement proves it.
PAYOUTS = frozenset({"payout", "payout_cancel", "payout_failure"})
PAYMENT_STATUS = {"succeeded": "success", "pending": "processing", "failed": "failed"}
REFUND_STATUS = {
    "succeeded": "success",
    "pending": "processing",
    "requires_action": "processing",
    "failed": "returned",  # its own transaction moved the money all the same, and RETURNED moves it back
    "canceled": "returned",
}
_TRANSACTION = re.compile(r"txn_[A-Za-z0-9_]{1,80}", re.ASCII)
_KEPT = ("id", "type", "amount", "fee", "net", "currency", "created")
_KEPT_OF_SOURCE = ("id", "object", "status", "currency", "payment_intent")


# ---- pages -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Page:
    """Which page of which day."""

    day: date
    after: str | None = None  # the last transaction of the page before

    def query(self) -> str:
        """Return the query that asks for it."""
        start = datetime.combine(self.day, time(), BEIJING)
        asked = [
            ("created[gte]", str(int(start.timestamp()))),
            ("created[lt]", str(int((start + ONE_DAY).timestamp()))),
            ("limit", str(LIMIT)),
            ("expand[]", "data.source"),
        ]
        return messages.query(asked if self.after is None else [*asked, ("starting_after", self.after)])

    @classmethod
    def of(cls, url: str) -> Self:
        """Return the page that this address asks for. Raises BadBill for one that `query` did not make."""
        asked = parse_qs(urlsplit(url).query)
        try:
            start = datetime.fromtimestamp(int(asked["created[gte]"][0]), BEIJING)
        except (KeyError, ValueError):
            raise BadBill("not_a_bill", "the address asks for no day") from None
        return cls(start.date(), asked.get("starting_after", [None])[0])


@dataclass(frozen=True, slots=True)
class Read:
    """What a page holds, as lines, and which page comes next."""

    content: bytes
    next: Page | None
    empty: bool  # the day had nothing at all


def too_early(said: str, day: date) -> str:
    """Return why a bill cannot be whole yet, or nothing. said: the Date header, as the channel's clock decides."""
    try:
        at = parsedate_to_datetime(said)
    except ValueError:
        return "the answer does not say what time it is there"
    if at.tzinfo is None or business_date(at) <= day:
        return f"the day is not over there: it is {said[:40]}"
    return ""


def file(asked_url: str, answer: Response, request: Callable[[Page], Request]) -> BillFile:
    """Return what a page that was answered leads to. request: returns that for another page."""
    try:
        asked = Page.of(asked_url)
        if reason := too_early(answer.headers.get("date", ""), asked.day):
            return BillFile(ready=False, reason=reason)
        read = page(answer.body, asked)
    except BadBill as bad:
        return BillFile(ready=False, reason=f"the answer is not believed: {bad.message}")
    if read.empty:
        return BillFile(ready=False, nothing=True)
    return BillFile(ready=True, content=read.content, more=request(read.next) if read.next else None)


def page(body: bytes, asked: Page) -> Read:
    """Return what an answer holds. Raises BadBill."""
    try:
        listed = loads_object(body, max_bytes=MAX_PAGE_BYTES)
        more = listed.get("has_more")
        rows = listed.get("data")
        if listed.get("object") != "list" or not isinstance(rows, list) or not isinstance(more, bool):
            raise BadJson("it is no list")
        kept = [_kept(row) for row in rows]
    except BadJson as error:
        raise BadBill("damaged", f"not a page of balance transactions: {error}") from None
    if more and (not kept or len(kept) > LIMIT or kept[-1]["id"] == asked.after):
        raise BadBill("damaged", "there is said to be another page, and this one does not lead to it")
    head = {"page": {"day": asked.day.isoformat(), "after": asked.after, "rows": len(kept), "more": more}}
    try:
        content = b"".join(orjson.dumps(line) + b"\n" for line in (head, *kept))
    except orjson.JSONEncodeError as error:  # a whole number beyond 64 bits
        raise BadBill("damaged", f"not a page of balance transactions: {error}") from None
    return Read(content, Page(asked.day, kept[-1]["id"]) if more else None, not kept and asked.after is None)


def _kept(row: object) -> dict[str, Any]:
    """Return what the bill keeps of a transaction. Raises BadJson where it is none."""
    if not isinstance(row, dict) or row.get("object") != "balance_transaction":
        raise BadJson("an entry is no balance transaction")
    if not _TRANSACTION.fullmatch(text(row.get("id"))):
        raise BadJson("an entry has no id of Stripe's")
    kept: dict[str, Any] = {name: row.get(name) for name in _KEPT}
    source = row.get("source")
    if isinstance(source, dict):
        notes = source.get("metadata")
        notes = notes if isinstance(notes, dict) else {}
        kept["source"] = {name: source.get(name) for name in _KEPT_OF_SOURCE} | {
            name: notes.get(name) for name in (messages.REFERENCE, messages.PAYMENT_REFERENCE)
        }
    return kept


# ---- the bill --------------------------------------------------------------------------------------------------------


def lines(content: bytes, *, day: date, only_late: bool = False) -> Iterator[BillLine]:
    """Return the lines of a bill. Raises BadBill before the first one when anything is wrong.

    The bill is read twice, once to be sure of it and once to give it out, so that it never has to be kept as objects.
    Transactions of the day before are let through beside those of the day; a bill without any of the day, but with
    others, is another day's, unless the caller knows that these are no others than came late (only_late).
    """
    for _ in _lines(content, day, only_late):
        pass
    return _lines(content, day, only_late)


def _lines(content: bytes, day: date, only_late: bool) -> Iterator[BillLine]:
    seen: set[date] = set()
    for number, row in _rows(content, day):
        try:
            at = messages.moment(row, "created")
            of = business_date(at)
            if of not in (day, day - ONE_DAY):
                raise BadBill("other_day", f"line {number} is of {of}, the bill is asked of {day}")
            seen.add(of)
            line = _line(row, at, number)
        except (Doubt, BadJson) as error:
            raise BadBill("damaged", f"line {number}: {error}") from None
        if line is not None:
            yield line
    if seen and day not in seen and not only_late:
        raise BadBill("other_day", f"no row is of {day}, all are of the day before")


def _rows(content: bytes, day: date) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number from 1, transaction), holding the pages against their heads. Raises BadBill."""
    due, last, more = 0, None, True
    for number, raw in enumerate(BytesIO(content), 1):
        line = _object(raw, number)
        if "page" in line:
            if due or not more:
                raise BadBill("damaged", f"line {number} begins a page where none is due")
            due, more = _head(line, number, day, last)
        elif due:
            due, last = due - 1, line.get("id")
            yield number, line
        else:
            raise BadBill("damaged", f"line {number} is one more than the head of its page says")
    if due or more or not content.endswith(b"\n"):
        raise BadBill("truncated", "the bill ends before its last page does")


def _head(line: Mapping[str, Any], number: int, day: date, last: object) -> tuple[int, bool]:
    """Return (rows, whether another page follows) of a page's head. Raises BadBill."""
    head = line["page"]
    if not isinstance(head, dict) or head.keys() != {"day", "after", "rows", "more"}:
        raise BadBill("damaged", f"line {number} is no head of a page")
    if head["day"] != day.isoformat():
        raise BadBill("other_day", f"line {number} begins a page of {head['day']!r}, the bill is asked of {day}")
    if head["after"] != last:
        raise BadBill("truncated", f"line {number} begins a page that follows another one")
    if type(head["rows"]) is not int or head["rows"] < 0 or type(head["more"]) is not bool:
        raise BadBill("damaged", f"line {number} is no head of a page")
    return head["rows"], head["more"]


def _object(raw: bytes, number: int) -> dict[str, Any]:
    try:
        return loads_object(raw)
    except BadJson as error:
        raise BadBill("damaged", f"line {number}: {error}") from None


def _line(row: Mapping[str, Any], at: datetime, number: int) -> BillLine | None:
    """Return a transaction in our words; None for payouts. Raises Doubt, BadJson.

    What is neither payment, refund nor dispute (a fee of Stripe's, a currency changed on the way) moved money too. It
    becomes a line of status `unknown` under Stripe's own number, so that a person sees it.
    """
    kind, number_ref = text(row.get("type")), text(row.get("id"))
    amount, fee = _money(row, "amount"), _money(row, "fee")
    if _money(row, "net") != amount - fee:
        raise Doubt("net is not amount less fee")
    if kind in PAYOUTS:
        return None
    source = row.get("source") or {}
    if not isinstance(source, dict):
        raise Doubt("source is no object")
    converted = source.get("currency") not in (None, row.get("currency"))
    if kind in PAYMENTS and not converted:
        return _payment(source, amount, fee, at, number)
    if (kind in REFUNDS or kind == RETURNED) and not converted:
        return _refund(source, kind, amount, fee, at, number)
    if kind == DISPUTES and source.get("object") == "dispute" and amount.minor and not converted:
        return _dispute(source, amount, fee, at, number)
    return BillLine(
        kind=Kind.PAYMENT if amount.minor >= 0 else Kind.REFUND,
        reference=number_ref,
        payment_reference=number_ref,
        channel_ref=number_ref,
        amount=Money(abs(amount.minor), amount.currency),
        fee=fee,
        status="unknown",
        happened_at=at,
        row=number,
    )


def _payment(source: Mapping[str, Any], amount: Money, fee: Money, at: datetime, number: int) -> BillLine:
    if amount.minor <= 0:
        raise Doubt("a payment of nothing, or less")
    intent = _of_source(source, "payment_intent") or _of_source(source, "id")
    reference = _of_source(source, messages.REFERENCE) or intent  # not made by us: under Stripe's number
    if not intent:
        raise Doubt("a payment without a number")
    return BillLine(
        kind=Kind.PAYMENT,
        reference=reference,
        payment_reference=reference,
        channel_ref=intent,
        amount=amount,
        fee=fee,
        status=PAYMENT_STATUS.get(_of_source(source, "status"), "unknown"),
        happened_at=at,
        row=number,
    )


def _refund(source: Mapping[str, Any], kind: str, amount: Money, fee: Money, at: datetime, number: int) -> BillLine:
    if amount.minor == 0 or (amount.minor > 0) != (kind == RETURNED):
        raise Doubt(f"a {kind} of {amount}")
    refund = _of_source(source, "id")
    if not refund:
        raise Doubt("a refund without a number")
    return BillLine(
        kind=Kind.RETURN if kind == RETURNED else Kind.REFUND,
        reference=_of_source(source, messages.REFERENCE) or refund,
        payment_reference=_of_source(source, messages.PAYMENT_REFERENCE) or _of_source(source, "payment_intent"),
        channel_ref=refund,
        amount=Money(abs(amount.minor), amount.currency),
        fee=fee,
        status="success" if kind == RETURNED else REFUND_STATUS.get(_of_source(source, "status"), "unknown"),
        happened_at=at,
        row=number,
    )


def _dispute(source: Mapping[str, Any], amount: Money, fee: Money, at: datetime, number: int) -> BillLine:
    dispute = _of_source(source, "id")
    if not dispute:
        raise Doubt("a dispute without a number")
    return BillLine(
        kind=Kind.CHARGEBACK if amount.minor < 0 else Kind.CHARGEBACK_WON,
        reference=dispute,
        payment_reference=_of_source(source, "payment_intent") or dispute,
        channel_ref=dispute,
        amount=Money(abs(amount.minor), amount.currency),
        fee=fee,
        status="success",
        happened_at=at,
        row=number,
    )


def _of_source(source: Mapping[str, Any], name: str) -> str:
    """Return a text of the source, or nothing where it has none. Raises BadJson for anything else."""
    value = source.get(name)
    return "" if value is None else text(value)


def _money(row: Mapping[str, Any], name: str) -> Money:
    minor, currency = whole(row.get(name)), text(row.get("currency"))
    if abs(minor) > MAX_MINOR or not currency.islower() or not is_currency(currency.upper()):
        raise Doubt(f"{name} {minor} {currency[:10]!r} is not an amount of money")
    return Money(minor, currency.upper())
