"""Statements, notifications and reports of the day in: camt.053, camt.054 and camt.052.

Source: the message definitions, versions 02 to 12. What is read of them has the same name in all, but for the status of
an entry (a word until 06, a choice since) and the name of a party (inside `Pty` since 07). What they make optional may
be missing, and what a bank says of its own is passed over where nothing depends on it.
"""

import hashlib
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime

from channels.banks.bookings import AccountStatement, Entry, alike
from channels.banks.errors import BadStatement
from channels.banks.iso20022.xml import (
    NOT_PROVIDED,
    amount_of,
    children,
    document,
    maybe,
    only,
    text_of,
    told,
    versions,
)
from kernel.clock import BEIJING
from kernel.money import Money, is_currency

CAMT_052, CAMT_053, CAMT_054 = (versions(f"camt.{message}", 2, 12) for message in ("052", "053", "054"))


_ONLY = (1, True)  # which page: the first, and the last


def read_camt053(
    xml: bytes, *, allow_gap: bool = False, odd: list[BadStatement] | None = None
) -> list[AccountStatement]:
    """Read an end-of-day statement file, one AccountStatement each account and currency. Raises BadStatement.

    allow_gap: return statements whose opening and entries do not make the closing, instead of refusing the file. Only
    for a reader that reports AccountStatement.gap and books nothing on the entries' word (reconciliation). odd: takes
    what is wrong with entries and statements that cannot be read, and the others are returned; None: one such has the
    whole file refused, and so has a file of which nothing can be read.
    """
    body = only(document(xml, CAMT_053), "BkToCstmrStmt")
    message_id, pages = text_of(body, "GrpHdr/MsgId"), _page(body, "GrpHdr/MsgPgntn")
    found: dict[tuple[str, str, date, int], AccountStatement] = {}
    wrong: list[BadStatement] = []
    for position, node in enumerate(children(body, "Stmt"), 1):
        try:
            one = _statement(message_id, node, pages, odd)
            if one.gap.minor and not allow_gap:
                raise BadStatement(
                    "totals_differ",
                    f"account {one.account}: opening {one.opening} and the entries "
                    f"do not make the closing {one.closing}; {one.gap} is missing",
                )
            key = one.account, one.closing.currency, one.business_date, one.part
            if key in found:
                raise BadStatement(
                    "duplicate_statement", f"account {one.account} has two statements of {one.business_date}"
                )
            found[key] = one
        except BadStatement as error:
            if odd is None:
                raise
            wrong.append(BadStatement(error.code, f"statement {position}{_ident(node)}: {error.message}"))
    if not found:
        raise wrong[0] if wrong else BadStatement("empty", "the file holds no statement")
    if odd is not None:
        odd += wrong
    return list(found.values())


def read_camt054(xml: bytes, *, odd: list[BadStatement] | None = None, totals_may_differ: bool = False) -> list[Entry]:
    """Read a debit/credit notification: booked entries only. Raises BadStatement.

    odd: takes what is wrong with entries and notifications that cannot be read, and the others are returned; None: one
    such has the whole file refused. totals_may_differ: a notification whose entries do not come to the totals that it
    announces is read all the same.
    It may overlap other notifications and the statement; `entry_ref` tells what is the same booking, and `notice` and
    `booking` together what was read before. A page of a longer message is a notice of its own.
    """
    body = only(document(xml, CAMT_054), "BkToCstmrDbtCdtNtfctn")
    message = [maybe(body, "GrpHdr/MsgId") or "", maybe(body, "GrpHdr/MsgPgntn/PgNb") or ""]
    entries: list[Entry] = []
    likes: Counter[tuple[str, ...]] = Counter()  # of the message: two of its notifications may have one id
    for notification, found in _told(body, "Ntfctn", odd, totals_may_differ):
        place = [*message, maybe(notification, "Id") or "", maybe(notification, "NtfctnPgntn/PgNb") or ""]
        notice = "/".join(place) if message[0] or place[2] else hashlib.sha256(xml).hexdigest()
        for entry in found:
            likes[notice, *alike(entry)] += 1
            entries.append(replace(entry, notice=notice, nth=likes[notice, *alike(entry)]))
    return entries


