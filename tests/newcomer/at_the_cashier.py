"""A payer finds the new rail at the cashier under its own words, and pays there.

Only a checkout that has the rail can play it: test_new_rail.py names this file, which pytest does not find by itself.
"""

from pathlib import Path
from typing import Any

import pytest

from tests.gateway.cashier.browsers import a_street_of_its_own, expect, shot


@pytest.mark.asyncio(loop_scope="session")
async def test_a_payer_reads_the_rails_own_words_and_pays(pg_server: Any, tmp_path: Path) -> None:
    async with a_street_of_its_own(pg_server, "sluice_acorn", tmp_path, enrolled=["acorn"]) as street:
        for locale, button, heading, done in (
            ("zh-CN", "支付 ¥88.00 橡果支付 · 打开橡果，扫一扫", "用橡果支付扫码", "付款成功"),
            ("en-GB", "Pay ¥88.00 Acorn Pay · Scan with the Acorn app", "Scan with Acorn Pay", "Paid"),
        ):
            payment = await street.payment()
            async with street.look(locale=locale) as look:
                await look.page.goto(payment["next_action"]["url"])
                await shot(look, f"acorn-{locale}")
                await look.page.get_by_role("button", name=button).click()
                await expect(look.page.get_by_role("heading", name=heading)).to_be_visible()
                await street.pays("acorn", payment)
                await expect(look.page.get_by_role("heading", name=done)).to_be_visible()
                assert look.strangers(street.door) == []
                assert look.errors == []
            assert (await street.current(payment))["attempts"][-1]["channel"] == "acorn"
