"""PayPal's transactions report (/v1/reporting/transactions) as our bill: read whole or not at all.

The report comes in pages of JSON. The bill is the pages as they came, one a line (their line breaks, which JSON allows
only between values, become spaces). PayPal gives no totals, so what is checked is that every page and every row is
there: pages counted, rows counted, all of one account and one period.
Source: PayPal's Transaction Search reference and its list of transaction event codes.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any

from channels.contract import BadBill, BillLine, Kind
from channels.paypal.messages import moment, money
from kernel.clock import BEIJING, business_date
from kernel.money import Money
from kernel.safe_json import BadJson, loads_object, text, whole

PAGE_SIZE = 200  # a page stays well below the limit for answers; PayPal allows 500
MAX_PAGE_BYTES = 4 << 20

PAYMENTS = "T00"  # every kind of payment between accounts: received by this one, or made with it
REFUND = "T1107"
# Money that moved between the merchant's PayPal balance and its bank, or was only set aside: no payment, no refund.
NO_TRADE = ("T03", "T04", "T15")
# V: it was given back since, which has a row of its own; F: part of it was.
PAYMENT_STATUS = {"S": "success", "V": "success", "F": "success", "P": "processing", "D": "failed"}
REFUND_STATUS = {"S": "success", "P": "processing", "D": "failed"}


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a report, its frame checked."""

    number: int
    pages: int
    items: int  # on all pages together
    starts_at: datetime
    ends_at: datetime
    refreshed_at: datetime  # what happened up to then is in the report
    rows: Sequence[Mapping[str, Any]]


def period(day: date) -> tuple[datetime, datetime]:
    """Return the first and the last second of a Beijing day."""
    starts_at = datetime.combine(day, time(), BEIJING)
    return starts_at, starts_at + timedelta(days=1, seconds=-1)


def page(raw: bytes, merchant_id: str) -> Page:
    """Read one page. Raises BadBill."""
    try:
        body = loads_object(raw, max_bytes=MAX_PAGE_BYTES)
        account = text(body["account_number"])
        details = body["transaction_details"]
        if not isinstance(details, list):
            raise BadJson("transaction_details is not a list")
        rows = [each["transaction_info"] for each in details]
        if not all(isinstance(row, dict) for row in rows):
            raise BadJson("transaction_info is not an object")
        found = Page(
            number=whole(body["page"]),
            pages=whole(body["total_pages"]),
            items=whole(body["total_items"]),
            starts_at=moment(text(body["start_date"])),
            ends_at=moment(text(body["end_date"])),
            refreshed_at=moment(text(body["last_refreshed_datetime"])),
            rows=rows,
        )
    except (BadJson, ValueError, KeyError, TypeError) as error:
        raise BadBill("not_a_bill", f"not a page of a transactions report: {type(error).__name__} {error}") from None
    if account != merchant_id:
        raise BadBill("other_merchant", f"the report is of account {account[:40]!r}, ours is {merchant_id}")
    return found


def lines(content: bytes, *, day: date, merchant_id: str, only_late: bool = False) -> Iterator[BillLine]:
    """Return the lines of a bill. Raises BadBill before the first line when anything is wrong.

    Rows of the day before are let through beside rows of the day (the line keeps its own time). A report without any
    row of the day, but with rows, is another day's, unless the caller knows that these rows are no others than the ones
    that came late (only_late).
    """
    read = list(_lines(content, day, merchant_id))
    days = {business_date(line.happened_at) for line in read}
    if days - {day, day - timedelta(days=1)}:
        raise BadBill("other_day", f"there are rows of {min(days)} to {max(days)}, the bill is asked of {day}")
    if days and day not in days and not only_late:
        raise BadBill("other_day", f"no row is of {day}, all are of the day before")
    return iter(read)


def _lines(content: bytes, day: date, merchant_id: str) -> Iterator[BillLine]:
    for row, info in enumerate(_rows(content, day, merchant_id), 1):
        line = _line(info, row)
        if line is not None:
            yield line


def _rows(content: bytes, day: date, merchant_id: str) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of all pages, checking that the pages are one report of that day and nothing is missing."""
    raw_pages = content.split(b"\n")
    if raw_pages.pop() != b"" or not raw_pages:
        raise BadBill("truncated", "the bill does not end with the end of a page")
    count, first = 0, page(raw_pages[0], merchant_id)
    starts_at, ends_at = period(day)
    for number, raw in enumerate(raw_pages, 1):
        this = page(raw, merchant_id)
        if (this.starts_at, this.ends_at) != (starts_at, ends_at):
            raise BadBill("other_day", f"page {number} is of {this.starts_at} to {this.ends_at}, asked was {day}")
        if this.refreshed_at < ends_at:
            raise BadBill("not_complete", f"page {number} knows nothing after {this.refreshed_at}")
        if (this.number, this.pages, this.items) != (number, len(raw_pages), first.items):
            raise BadBill("truncated", f"page {this.number} of {this.pages} stands where {number} should")
        count += len(this.rows)
        yield from this.rows
    if count != first.items:
        raise BadBill("truncated", f"there are {count} rows, PayPal counts {first.items}")


def _line(info: Mapping[str, Any], row: int) -> BillLine | None:
    """Return a row in our words; None for what is neither payment nor refund. Raises BadBill."""
    try:
        code, channel_ref = text(info["transaction_event_code"]), text(info["transaction_id"])
        if code.startswith(NO_TRADE):
            return None
        moved = money(info["transaction_amount"])
        fee = money(info["fee_amount"]) if "fee_amount" in info else Money(0, moved.currency)
        happened_at = moment(text(info["transaction_initiation_date"]))
        status = text(info["transaction_status"])
        custom, invoice = text(info.get("custom_field", "")), text(info.get("invoice_id", ""))
    except (BadJson, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadBill("damaged", f"row {row} cannot be read: {type(error).__name__} {error}") from None
    is_refund = moved.minor < 0
    if not channel_ref or fee.currency != moved.currency or moved.minor == 0:
        raise BadBill("damaged", f"row {row} has no number, no amount, or a fee in another currency")
    statuses = PAYMENT_STATUS if code.startswith(PAYMENTS) else REFUND_STATUS if code == REFUND else {}
    if (code.startswith(PAYMENTS) and is_refund) or (code == REFUND and not is_refund):
        # The account bought something itself, or is paid back for that: the notes on it are the seller's, not ours.
        statuses, custom, invoice = {}, "", ""
    # custom_field is our number of the payment in every row; a refund's own stands in invoice_id. A row that names
    # neither (made by hand at PayPal) goes by PayPal's number, and a person looks.
    payment = custom or channel_ref
    return BillLine(
        kind=Kind.REFUND if is_refund else Kind.PAYMENT,
        reference=(invoice or payment) if is_refund else payment,
        payment_reference=payment,
        channel_ref=channel_ref,
        amount=Money(abs(moved.minor), moved.currency),
        fee=Money(-fee.minor, fee.currency),
        status=statuses.get(status, "unknown"),
        happened_at=happened_at,
        row=row,
    )
