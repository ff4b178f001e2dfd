"""The daily proof 每日对账: fetch what channel and bank wrote about a business date, and compare it with the books."""

import logging
from collections.abc import Awaitable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

import orjson

import splitting
from channels.banks import (
    KINDS,
    AccountStatement,
    BadStatement,
    Bank,
    FileInfo,
    Kind,
    StatusReport,
    opens_accounts,
    paid_by_booking,
    read_statements,
)
from channels.contract import BadBill, BillLine
from gateway.accounts.ready import ChannelAccounts, Ready
from gateway.payments.bank_credits import transfer_attempt
from kernel.clock import business_date
from kernel.db import AGAIN, LOST, Connection, Pool, acquire, tell, transaction
from kernel.env import Env
from kernel.errors import Rejected, SluiceError, Unavailable
from kernel.money import Money
from ledger import accounts
from reconciliation.matching.match import Deposits, Mirror, Payout, Payouts, PayoutStatus, Statements
from reconciliation.proof.store import balances_at, statement_dates, sub_accounts
from reconciliation.runs import Run, reconcile
from reconciliation.sources.movements import movements_of
from reconciliation.sources.statements import (
    Kept,
    ReadBill,
    bill_of,
    entries_on,
    has_bank_file,
    keep_bank_file,
    keep_bill,
    reports_on,
    statements_of,
)
from splitting.banks.fates import Wrong, file_key, info_of
from splitting.banks.files import fetched
from splitting.banks.sending import message_id
from splitting.banks.store import bank_accounts
from splitting.banks.worker import Banks
from splitting.rails.store import withheld_on
from splitting.tables import BankFile, BankLink, Instruction, Settlement
from splitting.withdrawals.rules import id_of, reference
from splitting.withdrawals.store import of_day

log = logging.getLogger(__name__)
MOST_BACK = timedelta(days=31)  # so far back a bank that answers questions is asked of a day again
ASKED_AGAIN = 10  # days whose statement a bank that answers questions may still mend


@dataclass(frozen=True, slots=True)
class Deposit:
    """How a channel account's payment of a day is named, and at which banks it may come in."""

    banks: Sequence[str]
    end_to_end_id: str
    booked_by: date  # the last day of the bank's on which it may have been booked
    accounts: Sequence[str] = ()  # channel accounts that it is of, where they are one account at the rail


