"""Statements and notifications in: camt.053 and camt.054.

Source: the message definitions, versions 02 to 12. What is read of them has the same name in all, but for the status of
an entry (a word until 06, a choice since) and the name of a party (inside `Pty` since 07).
"""

import hashlib
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime

from channels.banks.bookings import AccountStatement, Entry, alike
from channels.banks.errors import BadStatement
from channels.banks.iso20022.xml import NOT_PROVIDED, children, document, maybe, only, text_of, told, versions
from kernel.clock import BEIJING
from kernel.money import Money, from_major, is_currency

CAMT_053, CAMT_054 = versions("camt.053", 2, 12), versions("camt.054", 2, 12)


def read_camt053(xml: bytes, *, allow_gap: bool = False) -> list[AccountStatement]:
    """Read an end-of-day statement file, one AccountStatement each account. Raises BadStatement.

    allow_gap: return statements whose opening and entries do not make the closing, instead of refusing the file. Only
    for a reader that reports AccountStatement.gap and books nothing on the entries' word (reconciliation).
    """
    body = only(document(xml, CAMT_053), "BkToCstmrStmt")
    message_id = text_of(body, "GrpHdr/MsgId")
    page, last = _page(body, "GrpHdr/MsgPgntn")
    statements = [replace(_statement(message_id, node), page=page, last_page=last) for node in children(body, "Stmt")]
    for statement in statements:
        if statement.gap.minor and not allow_gap:
            raise BadStatement(
                "totals_differ",
                f"account {statement.account}: opening {statement.opening} and the entries "
                f"do not make the closing {statement.closing}; {statement.gap} is missing",
            )
    if not statements:
        raise BadStatement("empty", "the file holds no statement")
    seen: set[tuple[str, date]] = set()
    for statement in statements:
        if (statement.account, statement.business_date) in seen:
            raise BadStatement(
                "duplicate_statement", f"account {statement.account} has two statements of {statement.business_date}"
            )
        seen.add((statement.account, statement.business_date))
    return statements


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
    for position, notification in enumerate(children(body, "Ntfctn"), 1):
        try:
            account, currency = _own_account(notification)
            if not totals_may_differ:
                _check_totals(notification, account, currency)
        except BadStatement as error:
            named = f"notification {position} ({maybe(notification, 'Id') or 'without an id'}): {error.message}"
            if odd is None:
                raise BadStatement(error.code, named) from None
            odd.append(BadStatement(error.code, named))
            continue
        place = [*message, maybe(notification, "Id") or "", maybe(notification, "NtfctnPgntn/PgNb") or ""]
        notice = "/".join(place) if message[0] or place[2] else hashlib.sha256(xml).hexdigest()
        for entry in _entries(notification, account, currency, odd):
            likes[notice, *alike(entry)] += 1
            entries.append(replace(entry, notice=notice, nth=likes[notice, *alike(entry)]))
    return entries


def _page(node: ET.Element, path: str) -> tuple[int, bool]:
    """Return the page number and whether it is the last one; a file that does not say is the only page."""
    number, last = maybe(node, f"{path}/PgNb") or "1", maybe(node, f"{path}/LastPgInd") or "true"
    if not (number.isascii() and number.isdigit() and len(number) <= 5) or last not in ("true", "false", "1", "0"):
        raise BadStatement("malformed", f"page {number[:10]!r}, last {last[:10]!r}: not a page number")
    return int(number), last in ("true", "1")


def _statement(message_id: str, node: ET.Element) -> AccountStatement:
    account, currency = _own_account(node)
    opening, closing, business_date = _balances(node, account, currency)
    if _page(node, "StmtPgntn") != (1, True):
        raise BadStatement("paged", f"account {account}: one page of a longer statement; whole statements only")
    entries = tuple(_entries(node, account, currency))
    _check_totals(node, account, currency)
    return AccountStatement(message_id, text_of(node, "Id"), account, business_date, opening, closing, entries)


_WAYS = (("TtlNtries", None), ("TtlCdtNtries", "CRDT"), ("TtlDbtNtries", "DBIT"))


def _check_totals(node: ET.Element, account: str, currency: str | None) -> None:
    """Hold a statement's or notification's entries against what it announces of them (TxsSummry)."""
    for total, way in _WAYS:
        counted = [one for one in children(node, "Ntry") if way in (None, maybe(one, "CdtDbtInd"))]
        announced = maybe(node, f"TxsSummry/{total}/NbOfNtries")
        if announced is not None and announced.lstrip("0") != (str(len(counted)) if counted else ""):
            raise BadStatement(
                "totals_differ",
                f"account {account}: {announced[:15]} entries announced in {total}, {len(counted)} there",
            )
        announced = maybe(node, f"TxsSummry/{total}/Sum")
        if announced is None:
            continue
        try:
            there = sum(abs(_signed(one, currency).minor) for one in counted)
            codes = {only(one, "Amt").get("Ccy", "") for one in counted}
        except BadStatement:
            return  # an entry that cannot be read is told of by itself
        if len(codes) > 1:
            return  # a sum over several currencies says nothing
        unit = Money(there, codes.pop() if codes else currency or "CNY")
        whole, _, decimals = announced.partition(".")
        try:
            agrees = from_major(f"{whole}.{decimals.rstrip('0')}".rstrip("."), unit.currency) == unit
        except ValueError:
            agrees = False
        if not agrees:
            raise BadStatement(
                "totals_differ", f"account {account}: {announced[:30]} announced in {total}, the entries come to {unit}"
            )


