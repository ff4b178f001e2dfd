"""Recalls 追回: what customers want back, decided once by the bank's rules, and told of by a camt.029."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from sandbox.bank import recall_store, reports, store
from sandbox.bank.bookings import IDENTITY, RAIL, Bookings
from sandbox.bank.cancellations import Cancellation, Decision, Standing, judge_recall, read_upload
from sandbox.bank.errors import Refused
from sandbox.bank.instructions import Order
from sandbox.bank.rules import Refusal
from sandbox.bank.store import Upload
from sandbox.context import SandboxContext
from sandbox.store import Tx

FOLLOWS_RECALL = "FOCR"  # ExternalReturnReason1Code: returned as a cancellation was asked for
_STATUS = {Decision.ACCEPTED: "accepted", Decision.REFUSED: "refused", Decision.PENDING: "open"}
_ANSWER_FAULTS = ("recall_answer_other_amount", "recall_answer_of_another", "recall_unanswered")

Return = Callable[[Tx, str, str, str, datetime], str]  # of an executed line: account, end-to-end id, code, when


class Recalls:
    """See the module. give_back: sends an executed line's money back, within a transaction."""

    def __init__(self, ctx: SandboxContext, bookings: Bookings, give_back: Return) -> None:
        self._ctx, self._store, self._bookings, self._give_back = ctx, ctx.store, bookings, give_back
        keys = ("customer_id", "end_to_end_id")
        ctx.faults.declare(RAIL, ("recall_agreed", "recall_undecided", *_ANSWER_FAULTS), keys)
        ctx.faults.declare(RAIL, ("recall_refused",), keys, code="NOAS")

    def look_into(self, tx: Tx, upload: Upload, wanted: Cancellation, now: datetime) -> None:
        """Decide a recall that has come in, or leave it open, and answer it."""
        if upload.original_file_id is not None:
            told = f"Id {upload.message_id} was used before for other bytes; file {upload.original_file_id} counts"
            self._answer(tx, upload, wanted, Decision.REFUSED, Refusal("NARR", told), now)
            return
        facts = {"customer_id": upload.customer_id, "end_to_end_id": wanted.end_to_end_id}
        agrees = self._ctx.faults.take(RAIL, "recall_agreed", **facts) is not None
        decision, why = judge_recall(wanted, self._standing(tx, upload, wanted), agrees=agrees)
        if (fault := self._ctx.faults.take(RAIL, "recall_refused", **facts)) is not None:
            decision, why = Decision.REFUSED, Refusal(str(fault.params["code"])[:4], "refused by the bank")
        if self._ctx.faults.take(RAIL, "recall_undecided", **facts) is not None:
            decision, why = Decision.PENDING, Refusal("PTNA", "the payee has been asked")
        recall_store.add_recall(
            tx, upload.customer_id, wanted.recall_id, upload.file_id, wanted.end_to_end_id, _STATUS[decision]
        )
        self._carry_out(tx, upload, wanted, decision, now)
        self._answer(tx, upload, wanted, decision, why, now)

    async def decide(self, recall_id: str, *, agrees: bool, code: str) -> str:
        """Decide a recall that was left open, as the payee says, and answer it; return how it stands."""
        now = self._ctx.clock.now_utc()

        def command(tx: Tx) -> str:
            upload = recall_store.find_open_recall(tx, recall_id)
            if upload is None:
                raise Refused(404, "recall_not_found", f"there is no recall {recall_id} that is not decided")
            wanted = read_upload(upload.raw)
            if not isinstance(wanted, Cancellation):
                raise RuntimeError("an order is no recall")
            decision, why = judge_recall(wanted, self._standing(tx, upload, wanted), agrees=agrees)
            if why is not None and why.code == "CUST":
                why = replace(why, code=code)
            recall_store.end_recall(tx, upload.customer_id, recall_id, _STATUS[decision])
            self._carry_out(tx, upload, wanted, decision, now)
            self._answer(tx, upload, wanted, decision, why, now)
            return _STATUS[decision]

        return await self._store.write(command)

    def _standing(self, tx: Tx, upload: Upload, wanted: Cancellation) -> Standing:
        """Return how the line stands that a recall names, of the sender's own order."""
        order = store.find_first_upload(tx, upload.customer_id, wanted.order_id)
        read = None if order is None else read_upload(order.raw)
        lines = read.lines if isinstance(read, Order) else ()
        line = next((one for one in lines if one.end_to_end_id == wanted.end_to_end_id), None)
        if line is None:
            return Standing(None, None)
        waits = recall_store.waiting_status(tx, upload.customer_id, wanted.end_to_end_id)
        paid = recall_store.find_own_paid_line(tx, upload.customer_id, wanted.end_to_end_id)
        payee = None if paid is None or paid.paid_out else store.find_account(tx, paid.creditor_account)
        return Standing(
            line.amount_minor,
            line.currency,
            waits == "waiting",
            waits == "recalled",
            paid is not None,
            paid is not None and paid.returned,
            payee is None or payee.balance_minor >= line.amount_minor,
        )

    def _carry_out(self, tx: Tx, upload: Upload, wanted: Cancellation, decision: Decision, now: datetime) -> None:
        """Do what an accepted recall asks for: a line that waits never is carried out, one that was paid comes back."""
        if decision is not Decision.ACCEPTED:
            return
        paid = recall_store.find_own_paid_line(tx, upload.customer_id, wanted.end_to_end_id)
        if paid is None:
            recall_store.end_waiting_line(tx, upload.customer_id, wanted.end_to_end_id, "recalled")
        else:
            self._give_back(tx, paid.creditor_account, wanted.end_to_end_id, FOLLOWS_RECALL, now)

    def _answer(
        self, tx: Tx, upload: Upload, wanted: Cancellation, decision: Decision, why: Refusal | None, now: datetime
    ) -> None:
        """Write the camt.029, in the way that ordered faults want it written."""
        facts = {"customer_id": upload.customer_id, "end_to_end_id": wanted.end_to_end_id}
        ordered = {name for name in _ANSWER_FAULTS if self._ctx.faults.take(RAIL, name, **facts)}
        if "recall_unanswered" in ordered:
            return
        if "recall_answer_other_amount" in ordered:
            wanted = replace(wanted, amount_minor=wanted.amount_minor + 1)
        if "recall_answer_of_another" in ordered:
            wanted = replace(wanted, recall_id=f"{wanted.recall_id[:-1]}{'0' if wanted.recall_id[-1] != '0' else '1'}")
        answer_id = f"C029-{store.next_file_seq(tx):010d}"
        raw = reports.recall_answer(IDENTITY, answer_id, now, wanted, decision, why)
        self._bookings.file_out(tx, upload.customer_id, "camt.029", answer_id, raw, store.read_date(tx), now, upload)