class DailyProof:
    """Runs a business date against one counterparty; repeating it with the same files changes nothing."""

    def __init__(self, pool: Pool, channel_accounts: ChannelAccounts, banks: Banks, env: Env) -> None:
        self._pool = pool
        self._accounts = channel_accounts
        self._banks = banks
        self._env = env

    # ---- a channel account -------------------------------------------------------------------------------------------

    async def channel(
        self, book: int, account_id: str, day: date, *, currency: str, deposit: Deposit | None = None
    ) -> Run:
        """Compare a channel account's bill of a day with the books and, where given, with the bank's deposit.

        Raises Unavailable (bill_not_ready), channels.BadBill when the file cannot be read: nothing of it is used.
        """
        ready = await self._accounts.get(book, account_id)
        lines = await self._bill(book, ready, day)
        async with transaction(self._pool) as connection:
            movements = await movements_of(connection, book, ready, day, lines)
            received = None
            if deposit is not None:
                days = [day + timedelta(days=n) for n in range((deposit.booked_by - day).days + 1)]
                entries = [
                    entry
                    for bank in deposit.banks
                    for entry in await entries_on(connection, book, bank_counterparty(bank), days)
                ]
                of = deposit.accounts or [account_id]
                withheld = sum([await withheld_on(connection, book, one, currency, day) for one in of])
                received = Deposits(deposit.end_to_end_id, entries, currency, withheld)
            return await reconcile(
                connection,
                book=book,
                counterparty=channel_counterparty(account_id),
                business_date=day,
                movements=movements,
                bill=lines,
                deposits=received,
                now=self._env.now(),
            )

    async def _bill(self, book: int, ready: Ready, day: date) -> list[BillLine]:
        """Fetch the day's bill, keep it, and return the lines of the one that counts."""
        counterparty = channel_counterparty(ready.account.id)
        bill = await ready.client.bill(day)
        async with transaction(self._pool) as connection:
            read = await self._reader(connection, book, ready, day)
            if bill.content is not None:
                name = f"{ready.account.channel}-{ready.account.id}-{day}.csv"
                kept = await keep_bill(
                    connection,
                    book=book,
                    counterparty=counterparty,
                    business_date=day,
                    name=name,
                    raw=bill.content,
                    read=read,
                    now=self._env.now(),
                )
            elif bill.nothing:
                return []
            found = await bill_of(connection, book, counterparty, day, read)
        if bill.content is not None and kept.refused is not None:
            code, why = kept.refused
            log.error("a bill was refused whole", extra={"account": ready.account.id, "day": str(day), "why": code})
            raise Rejected(f"bill_{code}", f"the bill of {day} cannot be used: {why}")
        if found is None:
            raise Unavailable("bill_not_ready", f"there is no bill of {day} yet: {bill.reason}", retry_after_s=1800)
        return found

    async def _reader(self, connection: Connection, book: int, ready: Ready, day: date) -> ReadBill:
        """Return how the day's bill is read: a file of nothing but rows of the eve is that day's bill sent again.

        Unless the eve's bill lacks every one of them: then they came late.
        """
        rail, eve = ready.client.channel, day - timedelta(days=1)

        def leniently(raw: bytes) -> Iterable[BillLine]:
            return rail.bill_lines(raw, eve, only_late=True)

        before = await bill_of(connection, book, channel_counterparty(ready.account.id), eve, leniently)
        on_eve = {(line.kind, line.reference) for line in before or ()}

        def read(raw: bytes) -> Iterable[BillLine]:
            try:
                return list(rail.bill_lines(raw, day))
            except BadBill as error:
                if error.code != "other_day" or before is None:
                    raise
                lines = list(rail.bill_lines(raw, day, only_late=True))
                if any((line.kind, line.reference) in on_eve for line in lines):
                    raise
                return lines

        return read

    # ---- a bank ------------------------------------------------------------------------------------------------------

    async def fetch_bank_files(self, book: int, bank: str) -> int:
        """Fetch every file of the bank's that is not kept yet, and keep it; return how many were new.

        One that cannot be had or believed is set aside as a case and keeps no other from being fetched; so is a
        statement that is refused. A list that goes on with what was listed before is at its end. Raises Unavailable
        where the bank does not answer, Rejected where it says no to us.
        """
        link = await self._banks.link(book, bank)
        client, new = self._banks.client(link), await self._given_by_hand(link)
        if not client.keeps_files:  # what it answered is kept here alone
            return new + await self._answered(link, client) + await self.fetch_statements(book, bank)
        for kind in (client.types[one] for one in (Kind.NOTICE, Kind.REPORT, Kind.STATEMENT)):
            after: str | None = None
            seen: set[FileInfo] = set()
            while True:
                page = await client.list_files(kind, after)
                fresh = [listed for listed in page.files if listed not in seen]
                for listed in fresh:
                    if not await _is_had(self._pool, link, listed):
                        new += await self._fetch(link, client, listed)
                if not fresh or page.next is None:
                    break
                seen.update(fresh)
                after = page.next
        return new

    async def fetch_statements(self, book: int, bank: str, since: date | None = None) -> int:
        """Fetch the bank's statements that are not kept yet; return how many were new. Raises as fetch_bank_files.

        A bank that answers questions is asked again for days whose bookings do not lead from balance to balance, or
        whose balance is not what the next day opens with; and since a day, of the last MOST_BACK, whatever is kept.
        """
        link = await self._banks.link(book, bank)
        client, new = self._banks.client(link), await self._given_by_hand(link)
        after = None if client.keeps_files else await _last_statement(self._pool, link, client)
        if after is not None and since is not None:
            since = max(since, business_date(self._env.now()) - MOST_BACK)
            after = min(after, (since - timedelta(days=1)).isoformat())
        while True:
            page = await client.list_files(client.types[Kind.STATEMENT], after)
            for listed in page.files:
                if await _is_applied(self._pool, link, listed):
                    continue
                if client.keeps_files or not await _said_before(self._pool, link, client, listed):
                    new += await self._fetch(link, client, listed)
            if not page.files or page.next in (None, after):
                return new
            after = page.next

    async def _answered(self, link: BankLink, client: Bank) -> int:
        """Keep what a bank without files has answered about orders and bookings; return how many were new."""
        new = 0
        for kind in (Kind.NOTICE, Kind.REPORT):
            wanted = client.types[kind]
            async with acquire(self._pool) as connection:
                kept = await splitting.store.bank_files(connection, link.book, bank=link.bank, type=wanted, limit=1_000)
            for file in kept:
                if file.fate in ("applied", "repeated") and file.sha256 is not None:
                    new += await self._each(link, file, self._keep_answer(link, file))
        return new

    async def _keep_answer(self, link: BankLink, file: BankFile) -> int:
        return int((await self._keep(link, info_of(file), await self._banks.files.content(file))).fresh)

    async def _each(self, link: BankLink, file: BankFile, work: Awaitable[int]) -> int:
        """Do what is to be done with a kept file; what is wrong with it is its case, and keeps no other from it."""
        try:
            return await work
        except (Unavailable, *LOST, *AGAIN):
            raise
        except Exception as error:
            tell(log, "a kept file of a bank cannot be used; the others are", error, bank=link.bank, file=file.id)
            await self._banks.files.end(file, info_of(file), _wrong(error))
            return 0

    async def _given_by_hand(self, link: BankLink) -> int:
        """Keep the files that people gave in place of others, once they were agreed to; return how many were new."""
        async with acquire(self._pool) as connection:
            given = await splitting.store.bank_files(connection, link.book, bank=link.bank, by_hand=True, limit=10_000)
        new = 0
        for file in given:
            if file.fate in ("received", "applied", "repeated"):
                new += await self._each(link, file, self._keep_given(link, file))
        return new

    async def _keep_given(self, link: BankLink, file: BankFile) -> int:
        raw = await self._banks.files.content(file)
        kept = await self._keep(link, info_of(file), raw, in_place=True)
        if KINDS.get(file.type) is Kind.STATEMENT:
            wrong = _wrong_with(kept, info_of(file), raw, gaps=True)
            wrong = await self._pay(link, file.type, raw, kept) or wrong
            await self._banks.files.end(file, info_of(file), wrong)
        return int(kept.fresh)

    async def _fetch(self, link: BankLink, client: Bank, listed: FileInfo) -> int:
        """Fetch a file and keep it; return how many that was."""
        files = self._banks.files
        try:
            raw = await fetched(client, listed)
        except (BadStatement, Unavailable, Rejected) as error:  # the bank has just listed it, so a no is about this one
            if error.code == "bank_unreachable":
                raise
            content = error.content if isinstance(error, BadStatement) else None
            await files.end(await files.keep(link, listed, content), listed, Wrong(error.code, str(error)))
            return 0
        try:
            return await self._keep_fetched(link, client, listed, raw)
        except (Unavailable, *LOST, *AGAIN):
            raise
        except Exception as error:  # of our reading it: the files after it are fetched
            tell(log, "a file of a bank cannot be used; the others are", error, bank=link.bank, file=listed.file_id)
            await files.end(await files.keep(link, listed, raw), listed, _wrong(error))
            return 0

    async def _keep_fetched(self, link: BankLink, client: Bank, listed: FileInfo, raw: bytes) -> int:
        files, kept = self._banks.files, await self._keep(link, listed, raw)
        if KINDS.get(listed.type) is Kind.STATEMENT:  # which nothing but the proof reads
            wrong = _wrong_with(kept, listed, raw, gaps=client.keeps_files)
            wrong = await self._pay(link, listed.type, raw, kept) or wrong
            await files.end(await files.keep(link, listed, raw), listed, wrong, known=kept.fresh)
        return int(kept.fresh)

    async def _pay(self, link: BankLink, type: str, raw: bytes, kept: Kept) -> Wrong | None:
        """Apply what a statement that counts says of payouts, at a bank that says by its booking that it paid.

        Returns what could not be applied of it.
        """
        wrong = None
        if kept.refused is None and paid_by_booking(orjson.loads(link.settings)):
            for statement in read_statements(type, raw, allow_gap=True, odd=[]):
                error = await self._banks.files.bookings.apply_statement(link, statement)
                wrong = wrong or (None if error is None else _wrong(error))
        return wrong

    async def _keep(self, link: BankLink, listed: FileInfo, raw: bytes, *, in_place: bool = False) -> Kept:
        async with transaction(self._pool) as connection:
            return await keep_bank_file(
                connection,
                book=link.book,
                counterparty=bank_counterparty(link.bank),
                listed=listed,
                raw=raw,
                now=self._env.now(),
                in_place=in_place,
            )

    async def bank(
        self, book: int, bank: str, day: date, *, currency: str, deposit_ids: Collection[str] = frozenset()
    ) -> Run:
        """Compare a bank's day with the books: instructions, its reports, its statements, every account's closing.

        deposit_ids: end-to-end ids of channels' deposits, which are compared with the channel. Files must have been
        fetched (`fetch_bank_files`). The mirrors are the ledger's balances at the end of that business date: run it
        after the day's files were applied, at any time.
        """
        link = await self._banks.link(book, bank)
        counterparty = bank_counterparty(bank)
        async with transaction(self._pool) as connection:
            statements = _in(currency, await statements_of(connection, book, counterparty, day))
            reports = await reports_on(connection, book, counterparty, day)
            payouts = [
                _payout(line, settlement, link)
                for settlement in await splitting.store.settlements(connection, book, 1000)
                if settlement.bank == bank
                for line in await splitting.store.instructions(connection, book, settlement.id)
                if _concerns(line, settlement, day, reports, statements)
            ]
            payouts += await _withdrawn(connection, link, day, reports, statements)
            collected = await self._collected(connection, book, statements)
            apart = frozenset(one.account for one in await bank_accounts(connection, book, bank))
            return await reconcile(
                connection,
                book=book,
                counterparty=counterparty,
                business_date=day,
                payouts=Payouts(payouts, reports, frozenset(deposit_ids) | collected, apart),
                statements=Statements(statements, await _mirrors(connection, link, currency, day)),
                now=self._env.now(),
            )

    async def _collected(
        self, connection: Connection, book: int, statements: Iterable[AccountStatement]
    ) -> frozenset[str]:
        """Return the bookings of payers' own transfers for payments of ours; their channel's report is their judge."""
        found = set()
        for entry in (entry for statement in statements for entry in statement.entries):
            if entry.creditor_ref and await transfer_attempt(connection, book, entry.creditor_ref) is not None:
                found.add(entry.entry_ref)
        return frozenset(found)


