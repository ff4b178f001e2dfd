"""The text of a merchant's payment code 商户收款码 as EMVCo writes it (QRCPS-MPM): built, and read strictly. Pure.

A code is a row of data objects: two digits that name one, two digits for the length of its value in characters, the
value. The first says which version it is, the last is a checksum over the UTF-8 bytes of all before it.
Source: EMV QR Code Specification for Payment Systems, Merchant-Presented Mode, version 1.1 (November 2020), sections 3
and 4. Where that leaves a doubt, what two readers could understand differently is refused.
"""

import binascii
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from typing import Any

from iso4217 import Currency

from kernel.money import Money, from_major, is_currency

MOST_CHARACTERS = 512  # that a code we build may have; the standard advises it, so that phones can read it
MOST_BYTES = 2953  # that any QR code can hold; a text with more was never in one

_CHECKSUM = re.compile(r"[0-9A-F]{4}", re.ASCII)
_DIGITS = re.compile(r"[0-9]+", re.ASCII)
# A point may stand with no decimals behind it ("98."), in an amount and in a percentage (ids 54, 56 and 57).
_AMOUNT = re.compile(r"[0-9]+(\.[0-9]*)?", re.ASCII)
_COUNTRY = re.compile(r"[A-Z]{2}", re.ASCII)
_LANGUAGE = re.compile(r"[A-Za-z]{2}", re.ASCII)
_PERCENT = re.compile(r"([0-9]{1,2})(?:\.([0-9]{0,2}))?", re.ASCII)
_ID = re.compile(r"[0-9]{2}", re.ASCII)

VERSION, KIND, MCC, CURRENCY, AMOUNT, TIP, TIP_FIXED, TIP_PERCENT = "00", "01", "52", "53", "54", "55", "56", "57"
COUNTRY, NAME, CITY, POSTCODE, ADDITIONAL, CHECKSUM, LOCAL = "58", "59", "60", "61", "62", "63", "64"
GUID = "00"  # in a template: whose it is, a globally unique identifier
LANGUAGE, LOCAL_NAME, LOCAL_CITY = "00", "01", "02"
# What field 62 holds, by the names people use; `***` there asks the payer's app for the value.
ADDITIONAL_NAMES: Mapping[str, str] = {
    "01": "bill",
    "02": "mobile",
    "03": "store",
    "04": "loyalty",
    "05": "reference",
    "06": "customer",
    "07": "terminal",
    "08": "purpose",
    "09": "ask_payer_for",
    "10": "merchant_tax_id",
    "11": "merchant_channel",
}
MANDATORY = (MCC, CURRENCY, COUNTRY, NAME, CITY)
LONGEST: Mapping[str, int] = {NAME: 25, CITY: 15, POSTCODE: 10, AMOUNT: 13, TIP_FIXED: 13, TIP_PERCENT: 5}


class BadCode(ValueError):
    """The text is no payment code, or not one with a single meaning; `code` is stable, the message for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class TipKind(StrEnum):
    """How a tip or convenience fee is added."""

    ASKED = "asked"  # the payer's app asks
    FIXED = "fixed"
    PERCENT = "percent"


_TIP_CODES: Mapping[str, TipKind] = {"01": TipKind.ASKED, "02": TipKind.FIXED, "03": TipKind.PERCENT}


@dataclass(frozen=True, slots=True)
class Tip:
    """A tip or convenience fee on top of the amount."""

    kind: TipKind
    fixed: Money | None = None  # with FIXED
    percent_bp: int | None = None  # with PERCENT: basis points 万分之一, 1 to 9999


@dataclass(frozen=True, slots=True)
class Local:
    """The merchant's name and city in another language."""

    language: str  # ISO 639, two letters
    name: str
    city: str | None = None


@dataclass(frozen=True, slots=True)
class PaymentCode:
    """What a merchant's code says.

    accounts: by id 02 to 51, whom to pay; 02 to 25 are texts of card schemes, 26 to 51 templates (id → text) whose 00
    says whose they are. templates: 80 to 99, likewise. others: 65 to 79, kept for the standard's later versions.
    """

    name: str  # at most 25 characters
    city: str  # at most 15 characters
    currency: str
    mcc: str  # merchant category code 商户类别码, four digits
    accounts: Mapping[str, str | Mapping[str, str]]
    country: str = "CN"
    dynamic: bool | None = None  # made for one payment, or for many; None: the code does not say
    amount: Money | None = None  # None: the payer types it
    tip: Tip | None = None
    postcode: str | None = None
    additional: Mapping[str, str] = field(default_factory=dict)  # field 62 by id; see ADDITIONAL_NAMES
    local: Local | None = None
    templates: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    others: Mapping[str, str] = field(default_factory=dict)


