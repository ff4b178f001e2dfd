"""A bank's files as they are kept: bytes, hash and fate, and what a person may say of one that is set aside.

The bytes are written before anything is done with them, in a transaction of their own: they may be many, and no
payment waits for them. What becomes of a file is written in the batch that opens, decides or closes its case.
"""

import hashlib
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any, NamedTuple

import orjson

import cases
from cases import Case, Effect
from channels.banks import KINDS, FileInfo, Kind
from kernel.clock import rfc3339
from kernel.errors import Broken, Conflict, Rejected
from kernel.ids import BODY_LENGTH
from kernel.states import advance
from kernel.work import BOOKS, Need, Work
from splitting.settlement.deposits import FOR_EVER
from splitting.states import FILE, FileEvent, FileFate
from splitting.tables import BANK_FILES, BankFile, BankLink

SET_ASIDE = "bank_file_set_aside"
RELEASE, REPLACE, DISCARD = "release", "replace", "discard"
HUB = "sluice"
MOST_BYTES = 64 << 20  # of one file; the readers read no more either
HAND = "hand-"


class Wrong(NamedTuple):
    """Why a file was not applied, or not all of it."""

    code: str
    why: str


def file_key(book: int, bank: str, file_id: str, listed_sha256: str) -> str:
    """Return our id of a bank's file: under the same id at the bank, other bytes are another file."""
    told = f"{book}\n{bank}\n{file_id}\n{listed_sha256.lower()}"
    return f"bkf_{hashlib.sha256(told.encode()).hexdigest()[:BODY_LENGTH]}"


def about(file: BankFile) -> str:
    """Return what the case of a file is about."""
    return f"{file.bank}:{file.file_id}"


def bank_of(about: str) -> str:
    """Return at which bank the file is that a case is about."""
    return about.partition(":")[0]


def packed(content: bytes) -> bytes:
    """Return bytes as they are kept. CPU work that grows with them."""
    return zlib.compress(content, 6)


def unpacked(kept: bytes, file: BankFile) -> bytes:
    """Return a file's bytes, as they came. Raises Broken where what is kept is not they."""
    opened = zlib.decompressobj()
    try:
        content = opened.decompress(kept, min(file.size, MOST_BYTES) + 1)
    except zlib.error:
        content = b""
    if len(content) != file.size or hashlib.sha256(content).hexdigest() != file.sha256:
        raise Broken("bank_file_damaged", f"the kept bytes of {file.id} are not those that came", file=file.id)
    return content


def received(link: BankLink, info: FileInfo, content: bytes | None, now: datetime) -> BankFile:
    """Return the row of a file that a bank listed; content: None where its bytes could not be had."""
    return BankFile(
        link.book,
        file_key(link.book, link.bank, info.file_id, info.sha256),
        link.bank,
        info.file_id,
        info.type,
        info.name,
        info.business_date,
        info.sha256.lower(),
        None if content is None else hashlib.sha256(content).hexdigest(),
        0 if content is None else len(content),
        FileFate.RECEIVED.value,
        None,
        None,
        None,
        None,
        None,
        now,
        now,
        HUB,
    )


def by_hand(other: BankFile, content: bytes, name: str, person: str, now: datetime) -> BankFile:
    """Return the row of a file that a person gives in place of another; the same bytes give the same one."""
    digest = hashlib.sha256(content).hexdigest()
    ident = f"{HAND}{digest[:16]}-{other.id[-8:]}"
    return other._replace(
        id=file_key(other.book, other.bank, ident, digest),
        file_id=ident,
        name=name,
        listed_sha256=digest,
        sha256=digest,
        size=len(content),
        fate=FileFate.OFFERED.value,
        code=None,
        why=None,
        repeats=None,
        replaces=other.id,
        given_by=person,
        received_at=now,
        fate_at=now,
        fate_by=person,
    )


def info_of(file: BankFile) -> FileInfo:
    """Return a kept file as a bank's list would have it."""
    return FileInfo(file.file_id, file.type, file.name, file.business_date, "", file.listed_sha256)


def payload(file: BankFile) -> dict[str, Any]:
    """Return a file as the command line shows it; sizes in bytes."""
    shown = {name: value for name, value in file._asdict().items() if name != "listed_sha256"}
    shown |= {name: rfc3339(shown[name]) for name in ("received_at", "fate_at")}
    shown["business_date"] = file.business_date.isoformat()
    return {"object": "bank_file", **shown, "is_as_listed": file.sha256 == file.listed_sha256}


