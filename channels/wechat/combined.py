"""Combined payments 合单支付: one payer pays several orders, of one or several merchants, in one go.

All or none of its orders are paid, each under its own number at its own merchant. Refunds are those of single orders.
Queries, closing and notices are these alone: WeChat says not to ask for such an order elsewhere.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from channels.contract import BadNotice, Confirmed, Method, Outcome, Pending, Refused, Request, Response, Unknown
from channels.wechat import messages
from channels.wechat.account import WeChatAccount, in_path
from channels.wechat.messages import AmountDiffers, Doubt
from kernel.money import Money
from kernel.safe_json import BadJson, loads_object

COMBINED = "/v3/combine-transactions/"
PRODUCTS: Mapping[Method, str] = {Method.QR: "native", Method.JSAPI: "jsapi", Method.H5: "h5", Method.APP: "app"}
MAX_ORDERS = 50
MAX_ATTACH = 128  # bytes
NOTICE = {"TRANSACTION.SUCCESS": "SUCCESS"}


@dataclass(frozen=True, slots=True)
class CombinedPart:
    """One of the orders 子单, at the merchant who is paid by it."""

    mchid: str
    reference: str  # out_trade_no: its own number, as it stands in that merchant's bill
    amount: Money
    description: str
    attach: str = ""  # comes back in queries and notices; WeChat wants one, so an empty one becomes the number
    share_later: bool = False


@dataclass(frozen=True, slots=True)
class CombinedOrder:
    """Several orders as the payer sees them: one sum, one password."""

    reference: str  # combine_out_trade_no
    method: Method  # qr, jsapi, h5 or app
    parts: Sequence[CombinedPart]
    notify_url: str
    expires_at: datetime
    payer: str | None = None
    client_ip: str | None = None
    return_url: str | None = None


@dataclass(frozen=True, slots=True)
class CombinedOutcome:
    """What WeChat says: as a whole, and of each order in the order of CombinedOrder.parts.

    whole: Confirmed with the sum when all are paid. parts: empty where it said nothing about them one by one.
    """

    whole: Outcome
    parts: tuple[Outcome, ...] = ()


@dataclass(frozen=True, slots=True)
class CombinedNotice:
    """A verified notice of a combined payment. outcomes: by the number of each order; each amount is WeChat's word."""

    reference: str
    outcomes: Mapping[str, Outcome]
    notice_id: str


