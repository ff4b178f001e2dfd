"""Order files: read whole and exactly, or refused with the line that is wrong."""

import csv
import io
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from math import floor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.trials.replay.orders import HOUSE, BadOrders, Invoice, invoices, net_minor, read, suppliers

HEAD = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"
AT = "2010-12-01 08:26:00"


def line(number: str = "1", quantity: object = 1, price: object = "1.00", **more: str) -> str:
    """Return one line of a file; more: stock, at, customer."""
    stock, at, customer = more.get("stock", "85123A"), more.get("at", AT), more.get("customer", "17850.0")
    return f"{number},{stock},WHITE LANTERN,{quantity},{at},{price},{customer},United Kingdom"


def of(*lines: str, currency: str = "GBP") -> list[Invoice]:
    return invoices(io.StringIO("\n".join([HEAD, *lines, ""]), newline=""), currency)


def amount(*lines: str, currency: str = "GBP") -> int:
    [invoice] = of(*lines, currency=currency)
    return invoice.amount_minor


# ---- amounts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("quantity", "price", "minor"),
    [
        (1, "0.005", 1),
        (1, "0.0049999", 0),
        (1, "1.005", 101),  # a float would make 1.00 of it
        (3, "0.335", 101),
        (-1, "0.005", -1),
        (-1, "1.005", -101),
        (-1, "0.0049999", 0),
        (0, "9.99", 0),
        ("6.0", "2.55", 1530),
        ("1e2", ".5", 5000),
        ("+2", "2.", 400),
    ],
)
def test_an_amount_is_rounded_half_up_and_away_from_zero(quantity: object, price: str, minor: int) -> None:
    assert amount(line(quantity=quantity, price=price)) == minor


def test_an_invoice_is_rounded_once_and_not_once_a_line() -> None:
    assert amount(*[line(price="0.004")] * 5) == 2
    assert amount(*[line(price="0.005")] * 2) == 1


def test_negative_lines_lower_a_positive_order() -> None:
    [order] = of(line(quantity=10, price="2.50"), line(quantity=-1, price="3.125", stock="D"))
    assert order.amount_minor == 2188  # 21.875
    assert dict(order.by_supplier) == {"8": 250_000}


@pytest.mark.parametrize(("currency", "minor"), [("GBP", 1235), ("JPY", 12), ("KWD", 12_345)])
def test_the_currency_decides_how_many_decimals_count(currency: str, minor: int) -> None:
    assert amount(line(price="12.345"), currency=currency) == minor


def test_no_digit_is_lost_where_a_float_or_a_short_decimal_would_lose_it() -> None:
    lines = [line(quantity="123456789012345", price="1234567890.123456789")] * 3
    exact = 3 * Fraction("123456789012345") * Fraction("1234567890.123456789") * 100
    assert amount(*lines) == floor(exact + Fraction(1, 2))


NUMBERS = st.decimals(min_value=-(10**6), max_value=10**6, places=4, allow_nan=False, allow_infinity=False)


@given(st.lists(st.tuples(st.integers(-9999, 9999), NUMBERS), min_size=1, max_size=20))
def test_every_amount_is_what_fractions_make_of_it(rows: list[tuple[int, Decimal]]) -> None:
    exact = sum((quantity * Fraction(price) for quantity, price in rows), Fraction(0)) * 100
    half_up = floor(abs(exact) + Fraction(1, 2))
    assert amount(*(line(quantity=q, price=f"{p:f}") for q, p in rows)) == (half_up if exact >= 0 else -half_up)


# ---- suppliers -------------------------------------------------------------------------------------------------------


def test_a_stock_codes_first_digit_is_the_supplier_and_letters_are_the_house() -> None:
    found = of(
        line(stock="85123A", price="1.00"),
        line(stock="22720", price="2.00"),
        line(stock="POST", price="3.00"),
        line(stock="gift_0001_20", price="4.00"),
        line(stock="", price="5.00"),
        line(stock="٣21", price="6.00"),  # a digit, but no ASCII one
    )
    assert dict(found[0].by_supplier) == {"2": 20_000, "8": 10_000, HOUSE: 180_000}
    assert list(suppliers(found)) == ["2", "8", HOUSE]


def test_weights_are_never_negative_nor_zero() -> None:
    [order] = of(
        line(stock="1", quantity=5, price="1.00"),
        line(stock="2", quantity=-1, price="1.00"),
        line(stock="3", quantity=1, price="0"),
        line(stock="4", quantity=1, price="0.000001"),
    )
    assert dict(order.by_supplier) == {"1": 50_000, "4": 1}


def test_weights_stay_within_what_the_merchant_api_takes() -> None:
    [order] = of(line(stock="1", price="900000000000"), line(stock="2", price="1"))
    assert max(order.by_supplier.values()) <= 10**12
    assert order.by_supplier["2"] == 1


# ---- customers, cancellations, order ---------------------------------------------------------------------------------


def test_customers_are_read_as_whole_numbers_and_may_be_missing() -> None:
    found = {
        invoice.number: invoice.customer
        for invoice in of(line("1"), line("2", customer=""), line("3", customer="17850"))
    }
    assert found == {"1": "17850", "2": "", "3": "17850"}


def test_a_leading_c_makes_a_cancellation_which_comes_after_its_order() -> None:
    found = of(line("C5", quantity=-1), line("5"), line("4", at="2010-12-01 08:27:00"))
    assert [(invoice.number, invoice.is_cancellation) for invoice in found] == [
        ("5", False),
        ("C5", True),
        ("4", False),
    ]


