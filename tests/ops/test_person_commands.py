"""`sluice person` and `sluice audit`: who acts by command, and what is left of it."""

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from pydantic import SecretStr
from typer.testing import Result

from kernel.db import acquire
from kernel.errors import Rejected
from ops.people import acting, own_credential
from ops.settings import Settings
from people import Act, store
from tests.support import a_shop

Sluice = Callable[..., Result]


def added(sluice: Sluice, *words: str) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(sluice("person", "add", *words, "--json").stdout)
    return made


def test_in_a_database_of_ones_own_nothing_is_done_or_shown_before_the_first_person_is_added(
    bare_home: Sluice, tmp_path: Path
) -> None:
    tea_house = bare_home
    for words in (("merchant", "add", "tea"), ("merchant", "list"), ("person", "list"), ("audit", "list")):
        said = tea_house(*words, code=1).output
        assert "first_person_missing" in said
        assert "sluice person add NAME --first" in said
    tea_house("verify")  # looks after the hub, and shows nobody's data
    made = added(tea_house, "ada", "--first")
    own = tmp_path / "home" / "secrets" / "person"
    assert (own.read_text(), stat.S_IMODE(own.stat().st_mode)) == (made["credential"], 0o600)
    tea_house("merchant", "add", "tea")
    before = json.loads(tea_house("audit", "list", "--json").stdout)
    assert [(row["person"], row["what"], row["outcome"], row["detail"]) for row in reversed(before)] == [
        (None, "merchant add", "begun", ""),
        (None, "merchant add", "refused", "first_person_missing"),
        (None, "person add --first", "begun", ""),
        (None, "person add --first", "done", ""),
        ("ada", "merchant add", "begun", ""),
        ("ada", "merchant add", "done", ""),
    ]
    assert "first_person_exists" in tea_house("person", "add", "bo", "--first", code=1).output
    tea_house("merchant", "suspend", "--book", "1")
    last = json.loads(tea_house("audit", "list", "--person", "ada", "--json").stdout)[0]
    assert (last["what"], last["about"], last["merchant_book"], last["outcome"]) == (
        "merchant suspend",
        "book 1",
        1,
        "done",
    )
    own.rename(tmp_path / "elsewhere")
    assert "person_unnamed" in tea_house("merchant", "resume", "--book", "1", code=1).output
    assert "person_unnamed" in tea_house("merchant", "list", code=1).output
    as_ada = ("--as", str(tmp_path / "elsewhere"))
    assert "suspended" in tea_house(*as_ada, "merchant", "list").stdout
    tea_house(*as_ada, "merchant", "resume", "--book", "1")
    assert "suspended" not in tea_house(*as_ada, "merchant", "list").stdout


def test_whoever_comes_second_as_the_first_leaves_no_credential_of_nobodys(tea_house: Sluice, tmp_path: Path) -> None:
    own = tmp_path / "home" / "secrets" / "person"
    own.rename(tmp_path / "elsewhere")
    assert "first_person_exists" in tea_house("person", "add", "bo", "--first", code=1).output
    assert not own.exists()
    assert "person_unnamed" in tea_house("merchant", "list", code=1).output
    (tmp_path / "elsewhere").rename(own)
    assert "first_person_exists" in tea_house("person", "add", "bo", "--first", code=1).output
    tea_house("merchant", "list")


def test_words_that_are_no_text_are_refused_before_anything_begins(two_operators: Sluice) -> None:
    case, before = ("case", "decide", "cas_1", "--decision", "keep"), two_operators("audit", "list").output
    for words in (
        (*case, "--note", "bad\udcff"),
        ("--as", "b\udcff", "merchant", "list"),
        ("merchant", "add", "\udc80"),
    ):
        said = two_operators(*words, code=2).output
        assert "UTF-8" in said
        assert "Traceback" not in said
    assert two_operators("audit", "list").output == before


def test_merchants_staff_see_their_merchants_book_alone(tea_house: Sluice) -> None:
    tea_house("merchant", "add", "rice")
    added(tea_house, "di", "--role", "staff", "--book", "2", "--keep")
    added(tea_house, "eve", "--role", "auditor", "--keep")
    tea_house("--as", "di", "link", "list", "--book", "2")
    tea_house("--as", "eve", "link", "list", "--book", "1")
    for words in (("link", "list", "--book", "1"), ("key", "list"), ("merchant", "list"), ("audit", "list")):
        assert "role_forbids" in tea_house("--as", "di", *words, code=1).output


def test_a_key_that_is_none_is_no_key_revoked(tea_house: Sluice) -> None:
    assert "no_such_key" in tea_house("key", "revoke", "--book", "1", "key_0", code=1).output
    last = json.loads(tea_house("audit", "list", "--about", "key_0", "--json").stdout)[0]
    assert (last["what"], last["outcome"], last["detail"]) == ("key revoke", "refused", "no_such_key")


