"""One call to a channel by hand, showing what was concluded and why: the body of `sluice channel call`.

It serves every rail of the registry, with what each has. Exit codes: 0 the answer was verified and the operation did
what was asked (a query of an unpaid order is answered, so it is 0); 1 the channel said no; 2 the call was not made, it
is asked for wrongly; 3 nothing certain is known.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from channels.client import ChannelClient, SharingClient
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
from channels.powers import LogsIn, RefundTarget, SendsOn
from channels.registry import CHANNELS, capabilities_of
from channels.sharing import Receiver, ReceiverKind, Share, ShareOrder, ShareReturn, Sharing
from kernel.env import Env, Transport
from kernel.money import Money, is_currency

PAYMENT_OPS = ("create", "query", "close", "reverse", "proceed", "capture", "void")
REFUND_OPS = ("refund", "refund_query", "abnormal_refund")
SHARING_OPS = ("bind", "unbind", "share", "share_query", "release", "give_back", "give_back_query")
OPS = (*PAYMENT_OPS, *REFUND_OPS, "bill", *SHARING_OPS)
# These only look. Every other moves money or changes an order at the rail, on the word of whoever types it.
LOOKING_OPS = frozenset({"query", "refund_query", "share_query", "give_back_query", "bill"})
# Of what may be set, what is said of a person, or opens something: kept nowhere but as its end and a digest.
PRIVATE = frozenset({"auth_code", "payer", "token", "client_ip", "bank_account", "real_name", "receiver_name"})
OK, REFUSED, USAGE, UNKNOWN = 0, 1, 2, 3
# What may be set, with its meaning.
SETS: Mapping[str, str] = {
    "credentials": "file with the settings of the channel account (see settings_for)",
    "reference": "our number of the payment (out_trade_no, orderId, …); create makes one up",
    "channel_ref": "the rail's number of the payment, as an earlier call told it",
    "created_at": "when the payment was made, ISO 8601 with offset; as an earlier call told it; now",
    "amount": "of the payment, in minor units (total); create: 1; query: believed as stated when left out",
    "currency": "ISO code; CNY, where the rail takes it",
    "description": "what is bought, or what a share is for",
    "method": "how it is paid; else told from what is set, else the rail's simplest",
    "auth_code": "the payer's code, for barcode",
    "store": "name of the till, for barcode",
    "payer": "who the payer is at the rail, for jsapi",
    "token": "what the rail's form gave for the card, for card",
    "client_ip": "the payer's address, for h5",
    "return_url": "where the payer's browser goes afterwards, for page and h5",
    "hold": "yes: reserve the money only",
    "share_later": "yes: the rail freezes the money until it is shared out",
    "notify_url": "where notices go",
    "expires_in_s": "seconds until the order expires; 1800",
    "capture_amount": "in minor units; capture: all that is held",
    "refund_reference": "our number of the refund (out_refund_no); refund makes one up",
    "refund_channel_ref": "the rail's number of the refund",
    "refund_created_at": "when the refund was made; as an earlier call told it; now",
    "refund_amount": "in minor units; refund: the whole payment",
    "reason": "of the refund",
    "bank_type": "the rail's code of the payer's bank, for abnormal_refund; left out, the money goes to us",
    "bank_account": "number of the payer's card, for abnormal_refund",
    "real_name": "name of the card's owner, for abnormal_refund",
    "date": "of the bill, YYYY-MM-DD",
    "kind": "of the bill: trade or fund",
    "save": "file to write the bill to",
    "receiver": "merchant:NUMBER, person:ID or login:NAME; who is bound, shared to, or gives back",
    "receiver_name": "full name, which the rail compares",
    "relation": "what the receiver is to us, in the rail's words",
    "share_reference": "our number of the share order (out_order_no); share and release make one up",
    "share_channel_ref": "the rail's number of the share order",
    "share_amount": "in minor units",
    "release_rest": "yes: what is not shared out becomes ours with it",
    "return_reference": "our number of the return (out_return_no); give_back makes one up",
    "return_amount": "in minor units",
}
ALIASES: Mapping[str, str] = {
    "out_trade_no": "reference",
    "total": "amount",
    "out_refund_no": "refund_reference",
    "out_order_no": "share_reference",
    "out_return_no": "return_reference",
    "transaction_id": "channel_ref",
    "day": "date",
}
# The method of an order for which none is named: the first that the rail has.
SIMPLEST = (Method.QR, Method.PAGE, Method.TRANSFER, Method.H5, Method.APP, Method.JSAPI, Method.CARD, Method.BARCODE)
NEEDS: Mapping[Method, str] = {Method.BARCODE: "auth_code", Method.JSAPI: "payer", Method.CARD: "token"}


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


def asked(channel_name: str, op: str, sets: Mapping[str, str]) -> tuple[dict[str, str], bool]:
    """Return what was set under the names of SETS, and whether the call only looks. Raises Usage.

    Where a rail is asked by sending the same once more, a query without the rail's number may pay, or refund.
    """
    chosen, build = _names(sets), CHANNELS.get(channel_name)
    if build is None:
        raise Usage(f"there is no channel {channel_name!r}; there are: {', '.join(sorted(CHANNELS))}")
    if op not in OPS:
        raise Usage(f"there is no operation {op!r}; there are: {', '.join(OPS)}")
    number = {"query": "channel_ref", "refund_query": "refund_channel_ref"}.get(op)
    resends = number is not None and capabilities_of(build).query_by_resend
    unnumbered = resends and not all(chosen.get(number or "", "").split(":"))  # PayPal's numbers have parts
    return chosen, op in LOOKING_OPS and not unnumbered


async def call(
    channel_name: str, op: str, settings: Mapping[str, Any], sets: Mapping[str, str], env: Env
) -> ProbeResult:
    """Make one call and return what is known after it. Never raises for what the channel or the user did."""
    said: dict[str, Any] = {"channel": channel_name, "op": op}
    try:
        chosen, _ = asked(channel_name, op, sets)
        try:
            channel = CHANNELS[channel_name](settings)
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise Usage(f"these settings make no channel: {type(error).__name__}: {error}") from None
        desk = _Desk(channel, env, chosen, said)
        exit_code = await (desk.bill() if op == "bill" else desk.operation(op))
    except Usage as error:
        return ProbeResult(said | {"error": str(error)}, USAGE)
    return ProbeResult(said, exit_code)


class _Desk:
    """One call, from what was set to what is known after it."""

    def __init__(self, channel: Channel, env: Env, sets: Mapping[str, str], said: dict[str, Any]) -> None:
        login = channel.login_request(now=env.now()) if isinstance(channel, LogsIn) else None
        self._watch = _Watch(env.transport, None if login is None else login.url)
        self._env = replace(env, transport=self._watch)
        self._client = ChannelClient(channel, self._env)
        self._channel, self._sets, self._said = channel, sets, said

    async def operation(self, op: str) -> int:
        """Make the call; return how to exit."""
        try:
            if op in SHARING_OPS:
                outcome = await self._share(op)
            elif op in REFUND_OPS:
                outcome = await self._refund(op)
            else:
                outcome = await self._payment(op)
        except (NotImplementedError, ValueError, KeyError, TypeError) as error:
            if self._watch.sent:
                raise
            raise Usage(f"{self._channel.name} cannot be asked that: {error}") from None
        self._said |= _words(outcome)
        if self._watch.sent or isinstance(outcome, Unknown):
            return _exit_code(op, outcome, _describe_answer(self._watch, self._channel, self._env, self._said))
        self._said |= {"verified_by": None, "verification": "nothing was sent: the payer carries it to the rail"}
        return _exit_code(op, outcome, True)

    async def _payment(self, op: str) -> Outcome:
        order = _order(op, self._sets, self._env, self._channel)
        self._said |= {"reference": order.reference, "created_at": order.created_at.isoformat()}
        match op:
            case "create":
                return await self._client.pay(order)
            case "close":
                return await self._client.close(order)
            case "reverse":
                return await self._client.reverse(order)
            case "proceed":
                return await self._client.proceed(order)
            case "void":
                return await self._client.void(order)
            case "capture":
                amount = _money("capture_amount", self._sets, str(order.amount.minor), order.amount.currency)
                return await self._client.capture(order, amount)
        if self._channel.capabilities.query_by_resend and order.channel_ref is None and "amount" not in self._sets:
            raise Usage(
                "without its number this rail is asked by making the order again: --set channel_ref=…, or all that it"
                " was made with, --set amount=… among it"
            )
        outcome = await self._client.query(order)
        if "amount" not in self._sets and (stated := _stated(outcome)):
            outcome = await self._client.query(replace(order, amount=stated))
        return outcome

    async def _refund(self, op: str) -> Outcome:
        order = _order(op, self._sets, self._env, self._channel)
        refund = _refund(op, self._sets, self._env, order)
        self._said |= {"reference": order.reference, "refund_reference": refund.reference}
        self._said["refund_created_at"] = refund.created_at.isoformat()
        if op == "refund":
            return await self._client.refund(refund)
        if op == "abnormal_refund":
            return await self._send_on(refund)
        outcome = await self._client.refund_query(refund)
        if "refund_amount" not in self._sets and (stated := _stated(outcome)):
            outcome = await self._client.refund_query(replace(refund, amount=stated))
        return outcome

    async def _send_on(self, refund: RefundOrder) -> Outcome:
        """Say where the money of a refund goes that its payer could not receive."""
        channel, sets = self._channel, self._sets
        if not isinstance(channel, SendsOn):
            raise Usage(f"{channel.name} leaves no refund half done")
        if not refund.channel_ref:
            raise Usage("such a refund goes by the rail's number: --set refund_channel_ref=…")
        card = [sets.get(name, "") for name in ("bank_type", "bank_account", "real_name")]
        if any(card) and not all(card):
            raise Usage(
                "the payer's card is bank_type, bank_account and real_name together; without them it goes to us"
            )
        target = RefundTarget(any(card), *card)
        ask = self._client.exchange
        return await ask(
            "refund",
            refund,
            lambda asked: channel.abnormal_refund_request(asked, target),
            channel.abnormal_refund_outcome,
        )

    async def _share(self, op: str) -> Outcome:
        """Make a sharing call; each share by itself is said under `shares`."""
        if not isinstance(self._channel, Sharing):
            raise Usage(f"{self._channel.name} does not share out")
        rail, sets = SharingClient(self._client), self._sets
        if op in ("bind", "unbind"):
            receiver = _receiver(sets)
            number = self._env.ids.body()
            return await (rail.bind(receiver, number) if op == "bind" else rail.unbind(receiver, number))
        order = _share_order(op, sets, self._env, self._channel)
        self._said |= {"reference": order.payment_reference, "share_reference": order.reference}
        if op in ("give_back", "give_back_query"):
            back = _share_return(op, sets, self._env, order)
            self._said["return_reference"] = back.reference
            return await (rail.give_back(back) if op == "give_back" else rail.give_back_query(back))
        if op == "release":
            return await rail.release(order)
        found = await (rail.share(order) if op == "share" else rail.share_query(order))
        self._said["shares"] = [_words(share) for share in found.shares]
        return found.whole

    async def bill(self) -> int:
        """Fetch a day's bill, count it, keep it if that is wished; return how to exit."""
        sets, said = self._sets, self._said
        try:
            day = date.fromisoformat(sets.get("date", ""))
        except ValueError:
            raise Usage("a bill is of a day: --set date=YYYY-MM-DD") from None
        kind = sets.get("kind", "trade")
        if kind not in ("trade", "fund"):
            raise Usage("the kind of a bill is trade or fund")
        said |= {"date": day.isoformat(), "kind": kind}
        try:
            bill = await (self._client.bill(day) if kind == "trade" else self._client.fund_bill(day))
            verified = _describe_answer(self._watch, self._channel, self._env, said)
            if bill.content is None:
                nothing = {"outcome": "refused", "message": bill.reason or "no business that day"}
                said |= nothing if bill.nothing else {"outcome": "unknown", "message": bill.reason}
                return REFUSED if bill.nothing else UNKNOWN
            said["bytes"] = len(bill.content)
            if "save" in sets:
                _save(Path(sets["save"]), bill.content)
                said["saved"] = sets["save"]
            said |= await _count(self._client, kind, bill.content, day)
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
    if not channel.capabilities.signs_answers:
        said["verification"] = "this rail signs no answers: the connection vouches for them"
        return True
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
        case Pending(next_action, channel_ref, proceed, held, usable_until):
            facts = {"channel_ref": channel_ref, "next_action": dict(next_action) if next_action else None}
            facts |= {"usable_until": usable_until.isoformat()} if usable_until else {}
            facts |= {"proceed": proceed} if proceed else {}
            facts |= {"held": held.minor, "currency": held.currency} if held else {}
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
            done = op in ("query", "refund_query") or (closed and op in ("close", "reverse", "void"))
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


