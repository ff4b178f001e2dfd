"""Taking merchants on and looking after them: their books, their API keys, their banks."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import ledger
from gateway import store
from gateway.door.auth import SCOPES, Authenticator, new_key
from gateway.tables import MERCHANTS, Merchant
from kernel.db import Connection, Pool, acquire, transaction
from kernel.env import Env
from kernel.errors import NotFound, Rejected
from kernel.lane import Lanes
from kernel.money import is_currency
from kernel.work import BOOKS, ClockDiffers, clock_off, new_head
from ledger import accounts
from people import Use
from splitting import BankLink
from splitting.banks.worker import Banks

_BANK = re.compile(r"[a-z0-9]{2,10}", re.ASCII)


@dataclass(frozen=True, slots=True)
class NewMerchant:
    """A merchant just taken on. `api_key` is shown this once."""

    book: int
    id: str
    key_id: str
    api_key: str


class Merchants:
    """Use cases of merchants."""

    def __init__(
        self,
        *,
        pool: Pool,
        lanes: Lanes,
        env: Env,
        authenticator: Authenticator,
        banks: Banks,
        max_skew: timedelta | None,
    ) -> None:
        """max_skew: how far this host's clock may be from the database's before it refuses to write; None: any."""
        self._pool = pool
        self._lanes = lanes
        self._env = env
        self._authenticator = authenticator
        self._banks = banks
        self._max_skew = max_skew

    async def add(self, name: str, *, currencies: Sequence[str], scopes: Sequence[str] = SCOPES) -> NewMerchant:
        """Open a book for a merchant and give it an API key.

        Raises Rejected (currency_unknown, unknown_scope), Unavailable (clock_differs).
        """
        _check_scopes(scopes)
        for currency in currencies:
            _check_currency(currency)
        merchant_id = self._env.ids.new("mer")
        key, key_id = new_key(self._env.secrets), self._env.ids.new("key")
        async with transaction(self._pool) as connection:
            now = await self._now(connection)
            book = await store.new_book(connection)
            await BOOKS.insert(connection, [new_head(book, now)])
            await MERCHANTS.insert(connection, [Merchant(book, merchant_id, name, now)])
            await store.add_key(connection, self._authenticator.digest(key), key_id, book, scopes, now, None)
        names = [make(currency) for currency in currencies for make in (accounts.merchant, accounts.platform_fee)]
        await self._lanes.put(ledger.OpenAccounts(book, names))
        return NewMerchant(book, merchant_id, key_id, key)

    async def add_key(self, book: int, scopes: Sequence[str], expires_in: timedelta | None) -> tuple[str, str]:
        """Make another API key; return its id and the key itself, which is shown this once.

        expires_in: None: never. Raises Rejected (unknown_scope), NotFound (no_such_book), Unavailable (clock_differs).
        """
        _check_scopes(scopes)
        key, key_id = new_key(self._env.secrets), self._env.ids.new("key")
        async with transaction(self._pool) as connection:
            await _require(connection, book)
            now = await self._now(connection)
            expires_at = None if expires_in is None else now + expires_in
            await store.add_key(connection, self._authenticator.digest(key), key_id, book, scopes, now, expires_at)
        return key_id, key

    async def set_suspended(self, book: int, *, suspended: bool) -> bool:
        """Suspend a merchant or resume it; return whether that changed anything. Every process follows within a second.

        Raises NotFound (no_such_book).
        """
        async with transaction(self._pool) as connection:
            await _require(connection, book)
            return await store.suspend(connection, book, self._env.now() if suspended else None)

    async def set_key_suspended(self, book: int, key_id: str, *, suspended: bool) -> bool:
        """Suspend an API key or resume it; return whether that changed anything. Every process follows within a second.

        Raises NotFound (no_such_key), also of one that was revoked.
        """
        async with transaction(self._pool) as connection:
            at = self._env.now() if suspended else None
            changed = await store.suspend_key(connection, book, key_id, at)
        if changed is None:
            raise _no_such_key(book, key_id)
        return changed

    async def revoke_key(self, book: int, key_id: str) -> None:
        """Revoke an API key; every process refuses it within a second.

        Raises NotFound (no_such_key), also of one that was revoked before.
        """
        async with transaction(self._pool) as connection:
            done = await store.revoke_key(connection, book, key_id, self._env.now())
        if not done:
            raise _no_such_key(book, key_id)

    async def link_bank(
        self,
        book: int,
        bank: str,
        enrolment: Mapping[str, Any],
        *,
        name: str,
        currency: str,
        folder: Path | None = None,
        use: Use | None = None,
    ) -> BankLink:
        """Open a merchant's pool account at a bank and keep, sealed, how the bank is reached; repeating finds the same.

        Raises NotFound (no_such_book), Rejected (currency_unknown, bank_name_wrong, bank_settings_wrong, or the bank's
        no), Conflict (other_pool_account, approval_unusable), Unavailable. use: of the approval, where it takes one.
        """
        if not _BANK.fullmatch(bank):
            raise Rejected("bank_name_wrong", f"{bank[:40]!r} cannot be a bank's name: use 2 to 10 of a-z 0-9")
        _check_currency(currency)
        await self.require(book)  # before the bank opens an account for nobody
        return await self._banks.enrol(
            book, bank, enrolment, folder=folder or Path(), name=name, currency=currency, use=use
        )

    async def require(self, book: int) -> None:
        """Raise NotFound (no_such_book) unless a merchant has the book."""
        async with acquire(self._pool) as connection:
            await _require(connection, book)

    async def _now(self, connection: Connection) -> datetime:
        """Return the moment of a record made beside the lane, held against the database's clock as the lane does.

        Raises ClockDiffers.
        """
        now = self._env.now()
        if (why := await clock_off(connection, now, self._max_skew)) is not None:
            raise ClockDiffers("clock_differs", why)
        return now


def _no_such_key(book: int, key_id: str) -> NotFound:
    return NotFound("no_such_key", f"book {book} has no key {key_id} that is not revoked; see `sluice key list`")


async def _require(connection: Connection, book: int) -> None:
    """Raises NotFound (no_such_book)."""
    if await store.find_merchant(connection, book) is None:
        raise NotFound("no_such_book", f"there is no book {book}; see `sluice merchant list`")


def _check_scopes(scopes: Sequence[str]) -> None:
    """Raises Rejected (unknown_scope)."""
    unknown = set(scopes) - set(SCOPES)
    if unknown:
        raise Rejected(
            "unknown_scope", f"there is no scope {', '.join(sorted(unknown))}; there are {', '.join(SCOPES)}"
        )


def _check_currency(currency: str) -> None:
    """Raises Rejected (currency_unknown)."""
    if not is_currency(currency):
        raise Rejected("currency_unknown", f"{currency} is not an ISO 4217 currency")
