"""The commands by which channel accounts change: each leaves an event, and a repetition finds what the first did."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import streams
from gateway.accounts.objects import channel_account_event
from gateway.claims import Claims
from gateway.tables import CHANNEL_ACCOUNTS, ChannelAccount
from kernel.errors import Conflict
from kernel.work import BOOKS, Need, Work


def _told(work: Work, kind: str, row: ChannelAccount, by: str) -> None:
    """Publish what happened to an account: who did it, and no secret."""
    streams.publish(work, row.book, f"channel_account.{kind}", row.id, channel_account_event(row, by))


def _needs(book: int, account_id: str, claims: Claims | None) -> Iterable[Need]:
    yield BOOKS, (book,)
    yield CHANNEL_ACCOUNTS, (book, account_id)
    if claims is not None:
        yield from claims.needs(book)


def _earlier(work: Work, book: int, account_id: str, claims: Claims | None) -> ChannelAccount | None:
    """Return the account as it is where an earlier identical request was carried out. Raises Conflict."""
    if claims is None or claims.earlier(work, book) is None:
        return None
    return work.get(CHANNEL_ACCOUNTS, (book, account_id))


@dataclass(frozen=True, slots=True)
class AddChannelAccount:
    """Record a channel account; the same again returns what the first one made. Raises Conflict (account_exists)."""

    book: int
    row: ChannelAccount
    claims: Claims | None
    by: str

    def needs(self, work: Work) -> Iterable[Need]:
        return _needs(self.book, self.row.id, self.claims)

    def apply(self, work: Work) -> tuple[ChannelAccount, bool]:
        work.head(self.book)
        earlier = _earlier(work, self.book, self.row.id, self.claims)
        if earlier is not None:
            return earlier, True
        there = work.find(CHANNEL_ACCOUNTS, (self.book, self.row.id))
        if there is not None:
            if there.sealed == self.row.sealed:  # no two envelopes are alike: this very command was here before
                return there, False
            raise Conflict("account_exists", f"book {self.book} already has a channel account {self.row.id}")
        row = self.row._replace(created_at=work.now, updated_at=work.now)
        work.put(CHANNEL_ACCOUNTS, row)
        if self.claims is not None:
            self.claims.take(work, self.book, row.id)
        _told(work, "added", row, self.by)
        return row, False


@dataclass(frozen=True, slots=True)
class ChangeChannelAccount:
    """Change an account's terms, position or state; None leaves it. Raises NotFound, Conflict (version_mismatch)."""

    book: int
    account_id: str
    version: int | None
    terms: str | None
    position: int | None
    state: str | None
    claims: Claims | None
    by: str

    def needs(self, work: Work) -> Iterable[Need]:
        return _needs(self.book, self.account_id, self.claims)

    def apply(self, work: Work) -> ChannelAccount:
        work.head(self.book)
        row = work.get(CHANNEL_ACCOUNTS, (self.book, self.account_id))
        if _earlier(work, self.book, self.account_id, self.claims) is not None:
            return row
        wanted: dict[str, Any] = {"terms": self.terms, "position": self.position, "state": self.state}
        new = row._replace(**{name: value for name, value in wanted.items() if value is not None})
        # One ahead, and just so: this very change was made, and its answer lost.
        if self.version is not None and row.version != self.version and (new != row or row.version != self.version + 1):
            raise _moved_on(row)
        if self.claims is not None:
            self.claims.take(work, self.book, row.id)
        if new == row:
            return row
        new = new._replace(version=row.version + 1, updated_at=work.now)
        work.put(CHANNEL_ACCOUNTS, new)
        _told(work, "changed", new, self.by)
        return new


@dataclass(frozen=True, slots=True)
class RotateChannelAccount:
    """Put an account's new credentials in place of the version they were made from.

    row: the account as it is to be. Raises NotFound, Conflict (version_mismatch).
    """

    book: int
    row: ChannelAccount
    claims: Claims | None
    by: str

    def needs(self, work: Work) -> Iterable[Need]:
        return _needs(self.book, self.row.id, self.claims)

    def apply(self, work: Work) -> tuple[ChannelAccount, bool]:
        """Return the account, and whether an earlier request had done it."""
        work.head(self.book)
        there = work.get(CHANNEL_ACCOUNTS, (self.book, self.row.id))
        if _earlier(work, self.book, self.row.id, self.claims) is not None:
            return there, True
        if there.sealed == self.row.sealed:
            return there, False
        if there.version != self.row.version - 1:
            raise _moved_on(there)
        row = self.row._replace(updated_at=work.now)
        work.put(CHANNEL_ACCOUNTS, row)
        if self.claims is not None:
            self.claims.take(work, self.book, row.id)
        _told(work, "rotated", row, self.by)
        return row, False


@dataclass(frozen=True, slots=True)
class ResealChannelAccount:
    """Replace an account's envelope unless it has changed meanwhile; return whether it was replaced."""

    book: int
    old: ChannelAccount
    new: ChannelAccount

    def needs(self, work: Work) -> Iterable[Need]:
        return _needs(self.book, self.old.id, None)

    def apply(self, work: Work) -> bool:
        work.head(self.book)
        there = work.get(CHANNEL_ACCOUNTS, (self.book, self.old.id))
        if there.sealed == self.new.sealed:
            return True
        if there.sealed != self.old.sealed or there.credentials_version != self.old.credentials_version:
            return False  # rotated meanwhile, and so sealed under the current key
        new, old = self.new, self.old
        row = there._replace(
            settings=new.settings, sealed=new.sealed, credentials_version=new.credentials_version,
            version=there.version + new.version - old.version,
        )  # fmt: skip
        work.put(CHANNEL_ACCOUNTS, row)
        return True


def _moved_on(row: ChannelAccount) -> Conflict:
    return Conflict(
        "version_mismatch",
        f"channel account {row.id} is now at version {row.version}; read it again and decide again",
        version=row.version,
    )
