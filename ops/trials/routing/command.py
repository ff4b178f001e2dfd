"""The bodies of `sluice route …`."""

import json
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console

from channels.contract import Method
from gateway.routing import AUTO, NO_POLICY, Candidate, Policy
from gateway.routing.policies import routing_policy_payload
from gateway.routing.router import HISTORY_FOR, VERDICTS
from gateway.routing.store import PastRow, book_of_payment, past_attempts
from gateway.store import attempts, find_payment, merchants
from kernel.clock import BEIJING, rfc3339
from kernel.db import acquire
from kernel.errors import NotFound, Rejected
from kernel.money import Money
from kernel.safe_json import loads_object
from ops.trials.routing import explain, replay
from ops.trials.routing.bench import run
from ops.trials.routing.page import page, table
from ops.wiring import Hub


def read_policy(file: Path) -> dict[str, Any]:
    """Return the JSON object in a file. Raises BadJson, OSError."""
    return loads_object(file.read_bytes())


# ---- explain ---------------------------------------------------------------------------------------------------------


async def explain_payment(hub: Hub, payment_id: str, *, as_json: bool) -> int:
    """Print why each attempt of a payment went where it went. Raises NotFound."""
    async with acquire(hub.pool) as connection:
        book = await book_of_payment(connection, payment_id)
        payment = None if book is None else await find_payment(connection, book, payment_id)
        if payment is None:
            raise NotFound("no_such_payment", f"there is no payment {payment_id[:64]}")
        tried = await attempts(connection, payment.book, payment_id)
    if as_json:
        print(json.dumps(explain.as_json(payment, tried), ensure_ascii=False, indent=2))
    else:
        Console().print(explain.shown(payment, tried))
    return 0


# ---- policies --------------------------------------------------------------------------------------------------------


async def set_policy(hub: Hub, book: int, file: Path, note: str) -> int:
    """Add a version of a merchant's policy from a file. Raises Rejected, BadJson, OSError."""
    await _known(hub, book)
    policy = read_policy(file)
    row = await hub.routing_policies.set(book, policy, note=note)
    print(f"book {book}: routing policy {row.version} holds")
    _warn(await _unknown(hub, book, Policy.of(policy)))
    return 0


async def show_policy(hub: Hub, book: int, version: int | None, *, as_json: bool) -> int:
    """Print the policy that holds, or one version. Raises NotFound."""
    await _known(hub, book)
    found = hub.routing_policies
    row = await found.current(book) if version is None else await found.get(book, version)
    told = orjson.loads(orjson.dumps(routing_policy_payload(row)))
    if as_json:
        print(json.dumps(told, ensure_ascii=False, indent=2))
        return 0
    if row is None:
        print(f"book {book} has set no routing policy; this is the default:")
    else:
        print(f"book {book}: routing policy {row.version}, set {rfc3339(row.set_at)} by {row.set_by}: {row.note}")
    print(json.dumps(told["policy"], ensure_ascii=False, indent=2))
    return 0


async def list_policies(hub: Hub, book: int, *, as_json: bool) -> int:
    """Print every version of a merchant's policy, newest first. Raises NotFound."""
    await _known(hub, book)
    rows = await hub.routing_policies.list(book)
    if as_json:
        print(json.dumps([orjson.loads(orjson.dumps(routing_policy_payload(row))) for row in rows], indent=2))
        return 0
    for row in rows:
        print(f"{row.version:>5}  {rfc3339(row.set_at)}  {row.set_by:<32}  {row.note}")
    print(f"{len(rows)} versions")
    return 0


async def check_policy(hub: Hub, book: int, file: Path) -> int:
    """Read a policy strictly and hold its names against the merchant's accounts; 1 where one names nobody.

    Raises PolicyWrong, BadJson, NotFound, OSError.
    """
    await _known(hub, book)
    policy = Policy.of(read_policy(file))
    unknown = await _unknown(hub, book, policy)
    _warn(unknown)
    if not unknown:
        print(
            f"{file}: a policy of {len(policy.rules)} rules; every name in it is one of book {book}'s accounts or rails"
        )
    return 1 if unknown else 0


async def _unknown(hub: Hub, book: int, policy: Policy) -> list[tuple[str, str]]:
    return list(policy.unknown({one.account.id: one.account.channel for one in await hub.accounts.of_book(book)}))


def _warn(unknown: Sequence[tuple[str, str]]) -> None:
    for rule, name in unknown:
        print(f"{rule}: {name} is none of the merchant's accounts or rails")


