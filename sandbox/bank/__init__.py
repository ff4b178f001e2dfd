"""The simulated bank: accounts, payment orders by ISO 20022 files, statements. See README.md for its protocol."""

from sandbox.bank.errors import FileRefused, Refused
from sandbox.bank.routes import install
from sandbox.bank.service import Bank

__all__ = ["Bank", "FileRefused", "Refused", "install"]
