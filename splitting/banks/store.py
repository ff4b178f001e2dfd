"""Reading which accounts a merchant has at its banks for what is no payee's, and which lines were debited twice.

Writing goes through the commit lane.
"""

from collections.abc import Sequence
from typing import NamedTuple

from kernel.db import Connection
from splitting.settlement.debits import AGAIN
from splitting.tables import BankAccount

_BANK_ACCOUNT = ", ".join(BankAccount._fields)


async def bank_accounts(connection: Connection, book: int, bank: str | None = None) -> list[BankAccount]:
    """Return the accounts of a book that are for one role each, at one bank or at all, in order of bank and role."""
    rows = await connection.fetch(
        f"SELECT {_BANK_ACCOUNT} FROM bank_account WHERE book = $1 AND ($2::text IS NULL OR bank = $2) "
        "ORDER BY bank, currency, role",
        book,
        bank,
    )
    return [BankAccount(*row) for row in rows]


async def role_of(connection: Connection, book: int, bank: str, currency: str, account: str) -> str | None:
    """Return what an account at a bank is for, None where it is for nothing in particular."""
    role: str | None = await connection.fetchval(
        "SELECT role FROM bank_account WHERE book = $1 AND bank = $2 AND account = $3 AND currency = $4",
        book,
        bank,
        account,
        currency,
    )
    return role


class Standing(NamedTuple):
    """What an account for one role stands at in the book, in minor units."""

    account: BankAccount
    minor: int


async def standings(connection: Connection, book: int, bank: str) -> Sequence[Standing]:
    """Return each account at a bank that is for one role, with what it stands at in the book."""
    found = []
    for one in await bank_accounts(connection, book, bank):
        minor = await connection.fetchval(
            "SELECT debits - credits FROM account WHERE book = $1 AND name = $2",
            book,
            f"bank_account:{bank}.{one.role}:{one.currency}",
        )
        found.append(Standing(one, minor or 0))
    return found


async def account_is_taken(connection: Connection, book: int, bank: str, account: str, role: str) -> str | None:
    """Return whose an account at a bank is already, None where it is nobody's."""
    found: str | None = await connection.fetchval(
        "SELECT 'the pool account' FROM bank_link WHERE book = $1 AND bank = $2 AND pool_account = $3 "
        "UNION ALL SELECT id FROM payee WHERE book = $1 AND bank = $2 AND bank_account = $3 "
        "UNION ALL SELECT 'the account for ' || role FROM bank_account "
        "WHERE book = $1 AND bank = $2 AND account = $3 AND role <> $4 LIMIT 1",
        book,
        bank,
        account,
        role,
    )
    return found


async def debited_again(connection: Connection, book: int, line_id: str) -> bool:
    """Tell whether a bank has debited a line of a batch a second time: of that there is a case, or was one."""
    found: bool = await connection.fetchval(
        "SELECT EXISTS (SELECT FROM case_file WHERE book = $1 AND kind = 'booking_unidentified' AND facts ->> $3 = $2)",
        book,
        line_id,
        AGAIN,
    )
    return found
