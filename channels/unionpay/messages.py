"""The words of UnionPay ACP 5.1.0 and ours: fields, numbers, response codes. No signatures, no network."""

import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from urllib.parse import parse_qsl

from channels.contract import Outcome, Refused, Response, Unknown
from kernel.clock import BEIJING
from kernel.money import Money

MAX_DESCRIPTION = 32  # bytes of UTF-8
CNY = "156"  # ISO 4217 number
_UNWANTED = dict.fromkeys([*range(32), 127, 8232, 8233, *map(ord, "&=+{}[]<>\"'`\\|")], " ")


class Doubt(Exception):
    """An answer is readable and yet not believed: a field is missing, of a wrong kind, or not about our order."""

    stated_amount: Money | None = None


class AmountDiffers(Doubt):
    """The channel says that money moved, and names another amount than ours."""

    def __init__(self, stated: Money, ours: Money) -> None:
        super().__init__(f"amount differs: the channel says {stated}, we have {ours}")
        self.stated_amount = stated


# ---- kinds of message ------------------------------------------------------------------------------------------------

# txnType and txnSubType of what we send. An answer about a transaction carries the transaction's own, also where the
# question was 00/00: recorded of a payment and of an undo, see README.md.
CONSUME: Mapping[str, str] = {"txnType": "01", "txnSubType": "01"}  # 消费
RESERVE: Mapping[str, str] = {"txnType": "02", "txnSubType": "01"}  # 预授权
COMPLETE: Mapping[str, str] = {"txnType": "03", "txnSubType": "00"}  # 预授权完成
REFUND: Mapping[str, str] = {"txnType": "04", "txnSubType": "00"}  # 退货
UNDO: Mapping[str, str] = {"txnType": "31", "txnSubType": "00"}  # 消费撤销
RELEASE: Mapping[str, str] = {"txnType": "32", "txnSubType": "00"}  # 预授权撤销
QUESTION: Mapping[str, str] = {"txnType": "00", "txnSubType": "00"}  # 交易状态查询


def answers_a_question(fields: Mapping[str, str]) -> bool:
    """Tell whether an answer is a query's: it names the code of what was asked about, or found nothing."""
    return "origRespCode" in fields or fields.get("txnType") == QUESTION["txnType"]


# ---- numbers ---------------------------------------------------------------------------------------------------------

# An orderId is 8 to 40 letters and digits, of which a settlement file shows 32. Our references have a dash and only
# small letters, so a capital stands for the dash, and which one tells what of the order the number is: its payment,
# the completion of its reservation, or the release. Refunds have references of their own and the Z too.
PAYMENT, CAPTURE, VOID = "Z", "C", "V"
LONGEST = 32
_REFERENCE = re.compile(r"([0-9a-z]{1,6})-([0-9a-z]+)", re.ASCII)
_ORDER_ID = re.compile(r"([0-9a-z]{1,6})([ZCV])([0-9a-z]+)", re.ASCII)


def order_id(reference: str, what: str = PAYMENT) -> str:
    """Return the number a reference of ours has at UnionPay. Raises ValueError for one that cannot have any."""
    match = _REFERENCE.fullmatch(reference)
    number = f"{match[1]}{what}{match[2]}" if match else ""
    if not 8 <= len(number) <= LONGEST:
        raise ValueError(f"{reference!r} cannot be an orderId: small letters, digits, one dash, 8 to {LONGEST} long")
    return number


def reference(number: str) -> str:
    """Return our reference for a number of UnionPay's; a number that we did not make stays as it is."""
    match = _ORDER_ID.fullmatch(number)
    return f"{match[1]}-{match[3]}" if match else number


# ---- writing ---------------------------------------------------------------------------------------------------------


def beijing(moment: datetime) -> str:
    """Write an aware moment as UnionPay does: 20261124163000."""
    return moment.astimezone(BEIJING).strftime("%Y%m%d%H%M%S")


def description(words: str) -> str:
    """Return an order's description that UnionPay takes: no separators of its own messages, at most 32 bytes."""
    return words.translate(_UNWANTED).encode()[:MAX_DESCRIPTION].decode(errors="ignore").strip()


# ---- reading ---------------------------------------------------------------------------------------------------------


def fields_of(message: Response) -> dict[str, str]:
    """Return the fields of a notice, which is a form, or of an answer, which is not encoded. Raises Doubt."""
    form = message.headers.get("content-type", "").lower().startswith("application/x-www-form-urlencoded")
    try:
        text = message.body.decode()
        pairs = parse_qsl(text, True, True, errors="strict", max_num_fields=200) if form else _pairs(text)
    except ValueError as error:
        raise Doubt(f"not a message of UnionPay: {error}") from None
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise Doubt("a field stands twice in the message")
    return fields


def _pairs(text: str) -> list[tuple[str, str]]:
    """Return the pairs of `k=v&k=v`, where a value that begins with a bracket holds whatever stands inside it.

    Raises ValueError.
    """
    pairs: list[tuple[str, str]] = []
    at = 0
    while at < len(text):
        equals = text.find("=", at)
        if equals < 0 or "&" in text[at:equals]:
            raise ValueError(f"no value after {text[at : at + 40]!r}")
        end = _end_of_value(text, equals + 1)
        pairs.append((text[at:equals], text[equals + 1 : end]))
        at = end + 1
    return pairs


