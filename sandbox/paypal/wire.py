"""What PayPal adds to the shared core: its numbers, credentials, payer and notices."""

import base64
import hashlib
import json
import secrets
import uuid
import zlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from aiohttp import web

from sandbox.acquirer import (
    Acquirer,
    CoreError,
    Event,
    Merchant,
    NoticeJob,
    NumberKind,
    Refund,
    Sending,
    Signed,
    Trade,
    Webhook,
    Wire,
)
from sandbox.context import SandboxContext
from sandbox.paypal.certificates import Certificates
from sandbox.paypal.money import minor_of, shown
from sandbox.paypal.views import HOLD_MS, Views, utc
from sandbox.store import Tx

LAPSES_MS = (
    3 * 3_600_000
)  # how long an order waits for the payer, and then for us; never shortened: it is people's time
CLEAR = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
PAYER = "payer@sandbox.example"
# An event of the core's → PayPal's name of it, and of what the notice shows.
EVENTS = {
    "approved": ("CHECKOUT.ORDER.APPROVED", "checkout-order"),
    "held": ("PAYMENT.AUTHORIZATION.CREATED", "authorization"),
    "voided": ("PAYMENT.AUTHORIZATION.VOIDED", "authorization"),
    "paid": ("PAYMENT.CAPTURE.COMPLETED", "capture"),
    "refunded": ("PAYMENT.CAPTURE.REFUNDED", "refund"),
}


