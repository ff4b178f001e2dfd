"""Commands of the ledger for the commit lane."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

from kernel.clock import business_date
from kernel.work import BOOKS, Need, Work
from ledger.posting import ACCOUNTS, ENTRIES, HOLDS, Result, Step, Transfer, needs, open_account, post


@dataclass(frozen=True, slots=True)
class OpenAccounts:
    """Open these accounts of a book; those already open stay as they are."""

    book: int
    names: Sequence[str]

    def needs(self, work: Work) -> Iterable[Need]:
        yield BOOKS, (self.book,)
        for name in self.names:
            yield ACCOUNTS, (self.book, name)

    def apply(self, work: Work) -> None:
        work.head(self.book)
        for name in self.names:
            open_account(work, self.book, name)


@dataclass(frozen=True, slots=True)
class Post:
    """Post one linked group and return a Result for each transfer. Raises posting.Refusal when none was posted."""

    book: int
    posting: str
    transfers: Sequence[Transfer]
    business_date: date

    def needs(self, work: Work) -> Iterable[Need]:
        yield BOOKS, (self.book,)
        yield from needs(self.book, self.transfers)

    def apply(self, work: Work) -> list[Result]:
        return post(work, self.book, self.posting, self.transfers, business_date=self.business_date)


@dataclass(frozen=True, slots=True)
class ExpireHold:
    """Void a hold whose time is up; one already resolved stays as it is. Returns whether it was voided now."""

    book: int
    hold_id: str

    @property
    def _void_id(self) -> str:
        return f"{self.hold_id}:expired"

    def needs(self, work: Work) -> Iterable[Need]:
        yield BOOKS, (self.book,)
        yield HOLDS, (self.book, self.hold_id)
        yield ENTRIES, (self.book, self.hold_id)
        if work.knows(HOLDS, (self.book, self.hold_id)):
            hold = work.find(HOLDS, (self.book, self.hold_id))
            if hold is not None:
                yield ACCOUNTS, (self.book, hold.debit)
                yield ACCOUNTS, (self.book, hold.credit)

    def apply(self, work: Work) -> bool:
        hold = work.get(HOLDS, (self.book, self.hold_id))
        if hold.state != "held" or hold.expires_at is None or hold.expires_at > work.now:
            return False
        rule = work.get(ENTRIES, (self.book, self.hold_id)).rule
        transfer = Transfer(
            self._void_id, rule, hold.debit, hold.credit, hold.amount_minor, hold.currency, Step.VOID_HOLD, hold.id
        )
        post(work, self.book, self._void_id, [transfer], business_date=business_date(work.now), fresh=True)
        expired = work.get(HOLDS, (self.book, self.hold_id))
        work.put(HOLDS, expired._replace(state="expired"))
        return True
