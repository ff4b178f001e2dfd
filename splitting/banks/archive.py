"""Keeping banks' files: bytes and rows in, bytes out, and what became of each."""

from channels.banks import FileInfo
from kernel.db import Pool, acquire, transaction
from kernel.env import Env
from kernel.errors import Rejected
from kernel.lane import Lanes
from splitting import store
from splitting.banks import fates
from splitting.banks.fates import EndFile, Wrong
from splitting.tables import BankFile, BankLink

SHORT = 64 << 10  # bytes of a file: some milliseconds of a core


class KeptFiles:
    """The files of every merchant's banks, as they are kept."""

    def __init__(self, pool: Pool, lanes: Lanes, env: Env) -> None:
        self._pool = pool
        self._lanes = lanes
        self._env = env

    async def keep(self, link: BankLink, info: FileInfo, content: bytes | None) -> BankFile:
        """Keep a file that a bank listed, before anything is done with it; return it as it stands.

        content: None where its bytes could not be had. Raises Unavailable.
        """
        return await self._kept(fates.received(link, info, content, self._env.now()), content)

    async def offer(self, other: BankFile, content: bytes, name: str, person: str) -> BankFile:
        """Keep a file that a person gives in place of another; it is applied when two people have agreed."""
        return await self._kept(fates.by_hand(other, content, name, person, self._env.now()), content)

    async def _kept(self, file: BankFile, content: bytes | None) -> BankFile:
        short = content is None or len(content) <= SHORT
        packed = None if content is None else fates.packed(content) if short else await self._packed(content)
        async with transaction(self._pool) as connection:
            return await store.keep_bank_file(connection, file, packed)

    async def _packed(self, content: bytes) -> bytes:
        return await self._env.offload(fates.packed, content)

    async def content(self, file: BankFile) -> bytes:
        """Return the bytes of a kept file. Raises Rejected (bank_file_not_kept), Broken (bank_file_damaged)."""
        packed = None
        if file.sha256 is not None:
            async with acquire(self._pool) as connection:
                packed = await store.bank_file_content(connection, file.book, file.sha256)
        if packed is None:
            raise Rejected("bank_file_not_kept", f"the bytes of {file.id} are not kept")
        return await self._env.offload(fates.unpacked, packed, file)

    async def end(self, file: BankFile, info: FileInfo, wrong: Wrong | None, *, known: bool = False) -> BankFile:
        """Write down what became of a file: applied, or set aside as a case. The same again changes nothing.

        known: it had a case, of whatever time, which closes when all of it was applied.
        """
        repeats = None
        if wrong is None:
            async with acquire(self._pool) as connection:
                repeats = await store.applied_before(connection, file)
        ended: BankFile = await self._lanes.put(EndFile(file, info, wrong, repeats, known))
        return ended
