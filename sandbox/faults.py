"""Faults on order: what the control API asks the counterparties to do wrong, how often, and to whom.

A part of the sandbox declares the faults it can commit (`declare`), and asks at the right place whether one is wanted
(`take`). Orders are durable, and so is the count of how often each was carried out.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sandbox.store import Store, Tx

SCHEMA = """
CREATE TABLE IF NOT EXISTS fault (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, rail TEXT NOT NULL, name TEXT NOT NULL,
    match TEXT NOT NULL, params TEXT NOT NULL, times INTEGER NOT NULL, fired INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS fault_scope (
    seq INTEGER NOT NULL REFERENCES fault ON DELETE CASCADE, scope TEXT NOT NULL, PRIMARY KEY (seq, scope)
);
"""


HELD_BACK = "held_back"  # a request that is carried out only once the order is taken back, and never answered


class FaultRefused(Exception):
    """The order makes no sense; the message says why."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One order. `match` holds what a case must have to fall under it, `params` what the fault needs."""

    seq: int
    rail: str
    name: str
    match: Mapping[str, str]
    params: Mapping[str, Any]
    times: int
    fired: int

    @property
    def fault_id(self) -> str:
        """What the control API calls it."""
        return f"fault_{self.seq}"

    @property
    def remaining(self) -> int:
        """How many more cases it will spoil."""
        return self.times - self.fired

    def covers(self, facts: Mapping[str, object]) -> bool:
        """Tell whether every key of the match is among the facts, with the same value as text."""
        return all(key in facts and str(facts[key]) == wanted for key, wanted in self.match.items())

    def as_json(self) -> dict[str, Any]:
        """Return what the control API shows."""
        return {
            "fault_id": self.fault_id,
            "rail": self.rail,
            "fault": self.name,
            "match": dict(self.match),
            "params": dict(self.params),
            "times": self.times,
            "fired": self.fired,
        }


@dataclass(frozen=True, slots=True)
class _Kind:
    match_keys: frozenset[str]
    params: Mapping[str, Any] = field(default_factory=dict)


class Faults:
    """The registry. Safe to use on the loop, in `store.transaction()` and in a `store.write` command."""

    def __init__(self, store: Store) -> None:
        self._store = store
        store.create(SCHEMA)
        self._kinds: dict[tuple[str, str], _Kind] = {}
        self._words: dict[str, Mapping[str, str]] = {}
        self._spelled: dict[tuple[str, str], Callable[[str], str]] = {}
        self._orders: tuple[Fault, ...] = tuple(map(_read, store.all("SELECT * FROM fault ORDER BY seq")))

    def declare(self, rail: str, names: Iterable[str], match_keys: Iterable[str], **params: Any) -> None:
        """Make faults known: the keys their match may use, and their parameters with defaults.

        A default of None means the parameter is required; a callable makes a fresh value for each order.
        """
        for name in names:
            self._kinds[rail, name] = _Kind(frozenset(match_keys), params)

    def also_called(self, rail: str, names: Mapping[str, str]) -> None:
        """Let orders of a rail match by its own words too; each stands for one that was declared."""
        self._words[rail] = names

    def spell(self, rail: str, match_keys: Iterable[str], spelled: Callable[[str], str]) -> None:
        """Have what orders of a rail match these keys by spelled as the rail spells it."""
        self._spelled |= {(rail, key): spelled for key in match_keys}

    def order(self, rail: str, name: str, match: Mapping[str, Any], times: int, params: Mapping[str, Any]) -> Fault:
        """Record that from now on the first `times` matching cases are to go wrong.

        Raises FaultRefused for a fault nobody declared, a match key it does not know, or a missing parameter.
        """
        kind = self._kinds.get((rail, name))
        if kind is None:
            known = ", ".join(sorted(n for r, n in self._kinds if r == rail)) or "none"
            raise FaultRefused(f"there is no fault {name!r} on rail {rail!r}; known there: {known}")
        match = {self._words.get(rail, {}).get(key, key): value for key, value in match.items()}
        if strange := sorted(set(match) - kind.match_keys):
            raise FaultRefused(f"{name} cannot match by {strange}; it can by {sorted(kind.match_keys)}")
        if strange := sorted(set(params) - set(kind.params)):
            raise FaultRefused(f"{name} has no parameter {strange}; it has {sorted(kind.params)}")
        defaults = {key: value() if callable(value) else value for key, value in kind.params.items()}
        full = {**defaults, **params}
        if missing := sorted(key for key, value in full.items() if value is None):
            raise FaultRefused(f"{name} needs the parameter {missing}")
        if wrong := sorted(key for key in params if not _fits(key, params[key], kind.params[key])):
            raise FaultRefused(f"{name} wants a whole number for {wrong}")
        if times < 1:
            raise FaultRefused("times must be at least 1")
        wanted = {key: self._spelled.get((rail, key), str)(str(value)) for key, value in match.items()}
        with self._store.transaction() as tx:
            row = tx.one(
                "INSERT INTO fault (rail, name, match, params, times) VALUES (?, ?, ?, ?, ?) RETURNING *",
                *(rail, name, json.dumps(wanted), json.dumps(full), times),
            )
            fault = _read(row)
            self._orders = (*self._orders, fault)
        return fault

    def listed(self) -> list[Fault]:
        """Return every order, oldest first."""
        return list(self._orders)

    def cancel(self, fault_id: str) -> bool:
        """Forget an order; tell whether there was one."""
        with self._store.transaction() as tx:
            self._orders = tuple(fault for fault in self._orders if fault.fault_id != fault_id)
            return tx.execute("DELETE FROM fault WHERE 'fault_' || seq = ?", fault_id) == 1

    def take(self, rail: str, names: str | Iterable[str], **facts: object) -> Fault | None:
        """Return the oldest open order among `names` that covers these facts, and count it as carried out once."""
        wanted = {names} if isinstance(names, str) else set(names)
        if not any(self._open(fault, rail, wanted, facts) for fault in self._orders):
            return None
        with self._store.transaction() as tx:  # looked at again under the lock: another thread may have been faster
            for fault in self._orders:
                if self._open(fault, rail, wanted, facts):
                    return self._count(tx, fault)
        return None

    def bind(self, rail: str, name: str, scope: str, **facts: object) -> Fault | None:
        """Return the order that spoils `scope`, the same one each time it is asked.

        For things that are made anew at each request and must come out alike (a row of a bill). `scope` names the
        thing for good; the first call that finds an open order counts it, later calls for that scope return it again.
        """
        candidates = [f for f in self._orders if f.rail == rail and f.name == name and f.covers(facts)]
        if not candidates:
            return None
        with self._store.transaction() as tx:
            for fault in candidates:
                if tx.one("SELECT 1 FROM fault_scope WHERE seq = ? AND scope = ?", fault.seq, scope):
                    return fault
            for fault in self._orders:
                if self._open(fault, rail, {name}, facts):
                    tx.execute("INSERT INTO fault_scope (seq, scope) VALUES (?, ?)", fault.seq, scope)
                    return self._count(tx, fault)
        return None

    @staticmethod
    def _open(fault: Fault, rail: str, names: set[str], facts: Mapping[str, object]) -> bool:
        return fault.remaining > 0 and fault.rail == rail and fault.name in names and fault.covers(facts)

    def _count(self, tx: Tx, fault: Fault) -> Fault:
        tx.execute("UPDATE fault SET fired = fired + 1 WHERE seq = ?", fault.seq)
        counted = replace(fault, fired=fault.fired + 1)
        self._orders = tuple(counted if other.seq == fault.seq else other for other in self._orders)
        return counted


def _fits(key: str, value: object, default: object) -> bool:
    """Tell whether `value` is a number where one is wanted: for milliseconds, amounts, and defaults that are one."""
    wants_number = key == "ms" or key.endswith("_minor") or isinstance(default, int)
    return not wants_number or (isinstance(value, int) and not isinstance(value, bool))


def _read(row: Any) -> Fault:
    match, params = json.loads(row["match"]), json.loads(row["params"])
    return Fault(row["seq"], row["rail"], row["name"], match, params, row["times"], row["fired"])
