"""One run 对账: one business date, one counterparty; may be repeated, in any order of dates, with the same result."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from channels.contract import BillLine
from kernel.chain import GENESIS, link
from kernel.clock import business_date as date_of
from kernel.db import Connection
from kernel.money import Money
from kernel.states import advance
from reconciliation import store
from reconciliation.matching.match import (
    Deposits,
    Discrepancy,
    Known,
    Matched,
    MatchResult,
    Movement,
    Net,
    Payouts,
    Register,
    Statements,
    beyond,
    effects_of,
    match_balances,
    match_channel,
    match_deposit,
    net_of,
    standing,
)
from reconciliation.matching.payouts import match_payouts
from reconciliation.matching.verdicts import Area, DiscrepancyKind, Key
from reconciliation.states import DISCREPANCY, UNSETTLED, Event, State


@dataclass(frozen=True, slots=True)
class Run:
    """What one run came to."""

    id: str
    book: int
    counterparty: str
    business_date: date
    areas: tuple[Area, ...]  # compared this time
    matched: Mapping[Area, int]  # references that agree
    discrepancies: tuple[Discrepancy, ...]  # every difference this day's books show, by key, new or not
    net: Net | None  # what the channel owes for the day
    received_minor: int | None  # what the bank received of it
    moves: tuple[store.Move, ...]  # what changed against the runs before; nothing when it is repeated
    digest: str  # over the differences; the same when a run is repeated
    times: int  # how often this day has been run, this time included


@dataclass(frozen=True, slots=True)
class Case:
    """A discrepancy as people see it."""

    id: str
    counterparty: str
    key: Key
    kind: DiscrepancyKind
    state: State
    business_date: date
    currency: str
    ours_minor: int | None
    theirs_minor: int | None
    difference_minor: int | None
    detail: str
    payment_reference: str | None
    seen_on: tuple[date, ...]  # the days whose files show it
    opened_at: datetime
    changed_at: datetime
    age_days: int  # business days by the calendar since the business date


async def reconcile(
    conn: Connection,
    *,
    book: int,
    counterparty: str,
    business_date: date,
    movements: Iterable[Movement] | None = None,
    bill: Iterable[BillLine] | None = None,
    deposits: Deposits | None = None,
    payouts: Payouts | None = None,
    statements: Statements | None = None,
    now: datetime,
) -> Run:
    """Compare one day's books with one counterparty's and record every difference.

    A channel account is run with movements and bill, and with deposits once the bank's word is there; a bank with
    payouts and statements. Whatever is None is left as earlier runs found it. Runs in a transaction of its own, or
    inside the caller's. A repetition with the same books changes nothing but the count of runs.
    Raises ValueError when the books given do not belong together.
    """
    if (movements is None) != (bill is None) or (payouts is None) != (statements is None):
        raise ValueError("movements come with a bill, payouts with statements")
    if deposits is not None and bill is None:
        raise ValueError("a deposit is compared with the movements and the bill of its day")
    ours, theirs = list(movements or ()), list(bill or ())
    areas = _areas(bill is not None, deposits is not None, payouts is not None)
    if not areas:
        raise ValueError("a run compares something")
    async with conn.transaction():
        await store.lock_counterparty(conn, book, counterparty)
        keys = beyond(business_date, ours, theirs) | _payout_keys(payouts, statements)
        rows = await store.register(conn, book, counterparty, business_date, areas, keys)
        homes = {movement.business_date for movement in ours} | {row.known.home for row in rows.values()}
        homes |= {payout.business_date for payout in payouts.instructions} if payouts else set()
        done = {area: await store.dates_run(conn, book, counterparty, area, homes) for area in areas}
        previous = await store.closings_on(conn, book, counterparty, business_date - timedelta(days=1))
        net = net_of(business_date, ours, theirs, deposits.currency, deposits.withheld_minor) if deposits else None
        while True:
            known = {key: row.known for key, row in rows.items()}
            compared = _compare(business_date, ours, theirs, bill is not None, net, deposits, known, done)
            if payouts is not None and statements is not None:
                _compare_bank(compared, business_date, payouts, statements, previous, known, done)
            # A reference whose business date has moved since may have left a discrepancy nobody looked up.
            strangers = {o.key for o in compared.kept if isinstance(o, Discrepancy)} - rows.keys()
            found = await store.register(conn, book, counterparty, date.max, areas, strangers) if strangers else {}
            if not found.keys() - rows.keys():
                break
            rows |= found
        await store.save_closings(conn, book, counterparty, business_date, compared.closings)
        changed, moves = _moved(book, counterparty, business_date, rows, compared.kept, now)
        await store.save_discrepancies(conn, changed)
        await store.save_moves(conn, moves)
        differing = sorted((o for o in compared.kept if isinstance(o, Discrepancy)), key=lambda one: one.key)
        matched = {area: compared.matched[area] for area in areas}
        received = _received(deposits)
        saved = await store.save_run(
            conn,
            book=book,
            counterparty=counterparty,
            business_date=business_date,
            areas=[str(area) for area in areas],
            matched={str(area): count for area, count in matched.items()},
            differing={str(area): _by_kind(area, differing) for area in areas},
            net=_net_json(net, received),
            digest=_digest(differing),
            now=now,
        )
    return Run(
        id=saved.id,
        book=book,
        counterparty=counterparty,
        business_date=business_date,
        areas=areas,
        matched=matched,
        discrepancies=tuple(differing),
        net=net,
        received_minor=received,
        moves=tuple(moves),
        digest=saved.digest,
        times=saved.times,
    )


async def discrepancies(
    conn: Connection,
    book: int,
    *,
    now: datetime,
    counterparty: str | None = None,
    states: Sequence[State] = UNSETTLED,
    kinds: Sequence[DiscrepancyKind] | None = None,
    after: tuple[date, str] | None = None,
    limit: int = 100,
) -> list[Case]:
    """Return discrepancies with their age, oldest business date first.

    after: (business date, id) of the last one of the page before.
    """
    rows = await store.list_discrepancies(
        conn, book, counterparty=counterparty, states=states, kinds=kinds, after=after, limit=limit
    )
    today = date_of(now)
    return [
        Case(
            id=row.id,
            counterparty=row.counterparty,
            key=row.key,
            kind=row.known.verdict.kind,
            state=row.known.state,
            business_date=row.known.home,
            currency=row.known.verdict.currency,
            ours_minor=row.known.verdict.ours_minor,
            theirs_minor=row.known.verdict.theirs_minor,
            difference_minor=row.known.verdict.difference_minor,
            detail=row.known.verdict.detail,
            payment_reference=row.payment_reference,
            seen_on=tuple(sorted(row.known.sightings)),
            opened_at=row.opened_at,
            changed_at=row.changed_at,
            age_days=(today - row.known.home).days,
        )
        for row in rows
    ]


# ---- parts -----------------------------------------------------------------------------------------------------------


def _areas(channel: bool, deposit: bool, bank: bool) -> tuple[Area, ...]:
    chosen = [(Area.CHANNEL, channel), (Area.DEPOSIT, deposit), (Area.PAYOUT, bank), (Area.BALANCE, bank)]
    return tuple(area for area, wanted in chosen if wanted)


def _payout_keys(payouts: Payouts | None, statements: Statements | None) -> set[Key]:
    """Return every key the bank's side of the run can touch."""
    if payouts is None or statements is None:
        return set()
    references = {payout.end_to_end_id for payout in payouts.instructions}
    references |= {line.end_to_end_id for report in payouts.reports for line in report.lines}
    references |= {
        entry.end_to_end_id or entry.entry_ref for statement in statements.accounts for entry in statement.entries
    }
    return {Key(Area.PAYOUT, "payout", reference) for reference in references}


