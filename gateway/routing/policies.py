"""Merchants' routing policies: one is set by adding a version; none is ever changed.

Both the command line and the API come here. Every process follows within a second (gateway/routing/router.py).
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import orjson
from pydantic import Field
from typing_extensions import TypedDict

import streams
from gateway.accounts.names import meant, rail_meant
from gateway.objects import kept
from gateway.routing import NO_POLICY, Policy, PolicyWrong
from gateway.routing.policy import Target
from gateway.routing.store import ROUTING_POLICIES, PolicyRow, current_policy, find_policy, policies
from gateway.store import channel_accounts
from kernel.answers import Object, Time
from kernel.clock import rfc3339
from kernel.db import Pool, acquire
from kernel.env import Env
from kernel.errors import Conflict, NotFound, Rejected
from kernel.lane import Lanes
from kernel.work import BOOKS, Need, Work
from streams.catalogue import EventType

OPERATOR = "operator"


class RoutingPolicyOut(TypedDict):
    """A merchant's routing policy 路由策略."""

    object: Literal["routing_policy"]
    version: Annotated[int, Field(description="0: nobody has set one, and policy is the default")]
    policy: Annotated[Object, Field(description="see docs/routing.md")]
    note: Annotated[str, Field(description="why")]
    set_by: Annotated[str | None, Field(description="an API key's id, or operator")]
    set_at: Time | None


class RoutingPolicyShort(TypedDict):
    """What an event tells of a routing policy."""

    object: Literal["routing_policy"]
    version: int
    set_by: str


EVENTS = {
    "routing_policy.set": EventType("a version of the routing policy was added; it holds now", RoutingPolicyShort)
}


class RoutingPolicies:
    """Use cases of routing policies."""

    def __init__(self, lanes: Lanes, pool: Pool, env: Env, rails: Collection[str]) -> None:
        """rails: the names of those that this hub has."""
        self._rails = rails
        self._lanes = lanes
        self._pool = pool
        self._env = env

    async def current(self, book: int) -> PolicyRow | None:
        """Return the policy that holds, None where none was ever set."""
        async with acquire(self._pool) as connection:
            return await current_policy(connection, book)

    async def get(self, book: int, version: int) -> PolicyRow:
        """Return one version. Raises NotFound."""
        async with acquire(self._pool) as connection:
            row = await find_policy(connection, book, version)
        if row is None:
            raise NotFound("no_such_routing_policy", f"book {book} has no version {version} of its routing policy")
        return row

    async def list(self, book: int) -> "Sequence[PolicyRow]":
        """Return every version, newest first."""
        async with acquire(self._pool) as connection:
            return await policies(connection, book)

    async def set(
        self, book: int, policy: object, *, note: str, version: int | None = None, by: str = OPERATOR
    ) -> PolicyRow:
        """Add a version; it holds from now on.

        policy: a JSON object, read strictly; what its rules name must be accounts of the merchant's, whatever their
        state, or rails of this hub's. version: of the policy that was read before, 0 for none; None sets it
        over whatever holds. The same again returns what it made. Raises Rejected (routing_policy_wrong), Conflict
        (version_mismatch), NotFound (no_such_book).
        """
        try:
            await self._check_names(book, Policy.of(policy))
        except PolicyWrong as error:
            raise policy_wrong(error) from None
        if version is None:
            holding = await self.current(book)
            version = holding.version if holding is not None else 0
        text = orjson.dumps(policy).decode()
        row = PolicyRow(book, version + 1, text, note, by, self._env.now())
        try:
            found: PolicyRow = await self._lanes.put(SetRoutingPolicy(book, row))
        except Conflict as error:
            holding = await self.current(book)
            raise Conflict(error.code, error.message, version=holding.version if holding is not None else 0) from None
        return found

    async def _check_names(self, book: int, policy: Policy) -> None:
        """Raise PolicyWrong for a rule that names no rail and no account: its payments would all be refused."""
        if not policy.rules:
            return
        async with acquire(self._pool) as connection:
            ids = [row.id for row in await channel_accounts(connection, book)]
        for number, rule in enumerate(policy.rules):
            for target in rule.targets:
                why = self._why_unknown(target, ids)
                if why is not None:
                    raise PolicyWrong(f"rules.{number}.then.{rule.action}", why)

    def _why_unknown(self, target: Target, ids: Sequence[str]) -> str | None:
        """Return why a rule's target is none, and what may have been meant; None where it is one. ids: of accounts."""
        rails = sorted(self._rails)
        if target.channel is not None:
            if target.channel in rails:
                return None
            rail = rail_meant(target.channel, rails)
            hint = f" did you mean 'channel:{rail}'?" if rail else ""
            return f"there is no channel {target.channel!r};{hint} there are: {', '.join(rails)}"
        name = str(target.account)
        if name in ids:
            return None
        rail = rail_meant(name, rails)
        hint = meant(name, ids) or (f" did you mean 'channel:{rail}'?" if rail else "")
        return f"{name!r} is none of your channel accounts;{hint} there are: {', '.join(ids) or 'none'}"


@dataclass(frozen=True, slots=True)
class SetRoutingPolicy:
    """Add a version of a merchant's policy, the one before being the last. Raises Conflict (version_mismatch)."""

    book: int
    row: PolicyRow

    def needs(self, work: Work) -> Iterable[Need]:
        yield BOOKS, (self.book,)
        yield ROUTING_POLICIES, (self.book, self.row.version)
        yield ROUTING_POLICIES, (self.book, self.row.version - 1)

    def apply(self, work: Work) -> PolicyRow:
        work.head(self.book)
        row = self.row
        there = work.find(ROUTING_POLICIES, (self.book, row.version))
        if there is not None and there._replace(set_at=row.set_at) == row:
            return there  # this very command, or the same said again
        before = work.find(ROUTING_POLICIES, (self.book, row.version - 1))
        if there is not None or (before is None and row.version > 1):
            raise Conflict(
                "version_mismatch", f"version {row.version - 1} is no longer the version in force; read it again"
            )
        row = row._replace(set_at=work.now)
        work.put(ROUTING_POLICIES, row)
        said: RoutingPolicyShort = {"object": "routing_policy", "version": row.version, "set_by": row.set_by}
        streams.publish(work, self.book, "routing_policy.set", f"routing_policy:{row.version}", said)
        return row


def policy_wrong(error: PolicyWrong) -> Rejected:
    """Return the refusal of a policy that cannot be understood."""
    param = f"policy.{error.param}" if error.param else "policy"
    return Rejected("routing_policy_wrong", f"policy: {error}", param=param)


def routing_policy_payload(row: PolicyRow | None) -> RoutingPolicyOut:
    """Return a policy as the API shows it; for None, that nobody has set one, and by what is routed then."""
    default: Object = {
        "margin_bp": NO_POLICY.margin_bp,
        "explore": {"fraction_bp": NO_POLICY.explore_bp, "up_to_minor": dict(NO_POLICY.up_to_minor)},
        "rules": [],
    }
    if row is None:
        return {
            "object": "routing_policy",
            "version": 0,
            "policy": default,
            "note": "",
            "set_by": None,
            "set_at": None,
        }
    return {
        "object": "routing_policy",
        "version": row.version,
        "policy": kept(row.policy),
        "note": row.note,
        "set_by": row.set_by,
        "set_at": rfc3339(row.set_at),
    }
