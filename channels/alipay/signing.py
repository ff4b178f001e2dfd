"""Signatures of Alipay's OpenAPI 支付宝开放平台 (RSA2): who signed what, over exactly the bytes that travelled.

A merchant works with bare keys (key mode 公钥模式) or with certificates (certificate mode 公钥证书模式); then requests
name the certificates they rely on, and answers name the one they are signed with.
Source: opendocs.alipay.com, "signature" and "certificate mode" pages as mirrored, and the clients alipay-sdk-python
3.7, python-alipay-sdk 3.4 and alipay-sdk (npm) 4.14; see README.md.
"""

import hashlib
import json
import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any
from urllib.parse import parse_qsl, unquote_to_bytes, urlencode

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.x509.oid import NameOID

from channels.contract import BadNotice, Request
from kernel.clock import BEIJING
from kernel.safe_json import BadJson, loads_object, text

PUBLIC_KEY = "alipay_public_key"  # the id of the one key there is in key mode
_PADDING = padding.PKCS1v15()
_SHA256 = hashes.SHA256()
_BLANKS = " \t\r\n"
_SIGNED_BY_RSA = "1.2.840.113549.1.1."  # how the identifiers of RSA signatures begin (RFC 8017)
_ISSUER_NAMES = {
    NameOID.COMMON_NAME: "CN",
    NameOID.ORGANIZATIONAL_UNIT_NAME: "OU",
    NameOID.ORGANIZATION_NAME: "O",
    NameOID.COUNTRY_NAME: "C",
}
_CHARSETS = {"utf-8": "utf-8", "utf8": "utf-8", "gbk": "gb18030", "gb2312": "gb18030", "gb18030": "gb18030"}
_MAX_FIELDS = 200


# ---- requests --------------------------------------------------------------------------------------------------------


class Signer:
    """Signs requests with the merchant's application key 应用私钥."""

    def __init__(self, private_key: RSAPrivateKey, gateway_url: str) -> None:
        self._key = private_key
        self._prefix = f"{gateway_url}?"

    def sign(self, request: Request, *, now: datetime) -> Request:
        """Return the request with its time and signature in the query; about 0.4 ms of CPU.

        Only what goes to the gateway is signed: the address of a bill file is not ours to add anything to.
        """
        if not request.url.startswith(self._prefix):
            return request
        query = request.url[len(self._prefix) :]
        stamp = [("timestamp", timestamp(now))]
        signature = self.signature([*_fields(query), *_fields(request.body.decode()), *stamp])
        signed = f"{request.url}&{urlencode([*stamp, ('sign', signature)])}"
        return Request(request.method, signed, request.headers, request.body)

    def sentence(self, parameters: Mapping[str, str], *, now: datetime) -> str:
        """Return parameters with time and signature as one query: what a payer's browser or app takes to Alipay."""
        stamped = sorted({**parameters, "timestamp": timestamp(now)}.items())
        return urlencode([*stamped, ("sign", self.signature(stamped))])

    def signature(self, parameters: Iterable[tuple[str, str]]) -> str:
        """Return the signature over parameters: without `sign` and empty ones, raw values, sorted by name."""
        kept = sorted((name, value) for name, value in parameters if value and name != "sign")
        message = "&".join(f"{name}={value}" for name, value in kept)
        return b64encode(self._key.sign(message.encode(), _PADDING, _SHA256)).decode()


def timestamp(moment: datetime) -> str:
    """Write an aware moment as Alipay does: Beijing time, to the second."""
    return moment.astimezone(BEIJING).strftime("%Y-%m-%d %H:%M:%S")


def _fields(query: str) -> list[tuple[str, str]]:
    return parse_qsl(query, keep_blank_values=True, strict_parsing=True) if query else []


# ---- answers and notices ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Envelope:
    """An answer: one object, and its signature beside it."""

    node: str  # alipay_trade_query_response, … or error_response
    signed: bytes  # the object exactly as it stands in the answer
    fields: dict[str, Any]
    signature: str  # empty: unsigned
    cert_sn: str  # of the certificate it is signed with; empty in key mode


def envelope(body: bytes) -> Envelope:
    """Return the parts of an answer. Raises BadJson when it is not JSON with one meaning, or not of that shape."""
    whole = loads_object(body)
    nodes = [name for name, value in whole.items() if name.endswith("_response") and isinstance(value, dict)]
    if len(nodes) != 1:
        raise BadJson(f"the answer holds {len(nodes)} objects that could be the response")
    return Envelope(
        nodes[0],
        _as_it_stands(body.decode(), nodes[0]).encode(),
        whole[nodes[0]],
        text(whole.get("sign", "")),
        text(whole.get("alipay_cert_sn", "")),
    )