@dataclass(slots=True)
class _Compared:
    """What one pass over the books found: a count of what agrees, and all that does not or once did not."""

    matched: Counter[Area] = field(default_factory=Counter)
    kept: list[MatchResult] = field(default_factory=list)
    closings: list[store.Closing] = field(default_factory=list)

    def take(self, found: Iterable[MatchResult]) -> None:
        for outcome in found:
            if isinstance(outcome, Matched):
                self.matched[outcome.key.area] += 1
                if outcome.home is None:
                    continue
            self.kept.append(outcome)


def _compare(
    business_date: date,
    movements: Sequence[Movement],
    bill: Sequence[BillLine],
    has_bill: bool,
    net: Net | None,
    deposits: Deposits | None,
    known: Register,
    done: Mapping[Area, set[date]],
) -> _Compared:
    """Compare the channel's side."""
    compared = _Compared()
    if has_bill:
        compared.take(match_channel(business_date, movements, bill, known, done[Area.CHANNEL]))
    if deposits is not None and net is not None:
        compared.take(match_deposit(business_date, net, deposits, known))
    return compared


def _compare_bank(
    compared: _Compared,
    business_date: date,
    payouts: Payouts,
    statements: Statements,
    previous: Mapping[str, Money],
    known: Register,
    done: Mapping[Area, set[date]],
) -> None:
    """Compare the bank's side: payouts first, because they explain balances."""
    found = list(match_payouts(business_date, payouts, statements.accounts, known, done[Area.PAYOUT]))
    effects = effects_of(business_date, found, known)
    compared.take(found)
    compared.take(match_balances(business_date, statements, effects, previous, known))
    mirrors = {mirror.account: mirror.balance for mirror in statements.mirrors}
    compared.closings = [
        store.Closing(
            one.account, one.opening, one.closing, mirrors.get(one.account), effects.so_far.get(one.account, 0)
        )
        for one in statements.accounts
    ]


