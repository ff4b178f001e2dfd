"""Payment links and standing codes: made and changed over the API, used by payers, never oftener than allowed."""

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from kernel.errors import NotFound
from tests.gateway.front import Answer, Front, a_front, another_process

LINK = {"name": "counter", "description": "tea", "amount": 2_500, "currency": "CNY"}
STANDING = {"name": "counter", "description": "tea", "currency": "CNY", "minimum": 100, "maximum": 50_000}


async def add(front: Front, key: str | None = None, what: str = "payment_links", **more: Any) -> Answer:
    body = {**(LINK if what == "payment_links" else STANDING), **more}
    return await front.post(f"/v1/{what}", body, key=key or front.new_key())


class Door:
    """A payer at the page of a link."""

    def __init__(self, front: Front, link: Any) -> None:
        self.front = front
        self.path = "/" + link["url"].split("/", 3)[3]

    async def open(self) -> tuple[int, str]:
        """Return the page's status and text, or where it leads."""
        async with self.front.client.get(self.path, allow_redirects=False) as answer:
            return answer.status, answer.headers.get("Location") or await answer.text()

    async def submission(self) -> str:
        status, text = await self.open()
        assert status == 200, text
        found = re.search(r'name="submission" value="([0-9a-f]{32})"', text)
        assert found is not None
        return found[1]

    async def send(self, submission: str, amount: str | None = None) -> tuple[int, str]:
        data = {"submission": submission, **({} if amount is None else {"amount": amount})}
        async with self.front.client.post(self.path, data=data, allow_redirects=False) as answer:
            return answer.status, answer.headers.get("Location") or await answer.text()

    async def pay(self, amount: str | None = None) -> tuple[int, str]:
        return await self.send(await self.submission(), amount)


async def orders(front: Front) -> list[Any]:
    found: list[Any] = (await front.get("/v1/payments")).body["data"]
    return found


async def test_a_link_is_made_listed_changed_and_the_same_again(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        made = await add(front, "k", max_uses=3, metadata={"table": "5"})
        assert (made.status, made.body["object"], made.body["active"], made.body["max_uses"]) == (
            201,
            "payment_link",
            True,
            3,
        )
        again = await add(front, "k", max_uses=3, metadata={"table": "5"})
        assert (again.status, again.body) == (200, made.body)
        assert (await add(front, "k", max_uses=4)).code == "idempotency_key_reused"
        standing = await add(front, what="merchant_qrs")
        assert (standing.body["object"], standing.body["amount"]) == ("merchant_qr", None)
        assert standing.body["code_png"].endswith("/code.png")
        assert [one["id"] for one in (await front.get("/v1/payment_links")).body["data"]] == [made.body["id"]]
        assert [one["id"] for one in (await front.get("/v1/merchant_qrs")).body["data"]] == [standing.body["id"]]
        assert (await front.get(f"/v1/merchant_qrs/{made.body['id']}")).code == "no_such_link"
        path = f"/v1/payment_links/{made.body['id']}"
        changed = await front.send("PATCH", path, {"active": False, "name": "closed"})
        assert (changed.body["active"], changed.body["name"], changed.body["max_uses"]) == (False, "closed", 3)
        assert (await front.get(path)).body == changed.body


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"minimum": 10, "maximum": 9}, "invalid_request"),
        ({"max_uses": 0}, "invalid_request"),
        ({"expires_at": "2030-01-01T00:00:00"}, "invalid_request"),
        ({"amount": 1.5}, "amount_not_integer"),
        ({"split": [{"payee": "pye_" + "0" * 26, "basis_points": 1}]}, "no_such_payee"),
        ({"return_url": "javascript:alert(1)"}, "invalid_request"),
        ({"colour": "red"}, "unknown_field"),
    ],
)
async def test_a_link_that_makes_no_sense_is_refused(
    database_url: str, tmp_path: Path, more: dict[str, Any], code: str
) -> None:
    async with a_front(database_url, tmp_path) as front:
        assert (await add(front, **more)).code == code
        assert (await front.get("/v1/payment_links")).body["data"] == []


