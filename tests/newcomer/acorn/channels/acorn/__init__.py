"""Acorn as a channel: see README.md."""

from channels.acorn.adapter import Acorn, build

SECRETS = frozenset({"secret_key"})  # one key a line, the newest first

__all__ = ["SECRETS", "Acorn", "build"]
