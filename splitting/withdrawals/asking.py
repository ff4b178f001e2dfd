"""Withdrawals as merchants and operators ask for them; and what a payee has, at once and in all."""

from collections.abc import Sequence

import orjson

from channels.banks import opens_accounts
from kernel.clock import business_date
from kernel.db import Pool, acquire
from kernel.env import Env
from kernel.errors import NotFound
from kernel.lane import Lanes
from ledger import accounts
from ledger.posting import ACCOUNTS
from people import Use, approved
from splitting.settlement.store import EVERYBODY, less_reserves
from splitting.shares.sharing import owed_account
from splitting.store import Owed
from splitting.tables import (
    BANK_LINKS,
    PAYEES,
    WITHDRAWAL_LIMITS,
    WITHDRAWAL_USES,
    PayeeAccount,
    Withdrawal,
    WithdrawalLimit,
)
from splitting.withdrawals import rules, store
from splitting.withdrawals.commands import AskWithdrawal, BindAccount, SetWithdrawalLimits
from splitting.withdrawals.objects import PayeeBalanceOut


class Withdrawals:
    """Use cases of withdrawals."""

    def __init__(self, pool: Pool, lanes: Lanes, env: Env) -> None:
        self._pool = pool
        self._lanes = lanes
        self._env = env

    async def bind(
        self,
        book: int,
        payee_id: str,
        *,
        account: str,
        bank_bic: str,
        bank_name: str,
        by: str,
        bound_at_bank: bool = False,
        use: Use | None = None,
    ) -> PayeeAccount:
        """Note a payee's own account at another bank, for withdrawals asked for from now on.

        bound_at_bank: the payee's bank has it so too, so the class of the sub-account limits nothing between them.
        use: of the approval that it takes, if it does. Raises what BindAccount raises.
        """
        row = PayeeAccount(book, payee_id, account, bank_bic, bank_name, by, self._env.now(), bound_at_bank)
        bound: PayeeAccount = await self._lanes.put(approved(BindAccount(row), use))
        return bound

    async def bound(self, book: int, payee_id: str) -> PayeeAccount:
        """Return a payee's own account elsewhere. Raises NotFound (no_such_payee, no_such_bound_account)."""
        async with acquire(self._pool) as connection:
            if not await PAYEES.load(connection, [(book, payee_id)]):
                raise NotFound("no_such_payee", f"there is no payee {payee_id}")
            found = await store.bound_account(connection, book, payee_id)
        if found is None:
            raise NotFound("no_such_bound_account", f"{payee_id} has no account elsewhere")
        return found

    async def set_limits(
        self,
        book: int,
        bank: str,
        payee_id: str | None,
        *,
        minimum_minor: int,
        most_minor: int | None,
        day_minor: int | None,
        use: Use | None = None,
    ) -> WithdrawalLimit:
        """Set what a payee, or with None every payee at a bank that has no own, may withdraw; None: no limit.

        use: as bind has it. Raises Rejected (withdrawal_limit_wrong), and what SetWithdrawalLimits raises.
        """
        limits = rules.limits(minimum_minor, most_minor, day_minor)
        command = SetWithdrawalLimits(book, bank, EVERYBODY if payee_id is None else payee_id, limits)
        row: WithdrawalLimit = await self._lanes.put(approved(command, use))
        return row

    async def limits(self, book: int) -> Sequence[WithdrawalLimit]:
        async with acquire(self._pool) as connection:
            return await store.limits(connection, book)

    async def ask(
        self, book: int, payee_id: str, *, number: str, amount_minor: int, currency: str, by: str
    ) -> Withdrawal:
        """Have a payee's money sent to its own account. Raises what AskWithdrawal raises."""
        asked: Withdrawal = await self._lanes.put(AskWithdrawal(book, payee_id, number, amount_minor, currency, by))
        return asked

    async def balance(self, book: int, payee_id: str) -> PayeeBalanceOut:
        """Return what a payee has, owed and at the bank, and what of that it can withdraw. Raises NotFound."""
        now = self._env.now()
        day = business_date(now)
        async with acquire(self._pool) as connection:
            found = await PAYEES.load(connection, [(book, payee_id)])
            if not found:
                raise NotFound("no_such_payee", f"there is no payee {payee_id}")
            payee, bank = found[0], found[0].bank or ""
            owed, sub = owed_account(payee), accounts.sub_account(payee.id, payee.currency)
            rows = {row.name: row for row in await ACCOUNTS.load(connection, [(book, owed), (book, sub)])}
            owing = rows[owed].available if owed in rows else 0
            (kept,) = await less_reserves(connection, book, bank, payee.currency, day, [Owed(payee.id, owing, 0)])
            in_transit = await store.in_transit(connection, book, payee.id)
            links = await BANK_LINKS.load(connection, [(book, bank)])
            keys = [(book, bank, payee.id), (book, bank, EVERYBODY)]
            limits = {row.payee_id: row for row in await WITHDRAWAL_LIMITS.load(connection, keys)}
            uses = await WITHDRAWAL_USES.load(connection, [(book, payee.id)])
            bound = await store.bound_account(connection, book, payee.id)
        there = rows.get(sub)
        may = bound is not None and not payee.is_stopped and bool(links)
        may = may and opens_accounts(orjson.loads(links[0].settings))
        of = rules.limits_of(limits.get(payee.id), limits.get(EVERYBODY))
        most, use = 0, uses[0] if uses else None
        if may and there and bound:
            room = rules.class_room(payee.account_class, use, day, bound_at_bank=bound.bound_at_bank)
            most = rules.withdrawable(of, use, day, there.available, room)
        return {
            "object": "payee_balance",
            "payee": payee.id,
            "currency": payee.currency,
            "owed_minor": owing,
            "reserved_minor": max(0, min(owing, kept.kept)),
            "in_transit_minor": in_transit,
            "sub_account_minor": there.balance if there else 0,
            "withdrawing_minor": there.debits_held if there else 0,
            "withdrawable_minor": most,
        }
