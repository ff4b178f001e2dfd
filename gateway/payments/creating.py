"""Creating payments: recorded, sent to a channel, and found again by whoever asks again."""

from collections.abc import Callable

import orjson

import splitting
from channels import Method, Unknown
from gateway import states
from gateway.accounts.ready import ChannelAccounts
from gateway.claims import Claims
from gateway.door.admission import Rails, go_on
from gateway.merchants.standing import Standings
from gateway.payments.attempts import Chosen
from gateway.payments.belief import Answers
from gateway.payments.calls import Calls
from gateway.payments.create import Created, CreatePayment, FindEarlier, NewPayment
from gateway.payments.placing import Placing, payer_named
from gateway.payments.recording import Recording
from gateway.payments.sending import Sending, Trying
from gateway.payments.shown import has_run_out
from gateway.payments.stored import Stored
from gateway.routing.seam import AUTO, no_channel, wallet_for
from gateway.tables import CASHIER, Attempt, Payment
from kernel.env import Env
from kernel.errors import Conflict, Rejected
from kernel.lane import Lanes
from kernel.work import Command
from splitting.plans.attached import Attachments


class Creating:
    """Takes payments from merchants."""

    def __init__(
        self,
        *,
        stored: Stored,
        lanes: Lanes,
        accounts: ChannelAccounts,
        standings: Standings,
        attachments: Attachments,
        rails: Rails,
        placing: Placing,
        calls: Calls,
        sending: Sending,
        recording: Recording,
        env: Env,
    ) -> None:
        self._stored = stored
        self._lanes = lanes
        self._accounts = accounts
        self._standings = standings
        self._attachments = attachments
        self._rails = rails
        self._placing = placing
        self._calls = calls
        self._sending = sending
        self._recording = recording
        self._env = env

    async def create(
        self, book: int, new: NewPayment, claims: Claims, *, channel: str, auth_code: str | None
    ) -> tuple[Payment, bool]:
        """Take a payment, send it to a channel, and return it with whether an earlier request had made it.

        A cashier's payment goes to no channel yet. Raises Rejected, Conflict (duplicate_order, request_in_progress,
        merchant_suspended), Unavailable.
        """
        try:
            payer = payer_named(new.details)
            channel = wallet_for(new.method, channel, payer, self._accounts.rails, self._accounts.rails_by)
        except Rejected as refusal:
            return await self._earlier(book, claims, auth_code, refusal)
        if new.method == CASHIER:
            return await self.create_for_cashier(book, new, claims, channel)
        began = self._env.clock.monotonic()
        payment_id = self._env.ids.new("pay")
        if new.method in (Method.CARD, Method.PAGE):
            new = new._replace(details=self._placing.with_return(book, payment_id, new.details))
        try:
            await self._standings.require(book)
            new = await self._shared(book, new, channel)
            ask = self._placing.request(book, payment_id, new, channel, Method(new.method), new.details, auth_code)
            choice = await self._placing.best(ask)
        except (Rejected, Conflict) as refusal:
            return await self._earlier(book, claims, auth_code, refusal)
        command = CreatePayment(book, payment_id, new, claims, Chosen.of(choice))
        go_on()
        with self._calls.first(book, payment_id), self._rails.place(book, choice.ready.account.channel):
            created: Created = await self._lanes.put(command)
            if created.replayed or created.attempt is None:
                return await self._resumed(created.payment, created.attempt, auth_code), True
            trying = Trying(ask, auth_code, began)
            recorded = await self._sending.send(created.payment, created.attempt, choice.ready, trying)
            return recorded.payment, False

    async def create_for_cashier(
        self,
        book: int,
        new: NewPayment,
        claims: Claims,
        channel: str,
        command: Callable[[CreatePayment], Command[Created]] = lambda create: create,
    ) -> tuple[Payment, bool]:
        """Take a payment whose payer chooses how to pay at the cashier; nothing is sent until then.

        command: what is committed, where that is more than creating it. Returns it with whether an earlier request had
        made it. Raises Rejected, Conflict.
        """
        payment_id = self._env.ids.new("pay")
        try:
            await self._standings.require(book)
            new = await self._shared(book, new, channel)
            ask = self._placing.request(book, payment_id, new, channel, Method.QR, None, None)
            if not await self._placing.some_method(ask):
                await self._accounts.require_open(book, None if channel == AUTO else channel)
                raise no_channel(ask, how="any way a cashier offers")
        except (Rejected, Conflict):
            earlier = await self._lanes.put(FindEarlier(book, claims))
            if earlier is None:
                raise
            return earlier.payment, True
        url = self._placing.page_url(book, payment_id)
        kept = {**({} if new.details is None else orjson.loads(new.details)), "channel": channel}
        new = new._replace(
            details=orjson.dumps(kept, option=orjson.OPT_SORT_KEYS).decode(),
            next_action=orjson.dumps({"type": "cashier", "url": url}).decode(),
        )
        create = CreatePayment(book, payment_id, new, claims, None)
        go_on()
        created: Created = await self._lanes.put(command(create))
        return created.payment, created.replayed

    async def _shared(self, book: int, new: NewPayment, channel: str) -> NewPayment:
        """Return a payment with by what it is shared out, where it leaves that to what is attached.

        Raises Rejected (rail_cannot_share) where a rail is to do that, and the one that is asked for does not.
        """
        parts = await self._attachments.filled(book, new.currency, new.split, shop=new.store, link_id=new.link_id)
        share_later = await self._attachments.wants_rail(book, parts)
        if share_later and channel != AUTO:
            splitting.require_rail(channel, method=None if new.method == CASHIER else new.method)
        return new._replace(split=parts, share_later=share_later)

    async def _earlier(
        self, book: int, claims: Claims, auth_code: str | None, refusal: Rejected | Conflict
    ) -> tuple[Payment, bool]:
        """Return what an earlier identical request made; where there was none, raise the refusal.

        Told that no channel takes it, a merchant who only asks again would believe the order unpaid.
        """
        earlier = await self._lanes.put(FindEarlier(book, claims))
        if earlier is None:
            raise refusal
        return await self._resumed(earlier.payment, earlier.attempt, auth_code), True

    async def _resumed(self, payment: Payment, attempt: Attempt | None, auth_code: str | None) -> Payment:
        """Return what an earlier identical request made; a barcode it left undecided is taken up where it stopped.

        The payer's code is never stored, so whoever sends it again is the only one who can finish the sale. Where what
        the payer was to do cannot be used any more, the rail is asked for it once more.
        """
        if attempt is None:
            return payment
        self._calls.still_running(payment.book, payment.id, attempt)
        if has_run_out(payment.next_action, self._env.now()):
            return await self._shown_anew(payment, attempt)
        undecided = attempt.status in (states.AttemptStatus.CREATED, states.AttemptStatus.UNKNOWN)
        if auth_code is None or not undecided:
            return payment
        key = (payment.id, attempt.number)
        if not await self._recording.claim(payment.book, key, anyway=True):
            return (await self._stored.as_it_stands(attempt)).payment
        ready = await self._calls.ready(attempt)
        order = self._calls.order(payment, attempt, auth_code)
        begun = Unknown("taken up again")
        outcome = await self._sending.until_known(ready, order, begun, resend=attempt.undo_sent_at is None)
        return (await self._recording.put_outcome(payment, attempt, ready, outcome)).payment

    async def _shown_anew(self, payment: Payment, attempt: Attempt) -> Payment:
        """Send an unpaid order again under its number, and return the payment with what the payer is to do now.

        It is the same order, so whatever the rail answers, it is paid once. A refusal is about the repetition.
        """
        over = payment.expires_at <= self._env.now() or attempt.undo_sent_at is not None
        if over or not await self._recording.claim(payment.book, (payment.id, attempt.number), anyway=True):
            return (await self._stored.as_it_stands(attempt)).payment
        ready = await self._calls.ready(attempt)
        outcome = await self._calls.call("pay", ready, self._calls.order(payment, attempt))
        return (await self._recording.put_outcome(payment, attempt, ready, outcome, answers=Answers.MESSAGE)).payment
