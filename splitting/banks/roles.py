"""Accounts of other kinds at a merchant's bank 功能账户: which account is for what, and the bank's own bookings there.

Beside the pool account and the payees' sub-accounts, a merchant's custody may have an account at the bank for what is
no payee's. What stands there is in the book as an account of the kind `bank_account`, one for each role.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

import orjson

import cases
from channels.banks import opens_accounts
from kernel.db import Pool, acquire
from kernel.env import Env
from kernel.errors import Conflict, NotFound, Rejected
from kernel.lane import Lanes
from kernel.work import BOOKS, Need, Work
from ledger import Transfer, accounts, open_account, post_expected
from ledger.posting import ACCOUNTS, ENTRIES
from people import Use, approved
from splitting.banks import store
from splitting.settlement.deposits import UNIDENTIFIED, ApplyDeposit
from splitting.tables import BANK_ACCOUNTS, BANK_LINKS, BankAccount


class Role(StrEnum):
    """What an account at a bank is for."""

    SUSPENSE = "suspense"  # 挂账: money that nobody can attribute
    FEE = "fee"  # 手续费: out of which the bank takes its charges
    INTEREST = "interest"  # 利息: into which the bank pays interest
    GUARANTEE = "guarantee"  # 保证金
    RESERVE = "reserve"  # 备付: kept back of what payees are owed


@dataclass(frozen=True, slots=True)
class NameBankAccount:
    """Note which account at a bank is for a role. Returns the row; the same again changes nothing.

    Raises NotFound (no_such_bank), Rejected (bank_account_wrong), Conflict (bank_account_in_use): what was booked on
    one account must not be looked for on another.
    """

    row: BankAccount

    @property
    def book(self) -> int:
        return self.row.book

    def needs(self, work: Work) -> Iterable[Need]:
        yield BOOKS, (self.book,)
        yield BANK_LINKS, (self.book, self.row.bank)
        yield BANK_ACCOUNTS, self.row[:4]
        yield ACCOUNTS, (self.book, mirror_of(self.row))

    def apply(self, work: Work) -> BankAccount:
        work.head(self.book)
        link = work.find(BANK_LINKS, (self.book, self.row.bank))
        if link is None:
            raise NotFound("no_such_bank", f"this merchant has no custody account at {self.row.bank}", param="bank")
        if not opens_accounts(orjson.loads(link.settings)):
            why = f"{link.bank} tells of the pool account alone, so nothing could be booked on another"
            raise Rejected("bank_account_wrong", why)
        if self.row.account == link.pool_account:
            raise Rejected("bank_account_wrong", f"…{link.pool_account[-4:]} is the pool account")
        there = work.find(BANK_ACCOUNTS, self.row[:4])
        if there is not None and there.account == self.row.account:
            return there
        if work.find(ACCOUNTS, (self.book, mirror_of(self.row))) is not None:
            why = f"something was booked on the account for {self.row.role} already"
            raise Conflict("bank_account_in_use", why)
        row = self.row._replace(set_at=work.now)
        work.put(BANK_ACCOUNTS, row)
        return row


@dataclass(frozen=True, slots=True)
class BookBanksOwn:
    """Book what the bank paid into the account for interest 结息, or took from the account for its fees 银行收费.

    Any other booking there, one that is told of twice in different words, and what comes back, is a case. Returns
    whether it was booked now. deposit: of the booking, no channel's; `known` has the role.
    """

    deposit: ApplyDeposit
    role: str
    is_return: bool = False

    @property
    def book(self) -> int:
        return self.deposit.book

    @property
    def _rule(self) -> str | None:
        if self.is_return:
            return None
        if self.role == Role.INTEREST and self.deposit.amount_minor > 0:
            return "account_interest"
        return "account_charge" if self.role == Role.FEE and self.deposit.amount_minor < 0 else None

    @property
    def _id(self) -> str:
        return f"own:{self.deposit.number}"

    @property
    def _posting(self) -> str:
        return f"{self._id}@{self.deposit.notice}"

    def needs(self, work: Work) -> Iterable[Need]:
        yield from self.deposit.needs(work)
        yield BOOKS, (self.book,)
        yield ENTRIES, (self.book, self._id)
        for name in self._accounts():
            yield ACCOUNTS, (self.book, name)

    def apply(self, work: Work) -> bool:
        rule, there = self._rule, work.find(ENTRIES, (self.book, self._id))
        amount = abs(self.deposit.amount_minor)
        if there is not None and (there.posting, there.amount_minor) == (self._posting, amount):
            return False
        if rule is None or there is not None or self.deposit.decided(work):
            self.deposit.apply(work)
            return False
        why = f"its account is the one for {self.role}"  # named since
        cases.close_case(work, self.book, UNIDENTIFIED, self.deposit.about, why=why)
        custody, other = (open_account(work, self.book, name).name for name in self._accounts())
        debit, credit = (custody, other) if rule == "account_interest" else (other, custody)
        transfer = Transfer(self._id, rule, debit, credit, amount, self.deposit.currency)
        day = self.deposit.business_date
        post_expected(work, self.book, self._posting, [transfer], business_date=day)
        return True

    def _accounts(self) -> tuple[str, str]:
        bank, currency = self.deposit.bank, self.deposit.currency
        other = accounts.interest if self.role == Role.INTEREST else accounts.bank_charge
        return accounts.bank_account(bank, self.role, currency), other(bank, currency)


class BankAccounts:
    """Use cases of accounts that are for one role each."""

    def __init__(self, pool: Pool, lanes: Lanes, env: Env) -> None:
        self._pool = pool
        self._lanes = lanes
        self._env = env

    async def name(
        self, book: int, bank: str, currency: str, role: str, account: str, *, by: str, use: Use | None = None
    ) -> BankAccount:
        """Note which account at a bank is for a role. use: of the approval that it takes, if it does.

        Raises what NameBankAccount raises, and Conflict (bank_account_in_use) for an account that is another's.
        """
        async with acquire(self._pool) as connection:
            whose = await store.account_is_taken(connection, book, bank, account, role)
        if whose is not None:
            raise Conflict("bank_account_in_use", f"…{account[-4:]} at {bank} is {whose} already")
        row = BankAccount(book, bank, currency, Role(role).value, account, by, self._env.now())
        named: BankAccount = await self._lanes.put(approved(NameBankAccount(row), use))
        return named


def mirror_of(row: BankAccount) -> str:
    """Return the account of the book that has what stands on one at the bank."""
    return accounts.bank_account(row.bank, row.role, row.currency)