def _moved(
    book: int,
    counterparty: str,
    business_date: date,
    rows: Mapping[Key, store.DiscrepancyRow],
    outcomes: Iterable[MatchResult],
    now: datetime,
) -> tuple[list[store.DiscrepancyRow], list[store.Move]]:
    """Return the rows that change, and the moves they make; what stays as it was is in neither."""
    changed: list[store.DiscrepancyRow] = []
    moves: list[store.Move] = []
    for outcome in outcomes:
        row = rows.get(outcome.key)
        before = row.known if row else None
        if before is None and isinstance(outcome, Matched):
            continue
        state, events = _events(outcome, before)
        after = standing(outcome, before, state)
        if after is None or after == before:
            continue
        ident = row.id if row else store.discrepancy_id(book, counterparty, outcome.key)
        number = row.moves if row else 0
        for event, source, target in events:
            number += 1
            cause = (
                f"run of {business_date}: {after.verdict.detail if isinstance(outcome, Discrepancy) else 'both agree'}"
            )
            moves.append(store.Move(book, ident, number, event, source, target, after.verdict.kind, cause, now))
        changed.append(
            store.DiscrepancyRow(
                book=book,
                id=ident,
                counterparty=counterparty,
                key=outcome.key,
                known=after,
                payment_reference=outcome.payment_reference if isinstance(outcome, Discrepancy) else None,
                moves=number,
                opened_at=row.opened_at if row else now,
                changed_at=now if events or row is None else row.changed_at,
            )
        )
    return changed, moves


def _events(outcome: MatchResult, before: Known | None) -> tuple[State, list[tuple[str, State | None, State]]]:
    """Return the state an outcome leads to and the steps there: (event, from, to). Steps on the spot are not told."""
    state = before.state if before else State.OPEN
    steps: list[tuple[str, State | None, State]] = [] if before else [("found", None, State.OPEN)]
    for event in _what_happened(outcome, before):
        if event is Event.EXPLAINED and (state, event) not in DISCREPANCY:
            continue  # a remedy outranks an explanation
        target = advance(DISCREPANCY, state, event)
        if event is Event.CHANGED or target is not state:
            steps.append((event, state, target))
        state = target
    return state, steps


def _what_happened(outcome: MatchResult, before: Known | None) -> list[Event]:
    # A late line agrees in everything but the day; finding it is what resolves the shortage.
    if isinstance(outcome, Matched) or outcome.kind is DiscrepancyKind.LATE:
        return [Event.AGREED]
    events: list[Event] = []
    if before is not None:
        events.append(Event.SEEN if _difference(before) == _difference(outcome) else Event.CHANGED)
    if outcome.verdict.explained:
        events.append(Event.EXPLAINED)
    return events


def _difference(one: Known | Discrepancy) -> tuple[Any, ...]:
    verdict = one.verdict
    return (verdict.kind, verdict.currency, verdict.ours_minor, verdict.theirs_minor, verdict.explained)


def _by_kind(area: Area, differing: Iterable[Discrepancy]) -> dict[str, int]:
    return dict(Counter(str(one.kind) for one in differing if one.key.area is area))


def _received(deposits: Deposits | None) -> int | None:
    if deposits is None:
        return None
    bookings = {e.entry_ref: e.amount.minor for e in deposits.entries if e.end_to_end_id == deposits.end_to_end_id}
    return sum(bookings.values())


def _net_json(net: Net | None, received: int | None) -> dict[str, Any] | None:
    if net is None:
        return None
    return {
        "currency": net.ours.currency,
        "ours_minor": net.ours.minor,
        "bill_minor": net.bill.minor,
        "received_minor": received,
    }


def _digest(differing: Sequence[Discrepancy]) -> str:
    """Return a hash over the differences in order of their keys: equal runs, equal digests."""
    digest = GENESIS
    for one in differing:
        verdict = one.verdict
        digest = link(
            digest,
            *map(str, one.key),
            str(verdict.kind),
            verdict.currency,
            str(verdict.ours_minor),
            str(verdict.theirs_minor),
            str(verdict.difference_minor),
        )
    return digest.hex()
