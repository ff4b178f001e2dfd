"""The cashier 收银台: one page for every wallet. See README.md."""

from gateway.cashier.cashier import Cashier

__all__ = ["Cashier"]
