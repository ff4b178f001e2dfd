"""Makes some of the tester's requests ones that a merchant would send, so that they reach more than the first refusal.

The document says what form a request has; that a payment can only be refunded once it was paid, no schema says. So in a
part of the requests that are right in form, a body's fields and a path's id are replaced by what exists. The rest stays
as it was made.
"""

import json
import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any

CARD, PAGE = {"type": "card", "token": "tok_1"}, {"type": "page", "return_url": "https://shop.example/thanks"}
METHODS: tuple[Mapping[str, str], ...] = (
    {"type": "qr"}, {"type": "qr", "channel": "auto"}, {"type": "qr", "channel": "scripted"}, {"type": "cashier"},
    {"type": "barcode", "auth_code": "130000000000000001"}, {"type": "jsapi", "payer": "o-1"}, {"type": "app"},
    {"type": "h5", "client_ip": "203.0.113.7"}, PAGE, CARD,
)  # fmt: skip
BANK = "citybank"  # at which each merchant of the market is
SCHEDULES: tuple[Mapping[str, Any], ...] = (
    {"every": "T+1"}, {"every": "D+1"}, {"every": "weekly", "on": 5}, {"every": "monthly", "on": 31},
    {"every": "threshold", "minimum_minor": 100}, {"every": "manual"},
)  # fmt: skip
POLICIES: tuple[Mapping[str, Any], ...] = ({}, {"explore_bp": 0})
KINDS = {  # operation → the kind of object its path names, and what it must be for something to happen
    "get_payment": ("payment", ()),
    "close_payment": ("payment", ("requires_action",)),
    "capture_payment": ("payment", ("requires_capture",)),
    "void_payment": ("payment", ("requires_capture",)),
    "create_refund": ("payment", ("succeeded",)),
    "confirm_delivery": ("payment", ("succeeded",)),
    "get_refund": ("refund", ()),
    "retry_refund": ("refund", ("failed",)),
    "get_payment_link": ("payment_link", ()),
    "change_payment_link": ("payment_link", ()),
    "get_merchant_qr": ("merchant_qr", ()),
    "change_merchant_qr": ("merchant_qr", ()),
    "get_payee": ("payee", ()),
    "request_withdrawal": ("payee_account", ()),
    "get_payee_account": ("payee_account", ()),
    "bind_payee_account": ("payee", ()),
    "get_payee_balance": ("payee", ()),
    "get_withdrawal": ("withdrawal", ()),
    "get_chargeback": ("chargeback", ()),
    "get_split_plan": ("split_plan", ()),
    "add_split_plan_version": ("split_plan", ()),
    "activate_split_plan": ("split_plan", ()),
    "get_settlement": ("settlement", ()),
    "get_channel_account": ("channel_account", ()),
    "change_channel_account": ("channel_account", ()),
    "rotate_channel_account": ("channel_account", ()),
    "drain_channel_account": ("channel_account", ()),
}
OFTEN = 0.7


class Known:
    """What a merchant was shown: objects by kind and id, as they last were."""

    def __init__(self, name: str) -> None:
        """name: the merchant's, of which its own numbers are made."""
        self.name = name
        self.objects: dict[str, dict[str, Mapping[str, Any]]] = defaultdict(dict)
        self.numbers = 0  # that were given to new orders and wishes

    def learn(self, said: Any) -> None:
        for one in objects_in(said):
            kind = one["object"]
            ident = str(one.get("payee" if kind == "payee_account" else "id", ""))
            self.objects[kind][ident] = {**self.objects[kind].get(ident, {}), **one}

    def choose(self, rng: random.Random, kind: str, states: tuple[str, ...]) -> str | None:
        """Return the id of an object that is in one of these states, None where none is."""
        found = [name for name, one in self.objects[kind].items() if not states or one.get("status") in states]
        return rng.choice(found[-50:]) if found else None


def objects_in(said: Any) -> Iterator[Mapping[str, Any]]:
    """Yield every object of ours in an answer, the outer ones before those within them."""
    places = [said]
    while places:
        place = places.pop()
        if isinstance(place, dict):
            if isinstance(place.get("object"), str):
                yield place
            places.extend(value for name, value in place.items() if name not in ("metadata", "policy", "terms"))
        elif isinstance(place, list):
            places.extend(place)


def steer(case: Any, known: Known) -> None:
    """Change a request that is right in form; what a link has given, or what the request is made to try, stays."""
    name, phase = case.operation.definition.raw["operationId"], case.meta.phase.name.value
    data = case.meta.phase.data
    tried = f"{getattr(data, 'location', '')} {getattr(data, 'parameter', '')}" if phase == "coverage" else ""
    body = case.body if isinstance(case.body, dict) else None
    rng = random.Random(json.dumps([name, body, case.path_parameters, case.query], sort_keys=True, default=str))
    if phase != "stateful" and name in KINDS and rng.random() < OFTEN:
        kind, states = KINDS[name]
        found = known.choose(rng, kind, states if rng.random() < 0.8 else ())
        if found is not None:
            case.path_parameters = {**case.path_parameters, "id": found}
    if phase == "fuzzing" and case.query:
        case.query = looked_for(rng, name, dict(case.query), known)
    if "Idempotency-Key" in (case.headers or {}) and "Idempotency-Key" not in tried and rng.random() < OFTEN:
        known.numbers += 1
        case.headers["Idempotency-Key"] = f"{known.name}-{known.numbers}"
        if body is not None and "merchant_order_id" in body and "merchant_order_id" not in tried:
            body["merchant_order_id"] = f"{known.name}-{known.numbers}"
    if body is None or rng.random() >= OFTEN:
        return
    if phase != "coverage":
        change(rng, name, body, str((case.path_parameters or {}).get("id", "")), known)
    elif "currency" in body and "currency" not in tried:
        body["currency"] = "CNY"
        if name == "create_payment" and "method" not in tried:
            body["method"] = {"type": "qr"}