# ---- building --------------------------------------------------------------------------------------------------------


def build(code: PaymentCode) -> str:
    """Return the code's text, for a QR code. Raises BadCode for what would not be read back as it is."""
    for name, value in ((NAME, code.name), (CITY, code.city)):
        if not value.isascii():
            raise BadCode("bad_value", f"field {name} is in ASCII; the name in Chinese goes into `local`")
    text = "".join(_object(number, value) for number, value in _objects(code)) + f"{CHECKSUM}04"
    text += checksum(text)
    if len(text) > MOST_CHARACTERS:
        raise BadCode("too_long", f"the code has {len(text)} characters; phones read {MOST_CHARACTERS} at most")
    if parse(text) != code:
        raise BadCode("bad_value", "the code would be read otherwise than it is written")
    return text


def checksum(text: str) -> str:
    """Return the checksum of everything before it, `6304` included: CRC-16/CCITT-FALSE over UTF-8, upper-case."""
    return f"{binascii.crc_hqx(text.encode(), 0xFFFF):04X}"


def _objects(code: PaymentCode) -> Iterator[tuple[str, str]]:
    """Yield (id, value) in the order of the ids, all but the checksum."""
    yield VERSION, "01"
    if code.dynamic is not None:
        yield KIND, "12" if code.dynamic else "11"
    for number, value in sorted(code.accounts.items()):
        yield number, value if isinstance(value, str) else _template(value)
    yield MCC, code.mcc
    yield CURRENCY, _numeric(code.currency)
    if code.amount is not None:
        yield AMOUNT, _major(code.amount, code.currency)
    if code.tip is not None:
        yield from _tip(code.tip, code.currency)
    yield COUNTRY, code.country
    yield NAME, code.name
    yield CITY, code.city
    if code.postcode is not None:
        yield POSTCODE, code.postcode
    if code.additional:
        yield ADDITIONAL, _template(code.additional)
    if code.local is not None:
        told = {LANGUAGE: code.local.language, LOCAL_NAME: code.local.name}
        yield LOCAL, _template(told | ({LOCAL_CITY: code.local.city} if code.local.city is not None else {}))
    yield from sorted(code.others.items())
    for number, template in sorted(code.templates.items()):
        yield number, _template(template)


def _tip(tip: Tip, currency: str) -> Iterator[tuple[str, str]]:
    yield TIP, next(number for number, kind in _TIP_CODES.items() if kind is tip.kind)
    if tip.fixed is not None:
        yield TIP_FIXED, _major(tip.fixed, currency)
    if tip.percent_bp is not None:
        yield TIP_PERCENT, f"{tip.percent_bp // 100}.{tip.percent_bp % 100:02d}"


def _template(values: Mapping[str, str]) -> str:
    return "".join(_object(number, value) for number, value in sorted(values.items()))


def _object(number: str, value: str) -> str:
    if not _ID.fullmatch(number):
        raise BadCode("bad_value", f"{number[:10]!r} is no id: ids are two digits")
    if not 0 < len(value) <= 99:
        raise BadCode("bad_value", f"field {number} has {len(value)} characters; it may have 1 to 99")
    return f"{number}{len(value):02d}{value}"


def _major(amount: Money, currency: str) -> str:
    if amount.currency != currency:
        raise BadCode("bad_value", f"the code is in {currency}, an amount of it in {amount.currency}")
    return amount.major()


# ---- reading ---------------------------------------------------------------------------------------------------------


def parse(text: str) -> PaymentCode:
    """Return what a code says. Raises BadCode.

    Refused: repeated ids, lengths past the end, a checksum that is absent, not last or wrong, another version, missing
    mandatory fields, values of another form than the standard gives them, and characters nobody can see.
    """
    _plain(text)
    objects = _split(text, "the code")
    _checked(text, objects)
    if next(iter(objects)) != VERSION or objects[VERSION] != "01":
        raise BadCode("not_a_code", "a code begins with field 00, which says 01")
    missing = [number for number in MANDATORY if number not in objects]
    if missing:
        raise BadCode("missing", f"mandatory fields are missing: {', '.join(missing)}")
    accounts = {n: _template_of(n, v) if n >= "26" else v for n, v in objects.items() if "02" <= n <= "51"}
    if not accounts:
        raise BadCode("missing", "the code names nobody to pay: none of the fields 02 to 51 is there")
    for number, value in objects.items():
        if len(value) > LONGEST.get(number, 99):
            raise BadCode("bad_value", f"field {number} has {len(value)} characters; at most {LONGEST[number]} fit")
    currency = _currency(objects[CURRENCY])
    return PaymentCode(
        name=objects[NAME],
        city=objects[CITY],
        currency=currency,
        mcc=_form(MCC, objects[MCC], _DIGITS, 4),
        accounts=accounts,
        country=_form(COUNTRY, objects[COUNTRY], _COUNTRY, 2),
        dynamic=_dynamic(objects.get(KIND)),
        amount=_money(AMOUNT, objects[AMOUNT], currency) if AMOUNT in objects else None,
        tip=_tip_of(objects, currency),
        postcode=objects.get(POSTCODE),
        additional=_additional(objects[ADDITIONAL]) if ADDITIONAL in objects else {},
        local=_local(objects[LOCAL]) if LOCAL in objects else None,
        templates={n: _template_of(n, v) for n, v in objects.items() if n >= "80"},
        others={n: v for n, v in objects.items() if "65" <= n <= "79"},
    )


