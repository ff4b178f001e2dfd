"""What a person's decisions about cases bring about, and the one way to decide."""

from collections.abc import Mapping
from contextlib import suppress

import cases
from gateway.payments import decisions
from kernel.db import acquire
from kernel.errors import NotFound, SluiceError
from ops.wiring import Hub
from splitting.settlement import decisions as payouts

# (kind, decision) → what is done in the batch that records it. A decision that is not here is only a record.
EFFECTS: Mapping[tuple[str, str], cases.Effect] = {**decisions.EFFECTS, **payouts.EFFECTS}


async def get_case(hub: Hub, case_id: str) -> cases.Case:
    """Return a case. Raises NotFound (no_such_case)."""
    async with acquire(hub.pool) as connection:
        case = await cases.store.find_case(connection, case_id)
    if case is None:
        raise NotFound("no_such_case", f"there is no case {case_id}; `sluice case list` has those that wait")
    return case


async def decide(
    hub: Hub, case_id: str, decision: str, *, by: str, note: str, account: str | None = None
) -> cases.Case:
    """Decide a case, with what that brings about, in one commit; the running worker carries on from there.

    Before a person ends a refund its rail is asked once more: what that says comes first. account: the channel account
    that the decision names. Raises what DecideCase raises, and NotFound (no_such_channel_account).
    """
    case = await get_case(hub, case_id)
    if account is not None:
        await hub.accounts.get(case.book, account)
    if isinstance(EFFECTS.get((case.kind, decision)), decisions.EndRefund):
        with suppress(SluiceError):  # it cannot be asked: then the person's word is all there is
            await hub.payments.look_at_refund(case.book, case.about)
    command = cases.DecideCase(case.book, case.id, decision, by, note, EFFECTS, account)
    decided: cases.Case = await hub.lanes.put(command)
    hub.bell.ring()
    return decided
