"""What Stripe adds to the shared core: its ids, its keys, the events it sends, and how a payer proves who they are."""

import hmac
import secrets
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any
from urllib.parse import urlencode

import orjson
from aiohttp import web

from sandbox.acquirer import (
    Acquirer,
    CoreError,
    Dispute,
    DisputeTold,
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
from sandbox.store import Tx
from sandbox.stripe import objects, payers
from sandbox.stripe.cards import REFUND_FAILS

ROLLED_FOR_S = 86_400  # how long the old secret of an endpoint goes on signing beside the new one
PREFIXES: Mapping[NumberKind, str] = {
    "trade": "pi_3",
    "hold": "pi_3",
    "charge": "pi_3",
    "refund": "re_3",
    "dispute": "dp_1",
    "notice": "evt_1",
    "webhook": "we_1",
}
INTENT_EVENTS: Mapping[Event, str] = {
    "created": "payment_intent.created",
    "held": "payment_intent.amount_capturable_updated",
    "paid": "payment_intent.succeeded",
    "declined": "payment_intent.payment_failed",
    "closed": "payment_intent.canceled",
    "voided": "payment_intent.canceled",
}
# Of a session's order, told in place of the events above: it has no intent before its payer tries to pay.
SESSION_EVENTS: Mapping[Event, str | None] = {
    "created": None,
    "approved": "checkout.session.completed",
    "closed": "checkout.session.expired",
}
REFUND_EVENTS: Mapping[Event, str] = {"refunded": "refund.created", "refund_failed": "refund.failed"}
DISPUTE_EVENTS: Mapping[DisputeTold, Sequence[str]] = {
    "created": ("charge.dispute.created", "charge.dispute.funds_withdrawn"),
    "taken": ("charge.dispute.updated", "charge.dispute.funds_withdrawn"),
    "won": ("charge.dispute.closed", "charge.dispute.funds_reinstated"),
    "lost": ("charge.dispute.closed",),
}
EVERYTHING = "*"
# What an endpoint made by the control API hears of: all that tells of money.
USUAL_EVENTS = sorted(
    {*INTENT_EVENTS.values(), *REFUND_EVENTS.values(), *filter(None, SESSION_EVENTS.values())}.union(
        *DISPUTE_EVENTS.values()
    )
    - {"payment_intent.created"}
)
NOT_PROVEN = {
    "code": "payment_intent_authentication_failure",
    "message": "The provided PaymentMethod has failed authentication. Provide another one to try again.",
    "type": "invalid_request_error",
}


class StripeWire(Wire):
    """See the module."""

    rail = "stripe"
    mark = "ST"
    payer_name = "Stripe Payments"
    schedule_s = (60, 300, 1800, 7200, 18_000, 36_000, 43_200, 43_200, 43_200, 43_200)
    refund_takes_s = 0  # refunds of cards are done when they are accepted
    refund_returns_after_s = 60.0  # days, in earnest
    fee_bp = 290
    fixed_fee_minor = 30
    refund_fee = "kept"
    has_webhooks = True
    has_disputes = True
    dispute_reason = "fraudulent"
    dispute_fee = 1500

    acquirer: Acquirer  # set once it is built on this

    def __init__(self, ctx: SandboxContext) -> None:
        self._ctx = ctx

    # ---- merchants ---------------------------------------------------------------------------------------------------

    def merchant_id(self, seq: int) -> str:
        """Return the id of an account."""
        return f"acct_1Sandbox{seq:09d}"

    async def sign_up(self, merchant: str, wishes: Mapping[str, Any]) -> dict[str, Any]:
        """Make the account's secret key."""
        return {"secret_key": f"sk_test_{secrets.token_hex(24)}"}

    def described(self, merchant: Merchant) -> dict[str, Any]:
        """Return the settings of the account."""
        hooks = self.acquirer.merchants.webhooks(self._ctx.store, merchant.merchant)
        return {
            "account": merchant.merchant,
            "secret_key": merchant.extra["secret_key"],
            "webhook_secrets": [secret for hook in hooks for secret in self._good(hook)],
        }

    async def rotate_keys(self, merchant: Merchant | None) -> dict[str, Any]:
        """Roll the secrets of webhook endpoints; for a day the old ones go on signing beside the new."""
        merchants = self.acquirer.merchants.all() if merchant is None else [merchant]
        until_ms = self._ctx.clock.now_ms() + int(ROLLED_FOR_S * self._ctx.time_scale * 1000)

        def roll(tx: Tx) -> None:
            for one in merchants:
                for hook in self.acquirer.merchants.webhooks(tx, one.merchant):
                    old = [
                        {**entry, "until_ms": entry["until_ms"] or until_ms}
                        for entry in hook.extra["secrets"]
                        if entry["secret"] in self._good(hook)
                    ]
                    self.acquirer.merchants.note_webhook(tx, hook, secrets=[*old, _new_secret()])

        await self.acquirer.write(roll)
        made = [secret for one in merchants for secret in self.described(one)["webhook_secrets"]]
        return {"webhook_secrets": made}

    def _good(self, hook: Webhook) -> list[str]:
        """Return the secrets that sign now, oldest first."""
        now_ms = self._ctx.clock.now_ms()
        return [
            entry["secret"]
            for entry in hook.extra["secrets"]
            if entry["until_ms"] is None or entry["until_ms"] > now_ms
        ]

    def refund_returns(self, trade: Trade) -> bool:
        """Tell whether the order was paid with the card whose refunds come back."""
        return trade.extra.get("payment_method") == REFUND_FAILS

    def token_in(self, code: str) -> str:
        """Return the token in the address of a page, which ends in what its server is not sent."""
        return super().token_in(code.partition("#")[0])

    # ---- numbers -----------------------------------------------------------------------------------------------------

    def number(self, kind: NumberKind, merchant: str, seq: int, now_ms: int) -> str:
        """Return an id. An intent's hold and charge go by the intent's own; the charge's id is made of it."""
        return f"{PREFIXES[kind]}Sandbox{seq:014d}"

    # ---- events ------------------------------------------------------------------------------------------------------

    def content(
        self, event: Event, merchant: Merchant, trade: Trade, refund: Refund | None, now_ms: int
    ) -> dict[str, Any] | None:
        """Return type and object of an event, as they are now."""
        at = objects.seconds(now_ms)
        if objects.is_session(trade) and event in SESSION_EVENTS:
            kind = SESSION_EVENTS[event]
            shown = objects.session(trade, self.acquirer.page_url(trade))
            return None if kind is None else {"type": kind, "object": shown, "at": at}
        if event in INTENT_EVENTS:
            about = objects.intent(trade, self.acquirer.page_url(trade))
            return {"type": INTENT_EVENTS[event], "object": about, "at": at}
        if refund is not None and event in REFUND_EVENTS:
            return {"type": REFUND_EVENTS[event], "object": objects.refund(refund, trade), "at": at}
        return None

    def dispute_contents(
        self, told: DisputeTold, trade: Trade, dispute: Dispute, now_ms: int
    ) -> Sequence[Mapping[str, Any]]:
        """Return types and object of the events about a dispute; an inquiry withdraws no funds."""
        shown, at = objects.dispute(dispute, trade), objects.seconds(now_ms)
        kinds = DISPUTE_EVENTS[told] if dispute.taken_ms is not None else DISPUTE_EVENTS[told][:1]
        return [{"type": kind, "object": shown, "at": at} for kind in kinds]

    def wants(self, webhook: Webhook, content: Mapping[str, Any]) -> bool:
        """Tell whether an endpoint asked for events of this type."""
        return bool({EVERYTHING, content["type"]} & set(webhook.extra["enabled_events"]))

    def wrong_amount(self, content: Mapping[str, Any]) -> dict[str, Any]:
        """Return the event saying one minor unit more."""
        about = dict(content["object"])
        for name in ("amount", "amount_received", "amount_total"):
            if about.get(name):
                about[name] += 1
        return {**content, "object": about}

    async def sending(self, merchant: Merchant, notice: NoticeJob, signed: Signed) -> Sending:
        """Return the event, signed by every secret that is good now; v0 stands beside v1 as in Stripe's test mode."""
        content = notice.content
        body = orjson.dumps(objects.event(content["type"], content["object"], notice.notice_id, content["at"]))
        headers = {"Content-Type": "application/json; charset=utf-8", "User-Agent": "Stripe/1.0 (sandbox)"}
        if signed != "none":
            assert notice.webhook is not None
            good = self._good(notice.webhook) if signed == "right" else [secrets.token_hex(16)]
            headers["Stripe-Signature"] = signature(body, good, objects.seconds(self._ctx.clock.now_ms()))
        return Sending(headers, body)

    def acknowledged(self, status: int, body: bytes) -> bool:
        """Tell whether the answer was any 2xx."""
        return 200 <= status < 300

    def webhook_extra(self, merchant: Merchant, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return what is kept of an endpoint."""
        return {
            "secrets": [_new_secret()],
            "enabled_events": values.get("enabled_events") or USUAL_EVENTS,
            "api_version": values.get("api_version"),
            "description": values.get("description"),
        }

    def webhook_settings(self, webhook: Webhook) -> dict[str, Any]:
        """Return what the settings must gain."""
        return {"webhook_secrets": self._good(webhook)}

    # ---- the payer ---------------------------------------------------------------------------------------------------

    def payer_pays(self, tx: Tx, acquirer: Acquirer, trade: Trade, payer: str | None) -> Trade:
        """Have the payer pay on their page, or prove who they are; nothing else waits for a payer here."""
        if objects.is_session(trade):
            return payers.pay(tx, acquirer, trade, payer)
        self._require_action(trade)
        return super().payer_pays(tx, acquirer, trade, payer)

    def payer_declines(self, tx: Tx, acquirer: Acquirer, trade: Trade) -> Trade:
        """Have the payer's card be declined on their page, or have them fail to prove who they are."""
        if objects.is_session(trade):
            return payers.decline(tx, acquirer, trade)
        self._require_action(trade)
        return payers.fail(tx, acquirer, trade, NOT_PROVEN)

    def after_payer(self, trade: Trade) -> web.StreamResponse | None:
        """Send the payer back to where the session or the confirmation said, told as Stripe tells it."""
        if objects.is_session(trade):
            return self._after_page(trade)
        to = trade.extra.get("return_url")
        if not to:
            return None
        done = trade.state in ("paid", "held")
        told = {
            "payment_intent": trade.trade_ref,
            "payment_intent_client_secret": f"{trade.trade_ref}_secret_{trade.token}",
            "redirect_status": "succeeded" if done else "failed",
        }
        return web.Response(status=303, headers={"Location": f"{to}{'&' if '?' in to else '?'}{urlencode(told)}"})

    @staticmethod
    def _after_page(trade: Trade) -> web.StreamResponse | None:
        kept, status = trade.extra["session"], objects.session_status(trade)
        to = {"complete": kept["success_url"], "open": kept["cancel_url"]}.get(status)
        if not to:
            return None
        return web.Response(
            status=303, headers={"Location": to.replace("{CHECKOUT_SESSION_ID}", objects.session_id(trade))}
        )

    @staticmethod
    def _require_action(trade: Trade) -> None:
        if trade.state == "open" and trade.extra["status"] != "requires_action":
            raise CoreError(
                "order_open", f"order {trade.order} waits for no payer: {trade.extra['status']}", trade=trade
            )


def signature(body: bytes, good: list[str], at: int) -> str:
    """Return a Stripe-Signature header."""
    made = [hmac.new(secret.encode(), f"{at}.".encode() + body, sha256).hexdigest() for secret in good]
    return ",".join([f"t={at}", *(f"v1={one}" for one in made), f"v0={secrets.token_hex(32)}"])


def _new_secret() -> dict[str, Any]:
    return {"secret": f"whsec_{secrets.token_hex(24)}", "until_ms": None}
