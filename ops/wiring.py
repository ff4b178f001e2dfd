"""The composition root: the one module that knows every package and builds the objects of a process."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, cast

from prometheus_client import CollectorRegistry

import cases
import splitting
from channels import CHANNELS, HttpTransport
from channels.contract import Channel
from channels.registry import account_of, secrets_of, settings_of
from gateway.accounts.admin import ChannelAdmin
from gateway.accounts.objects import EVENTS as account_events
from gateway.accounts.ready import ChannelAccounts
from gateway.api.channel_accounts import ChannelAccountRoutes
from gateway.api.chargebacks import ChargebackRoutes
from gateway.api.notices import NoticeRoutes
from gateway.api.payment_links import LinkRoutes
from gateway.api.payments import PaymentRoutes
from gateway.api.reference import Reference
from gateway.api.refunds import RefundRoutes
from gateway.api.routing_policy import RoutingPolicyRoutes
from gateway.cashier import Cashier
from gateway.cashier.links import Links, require_link
from gateway.cashier.tokens import CashierTokens, payment_page
from gateway.door.admission import HUB, RAIL, Admission, Habits, Outward, Rails
from gateway.door.auth import Authenticator
from gateway.door.wrapper import Door
from gateway.merchants.merchants import Merchants
from gateway.merchants.standing import Standings
from gateway.metrics import Metrics
from gateway.objects import EVENTS as payment_events
from gateway.payments.bank_credits import BankCredits
from gateway.payments.janitor import Janitor
from gateway.payments.notices import Notices
from gateway.payments.orders import Orders
from gateway.payments.payments import Payments
from gateway.routing.policies import EVENTS as policy_events
from gateway.routing.policies import RoutingPolicies
from gateway.routing.router import Router
from kernel.addresses import PUBLIC, Addresses
from kernel.db import STATEMENT_S, Pool, acquire, connect
from kernel.env import Env, system_env
from kernel.lane import ASIDES, BATCH_STATEMENT_S, MAX_SKEW, SHARED_LOCK_MS, TURN_MS, Lane, Lanes, committing
from kernel.routes import Route
from ledger.routes import BalanceRoutes
from ops.channel_keys import FILE as CHANNEL_KEYS
from ops.channel_keys import ChannelKeys, channel_keys
from ops.embedded import CannotStart
from ops.health import Checks
from ops.secrets_file import (
    CASHIER_TOKENS,
    PEPPER,
    NoPepper,
    NoTokens,
    lost_secrets,
    secret_file,
    secrets_in_use,
)
from people import Approvals, Audit, People
from reconciliation.daily import DailyProof
from reconciliation.proof import CertificateKeys, Proving
from reconciliation.shared import BillParts
from reconciliation.timetable import DateSteps, Timetable, latest
from splitting.banks.roles import BankAccounts
from splitting.banks.worker import Banks, BankWorker
from splitting.payees import Payees
from splitting.plans.attached import Attachments
from splitting.plans.kept import SplitPlans
from splitting.plans.routes import SplitPlanRoutes
from splitting.rails.receivers import Receivers
from splitting.rails.routes import RailReceiverRoutes
from splitting.rails.worker import RailWorker
from splitting.routes import PayeeRoutes, PayoutRoutes, SettlementRoutes
from splitting.settlement.calendar import china
from splitting.settlement.payouts import Payouts
from splitting.shares.release import Releases
from splitting.shares.routes import ShareRoutes
from splitting.statements.reading import Statements
from splitting.withdrawals.asking import Withdrawals
from splitting.withdrawals.routes import WithdrawalRoutes
from streams import Bell, Consumer, Relay
from streams.catalogue import EventType
from streams.routes import EventRoutes


@dataclass(slots=True)
class LaneShape:
    """How the commit lane is set up; the defaults are what docs/performance.md measured."""

    max_batch: int = 512
    max_waiting: int = 4096
    writers: int = 1
    patience_s: float = 8.0
    statement_s: float = BATCH_STATEMENT_S


def joined_events() -> dict[str, EventType]:
    """Return the event catalogue 事件目录: the types of events that the packages publish."""
    return {**payment_events, **splitting.EVENTS, **account_events, **policy_events, **cases.EVENTS}


def joined_routes(
    *,
    payments: Payments,
    links: Links,
    payees: Payees,
    split_plans: SplitPlans,
    attachments: Attachments,
    payouts: Payouts,
    withdrawals: Withdrawals,
    releases: Releases,
    receivers: Receivers,
    channel_admin: ChannelAdmin,
    routing_policies: RoutingPolicies,
    digest: Callable[[str], bytes],
    notify_url: Callable[[int, str, str], str],
    pool: Pool,
    rails: Sequence[str],
) -> list[Route[Any]]:
    """Return the routes that the packages hand over, as the API's page has them."""
    return [
        *PaymentRoutes(payments, pool, rails).routes(),
        *RefundRoutes(payments, pool).routes(),
        *ChargebackRoutes(pool).routes(),
        *LinkRoutes(links).routes(),
        *PayeeRoutes(payees, pool).routes(),
        *SplitPlanRoutes(split_plans, attachments, pool).routes(),
        *PayoutRoutes(payouts).routes(),
        *WithdrawalRoutes(withdrawals, pool).routes(),
        *BalanceRoutes(pool).routes(),
        *ShareRoutes(releases, pool).routes(),
        *RailReceiverRoutes(receivers, pool).routes(),
        *SettlementRoutes(pool).routes(),
        *EventRoutes(pool, joined_events()).routes(),
        *ChannelAccountRoutes(channel_admin, digest, notify_url).routes(),
        *RoutingPolicyRoutes(routing_policies).routes(),
    ]


