"""The simulated Stripe."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from counterparties import Counterparty, Payer

from channels import Method


class StripeSandbox(Counterparty):
    """The simulated Stripe."""

    RAIL = "stripe"
    WINDOW = timedelta(seconds=300)
    TWO_CALLS = frozenset({Method.CARD})
    CARDS: Mapping[Payer, str] = {
        Payer.PAYS: "pm_card_visa",
        Payer.ASKS: "pm_card_authenticationRequired",
        Payer.BROKE: "pm_card_chargeDeclinedInsufficientFunds",
    }

    def token(self, payer: Payer) -> str:
        return self.CARDS[payer]

    def with_stolen_keys(self, stranger: Counterparty) -> dict[str, Any]:
        """The secret key is the account: another's would be another's account. So this one is nobody's."""
        return self.account | {"secret_key": f"{self.account['secret_key']}x"}
