"""Payments: everything that routes, the cashier, notices and the janitor do with payments, in one object.

It builds the use cases and hands on to them; each says in its own module what it does and what it raises. No
transaction is open while a channel is called. What is to be done is committed before the first byte leaves, under ids
that never change, so that whoever comes after a crash can ask and finish.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from channels import Method, Notice
from gateway.accounts.ready import ChannelAccounts
from gateway.claims import Claims
from gateway.door.admission import Rails
from gateway.merchants.standing import Standings
from gateway.metrics import Metrics
from gateway.payments.applying import Applying
from gateway.payments.attempts import Begun, NewAttempt
from gateway.payments.calls import Calls
from gateway.payments.capturing import Capturing
from gateway.payments.choosing import Choosing
from gateway.payments.closing import Closing
from gateway.payments.create import Created, CreatePayment, NewPayment
from gateway.payments.creating import Creating
from gateway.payments.disputing import Disputing
from gateway.payments.following_up import FollowingUp
from gateway.payments.orders import Orders
from gateway.payments.placing import Placing
from gateway.payments.recording import Recording
from gateway.payments.refunding import Refunding
from gateway.payments.sending import Sending
from gateway.payments.stored import Stored
from gateway.routing.seam import AUTO, Choice, Routing
from gateway.tables import Attempt, Payment, Refund
from kernel.db import Pool
from kernel.env import Env
from kernel.lane import Lanes
from kernel.work import Command
from splitting.plans.attached import Attachments
from streams import Bell


class Payments:
    """Use cases of payments and refunds for every merchant."""

    def __init__(
        self,
        *,
        pool: Pool,
        lanes: Lanes,
        accounts: ChannelAccounts,
        routing: Routing,
        standings: Standings,
        attachments: Attachments,
        env: Env,
        bell: Bell,
        metrics: Metrics,
        public_url: str,
        page_url: Callable[[int, str], str],
        rails: Rails,
        time_scale: float = 1.0,
    ) -> None:
        """public_url: where channels reach this hub. page_url: of a payment's page. time_scale: shortens waits."""
        self.page_url = page_url
        self._standings = standings
        self._orders = Orders(public_url)
        self._stored = stored = Stored(pool)
        self._placing = placing = Placing(routing=routing, rails=rails, env=env, page_url=page_url)
        self._calls = calls = Calls(
            accounts=accounts, routing=routing, rails=rails, metrics=metrics, orders=self._orders, env=env
        )
        self._recording = recording = Recording(
            stored=stored, lanes=lanes, calls=calls, bell=bell, time_scale=time_scale
        )
        self._sending = sending = Sending(lanes=lanes, calls=calls, recording=recording, placing=placing, env=env)
        self._closing = closing = Closing(
            stored=stored, lanes=lanes, calls=calls, recording=recording, bell=bell, env=env
        )
        self._creating = Creating(
            stored=stored, lanes=lanes, accounts=accounts, standings=standings, attachments=attachments, rails=rails,
            placing=placing, calls=calls, sending=sending, recording=recording, env=env,
        )  # fmt: skip
        self._choosing = Choosing(
            stored=stored, lanes=lanes, accounts=accounts, standings=standings, rails=rails, placing=placing,
            calls=calls, sending=sending, closing=closing, recording=recording, env=env,
        )  # fmt: skip
        self._capturing = Capturing(
            stored=stored, lanes=lanes, calls=calls, closing=closing, recording=recording, env=env
        )
        self._refunding = Refunding(stored=stored, lanes=lanes, calls=calls, recording=recording, env=env, bell=bell)
        self.disputing = Disputing(pool=pool, lanes=lanes, accounts=accounts, bell=bell, time_scale=time_scale)
        self._applying = Applying(
            pool=pool, calls=calls, recording=recording, refunding=self._refunding, disputing=self.disputing
        )
        self._following_up = FollowingUp(
            stored=stored, lanes=lanes, calls=calls, closing=closing, capturing=self._capturing, recording=recording
        )

    # ---- from merchants ----------------------------------------------------------------------------------------------

    async def create(
        self, book: int, new: NewPayment, claims: Claims, *, channel: str, auth_code: str | None
    ) -> tuple[Payment, bool]:
        """See Creating.create."""
        return await self._creating.create(book, new, claims, channel=channel, auth_code=auth_code)

    async def create_for_cashier(
        self,
        book: int,
        new: NewPayment,
        claims: Claims,
        channel: str,
        command: Callable[[CreatePayment], Command[Created]] = lambda create: create,
    ) -> tuple[Payment, bool]:
        """See Creating.create_for_cashier."""
        return await self._creating.create_for_cashier(book, new, claims, channel, command)

    async def require_standing(self, book: int) -> None:
        """Raise Conflict (merchant_suspended) where no payment of this merchant may begin."""
        await self._standings.require(book)

    async def close(self, book: int, payment_id: str) -> Payment:
        """See Closing.close."""
        return await self._closing.close(book, payment_id)

    async def capture(
        self, book: int, payment_id: str, claims: Claims, *, amount_minor: int | None
    ) -> tuple[Payment, bool]:
        """See Capturing.capture."""
        return await self._capturing.capture(book, payment_id, claims, amount_minor=amount_minor)

    async def void(self, book: int, payment_id: str) -> Payment:
        """See Capturing.void."""
        return await self._capturing.void(book, payment_id)

    async def refund(
        self,
        book: int,
        payment_id: str,
        claims: Claims,
        *,
        amount_minor: int | None,
        reason: str,
        merchant_refund_id: str | None,
    ) -> tuple[Refund, bool]:
        """See Refunding.refund."""
        return await self._refunding.refund(
            book, payment_id, claims, amount_minor=amount_minor, reason=reason, merchant_refund_id=merchant_refund_id
        )

    async def retry_refund(self, book: int, refund_id: str, claims: Claims) -> tuple[Refund, bool]:
        """See Refunding.retry_refund."""
        return await self._refunding.retry_refund(book, refund_id, claims)

    # ---- from payers -------------------------------------------------------------------------------------------------

    async def attempt(self, book: int, payment_id: str, new: NewAttempt, *, channel: str = AUTO) -> Begun:
        """See Choosing.attempt."""
        return await self._choosing.attempt(book, payment_id, new, channel=channel)

    async def offered(self, payment: Payment, methods: Sequence[Method]) -> Mapping[Method, Sequence[Choice]]:
        """See Placing.offered."""
        return await self._placing.offered(payment, methods)

    # ---- from channels -----------------------------------------------------------------------------------------------

    async def apply_notice(self, book: int, account_id: str, notice: Notice) -> None:
        """See Applying.apply_notice."""
        await self._applying.apply_notice(book, account_id, notice)

    async def knows(self, reference: str) -> bool:
        """See Applying.knows."""
        return await self._applying.knows(reference)

    def notify_url(self, book: int, account: str, channel: str) -> str:
        """Return where a channel sends its notices about one account."""
        return self._orders.notify_url(book, account, channel)

    # ---- from the janitor, returning payers and persons --------------------------------------------------------------

    async def take(self, row: Attempt | Refund) -> datetime | None:
        """See FollowingUp.take."""
        return await self._following_up.take(row)

    async def follow_up(self, attempt: Attempt, claimed_at: datetime | None = None) -> Payment:
        """See FollowingUp.follow_up."""
        return await self._following_up.follow_up(attempt, claimed_at)

    async def learn(self, attempt: Attempt) -> bool:
        """See FollowingUp.learn."""
        return await self._following_up.learn(attempt)

    async def end_if_run_out(self, payment: Payment) -> Payment:
        """See Closing.end_if_run_out."""
        return await self._closing.end_if_run_out(payment)

    async def note_unfinished(self, row: Attempt | Refund) -> None:
        """See FollowingUp.note_unfinished."""
        await self._following_up.note_unfinished(row)

    async def send_refund_once_more(self, refund: Refund) -> Refund:
        """See Refunding.send_refund_once_more."""
        return await self._refunding.send_refund_once_more(refund)

    async def follow_up_refund(self, refund: Refund) -> Refund:
        """See Refunding.follow_up_refund."""
        return await self._refunding.follow_up_refund(refund)

    async def retry_unwanted(self, refund: Refund) -> None:
        """See Refunding.retry_unwanted."""
        await self._refunding.retry_unwanted(refund)

    async def look_at_refund(self, book: int, refund_id: str) -> None:
        """See Refunding.look_at_refund."""
        await self._refunding.look_at_refund(book, refund_id)
