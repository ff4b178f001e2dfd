"""Who takes part in the trial, and the plans by which they share: platform, agents, sub-agents, stores, clerks."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ops.trials.replay.orders import Invoice

ISO, CMB = "harbour", "merchants"
PLATFORM = "platform"
AGENTS, STORES = 6, 30  # 代理商, 供货门店
AT_CMB = 4  # agents from this one on have all of theirs at the second bank
POLICIES = ("ratio", "platform_first", "last_in_first_out", "payer_first")

PLATFORM_BP, PLATFORM_CAP = 60, 500
AGENT_BP, SUB_BP, STORE_BP = 7_000, 9_800, 9_700
CLERK_BP, CLERK_LEAST, CLERK_MOST = 150, 10, 100


@dataclass(slots=True)
class Payee:
    """One who is paid: known to the hub as `id`, and at its bank by `account`."""

    name: str
    bank: str
    id: str = ""
    account: str = ""


def agent_of(store: int) -> int:
    """Return which agent has brought a store in."""
    return store % AGENTS


def payees() -> list[Payee]:
    """Return all who are paid, but for the platform."""

    def bank(agent: int) -> str:
        return CMB if agent >= AT_CMB else ISO

    found = []
    for agent in range(AGENTS):
        found += [Payee(f"{role}-{agent}", bank(agent)) for role in ("agent", "sub", "clerk")]
    return found + [Payee(f"store-{store}", bank(agent_of(store))) for store in range(STORES)]


def document(ids: Mapping[str, str], policy: str) -> dict[str, Any]:
    """Return the plan: a part of an order that names a store is shared by that store and whoever is above it."""
    agents = []
    for agent in range(AGENTS):
        stores = [store for store in range(STORES) if agent_of(store) == agent]
        lines = [
            {
                "name": f"store-{store}", "payee": ids[f"store-{store}"], "basis_points": STORE_BP,
                "when": {"product_line": [f"store-{store}"]}, "otherwise": "others",
                "lines": [{
                    "name": f"clerk-of-store-{store}", "payee": ids[f"clerk-{agent}"], "basis_points": CLERK_BP,
                    "minimum": CLERK_LEAST, "cap": CLERK_MOST,
                }],
            }
            for store in stores
        ]  # fmt: skip
        sub = {"name": f"sub-{agent}", "payee": ids[f"sub-{agent}"], "basis_points": SUB_BP, "lines": lines}
        agents.append(
            {
                "name": f"agent-{agent}", "payee": ids[f"agent-{agent}"], "basis_points": AGENT_BP, "lines": [sub],
                "when": {"product_line": [f"store-{store}" for store in stores]}, "otherwise": "others",
            }
        )  # fmt: skip
    platform = {"name": PLATFORM, "payee": ids[PLATFORM], "basis_points": PLATFORM_BP, "cap": PLATFORM_CAP}
    return {"version": 1, "base": "arriving", "refunds": {"policy": policy}, "lines": [platform, *agents]}


def policy_of(invoice: Invoice, seed: int) -> str:
    """Return how refunds of an order take back."""
    return random.Random(f"policy {seed}/{invoice.number}").choice(POLICIES)


def parts_of(invoice: Invoice, seed: int) -> list[tuple[str, int]]:
    """Return the parts of an order: which store's, and how much; each of the file's suppliers is one of the stores."""
    rng, weights = random.Random(f"stores {seed}/{invoice.number}"), list(invoice.by_supplier.values())
    if invoice.amount_minor <= 0 or not weights:
        return []
    stores = rng.sample(range(STORES), len(weights))
    amounts = by_largest(invoice.amount_minor, weights)
    return [(f"store-{store}", minor) for store, minor in zip(stores, amounts, strict=True) if minor]


def by_largest(total: int, weights: Sequence[int]) -> list[int]:
    """Share a total by weights; the units left over go one each to whoever was cut most, the first first."""
    whole = sum(weights)
    if not whole:
        return [0 for _ in weights]
    found = [total * one // whole for one in weights]
    cut = [total * one % whole for one in weights]
    while sum(found) < total:
        most = cut.index(max(cut))
        found[most], cut[most] = found[most] + 1, -1
    return found


def half_up(minor: int, part: int, whole: int) -> int:
    """Return minor × part ÷ whole, rounded half up."""
    return (minor * part * 2 + whole) // (whole * 2)