def test_a_role_is_kept_to_and_the_attempt_recorded(tea_house: Sluice, monkeypatch: pytest.MonkeyPatch) -> None:
    credential = added(tea_house, "eve", "--role", "auditor", "--keep")["credential"]
    refused = tea_house("--as", "eve", "key", "new", "--book", "1", code=1).output
    assert "eve is auditor" in refused
    assert "role_forbids" in refused
    assert "Traceback" not in refused
    assert len(json.loads(tea_house("key", "list", "--json").stdout)) == 1
    monkeypatch.setenv("SLUICE_PERSON", "eve")
    assert "role_forbids" in tea_house("person", "suspend", "ada", code=1).output
    rows = json.loads(tea_house("audit", "list", "--person", "eve", "--json").stdout)
    assert [(row["what"], row["outcome"], row["detail"]) for row in rows[::2]] == [
        ("person suspend", "refused", "role_forbids"),
        ("key new", "refused", "role_forbids"),
    ]
    assert credential not in tea_house("audit", "list", "--json").stdout + tea_house("person", "list", "--json").stdout


def test_a_suspended_person_is_refused_at_the_next_command(tea_house: Sluice) -> None:
    added(tea_house, "bo", "--role", "operator", "--keep")
    tea_house("--as", "bo", "key", "new", "--book", "1")
    assert "bo is suspended" in tea_house("person", "suspend", "bo").output
    assert "person_suspended" in tea_house("--as", "bo", "key", "new", "--book", "1", code=1).output
    assert "as before" in tea_house("person", "suspend", "bo").output
    assert "last_operator" in tea_house("person", "suspend", "ada", code=1).output
    assert "suspended 2" in tea_house("person", "list").output
    tea_house("person", "resume", "bo")
    tea_house("--as", "bo", "key", "new", "--book", "1")


async def test_where_every_credential_is_lost_the_databases_owner_begins_anew_and_the_log_stays(
    database_url: str, tmp_path: Path
) -> None:
    async with a_shop(database_url, tmp_path) as shop:
        beside = Settings(home=tmp_path, database_url=SecretStr(database_url))
        await shop.hub.people.add_first("ada", "pk_lost")
        with pytest.raises(Rejected, match="say who acts"):
            async with acting(shop.hub, beside, Act.MERCHANTS, "merchant add", "tea"):
                pass
        owner = await asyncpg.connect(database_url)
        await owner.execute("DELETE FROM person")
        await owner.close()
        await shop.hub.people.add_first("ada", own_credential(shop.hub, tmp_path))
        async with acting(shop.hub, beside, Act.MERCHANTS, "merchant add", "tea"):
            pass
        async with acquire(shop.hub.pool) as connection:
            told = [(row.person, row.outcome) for row in await store.records(connection)]
        assert told == [("ada", "done"), ("ada", "begun"), (None, "refused"), (None, "begun")]


def test_what_is_mistyped_is_said(tea_house: Sluice) -> None:
    assert "is no role" in tea_house("person", "add", "bo", "--role", "king", code=2).output
    assert "is no moment" in tea_house("audit", "list", "--since", "yesterday", code=2).output
    unknown = tea_house("--as", "nobody", "key", "new", "--book", "1", code=1).output
    assert "no credential of nobody is kept in this home" in unknown
    assert "person_unnamed" in unknown
    assert "no_such_person" in tea_house("person", "suspend", "nobody", code=1).output
    assert "merchant add" in tea_house("audit", "list", "--since", "2020-01-01").output
    assert tea_house("audit", "list", "--since", "2990-01-01").output == ""


async def test_a_home_with_servers_of_its_own_makes_its_first_operator(database_url: str, tmp_path: Path) -> None:
    async with a_shop(database_url, tmp_path) as shop:
        own = Settings(home=tmp_path, database_url=None)
        for _ in range(2):
            async with acting(shop.hub, own, Act.MERCHANTS, "merchant add", "tea"):
                pass
        file = tmp_path / "secrets" / "person"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        credential = file.read_text()
        assert (await shop.hub.people.acting(credential, Act.PEOPLE)).name == "operator"
        beside = Settings(home=tmp_path / "other", database_url=SecretStr(database_url), person=str(file))
        async with acting(shop.hub, beside, Act.MERCHANTS, "merchant add", "rice"):
            pass


def test_a_credential_in_the_wrong_place_is_neither_shown_nor_kept(tea_house: Sluice) -> None:
    credential, key = "pk_" + "Aa0-" * 10 + "abc", "sk_" + "Bb1-" * 10 + "abc"
    for words in (("--as", credential, "merchant", "add", "silk"), ("--as", f"./{credential}", "merchant", "list")):
        refused = tea_house(*words, code=1).output
        assert "person_unnamed" in refused
        assert credential[3:] not in refused
    tea_house("merchant", "add", f"{key} {credential}")
    tea_house("merchant", "add", "x" * 180 + f" {credential}")
    kept = tea_house("audit", "list", "--json").stdout
    assert kept.count("merchant add") >= 4
    assert not any(part in kept for part in (key[3:], credential[3:], credential[3:20]))
