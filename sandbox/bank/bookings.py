"""The bank's books: every entry is booked here, and every file for a customer is written here."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import replace
from datetime import date, datetime

from sandbox.bank import reports, spoiling, store
from sandbox.bank.errors import Refused
from sandbox.bank.reports import BankIdentity, Entry
from sandbox.bank.rules import Account
from sandbox.bank.store import OutFile, Upload
from sandbox.context import SandboxContext
from sandbox.faults import Fault
from sandbox.store import Tx

IDENTITY = BankIdentity(bic="SBXBCNBJXXX", name="Sandbox Bank")
RAIL = "bank"
_NOTICE_FAULTS = ("notice_numbered_from_one", "notice_repeated", "notice_told_anew", "notice_cut")


class Bookings:
    """See the module. Every method runs inside the caller's transaction."""

    def __init__(self, ctx: SandboxContext) -> None:
        self._ctx = ctx
        ctx.faults.declare(RAIL, ("reference_shared", *_NOTICE_FAULTS), ("end_to_end_id", "account"))
        ctx.faults.declare(RAIL, spoiling.SPOILS, ("customer_id", "type", "date"))

    def book(self, tx: Tx, account: Account, draft: Entry, now: datetime) -> Entry:
        """Book an entry, which gets its references here, and announce it where its customer did not order it.

        That is: if it moves a pool account unasked, or comes back to a sub-account.
        """
        in_bank, in_account = store.next_entry(tx, account.number)
        bank_ref = draft.bank_ref or f"SBX{draft.booking_date:%Y%m%d}{in_bank:010d}"
        facts = {"end_to_end_id": draft.end_to_end_id, "account": account.number}
        before = store.last_bank_ref(tx, account.number)
        shown = before if before and self._ctx.faults.take(RAIL, "reference_shared", **facts) else bank_ref
        entry = replace(draft, entry_ref=store.entry_ref(in_account), bank_ref=shown)
        store.add_entry(tx, account.number, in_account, bank_ref, entry, now)
        ordered = not entry.is_credit and entry.message_id is not None  # its pain.002 tells of it
        came_back = account.kind == "sub" and entry.is_credit and entry.return_reason is not None
        if (account.kind == "pool" and not ordered) or came_back:
            self._announce(tx, account, entry, now)
        return entry

    def _announce(self, tx: Tx, account: Account, entry: Entry, now: datetime) -> None:
        """Tell of a booking, in the way that ordered faults want it told."""
        facts = {"end_to_end_id": entry.end_to_end_id, "account": account.number}
        ordered = {name for name in _NOTICE_FAULTS if self._ctx.faults.take(RAIL, name, **facts)}
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
            self.file_out(tx, account.customer_id, "camt.054", message_id, raw, entry.booking_date, now)

    def file_out(
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
        """Put a file into a customer's listing, in the way that an ordered fault wants it written."""
        facts = {"customer_id": customer_id, "type": kind, "date": business_date.isoformat()}
        able = [name for name, kinds in spoiling.SPOILS.items() if kind in kinds]
        fault = self._ctx.faults.take(RAIL, able, **facts)
        if fault is None:
            self._file_out(tx, customer_id, kind, message_id, raw, business_date, now, answers)
            return
        wrong = spoiling.spoiled(fault.name, raw, store.last_file_raw(tx, customer_id, kind))
        for _ in range(2 if fault.name == spoiling.DOUBLED else 1):
            ident = self._file_out(tx, customer_id, kind, message_id, wrong, business_date, now, answers)
            store.add_spoiled(tx, ident, customer_id, fault.name, raw)

    def _file_out(
        self,
        tx: Tx,
        customer_id: str,
        kind: str,
        message_id: str,
        raw: bytes,
        business_date: date,
        now: datetime,
        answers: Upload | None,
    ) -> str:
        file = OutFile(
            cursor=store.next_file_seq(tx),
            file_id=file_id(),
            type=kind,
            name=f"{kind}_{business_date:%Y%m%d}_{message_id}.xml",
            business_date=business_date.isoformat(),
            created_at=instant(now),
            sha256=sha256(raw),
            original_message_id=answers.message_id if answers else None,
            original_file_id=answers.file_id if answers else None,
        )
        store.add_file(tx, customer_id, file, raw)
        return file.file_id


def known_account(tx: Tx, number: str) -> Account:
    """Return an account. Raises Refused (404)."""
    account = store.find_account(tx, number)
    if account is None:
        raise Refused(404, "account_not_found", f"there is no account {number} at this bank")
    return account


def minor_of(fault: Fault, name: str) -> int:
    """Return a fault's amount. One that is no whole number counts as zero: a slip in a play must not stop the bank."""
    value = fault.params[name]
    return value if type(value) is int else 0


def file_id() -> str:
    """Return a new file's id."""
    return f"file_{secrets.token_hex(10)}"


def sha256(content: bytes) -> str:
    """Return a content's hash in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def instant(at: datetime) -> str:
    """Return a moment as it is kept and shown."""
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
