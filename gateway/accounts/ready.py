"""A merchant's channel accounts, ready to be called; read from the database and remembered for a second."""

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import orjson
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509 import InvalidVersion

from channels import Channel, ChannelClient, Method, capabilities_of
from channels.powers import deposit_prefix
from gateway.accounts.credentials import opened, shared
from gateway.accounts.terms import Terms, TermsWrong, Used
from gateway.accounts.usage import Usage
from gateway.store import channel_accounts
from gateway.tables import ChannelAccount
from kernel.cache import Cache
from kernel.db import Pool, acquire
from kernel.env import Env
from kernel.errors import NotFound, Unavailable
from kernel.sealing import CannotOpen, MasterKeys
from splitting import AtRail

log = logging.getLogger(__name__)

Build = Callable[[Mapping[str, Any]], Channel]
# What `build` may raise; the last two are for keys and certificates that are whole, and of a kind nobody can use.
UNUSABLE = (ValueError, KeyError, TypeError, AttributeError, OSError, UnsupportedAlgorithm, InvalidVersion)
_UNUSABLE = (CannotOpen, Unavailable, *UNUSABLE)  # and what goes wrong with a row


class PreviousClient(NamedTuple):
    """The client of credentials from before a rotation, for notices made under them."""

    until: datetime
    client: ChannelClient


class Ready(NamedTuple):
    """A channel account and the client that speaks for it."""

    account: ChannelAccount
    client: ChannelClient
    terms: Terms
    previous: Sequence[PreviousClient] = ()  # the latest first; each is believed until its time, whoever asks looks


class _Built(NamedTuple):
    """What was made of a row, and of which."""

    row: ChannelAccount
    client: ChannelClient
    previous: Sequence[PreviousClient]


class _Closed(NamedTuple):
    """An account that cannot be used: its rail, and whether it is meant to take payments."""

    channel: str
    was_enabled: bool
    settings: str  # JSON, as its row has them


def _closed(account_id: str) -> Unavailable:
    return Unavailable(
        "channel_account_closed",
        f"channel account {account_id}: it cannot be used now; the operator's log gives the reason",
        retry_after_s=60,
    )


