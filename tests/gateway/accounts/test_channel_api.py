"""Channel accounts over the admin API: secrets go in and never come out, nothing is done twice, nothing odd taken."""

import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509 import InvalidVersion

from channels import CHANNELS
from channels.contract import Channel, Unknown
from kernel.addresses import Addresses, read_places
from kernel.errors import Rejected
from tests.gateway.front import NEVER_ARRIVED, SILENCE, Answer, Front
from tests.gateway.vault import OTHER, SECRET, Vault, a_vault
from tests.support import HereTransport

PATH = "/v1/channel_accounts"


@pytest_asyncio.fixture
async def vault(database_url: str, tmp_path: Path) -> AsyncIterator[Vault]:
    async with a_vault(database_url, tmp_path) as found:
        yield found


def an_account(name: str = "till", **more: Any) -> dict[str, Any]:
    credentials = {"merchant": f"m-{name}", "base_url": "https://rail.example", "api_secret": SECRET}
    return {"id": name, "channel": "vault", "credentials": credentials, "terms": {}, **more}


async def added(vault: Vault, name: str = "till", **more: Any) -> Any:
    answer = await vault.front.post(PATH, an_account(name, **more), key=f"add-{name}")
    assert answer.status == 201, answer
    return answer.body


def refused(answer: Answer, status: int, code: str, param: str | None = None) -> None:
    assert (answer.status, answer.code) == (status, code), answer
    if param is not None:
        assert answer.body["param"] == param
    assert "whisper" not in str(answer.body)


async def test_an_account_is_added_once_and_shown_without_its_secret(vault: Vault) -> None:
    terms = {"fees": {"basis_points": 38, "fixed_minor": 10}, "windows": ["mon-fri 08:00-22:00"]}
    made = await added(vault, terms=terms)
    assert (made["state"], made["version"], made["position"], made["terms"]) == ("enabled", 1, 1, terms)
    assert made["settings"] == {"merchant": "m-till", "base_url": "https://rail.example"}
    assert list(made["secrets"]) == ["api_secret"]
    assert len(made["secrets"]["api_secret"]) == 8
    assert made["notify_url"].endswith("/notify/vault/1/till")
    again = await vault.front.post(PATH, an_account(terms=terms), key="add-till")
    assert (again.status, again.headers["Idempotency-Replayed"], again.body) == (200, "true", made)
    refused(await vault.front.post(PATH, an_account(), key="add-till"), 422, "idempotency_key_reused")
    refused(await vault.front.post(PATH, an_account(), key="another"), 409, "account_exists")
    assert (await vault.front.get(f"{PATH}/till")).body == made
    assert [one["id"] for one in (await vault.front.get(PATH)).body["data"]] == ["rail", "till"]
    assert SECRET not in await vault.stored()


async def test_a_payment_goes_over_an_account_added_by_api_within_a_second(vault: Vault) -> None:
    await added(vault, position=0)
    drained = await vault.front.post(f"{PATH}/rail/drain", key="drain")
    assert drained.body["state"] == "draining"
    assert (await vault.front.attempt(await vault.front.paid())).channel_account == "till"


async def test_an_account_that_is_not_there_is_told_of_alike_everywhere(vault: Vault) -> None:
    drained = await vault.front.post(f"{PATH}/nope/drain", key="drain-nope")
    read = await vault.front.get(f"{PATH}/nope")
    changed = await vault.front.send("PATCH", f"{PATH}/nope", {"version": 1, "state": "off"})
    for answer in (drained, read, changed):
        refused(answer, 404, "no_such_channel_account")
        assert answer.body["detail"] == "there is no channel account nope; there are: rail"


async def test_a_change_needs_the_version_that_was_read(vault: Vault) -> None:
    await added(vault)
    terms = {"fees": {"basis_points": 30}}
    changed = await vault.front.send("PATCH", f"{PATH}/till", {"version": 1, "terms": terms, "position": 5})
    assert (changed.body["version"], changed.body["terms"], changed.body["position"]) == (2, terms, 5)
    assert changed.body["credentials_version"] == 1
    again = await vault.front.send("PATCH", f"{PATH}/till", {"version": 1, "terms": terms, "position": 5})
    assert again.body == changed.body, "the answer was lost, and the same is sent again"
    stale = await vault.front.send("PATCH", f"{PATH}/till", {"version": 1, "state": "off"})
    refused(stale, 409, "version_mismatch")
    assert stale.body["version"] == 2
    off = await vault.front.send("PATCH", f"{PATH}/till", {"version": 2, "state": "off"})
    assert (off.body["version"], off.body["state"], off.body["terms"]) == (3, "off", terms)


