"""The one place where a channel's translation meets the network."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any, Protocol, TypeVar

from channels.contract import (
    BadNotice,
    BillLine,
    Channel,
    Dispute,
    FundLine,
    Order,
    Outcome,
    Pending,
    RefundOrder,
    Request,
    Response,
    Unknown,
    Unmoved,
)
from channels.powers import (
    Authorizes,
    HasFundBill,
    IdentifiesPayers,
    LogsIn,
    PayerInitiates,
    Proceeds,
    Reverses,
    RotatesKeys,
    SignsActions,
    TellsDisputes,
)
from channels.sharing import Receiver, Shared, ShareOrder, ShareReturn, Sharing, TellsFrozen
from kernel.env import Env, NoAnswer, NotSent
from kernel.money import Money

log = logging.getLogger(__name__)
S = TypeVar("S")
S_contra = TypeVar("S_contra", contravariant=True)

# Seconds an operation may take, everything together. A payer's code is charged while the answer is awaited.
TIMEOUTS_S: Mapping[str, float] = {
    "pay": 15.0,
    "query": 10.0,
    "close": 10.0,
    "reverse": 15.0,
    "proceed": 15.0,
    "capture": 15.0,
    "void": 10.0,
    "login": 10.0,
    "payer": 10.0,
    "refund": 15.0,
    "refund_query": 10.0,
    "bind": 10.0,
    "unbind": 10.0,
    "share": 15.0,
    "share_query": 10.0,
    "release": 15.0,
    "give_back": 15.0,
    "give_back_query": 10.0,
    "frozen": 10.0,
    "dispute": 10.0,
    "bill": 15.0,
    "bill_file": 600.0,
    "keys": 10.0,
}
_FILES = frozenset({"bill", "bill_file"})  # UnionPay's and Stripe's come in the very answer
MAX_BILL_PAGES = (
    20_000  # of at least a hundred lines each; a rail that never says "last page" is not listened to for ever
)
MOST_QUESTIONS = 4  # sent to learn one thing, see Unknown.follow_up
KEY_REFRESH_S = 60.0  # at most one fetch of keys in this time: whoever invents key ids must not make us ask for them
MOST_KEY_ADDRESSES = 4  # and so many in it, at rails where each key has an address that a message names


@dataclass(frozen=True, slots=True)
class Bill:
    """What came of asking for a day's bill. `content` is None while there is none, and for ever when `nothing`."""

    content: bytes | None = None
    nothing: bool = False  # the channel says, finally, that there was no business that day
    reason: str = ""  # why there is no content yet, for people


class OutcomeOf(Protocol[S_contra]):
    """Reads an answer to what was asked."""

    def __call__(self, subject: S_contra, answer: Response, /, *, now: datetime) -> Outcome: ...


