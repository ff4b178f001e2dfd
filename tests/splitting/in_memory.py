"""A book in memory: the hub's own commands on rows no database ever sees, fast enough for thousands of lives."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

from kernel.work import Command, Table, Work, new_head
from ledger import ACCOUNTS, Account, OpenAccounts, accounts
from ledger.accounts import kind_of
from splitting import CreatePayee, Payee

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
            assert kind_of(account.name)
        assert total == 0
