"""Card numbers: found, so that a way to pay that holds one is refused, and hidden, so that no log or answer shows one.

Two questions, because their mistakes cost differently. `holds_card_number` is asked of fields in which a card number
would be kept or sent on: whatever could be one counts. `masked` is asked of free text: there a parcel's number that
only looks like one must stay readable, so an issuer's prefix is asked for as well.
Sources: ISO/IEC 7812-1:2017 (numbers of up to 19 digits, the last one a check digit by the Luhn formula) and the
issuers' published ranges, below. PCI DSS 4.0, 3.4.1, allows the last four digits to be shown.
"""

import re
from collections.abc import Iterator

# What people and forms put between the groups of a number: spaces of every width, hyphens and dashes, dots, lines.
_BETWEEN = r"[\s._/\-\u00ad\u00b7\u200b\u2010-\u2015\u2212\ufe58\ufe63\uff0d\uff0e\u30fb]"
# \d is every digit that Unicode has: full-width and Arabic ones are read by people, and by int(), like ours.
_RUN = re.compile(rf"\d(?:{_BETWEEN}{{0,3}}\d){{11,}}")
_GROUP = re.compile(r"\d+")
# The same for ASCII, looser and ten times as fast: without what may stand between them, twelve digits are in a row.
_ASCII_BETWEEN = bytes(i for i in range(128) if re.match(_BETWEEN, chr(i)))
_DIGITS_ALIKE = bytes(ord("0") if chr(i).isdigit() and i < 128 else ord("x") for i in range(256))
_TWELVE = b"0" * 12
# Random numbers in the form of RFC 9562: their groups may happen to be digits only, and are no card's.
_UUID = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\b", re.IGNORECASE)
_OURS = re.compile(r"\b[a-z]{2,4}_[0-9a-f]{26}\b")  # ids of this hub (kernel/ids.py), which logs are searched for
SHORTEST, LONGEST = 12, 19

# (first, last) prefix, and how long numbers that begin so are.
_ISSUERS: tuple[tuple[str, str, range], ...] = (
    ("1800", "1800", range(15, 16)),  # JCB
    ("2131", "2131", range(15, 16)),  # JCB
    ("2200", "2204", range(16, 20)),  # Mir
    ("2221", "2720", range(16, 17)),  # Mastercard
    ("300", "305", range(14, 20)),  # Diners Club
    ("3095", "3095", range(14, 20)),  # Diners Club
    ("34", "34", range(15, 16)),  # American Express
    ("3528", "3589", range(16, 20)),  # JCB
    ("36", "36", range(14, 20)),  # Diners Club
    ("37", "37", range(15, 16)),  # American Express
    ("38", "39", range(14, 20)),  # Diners Club
    ("4", "4", range(13, 20, 3)),  # Visa
    ("50", "50", range(12, 20)),  # Maestro, Verve, RuPay
    ("51", "55", range(16, 17)),  # Mastercard
    ("56", "58", range(12, 20)),  # Maestro
    ("60", "69", range(12, 20)),  # Discover, RuPay, UnionPay (62), Maestro
    ("81", "81", range(16, 20)),  # UnionPay, RuPay
    ("9792", "9792", range(16, 17)),  # Troy
)


def luhn(digits: str) -> bool:
    """Tell whether the last of these ASCII digits is the check digit of the others."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def holds_card_number(text: str) -> bool:
    """Tell whether the text holds what could be a card's number: 12 to 19 digits whose last is their check digit.

    Digits of any script count, together or in groups, wherever in the text they stand. A longer row of digits counts
    where it begins with an issued number, as one followed by the card's expiry date does.
    """
    if not _may_hold_a_run(text):
        return False
    for match in _RUN.finditer(_UUID.sub("x", text)):
        groups = [_plain(group[0]) for group in _GROUP.finditer(match[0])]
        for first, last in _windows(groups):
            if luhn("".join(groups[first : last + 1])):
                return True
        for long in (group.lstrip("0") for group in groups if len(group) > LONGEST):
            if any(_is_issued(long[:length]) for length in range(SHORTEST, LONGEST + 1)):
                return True
    return False


def masked(text: str) -> str:
    """Return the text with the card numbers in it hidden but for their last four digits.

    Hidden are groups of digits of which an issuer's prefix, its length and the check digit fit. Costs less than
    a microsecond for a line without any.
    """
    if not _may_hold_a_run(text) or _RUN.search(text) is None:
        return text
    kept = [match.span() for form in (_OURS, _UUID) for match in form.finditer(text)]
    parts, done = [], 0
    for run in _RUN.finditer(text):
        spans = [(run.start() + group.start(), run.start() + group.end()) for group in _GROUP.finditer(run[0])]
        groups = [_plain(text[start:end]) for start, end in spans]
        for first, last in _windows(groups):
            digits, start, end = "".join(groups[first : last + 1]), spans[first][0], spans[last][1]
            if start < done or not _is_issued(digits) or any(a <= start and end <= b for a, b in kept):
                continue
            parts += [text[done:start], f"[card number …{digits[-4:]}]"]
            done = end
    return "".join([*parts, text[done:]])


def _may_hold_a_run(text: str) -> bool:
    """Tell whether a row of digits as _RUN has it could be in the text; most lines of a log are done with this."""
    return not text.isascii() or _TWELVE in text.encode().translate(_DIGITS_ALIKE, _ASCII_BETWEEN)


def _windows(groups: list[str]) -> Iterator[tuple[int, int]]:
    """Yield (first, last) of neighbouring groups that have 12 to 19 digits together, longer ones first."""
    for first in range(len(groups)):
        ends, total = [], 0
        for last in range(first, len(groups)):
            total += len(groups[last])
            if total > LONGEST:
                break
            if total >= SHORTEST:
                ends.append(last)
        yield from ((first, last) for last in reversed(ends))


def _plain(digits: str) -> str:
    return "".join(str(int(digit)) for digit in digits)


def _is_issued(digits: str) -> bool:
    fits = any(first <= digits[: len(first)] <= last and len(digits) in lengths for first, last, lengths in _ISSUERS)
    return fits and luhn(digits)
