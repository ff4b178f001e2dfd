"""Sharing a payment's money out at WeChat Pay 分账: receivers, share orders, releasing the rest, fetching back.

Only an order placed with share_later can be shared out. Everything is asynchronous there: an accepted order is asked
about until each receiver has SUCCESS or CLOSED.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import orjson

from channels.contract import Confirmed, Outcome, Pending, Refused, Request, Response
from channels.sharing import Receiver, ReceiverKind, Shared, ShareOrder, ShareReturn, together
from channels.wechat import messages
from channels.wechat.account import WeChatAccount, in_path
from channels.wechat.messages import AmountDiffers, Doubt, final, not_found
from kernel.money import MAX_MINOR, Money

SHARING = "/v3/profitsharing/"
TYPES = {ReceiverKind.MERCHANT: "MERCHANT_ID", ReceiverKind.PERSON: "PERSONAL_OPENID"}
RELATIONS = frozenset(
    {"SERVICE_PROVIDER", "STORE", "STAFF", "STORE_OWNER", "PARTNER", "HEADQUARTER", "BRAND", "DISTRIBUTOR", "USER"}
    | {"SUPPLIER"}
)
MAX_DESCRIPTION = 80  # bytes

_REFUSALS: Mapping[str, messages.Says] = {**messages.NOT_ADMITTED, "PARAM_ERROR": final()}
SHARE: Mapping[str, messages.Says] = {
    **_REFUSALS,
    "NOT_SHARE_ORDER": final(),  # it was placed without share_later
    "NOT_ENOUGH": final(),  # more than is still frozen, or than the account allows to share
    "RULE_LIMIT": final(),
    "RESOURCE_NOT_EXISTS": final(),  # no such payment
}
RETURN: Mapping[str, messages.Says] = {**_REFUSALS, "RESOURCE_NOT_EXISTS": final(), "NOT_ENOUGH": final(retriable=True)}
ASKED: Mapping[str, messages.Says] = {"RESOURCE_NOT_EXISTS": not_found}


class SharesOut(WeChatAccount):
    """The part of WeChatPay that is `channels.sharing.Sharing`."""

    receiver_kinds = frozenset(TYPES)

    def bind_request(self, receiver: Receiver, reference: str) -> Request:
        """Return the request that adds a receiver (添加分账接收方); again is fine. The name is encrypted."""
        body = {"appid": self.appid, "type": _type(receiver), "account": receiver.account}
        sealer = self.sealer()
        if receiver.name:
            body["name"] = sealer.seal(receiver.name)
        if not receiver.relation or receiver.relation in RELATIONS:
            body["relation_type"] = receiver.relation or "PARTNER"
        else:
            body |= {"relation_type": "CUSTOM", "custom_relation": receiver.relation[:10]}
        return self.post(f"{SHARING}receivers/add", orjson.dumps(body), sealer.headers if receiver.name else None)

    def bind_outcome(self, receiver: Receiver, answer: Response, *, now: datetime) -> Outcome:
        return self.believed(answer, now, _REFUSALS, lambda body: _about_receiver(receiver, body, now))

    def unbind_request(self, receiver: Receiver, reference: str) -> Request:
        """Return the request that removes a receiver (删除分账接收方)."""
        body = {"appid": self.appid, "type": _type(receiver), "account": receiver.account}
        return self.post(f"{SHARING}receivers/delete", orjson.dumps(body))

    def unbind_outcome(self, receiver: Receiver, answer: Response, *, now: datetime) -> Outcome:
        return self.believed(answer, now, _REFUSALS, lambda body: _about_receiver(receiver, body, now))

    def share_request(self, order: ShareOrder) -> Request:
        """Return the request that shares out (请求分账).

        Names are left out: they were compared when the receiver was added, and an encrypted name is written differently
        each time, while a repeated order must be the same.
        """
        body = {
            "appid": self.appid,
            "transaction_id": order.payment_channel_ref,
            "out_order_no": order.reference,
            "receivers": [
                {
                    "type": _type(share.receiver),
                    "account": share.receiver.account,
                    "amount": share.amount.minor,
                    "description": _words(share.description or order.description),
                }
                for share in order.shares
            ],
            "unfreeze_unsplit": order.release_rest,
        }
        return self.post(f"{SHARING}orders", orjson.dumps(body))

    def share_outcome(self, order: ShareOrder, answer: Response, *, now: datetime) -> Shared:
        return self._shared(order, answer, now, SHARE)

    def share_query_request(self, order: ShareOrder) -> Request:
        """Return the request that asks for a share order by our number (查询分账结果)."""
        path = f"{SHARING}orders/{in_path(order.reference)}?transaction_id={in_path(order.payment_channel_ref)}"
        return self.get(path)

    def share_query_outcome(self, order: ShareOrder, answer: Response, *, now: datetime) -> Shared:
        return self._shared(order, answer, now, ASKED)

    def release_request(self, order: ShareOrder) -> Request:
        """Return the request that unfreezes what is not shared out (解冻剩余资金)."""
        body = {
            "transaction_id": order.payment_channel_ref,
            "out_order_no": order.reference,
            "description": _words(order.description),
        }
        return self.post(f"{SHARING}orders/unfreeze", orjson.dumps(body))

    def release_outcome(self, order: ShareOrder, answer: Response, *, now: datetime) -> Outcome:
        return self._shared(order, answer, now, SHARE).whole

    def give_back_request(self, order: ShareReturn) -> Request:
        """Return the request that fetches a share back (请求分账回退); only merchants can give back."""
        if order.receiver.kind is not ReceiverKind.MERCHANT:
            raise ValueError("WeChat Pay fetches shares back from merchants only")
        body = {
            "out_order_no": order.order.reference,
            "out_return_no": order.reference,
            "return_mchid": order.receiver.account,
            "amount": order.amount.minor,
            "description": _words(order.description),
        }
        return self.post(f"{SHARING}return-orders", orjson.dumps(body))

    def give_back_outcome(self, order: ShareReturn, answer: Response, *, now: datetime) -> Outcome:
        return self.believed(answer, now, RETURN, lambda body: _returned(order, body))

    def give_back_query_request(self, order: ShareReturn) -> Request:
        """Return the request that asks for such a return (查询分账回退结果)."""
        path = f"return-orders/{in_path(order.reference)}?out_order_no={in_path(order.order.reference)}"
        return self.get(SHARING + path)

    def give_back_query_outcome(self, order: ShareReturn, answer: Response, *, now: datetime) -> Outcome:
        return self.believed(answer, now, ASKED, lambda body: _returned(order, body))

    def frozen_request(self, order: ShareOrder) -> Request:
        """Return the request that asks what is left to be shared out (查询剩余待分金额)."""
        return self.get(f"{SHARING}transactions/{in_path(order.payment_channel_ref)}/amounts")

    def frozen_outcome(self, order: ShareOrder, answer: Response, *, now: datetime) -> Outcome:
        return self.believed(answer, now, ASKED, lambda body: _left(order, body, now))

    def _shared(
        self, order: ShareOrder, answer: Response, now: datetime, errors: Mapping[str, messages.Says]
    ) -> Shared:
        found = self.believed(answer, now, errors, lambda body: _about_shares(order, body, self.mchid, now))
        return found if isinstance(found, Shared) else Shared(found)


def _about_receiver(receiver: Receiver, body: Mapping[str, Any], now: datetime) -> Outcome:
    messages.expect(body, "type", _type(receiver))
    messages.expect(body, "account", receiver.account)
    return Confirmed(receiver.account, Money(0, "CNY"), now)


def _about_shares(order: ShareOrder, body: Mapping[str, Any], mchid: str, now: datetime) -> Shared:
    """Return what a share order's answer says of each share. Raises Doubt when it is not about these shares.

    Beside ours there may be one line for the merchant itself: what became of the rest.
    """
    messages.expect(body, "out_order_no", order.reference)
    messages.expect(body, "transaction_id", order.payment_channel_ref)
    state, order_ref = messages.words_of(body, "state"), messages.reference_of(body, "order_id")
    if state not in ("PROCESSING", "FINISHED"):
        raise Doubt(f"state {state[:40]!r} is not known")
    listed = body.get("receivers", [])
    if not isinstance(listed, list) or not all(isinstance(line, dict) for line in listed):
        raise Doubt("receivers is not a list of objects")
    lines = {(messages.words_of(line, "type"), messages.words_of(line, "account")): line for line in listed}
    if len(lines) != len(listed):
        raise Doubt("a receiver is listed twice")
    wanted = {(_type(share.receiver), share.receiver.account) for share in order.shares}
    rest = [line for key, line in lines.items() if key == ("MERCHANT_ID", mchid) and key not in wanted]
    if len(lines) - len(rest) != len(order.shares) or not wanted <= lines.keys():
        raise Doubt("the receivers are not those of our order")
    shares = tuple(_line(lines[_type(share.receiver), share.receiver.account], share.amount) for share in order.shares)
    if shares:
        return Shared(together(order_ref, shares), shares)
    released = [_line(line, None) for line in rest]
    if state == "PROCESSING" or any(isinstance(line, Pending) for line in released):
        return Shared(Pending(channel_ref=order_ref))
    return Shared(together(order_ref, released) if released else Confirmed(order_ref, Money(0, "CNY"), now))


def _line(line: Mapping[str, Any], ours: Money | None) -> Outcome:
    """Return what one line of a share order says. Raises Doubt. ours: what we asked for, where we named an amount."""
    amount = messages.amount_of(line, "amount")
    if ours is not None and amount != ours:
        raise AmountDiffers(amount, ours)
    match result := messages.words_of(line, "result"):
        case "PENDING":
            return Pending(channel_ref=messages.words_of(line, "detail_id") or None)
        case "SUCCESS":
            return Confirmed(messages.reference_of(line, "detail_id"), amount, messages.moment_of(line, "finish_time"))
        case "CLOSED":
            return Refused(messages.words_of(line, "fail_reason") or result)
        case _:
            raise Doubt(f"result {result[:40]!r} is not known")


def _left(order: ShareOrder, body: Mapping[str, Any], now: datetime) -> Outcome:
    messages.expect(body, "transaction_id", order.payment_channel_ref)
    left = body.get("unsplit_amount")
    if type(left) is not int or not 0 <= left <= MAX_MINOR:
        raise Doubt(f"unsplit_amount {str(left)[:20]!r} is not an amount")
    return Confirmed(order.payment_channel_ref, Money(left, "CNY"), now)


def _returned(order: ShareReturn, body: Mapping[str, Any]) -> Outcome:
    messages.expect(body, "out_return_no", order.reference)
    messages.expect(body, "out_order_no", order.order.reference)
    messages.expect(body, "return_mchid", order.receiver.account)
    amount, ref = messages.amount_of(body, "amount"), messages.reference_of(body, "return_id")
    if amount != order.amount:
        raise AmountDiffers(amount, order.amount)
    match result := messages.words_of(body, "result"):
        case "PROCESSING":
            return Pending(channel_ref=ref)
        case "SUCCESS":
            return Confirmed(ref, amount, messages.moment_of(body, "finish_time"))
        case "FAILED":
            return Refused(messages.words_of(body, "fail_reason") or result, closed=True)
        case _:
            raise Doubt(f"result {result[:40]!r} is not known")


def _type(receiver: Receiver) -> str:
    try:
        return TYPES[receiver.kind]
    except KeyError:
        raise ValueError(f"WeChat Pay knows no receivers by {receiver.kind.value}") from None


def _words(words: str) -> str:
    return messages.plain(words, MAX_DESCRIPTION) or "-"
