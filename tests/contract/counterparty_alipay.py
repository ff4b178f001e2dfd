"""The simulated Alipay. Our dash is an underscore there; the control API tells our numbers with the dash."""

from collections.abc import Mapping
from typing import Any

from channels import Method, Order, Pending
from tests.contract.counterparties import Counterparty, Payer


class AlipaySandbox(Counterparty):
    """The simulated Alipay. Our dash is an underscore there; the control API tells our numbers with the dash."""

    RAIL = "alipay"
    REFUNDS_AT_ONCE = "Alipay carries a refund out before it answers"
    OPS: Mapping[str, str] = {"charge": "create", "returns": "refund"}
    FUND_BILL = True
    PAID_BY: Mapping[str, str] = {"prepaid": "rail"}  # its prepaid red packets of a merchant's are not imitated
    LEARNS_KEYS = True
    REFUND_NOTICES = False  # they come, and say only that it is time to ask: the amount in them is a sum
    NO_WINDOW = "what Alipay signs of a notice says when it was sent, and no document says when it is too old"
    UNNAMED: Mapping[str, str] = {
        "refund": "the answer to a refund names the payment and no refund; only of what it changed is it believed",
        "merchant": "Alipay's answers name no merchant: each application has a key of Alipay's of its own",
    }
    SHARES = True
    SHARES_ONLY_FROZEN = False
    SHARES_COME_BACK_OF = Method.PAGE
    SHARES_COME_BACK_FIRST = True
    LAST_DIGIT: Mapping[Payer, str] = {Payer.PAYS: "7", Payer.ASKS: "8", Payer.BROKE: "9"}
    CERTIFICATES = ("app_certificate_file", "alipay_certificate_file", "alipay_root_certificate_file")

    async def open_account(self) -> None:
        self.account = await self.control("POST", "/control/alipay/merchants", {"name": "tea", "certificates": True})

    def settings(self) -> dict[str, Any]:
        """Key mode; the account has certificates too."""
        return {name: value for name, value in self.account.items() if name not in self.CERTIFICATES}

    def with_stolen_keys(self, stranger: Counterparty) -> dict[str, Any]:
        return self.settings() | {"private_key_file": stranger.account["private_key_file"]}

    def when_keys_change(self) -> dict[str, Any]:
        """The key of key mode does not change, so this account uses its certificates."""
        return self.account

    def auth_code(self, payer: Payer) -> str:
        self.codes += 1
        return f"28{int(self.merchant) % 10**8:08}{self.codes:07}{self.LAST_DIGIT[payer]}"

    def payer(self) -> str:
        return "2088102177846880"

    async def come(self, order: Order, shown: Pending) -> None:
        action = shown.next_action or {}
        if action["type"] == "redirect":
            await super().come(order, shown)
        else:
            await self.control("POST", "/control/alipay/scan", {"code": action.get("code") or action["order_string"]})