@dataclass(slots=True)
class Hub:
    """The objects of one process."""

    env: Env
    admission: Admission
    rails: Rails
    pool: Pool
    lanes: Lanes
    bell: Bell
    metrics: Metrics
    registry: CollectorRegistry
    accounts: ChannelAccounts
    channel_admin: ChannelAdmin
    keys: ChannelKeys
    authenticator: Authenticator
    people: People
    approvals: Approvals
    audit: Audit
    merchants: Merchants
    router: Router
    routing_policies: RoutingPolicies
    payments: Payments
    tokens: CashierTokens
    public_url: str
    notices: Notices
    banks: Banks
    payees: Payees
    split_plans: SplitPlans
    attachments: Attachments
    payouts: Payouts
    withdrawals: Withdrawals
    bank_accounts: BankAccounts
    certificate_keys: CertificateKeys
    releases: Releases
    receivers: Receivers
    time_scale: float
    channels: Mapping[str, Callable[[Mapping[str, Any]], Channel]]
    patient: Callable[[], AbstractAsyncContextManager[Pool]]  # one session, for statements over whole tables
    max_skew: timedelta | None

    def api(self, access_log: Callable[[dict[str, Any]], None] | None = None) -> Door:
        """Return the merchants' door to these objects."""
        cashier, links = self.cashier(), self.links()
        routes = joined_routes(
            payments=self.payments,
            links=links,
            payees=self.payees,
            split_plans=self.split_plans,
            attachments=self.attachments,
            payouts=self.payouts,
            withdrawals=self.withdrawals,
            releases=self.releases,
            receivers=self.receivers,
            channel_admin=self.channel_admin,
            routing_policies=self.routing_policies,
            digest=self.authenticator.digest,
            notify_url=self.payments.notify_url,
            pool=self.pool,
            rails=self.accounts.rails,
        )
        pages = [*NoticeRoutes(self.notices).pages(), *cashier.pages(), *Reference(routes, self.env).pages()]
        return Door(
            routes,
            pages,
            authenticator=self.authenticator,
            env=self.env,
            admission=self.admission,
            metrics=self.metrics,
            access_log=access_log,
            on_shutdown=[cashier.close],
        )

    def links(self) -> Links:
        """Return what merchants do with payment links and standing codes."""
        return Links(
            payments=self.payments,
            lanes=self.lanes,
            accounts=self.accounts,
            pool=self.pool,
            env=self.env,
            tokens=self.tokens,
            public_url=self.public_url,
        )

    def cashier(self) -> Cashier:
        """Return the payers' pages on these objects."""
        return Cashier(
            payments=self.payments,
            accounts=self.accounts,
            links=self.links(),
            tokens=self.tokens,
            pool=self.pool,
            env=self.env,
            public_url=self.public_url,
        )

    def janitor(self) -> Janitor:
        return Janitor(self.payments, self.pool, self.lanes, self.env, max_skew=self.max_skew)

    def daily_proof(self) -> DailyProof:
        return DailyProof(self.pool, self.accounts, self.banks, self.env)

    @property
    def statements(self) -> Statements:
        """What statements are read from."""
        return Statements(self.pool)

    def proving(self) -> Proving:
        """Return what proves a business date and signs for it."""
        return Proving(self.pool, self.env, self.certificate_keys, china(), self.daily_proof().fetch_statements)

    def timetable(self) -> Timetable:
        """Return what follows the timetable of business dates, and does its steps by hand."""
        steps = DateSteps(
            pool=self.pool,
            env=self.env,
            payouts=self.payouts,
            daily=self.daily_proof(),
            proving=self.proving(),
            accounts=self.accounts,
            calendar=china(),
        )
        return Timetable(self.pool, self.env, steps.scopes, steps.all)

    def bank_worker(self) -> BankWorker:
        bank_credits = BankCredits(self.payments, self.pool)
        parts = BillParts(self.pool, self.accounts).of
        return BankWorker(self.banks, self.pool, self.env, self.accounts.deposits, bank_credits.collected, parts)

    def rail_worker(self) -> RailWorker:
        """Return what has rails share out."""
        return RailWorker(self.accounts, self.pool, self.lanes, self.env, time_scale=self.time_scale)

    def splitter(self) -> Consumer:
        return splitting.splitter(self.pool, self.lanes, self.env)

    async def _late(self) -> Mapping[str, float]:
        """Return for how many seconds each step of the timetable has been due."""
        timetable = self.timetable()
        found = latest(await timetable.rows(), await timetable.missed(), self.env.now())
        return {step.value: seconds for step, seconds in found.items()}

    def checks(self, disk: Path | None = None) -> Checks:
        """Return what looks at what this process stands on. disk: where the database's data are, if on this host."""
        return Checks(
            pool=self.pool,
            lanes=self.lanes,
            env=self.env,
            keys=self.keys,
            metrics=self.metrics,
            rooms=lambda: [("hub", self.admission.room), *self.rails.all],
            late=self._late,
            max_skew=self.max_skew,
            disk=disk,
        )


