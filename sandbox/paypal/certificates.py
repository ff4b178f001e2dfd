"""The certificates that sign notices: a root and an intermediate of the sandbox's own, and leaves that change."""

import os
from datetime import timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sandbox import clock, keys
from sandbox.context import SandboxContext

# As PayPal's are named: clients check the ending. Nobody trusts this root but who was given it by the sandbox.
LEAF_NAME = "messageverificationcerts.sandbox.paypal.com"
PATH = "/v1/notifications/certs/"


class Certificates:
    """The root, the intermediate, and every leaf ever used; the newest signs."""

    def __init__(self, ctx: SandboxContext, pool: keys.Pool) -> None:
        self._ctx, self._pool = ctx, pool
        self._folder = ctx.home / "paypal" / "authority"

    async def start(self) -> None:
        """Make the authorities and the first leaf, unless an earlier start did."""
        if not (self._folder / "root.pem").exists():
            root_key, between_key = await self._pool.new_key(), await self._pool.new_key()
            root = _authority("Sluice sandbox PayPal root", root_key, None, None)
            between = _authority("Sluice sandbox PayPal intermediate", between_key, root, root_key)
            keys.write_file(self._folder / "intermediate_key.pem", keys.private_pem(between_key), secret=True)
            keys.write_file(self._folder / "intermediate.pem", keys.certificate_pem(between))
            keys.write_file(self._folder / "root.pem", keys.certificate_pem(root))  # last: it says that all is there
        if self._newest() is None:
            await self.rotate()

    @property
    def root_pem(self) -> str:
        """The root, in which the chain of every leaf ends."""
        return (self._folder / "root.pem").read_text()

    async def rotate(self) -> str:
        """Bring a new leaf into use; return its address."""
        key = await self._pool.new_key()
        between_key = keys.read_private_key((self._folder / "intermediate_key.pem").read_bytes())
        between_pem = (self._folder / "intermediate.pem").read_bytes()
        between, _ = keys.read_certificate(between_pem)
        name = f"CERT-{os.urandom(4).hex()}-{os.urandom(4).hex()}-{os.urandom(4).hex()}"
        chain = keys.certificate_pem(_leaf(key, between, between_key)) + between_pem
        with self._ctx.store.transaction() as tx:
            tx.execute(
                "INSERT INTO paypal_certificate (name, chain, private_key) VALUES (?, ?, ?)",
                *(name, chain.decode(), keys.private_pem(key).decode()),
            )
        return self._url(name)

    def chain(self, name: str) -> str | None:
        """Return the PEM behind an address: the leaf, then the intermediate."""
        row = self._ctx.store.one("SELECT chain FROM paypal_certificate WHERE name = ?", name)
        return None if row is None else str(row["chain"])

    def key_at(self, url: str) -> rsa.RSAPublicKey | None:
        """Return the public key of the leaf at an address of ours."""
        chain = self.chain(url.removeprefix(self._url(""))) if url.startswith(self._url("")) else None
        return None if chain is None else keys.read_certificate(chain.encode())[1]

    async def sign(self, message: bytes, *, wrong: bool) -> tuple[str, bytes]:
        """Return the newest leaf's address and a signature by its key, or by a key that is not PayPal's."""
        newest = self._newest()
        assert newest is not None
        name, key = newest
        return self._url(name), await self._pool.sign(await self._pool.strangers_key() if wrong else key, message)

    def _newest(self) -> tuple[str, rsa.RSAPrivateKey] | None:
        row = self._ctx.store.one("SELECT name, private_key FROM paypal_certificate ORDER BY seq DESC LIMIT 1")
        return None if row is None else (row["name"], keys.read_private_key(row["private_key"].encode()))

    def _url(self, name: str) -> str:
        return f"{self._ctx.base_url}{PATH}{name}"


def _authority(
    common_name: str, key: rsa.RSAPrivateKey, issuer: x509.Certificate | None, issuer_key: rsa.RSAPrivateKey | None
) -> x509.Certificate:
    subject = _name(common_name)
    signer = issuer_key or key
    builder = _builder(subject, issuer.subject if issuer else subject, key, signer, years=20)
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0 if issuer else 1), critical=True)
    return builder.add_extension(usage, critical=True).sign(signer, keys.SHA256)


def _leaf(key: rsa.RSAPrivateKey, issuer: x509.Certificate, issuer_key: rsa.RSAPrivateKey) -> x509.Certificate:
    builder = _builder(_name(LEAF_NAME), issuer.subject, key, issuer_key, years=2)
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=True,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(usage, critical=True)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(LEAF_NAME)]), critical=False)
    purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    return builder.add_extension(purpose, critical=False).sign(issuer_key, keys.SHA256)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: rsa.RSAPrivateKey, issuer_key: rsa.RSAPrivateKey, *, years: int
) -> x509.CertificateBuilder:
    starts_at = clock.now() - timedelta(days=1)
    builder = x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(starts_at).not_valid_after(starts_at + timedelta(days=365 * years))
    own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    above = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
    return builder.add_extension(own, critical=False).add_extension(above, critical=False)


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "CN"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Sluice sandbox"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )
