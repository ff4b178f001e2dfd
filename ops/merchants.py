"""Taking a merchant on: its book, its first API key, its channel accounts, its bank."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import ledger
import splitting
from gateway import store
from gateway.accounts.terms import Terms, flat
from gateway.door.auth import SCOPES, new_key
from gateway.tables import MERCHANTS, ChannelAccount, Merchant
from kernel.db import Connection, acquire, transaction
from kernel.errors import NotFound, Rejected
from kernel.money import is_currency
from kernel.work import BOOKS, ClockDiffers, clock_off, new_head
from ledger import accounts
from ops.wiring import Hub
from splitting import BankLink, Payee

_BANK = re.compile(r"[a-z0-9]{2,10}", re.ASCII)


@dataclass(frozen=True, slots=True)
class NewMerchant:
    """A merchant just taken on. `api_key` is shown this once."""

    book: int
    id: str
    key_id: str
    api_key: str


async def add_merchant(
    hub: Hub, name: str, *, currencies: Sequence[str], scopes: Sequence[str] = SCOPES
) -> NewMerchant:
    """Open a book for a merchant and give it an API key.

    Raises Rejected (currency_unknown, unknown_scope), Unavailable (clock_differs).
    """
    _check_scopes(scopes)
    for currency in currencies:
        _check_currency(currency)
    merchant_id = hub.env.ids.new("mer")
    key, key_id = new_key(hub.env.secrets), hub.env.ids.new("key")
    async with transaction(hub.pool) as connection:
        now = await _now(hub, connection)
        book = await store.new_book(connection)
        await BOOKS.insert(connection, [new_head(book, now)])
        await MERCHANTS.insert(connection, [Merchant(book, merchant_id, name, now)])
        await store.add_key(connection, hub.authenticator.digest(key), key_id, book, scopes, now, None)
    names = [make(currency) for currency in currencies for make in (accounts.merchant, accounts.platform_fee)]
    await hub.lanes.put(ledger.OpenAccounts(book, names))
    return NewMerchant(book, merchant_id, key_id, key)


async def add_key(hub: Hub, book: int, scopes: Sequence[str], expires_in: timedelta | None) -> tuple[str, str]:
    """Make another API key; return its id and the key itself, which is shown this once.

    expires_in: None: never. Raises Rejected (unknown_scope), NotFound (no_such_book), Unavailable (clock_differs).
    """
    _check_scopes(scopes)
    key, key_id = new_key(hub.env.secrets), hub.env.ids.new("key")
    async with transaction(hub.pool) as connection:
        await check_book(connection, book)
        digest = hub.authenticator.digest(key)
        now = await _now(hub, connection)
        expires_at = None if expires_in is None else now + expires_in
        await store.add_key(connection, digest, key_id, book, scopes, now, expires_at)
    return key_id, key


async def _now(hub: Hub, connection: Connection) -> datetime:
    """Return the moment under which something is recorded beside the lane, held against the database's clock as there.

    Raises ClockDiffers.
    """
    now = hub.env.now()
    if (why := await clock_off(connection, now, hub.max_skew)) is not None:
        raise ClockDiffers("clock_differs", why)
    return now


async def set_suspended(hub: Hub, book: int, *, suspended: bool) -> bool:
    """Suspend a merchant or resume it; return whether that changed anything. Every process follows within a second.

    Raises NotFound (no_such_book).
    """
    async with transaction(hub.pool) as connection:
        await check_book(connection, book)
        return await store.suspend(connection, book, hub.env.now() if suspended else None)


async def add_channel_account(
    hub: Hub,
    book: int,
    account_id: str,
    channel: str,
    settings: Mapping[str, Any],
    *,
    terms: Terms | None = None,
    fee_bp: int = 0,
    position: int | None = None,
    folder: Path | None = None,
) -> ChannelAccount:
    """Give a merchant an account with a channel. settings: what the rail needs; keys as text or as files, read now.

    terms: what it costs and takes; None: nothing but a rate of fee_bp basis points. folder: what paths are relative to.
    Raises Rejected (no_such_channel, channel_settings_wrong, terms_wrong), NotFound (no_such_book), Conflict
    (account_exists).
    """
    row, _ = await hub.channel_admin.add(
        book, account_id, channel, settings, terms=terms or flat(fee_bp), position=position, folder=folder or Path()
    )
    return row


async def set_channel_state(hub: Hub, book: int, account_id: str, state: str) -> ChannelAccount:
    """Enable a channel account, drain it (nothing new goes to it, what is open is finished) or switch it off.

    Every process follows within a second. Raises NotFound.
    """
    return await hub.channel_admin.change(book, account_id, state=state)


async def reseal(
    hub: Hub, *, new_key: bool, retire: bool, progress: Callable[[int, int], None] = lambda done, of: None
) -> dict[str, Any]:
    """Put the credentials of all channel accounts and bank links under the current master key.

    Repeating it finishes what was left. new_key: make one first. retire: then forget the master keys that nothing is
    under, unless something failed. Whatever moment this is stopped at, everything opens: a key is forgotten only when
    nothing needs it any more.
    """
    if new_key:
        hub.keys.add()
    rails, banks = await hub.channel_admin.reseal(progress), await hub.banks.reseal()
    failed = [*rails.failed, *banks.failed]
    unused = set(hub.keys.ids()[1:]) - rails.in_use - banks.in_use
    retired = sorted(unused) if retire and not failed else []
    if retired:
        hub.keys.retire(unused)
    return {
        "resealed": rails.done + banks.done,
        "already": rails.already + banks.already,
        "failed": failed,
        "master_keys": hub.keys.ids(),
        "retired": retired,
    }


def _check_scopes(scopes: Sequence[str]) -> None:
    """Raises Rejected (unknown_scope)."""
    unknown = set(scopes) - set(SCOPES)
    if unknown:
        raise Rejected("unknown_scope", f"no such scope: {', '.join(sorted(unknown))}; there are {', '.join(SCOPES)}")


def _check_currency(currency: str) -> None:
    """Raises Rejected (currency_unknown)."""
    if not is_currency(currency):
        raise Rejected("currency_unknown", f"{currency} is not an ISO 4217 currency")


async def check_book(connection: Connection, book: int) -> None:
    """Raise NotFound (no_such_book) unless a merchant has the book."""
    if all(merchant.book != book for merchant in await store.merchants(connection)):
        raise NotFound("no_such_book", f"there is no book {book}; see `sluice merchant list`")


async def link_bank(
    hub: Hub,
    book: int,
    bank: str,
    enrolment: Mapping[str, Any],
    *,
    name: str,
    currency: str,
    folder: Path | None = None,
) -> BankLink:
    """Open a merchant's pool account at a bank and keep, sealed, how the bank is reached; repeating it finds the same.

    Raises NotFound (no_such_book), Rejected (currency_unknown, bank_name_wrong, bank_settings_wrong, or the bank's no),
    Conflict (other_pool_account), Unavailable.
    """
    if not _BANK.fullmatch(bank):
        raise Rejected("bank_name_wrong", f"{bank[:40]!r} is no name for a bank: 2 to 10 of a-z 0-9")
    _check_currency(currency)
    async with acquire(hub.pool) as connection:  # before the bank opens an account for nobody
        await check_book(connection, book)
    return await hub.banks.enrol(book, bank, enrolment, folder=folder or Path(), name=name, currency=currency)


async def add_platform_payee(hub: Hub, book: int, *, name: str, currency: str, bank: str) -> Payee:
    """Register the platform itself as the payee of its commission, with a sub-account of its own at the bank."""
    payee_id = "pye_" + "0" * 26
    splitting.check_payable(bank, name, None)
    account = await hub.banks.open_sub_account(book, bank, f"platform-{book}-{currency}", name, currency)
    payee = Payee(book, payee_id, name, "platform", currency, bank, account, hub.env.now())
    return await hub.lanes.put(splitting.CreatePayee(payee))
