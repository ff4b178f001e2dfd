"""The words of the direct link: what is asked, and how answers are read. Pure.

A file of this bank holds the account that was asked about and the answers, each as the text that the bank signed.
Sources, and what none of them says: README.md.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from channels.banks.answers import Fate, LineStatus, Reason, StatusReport, Totals
from channels.banks.bookings import AccountStatement, Entry
from channels.banks.cmb.envelope import MAX_TEXT, parsed
from channels.banks.errors import BadStatement, plain
from channels.banks.orders import Instruction, Order, no_text
from kernel.errors import Rejected
from kernel.money import Money, from_major

PAY, BATCHES, LINES, RETURNS = "BB1PAYBH", "BB1QRYBT", "BB1QRYBD", "BB1PAYQB"
BOOKINGS, BALANCES, STANDING = "trsQryByBreakPoint", "NTQABINF", "NTQADINF"
OK = "SUC0000"
CURRENCY, CNY = "CNY", "10"
MOST_LINES = 1_000  # of one call; more would have to be sent in parts that only count together
LONGEST_NUMBER = 30  # 业务参考号
MOST_VALUE = 500  # characters of a value; the bank's longest has 200 or so
_NUMBER = re.compile(r"[0-9A-Za-z\-]{1,30}", re.ASCII)
_REFERENCE = re.compile(r"[0-9A-Za-z\-]{1,35}", re.ASCII)  # of whoever pays in: as long as ISO 20022 has it
_ACCOUNT = re.compile(r"[0-9A-Za-z\-]{1,35}", re.ASCII)
_PART = re.compile(r"(.+?)p[0-9]{1,4}", re.ASCII)
_BUSINESS = "N02030"  # 支付


def unsayable(name: str, account: str | None = None) -> str | None:
    """Return why a payee cannot be paid here; None where it can be. A name has 62 places, a Chinese character two."""
    if why := no_text("its name", name, 62):
        return why
    if len(name.encode("gb18030", "replace")) > 62:
        return f"its name is too long for the bank: 31 Chinese characters at most, not {name[:40]!r}"
    if account is not None and not _ACCOUNT.fullmatch(account):
        return f"its account number must be 1 to 35 letters, digits and hyphens, not {account[:40]!r}"
    return None


# ---- orders ----------------------------------------------------------------------------------------------------------


def parts(order: Order) -> list[tuple[str, Sequence[Instruction]]]:
    """Return an order as batches of the bank's, each with its number 批次编号. Raises Rejected (bad_instruction)."""
    numbers = [order.message_id, *(line.end_to_end_id for line in order.instructions)]
    for number in numbers:
        if not _NUMBER.fullmatch(number):
            raise _bad(f"{number[:40]!r} is no number for this bank: 1 to 30 letters, digits and hyphens")
    if not order.instructions or len(set(numbers)) != len(numbers):
        raise _bad("a batch has lines, each under a number of its own")
    for line in order.instructions:
        if why := unsayable(line.creditor_name, line.creditor_account):
            raise _bad(f"{line.end_to_end_id} cannot be paid: {why}")
        if line.amount.currency != CURRENCY or line.amount.minor <= 0:
            raise _bad(f"{line.end_to_end_id} asks to pay {line.amount}; the direct link pays CNY above zero")
    starts = range(0, len(order.instructions), MOST_LINES)
    return [
        (order.message_id if not start else f"{order.message_id}p{start // MOST_LINES + 1}",
         order.instructions[start : start + MOST_LINES])
        for start in starts
    ]  # fmt: skip


def message_of(number: str) -> str:
    """Return our message id of a batch's number at the bank."""
    match = _PART.fullmatch(number)
    return number if match is None else match[1]


