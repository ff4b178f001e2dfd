"""Order files: lines of invoices in, invoices out. Pure.

Columns, by name: InvoiceNo, StockCode, Quantity, InvoiceDate, UnitPrice, CustomerID; others are ignored. An invoice
whose number starts with C is a cancellation. Its amount is the sum of quantity × price over its lines, rounded half up
to the currency's minor unit once, per invoice.
"""

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from pathlib import Path

from kernel.money import minor_digits

COLUMNS = ("InvoiceNo", "StockCode", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID")
HOUSE = "house"  # who gets what no supplier's stock code names: postage, fees, discounts


class BadOrders(Exception):
    """The file cannot be used; the message names the line and what is wrong. Nothing was sent anywhere."""


@dataclass(frozen=True, slots=True)
class Invoice:
    """One order, or one cancellation."""

    number: str
    customer: str  # "" where the file has none
    at: datetime
    amount_minor: int  # may be zero or negative: the hub says what it thinks of that
    by_supplier: Mapping[str, int]  # supplier → weight: its lines' sum in ten-thousandths, where positive

    @property
    def is_cancellation(self) -> bool:
        return self.number.startswith("C")


def read(path: Path, currency: str) -> list[Invoice]:
    """Return the file's invoices in the order they were paid. Raises BadOrders."""
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            return invoices(csv.DictReader(file), currency)
    except OSError as error:
        raise BadOrders(f"{path} cannot be read: {error.strerror}") from None


def invoices(rows: Iterable[Mapping[str, str | None]], currency: str) -> list[Invoice]:
    """Return the invoices of the rows in the order they were paid. Raises BadOrders."""
    found: dict[str, list[tuple[str, Decimal, datetime, str]]] = {}
    for line, row in enumerate(rows, 2):
        missing = [name for name in COLUMNS if row.get(name) is None]
        if missing:
            raise BadOrders(f"line {line} has no {', '.join(missing)}; needed are {', '.join(COLUMNS)}")
        number = (row["InvoiceNo"] or "").strip()
        if not number:
            raise BadOrders(f"line {line} has an empty InvoiceNo")
        try:
            amount = Decimal(row["Quantity"] or "") * Decimal(row["UnitPrice"] or "")
            at = datetime.fromisoformat(row["InvoiceDate"] or "")
        except (InvalidOperation, ValueError):
            raise BadOrders(
                f"line {line}: quantity {row['Quantity']!r}, price {row['UnitPrice']!r} or date {row['InvoiceDate']!r} "
                "cannot be read"
            ) from None
        if not amount.is_finite():
            raise BadOrders(f"line {line}: {row['Quantity']} × {row['UnitPrice']} is no amount")
        customer = (row["CustomerID"] or "").strip().removesuffix(".0")
        found.setdefault(number, []).append((row["StockCode"] or "", amount, at, customer))
    if not found:
        raise BadOrders("the file has no order lines")
    made = [_invoice(number, lines, currency) for number, lines in found.items()]
    return sorted(made, key=lambda invoice: (invoice.at, invoice.number.lstrip("C"), invoice.number))


def _invoice(number: str, lines: Sequence[tuple[str, Decimal, datetime, str]], currency: str) -> Invoice:
    total = sum((amount for _, amount, _, _ in lines), Decimal(0))
    unit = Decimal(1).scaleb(-minor_digits(currency))
    minor = int(total.quantize(unit, ROUND_HALF_UP).scaleb(minor_digits(currency)))
    weights: dict[str, Decimal] = {}
    for code, amount, _, _ in lines:
        supplier = code[0] if code[:1].isascii() and code[:1].isdigit() else HOUSE
        weights[supplier] = weights.get(supplier, Decimal(0)) + amount
    whole = {supplier: int(weight * 10_000) for supplier, weight in sorted(weights.items()) if weight > 0}
    return Invoice(number, next((c for *_, c in lines if c), ""), lines[0][2], minor, whole)


def net_minor(found: Iterable[Invoice]) -> int:
    """Return the file's own net total: orders less cancellations."""
    return sum(invoice.amount_minor for invoice in found)


def suppliers(found: Iterable[Invoice]) -> Iterator[str]:
    """Yield every supplier of the file once, in order."""
    yield from sorted({supplier for invoice in found for supplier in invoice.by_supplier})