def _as_it_stands(raw: str, name: str) -> str:
    """Return the letters of the value of `name`; raw: a JSON object already read strictly, which has the name once.

    Signatures are over these letters, with their blanks and escapes; nothing written anew would do.
    """
    decoder = json.JSONDecoder()
    at = _skip(raw, 0) + 1
    while True:
        found, at = decoder.raw_decode(raw, _skip(raw, at))
        start = _skip(raw, _skip(raw, at) + 1)
        _, end = decoder.raw_decode(raw, start)
        if found == name:
            return raw[start:end]
        at = _skip(raw, end) + 1


def _skip(raw: str, at: int) -> int:
    while raw[at] in _BLANKS:
        at += 1
    return at


@dataclass(frozen=True, slots=True)
class Form:
    """A notice: a form, read, and the two ways in which the signed text may have been put together."""

    fields: dict[str, str]
    signed: Sequence[bytes]


def form(body: bytes) -> Form:
    """Return what a posted form says and what its signature is over. Raises BadNotice.

    Signed are the decoded values, in the form's own charset, sorted by name, without sign and sign_type. Alipay's own
    clients differ in whether empty values count, so both texts are given; an empty value means nothing either way.
    """
    found: dict[bytes, bytes] = {}
    for pair in body.split(b"&", _MAX_FIELDS):
        name, equals, value = pair.partition(b"=")
        name = unquote_to_bytes(name.replace(b"+", b" "))
        if not equals or not name or name in found:
            raise BadNotice("malformed", "not a form, or a name stands in it twice")
        found[name] = unquote_to_bytes(value.replace(b"+", b" "))
    charset = _CHARSETS.get(found.get(b"charset", b"utf-8").decode("ascii", "replace").lower())
    if charset is None:
        raise BadNotice("malformed", "the form is in a charset we do not know")
    try:
        fields = {name.decode("ascii"): value.decode(charset) for name, value in found.items()}
    except UnicodeDecodeError:
        raise BadNotice("malformed", "the form is not in the charset it names") from None
    lines = [(name, value) for name, value in sorted(found.items()) if name not in (b"sign", b"sign_type")]
    full = b"&".join(name + b"=" + value for name, value in lines if value)
    every = b"&".join(name + b"=" + value for name, value in lines)
    return Form(fields, (full,) if full == every else (full, every))


@dataclass(frozen=True, slots=True)
class AlipayKey:
    """A key with which Alipay signs."""

    key_id: str  # the serial sn of its certificate, or PUBLIC_KEY
    public_key: RSAPublicKey
    expires_at: datetime | None = None  # bare keys do not expire


class AlipayKeys:
    """The keys trusted now: one in key mode; several certificates while Alipay changes from one to the next."""

    def __init__(self, keys: Iterable[AlipayKey]) -> None:
        self._keys = {key.key_id: key for key in keys}

    def ids(self) -> list[str]:
        return sorted(self._keys)

    def with_more(self, more: Iterable[AlipayKey]) -> "AlipayKeys":
        """Return these keys and `more`; old ones stay until they expire, for what is still under way."""
        return AlipayKeys([*self._keys.values(), *more])

    def verify(self, signed: Sequence[bytes], signature: str, named: str, *, now: datetime) -> str:
        """Return the id of the key that made the signature over one of the texts. Raises BadNotice.

        named: the certificate the message names; empty where it names none, then any key of ours may have signed.
        """
        if not signature:
            raise BadNotice("unsigned", "there is no signature")
        try:
            raw = strict_base64(signature)
        except ValueError:
            raise BadNotice("bad_signature", "the signature is not plain base64") from None
        for key in self._candidates(named):
            if any(_made_by(key.public_key, raw, message) for message in signed):
                if key.expires_at is not None and now >= key.expires_at:
                    raise BadNotice("expired_key", f"the certificate {key.key_id} expired at {key.expires_at}")
                return key.key_id
        raise BadNotice("bad_signature", "the signature is not one of Alipay's keys over these bytes")

    def _candidates(self, named: str) -> Sequence[AlipayKey]:
        if not named or PUBLIC_KEY in self._keys:
            return list(self._keys.values())
        key = self._keys.get(named)
        if key is None:
            raise BadNotice("unknown_key", f"signed with a certificate we do not know: {named[:64]!r}")
        return [key]


def _made_by(key: RSAPublicKey, signature: bytes, message: bytes) -> bool:
    try:
        key.verify(signature, message, _PADDING, _SHA256)
    except InvalidSignature:
        return False
    return True


# ---- keys and certificates -------------------------------------------------------------------------------------------