def payment(order: Order, number: str, lines: Sequence[Instruction], mode: str) -> dict[str, Any]:
    """Return the body of BB1PAYBH 企银支付批量经办."""
    head = {"busMod": mode, "busCod": _BUSINESS, "bthNbr": number, "dtlNbr": str(len(lines)), "ctnFlg": "N"}
    return {
        "bb1bmdbhx1": [head],
        "bb1paybhx1": [
            {
                "dbtAcc": order.debtor_account,
                "crtAcc": line.creditor_account,
                "crtNam": line.creditor_name,
                "ccyNbr": CNY,
                "trsAmt": line.amount.major(),
                "bnkFlg": "Y",
                "eptDat": f"{order.execution_date:%Y%m%d}",
                "nusAge": line.remittance[:60] or number,
                "yurRef": line.end_to_end_id,
                "rcvChk": "1",  # 行内收方账号户名校验
            }
            for line in lines
        ],
    }


def is_of(row: Mapping[str, str], lines: Sequence[Instruction]) -> bool:
    """Tell whether a batch at the bank has as many lines, of as much, as these; which they are its report says."""
    total = sum(line.amount.minor for line in lines)
    return (row.get("dtlNum"), row.get("dtlAmt")) == (str(len(lines)), Money(total, CURRENCY).major())


