"""Card numbers: what counts as one where it would be kept, and what is hidden where people read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel import cards
from kernel.cards import holds_card_number, luhn, masked
from kernel.ids import BODY_LENGTH

# Numbers that networks and processors publish for tests; nobody's.
PUBLISHED = [
    "4242424242424242",  # Visa
    "4222222222222",  # Visa, 13 digits
    "5555555555554444",  # Mastercard
    "2223003122003222",  # Mastercard's second range
    "378282246310005",  # American Express
    "6011111111111117",  # Discover
    "30569309025904",  # Diners Club
    "3566002020360505",  # JCB
    "6200000000000005",  # UnionPay
    "6205500000000000004",  # UnionPay, 19 digits
    "6759649826438453",  # Maestro
]
NUMBERS = st.integers(10**10, 10**18 - 1).map(str).map(lambda digits: digits + check_digit(digits))
SEPARATORS = [" ", "-", "  ", "\u00a0", "\u2009", "–", "—", "\u2011", ".", "_", "/", "\t", "\u3000", "・", " - "]


def check_digit(digits: str) -> str:
    return next(digit for digit in "0123456789" if luhn(digits + digit))


def wrong(number: str) -> str:
    """Return the number with another check digit."""
    return number[:-1] + str((int(number[-1]) + 1) % 10)


@pytest.mark.parametrize("number", PUBLISHED)
def test_a_published_number_is_found_and_hidden_however_it_is_written(number: str) -> None:
    fours = [number[at : at + 4] for at in range(0, len(number), 4)]
    full_width = "".join(chr(0xFF10 + int(digit)) for digit in number)
    arabic = "".join(chr(0x0660 + int(digit)) for digit in number)
    written = [number, full_width, arabic, *(separator.join(fours) for separator in SEPARATORS)]
    for one in written:
        for text in (one, f"tok_{one}", f"card {one} 12/29", f"x{one}y", f"2026-11-29 {one}", f"7 {one} 1226"):
            assert holds_card_number(text), text
            assert number[-4:] in masked(text), text
            assert "card number" in masked(text), text
            assert not holds_card_number(masked(text).replace(number[-4:], "")), text
    assert not holds_card_number(wrong(number))


@given(NUMBERS)
def test_every_row_of_12_to_19_digits_with_its_check_digit_counts(number: str) -> None:
    assert holds_card_number(number)
    assert holds_card_number(f"tok_{number}")
    assert not holds_card_number(wrong(number))


@given(st.text(alphabet="0123456789", max_size=11))
def test_fewer_digits_are_no_card(digits: str) -> None:
    assert not holds_card_number(digits)
    assert masked(digits) == digits


def test_a_number_with_its_expiry_date_or_after_zeros_is_one() -> None:
    assert holds_card_number("42424242424242421229")
    assert holds_card_number("00000042424242424242421229123")
    assert not holds_card_number("42424242424242431229")


@pytest.mark.parametrize(
    "text",
    [
        "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o",
        "pm_1PdFq2KZ9xJ3yWv0aB7cD8eF",
        "123e4567-e89b-12d3-a456-426614174000",
        "2026-11-29T18:16:51.123456Z",
        "",
    ],
)
def test_what_rails_call_payers_and_tokens_is_no_card(text: str) -> None:
    assert not holds_card_number(text)


@pytest.mark.parametrize(
    "text",
    [
        "order 1234567812345670",  # the check digit fits; no issuer has 1234
        "运单 9400110200881234567895",  # a parcel
        "order 4242424242424241",  # no check digit
        "trade_no 4200001234202611291234567890",  # a wallet's number of 28 digits
        "pay_" + "4242424242424242".rjust(BODY_LENGTH, "a"),
        "req_" + "a" * (BODY_LENGTH - 16) + "5555555555554444",
        "at 2026-11-29 18:16:51.123456 in 12.50 ms",
    ],
)
def test_other_numbers_stay_readable_in_logs(text: str) -> None:
    assert masked(text) == text


def test_what_stands_round_a_hidden_number_stays() -> None:
    assert masked("pay 4242 4242 4242 4242 and 5555-5555-5555-4444, please") == (
        "pay [card number …4242] and [card number …4444], please"
    )


@given(st.text())
def test_hiding_is_done_once_and_fails_on_no_text(text: str) -> None:
    assert masked(masked(text)) == masked(text)
    holds_card_number(text)


BETWEEN = st.text(st.sampled_from(" \t\n\x0b\x0c\r\x1c\x1d\x1e\x1f._/-"), max_size=3)


@given(st.lists(st.tuples(st.sampled_from("0123456789"), BETWEEN), min_size=12, max_size=24), st.text(max_size=5))
def test_the_quick_look_lets_every_row_of_digits_pass(row: list[tuple[str, str]], around: str) -> None:
    text = around + "".join(digit + between for digit, between in row) + around
    assert cards._RUN.search(text) is not None
    assert cards._may_hold_a_run(text)


def test_the_quick_look_is_done_with_a_line_of_the_access_log() -> None:
    line = '{"at":"2026-11-30T05:12:18.123Z","request_id":"req_019a22a9418c664a54a894aedf","status":201,"ms":123.45}'
    assert not cards._may_hold_a_run(line)
    assert cards._may_hold_a_run(line + PUBLISHED[0])