def test_times_with_and_without_their_offset_are_put_in_one_order() -> None:
    found = of(line("1", at="2010-12-01T08:30:00+02:00"), line("2", at="2010-12-01 06:29:00"))
    assert [invoice.number for invoice in found] == ["2", "1"]
    assert found[1].at == datetime(2010, 12, 1, 6, 30, tzinfo=UTC)


def test_an_invoice_whose_lines_are_scattered_is_one_invoice() -> None:
    assert [(i.number, i.amount_minor) for i in of(line("1"), line("2"), line("1"))] == [("1", 200), ("2", 100)]


def test_the_net_is_orders_less_cancellations() -> None:
    assert net_minor(of(line("1", 5), line("C2", -2), line("3", -1))) == 200


# ---- the file itself -------------------------------------------------------------------------------------------------


def test_a_byte_order_mark_windows_line_ends_and_other_column_orders_are_read(tmp_path: Path) -> None:
    file = tmp_path / "orders.csv"
    file.write_bytes(
        "\ufeffUnitPrice,InvoiceNo,Quantity,CustomerID,StockCode,InvoiceDate\r\n2.55,536365,6,,22720,2010-12-01\r\n\r\n".encode()
    )
    [order] = read(file, "GBP")
    assert (order.number, order.amount_minor, order.at) == ("536365", 1530, datetime(2010, 12, 1, tzinfo=UTC))


def test_letters_in_another_encoding_harm_only_the_description(tmp_path: Path) -> None:
    file = tmp_path / "orders.csv"
    file.write_bytes(f"{HEAD}\n{line()}\n".replace("WHITE", "CAF\xc9").encode("latin-1"))
    assert [order.amount_minor for order in read(file, "GBP")] == [100]


def test_quoted_commas_and_line_breaks_are_part_of_the_description() -> None:
    text = f'{HEAD}\n1,8,"LANTERN, RED\nAND ""BIG""",2,{AT},1.5,,UK\n{line("2")}\n'
    assert [(i.number, i.amount_minor) for i in invoices(io.StringIO(text, newline=""), "GBP")] == [
        ("1", 300),
        ("2", 100),
    ]


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (line(quantity="NaN"), "Quantity 'NaN'"),
        (line(quantity="sNaN"), "Quantity 'sNaN'"),
        (line(quantity="Infinity"), "Quantity 'Infinity'"),
        (line(quantity="-inf"), "Quantity '-inf'"),
        (line(quantity="1e999"), "beyond anything"),
        (line(quantity="1e99"), "beyond anything"),
        (line(price="1e-99"), "beyond anything"),
        (line(quantity="0e99"), "beyond anything"),
        (line(quantity="1e9999999999"), "is not a number"),
        (line(quantity="1_000"), "Quantity '1_000'"),
        (line(quantity="٣"), "Quantity '٣'"),
        (line(quantity="0x10"), "Quantity '0x10'"),
        (line(quantity="six"), "Quantity 'six'"),
        (line(quantity=""), "Quantity ''"),
        (line(price="2,55"), "more fields"),
        (line(price="£2"), "UnitPrice '£2'"),
        (line(at="yesterday"), "InvoiceDate 'yesterday'"),
        (line(at=""), "InvoiceDate ''"),
        (line(number=" "), "empty InvoiceNo"),
        ("1,85123A,LANTERN", "has no Quantity, InvoiceDate, UnitPrice, CustomerID"),
        (line() + ",,", "more fields"),
        ('2,8,"LANTERN,1,2010-12-01,1.00,,UK', "is not CSV"),
        ('2,8,"LANTERN" RED,1,2010-12-01,1.00,,UK', "is not CSV"),
    ],
)
def test_a_line_that_cannot_be_read_is_named_and_nothing_of_the_file_is_used(bad: str, says: str) -> None:
    with pytest.raises(BadOrders) as refused:
        of(line(), line(), bad)
    assert "line 4" in str(refused.value)
    assert says in str(refused.value)


def test_lines_are_counted_as_an_editor_counts_them() -> None:
    with pytest.raises(BadOrders, match="line 5"):
        of('1,8,"TWO\nLINES",1,2010-12-01,1.00,,UK', "", line(quantity="six"))


@pytest.mark.parametrize("text", ["", HEAD, f"{HEAD}\n\n\n"])
def test_a_file_without_a_line_is_refused(text: str) -> None:
    with pytest.raises(BadOrders, match="no order lines"):
        invoices(text.splitlines(keepends=True), "GBP")


def test_a_missing_column_is_named() -> None:
    with pytest.raises(BadOrders, match="no column UnitPrice"):
        invoices([HEAD.replace("UnitPrice", "Price"), line()], "GBP")


def test_a_field_longer_than_any_is_refused() -> None:
    with pytest.raises(BadOrders, match="line 2 is not CSV"):
        of(line(stock="8" * (csv.field_size_limit() + 1)))


@pytest.mark.parametrize(("name", "why"), [("nowhere.csv", "No such file"), (".", "Is a directory")])
def test_a_file_that_cannot_be_opened_is_refused_with_its_name(tmp_path: Path, name: str, why: str) -> None:
    with pytest.raises(BadOrders, match=why) as refused:
        read(tmp_path / name, "GBP")
    assert str(tmp_path) in str(refused.value)


def test_what_is_wrong_inside_a_file_is_said_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "orders.csv").write_text(f"{HEAD}\n{line(quantity='six')}\n")
    with pytest.raises(BadOrders, match=r"orders\.csv: line 2"):
        read(tmp_path / "orders.csv", "GBP")
