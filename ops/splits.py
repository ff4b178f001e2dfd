"""`sluice split`: split plans as the operator makes, activates and tries them out; to activate one takes two people."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import orjson
from typing_extensions import TypedDict

from kernel.db import acquire
from kernel.money import Money
from ops.people import Acting
from ops.wiring import Hub
from people import Act, What
from splitting import rails_store
from splitting.objects import SplitOut, split_payload
from splitting.plans.asked import Part, Scope
from splitting.plans.document import read
from splitting.plans.dry_run import DryRunOut, Tried, dry_run
from splitting.rails.objects import RailReceiverOut, ShareOrderOut, rail_receiver_payload, share_order_payload
from splitting.shares.store import frozen_splits
from splitting.tables import Attachment, PlanVersion, SplitPlan


async def frozen_in(hub: Hub, book: int) -> list[SplitOut]:
    """Return the splits of which shares are frozen, as the API shows them, oldest first; at most a thousand."""
    async with acquire(hub.pool) as connection:
        return [split_payload(split) for split in await frozen_splits(connection, book, 1_000)]


class AtRails(TypedDict):
    """What rails have not decided yet."""

    share_orders: list[ShareOrderOut]
    receivers: list[RailReceiverOut]  # those that are not registered
    needs_a_person: bool


async def at_rails(hub: Hub, book: int) -> AtRails:
    """Return a merchant's open share orders, oldest first, at most a thousand, and receivers not registered."""
    async with acquire(hub.pool) as connection:
        orders = await rails_store.open_orders(connection, book, 1_000)
        rows = [row for row in await rails_store.receivers(connection, book) if row.status != "registered"]
    late = hub.env.now() - timedelta(days=1)
    needed = any(one.created_at < late for one in orders)
    needed = needed or any(row.status == "refused" or row.updated_at < late for row in rows)
    return {
        "share_orders": [share_order_payload(order) for order in orders],
        "receivers": [rail_receiver_payload(row) for row in rows],
        "needs_a_person": needed,
    }


async def activate_as(acting: Acting, book: int, plan_id: str, version: int) -> tuple[SplitPlan, PlanVersion]:
    """Activate a version as the person who acts, with another's approval of exactly this document.

    Raises NotFound (no_such_split_plan), and what Acting.second and ActivateVersion raise.
    """
    plans, checker = acting.hub.split_plans, acting.name
    row = await plans.version(book, plan_id, version)
    arguments = {"version": version, "hash": row.hash.hex(), "made_by": row.maker}
    use = await acting.second(What(Act.MERCHANTS, "split plan activate", plan_id, arguments, book))
    if use is not None:
        checker = (await acting.hub.approvals.get(use.approval_id)).checker or checker
    # Two people have looked at it, whoever of them has made it; where one is enough there is nobody else.
    return await plans.activate(book, plan_id, version, hash=row.hash, checker=checker, alone=True, use=use)


async def attach_as(
    acting: Acting, book: int, scope: Scope, subject: str, currency: str, plan_id: str | None, version: int | None
) -> Attachment:
    """Attach a plan as the person who acts, or with None have none attached, with another's approval.

    Raises what Acting.second and Attachments.attach raise.
    """
    await acting.hub.attachments.check(book, scope, subject, named=plan_id is not None)  # before another is asked
    arguments = {"subject": subject, "currency": currency, "plan": plan_id, "version": version}
    use = await acting.second(What(Act.MERCHANTS, "split attach", scope.value, arguments, book))
    return await acting.hub.attachments.attach(
        book, scope, subject, currency, plan_id, version=version, by=acting.name, use=use
    )


async def tried_out(
    hub: Hub,
    book: int,
    by: Mapping[str, Any] | str,
    *,
    amount: Money,
    fee: Money,
    coupon: Money,
    version: int | None = None,
    method: str | None = None,
    product_line: str | None = None,
) -> DryRunOut:
    """Share out a payment that is made up. by: a document, or the id of a plan that is kept, with its version.

    Raises PlanWrong, and what dry_run raises.
    """
    if isinstance(by, str):
        part = Part(product_line=product_line, plan_id=by, version=version)
    else:
        read(by)
        part = Part(product_line=product_line, document=orjson.dumps(by).decode())
    tried = Tried([part], amount.minor, amount.currency, fee.minor, coupon.minor, method)
    return await dry_run(hub.split_plans, hub.pool, book, tried)
