"""A request to Alipay's gateway, once it is known who sent it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sandbox.acquirer import Merchant


@dataclass(frozen=True, slots=True)
class Call:
    """An authenticated request. content: of the business; params: all others; charset: of its words."""

    merchant: Merchant
    method: str
    content: Mapping[str, Any]
    params: Mapping[str, str]
    charset: str

    @property
    def certified(self) -> bool:
        """Whether it names certificates; its answer and its notices do then."""
        return "app_cert_sn" in self.params
