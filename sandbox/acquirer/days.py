"""The end of a day 日切: its bill becomes available and its net is paid out to the merchant's bank account."""

import asyncio
from datetime import date, timedelta
from typing import Any, Protocol

from sandbox.acquirer import books
from sandbox.acquirer.merchants import Merchants
from sandbox.acquirer.models import Merchant
from sandbox.acquirer.wire import Wire
from sandbox.context import SandboxContext, log
from sandbox.store import Row, Tx

LOOK_EVERY_S = 20
_NOT_IN_REFERENCES = dict.fromkeys(map(ord, "-_"))


class PayingBank(Protocol):
    """The bank, as far as an acquirer uses it."""

    @property
    def business_date(self) -> date:
        """The bank's date."""
        ...

    def find_account(self, number: str) -> object | None:
        """Return the account with this number, if any."""
        ...

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
        """Announce a deposit; idempotent by end_to_end_id."""
        ...


class NotClosable(Exception):
    """This day cannot be closed yet; the message says why."""


class Days:
    """Closes days, by hand or when Beijing's midnight has passed."""

    def __init__(self, ctx: SandboxContext, wire: Wire, merchants: Merchants, bank: PayingBank) -> None:
        self._ctx, self._wire, self._merchants, self._bank = ctx, wire, merchants, bank

    def bank_has(self, account: str) -> bool:
        """Tell whether the bank keeps this account."""
        return self._bank.find_account(account) is not None

    def closed_through(self, merchant: str) -> date:
        """Return the last date whose bill exists."""
        sql = "SELECT closed_through FROM acquirer_merchant WHERE rail = ? AND merchant = ?"
        row = self._ctx.store.one(sql, self._wire.rail, merchant)
        assert row is not None
        return date.fromisoformat(row["closed_through"])

    def close(self, merchant: Merchant, day: date) -> dict[str, Any]:
        """Close a day, and every earlier one still open; return what was paid out. Again: the same, nothing done.

        Today may be closed, and after it one day after another: what happens later on a closed date belongs to the
        next open day's bill. Raises NotClosable.
        """
        rail, number = self._wire.rail, merchant.merchant
        with self._ctx.store.transaction() as tx:
            sql = "SELECT closed_through FROM acquirer_merchant WHERE rail = ? AND merchant = ?"
            row = tx.one(sql, rail, number)
            assert row is not None
            next_day = date.fromisoformat(row["closed_through"]) + timedelta(days=1)
            latest = max(self._ctx.clock.beijing_date(), next_day)
            if day > latest:
                raise NotClosable(f"{day} has not begun; the latest day that can be closed now is {latest}")
            while next_day <= day:
                self._close_one(tx, merchant, next_day)
                next_day += timedelta(days=1)
            sql = "SELECT * FROM acquirer_day WHERE rail = ? AND merchant = ? AND date = ?"
            closed = tx.one(sql, rail, number, day.isoformat())
        if closed is None:
            raise NotClosable(f"{day} was over before merchant {number} existed")
        return self._shown(closed)

    def _close_one(self, tx: Tx, merchant: Merchant, day: date) -> None:
        rail, number, text = self._wire.rail, merchant.merchant, day.isoformat()
        sums = tx.one(
            "SELECT coalesce(sum(amount), 0) AS net FROM acquirer_flow"
            " WHERE rail = ? AND merchant = ? AND bill_date = ? AND currency = ? AND kind != ?",
            *(rail, number, text, self._wire.settles_in, books.SETTLEMENT),
        )
        assert sums is not None
        net: int = sums["net"]
        now_ms = self._ctx.clock.now_ms()
        tx.execute(
            "UPDATE acquirer_refund SET billed_status = status WHERE rail = ? AND merchant = ? AND bill_date = ?",
            *(rail, number, text),
        )
        tx.execute(
            "UPDATE acquirer_merchant SET closed_through = ? WHERE rail = ? AND merchant = ?", *(text, rail, number)
        )
        book_on: date | None = None
        if merchant.settle_to is not None and net != 0:
            book_on = max(self._bank.business_date, day + timedelta(days=1))
            self._pay_out(tx, merchant, day, net, book_on, now_ms)
        tx.execute(
            "INSERT INTO acquirer_day (rail, merchant, date, net, settle_to, booking_date, closed_ms)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            *(rail, number, text, net, merchant.settle_to, book_on and book_on.isoformat(), now_ms),
        )

    def _pay_out(self, tx: Tx, merchant: Merchant, day: date, net: int, book_on: date, now_ms: int) -> None:
        assert merchant.settle_to is not None
        end_to_end_id = self._end_to_end_id(merchant.merchant, day.isoformat())
        self._bank.credit(
            tx,
            account=merchant.settle_to,
            amount_minor=net,
            end_to_end_id=end_to_end_id,
            remittance=f"{self._wire.remitted_as or self._wire.rail.upper()} {merchant.merchant} {day}",
            payer_name=self._wire.payer_name,
            book_on=book_on,
            mchid=merchant.merchant,
            settled_date=day,
        )
        books.post(
            tx,
            self._wire.rail,
            merchant=merchant.merchant,
            currency=self._wire.settles_in,
            at_ms=now_ms,
            day=day + timedelta(days=1),
            kind=books.SETTLEMENT,
            amount=-net,
            extra={"end_to_end_id": end_to_end_id},
        )

    async def run(self) -> None:
        """Close yesterday for everyone once it is over, for as long as the sandbox lives."""
        while True:
            yesterday = self._ctx.clock.beijing_date() - timedelta(days=1)
            for merchant in self._merchants.all():
                if self.closed_through(merchant.merchant) < yesterday:
                    self._close_by_itself(merchant, yesterday)
            await asyncio.sleep(LOOK_EVERY_S)

    def _close_by_itself(self, merchant: Merchant, day: date) -> None:
        try:
            self.close(merchant, day)
        except Exception:  # an unknown bank account, most likely: mend it by control, and the next look closes the day
            log.exception("could not close %s of merchant %s; trying again", day, merchant.merchant)

    def _end_to_end_id(self, merchant: str, day: str) -> str:
        """Letters and digits alone: between banks nothing else is safe in a reference."""
        return f"{self._wire.mark}{merchant}{day}".translate(_NOT_IN_REFERENCES)

    def _shown(self, row: Row) -> dict[str, Any]:
        paid_out = row["booking_date"] is not None
        return {
            "merchant": row["merchant"],
            "date": row["date"],
            "net": row["net"],
            "settle_to": row["settle_to"],
            "booking_date": row["booking_date"],
            "end_to_end_id": self._end_to_end_id(row["merchant"], row["date"]) if paid_out else None,
        }
