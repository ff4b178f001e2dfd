"""`sluice split bench`: sharing out many orders at once against the obvious way of doing it, in one run.

The obvious way is written down here, as somebody would write it who has a tree and an amount: order after order, level
after level. Both are given the same orders in turns, and every order is compared.
"""

import time
from array import array
from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from statistics import median
from typing import Any, NamedTuple

from splitting.plans.bulk import CHUNK, Orders, share_many
from splitting.plans.document import read
from splitting.plans.slots import Slots
from splitting.plans.tree import Facts, Plan, share

ROUNDS = 5
PLAIN = 10_000  # orders that the obvious way is measured on in each round
RECEIVERS = 10
LEAST = 10_000  # orders, of those whose cost an order is compared
GOAL, FLAT = 40.0, 1.5  # at least so many times as fast; at most so much dearer an order at the most than at the least


def a_plan() -> dict[str, Any]:
    """Return a plan of three levels for ten receivers: a platform, tax, and an agent with stores and their clerks."""
    numbers = iter(range(1, 11))

    def line(name: str, rate: int, lines: Sequence[dict[str, Any]] = (), **more: Any) -> dict[str, Any]:
        return {"name": name, "payee": f"pye_{next(numbers):026x}", "basis_points": rate, "lines": list(lines), **more}

    stores = [line(f"store-{n}", rate, [line(f"clerk-{n}", 150 + n)]) for n, rate in enumerate((4_000, 3_000, 2_500))]
    top = [line("platform", 60), line("tax", 100)]
    agent = line("agent", 9_000, stores)
    return {"version": 1, "lines": [*top, agent, line("guild", 840)]}


