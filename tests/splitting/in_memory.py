"""A book in memory: the hub's own commands on rows no database ever sees, fast enough for thousands of lives."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

from kernel.work import Command, Table, Work, new_head
from ledger import ACCOUNTS, Account, OpenAccounts, Post, Transfer, accounts
from splitting import CreatePayee, DecideInstruction, MakeSettlement, Payee
from splitting.store import Owed
from splitting.tables import INSTRUCTIONS, Instruction

BOOK = 1
DAY = date(2026, 11, 24)
NOW = datetime(2026, 11, 24, 8, 30, tzinfo=UTC)


class Book(Work):
    """One book whose rows stay from one command to the next; a row nobody put is none.

    What a command names in its needs is not looked at here: the tests on a real database do that.
    """

    def __init__(self) -> None:
        super().__init__(NOW, [new_head(BOOK, NOW)])
        self.do(
            OpenAccounts(
                BOOK, [accounts.merchant("CNY"), accounts.platform_fee("CNY"), accounts.channel("rail", "CNY")]
            )
        )

    def find(self, table: Table[Any], key: tuple[Any, ...]) -> Any:
        return self._rows.get(table, {}).get(key)

    def knows(self, table: Table[Any], key: tuple[Any, ...]) -> bool:
        return True

    def do(self, command: Command[Any]) -> Any:
        """Apply a command; raise what it refuses with, in which case it left no trace."""
        self.now += timedelta(milliseconds=1)
        result = self.run(command)
        if isinstance(result, BaseException):
            raise result
        return result

    def payee(self, payee_id: str, *, kind: str = "supplier", bank: str | None = None) -> Payee:
        account = f"6200{payee_id[-12:]}" if bank else None
        payee: Payee = self.do(CreatePayee(Payee(BOOK, payee_id, payee_id, kind, "CNY", bank, account, NOW)))
        return payee

    @property
    def accounts(self) -> dict[str, Account]:
        """Every account, by name."""
        return {account.name: account for account in self._rows[ACCOUNTS].values() if account is not None}

    @property
    def balances(self) -> dict[str, int]:
        """What every account stands at that does not stand at nothing, held money counted as still there."""
        return {name: account.balance for name, account in self.accounts.items() if account.balance}

    def assert_it_adds_up(self) -> None:
        """Fail unless assets equal liabilities and nothing is overdrawn that may not be."""
        total = 0
        for account in self.accounts.values():
            total += account.debits - account.credits
            assert account.may_overdraw or account.available >= 0, account
        assert total == 0


class Ledger:
    """A run of days of shares, refunds and settlements of some payees at one bank."""

    def __init__(self, payees: list[str], bank: str) -> None:
        self.book, self.payees, self.bank, self.day, self.number = Book(), payees, bank, DAY, 0
        self.shared = dict.fromkeys(payees, 0)
        for payee in payees:
            self.book.payee(payee, bank=bank)
        self.open_lines: list[Instruction] = []

    def _post(self, rule: str, debit: str, credit: str, amount: int) -> None:
        if amount:
            self.number += 1
            transfer = Transfer(f"t{self.number}", rule, debit, credit, amount, "CNY")
            self.book.do(Post(BOOK, f"p{self.number}", [transfer], self.day))

    def share(self, amount: int) -> None:
        """Capture enough, and give each payee its share: the first `amount`, the next half of that …"""
        for n, payee in enumerate(self.payees):
            part = amount // (n + 1)
            self._post("payment_captured", accounts.channel("rail", "CNY"), accounts.merchant("CNY"), part)
            self._post("share", accounts.merchant("CNY"), accounts.payee(payee, "CNY"), part)
            self.shared[payee] += part

    def take_back(self, amount: int) -> None:
        for n, payee in enumerate(self.payees):
            part = min(amount // (n + 1), self.shared[payee])
            self._post("share_taken_back", accounts.payee(payee, "CNY"), accounts.merchant("CNY"), part)
            self.shared[payee] -= part

    def owed_now(self) -> dict[str, int]:
        return {payee: self.book.balances.get(accounts.payee(payee, "CNY"), 0) for payee in self.payees}

    def settle(self) -> None:
        """Settle the day, twice, and go on to the next."""
        rows = {payee: self.book.accounts[accounts.payee(payee, "CNY")] for payee in self.payees}
        owed = [Owed(payee, row.balance, row.debits) for payee, row in rows.items()]
        command = MakeSettlement(BOOK, self.bank, self.day, self.day + timedelta(days=1), "CNY", owed, NOW)
        assert self.book.do(command) == self.book.do(command)
        self.open_lines = [
            line for line in self.book._rows.get(INSTRUCTIONS, {}).values() if line and line.status == "in_transit"
        ]
        self.day += timedelta(days=1)

    def decide(self, fates: list[str]) -> None:
        """Have the bank decide open lines, each answer given twice; silent ones stay open."""
        for line in self.open_lines:
            fate = fates[self.payees.index(line.payee_id)]
            if fate != "silent":
                for _ in range(2):
                    reason = None if fate == "paid" else "AC04"
                    self.book.do(DecideInstruction(BOOK, line.id, fate == "paid", reason, self.day))
        self.open_lines = [line for line in self.open_lines if fates[self.payees.index(line.payee_id)] == "silent"]

    def assert_nothing_is_lost(self) -> None:
        """Fail unless what each payee was given is owed, under way or paid, and the books add up."""
        self.book.assert_it_adds_up()
        under_way = dict.fromkeys(self.payees, 0)
        for line in self.open_lines:
            under_way[line.payee_id] += line.amount_minor
        for payee in self.payees:
            paid = self.book.balances.get(accounts.sub_account(payee, "CNY"), 0)
            assert self.owed_now()[payee] + under_way[payee] + paid == self.shared[payee]
        in_transit = self.book.balances.get(accounts.in_transit(self.bank, "CNY"), 0)
        assert in_transit == sum(under_way.values())
