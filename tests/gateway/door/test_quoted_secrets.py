"""What a caller puts in the wrong place is not quoted back, and a key is not kept."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.gateway.front import Front, a_front

KEY = "sk_" + "Aa0-" * 10
PERSONAL = "pk_" + "Aa0-" * 10
CARD = "4242424242424242"
BODY = {"merchant_order_id": "o", "amount": 1, "currency": "CNY", "description": "tea", "method": {"type": "qr"}}


@pytest_asyncio.fixture
async def front(database_url: str, tmp_path: Path) -> AsyncIterator[Front]:
    async with a_front(database_url, tmp_path) as found:
        yield found


@pytest.mark.parametrize("secret", [KEY, PERSONAL, CARD, f"rk_live_{KEY}", f"whsec_{KEY}"])
async def test_an_answer_quotes_neither_a_key_nor_a_card(front: Front, secret: str) -> None:
    for path in (f"/v1/payments/{secret}", f"/{secret}", f"/v1/events?type={secret}", f"/pay/{secret}"):
        answer = await front.get(path, X_Request_ID=secret)
        assert secret not in f"{answer}"
    wrong = await front.post("/v1/payments", BODY | {"method": {"type": "qr", "channel": "x"}, secret: secret}, key="k")
    assert secret not in f"{wrong}"


async def test_a_key_is_not_kept_as_the_name_of_a_request(front: Front) -> None:
    for key in (KEY, f"order-1-{KEY}", PERSONAL, f"order-1-{PERSONAL}"):
        answer = await front.post("/v1/payments", BODY, key=key)
        assert (answer.status, answer.code) == (400, "idempotency_key_invalid")
        assert key not in f"{answer}"


async def test_a_name_for_a_request_that_only_begins_like_a_key_is_taken(front: Front) -> None:
    answer = await front.post("/v1/payments", BODY, key="desk_4711", X_Request_ID="risk_report_2026")
    assert answer.status == 201
    assert answer.headers["X-Request-ID"] == "risk_report_2026"
