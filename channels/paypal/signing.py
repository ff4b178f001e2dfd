"""PayPal's two kinds of trust: an OAuth session for what we ask, certificates for what PayPal tells us.

PayPal signs no answers; TLS alone vouches for them. It signs its notices (webhooks) with a certificate whose address
stands in the notice. Source: PayPal's OAuth and webhook documentation, and the checks of its own Python client.
"""

import re
import zlib
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.x509.oid import NameOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from channels.contract import BadNotice, Request, Response
from kernel.safe_json import BadJson, loads_object, text, whole

ALGORITHM = "SHA256withRSA"
NAME_ENDS = ".paypal.com"  # of the certificate's common name
# PayPal repeats a notice for three days, perhaps with the time of its first try; older than this it is a replay.
OLDEST = timedelta(days=4)
AHEAD = timedelta(minutes=10)
# A session is renewed this long before it ends, or at half its life where that is shorter.
RENEW_BEFORE = timedelta(minutes=5)
LONGEST_SESSION_S = 7 * 24 * 3600
MAX_KEYS = 64  # PayPal has a few; whoever makes us fetch a thousand addresses at PayPal fills no memory

_HEADERS = ("transmission-id", "transmission-time", "transmission-sig", "cert-url", "auth-algo")
_PRINTABLE = re.compile(r"[\x21-\x7e]{1,512}", re.ASCII)
_TOKEN = re.compile(r"[\x21-\x7e]{1,8192}", re.ASCII)
_PADDING = padding.PKCS1v15()
_SHA256 = hashes.SHA256()


# ---- the session -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Session:
    """A bearer token. It stays in memory: a stored one would be a secret worth stealing, and a new one costs little."""

    token: str
    renew_at: datetime

    @classmethod
    def read(cls, answer: Response, *, now: datetime) -> "Session":
        """Return the session that an answer of /v1/oauth2/token opens. Raises BadNotice."""
        try:
            body = loads_object(answer.body)
        except BadJson:
            body = {}
        if answer.status != 200:
            why = body.get("error")
            said = why[:64] if isinstance(why, str) else "without a reason"
            raise BadNotice("login_refused", f"PayPal answered the login with {answer.status} {said}")
        try:
            token, lasts_s = text(body["access_token"]), whole(body["expires_in"])
            if text(body["token_type"]).lower() != "bearer" or not _TOKEN.fullmatch(token):
                raise BadJson("the token is not a bearer token")
            if not 0 < lasts_s <= LONGEST_SESSION_S:
                raise BadJson(f"the token would last {lasts_s} seconds")
        except (BadJson, KeyError) as error:
            raise BadNotice("login_refused", f"PayPal's answer to the login is not understood: {error}") from None
        life = timedelta(seconds=lasts_s)
        return cls(token, now + max(life - RENEW_BEFORE, life / 2))

    def on(self, request: Request) -> Request:
        """Return the request within this session."""
        headers = {**request.headers, "Authorization": f"Bearer {self.token}"}
        return Request(request.method, request.url, headers, request.body)

    def carried(self, request: Request) -> bool:
        """Tell whether the request went out within this session."""
        return request.headers.get("Authorization") == f"Bearer {self.token}"


def basic(client_id: str, client_secret: str) -> str:
    """Return the Authorization header of a login."""
    return "Basic " + b64encode(f"{client_id}:{client_secret}".encode()).decode()


# ---- notices ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NoticeKey:
    """The key of a certificate that was checked; known by the address it came from."""

    public_key: RSAPublicKey
    expires_at: datetime


