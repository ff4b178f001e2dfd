"""How the collection service signs, numbers and notifies, and that the payer's money goes straight to the pool."""

import asyncio
import base64
import hashlib
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

from sandbox import keys
from sandbox.acquirer import Acquirer
from sandbox.acquirer.models import Event, Merchant, Refund, Trade
from sandbox.acquirer.wire import NoticeJob, NumberKind, Sending, Signed, Wire
from sandbox.bank import Bank, reports, signing
from sandbox.bank.bookings import IDENTITY
from sandbox.bank.reports import Entry
from sandbox.bank.rules import Account
from sandbox.bank.service import account_number
from sandbox.clock import date_of
from sandbox.context import SandboxContext
from sandbox.store import Tx

PAYER_NAME, PAYER_ACCOUNT = "张三", "6222020200112233445"
_LETTER: Mapping[NumberKind, str] = {"charge": "C", "refund": "R", "hold": "H", "notice": "N", "webhook": "W"}


class CollectionWire(Wire):
    """See the module."""

    rail = "bank_transfer"
    mark = "VA"
    payer_name = IDENTITY.name
    schedule_s: Sequence[float] = (15, 30, 60, 300, 600, 1800, 3600, 3600, 7200, 14400)
    refund_takes_s = 0
    fee_bp = 0
    settles_in = ""  # nothing is paid out at the end of a day: the money is in the pool account already

    def __init__(self, ctx: SandboxContext, bank: Bank, pool: keys.Pool) -> None:
        self._ctx, self._bank, self._pool = ctx, bank, pool
        self._folder = ctx.home / self.rail
        self.keys = [signing.load_signing_key("COLL", path) for path in sorted(self._folder.glob("service-*.pem"))] or [
            self._new_key()
        ]

    def _new_key(self) -> signing.SigningKey:
        number = len(list(self._folder.glob("service-*.pem"))) + 1
        return signing.new_signing_key("COLL", self._folder / f"service-{number:03}.pem")

    # ---- merchants ---------------------------------------------------------------------------------------------------

    def merchant_id(self, seq: int) -> str:
        return f"VA{seq:08}"

    async def sign_up(self, merchant: str, wishes: Mapping[str, Any]) -> dict[str, Any]:
        folder = self._folder / merchant
        token = f"va_{secrets.token_urlsafe(32)}"
        key = await asyncio.to_thread(signing.new_signing_key, "CUST", folder / "private_key.pem")
        keys.write_file(folder / "token", token.encode(), secret=True)
        return {
            "token_sha256": hashlib.sha256(token.encode()).hexdigest(),
            "key_id": key.key_id,
            "public_key": key.public_pem.decode(),
        }

    def described(self, merchant: Merchant) -> dict[str, Any]:
        folder, key = self._folder / merchant.merchant, self.keys[-1]
        return {
            "base_url": f"{self._ctx.base_url}/collect",
            "pool": merchant.settle_to or "",
            "currency": self.pool_account(merchant.settle_to or "", "CNY").currency,
            "token_file": str((folder / "token").absolute()),
            "key_id": merchant.extra["key_id"],
            "private_key_file": str((folder / "private_key.pem").absolute()),
            "bank_key_id": key.key_id,
            "bank_public_key": key.public_pem.decode(),
            "bic": IDENTITY.bic,
            "bank_name": IDENTITY.name,
        }

    async def rotate_keys(self, merchant: Merchant | None) -> dict[str, Any]:
        """Sign with a new key from now on; the old ones stay on the list."""
        key = await asyncio.to_thread(self._new_key)
        self.keys.append(key)
        return {"bank_key_id": key.key_id, "bank_public_key": key.public_pem.decode()}

    def listed_keys(self) -> list[dict[str, str]]:
        """Return every key, oldest first, each endorsed by the one before it."""
        listed = []
        for before, key in zip([None, *self.keys], self.keys, strict=False):
            pem = key.public_pem.decode()
            one = {"key_id": key.key_id, "public_key": pem}
            if before is not None:
                signed = before.key.sign(f"{key.key_id}\n{pem}".encode(), keys.PADDING, keys.SHA256)
                one |= {"endorsed_by": before.key_id, "endorsement": base64.b64encode(signed).decode()}
            listed.append(one)
        return listed

    # ---- numbers -----------------------------------------------------------------------------------------------------

    def number(self, kind: NumberKind, merchant: str, seq: int, now_ms: int) -> str:
        """Return a virtual account number for an order, else a reference such as SBC202611240000000042."""
        if kind == "trade":
            return account_number(9_900_000_000 + seq)
        return f"SB{_LETTER[kind]}{date_of(now_ms):%Y%m%d}{seq:010d}"

    # ---- the payer ---------------------------------------------------------------------------------------------------

    def payer_pays(self, tx: Tx, acquirer: Acquirer, trade: Trade, payer: str | None) -> Trade:
        """Credit the pool account with what the payer transferred, in the same transaction."""
        paid = acquirer.trades.charge(tx, trade, payer)
        assert paid.charge_ref is not None
        self._bank.deposits.collect(
            tx,
            pool=str(paid.extra["pool"]),
            bank_ref=paid.charge_ref,
            amount_minor=paid.paid,
            reference=paid.order,
            virtual_account=paid.trade_ref,
            end_to_end_id="NOTPROVIDED",
            payer_name=payer or PAYER_NAME,
            payer_account=PAYER_ACCOUNT,
        )
        return paid

    # ---- notices -----------------------------------------------------------------------------------------------------

    def content(
        self, event: Event, merchant: Merchant, trade: Trade, refund: Refund | None, now_ms: int
    ) -> dict[str, Any] | None:
        if event == "paid":
            assert trade.paid_ms is not None
            return booked(trade, ref=str(trade.charge_ref), amount=trade.paid, at_ms=trade.paid_ms)
        if event == "refunded" and refund is not None:
            return booked(trade, ref=refund.refund_ref, amount=-refund.amount, at_ms=now_ms, returned=refund.order)
        return None

    def wrong_amount(self, content: Mapping[str, Any]) -> dict[str, Any]:
        amount = content["amount"]
        return {**content, "amount": amount + (1 if amount > 0 else -1), "ref": f"{content['ref']}X"}

    async def sending(self, merchant: Merchant, notice: NoticeJob, signed: Signed) -> Sending:
        now = self._ctx.clock.now_utc()
        message_id = f"CN-{hashlib.sha256(notice.notice_id.encode()).hexdigest()[:24]}"
        account = self.pool_account(str(notice.content["pool"]), str(notice.content["currency"]))
        body = reports.credit_notification(IDENTITY, message_id, now, account, entry_of(notice.content))
        return Sending(await self.headers(body, "application/xml", signed), body)

    def acknowledged(self, status: int, body: bytes) -> bool:
        return status in (200, 204)

    # ---- shared ------------------------------------------------------------------------------------------------------

    async def headers(self, body: bytes, content_type: str, signed: Signed) -> dict[str, str]:
        """Return the headers of a message of ours, with its signature made now."""
        made = {"Content-Type": content_type}
        if signed != "none":
            key = self.keys[-1]
            if signed != "right":
                key = signing.SigningKey(key.key_id, await self._pool.strangers_key())
            made[signing.HEADER] = await asyncio.to_thread(key.sign, body, self._ctx.clock.now_utc())
        return made

    def pool_account(self, number: str, currency: str) -> Account:
        """Return the pool account as messages name it."""
        account = self._bank.find_account(number)
        return account or Account(number, "", "unknown", currency, "pool", "closed", 0)