def read_camt052(xml: bytes, *, odd: list[BadStatement] | None = None, totals_may_differ: bool = False) -> list[Entry]:
    """Read a report of the day so far, as read_camt054 reads a notification: booked entries only. Raises BadStatement.

    Each report of a day may tell of all that was booked, so the notice of a booking is its account's day: what has the
    bank's reference and all else in common is one booking, in whichever report it stands. An entry without the bank's
    reference cannot be told from another report's, and is odd.
    """
    body = only(document(xml, CAMT_052), "BkToCstmrAcctRpt")
    entries: list[Entry] = []
    for _, found in _told(body, "Rpt", odd, totals_may_differ):
        likes: Counter[tuple[str, ...]] = Counter()
        for entry in found:
            if not entry.has_bank_ref:
                nameless = BadStatement(
                    "no_reference",
                    f"entry {entry.entry_ref} of {entry.amount}: without the bank's reference nobody can tell "
                    "whether another report has told of it",
                )
                if odd is None:
                    raise nameless
                odd.append(nameless)
                continue
            likes[alike(entry)] += 1
            notice = f"camt.052/{entry.account}/{entry.booked_on.isoformat()}"
            entries.append(replace(entry, notice=notice, nth=likes[alike(entry)]))
    return entries


def _told(
    body: ET.Element, name: str, odd: list[BadStatement] | None, totals_may_differ: bool
) -> Iterator[tuple[ET.Element, list[Entry]]]:
    """Yield each notification or report of a message, with its entries. name: of the element."""
    for position, node in enumerate(children(body, name), 1):
        try:
            account, currency = _own_account(node)
            pages = (_page(body, "GrpHdr/MsgPgntn"), _page(node, f"{name}Pgntn"))
            if not totals_may_differ and pages == (_ONLY, _ONLY):
                _check_totals(node, account, currency)
            day = _written_on(node)
        except BadStatement as error:
            what = "notification" if name == "Ntfctn" else "report"
            named = f"{what} {position} ({maybe(node, 'Id') or 'without an id'}): {error.message}"
            if odd is None:
                raise BadStatement(error.code, named) from None
            odd.append(BadStatement(error.code, named))
            continue
        yield node, list(_entries(node, account, currency, day, odd))


def _written_on(node: ET.Element) -> date | None:
    """Return the day on which a notification was written, where it says that."""
    text = maybe(node, "CreDtTm")
    moment = _moment(node, "CreDtTm")
    try:
        return moment.date() if moment is not None else None if text is None else date.fromisoformat(text[:10])
    except ValueError:
        return None


def _page(node: ET.Element, path: str) -> tuple[int, bool]:
    """Return the page number and whether it is the last one; a file that does not say is the only page."""
    number, last = maybe(node, f"{path}/PgNb") or "1", maybe(node, f"{path}/LastPgInd") or "true"
    if not (number.isascii() and number.isdigit() and len(number) <= 5) or last not in ("true", "false", "1", "0"):
        raise BadStatement("malformed", f"page {number[:10]!r}, last {last[:10]!r}: not a page number")
    return int(number), last in ("true", "1")


def _statement(
    message_id: str, node: ET.Element, pages: tuple[int, bool], odd: list[BadStatement] | None
) -> AccountStatement:
    """Read one statement, or one page of a longer one. pages: which page of its message the file is."""
    account, currency = _own_account(node)
    opening, closing, business_date, is_whole = _balances(node, account, currency)
    if node.find("StmtPgntn") is not None:
        part, last = _page(node, "StmtPgntn")
    else:
        part, last = _ONLY if is_whole else pages
    entries = tuple(_entries(node, account, opening.currency, business_date, odd))
    if _ONLY == (part, last) == pages:
        _check_totals(node, account, opening.currency)
    return AccountStatement(
        message_id, text_of(node, "Id"), account, business_date, opening, closing, entries, *pages, part, last
    )


def _ident(node: ET.Element) -> str:
    """Return by what the bank knows a statement that cannot be read, for whoever asks it."""
    found = node.find("Id")
    return f" ({found.text.strip()[:40]})" if found is not None and found.text else ""


_WAYS = (("TtlNtries", None), ("TtlCdtNtries", "CRDT"), ("TtlDbtNtries", "DBIT"))


def _check_totals(node: ET.Element, account: str, currency: str | None) -> None:
    """Hold a statement's or notification's entries against what it announces of them (TxsSummry).

    Banks count all entries, or those that are booked.
    """
    for total, way in _WAYS if node.find("TxsSummry") is not None else ():
        there = [one for one in children(node, "Ntry") if way in (None, maybe(one, "CdtDbtInd"))]
        booked = [one for one in there if _is_booked(one)]
        if not any(_come_to(node, total, those, currency) for those in (there, booked)):
            number, sum_ = (maybe(node, f"TxsSummry/{total}/{name}") or "" for name in ("NbOfNtries", "Sum"))
            raise BadStatement(
                "totals_differ",
                f"account {account}: {total} announces {number[:15] or 'some'} entries, {sum_[:30] or 'no sum'}; "
                f"{len(there)} entries are there, {len(booked)} of them booked, and they do not come to it",
            )


