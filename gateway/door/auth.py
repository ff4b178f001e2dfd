"""Who is calling: Bearer keys, hashed at rest, with scopes.

A key is looked up by HMAC-SHA-256 under a pepper that lives outside the database, so a stolen dump gives no key and
cannot be searched for one. What was found is remembered for one second: a revoked key dies within that time.
"""

import base64
import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from gateway.store import find_key
from kernel.cache import Cache
from kernel.db import Pool, acquire
from kernel.env import Env
from kernel.errors import SluiceError

SCOPES = (
    "payments:write",
    "payments:read",
    "refunds:write",
    "payees:write",
    "balances:read",
    "events:read",
    "channels",
)
# What a key may do unless more is asked for. Whoever has `channels` decides to which accounts, and so to whom, payers'
# money goes: that is nothing for the key of a shop's till or website, which many machines hold.
EVERYDAY = tuple(scope for scope in SCOPES if scope != "channels")


class Unauthorized(SluiceError):
    """Who calls is not known, or may not."""


class Forbidden(SluiceError):
    """Who calls is known, and may not do this."""


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller who proved who it is."""

    book: int
    merchant_id: str
    key_id: str
    scopes: frozenset[str]

    def require(self, scope: str) -> None:
        """Raises Forbidden unless the key has the scope."""
        if scope not in self.scopes:
            raise Forbidden("scope_missing", f"this key does not have the scope {scope}", scope=scope)


def new_key(secrets: Callable[[int], bytes]) -> str:
    """Return a fresh API key; it is shown once and never stored."""
    return "sk_" + base64.urlsafe_b64encode(secrets(32)).rstrip(b"=").decode()


class Authenticator:
    """Knows the callers of this process."""

    def __init__(self, pool: Pool, pepper: bytes, env: Env) -> None:
        if len(pepper) < 32:
            raise ValueError("the pepper has fewer than 32 bytes")
        self._pool = pool
        self._keyed = hmac.new(pepper, digestmod=hashlib.sha256)
        self._env = env
        self._callers = Cache(self._look_up, env)

    def digest(self, key: str) -> bytes:
        """Return what is stored in place of the key."""
        mac = self._keyed.copy()
        mac.update(key.encode())
        return mac.digest()

    async def principal(self, authorization: str | None) -> Principal:
        """Return who sent this Authorization header.

        Raises Unauthorized (key_missing, key_unknown, key_expired, key_revoked, key_suspended).
        """
        scheme, _, key = (authorization or "").strip().partition(" ")
        if scheme.lower() != "bearer" or not key:  # a scheme has no case (RFC 9110, 11.1)
            raise Unauthorized("key_missing", "send your API key once, as 'Authorization: Bearer sk_…'")
        principal, expires_at = await self._callers.get(key.strip())
        if expires_at is not None and expires_at <= self._env.now():
            raise Unauthorized(
                "key_expired", f"key {principal.key_id} has expired; make a new one with `sluice key new`"
            )
        return principal

    async def _look_up(self, text: str) -> tuple[Principal, datetime | None]:
        """Return whose key this is, and when it expires."""
        found = None
        if text.startswith("sk_") and len(text) <= 100 and text.isascii():
            async with acquire(self._pool) as connection:
                found = await find_key(connection, self.digest(text))
        if found is None:
            raise Unauthorized("key_unknown", "there is no such API key")
        if found.revoked_at is not None:
            raise Unauthorized("key_revoked", f"key {found.id} was revoked")
        if found.suspended_at is not None:
            raise Unauthorized("key_suspended", f"key {found.id} is suspended; the hub's operator can resume it")
        return Principal(found.book, found.merchant_id, found.id, found.scopes), found.expires_at