def booked(
    trade: Trade, *, ref: str, amount: int, at_ms: int, returned: str | None = None, is_reversed: bool = False
) -> dict[str, Any]:
    """Return what is told of a booking, as JSON. amount: negative for money sent back, under the number `returned`."""
    return {
        "pool": trade.extra["pool"],
        "virtual_account": trade.trade_ref,
        "order": trade.order,
        "returned": returned,
        "ref": ref,
        "amount": amount,
        "currency": trade.currency,
        "at_ms": at_ms,
        "payer": trade.payer or PAYER_NAME,
        "reversed": is_reversed,
    }


def entry_of(content: Mapping[str, Any]) -> Entry:
    """Return a booking as ISO 20022 messages show it."""
    is_credit = content["amount"] > 0
    at = datetime.fromtimestamp(content["at_ms"] / 1000, UTC)
    booking_date: date = date_of(content["at_ms"])
    return Entry(
        entry_ref=content["ref"],
        bank_ref=content["ref"],
        amount_minor=abs(content["amount"]),
        is_credit=is_credit,
        booking_date=booking_date,
        family="RCDT" if is_credit else "ICDT",
        sub_family="VCOM" if is_credit else "RRTN",
        end_to_end_id="NOTPROVIDED" if is_credit else content["returned"],
        instruction_id=None,
        message_id=None,
        payment_id=None,
        remittance="" if is_credit else f"RETURN {content['returned']}",
        other_name=content["payer"],
        other_account=PAYER_ACCOUNT,
        creditor_ref=content["order"],
        creditor_account=content["virtual_account"] if is_credit else None,
        accepted_at=at,
        is_reversal=content["reversed"],
    )