def _come_to(node: ET.Element, total: str, entries: list[ET.Element], currency: str | None) -> bool:
    """Tell whether some entries are as many and as much as is announced; what is not announced, they are."""
    announced = maybe(node, f"TxsSummry/{total}/NbOfNtries")
    if announced is not None and announced.lstrip("0") != (str(len(entries)) if entries else ""):
        return False
    announced = maybe(node, f"TxsSummry/{total}/Sum")
    if announced is None:
        return True
    try:
        amount = sum(abs(_signed(one, currency).minor) for one in entries)
        codes = {only(one, "Amt").get("Ccy", "") for one in entries}
    except BadStatement:
        return True  # an entry that cannot be read is told of by itself
    if len(codes) > 1:
        return True  # a sum over several currencies says nothing
    unit = Money(amount, codes.pop() if codes else currency or "CNY")
    try:
        return amount_of(announced, unit.currency) == unit
    except ValueError:
        return False


def _is_booked(entry: ET.Element) -> bool:
    found = entry.find("Sts/Cd")
    found = entry.find("Sts") if found is None else found
    return found is not None and (found.text or "").strip() == "BOOK"


def _own_account(node: ET.Element) -> tuple[str, str | None]:
    account = _account_number(only(node, "Acct"))
    if account is None:
        raise BadStatement("malformed", f"{node.tag} does not say which account it is of")
    return account, maybe(node, "Acct/Ccy")


def _account_number(node: ET.Element) -> str | None:
    return maybe(node, "Id/Othr/Id") or maybe(node, "Id/IBAN")


# Which balances a statement may open and close with, the plainest first. ITBD stands between two pages of one.
_OPENS, _CLOSES, _BETWEEN = ("OPBD", "PRCD"), "CLBD", "ITBD"


def _balances(node: ET.Element, account: str, currency: str | None) -> tuple[Money, Money, date, bool]:
    """Return with what a statement opens and closes, of which day it is, and whether it is whole by its balances.

    What is available, expected or of the bank's own kind says nothing of bookings.
    """
    found: dict[str, list[ET.Element]] = {}
    for balance in children(node, "Bal"):
        if (code := maybe(balance, "Tp/CdOrPrtry/Cd")) is not None:
            found.setdefault(code, []).append(balance)
    between = found.get(_BETWEEN, [])
    opens = next((found[code] for code in _OPENS if code in found), between[:1])
    closes = found.get(_CLOSES) or [one for one in between[-1:] if one not in opens]
    for code, those in ((_OPENS[0], opens), (_CLOSES, closes)):
        if len(those) > 1:
            raise BadStatement("malformed", f"account {account} has two balances {code}")
        if not those:
            raise BadStatement("balance_missing", f"account {account} has no balance {code}")
    opening, closing = (_signed(those[0], currency) for those in (opens, closes))
    if opening.currency != closing.currency:
        raise BadStatement(
            "other_currency", f"account {account} opens in {opening.currency}, ends in {closing.currency}"
        )
    is_whole = not any(one in between or _is_interim(one) for one in (opens[0], closes[0]))
    return opening, closing, _date(only(closes[0], "Dt")), is_whole


def _is_interim(balance: ET.Element) -> bool:
    """Tell whether a balance is one between two pages of a statement."""
    return maybe(balance, "Tp/SubTp/Cd") == "INTM"


def _entries(
    node: ET.Element, account: str, currency: str | None, day: date | None, odd: list[BadStatement] | None = None
) -> Iterator[Entry]:
    """Yield the booked entries of one statement or notification, those with one reference numbered apart.

    day: on which an entry was booked that does not say it.
    """
    refs: Counter[str] = Counter()
    for entry in _read_entries(node, account, currency, day, odd):
        refs[entry.entry_ref] += 1
        nth = refs[entry.entry_ref]
        ref = entry.entry_ref if nth == 1 else f"{entry.entry_ref}#{nth}"
        yield replace(entry, entry_ref=ref, raw_ref=entry.entry_ref)