def _order(op: str, sets: Mapping[str, str], env: Env, channel: Channel) -> Order:
    reference = sets.get("reference") or (f"probe-{env.ids.body()}" if op == "create" else "")
    if not reference and op != "refund_query":
        raise Usage(f"{op} is about a payment: --set reference=…")
    expires_in_s = _whole("expires_in_s", sets.get("expires_in_s", "1800"))
    return Order(
        reference=reference,
        amount=_money("amount", sets, "1", _currency(sets, channel)),
        method=_method(op, sets, channel),
        description=sets.get("description", "probe"),
        notify_url=sets.get("notify_url", "https://example.invalid/notice"),
        expires_at=env.now() + timedelta(seconds=expires_in_s),
        created_at=_moment("created_at", sets, env),
        auth_code=sets.get("auth_code"),
        store=sets.get("store"),
        payer=sets.get("payer"),
        token=sets.get("token"),
        client_ip=sets.get("client_ip"),
        return_url=sets.get("return_url"),
        authorize_only=_yes("hold", sets),
        share_later=_yes("share_later", sets),
        channel_ref=sets.get("channel_ref"),
    )


def _method(op: str, sets: Mapping[str, str], channel: Channel) -> Method:
    """Return the method that is named, or told by what is set, or the rail's simplest."""
    offered = channel.capabilities.methods
    told = [method for method, need in NEEDS.items() if need in sets and method in offered]
    named = sets.get("method") or next(iter(told + [method for method in SIMPLEST if method in offered]))
    if named not in tuple(Method) or Method(named) not in offered:
        raise Usage(f"the methods of {channel.name} are {', '.join(sorted(offered))}, not {named!r}")
    need = NEEDS.get(Method(named))
    if op == "create" and need and need not in sets:
        raise Usage(f"{named} needs --set {need}=…, {SETS[need]}")
    return Method(named)


