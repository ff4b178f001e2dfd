"""What a bank is to the hub: what each has to do, and what only some can. The settings say which client it takes.

A power is had by having its methods, and whoever needs one asks for it by type, as with rails (channels/powers.py).
"""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from channels.banks.files import Accepted, BankAccount, FileInfo, FilePage, Kind
from channels.banks.orders import Order, RecallRequest
from channels.contract import Refused, Unknown
from kernel.sealing import Secret


class Bank(Protocol):
    """One customer's way to a bank. Every call may be repeated: what is given to the bank is done once.

    types: the types of the files that tell of each kind of thing (reading.py reads them by type). keeps_files: the
    bank has its files and gives them again; else it answers questions, and the hub alone keeps the answers.
    """

    @property
    def types(self) -> Mapping[Kind, str]: ...

    @property
    def keeps_files(self) -> bool: ...

    def unsayable(self, name: str, account: str | None = None) -> str | None:
        """Return why a payee of this name and account number cannot be paid at this bank; None where it can be.

        Whoever registers payees and makes batches asks this first: one line that cannot be said is an order not given.
        account: None where it is not known yet. The answer to the same payee never changes.
        """

    async def pool_account(self, reference: str, name: str, currency: str) -> str:
        """Return the number of the pool account, which channels pay into, opened where the bank opens accounts.

        Raises Rejected when the bank says no, Unavailable when it did not answer.
        """

    async def account(self, number: str) -> BankAccount:
        """Return an account as it is now. Raises Rejected for one that is not ours, Unavailable."""

    async def submit(self, order: Order) -> Accepted | Refused | Unknown:
        """Give the bank an order. After Unknown, give it the very same order again; silence is no refusal.

        Accepted: the bank has said under its signature that it has this order. Refused: it says that nothing of it was
        done; that may be said of a repetition, so ask what the bank has (TellsUploads) before it ends anything. Raises
        Rejected (bad_instruction) where the order cannot be written for this bank: then nothing was given.
        """

    async def list_files(
        self, type: str, after: str | None = None, *, under_way: Sequence[str] = (), limit: int = 100
    ) -> FilePage:
        """Return files of one of `types` after a cursor, in the order the bank wrote them.

        Each comes once as the cursor moves on, and none is passed over. under_way: our message ids of orders that the
        bank has and that are not decided: a bank that answers questions is asked about these. Raises Unavailable,
        Rejected.
        """

    async def fetch(self, file: FileInfo | str) -> bytes:
        """Return a file's bytes, signed by the bank and those that were listed.

        Raises BadStatement, with the bytes that came and are not believed; Unavailable, Rejected.
        """


# Why a bank opens no account by an identity token: its code, and the hub's words for it.
IDENTITY_REFUSALS: Mapping[str, str] = {
    "identity_token_required": "the bank opens this account only by an identity token of its holder",
    "identity_token_unknown": "the bank has issued no such identity token",
    "identity_token_used": "an account was opened by this identity token before",
    "identity_token_expired": "the identity token has expired",
    "identity_token_of_another": "the identity token is another holder's than the one named",
}


@runtime_checkable
class OpensAccounts(Protocol):
    """A bank that opens accounts when it is asked."""

    async def open_account(
        self, reference: str, name: str, currency: str, kind: str, identity: Secret | None = None
    ) -> BankAccount:
        """Open an account (kind: pool or sub), or return the one of this reference.

        identity: what the bank or its identity service issued to the holder 身份凭证; a bank may do without. An opening
        that is looked at has the status pending and no number: call again. Raises Rejected (see IDENTITY_REFUSALS, and
        the bank's other reasons), Unavailable.
        """


@runtime_checkable
class TellsUploads(Protocol):
    """A bank that says what it has received."""

    async def uploads(self, message_id: str) -> tuple[Accepted, ...]:
        """Return what it has under a message id, first one first; empty: nothing. Raises Unavailable, Rejected."""


@runtime_checkable
class RecallsPayments(Protocol):
    """A bank that is asked for payments back 追回, and tells of what becomes of that by files (Kind.RESOLUTION)."""

    async def recall(self, request: RecallRequest) -> Accepted | Refused | Unknown:
        """Ask for one instruction back. After Unknown, ask again with the very same: the bank looks into it once.

        Accepted: the bank has the request, and will answer it. Refused: it says that it takes no such request, and has
        done nothing; that may be said of a repetition. Raises Rejected (bad_recall) where it cannot be written.
        """


@runtime_checkable
class GivesAnew(Protocol):
    """A bank that lists no hashes of its own: the hub's are of what lay there when it looked."""

    async def fetch_anew(self, file: FileInfo) -> bytes:
        """Return a file as it is now, signed by the bank, although it was listed with other bytes. Raises as fetch."""
