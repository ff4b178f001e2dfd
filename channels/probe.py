"""One call to a channel by hand, showing what was concluded and why: the body of `sluice channel call`.

Exit codes: 0 the answer was verified and the operation did what was asked (a query of an unpaid order is answered, so
it is 0); 1 the channel said no; 2 the call was not made, it is asked for wrongly; 3 nothing certain is known.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from channels.client import ChannelClient
from channels.contract import (
    BadBill,
    BadNotice,
    Channel,
    Confirmed,
    Kind,
    Method,
    Order,
    Outcome,
    Pending,
    RefundOrder,
    Refused,
    Request,
    Response,
    Unknown,
)
from channels.registry import CHANNELS
from kernel.env import Env, Transport
from kernel.money import Money, is_currency

OPS = ("create", "query", "close", "reverse", "refund", "refund_query", "bill")
OK, REFUSED, USAGE, UNKNOWN = 0, 1, 2, 3
# What may be set, with its meaning; the second name is the one WeChat uses.
SETS: Mapping[str, str] = {
    "credentials": "file with the settings of the channel account (see settings_for)",
    "reference": "our number of the payment (out_trade_no); create makes one up",
    "amount": "of the payment, in minor units (total); create: 1; query: believed as stated when left out",
    "currency": "ISO code; CNY",
    "description": "what is bought",
    "method": "qr or barcode",
    "auth_code": "the payer's code, for barcode",
    "store": "name of the till, for barcode",
    "notify_url": "where notices go",
    "expires_in_s": "seconds until the order expires; 1800",
    "refund_reference": "our number of the refund (out_refund_no); refund makes one up",
    "refund_amount": "in minor units; refund: the whole payment",
    "reason": "of the refund",
    "date": "of the bill, YYYY-MM-DD",
    "kind": "of the bill: trade or fund",
    "save": "file to write the bill to",
}
ALIASES: Mapping[str, str] = {
    "out_trade_no": "reference",
    "total": "amount",
    "out_refund_no": "refund_reference",
    "day": "date",
}


class Usage(Exception):
    """What was asked for cannot be asked; nothing was sent."""


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What to print, and how to exit."""

    result: Mapping[str, Any]
    exit_code: int


def settings_for(channel_name: str, *, home: Path, sets: Mapping[str, str], base_url: str | None) -> dict[str, Any]:
    """Return the settings of a channel account: from `credentials`, or else HOME/channels/NAME.json. Raises Usage.

    base_url, when given, replaces the one in the file. Key files named there are taken relative to the file.
    """
    path = Path(sets["credentials"]) if "credentials" in sets else home / "channels" / f"{channel_name}.json"
    try:
        settings = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise Usage(f"the settings of the channel cannot be read from {path}: {error}") from None
    if not isinstance(settings, dict):
        raise Usage(f"{path} does not hold a JSON object")
    settings = _beside(path.parent, settings)
    return settings | ({"base_url": base_url} if base_url else {})


async def call(
    channel_name: str, op: str, settings: Mapping[str, Any], sets: Mapping[str, str], env: Env
) -> ProbeResult:
    """Make one call and return what is known after it. Never raises for what the channel or the user did."""
    said: dict[str, Any] = {"channel": channel_name, "op": op}
    try:
        chosen = _names(sets)
        build = CHANNELS.get(channel_name)
        if build is None:
            raise Usage(f"there is no channel {channel_name!r}; there are: {', '.join(sorted(CHANNELS))}")
        if op not in OPS:
            raise Usage(f"there is no operation {op!r}; there are: {', '.join(OPS)}")
        try:
            channel = build(settings)
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise Usage(f"these settings make no channel: {type(error).__name__}: {error}") from None
        watch = _Watch(env.transport)
        env = replace(env, transport=watch)
        client = ChannelClient(channel, env)
        if op == "bill":
            exit_code = await _bill(client, watch, env, chosen, said)
        else:
            exit_code = await _operation(op, client, watch, env, chosen, said)
    except Usage as error:
        return ProbeResult(said | {"error": str(error)}, USAGE)
    return ProbeResult(said, exit_code)