def _plain(text: str) -> None:
    """Refuse texts that no code can hold, and characters that do not show: what is signed by eye must be seen."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise BadCode("bad_character", "the text is no Unicode") from None
    if size > MOST_BYTES:
        raise BadCode("too_long", f"the text has {size} bytes; a QR code holds {MOST_BYTES} at most")
    for place, character in enumerate(text):
        if unicodedata.category(character).startswith("C"):
            raise BadCode("bad_character", f"character {place + 1} is U+{ord(character):04X}, which does not show")


def _split(text: str, where: str) -> dict[str, str]:
    """Return the data objects of a text by their ids, in their order. Raises BadCode."""
    found: dict[str, str] = {}
    place = 0
    while place < len(text):
        number, length = text[place : place + 2], text[place + 2 : place + 4]
        if not (_ID.fullmatch(number) and _ID.fullmatch(length)):
            raise BadCode("not_a_code", f"{where}: at character {place + 1} no id and length begin a field")
        value = text[place + 4 : place + 4 + int(length)]
        if len(value) != int(length):
            raise BadCode("truncated", f"{where}: field {number} is to have {length} characters, {len(value)} are left")
        if not value:
            raise BadCode("bad_value", f"{where}: field {number} is empty")
        if number in found:
            raise BadCode("repeated", f"{where}: field {number} stands twice")
        found[number] = value
        place += 4 + int(length)
    if not found:
        raise BadCode("not_a_code", f"{where} is empty")
    return found


def _checked(text: str, objects: Mapping[str, str]) -> None:
    """Raise BadCode unless the checksum is there, last, and right."""
    if CHECKSUM not in objects:
        raise BadCode("no_checksum", "the checksum, field 63, is missing")
    stated = objects[CHECKSUM]
    if list(objects)[-1] != CHECKSUM:
        raise BadCode("no_checksum", "the checksum, field 63, is not the last field")
    if not _CHECKSUM.fullmatch(stated):
        raise BadCode("no_checksum", f"the checksum is {stated[:10]!r}; it is four of 0-9A-F")
    right = checksum(text[:-4])
    if stated != right:
        raise BadCode("wrong_checksum", f"the checksum is {stated}, of these characters it would be {right}")


def _template_of(number: str, value: str) -> Mapping[str, str]:
    """Return the fields of a template, which says first of all whose it is. Raises BadCode."""
    fields = _split(value, f"field {number}")
    if GUID not in fields:
        raise BadCode("missing", f"field {number} does not say whose it is: its 00 is missing")
    if len(fields[GUID]) > 32:
        raise BadCode("bad_value", f"field {number}: its 00 has more than 32 characters")
    return fields


def _additional(value: str) -> Mapping[str, str]:
    fields = _split(value, f"field {ADDITIONAL}")
    longest = {"09": 3, "10": 20, "11": 3}
    for number, text in fields.items():
        limit = longest.get(number, 25) if number < "12" else 99
        if len(text) > limit:
            raise BadCode("bad_value", f"field 62: its {number} has {len(text)} characters; at most {limit} fit")
    wishes = fields.get("09", "")
    if set(wishes) - set("AME") or len(set(wishes)) != len(wishes):
        raise BadCode("bad_value", f"field 62: its 09 is {wishes[:10]!r}; it is made of A, M and E, each once")
    return fields


def _local(value: str) -> Local:
    fields = _split(value, f"field {LOCAL}")
    for number in (LANGUAGE, LOCAL_NAME):
        if number not in fields:
            raise BadCode("missing", f"field {LOCAL}: its {number} is missing")
    strange = fields.keys() - {LANGUAGE, LOCAL_NAME, LOCAL_CITY}
    if strange:
        raise BadCode("bad_value", f"field {LOCAL} has fields not known: {', '.join(sorted(strange))}")
    if len(fields[LOCAL_NAME]) > LONGEST[NAME] or len(fields.get(LOCAL_CITY, "")) > LONGEST[CITY]:
        raise BadCode("bad_value", f"field {LOCAL}: a name has 25 characters at most, a city 15")
    return Local(_form(LOCAL, fields[LANGUAGE], _LANGUAGE, 2), fields[LOCAL_NAME], fields.get(LOCAL_CITY))


def _dynamic(kind: str | None) -> bool | None:
    if kind not in (None, "11", "12"):
        raise BadCode("bad_value", f"field 01 is {kind[:10]!r}; it is 11 (static) or 12 (dynamic)")
    return None if kind is None else kind == "12"


def _tip_of(objects: Mapping[str, str], currency: str) -> Tip | None:
    """Return the tip; its amount is there exactly where its kind wants one. Raises BadCode."""
    fixed, percent = objects.get(TIP_FIXED), objects.get(TIP_PERCENT)
    kind = _TIP_CODES.get(objects[TIP]) if TIP in objects else None
    if TIP in objects and kind is None:
        raise BadCode("bad_value", f"field 55 is {objects[TIP][:10]!r}; it is 01, 02 or 03")
    if (fixed is not None) != (kind is TipKind.FIXED) or (percent is not None) != (kind is TipKind.PERCENT):
        raise BadCode("bad_value", "field 56 belongs to 02 in field 55, field 57 to 03, and neither to anything else")
    if kind is None:
        return None
    return Tip(
        kind,
        fixed=None if fixed is None else _money(TIP_FIXED, fixed, currency),
        percent_bp=None if percent is None else _percent_bp(percent),
    )


def _percent_bp(value: str) -> int:
    match = _PERCENT.fullmatch(value)
    points = int(match[1]) * 100 + int((match[2] or "").ljust(2, "0")) if match else 0
    if points == 0:
        raise BadCode("bad_value", f"field 57 is {value!r}; it is a percentage from 0.01 to 99.99")
    return points


def _money(number: str, value: str, currency: str) -> Money:
    if not _AMOUNT.fullmatch(value):
        raise BadCode(
            "bad_value", f"field {number} is {value!r}; an amount is digits, with one point at most behind the first"
        )
    try:
        amount = from_major(value.removesuffix("."), currency)
    except ValueError:
        raise BadCode("bad_value", f"field {number}: {currency} has no amount {value!r}") from None
    if amount.minor == 0:
        raise BadCode("bad_value", f"field {number} is nothing; a code without an amount leaves it out")
    return amount


def _form(number: str, value: str, form: re.Pattern[str], length: int) -> str:
    if len(value) != length or not form.fullmatch(value):
        raise BadCode("bad_value", f"field {number} has {value[:20]!r}, which is not of the form it has")
    return value


def _currency(numeric: str) -> str:
    code = _alphabetic().get(_form(CURRENCY, numeric, _DIGITS, 3))
    if code is None:
        raise BadCode("bad_value", f"field 53 is {numeric}, which is no currency anyone is paid in")
    return code


def _numeric(currency: str) -> str:
    if not is_currency(currency):
        raise BadCode("bad_value", f"{currency[:10]!r} is no currency")
    return f"{Currency(currency).number:03d}"


@cache
def _alphabetic() -> Mapping[str, str]:
    """Return the alphabetic code of each currency by its numeric one."""
    return {f"{currency.number:03d}": currency.code for currency in Currency if is_currency(currency.code)}


# ---- telling ---------------------------------------------------------------------------------------------------------


def described(code: PaymentCode) -> dict[str, Any]:
    """Return a code in words and values that JSON has, for people and machines."""
    tip = code.tip and {
        "kind": str(code.tip.kind),
        "fixed": _told(code.tip.fixed),
        "percent_bp": code.tip.percent_bp,
    }
    local = code.local and {"language": code.local.language, "name": code.local.name, "city": code.local.city}
    return {
        "kind": None if code.dynamic is None else "dynamic" if code.dynamic else "static",
        "name": code.name,
        "city": code.city,
        "country": code.country,
        "postcode": code.postcode,
        "mcc": code.mcc,
        "currency": code.currency,
        "amount": _told(code.amount),
        "tip": tip,
        "accounts": {number: _plain_values(value) for number, value in code.accounts.items()},
        "additional": {ADDITIONAL_NAMES.get(number, number): value for number, value in code.additional.items()},
        "local": local,
        "templates": {number: dict(value) for number, value in code.templates.items()},
        "others": dict(code.others),
    }


def _told(amount: Money | None) -> dict[str, Any] | None:
    return None if amount is None else {"minor": amount.minor, "major": amount.major(), "currency": amount.currency}


def _plain_values(value: str | Mapping[str, str]) -> Any:
    return value if isinstance(value, str) else dict(value)
