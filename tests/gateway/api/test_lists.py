"""Payments, refunds and payees are found by what people know of them, and exported by the same filters."""

import csv
import io
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from channels.contract import Pending, Refused
from gateway.api.payments import _COLUMNS
from kernel.clock import rfc3339
from kernel.db import acquire
from kernel.ids import Ids
from tests.gateway.front import QR, Front, a_front

NO = Refused("NOT_ENOUGH", "the payer has no money")


def by_the_fronts_clock(front: Front) -> Front:
    """Have ids made by the clock of the test too, as a host makes both by its own."""
    front.hub.env.ids = Ids(lambda: int(front.clock.now().timestamp() * 1000), random.getrandbits)
    return front


async def found(front: Front, **filters: Any) -> list[str]:
    """Return the order numbers of the payments that are listed, newest first."""
    answer = await front.get(f"/v1/payments?{urlencode(filters)}")
    assert answer.status == 200, answer
    return [payment["merchant_order_id"] for payment in answer.body["data"]]


async def exported(front: Front, **filters: Any) -> list[dict[str, str]]:
    """Return the rows of an export, by column."""
    async with front.client.get(f"/v1/payments.csv?{urlencode(filters)}", headers=front.shop.headers) as response:
        assert (response.status, response.content_type, response.charset) == (200, "text/csv", "utf-8")
        assert "Content-Length" not in response.headers
        assert response.headers["Content-Disposition"] == 'attachment; filename="payments.csv"'
        return list(csv.DictReader(io.StringIO((await response.read()).decode(), newline="")))


@pytest.mark.parametrize(
    ("filters", "orders"),
    [
        ({}, ["jasmine", "puer", "oolong"]),
        ({"status": "succeeded"}, ["puer", "oolong"]),
        ({"status": "failed"}, ["jasmine"]),
        ({"method": "qr"}, ["puer", "oolong"]),
        ({"method": "barcode"}, ["jasmine"]),
        ({"channel": "scripted"}, ["jasmine", "puer", "oolong"]),
        ({"channel": "wechat"}, []),
        ({"merchant_order_id": "puer"}, ["puer"]),
        ({"currency": "CNY"}, ["jasmine", "puer", "oolong"]),
        ({"currency": "EUR"}, []),
        ({"amount_from": 2_000}, ["jasmine", "puer"]),
        ({"amount_until": 2_000}, ["puer", "oolong"]),
        ({"amount_from": 2_000, "amount_until": 2_000, "status": "succeeded"}, ["puer"]),
    ],
)
async def test_payments_are_found_by_what_people_know_of_them_and_exported_by_the_same(
    database_url: str, tmp_path: Path, filters: dict[str, Any], orders: Sequence[str]
) -> None:
    async with a_front(database_url, tmp_path) as front:
        await front.paid("oolong", 1_000)
        await front.paid("puer", 2_000)
        front.rail.says(pay=NO)
        await front.scan("jasmine", 3_000)
        assert await found(front, **filters) == orders
        rows = await exported(front, **filters)
        assert [row["merchant_order_id"] for row in rows] == orders
        assert all(tuple(row) == _COLUMNS for row in rows)


