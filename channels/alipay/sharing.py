"""Sharing a payment's money out at Alipay 商家分账: who may receive, sharing out, releasing the rest.

An order placed with share_later is frozen until a request carries royalty_finish. A share is fetched back 退分账 by a
refund that gives its payer nothing and names the receiver, and such a refund is asked about like any.
Source: pages alipay.trade.royalty.relation.bind, order.settle, order.settle.query, refund and fastpay.refund.query, and
the guide of sharing by merchants 商家分账, as mirrored (2019 to 2025).
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from channels.alipay import messages
from channels.alipay.account import AlipayAccount
from channels.alipay.messages import Doubt
from channels.contract import Confirmed, Outcome, Pending, Refused, Request, Response, Unknown, no_if_unknown
from channels.sharing import Receiver, ReceiverKind, Shared, ShareOrder, ShareReturn, together
from kernel.money import Money, from_major

BIND, UNBIND = "alipay.trade.royalty.relation.bind", "alipay.trade.royalty.relation.unbind"
SETTLE, SETTLE_QUERY = "alipay.trade.order.settle", "alipay.trade.order.settle.query"
_MAX_WORDS = 256
# A share comes back or does not; a no leaves it with its receiver. Here a lack of money is the receiver's.
RETURN: Mapping[str, messages.Says] = {
    **{code: messages.final(retriable=True) for code in ("ACQ.REASON_TRADE_BEEN_FREEZEN", "ACQ.PRODUCT_UNSIGN")},
    **{
        code: messages.final()
        for code in (
            "ACQ.SELLER_BALANCE_NOT_ENOUGH",
            "ACQ.ALLOC_AMOUNT_VALIDATE_ERROR",  # more than the receiver has had of it
            "ACQ.REFUNDALLOC_UNAUTH_LIMIT",  # the receiver has not agreed to give back
            "ACQ.REFUND_ROYALTY_PAYEE_ACCOUNT_NOT_EXIST",
            "ACQ.CUSTOMER_VALIDATE_ERROR",  # the account was given up, or is frozen
            "ACQ.INVALID_PARAMETER",
            "ACQ.TRADE_NOT_EXIST",
            "ACQ.TRADE_STATUS_ERROR",
            "ACQ.TRADE_HAS_FINISHED",
            "ACQ.TRADE_NOT_ALLOW_REFUND",
            "ACQ.TRADE_SETTLE_ERROR",
        )
    },
    "ACQ.TRADE_HAS_CLOSE": no_if_unknown,
}
BINDING: Mapping[str, messages.Says] = {
    "ACQ.PRODUCT_UNSIGN": messages.final(retriable=True),  # sharing out has not been signed for yet
    **{
        code: messages.final()
        for code in (
            "ACQ.INVALID_PARAMETER",
            "ACQ.USER_NOT_EXIST",
            "ACQ.INVALID_RECEIVER_TYPE",
            "ACQ.RELATION_QUANTITY_LIMIT",
        )
    },
}
SHARE: Mapping[str, messages.Says] = {
    "ACQ.PRODUCT_UNSIGN": messages.final(retriable=True),
    **{
        code: messages.final()
        for code in (
            "ACQ.INVALID_PARAMETER",
            "ACQ.TRADE_NOT_EXIST",
            "ACQ.TRADE_STATUS_ERROR",
            "ACQ.ALLOC_AMOUNT_VALIDATE_ERROR",
            "ACQ.ROYALTY_RECEIVER_INVALID",
        )
    },
}
ASKED: Mapping[str, messages.Says] = {
    "ACQ.TRADE_NOT_EXIST": messages.not_found,
    "ACQ.SETTLE_NOT_EXIST": messages.not_found,
}


class AlipaySharing(AlipayAccount):
    """The methods of channels.sharing.Sharing, for one merchant's application."""

    receiver_kinds: frozenset[ReceiverKind] = frozenset(ReceiverKind)

    def bind_request(self, receiver: Receiver, reference: str) -> Request:
        """Return the request that lets a receiver be given shares (分账关系绑定); may be repeated."""
        return self._post(BIND, messages.written(_relation(receiver, reference)))

    def bind_outcome(self, receiver: Receiver, answer: Response, *, now: datetime) -> Outcome:
        """Return Confirmed of nothing when Alipay knows the receiver now."""
        return self._outcome(BIND, answer, now, BINDING, lambda fields: _bound(fields, receiver, now), admits=True)

    def unbind_request(self, receiver: Receiver, reference: str) -> Request:
        """Return the request that ends it (分账关系解绑)."""
        return self._post(UNBIND, messages.written(_relation(receiver, reference)))

    def unbind_outcome(self, receiver: Receiver, answer: Response, *, now: datetime) -> Outcome:
        """Return Confirmed of nothing when the receiver is no longer known."""
        return self._outcome(UNBIND, answer, now, BINDING, lambda fields: _bound(fields, receiver, now), admits=True)

    def share_request(self, order: ShareOrder) -> Request:
        """Return the request that shares out (统一收单交易结算); the same number never shares twice."""
        content: dict[str, Any] = {
            "out_request_no": messages.rail_number(order.reference),
            "trade_no": order.payment_channel_ref,
            "royalty_parameters": [
                {
                    "royalty_type": "transfer",
                    "trans_out_type": "userId",
                    "trans_out": self.seller_id,
                    **_trans_in(share.receiver),
                    "amount": share.amount.major(),
                    "desc": messages.subject(share.description)[:_MAX_WORDS],
                }
                for share in order.shares
            ],
            "royalty_mode": "async",
        }
        if order.release_rest:
            content["extend_params"] = {"royalty_finish": "true"}
        return self._post(SETTLE, messages.written(content))

    def share_outcome(self, order: ShareOrder, answer: Response, *, now: datetime) -> Shared:
        """Return that it was accepted; what became of each share, a query tells."""
        return Shared(self._outcome(SETTLE, answer, now, SHARE, lambda fields: _accepted(fields, order), admits=True))

    def share_query_request(self, order: ShareOrder) -> Request:
        """Return the request that asks for a sharing-out, by Alipay's number where we have it."""
        ours = {"out_request_no": messages.rail_number(order.reference), "trade_no": order.payment_channel_ref}
        return self._post(
            SETTLE_QUERY, messages.written({"settle_no": order.channel_ref} if order.channel_ref else ours)
        )

    def share_query_outcome(self, order: ShareOrder, answer: Response, *, now: datetime) -> Shared:
        """Return what became of each share."""
        shares: list[Outcome] = []

        def read(fields: dict[str, Any]) -> Outcome:
            shares.extend(_each(fields, order))
            number = order.channel_ref or order.payment_channel_ref
            return together(number, shares) if shares else _released(fields, number)

        whole = self._outcome(SETTLE_QUERY, answer, now, ASKED, read)
        return Shared(whole, tuple(shares))

    def release_request(self, order: ShareOrder) -> Request:
        """Return the request that releases what is still frozen (分账完结)."""
        content = {
            "out_request_no": messages.rail_number(order.reference),
            "trade_no": order.payment_channel_ref,
            "royalty_parameters": [],
            "extend_params": {"royalty_finish": "true"},
        }
        return self._post(SETTLE, messages.written(content))

    def release_outcome(self, order: ShareOrder, answer: Response, *, now: datetime) -> Outcome:
        """Return Confirmed of nothing: Alipay does not say how much became free."""

        def read(fields: dict[str, Any]) -> Outcome:
            settle_no = _accepted(fields, order).channel_ref
            return Confirmed(settle_no or order.payment_channel_ref, Money(0, "CNY"), now)

        return self._outcome(SETTLE, answer, now, SHARE, read, admits=True)

    def give_back_request(self, order: ShareReturn) -> Request:
        """Return the request that fetches a share back: a refund of nothing, of which the receiver returns its part."""
        if order.receiver.kind is ReceiverKind.PERSON:
            raise ValueError("Alipay fetches shares back from merchants only")
        returned = {
            "royalty_type": "transfer",
            "trans_out_type": _kind(order.receiver),
            "trans_out": order.receiver.account,
            "trans_in_type": "userId",
            "trans_in": self.seller_id,
            "amount": order.amount.major(),
            "desc": messages.subject(order.description)[:_MAX_WORDS],
        }
        content = {
            "out_trade_no": messages.rail_number(order.order.payment_reference),
            "out_request_no": messages.rail_number(order.reference),
            "refund_amount": "0.00",
            "refund_royalty_parameters": [returned],
        }
        return self._post("alipay.trade.refund", messages.written(content))

    def give_back_outcome(self, order: ShareReturn, answer: Response, *, now: datetime) -> Outcome:
        """Return that it was accepted: the answer names no share, so a query tells what became of it."""
        return self._outcome(
            "alipay.trade.refund",
            answer,
            now,
            RETURN,
            lambda fields: _given_back(fields, order),
            admits=True,
        )

    def give_back_query_request(self, order: ShareReturn) -> Request:
        """Return the request that asks for it by our number, as for a refund."""
        content = {
            "out_trade_no": messages.rail_number(order.order.payment_reference),
            "out_request_no": messages.rail_number(order.reference),
            "query_options": messages.TOLD_OF_REFUNDS,
        }
        return self._post("alipay.trade.fastpay.refund.query", messages.written(content))

    def give_back_query_outcome(self, order: ShareReturn, answer: Response, *, now: datetime) -> Outcome:
        """Return what became of it; Unknown(not_found=True) when Alipay has carried out none of that number."""
        return self._outcome(
            "alipay.trade.fastpay.refund.query",
            answer,
            now,
            messages.REFUND_QUERY,
            lambda fields: _returned(fields, order),
        )


