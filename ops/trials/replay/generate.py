"""A trading day of a shop that does not exist: untidy as real ones are, and the same for the same seed."""

import csv
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

COLUMNS = ["InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country"]
GOODS = [
    ("1", "STONEWARE BOWL", "6.75"),
    ("2", "TEA TIN, GREEN", "3.25"),
    ("2", "PAPER LANTERN", "2.10"),
    ("4", "BRASS HOOK", "1.65"),
    ("5", "WOOL SCARF", "18.95"),
    ("7", "BAMBOO TRAY", "9.50"),
    ("8", "CERAMIC CUP", "4.25"),
    ("8", "NAIL, BY WEIGHT", "0.125"),
    ("9", "INK BRUSH SET", "12.75"),
]


@dataclass(frozen=True, slots=True)
class _Line:
    code: str
    name: str
    quantity: int
    price: Decimal


@dataclass(frozen=True, slots=True)
class _Draft:
    """An invoice before it has its number and its time."""

    lines: list[_Line]
    customer: str
    cancels: bool = False


class _Shop:
    """Deals one invoice after the other."""

    def __init__(self, rng: random.Random, customers: int) -> None:
        self._rng = rng
        self._customers = [str(20_000 + n) for n in range(customers)]
        self._bought: dict[str, list[_Line]] = {}  # customer → goods of his orders, in the order he bought them

    def deal(self, count: int) -> Iterator[_Draft]:
        """Yield what happens in a day of `count` invoices: from a deck, so that a long day has every rarity."""
        weights = {
            self._returned: 9,
            self._returned_by_a_stranger: 2,
            self._returned_by_nobody: 1,
            self._too_much_returned: 1,
            self._written_off: 2,
            self._bad_debt: 2,
            self._bought_by_nobody: 6,
            self._posted: 14,
            self._discounted: 7,
        }
        rare = list(weights) if count > 3 * len(weights) else []
        weights[self._order] = 70
        deck = rare + self._rng.choices(list(weights), list(weights.values()), k=count - 1 - len(rare))
        self._rng.shuffle(deck)
        yield self._order()  # something must have been sold before anything can come back
        for draw in deck:
            yield draw()

    def _order(self) -> _Draft:
        customer, goods = self._rng.choice(self._customers), self._goods()
        self._bought.setdefault(customer, []).extend(goods)
        return _Draft(goods, customer)

    def _goods(self) -> list[_Line]:
        rng = self._rng
        lines = []
        for _ in range(rng.randint(1, 9)):
            digit, name, price = rng.choice(GOODS)
            lines.append(_Line(f"{digit}{rng.randint(1000, 9999)}", name, rng.randint(1, 12), Decimal(price)))
        return lines

    def _bought_by_nobody(self) -> _Draft:
        return _Draft(self._goods(), "")

    def _posted(self) -> _Draft:
        order = self._order()
        return replace(order, lines=[*order.lines, _Line("POST", "POSTAGE", 1, Decimal("8.00"))])

    def _discounted(self) -> _Draft:
        order = self._order()
        off = sum((line.quantity * line.price for line in order.lines), Decimal(0)) / 20
        discount = _Line("D", "Discount", -1, max(off.quantize(Decimal("0.01")), Decimal("0.01")))
        return replace(order, lines=[*order.lines, discount])

    def _returned(self) -> _Draft:
        """A customer sends back some of what he bought today."""
        customer = self._rng.choice(sorted(self._bought))
        line = self._rng.choice(self._bought[customer])
        return self._back(line, self._rng.randint(1, line.quantity), customer)

    def _returned_by_a_stranger(self) -> _Draft:
        """Somebody sends back what nobody here has sold him."""
        return self._back(_Line("21000", "PAPER LANTERN", 1, Decimal("4.95")), self._rng.randint(1, 5), "29999")

    def _returned_by_nobody(self) -> _Draft:
        return self._back(_Line("M", "Manual", 1, Decimal("3.40")), 1, "")

    def _too_much_returned(self) -> _Draft:
        """A customer wants back more than he has paid today."""
        customer = self._rng.choice(sorted(self._bought))
        line = self._bought[customer][0]
        paid = sum((bought.quantity * bought.price for bought in self._bought[customer]), Decimal(0))
        return self._back(line, int(2 * paid / line.price) + 100, customer)

    def _written_off(self) -> _Draft:
        return _Draft([_Line("85000", "damaged", -self._rng.randint(1, 9), Decimal("0.00"))], "")

    def _bad_debt(self) -> _Draft:
        return _Draft([_Line("B", "Adjust bad debt", 1, -Decimal(self._rng.randint(100, 9999)) / 100)], "")

    @staticmethod
    def _back(line: _Line, quantity: int, customer: str) -> _Draft:
        return _Draft([_Line(line.code, line.name, -quantity, line.price)], customer, cancels=True)


def write(path: Path, seed: int, *, orders: int = 120, first: int = 700_000) -> None:
    """Write a day of `orders` invoices.

    first: the first one's number. Among the orders are ones of nobody, with postage, with a discount, with prices in
    tenths of a cent. Besides them: cancellations of some of an order, by strangers, by nobody, of more than was ever
    paid; goods written off at no price; bad debts below zero.
    """
    rng = random.Random(seed)
    shop = _Shop(rng, customers=max(orders // 3, 1))
    at = datetime(2026, 1, 5, 8, 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file)
        out.writerow(COLUMNS)
        for n, draft in enumerate(shop.deal(orders)):
            at += timedelta(seconds=rng.randint(30, 420))
            number = f"{'C' if draft.cancels else ''}{first + n}"
            for line in draft.lines:
                row = [number, line.code, line.name, line.quantity, at, line.price, draft.customer, "China"]
                out.writerow(row)