class NoticeKeys:
    """The certificates trusted now. Old ones stay until they expire: a notice may be repeated for days."""

    def __init__(self, origin: tuple[str, str], roots: bytes) -> None:
        """origin: (scheme, host) we call. roots: PEM of the certificates that a notice's chain must end in."""
        self._origin = origin
        self._roots = Store(x509.load_pem_x509_certificates(roots))
        self._keys: dict[str, NoticeKey] = {}

    def ids(self) -> list[str]:
        return sorted(self._keys)

    def verify(self, message: Response, webhook_id: str, *, now: datetime) -> str:
        """Return the address of the certificate that signed the notice. Raises BadNotice."""
        headers = signature_headers(message.headers)
        if headers is None:
            raise BadNotice("unsigned", "a signature header of PayPal's is missing or malformed")
        if headers["auth-algo"] != ALGORITHM:
            raise BadNotice("bad_signature", f"only {ALGORITHM} is understood")
        try:
            sent_at = datetime.fromisoformat(headers["transmission-time"])
            age = now - sent_at
        except (ValueError, TypeError):
            raise BadNotice("bad_signature", "the time of transmission is malformed") from None
        if not -AHEAD <= age <= OLDEST:
            raise BadNotice("stale", f"sent at {sent_at.isoformat()}, which is too far from now")
        url = headers["cert-url"]
        if not self.may_fetch(url):
            raise BadNotice("bad_signature", "the certificate's address is not one of PayPal's")
        key = self._keys.get(url)
        if key is None:
            raise BadNotice("unknown_key", f"signed with a certificate we do not know: {url[:200]}")
        if now >= key.expires_at:
            raise BadNotice("expired_key", f"the certificate {url[:200]} expired at {key.expires_at}")
        signed = signed_text(headers["transmission-id"], headers["transmission-time"], webhook_id, message.body)
        try:
            key.public_key.verify(_strict_base64(headers["transmission-sig"]), signed, _PADDING, _SHA256)
        except (InvalidSignature, ValueError):
            raise BadNotice("bad_signature", "the signature is not one over these bytes for our webhook") from None
        return url

    def may_fetch(self, url: str) -> bool:
        """Tell whether a certificate may come from this address: where we call anyway, or PayPal's own hosts."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
        except ValueError:
            return False
        plain = _PRINTABLE.fullmatch(url) and "@" not in parts.netloc and "\\" not in url and not parts.fragment
        paypal = parts.scheme == "https" and host.endswith(NAME_ENDS) and port in (None, 443)
        return bool(plain and parts.path.startswith("/") and (parts[:2] == self._origin or paypal))

    def trust(self, url: str, answer: Response, *, now: datetime) -> None:
        """Take over the certificate that came from `url`, after checking name, validity and chain. Raises BadNotice."""
        if answer.status != 200:
            raise BadNotice("not_delivered", f"the certificate's address answered {answer.status}")
        try:
            leaf, *between = x509.load_pem_x509_certificates(answer.body)
            names = [attribute.value for attribute in leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
            key = leaf.public_key()
        except ValueError as error:
            raise BadNotice("malformed", f"not a certificate: {error}") from None
        name = names[0] if len(names) == 1 and isinstance(names[0], str) else ""
        if not name.endswith(NAME_ENDS) or not isinstance(key, RSAPublicKey):
            raise BadNotice("foreign_certificate", f"the certificate is of {name[:80]!r}, not of PayPal")
        try:
            policy = PolicyBuilder().store(self._roots).time(now)
            policy.build_server_verifier(x509.DNSName(name)).verify(leaf, between)
        except (VerificationError, ValueError) as error:
            raise BadNotice("foreign_certificate", f"the certificate does not lead to our root: {error}") from None
        self._keys.pop(url, None)
        if len(self._keys) >= MAX_KEYS:
            del self._keys[next(iter(self._keys))]
        self._keys[url] = NoticeKey(key, leaf.not_valid_after_utc)


def signature_headers(headers: Mapping[str, str]) -> dict[str, str] | None:
    """Return the five signature headers without their prefix; None when one is missing or malformed."""
    found = {name: headers.get(f"paypal-{name}", "") for name in _HEADERS}
    return found if all(_PRINTABLE.fullmatch(value) for value in found.values()) else None


def signed_text(transmission_id: str, transmission_time: str, webhook_id: str, body: bytes) -> bytes:
    """Return what PayPal signs of a notice: its number, its time, whose webhook, and the checksum of its bytes."""
    return f"{transmission_id}|{transmission_time}|{webhook_id}|{zlib.crc32(body)}".encode()


def _strict_base64(encoded: str) -> bytes:
    """Decode base64 that is written the one right way; Python skips foreign characters and spare bits otherwise."""
    raw = b64decode(encoded.encode("ascii"), validate=True)
    if b64encode(raw) != encoded.encode("ascii"):
        raise ValueError("not canonical base64")
    return raw