def _read_entries(
    node: ET.Element, account: str, currency: str | None, day: date | None, odd: list[BadStatement] | None
) -> Iterator[Entry]:
    for position, entry in enumerate(children(node, "Ntry"), 1):
        try:
            yield from _read_entry(entry, account, currency, day)
        except BadStatement as error:
            named = BadStatement(error.code, f"entry {position}{_refs(entry)}: {error.message}")
            if odd is None:
                raise named from None
            odd.append(named)


def _refs(entry: ET.Element) -> str:
    """Return by what the bank knows an entry that cannot be read, for whoever asks it."""
    refs = [f"{ref.tag} {ref.text[:40]}" for ref in entry if ref.tag in ("AcctSvcrRef", "NtryRef") and ref.text]
    return f" ({', '.join(refs)})" if refs else ""


_NO_MONEY = frozenset({"PDNG", "FUTR", "INFO"})  # pending, of a later day, informational; of ExternalEntryStatus1Code


def _read_entry(entry: ET.Element, account: str, currency: str | None, day: date | None) -> list[Entry]:
    """Return an entry, if it is booked; one that gathers several transactions comes out as its transactions.

    It stays whole and nobody's where not all of them are shown, or where they do not come to it in its own currency:
    one need not say its amount, charges may have been taken off, and amounts may be those before an exchange.
    """
    status = _status(entry)
    if status in _NO_MONEY:
        return []
    if status != "BOOK":
        raise BadStatement("malformed", f"{status[:10]!r} is no status of an entry")
    amount = _signed(entry, currency)
    details: list[ET.Element] = []
    are_all_shown = True
    for group in children(entry, "NtryDtls"):
        shown, announced = children(group, "TxDtls"), maybe(group, "Btch/NbOfTxs")
        are_all_shown = are_all_shown and announced in (None, str(len(shown)))
        details += shown
    bank_ref, ref = _named(entry, "AcctSvcrRef"), _named(entry, "NtryRef")
    if bank_ref is None and len(details) == 1:
        bank_ref = _named(details[0], "Refs/AcctSvcrRef")
    base = Entry(
        account=account,
        entry_ref=bank_ref or ref or _nameless(entry),
        end_to_end_id=None,
        amount=amount,
        booked_on=_booked_on(entry, day),
        reversal=maybe(entry, "RvslInd") in ("true", "1"),
        statement_ref=ref,
        has_bank_ref=bank_ref is not None,
        coded_return=_is_coded_return(entry),
        batch_refs=_batch_refs(entry),
    )
    if not are_all_shown:
        return [base]
    if len(details) > 1:
        return _parts(base, entry, details) or [base]
    if not details:
        return [base]
    one = _detailed(base, details[0])
    return [one if one.end_to_end_id is None else replace(one, batch_refs=())]


def _parts(base: Entry, entry: ET.Element, details: list[ET.Element]) -> list[Entry]:
    """Return the transactions that an entry gathers; none where they do not come to it."""
    found = []
    for number, one in enumerate(details, 1):
        own_ref = _named(one, "Refs/AcctSvcrRef")
        try:
            amount = _part(one, entry, base.amount.currency)
        except BadStatement:
            return []
        ref, has_bank_ref = own_ref or f"{base.entry_ref}/{number}", base.has_bank_ref or own_ref is not None
        part = replace(base, entry_ref=ref, has_bank_ref=has_bank_ref, amount=amount, batch_refs=())
        found.append(_detailed(part, one))
    return found if sum(part.amount.minor for part in found) == base.amount.minor else []


def _status(entry: ET.Element) -> str:
    """Return a code; a word of the bank's own is none."""
    return maybe(entry, "Sts/Cd") or maybe(entry, "Sts/Prtry") or text_of(entry, "Sts")


_NO_NAME = frozenset({NOT_PROVIDED, "NONREF"})  # what banks put where a reference is missing


def _named(node: ET.Element, path: str) -> str | None:
    found = maybe(node, path)
    return None if found in _NO_NAME else found


def _nameless(entry: ET.Element) -> str:
    """Return a name for an entry that the bank gave none: the same wherever the bank says the same of it."""
    said = "\n".join(text for part in entry.itertext() if (text := part.strip()))
    return f"nameless-{hashlib.sha256(said.encode()).hexdigest()[:16]}"


def _booked_on(entry: ET.Element, day: date | None) -> date:
    if entry.find("BookgDt") is not None:
        return _date(only(entry, "BookgDt"))
    if day is not None:
        return day
    return _date(only(entry, "ValDt"))


