"""UnionPay's signatures: our requests, its answers and notices, and the certificates it sends along with them.

Signed is the lower-case hexadecimal SHA-256 of the fields `name=value`, sorted by name and joined by `&`; the signature
itself, RSA with SHA-256, hashes those digits once more (signMethod 01, version 5.1.0). A message of UnionPay's carries
the certificate of its own signature; what is trusted is the root and the intermediate that we hold, never the message.
"""

import hashlib
from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from collections.abc import Collection, Mapping
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from channels.contract import BadNotice

PRODUCTION_HOST = "gateway.95516.com"
PRODUCTION_NAME = "中国银联股份有限公司"
TEST_NAME = "00040000:SIGN"  # the test environment signs under this one too
_PADDING, _SHA256 = padding.PKCS1v15(), hashes.SHA256()
_REMEMBERED = 16  # certificates of UnionPay's found good; it has one or two at a time


def digests(fields: Mapping[str, str]) -> list[bytes]:
    """Return the digits that may be signed: of every field but the signature that is not empty, or of those too.

    Where no field is empty there is one answer. UnionPay's own clients differ in whether an empty one counts; it means
    nothing either way.
    """
    full = sorted((name, value) for name, value in fields.items() if name != "signature")
    texts = ["&".join(f"{name}={value}" for name, value in full if value or every) for every in (False, True)]
    return [hashlib.sha256(text.encode()).hexdigest().encode() for text in dict.fromkeys(texts)]


class Signer:
    """The merchant's key, with the number its certificate has at UnionPay."""

    def __init__(self, cert_id: str, key: rsa.RSAPrivateKey) -> None:
        self._cert_id, self._key = cert_id, key

    def sign(self, fields: Mapping[str, str]) -> dict[str, str]:
        """Return the fields that are not empty, with certId and signature."""
        full = {name: value for name, value in fields.items() if value} | {"certId": self._cert_id}
        signed = self._key.sign(digests(full)[0], _PADDING, _SHA256)
        return full | {"signature": b64encode(signed).decode()}


class Trust:
    """Whose messages are believed: a certificate of UnionPay's, issued under the pinned intermediate and root."""

    def __init__(self, root: x509.Certificate, middle: x509.Certificate, names: Collection[str]) -> None:
        """names: each may be the third part of a signing certificate's common name.

        Raises ValueError for a chain that is none.
        """
        try:
            _require_issued(root, root, sha1=True)
            _require_issued(middle, root, sha1=True)
        except (InvalidSignature, ValueError, TypeError) as error:
            raise ValueError("middle_cert was not issued by root_cert, or root_cert is no root") from error
        self._root, self._middle, self._names = root, middle, names
        self._sha1 = isinstance(middle.signature_hash_algorithm, hashes.SHA1)
        self._good: dict[str, x509.Certificate] = {}

    def verify(self, fields: Mapping[str, str], *, now: datetime) -> str:
        """Return the decimal serial number of the certificate that signed these fields. Raises BadNotice."""
        signature, pem = fields.get("signature"), fields.get("signPubKeyCert")
        if not signature or not pem:
            raise BadNotice("unsigned", "the message carries no signature, or no certificate with it")
        certificate = self._certificate(pem, now)
        key = certificate.public_key()
        if not isinstance(key, rsa.RSAPublicKey):
            raise BadNotice("untrusted_certificate", "the certificate in the message is not of an RSA key")
        if not any(_made_by(key, signature, digits) for digits in digests(fields)):
            raise BadNotice("bad_signature", "the signature is not of this message")
        return str(certificate.serial_number)

    def _certificate(self, pem: str, now: datetime) -> x509.Certificate:
        """Return the certificate in a message, once it is known to be UnionPay's and of today. Raises BadNotice."""
        certificate = self._good.get(pem)
        if certificate is None:
            certificate = self._issued(pem)
            if len(self._good) >= _REMEMBERED:
                self._good.clear()
            self._good[pem] = certificate
        for link in (certificate, self._middle, self._root):
            if not link.not_valid_before_utc <= now <= link.not_valid_after_utc:
                raise BadNotice("untrusted_certificate", "a certificate of the chain is not valid today")
        return certificate

    def _issued(self, pem: str) -> x509.Certificate:
        try:
            certificate = x509.load_pem_x509_certificate(pem.encode())
            _require_issued(certificate, self._middle, sha1=self._sha1)
        except (InvalidSignature, ValueError, TypeError):
            raise BadNotice(
                "untrusted_certificate", "the certificate in the message was not issued by the intermediate we hold"
            ) from None
        names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        parts = str(names[0].value).split("@") if len(names) == 1 else []
        if len(parts) < 3 or parts[2] not in self._names:
            raise BadNotice("untrusted_certificate", "the certificate in the message is not one UnionPay signs with")
        return certificate


def _require_issued(certificate: x509.Certificate, issuer: x509.Certificate, *, sha1: bool) -> None:
    """Raise InvalidSignature, ValueError or TypeError unless the issuer signed the certificate.

    The chain of UnionPay's test environment is signed with SHA-1 throughout, which the library does not verify any
    more. sha1: whether that is taken; only under an intermediate that is of that kind itself and that we were given.
    """
    if not isinstance(certificate.signature_hash_algorithm, hashes.SHA1):
        return certificate.verify_directly_issued_by(issuer)
    key = issuer.public_key()
    if not sha1 or certificate.issuer != issuer.subject or not isinstance(key, rsa.RSAPublicKey):
        raise ValueError("signed with SHA-1, by another, or not with RSA")
    key.verify(certificate.signature, certificate.tbs_certificate_bytes, _PADDING, hashes.SHA1())
    return None


def _made_by(key: rsa.RSAPublicKey, signature: str, digits: bytes) -> bool:
    try:
        key.verify(b64decode(signature, validate=True), digits, _PADDING, _SHA256)
    except (InvalidSignature, NotBase64):
        return False
    return True


def private_key(pem: str) -> rsa.RSAPrivateKey:
    """Return the RSA key. Raises ValueError."""
    key = serialization.load_pem_private_key(pem.encode(), password=None)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ValueError("private_key is not an RSA key")
    return key


def certificate(pem: str) -> x509.Certificate:
    """Return the certificate. Raises ValueError."""
    return x509.load_pem_x509_certificate(pem.encode())