async def test_a_rotation_shows_other_fingerprints_and_until_when_the_former_count(vault: Vault) -> None:
    made = await added(vault)
    body = {"credentials": {"api_secret": OTHER}, "keep_days": 7}
    rotated = await vault.front.post(f"{PATH}/till/rotate", body, key="rotate-1")
    assert (rotated.status, rotated.body["credentials_version"], rotated.body["version"]) == (200, 2, 2)
    assert rotated.body["secrets"] != made["secrets"]
    assert rotated.body["settings"] == made["settings"]
    assert [at[:10] for at in rotated.body["previous_credentials_until"]] == ["2100-06-08"]
    again = await vault.front.post(f"{PATH}/till/rotate", body, key="rotate-1")
    assert (again.headers["Idempotency-Replayed"], again.body) == ("true", rotated.body)
    back = await vault.front.post(f"{PATH}/till/rotate", {"credentials": {"api_secret": SECRET}}, key="rotate-2")
    assert back.body["secrets"] == made["secrets"], "the same secret has the same fingerprint"
    for secret in (SECRET, OTHER):
        assert secret not in await vault.stored()


async def test_credentials_the_rail_does_not_know_do_not_go_live(vault: Vault) -> None:
    made = await added(vault)
    vault.front.rail.says(query=Unknown(f"HTTP 401 SIGN_ERROR for {OTHER}"))
    body = {"credentials": {"api_secret": OTHER}}
    said = await vault.front.post(f"{PATH}/till/rotate", body, key="rotate-1")
    refused(said, 422, "credentials_not_proven")
    assert "SIGN_ERROR" in said.body["detail"]
    assert OTHER not in str(said.body)
    kept = await vault.front.get(f"{PATH}/till")
    assert (kept.body["secrets"], kept.body["version"]) == (made["secrets"], 1)
    vault.front.rail.says(query=NEVER_ARRIVED)
    assert (await vault.front.post(f"{PATH}/till/rotate", body, key="rotate-2")).body["version"] == 2


async def test_good_credentials_that_do_not_know_what_was_paid_here_do_not_go_live(vault: Vault) -> None:
    """A secret key names its account by itself: payments would go to somebody else, and what is open be lost."""
    await added(vault, position=0)
    payment = await vault.front.paid()
    assert (await vault.front.attempt(payment)).channel_account == "till"
    vault.front.rail.says(query=NEVER_ARRIVED)
    said = await vault.front.post(f"{PATH}/till/rotate", {"credentials": {"api_secret": OTHER}}, key="rotate-1")
    refused(said, 422, "another_account", "credentials")
    assert payment in said.body["detail"]
    assert (await vault.front.get(f"{PATH}/till")).body["version"] == 1
    unasked = {"credentials": {"api_secret": OTHER}, "unproven": True}
    assert (await vault.front.post(f"{PATH}/till/rotate", unasked, key="rotate-2")).body["version"] == 2


async def test_credentials_that_know_what_was_paid_here_go_live(vault: Vault) -> None:
    """SplitLine in this order: about nobody's number, and about the last payment."""
    await added(vault, position=0)
    for number, fate in enumerate(("paid", "refunded")):
        payment = await vault.front.paid(f"order-{number}")
        if fate == "refunded":
            await vault.front.post(f"/v1/payments/{payment}/refunds", {}, key="refund")
        body = {"credentials": {"api_secret": OTHER}}
        said = await vault.front.post(f"{PATH}/till/rotate", body, key=f"rotate-{number}")
        assert said.status == 200, said.body


async def test_whoever_says_so_rotates_unproven(vault: Vault) -> None:
    await added(vault)
    vault.front.rail.says(query=SILENCE)
    body = {"credentials": {"api_secret": OTHER}, "unproven": True}
    assert (await vault.front.post(f"{PATH}/till/rotate", body, key="rotate-1")).body["version"] == 2
    assert not vault.front.asked("query")


async def test_draining_is_done_once_for_a_key(vault: Vault) -> None:
    await added(vault)
    await vault.front.post(f"{PATH}/till/drain", key="d")
    enabled = await vault.front.send("PATCH", f"{PATH}/till", {"version": 2, "state": "enabled"})
    again = await vault.front.post(f"{PATH}/till/drain", key="d")
    assert (again.status, again.body) == (200, enabled.body), "a late repetition does not drain it again"


