"""Registering payees from outside: the sub-account at the bank first, then the payee."""

import hashlib
from typing import Protocol

import splitting
from kernel.env import Env
from kernel.lane import Lanes
from splitting import Payee


class Banks(Protocol):
    """Whoever can open a sub-account at a merchant's bank."""

    async def open_sub_account(self, book: int, bank: str, reference: str, name: str, currency: str) -> str: ...


class Payees:
    """Use cases of payees."""

    def __init__(self, lanes: Lanes, banks: Banks, env: Env) -> None:
        self._lanes = lanes
        self._banks = banks
        self._env = env

    async def register(
        self, book: int, *, reference: str, name: str, kind: str, currency: str, bank: str | None
    ) -> Payee:
        """Register a payee with its sub-account; the same reference again returns the same payee.

        bank: None keeps the payee's shares in the books without settling them. Raises NotFound (no_such_bank),
        Rejected (payee_cannot_be_paid, and the bank's no), Conflict (payee_exists, with other facts), Unavailable.
        """
        payee_id = payee_id_of(book, reference)
        account = None
        splitting.check_payable(bank, name, None)  # before the bank opens an account for it
        if bank is not None:
            account = await self._banks.open_sub_account(book, bank, payee_id, name, currency)
        payee = Payee(book, payee_id, name, kind, currency, bank, account, self._env.now())
        return await self._lanes.put(splitting.CreatePayee(payee))


def payee_id_of(book: int, reference: str) -> str:
    """Return a payee's id: it follows from the merchant's own number, so registering twice cannot make two."""
    return "pye_" + hashlib.sha256(f"{book}/{reference}".encode()).hexdigest()[:26]
