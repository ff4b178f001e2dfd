"""Keys made of few primes: each sandbox has every key once, several have the same, and a key is a key."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa

from sandbox.keys import PADDING, SHA256, Prepared, private_pem, read_private_key


def moduli(keys: list[rsa.RSAPrivateKey]) -> list[int]:
    return [key.public_key().public_numbers().n for key in keys]


def test_two_sandboxes_have_the_same_keys_and_each_has_a_key_once(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    folder.mkdir()
    sandboxes = [Prepared(folder, tmp_path / name) for name in ("one", "other")]
    with ThreadPoolExecutor(2) as threads:
        one, other = threads.map(lambda sandbox: [sandbox.next() for _ in range(15)], sandboxes)
    assert moduli(one) == moduli(other)
    again = Prepared(folder, tmp_path / "one")  # the sandbox was ended and started again
    assert len({*moduli(one), *moduli([again.next() for _ in range(6)])}) == 21
    assert sorted(path.name for path in folder.iterdir()) == [f"{n:04d}.pem" for n in range(4)]
    assert all(path.stat().st_mode & 0o077 == 0 for path in folder.iterdir())


def test_a_key_of_two_primes_signs_is_written_and_read(tmp_path: Path) -> None:
    prepared = Prepared(tmp_path, tmp_path / "used")
    for key in [prepared.next() for _ in range(8)]:
        assert key.key_size == 2048
        kept = read_private_key(private_pem(key))
        key.public_key().verify(kept.sign(b"told", PADDING, SHA256), b"told", PADDING, SHA256)