async def test_every_change_leaves_an_event_that_says_who_and_no_secret(vault: Vault) -> None:
    await added(vault)
    await vault.front.send("PATCH", f"{PATH}/till", {"version": 1, "state": "off"})
    await vault.front.post(f"{PATH}/till/rotate", {"credentials": {"api_secret": OTHER}}, key="r")
    events = (await vault.front.get("/v1/events?limit=100")).body["data"]
    told = [event for event in events if event["subject"] == "till"]
    assert [event["type"].partition(".")[2] for event in told] == ["added", "changed", "rotated"]
    assert {event["data"]["by"][:4] for event in told} == {"key_"}
    assert next(e for e in events if e["subject"] == "rail")["data"]["by"] == "operator"
    assert "whisper" not in str(events)


BAD: dict[str, tuple[dict[str, Any], int, str, str | None]] = {
    "no such rail": ({"channel": "nothing"}, 422, "no_such_channel", None),
    "no id": ({"id": None}, 400, "invalid_request", "id"),
    "an id with a slash": ({"id": "a/b"}, 400, "invalid_request", "id"),
    "no credentials": ({"credentials": {}}, 400, "invalid_request", "credentials"),
    "a wrong key": ({"credentials": {"api_secret": "nothing-like-it"}}, 422, "channel_settings_wrong", None),
    "a key file": ({"credentials": {"api_secret_file": "/etc/shadow"}}, 422, "channel_settings_wrong", None),
    "a file deep inside": (
        {"credentials": {"api_secret": SECRET, "c": [{"file": "x"}]}},
        422,
        "channel_settings_wrong",
        None,
    ),
    "no terms": ({"terms": None}, 400, "invalid_request", "terms"),
    "unknown terms": ({"terms": {"fee": 1}}, 422, "terms_wrong", "terms.fee"),
    "terms beyond the rail": ({"terms": {"currencies": ["KWD"]}}, 422, "terms_wrong", "terms.currencies"),
    "a position below none": ({"position": -1}, 400, "invalid_request", "position"),
    "an unknown field": ({"state": "off"}, 422, "unknown_field", "state"),
}


@pytest.mark.parametrize("case", BAD)
async def test_what_is_wrong_is_named_and_nothing_is_stored(vault: Vault, case: str) -> None:
    change, status, code, param = BAD[case]
    body = an_account() | change
    before = await vault.front.counts()
    refused(await vault.front.post(PATH, body, key="k"), status, code, param)
    assert await vault.front.counts() == before
    assert len((await vault.front.get(PATH)).body["data"]) == 1


NEIGHBOURS = [
    *("http://rail.example", "http://127.0.0.1:8410", "https://127.0.0.1", "https://localhost", "https://[::1]"),
    *("https://169.254.169.254", "https://2130706433", "https://10.0.0.1", "https://[::ffff:10.0.0.1]", "https://db"),
    *("https://rail.example:5432", "https://user:whisper@rail.example", "https://rail.example@127.0.0.1"),
    *(
        "file:///etc/passwd",
        "//rail.example",
        "rail.example",
        "https://rail.example\\@127.0.0.1",
        "https://rail.example.",
    ),
]


@pytest.mark.parametrize("url", NEIGHBOURS)
async def test_the_hub_is_sent_to_no_address_that_could_be_its_neighbour(vault: Vault, url: str) -> None:
    body = an_account()
    body["credentials"]["base_url"] = url
    refused(await vault.front.post(PATH, body, key="k"), 422, "address_refused", "credentials.base_url")
    await added(vault)
    rotate = {"credentials": {"base_url": url}}
    refused(await vault.front.post(f"{PATH}/till/rotate", rotate, key="r"), 422, "address_refused")
    with pytest.raises(Rejected, match="base_url"):  # nor by an operator, who has not allowed it
        await vault.add("operators", base_url=url)


@pytest.mark.parametrize("name", ["file_url", "api_url", "url", "gateway", "where.deep", "api_secret"])
async def test_no_setting_holds_such_an_address_whatever_its_name_and_depth(vault: Vault, name: str) -> None:
    outer, _, inner = name.partition(".")
    for url in ("http://169.254.169.254/latest/meta-data", "HTTP://127.0.0.1", "gopher://127.0.0.1:6379/_x"):
        body = an_account()
        body["credentials"][outer] = [{inner: url}] if inner else url
        refused(await vault.front.post(PATH, body, key="k"), 422, "address_refused", f"credentials.{name}")
    assert len((await vault.front.get(PATH)).body["data"]) == 1