class ChannelClient:
    """One channel account, ready to be asked. Methods return an Outcome and raise nothing that the network did.

    What the rail has no power to do (channels/powers.py) raises TypeError.
    """

    def __init__(self, channel: Channel, env: Env, *, timeouts_s: Mapping[str, float] = TIMEOUTS_S) -> None:
        self.channel = channel
        self._env = env
        self._timeouts_s = timeouts_s
        self._key_fetches: dict[str, tuple[float, asyncio.Task[Sequence[str]]]] = {}  # by address; monotonic
        self._session = channel if isinstance(channel, LogsIn) else None  # found once: each call asks for it
        self._logging_in: asyncio.Task[str] | None = None

    async def pay(self, order: Order) -> Outcome:
        """Place the order with the channel, or sign what the payer's own browser or app will place it with."""
        able = self.channel.capabilities
        if order.method in able.payer_initiated:
            return await self._payer_initiated(order)
        found = await self.exchange("pay", order, self.channel.pay_request, self.channel.pay_outcome)
        if order.method in able.signs_actions and isinstance(found, Pending) and found.next_action:
            return await self._signed(order, found)
        return found

    async def query(self, order: Order) -> Outcome:
        """Ask what became of an order."""
        return await self.exchange("query", order, self.channel.query_request, self.channel.query_outcome)

    async def close(self, order: Order) -> Outcome:
        """Have an unpaid order closed; Refused(closed=True) when it is."""
        return await self.exchange("close", order, self.channel.close_request, self.channel.close_outcome)

    async def reverse(self, order: Order) -> Outcome:
        """Have a barcode order undone, paid or not; Refused(closed=True) when it is."""
        if not isinstance(self.channel, Reverses):
            raise self._lacks(Reverses)
        return await self.exchange("reverse", order, self.channel.reverse_request, self.channel.reverse_outcome)

    async def proceed(self, order: Order) -> Outcome:
        """Make the second call that a Pending(proceed=True) asked for; may be repeated."""
        if not isinstance(self.channel, Proceeds):
            raise self._lacks(Proceeds)
        return await self.exchange("proceed", order, self.channel.proceed_request, self.channel.proceed_outcome)

    async def capture(self, order: Order, amount: Money) -> Outcome:
        """Move reserved money, all or a part; may be repeated with the same amount."""
        rail = self.channel
        if not isinstance(rail, Authorizes):
            raise self._lacks(Authorizes)

        def outcome(subject: Order, answer: Response, /, *, now: datetime) -> Outcome:
            return rail.capture_outcome(subject, amount, answer, now=now)

        return await self.exchange("capture", order, lambda subject: rail.capture_request(subject, amount), outcome)

    async def void(self, order: Order) -> Outcome:
        """Release reserved money; Refused(closed=True) when it is."""
        if not isinstance(self.channel, Authorizes):
            raise self._lacks(Authorizes)
        return await self.exchange("void", order, self.channel.void_request, self.channel.void_outcome)

    async def refund(self, refund: RefundOrder) -> Outcome:
        """Ask for a refund; may be repeated with the same number."""
        return await self.exchange("refund", refund, self.channel.refund_request, self.channel.refund_outcome)

    async def refund_query(self, refund: RefundOrder) -> Outcome:
        """Ask what became of a refund."""
        return await self.exchange(
            "refund_query", refund, self.channel.refund_query_request, self.channel.refund_query_outcome
        )

    async def dispute(self, ref: str) -> Dispute | Unmoved | Unknown:
        """Ask how a dispute stands, by the rail's number of it."""
        rail = self.channel
        if not isinstance(rail, TellsDisputes):
            raise self._lacks(TellsDisputes)
        try:
            answer = await self._send("dispute", rail.dispute_request(ref))
        except NotSent as error:
            return Unknown(f"not sent: {error}", not_sent=True)
        except NoAnswer as error:
            return Unknown(f"no answer: {error}")
        return rail.dispute_outcome(ref, answer, now=self._env.now())

    async def exchange(self, op: str, subject: S, request: Callable[[S], Request], outcome: OutcomeOf[S]) -> Outcome:
        """Send and translate, and again while an answer needs another beside it.

        For what only one rail has, too: any pair of request and outcome will do. op: a name in TIMEOUTS_S. Whatever
        goes wrong on the way is Unknown; only provably unsent is said to be so.
        """
        found = await self._exchange_once(op, request(subject), subject, outcome)
        for _ in range(MOST_QUESTIONS - 1):
            if not isinstance(found, Unknown) or found.follow_up is None:
                break
            found = await self._exchange_once(op, found.follow_up, subject, outcome)
            if isinstance(found, Unknown) and found.not_sent:  # the first question was sent
                found = replace(found, not_sent=False)
        return replace(found, follow_up=None) if isinstance(found, Unknown) else found

    def payer_url(self, back_url: str, state: str) -> str | None:
        """Return where a page's visitor goes to come back with a code; None where the rail tells nobody who visits."""
        return self.channel.payer_url(back_url, state) if isinstance(self.channel, IdentifiesPayers) else None

    async def payer(self, code: str) -> str:
        """Return who visits a page, of the code their browser brought back. Raises NotSent, NoAnswer, BadNotice."""
        rail = self.channel
        if not isinstance(rail, IdentifiesPayers):
            raise self._lacks(IdentifiesPayers)
        answer = await self._env.transport.send(rail.payer_request(code), timeout_s=self._timeouts_s["payer"])
        return rail.payer(answer)

    async def bill(self, day: date) -> Bill:
        """Fetch the day's transaction bill, whole and with its hash checked. Raises BadBill."""
        return await self._fetch_bill(self.channel.bill_request(day))

    async def fund_bill(self, day: date) -> Bill:
        """Fetch the day's fund-flow bill; `nothing` where the rail has none. Raises BadBill."""
        if not isinstance(self.channel, HasFundBill):
            return Bill(nothing=True, reason="this rail has no such bill")
        return await self._fetch_bill(self.channel.fund_bill_request(day))

    async def bill_lines(self, content: bytes, day: date) -> list[BillLine]:
        """Return the lines of a bill, read beside the event loop. Raises BadBill."""
        return await self._env.offload(lambda: list(self.channel.bill_lines(content, day)))

    async def fund_lines(self, content: bytes, day: date) -> list[FundLine]:
        """Return the lines of a fund-flow bill, read beside the event loop. Raises BadBill."""
        rail = self.channel
        if not isinstance(rail, HasFundBill):
            raise self._lacks(HasFundBill)
        return await self._env.offload(lambda: list(rail.fund_lines(content, day)))

    async def refresh_keys(self, message: Response | None = None) -> Sequence[str]:
        """Fetch the channel's current public keys; return the ids trusted now, or nothing when that did not succeed.

        message: whose key is unknown. Whoever calls while a fetch is under way shares it; within KEY_REFRESH_S after
        one, the same address is not asked again, and no more than MOST_KEY_ADDRESSES are.
        """
        rail = self.channel
        if not isinstance(rail, RotatesKeys):
            return ()
        request = rail.trusted_keys_request(message)
        if request is None:
            return ()
        now = self._env.clock.monotonic()
        self._key_fetches = {
            url: (began_at, fetch)
            for url, (began_at, fetch) in self._key_fetches.items()
            if now < began_at + KEY_REFRESH_S or not fetch.done()
        }
        if request.url in self._key_fetches:
            _, fetch = self._key_fetches[request.url]
            if fetch.done():
                return ()
        elif len(self._key_fetches) >= MOST_KEY_ADDRESSES:
            return ()
        else:
            fetch = self._env.spawn(f"refresh keys of {self.channel.name}", self._fetch_keys(rail, request))
            self._key_fetches[request.url] = now, fetch
        # Shielded: one impatient caller must not end the fetch for the others.
        return await asyncio.shield(fetch)

    # ---- shared ------------------------------------------------------------------------------------------------------

    async def _payer_initiated(self, order: Order) -> Outcome:
        rail, now, nonce = self.channel, self._env.now(), self._env.secrets(16).hex()
        if not isinstance(rail, PayerInitiates):
            raise self._lacks(PayerInitiates)
        return await self._env.offload(lambda: rail.payer_initiated_action(order, now=now, nonce=nonce))

    async def _signed(self, order: Order, shown: Pending) -> Outcome:
        rail, now, nonce = self.channel, self._env.now(), self._env.secrets(16).hex()
        if not isinstance(rail, SignsActions):
            raise self._lacks(SignsActions)
        return await self._env.offload(lambda: rail.signed_action(order, shown, now=now, nonce=nonce))

    def _lacks(self, power: type[Any]) -> TypeError:
        words = (power.__doc__ or "").splitlines()[0]
        return TypeError(f"{self.channel.name} is not {words[0].lower()}{words[1:].rstrip('.')}")

    async def _exchange_once(self, op: str, request: Request, subject: S, outcome: OutcomeOf[S]) -> Outcome:
        try:
            answer = await self._send(op, request)
        except NotSent as error:
            return Unknown(f"not sent: {error}", not_sent=True)
        except NoAnswer as error:
            return Unknown(f"no answer: {error}")

        def read() -> Outcome:
            return outcome(subject, answer, now=self._env.now())

        found = read()
        if isinstance(found, Unknown) and await self._learned_key(answer):
            found = read()
        return found

    async def _learned_key(self, answer: Response) -> bool:
        """Tell whether the answer was signed with a key new to us which we know now, having fetched the keys."""
        if not self._key_is_unknown(answer):
            return False
        await self.refresh_keys(answer)
        return not self._key_is_unknown(answer)

    def _key_is_unknown(self, answer: Response) -> bool:
        try:
            self.channel.verified_by(answer, now=self._env.now())
        except BadNotice as doubt:
            return doubt.code == "unknown_key"
        return False

    async def _send(self, op: str, request: Request) -> Response:
        """Sign and send, within a session where the rail wants one. Raises NotSent, NoAnswer."""
        session = self._session
        if session is None:
            return (await self._send_once(op, request))[1]
        await self._log_in(session)
        sent, answer = await self._send_once(op, request)
        if session.login_over(sent, answer):
            await self._log_in(session)
            _, answer = await self._send_once(op, request)
        return answer

    async def _log_in(self, session: LogsIn) -> None:
        """Open a session where one is needed. Whoever calls meanwhile shares it, and its failure: raises NotSent."""
        for _ in range(2):  # the session we waited for may be over, for another caller, before it is our turn
            if session.login_request(now=self._env.now()) is None:
                return
            if self._logging_in is None or self._logging_in.done():
                self._logging_in = self._env.spawn(f"log in to {self.channel.name}", self._open_session(session))
            # Shielded: one impatient caller must not end the login for the others.
            failure = await asyncio.shield(self._logging_in)
            if failure:
                raise NotSent(failure)

    async def _open_session(self, session: LogsIn) -> str:
        """Log in; return why that failed, or nothing."""
        request = session.login_request(now=self._env.now())
        if request is None:
            return ""
        try:
            answer = await self._env.transport.send(request, timeout_s=self._timeouts_s["login"])
            session.login(answer, now=self._env.now())
        except (NotSent, NoAnswer, BadNotice) as error:
            return f"no session with {self.channel.name}: {error}"
        return ""

    async def _send_once(self, op: str, request: Request) -> tuple[Request, Response]:
        now, nonce = self._env.now(), self._env.secrets(16).hex()
        signed = await self._env.offload(lambda: self.channel.sign(request, now=now, nonce=nonce))
        sent = replace(signed, for_file=True) if op in _FILES else signed
        return signed, await self._env.transport.send(sent, timeout_s=self._timeouts_s[op])

    async def _fetch_bill(self, request: Request) -> Bill:
        pages: list[bytes] = []
        try:
            while True:
                answer = await self._send("bill", request)
                file = self.channel.bill_file(request, answer, now=self._env.now())
                if not file.ready and await self._learned_key(answer):
                    file = self.channel.bill_file(request, answer, now=self._env.now())
                if file.content is None:
                    break
                pages.append(file.content)
                if len(pages) > MAX_BILL_PAGES:
                    return Bill(reason=f"the bill has more than {MAX_BILL_PAGES} pages")
                if file.more is None:
                    return Bill(b"".join(pages))
                request = file.more
            if pages or file.nothing or not file.ready or file.download is None:
                return Bill(nothing=file.nothing and not pages, reason=file.reason)
            content = await self._send("bill_file", file.download)
        except (NotSent, NoAnswer) as error:
            return Bill(reason=f"{type(error).__name__}: {error}")
        return Bill(await self._env.offload(self.channel.bill_content, file, content))

    async def _fetch_keys(self, rail: RotatesKeys, request: Request) -> Sequence[str]:
        try:
            answer = await self._send("keys", request)
            trusted = rail.trust(request, answer, now=self._env.now())
        except (NotSent, NoAnswer, BadNotice) as error:
            log.warning(
                "the channel's keys could not be fetched", extra={"channel": self.channel.name, "why": str(error)}
            )
            return ()
        log.info("fetched the channel's keys", extra={"channel": self.channel.name, "trusted": list(trusted)})
        return trusted