async def _operation(
    op: str, client: ChannelClient, watch: "_Watch", env: Env, sets: Mapping[str, str], said: dict[str, Any]
) -> int:
    order = _order(op, sets, env)
    said["reference"] = order.reference
    if op in ("refund", "refund_query"):
        refund = _refund(op, sets, env, order)
        said["refund_reference"] = refund.reference
        outcome = await (client.refund(refund) if op == "refund" else client.refund_query(refund))
        if op == "refund_query" and "refund_amount" not in sets and (stated := _stated(outcome)) and watch.answer:
            told = replace(refund, amount=stated)
            outcome = client.channel.refund_query_outcome(told, watch.answer, now=env.now())
    elif op == "create":
        outcome = await client.pay(order)
    elif op == "close":
        outcome = await client.close(order)
    elif op == "reverse":
        outcome = await client.reverse(order)
    else:
        outcome = await client.query(order)
        if "amount" not in sets and (stated := _stated(outcome)) and watch.answer:
            outcome = client.channel.query_outcome(replace(order, amount=stated), watch.answer, now=env.now())
    said |= _words(outcome)
    verified = _describe_answer(watch, client.channel, env, said)
    return _exit_code(op, outcome, verified)


async def _bill(client: ChannelClient, watch: "_Watch", env: Env, sets: Mapping[str, str], said: dict[str, Any]) -> int:
    try:
        day = date.fromisoformat(sets.get("date", ""))
    except ValueError:
        raise Usage("a bill is of a day: --set date=YYYY-MM-DD") from None
    kind = sets.get("kind", "trade")
    if kind not in ("trade", "fund"):
        raise Usage("the kind of a bill is trade or fund")
    said |= {"date": day.isoformat(), "kind": kind}
    try:
        bill = await (client.bill(day) if kind == "trade" else client.fund_bill(day))
        verified = _describe_answer(watch, client.channel, env, said)
        if bill.content is None:
            nothing = {"outcome": "refused", "message": "no business that day"}
            said |= nothing if bill.nothing else {"outcome": "unknown", "message": bill.reason}
            return REFUSED if bill.nothing else UNKNOWN
        said["bytes"] = len(bill.content)
        if "save" in sets:
            _save(Path(sets["save"]), bill.content)
            said["saved"] = sets["save"]
        said |= await _count(client, kind, bill.content, day)
    except BadBill as bad:
        said |= {"outcome": "unknown", "code": bad.code, "message": bad.message}
        return UNKNOWN
    said["outcome"] = "confirmed"
    return OK if verified else UNKNOWN


async def _count(client: ChannelClient, kind: str, content: bytes, day: date) -> dict[str, Any]:
    if kind == "fund":
        entries = await client.fund_lines(content, day)
        return {"rows": len(entries), "net_minor": sum(line.amount.minor for line in entries)}
    lines = await client.bill_lines(content, day)
    payments = [line.amount.minor for line in lines if line.kind is Kind.PAYMENT]
    refunds = [line.amount.minor for line in lines if line.kind is Kind.REFUND]
    return {
        "rows": len(lines),
        "payments": len(payments),
        "payments_minor": sum(payments),
        "refunds": len(refunds),
        "refunds_minor": sum(refunds),
        "fees_minor": sum(line.fee.minor for line in lines),
    }