def _batch_refs(node: ET.Element) -> tuple[str, ...]:
    """Return by which ids an entry says that it books a whole batch; its transactions may be shown besides."""
    groups = children(node, "NtryDtls/Btch")
    told = [maybe(group, name) for group in groups for name in ("MsgId", "PmtInfId")]
    return tuple(dict.fromkeys(ref for ref in told if ref is not None)) if len(groups) == 1 else ()


def _is_coded_return(node: ET.Element) -> bool:
    return maybe(node, "BkTxCd/Domn/Fmly/SubFmlyCd") == "RRTN"  # of ExternalBankTransactionSubFamily1Code


def _detailed(entry: Entry, node: ET.Element) -> Entry:
    other_side = "Dbtr" if entry.amount.minor >= 0 else "Cdtr"
    end_to_end = maybe(node, "Refs/EndToEndId")
    accounts = children(node, f"RltdPties/{other_side}Acct")
    ours = children(node, "RltdPties/CdtrAcct") if entry.amount.minor >= 0 else []
    return replace(
        entry,
        end_to_end_id=None if end_to_end in (None, NOT_PROVIDED) else end_to_end,
        counterparty_account=_account_number(accounts[0]) if accounts else None,
        counterparty_name=maybe(node, f"RltdPties/{other_side}/Pty/Nm") or maybe(node, f"RltdPties/{other_side}/Nm"),
        remittance="".join(note.text or "" for note in children(node, "RmtInf/Ustrd")),
        return_reason=maybe(node, "RtrInf/Rsn/Cd") or maybe(node, "RtrInf/Rsn/Prtry"),
        coded_return=entry.coded_return or node.find("RtrInf") is not None or _is_coded_return(node),
        creditor_ref=maybe(node, "RmtInf/Strd/CdtrRefInf/Ref"),
        creditor_account=_account_number(ours[0]) if ours else None,
        accepted_at=_moment(node, "RltdDts/AccptncDtTm"),
    )


def _transaction_amount(node: ET.Element) -> ET.Element | None:
    """Return what a transaction of an entry says its amount is; it may stand among its details."""
    amount = node.find("Amt")
    return amount if amount is not None else node.find("AmtDtls/TxAmt/Amt")


def _part(node: ET.Element, entry: ET.Element, currency: str) -> Money:
    """Read a transaction's amount; where it does not say which way money went, it went the entry's way."""
    amount = _transaction_amount(node)
    if amount is None:
        raise BadStatement("malformed", "a transaction does not say its amount")
    return _with_sign(amount, maybe(node, "CdtDbtInd") or text_of(entry, "CdtDbtInd"), currency)


def _signed(node: ET.Element, currency: str | None) -> Money:
    """Read Amt with the sign of CdtDbtInd."""
    return _with_sign(only(node, "Amt"), text_of(node, "CdtDbtInd"), currency)


def _with_sign(amount: ET.Element, direction: str, currency: str | None) -> Money:
    """Read an amount, which itself never carries a sign."""
    code = amount.get("Ccy", "")
    if not is_currency(code):
        raise BadStatement("bad_currency", f"{code[:10]!r} is no currency we know")
    if currency is not None and code != currency:
        raise BadStatement("other_currency", f"an amount in {code} on an account in {currency}")
    text = told(amount) or ""
    if text.startswith("-"):
        raise BadStatement(
            "negative_amount", f"the amount {text[:30]} is below zero; CdtDbtInd says which way money went"
        )
    try:
        money = amount_of(text, code)
    except ValueError:
        raise BadStatement("bad_amount", f"{text[:30]!r} is not an amount in {code}") from None
    match direction:
        case "CRDT":
            return money
        case "DBIT":
            return Money(-money.minor, code)
        case other:
            raise BadStatement("malformed", f"CdtDbtInd is {other[:10]!r}, neither CRDT nor DBIT")


def _date(node: ET.Element) -> date:
    """Return a day; a moment that knows its time zone is of Beijing's day."""
    text, moment = maybe(node, "Dt"), _moment(node, "DtTm")
    told = text or maybe(node, "DtTm") or ""
    try:
        if text is None and moment is not None:
            return moment.date()
        return date.fromisoformat(told[:10])
    except ValueError:
        raise BadStatement("malformed", f"{told[:30]!r} is not a date") from None


def _moment(node: ET.Element, path: str) -> datetime | None:
    """Return a moment, Beijing; None where there is none, or one without its time zone."""
    text = maybe(node, path)
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(BEIJING) if moment.tzinfo is not None else None
    except (ValueError, OverflowError):
        raise BadStatement("malformed", f"{text[:40]!r} is not a moment") from None
