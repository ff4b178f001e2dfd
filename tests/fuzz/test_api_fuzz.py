"""Requests that a property-based tester makes from the OpenAPI document, following its links, as two merchants in turn.

`make apifuzz` sends 20,000; here a few hundred. What is asked of every answer stands in api_tester.py: no 5xx, nothing
that the document does not say, nothing of the other merchant's. In the end every invariant of both books must hold.
"""

import asyncio
import functools
import json
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from gateway.door.auth import Authenticator, Principal, Unauthorized
from kernel.db import acquire
from kernel.errors import NotFound
from kernel.routes import Call, Reply
from ops import openapi
from splitting.objects import payee_payload
from splitting.routes import PayeeRoutes, SettlementRoutes
from splitting.tables import PAYEES
from tests.fuzz.market import Market, a_market
from tests.sdk.environments import python_of

COUNT = int(os.environ.get("SLUICE_API_FUZZ", "450"))
SEED = int(os.environ.get("SLUICE_API_FUZZ_SEED", "1"))
TESTER = Path(__file__).with_name("api_tester.py")
OPERATIONS = {
    operation["operationId"]: "{id}" in path
    for path, methods in openapi.document()["paths"].items()
    for operation in methods.values()
}


async def play(market: Market, count: int, seed: int, *, shown: bool = False, **more: Any) -> dict[str, Any]:
    """Have the tester send so many; return what it found. shown: let it say how far it is. more: what else it is told.

    It runs in a process and an environment of its own; the hub runs here meanwhile.
    """
    told = {"document": openapi.document(), "url": market.url, "keys": market.keys, "count": count, "seed": seed}
    python = await asyncio.to_thread(python_of, "schemathesis")
    begun = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        *(python, "-I", TESTER),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=None if shown else asyncio.subprocess.PIPE,
        env={name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")},
    )
    try:
        out, err = await process.communicate(json.dumps({**told, **more}).encode())
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0, (err or b"").decode()[-4_000:]
    found: dict[str, Any] = json.loads(out.splitlines()[-1])
    return {"seed": seed, "seconds": round(time.monotonic() - begun), **found}


