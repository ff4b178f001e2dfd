"""Payment orders by file, and what is wanted back of them: accepted, executed, and sent back.

Accepting a file and executing it are two transactions. The first makes the 202 true; the second books every line,
writes the report and marks the file as done, all or nothing. So a file is executed exactly once, whatever is killed
when.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime

from sandbox.bank import recall_store, reports, store
from sandbox.bank.bookings import IDENTITY, RAIL, Bookings, file_id, instant, known_account, sha256
from sandbox.bank.cancellations import Cancellation, read_upload
from sandbox.bank.errors import Refused
from sandbox.bank.instructions import Line, Order
from sandbox.bank.recalls import Recalls
from sandbox.bank.reports import Entry, Result
from sandbox.bank.rules import Refusal, Status, judge, leaves_the_bank
from sandbox.bank.store import Customer, Upload
from sandbox.context import SandboxContext
from sandbox.store import Tx

PROCESSING_SECONDS = 1.0
"""How long an accepted file lies before it is executed, in simulated time."""


class Orders:
    """See the module."""

    def __init__(self, ctx: SandboxContext, bookings: Bookings) -> None:
        self._ctx, self._store, self._bookings = ctx, ctx.store, bookings
        self._work = asyncio.Event()
        upload_keys = ("op", "customer_id", "message_id")
        ctx.faults.declare(RAIL, ("request_lost", "answer_lost"), upload_keys)
        ctx.faults.declare(RAIL, ("refuse_line",), ("creditor_account", "end_to_end_id"), code="AC04")
        ctx.faults.declare(RAIL, ("say_refused",), ("creditor_account", "end_to_end_id"), codes="DU04")
        ctx.faults.declare(RAIL, ("report_ends_at",), ("customer_id", "message_id"), status="ACSP")
        ctx.faults.declare(RAIL, ("line_waits",), ("creditor_account", "end_to_end_id"))
        self.recalls = Recalls(ctx, bookings, self._give_back)
        ctx.faults.declare(RAIL, ("report_by_payment", "report_in_12"), ("customer_id", "message_id"))

    async def accept(self, customer: Customer, order: Order | Cancellation, raw: bytes) -> Upload:
        """Record a file as received; durable when this returns. The same bytes again return the same upload."""
        now = self._ctx.clock.now_utc()
        digest = sha256(raw)

        def command(tx: Tx) -> Upload:
            known = store.find_upload(tx, customer.customer_id, order.message_id, digest)
            if known is not None:
                return known
            first = store.find_first_upload(tx, customer.customer_id, order.message_id)
            upload = Upload(
                file_id=file_id(),
                customer_id=customer.customer_id,
                message_id=order.message_id,
                sha256=digest,
                raw=raw,
                received_at=instant(now),
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
        order = await asyncio.to_thread(read_upload, upload.raw)
        now = self._ctx.clock.now_utc()

        def command(tx: Tx) -> None:
            if not store.finish_upload(tx, upload.file_id):
                return
            if isinstance(order, Cancellation):
                self.recalls.look_into(tx, upload, order, now)
            else:
                self._execute(tx, upload, order, now)

        await self._store.write(command)

    def _execute(self, tx: Tx, upload: Upload, order: Order, now: datetime) -> None:
        match = {"customer_id": upload.customer_id, "message_id": upload.message_id}
        newer = self._ctx.faults.take(RAIL, "report_in_12", **match) is not None
        version = reports.NEWER_STATUS_VERSION if newer else reports.STATUS_VERSION
        if upload.original_file_id is not None:
            report_id = f"P002-{store.next_file_seq(tx):010d}"
            why = f"MsgId {upload.message_id} was used before for other bytes; file {upload.original_file_id} counts"
            report = reports.rejection_report(IDENTITY, report_id, now, order, Refusal("AM05", why), version=version)
        else:
            results = [self._execute_line(tx, upload, line, now) for line in order.lines]
            if ends := self._ctx.faults.take(RAIL, "report_ends_at", **match):
                results = [replace(one, last_word=Status(str(ends.params["status"]))) for one in results]
            # Drawn only now: credit notices made on the way have taken numbers of the same row.
            report_id = f"P002-{store.next_file_seq(tx):010d}"
            by_payment = self._ctx.faults.take(RAIL, "report_by_payment", **match) is not None
            report = reports.status_report(
                IDENTITY, report_id, now, order, results, by_payment=by_payment, version=version
            )
        self._bookings.file_out(tx, upload.customer_id, "pain.002", report_id, report, store.read_date(tx), now, upload)

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
        fault = self._ctx.faults.take(RAIL, "refuse_line", **facts)
        if fault is not None:
            return Result(line, Refusal(str(fault.params["code"])[:4], "refused by the bank"), None)
        if self._ctx.faults.take(RAIL, "line_waits", **facts) is not None:
            recall_store.add_waiting_line(tx, upload.customer_id, upload.file_id, line.end_to_end_id)
            return Result(line, None, None, Status.IN_PROCESS)
        leaves = leaves_the_bank(line, IDENTITY.bic)
        if debtor is None or (creditor is None and not leaves):
            raise RuntimeError("a line without both accounts was not refused")
        store.add_paid_line(tx, upload.customer_id, upload.file_id, line, paid_out=leaves)
        draft = Entry(
            entry_ref="",
            bank_ref="",
            amount_minor=line.amount_minor,
            is_credit=False,
            booking_date=store.read_date(tx),
            family="ICDT",  # issued credit transfer, here within the bank
            sub_family="DMCT" if leaves else "BOOK",
            end_to_end_id=line.end_to_end_id,
            instruction_id=line.instruction_id,
            message_id=upload.message_id,
            payment_id=line.payment_id,
            remittance=line.remittance,
            other_name=line.creditor_name or (creditor.name if creditor else ""),
            other_account=line.creditor_account,
        )
        debit = self._bookings.book(tx, debtor, draft, now)
        if creditor is not None and not leaves:
            # The receiver does not learn the sender's own numbers, only what travels end to end.
            self._bookings.book(
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
        if said := self._ctx.faults.take(RAIL, "say_refused", **facts):
            first, *more = str(said.params["codes"]).split()
            return Result(line, Refusal(first[:4], "this was sent before", tuple(code[:4] for code in more)), None)
        return Result(line, None, debit.bank_ref)

    async def carry_out(self, end_to_end_id: str) -> None:
        """Carry out a line that waits, and report on it. Raises Refused (404)."""
        now = self._ctx.clock.now_utc()

        def command(tx: Tx) -> None:
            upload = recall_store.find_waiting_line(tx, end_to_end_id)
            order = None if upload is None else read_upload(upload.raw)
            if upload is None or not isinstance(order, Order):
                raise Refused(404, "line_not_found", f"no line {end_to_end_id} waits")
            recall_store.end_waiting_line(tx, upload.customer_id, end_to_end_id, "done")
            line = next(one for one in order.lines if one.end_to_end_id == end_to_end_id)
            results = [self._execute_line(tx, upload, line, now)]
            report_id = f"P002-{store.next_file_seq(tx):010d}"
            report = reports.status_report(IDENTITY, report_id, now, order, results)
            day = store.read_date(tx)
            self._bookings.file_out(tx, upload.customer_id, "pain.002", report_id, report, day, now, upload)

        await self._store.write(command)

    async def return_line(self, creditor_account: str, end_to_end_id: str, code: str) -> str:
        """Send an executed line's money back (退票) on the bank's date: a debit there, a credit to the payer.

        What was paid out to another bank comes from there: it has no debit here. Returns the account at this bank that
        shows it: the creditor's, or else the payer's.
        """
        now = self._ctx.clock.now_utc()

        def command(tx: Tx) -> str:
            return self._give_back(tx, creditor_account, end_to_end_id, code, now)

        return await self._store.write(command)

    def _give_back(self, tx: Tx, creditor_account: str, end_to_end_id: str, code: str, now: datetime) -> str:
        line = store.find_paid_line(tx, creditor_account, end_to_end_id)
        creditor = None if line is not None and line.paid_out else known_account(tx, creditor_account)
        if line is None:
            raise Refused(404, "line_not_found", f"no executed line {end_to_end_id} credits {creditor_account}")
        if line.returned:
            raise Refused(409, "already_returned", f"line {end_to_end_id} was returned before")
        if creditor is not None and creditor.balance_minor < line.amount_minor:
            raise Refused(409, "funds_short", f"account {creditor_account} no longer holds the amount")
        debtor = known_account(tx, line.debtor_account)
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
        if creditor is not None:
            self._bookings.book(tx, creditor, draft, now)
        other_name = debtor.name if creditor is None else creditor.name  # elsewhere the holder is the same
        incoming = replace(draft, is_credit=True, family="RCDT", other_name=other_name, other_account=creditor_account)
        self._bookings.book(tx, debtor, incoming, now)
        return debtor.number if creditor is None else creditor.number
