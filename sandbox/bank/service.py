"""The bank: accounts, orders, deposits and days. One transaction for each thing that happens.

Accepting a file and executing it are two transactions. The first makes the 202 true; the second books every line,
writes the report and marks the file as done, all or nothing. So a file is executed exactly once, whatever is killed
when.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import partial
from pathlib import Path

from sandbox import keys
from sandbox.bank import reports, signing, store
from sandbox.bank.errors import Refused
from sandbox.bank.instructions import Line, Order, read_order
from sandbox.bank.money import NotAnAmount, minor_digits
from sandbox.bank.reports import BankIdentity, Entry, Result, Statement
from sandbox.bank.rules import Account, Refusal, judge
from sandbox.bank.store import Customer, Deposit, OutFile, Upload
from sandbox.context import SandboxContext
from sandbox.faults import Fault
from sandbox.store import Tx

IDENTITY = BankIdentity(bic="SBXBCNBJXXX", name="Sandbox Bank")
PROCESSING_SECONDS = 1.0
"""How long an accepted file lies before it is executed, in simulated time."""
STATEMENTS_PER_FILE = 500
MAX_DAYS_AHEAD = 366
_ACCOUNT_PREFIX = "6200"
_RAIL = "bank"
_NOTICE_FAULTS = ("notice_numbered_from_one", "notice_repeated", "notice_told_anew", "notice_cut")
_STATEMENT_FAULTS = ("statement_entry_missing", "statement_entry_altered", "statement_entry_doubled")


@dataclass(frozen=True, slots=True)
class Enrolment:
    """A new customer, and where its secrets lie."""

    customer: Customer
    token_file: Path
    private_key_file: Path


@dataclass(frozen=True, slots=True)
class ClosedDay:
    """What closing a day came to. already_closed: it had been closed before and nothing was done now."""

    closed_date: date
    bank_date: date
    statement_files: int
    already_closed: bool


class Bank:
    """The simulated bank. Built by `install`."""

    def __init__(self, ctx: SandboxContext) -> None:
        self._ctx = ctx
        self._store = ctx.store
        self._folder = ctx.home / "bank"
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.public_key_file = self._folder / "bank_public_key.pem"
        self.signing_key = signing.load_signing_key("BANK", self._folder / "bank_private_key.pem")
        keys.write_file(self.public_key_file, self.signing_key.public_pem)
        self._work = asyncio.Event()
        ctx.store.create(store.SCHEMA)
        with ctx.store.transaction() as tx:
            store.add_missing_columns(tx)
            store.start_date(tx, ctx.clock.beijing_date())
        upload_keys = ("op", "customer_id", "message_id")
        ctx.faults.declare(_RAIL, ("request_lost", "answer_lost"), upload_keys)
        ctx.faults.declare(_RAIL, ("refuse_line",), ("creditor_account", "end_to_end_id"), code="AC04")
        ctx.faults.declare(_RAIL, ("say_refused",), ("creditor_account", "end_to_end_id"), codes="DU04")
        ctx.faults.declare(_RAIL, ("report_by_payment",), ("customer_id", "message_id"))
        ctx.faults.declare(_RAIL, ("deposit_missing", "deposit_doubled"), ("mchid", "date", "account"))
        ctx.faults.declare(_RAIL, ("reference_shared", *_NOTICE_FAULTS), ("end_to_end_id", "account"))
        ctx.faults.declare(_RAIL, ("signature_wrong",), ("customer_id", "type"))
        ctx.faults.declare(_RAIL, ("deposit_short",), ("mchid", "date", "account"), by_minor=None)
        statement_keys = ("end_to_end_id", "account", "date")
        ctx.faults.declare(_RAIL, ("statement_entry_missing", "statement_entry_doubled"), statement_keys)
        ctx.faults.declare(_RAIL, ("statement_entry_altered",), statement_keys, delta_minor=None)

    # --- customers and accounts ----------------------------------------------------------------------------------

    @property
    def business_date(self) -> date:
        """Return the bank's business date: what is booked now carries it."""
        return store.read_date(self._store)

    async def enrol(self, name: str) -> Enrolment:
        """Record a customer with a token and a signing key of its own; both are files only the owner can read."""
        customer_id = f"cust_{secrets.token_hex(8)}"
        token = f"bank_{secrets.token_urlsafe(32)}"
        folder = self._folder / "customers" / customer_id
        folder.mkdir(parents=True, mode=0o700)
        private_key_file, token_file = folder / "private_key.pem", folder / "token"

        def make_files() -> Customer:
            key = signing.new_signing_key("CUST", private_key_file)
            keys.write_file(token_file, token.encode(), secret=True)
            return Customer(customer_id, name, key.key_id, key.public_pem.decode())

        customer = await asyncio.to_thread(make_files)
        now = self._ctx.clock.now_utc()
        await self._store.write(lambda tx: store.add_customer(tx, customer, _sha256(token.encode()), now))
        return Enrolment(customer, token_file, private_key_file)

    def authenticate(self, token: str) -> Customer | None:
        """Return the customer a token belongs to."""
        return store.find_customer(self._store, _sha256(token.encode()))

    async def open_account(
        self, customer: Customer, *, reference: str, name: str, currency: str, kind: str
    ) -> tuple[Account, bool]:
        """Return the account opened under a reference, and whether it is new.

        The same reference with other particulars is refused (409).
        """
        try:
            minor_digits(currency)
        except NotAnAmount as reason:
            raise Refused(400, "currency_not_offered", str(reason)) from None

        def command(tx: Tx) -> tuple[Account, bool]:
            known = store.find_account_by_reference(tx, customer.customer_id, reference)
            if known is not None:
                if (known.name, known.currency, known.kind) != (name, currency, kind):
                    raise Refused(
                        409,
                        "reference_in_use",
                        f"reference {reference} belongs to account {known.number}"
                        f" ({known.name}, {known.currency}, {known.kind})",
                    )
                return known, False
            number = account_number(store.next_account_seq(tx))
            account = Account(number, customer.customer_id, name, currency, kind, "open", 0)
            store.add_account(tx, account, reference, store.read_date(tx))
            return account, True

        return await self._store.write(command)

    def find_account(self, number: str) -> Account | None:
        """Return any account at this bank by its number."""
        return store.find_account(self._store, number)

    async def close_account(self, number: str) -> Account:
        """Close an account: lines to it are refused with AC04 from now on. Repeating it does nothing."""

        def command(tx: Tx) -> Account:
            account = _known_account(tx, number)
            store.close_account(tx, number, store.read_date(tx))
            return replace(account, status="closed")

        return await self._store.write(command)

    # --- orders --------------------------------------------------------------------------------------------------

    async def accept(self, customer: Customer, order: Order, raw: bytes) -> Upload:
        """Record a file as received; durable when this returns. The same bytes again return the same upload."""
        now = self._ctx.clock.now_utc()
        sha256 = _sha256(raw)

        def command(tx: Tx) -> Upload:
            known = store.find_upload(tx, customer.customer_id, order.message_id, sha256)
            if known is not None:
                return known
            first = store.find_first_upload(tx, customer.customer_id, order.message_id)
            upload = Upload(
                file_id=_file_id(),
                customer_id=customer.customer_id,
                message_id=order.message_id,
                sha256=sha256,
                raw=raw,
                received_at=_instant(now),
                original_file_id=first.file_id if first else None,
            )
            store.add_upload(tx, upload)
            return upload

        upload = await self._store.write(command)
        self._work.set()
        return upload

    async def process_uploads(self) -> None:
        """Execute accepted files one after another, for ever, starting with those left over from before."""
        while True:
            self._work.clear()
            upload = await asyncio.to_thread(store.next_open_upload, self._store)
            if upload is None:
                await self._work.wait()
                continue
            age = (self._ctx.clock.now_utc() - datetime.fromisoformat(upload.received_at)).total_seconds()
            await asyncio.sleep(max(0.0, PROCESSING_SECONDS * self._ctx.time_scale - age))
            await self._process(upload)

    async def _process(self, upload: Upload) -> None:
        order = await asyncio.to_thread(read_order, upload.raw)
        now = self._ctx.clock.now_utc()

        def command(tx: Tx) -> None:
            if store.finish_upload(tx, upload.file_id):
                self._execute(tx, upload, order, now)

        await self._store.write(command)

    def _execute(self, tx: Tx, upload: Upload, order: Order, now: datetime) -> None:
        if upload.original_file_id is not None:
            report_id = f"P002-{store.next_file_seq(tx):010d}"
            why = f"MsgId {upload.message_id} was used before for other bytes; file {upload.original_file_id} counts"
            report = reports.rejection_report(IDENTITY, report_id, now, order, Refusal("AM05", why))
        else:
            results = [self._execute_line(tx, upload, line, now) for line in order.lines]
            # Drawn only now: credit notices made on the way have taken numbers of the same row.
            report_id = f"P002-{store.next_file_seq(tx):010d}"
            match = {"customer_id": upload.customer_id, "message_id": upload.message_id}
            by_payment = self._ctx.faults.take(_RAIL, "report_by_payment", **match) is not None
            report = reports.status_report(IDENTITY, report_id, now, order, results, by_payment=by_payment)
        self._file_out(tx, upload.customer_id, "pain.002", report_id, report, store.read_date(tx), now, upload)

    def _execute_line(self, tx: Tx, upload: Upload, line: Line, now: datetime) -> Result:
        debtor = store.find_account(tx, line.debtor_account)
        creditor = store.find_account(tx, line.creditor_account) if line.creditor_account else None
        refusal = judge(
            line,
            customer_id=upload.customer_id,
            bic=IDENTITY.bic,
            debtor=debtor,
            creditor=creditor,
            already_paid=store.is_paid(tx, upload.customer_id, line.end_to_end_id),
        )
        if refusal is not None:
            return Result(line, refusal, None)
        facts = {"creditor_account": line.creditor_account, "end_to_end_id": line.end_to_end_id}
        fault = self._ctx.faults.take(_RAIL, "refuse_line", **facts)
        if fault is not None:
            return Result(line, Refusal(str(fault.params["code"])[:4], "refused by the bank"), None)
        if debtor is None or creditor is None:
            raise RuntimeError("a line without both accounts was not refused")
        store.add_paid_line(tx, upload.customer_id, upload.file_id, line)
        draft = Entry(
            entry_ref="",
            bank_ref="",
            amount_minor=line.amount_minor,
            is_credit=False,
            booking_date=store.read_date(tx),
            family="ICDT",  # issued credit transfer, here within the bank
            sub_family="BOOK",
            end_to_end_id=line.end_to_end_id,
            instruction_id=line.instruction_id,
            message_id=upload.message_id,
            payment_id=line.payment_id,
            remittance=line.remittance,
            other_name=line.creditor_name or creditor.name,
            other_account=creditor.number,
        )
        debit = self._book(tx, debtor, draft, now)
        # The receiver does not learn the sender's own numbers, only what travels end to end.
        self._book(
            tx,
            creditor,
            replace(
                draft,
                is_credit=True,
                family="RCDT",
                instruction_id=None,
                message_id=None,
                payment_id=None,
                other_name=line.debtor_name or debtor.name,
                other_account=debtor.number,
            ),
            now,
        )
        if said := self._ctx.faults.take(_RAIL, "say_refused", **facts):
            first, *more = str(said.params["codes"]).split()
            return Result(line, Refusal(first[:4], "this was sent before", tuple(code[:4] for code in more)), None)
        return Result(line, None, debit.bank_ref)

    async def return_line(self, creditor_account: str, end_to_end_id: str, code: str) -> None:
        """Send an executed line's money back (退票) on the bank's date: a debit there, a credit to the payer."""
        now = self._ctx.clock.now_utc()

        def command(tx: Tx) -> None:
            creditor = _known_account(tx, creditor_account)
            line = store.find_paid_line(tx, creditor_account, end_to_end_id)
            if line is None:
                raise Refused(404, "line_not_found", f"no executed line {end_to_end_id} credits {creditor_account}")
            if line.returned:
                raise Refused(409, "already_returned", f"line {end_to_end_id} was returned before")
            if creditor.balance_minor < line.amount_minor:
                raise Refused(409, "funds_short", f"account {creditor_account} no longer holds the amount")
            debtor = _known_account(tx, line.debtor_account)
            store.mark_returned(tx, line)
            draft = Entry(
                entry_ref="",
                bank_ref="",
                amount_minor=line.amount_minor,
                is_credit=False,
                booking_date=store.read_date(tx),
                family="ICDT",
                sub_family="RRTN",  # reimbursement of a returned transfer
                end_to_end_id=end_to_end_id,
                instruction_id=None,
                message_id=None,
                payment_id=None,
                remittance=f"RETURN {end_to_end_id}",
                other_name=debtor.name,
                other_account=debtor.number,
                return_reason=code,
            )
            self._book(tx, creditor, draft, now)
            incoming = replace(
                draft, is_credit=True, family="RCDT", other_name=creditor.name, other_account=creditor.number
            )
            self._book(tx, debtor, incoming, now)

        await self._store.write(command)

    # --- money from outside ----------------------------------------------------------------------------------------

    def credit(
        self,
        tx: Tx,
        *,
        account: str,
        amount_minor: int,
        end_to_end_id: str,
        remittance: str,
        payer_name: str,
        book_on: date,
        mchid: str | None = None,
        settled_date: date | None = None,
    ) -> None:
        """Announce money from outside, in the caller's transaction; the same end-to-end id again does nothing.

        It is booked on `book_on`, or on the bank's date if that is later: at once when the day has come, else when the
        day before is closed. A negative amount is drawn from the account, below zero if need be; zero books nothing.
        mchid, settled_date: whose settlement of which day it is, for `deposit_missing` and `deposit_short`, which are
        looked up when it is booked.
        Raises Refused (404) if the account is unknown.
        """
        _known_account(tx, account)
        if store.has_deposit(tx, account, end_to_end_id):
            return
        deposit = Deposit(
            account=account,
            end_to_end_id=end_to_end_id,
            announced_minor=amount_minor,
            remittance=remittance,
            payer_name=payer_name,
            due_date=book_on,
            mchid=mchid,
            settled_date=settled_date,
        )
        store.add_deposit(tx, deposit)
        self._book_due_deposits(tx)

    async def deposit(
        self, *, account: str, amount_minor: int, end_to_end_id: str, remittance: str, payer_name: str
    ) -> None:
        """Book money from a stranger on the bank's date; see `credit`."""

        def command(tx: Tx) -> None:
            self.credit(
                tx,
                account=account,
                amount_minor=amount_minor,
                end_to_end_id=end_to_end_id,
                remittance=remittance,
                payer_name=payer_name,
                book_on=store.read_date(tx),
            )

        await self._store.write(command)

    def collect(
        self,
        tx: Tx,
        *,
        pool: str,
        bank_ref: str,
        amount_minor: int,
        reference: str,
        virtual_account: str,
        end_to_end_id: str,
        payer_name: str,
        payer_account: str,
    ) -> Entry:
        """Book a payer's transfer to a virtual account on its pool account, in the caller's transaction 代收.

        bank_ref: the booking's reference, unique in the bank. reference: the customer's own number of what is paid.
        Raises Refused (404) if the pool account is unknown.
        """
        account = _known_account(tx, pool)
        draft = Entry(
            entry_ref="",
            bank_ref=bank_ref,
            amount_minor=amount_minor,
            is_credit=True,
            booking_date=store.read_date(tx),
            family="RCDT",
            sub_family="VCOM",  # credit transfer with agreed commercial information
            end_to_end_id=end_to_end_id,
            instruction_id=None,
            message_id=None,
            payment_id=None,
            remittance="",
            other_name=payer_name,
            other_account=payer_account,
            creditor_ref=reference,
            creditor_account=virtual_account,
            accepted_at=self._ctx.clock.now_utc(),
        )
        return self._book(tx, account, draft, self._ctx.clock.now_utc())

    def send_back(
        self,
        tx: Tx,
        *,
        pool: str,
        bank_ref: str,
        amount_minor: int,
        reference: str,
        end_to_end_id: str,
        payer_name: str,
        payer: str,
    ) -> Entry:
        """Book the return of collected money to its payer, in the caller's transaction.

        reference: of what had been paid. end_to_end_id: the customer's number of the return.
        Raises Refused (404) if the pool account is unknown, Refused (409, funds_short) if it does not hold the amount.
        """
        account = _known_account(tx, pool)
        if account.balance_minor < amount_minor:
            raise Refused(409, "funds_short", f"account {pool} holds less than that")
        draft = Entry(
            entry_ref="",
            bank_ref=bank_ref,
            amount_minor=amount_minor,
            is_credit=False,
            booking_date=store.read_date(tx),
            family="ICDT",
            sub_family="RRTN",
            end_to_end_id=end_to_end_id,
            instruction_id=None,
            message_id=None,
            payment_id=None,
            remittance=f"RETURN {end_to_end_id}",
            other_name=payer_name,
            other_account=payer,
            creditor_ref=reference,
            accepted_at=self._ctx.clock.now_utc(),
        )
        return self._book(tx, account, draft, self._ctx.clock.now_utc())

    def _book_due_deposits(self, tx: Tx) -> None:
        today = store.read_date(tx)
        for deposit in store.deposits_due(tx, today):
            booked_minor = self._amount_to_book(deposit)
            store.mark_deposit(tx, deposit, "missing" if booked_minor is None else "booked", booked_minor or 0)
            if booked_minor:
                self._book_deposit(tx, deposit, booked_minor, today)
                if self._ctx.faults.take(_RAIL, "deposit_doubled", **_deposit_facts(deposit)):
                    self._book_deposit(tx, deposit, booked_minor, today)

    def _amount_to_book(self, deposit: Deposit) -> int | None:
        """Return what the bank books for a deposit, or None if by an ordered fault it never does."""
        facts = _deposit_facts(deposit)
        if self._ctx.faults.take(_RAIL, "deposit_missing", **facts):
            return None
        short = self._ctx.faults.take(_RAIL, "deposit_short", **facts)
        return deposit.announced_minor - (_minor_of(short, "by_minor") if short else 0)

    def _book_deposit(self, tx: Tx, deposit: Deposit, booked_minor: int, today: date) -> None:
        is_credit = booked_minor > 0
        entry = Entry(
            entry_ref="",
            bank_ref="",
            amount_minor=abs(booked_minor),
            is_credit=is_credit,
            booking_date=today,
            family="RCDT" if is_credit else "RDDT",  # received: a credit transfer, or a direct debit drawn on it
            sub_family="DMCT" if is_credit else "OTHR",
            end_to_end_id=deposit.end_to_end_id,
            instruction_id=None,
            message_id=None,
            payment_id=None,
            remittance=deposit.remittance,
            other_name=deposit.payer_name,
            other_account=None,
        )
        self._book(tx, _known_account(tx, deposit.account), entry, self._ctx.clock.now_utc())

    # --- days --------------------------------------------------------------------------------------------------------

    async def close_day(self, day: date) -> ClosedDay:
        """Close a business day and all open ones before it, make their statements, and move on to the day after.

        A day that is closed already stays as it is. Raises Refused (400) for a day absurdly far ahead.
        """
        if day > self.business_date + timedelta(days=MAX_DAYS_AHEAD):
            raise Refused(
                400, "date_too_far", f"the bank's date is {self.business_date}; {day} is more than a year ahead"
            )
        already_closed = day < self.business_date
        while self.business_date <= day:
            closing = self.business_date
            await self._store.write(partial(self._close, day=closing))

        def count(tx: Tx) -> int:
            return store.count_files(tx, "camt.053", day)

        return ClosedDay(day, self.business_date, await self._store.write(count), already_closed)

    async def follow_the_calendar(self) -> None:
        """Close each day when it has passed in Beijing, for ever."""
        while True:
            await self.catch_up()
            await asyncio.sleep(1.0)  # the calendar is real time, so this is not scaled

    async def catch_up(self) -> None:
        """Close every day that has passed in Beijing."""
        yesterday = self._ctx.clock.beijing_date() - timedelta(days=1)
        while (closing := self.business_date) <= yesterday:
            await self._store.write(partial(self._close, day=closing))

    def _close(self, tx: Tx, day: date) -> None:
        """Make every customer's statements of a day, then open the next one with the deposits that fall on it."""
        if store.read_date(tx) != day:  # somebody else closed it first
            return
        now = self._ctx.clock.now_utc()
        for customer_id in store.customer_ids(tx):
            entries = store.entries_of_day(tx, customer_id, day)
            accounts = store.accounts_of_day(tx, customer_id, day)
            pages = [
                accounts[start : start + STATEMENTS_PER_FILE] for start in range(0, len(accounts), STATEMENTS_PER_FILE)
            ]
            for number, page in enumerate(pages, 1):
                statements = [
                    self._statement(account, opened, day, entries.get(account.number, [])) for account, opened in page
                ]
                message_id = f"C053-{store.next_file_seq(tx):010d}"
                raw = reports.statement_file(
                    IDENTITY, message_id, now, statements, page=number, is_last=number == len(pages)
                )
                self._file_out(tx, customer_id, "camt.053", message_id, raw, day, now)
        store.set_date(tx, day + timedelta(days=1))
        self._book_due_deposits(tx)

    def _statement(self, account: Account, opened: date, day: date, entries: list[Entry]) -> Statement:
        moved = sum(entry.amount_minor if entry.is_credit else -entry.amount_minor for entry in entries)
        return Statement(
            account=account,
            business_date=day,
            sequence=(day - opened).days + 1,
            opening_minor=account.balance_minor - moved,
            closing_minor=account.balance_minor,
            entries=list(self._spoil(account, entries)),
        )

    def _spoil(self, account: Account, entries: list[Entry]) -> Iterable[Entry]:
        """Yield the entries as the statement is to show them, which differs from the books only by ordered faults."""
        for entry in entries:
            fault = self._ctx.faults.take(
                _RAIL,
                _STATEMENT_FAULTS,
                end_to_end_id=entry.end_to_end_id,
                account=account.number,
                date=entry.booking_date.isoformat(),
            )
            if fault is None:
                yield entry
            elif fault.name == "statement_entry_altered":
                signed = entry.amount_minor + _minor_of(fault, "delta_minor")
                yield replace(entry, amount_minor=abs(signed), is_credit=entry.is_credit == (signed >= 0))
            elif fault.name == "statement_entry_doubled":
                yield entry
                yield entry

    # --- shared ------------------------------------------------------------------------------------------------------

    def _book(self, tx: Tx, account: Account, draft: Entry, now: datetime) -> Entry:
        """Book an entry, which gets its references here, and announce it if it moves a pool account unasked."""
        in_bank, in_account = store.next_entry(tx, account.number)
        bank_ref = draft.bank_ref or f"SBX{draft.booking_date:%Y%m%d}{in_bank:010d}"
        facts = {"end_to_end_id": draft.end_to_end_id, "account": account.number}
        before = store.last_bank_ref(tx, account.number)
        shown = before if before and self._ctx.faults.take(_RAIL, "reference_shared", **facts) else bank_ref
        entry = replace(draft, entry_ref=store.entry_ref(in_account), bank_ref=shown)
        store.add_entry(tx, account.number, in_account, bank_ref, entry, now)
        ordered = not entry.is_credit and entry.message_id is not None  # its pain.002 tells of it
        if account.kind == "pool" and not ordered:
            self._announce(tx, account, entry, now)
        return entry

    def _announce(self, tx: Tx, account: Account, entry: Entry, now: datetime) -> None:
        """Tell of a booking, in the way that ordered faults want it told."""
        facts = {"end_to_end_id": entry.end_to_end_id, "account": account.number}
        ordered = {name for name in _NOTICE_FAULTS if self._ctx.faults.take(_RAIL, name, **facts)}
        if "notice_numbered_from_one" in ordered:
            entry = replace(entry, entry_ref=store.entry_ref(1))
        message_id, raw = "", b""
        for again in ("", "notice_repeated", "notice_told_anew"):
            if again and again not in ordered:
                continue
            if again != "notice_repeated":
                message_id = f"C054-{store.next_file_seq(tx):010d}"
                raw = reports.credit_notification(IDENTITY, message_id, now, account, entry)
            if "notice_cut" in ordered:
                raw = raw[: len(raw) // 2]
            self._file_out(tx, account.customer_id, "camt.054", message_id, raw, entry.booking_date, now)

    def _file_out(
        self,
        tx: Tx,
        customer_id: str,
        kind: str,
        message_id: str,
        raw: bytes,
        business_date: date,
        now: datetime,
        answers: Upload | None = None,
    ) -> None:
        file = OutFile(
            cursor=store.next_file_seq(tx),
            file_id=_file_id(),
            type=kind,
            name=f"{kind}_{business_date:%Y%m%d}_{message_id}.xml",
            business_date=business_date.isoformat(),
            created_at=_instant(now),
            sha256=_sha256(raw),
            original_message_id=answers.message_id if answers else None,
            original_file_id=answers.file_id if answers else None,
        )
        store.add_file(tx, customer_id, file, raw)


def account_number(seq: int) -> str:
    """Return the account number of the bank's `seq`-th account: 19 digits, the last one by Luhn's rule."""
    body = f"{_ACCOUNT_PREFIX}{seq:014d}"
    total = 0
    for position, digit in enumerate(reversed(body)):
        value = int(digit) * (2 if position % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return body + str(-total % 10)


def _known_account(tx: Tx, number: str) -> Account:
    account = store.find_account(tx, number)
    if account is None:
        raise Refused(404, "account_not_found", f"there is no account {number} at this bank")
    return account


def _deposit_facts(deposit: Deposit) -> dict[str, object]:
    facts: dict[str, object] = {"account": deposit.account}
    if deposit.mchid is not None:
        facts["mchid"] = deposit.mchid
    if deposit.settled_date is not None:
        facts["date"] = deposit.settled_date.isoformat()
    return facts


def _minor_of(fault: Fault, name: str) -> int:
    """Return a fault's amount. One that is no whole number counts as zero: a slip in a play must not stop the bank."""
    value = fault.params[name]
    return value if type(value) is int else 0


def _file_id() -> str:
    return f"file_{secrets.token_hex(10)}"


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _instant(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
