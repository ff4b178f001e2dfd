"""Giving a bank a recall 追回: the same bytes each time, so the bank looks into it once; and what it answers, applied.

What ends a recall is the bank's signed answer. Silence leaves it as it is, and it is given again. A no to the request
itself ends it as refused, once the bank, asked, has nothing of it: nothing was done then, and people may ask anew.
"""

import logging
from collections.abc import Callable
from datetime import date
from typing import Any, Protocol

from channels.banks import (
    Accepted,
    Bank,
    RecallAnswer,
    RecallRequest,
    RecallsPayments,
    TellsUploads,
)
from channels.contract import Refused
from kernel.db import Pool, acquire
from kernel.errors import Rejected, Unavailable
from kernel.money import Money
from kernel.work import Command
from splitting import store
from splitting.banks.fates import Wrong
from splitting.banks.sending import OF_BEFORE, message_id
from splitting.recalls.commands import AnswerRecall, GiveRecall
from splitting.recalls.rules import number_at_bank, recalled_by
from splitting.recalls.store import find
from splitting.tables import BankLink, Recall
from splitting.withdrawals import store as withdrawals
from splitting.withdrawals.rules import PREFIX, reference

log = logging.getLogger(__name__)
NOT_TAKEN = "the bank takes no recalls"


class Puts(Protocol):
    """Whoever commits a command."""

    async def put(self, command: Command[Any]) -> Any: ...


class RecallSending:
    """See the module. client: of a link; Unavailable where it cannot be used."""

    def __init__(self, pool: Pool, lanes: Puts, client: Callable[[BankLink], Bank]) -> None:
        self._pool = pool
        self._lanes = lanes
        self._client = client

    async def send(self, link: BankLink, recall: Recall) -> bool:
        """Give a bank a recall that it is not known to have; return whether it answered. Raises Unavailable."""
        client, facts = self._client(link), {"recall": recall.id, "bank": link.bank}
        if not isinstance(client, RecallsPayments):
            await self._lanes.put(GiveRecall(recall.book, recall.about, recall.number, NOT_TAKEN))
            return True
        try:
            answer = await client.recall(await self._request(recall))
        except Rejected as no:
            answer = Refused(no.code, no.message)
        if isinstance(answer, Accepted):
            await self._lanes.put(GiveRecall(recall.book, recall.about, recall.number))
            return True
        if isinstance(answer, Refused):
            return await self._refused(client, recall, answer)
        log.warning("a bank did not answer; the recall is given again", extra=facts)
        return False

    async def _refused(self, client: Bank, recall: Recall, no: Refused) -> bool:
        """Take in a no to a request, once the bank was asked whether it has it all the same."""
        facts = {"recall": recall.id, "why": no.code}
        there = False
        if isinstance(client, TellsUploads):
            try:
                there = bool(await client.uploads(number_at_bank(recall.book, recall.about, recall.number)))
            except (Unavailable, Rejected) as error:
                log.warning("a bank does not say what it has", extra={**facts, "error": str(error)})
                return False
        if there:
            log.warning("a bank refused a recall that it has; it is given again", extra=facts)
            return False
        log.error("a bank took no recall", extra=facts)
        code = f"{no.code}: {no.message}"
        await self._lanes.put(GiveRecall(recall.book, recall.about, recall.number, code))
        return True

    async def _request(self, recall: Recall) -> RecallRequest:
        """Return what the bank is asked, which follows from what it was ordered alone."""
        amount = Money(recall.amount_minor, recall.currency)
        async with acquire(self._pool) as connection:
            if recall.about.startswith(PREFIX):
                row = await withdrawals.find(connection, recall.book, recall.about)
                assert row is not None, "it is recalled"
                order = line_id = reference(row.book, row.id)
                day, asker, written_as = row.execution_date, row.name, row.written_as
            else:
                line = await store.find_instruction(connection, recall.book, recall.about)
                assert line is not None, "it is recalled"
                batch = await store.find_settlement(connection, recall.book, line.settlement_id)
                assert batch is not None, "its line is there"
                order, line_id, day = message_id(batch.id), line.id, batch.execution_date
                asker, written_as = batch.debtor_name or OF_BEFORE, batch.written_as
        number = number_at_bank(recall.book, recall.about, recall.number)
        return RecallRequest(
            number, order, line_id, amount, day, asker, recall.reason, recall.note, recall.asked_at, written_as
        )

    async def apply(self, link: BankLink, day: date, answer: RecallAnswer) -> Wrong | None:
        """Apply a bank's answer of a day to a recall, once; return what of it is not so: then nothing is done."""
        told = recalled_by(link.book, answer.recall_id)
        async with acquire(self._pool) as connection:
            row = None if told is None else await find(connection, link.book, told[0])
        if row is None or told is None or row.bank != link.bank or told[1] > row.number:
            return Wrong("not_our_recall", f"it answers a recall that is none of ours: {answer.recall_id[:40]}")
        sent = await self._request(row)
        if answer.amount is not None and answer.amount != sent.amount:
            return Wrong("other_amount", f"it answers for {answer.amount}, and {sent.amount} was recalled")
        for what, said, ours in (
            ("payment", answer.end_to_end_id, sent.end_to_end_id),
            ("order", answer.order_id, sent.order_id),
        ):
            if said is not None and said != ours:
                return Wrong(f"other_{what}", f"it answers {answer.recall_id} for {what} {said[:40]}, not {ours}")
        code = "; ".join(map(str, answer.reasons)) or None
        await self._lanes.put(AnswerRecall(link.book, row.about, told[1], answer.verdict, code, day))
        return None
