"""Order files: lines of text in, invoices out. Pure but for `read`.

Columns, by name: InvoiceNo, StockCode, Quantity, InvoiceDate, UnitPrice, CustomerID; others are ignored. An invoice
whose number starts with C is a cancellation. Its amount is the sum of quantity × price over its lines, rounded half up
to the currency's minor unit once, per invoice. A file is used whole or not at all: a line that cannot be read exactly
would be money that silently went missing.
"""

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Context, Decimal, localcontext
from pathlib import Path

from kernel.money import minor_digits

COLUMNS = ("InvoiceNo", "StockCode", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID")
HOUSE = "house"  # who gets what no supplier's stock code names: postage, fees, discounts

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
_LARGEST, _SMALLEST = 15, -20  # powers of ten that a quantity or price may reach; beyond is a slip of the pen
_EXACT = Context(prec=120)  # room for any sum of products within those bounds: nothing is ever rounded on the way
_MOST_WEIGHT = 10**12  # what the merchant API takes as a weight


class BadOrders(Exception):
    """The file cannot be used; the message names the line and what is wrong. Nothing was sent anywhere."""


@dataclass(frozen=True, slots=True)
class Invoice:
    """One order, or one cancellation."""

    number: str
    customer: str  # "" where the file has none
    at: datetime  # aware; a time without its offset is taken for UTC, which keeps the file's order
    amount_minor: int  # may be zero or negative: the hub says what it thinks of that
    by_supplier: Mapping[str, int]  # supplier → weight ≥ 1: what its lines come to, where that is more than nothing

    @property
    def is_cancellation(self) -> bool:
        return self.number.startswith("C")


@dataclass(frozen=True, slots=True)
class _Line:
    stock_code: str
    amount: Decimal
    at: datetime
    customer: str


def read(path: Path, currency: str) -> list[Invoice]:
    """Return the file's invoices in the order they were paid. Raises BadOrders."""
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            return invoices(file, currency)
    except OSError as error:
        raise BadOrders(f"{path} cannot be read: {error.strerror}") from None
    except BadOrders as error:
        raise BadOrders(f"{path}: {error}") from None


def invoices(text: Iterable[str], currency: str) -> list[Invoice]:
    """Return the invoices of a file's lines in the order they were paid. Raises BadOrders."""
    # Strict: a quote that is never closed would else swallow the rest of the file, and nobody would miss it.
    counted = _Counted(text)
    reader = csv.DictReader(counted, strict=True)
    found: dict[str, list[_Line]] = {}
    with localcontext(_EXACT):
        try:
            absent = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            if reader.fieldnames and absent:
                raise BadOrders(f"there is no column {', '.join(absent)}; needed are {', '.join(COLUMNS)}")
            for row in reader:
                number, line = _read_row(row, counted.line)
                found.setdefault(number, []).append(line)
        except csv.Error as error:
            raise BadOrders(f"line {counted.line} is not CSV: {error}") from None
        if not found:
            raise BadOrders("the file has no order lines")
        made = [_invoice(number, lines, currency) for number, lines in found.items()]
    return sorted(made, key=lambda invoice: (invoice.at, invoice.number.lstrip("C"), invoice.number))


class _Counted:
    """Hands lines on and knows the number of the last: csv's own count lags behind when a line is at fault."""

    def __init__(self, text: Iterable[str]) -> None:
        self._text = iter(text)
        self.line = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        text = next(self._text)
        self.line += 1
        return text


def _read_row(row: Mapping[str | None, str | None], at_line: int) -> tuple[str, _Line]:
    """Return a row's invoice number and what it says. Raises BadOrders."""
    missing = [name for name in COLUMNS if row.get(name) is None]
    if missing:
        raise BadOrders(f"line {at_line} has no {', '.join(missing)}; needed are {', '.join(COLUMNS)}")
    if None in row:
        raise BadOrders(f"line {at_line} has more fields than the header; is a comma not quoted?")
    cells = {name: (row[name] or "").strip() for name in COLUMNS}
    if not cells["InvoiceNo"]:
        raise BadOrders(f"line {at_line} has an empty InvoiceNo")
    amount = _number(cells["Quantity"], "Quantity", at_line) * _number(cells["UnitPrice"], "UnitPrice", at_line)
    try:
        at = datetime.fromisoformat(cells["InvoiceDate"])
    except ValueError:
        raise BadOrders(f"line {at_line}: InvoiceDate {cells['InvoiceDate'][:40]!r} is not a date and time") from None
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return cells["InvoiceNo"], _Line(cells["StockCode"], amount, at, cells["CustomerID"].removesuffix(".0"))


def _number(text: str, column: str, at_line: int) -> Decimal:
    """Return a quantity or a price, exactly as written. Raises BadOrders for what is none, or none of this world."""
    if not _NUMBER.fullmatch(text):
        raise BadOrders(f"line {at_line}: {column} {text[:40]!r} is not a number")
    number = Decimal(text)
    exponent = number.as_tuple().exponent
    assert isinstance(exponent, int), "the pattern lets no NaN and no Infinity through"
    if exponent < _SMALLEST or exponent > _LARGEST or (number and number.adjusted() > _LARGEST):
        raise BadOrders(f"line {at_line}: {column} {text[:40]} is beyond anything that is sold")
    return number


def _invoice(number: str, lines: Sequence[_Line], currency: str) -> Invoice:
    total = sum((line.amount for line in lines), Decimal(0))
    digits = minor_digits(currency)
    minor = int(total.scaleb(digits).to_integral_value(ROUND_HALF_UP))
    sums: dict[str, Decimal] = {}
    for line in lines:
        code = line.stock_code
        supplier = code[0] if code[:1].isascii() and code[:1].isdigit() else HOUSE
        sums[supplier] = sums.get(supplier, Decimal(0)) + line.amount
    owed = {supplier: amount for supplier, amount in sorted(sums.items()) if amount > 0}
    scale = 10_000 if max(owed.values(), default=Decimal(0)) * 10_000 <= _MOST_WEIGHT else 1
    weights = {supplier: max(1, int(amount * scale)) for supplier, amount in owed.items()}
    return Invoice(number, next((line.customer for line in lines if line.customer), ""), lines[0].at, minor, weights)


def net_minor(found: Iterable[Invoice]) -> int:
    """Return the file's own net total: orders less cancellations."""
    return sum(invoice.amount_minor for invoice in found)


def suppliers(found: Iterable[Invoice]) -> Iterator[str]:
    """Yield every supplier of the file once, in order."""
    yield from sorted({supplier for invoice in found for supplier in invoice.by_supplier})