class ChannelAccounts:
    """The channel accounts of every merchant this process has served."""

    def __init__(
        self,
        registry: Mapping[str, Build],
        keys: MasterKeys,
        pool: Pool,
        env: Env,
        account_of: Callable[[str], Sequence[str]] = lambda _: (),
    ) -> None:
        """account_of: rail → the names of settings that each name an account there."""
        self._account_of = account_of
        self._registry = registry
        self._keys = keys
        self._pool = pool
        self._env = env
        self._of_book = Cache(self._read, env)
        self._built: dict[tuple[int, str], _Built] = {}
        self._complained: dict[tuple[int, str], tuple[int, str]] = {}
        self._terms: dict[str, Terms] = {}
        self._usage = Usage()

    async def of_book(self, book: int) -> Sequence[Ready]:
        """Return the merchant's channel accounts in the operator's order, those switched off included.

        One whose credentials do not open is left out, so that it takes none of the others with it.
        """
        return (await self._standing(book))[0]

    async def deposits(self, book: int) -> Mapping[str, Sequence[str]]:
        """Return how a merchant's channels name their deposits at the bank: start of the reference → accounts.

        Several where they are one account at the rail, in the operator's order: its deposit is all of theirs together,
        and its bill says whose which part is. One whose credentials do not open is among them by its open settings.
        """
        found: dict[str, list[str]] = {}
        usable, closed = await self._standing(book)
        for one in usable:
            mark = deposit_prefix(one.client.channel)
            if mark is not None:
                found.setdefault(mark, []).append(one.account.id)
                found[mark] += [
                    account_id
                    for account_id, other in closed.items()
                    if account_id not in found[mark] and self._are_one(one.account, other)
                ]
        return found

    def _are_one(self, row: ChannelAccount, other: _Closed) -> bool:
        """Tell whether two are one account at a rail by what their settings name."""
        names = self._account_of(row.channel)
        same_rail = other.channel == row.channel
        return same_rail and shared(orjson.loads(row.settings), orjson.loads(other.settings), names) is not None

    @property
    def rails(self) -> Sequence[str]:
        """The names of the rails this hub has, in the order of the alphabet."""
        return sorted(self._registry)

    def rails_by(self, method: Method) -> Sequence[str]:
        """Return the names of those rails that have a method, in the order of the alphabet."""
        return [name for name in self.rails if method in capabilities_of(self._registry[name]).methods]

    def used(self, book: int, account_id: str, currency: str, now: datetime) -> Used:
        """Return what an account has taken this day and month, a second old at most.

        Counted for merchants only one of whose accounts has terms that ask for it (Terms.needs_usage); else nothing.
        """
        return self._usage.used(book, account_id, currency, now)

    async def get(self, book: int, account_id: str) -> Ready:
        """Return one channel account. Raises NotFound; Unavailable where its credentials do not open."""
        accounts, closed = await self._standing(book)
        for ready in accounts:
            if ready.account.id == account_id:
                return ready
        if account_id in closed:
            raise _closed(account_id)
        names = ", ".join(ready.account.id for ready in accounts) or "none"
        raise NotFound("no_such_channel_account", f"there is no channel account {account_id[:64]}; there are: {names}")

    async def client(self, book: int, account_id: str) -> ChannelClient:
        """Return the client that speaks for an account. Raises as get does."""
        return (await self.get(book, account_id)).client

    async def at_rail(self, book: int, account_id: str) -> AtRail:
        """Return an account as sharing out looks at it. Raises as get does."""
        ready = await self.get(book, account_id)
        return AtRail(account_id, ready.account.channel, ready.terms.share_basis_points)

    async def require_open(self, book: int, channel: str | None) -> None:
        """Raise Unavailable where an account cannot be used that might have taken a payment no other one takes.

        channel: the rail it is for, None for any. It is our fault, so its caller is not told to ask for something else.
        """
        _, closed = await self._standing(book)
        for account_id, why in closed.items():
            if channel in (None, why.channel) and why.was_enabled:
                raise _closed(account_id)

    def has_built(self, row: ChannelAccount) -> bool:
        """Tell whether a client of exactly these credentials was built here and is in use."""
        known = self._built.get((row.book, row.id))
        return known is not None and _same_credentials(known.row, row)

    def forget(self, book: int) -> None:
        """Read this merchant's accounts anew at the next question: this process has just changed one."""
        self._of_book.forget(book)

    async def _standing(self, book: int) -> tuple[Sequence[Ready], Mapping[str, _Closed]]:
        """Return the accounts that can be called, and why the others cannot."""
        usable, closed = await self._of_book.get(book)
        if not usable and not closed:  # anyone may name any book in the path of a notice
            self._of_book.forget(book)
        return usable, closed

    async def _read(self, book: int) -> tuple[Sequence[Ready], Mapping[str, _Closed]]:
        async with acquire(self._pool) as connection:
            rows = await channel_accounts(connection, book)
            usable, closed = self._ready(rows)
            if any(ready.terms.needs_usage for ready in usable):
                await self._usage.refresh(connection, book, self._env.now())
        return usable, closed

    def _ready(self, rows: Sequence[ChannelAccount]) -> tuple[list[Ready], dict[str, _Closed]]:
        usable: list[Ready] = []
        closed: dict[str, _Closed] = {}
        for row in rows:
            known = self._built.get((row.book, row.id))
            try:
                terms = self._terms_of(row)
                if known is None or not _same_credentials(known.row, row):
                    known = self._built[row.book, row.id] = self._build(row, known)
            except _UNUSABLE as error:
                self._complain(row, error)
                if known is None or isinstance(error, TermsWrong):
                    closed[row.id] = _Closed(row.channel, row.state == "enabled", row.settings)
                    continue
            usable.append(Ready(row, known.client, terms, known.previous))
        return usable, closed

    def _build(self, row: ChannelAccount, known: "_Built | None") -> _Built:
        """Build the clients of an account; only when its credentials changed, for keys are dear to load.

        A version below one seen before is a row that was set back behind our back. It does not open; what was known
        goes on being used, as it does when new credentials cannot be read.
        """
        if known is not None and row.credentials_version < known.row.credentials_version:
            raise CannotOpen(f"version {row.credentials_version} follows version {known.row.credentials_version}")
        build = self._registry.get(row.channel)
        if build is None:
            raise ValueError(f"this hub has no channel {row.channel}")
        credentials = opened(row, self._keys)
        client = ChannelClient(build(credentials.current.settings()), self._env)
        previous = []
        for one in credentials.previous:
            if one.until > self._env.now():
                try:
                    channel = build(one.credentials.settings())
                except _UNUSABLE as error:
                    self._complain(row, error)
                else:
                    previous.append(PreviousClient(one.until, ChannelClient(channel, self._env)))
        self._complained.pop((row.book, row.id), None)
        return _Built(row, client, previous)

    def _complain(self, row: ChannelAccount, error: Exception) -> None:
        """Log why an account's row cannot be used, once. What rails say of their settings holds no secret."""
        why = f"{type(error).__name__}: {error}"
        if self._complained.get((row.book, row.id)) != (row.version, why):
            self._complained[row.book, row.id] = (row.version, why)
            log.error("a channel account cannot be used", extra={"book": row.book, "account": row.id, "why": why})

    def _terms_of(self, row: ChannelAccount) -> Terms:
        known = self._terms.get(row.terms)
        if known is None:
            known = self._terms[row.terms] = Terms.parse(row.terms)
        return known


def _same_credentials(one: ChannelAccount, other: ChannelAccount) -> bool:
    return (one.credentials_version, one.settings, one.sealed, one.channel) == (
        other.credentials_version,
        other.settings,
        other.sealed,
        other.channel,
    )
