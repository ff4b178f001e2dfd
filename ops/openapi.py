"""The OpenAPI document of all the routes that are joined in wiring, without a hub."""

import json
from typing import Any, cast

from gateway.door import openapi
from kernel.routes import Route
from ops.wiring import joined_routes


def records() -> list[Route[Any]]:
    """Return the record of every route, with nothing behind it: to be read, not called."""
    nothing = cast(Any, None)
    return joined_routes(
        payments=nothing, links=nothing, payees=nothing, split_plans=nothing, attachments=nothing, payouts=nothing,
        withdrawals=nothing,
        releases=nothing, receivers=nothing, channel_admin=nothing, routing_policies=nothing, digest=nothing,
        notify_url=nothing, pool=nothing, rails=nothing,
    )  # fmt: skip


def document() -> dict[str, Any]:
    """Return the document as a gateway serves it."""
    return openapi.document(records())


def text() -> str:
    """Return docs/openapi.json."""
    return json.dumps(document(), ensure_ascii=False, indent=2) + "\n"
