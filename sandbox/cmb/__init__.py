"""The simulated direct link of China Merchants Bank 招商银行云直联. See README.md for its protocol."""

from sandbox.cmb.routes import install
from sandbox.cmb.service import Direct

__all__ = ["Direct", "install"]
