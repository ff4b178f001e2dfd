"""What a person's decisions about cases bring about, and the one way to decide."""

from collections.abc import Mapping
from contextlib import suppress

import cases
import people
from gateway.payments import decisions
from kernel.db import acquire
from kernel.errors import NotFound, Rejected, SluiceError
from ops.people import Acting
from ops.wiring import Hub
from people import Act, Approval, Use, What, approved
from splitting import store
from splitting.banks import fates
from splitting.banks.parts import check_part
from splitting.recalls import decisions as recalls
from splitting.settlement import decisions as payouts
from splitting.settlement import refused
from splitting.settlement.deposits import PART, UNIDENTIFIED
from splitting.withdrawals import decisions as withdrawals
from splitting.withdrawals.rules import PREFIX
from splitting.withdrawals.store import find as find_withdrawal

# (kind, decision) → what is done in the batch that records it. A decision that is not here is only a record.
EFFECTS: Mapping[tuple[str, str], cases.Effect] = {
    **decisions.EFFECTS,
    **payouts.EFFECTS,
    **refused.EFFECTS,
    **withdrawals.EFFECTS,
    **recalls.EFFECTS,
    **fates.EFFECTS,
}


async def get_case(hub: Hub, case_id: str) -> cases.Case:
    """Return a case. Raises NotFound (no_such_case)."""
    async with acquire(hub.pool) as connection:
        case = await cases.store.find_case(connection, case_id)
    if case is None:
        raise NotFound("no_such_case", f"there is no case {case_id}; see `sluice case list`")
    return case


async def approval_of(hub: Hub, case: cases.Case) -> Approval | None:
    """Return the approval with which a case was decided as it stands; None where one person decided it, or nobody."""
    if case.decision is None or case.decided_by is None or case.note is None:
        return None
    named = cases.named_in(case, case.decision)
    whats = [_what(case, case.decision, case.note, named)]
    if case.kind == fates.SET_ASIDE:
        whats.append(_what(case, case.decision, case.note, named, of_file=True))
    hashes = {what.hash for what in whats}
    async with acquire(hub.pool) as connection:
        found = [one for what in whats for one in await people.store.approvals(connection, about=what.about, over=True)]
    return next((one for one in found if one.status == "used" and one.what_hash in hashes), None)


async def decide_as(
    acting: Acting, case_id: str, decision: str, *, note: str, named: cases.Named | None = None, of_file: bool = False
) -> cases.Case:
    """Decide a case as the person who acts; with a second person's approval where the decision takes two.

    of_file: it is said as a command about a bank's file, and is approved and recorded as such.
    Raises what decide and Acting.second raise.
    """
    hub, case = acting.hub, await get_case(acting.hub, case_id)
    await _check_named(hub, case.book, named)
    if not cases.check_decision(case, decision, acting.name, note, named):
        return case
    await _check_part(hub, case, decision)
    what = _what(case, decision, note, named, of_file=of_file)
    if named is not None and named.what == "line":  # nobody is to agree to what cannot be
        async with acquire(hub.pool) as connection:
            find = find_withdrawal if named.id.startswith(PREFIX) else store.find_instruction
            if await find(connection, case.book, named.id) is None:
                why = f"there is no line {named.id}; see `sluice settlement show`"
                raise Rejected("no_such_line", why, param="line")
    use = await acting.second(what) if cases.takes_two(decision) else None
    return await decide(hub, case_id, decision, by=acting.name, note=note, named=named, use=use, seen=case)


async def _check_part(hub: Hub, case: cases.Case, decision: str) -> None:
    """Raise what check_part raises where a booking is to be a part of a batch."""
    if (case.kind, decision) == (UNIDENTIFIED, PART) and cases.may_be_decided(case):
        async with acquire(hub.pool) as connection:
            await check_part(connection, case)


async def _check_named(hub: Hub, book: int, named: cases.Named | None) -> None:
    """Raise NotFound where a decision names a channel account that there is not; the rest its effect looks for."""
    if named is not None and named.what == "account":
        await hub.accounts.get(book, named.id)


def _what(case: cases.Case, decision: str, note: str, named: cases.Named | None, *, of_file: bool = False) -> What:
    """Return what a decision is, and of what: a case that is opened anew is another matter."""
    arguments = {
        "decision": decision,
        "note": note,
        "account": None if named is None or named.what != "account" else named.id,
        **({} if named is None or named.what == "account" else {named.what: named.id}),
        "kind": case.kind,
        "object": case.about,
        "amount_minor": case.amount_minor,
        "currency": case.currency,
        "opened_count": case.opened_count,
    }
    if of_file:
        return What(Act.CASES, f"bank files {decision}", fates.kept_as(case), arguments, case.book)
    return What(Act.CASES, "case decide", case.id, arguments, case.book)


async def decide(
    hub: Hub,
    case_id: str,
    decision: str,
    *,
    by: str,
    note: str,
    named: cases.Named | None = None,
    use: Use | None = None,
    seen: cases.Case | None = None,
) -> cases.Case:
    """Decide a case, with what that brings about, in one commit; the running worker carries on from there.

    Before a person ends a refund its rail is asked once more: what that says comes first. named: what the decision
    names besides. use: of the approval that it takes, used up in the same commit. seen: the case that was
    agreed to. Raises what DecideCase, Approved and check_part raise, and NotFound (no_such_channel_account).
    """
    case = await get_case(hub, case_id)
    await _check_named(hub, case.book, named)
    await _check_part(hub, case, decision)
    if isinstance(EFFECTS.get((case.kind, decision)), decisions.EndRefund):
        with suppress(SluiceError):  # it cannot be asked: then the person's word is all there is
            await hub.payments.look_at_refund(case.book, case.about)
    command = cases.DecideCase(case.book, case.id, decision, by, note, EFFECTS, named, seen)
    decided: cases.Case = await hub.lanes.put(approved(command, use))
    hub.bell.ring()
    return decided