def _currency(sets: Mapping[str, str], channel: Channel) -> str:
    offered = channel.capabilities.currencies
    currency = sets.get("currency", "CNY" if "CNY" in offered else min(offered))
    if not is_currency(currency):
        raise Usage(f"{currency!r} is no ISO 4217 currency")
    return currency


def _moment(name: str, sets: Mapping[str, str], env: Env) -> datetime:
    if name not in sets:
        return env.now()
    try:
        moment = datetime.fromisoformat(sets[name])
    except ValueError:
        moment = datetime.min
    if moment.tzinfo is None:
        raise Usage(f"{name} is a moment with its offset: 2026-11-24T16:30:00+08:00")
    return moment


def _yes(name: str, sets: Mapping[str, str]) -> bool:
    if sets.get(name, "no") not in ("yes", "no"):
        raise Usage(f"{name} is yes or no")
    return sets.get(name) == "yes"


def _refund(op: str, sets: Mapping[str, str], env: Env, order: Order) -> RefundOrder:
    reference = sets.get("refund_reference") or (f"probe-{env.ids.body()}" if op == "refund" else "")
    if not reference:
        raise Usage(f"{op} is about a refund: --set refund_reference=…")
    if not order.reference:
        raise Usage("name the refunded payment too, it is compared: --set reference=…")
    if op == "refund" and "amount" not in sets:
        raise Usage("a refund states what was paid: --set amount=… in minor units")
    return RefundOrder(
        reference=reference,
        payment_reference=order.reference,
        payment_amount=order.amount,
        amount=_money("refund_amount", sets, str(order.amount.minor), order.amount.currency),
        reason=sets.get("reason", "probe"),
        notify_url=order.notify_url,
        created_at=_moment("refund_created_at", sets, env),
        payment_created_at=order.created_at,
        payment_channel_ref=order.channel_ref,
        channel_ref=sets.get("refund_channel_ref"),
    )


