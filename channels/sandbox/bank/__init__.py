"""The simulated bank: accounts, payment orders by ISO 20022 files, statements. See README.md for its protocol."""

from channels.sandbox.bank.errors import FileRefused, Refused
from channels.sandbox.bank.routes import install
from channels.sandbox.bank.service import Bank

__all__ = ["Bank", "FileRefused", "Refused", "install"]
