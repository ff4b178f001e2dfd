"""`sluice payout recall` and `withdrawal recall`: what two people have a bank asked to take back 追回."""

from collections.abc import Sequence
from itertools import islice

from kernel.db import acquire
from kernel.errors import Conflict, NotFound, Rejected
from ops.people import Acting
from people import Act, What, approved
from splitting import states, store
from splitting.recalls import rules
from splitting.recalls.commands import (
    Asked,
    RecallLines,
    RecallWithdrawal,
    check_line,
    check_offered,
    check_withdrawal,
)
from splitting.recalls.store import find, of_lines
from splitting.tables import Instruction, Recall
from splitting.withdrawals.store import find as find_withdrawal

TOGETHER = 500  # lines of one commit


async def recall_lines_as(
    acting: Acting, book: int, settlement_id: str, *, line: str | None, reason: str, note: str
) -> Sequence[Recall]:
    """Have a bank asked for a line back, or for all of a batch that are in transit (None), as the person who acts.

    It takes another's approval, unless it was asked for already and the bank has not refused it: then nothing is done.
    Returns the recalls. Raises NotFound (no_such_settlement), and what RecallLines and Acting.second raise.
    """
    rules.check(reason, note)
    async with acquire(acting.hub.pool) as connection:
        batch = await store.find_settlement(connection, book, settlement_id)
        if batch is None:
            raise NotFound("no_such_settlement", f"there is no settlement {settlement_id[:60]!r}")
        lines = await store.instructions(connection, book, settlement_id)
        recalled = await of_lines(connection, book, settlement_id)
        check_offered(await store.find_bank_link(connection, book, batch.bank), batch.bank)
    wanted = [one for one in lines if _is_meant(one, line)]
    if line is not None and not wanted:
        raise Rejected("no_such_line", f"{settlement_id} has no line {line[:60]!r}", param="line")
    new = [one for one in wanted if _is_new(recalled.get(one.id))]
    found = [recalled[one.id] for one in wanted if not _is_new(recalled.get(one.id))]
    if not wanted:
        raise Conflict("recall_not_possible", f"no line of {settlement_id} is in transit; name one with --line")
    if not new:
        return found
    for one in new:  # nobody is to agree to what cannot be
        check_line(one, batch)
    asked = Asked(reason, note, acting.name)
    told = {
        "lines": [one.id for one in new] if line is not None else len(new),
        "amount_minor": sum(one.amount_minor for one in new),
        "reason": reason,
        "note": note,
    }
    use = await acting.second(What(Act.CLOSING, "payout recall", settlement_id, told, book))
    left = iter([one.id for one in new])
    while some := list(islice(left, TOGETHER)):
        found += await acting.hub.lanes.put(approved(RecallLines(book, settlement_id, some, asked), use))
        use = None
    return found


async def recall_withdrawal_as(acting: Acting, book: int, withdrawal_id: str, *, reason: str, note: str) -> Recall:
    """Have a bank asked for a withdrawal back, as the person who acts, with another's approval; as recall_lines_as.

    Raises NotFound (no_such_withdrawal), and what RecallWithdrawal and Acting.second raise.
    """
    rules.check(reason, note)
    async with acquire(acting.hub.pool) as connection:
        row = await find_withdrawal(connection, book, withdrawal_id)
        there = await find(connection, book, withdrawal_id)
        link = None if row is None else await store.find_bank_link(connection, book, row.bank)
    if row is None:
        raise NotFound("no_such_withdrawal", f"there is no withdrawal {withdrawal_id[:60]!r}")
    if there is not None and not _is_new(there):
        return there
    check_offered(link, row.bank)
    check_withdrawal(row)
    command = RecallWithdrawal(book, withdrawal_id, Asked(reason, note, acting.name))
    told = {"amount_minor": row.amount_minor, "currency": row.currency, "reason": reason, "note": note}
    use = await acting.second(What(Act.CLOSING, "withdrawal recall", withdrawal_id, told, book))
    recall: Recall = await acting.hub.lanes.put(approved(command, use))
    return recall


def _is_meant(one: Instruction, line: str | None) -> bool:
    return one.status == states.Instruction.IN_TRANSIT if line is None else one.id == line


def _is_new(row: Recall | None) -> bool:
    return row is None or row.status == states.Recall.REFUSED
