"""What a request uses up, so that its repetition is looked up and not done again (docs/decisions/0006)."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from gateway.tables import CLAIMS, Claim
from kernel.errors import Conflict
from kernel.work import Need, Work


class Claims(NamedTuple):
    """What a request uses up: its idempotency key and its own number, and the hash that tells a repetition apart."""

    keys: Sequence[str]  # "i:<idempotency key>", "o:<merchant order id>", "r:<merchant refund id>"
    body_hash: bytes

    def needs(self, book: int) -> Iterable[Need]:
        for key in self.keys:
            yield CLAIMS, (book, key)

    def earlier(self, work: Work, book: int) -> str | None:
        """Return the id of the object an earlier identical request made, or None for a first request.

        Raises Rejected (idempotency_key_reused, duplicate_order, duplicate_refund) where another body came before.
        """
        found = [claim for key in self.keys if (claim := work.find(CLAIMS, (book, key))) is not None]
        for claim in found:
            if claim.body_hash != self.body_hash:
                code, what = _WORDS[claim.key[0]]
                raise Conflict(
                    code,
                    f"{what} {claim.key[2:]!r} was used before, with another request body, for {claim.object_id}",
                    object_id=claim.object_id,
                )
        if len({claim.object_id for claim in found}) > 1:
            raise Conflict("idempotency_key_reused", f"these numbers belong to {found[0].object_id} and another object")
        return found[0].object_id if found else None

    def take(self, work: Work, book: int, object_id: str) -> None:
        for key in self.keys:
            if work.find(CLAIMS, (book, key)) is None:
                work.put(CLAIMS, Claim(book, key, self.body_hash, object_id, work.now))


_WORDS = {
    "i": ("idempotency_key_reused", "idempotency key"),
    "o": ("duplicate_order", "merchant_order_id"),
    "r": ("duplicate_refund", "merchant_refund_id"),
}
