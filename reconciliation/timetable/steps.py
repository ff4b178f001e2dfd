"""What each step of the timetable does, and for whom there is something to do."""

import logging
from collections.abc import Mapping, Sequence
from datetime import date, timedelta

from gateway.accounts.ready import ChannelAccounts
from gateway.store import every_channel_account
from kernel.db import AGAIN, LOST, Pool, acquire, tell
from kernel.env import Env
from kernel.errors import NotFound, Rejected, Unavailable
from reconciliation import store as books
from reconciliation.daily import DailyProof, Deposit, bank_counterparty, channel_counterparty
from reconciliation.matching.verdicts import DiscrepancyKind
from reconciliation.proof import Proving
from reconciliation.proof.store import statement_dates, sub_accounts
from reconciliation.timetable.plan import DAY, Scope, Step
from reconciliation.timetable.worker import Work
from splitting.settlement.calendar import T0_AHEAD, BankHours, Calendar, Every
from splitting.settlement.payouts import Payouts
from splitting.settlement.store import payout_schedules
from splitting.store import bank_links

log = logging.getLogger(__name__)

LOOKS_BACK = timedelta(days=10)  # holidays may put a week between a channel's day and its deposit
CURRENCY = "CNY"  # in which channels' deposits are named


class DateSteps:
    """The steps, each for one bank or channel account of one book; the proof for all."""

    def __init__(
        self,
        *,
        pool: Pool,
        env: Env,
        payouts: Payouts,
        daily: DailyProof,
        proving: Proving,
        accounts: ChannelAccounts,
        calendar: Calendar,
    ) -> None:
        self._pool = pool
        self._env = env
        self._payouts = payouts
        self._daily = daily
        self._proving = proving
        self._accounts = accounts
        self._calendar = calendar

    @property
    def all(self) -> Mapping[Step, Work]:
        return {
            Step.SETTLEMENT_TODAY: self.settle,
            Step.SETTLEMENT: self.settle,
            Step.STATEMENTS: self.fetch_statements,
            Step.RECONCILIATION: self.reconcile,
            Step.BANK_RECONCILIATION: self.reconcile_bank,
            Step.PROOF: self.prove,
        }

    async def scopes(self) -> Sequence[Scope]:
        """Return for whom there is something to do: schedules, banks that are linked, accounts that are not off."""
        found: list[Scope] = []
        async with acquire(self._pool) as connection:
            links = [link for link in await bank_links(connection) if link.ended_at is None]
            accounts = await every_channel_account(connection)
            for link in links:
                found += [Scope(step, link.book, link.bank) for step in (Step.STATEMENTS, Step.BANK_RECONCILIATION)]
                every = {one.every for one in await payout_schedules(connection, link.book) if one.bank == link.bank}
                if not every - {Every.MANUAL.value}:
                    continue
                subs = await sub_accounts(connection, link.book)
                for currency in sorted({one.currency for one in subs if one.bank == link.bank}):
                    subject = f"{link.bank}:{currency}"
                    found.append(Scope(Step.SETTLEMENT, link.book, subject))
                    if Every.T0.value in every:
                        at = await self._early(link.book, link.bank)
                        found.append(Scope(Step.SETTLEMENT_TODAY, link.book, f"{subject}@{at}"))
        found += [Scope(Step.RECONCILIATION, one.book, one.id) for one in accounts if one.state != "off"]
        if links:
            found.append(Scope(Step.PROOF, 0, ""))
        return found

    async def _early(self, book: int, bank: str) -> str:
        """Return the time of day from which a bank's batch of the same day may be made."""
        cut_off = (await self._payouts.bank(book, bank)).cut_off
        minutes = max(0, cut_off.hour * 60 + cut_off.minute - round(T0_AHEAD.total_seconds() / 60))
        return f"{minutes // 60:02}:{minutes % 60:02}"

    async def settle(self, scope: Scope, day: date) -> None:
        """Make every batch that is due at a bank; periods that were missed are among them, whatever the date."""
        bank, _, currency = scope.name.partition(":")
        await self._payouts.settle_due(scope.book, bank, currency)

    async def fetch_statements(self, scope: Scope, day: date) -> None:
        """Fetch a bank's statements. Raises Unavailable (statement_missing) where there is none of the date yet."""
        await self._daily.fetch_statements(scope.book, scope.name)
        async with acquire(self._pool) as connection:
            there = await statement_dates(connection, scope.book, bank_counterparty(scope.name), day - DAY, day)
        if not there and await self._works(scope, day):
            raise Unavailable("statement_missing", f"{scope.name} has no statement of {day} yet")

    async def _works(self, scope: Scope, day: date) -> bool:
        row = await self._payouts.bank(scope.book, scope.name)
        try:
            return BankHours(row.cut_off, row.every_day).works(self._calendar, day)
        except Rejected:  # a year that is not known
            return True

    async def reconcile(self, scope: Scope, day: date) -> None:
        """Compare a channel account's bill of a date; and days again whose deposit had not come. What differs is kept.

        Raises Unavailable (bill_not_ready), Rejected where the bill cannot be used.
        """
        deposit = await self._deposit(scope)

        async def compare(on: date) -> None:
            awaited = None
            if deposit is not None:
                banks, start, accounts = deposit
                awaited = Deposit(banks, f"{start}{on:%Y%m%d}", on + LOOKS_BACK, accounts)
            await self._daily.channel(scope.book, scope.name, on, currency=CURRENCY, deposit=awaited)

        for on in await self._awaited(scope, day):
            try:
                await compare(on)
            except (*LOST, *AGAIN):
                raise
            except Exception as error:  # its deposit stays missing, which is a discrepancy, and is looked for again
                facts = {"book": scope.book, "account": scope.name, "date": str(on), "with": str(day)}
                tell(log, "a day whose deposit is missing cannot be compared again; the others are", error, **facts)
        await compare(day)

    async def _deposit(self, scope: Scope) -> tuple[Sequence[str], str, Sequence[str]] | None:
        """Return the banks that a channel account may pay into, how it names its deposits, and whose they are.

        None: not known, or where several are one account at the rail, compared with the first of them.
        """
        starts = await self._accounts.deposits(scope.book)
        async with acquire(self._pool) as connection:
            banks = [link.bank for link in await bank_links(connection) if link.book == scope.book]
        found = next(((start, accounts) for start, accounts in starts.items() if accounts[0] == scope.name), None)
        return (banks, *found) if found is not None and banks else None

    async def _awaited(self, scope: Scope, day: date) -> list[date]:
        """Return the last days before one whose deposit is missing."""
        async with acquire(self._pool) as connection:
            missing = await books.list_discrepancies(
                connection,
                scope.book,
                counterparty=channel_counterparty(scope.name),
                kinds=[DiscrepancyKind.DEPOSIT_MISSING],
            )
        return sorted({one.known.home for one in missing if day - LOOKS_BACK <= one.known.home < day})

    async def reconcile_bank(self, scope: Scope, day: date) -> None:
        """Compare what a bank says of a date with the book. What differs is kept. Raises Unavailable.

        On a day without a statement on which the bank does not work there is nothing to compare.
        """
        await self._daily.fetch_bank_files(scope.book, scope.name)
        async with acquire(self._pool) as connection:
            there = await statement_dates(connection, scope.book, bank_counterparty(scope.name), day - DAY, day)
            subs = await sub_accounts(connection, scope.book)
        if not there:
            if await self._works(scope, day):
                raise Unavailable("statement_missing", f"{scope.name} has no statement of {day} yet")
            return
        starts = await self._accounts.deposits(scope.book)
        days = [day - timedelta(days=n) for n in range(LOOKS_BACK.days + 1)]
        named = {f"{start}{on:%Y%m%d}" for start in starts for on in days}
        # A custody has one pool account, and so one currency.
        currency = min((one.currency for one in subs if one.bank == scope.name), default=CURRENCY)
        await self._daily.bank(scope.book, scope.name, day, currency=currency, deposit_ids=named)

    async def prove(self, scope: Scope, day: date) -> None:
        """Prove a date. Raises Rejected (proof_does_not_hold): then it is certified as such, and tried again.

        When it is tried again, banks are asked first for what they have replaced.
        """
        try:
            failed = not (await self._proving.find(day)).holds
        except NotFound:
            failed = False
        for trouble in await self._proving.fetch(day=day) if failed else ():
            log.warning("a proof is tried again without a bank's answer", extra={"date": str(day), "why": trouble})
        certificate = await self._proving.prove(day)
        if not certificate.holds:
            raise Rejected("proof_does_not_hold", f"`sluice proof show {day}` names what has no explanation")
