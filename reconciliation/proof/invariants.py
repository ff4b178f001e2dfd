"""What holds of the certificates that are kept."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from kernel.db import Connection
from kernel.errors import Rejected
from reconciliation.proof import store
from reconciliation.proof.certificate import digest, key_id, verified


async def certificates_are_what_was_signed(connection: Connection) -> list[str]:
    """Every certificate is signed by a key of ours and unchanged, and names the ones before it that are there."""
    keys: dict[str, Ed25519PublicKey] = {}
    for row in await store.keys(connection):
        public = Ed25519PublicKey.from_public_bytes(row.public_key)
        if key_id(public) == row.id:
            keys[row.id] = public
    broken, of_date, hashes = [], dict[str, str](), set[str]()
    for one in reversed(await store.newest(connection, 1_000_000)):
        name = f"the certificate of {one.business_date}, number {one.number},"
        key = keys.get(one.key_id)
        try:
            if key is None:
                raise Rejected("certificate_of_another_key", "its key is not there")
            told = verified(one.content, key)
        except Rejected as error:
            broken.append(f"{name} is not what was signed: {error.message}")
            continue
        kept = (one.business_date.isoformat(), one.number, one.sha256, one.key_id, one.holds)
        if kept != (told["date"], told["number"], digest(one.content), told["key"], told["holds"]):
            broken.append(f"{name} is kept as another than it is")
        if (one.number == 1) != (told["replaces"] is None) or told["replaces"] != of_date.get(told["date"]):
            broken.append(f"{name} does not replace the one before it")
        if told["before"] is not None and told["before"]["sha256"] not in hashes:
            broken.append(f"{name} names one of a date before that is not there")
        of_date[told["date"]] = one.sha256
        hashes.add(one.sha256)
    return broken


INVARIANTS = {"certificates_are_what_was_signed": certificates_are_what_was_signed}