async def test_an_export_says_of_a_payment_what_the_payment_says(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment = await front.payment(await front.paid("tea-1", 1_250, description='龙井, "first" flush'))
        (row,) = await exported(front)
        said = {
            name: "" if payment.get(name) is None else str(payment[name]) for name in _COLUMNS if name != "failure_code"
        }
        assert row == {**said, "failure_code": ""}
        assert (row["amount_arriving"], row["merchant_coupon"], row["refund_status"]) == ("1242", "0", "none")
        assert row["amount_refunding"] == "0"
        front.rail.says(pay=NO)
        await front.pay("refused")
        assert (await exported(front, status="failed"))[0]["failure_code"] == NO.code


async def test_payments_are_found_by_when_they_were_made(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        by_the_fronts_clock(front)
        made = []
        for number in ("first", "second", "third"):
            made.append((await front.payment(await front.paid(number)))["created_at"])
            front.clock.forward(7200)
        first, second, third = made
        assert await found(front, created_from=second) == ["third", "second"]
        assert await found(front, created_until=second) == ["first"]
        assert await found(front, created_from=second, created_until=third) == ["second"]
        assert await found(front, created_from=first, created_until=first) == []
        assert [row["merchant_order_id"] for row in await exported(front, created_from=second)] == ["third", "second"]


async def test_a_payment_whose_commit_came_long_after_its_id_is_found_by_the_moment_it_shows(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment = await front.payment(await by_the_fronts_clock(front).paid("slow"))
        async with acquire(front.hub.pool) as connection:
            later = await connection.fetchval(
                "UPDATE payment SET created_at = created_at + interval '59 minutes' RETURNING created_at"
            )
        assert await found(front, created_from=rfc3339(later)) == ["slow"]
        assert await found(front, created_until=rfc3339(later)) == []
        assert payment["id"]


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ("amount_from=-1", "amount_from"),
        ("amount_until=1.5", "amount_until"),
        ("amount_from=" + "9" * 16, "amount_from"),
        ("created_from=yesterday", "created_from"),
        ("created_until=2026-11-24T08:30:00", "created_until"),
        ("method=coins", "method"),
        ("status=lost", "status"),
        ("starting=1", "starting"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/payments", "/v1/payments.csv"])
async def test_a_filter_that_is_none_is_refused_before_anything_is_sent(
    database_url: str, tmp_path: Path, path: str, wrong: str, param: str
) -> None:
    async with a_front(database_url, tmp_path) as front:
        answer = await front.get(f"{path}?{wrong}")
        assert (answer.status, answer.body["param"]) == (400, param), answer


async def test_a_moment_at_the_ends_of_the_calendar_finds_all_or_nothing(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        await by_the_fronts_clock(front).paid("tea")
        for long_ago in ("0001-01-01T00:00:00Z", "1969-12-31T23:59:59Z"):
            assert await found(front, created_from=long_ago) == ["tea"]
            assert await found(front, created_until=long_ago) == []
        assert await found(front, created_until="9999-12-31T23:59:59Z") == ["tea"]


async def test_an_export_goes_on_past_what_is_read_at_once(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.api.payments._EXPORTED", 2)
    async with a_front(database_url, tmp_path) as front:
        for number in range(5):
            await front.paid(f"order-{number}")
        assert [row["merchant_order_id"] for row in await exported(front)] == [f"order-{n}" for n in (4, 3, 2, 1, 0)]
        assert len(await exported(front, merchant_order_id="order-3")) == 1


async def test_an_export_that_fails_midway_has_no_end_so_that_nobody_takes_it_for_whole(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gateway.api import payments as api

    monkeypatch.setattr(api, "_EXPORTED", 2)
    async with a_front(database_url, tmp_path) as front:
        for number in range(3):
            await front.paid(f"order-{number}")
        read, times = api.payments, 0

        async def breaks(*given: Any, **more: Any) -> Any:
            nonlocal times
            times += 1
            if times == 2:
                raise ConnectionResetError("the database went away")
            return await read(*given, **more)

        monkeypatch.setattr(api, "payments", breaks)
        with pytest.raises(Exception, match=r"(?i)payload|disconnected|closed"):
            await exported(front)
        times = 5
        assert len(await exported(front)) == 3, "the next caller is served"


async def test_another_merchants_payments_and_payees_are_not_found(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id = await front.paid("tea")
        payee = (await front.post("/v1/payees", {"name": "farm", "currency": "CNY", "reference": "farm"})).body
        refund = (await front.refund(payment_id, merchant_refund_id="cold-cup")).body
        assert (await front.get(f"/v1/payees/{payee['id']}")).body == payee
        other = await front.hub.merchants.add("other", currencies=["CNY"])
        theirs = {"Authorization": f"Bearer {other.api_key}"}
        missing = await front.get(f"/v1/payees/{payee['id']}", **theirs)
        assert (missing.status, missing.code) == (404, "no_such_payee")
        for path in ("/v1/payments", f"/v1/refunds?merchant_refund_id={quote(refund['merchant_refund_id'])}"):
            assert (await front.get(path, **theirs)).body["data"] == []


async def test_a_refund_is_found_by_the_merchants_own_number_of_it(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id = await front.paid("tea")
        first = (await front.refund(payment_id, amount=100, merchant_refund_id="cold-cup")).body
        second = (await front.refund(payment_id, amount=200)).body
        listed = (await front.get(f"/v1/refunds?merchant_refund_id={quote('cold-cup')}")).body["data"]
        assert [refund["id"] for refund in listed] == [first["id"]]
        assert (await front.get("/v1/refunds?merchant_refund_id=warm")).body["data"] == []
        everything = (await front.get("/v1/refunds")).body["data"]
        assert [refund["id"] for refund in everything] == [second["id"], first["id"]]


async def test_what_waits_for_its_payer_is_listed_too(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        front.rail.says(pay=Pending(QR))
        await front.pay("waiting")
        assert await found(front, status="requires_action") == ["waiting"]