def _relation(receiver: Receiver, reference: str) -> dict[str, Any]:
    entity = {
        "type": _kind(receiver),
        "account": receiver.account,
        "name": receiver.name,
        "memo": messages.subject(receiver.relation)[:_MAX_WORDS] if receiver.relation else "",
    }
    return {
        "receiver_list": [{name: value for name, value in entity.items() if value}],
        "out_request_no": messages.rail_number(reference)[:32],
    }


def _kind(receiver: Receiver) -> str:
    if receiver.kind is ReceiverKind.LOGIN:
        return "loginName"
    if receiver.kind is ReceiverKind.PERSON and "buyer_open_id" in messages.payer(receiver.account):
        return "openId"
    return "userId"


def _trans_in(receiver: Receiver) -> dict[str, str]:
    return {"trans_in_type": _kind(receiver), "trans_in": receiver.account}


def _bound(fields: Mapping[str, Any], receiver: Receiver, now: datetime) -> Outcome:
    if fields.get("result_code") != "SUCCESS":
        raise Doubt(f"result_code is {str(fields.get('result_code'))[:40]!r}")
    return Confirmed(receiver.account, Money(0, "CNY"), now)


def _accepted(fields: Mapping[str, Any], order: ShareOrder) -> Pending:
    if fields.get("trade_no") != order.payment_channel_ref:
        raise Doubt("the answer is about another trade")
    settle_no = fields.get("settle_no")
    return Pending(channel_ref=settle_no if isinstance(settle_no, str) and settle_no else None)


