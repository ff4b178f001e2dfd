"""Giving a bank the order of one withdrawal: the same bytes each time, so the bank carries it out once.

What ends a withdrawal is the bank's signed report (answers.py). Silence leaves it as it is, and it is sent again. A no
to the order, which nobody signs, stops it once the bank, asked, has nothing of it: then people decide.
"""

import logging
from collections.abc import Callable
from typing import Any, Protocol

from channels.banks import Accepted, Bank, Instruction, Order, TellsUploads
from channels.contract import Refused
from kernel.errors import Rejected, Unavailable
from kernel.money import Money
from kernel.work import Command
from splitting.tables import BankLink, Withdrawal
from splitting.withdrawals.commands import MarkWithdrawalSent, StopWithdrawal
from splitting.withdrawals.rules import reference

log = logging.getLogger(__name__)


class Puts(Protocol):
    """Whoever commits a command."""

    async def put(self, command: Command[Any]) -> Any: ...


class WithdrawalSending:
    """See the module. client: of a link; Unavailable where it cannot be used."""

    def __init__(self, lanes: Puts, client: Callable[[BankLink], Bank]) -> None:
        self._lanes = lanes
        self._client = client

    async def send(self, link: BankLink, withdrawal: Withdrawal) -> bool:
        """Send a withdrawal that its bank is not known to have; return whether the bank answered.

        Raises Unavailable.
        """
        client = self._client(link)
        try:
            answer = await client.submit(order_of(withdrawal))
        except Rejected as no:
            return await self._refused(client, withdrawal, Refused(no.code, no.message), by_hub=True)
        if isinstance(answer, Accepted):
            await self._lanes.put(MarkWithdrawalSent(withdrawal.book, withdrawal.id))
            return True
        if isinstance(answer, Refused):
            return await self._refused(client, withdrawal, answer, by_hub=False)
        log.warning("a bank did not answer; the withdrawal is sent again", extra={"withdrawal": withdrawal.id})
        return False

    async def _refused(self, client: Bank, withdrawal: Withdrawal, no: Refused, *, by_hub: bool) -> bool:
        """Take in a no to an order, once the bank was asked whether it has it all the same."""
        facts = {"withdrawal": withdrawal.id, "why": no.code}
        there = True  # for all that is known
        if isinstance(client, TellsUploads):
            try:
                there = bool(await client.uploads(reference(withdrawal.book, withdrawal.id)))
            except (Unavailable, Rejected) as error:
                log.warning("a bank does not say what it has", extra={**facts, "error": str(error)})
        if there:
            log.warning("a bank refused a withdrawal that it may have; it is asked again", extra=facts)
            return False
        log.error("the hub cannot write a withdrawal" if by_hub else "a bank refused a withdrawal", extra=facts)
        await self._lanes.put(StopWithdrawal(withdrawal.book, withdrawal.id, no.code, no.message, by_hub))
        return True


def order_of(withdrawal: Withdrawal) -> Order:
    """Return what a bank is told of a withdrawal: out of the payee's account, in its name, to its own elsewhere."""
    number = reference(withdrawal.book, withdrawal.id)
    line = Instruction(
        number,
        withdrawal.account,
        withdrawal.name,
        Money(withdrawal.amount_minor, withdrawal.currency),
        f"withdrawal {withdrawal.execution_date}",
        withdrawal.bank_bic,
    )
    return Order(
        number, withdrawal.sub_account, withdrawal.name, withdrawal.execution_date, [line], withdrawal.created_at,
        withdrawal.written_as,
    )  # fmt: skip
