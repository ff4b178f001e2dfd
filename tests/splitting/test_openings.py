"""A payee's account is opened by an identity token: asked until the bank says, once; the token is kept no longer."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from kernel.db import acquire
from ops.reseal import reseal
from splitting.accounts import store as accounts_store
from tests.splitting.play_bank import a_round, a_town_with_a_bank
from tests.splitting.test_withdrawals_at_a_bank import Yard, a_yard
from tests.splitting.town import BANK

NAME = "北窑"


class Counter:
    """The yard's shop, whose payees bring tokens of the bank's."""

    def __init__(self, yard: Yard, customer: str) -> None:
        self.yard, self.customer = yard, customer
        self.front = yard.town.front

    async def token(self, name: str = NAME, valid_s: int = 600) -> str:
        asked = {"customer_id": self.customer, "name": name, "valid_s": valid_s}
        return str((await self.yard.control("/bank/identity-tokens", asked))["identity_token"])

    async def register(self, token: str | None, reference: str = "kiln") -> Any:
        asked = {"name": NAME, "currency": "CNY", "bank": BANK, "reference": reference, "identity_token": token}
        return await self.front.post("/v1/payees", asked)

    async def account(self, payee: str) -> Any:
        return (await self.front.get(f"/v1/payees/{payee}")).body["sub_account"]

    async def becomes(self, payee: str, status: str) -> None:
        async def is_so() -> bool:
            return bool((await self.account(payee))["status"] == status)

        await self.yard.until(is_so)

    async def told(self) -> list[str]:
        found = (await self.front.get("/v1/events?limit=100")).body["data"]
        return [event["type"] for event in found if event["type"].startswith("payee.account_")]

    async def kept(self, payee: str) -> str | None:
        async with acquire(self.front.hub.pool) as connection:
            row = await accounts_store.last_opening(connection, self.front.book, payee)
        return None if row is None else row.sealed


@asynccontextmanager
async def a_counter(database_url: str, home: Path) -> AsyncIterator[Counter]:
    async with a_yard(database_url, home, identity_tokens=True) as yard:
        yield Counter(yard, yard.customer)


async def test_the_bank_opens_by_a_token_and_says_clearly_why_it_does_not(database_url: str, tmp_path: Path) -> None:
    async with a_counter(database_url, tmp_path) as counter:
        for token, code in (
            (None, "identity_token_required"),
            ("idt_of-nobody", "identity_token_unknown"),
            (await counter.token("another"), "identity_token_of_another"),
            (await counter.token(valid_s=0), "identity_token_expired"),
        ):
            answer = await counter.register(token)
            assert (answer.status, answer.code) == (422, code)
        token = await counter.token()
        answer = await counter.register(token)
        assert (answer.status, answer.body["sub_account"]["status"]) == (201, "open")
        assert (await counter.register(token)).body == answer.body
        assert (await counter.register(token, "another")).code == "identity_token_used"
        answer = await counter.front.post(
            "/v1/payees", {"name": NAME, "currency": "CNY", "reference": "no-bank", "identity_token": token}
        )
        assert answer.code == "identity_token_needless"
        assert await counter.told() == []


async def test_an_opening_that_is_looked_at_is_asked_about_and_nothing_is_paid_meanwhile(
    database_url: str, tmp_path: Path
) -> None:
    async with a_counter(database_url, tmp_path) as counter:
        yard, match = counter.yard, {"customer_id": counter.customer, "name": NAME}
        await yard.fault("look_at_opening", match)
        payee = (await counter.register(await counter.token())).body["id"]
        found = await counter.account(payee)
        assert (found["bank"], found["account"], found["status"], found["reason"]) == (BANK, None, "opening", None)
        assert await counter.kept(payee) is None, "the bank has it"
        await counter.front.paid("order-2", 10_000, split=[{"payee": payee, "remainder": 1}])
        await counter.front.share_out()
        tomorrow = yard.town.today.replace(day=yard.town.today.day + 1)
        assert await yard.town.asked(tomorrow) is None, "it is owed, and no batch pays it"
        asked = {"amount": 1, "currency": "CNY", "reference": "w-1"}
        assert (await counter.front.post(f"/v1/payees/{payee}/withdrawals", asked)).code == "payee_account_not_open"
        decide = {"customer_id": counter.customer, "reference": payee}
        await yard.control("/bank/openings", {**decide, "refuse": "not_identified"})
        await counter.becomes(payee, "refused")
        assert (await counter.account(payee))["reason"] == "not_identified"
        # Registered again, with another token, it is asked for anew: under another reference.
        await yard.fault("look_at_opening", match)
        assert (await counter.register(await counter.token())).body["sub_account"]["status"] == "opening"
        await yard.control("/bank/openings", {**decide, "reference": f"{payee}-2"})
        await counter.becomes(payee, "open")
        assert await counter.told() == ["payee.account_refused", "payee.account_opening", "payee.account_opened"]
        made = await yard.town.asked(tomorrow)
        assert made is not None
        assert (made.instruction_count, made.total_minor) == (1, 9_940)


async def test_silence_keeps_the_token_sealed_until_the_bank_says_and_opens_one_account(
    database_url: str, tmp_path: Path
) -> None:
    async with a_counter(database_url, tmp_path) as counter:
        await counter.yard.fault("opening_answer_lost", {"customer_id": counter.customer, "name": NAME})
        token = await counter.token()
        answer = await counter.register(token)
        payee = answer.body["id"]
        assert (answer.status, answer.body["sub_account"]["status"]) == (201, "opening")
        sealed = await counter.kept(payee)
        assert sealed is not None
        assert token not in sealed
        came_to = await reseal(counter.front.hub, new_key=True, retire=True)
        assert (came_to["failed"], await counter.kept(payee) != sealed) == ([], True)
        await counter.becomes(payee, "open")
        assert await counter.kept(payee) is None
        assert await counter.told() == ["payee.account_opened"]
        link = await counter.front.hub.banks.link(counter.front.book, BANK)
        client: Any = counter.front.hub.banks.client(link)
        again = await client.open_account(payee, NAME, "CNY", "sub")
        assert again.account.endswith((await counter.account(payee))["account"][-4:]), "there is one account"


@pytest.mark.parametrize("token", ["short", "with a blank in it", "x" * 513])
async def test_a_token_that_cannot_be_one_is_refused_and_not_told(
    database_url: str, tmp_path: Path, token: str
) -> None:
    async with a_counter(database_url, tmp_path) as counter:
        answer = await counter.register(token)
        assert (answer.status, answer.body["code"]) == (400, "invalid_request")
        assert token not in str(answer.body)


async def test_an_answer_that_is_of_another_account_is_none(database_url: str, tmp_path: Path) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, bank_worker):

        async def stands(reference: str) -> Any:
            asked = {"name": reference, "currency": "CNY", "reference": reference, "bank": BANK}
            return (await town.front.post("/v1/payees", asked)).body["sub_account"]

        bank.number = "62001"
        assert (await stands("kiln"))["status"] == "open"
        for number, wrong in enumerate(
            ({"name": "another"}, {"currency": "USD"}, {"kind": "pool"}, {"account": ""}, {})
        ):
            bank.says_opened = wrong
            bank.number = f"6298{number}" if wrong else "62001"  # the last is the kiln's
            reference = "potter" + "".join(wrong)
            assert (await stands(reference))["status"] == "opening", wrong
            town.front.clock.forward(3_600)
            await a_round(bank_worker)
            assert (await stands(reference))["status"] == "opening", wrong
            bank.says_opened = {"account": f"6299{number}"}
            town.front.clock.forward(3_600)
            await a_round(bank_worker)
            assert (await stands(reference))["status"] == "open", wrong


async def test_a_token_that_silence_used_up_opens_the_account_it_was_for_and_no_other(
    database_url: str, tmp_path: Path
) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, bank_worker):
        asked = {"name": "kiln", "currency": "CNY", "reference": "kiln", "bank": BANK, "identity_token": "idt_of-kiln"}
        bank.drops.add("kiln")
        assert (await town.front.post("/v1/payees", asked)).body["sub_account"]["status"] == "opening"
        bank.drops.clear()
        await town.front.hub.banks.end(town.front.book, BANK)  # which waits for what is open
        await a_round(bank_worker)
        assert (await town.front.post("/v1/payees", asked)).body["sub_account"]["status"] == "open"
        assert bank.opened == ["kiln", "kiln"], "the second time without the token, for the same reference"