@pytest.mark.parametrize("url", [["http://127.0.0.1"], {"x": "http://127.0.0.1"}, 7, True])
async def test_an_address_that_is_no_text_is_none(vault: Vault, url: Any) -> None:
    body = an_account()
    body["credentials"]["base_url"] = url
    refused(await vault.front.post(PATH, body, key="k"), 422, "address_refused")


async def test_a_payers_browser_may_be_sent_to_the_shops_own_machine_but_to_no_script(vault: Vault) -> None:
    body = an_account()
    body["credentials"]["return_url"] = "http://localhost:3000/back?order=1"
    assert (await vault.front.post(PATH, body, key="k")).status == 201
    body["credentials"]["return_url"] = "javascript:alert(1)"
    refused(
        await vault.front.post(PATH, body | {"id": "other"}, key="o"),
        *(422, "address_refused", "credentials.return_url"),
    )


async def test_an_address_that_the_operator_allows_may_be_used_by_merchants_too(vault: Vault) -> None:
    vault.front.hub.env.transport = HereTransport(Addresses(read_places("127.0.0.1:8410")))
    body = an_account()
    body["credentials"]["base_url"] = "http://127.0.0.1:8410"
    assert (await vault.front.post(PATH, body, key="k")).status == 201
    body["credentials"]["base_url"] = "http://127.0.0.1:8411"
    refused(await vault.front.post(PATH, body | {"id": "b"}, key="b"), 422, "address_refused", "credentials.base_url")


# ---- one account's settings are nobody else's trouble ----------------------------------------------------------------

UNFIT: dict[str, Any] = {
    "NUL in an address": {"base_url": "https://rail.example\0"},
    "NUL in a text": {"merchant": "m\0"},
    "NUL in a name": {"mer\0chant": "m"},
    "NUL in a list": {"names": ["a", "b\0"]},
    "NUL in a secret": {"api_secret": SECRET + "\0"},
    "half a character": {"merchant": "\ud800"},
    "an escape": {"merchant": "\x1b[2J"},
    "a number without end": {"merchant": 10**40},
    "too deep": {"merchant": [[[[[[[[[[1]]]]]]]]]]},
}


@pytest.mark.parametrize("case", UNFIT)
async def test_settings_that_no_database_keeps_as_they_are_are_refused_and_stop_nobody_else(
    vault: Vault, case: str
) -> None:
    await added(vault)
    body = an_account("odd")
    body["credentials"] |= UNFIT[case]
    raw = json.dumps(body).encode()  # which escapes what others could not send
    answer = await vault.front.post(PATH, raw, key="odd")
    assert answer.status in (400, 422), answer
    assert answer.code in ("channel_settings_wrong", "address_refused", "malformed_json", "invalid_request")
    rotation = json.dumps({"credentials": UNFIT[case]}).encode()
    answer = await vault.front.post(f"{PATH}/till/rotate", rotation, key="r")
    assert answer.status in (400, 422), answer
    other = await vault.front.hub.merchants.add("other", currencies=["CNY"])
    theirs = {"Authorization": f"Bearer {other.api_key}"}
    assert (await vault.front.post(PATH, an_account("theirs"), key="k", **theirs)).status == 201
    await added(vault, "next")


async def test_an_odd_account_of_before_stops_neither_its_neighbours_nor_another_merchants(vault: Vault) -> None:
    """Rows of before settings were looked at hold what would not be taken today."""
    await added(vault)
    await vault.sql("UPDATE channel_account SET settings = '{\"base_url\": \"https://x\\u0000\"}' WHERE id = 'till'")
    vault.front.hub.accounts.forget(vault.front.book)
    assert (await vault.front.get(PATH)).status == 200
    assert (await vault.front.attempt(await vault.front.paid())).channel_account == "rail"
    other = await vault.front.hub.merchants.add("other", currencies=["CNY"])
    theirs = {"Authorization": f"Bearer {other.api_key}"}
    assert (await vault.front.post(PATH, an_account("theirs"), key="k", **theirs)).status == 201


async def test_a_key_of_a_kind_that_nobody_can_use_is_refused_and_not_our_failure(vault: Vault) -> None:
    for error in (UnsupportedAlgorithm("a curve"), InvalidVersion("7", 7), AttributeError("x"), OSError("x")):

        def build(settings: Mapping[str, Any], error: Exception = error) -> Channel:
            raise error

        vault.front.hub.channels["vault"] = build  # type: ignore[index]
        refused(await vault.front.post(PATH, an_account(), key="k"), 422, "channel_settings_wrong")