def _end_of_value(text: str, start: int) -> int:
    """Return where the value that begins at `start` ends."""
    if text[start : start + 1] in ("{", "["):
        depth = 0
        for at in range(start, len(text)):
            if text[at] in "{[":
                depth += 1
            elif text[at] in "}]":
                depth -= 1
                if depth == 0:
                    start = at + 1
                    break
        else:
            raise ValueError("a bracket is not closed")
        if text[start : start + 1] not in ("", "&"):
            raise ValueError("something follows a closed bracket")
    end = text.find("&", start)
    return len(text) if end < 0 else end


def expect(fields: Mapping[str, str], **ours: str) -> None:
    """Raise Doubt unless each of these fields is there and ours."""
    for name, value in ours.items():
        theirs = _text(fields, name)
        if theirs != value:
            raise Doubt(f"{name} differs: the channel says {theirs[:64]}, we have {value}")


def amount(fields: Mapping[str, str]) -> Money:
    """Return txnAmt. Raises Doubt."""
    text = _text(fields, "txnAmt")
    if not re.fullmatch(r"[0-9]{1,12}", text, re.ASCII) or int(text) == 0:
        raise Doubt(f"txnAmt {text[:40]!r} is not an amount of money")
    if fields.get("currencyCode", CNY) != CNY:
        raise Doubt(f"currencyCode {fields['currencyCode'][:10]!r} is not that of CNY")
    return Money(int(text), "CNY")


def query_id(fields: Mapping[str, str]) -> str:
    """Return queryId, UnionPay's number of the transaction. Raises Doubt."""
    text = _text(fields, "queryId")
    if not re.fullmatch(r"[0-9]{10,32}", text, re.ASCII):
        raise Doubt(f"queryId {text[:64]!r} is not a number of UnionPay")
    return text


def happened_at(fields: Mapping[str, str], *, sent: datetime) -> datetime:
    """Return traceTime, which names no year: the first such moment that is not before we sent the order. Raises Doubt.

    sent: when the order was made; the two clocks may differ by minutes.
    """
    text = _text(fields, "traceTime")
    start = sent.astimezone(BEIJING) - timedelta(hours=1)
    for year in (start.year, start.year + 1):
        try:
            moment = datetime.strptime(f"{year}{text}", "%Y%m%d%H%M%S").replace(tzinfo=BEIJING)
        except ValueError:
            continue  # 29 February of another year, or no time at all
        if moment >= start:
            return moment
    raise Doubt(f"traceTime {text[:40]!r} is not a time after the order was made")


def moment(fields: Mapping[str, str], name: str) -> datetime:
    """Return a full time in Beijing such as txnTime. Raises Doubt."""
    text = _text(fields, name)
    try:
        if len(text) != 14:
            raise ValueError
        return datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=BEIJING)
    except ValueError:
        raise Doubt(f"{name} {text[:40]!r} is not a time") from None


def _text(fields: Mapping[str, str], name: str) -> str:
    try:
        return fields[name]
    except KeyError:
        raise Doubt(f"{name} is missing") from None


# ---- response codes --------------------------------------------------------------------------------------------------

DONE = ("00", "A6")  # A6: done, with a defect that is UnionPay's to mend
UNDECIDED = ("03", "04", "05")  # timed out, state unclear, accepted: ask later
TAKEN = ("00", "05")  # in answer to a message about a transaction: UnionPay has it
DUPLICATE = "12"
NOT_FOUND = "34"
NO_FILE = "98"

Says = Callable[[str, str], Outcome]  # (rail's code, its words) → what that means


def _final(*, retriable: bool = False) -> Says:
    return lambda code, words: Refused(code, words, retriable=retriable)


# The request was never looked at as an order: our key, our rights or our form are wrong. Nothing was done.
_NOT_ADMITTED: dict[str, Says] = {
    "10": _final(),  # malformed
    "11": _final(retriable=True),  # signature
    "13": _final(),  # a field is missing
    "31": _final(retriable=True),  # the merchant's state
    "32": _final(retriable=True),  # no right to this transaction
}
PAY: Mapping[str, Says] = {
    **_NOT_ADMITTED,
    "33": _final(retriable=True),  # over a limit
    "38": _final(retriable=True),  # UnionPay's risk control
    "39": _final(retriable=True),  # outside the hours of this transaction
    **{str(code): _final() for code in range(60, 69)},  # the issuer of the payer's card: only the payer can change that
}
# Of messages about a transaction that was done: refund, undo, completion, release.
FOLLOW_UP: Mapping[str, Says] = {
    **PAY,
    "35": _final(),  # the original is missing, or in no state for this
    "36": _final(),  # differs from the original, as in asking for more than it was
}


def unknown(code: str, words: str) -> Unknown:
    """Return that a code concludes nothing."""
    return Unknown(f"respCode {code}: {words}".rstrip(": "))