class SharingClient:
    """The same for a rail that shares a payment's money out itself. Raises TypeError where the rail does not."""

    def __init__(self, client: ChannelClient) -> None:
        if not isinstance(client.channel, Sharing):
            raise TypeError(f"{client.channel.name} does not share out")
        self._client = client
        self._rail: Sharing = client.channel

    async def bind(self, receiver: Receiver, reference: str) -> Outcome:
        """Have the rail know a receiver; may be repeated."""
        return await self._client.exchange(
            "bind", receiver, lambda subject: self._rail.bind_request(subject, reference), self._rail.bind_outcome
        )

    async def unbind(self, receiver: Receiver, reference: str) -> Outcome:
        """Have the rail forget a receiver."""
        return await self._client.exchange(
            "unbind", receiver, lambda subject: self._rail.unbind_request(subject, reference), self._rail.unbind_outcome
        )

    async def share(self, order: ShareOrder) -> Shared:
        """Share out; may be repeated with the same number."""
        return await self._exchange_sharing("share", order, self._rail.share_request, self._rail.share_outcome)

    async def share_query(self, order: ShareOrder) -> Shared:
        """Ask what became of a share order."""
        return await self._exchange_sharing(
            "share_query", order, self._rail.share_query_request, self._rail.share_query_outcome
        )

    async def release(self, order: ShareOrder) -> Outcome:
        """Release what is not shared out; ask about it with share_query."""
        return await self._client.exchange("release", order, self._rail.release_request, self._rail.release_outcome)

    async def give_back(self, order: ShareReturn) -> Outcome:
        """Fetch a share back; may be repeated with the same number."""
        return await self._client.exchange(
            "give_back", order, self._rail.give_back_request, self._rail.give_back_outcome
        )

    async def give_back_query(self, order: ShareReturn) -> Outcome:
        """Ask what became of that."""
        return await self._client.exchange(
            "give_back_query", order, self._rail.give_back_query_request, self._rail.give_back_query_outcome
        )

    @property
    def tells_frozen(self) -> bool:
        """Whether `frozen` can be asked."""
        return isinstance(self._client.channel, TellsFrozen)

    async def frozen(self, order: ShareOrder) -> Outcome:
        """Ask how much of a payment is frozen. Raises TypeError where the rail does not tell."""
        rail = self._client.channel
        if not isinstance(rail, TellsFrozen):
            raise TypeError(f"{rail.name} does not tell what it keeps frozen")
        return await self._client.exchange("frozen", order, rail.frozen_request, rail.frozen_outcome)

    async def _exchange_sharing(
        self,
        op: str,
        order: ShareOrder,
        request: Callable[[ShareOrder], Request],
        outcome: Callable[..., Shared],
    ) -> Shared:
        shares: tuple[Outcome, ...] = ()

        def read(subject: ShareOrder, answer: Response, /, *, now: datetime) -> Outcome:
            nonlocal shares
            found = outcome(subject, answer, now=now)
            shares = found.shares
            return found.whole

        whole = await self._client.exchange(op, order, request, read)
        return Shared(whole, shares)
