"""Money from outside and back: deposits that fall due, transfers collected on virtual accounts."""

from __future__ import annotations

from datetime import date

from sandbox.bank import store
from sandbox.bank.bookings import RAIL, Bookings, known_account, minor_of
from sandbox.bank.errors import Refused
from sandbox.bank.reports import Entry
from sandbox.bank.store import Deposit
from sandbox.context import SandboxContext
from sandbox.store import Tx


class Deposits:
    """See the module."""

    def __init__(self, ctx: SandboxContext, bookings: Bookings) -> None:
        self._ctx, self._store, self._bookings = ctx, ctx.store, bookings
        ctx.faults.declare(RAIL, ("deposit_missing", "deposit_doubled"), ("mchid", "date", "account"))
        ctx.faults.declare(RAIL, ("deposit_short",), ("mchid", "date", "account"), by_minor=None)

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
        known_account(tx, account)
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
        self.book_due(tx)

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
        account = known_account(tx, pool)
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
        return self._bookings.book(tx, account, draft, self._ctx.clock.now_utc())

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
        account = known_account(tx, pool)
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
        return self._bookings.book(tx, account, draft, self._ctx.clock.now_utc())

    def book_due(self, tx: Tx) -> None:
        """Book every deposit whose day has come."""
        today = store.read_date(tx)
        for deposit in store.deposits_due(tx, today):
            booked_minor = self._amount_to_book(deposit)
            store.mark_deposit(tx, deposit, "missing" if booked_minor is None else "booked", booked_minor or 0)
            if booked_minor:
                self._book_deposit(tx, deposit, booked_minor, today)
                if self._ctx.faults.take(RAIL, "deposit_doubled", **_deposit_facts(deposit)):
                    self._book_deposit(tx, deposit, booked_minor, today)

    def _amount_to_book(self, deposit: Deposit) -> int | None:
        """Return what the bank books for a deposit, or None if by an ordered fault it never does."""
        facts = _deposit_facts(deposit)
        if self._ctx.faults.take(RAIL, "deposit_missing", **facts):
            return None
        short = self._ctx.faults.take(RAIL, "deposit_short", **facts)
        return deposit.announced_minor - (minor_of(short, "by_minor") if short else 0)

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
        self._bookings.book(tx, known_account(tx, deposit.account), entry, self._ctx.clock.now_utc())


def _deposit_facts(deposit: Deposit) -> dict[str, object]:
    facts: dict[str, object] = {"account": deposit.account}
    if deposit.mchid is not None:
        facts["mchid"] = deposit.mchid
    if deposit.settled_date is not None:
        facts["date"] = deposit.settled_date.isoformat()
    return facts