def refusal(response: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return with what code and words the bank refused what was asked; None where it took it."""
    head = response.get("head") or {}
    if head.get("resultcode") != OK:
        return plain(head.get("resultcode"), 40), plain(head.get("resultmsg") or "", 300)
    for row in rows(response, "bb1paybhz1"):
        if (row.get("reqSts"), row.get("rtnFlg")) == ("FIN", "F"):
            return row.get("errCod") or "F", row.get("errTxt") or ""
    return None


# ---- answers ---------------------------------------------------------------------------------------------------------


def rows(response: Mapping[str, Any], name: str) -> list[dict[str, str]]:
    """Return a list of a response's body; texts without the spaces that the bank fills them up with."""
    body = response.get("body")
    found = body.get(name) if isinstance(body, dict) else None
    if found is None:
        return []
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise BadStatement("malformed", f"{name} is no list of records")
    return [{key: _told(value) for key, value in row.items()} for row in found]


def _told(value: Any) -> str:
    return "" if value is None else plain(getattr(value, "text", value), MOST_VALUE).strip()


def file_of(about: str, texts: Iterable[str]) -> bytes:
    """Return answers as a file. about: the account, or our message id, that they were asked about."""
    return json.dumps({"about": about, "answers": list(texts)}, ensure_ascii=False).encode()


def responses(content: bytes) -> tuple[str, list[Mapping[str, Any]]]:
    """Return what was asked about, and the responses in a file, in order. Raises BadStatement."""
    if len(content) > MAX_TEXT:
        raise BadStatement("too_big", f"{len(content)} bytes; at most {MAX_TEXT} are read")
    try:
        said = json.loads(content)
    except (ValueError, RecursionError):
        said = None
    texts = said.get("answers") if isinstance(said, dict) else None
    about = said.get("about") if isinstance(said, dict) else None
    if not isinstance(about, str) or not isinstance(texts, list) or not all(isinstance(one, str) for one in texts):
        raise BadStatement("not_json", "these are no answers of the bank's")
    found = [parsed(text) for text in texts]
    if not found or not all(isinstance(one, dict) and isinstance(one.get("response"), dict) for one in found):
        raise BadStatement("malformed", "there is no response in one of the answers")
    return about, [one["response"] for one in found]


def funcode(response: Mapping[str, Any]) -> str:
    head = response.get("head")
    return str(head.get("funcode")) if isinstance(head, dict) else ""


# reqSts and rtnFlg of a line: what each means. Whatever is not here is under way.
_MEANS = {
    ("FIN", "S"): Fate.EXECUTED,
    ("FIN", "B"): Fate.EXECUTED,  # 退票: it was paid; the booking that brings it back is the return
    ("FIN", "F"): Fate.REFUSED,
    ("FIN", "R"): Fate.REFUSED,  # 否决
    ("FIN", "D"): Fate.REFUSED,  # 过期
    ("FIN", "C"): Fate.REFUSED,  # 撤消
    ("FIN", "U"): Fate.IN_DOUBT,  # 银行挂账: the bank has put it aside
    ("WRF", ""): Fate.IN_DOUBT,  # 可疑: the bank does not know
}


def read_report(content: bytes) -> StatusReport:
    """Read what became of a batch: answers to BB1QRYBT and BB1QRYBD. Raises BadStatement."""
    ident, found = responses(content)
    batches: list[dict[str, str]] = []
    lines: list[LineStatus] = []
    for response in found:
        told = rows(response, "bb1qrybtz1") if funcode(response) == BATCHES else []
        batches += [row for row in told if message_of(row.get("bthNbr", "")) == ident]
        lines += [_line(row) for row in rows(response, "bb1qrybdz1")] if funcode(response) == LINES else []
    if not batches:
        raise BadStatement("empty", f"the answers are not about {ident[:40]}")
    total = sum(_money(row.get("dtlAmt", "")).minor for row in batches)
    count = sum(_count(row.get("dtlNum", "")) for row in batches)
    failed = next((row for row in batches if (row.get("reqSts"), row.get("rtnFlg")) == ("FIN", "F")), None)
    whole = failed is not None and len(batches) == 1
    reasons = (_reason("F", failed.get("errTxt", "")),) if failed is not None and whole else ()
    return StatusReport(
        message_id=f"{ident}/{hashlib.sha256(content).hexdigest()[:16]}",
        created_at=batches[0].get("trsDat", ""),
        original_message_id=ident,
        group_status="FIN/F" if whole else None,
        group_reason="F" if whole else None,
        lines=tuple(lines),
        group_reasons=reasons,
        totals=Totals(count, Money(total, CURRENCY).major()),
        said=Fate.REFUSED if whole else Fate.PENDING,
    )


def _line(row: Mapping[str, str]) -> LineStatus:
    status, flag = row.get("reqSts", ""), row.get("rtnFlg", "")
    said = _MEANS.get((status, flag if status == "FIN" else ""), Fate.PENDING)
    reasons = () if said in (Fate.PENDING, Fate.EXECUTED) else (_reason(flag or status, row.get("errTxt", "")),)
    first = reasons[0] if reasons else None
    return LineStatus(
        row.get("yurRef", ""),
        f"{status}/{flag}",
        said,
        None if first is None else first.code,
        None if first is None else first.text,
        reasons=reasons,
        amount=_money(row.get("trsAmt", "")),
        creditor_account=row.get("crtAcc") or None,
        debtor_account=row.get("dbtAcc") or None,
    )


def _reason(flag: str, words: str) -> Reason:
    """Return why a line or a batch failed. That a number came before is said in words alone."""
    return Reason(flag, words or None, says_duplicate="重复" in words)


def read_notice(content: bytes, *, odd: list[BadStatement] | None = None) -> list[Entry]:
    """Read bookings: answers to trsQryByBreakPoint, and to BB1PAYQB, which says what came back. Raises BadStatement.

    odd: takes what is wrong with bookings that cannot be read, and the others are returned.
    """
    account, found = responses(content)
    return list(_entries(found, account, odd))


def _entries(found: Sequence[Mapping[str, Any]], account: str, odd: list[BadStatement] | None) -> Iterator[Entry]:
    returned = _returned(found, odd)
    for row in _booked(found):
        try:
            yield _entry(row, account, returned)
        except BadStatement as error:
            if odd is None:
                raise
            odd.append(BadStatement(error.code, f"booking {row.get('transSequenceIdn', '')[:30]}: {error.message}"))


def read_statements(
    content: bytes, *, allow_gap: bool = False, odd: list[BadStatement] | None = None
) -> list[AccountStatement]:
    """Read a closed day: an answer to NTQABINF with the balances, and the day's bookings. Raises BadStatement.

    odd: takes what is wrong with bookings that cannot be read; they are missing then.
    """
    account, found = responses(content)
    balances = {
        _date(row.get("trsdat", "")): _money(row.get("balamt", ""))
        for response in found
        if funcode(response) == BALANCES
        for row in rows(response, "ntqabinfz")
        if row.get("accnbr") == account
    }
    if len(balances) != 2 or max(balances) - min(balances) != timedelta(days=1):
        raise BadStatement("malformed", "there are not the balances of two days, one after another")
    day = max(balances)
    entries = tuple(_entries(found, account, odd))
    if other := next((entry for entry in entries if entry.booked_on != day), None):
        raise BadStatement("other_day", f"a booking of {other.booked_on} in the statement of {day}")
    head = found[0].get("head") or {}
    statement = AccountStatement(
        str(head.get("rspid", ""))[:100], f"{account}/{day}", account, day, balances[min(balances)], balances[day],
        entries,
    )  # fmt: skip
    if statement.gap.minor and not allow_gap:
        raise BadStatement("totals_differ", f"account {account}: {statement.gap} is missing on {day}")
    return [statement]


def _booked(found: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, str]]:
    for response in found:
        if funcode(response) == BOOKINGS:
            yield from rows(response, "TRANSQUERYBYBREAKPOINT_Z2")