@asynccontextmanager
async def hub(
    *,
    database_url: str,
    redis_url: str | None,
    home: Path,
    public_url: str,
    time_scale: float = 1.0,
    env: Env | None = None,
    channels: Mapping[str, Callable[[Mapping[str, Any]], Channel]] = CHANNELS,
    lane: LaneShape | None = None,
    name: str = "sluice",
    registry: CollectorRegistry | None = None,
    keys_file: Path | None = None,
    max_skew: timedelta | None = MAX_SKEW,
    addresses: Addresses = PUBLIC,
    statement_s: float = STATEMENT_S,
    may_lack_secrets: bool = False,
    habits: tuple[Habits, Habits] = (HUB, RAIL),
) -> AsyncIterator[Hub]:
    """Build a process's objects, lowest layer first, and take them down in reverse.

    public_url: where channels reach this hub. time_scale: shortens the janitor's waits for a sandbox's fast clock.
    keys_file: the master keys of sealed credentials; None: in `home`, made on first use. max_skew: how far this host's
    clock may be from the database's before it refuses to write; None where time is given by hand. addresses: what may
    be called; with an env it is the transport that knows. statement_s: how long one reading of the database may take.
    may_lack_secrets: for what needs none of them: where one that is in use is lost, no other is made in this home, and
    what turns out to need it raises CannotStart. Else that is raised here. habits: how many payments may be under way,
    in the hub and at each rail.
    """
    shape = lane or LaneShape()
    async with AsyncExitStack() as stack:
        if env is None:
            env = system_env(await stack.enter_async_context(HttpTransport(addresses=addresses)))
        env.transport = Outward(env.transport)
        pool = await stack.enter_async_context(connect(database_url, size=8, name=name, statement_s=statement_s))
        on_lane = partial(connect, database_url, name=f"{name} lane", by_key=True)
        writing = await stack.enter_async_context(
            on_lane(size=shape.writers, lock_ms=SHARED_LOCK_MS, statement_s=shape.statement_s)
        )
        aside = await stack.enter_async_context(on_lane(size=ASIDES, lock_ms=TURN_MS))
        one = Lane(
            committing(writing, aside, env, max_skew=max_skew),
            env,
            max_batch=shape.max_batch,
            max_waiting=shape.max_waiting,
            writers=shape.writers,
            patience_s=shape.patience_s,
        )
        lanes = Lanes([one])
        bell = Bell(redis_url, env)
        stack.push_async_callback(bell.aclose)
        # At the end the tasks go first: a pool waits for what they hold, and they may wait for a server that is away.
        stack.push_async_callback(env.tasks.aclose)
        registry = registry or CollectorRegistry()
        metrics = Metrics(registry)
        async with acquire(pool) as connection:
            in_use = await secrets_in_use(connection)
        lost = lost_secrets(home, in_use)
        if lost is not None and not may_lack_secrets:
            raise lost
        may_make = lost is None and CHANNEL_KEYS not in in_use
        master_keys = channel_keys(home, keys_file, env.secrets, may_make=may_make)

        def secret(name: str) -> bytes | None:
            """Return a secret; None where it is lost, or is none of the home that a lost one belongs to."""
            if lost is not None and not (home / "secrets" / name).exists():
                return None
            return secret_file(home, name, env.secrets)

        accounts = ChannelAccounts(channels, master_keys, pool, env, account_of)
        router = Router(accounts, pool, env)
        pepper, token_key = secret(PEPPER), secret(CASHIER_TOKENS)
        authenticator = Authenticator(pool, pepper, env) if pepper else NoPepper(cast(CannotStart, lost))
        tokens = CashierTokens(token_key) if token_key else NoTokens(cast(CannotStart, lost))
        standings = Standings(pool, env)
        attachments = Attachments(lanes, pool, env, partial(require_link, pool))
        rails = Rails(env, habits[1])
        payments = Payments(
            pool=pool,
            lanes=lanes,
            accounts=accounts,
            routing=router,
            standings=standings,
            attachments=attachments,
            env=env,
            bell=bell,
            metrics=metrics,
            public_url=public_url,
            page_url=partial(payment_page, public_url, tokens),
            rails=rails,
            time_scale=time_scale,
        )
        banks = Banks(pool, lanes, env, master_keys)
        yield Hub(
            env=env,
            admission=Admission(env, habits[0]),
            rails=rails,
            patient=partial(connect, database_url, size=1, name=f"{name} reading", statement_s=None),
            pool=pool,
            lanes=lanes,
            bell=bell,
            metrics=metrics,
            registry=registry,
            accounts=accounts,
            channel_admin=ChannelAdmin(
                registry=channels,
                secrets_of=secrets_of,
                settings_of=settings_of,
                account_of=account_of,
                accounts=accounts,
                keys=master_keys,
                lanes=lanes,
                pool=pool,
                env=env,
                order_of=Orders(public_url).order,
            ),
            keys=master_keys,
            authenticator=authenticator,
            people=People(pool, env, lambda credential: authenticator.digest(f"person {credential}")),
            approvals=Approvals(pool, env),
            audit=Audit(pool, env.now),
            merchants=Merchants(
                pool=pool, lanes=lanes, env=env, authenticator=authenticator, banks=banks, max_skew=max_skew
            ),
            router=router,
            routing_policies=RoutingPolicies(lanes, pool, env, channels),
            payments=payments,
            tokens=tokens,
            public_url=public_url,
            notices=Notices(payments, accounts, env, metrics),
            banks=banks,
            payees=Payees(lanes, banks, env, pool),
            split_plans=SplitPlans(lanes, pool, env),
            attachments=attachments,
            payouts=Payouts(pool, lanes, env, banks, china()),
            withdrawals=Withdrawals(pool, lanes, env),
            bank_accounts=BankAccounts(pool, lanes, env),
            certificate_keys=CertificateKeys(pool, env, master_keys),
            releases=Releases(pool, lanes, env),
            receivers=Receivers(lanes, pool, env, accounts),
            time_scale=time_scale,
            channels=channels,
            max_skew=max_skew,
        )


@asynccontextmanager
async def worker(objects: Hub, redis_url: str | None) -> AsyncIterator[None]:
    """Run the background work while inside: splitting, releases, the janitor, settlement, the relay, the bell."""
    env = objects.env
    splitter = objects.splitter()
    env.keep("splitting", lambda: splitter.run(objects.bell))
    env.keep("janitor", objects.janitor().run)
    env.keep("releases", objects.releases.run)
    env.keep("rail_worker", objects.rail_worker().run)
    env.keep("bank_worker", objects.bank_worker().run)
    env.keep("timetable", objects.timetable().run)
    env.keep("heartbeat", objects.checks().beat)
    async with AsyncExitStack() as stack:
        if redis_url is not None:
            relay = Relay(redis_url, objects.pool, env)
            stack.push_async_callback(relay.aclose)
            env.keep("bell", objects.bell.listen)
            env.keep("relay", lambda: relay.run(objects.bell))
        stack.push_async_callback(env.tasks.aclose)  # before what they use is closed
        yield