def private_key(pem_or_base64: str) -> RSAPrivateKey:
    """Return the application's private key: PEM, or the bare base64 of Alipay's key tool. Raises ValueError."""
    pem = pem_or_base64.lstrip().startswith("-----")
    try:
        key = (
            serialization.load_pem_private_key(pem_or_base64.encode(), password=None)
            if pem
            else serialization.load_der_private_key(_base64_lines(pem_or_base64), password=None)
        )
    except (ValueError, TypeError) as error:
        raise ValueError(f"private_key is not a private key: {type(error).__name__}") from None
    if not isinstance(key, RSAPrivateKey):
        raise ValueError("private_key is not an RSA key")
    return key


def public_key(pem_or_base64: str) -> AlipayKey:
    """Return Alipay's public key of key mode, PEM or bare base64. Raises ValueError."""
    pem = pem_or_base64.lstrip().startswith("-----")
    try:
        key = (
            serialization.load_pem_public_key(pem_or_base64.encode())
            if pem
            else serialization.load_der_public_key(_base64_lines(pem_or_base64))
        )
    except ValueError:
        raise ValueError("alipay_public_key is not a public key") from None
    return AlipayKey(PUBLIC_KEY, _rsa(key))


def certificates(pem: str) -> list[x509.Certificate]:
    """Return the certificates of a PEM text, in its order; at least one. Raises ValueError."""
    return x509.load_pem_x509_certificates(pem.encode())


def certificate_key(certificate: x509.Certificate) -> AlipayKey:
    """Return the key of one of Alipay's certificates 支付宝公钥证书. Raises ValueError when it is not RSA."""
    return AlipayKey(cert_sn(certificate), _rsa(certificate.public_key()), certificate.not_valid_after_utc)


def cert_sn(certificate: x509.Certificate) -> str:
    """Return what Alipay calls a certificate's serial sn: MD5 over its issuer's name and its serial number."""
    issuer = [
        f"{_ISSUER_NAMES[part.oid]}={text(part.value)}"
        for part in reversed(list(certificate.issuer))
        if part.oid in _ISSUER_NAMES
    ]
    named = ",".join(issuer) + str(certificate.serial_number)
    return hashlib.md5(named.encode(), usedforsecurity=False).hexdigest()


def root_sn(roots: Iterable[x509.Certificate]) -> str:
    """Return the serial sn of Alipay's roots 支付宝根证书: those signed by RSA, joined by underscores."""
    return "_".join(
        cert_sn(root) for root in roots if root.signature_algorithm_oid.dotted_string.startswith(_SIGNED_BY_RSA)
    )


def successor(
    chain: Sequence[x509.Certificate],
    *,
    named: str,
    roots: Sequence[x509.Certificate],
    known: x509.Certificate,
    now: datetime,
) -> AlipayKey:
    """Return the key of a new certificate of Alipay's that came over the wire. Raises ValueError unless it is one.

    named: the serial sn it was asked for by. chain: it, then who signed it, up to one of `roots`. known: a certificate
    of Alipay's that we were given by hand. Merchants' own certificates come from the same authority, so that a chain
    is right is not enough: it must also be of the organization that `known` is of.
    """
    leaf = chain[0]
    if cert_sn(leaf) != named:
        raise ValueError(f"the certificate asked for is {named}, the one that came {cert_sn(leaf)}")
    if _organization(leaf) != _organization(known):
        raise ValueError("the certificate is somebody else's, not Alipay's")
    for issued, issuer in pairwise(chain):
        _issued(issued, issuer, now)
    top = chain[-1]
    root = next((root for root in roots if root.subject == top.issuer), None)
    if root is None:
        raise ValueError("the certificate's chain does not end at a root we were given")
    _issued(top, root, now)
    return certificate_key(leaf)


def _issued(certificate: x509.Certificate, issuer: x509.Certificate, now: datetime) -> None:
    for of in (certificate, issuer):
        if not of.not_valid_before_utc <= now < of.not_valid_after_utc:
            raise ValueError("a certificate of the chain is not valid now")
    try:
        limits = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value
        authority = limits.ca
    except x509.ExtensionNotFound:
        authority = False
    if not authority:
        raise ValueError("a certificate of the chain may not issue others")
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, TypeError):
        raise ValueError("a certificate of the chain is not signed by the next one") from None


def _organization(certificate: x509.Certificate) -> list[str]:
    return [text(part.value) for part in certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]


def _rsa(key: object) -> RSAPublicKey:
    if not isinstance(key, RSAPublicKey):
        raise ValueError("Alipay's RSA2 signatures take an RSA key")
    return key


def _base64_lines(written: str) -> bytes:
    return b64decode(re.sub(r"\s", "", written).encode(), validate=True)


def strict_base64(encoded: str) -> bytes:
    """Decode base64 that is written the one right way; Python skips foreign characters and spare bits otherwise."""
    raw = b64decode(encoded.encode("ascii"), validate=True)
    if b64encode(raw) != encoded.encode("ascii"):
        raise ValueError("not canonical base64")
    return raw