def looked_for(rng: random.Random, operation: str, query: dict[str, Any], known: Known) -> dict[str, Any]:
    """Return a query that names what exists."""
    listed = {"list_payments": "payment", "list_refunds": "refund", "list_payees": "payee", "list_events": "event",
              "list_debts": "debt", "list_withdrawals": "withdrawal", "list_chargebacks": "chargeback",
              "list_payment_links": "payment_link", "list_merchant_qrs": "merchant_qr"}  # fmt: skip
    for name, kind in (("starting_after", listed.get(operation, "")), ("payment", "payment"), ("payee", "payee")):
        found = known.choose(rng, kind, ()) if name in query else None
        if found is not None and rng.random() < OFTEN:
            query[name] = found
    return query


def a_tree(rng: random.Random, payee: str) -> Mapping[str, Any]:
    """Return a split plan of two levels that most payments can bear."""
    under = {"name": "clerk", "payee": payee, "basis_points": rng.choice([1, 150]), "cap": rng.choice([0, 100])}
    store = {"name": "store", "payee": payee, "basis_points": rng.choice([1, 300, 9_000]), "lines": [under]}
    return {"version": 1, "base": rng.choice(["arriving", "paid"]), "lines": [store]}


def change(rng: random.Random, operation: str, body: MutableMapping[str, Any], ident: str, known: Known) -> None:
    """Put into a body what a merchant would mostly send."""
    if "currency" in body:
        body["currency"] = "CNY"
    for name in ("description", "name", "reason", "note"):
        if name in body:
            body[name] = rng.choice(["tea", "茶叶", "Tea, 50 %"])
    if operation == "create_payment":
        body["method"] = dict(rng.choice(METHODS))
        body["amount"] = rng.choice([1, 100, 1_250, 1_250, 18, 17, 10_000, body.get("amount")])
        body["capture"] = "manual" if rng.random() < 0.3 else "automatic"
        if body["capture"] == "manual":
            body["method"] = dict(rng.choice([CARD, PAGE]))
        payee = known.choose(rng, "payee", ())
        for plan in ("split", "split_plan", "lines"):
            body.pop(plan, None)
        if payee is not None and rng.random() < 0.4:
            if rng.random() < 0.5:
                body["split"] = [{"payee": payee, "basis_points": rng.choice([1, 300, 9_000])}]
            else:
                body["split_plan"] = {"document": a_tree(rng, payee)}
    if operation in ("make_split_plan", "add_split_plan_version"):
        payee = known.choose(rng, "payee", ())
        if payee is not None:
            body["document"] = a_tree(rng, payee)
        if "version" in body:
            body["version"] = known.objects["split_plan"].get(ident, {}).get("last_version", 1)
    if operation == "activate_split_plan":
        rows = known.objects["split_plan"].get(ident, {}).get("versions", [])
        if rows:
            row = rng.choice(rows)
            body["version"], body["hash"] = row["version"], row["hash"]
    if operation == "dry_run_split_plan":
        body["amount"] = rng.choice([1, 100, 12_800])
        body["channel_fee"] = body["merchant_coupon"] = 0
        body.pop("lines", None)
        payee = known.choose(rng, "payee", ())
        if payee is not None:
            body["split_plan"] = {"document": a_tree(rng, payee)}
    if operation in ("create_payment", "add_payment_link", "add_merchant_qr"):
        for name in ("metadata", "expires_in", "expires_at", "minimum", "maximum", "max_uses"):
            if rng.random() < 0.6:
                body.pop(name, None)
    if operation in ("capture_payment", "create_refund"):
        if rng.random() < 0.4:
            body.pop("amount", None)
        elif rng.random() < 0.8:
            body["amount"] = rng.choice([1, 2, 6, 10])
        body.pop("splits", None)
        body.pop("split", None)
    if operation in ("add_channel_account", "rotate_channel_account"):
        body["credentials"] = {"account": "rail"}
    if operation == "add_channel_account":
        body["channel"], body["terms"] = "scripted", {}
    if operation == "change_channel_account":
        body["version"] = known.objects["channel_account"].get(ident, {}).get("version", 1)
        body.pop("terms", None)
    if operation == "set_routing_policy":
        body["policy"] = dict(rng.choice(POLICIES))
        body["version"] = known.objects["routing_policy"].get("", {}).get("version", 0)
    if operation == "set_payout_reserve":
        body.clear()
        body |= {"bank": BANK, "fixed_minor": rng.choice([0, 1, 500])}
    if operation == "request_withdrawal":
        body |= {"amount": rng.choice([1, 2, 10, 10_000]), "currency": "CNY"}
    if operation == "set_rail_receiver":
        body |= {"channel_account": "rail", "kind": rng.choice(["merchant", "person"]), "account": "190001"}
        body["payee"] = known.choose(rng, "payee", ()) or body.get("payee")
    if operation == "set_payout_schedule":
        body.clear()
        body |= {"bank": BANK, **rng.choice(SCHEDULES)}
    if operation == "create_payee":
        body.pop("bank", None)
