"""The generated day: the same for the same seed, and untidy in every way that real days are."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ops.trials.replay import generate
from ops.trials.replay.orders import HOUSE, Invoice, read


def bytes_of(folder: Path, seed: int, **more: int) -> bytes:
    file = folder / "orders.csv"
    generate.write(file, seed, **more)
    return file.read_bytes()


def test_the_same_seed_makes_the_same_bytes(tmp_path: Path) -> None:
    assert bytes_of(tmp_path, 7) == bytes_of(tmp_path, 7)


def test_another_seed_makes_another_day(tmp_path: Path) -> None:
    assert bytes_of(tmp_path, 7) != bytes_of(tmp_path, 8)


@pytest.mark.parametrize("orders", [1, 2, 60, 120])
def test_a_day_has_as_many_invoices_as_it_was_asked_for(tmp_path: Path, orders: int) -> None:
    bytes_of(tmp_path, 3, orders=orders)
    assert len(read(tmp_path / "orders.csv", "CNY")) == orders


def paid_by(day: list[Invoice], customer: str) -> int:
    return sum(i.amount_minor for i in day if i.customer == customer and not i.is_cancellation)


def weight(invoice: Invoice) -> int:
    """Return what the lines above zero come to, in ten-thousandths."""
    return sum(invoice.by_supplier.values())


Untidy = Callable[[Invoice, list[Invoice]], bool]
UNTIDY: dict[str, Untidy] = {
    "an order of nobody": lambda i, day: i.amount_minor > 0 and not i.customer,
    "an order with postage": lambda i, day: HOUSE in i.by_supplier,
    "an order of several suppliers": lambda i, day: len(i.by_supplier) > 3,
    "an order with a line below zero": lambda i, day: 0 < 100 * i.amount_minor < weight(i) - 50,
    "an order in tenths of a cent": lambda i, day: weight(i) % 100 > 0,
    "an order of zero": lambda i, day: not i.is_cancellation and i.amount_minor == 0,
    "an order below zero": lambda i, day: not i.is_cancellation and i.amount_minor < 0,
    "a return in part": lambda i, day: i.is_cancellation and 0 < -i.amount_minor < paid_by(day, i.customer),
    "a return by a stranger": lambda i, day: i.is_cancellation and bool(i.customer) and not paid_by(day, i.customer),
    "a return by nobody": lambda i, day: i.is_cancellation and not i.customer,
    "a return of too much": lambda i, day: i.is_cancellation and -i.amount_minor > paid_by(day, i.customer) > 0,
    "a customer who buys twice": lambda i, day: sum(o.customer == i.customer != "" for o in day) > 2,
}


@pytest.mark.parametrize("seed", range(1, 11))
def test_every_day_of_the_usual_length_has_every_untidy_case(tmp_path: Path, seed: int) -> None:
    bytes_of(tmp_path, seed)
    day = read(tmp_path / "orders.csv", "CNY")
    assert [what for what, holds in UNTIDY.items() if not any(holds(invoice, day) for invoice in day)] == []


def test_a_tidy_day_is_seen_to_be_one() -> None:
    """Show that the cases above are told apart from an ordinary order."""
    ordinary = Invoice("1", "20001", datetime(2026, 1, 5, tzinfo=UTC), 675, {"1": 67_500})
    assert [what for what, holds in UNTIDY.items() if holds(ordinary, [ordinary])] == []
