"""The simulated Acorn."""

from datetime import timedelta
from typing import Any

from tests.contract.counterparties import Counterparty


class AcornSandbox(Counterparty):
    """The simulated Acorn."""

    RAIL = "acorn"
    WINDOW = REQUEST_WINDOW = timedelta(seconds=300)

    def with_stolen_keys(self, stranger: Counterparty) -> dict[str, Any]:
        return self.account | {"secret_key": stranger.account["secret_key"]}
