"""What must be true when the storm is over: the hub's word against the rails' own truth, and against its own."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from gateway.store import still_waiting
from gateway.tables import Attempt
from kernel.db import Connection
from ops.trials.replay.rails import RailAccount, trades
from ops.trials.replay.world import World

FAR_OFF = timedelta(seconds=90)  # more than any question's turn at the storm's pace
BACK_WITH_THE_MERCHANT = ("ABNORMAL", "failed")  # refunds that did not reach the payer


class Told(NamedTuple):
    """An attempt as the hub has it, with what of it was given back."""

    payment: str
    number: int
    captured: int
    refunded: int  # by refunds that succeeded
    wanted: bool  # it is the one that paid the payment


async def told(connection: Connection, book: int) -> dict[tuple[str, str], Told]:
    """Return the hub's attempts, by channel account and number without its punctuation."""
    rows = await connection.fetch(
        f"""
        SELECT {", ".join("a." + column for column in Attempt._fields)}, p.won_attempt,
               coalesce((SELECT sum(r.amount_minor) FROM refund r WHERE r.book = a.book AND r.status = 'succeeded'
                         AND r.payment_id = a.payment_id AND r.attempt_number = a.number), 0)::bigint
        FROM attempt a JOIN payment p ON p.book = a.book AND p.id = a.payment_id WHERE a.book = $1
        """,
        book,
    )
    found = {}
    for *columns, won_attempt, refunded in map(tuple, rows):
        one = Attempt(*columns)
        wanted = won_attempt == one.number
        found[one.channel_account, plain(one.reference)] = Told(
            one.payment_id, one.number, one.captured_minor, refunded, wanted
        )
    return found


async def still_open(connection: Connection, book: int) -> list[str]:
    """Describe every attempt and refund that still waits for its channel, but for what waits for a person.

    Not those whose question is far off: written down by a clock that had jumped ahead, and asked about that much later.
    """
    now = await connection.fetchval("SELECT now()")
    return [
        f"{one.what} on {one.account} {one.status} since {one.since}, due {one.due_at}: {one.said}"
        for one in await still_waiting(connection, book)
        if not one.with_a_person and (one.due_at is None or one.due_at - now < FAR_OFF)
    ]


async def without_refused(still_open: Sequence[str], world: World, accounts: Sequence[RailAccount]) -> list[str]:
    """Leave out refunds that the rail has refused, whose answer was lost: they become a person's after an hour."""
    refused = [
        plain(refund["order"] or "")
        for account in accounts
        for trade in await trades(world, account)
        for refund in trade["refunds"]
        if refund["status"] in BACK_WITH_THE_MERCHANT
    ]

    def is_refused(what: str) -> bool:
        found = re.match(r"refund re_(\w+)", what)
        return found is not None and any(found[1] in number for number in refused)

    return [what for what in still_open if not is_refused(what)]


async def wrongs(world: World, accounts: Sequence[RailAccount], hub: Mapping[tuple[str, str], Told]) -> list[str]:
    """Return every way in which the hub and the rails, or two orders of one payment, do not agree."""
    wrong: list[str] = []
    kept: Counter[str] = Counter()  # by payment: what its payer has paid and not got back, as the rails have it
    seen: set[tuple[str, str]] = set()
    for account in accounts:
        for trade in await trades(world, account):
            key = (account.name, plain(trade["order"]))
            seen.add(key)
            ours = hub.get(key)
            back = sum(one["amount"] for one in trade["refunds"] if one["status"] not in BACK_WITH_THE_MERCHANT)
            paid = 0 if trade["state"] == "reversed" else trade["paid"] if trade["charged_count"] else 0
            name = f"{account.name} {trade['order']}"
            if trade["charged_count"] > 1:
                wrong.append(f"{name}: charged {trade['charged_count']} times")
            if back > trade["paid"]:
                wrong.append(f"{name}: gave back {back} of {trade['paid']}")
            if ours is None:
                wrong.append(f"{name}: the hub has no such attempt")
                continue
            kept[ours.payment] += paid - back if paid else 0
            if paid != ours.captured:
                wrong.append(f"{name}: the rail took {paid}, the hub says {ours.captured} ({trade['state']})")
            elif paid and back != ours.refunded:
                wrong.append(f"{name}: the rail gave back {back}, the hub says {ours.refunded}")
    wrong += [f"{key}: captured {ours.captured}, and the rail knows nothing of it" for key, ours in hub.items()
              if ours.captured and key not in seen]  # fmt: skip
    asked: Counter[str] = Counter()
    for ours in hub.values():
        if ours.wanted:
            asked[ours.payment] += ours.captured - ours.refunded
    wrong += [
        f"{payment}: its payer is {minor} poorer, and should be {asked[payment]}"
        for payment, minor in kept.items()
        if minor != asked[payment]
    ]
    return wrong


def plain(reference: str) -> str:
    """Return a number of ours without its punctuation, which some rails spell in their own way."""
    return "".join(c for c in reference if c.isalnum())


def secrets(settings: Mapping[str, Any]) -> list[str]:
    """Return what of an account's settings no log may hold: a line of each key, and every other secret whole."""
    found = []
    for name, value in settings.items():
        if isinstance(value, str) and any(word in name for word in ("key", "secret", "token", "password")):
            lines = [line for line in value.splitlines() if len(line) > 24 and "-----" not in line]
            if "public" not in name and "cert" not in name and "serial" not in name and not name.endswith("_id"):
                found += lines[:1]
    return found