def complaints(found: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with a run: an answer that must not be, or what it never came to."""
    answers, wrong = found["answers"], [f"{count} × {what}" for what, count in found["wrong"].items()]
    for operation, in_path in OPERATIONS.items():
        got = answers.get(operation, {})
        wrong += [f"{operation} was answered {status}" for status in got if status >= "500"]
        if not any(status < "300" for status in got):
            wrong.append(f"{operation} never went well: {got}, {found['codes'].get(operation)}")
        if in_path and not found["as_another"].get(operation):
            wrong.append(f"{operation} was never asked for what is another's")
        if found["without_a_key"].get(operation, {}).keys() != {"401"}:
            wrong.append(f"without a key {operation} was answered {found['without_a_key'].get(operation)}")
    wrong += [f"{name} never made anything" for name in ("create_payment", "create_refund")
              if not answers.get(name, {}).get("201")]  # fmt: skip
    return wrong


def table(found: Mapping[str, Any]) -> str:
    """Return how often each operation was answered with each status."""
    statuses = sorted({status for got in found["answers"].values() for status in got})
    lines = [f"{'':26}" + "".join(f"{status:>6}" for status in statuses) + "   as the other merchant"]
    for operation in sorted(found["answers"]):
        got, other = found["answers"][operation], found["as_another"].get(operation, {})
        told = " ".join(f"{status}: {count}" for status, count in other.items())
        lines.append(f"{operation:26}" + "".join(f"{got.get(status, ''):>6}" for status in statuses) + f"   {told}")
    others = sum(sum(got.values()) for got in found["as_another"].values())
    last = (
        f"{found['sent']} requests in {found['seconds']} s, seed {found['seed']}; {others} more as the other merchant"
    )
    return "\n".join([*lines, last])


@pytest.mark.long
async def test_every_answer_is_in_the_document_and_nothing_is_told_to_the_wrong_merchant(
    database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with a_market(database_url, tmp_path) as market:
        with capsys.disabled():
            found = await play(market, COUNT, SEED, shown="SLUICE_API_FUZZ_JSON" in os.environ)
    told = json.dumps(found, indent=1, ensure_ascii=False)
    if "SLUICE_API_FUZZ_JSON" in os.environ:
        await asyncio.to_thread(Path(os.environ["SLUICE_API_FUZZ_JSON"]).write_text, told)
        with capsys.disabled():
            print("\n" + table(found))
    assert not (wrong := complaints(found)), "\n".join([*wrong, json.dumps(found["details"], indent=1)])
    assert found["sent"] >= COUNT


# ---- that the tester would notice ------------------------------------------------------------------------------------

Handler = Callable[[Any, Call[Any]], Awaitable[Reply]]


def plant(monkeypatch: pytest.MonkeyPatch, routes: type, name: str, does: Callable[..., Awaitable[Reply]]) -> None:
    """Have a handler do something else. does: is given the handler, the routes and the call."""
    handler: Handler = getattr(routes, name)

    @functools.wraps(handler)
    async def planted(self: Any, call: Call[Any]) -> Reply:
        return await does(handler, self, call)

    monkeypatch.setattr(routes, name, planted)


async def breaks_on_a_limit(handler: Handler, routes: Any, call: Call[Any]) -> Reply:
    if "limit" in call.query:
        raise RuntimeError("planted")
    return await handler(routes, call)


async def forgets_whose_it_is(handler: Handler, routes: Any, call: Call[Any]) -> Reply:
    async with acquire(routes._pool) as connection:
        book = await connection.fetchval("SELECT book FROM payee WHERE id = $1 ORDER BY book", call.ident)
        found = await PAYEES.load(connection, [(book or 0, call.ident)])
    if not found:
        raise NotFound("no_such_object", f"there is no payee {call.ident}")
    return Reply(payee_payload(found[0]))


async def answers_another_status(handler: Handler, routes: Any, call: Call[Any]) -> Reply:
    return Reply((await handler(routes, call)).body, 202)


async def answers_another_code(handler: Handler, routes: Any, call: Call[Any]) -> Reply:
    raise NotFound("no_such_payment", "planted")


async def leaves_out_the_name(handler: Handler, routes: Any, call: Call[Any]) -> Reply:
    said = (await handler(routes, call)).body
    return Reply({name: value for name, value in said.items() if name != "name"}, 201)


async def test_planted_faults_are_found(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, PayeeRoutes, "list_payees", breaks_on_a_limit)
    plant(monkeypatch, PayeeRoutes, "get_payee", forgets_whose_it_is)
    plant(monkeypatch, PayeeRoutes, "create_payee", leaves_out_the_name)
    plant(monkeypatch, SettlementRoutes, "list_settlements", answers_another_status)
    plant(monkeypatch, SettlementRoutes, "get_settlement", answers_another_code)
    proved, somebody = Authenticator.principal, dict[str, Principal]()

    async def lets_strangers_in(self: Authenticator, authorization: str | None) -> Principal:
        try:
            somebody["last"] = await proved(self, authorization)
        except Unauthorized:
            if "last" not in somebody:
                raise
        return somebody["last"]

    monkeypatch.setattr(Authenticator, "principal", lets_strangers_in)
    only = ["list_payees", "get_payee", "create_payee", "list_settlements", "get_settlement"]
    async with a_market(database_url, tmp_path) as market:
        found = await play(market, 400, SEED, only=only)
    wrong = "\n".join(complaints(found))
    for expected in (
        "list_payees: ServerError",
        "list_payees was answered 500",
        "get_payee: wrong_merchant: its path names what is another's, and it is answered 200",
        "create_payee: JsonSchemaError",
        "list_settlements: UndefinedStatusCode",
        "get_settlement: CustomFailure: Custom check failed: `code_is_in_the_document`: the code 'no_such_payment'",
        "get_payee: let_in",
        "without a key get_payee was answered",
        "get_settlement never went well",
        "create_refund never made anything",
        "close_payment was never asked for what is another's",
    ):
        assert expected in wrong, "\n".join([expected, *sorted(found["wrong"])])
