"""`sluice channel …` on a real database, in the words an operator types."""

import asyncio
import inspect
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from typer.testing import Result

from gateway.door.auth import SCOPES
from ops.channel_keys import FILE
from ops.cli.commands import app
from ops.cli.routing import policy_app
from ops.trials.channel_call import OPS, asked
from tests.channels.wechat.wechat_rail import settings

Sluice = Callable[..., Result]


@pytest.fixture
def sluice(tea_house: Sluice) -> Sluice:
    return partial(tea_house, "channel")


@pytest.fixture
def credentials(tmp_path: Path) -> Path:
    """Credentials as a merchant has them: a JSON file with keys beside it, named by their own names."""
    folder = tmp_path / "given"
    folder.mkdir()
    given = settings()
    for name, value in given.items():
        if name.endswith("_file"):
            (folder / Path(value).name).write_bytes(Path(value).read_bytes())
            given[name] = Path(value).name
    for entry in given["platform_certificates"]:
        (folder / Path(entry["file"]).name).write_bytes(Path(entry["file"]).read_bytes())
        entry["file"] = Path(entry["file"]).name
    path = folder / "wechat.json"
    path.write_text(json.dumps(given))
    return path


def shown(done: Result) -> Any:
    return json.loads(done.stdout)


def test_an_account_is_added_shown_changed_rotated_drained_and_resealed(
    sluice: Sluice, credentials: Path, tmp_path: Path
) -> None:
    sluice("add", "wechat", "main", "--book", "1", "--credentials", str(credentials), "--fee-bp", "38")
    second = ("add", "wechat", "second", "--book", "1", "--credentials", str(credentials), "--fee-bp", "0", "--json")
    assert "rail_account_taken" in sluice(*second, code=1).output
    given = json.loads(credentials.read_text())
    credentials.write_text(json.dumps(given | {"mchid": "1900000999"}))
    assert shown(sluice(*second))["notify_url"].endswith("/notify/wechat/1/second")
    for key in credentials.parent.iterdir():
        key.unlink()  # nothing of it is needed any more
    first = shown(sluice("show", "--book", "1", "main"))
    assert first["terms"] == {"fees": {"basis_points": 38}}
    assert sorted(first["secrets"]) == ["apiv3_key", "private_key"]
    assert str(tmp_path) not in json.dumps(first)

    terms = tmp_path / "terms.json"
    terms.write_text('{"fees": {"basis_points": 30, "cap_minor": 500}, "limits": {"day_minor": 100000}}')
    changed = shown(sluice("terms", "--book", "1", "main", "--terms", str(terms), "--position", "3"))
    assert (changed["terms"], changed["position"]) == (json.loads(terms.read_text()), 3)

    new = tmp_path / "new.json"
    new.write_text(json.dumps({"apiv3_key": "f" * 32}))
    rotated = shown(
        sluice("rotate", "--book", "1", "main", "--credentials", str(new), "--keep-days", "5", "--unproven")
    )
    assert rotated["secrets"]["apiv3_key"] != first["secrets"]["apiv3_key"]
    assert rotated["secrets"]["private_key"] == first["secrets"]["private_key"]
    assert len(rotated["previous_credentials_until"]) == 1

    assert "main is draining" in sluice("drain", "--book", "1", "main").output
    assert "main is enabled" in sluice("state", "--book", "1", "main", "enabled").output
    assert shown(sluice("state", "--book", "1", "second", "off", "--json"))["state"] == "off"
    resealed = shown(sluice("reseal", "--new-key", "--retire"))
    assert (resealed["resealed"], resealed["failed"]) == (2, [])
    assert len(resealed["retired"]) == len(resealed["master_keys"]) == 1
    listed = shown(sluice("list", "--book", "1", "--json"))
    assert {one["id"]: one["version"] for one in listed} == {"main": 5, "second": 2}
    assert "main" in sluice("list", "--book", "1").output


