"""What a request uses up, so that its repetition is looked up and not done again (docs/decisions/0006)."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from gateway.tables import CLAIMS, Claim
from kernel.errors import Conflict
from kernel.work import Need, Work


class Claims(NamedTuple):
    """What a request uses up: its idempotency key and its own number, and the hash that tells a repetition apart."""

    # "i:<idempotency key>", "o:<merchant order id>", "r:<merchant refund id>"; "e:<order id> <payment>": had it before
    keys: Sequence[str]
    body_hash: bytes

    def needs(self, book: int) -> Iterable[Need]:
        for key in self.keys:
            yield CLAIMS, (book, key)

    def earlier(self, work: Work, book: int, *, free: Callable[[str], bool] = lambda _: False) -> str | None:
        """Return the id of the object an earlier identical request made, or None for a first request.

        free: tells of an object's id whether its own number may be used anew; the idempotency key that made it always
        leads back to it. Raises Conflict (idempotency_key_reused, duplicate_order, duplicate_refund) where another body
        came before.
        """
        found = [claim for key in self.keys if (claim := work.find(CLAIMS, (book, key))) is not None]
        same_key = next((claim for claim in found if claim.key.startswith("i:")), None)
        if same_key is not None and free(same_key.object_id):
            found = [same_key]  # its number may be another's by now
        found = [claim for claim in found if claim is same_key or not free(claim.object_id)]
        for claim in found:
            if claim.body_hash != self.body_hash:
                code, what = _WORDS[claim.key[0]]
                raise Conflict(
                    code,
                    f"{what} {claim.key[2:]!r} was already used with another request body, for {claim.object_id}",
                    object_id=claim.object_id,
                )
        if len({claim.object_id for claim in found}) > 1:
            raise Conflict("idempotency_key_reused", f"these numbers belong to {found[0].object_id} and another object")
        return found[0].object_id if found else None

    def take(self, work: Work, book: int, object_id: str, *, anew: bool = False) -> None:
        """Use them up for an object. anew: also those that `earlier` has found free; see also `replaced`."""
        for key in self.keys:
            found = work.find(CLAIMS, (book, key))
            if found is None or anew:
                work.put(CLAIMS, Claim(book, key, self.body_hash, object_id, work.now))
            if found is not None and anew and found.object_id != object_id:
                work.put(CLAIMS, found._replace(key=replaced(found)))


def replaced(claim: Claim) -> str:
    """Return under which key a claim on a number is kept once another object has the number."""
    return f"e:{claim.key[2:]} {claim.object_id}"


_WORDS = {
    "i": ("idempotency_key_reused", "idempotency key"),
    "o": ("duplicate_order", "merchant_order_id"),
    "r": ("duplicate_refund", "merchant_refund_id"),
}
