"""The key that certificates are signed with: Ed25519, made on first use, its private part sealed in the database.

As the credentials of channels and banks are (docs/decisions/0012-credentials-are-sealed.md): a dump of the database
signs nothing. An envelope opens beside its own public key alone.
"""

from base64 import b64encode
from datetime import timedelta
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from kernel.db import Connection, Pool, acquire, transaction
from kernel.env import Env
from kernel.errors import NotFound, Unavailable
from kernel.sealing import Bound, CannotOpen, MasterKeys, master_of, rewrap, seal, unseal
from people import Use, use_up
from reconciliation.proof import store
from reconciliation.proof.certificate import key_id
from reconciliation.proof.store import SealedKey

_SEED_BYTES = 32


class Resealed(NamedTuple):
    """What sealing the keys anew came to."""

    done: int
    already: int
    failed: list[str]
    in_use: frozenset[str]  # master keys that some key is still under


class CertificateKeys:
    """The keys of this installation's certificates."""

    def __init__(self, pool: Pool, env: Env, masters: MasterKeys) -> None:
        self._pool = pool
        self._env = env
        self._masters = masters

    async def signing(self, tx: Connection) -> Ed25519PrivateKey:
        """Return the key that is signed with today, made where there is none; under the lock of certificates.

        Raises Unavailable (certificate_key_closed, channel_keys_unusable): one that is lost is not replaced in silence.
        """
        there = await store.keys(tx)
        if not there:
            return (await self._make(tx, None))[1]
        return self._opened(there[0])

    async def public(self, ident: str | None = None) -> Ed25519PublicKey:
        """Return a public key, the newest if none is named. Raises NotFound (no_such_certificate_key)."""
        async with acquire(self._pool) as connection:
            there = await store.keys(connection)
        for key in there:
            if ident in (None, key.id):
                return Ed25519PublicKey.from_public_bytes(key.public_key)
        raise NotFound(
            "no_such_certificate_key",
            "no certificate was signed yet, so there is no key: `sluice proof --date` makes it"
            if ident is None
            else f"there is no key {ident[:40]!r}",
        )

    async def newest(self) -> str | None:
        """Return the name of the key that is signed with; None where none was made yet."""
        async with acquire(self._pool) as connection:
            there = await store.keys(connection)
        return there[0].id if there else None

    async def rotate(self, *, use: Use | None = None) -> str:
        """Have every certificate from now on signed with a new key; return its name.

        What the keys before it signed stays as it is, and their public parts stay known. It needs no key to open, so it
        is the way out where the master keys are lost. use: of the approval that it takes, if it does. Raises Conflict
        (approval_unusable), Unavailable (channel_keys_unusable).
        """
        async with transaction(self._pool) as tx:
            await store.lock(tx)
            await use_up(tx, use)
            there = await store.keys(tx)
            return (await self._make(tx, there[0] if there else None))[0].id

    async def reseal(self) -> Resealed:
        """Put every key under the current master key; repeating it finishes what was left."""
        done, failed = 0, list[str]()
        async with transaction(self._pool) as tx:
            await store.lock(tx)
            there = await store.keys(tx)
            for key in there:
                try:
                    if master_of(key.sealed) == self._masters.current().id:
                        self._opened(key)  # what does not open must not look well
                        continue
                    await store.reseal_key(tx, key, rewrap(key.sealed, _bound(key), self._masters, self._env.secrets))
                    done += 1
                except (CannotOpen, Unavailable) as error:
                    failed.append(f"certificate key {key.id}: {error}")
            now = await store.keys(tx)
        in_use = frozenset(master_of(key.sealed) for key in now)
        return Resealed(done, len(there) - done - len(failed), failed, in_use)

    async def _make(self, tx: Connection, before: SealedKey | None) -> tuple[SealedKey, Ed25519PrivateKey]:
        seed = self._env.secrets(_SEED_BYTES)
        private = Ed25519PrivateKey.from_private_bytes(seed)
        public = private.public_key()
        now = self._env.now()
        if before is not None:  # the newest is the one signed with, whatever became of the clock
            now = max(now, before.made_at + timedelta(microseconds=1))
        key = SealedKey(key_id(public), public.public_bytes(Encoding.Raw, PublicFormat.Raw), "", now)
        sealed = seal(seed, _bound(key), self._masters, self._env.secrets, label={"public_key": key.id})
        key = key._replace(sealed=sealed)
        await store.add_key(tx, key)
        return key, private

    def _opened(self, key: SealedKey) -> Ed25519PrivateKey:
        try:
            return Ed25519PrivateKey.from_private_bytes(unseal(key.sealed, _bound(key), self._masters))
        except CannotOpen as error:
            raise Unavailable(
                "certificate_key_closed",
                f"the key {key.id} that certificates are signed with does not open: {error}; restore the master "
                "keys, or, where they are lost for good, have two people make another key: `sluice proof rotate`",
                retry_after_s=60,
            ) from None


def _bound(key: SealedKey) -> Bound:
    return ("certificate key", key.id, b64encode(key.public_key).decode())
