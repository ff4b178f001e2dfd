"""Looking after a merchant's channel accounts: adding, changing, rotating credentials, sealing anew.

Both the command line and the admin API come here. What is wrong is said before anything is stored; what is stored is
sealed before it leaves this process. Changes go through the commit lane, so each leaves an event, and a repetition
finds what the first one did.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

from channels.contract import Channel, Order
from channels.powers import deposit_prefix
from channels.proof import another_accounts, unproven
from gateway.accounts.building import Building
from gateway.accounts.commands import (
    AddChannelAccount,
    ChangeChannelAccount,
    ResealChannelAccount,
    RotateChannelAccount,
)
from gateway.accounts.credentials import Credentials, Opened, Previous, bound, opened, sealed, shared
from gateway.accounts.objects import row_settings
from gateway.accounts.ready import UNUSABLE, Build, ChannelAccounts
from gateway.accounts.terms import Terms, TermsWrong, flat
from gateway.claims import Claims
from gateway.store import channel_accounts, every_channel_account, paid_lately
from gateway.tables import Attempt, ChannelAccount, Payment
from kernel.db import Pool, acquire
from kernel.env import Env
from kernel.errors import Conflict, NotFound, Rejected, Unavailable
from kernel.lane import Lanes
from kernel.sealing import CannotOpen, MasterKeys, master_of, rewrap, without_secrets

KEEP_DAYS = 30  # how long notices made under earlier credentials are believed; rails repeat theirs for a day or two
_MAX_PREVIOUS = 10
_PAID_WITHIN = timedelta(days=30)  # what a rail can be asked about; each keeps what was paid far longer
_OPERATOR = "operator"


class Resealed(NamedTuple):
    """What sealing anew came to, account by account."""

    done: int  # now under the current master key
    already: int  # were under it before
    failed: Sequence[str]  # why not, by book and account
    in_use: frozenset[str]  # master keys that some account is still under


class ChannelAdmin:
    """Use cases of channel accounts."""

    def __init__(
        self,
        *,
        registry: Mapping[str, Build],
        secrets_of: Callable[[str], frozenset[str]],
        settings_of: Callable[[str], frozenset[str]],
        account_of: Callable[[str], Sequence[str]],
        accounts: ChannelAccounts,
        keys: MasterKeys,
        lanes: Lanes,
        pool: Pool,
        env: Env,
        order_of: Callable[[Payment, Attempt], Order],
    ) -> None:
        """secrets_of, settings_of: names of a rail's secret settings, and of all.

        account_of: names of the settings that each name an account at the rail.
        order_of: an attempt as its channel is asked for it.
        """
        self._building = Building(registry, secrets_of, settings_of, env)
        self._accounts = accounts
        self._account_of = account_of
        self._keys = keys
        self._lanes = lanes
        self._pool = pool
        self._env = env
        self._order_of = order_of

    async def list(self, book: int) -> "Sequence[ChannelAccount]":
        """Return a merchant's accounts in the operator's order."""
        async with acquire(self._pool) as connection:
            return await channel_accounts(connection, book)

    async def get(self, book: int, account_id: str) -> ChannelAccount:
        """Return one account as it is stored. Raises NotFound."""
        rows = await self.list(book)
        for row in rows:
            if row.id == account_id:
                return row
        names = ", ".join(row.id for row in rows) or "none"
        raise NotFound("no_such_channel_account", f"there is no channel account {account_id[:64]}; there are: {names}")

    async def add(
        self,
        book: int,
        account_id: str,
        channel: str,
        settings: Mapping[str, Any],
        *,
        terms: Terms,
        position: int | None = None,
        folder: Path | None = None,
        claims: Claims | None = None,
        by: str = _OPERATOR,
    ) -> tuple[ChannelAccount, bool]:
        """Give a merchant an account with a channel; return it, and whether an earlier request had made it.

        settings: what the rail's `build` takes, secrets included; addresses in them must be such as may be called
        (kernel/addresses.py), whoever gives them. folder: what paths in them are relative to; None where they come over
        the network: then no file may be named.
        position: None puts it last. Raises Rejected (no_such_channel, channel_settings_wrong, address_refused,
        terms_wrong), NotFound (no_such_book), Conflict (account_exists, rail_account_taken).
        """
        self._building.known(channel)
        credentials = self._building.read(channel, settings, folder)
        rail, read = self._building.built_and_read(channel, credentials)
        self._building.check_names(channel, [*credentials.public, *credentials.secrets], read)
        check_terms(terms, rail)
        others = [row for row in await self.list(book) if row.channel == channel and row.id != account_id]
        held = {row.id: before.current for row in others if (before := self._before(row)) is not None}
        check_unshared(channel, credentials, held, self._account_of(channel))
        if position is None:
            position = max((row.position for row in await self.list(book)), default=-1) + 1
        now = self._env.now()
        row = ChannelAccount(
            book, account_id, channel, "enabled", "{}", None, terms.to_json(), position, 1, 1, now, now
        )
        row = sealed(row, credentials, (), self._keys, self._env.secrets)
        made: tuple[ChannelAccount, bool] = await self._lanes.put(AddChannelAccount(book, row, claims, by))
        self._accounts.forget(book)
        return made

    async def add_by_hand(
        self,
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
        """Add an account as an operator does on this host: settings may name files. Raises what `add` raises.

        terms: None: nothing but a rate of fee_bp basis points.
        """
        row, _ = await self.add(
            book, account_id, channel, settings, terms=terms or flat(fee_bp), position=position, folder=folder or Path()
        )
        return row

    async def set_state(self, book: int, account_id: str, state: str) -> ChannelAccount:
        """Enable, drain or switch off an account. Raises NotFound."""
        return await self.change(book, account_id, state=state)

    async def change(
        self,
        book: int,
        account_id: str,
        *,
        version: int | None = None,
        terms: Terms | None = None,
        position: int | None = None,
        state: str | None = None,
        claims: Claims | None = None,
        by: str = _OPERATOR,
    ) -> ChannelAccount:
        """Change what is given; every process follows within a second.

        state: enabled; draining (nothing new goes to it, what is open is finished); off. version: of the account as it
        was read; None changes whatever is there. Raises NotFound, Conflict (version_mismatch), Rejected (terms_wrong).
        """
        if terms is not None:
            row = await self.get(book, account_id)
            with suppress(CannotOpen):  # terms may be mended while credentials cannot be
                check_terms(terms, self._building.built(row.channel, opened(row, self._keys).current))
        command = ChangeChannelAccount(
            book, account_id, version, terms.to_json() if terms is not None else None, position, state, claims, by
        )
        try:
            changed: ChannelAccount = await self._lanes.put(command)
        except NotFound:
            await self.get(book, account_id)  # which says what there is
            raise
        self._accounts.forget(book)
        return changed

    async def rotate(
        self,
        book: int,
        account_id: str,
        settings: Mapping[str, Any],
        *,
        keep: timedelta = timedelta(days=KEEP_DAYS),
        folder: Path | None = None,
        claims: Claims | None = None,
        by: str = _OPERATOR,
        prove: bool = False,
    ) -> tuple[ChannelAccount, bool]:
        """Put new credentials into use; what is not named stays, null takes away. Return it, and whether it was done.

        keep: how long notices made under the credentials of before are still believed. Requests and answers use the
        new ones at once. prove: ask the rail first whether it knows us by them, and the last payment made here.
        Raises NotFound, Rejected (channel_settings_wrong, another_account, address_refused, credentials_not_proven
        where the rail does not know us or says nothing), Conflict (version_mismatch) when it changed meanwhile.
        """
        row = await self.get(book, account_id)
        given = self._building.read(row.channel, settings, folder)
        before, now = self._before(row), self._env.now()
        held = before.current if before else Credentials(row_settings(row))
        credentials = _merged(held, given)
        rail, read = self._building.built_and_read(row.channel, credentials)
        held_names = held.public.keys() | held.secrets.keys()
        self._building.check_names(row.channel, [*given.public, *given.secrets], read | held_names)
        previous: list[Previous] = []
        if before is not None:
            check_same_account(self._building, row, before.current, rail)
            previous = [Previous(now + keep, before.current), *before.previous]
        if prove and (why := await unproven(rail, self._env)) is not None:
            shown = without_secrets(why, list(credentials.secrets.values()))
            raise Rejected(
                "credentials_not_proven",
                f"{row.channel} does not recognise the account with these credentials, or did not answer clearly "
                f"({shown[:300]}); nothing was changed",
            )
        if prove:
            await self._knows_what_was_paid(row, rail, credentials)
        live = [one for one in previous if one.until > now][:_MAX_PREVIOUS]
        new = row._replace(version=row.version + 1, credentials_version=row.credentials_version + 1, updated_at=now)
        new = sealed(new, credentials, live, self._keys, self._env.secrets)
        done: tuple[ChannelAccount, bool] = await self._lanes.put(RotateChannelAccount(book, new, claims, by))
        self._accounts.forget(book)
        return done

    def problem(self, row: ChannelAccount) -> str | None:
        """Return why an account cannot be used, whatever its state says: short, for people, without a secret.

        None where it can: its terms are understood, its credentials open, and they make a client of its rail.
        """
        try:
            Terms.parse(row.terms)
            found = opened(row, self._keys)
            if not self._accounts.has_built(row):  # which loads keys, and that is dear
                self._building.built(row.channel, found.current)
        except CannotOpen as error:
            return f"its credentials do not open: {error}"
        except TermsWrong as error:
            return f"its terms are not understood: {error}"
        except (Rejected, Unavailable) as error:
            return error.message
        except UNUSABLE as error:
            return f"what is kept of it is damaged ({type(error).__name__})"
        return None

    async def reseal(self, progress: Callable[[int, int], None] = lambda done, of: None) -> Resealed:
        """Put every account under the current master key, one commit each; repeating it finishes what was left.

        Accounts of before 0002, which name key files, are sealed. Credentials whose time after a rotation is over are
        forgotten. progress: called with how many are done, and of how many.
        """
        async with acquire(self._pool) as connection:
            rows = await every_channel_account(connection)
        failed: list[str] = []
        done = 0
        for number, row in enumerate(rows, 1):
            try:
                new = self._under_current(row)
                if new is not row:
                    done += await self._lanes.put(ResealChannelAccount(row.book, row, new))
            except (CannotOpen, Rejected) as error:
                failed.append(f"book {row.book} {row.id}: {error}")
            progress(number, len(rows))
        async with acquire(self._pool) as connection:
            now = await every_channel_account(connection)
        in_use = frozenset(master_of(row.sealed) for row in now if row.sealed is not None)
        return Resealed(done, len(rows) - done - len(failed), failed, in_use)

    # ---- parts -------------------------------------------------------------------------------------------------------

    def _under_current(self, row: ChannelAccount) -> ChannelAccount:
        """Return the row sealed as it should be today; the very row where it is. Raises CannotOpen, Rejected."""
        now = self._env.now()
        if row.sealed is None:
            credentials = self._building.parted(row.channel, row_settings(row), Path())
            self._building.built(row.channel, credentials)
            row = row._replace(version=row.version + 1, credentials_version=row.credentials_version + 1, updated_at=now)
            return sealed(row, credentials, (), self._keys, self._env.secrets)
        found = opened(row, self._keys)  # also where nothing is to be done: what does not open must not look well
        live = [one for one in found.previous if one.until > now]
        if len(live) < len(found.previous):
            return sealed(row, found.current, live, self._keys, self._env.secrets)
        if master_of(row.sealed) == self._keys.current().id:
            return row
        return row._replace(sealed=rewrap(row.sealed, bound(row), self._keys, self._env.secrets))

    def _before(self, row: ChannelAccount) -> Opened | None:
        """Return the credentials of before a rotation; None where they do not open.

        A rotation is what mends an account whose master key was lost, so it must be possible then.
        """
        try:
            if row.sealed is not None:
                return opened(row, self._keys)
            return Opened(self._building.parted(row.channel, row_settings(row), Path()))
        except (CannotOpen, Rejected):
            return None

    async def _knows_what_was_paid(self, row: ChannelAccount, rail: Channel, credentials: Credentials) -> None:
        """Refuse credentials, good as they are, by which the rail does not know what was paid into this account.

        A rail whose credentials name their account by themselves, such as a secret key, has no setting to compare.
        Raises Rejected.
        """
        async with acquire(self._pool) as connection:
            found = await paid_lately(connection, row.book, row.id, self._env.now() - _PAID_WITHIN)
        if found is None:
            return
        why = await another_accounts(rail, self._env, self._order_of(*found))
        if why is not None:
            shown = without_secrets(why, list(credentials.secrets.values()))
            raise Rejected(
                "another_account",
                f"by these credentials {row.channel} does not show {found[0].id}, which was paid into this account "
                f"({shown[:300]}): they are another account's, or it did not say; nothing was changed",
                param="credentials",
            )


def check_same_account(building: Building, row: ChannelAccount, before: Credentials, rail: Channel) -> None:
    """Refuse credentials of another account at the rail: what is open could not be asked about any more.

    Raises Rejected.
    """
    try:
        mark = deposit_prefix(building.built(row.channel, before))
    except Rejected:
        return  # what was there made no account
    if mark is not None and deposit_prefix(rail) != mark:
        raise Rejected(
            "another_account",
            "these credentials belong to another account at the rail; add that account, and drain this one",
            param="credentials",
        )


def check_unshared(channel: str, given: Credentials, held: Mapping[str, Credentials], names: Sequence[str]) -> None:
    """Refuse an account at the rail that another of the merchant's channel accounts is. Raises Conflict.

    held: credentials of the merchant's others on this rail, by id. names: of settings that each name an account there.
    """
    for account_id, other in held.items():
        name = shared(given.settings(), other.settings(), names)
        if name is not None:
            raise Conflict(
                "rail_account_taken",
                f"{account_id} is this account at {channel} already (the same {name}): each would receive the other's "
                "notices and bill; change that one, or rotate its credentials",
                param=f"credentials.{name}",
                channel_account=account_id,
            )


def check_terms(terms: Terms, rail: Channel) -> None:
    """Refuse terms beyond what the rail can. Raises Rejected (terms_wrong)."""
    try:
        terms.check_rail(rail.capabilities)
    except TermsWrong as error:
        raise terms_wrong(error) from None


def terms_wrong(error: TermsWrong) -> Rejected:
    """Return the refusal of terms that cannot be understood."""
    return Rejected("terms_wrong", f"terms: {error}", param=f"terms.{error.param}" if error.param else "terms")


def _merged(before: Credentials, given: Credentials) -> Credentials:
    """Return credentials in which what is given replaces what was; what is given as null is gone."""
    gone = {name for name, value in given.public.items() if value is None}
    public = {**before.public, **given.public}
    secrets = {**before.secrets, **given.secrets}
    return replace(
        given,
        public={name: value for name, value in public.items() if name not in gone and name not in given.secrets},
        secrets={name: value for name, value in secrets.items() if name not in gone},
    )


# ---- commands --------------------------------------------------------------------------------------------------------