def _receiver(sets: Mapping[str, str]) -> Receiver:
    kind, colon, account = sets.get("receiver", "").partition(":")
    if kind not in tuple(ReceiverKind) or not colon or not account:
        raise Usage(f"{SETS['receiver']}: --set receiver=merchant:1900000110")
    return Receiver(ReceiverKind(kind), account, sets.get("receiver_name", ""), sets.get("relation", ""))


def _share_order(op: str, sets: Mapping[str, str], env: Env, channel: Channel) -> ShareOrder:
    reference = sets.get("share_reference") or (f"probe-{env.ids.body()}" if op in ("share", "release") else "")
    if not reference:
        raise Usage(f"{op} is about a share order: --set share_reference=…")
    if not sets.get("channel_ref"):
        raise Usage("sharing is of a payment that the rail has numbered: --set channel_ref=…")
    shares = []
    if op in ("share", "share_query") and (op == "share" or "receiver" in sets):
        if "share_amount" not in sets:
            raise Usage("a share is of an amount: --set share_amount=… in minor units")
        amount = _money("share_amount", sets, "", _currency(sets, channel))
        shares = [Share(_receiver(sets), amount, sets.get("description", "probe"))]
    return ShareOrder(
        reference=reference,
        payment_reference=sets.get("reference", ""),
        payment_channel_ref=sets["channel_ref"],
        shares=shares,
        created_at=_moment("created_at", sets, env),
        release_rest=_yes("release_rest", sets),
        description=sets.get("description", "probe"),
        channel_ref=sets.get("share_channel_ref"),
    )


def _share_return(op: str, sets: Mapping[str, str], env: Env, order: ShareOrder) -> ShareReturn:
    reference = sets.get("return_reference") or (f"probe-{env.ids.body()}" if op == "give_back" else "")
    if not reference:
        raise Usage("give_back_query is about a return: --set return_reference=…")
    if "return_amount" not in sets:
        raise Usage("a return is of an amount: --set return_amount=… in minor units")
    amount = _money("return_amount", sets, "", sets.get("currency", "CNY"))
    description = sets.get("description", "probe")
    return ShareReturn(reference, order, _receiver(sets), amount, description, _moment("created_at", sets, env))


def _money(name: str, sets: Mapping[str, str], otherwise: str, currency: str) -> Money:
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

    def __init__(self, transport: Transport, login_url: str | None) -> None:
        self._transport = transport
        self.addresses = transport.addresses
        self._login_url = login_url
        self.answer: Response | None = None
        self.sent = False

    async def send(self, request: Request, *, timeout_s: float) -> Response:
        self.sent = True
        answer = await self._transport.send(request, timeout_s=timeout_s)
        if request.url != self._login_url:
            self.answer = self.answer or answer
        return answer
