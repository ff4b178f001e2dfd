"""Why an account was chosen: the decision kept with each attempt, for people and for machines."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gateway.routing import PPM, REASONS
from gateway.tables import Attempt, Payment
from kernel.clock import rfc3339
from kernel.money import Money

ASIDE = {
    "open": "breaker open: asked last",
    "resting": "half-open: another payment tries it",
    "starting": "slow start: not its share",
}


def as_json(payment: Payment, attempts: Sequence[Attempt]) -> dict[str, Any]:
    """Return the decisions of a payment's attempts for machines."""
    return {
        "object": "routing_explanation",
        "payment": payment.id,
        "book": payment.book,
        "amount": payment.amount_minor,
        "currency": payment.currency,
        "status": payment.status,
        "attempts": [
            {
                "number": attempt.number,
                "channel_account": attempt.channel_account,
                "channel": attempt.channel,
                "method": attempt.method,
                "status": attempt.status,
                "code": attempt.code,
                "fee": attempt.fee_minor,
                "latency_ms": attempt.latency_ms,
                "created_at": rfc3339(attempt.created_at),
                "decision": None if attempt.decision is None else orjson.loads(attempt.decision),
            }
            for attempt in attempts
        ],
    }


def shown(payment: Payment, attempts: Sequence[Attempt]) -> Group:
    """Return the decisions of a payment's attempts for people, every number with its unit."""
    amount = Money(payment.amount_minor, payment.currency)
    head = Text(f"{payment.id}  book {payment.book}  {amount}  {payment.status}")
    return Group(head, *(part for attempt in attempts for part in _attempt(payment, attempt)))


def _attempt(payment: Payment, attempt: Attempt) -> Iterator[RenderableType]:
    said = f", {attempt.code}" if attempt.code else ""
    took = "" if attempt.latency_ms is None else f", answered in {attempt.latency_ms} ms"
    yield Text(
        f"\nattempt {attempt.number}: {attempt.channel_account} ({attempt.channel}) by {attempt.method} at "
        f"{rfc3339(attempt.created_at)} → {attempt.status}{said}{took}",
        style="bold",
    )
    if attempt.decision is None:
        yield Text("  no decision was kept with it")
        return
    kept = orjson.loads(attempt.decision)
    for line in _remarks(kept, payment.currency):
        yield Text(f"  {line}")
    if "rank" in kept and isinstance(kept["rank"], list):
        yield _ranking(kept, payment.currency)
    if kept.get("no"):
        yield _refusals(kept["no"])


def _remarks(kept: Mapping[str, Any], currency: str) -> Iterator[str]:
    if "of" in kept:
        yield f"the {kept['rank']}. of attempt {kept['of']}'s ranking"
        return
    version = kept["policy"]
    yield f"policy version {version}" if version else "no policy was set: the default one"
    if "only" in kept:
        yield f"{kept['only']} was the only account that could take it; fee {Money(kept['fee'], currency)}"
    if kept.get("rules"):
        yield f"rules that held: {', '.join(kept['rules'])}"
    if kept.get("preferred"):
        yield f"the rule's weights drew {kept['preferred']}"
    if kept.get("explored"):
        yield "trying out: the first is not the best known, its drawn chance was"
    if kept.get("probe"):
        yield "probe: the first is tried to find out whether it is back"
    if "worth" in kept:
        yield f"worth of a success {_fine(kept['worth'], currency)}; value = chance × (worth − fee)"


def _ranking(kept: Mapping[str, Any], currency: str) -> Table:
    table = Table("", "account", "chance", "usual", "seen", "fee", "value", "health", "latency", "", box=None)
    for column in table.columns[2:7]:
        column.justify = "right"
    for place, one in enumerate(kept["rank"], 1):
        drawn = f", drawn {_percent(one['drawn'])}" if "drawn" in one else ""
        table.add_row(
            f"{place}.",
            f"{one['a']} ({one['ch']})",
            _percent(one["p"]),
            _percent(one["usual"]),
            f"{one['n']} payments",
            str(Money(one["fee"], currency)),
            _fine(one["ev"], currency),
            one.get("health", "closed"),
            f"{one['ms']} ms" if "ms" in one else "not known",
            ASIDE.get(one.get("aside", ""), "") + drawn,
        )
    if kept.get("more"):
        table.add_row("", f"then {', '.join(kept['more'])}")
    return table


def _refusals(no: Mapping[str, str]) -> Table:
    table = Table("", "may not", "code", "which means", box=None)
    for account, code in no.items():
        table.add_row("—", account, code, REASONS.get(code.partition(":")[0], ""))
    return table


def _percent(ppm: int) -> str:
    return f"{ppm * 100 / PPM:.1f} %"


def _fine(ten_thousandths: int, currency: str) -> str:
    """Write a value kept in ten-thousandths of a minor unit, to a hundredth of one."""
    sign, rest = ("-", -ten_thousandths) if ten_thousandths < 0 else ("", ten_thousandths)
    minor, part = divmod(rest, 10_000)
    return f"{sign}{Money(minor, currency).major()}{part // 100:02d} {currency}"
