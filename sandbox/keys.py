"""Keys and certificates of the simulated counterparties, made here and kept here; none is ever a real one."""

import asyncio
import contextlib
import math
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

PADDING = padding.PKCS1v15()
SHA256 = hashes.SHA256()


class Pool:
    """Threads for RSA: OpenSSL lets go of the interpreter while it computes, so the loop stays free."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(max(2, os.cpu_count() or 2), "sandbox-rsa")

    async def sign(self, key: rsa.RSAPrivateKey, message: bytes) -> bytes:
        """Return the RSA PKCS#1 v1.5 SHA-256 signature of `message`."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, key.sign, message, PADDING, SHA256)

    async def new_key(self) -> rsa.RSAPrivateKey:
        """Generate an RSA-2048 key, which takes a moment."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, new_key)

    async def strangers_key(self) -> rsa.RSAPrivateKey:
        """Return the key that signs forgeries, the same for all rails; nobody is ever told its public half."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, strangers_key)

    def close(self) -> None:
        """Let the threads end."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class Prepared:
    """Keys for whoever starts many sandboxes, as tests do: made of few primes, which takes a hundredth of the time.

    Each key is another pair of primes, so whoever knows two keys may work out a third: nothing real may have one. A
    sandbox has every key once; several share the primes.

    folder: of the primes; what is not there is made and left there. used: a file of the sandbox's own that says how
    many keys it has had.
    """

    def __init__(self, folder: Path, used: Path) -> None:
        self._folder, self._used = folder, used
        self._lock = threading.Lock()
        self._primes: list[int] = []

    def next(self) -> rsa.RSAPrivateKey:
        """Return the next key that this sandbox has not had."""
        with self._lock:
            number = int(self._used.read_text()) if self._used.exists() else 0
            write_file(self._used, str(number + 1).encode())
            second = (1 + math.isqrt(1 + 8 * number)) // 2  # 0: primes 1 and 0; 1 and 2: primes 2 and 0, 2 and 1; …
            first = number - second * (second - 1) // 2
            while len(self._primes) <= second:
                self._primes += self._two_primes(len(self._primes) // 2)
            return _of_primes(self._primes[second], self._primes[first])

    def _two_primes(self, number: int) -> tuple[int, int]:
        path = self._folder / f"{number:04d}.pem"
        if not path.exists():
            made = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}")
            write_file(made, private_pem(_generate()), secret=True)
            with contextlib.suppress(FileExistsError):  # another sandbox was quicker: its primes are everybody's
                os.link(made, path)
            made.unlink()
        numbers = read_private_key(path.read_bytes()).private_numbers()
        return numbers.p, numbers.q


def _of_primes(p: int, q: int) -> rsa.RSAPrivateKey:
    public = rsa.RSAPublicNumbers(65537, p * q)
    d = pow(public.e, -1, math.lcm(p - 1, q - 1))
    numbers = rsa.RSAPrivateNumbers(p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), public)
    return numbers.private_key(unsafe_skip_rsa_key_validation=True)


_prepared: Prepared | None = None


def use_prepared(prepared: Prepared | None) -> None:
    """Have new keys be these from now on; None: made each time."""
    global _prepared
    _prepared = prepared


def _generate() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def new_key() -> rsa.RSAPrivateKey:
    """Return a new RSA-2048 key."""
    return _generate() if _prepared is None else _prepared.next()


@cache
def strangers_key() -> rsa.RSAPrivateKey:
    """Return the key that signs forgeries, made when the first is wanted; no other sandbox has it."""
    return _generate()


def new_certificate(
    key: rsa.RSAPrivateKey, common_name: str, *, starts_at: datetime, years: int = 5
) -> x509.Certificate:
    """Certify `key` by itself. The serial number has 160 bits with the top one clear, 40 hexadecimal digits."""
    serial = int.from_bytes(
        b"\x5a" + os.urandom(19), "big"
    )  # a leading 5: never shorter than 40 digits, never negative
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "CN"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Sluice sandbox"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )
    builder = x509.CertificateBuilder(name, name, key.public_key(), serial)
    builder = builder.not_valid_before(starts_at).not_valid_after(starts_at + timedelta(days=365 * years))
    return builder.sign(key, SHA256)


def serial_of(certificate: x509.Certificate) -> str:
    """Return the serial number as the wire shows it: 40 hexadecimal digits, upper case."""
    return f"{certificate.serial_number:040X}"


def certificate_pem(certificate: x509.Certificate) -> bytes:
    """Return the certificate as PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def private_pem(key: rsa.RSAPrivateKey) -> bytes:
    """Return the private key as unencrypted PKCS#8 PEM."""
    no_encryption = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, no_encryption)


def public_pem(key: rsa.RSAPublicKey) -> bytes:
    """Return the public key as SubjectPublicKeyInfo PEM."""
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def read_private_key(pem: bytes) -> rsa.RSAPrivateKey:
    """Return the RSA private key in `pem`, which must be one that the sandbox itself made and wrote."""
    # Not proved again, which takes a hundred times as long as using it: some are read for each message they sign.
    key: Any = serialization.load_pem_private_key(pem, password=None, unsafe_skip_rsa_key_validation=True)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise TypeError("not an RSA private key")
    return key


def read_certificate(pem: bytes) -> tuple[x509.Certificate, rsa.RSAPublicKey]:
    """Return the certificate in `pem` and its RSA public key."""
    certificate = x509.load_pem_x509_certificate(pem)
    key = certificate.public_key()
    if not isinstance(key, rsa.RSAPublicKey):
        raise TypeError("not an RSA certificate")
    return certificate, key


def write_file(path: Path, content: bytes, *, secret: bool = False) -> Path:
    """Write a whole file or nothing, readable by the owner alone if `secret`; return its absolute path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600 if secret else 0o644)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    return path.absolute()
