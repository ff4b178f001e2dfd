"""A merchant is a payee of what is its own: of remainders, and of payments without a plan, from when it is set."""

from dataclasses import replace
from pathlib import Path

import pytest

from channels.contract import RefundFee
from kernel.errors import SluiceError
from ops.verify import verify
from splitting.shares.own import SetOwnPayee
from splitting.tables import OwnPayee
from tests.splitting.town import FARM, SHOP, Town, a_town

UNKNOWN = "pye_" + "f" * 26


async def sold(town: Town, order: str, share_of_farm: int | None = None) -> str:
    """Sell something for 100.00, of which the farm gets so many basis points, or nobody anything; 0.60 are the fee."""
    more = {} if share_of_farm is None else {"split": [{"payee": FARM, "basis_points": share_of_farm}]}
    payment = await town.front.paid(order, 10_000, **more)
    await town.front.share_out()
    return payment


async def split_of(town: Town, payment: str) -> dict[str, object] | None:
    found: dict[str, object] | None = (await town.front.payment(payment))["split"]
    return found


async def test_remainders_and_payments_without_a_plan_are_the_shops_shares_from_when_it_is_set(
    database_url: str, tmp_path: Path
) -> None:
    async with a_town(database_url, tmp_path) as town:
        await sold(town, "before", 3_000)
        bare = await sold(town, "bare")
        assert await split_of(town, bare) is None
        await town.pay_own()
        await town.pay_own()  # again it changes nothing
        assert await town.front.events("own_payee.set") == ["own_payee.set"]
        with_plan, without = await sold(town, "with", 3_000), await sold(town, "without")
        for payment, own in ((with_plan, 6_940), (without, 9_940)):
            split = await split_of(town, payment)
            assert split is not None
            assert split["own_payee"] == SHOP
            assert split["shares"][-1]["amount_minor"] == own  # type: ignore[index]
        assert await town.owed(town.today) == {FARM: 6_000, SHOP: 16_880}
        await town.pay_own(payee=None)
        await sold(town, "after")
        assert await town.owed(town.today) == {FARM: 6_000, SHOP: 16_880}, "what was made before keeps what was set"
        town.front.rail.says()
        refund = await town.front.refund(without, 5_000)
        assert refund.status == 201, refund.body
        assert await town.owed(town.today) == {FARM: 6_000, SHOP: 16_880 - 4_970}
        assert [one for one in await verify(town.front.hub.pool) if one.broken] == []


async def test_a_fee_that_is_kept_of_a_refund_is_a_debt_of_the_shops_where_it_was_paid_before(
    database_url: str, tmp_path: Path
) -> None:
    async with a_town(database_url, tmp_path) as town:
        rail = town.front.shop.rails["rail"]
        rail.capabilities = replace(rail.capabilities, refund_fee=RefundFee.KEPT)
        await town.pay_own()
        payment = await sold(town, "one", 3_000)
        await town.settle(town.today)
        assert (await town.front.refund(payment, 10_000)).status == 201
        debts = (await town.front.get("/v1/debts")).body["data"]
        assert sorted((one["payee"], one["left_minor"]) for one in debts) == [(FARM, 3_000), (SHOP, 60), (SHOP, 6_940)]
        assert [one for one in await verify(town.front.hub.pool) if one.broken] == []


@pytest.mark.parametrize(
    ("payee", "currency", "code"),
    [(UNKNOWN, "CNY", "no_such_payee"), (FARM, "CNY", "payee_is_not_merchant"), (SHOP, "USD", "currency_differs")],
)
async def test_only_the_merchant_itself_is_paid_its_own_and_in_its_currency(
    database_url: str, tmp_path: Path, payee: str, currency: str, code: str
) -> None:
    async with a_town(database_url, tmp_path) as town:
        await town.pay_own(payee=None)
        row = OwnPayee(town.front.book, currency, payee, "ada", town.front.clock.now())
        with pytest.raises(SluiceError) as refused:
            await town.put(SetOwnPayee(row))
        assert refused.value.code == code
