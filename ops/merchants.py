"""Taking a merchant on: its book, its first API key, its channel accounts, its bank."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

import ledger
import splitting
from gateway import store
from gateway.auth import SCOPES, new_key
from gateway.tables import CHANNEL_ACCOUNTS, MERCHANTS, ChannelAccount, Merchant
from kernel.db import Connection, transaction
from kernel.errors import Conflict, NotFound, Rejected
from kernel.money import is_currency
from kernel.work import BOOKS, new_head
from ledger import accounts
from ops.wiring import Hub
from splitting import BankLink, Payee


@dataclass(frozen=True, slots=True)
class NewMerchant:
    """A merchant just taken on. `api_key` is shown this once."""

    book: int
    id: str
    key_id: str
    api_key: str


async def add_merchant(hub: Hub, name: str, *, currencies: Sequence[str]) -> NewMerchant:
    """Open a book for a merchant and give it an API key with every scope. Raises Rejected (currency_unknown)."""
    for currency in currencies:
        if not is_currency(currency):
            raise Rejected("currency_unknown", f"{currency} is not an ISO 4217 currency")
    now, merchant_id = hub.env.now(), hub.env.ids.new("mer")
    key, key_id = new_key(hub.env.secrets), hub.env.ids.new("key")
    async with transaction(hub.pool) as connection:
        book = await store.new_book(connection)
        await BOOKS.insert(connection, [new_head(book, now)])
        await MERCHANTS.insert(connection, [Merchant(book, merchant_id, name, now)])
        await store.add_key(connection, hub.authenticator.digest(key), key_id, book, SCOPES, now, None)
    names = [make(currency) for currency in currencies for make in (accounts.merchant, accounts.platform_fee)]
    await hub.lanes.put(ledger.OpenAccounts(book, names))
    return NewMerchant(book, merchant_id, key_id, key)


async def add_key(hub: Hub, book: int, scopes: Sequence[str], expires_at: datetime | None) -> tuple[str, str]:
    """Make another API key; return its id and the key itself, which is shown this once.

    Raises Rejected (unknown_scope), NotFound (no_such_book).
    """
    unknown = set(scopes) - set(SCOPES)
    if unknown:
        raise Rejected("unknown_scope", f"no such scope: {', '.join(sorted(unknown))}; there are {', '.join(SCOPES)}")
    key, key_id = new_key(hub.env.secrets), hub.env.ids.new("key")
    async with transaction(hub.pool) as connection:
        await _known_book(connection, book)
        digest = hub.authenticator.digest(key)
        await store.add_key(connection, digest, key_id, book, scopes, hub.env.now(), expires_at)
    return key_id, key


async def add_channel_account(
    hub: Hub, book: int, account_id: str, channel: str, settings: Mapping[str, Any], *, fee_bp: int
) -> ChannelAccount:
    """Give a merchant an account with a channel. settings: identifiers and key-file paths, never a key itself.

    Raises Rejected (no_such_channel, channel_settings_wrong), NotFound (no_such_book), Conflict (account_exists).
    """
    build = hub.channels.get(channel)
    if build is None:
        raise Rejected("no_such_channel", f"this hub has no channel {channel}; there are {', '.join(hub.channels)}")
    try:
        build(settings)
    except (KeyError, ValueError, TypeError, OSError) as error:
        why = f"{type(error).__name__}: {error}"
        raise Rejected("channel_settings_wrong", f"these settings make no {channel} account: {why}") from None
    text = orjson.dumps(dict(settings)).decode()
    account = ChannelAccount(book, account_id, channel, "enabled", fee_bp, text, hub.env.now())
    async with transaction(hub.pool) as connection:
        await _known_book(connection, book)
        if any(row.id == account_id for row in await store.channel_accounts(connection, book)):
            raise Conflict("account_exists", f"book {book} has a channel account {account_id} already")
        await CHANNEL_ACCOUNTS.insert(connection, [account])
    return account


async def set_channel_state(hub: Hub, book: int, account_id: str, state: str) -> None:
    """Enable a channel account, drain it (nothing new goes to it, what is open is finished) or switch it off.

    Every process follows within a second. Raises NotFound.
    """
    async with transaction(hub.pool) as connection:
        if not await store.set_channel_state(connection, book, account_id, state):
            raise NotFound("no_such_channel_account", f"book {book} has no channel account {account_id}")


async def _known_book(connection: Connection, book: int) -> None:
    """Raises NotFound unless a merchant has the book."""
    if all(merchant.book != book for merchant in await store.merchants(connection)):
        raise NotFound("no_such_book", f"there is no book {book}; see `sluice merchant list`")


async def link_bank(
    hub: Hub, book: int, bank: str, enrolment: Mapping[str, Any], *, name: str, currency: str
) -> BankLink:
    """Open a merchant's pool account at a bank and note how the bank is reached; repeating it changes nothing."""
    link = BankLink(book, bank, "", orjson.dumps(dict(enrolment)).decode(), "{}")
    client = hub.banks.client(link)
    pool = await client.open_account(f"pool-{book}-{currency}", name, currency, "pool")
    link = link._replace(pool_account=pool.account)
    await hub.lanes.put(splitting.LinkBank(link))
    return link


async def add_platform_payee(hub: Hub, book: int, *, name: str, currency: str, bank: str) -> Payee:
    """Register the platform itself as the payee of its commission, with a sub-account of its own at the bank."""
    payee_id = "pye_" + "0" * 26
    account = await hub.banks.open_sub_account(book, bank, f"platform-{book}-{currency}", name, currency)
    payee = Payee(book, payee_id, name, "platform", currency, bank, account, hub.env.now())
    return await hub.lanes.put(splitting.CreatePayee(payee))
