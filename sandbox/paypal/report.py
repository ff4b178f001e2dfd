"""The transactions report: what happened on closed Beijing days, page by page."""

import json
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from sandbox.acquirer import Acquirer, BillRow, Merchant
from sandbox.clock import BEIJING
from sandbox.paypal.errors import ApiError
from sandbox.paypal.money import shown

LONGEST = timedelta(days=31)
MOST_ROWS = 10_000
DAY = timedelta(days=1)
# The core's word for how a row stands → PayPal's letter. Whatever else a fault ordered goes out as it is.
STATUS = {"success": "S", "processing": "P", "failed": "D", "reversed": "D"}


class Report:
    """See the module."""

    def __init__(self, acquirer: Acquirer) -> None:
        self._of = acquirer

    def page(self, merchant: Merchant, query: dict[str, str]) -> bytes:
        """Return one page as it goes out, faults applied. Raises ApiError."""
        first, last = _moment(query, "start_date"), _moment(query, "end_date")
        size, number = _whole(query, "page_size", 100, 500), _whole(query, "page", 1, 10**6)
        if not first <= last or last - first > LONGEST:
            raise ApiError(400, "INVALID_REQUEST", "Date range is greater than 31 days", field="end_date")
        through = self._of.days.closed_through(merchant.merchant)
        rows = self._rows(merchant, first, last, through)
        if len(rows) > MOST_ROWS:
            raise ApiError(400, "RESULTSET_TOO_LARGE", "Result set size is greater than the maximum limit.")
        pages = -(-len(rows) // size)
        shown_rows = rows[(number - 1) * size : number * size]
        body = {
            "transaction_details": [{"transaction_info": _info(merchant, row)} for row in shown_rows],
            "account_number": merchant.merchant,
            "start_date": _text(first),
            "end_date": _text(last),
            "last_refreshed_datetime": _text(datetime.combine(through + DAY, time(), BEIJING)),
            "page": number,
            "total_items": len(rows),
            "total_pages": pages,
            "links": [],
        }
        raw = json.dumps(body, ensure_ascii=False).encode()
        return self._of.bills.cut(merchant, first.astimezone(BEIJING).date(), raw)

    def _rows(self, merchant: Merchant, first: datetime, last: datetime, through: date) -> list[BillRow]:
        """Return the rows of a period.

        A whole Beijing day is what was booked on it, whatever its time: so a row that came late is in the next day's.
        """
        rows: list[BillRow] = []
        day = first.astimezone(BEIJING).date()
        while day <= min(last.astimezone(BEIJING).date(), through):
            starts_at = datetime.combine(day, time(), BEIJING)
            whole = first <= starts_at and last >= starts_at + DAY - timedelta(seconds=1)
            for row in self._of.bills.rows(merchant, day):
                if whole or first <= datetime.fromtimestamp(row.at_ms / 1000, UTC) <= last:
                    rows.append(row)
            day += DAY
        return rows


def _info(merchant: Merchant, row: BillRow) -> dict[str, Any]:
    is_refund = row.kind == "refund"
    sign = -1 if is_refund else 1
    at = _text(datetime.fromtimestamp(row.at_ms // 1000, UTC))
    numbers = {"custom_field": row.extra.get("custom_id", row.order), "invoice_id": row.extra.get("invoice_id", "")}
    if is_refund:
        numbers = {
            "custom_field": row.refund_extra.get("custom_id", ""),
            "invoice_id": row.refund_extra.get("invoice_id", ""),
        }
    info = {
        "paypal_account_id": "QYR5Z8XDVJNXQ",
        "transaction_id": row.ref,
        "transaction_event_code": "T1107" if is_refund else "T0006",
        "transaction_initiation_date": at,
        "transaction_updated_date": at,
        "transaction_amount": shown(sign * row.amount, row.currency),
        "fee_amount": shown(-row.fee, row.currency),
        "transaction_status": STATUS.get(row.status, row.status),
        **{name: value for name, value in numbers.items() if value},
        "protection_eligibility": "02",
    }
    if is_refund:
        info |= {"paypal_reference_id": row.payment_ref, "paypal_reference_id_type": "TXN"}
    return info


def _text(at: datetime) -> str:
    """Return a moment as this report writes it: without a colon in the offset."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S+0000")


def _moment(query: dict[str, str], name: str) -> datetime:
    value = query.get(name, "")
    try:
        found = datetime.fromisoformat(value)
        if found.tzinfo is None or "T" not in value:
            raise ValueError
    except ValueError:
        raise ApiError(400, "INVALID_PARAMETER_SYNTAX", "an Internet date and time is needed", field=name) from None
    return found


def _whole(query: dict[str, str], name: str, default: int, most: int) -> int:
    value = query.get(name, str(default))
    if not value.isascii() or not value.isdigit() or not 1 <= int(value) <= most:
        raise ApiError(400, "INVALID_PARAMETER_VALUE", f"{name} must be 1 to {most}", field=name)
    return int(value)
