"""What a bank is to the hub: what each has to do, and what only some can. The settings say which client it takes.

A power is had by having its methods, and whoever needs one asks for it by type, as with rails (channels/powers.py).
"""

from datetime import datetime
from typing import Protocol, runtime_checkable

from channels.banks.client import Accepted, BankAccount, BankSettings, FileInfo, FilePage
from channels.contract import Refused, Unknown


class Bank(Protocol):
    """One customer's way to a bank. Every call may be repeated: a file is known by its bytes, and executed once."""

    @property
    def settings(self) -> BankSettings: ...

    async def upload(self, xml: bytes, *, again_since: datetime | None = None) -> Accepted | Refused | Unknown:
        """Give the bank a pain.001. After Unknown, give it the very same bytes again; silence is no refusal.

        Accepted: the bank has said under its signature that it has these bytes. Refused: nothing of them was done.
        again_since: when it was decided to send again what the bank had refused; a refusal of before is none of these
        bytes.
        """

    async def list_files(
        self, type: str, after: str | None = None, *, message_id: str | None = None, limit: int = 100
    ) -> FilePage:
        """Return files of one type (pain.002, camt.054, camt.053) after a cursor, in the order the bank wrote them.

        Each comes once as the cursor moves on, and none is passed over. Raises Unavailable, Rejected.
        """

    async def fetch(self, file: FileInfo | str) -> bytes:
        """Return a file's bytes, signed by the bank and those that were listed.

        Raises BadStatement, with the bytes that came and are not believed; Unavailable, Rejected.
        """


@runtime_checkable
class OpensAccounts(Protocol):
    """A bank that opens accounts when it is asked."""

    async def open_account(self, reference: str, name: str, currency: str, kind: str) -> BankAccount:
        """Open an account, or return the one of this reference. Raises Rejected, Unavailable."""

    async def account(self, number: str) -> BankAccount:
        """Return an account as it is now. Raises Rejected, Unavailable."""


@runtime_checkable
class TellsUploads(Protocol):
    """A bank that says what it has received."""

    async def uploads(self, message_id: str) -> tuple[Accepted, ...]:
        """Return what it has under a message id, first one first; empty: nothing. Raises Unavailable, Rejected."""
