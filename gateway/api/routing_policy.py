"""The routing policy: what is sent, and what is done with it."""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from gateway.routing.policies import RoutingPolicies, RoutingPolicyOut, routing_policy_payload
from gateway.routing.policy import PolicyIn
from kernel.routes import Call, Reply, Route
from kernel.shapes import Body, FormOf, Visible


class RoutingPolicyIn(Body):
    """PUT /v1/routing_policy"""

    version: Annotated[int, Field(ge=0, le=2**31 - 2, strict=True)] = Field(
        description="of the policy as you read it; 409 `version_mismatch` where it has moved on"
    )
    policy: Annotated[dict[str, Any], FormOf(PolicyIn)] = Field(description="all of it: see docs/routing.md")
    note: Annotated[str, StringConstraints(min_length=1, max_length=500), Visible()] = Field(
        description="why, for whoever reads the versions later"
    )


class RoutingPolicyRoutes:
    """The routes of the routing policy."""

    def __init__(self, policies: RoutingPolicies) -> None:
        self._policies = policies

    def routes(self) -> Sequence[Route[Any]]:
        scope, place = "channels", "/v1/routing_policy"
        return [
            Route(
                method="GET",
                path=place,
                scope=scope,
                handler=self.get_routing_policy,
                says="Read the routing policy that holds",
                query=(),
                answer=RoutingPolicyOut,
            ),
            Route(
                method="PUT",
                path=place,
                scope=scope,
                handler=self.set_routing_policy,
                problems=("routing_policy_wrong", "version_mismatch"),
                says="Add a version of the routing policy; it holds from then on",
                body=RoutingPolicyIn,
                answer=RoutingPolicyOut,
            ),
        ]

    async def get_routing_policy(self, call: Call[None]) -> Reply:
        return Reply(routing_policy_payload(await self._policies.current(call.book)))

    async def set_routing_policy(self, call: Call[RoutingPolicyIn]) -> Reply:
        body = call.body
        row = await self._policies.set(call.book, body.policy, note=body.note, version=body.version, by=call.by)
        return Reply(routing_policy_payload(row))