def _save(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise Usage(f"the bill cannot be written to {path}: {error}") from None


def _describe_answer(watch: "_Watch", channel: Channel, env: Env, said: dict[str, Any]) -> bool:
    """Say which key verified the answer that decided, and return whether one did."""
    answer = watch.answer
    said["verified_by"] = None
    if answer is None:
        said["verification"] = "there was no answer"
        return False
    said |= {"http_status": answer.status, "rail_request_id": answer.headers.get("request-id", "")}
    try:
        said["verified_by"] = channel.verified_by(answer, now=env.now())
    except BadNotice as doubt:
        said["verification"] = f"{doubt.code}: {doubt.message}"
        return False
    return True


def _words(outcome: Outcome) -> dict[str, Any]:
    match outcome:
        case Confirmed(channel_ref, amount, happened_at):
            facts: dict[str, Any] = {
                "channel_ref": channel_ref,
                "amount": amount.minor,
                "currency": amount.currency,
                "happened_at": happened_at.isoformat(),
            }
        case Pending(next_action, channel_ref):
            facts = {"channel_ref": channel_ref, "next_action": dict(next_action) if next_action else None}
        case Refused(code, message, closed, retriable):
            facts = {"code": code, "message": message, "closed": closed, "retriable": retriable}
        case Unknown(reason, not_found, not_sent):
            facts = {"message": reason, "not_found": not_found, "not_sent": not_sent}
    return {"outcome": type(outcome).__name__.lower(), **facts}


def _exit_code(op: str, outcome: Outcome, verified: bool) -> int:
    match outcome:
        case Unknown():
            return UNKNOWN
        case Refused(closed=closed):  # a query is answered by it; of a close it is what was asked
            done = op in ("query", "refund_query") or (closed and op in ("close", "reverse"))
            return OK if done and verified else REFUSED
        case _:
            return OK if verified else UNKNOWN


def _stated(outcome: Outcome) -> Money | None:
    return outcome.stated_amount if isinstance(outcome, Unknown) else None


def _names(sets: Mapping[str, str]) -> dict[str, str]:
    chosen = {ALIASES.get(name, name): value for name, value in sets.items()}
    unknown = sorted(chosen.keys() - SETS.keys())
    if unknown:
        raise Usage(f"nothing is called {', '.join(unknown)}; what can be set: {', '.join(SETS)}")
    return chosen


def _order(op: str, sets: Mapping[str, str], env: Env) -> Order:
    method = sets.get("method", "barcode" if "auth_code" in sets else "qr")
    if method not in tuple(Method):
        raise Usage(f"the method is qr or barcode, not {method!r}")
    if method == Method.BARCODE and op == "create" and "auth_code" not in sets:
        raise Usage("barcode takes the payer's code: --set auth_code=…")
    reference = sets.get("reference") or (f"probe-{env.ids.body()}" if op == "create" else "")
    if not reference and op != "refund_query":
        raise Usage(f"{op} is about a payment: --set reference=…")
    expires_in_s = _whole("expires_in_s", sets.get("expires_in_s", "1800"))
    return Order(
        reference=reference,
        amount=_money("amount", sets, "1"),
        method=Method(method),
        description=sets.get("description", "probe"),
        notify_url=sets.get("notify_url", "https://example.invalid/notice"),
        expires_at=env.now() + timedelta(seconds=expires_in_s),
        created_at=env.now(),
        auth_code=sets.get("auth_code"),
        store=sets.get("store"),
    )


def _refund(op: str, sets: Mapping[str, str], env: Env, order: Order) -> RefundOrder:
    reference = sets.get("refund_reference") or (f"probe-{env.ids.body()}" if op == "refund" else "")
    if not reference:
        raise Usage("refund_query is about a refund: --set refund_reference=…")
    if not order.reference:
        raise Usage("name the refunded payment too, it is compared: --set reference=…")
    if op == "refund" and "amount" not in sets:
        raise Usage("a refund states what was paid: --set amount=… in minor units")
    return RefundOrder(
        reference=reference,
        payment_reference=order.reference,
        payment_amount=order.amount,
        amount=_money("refund_amount", sets, str(order.amount.minor)),
        reason=sets.get("reason", "probe"),
        notify_url=order.notify_url,
        created_at=env.now(),
        payment_created_at=order.created_at,
    )


def _money(name: str, sets: Mapping[str, str], otherwise: str) -> Money:
    currency = sets.get("currency", "CNY")
    if not is_currency(currency):
        raise Usage(f"{currency!r} is no ISO 4217 currency")
    minor = _whole(name, sets.get(name, otherwise))
    if minor < 1:
        raise Usage(f"{name} is at least 1")
    return Money(minor, currency)


def _whole(name: str, value: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) <= 15):
        raise Usage(f"{name} is a whole number, not {value[:40]!r}")
    return int(value)


def _beside(folder: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings with the paths of key files taken relative to `folder`."""

    def resolved(name: str, value: Any) -> Any:
        if isinstance(value, str):
            return str(folder / value) if name == "file" or name.endswith("_file") else value
        if isinstance(value, list):
            return [resolved(name, part) for part in value]
        return _beside(folder, value) if isinstance(value, dict) else value

    return {name: resolved(name, value) for name, value in settings.items()}


class _Watch:
    """A transport that remembers the first answer: the one to what was asked, not to a fetch of keys or of a file."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.answer: Response | None = None

    async def send(self, request: Request, *, timeout_s: float) -> Response:
        answer = await self._transport.send(request, timeout_s=timeout_s)
        self.answer = self.answer or answer
        return answer
