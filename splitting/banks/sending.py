"""Sending a batch to its bank, and giving back one that two people have cancelled. Both may be repeated.

A batch ends by what the bank says of it and by nothing else. Silence, an error of the bank's and "that came before"
leave its money in transit, and it is sent again later, under the same number. An explicit no to the whole of it is
believed only where the bank, asked, has nothing of it: it may be said of a repetition, and what was sent first may be
carried out. Then the batch is a case.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, Protocol

from channels.banks import Accepted, Bank, Instruction, Order, TellsUploads
from channels.contract import Refused
from kernel.db import Pool, acquire, attempt, tell, transaction
from kernel.errors import Rejected, Unavailable
from kernel.money import Money
from kernel.work import Command
from splitting import states, store
from splitting.settlement.instructions import DecideInstruction, MarkSent
from splitting.settlement.refused import GiveBack, RefuseSettlement
from splitting.settlement.store import lacking
from splitting.tables import BankLink, Settlement
from splitting.tables import Instruction as Line

log = logging.getLogger(__name__)

OF_BEFORE = "Sluice pool"  # the debtor of batches whose bank link did not name the account holder
TOGETHER = 64  # lines given back at once


def message_id(settlement_id: str) -> str:
    """Return the batch's MsgId at the bank: its id in the characters ISO 20022 allows, ≤ 35."""
    return settlement_id.replace("_", "-")


class Puts(Protocol):
    """Whoever commits a command."""

    async def put(self, command: Command[Any]) -> Any: ...