def _own_account(node: ET.Element) -> tuple[str, str | None]:
    account = _account_number(only(node, "Acct"))
    if account is None:
        raise BadStatement("malformed", f"{node.tag} does not say which account it is of")
    return account, maybe(node, "Acct/Ccy")


def _account_number(node: ET.Element) -> str | None:
    return maybe(node, "Id/Othr/Id") or maybe(node, "Id/IBAN")


def _balances(node: ET.Element, account: str, currency: str | None) -> tuple[Money, Money, date]:
    found: dict[str, tuple[Money, date]] = {}
    for balance in children(node, "Bal"):
        code = text_of(balance, "Tp/CdOrPrtry/Cd")
        if code not in ("OPBD", "CLBD"):
            continue
        if code in found:
            raise BadStatement("malformed", f"account {account} has two balances {code}")
        found[code] = (_signed(balance, currency), _date(only(balance, "Dt")))
    try:
        (opening, _), (closing, business_date) = found["OPBD"], found["CLBD"]
    except KeyError as missing:
        raise BadStatement("balance_missing", f"account {account} has no balance {missing.args[0]}") from None
    if opening.currency != closing.currency:
        raise BadStatement(
            "other_currency", f"account {account} opens in {opening.currency}, ends in {closing.currency}"
        )
    return opening, closing, business_date


def _entries(
    node: ET.Element, account: str, currency: str | None, odd: list[BadStatement] | None = None
) -> Iterator[Entry]:
    """Yield the booked entries of one statement or notification, those with one reference numbered apart."""
    refs: Counter[str] = Counter()
    for entry in _read_entries(node, account, currency, odd):
        refs[entry.entry_ref] += 1
        nth = refs[entry.entry_ref]
        ref = entry.entry_ref if nth == 1 else f"{entry.entry_ref}#{nth}"
        yield replace(entry, entry_ref=ref, raw_ref=entry.entry_ref)


def _read_entries(
    node: ET.Element, account: str, currency: str | None, odd: list[BadStatement] | None
) -> Iterator[Entry]:
    for position, entry in enumerate(children(node, "Ntry"), 1):
        try:
            yield from _read_entry(entry, account, currency)
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


def _read_entry(entry: ET.Element, account: str, currency: str | None) -> list[Entry]:
    """Return an entry, if it is booked; one that gathers several transactions comes out as its transactions.

    It stays whole where one of them does not say its amount, which the message leaves open; and where not all of them
    are shown it is whole and nobody's.
    """
    status = maybe(entry, "Sts/Cd") or text_of(entry, "Sts")
    if status in _NO_MONEY:
        return []
    if status != "BOOK":
        raise BadStatement("malformed", f"{status[:10]!r} is no status of an entry")
    amount = _signed(entry, currency)
    bank_ref = maybe(entry, "AcctSvcrRef")
    ref = bank_ref or text_of(entry, "NtryRef")
    base = Entry(
        account=account,
        entry_ref=ref,
        end_to_end_id=None,
        amount=amount,
        booked_on=_date(only(entry, "BookgDt")),
        reversal=maybe(entry, "RvslInd") in ("true", "1"),
        statement_ref=maybe(entry, "NtryRef"),
        has_bank_ref=bank_ref is not None,
        coded_return=_is_coded_return(entry),
    )
    base = replace(base, batch_refs=_batch_refs(entry))
    details: list[ET.Element] = []
    for group in children(entry, "NtryDtls"):
        shown, announced = children(group, "TxDtls"), maybe(group, "Btch/NbOfTxs")
        if announced is not None and announced.lstrip("0") != str(len(shown)):
            return [base]
        details += shown
    if len(details) <= 1:
        return [_detailed(base, details[0]) if details else base]
    if any(_transaction_amount(one) is None for one in details):
        return [base]
    parts = [
        _detailed(
            replace(
                base,
                entry_ref=maybe(one, "Refs/AcctSvcrRef") or f"{ref}/{number}",
                has_bank_ref=bank_ref is not None or maybe(one, "Refs/AcctSvcrRef") is not None,
                amount=_part(one, entry, amount.currency),
            ),
            one,
        )
        for number, one in enumerate(details, 1)
    ]
    if sum(part.amount.minor for part in parts) != amount.minor:
        raise BadStatement("totals_differ", f"the transactions of entry {ref} do not add up to it")
    return parts


def _batch_refs(node: ET.Element) -> tuple[str, ...]:
    """Return by which ids an entry says that it books a whole batch; none where it shows one transaction or more."""
    if node.find("NtryDtls/TxDtls") is not None:
        return ()
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
    assert amount is not None
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
        money = from_major(text, code)
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
