"""Orders, authorizations, captures and refunds as PayPal's APIs and notices show them."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sandbox.acquirer import Merchant, Refund, Trade
from sandbox.paypal.money import shown

HOLD_MS = 29 * 86_400_000  # how long an authorization lasts


def utc(ms: int) -> str:
    """Return a moment as PayPal's APIs write it."""
    return datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def link(rel: str, href: str, method: str = "GET") -> dict[str, str]:
    return {"href": href, "rel": rel, "method": method}


class Views:
    """Shows what the core's books hold. base_url: for the links."""

    def __init__(self, base_url: str) -> None:
        self._orders = f"{base_url}/v2/checkout/orders"
        self._payments = f"{base_url}/v2/payments"

    def status(self, trade: Trade) -> str:
        """Return the order's status."""
        if trade.state in ("paid", "held") or trade.hold_ref is not None:
            return "COMPLETED"
        if trade.extra.get("approved"):
            return "APPROVED"
        return "PAYER_ACTION_REQUIRED" if trade.extra["wallet"] else "CREATED"

    def order(self, merchant: Merchant, trade: Trade, refunds: Sequence[Refund], page: str) -> dict[str, Any]:
        """Return the order whole."""
        body: dict[str, Any] = {
            "id": trade.trade_ref,
            "intent": "AUTHORIZE" if trade.hold else "CAPTURE",
            "status": self.status(trade),
            "purchase_units": [self._unit(merchant, trade, refunds)],
            "create_time": utc(trade.created_ms),
            "update_time": utc(trade.paid_ms or trade.held_ms or trade.created_ms),
            "links": self._order_links(trade, page),
        }
        if trade.payer is not None:
            who = {"email_address": trade.payer, "account_id": "QYR5Z8XDVJNXQ"}
            body["payment_source"] = {"paypal": who}
            body["payer"] = {"email_address": trade.payer, "payer_id": who["account_id"]}
        return body

    def minimal(self, whole: dict[str, Any]) -> dict[str, Any]:
        """Return what is shown of an object when nobody asked for more; what has happened to its money always is."""
        small = {name: whole[name] for name in ("id", "status", "links")}
        units = [unit for unit in whole.get("purchase_units", ()) if "payments" in unit]
        if units:
            kept = [{name: unit[name] for name in ("reference_id", "payments")} for unit in units]
            small["purchase_units"] = kept
        return small

    def authorization(self, merchant: Merchant, trade: Trade) -> dict[str, Any]:
        """Return the authorization of an order."""
        assert trade.hold_ref is not None
        assert trade.held_ms is not None
        status = {"held": "CREATED", "closed": "VOIDED"}.get(trade.state)
        status = status or ("CAPTURED" if trade.paid == trade.amount else "PARTIALLY_CAPTURED")
        url = f"{self._payments}/authorizations/{trade.hold_ref}"
        return {
            "id": trade.hold_ref,
            "status": status,
            "amount": shown(trade.amount, trade.currency),
            **_ids(trade),
            "seller_protection": {"status": "NOT_ELIGIBLE"},
            "expiration_time": utc(trade.held_ms + HOLD_MS),
            "create_time": utc(trade.held_ms),
            "update_time": utc(trade.paid_ms or trade.held_ms),
            "supplementary_data": {"related_ids": {"order_id": trade.trade_ref}},
            "payee": _payee(merchant),
            "links": [
                link("self", url),
                link("capture", f"{url}/capture", "POST"),
                link("void", f"{url}/void", "POST"),
                link("up", f"{self._orders}/{trade.trade_ref}"),
            ],
        }

    def capture(self, merchant: Merchant, trade: Trade) -> dict[str, Any]:
        """Return the capture of an order."""
        assert trade.charge_ref is not None
        assert trade.paid_ms is not None
        status = "COMPLETED"
        if trade.refunded:
            status = "REFUNDED" if trade.refunded >= trade.paid else "PARTIALLY_REFUNDED"
        url = f"{self._payments}/captures/{trade.charge_ref}"
        up = f"{self._payments}/authorizations/{trade.hold_ref}"
        related = {"order_id": trade.trade_ref} | ({"authorization_id": trade.hold_ref} if trade.hold_ref else {})
        return {
            "id": trade.charge_ref,
            "status": status,
            "amount": shown(trade.paid, trade.currency),
            "final_capture": True,
            **_ids(trade),
            "seller_protection": {"status": "NOT_ELIGIBLE"},
            "seller_receivable_breakdown": {
                "gross_amount": shown(trade.paid, trade.currency),
                "paypal_fee": shown(trade.fee, trade.currency),
                "net_amount": shown(trade.paid - trade.fee, trade.currency),
            },
            "create_time": utc(trade.paid_ms),
            "update_time": utc(trade.paid_ms),
            "supplementary_data": {"related_ids": related},
            "payee": _payee(merchant),
            "links": [
                link("self", url),
                link("refund", f"{url}/refund", "POST"),
                link("up", up if trade.hold_ref else f"{self._orders}/{trade.trade_ref}"),
            ],
        }

    def refund(self, trade: Trade, refund: Refund) -> dict[str, Any]:
        """Return a refund."""
        status = {"success": "COMPLETED", "failed": "FAILED", "pending": "PENDING"}[refund.status]
        currency = trade.currency
        body: dict[str, Any] = {
            "id": refund.refund_ref,
            "status": status,
            "amount": shown(refund.amount, currency),
            "custom_id": refund.extra["custom_id"],
            "invoice_id": refund.extra["invoice_id"],
            "note_to_payer": refund.reason,
            "seller_payable_breakdown": {
                "gross_amount": shown(refund.amount, currency),
                "paypal_fee": shown(refund.fee_back, currency),
                "net_amount": shown(refund.amount - refund.fee_back, currency),
                "total_refunded_amount": shown(trade.refunded, currency),
            },
            "create_time": utc(refund.created_ms),
            "update_time": utc(refund.success_ms or refund.created_ms),
            "links": [
                link("self", f"{self._payments}/refunds/{refund.refund_ref}"),
                link("up", f"{self._payments}/captures/{trade.charge_ref}"),
            ],
        }
        return {name: value for name, value in body.items() if value not in ("", None)}

    def _unit(self, merchant: Merchant, trade: Trade, refunds: Sequence[Refund]) -> dict[str, Any]:
        payments: dict[str, Any] = {}
        if trade.hold_ref is not None:
            payments["authorizations"] = [self.authorization(merchant, trade)]
        if trade.charge_ref is not None:
            payments["captures"] = [self.capture(merchant, trade)]
        if refunds:
            payments["refunds"] = [self.refund(trade, refund) for refund in refunds]
        unit = {
            "reference_id": trade.extra["reference_id"],
            "amount": shown(trade.amount, trade.currency),
            "payee": _payee(merchant),
            "description": trade.extra["description"],
            **_ids(trade),
        }
        unit = {name: value for name, value in unit.items() if value}
        return unit | ({"payments": payments} if payments else {})

    def _order_links(self, trade: Trade, page: str) -> list[dict[str, str]]:
        url = f"{self._orders}/{trade.trade_ref}"
        links = [link("self", url)]
        match self.status(trade):
            case "CREATED":
                links.append(link("approve", page))
            case "PAYER_ACTION_REQUIRED":
                links.append(link("payer-action", page))
            case "APPROVED":
                step = "authorize" if trade.hold else "capture"
                links.append(link(step, f"{url}/{step}", "POST"))
        return links


def _ids(trade: Trade) -> dict[str, str]:
    """Return the merchant's numbers, where it gave any."""
    return {name: trade.extra[name] for name in ("custom_id", "invoice_id") if trade.extra[name]}


def _payee(merchant: Merchant) -> dict[str, str]:
    return {"email_address": f"{merchant.merchant.lower()}@sandbox.example", "merchant_id": merchant.merchant}