async def _mirrors(connection: Connection, link: BankLink, currency: str, day: date) -> list[Mirror]:
    """Return the balance of each account at the bank when a date was over; the pool has what no sub-account has.

    Payees' own accounts, at a bank that opens none, are nobody's to look into.
    """
    standing = {one.account: one.minor for one in await balances_at(connection, link.book, day)}
    mirrors, in_sub_accounts = [], 0
    for sub in await sub_accounts(connection, link.book):
        if (sub.bank, sub.currency) == (link.bank, currency):
            balance = -standing.get(accounts.sub_account(sub.payee_id, currency), 0)
            in_sub_accounts += balance
            mirrors.append(Mirror(sub.number, Money(balance, currency)))
    custody = standing.get(accounts.bank(link.bank, currency), 0)
    for other in await bank_accounts(connection, link.book, link.bank):
        if other.currency == currency:
            minor = standing.get(accounts.bank_account(link.bank, other.role, currency), 0)
            mirrors.append(Mirror(other.account, Money(minor, currency)))
    if not opens_accounts(orjson.loads(link.settings)):
        mirrors = []
    return [*mirrors, Mirror(link.pool_account, Money(custody - in_sub_accounts, currency))]


async def _said_before(pool: Pool, link: BankLink, client: Bank, listed: FileInfo) -> bool:
    """Tell whether a bank that answers questions says of a day what is kept of it; each answer has other bytes."""
    try:
        told = read_statements(listed.type, await fetched(client, listed), allow_gap=True, odd=[])
    except BadStatement:
        return False
    async with acquire(pool) as connection:
        known = await statements_of(connection, link.book, bank_counterparty(link.bank), listed.business_date)
    return [replace(one, message_id="") for one in told] == [replace(one, message_id="") for one in known]