async def _known(hub: Hub, book: int) -> None:
    """Raises NotFound unless a merchant has the book."""
    async with acquire(hub.pool) as connection:
        if all(merchant.book != book for merchant in await merchants(connection)):
            raise NotFound("no_such_book", f"there is no book {book}; see `sluice merchant list`")


# ---- replay ----------------------------------------------------------------------------------------------------------


async def replay_policy(hub: Hub, book: int, file: Path, first: date, last: date, *, as_json: bool) -> int:
    """Print what a policy would have changed for the payments made on some days, Beijing's.

    Raises PolicyWrong, BadJson, NotFound, Rejected (wrong_dates), OSError.
    """
    if last < first:
        raise Rejected("wrong_dates", f"{first} is after {last}")
    await _known(hub, book)
    policy = Policy.of(read_policy(file))
    since, until = _midnight(first), _midnight(last + timedelta(days=1))
    # Volumes go by the month, so what was taken before the first day is gone through too.
    before = min(since - HISTORY_FOR, _midnight(first.replace(day=1)))
    async with acquire(hub.pool) as connection:
        rows = await past_attempts(connection, book, before, until)
    candidates = [
        Candidate(one.account.id, one.account.channel, one.client.channel.capabilities, "enabled", one.terms, position)
        for position, one in enumerate(await hub.accounts.of_book(book))
    ]
    found = replay.compare(candidates, [_past(row) for row in rows], policy, since=since)
    told = {"book": book, "from": first.isoformat(), "to": last.isoformat(), **found.as_json()}
    if as_json:
        print(json.dumps(told, ensure_ascii=False, indent=2))
    else:
        _show(told)
    return 0


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), BEIJING)


def _past(row: PastRow) -> replay.Past:
    decision = None if row.decision is None else orjson.loads(row.decision)
    details = {} if row.details is None else orjson.loads(row.details)
    named = decision is not None and "other_channel" in decision.get("no", {}).values()
    return replay.Past(
        row.payment_id,
        row.number,
        row.account_id,
        row.channel if named else AUTO,
        Method(row.method),
        Money(row.amount_minor, row.currency),
        {} if row.metadata is None else orjson.loads(row.metadata),
        details.get("payer_region"),
        row.capture_manual,
        row.created_at,
        row.latency_ms,
        VERDICTS.get(row.status),
        row.paid_by,
        row.fee_minor,
        decision,
    )


def _show(told: dict[str, Any]) -> None:
    print(f"book {told['book']}, {told['from']} to {told['to']}: {told['payments']} payments, {told['paid']} paid")
    print(f"moved: {told['moved']} payments would have gone to another account first")
    for way in told["moved_to"]:
        print(f"  {way['from']} → {way['to']}: {way['payments']}")
    if told["refused"]:
        print(f"refused: {told['refused']} payments would have found no account")
    for currency, fees in told["fees"].items():
        was, other, more = (str(Money(fees[name], currency)) for name in ("as_it_was", "other", "difference"))
        print(f"fees of what was paid, exact by today's schedules: {was} as it was, {other} then: {more} more")
        print(f"  recorded when it was paid: {Money(fees['charged'], currency)}")
    success = told["success"]
    if success["estimated"]:
        more, of = success["expected_payments_more"], success["estimated"]
        print(f"success, estimated: {more:+.3f} payments of the {of} that move")
        print(
            f"  basis: {success['basis']}; half of the estimates rest on {success['median_observations']} or more such "
            f"payments at the new account, {success['thin']} on fewer than {replay.THIN}"
        )
    else:
        print("success: as it was, for nothing moves")


# ---- bench -----------------------------------------------------------------------------------------------------------


def bench(payments: int, seed: int, policy_file: Path | None, json_file: Path | None, html_file: Path | None) -> int:
    """Compare routing policies in a simulated world; return 1 if ours misses a goal. Raises PolicyWrong, OSError."""
    policy = NO_POLICY if policy_file is None else Policy.parse(policy_file.read_bytes())
    result = run(payments, seed, policy)
    text = json.dumps(result.as_json(), ensure_ascii=False, indent=2)
    if json_file == Path("-"):
        print(text)
    else:
        if json_file is not None:
            json_file.write_text(text + "\n", encoding="utf-8")
        Console().print(table(result))
        for wrong in result.missed():
            print(f"missed: {wrong}")
    if html_file is not None:
        html_file.write_text(page(result), encoding="utf-8")
    return 1 if result.missed() else 0
