"""Notices in 异步通知: verify, then settle, then acknowledge in the rail's own dialect, and only after the commit."""

import logging

from channels import BadNotice, Notice
from channels.contract import Response
from gateway.accounts.ready import ChannelAccounts, Ready
from gateway.door.responses import shown
from gateway.metrics import Metrics
from gateway.payments.elsewhere import OfAnotherAccount, OfAnotherSystem
from gateway.payments.payments import Payments
from kernel.env import Env
from kernel.errors import NotFound, SluiceError, Unavailable

log = logging.getLogger(__name__)


class Notices:
    """Takes messages from channels. One that cannot be trusted changes nothing; one repeated changes nothing more."""

    def __init__(self, payments: Payments, accounts: ChannelAccounts, env: Env, metrics: Metrics) -> None:
        self._payments = payments
        self._accounts = accounts
        self._env = env
        self._metrics = metrics

    async def receive(self, channel: str, book: int, account_id: str, message: Response) -> Response:
        """Return what to answer the channel. The refusal names a problem code for whoever reads the rail's logs.

        Raises NotFound where no account of that name and rail is: then there is no dialect to answer in.
        """
        try:
            ready = await self._accounts.get(book, account_id)
        except NotFound:
            raise NotFound("no_such_route", "there is no such address for notices") from None
        except Unavailable:  # its rail's dialect is not known either; what is no success is sent again by every rail
            return Response(503, {}, b"")
        rail = ready.client.channel
        if ready.account.channel != channel:
            raise NotFound("no_such_route", "there is no such address for notices")
        try:
            notice = await self._ours(ready, message)
            if notice is None:
                self._metrics.notices.labels(channel, "passed_over").inc()
                return rail.notice_accepted()
            await self._payments.apply_notice(book, account_id, notice)
        except OfAnotherSystem as error:
            # A refusal would be repeated for days, and a rail may stop telling an address of anything.
            log.info(
                "a notice was about nothing of ours",
                extra={"channel": channel, "account": account_id, "why": str(error)},
            )
            self._metrics.notices.labels(channel, "of_another_system").inc()
            return rail.notice_accepted()
        except OfAnotherAccount as error:
            if rail.capabilities.per_order_notices:
                return self._not_applied(ready, error)
            # Two accounts over one at the rail: it tells every registered address of everything. The account whose
            # payment it is has a copy of its own, and asks if that is lost.
            self._metrics.notices.labels(channel, "of_another_account").inc()
            return rail.notice_accepted()
        except BadNotice as error:
            log.warning(
                "a notice was not believed", extra={"channel": channel, "account": account_id, "why": error.code}
            )
            self._metrics.notices.labels(channel, error.code).inc()
            # A key we do not know yet may be one the rail has just begun to use: have it sent again.
            return rail.notice_refused(shown(f"{error.code}: {error.message}"), again=error.code == "unknown_key")
        except Unavailable as error:
            self._metrics.notices.labels(channel, error.code).inc()
            return rail.notice_refused(shown(f"{error.code}: {error.message}"), again=True)
        except SluiceError as error:
            return self._not_applied(ready, error)
        self._metrics.notices.labels(channel, "applied").inc()
        return rail.notice_accepted()

    def _not_applied(self, ready: Ready, error: SluiceError) -> Response:
        account, rail = ready.account, ready.client.channel
        log.error(
            "a notice could not be applied",
            extra={"channel": account.channel, "account": account.id, "why": str(error)},
        )
        self._metrics.notices.labels(account.channel, error.code).inc()
        return rail.notice_refused(shown(f"{error.code}: {error.message}"), again=False)

    async def _ours(self, ready: Ready, message: Response) -> Notice | None:
        """Verify and read a notice. Raises BadNotice; OfAnotherSystem for one about nobody's payment here.

        Whose it is comes before what it says: others' payments may be in states and currencies that we never meet.
        """
        try:
            return await self._verified(ready, message)
        except BadNotice as error:
            if error.about is None or await self._payments.knows(error.about):
                raise
            raise OfAnotherSystem(error.code, error.message) from None

    async def _verified(self, ready: Ready, message: Response) -> Notice | None:
        """Verify a notice, with what the account has now; else with what it had before a rotation, while that counts.

        One signed with a key new to us is tried once more after fetching the rail's keys.
        """
        now, client = self._env.now(), ready.client
        try:
            return client.channel.notice(message, now=now)
        except BadNotice as error:
            refused = error
        for until, before in ready.previous:
            if until > now:
                try:
                    return before.channel.notice(message, now=now)
                except BadNotice as error:
                    if error.about is not None:  # its signature is right
                        raise
        if refused.code != "unknown_key" or not await client.refresh_keys(message):
            raise refused
        return client.channel.notice(message, now=self._env.now())
