"""A batch that its bank books as several sums: people say which bookings are its parts, and its lines are paid by them.

A part is a booking's case that names the batch (`batch`). Two people decide each as `part`, and may only where the
parts together come to what the lines come to that the bank has not refused, or to what is in transit of them.
"""

from collections.abc import Sequence
from typing import NamedTuple

import orjson

import cases
from cases import Case
from kernel.db import Connection
from kernel.errors import Conflict, Rejected
from kernel.money import Money
from ledger.posting import ENTRIES
from splitting import states, store
from splitting.settlement.debits import BATCH, BY_PARTS
from splitting.settlement.deposits import UNIDENTIFIED
from splitting.settlement.instructions import REFUSED_WHOLE
from splitting.tables import Instruction, Settlement

_NEVER_SENT = frozenset({states.Batch.DRAFT, states.Batch.AWAITING_RELEASE})
_CASE = ", ".join(f"c.{name}" for name in Case._fields)


class Parts(NamedTuple):
    """The bookings of a batch as its parts, against its lines; sums in minor units."""

    batch: Settlement
    said: Sequence[Case]  # decided as parts
    asked: Sequence[Case]  # that nobody has decided
    left: Sequence[Instruction]  # in transit
    sums: frozenset[int]  # what the parts may come to

    def minor(self, *, with_asked: bool) -> int:
        """Return what the parts come to, with those that nobody has decided or without."""
        return -sum(one.amount_minor or 0 for one in (*self.said, *(self.asked if with_asked else ())))


async def may_have_left(connection: Connection, batch: Settlement) -> bool:
    """Tell whether the bank may have a batch: a cancelled one was sent before only where the bank had refused it."""
    if batch.status == states.Batch.CANCELLED:
        refused = cases.case_id(batch.book, REFUSED_WHOLE, batch.id)
        return await cases.store.find_case(connection, refused) is not None
    return batch.status not in _NEVER_SENT


async def said_of(connection: Connection, book: int, bank: str) -> dict[str, list[Case]]:
    """Return what people said are parts of a bank's batches of which lines are in transit, by batch."""
    rows = await connection.fetch(
        f"SELECT {_CASE} FROM case_file c JOIN settlement s ON s.book = c.book AND s.id = c.facts ->> $3 "
        "WHERE c.book = $1 AND c.decision = 'part' AND c.status = 'decided' AND s.bank = $2 AND s.open_count > 0 "
        "ORDER BY c.decided_at, c.id",
        book,
        bank,
        BATCH,
    )
    found: dict[str, list[Case]] = {}
    for row in rows:
        found.setdefault(orjson.loads(row["facts"])[BATCH], []).append(Case(*row))
    return found


async def parts_of(connection: Connection, batch: Settlement) -> Parts:
    """Return the bookings that are, or may be, parts of a batch. Costs its lines, and the book's open cases."""
    said = (await said_of(connection, batch.book, batch.bank)).get(batch.id, [])
    waiting = await cases.store.cases(connection, book=batch.book, kind=UNIDENTIFIED)
    asked = [one for one in waiting if orjson.loads(one.facts).get(BATCH) == batch.id]
    lines = await store.instructions(connection, batch.book, batch.id)
    left = [line for line in lines if line.status == states.Instruction.IN_TRANSIT]
    decided = [line for line in lines if line.status in (states.Instruction.PAID, states.Instruction.RETURNED)]
    keys = [(batch.book, f"{line.id}:paid") for line in decided]
    paid = await ENTRIES.load(connection, keys) if keys else []
    by_parts = {entry.id for entry in paid if entry.posting.endswith(f"@{BY_PARTS}")}
    begun = sum(line.amount_minor for line in decided if f"{line.id}:paid" in by_parts)
    in_transit = sum(line.amount_minor for line in left)
    whole = sum(line.amount_minor for line in lines if line.status != states.Instruction.REFUSED)
    return Parts(batch, said, asked, left, frozenset({whole, in_transit + begun}))


async def check_part(connection: Connection, case: Case) -> None:
    """See whether a case's booking may be decided as a part of a batch.

    Raises Rejected (no_batchs_debit, parts_differ), Conflict (batch_decided).
    """
    facts = orjson.loads(case.facts)
    batch = await store.find_settlement(connection, case.book, facts.get(BATCH, ""))
    if batch is None or (case.amount_minor or 0) >= 0 or not await may_have_left(connection, batch):
        why = "the bank names no batch of ours by it, or one that never left: it can be no part of one"
        raise Rejected("no_batchs_debit", why, param="decision")
    if not batch.open_count:
        raise Conflict("batch_decided", f"no line of {batch.id} is in transit any more")
    parts = await parts_of(connection, batch)
    minor = parts.minor(with_asked=True)
    if minor not in parts.sums:
        come_to = " or ".join(str(Money(one, batch.currency)) for one in sorted(parts.sums))
        raise Rejected(
            "parts_differ",
            f"the bookings of {batch.id} come to {Money(minor, batch.currency)} and its lines to {come_to}: a part is "
            "missing, or one of them is none; decide that as no_deposit first",
            param="decision",
        )