class PayPalWire(Wire):
    """See the module."""

    rail = "paypal"
    mark = "PP"
    payer_name = "PAYPAL PTE LTD"
    # 25 retries within three days.
    schedule_s = (15, 30, 60, 300, 900, 1800, 3600, *(7200,) * 8, *(14_400,) * 10)
    refund_takes_s = 0
    fee_bp = 440
    refund_fee = "kept"
    has_webhooks = True

    def __init__(self, ctx: SandboxContext, certificates: Certificates) -> None:
        self._base_url, self._certificates = ctx.base_url, certificates
        self.views = Views(ctx.base_url)

    # ---- merchants ---------------------------------------------------------------------------------------------------

    def merchant_id(self, seq: int) -> str:
        """Return 13 letters and digits, as PayPal's account numbers are: none that could be taken for another."""
        digits = ""
        for _ in range(9):
            seq, place = divmod(seq, len(CLEAR))
            digits = CLEAR[place] + digits
        return f"SHUB{digits}"

    async def sign_up(self, merchant: str, wishes: Mapping[str, Any]) -> dict[str, Any]:
        """Return the credentials of an application of the merchant's."""
        return {"client_id": f"A{secrets.token_urlsafe(45)}", "client_secret": f"E{secrets.token_urlsafe(45)}"}

    def described(self, merchant: Merchant) -> dict[str, Any]:
        """Return what the adapter needs."""
        return {
            "client_id": merchant.extra["client_id"],
            "client_secret": merchant.extra["client_secret"],
            "merchant_id": merchant.merchant,
            "webhook_root_cert": self._certificates.root_pem,
        }

    async def rotate_keys(self, merchant: Merchant | None) -> dict[str, Any]:
        """Sign notices with a new certificate from now on; the old ones can still be fetched."""
        return {"cert_url": await self._certificates.rotate()}

    # ---- numbers -----------------------------------------------------------------------------------------------------

    def number(self, kind: NumberKind, merchant: str, seq: int, now_ms: int) -> str:
        """Return 17 capital letters and digits that look like any other of PayPal's numbers."""
        if kind == "notice":
            return f"WH-{_scrambled(f'notice {seq}')}-{_scrambled(f'event {seq}')}"
        return _scrambled(f"{kind} {seq}")

    # ---- notices -----------------------------------------------------------------------------------------------------

    def content(
        self, event: Event, merchant: Merchant, trade: Trade, refund: Refund | None, now_ms: int
    ) -> dict[str, Any] | None:
        """Return the notice but for its number; it shows the thing as it is now."""
        if event not in EVENTS:
            return None
        name, kind = EVENTS[event]
        match kind:
            case "refund":
                assert refund is not None
                resource = self.views.refund(trade, refund)
            case "capture":
                resource = self.views.capture(merchant, trade)
            case "authorization":
                resource = self.views.authorization(merchant, trade)
            case _:
                resource = self.views.order(merchant, trade, (), "")
        return {
            "create_time": utc(now_ms).replace("Z", f".{now_ms % 1000:03d}Z"),
            "resource_type": kind,
            "event_version": "1.0",
            "resource_version": "2.0",
            "event_type": name,
            "summary": f"{name.lower().replace('.', ' ')} of {trade.order}",
            "resource": resource,
        }

    def wrong_amount(self, content: Mapping[str, Any]) -> dict[str, Any]:
        """Return the same, saying one minor unit more."""
        wrong: dict[str, Any] = json.loads(json.dumps(content))
        of = wrong["resource"]["purchase_units"][0] if "purchase_units" in wrong["resource"] else wrong["resource"]
        said = of["amount"]
        currency = said["currency_code"]
        of["amount"] = shown(minor_of(said["value"], currency) + 1, currency)
        return wrong

    async def sending(self, merchant: Merchant, notice: NoticeJob, signed: Signed) -> Sending:
        """Return the message with PayPal's five signature headers, or without any."""
        assert notice.webhook is not None
        url = f"{self._base_url}/v1/notifications/webhooks-events/{notice.notice_id}"
        body = json.dumps(
            {"id": notice.notice_id, **notice.content, "links": [{"href": url, "rel": "self", "method": "GET"}]},
            ensure_ascii=False,
        ).encode()
        headers = {"Content-Type": "application/json", "User-Agent": "PayPal/AUHR-214.0-58840205"}
        if signed == "none":
            return Sending(headers, body)
        number, sent_at = str(uuid.uuid4()), utc(notice.created_ms)
        text = f"{number}|{sent_at}|{notice.webhook.webhook_id}|{zlib.crc32(body)}"
        cert_url, signature = await self._certificates.sign(text.encode(), wrong=signed == "wrong")
        return Sending(
            headers
            | {
                "PAYPAL-TRANSMISSION-ID": number,
                "PAYPAL-TRANSMISSION-TIME": sent_at,
                "PAYPAL-TRANSMISSION-SIG": base64.b64encode(signature).decode(),
                "PAYPAL-CERT-URL": cert_url,
                "PAYPAL-AUTH-ALGO": "SHA256withRSA",
                "PAYPAL-AUTH-VERSION": "v2",
            },
            body,
        )

    def acknowledged(self, status: int, body: bytes) -> bool:
        """Tell whether the merchant has the notice."""
        return 200 <= status < 300

    def webhook_extra(self, merchant: Merchant, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return which events the merchant wants to hear of; it hears of all."""
        return {"event_types": list(values.get("event_types", ["*"]))}

    def webhook_settings(self, webhook: Webhook) -> dict[str, Any]:
        """Return what the adapter must be given."""
        return {"webhook_id": webhook.webhook_id}

    # ---- the payer ---------------------------------------------------------------------------------------------------

    def payer_pays(self, tx: Tx, acquirer: Acquirer, trade: Trade, payer: str | None) -> Trade:
        """Let the payer approve. No money moves: the merchant's own capture does that."""
        if trade.state != "open":
            raise CoreError(f"order_{trade.state}", f"order {trade.order} is {trade.state}, not open", trade=trade)
        if trade.extra.get("approved"):
            return trade
        now_ms = acquirer.ctx.clock.now_ms()
        return acquirer.trades.approve(tx, trade, payer or PAYER, expires_ms=now_ms + LAPSES_MS)

    def payer_declines(self, tx: Tx, acquirer: Acquirer, trade: Trade) -> Trade:
        """Let the payer leave PayPal's page; what has been approved stays so."""
        if trade.extra.get("approved"):
            raise CoreError("order_approved", f"order {trade.order} has been approved already", trade=trade)
        return super().payer_declines(tx, acquirer, trade)

    def after_payer(self, trade: Trade) -> web.StreamResponse | None:
        """Send the payer's browser back to the merchant's page, with the order's number."""
        name = "return_url" if trade.extra.get("approved") else "cancel_url"
        url = trade.extra.get(name)
        if not url:
            return None
        parts = urlsplit(url)
        asked = [*parse_qsl(parts.query, keep_blank_values=True), ("token", trade.trade_ref)]
        if name == "return_url":
            asked.append(("PayerID", "QYR5Z8XDVJNXQ"))
        return web.HTTPSeeOther(urlunsplit(parts._replace(query=urlencode(asked))))

    def held_until_ms(self, now_ms: int) -> int:
        """Return when reserved money is released by itself."""
        return now_ms + HOLD_MS


def _scrambled(text: str) -> str:
    """Return 17 capital letters and digits made of a text."""
    digest = int.from_bytes(hashlib.sha256(f"sandbox {text}".encode()).digest(), "big")
    alphabet, found = "0123456789ABCDEFGHJKLMNPRSTUVWXY", ""
    for _ in range(17):
        digest, place = divmod(digest, len(alphabet))
        found += alphabet[place]
    return found