def _released(fields: Mapping[str, Any], number: str) -> Outcome:
    """Return that a request that shared nothing out, and released the rest, was carried out. Raises Doubt."""
    moment = messages.beijing(str(fields.get("operation_dt", "")))
    if moment is None:
        raise Doubt("the answer names no time")
    return Confirmed(number, Money(0, "CNY"), moment)


def _each(fields: Mapping[str, Any], order: ShareOrder) -> list[Outcome]:
    """Return what became of each share, in our order; shares are told apart by receiver and amount. Raises Doubt."""
    if fields.get("out_request_no") != messages.rail_number(order.reference):
        raise Doubt("the answer is about another sharing-out")
    listed = fields.get("royalty_detail_list")
    details = [detail for detail in listed if isinstance(detail, dict)] if isinstance(listed, list) else []
    details = [detail for detail in details if detail.get("operation_type") == "transfer"]
    found: list[Outcome] = []
    for share in order.shares:
        fits = [
            detail
            for detail in details
            if detail.get("trans_in") == share.receiver.account and _figure(detail.get("amount")) == share.amount.minor
        ]
        if not fits:
            found.append(Unknown(f"the answer says nothing of the share of {share.receiver.account}"))
            continue
        details.remove(fits[0])
        found.append(_detail(fits[0], order))
    return found


