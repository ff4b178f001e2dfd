"""The simulated bank's collection service, paid into a pool account at the simulated bank."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.contract.counterparties import Counterparty


class BankTransferSandbox(Counterparty):
    """The simulated bank's collection service, paid into a pool account at the simulated bank."""

    RAIL = "bank_transfer"
    NO_FEE = "what is transferred arrives whole: the bank bills its fees otherwise"
    REFUNDS_AT_ONCE = "the bank books a return before it answers"
    BILL_FAULTS = ("bill_truncated", "bill_wrong_day")
    WINDOW = REQUEST_WINDOW = timedelta(seconds=300)
    LEARNS_KEYS = True
    UNNAMED: Mapping[str, str] = {
        "merchant": "the bank's answers name no customer: the token they were asked for with does"
    }

    async def open_account(self) -> None:
        customer = await self.control("POST", "/control/bank/customers", {"name": "tea"})
        token = await asyncio.to_thread(Path(customer["token_file"]).read_text)
        pool = {"reference": "pool", "name": "tea", "currency": "CNY", "kind": "pool"}
        headers = {"Authorization": f"Bearer {token}"}
        async with self.http.post(f"{self.base_url}/bank/accounts", json=pool, headers=headers) as answer:
            account = (await answer.json())["account"]
        wish = {"name": "tea", "settle_to": account}
        self.account = await self.control("POST", "/control/bank_transfer/merchants", wish)

    def with_stolen_keys(self, stranger: Counterparty) -> dict[str, Any]:
        """Return our settings with another customer's signing key; the token alone moves nothing."""
        return self.account | {"private_key_file": stranger.account["private_key_file"]}