class Combined:
    """The combined payments of one account, which starts them and signs for them."""

    def __init__(self, account: WeChatAccount) -> None:
        self._account = account

    def pay_request(self, order: CombinedOrder) -> Request:
        """Return the request that creates the orders (合单下单). Raises ValueError for more than MAX_ORDERS."""
        if not 1 <= len(order.parts) <= MAX_ORDERS:
            raise ValueError(f"a combined payment has 1 to {MAX_ORDERS} orders, not {len(order.parts)}")
        body: dict[str, Any] = {
            "combine_appid": self._account.appid,
            "combine_mchid": self._account.mchid,
            "combine_out_trade_no": order.reference,
            "sub_orders": [_part_body(part) for part in order.parts],
            "time_expire": messages.beijing(order.expires_at),
            "notify_url": order.notify_url,
        }
        if order.method is Method.JSAPI:
            body["combine_payer_info"] = {"openid": order.payer or ""}
        if order.method is Method.H5:
            body["scene_info"] = {"payer_client_ip": order.client_ip or "", "h5_info": {"type": "Wap"}}
        return self._account.post(COMBINED + PRODUCTS[order.method], orjson.dumps(body))

    def pay_outcome(self, order: CombinedOrder, answer: Response, *, now: datetime) -> Outcome:
        """Return what is to be shown; for jsapi and app still to be signed, see signed_action."""

        def read(body: dict[str, Any]) -> Outcome:
            return messages.to_show(order.method, order.return_url, body, self._account.base, now)

        return self._account.believed(answer, now, messages.PAY, read)

    def signed_action(self, order: CombinedOrder, shown: Pending, *, now: datetime, nonce: str) -> Pending:
        """Return what the payer's WeChat is called with."""
        return self._account.call_to_pay(order.method, shown, now=now, nonce=nonce)

    def query_request(self, order: CombinedOrder) -> Request:
        """Return the request that asks for all of them (合单查询订单)."""
        return self._account.get(f"{COMBINED}out-trade-no/{in_path(order.reference)}")

    def query_outcome(self, order: CombinedOrder, answer: Response, *, now: datetime) -> CombinedOutcome:
        """Return the state of each; whole is Unknown(not_found=True) when WeChat knows no such combined order."""
        found = self._account.believed(answer, now, messages.QUERY, lambda body: self._about(order, body))
        return found if isinstance(found, CombinedOutcome) else CombinedOutcome(found)

    def close_request(self, order: CombinedOrder) -> Request:
        """Return the request that closes all of them (合单关闭订单)."""
        body = {
            "combine_appid": self._account.appid,
            "sub_orders": [{"mchid": part.mchid, "out_trade_no": part.reference} for part in order.parts],
        }
        return self._account.post(f"{COMBINED}out-trade-no/{in_path(order.reference)}/close", orjson.dumps(body))

    def close_outcome(self, order: CombinedOrder, answer: Response, *, now: datetime) -> Outcome:
        """Return Refused(closed=True) on the signed, empty 204; anything doubtful is Unknown."""

        def read(body: dict[str, Any]) -> Outcome:
            if answer.status != 204:
                raise Doubt("a close is answered by an empty 204")
            return Refused("CLOSED", closed=True)

        return self._account.believed(answer, now, messages.CLOSE, read)

    def notice(self, message: Response, *, now: datetime) -> CombinedNotice:
        """Verify, open and read a notice of a combined payment. Raises BadNotice."""
        event, notice_id, plaintext = self._account.opened(message, now=now)
        if event not in NOTICE:
            raise BadNotice("unknown_event", f"{event[:64]!r} is not a kind of notice we know")
        try:
            content = loads_object(plaintext)
            self._expect_ours(content)
            parts = [_part_outcome(part) for part in _listed(content)]
            if not parts or not all(isinstance(outcome, Confirmed) for _, _, outcome in parts):
                raise Doubt("the notice says paid, and its orders are not")
            return CombinedNotice(
                messages.text_of(content, "combine_out_trade_no"),
                {reference: outcome for _, reference, outcome in parts},
                notice_id,
            )
        except (BadJson, Doubt) as error:
            raise BadNotice("not_ours", f"the notice is signed but not believed: {error}") from None

    def _expect_ours(self, body: Mapping[str, Any]) -> None:
        messages.expect(body, "combine_appid", self._account.appid)
        messages.expect(body, "combine_mchid", self._account.mchid)

    def _about(self, order: CombinedOrder, body: Mapping[str, Any]) -> CombinedOutcome:
        """Return what a query's answer says. Raises Doubt when it is not about exactly these orders."""
        self._expect_ours(body)
        messages.expect(body, "combine_out_trade_no", order.reference)
        listed = {(mchid, reference): outcome for mchid, reference, outcome in map(_part_outcome, _listed(body))}
        if listed.keys() != {(part.mchid, part.reference) for part in order.parts}:
            raise Doubt("the orders are not those of our combined order")
        outcomes = tuple(listed[part.mchid, part.reference] for part in order.parts)
        for part, outcome in zip(order.parts, outcomes, strict=True):
            if isinstance(outcome, Confirmed) and outcome.amount != part.amount:
                raise AmountDiffers(outcome.amount, part.amount)
        return CombinedOutcome(_whole(order.reference, outcomes), outcomes)


def _whole(reference: str, parts: Sequence[Outcome]) -> Outcome:
    """Return what the parts make together. They are paid in one go, so anything but all alike is in doubt."""
    paid = [part for part in parts if isinstance(part, Confirmed)]
    if len(paid) == len(parts):
        total = Money(sum(part.amount.minor for part in paid), paid[0].amount.currency)
        said = [part.merchant_coupon.minor for part in paid if part.merchant_coupon is not None]
        coupon = Money(sum(said), total.currency) if len(said) == len(paid) else None
        return Confirmed(reference, total, max(part.happened_at for part in paid), coupon)
    kinds = {type(part) for part in parts}
    return parts[0] if len(kinds) == 1 else Unknown("some of the combined orders are paid or closed, some are not")


def _part_body(part: CombinedPart) -> dict[str, Any]:
    return {
        "mchid": part.mchid,
        "attach": messages.plain(part.attach, MAX_ATTACH) or part.reference,
        "amount": {"total_amount": part.amount.minor, "currency": part.amount.currency},
        "out_trade_no": part.reference,
        "description": messages.description(part.description),
    } | messages.settle_info(part.share_later)


def _listed(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    listed = body.get("sub_orders")
    if not isinstance(listed, list) or not all(isinstance(part, dict) for part in listed):
        raise Doubt("sub_orders is not a list of objects")
    return listed


def _part_outcome(part: Mapping[str, Any]) -> tuple[str, str, Outcome]:
    """Return (mchid, our number, what became of it). Raises Doubt."""
    mchid, reference = messages.text_of(part, "mchid"), messages.text_of(part, "out_trade_no")
    return mchid, reference, messages.state_outcome(part, "total_amount", "payer_amount")
