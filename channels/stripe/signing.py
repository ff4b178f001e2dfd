"""Who sent what, at Stripe: the key on our requests, and the signature on its webhooks.

Answers carry no signature. What makes one believable is that it came over TLS, in answer to a request with our key; so
`build` takes no address without TLS but the loopback one of a sandbox.
Source: docs.stripe.com, "webhook signatures" (2025), and Stripe's public Python client; see README.md.
"""

import hmac
import re
from collections.abc import Iterable
from datetime import datetime
from hashlib import sha256

from channels.contract import BadNotice, Request, Response

WINDOW_S = 300  # a notice signed longer ago than this, or further ahead, is refused: it may be a replay
_SECONDS = re.compile(r"[1-9][0-9]{0,11}", re.ASCII)
_HEX = re.compile(r"[0-9a-f]{64}", re.ASCII)


class Signer:
    """Puts the secret key on requests; everything else about them is as the adapter made it."""

    def __init__(self, secret_key: str) -> None:
        self._authorization = f"Bearer {secret_key}"

    def sign(self, request: Request) -> Request:
        """Return the request with its Authorization header."""
        headers = {**request.headers, "Authorization": self._authorization}
        return Request(request.method, request.url, headers, request.body)


class WebhookSecrets:
    """The signing secrets of our webhook endpoints, several at once: while one is rolled, both are good."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = {secret_id(secret): secret.encode() for secret in secrets}

    def ids(self) -> list[str]:
        return sorted(self._secrets)

    def verify(self, message: Response, *, now: datetime) -> str:
        """Return the id of the secret that signed the message, just now. Raises BadNotice when none of ours did.

        Any one matching v1 signature is enough; signatures of other schemes are passed over, as Stripe asks.
        """
        header = message.headers.get("stripe-signature", "")
        if not header:
            raise BadNotice("unsigned", "the Stripe-Signature header is missing")
        timestamp, signatures = _parts(header)
        if abs(now.timestamp() - int(timestamp)) > WINDOW_S:
            raise BadNotice("stale", f"signed at {timestamp}, which is more than {WINDOW_S} seconds from now")
        signed = timestamp.encode() + b"." + message.body
        for name, secret in self._secrets.items():
            right = hmac.new(secret, signed, sha256).hexdigest()
            if any(hmac.compare_digest(right, signature) for signature in signatures):
                return name
        raise BadNotice("bad_signature", "no v1 signature is one of ours over these bytes")


def secret_id(secret: str) -> str:
    """Return a name for a secret that can be shown: the start of its SHA-256."""
    return f"whsec#{sha256(secret.encode()).hexdigest()[:12]}"


def _parts(header: str) -> tuple[str, list[str]]:
    """Return (timestamp, v1 signatures) of `t=1,v1=ab,v1=cd,v0=ef`. Raises BadNotice."""
    pairs = [item.partition("=")[::2] for item in header.split(",")]
    timestamps = [value for name, value in pairs if name == "t"]
    signatures = [value for name, value in pairs if name == "v1" and _HEX.fullmatch(value)]
    if len(timestamps) != 1 or not _SECONDS.fullmatch(timestamps[0]):
        raise BadNotice("bad_signature", "the Stripe-Signature header names no single time")
    if not signatures:
        raise BadNotice("bad_signature", "the Stripe-Signature header has no v1 signature")
    return timestamps[0], signatures