@dataclass(frozen=True, slots=True)
class EndFile:
    """Write down what became of a file: all of it was applied (wrong: None), or it has a case. Returns the row.

    info: how the bank listed it. repeats: the file with the same bytes that was applied before. closes: its case, which
    may be of before the file was kept, is over. A file that was discarded meanwhile stays so.
    """

    file: BankFile
    info: FileInfo
    wrong: Wrong | None
    repeats: str | None = None
    closes: bool = False

    @property
    def book(self) -> int:
        return self.file.book

    def needs(self, work: Work) -> Iterable[Need]:
        yield BANK_FILES, (self.book, self.file.id)
        yield from cases.needs(self.book, SET_ASIDE, about(self.file))

    def apply(self, work: Work) -> BankFile:
        row = work.get(BANK_FILES, (self.book, self.file.id))
        event = FileEvent.ALL_APPLIED if self.repeats is None else FileEvent.SAME_BYTES
        if self.wrong is not None:
            event = FileEvent.NOT_APPLIED
        if (FileFate(row.fate), event) not in FILE:
            return row
        fate = advance(FILE, FileFate(row.fate), event)
        person = None if row.fate != FileFate.RECEIVED or row.fate_by == HUB else row.fate_by
        if self.wrong is None:
            if self.closes or row.fate == FileFate.QUARANTINED:
                why = "all of the file has been applied"
                cases.close_case(work, self.book, SET_ASIDE, about(row), why=why)
            if fate == row.fate:
                return row
            row = row._replace(fate=fate.value, repeats=self.repeats, fate_at=work.now, fate_by=person or HUB)
        else:
            code, why = self.wrong.code, self.wrong.why[:2000]
            file = {**asdict(self.info), "business_date": self.info.business_date.isoformat()}
            facts = {"bank": row.bank, "file": file, "kept_as": row.id, "code": code, "why": why}
            if person is not None:  # who let it be applied is told, and that it was tried after that
                facts |= {"applied_for": person, "since": row.fate_at.isoformat()}
            cases.open_case(work, self.book, SET_ASIDE, about(row), facts=facts, rest=FOR_EVER)
            if (fate, code, why) == (row.fate, row.code, row.why):
                return row
            row = row._replace(fate=fate.value, code=code, why=why, fate_at=work.now, fate_by=HUB)
        work.put(BANK_FILES, row)
        return row


@dataclass(frozen=True, slots=True)
class DecideFile:
    """What a decision about the case of a file does to the file: released to be applied, discarded, or replaced."""

    event: FileEvent
    by_another: bool = False

    def needs(self, work: Work, case: Case) -> Iterable[Need]:
        yield BOOKS, (case.book,)
        yield BANK_FILES, (case.book, kept_as(case))
        if self.by_another:
            yield BANK_FILES, (case.book, orjson.loads(case.facts).get(cases.FILE, ""))

    def apply(self, work: Work, case: Case) -> None:
        row = work.find(BANK_FILES, (case.book, kept_as(case)))
        if row is None:
            if self.event is FileEvent.DISCARDED and not self.by_another:
                return  # of before files were kept
            raise Rejected("bank_file_not_kept", "the bytes of this file were never kept; it can only be discarded")
        if self.event is FileEvent.RELEASED:
            check_releasable(row)
        if (FileFate(row.fate), self.event) not in FILE:
            raise Conflict("bank_file_moved", f"{row.id} is {row.fate} by now; look at it again")
        who = case.decided_by or HUB
        fate = advance(FILE, FileFate(row.fate), self.event)
        work.put(BANK_FILES, row._replace(fate=fate.value, fate_at=work.now, fate_by=who))
        if not self.by_another:
            return
        other = work.find(BANK_FILES, (case.book, orjson.loads(case.facts)[cases.FILE]))
        if other is None or other.replaces != row.id or other.fate != FileFate.OFFERED:
            raise Rejected("bank_file_not_offered", f"no file was given by hand in place of {row.id} under this id")
        agreed = advance(FILE, FileFate.OFFERED, FileEvent.AGREED)
        work.put(BANK_FILES, other._replace(fate=agreed.value, fate_at=work.now, fate_by=who))


def check_releasable(file: BankFile) -> None:
    """Raise Rejected (bank_file_not_kept, bank_file_not_believed) where nobody can have a file applied as it is.

    What the bank did not sign, or is not what it listed, stays so whoever says otherwise: the bank sends it another
    way, and that file replaces it.
    """
    if KINDS.get(file.type) is Kind.STATEMENT:
        raise Rejected("bank_file_not_believed", f"{file.id} is a statement, which is compared whole: replace it")
    if file.sha256 is None:
        raise Rejected("bank_file_not_kept", f"the bytes of {file.id} could not be had: {file.code}; replace it")
    code = file.code or ""
    if code.startswith("signature_") or code in ("other_file", "listed_oddly"):
        raise Rejected("bank_file_not_believed", f"{file.id} is not known to be the bank's ({code}): replace it")


def kept_as(case: Case) -> str:
    """Return our id of the file that a case is about."""
    facts = orjson.loads(case.facts)
    file = facts["file"]
    kept: str = facts.get("kept_as") or file_key(case.book, facts["bank"], file["file_id"], file["sha256"])
    return kept


def info_from(facts: Mapping[str, Any]) -> FileInfo:
    """Return how the bank listed the file that a case is about."""
    file = facts["file"]
    return FileInfo(**{**file, "business_date": date.fromisoformat(file["business_date"])})


EFFECTS: Mapping[tuple[str, str], Effect] = {
    (SET_ASIDE, RELEASE): DecideFile(FileEvent.RELEASED),
    (SET_ASIDE, REPLACE): DecideFile(FileEvent.DISCARDED, by_another=True),
    (SET_ASIDE, DISCARD): DecideFile(FileEvent.DISCARDED),
}