async def test_another_merchants_account_is_none(vault: Vault) -> None:
    await added(vault)
    other = await vault.front.hub.merchants.add("other", currencies=["CNY"])
    theirs = {"Authorization": f"Bearer {other.api_key}"}
    assert (await vault.front.get(PATH, **theirs)).body["data"] == []
    refused(await vault.front.get(f"{PATH}/till", **theirs), 404, "no_such_channel_account")
    refused(await vault.front.post(f"{PATH}/till/drain", key="d", **theirs), 404, "no_such_channel_account")
    change = {"version": 1, "state": "off"}
    refused(await vault.front.send("PATCH", f"{PATH}/till", change, **theirs), 404, "no_such_channel_account")
    assert (await vault.front.get(f"{PATH}/till")).body["version"] == 1


@pytest.mark.parametrize("name", ["nowhere", "x" * 33, "%2e%2e", "till%00"])
async def test_a_name_that_cannot_be_one_is_not_found(vault: Vault, name: str) -> None:
    assert (await vault.front.get(f"{PATH}/{name}")).status == 404


def at_stripe(name: str = "z1", **credentials: Any) -> dict[str, Any]:
    return {
        "id": name,
        "channel": "stripe",
        "credentials": {"secret_key": "sk_test_abcdef", **credentials},
        "terms": {},
    }


@pytest_asyncio.fixture
async def stripe_front(vault: Vault) -> Front:
    """A hub whose accounts at Stripe are built as in earnest."""
    vault.front.hub.channels["stripe"] = CHANNELS["stripe"]  # type: ignore[index]
    return vault.front


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("webhooks_secrets", ["whsec_PLAINTEXT"], "did you mean webhook_secrets?"),
        ("webhook_secret", "whsec_PLAINTEXT", "did you mean webhook_secrets?"),
        ("acount", "acct_1", "did you mean account?"),
        ("colour", "PLAINTEXT", "nothing was changed"),
        ("app_secret", {"is": "PLAINTEXT"}, "must be text"),
        ("more", {"signing_secret": "PLAINTEXT"}, "deep inside"),
    ],
)
async def test_a_setting_that_the_rail_does_not_read_is_refused_and_kept_nowhere(
    stripe_front: Front, vault: Vault, name: str, value: Any, said: str
) -> None:
    answer = await stripe_front.post(PATH, at_stripe(**{name: value}), key="k")
    refused(answer, 422, "channel_settings_wrong")
    assert said in answer.body["detail"], answer.body
    assert name in answer.body["detail"]
    assert "PLAINTEXT" not in str(answer.body) + await vault.stored()


async def test_what_a_rails_sign_up_says_beside_settings_may_come_with_them(stripe_front: Front) -> None:
    answer = await stripe_front.post(PATH, at_stripe(merchant="acct_1", name="tea", fee_bp=60), key="k")
    assert (answer.status, list(answer.body["secrets"])) == (201, ["secret_key"]), answer


@pytest.mark.parametrize("key", ["pk_test_x", "sk_live_ab c", "sk_test_", "rk_live_", "sk_test_…"])
async def test_a_key_that_is_none_of_stripes_is_refused_in_words_that_the_mask_leaves(
    stripe_front: Front, key: str
) -> None:
    answer = await stripe_front.post(PATH, at_stripe(secret_key=key), key="k")
    refused(answer, 422, "channel_settings_wrong")
    assert "sk (secret) or rk (restricted), then test or live" in answer.body["detail"]
    assert "…" not in answer.body["detail"]
    assert key not in str(answer.body)


@pytest.mark.parametrize(
    ("first", "second", "name"),
    [
        ({}, {}, "secret_key"),
        ({"account": "acct_1"}, {"account": "acct_1", "secret_key": "sk_test_other"}, "account"),
        ({"account": "acct_1"}, {}, "secret_key"),
    ],
)
async def test_an_account_at_a_rail_is_added_once(
    stripe_front: Front, first: dict[str, Any], second: dict[str, Any], name: str
) -> None:
    assert (await stripe_front.post(PATH, at_stripe("one", **first), key="one")).status == 201
    answer = await stripe_front.post(PATH, at_stripe("two", **second), key="two")
    refused(answer, 409, "rail_account_taken", f"credentials.{name}")
    assert answer.body["channel_account"] == "one"
    assert (await stripe_front.post(PATH, at_stripe("one", **first), key="one")).status == 200, "the same again"
    other = at_stripe("three", account="acct_3", secret_key="sk_test_three")
    assert (await stripe_front.post(PATH, other, key="three")).status == 201