DAMAGE = {
    "keys lost": ("", "the file of master keys"),
    "envelope": ("UPDATE channel_account SET sealed = 'x'", "its credentials do not open: it is no envelope of ours"),
    "address": (
        "UPDATE channel_account SET settings = replace(settings::text, 'mch', 'hcm')::json",
        "its credentials do not open",
    ),
    "not JSON inside": ("UPDATE channel_account SET settings = '[]'", "its credentials do not open"),
    "terms": ("UPDATE channel_account SET terms = '{\"fees\": 7}'", "its terms are not understood: fees"),
    "rail": ("UPDATE channel_account SET channel = 'gone'", "its credentials do not open"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_an_account_that_cannot_be_used_does_not_look_well(
    sluice: Sluice, credentials: Path, tmp_path: Path, database_url: str, damage: str
) -> None:
    given = ("--credentials", str(credentials), "--fee-bp", "38", "--json")
    added = shown(sluice("add", "wechat", "main", "--book", "1", *given))
    assert (added["usable"], added["problem"]) == (True, None)
    assert "cannot be used" not in sluice("list", "--book", "1").output
    statement, says = DAMAGE[damage]
    if statement:
        asyncio.run(carried_out(database_url, statement))
    else:
        (tmp_path / "home" / "secrets" / FILE).unlink()
    (listed,) = shown(sluice("list", "--book", "1", "--json"))
    assert (listed["state"], listed["usable"]) == ("enabled", False)
    assert says in listed["problem"]
    assert shown(sluice("show", "--book", "1", "main", "--json"))["problem"] == listed["problem"]
    assert f"cannot be used 不可用: {listed['problem']}" in sluice("list", "--book", "1").output


async def carried_out(database_url: str, statement: str) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute(statement)
    await connection.close()


def test_whatever_lists_or_shows_takes_json() -> None:
    groups = {one.name: one.typer_instance for one in app.registered_groups}
    groups |= {"route policy": policy_app}
    lacking = [
        f"{name} {command.name}"
        for name, group in groups.items()
        for command in group.registered_commands
        if command.name in ("list", "show", "info", "explain")
        if "as_json" not in inspect.signature(command.callback).parameters
    ]
    assert lacking == []


def test_what_cannot_be_is_said_in_one_line_and_nothing_is_added(
    sluice: Sluice, credentials: Path, tmp_path: Path
) -> None:
    wrong = tmp_path / "wrong.json"
    wrong.write_text('{"fees": {"basis_point": 30}}')
    add = ("add", "wechat", "--book", "1", "--credentials", str(credentials))
    assert "fees.basis_point: there is no such field" in sluice(*add, "--terms", str(wrong), code=2).output
    assert "either" in sluice(*add, "--terms", str(wrong), "--fee-bp", "1", code=2).output
    assert "say what wechat charges" in sluice(*add, code=2).output
    assert "10000" in sluice(*add, "--fee-bp", "10001", code=2).output
    assert "say what to change" in sluice("terms", "--book", "1", "main", code=2).output
    assert "no name for an account" in sluice(*add, "a/b", "--fee-bp", "60", code=2).output
    terms = tmp_path / "card.json"
    terms.write_text('{"methods": ["transfer"]}')
    assert "terms_wrong" in sluice(*add, "--terms", str(terms), code=1).output
    (credentials.parent / "merchant.pem").unlink()
    assert "private_key_file" in sluice(*add, "--fee-bp", "60", code=1).output
    assert "no_such_channel_account" in sluice("show", "--book", "1", "main", code=1).output
    assert (
        "--keep-days" in sluice("rotate", "--book", "1", "x", "--credentials", "x", "--keep-days", "-1", code=2).output
    )
    assert shown(sluice("list", "--book", "1", "--json")) == []


def test_the_master_keys_may_lie_elsewhere(
    sluice: Sluice, credentials: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = tmp_path / "mounted" / "keys.json"
    monkeypatch.setenv("SLUICE_CHANNEL_KEYS", str(named))
    add = ("add", "wechat", "--book", "1", "--credentials", str(credentials))
    add = (*add, "--fee-bp", "60")
    assert "SLUICE_CHANNEL_KEYS, is not there" in sluice(*add, code=1).output
    sluice("reseal", "--new-key")
    sluice(*add)
    assert named.stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / "home" / "secrets" / "channel-keys.json").exists()


def test_a_rail_is_called_with_an_accounts_sealed_credentials(
    sluice: Sluice, credentials: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICE_ALLOW_ADDRESSES", "127.0.0.1:9")
    given = json.loads(credentials.read_text()) | {"base_url": "http://127.0.0.1:9"}
    credentials.write_text(json.dumps(given))
    sluice("add", "wechat", "main", "--book", "1", "--credentials", str(credentials), "--fee-bp", "60")
    for file in credentials.parent.iterdir():
        file.unlink()
    query = ("call", "wechat", "query", "--set", "reference=PAY1", "--json")
    done = shown(sluice(*query, "--book", "1", "--account", "main", code=3))
    assert "127.0.0.1" in json.dumps(done)
    assert (
        "is an account at wechat"
        in sluice("call", "stripe", *query[2:], "--book", "1", "--account", "main", code=2).output
    )
    assert "--account" in sluice(*query, "--book", "1", code=2).output
    assert "no_such_channel_account" in sluice(*query, "--book", "1", "--account", "other", code=1).output


LOOKS = ("query", "refund_query", "share_query", "give_back_query", "bill")


def of(op: str) -> list[str]:
    """Return what is set in a call, so that nothing is left to be said."""
    ours = ("reference=P1", "refund_reference=R1", "share_reference=S1", "return_reference=B1", "receiver=person:o1")
    sums = ("amount=70", "share_amount=7", "return_amount=7", "date=2026-11-24")
    named = (*ours, *sums, "channel_ref=4200001", "refund_channel_ref=5030001")
    return [word for one in named for word in ("--set", one)]


@pytest.mark.long
def test_a_call_by_hand_takes_two_operators_unless_it_only_looks(
    request: pytest.FixtureRequest,
    tea_house: Sluice,
    sluice: Sluice,
    credentials: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SLUICE_ALLOW_ADDRESSES", "127.0.0.1:9")
    given = json.loads(credentials.read_text()) | {"base_url": "http://127.0.0.1:9"}
    credentials.write_text(json.dumps(given))
    sluice("add", "wechat", "main", "--book", "1", "--credentials", str(credentials), "--fee-bp", "60")
    at = ("--book", "1", "--account", "main")
    assert "second_person_missing" in sluice("call", "wechat", "refund", *of("refund"), *at, code=1).output
    tea_house("person", "add", "eve", "--role", "auditor", "--keep")
    request.getfixturevalue("two_operators")
    for op in OPS:
        call = ("call", "wechat", op, *of(op), *at)
        if op in LOOKS:
            assert "127.0.0.1" in sluice(*call, code=3).output, op
            assert "approval_asked" in sluice(*call, "--base-url", "http://127.0.0.1:8", code=1).output, op
        else:
            assert "approval_asked" in sluice(*call, code=1).output, op
        for other in ("eve", "bo"):
            assert "role_forbids" in tea_house("--as", other, "channel", *call, code=1).output, op
        nobody = tea_house("--as", "/dev/null", "channel", *call, code=1).output
        assert "person_unknown" in nobody, op
    refund = ("call", "wechat", "refund", *of("refund"), *at)
    [row] = [
        one
        for one in json.loads(tea_house("approval", "list", "--json").stdout)["approvals"]
        if one["what"]["arguments"]["op"] == "refund"
    ]
    assert "role_forbids" in tea_house("--as", "bo", "approval", "approve", row["id"], code=1).output
    tea_house("--as", "cy", "approval", "approve", row["id"])
    dearer = [one.replace("amount=70", "amount=7000") for one in refund]
    assert "approval_asked" in sluice(*dearer, code=1).output, "it was for another call"
    same = [one.replace("reference=P1", "out_trade_no=P1") if one == "reference=P1" else one for one in refund]
    assert "127.0.0.1" in sluice(*same, code=3).output, "the same under another of its names"
    assert "approval_asked" in sluice(*refund, code=1).output, "used up"
    last = json.loads(tea_house("audit", "list", "--about", "main", "--json").stdout)
    assert (last[3]["what"], last[2]["outcome"], last[2]["detail"]) == (
        "channel call wechat refund",
        "done",
        f"{row['id']} exit code 3",
    )


@pytest.mark.parametrize(
    ("op", "number", "looks"),
    [
        ("query", "channel_ref=order:5O1", True),
        ("query", "channel_ref=order:", False),
        ("query", "channel_ref=auth::5O1", False),
        ("query", "channel_ref=", False),
        ("query", "reference=P1", False),
        ("refund_query", "refund_channel_ref=1JU", True),
        ("refund_query", "reference=P1", False),
    ],
)
def test_a_query_that_would_send_the_same_once_more_does_not_only_look(op: str, number: str, looks: bool) -> None:
    name, _, value = number.partition("=")
    assert asked("paypal", op, {name: value})[1] is looks
    assert asked("wechat", op, {name: value})[1], "wechat is asked by our number"


@pytest.mark.parametrize(
    "words", [("channel", "list"), ("bank", "list"), ("link", "list"), ("discrepancies",), ("route", "policy", "list")]
)
def test_a_mistyped_book_is_told_from_one_in_which_there_is_nothing(tea_house: Sluice, words: tuple[str, ...]) -> None:
    tea_house(*words, "--book", "1")
    assert "no_such_book" in tea_house(*words, "--book", "7", code=1).output


def test_a_key_changes_accounts_and_routing_only_if_that_was_asked_for(tea_house: Sluice, database_url: str) -> None:
    async def scopes() -> list[set[str]]:
        connection = await asyncpg.connect(database_url)
        rows = await connection.fetch("SELECT scopes FROM api_key ORDER BY created_at")
        await connection.close()
        return [set(row["scopes"]) for row in rows]

    for more in ((), ("--scope", "channels")):
        tea_house("key", "new", "--book", "1", *more)
    tea_house("merchant", "add", "inn", "--scope", "channels")
    tea_house("merchant", "add", "inn", "--scope", "everything", code=1)
    everyday = set(SCOPES) - {"channels"}
    assert asyncio.run(scopes()) == [everyday, everyday, {"channels"}, {"channels"}]


def test_a_key_is_not_made_dead(tea_house: Sluice) -> None:
    tea_house("key", "new", "--book", "1", "--days", "0", code=2)
