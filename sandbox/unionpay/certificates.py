"""UnionPay's own keys: a root and an intermediate that merchants pin, and signing certificates that change."""

from base64 import b64encode
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from sandbox import keys
from sandbox.context import SandboxContext
from sandbox.unionpay import signing

# Third part of the common name: UnionPay's own test environment has signed under both. Certificates take turns.
SIGN_NAMES = ("00040000:SIGN", "中国银联股份有限公司")


class SigningKeys:
    """The chain. The newest signing certificate is in use; every message carries the one that signed it."""

    def __init__(self, ctx: SandboxContext, pool: keys.Pool) -> None:
        self._ctx, self._pool = ctx, pool
        self.key: rsa.RSAPrivateKey
        self.certificate_text: str  # PEM with CRLF, as messages carry it

    async def start(self) -> None:
        """Make the chain if there is none yet, and take it into use."""
        if not self._rows("root"):
            root_key, middle_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
            root = self._issue("Sandbox UnionPay Root CA", root_key.public_key(), root_key, None, ca=True)
            middle = self._issue("Sandbox UnionPay Middle CA", middle_key.public_key(), root_key, root, ca=True)
            await self._keep("root", root_key, root)
            await self._keep("middle", middle_key, middle)
        for role in ("root", "middle"):
            keys.write_file(self.file(role), self._rows(role)[0]["certificate_pem"])
        if not self._rows("signing"):
            await self.rotate()
        self._use_newest()

    async def rotate(self) -> str:
        """Bring a new signing certificate into use; return its decimal serial number."""
        row = self._rows("middle")[0]
        middle_key: Any = serialization.load_pem_private_key(row["private_pem"], None)
        middle = x509.load_pem_x509_certificate(row["certificate_pem"])
        key, number = await self._pool.new_key(), len(self._rows("signing")) + 1
        name = f"041@Z2024-{number}@{SIGN_NAMES[(number - 1) % len(SIGN_NAMES)]}@{number:08d}"
        certificate = self._issue(name, key.public_key(), middle_key, middle, ca=False)
        await self._keep("signing", key, certificate)
        self._use_newest()
        return str(certificate.serial_number)

    def file(self, role: str) -> Any:
        """Return where the root's or the intermediate's certificate lies."""
        return self._ctx.home / "unionpay" / f"{role}.pem"

    async def strangers_key(self) -> rsa.RSAPrivateKey:
        """Return a key that signs forgeries; nobody is ever told its public half."""
        return await self._pool.strangers_key()

    async def signed(self, fields: Mapping[str, str], key: rsa.RSAPrivateKey) -> dict[str, str]:
        """Return the fields with the certificate in use, signed with `key`."""
        full = {**fields, "signPubKeyCert": self.certificate_text}
        return full | {"signature": b64encode(await self._pool.sign(key, signing.hashed(full))).decode()}

    def signed_now(self, fields: Mapping[str, str]) -> dict[str, str]:
        """Return the same with the right key, for the few messages that are made where nothing may be awaited."""
        full = {**fields, "signPubKeyCert": self.certificate_text}
        signature = self.key.sign(signing.hashed(full), keys.PADDING, keys.SHA256)
        return full | {"signature": b64encode(signature).decode()}

    def _rows(self, role: str) -> list[Any]:
        return self._ctx.store.all("SELECT * FROM unionpay_key WHERE role = ? ORDER BY seq", role)

    async def _keep(self, role: str, key: Any, certificate: x509.Certificate) -> None:
        sql = "INSERT INTO unionpay_key (role, private_pem, certificate_pem) VALUES (?, ?, ?)"
        pems = keys.private_pem(key), keys.certificate_pem(certificate)
        await self._ctx.store.write(lambda tx: tx.execute(sql, role, *pems))

    def _use_newest(self) -> None:
        row = self._rows("signing")[-1]
        self.key = keys.read_private_key(row["private_pem"])
        self.certificate_text = row["certificate_pem"].decode().replace("\n", "\r\n")

    def _issue(
        self, name: str, public_key: Any, issuer_key: Any, issuer: x509.Certificate | None, *, ca: bool
    ) -> x509.Certificate:
        subject = x509.Name(
            [
                x509.NameAttribute(NameOID.COUNTRY_NAME, "CN"),
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Sluice sandbox"),
                x509.NameAttribute(NameOID.COMMON_NAME, name),
            ]
        )
        starts_at = self._ctx.clock.now_utc() - timedelta(hours=1)
        builder = x509.CertificateBuilder(
            issuer.subject if issuer else subject, subject, public_key, x509.random_serial_number()
        )
        builder = builder.not_valid_before(starts_at).not_valid_after(starts_at + timedelta(days=3650))
        builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        return builder.sign(issuer_key, hashes.SHA256())
