"""Making a batch in portions, so that one of many lines holds its book no longer than a commit of payments does."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

from kernel.db import Pool, acquire
from kernel.work import Command
from splitting import states, store
from splitting.settlement.instructions import MakeSettlement
from splitting.settlement.store import less_reserves
from splitting.tables import Settlement

PORTION = 100  # payees looked at in one commit


class Puts(Protocol):
    """Whoever commits a command."""

    async def put(self, command: Command[Any], *, alone: bool = False) -> Any: ...


async def make(
    pool: Pool,
    lanes: Puts,
    batch: MakeSettlement,
    to_pay: Callable[[store.Owed], store.Owed | None],
    *,
    portion: int = PORTION,
) -> Settlement | None:
    """Make a batch, a portion of its payees a commit; return it, or None where nothing is to be paid.

    batch: without its payees. to_pay: what of one payee is to be paid, None for none. Where this is stopped in between,
    the batch stays a draft, which nobody sends; repeating it goes on after the last payee that was looked at. Raises
    what MakeSettlement raises.
    """
    after = ""
    while True:
        async with acquire(pool) as connection:
            read = await store.owed_until(
                connection, batch.book, batch.bank, batch.currency, batch.business_date, after=after, limit=portion + 1
            )
            read = await less_reserves(connection, batch.book, batch.bank, batch.currency, batch.business_date, read)
        more, some = len(read) > portion, read[:portion]
        owed = [found for one in some if (found := to_pay(one)) is not None]
        upto = some[-1].payee_id if more else None
        made: Settlement | None = await lanes.put(replace(batch, owed=owed, after=after, upto=upto), alone=True)
        if made is not None and made.status != states.Batch.DRAFT:
            return made
        if made is not None and made.drafted_to is not None:
            after = made.drafted_to  # of this portion, or of whoever was there before
        elif upto is None:
            return None
        else:
            after = upto