def some_orders(count: int, seed: int) -> Orders:
    """Return orders from 0.01 to 10,000.00 with a fee of 0.6 %, a tenth of them with a coupon."""
    rng = Random(seed)
    gross = array("q", (rng.randrange(1, 1_000_001) for _ in range(count)))
    coupon = array("q", (one // 20 if n % 10 == 0 else 0 for n, one in enumerate(gross)))
    fee = array("q", (((one - less) * 60 + 5_000) // 10_000 for one, less in zip(gross, coupon, strict=True)))
    return Orders(gross, fee, coupon)


# ---- the obvious way -------------------------------------------------------------------------------------------------


class Node(NamedTuple):
    """A line of the plan, as the obvious way has it."""

    name: str
    rate: int
    under: "Sequence[Node]"


def obvious(lines: Sequence[Node], amount: int, kept: dict[str, int]) -> int:
    """Share an amount out by largest remainder; put what each line keeps into `kept`, and return what is left."""
    weights = [line.rate for line in lines]
    weights.append(10_000 - sum(weights))
    shares = [amount * weight // 10_000 for weight in weights]
    remainders = [amount * weight % 10_000 for weight in weights]
    odd = amount - sum(shares)
    order = sorted(range(len(weights)), key=lambda n: (-remainders[n], n))
    for n in order[:odd]:
        shares[n] += 1
    for line, got in zip(lines, shares, strict=False):
        kept[line.name] = obvious(line.under, got, kept) if line.under else got
    return shares[-1]


def _nodes(lines: Sequence[dict[str, Any]]) -> list[Node]:
    return [Node(line["name"], line["basis_points"], _nodes(line["lines"])) for line in lines]


def _obviously(document: dict[str, Any], orders: Orders, first: int, count: int) -> list[dict[str, int]]:
    nodes, found = _nodes(document["lines"]), []
    for n in range(first, first + count):
        kept: dict[str, int] = {}
        kept[""] = obvious(nodes, orders.gross[n] - orders.fee[n] - orders.coupon[n], kept)
        found.append(kept)
    return found


def _one_by_one(plan: Plan, orders: Orders, count: int) -> None:
    for n in range(count):
        gross = orders.gross[n]
        share(plan, gross, orders.fee[n], orders.coupon[n], Facts(gross), cut=True)


def _floor(orders: Orders) -> None:
    """Read the orders' columns and write as many as the bulk path does, with nothing in between."""
    slots, count = Slots(CHUNK), len(orders.gross)
    columns = [array("q", [0]) * (count + CHUNK) for _ in range(RECEIVERS + 1)]
    views = [memoryview(column).cast("B") for column in columns]
    for begin in range(0, count, CHUNK):
        gross, fee, coupon = (slots.packed(column, begin) for column in orders)
        arriving = gross - fee - coupon
        for view in views:
            view[8 * begin : 8 * (begin + CHUNK)] = arriving.to_bytes(8 * CHUNK, "little")


# ---- the measurement -------------------------------------------------------------------------------------------------


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    begun = time.process_time()
    found = work()
    return time.process_time() - begun, found


def measure(count: int, rounds: int = ROUNDS, seed: int = 1) -> dict[str, Any]:
    """Share out orders in bulk, obviously and by the tree one by one, in turns; return the figures.

    count: at least LEAST. Times are of this process's processor, the median of the rounds. floor_orders_per_s: reading
    and writing the columns alone. unequal: of all orders, those of which the obvious way and the bulk path keep
    anything differently. us_per_order: of the bulk path, by how many orders there are. first_time_ms: of LEAST orders,
    the first time in a process, which makes the tables.
    """
    document = a_plan()
    plan, orders = read(document), some_orders(count, seed)
    sizes = [size for size in (LEAST, 10 * LEAST) if size < count] + [count]
    cold, _ = _timed(partial(share_many, plan, _first(orders, LEAST), Facts(0)))  # with what is looked up made first
    plain, tree, floor = [], [], []
    bulk: dict[int, list[float]] = {size: [] for size in sizes}
    for n in range(rounds):
        first = n * PLAIN % (count - PLAIN + 1)
        plain.append(_timed(partial(_obviously, document, orders, first, PLAIN))[0])
        for size in sizes:
            spent, columns = _timed(partial(share_many, plan, _first(orders, size), Facts(0)))
            bulk[size].append(spent)
        floor.append(_timed(partial(_floor, orders))[0])
        tree.append(_timed(partial(_one_by_one, plan, orders, PLAIN))[0])
    per_order = {size: median(spent) / size * 1e6 for size, spent in bulk.items()}
    plain_s, bulk_s = PLAIN / median(plain), count / median(bulk[count])
    return {
        "orders": count,
        "levels": 3,
        "receivers": RECEIVERS,
        "rounds": rounds,
        "bulk_orders_per_s": round(bulk_s),
        "plain_orders_per_s": round(plain_s),
        "floor_orders_per_s": round(count / median(floor)),
        "tree_orders_per_s": round(PLAIN / median(tree)),
        "speedup": round(bulk_s / plain_s, 1),
        "goal": GOAL,
        "unequal": _unequal(document, orders, columns),
        "one_by_one": columns.one_by_one,
        "us_per_order": {str(size): round(cost, 3) for size, cost in per_order.items()},
        "first_time_ms": round(cold * 1e3),
        "dearest_by_cheapest": round(max(per_order.values()) / min(per_order.values()), 2),
        "at_most": FLAT,
    }


def _first(orders: Orders, count: int) -> Orders:
    return Orders(*(column[:count] for column in orders))


def _unequal(document: dict[str, Any], orders: Orders, columns: Any) -> int:
    wrong = 0
    names = [line.name for line in columns.lines]
    for first in range(0, len(orders.gross), PLAIN):
        count = min(PLAIN, len(orders.gross) - first)
        for n, kept in enumerate(_obviously(document, orders, first, count), first):
            same = kept[""] == columns.rest[n] and all(
                kept[name] == column[n] for name, column in zip(names, columns.own, strict=True)
            )
            wrong += not same
    return wrong