def _detail(detail: Mapping[str, Any], order: ShareOrder) -> Outcome:
    number = detail.get("detail_id")
    ref = number if isinstance(number, str) and number else order.channel_ref or order.payment_channel_ref
    match detail.get("state"):
        case "SUCCESS":
            moment = messages.beijing(str(detail.get("execute_dt", "")))
            if moment is None:
                raise Doubt("a share names no time")
            return Confirmed(ref, Money(_figure(detail["amount"]) or 0, "CNY"), moment)
        case "PROCESSING":
            return Pending(channel_ref=ref)
        case "FAIL":
            return Refused(str(detail.get("error_code") or "FAIL")[:80], str(detail.get("error_desc") or "")[:200])
        case other:
            raise Doubt(f"the state {str(other)[:40]!r} of a share is not known")


def _given_back(fields: Mapping[str, Any], order: ShareReturn) -> Outcome:
    messages.same("out_trade_no", fields.get("out_trade_no"), messages.rail_number(order.order.payment_reference))
    return Pending()


def _returned(fields: Mapping[str, Any], order: ShareReturn) -> Outcome:
    """Return what a refund query says of a share that was to come back. Raises Doubt.

    What counts is the one line about the receiver, not what the refund gave its payer, which is nothing.
    """
    if "refund_status" not in fields:
        if "out_request_no" in fields or "refund_royaltys" in fields:
            raise Doubt("names a return and no refund_status")
        return Unknown("Alipay has no return of this number", not_found=True)
    messages.same("out_trade_no", fields.get("out_trade_no"), messages.rail_number(order.order.payment_reference))
    messages.same("out_request_no", fields.get("out_request_no"), messages.rail_number(order.reference))
    status = fields["refund_status"]
    if status == "REFUND_PROCESSING":
        return Pending()
    if status != "REFUND_SUCCESS":
        raise Doubt(f"refund_status {str(status)[:40]!r} is not known")
    listed = fields.get("refund_royaltys")
    lines = [line for line in listed if isinstance(line, dict)] if isinstance(listed, list) else []
    ours = [line for line in lines if order.receiver.account in (line.get("trans_out"), line.get("trans_out_email"))]
    if len(ours) != 1 or len(lines) != 1:
        raise Doubt(
            f"it tells of {len(ours)} shares of {order.receiver.account} and of {len(lines)} in all, not of one"
        )
    (line,) = ours
    if (result := line.get("result_code")) != "SUCCESS":
        return Refused(str(result or "FAIL")[:80], closed=True)
    if _figure(line.get("refund_amount")) != order.amount.minor:
        raise Doubt(f"of the share {str(line.get('refund_amount'))[:20]!r} came back, not {order.amount.major()}")
    moment, trade_no = messages.beijing(str(fields.get("gmt_refund_pay", ""))), fields.get("trade_no")
    if moment is None or not isinstance(trade_no, str) or not trade_no:
        raise Doubt("the return names no time or no trade")
    return Confirmed(trade_no, order.amount, moment)


def _figure(amount: object) -> int | None:
    """Return an amount in fen. Shares' amounts were seen as JSON numbers too: repr of one below 10^13 is as written."""
    written = repr(amount) if type(amount) in (int, float) else amount
    try:
        return from_major(written, "CNY").minor if isinstance(written, str) else None
    except ValueError:
        return None