def _in(currency: str, statements: Sequence[AccountStatement]) -> list[AccountStatement]:
    """Return one statement an account: where it has several currencies, the one that is compared."""
    of = {one.account for one in statements if one.closing.currency == currency}
    return [one for one in statements if one.closing.currency == currency or one.account not in of]


async def _is_had(pool: Pool, link: BankLink, listed: FileInfo) -> bool:
    """Tell whether a file is kept for what is compared, so that it need not be fetched once more."""
    async with acquire(pool) as connection:
        there = await has_bank_file(connection, link.book, bank_counterparty(link.bank), listed)
    return there and (KINDS.get(listed.type) is not Kind.STATEMENT or await _is_applied(pool, link, listed))


def _wrong_with(kept: Kept, listed: FileInfo, raw: bytes, *, gaps: bool) -> Wrong | None:
    """Return why a statement is set aside: by what is wrong with it, or (gaps) its entries do not lead to its closing.

    Such a one is compared all the same, until two people have replaced it.
    """
    if kept.wrong is not None:
        return Wrong(*kept.wrong)
    for one in read_statements(listed.type, raw, allow_gap=True, odd=[]) if gaps else ():
        if one.gap.minor:
            why = f"account {one.account}: opening {one.opening} and the entries do not lead to closing {one.closing}"
            return Wrong("totals_differ", why)
    return None


