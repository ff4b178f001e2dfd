"""The end of a day 日切: its bill becomes available and its net is paid out to the merchant's bank account."""

import asyncio
from datetime import date, timedelta
from typing import Any, Protocol

from sandbox.context import SandboxContext, log
from sandbox.store import Row, Tx
from sandbox.wechat import books
from sandbox.wechat.bills import freeze_refunds
from sandbox.wechat.merchants import Merchant, Merchants

LOOK_EVERY_S = 20


class PayingBank(Protocol):
    """The bank, as far as WeChat Pay uses it."""

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

    def __init__(self, ctx: SandboxContext, merchants: Merchants, bank: PayingBank) -> None:
        self._ctx, self._merchants, self._bank = ctx, merchants, bank

    def bank_has(self, account: str) -> bool:
        """Tell whether the bank keeps this account."""
        return self._bank.find_account(account) is not None

    def close(self, merchant: Merchant, day: date) -> dict[str, Any]:
        """Close a day, and every earlier one still open; return what was paid out. Again: the same, nothing done.

        Today may be closed, and after it one day after another: what happens later on a closed date belongs to the
        next open day's bill. Raises NotClosable.
        """
        with self._ctx.store.transaction() as tx:
            row = tx.one("SELECT closed_through FROM wechat_merchant WHERE mchid = ?", merchant.mchid)
            assert row is not None
            next_day = date.fromisoformat(row["closed_through"]) + timedelta(days=1)
            latest = max(self._ctx.clock.beijing_date(), next_day)
            if day > latest:
                raise NotClosable(f"{day} has not begun; the latest day that can be closed now is {latest}")
            while next_day <= day:
                self._close_one(tx, merchant, next_day)
                next_day += timedelta(days=1)
            closed = tx.one("SELECT * FROM wechat_day WHERE mchid = ? AND date = ?", merchant.mchid, day.isoformat())
        if closed is None:
            raise NotClosable(f"{day} was over before merchant {merchant.mchid} existed")
        return _shown(closed)

    def _close_one(self, tx: Tx, merchant: Merchant, day: date) -> None:
        sums = tx.one(
            "SELECT coalesce(sum(amount), 0) AS net FROM wechat_flow WHERE mchid = ? AND bill_date = ? AND kind != ?",
            *(merchant.mchid, day.isoformat(), books.SETTLEMENT),
        )
        net: int = sums["net"] if sums else 0
        now_ms = self._ctx.clock.now_ms()
        freeze_refunds(tx, merchant.mchid, day)
        tx.execute("UPDATE wechat_merchant SET closed_through = ? WHERE mchid = ?", *(day.isoformat(), merchant.mchid))
        book_on: date | None = None
        if merchant.settle_to is not None and net != 0:
            book_on = max(self._bank.business_date, day + timedelta(days=1))
            self._pay_out(tx, merchant, day, net, book_on, now_ms)
        tx.execute(
            "INSERT INTO wechat_day (mchid, date, net, settle_to, booking_date, closed_ms) VALUES (?, ?, ?, ?, ?, ?)",
            *(merchant.mchid, day.isoformat(), net, merchant.settle_to, book_on and book_on.isoformat(), now_ms),
        )

    def _pay_out(self, tx: Tx, merchant: Merchant, day: date, net: int, book_on: date, now_ms: int) -> None:
        assert merchant.settle_to is not None
        end_to_end_id = _end_to_end_id(merchant.mchid, day.isoformat())
        self._bank.credit(
            tx,
            account=merchant.settle_to,
            amount_minor=net,
            end_to_end_id=end_to_end_id,
            remittance=f"WXPAY {merchant.mchid} {day}",
            payer_name="财付通支付科技有限公司",
            book_on=book_on,
            mchid=merchant.mchid,
            settled_date=day,
        )
        books.post(
            tx,
            mchid=merchant.mchid,
            at_ms=now_ms,
            day=day + timedelta(days=1),
            kind=books.SETTLEMENT,
            amount=-net,
            business_no=end_to_end_id,
            voucher_no=end_to_end_id,
        )

    async def run(self) -> None:
        """Close yesterday for everyone once it is over, for as long as the sandbox lives."""
        while True:
            yesterday = self._ctx.clock.beijing_date() - timedelta(days=1)
            for merchant in self._merchants.all():
                row = self._ctx.store.one("SELECT closed_through FROM wechat_merchant WHERE mchid = ?", merchant.mchid)
                if row is not None and row["closed_through"] < yesterday.isoformat():
                    self._close_by_itself(merchant, yesterday)
            await asyncio.sleep(LOOK_EVERY_S)

    def _close_by_itself(self, merchant: Merchant, day: date) -> None:
        try:
            self.close(merchant, day)
        except Exception:  # an unknown bank account, most likely: mend it by control, and the next look closes the day
            log.exception("could not close %s of merchant %s; trying again", day, merchant.mchid)


def _end_to_end_id(mchid: str, day: str) -> str:
    return f"WX{mchid}{day.replace('-', '')}"


def _shown(row: Row) -> dict[str, Any]:
    return {
        "mchid": row["mchid"],
        "date": row["date"],
        "net": row["net"],
        "settle_to": row["settle_to"],
        "booking_date": row["booking_date"],
        "end_to_end_id": _end_to_end_id(row["mchid"], row["date"]) if row["booking_date"] else None,
    }
