"""Reading banks' files, by their types: whoever reads them need not know which bank wrote them. Pure."""

from collections.abc import Mapping

from channels.banks import cmb, iso20022
from channels.banks.answers import RecallAnswer, StatusReport
from channels.banks.bookings import AccountStatement, Entry
from channels.banks.errors import BadStatement
from channels.banks.files import Kind

# A file's type is a form and a message of it. What each tells of:
KINDS: Mapping[str, Kind] = {
    "pain.002": Kind.REPORT,
    "camt.054": Kind.NOTICE,
    "camt.052": Kind.NOTICE,
    "camt.053": Kind.STATEMENT,
    "camt.029": Kind.RESOLUTION,
    "cmb.batch": Kind.REPORT,
    "cmb.bookings": Kind.NOTICE,
    "cmb.day": Kind.STATEMENT,
}


def types_of(kind: Kind) -> list[str]:
    """Return the types of files, of every bank, that tell of this."""
    return [type for type, told in KINDS.items() if told is kind]


def read_report(type: str, content: bytes) -> StatusReport:
    """Read what a bank says became of an order. Raises BadStatement."""
    _check(type, Kind.REPORT)
    return cmb.read_report(content) if _is_cmb(type) else iso20022.read_pain002(content)


def read_resolution(type: str, content: bytes) -> RecallAnswer:
    """Read what a bank says became of a recall. Raises BadStatement."""
    _check(type, Kind.RESOLUTION)
    return iso20022.read_camt029(content)


def read_notice(
    type: str, content: bytes, *, odd: list[BadStatement] | None = None, totals_may_differ: bool = False
) -> list[Entry]:
    """Read bookings that a bank tells of as they are made. Raises BadStatement.

    odd: takes what is wrong with bookings that cannot be read, and the others are returned; None: one such has the
    whole file refused. totals_may_differ: bookings that do not come to what is announced are read all the same.
    """
    _check(type, Kind.NOTICE)
    if _is_cmb(type):  # which announces no totals
        return cmb.read_notice(content, odd=odd)
    read = iso20022.read_camt052 if type == "camt.052" else iso20022.read_camt054
    return read(content, odd=odd, totals_may_differ=totals_may_differ)


def read_statements(
    type: str, content: bytes, *, allow_gap: bool = False, odd: list[BadStatement] | None = None
) -> list[AccountStatement]:
    """Read the statements of a closed day, one an account, or pages of such (joined puts them together).

    allow_gap: return statements whose opening and entries do not make the closing, instead of refusing the file. Only
    for a reader that reports AccountStatement.gap and books nothing on the entries' word (reconciliation). odd: takes
    what is wrong with entries and statements that cannot be read, and the others are returned; None: one such has the
    whole file refused. Raises BadStatement, also where nothing of the file can be read.
    """
    _check(type, Kind.STATEMENT)
    read = cmb.read_statements if _is_cmb(type) else iso20022.read_camt053
    return read(content, allow_gap=allow_gap, odd=odd)


def _check(type: str, kind: Kind) -> None:
    if KINDS.get(type) is not kind:
        raise BadStatement("other_message", f"{type[:40]} is no {kind}")


def _is_cmb(type: str) -> bool:
    return type.startswith("cmb.")