async def _last_statement(pool: Pool, link: BankLink, client: Bank) -> str | None:
    """Return of which day the last statement is that is kept and counts; None where there is none.

    Of the last days, the one before the first whose bookings do not lead from balance to balance, or whose balance is
    not what the next day opens with.
    """
    wanted = client.types[Kind.STATEMENT]
    async with acquire(pool) as connection:
        kept = await splitting.store.bank_files(connection, link.book, bank=link.bank, type=wanted, limit=100)
        days = sorted({file.business_date for file in kept if file.fate in ("applied", "repeated")})
        before: date | None = None
        closing: dict[str, Money] = {}
        for day in days[-ASKED_AGAIN:]:
            told = await statements_of(connection, link.book, bank_counterparty(link.bank), day)
            if before is not None and any(closing.get(one.account, one.opening) != one.opening for one in told):
                return (before - timedelta(days=1)).isoformat()
            if any(one.gap.minor for one in told):
                return (day - timedelta(days=1)).isoformat()
            before, closing = day, {one.account: one.closing for one in told}
    return days[-1].isoformat() if days else None


def _wrong(error: Exception) -> Wrong:
    """Return what a fault says of a file, for people."""
    if isinstance(error, SluiceError):
        return Wrong(error.code, error.message)
    return Wrong("internal_error", type(error).__name__)


async def _is_applied(pool: Pool, link: BankLink, listed: FileInfo) -> bool:
    async with acquire(pool) as connection:
        ident = file_key(link.book, link.bank, listed.file_id, listed.sha256)
        file = await splitting.store.find_bank_file(connection, link.book, ident)
    return file is not None and file.fate in ("applied", "repeated", "discarded")


def channel_counterparty(account_id: str) -> str:
    """Return the counterparty under which a channel account's runs and files are kept."""
    return f"channel:{account_id}"


def bank_counterparty(bank: str) -> str:
    return f"bank:{bank}"


def _payout(line: Instruction, settlement: Settlement, link: BankLink) -> Payout:
    return Payout(
        line.id,
        message_id(settlement.id),
        link.pool_account,
        line.account,
        Money(line.amount_minor, line.currency),
        PayoutStatus(line.status),
        line.bank_date,
        same_bank=opens_accounts(orjson.loads(link.settings)),
        returned_on=line.returned_on,
    )


async def _withdrawn(
    connection: Connection,
    link: BankLink,
    day: date,
    reports: Sequence[StatusReport],
    statements: Sequence[AccountStatement],
) -> list[Payout]:
    """Return the withdrawals that a day's run looks at: those of the day, and those that the day's files speak of."""
    named = {report.original_message_id for report in reports}
    named |= {entry.end_to_end_id or "" for statement in statements for entry in statement.entries}
    ids = [ident for number in named if (ident := id_of(link.book, number)) is not None]
    return [
        Payout(
            (number := reference(row.book, row.id)),
            number,
            row.sub_account,
            row.account,
            Money(row.amount_minor, row.currency),
            PayoutStatus.IN_TRANSIT if row.bank_date is None else PayoutStatus(row.status),
            row.bank_date or row.execution_date,
            same_bank=False,
            returned_on=row.returned_on,
        )
        for row in await of_day(connection, link.book, link.bank, day, ids)
    ]


def _concerns(
    line: Instruction,
    settlement: Settlement,
    day: date,
    reports: Sequence[StatusReport],
    statements: Sequence[AccountStatement],
) -> bool:
    """Tell whether a day's run looks at an instruction: it is of the day, or the day's files speak of it."""
    return (
        day in (line.bank_date, line.returned_on)
        or any(report.original_message_id == message_id(settlement.id) for report in reports)
        or any(
            entry.end_to_end_id == line.id or message_id(settlement.id) in entry.batch_refs
            for statement in statements
            for entry in statement.entries
        )
    )


async def last_statements(connection: Connection, book: int, bank: str) -> list[AccountStatement]:
    """Return what the last statements of a bank that count say of each account; nothing where there is none."""
    dates = await statement_dates(connection, book, bank_counterparty(bank), None, date.max)
    return list(await statements_of(connection, book, bank_counterparty(bank), dates[-1])) if dates else []