class Sending:
    """See the module. client: of a link; Unavailable where it cannot be used."""

    def __init__(self, pool: Pool, lanes: Puts, client: Callable[[BankLink], Bank]) -> None:
        self._pool = pool
        self._lanes = lanes
        self._client = client

    async def lacking(self, settlement: Settlement) -> int:
        """Return what a batch waits for that has not been deposited, in minor units; 0 where it does not wait."""
        async with acquire(self._pool) as connection:
            return await lacking(connection, settlement)

    async def send(self, link: BankLink, settlement: Settlement) -> tuple[Settlement, bool]:
        """Send a batch that its bank is not known to have; return it, and whether the bank answered.

        The same order each time until people have it sent again: the bank carries it out once. Raises Unavailable.
        """
        if await self.lacking(settlement):
            return settlement, True  # what the bank was told before is nobody else's to wait for
        client = self._client(link)
        to_send, unsayable, in_transit = await self._lines(client, settlement)
        moved = await self._refuse(settlement, unsayable)
        if moved is not None and moved.status != states.Batch.CREATED:
            return moved, True  # nothing of it is left to be sent
        try:
            answer = await client.submit(_order(settlement, link, to_send))
        except Rejected as no:
            return await self._refused(client, settlement, in_transit, Refused(no.code, no.message), by_hub=True)
        if isinstance(answer, Accepted):
            for line_id, reason in answer.refused:
                await self._refuse_line(settlement, line_id, reason)
            return await self._lanes.put(MarkSent(settlement.book, settlement.id)), True
        if isinstance(answer, Refused):
            return await self._refused(client, settlement, in_transit, answer)
        log.warning("a bank did not answer; the batch is sent again", extra={"settlement": settlement.id})
        return settlement, False

    async def give_back(self, link: BankLink, settlement: Settlement) -> tuple[Settlement, bool]:
        """Owe the payees again what a cancelled batch has in transit; return it, and whether the bank answered.

        The bank is asked first: where it has the batch, nothing is given back and its reports decide. Raises
        Unavailable.
        """
        there = await self._is_there(self._client(link), settlement)
        if there is None:
            return settlement, False
        if there:
            log.error("a bank has a batch that it had refused", extra={"settlement": settlement.id})
            return await self._lanes.put(MarkSent(settlement.book, settlement.id)), True
        async with transaction(self._pool) as connection:
            lines = store.each_instruction(connection, settlement.book, settlement.id)
            left = iter([line.id async for line in lines if line.status == states.Instruction.IN_TRANSIT])
        while some := list(islice(left, TOGETHER)):
            given = [self._lanes.put(GiveBack(settlement.book, ident)) for ident in some]
            for ident, error in zip(some, await asyncio.gather(*map(attempt, given)), strict=True):
                if error is not None:
                    tell(log, "a line cannot be given back; the others are", error, instruction=ident)
        return await self._now(settlement), True

    async def _refused(
        self, client: Bank, settlement: Settlement, in_transit: int, no: Refused, *, by_hub: bool = False
    ) -> tuple[Settlement, bool]:
        """Take in a no to a whole batch, once the bank was asked whether it has it all the same.

        in_transit: minor units of it.
        """
        facts = {"settlement": settlement.id, "why": no.code}
        there = await self._is_there(client, settlement)
        if there is not False:
            log.warning("a bank refused a batch that it may have; it is asked again", extra=facts)
            return settlement, False
        log.error("the hub cannot write a batch" if by_hub else "a bank refused a batch", extra=facts)
        told = RefuseSettlement(settlement.book, settlement.id, no.code, no.message, in_transit, by_hub)
        return await self._lanes.put(told), True

    async def _is_there(self, client: Bank, settlement: Settlement) -> bool | None:
        """Ask a bank whether it has anything of a batch; None where it does not say."""
        if not isinstance(client, TellsUploads):
            return None
        try:
            return bool(await client.uploads(message_id(settlement.id)))
        except (Unavailable, Rejected) as error:
            log.warning("a bank does not say what it has", extra={"settlement": settlement.id, "why": str(error)})
            return None

    async def _now(self, settlement: Settlement) -> Settlement:
        async with acquire(self._pool) as connection:
            return await store.find_settlement(connection, settlement.book, settlement.id) or settlement

    async def _lines(
        self, client: Bank, settlement: Settlement
    ) -> tuple[list[Instruction], Sequence[tuple[Line, str]], int]:
        """Read a batch's lines; of very many, no more is kept than has to be told.

        Return those that the bank can be told, largest first; those that it cannot, each with why; and how many minor
        units of the former are in transit. What can be said follows from the line alone, so what is sent again is the
        same.
        """
        note = f"settlement {settlement.business_date}"
        to_send: list[Instruction] = []
        unsayable: list[tuple[Line, str]] = []
        in_transit = 0
        async with transaction(self._pool) as connection:
            async for line in store.each_instruction(connection, settlement.book, settlement.id):
                if why := client.unsayable(line.name, line.account):
                    unsayable.append((line, why))
                    continue
                amount = Money(line.amount_minor, settlement.currency)
                to_send.append(Instruction(line.id, line.account, line.name, amount, note))
                in_transit += amount.minor if line.status == states.Instruction.IN_TRANSIT else 0
        # Largest first: should the pool run short, the bank refuses the last, and least waits.
        to_send.sort(key=lambda line: (-line.amount.minor, line.end_to_end_id))
        return to_send, unsayable, in_transit

    async def _refuse(self, settlement: Settlement, unsayable: Sequence[tuple[Line, str]]) -> Settlement | None:
        """Refuse the lines that the bank cannot be told, so that the others are sent; return the batch, if any was.

        The bank cannot have such a line: no order with it was ever given.
        """
        for line, why in unsayable:
            if line.status == states.Instruction.IN_TRANSIT:
                log.error("a payee cannot be paid", extra={"instruction": line.id, "why": why})
                await self._refuse_line(settlement, line.id, why)
        return await self._now(settlement) if unsayable else None

    async def _refuse_line(self, settlement: Settlement, line_id: str, why: str) -> None:
        """Refuse a line; where that cannot be done, it stays in transit, and the others of its batch go on."""
        error = await attempt(self._lanes.put(DecideInstruction(settlement.book, line_id, False, why)))
        if error is not None:
            tell(log, "a line stays in transit that was refused; the others go on", error, instruction=line_id)


def _order(settlement: Settlement, link: BankLink, lines: Sequence[Instruction]) -> Order:
    return Order(
        message_id(settlement.id),
        link.pool_account,
        settlement.debtor_name or OF_BEFORE,
        settlement.execution_date,
        lines,
        settlement.created_at,
        settlement.written_as,
        settlement.again_at,
    )