async def test_a_link_whose_split_no_payment_can_bear_is_refused_before_a_payer_sees_it(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front:
        farm = await front.payee("farm")
        assert (await add(front, split=[{"payee": farm, "amount": 2_501}])).code == "split_exceeds_payment"
        most = [{"payee": farm, "amount": 50_001}]
        assert (await add(front, what="merchant_qrs", split=most)).code == "split_exceeds_payment"
        assert (await add(front, split=[{"payee": farm, "amount": 2_500}])).status == 201


async def test_a_payer_makes_a_payment_that_has_all_the_merchant_asked_for(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        farm = await front.payee("farm")
        link = (
            await add(
                front,
                split=[{"payee": farm, "basis_points": 5_000}],
                metadata={"table": "5"},
                return_url="https://shop.example/thanks",
            )
        ).body
        status, there = await Door(front, link).pay()
        assert status == 303
        (payment,) = await orders(front)
        assert there.startswith(payment["next_action"]["url"])
        assert (payment["amount"], payment["method"], payment["metadata"]) == (2_500, "cashier", {"table": "5"})
        assert payment["merchant_order_id"].startswith(link["id"])
        assert (await front.payment(payment["id"]))["split"]["shares"] == []
        assert (await front.get(f"/v1/payment_links/{link['id']}")).body["payment_count"] == 1


async def test_what_is_sent_off_twice_makes_one_payment(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        door = Door(front, (await add(front, what="merchant_qrs")).body)
        submission = await door.submission()
        answers = await asyncio.gather(*(door.send(submission, "12.50") for _ in range(4)))
        assert {status for status, _ in answers} == {303}
        assert len({there for _, there in answers}) == 1
        assert [one["amount"] for one in await orders(front)] == [1_250]
        status, text = await door.send(submission, "13.50")
        assert (status, "Please confirm it" in text) == (422, True)
        assert len(await orders(front)) == 1


@pytest.mark.parametrize(
    ("typed", "minor"),
    [("1", 100), ("500", 50_000), ("3.5", 350), ("１２．５", 1_250), ("0.99", None), ("500.01", None), ("", None)]
    + [(wrong, None) for wrong in ("-5", "1e2", "1.005", "abc", "1,2", "9" * 20, "٣", "1\n2")],
)
async def test_only_a_whole_amount_within_the_bounds_is_taken(
    database_url: str, tmp_path: Path, typed: str, minor: int | None
) -> None:
    async with a_front(database_url, tmp_path) as front:
        door = Door(front, (await add(front, what="merchant_qrs")).body)
        status, _ = await door.pay(typed)
        assert status == (303 if minor else 422)
        assert [one["amount"] for one in await orders(front)] == ([minor] if minor else [])


async def test_a_link_is_used_no_oftener_than_allowed_by_any_number_of_payers_at_once(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front, another_process(front, database_url, tmp_path) as other:
        link = (await add(front, max_uses=2)).body
        doors = [Door(one, link) for one in (front, other, front, other, front)]
        submissions = [await door.submission() for door in doors]
        answers = await asyncio.gather(
            *(door.send(submission) for door, submission in zip(doors, submissions, strict=True))
        )
        assert sorted(status for status, _ in answers) == [303, 303, 410, 410, 410]
        assert len(await orders(front)) == 2
        # What was made is found again, also now that the link is used up.
        won = next(n for n, (status, _) in enumerate(answers) if status == 303)
        assert await doors[won].send(submissions[won]) == answers[won]


async def test_a_payment_nobody_paid_in_time_gives_its_use_back(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        link = (await add(front, max_uses=1)).body
        door = Door(front, link)
        submission = await door.submission()
        assert (await door.send(submission))[0] == 303
        (payment,) = await orders(front)
        assert (await door.open())[1].startswith(payment["next_action"]["url"]), "it leads to the payment it made"
        front.clock.forward(1801)
        await front.hub.janitor().once()
        assert (await front.payment(payment["id"]))["status"] == "expired"
        assert (await door.pay())[0] == 303
        assert len(await orders(front)) == 2


async def test_a_link_that_is_closed_or_over_takes_no_payment(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        ends = "2100-06-01T08:31:00Z"
        closing, ending = (await add(front)).body, (await add(front, expires_at=ends)).body
        doors = [Door(front, closing), Door(front, ending)]
        submissions = [await door.submission() for door in doors]
        await front.send("PATCH", f"/v1/payment_links/{closing['id']}", {"active": False})
        front.clock.forward(61)
        for door, submission in zip(doors, submissions, strict=True):
            assert (await door.open())[0] == 410
            assert (await door.send(submission))[0] == 410
        assert await orders(front) == []


async def test_a_suspended_link_takes_no_payment_until_it_is_resumed_whatever_its_merchant_says(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front:
        for what in ("payment_links", "merchant_qrs"):
            made = (await add(front, what=what)).body
            assert made["suspended_at"] is None
            door, amount = Door(front, made), None if what == "payment_links" else "7"
            begun, submission = await door.pay(amount), await door.submission()
            before = len(await orders(front))
            assert await front.hub.links().set_suspended(front.book, made["id"], suspended=True)
            assert not await front.hub.links().set_suspended(front.book, made["id"], suspended=True)
            told = (await front.send("PATCH", f"/v1/{what}/{made['id']}", {"active": True})).body
            assert (told["active"], told["suspended_at"] is None) == (True, False)
            for lang, says in (("en", "takes no payments for now"), ("zh", "已暂停使用")):
                async with front.client.get(f"{door.path}?lang={lang}") as answer:
                    assert (answer.status, says in await answer.text()) == (410, True)
            assert (await door.send(submission, amount))[0] == 410
            assert len(await orders(front)) == before
            async with front.client.get(begun[1].split(front.hub.public_url)[-1]) as answer:
                assert answer.status == 200, "what was begun goes on"
            assert await front.hub.links().set_suspended(front.book, made["id"], suspended=False)
            assert (await door.send(submission, amount))[0] == 303
            assert len(await orders(front)) == before + 1


async def test_a_payer_finds_what_was_begun_with_a_link_for_once_that_is_suspended(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front:
        made = (await add(front, max_uses=1)).body
        door = Door(front, made)
        _, page = await door.pay()
        await front.hub.links().set_suspended(front.book, made["id"], suspended=True)
        assert await door.open() == (303, page)


async def test_a_link_is_suspended_in_its_own_book_alone(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        made = (await add(front)).body
        other = await front.hub.merchants.add("rice", currencies=["CNY"])
        with pytest.raises(NotFound, match=made["id"]):
            await front.hub.links().set_suspended(other.book, made["id"], suspended=True)


async def test_made_up_addresses_and_forms_open_nothing(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        door = Door(front, (await add(front)).body)
        token = door.path.removeprefix("/l/")
        payment_token = front.hub.tokens.token(front.book, "pay_" + "1" * 26)
        for path in (f"/s/{token}", f"/l/{token[:-1]}x", f"/l/{payment_token}", f"/pay/{token}", "/l/"):
            async with front.client.get(path) as answer:
                assert answer.status == 404, path
        assert (await door.send("not-ours"))[0] == 400
        async with front.client.post(door.path, json={"submission": "0" * 32}) as answer:
            assert answer.status == 400
        assert await orders(front) == []


async def test_a_code_is_a_picture_to_print(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        code = (await add(front, what="merchant_qrs")).body
        for kind, begins in (("svg", b"<svg"), ("png", b"\x89PNG")):
            async with front.client.get("/" + code[f"code_{kind}"].split("/", 3)[3]) as answer:
                assert answer.status == 200
                assert (await answer.read()).startswith(begins)