def _returned(found: Iterable[Mapping[str, Any]], odd: list[BadStatement] | None) -> dict[tuple[str, int], str]:
    """Return the codes of what came back 退票, by our number of the payment and its amount."""
    codes: dict[tuple[str, int], str] = {}
    for response in found:
        for row in rows(response, "bb1payqbz1") if funcode(response) == RETURNS else ():
            number = row.get("yurRef", "")
            try:
                codes[number, _money(row.get("trsAmt", "")).minor] = row.get("rtnCod") or "B"
            except BadStatement as error:
                if odd is None:
                    raise
                odd.append(BadStatement(error.code, f"what came back of {number[:30]}: {error.message}"))
    return codes


def _entry(row: Mapping[str, str], account: str, returned: Mapping[tuple[str, int], str]) -> Entry:
    number, way = row.get("transSequenceIdn", ""), row.get("loanCode", "")
    if not number or way not in ("C", "D"):
        raise BadStatement("malformed", f"{number[:30]!r} and {way[:5]!r} are no number and way of a booking")
    size = _money(row.get("transAmount", "").removeprefix("-"))
    amount = Money(size.minor if way == "C" else -size.minor, CURRENCY)
    if row.get("currencyNbr", CNY) != CNY:
        raise BadStatement("other_currency", f"currency {row['currencyNbr'][:10]!r} on an account in CNY")
    booked_on, ours = _date(row.get("transDate", "")), row.get("yurRef", "")
    words = row.get("remarkTextClt", "")
    reference = ours or (words if way == "C" and _REFERENCE.fullmatch(words) else "")
    return Entry(
        account=account,
        entry_ref=number,
        end_to_end_id=reference or None,
        amount=amount,
        booked_on=booked_on,
        counterparty_account=row.get("ctpAcctNbr") or None,
        counterparty_name=row.get("ctpAcctName") or None,
        remittance=words,
        reversal=row.get("reversalFlag") == "*",
        return_reason=returned.get((ours, amount.minor)) if way == "C" else None,
        notice=f"{booked_on.isoformat()}/{number}",
        raw_ref=number,
    )


def _money(text: str) -> Money:
    try:
        return from_major(text, CURRENCY)
    except ValueError:
        raise BadStatement("bad_amount", f"{text[:30]!r} is not an amount in CNY") from None


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise BadStatement("malformed", f"{text[:20]!r} is no number of lines")
    return int(text)


def day_of(text: str) -> date | None:
    """Return a day as the bank writes it, 20261124; None where it is none."""
    try:
        return _date(text)
    except BadStatement:
        return None


def _date(text: str) -> date:
    try:
        return date.fromisoformat(f"{text[:4]}-{text[4:6]}-{text[6:]}")
    except ValueError:
        raise BadStatement("malformed", f"{text[:20]!r} is not a date") from None


def _bad(message: str) -> Rejected:
    return Rejected("bad_instruction", message)
