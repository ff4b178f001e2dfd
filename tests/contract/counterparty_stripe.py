"""The simulated Stripe."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from channels import Method
from tests.contract.counterparties import Counterparty, Payer


class StripeSandbox(Counterparty):
    """The simulated Stripe."""

    RAIL = "stripe"
    REFUNDS_AT_ONCE = "Stripe carries a card's refund out before it answers"
    WINDOW = timedelta(seconds=300)
    TWO_CALLS = frozenset({Method.CARD})
    FAILED_REFUND_NOTICES = True
    PAGE_SIZE = "limit"
    UNNAMED: Mapping[str, str] = {
        "notices": "Stripe's objects name no account: its keys and its secrets are the account"
    }
    NO_EXPIRY = "a card is charged by our second call or not at all; a page ends no sooner than in half an hour"
    BILL_UNVOUCHED = "balance transactions are answered unsigned, as all answers are: the connection vouches for them"
    BILL_OF_NOBODY = "balance transactions name no account: the secret key they are asked for with is the account"
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
