"""Files that the bank writes wrong, by an ordered fault. What it meant is kept, and given out when asked for. Pure."""

import re
from collections.abc import Mapping

VERSION, TOTALS, TRUNCATED = "file_version", "file_totals", "file_truncated"
OTHER_DAY, ODD_ENTRY, DOUBLED = "file_other_day", "file_odd_entry", "file_doubled"
# Each, with the types of files that can be spoiled so.
SPOILS: Mapping[str, tuple[str, ...]] = {
    VERSION: ("pain.002", "camt.029", "camt.054", "camt.053"),
    TOTALS: ("pain.002", "camt.054", "camt.053"),
    TRUNCATED: ("pain.002", "camt.029", "camt.054", "camt.053"),
    OTHER_DAY: ("camt.053",),
    ODD_ENTRY: ("camt.054",),
    DOUBLED: ("pain.002", "camt.029", "camt.054", "camt.053"),
}
_VERSION = re.compile(rb"(tech:xsd:[a-z]+\.\d{3}\.\d{3})\.\d\d")
_ENTRY = re.compile(rb"<Ntry>.*?</Ntry>", re.DOTALL)
_AMOUNT = re.compile(rb'(<Amt Ccy=")[A-Z]{3}(">)')


def spoiled(fault: str, raw: bytes, before: bytes | None) -> bytes:
    """Return a file as it is written wrong; as it is where it has nothing that could be wrong so.

    before: the customer's file of the same type that was written last.
    """
    match fault:
        case "file_version":
            return _VERSION.sub(rb"\1.99", raw, count=1)
        case "file_totals":
            return _other_totals(raw)
        case "file_truncated":
            return raw[: len(raw) // 2]
        case "file_other_day":
            return raw if before is None else before
        case "file_odd_entry":
            return _with_an_odd_entry(raw)
    return raw


def _other_totals(raw: bytes) -> bytes:
    """Return a file that counts one line or entry more than it has."""
    counted = re.search(rb"<OrgnlNbOfTxs>(\d+)</OrgnlNbOfTxs>", raw)
    if counted is not None:
        more = b"<OrgnlNbOfTxs>%d</OrgnlNbOfTxs>" % (int(counted[1]) + 1)
        return raw[: counted.start()] + more + raw[counted.end() :]
    first = raw.find(b"<Ntry>")
    if first < 0:
        return raw
    account_ends = min(end for mark in (b"</Ntfctn>", b"</Stmt>") if (end := raw.find(mark, first)) >= 0)
    count = raw.count(b"<Ntry>", first, account_ends) + 1
    told = b"<TxsSummry><TtlNtries><NbOfNtries>%d</NbOfNtries></TtlNtries></TxsSummry>" % count
    return raw[:first] + told + raw[first:]


def _with_an_odd_entry(raw: bytes) -> bytes:
    """Return a file with one entry more, in a currency that is none."""
    entry = _ENTRY.search(raw)
    if entry is None:
        return raw
    odd = _AMOUNT.sub(rb"\1XXQ\2", entry[0])
    return raw[: entry.end()] + odd + raw[entry.end() :]
