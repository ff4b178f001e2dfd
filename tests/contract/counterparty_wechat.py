"""The simulated WeChat Pay."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from tests.contract.counterparties import Counterparty, Payer


class WeChatSandbox(Counterparty):
    """The simulated WeChat Pay."""

    RAIL = "wechat"
    PROBES = True
    OPS: Mapping[str, str] = {"charge": "codepay"}
    BILL_FAULTS = ("bill_truncated", "bill_wrong_day", "bill_bad_hash")
    FUND_BILL = True
    WINDOW = REQUEST_WINDOW = timedelta(seconds=300)
    LEARNS_KEYS = True
    SHARES = True
    TELLS_FROZEN = True
    FAILED_REFUND_NOTICES = True
    UNNAMED: Mapping[str, str] = {
        "close": "WeChat Pay answers a close with an empty 204, which is signed and names nothing"
    }
    LAST_DIGIT: Mapping[Payer, str] = {Payer.PAYS: "7", Payer.ASKS: "8", Payer.BROKE: "9"}

    async def refund_fails(self, reference: str) -> None:
        """At WeChat Pay it waits for a person: ABNORMAL, and never SUCCESS by itself."""
        await self.notice_fault("refund_abnormal", reference)

    def auth_code(self, payer: Payer) -> str:
        self.codes += 1
        return f"13{int(self.merchant) % 10**8:08}{self.codes:07}{self.LAST_DIGIT[payer]}"

    def when_keys_change(self) -> dict[str, Any]:
        """The WeChat Pay public key does not change, so this account uses certificates alone."""
        return self.account | {"public_key_id": None, "public_key_file": None}
