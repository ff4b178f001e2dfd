"""Alipay's side of its signatures: its keys, its certificate authority, and who signed a request."""

import asyncio
import hashlib
import os
from base64 import b64decode, b64encode
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from sandbox import clock, keys
from sandbox.acquirer import Signed

ALIPAY = "支付宝(中国)网络技术有限公司"
AUTHORITY = "Ant Financial Certification Authority R1"
_SHORT = {
    NameOID.COMMON_NAME: "CN",
    NameOID.ORGANIZATIONAL_UNIT_NAME: "OU",
    NameOID.ORGANIZATION_NAME: "O",
    NameOID.COUNTRY_NAME: "C",
}


class RailKeys:
    """Alipay's own keys: one for merchants in key mode; for those with certificates a root and what it signed.

    The root is made when the first merchant wants certificates; new certificates of Alipay's come one after another,
    and the last is the one in use.
    """

    def __init__(self, folder: Path, pool: keys.Pool) -> None:
        self._folder, self._pool = folder, pool
        self._making = asyncio.Lock()
        self._root: tuple[rsa.RSAPrivateKey, x509.Certificate] | None = None
        self._certificates: list[tuple[str, rsa.RSAPrivateKey, bytes]] = []  # sn, key, PEM; the last signs

    async def start(self) -> None:
        """Read the keys there are, or make the first."""
        self._key = await self._key_at("alipay_key.pem")
        keys.write_file(self.public_key_file, keys.public_pem(self._key.public_key()))
        if (self._folder / "root.pem").exists():
            await self._read_authority()

    @property
    def public_key_file(self) -> Path:
        """Where merchants in key mode find Alipay's public key."""
        return (self._folder / "alipay_public_key.pem").absolute()

    @property
    def root_file(self) -> Path:
        """Where merchants with certificates find the root."""
        return (self._folder / "root.pem").absolute()

    @property
    def certificate_file(self) -> Path:
        """Where they find the certificate in use."""
        return self._certificate_path(len(self._certificates))

    @property
    def root_sn(self) -> str:
        """The root's serial sn."""
        assert self._root is not None
        return cert_sn(self._root[1])

    def certificate(self, sn: str) -> bytes | None:
        """Return one of Alipay's certificates, as PEM."""
        return next((pem for known, _, pem in self._certificates if known == sn), None)

    async def authority(self) -> None:
        """Make the root and Alipay's first certificate, if they are not there yet."""
        async with self._making:
            if self._root is None:
                key = await self._key_at("root_key.pem")
                name = _name("Ant Financial", AUTHORITY)
                root = _certificate(name, key.public_key(), name, key, authority=True)
                keys.write_file(self.root_file, keys.certificate_pem(root))
                self._root = key, root
            if not self._certificates:
                await self._add_certificate()

    async def new_certificate(self) -> tuple[str, Path]:
        """Bring a new certificate of Alipay's into use; return its serial sn and where it is."""
        await self.authority()
        async with self._making:
            await self._add_certificate()
        return self._certificates[-1][0], self.certificate_file

    def certify(self, organization: str, merchant: str, public_key: rsa.RSAPublicKey) -> x509.Certificate:
        """Return a merchant's certificate 应用公钥证书. The authority must be there."""
        assert self._root is not None
        key, root = self._root
        return _certificate(_name(organization, f"{organization}-{merchant}"), public_key, root.subject, key)

    async def sign(self, message: bytes, *, certified: bool, signed: Signed) -> tuple[str, str]:
        """Return (signature, serial sn of the certificate it names); both empty where it is to be unsigned."""
        if signed == "none":
            return "", ""
        sn, key = self._certificates[-1][:2] if certified else ("", self._key)
        if signed == "wrong":
            key = await self._pool.strangers_key()
        return b64encode(await self._pool.sign(key, message)).decode(), sn

    def sign_now(self, message: bytes, *, certified: bool) -> tuple[str, str]:
        """Return the same, signed properly, for the few messages that are made where nothing may be awaited."""
        sn, key = self._certificates[-1][:2] if certified else ("", self._key)
        return b64encode(key.sign(message, keys.PADDING, keys.SHA256)).decode(), sn

    async def _key_at(self, name: str) -> rsa.RSAPrivateKey:
        path = self._folder / name
        if not path.exists():
            keys.write_file(path, keys.private_pem(await self._pool.new_key()), secret=True)
        return keys.read_private_key(path.read_bytes())

    def _certificate_path(self, number: int) -> Path:
        return (self._folder / f"alipay_certificate_{number}.pem").absolute()

    async def _add_certificate(self) -> None:
        assert self._root is not None
        number = len(self._certificates) + 1
        key = await self._key_at(f"alipay_certificate_{number}_key.pem")
        name = _name(ALIPAY, f"{ALIPAY}-2088101568342361")
        certificate = _certificate(name, key.public_key(), self._root[1].subject, self._root[0])
        pem = keys.certificate_pem(certificate)
        keys.write_file(self._certificate_path(number), pem)
        self._certificates.append((cert_sn(certificate), key, pem))

    async def _read_authority(self) -> None:
        root, _ = keys.read_certificate(self.root_file.read_bytes())
        self._root = await self._key_at("root_key.pem"), root
        while (path := self._certificate_path(len(self._certificates) + 1)).exists():
            pem = path.read_bytes()
            key = await self._key_at(f"{path.stem}_key.pem")
            self._certificates.append((cert_sn(keys.read_certificate(pem)[0]), key, pem))


def cert_sn(certificate: x509.Certificate) -> str:
    """Return the serial sn of a certificate: MD5 of its issuer's name, last part first, and its serial number."""
    parts = [f"{_SHORT[part.oid]}={part.value!s}" for part in certificate.issuer if part.oid in _SHORT]
    return hashlib.md5((",".join(reversed(parts)) + str(certificate.serial_number)).encode()).hexdigest()


def signed_text(params: Mapping[str, str], *without: str) -> str:
    """Return what a signature over parameters is over: all that are not empty, but these, sorted by name."""
    kept = sorted((name, value) for name, value in params.items() if value and name not in without)
    return "&".join(f"{name}={value}" for name, value in kept)


def made_by(public_key: rsa.RSAPublicKey, signature: str, message: bytes) -> bool:
    """Tell whether the signature, base64, is this key's over the message."""
    try:
        public_key.verify(b64decode(signature, validate=True), message, keys.PADDING, keys.SHA256)
    except (InvalidSignature, ValueError):
        return False
    return True


def _name(organization: str, common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "CN"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "Certification Authority"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _certificate(
    name: x509.Name,
    public_key: rsa.RSAPublicKey,
    issuer: x509.Name,
    issuer_key: rsa.RSAPrivateKey,
    *,
    authority: bool = False,
) -> x509.Certificate:
    starts_at = clock.now().replace(microsecond=0) - timedelta(days=1)
    serial = int.from_bytes(b"\x5a" + os.urandom(15), "big")
    builder = x509.CertificateBuilder(issuer, name, public_key, serial)
    builder = builder.not_valid_before(starts_at).not_valid_after(starts_at + timedelta(days=365 * 5))
    builder = builder.add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    return builder.sign(issuer_key, keys.SHA256)
