"""A bank reached by a folder 文件交换目录 that an SFTP server would serve; accounts go by its HTTP address as ever.

    in/MSGID.xml, in/MSGID.xml.sig             what we send: the signature first, then the file by a rename
    out/NNNNNNNNNNNN_TYPE_YYYYMMDD_ID.xml, .sig   what the bank wrote, numbered in the order in which it did
    out/receipts/MSGID.json, .sig              what became of a file of ours: taken, or refused

A `.sig` holds what the Bank-Signature header would (signing.py), over the bytes of the file beside it.
"""

import hashlib
import os
import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import Any, BinaryIO

from channels.banks.errors import BadStatement, plain
from channels.banks.files import Accepted, FileInfo, FilePage, Kind
from channels.banks.iso20022 import signing
from channels.banks.iso20022.client import MAX_NAME, TYPES, BankClient, accepted, json_object
from channels.banks.iso20022.settings import BankSettings
from channels.banks.iso20022.spool import Spooled
from channels.banks.iso20022.xml import MAX_BYTES
from channels.contract import Refused, Unknown
from kernel.clock import business_date
from kernel.env import Env
from kernel.errors import Unavailable

_NAME = re.compile(r"(\d{12})_(pain\.002|camt\.029|camt\.05[234])_(\d{8})_[\w.\-]{1,80}\.xml", re.ASCII)
_MESSAGE_ID = re.compile(r"[0-9A-Za-z\-]{1,35}", re.ASCII)
_MESSAGE = re.compile(rb"<(?:MsgId|Assgnmt><Id)>([0-9A-Za-z\-]{1,35})<")
MOST_RECEIPT = 64 << 10
MOST_ODD = 1_000  # files of strange names that are told of at once


class DropClient(BankClient):
    """The same as a BankClient, but that files go by a folder. A file is put there once, whatever is repeated."""

    def __init__(self, settings: BankSettings, env: Env) -> None:
        super().__init__(settings, env)
        if settings.drop_dir is None:
            raise ValueError("drop_dir is missing")
        self._in, self._out = Path(settings.drop_dir) / "in", Path(settings.drop_dir) / "out"

    async def _hand_over(self, file: Spooled, again_since: datetime | None) -> Accepted | Refused | Unknown:
        """Put a pain.001 into the folder, once, and say what the bank's receipt says of it.

        Unknown while there is no receipt: call again with the same bytes. Where other bytes lie there under the same
        message id, nothing is put there and it is Unknown, for a person to look at; but bytes that the bank refused
        give way to those that are sent again_since.
        """
        found = _MESSAGE.search(file.head)
        if found is None:
            raise ValueError("a file without a message id is not sent")
        message_id = found[1].decode()
        said, signed_at = await self._receipt_of(message_id)
        if isinstance(said, Accepted):
            return said if said.sha256 == file.sha256 else Unknown("the bank's receipt is for other bytes than we sent")
        if isinstance(said, Refused) and (again_since is None or signed_at > int(again_since.timestamp())):
            return said
        header = await self._signature(file)
        try:
            put = await self._env.offload(_put, self._in, f"{message_id}.xml", file, header, said is not None)
        except OSError as error:
            return Unknown(f"the folder cannot be written: {error.strerror}", not_sent=True)
        return Unknown("the bank has not taken the file yet" if put else "another file lies there under its name")

    async def _receipt_of(self, message_id: str) -> tuple[Accepted | Refused | None, int]:
        """Return what the bank's receipt says of a message, and when it was signed, in unix seconds.

        None where there is no receipt that can be believed.
        """
        if _MESSAGE_ID.fullmatch(message_id) is None:
            return None, 0
        try:
            content, signed_at = await self._read(self._out / "receipts" / f"{message_id}.json", MOST_RECEIPT)
            said = json_object(content)
            if "refused" in said:
                return Refused(plain(said["refused"], 100), plain(said.get("message", ""), 300)), signed_at
            return accepted(said), signed_at
        except (BadStatement, OSError, KeyError):  # what is wrong with one receipt keeps no other file from being read
            return None, 0

    async def uploads(self, message_id: str) -> tuple[Accepted, ...]:
        """Return what the bank has received under a message id; empty: it has nothing.

        Raises Unavailable where the folder does not say: no receipt is the bank's silence while our file lies there, or
        where there is no folder.
        """
        said, _ = await self._receipt_of(message_id)
        if said is None and not await self._env.offload(_nothing_there, self._in, self._out, message_id):
            raise Unavailable(
                "bank_unreachable", f"the folder has no receipt of {message_id[:40]} that can be believed"
            )
        return (said,) if isinstance(said, Accepted) else ()

    async def list_files(
        self,
        type: str,
        after: str | None = None,
        *,
        under_way: Sequence[str] = (),
        message_id: str | None = None,
        limit: int = 100,
    ) -> FilePage:
        """Return files of one type numbered after a cursor, in that order. Raises Unavailable.

        A folder lists no hashes: each file's is that of its bytes, which its signature covers. under_way,
        message_id: not heeded.
        """
        try:
            return await self._env.offload(self._page_of, type, int(after or 0), limit)
        except (OSError, ValueError) as error:
            raise _away(error) from None

    def _page_of(self, type: str, after: int, limit: int) -> FilePage:
        names = sorted(entry.name for entry in os.scandir(self._out) if entry.is_file(follow_symlinks=False))
        found: list[FileInfo] = []
        odd: list[FileInfo] = []
        last = after
        for name in names:
            match = _named(name)
            if match is None:
                # Listed once, wherever it belongs, beside those that are read.
                if type == self.types[Kind.NOTICE] and _is_for_us(name) and len(odd) < MOST_ODD:
                    odd.append(self._odd(name))
                continue
            number = int(match[1])
            if match[2] != type or number <= after or (len(found) >= limit and number != last):
                continue
            if (info := self._info(name, match)) is not None:
                found.append(info)
            last = number
        return FilePage((*found, *odd), str(last))

    def _odd(self, name: str) -> FileInfo:
        ident = f"listed-{hashlib.sha256(name.encode(errors='replace')).hexdigest()[:16]}"
        said = f"a file of a strange name {ascii(name)[:MAX_NAME]}"
        return FileInfo(ident, self.types[Kind.NOTICE], said, business_date(self._env.now()), "", "", odd=True)

    def _info(self, name: str, match: re.Match[str]) -> FileInfo | None:
        """Return what a name says; None where the file has gone. One that cannot be opened is listed all the same."""
        digest = hashlib.sha256()
        try:
            for part in _parts(self._out / name):
                digest.update(part)
        except FileNotFoundError:
            return None
        except (OSError, BadStatement):
            pass
        day = _day(match[3])
        assert day is not None
        return FileInfo(name, match[2], name, day, "", digest.hexdigest())

    async def fetch(self, file: FileInfo | str) -> bytes:
        """Return a file's bytes, signed by the bank. Raises BadStatement, Unavailable."""
        content = await self._signed(file)
        if isinstance(file, FileInfo) and hashlib.sha256(content).hexdigest() != file.sha256.lower():
            raise BadStatement("other_file", f"{file.name} is not the file that was listed: its hash differs", content)
        return content

    async def fetch_anew(self, file: FileInfo) -> bytes:
        """Return a file as it is now: it may have been listed while it was being written."""
        return await self._signed(file)

    async def _signed(self, file: FileInfo | str) -> bytes:
        if isinstance(file, FileInfo) and file.odd:
            raise BadStatement("listed_oddly", f"the folder does not say which file this is: {file.name}")
        name = file if isinstance(file, str) else file.file_id
        if _NAME.fullmatch(name) is None:
            raise BadStatement("listed_oddly", f"{name[:MAX_NAME]} is no name of a file in the folder")
        try:
            content, _ = await self._read(self._out / name, MAX_BYTES)
        except FileNotFoundError:
            raise BadStatement("bank_http_404", f"{name} is not in the folder any more") from None
        except OSError as error:
            raise BadStatement("unreadable", f"{name} cannot be read: {error.strerror}") from None
        return content

    async def _read(self, path: Path, most: int) -> tuple[bytes, int]:
        """Return a file's bytes, if the signature beside it is the bank's, and when that was made, in unix seconds.

        Raises BadStatement, OSError.
        """
        content = await self._env.offload(_bounded, path, most)
        try:
            header = (await self._env.offload(_bounded, path.with_name(f"{path.name}.sig"), 4_096)).decode("ascii")
        except (FileNotFoundError, UnicodeDecodeError):
            header = ""
        try:
            signed_at = await self._env.offload(signing.verify, header.strip() or None, content, self._bank_keys)
        except signing.BadSignature as error:
            raise BadStatement(f"signature_{error.code}", error.message, content) from None
        return content, signed_at


def _put(folder: Path, name: str, file: Spooled, header: str, refused: bool) -> bool:
    """Put a file and its signature into a folder, the file last, each whole or not at all; once.

    Return False where other bytes lie there under its name; those that the bank has refused are replaced.
    """
    path = folder / name
    if os.path.lexists(path):
        try:
            same = _hash_of(path, file.size) == file.sha256
        except (OSError, BadStatement):
            same = False  # a link, or no file
        if same or not refused:
            return same
    with _fresh(path.with_name(f"{name}.sig")) as opened:
        opened.write(header.encode())
    with _fresh(path) as opened:
        file.copy_to(opened)
    return True


def _hash_of(path: Path, most: int) -> str:
    """Return the SHA-256 of a file, in hexadecimal; of a longer one, of something longer than `most`."""
    hashed = hashlib.sha256()
    for piece in _parts(path, most):
        hashed.update(piece)
    return hashed.hexdigest()


@contextmanager
def _fresh(target: Path) -> Iterator[BinaryIO]:
    """Give a file that is put in place of another, or of none, once it is whole and durable."""
    part = target.with_name(f".{target.name}.part")
    part.unlink(missing_ok=True)  # whoever serves the folder may have put a link there
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666), "wb") as opened:
        yield opened
        opened.flush()
        os.fsync(opened.fileno())
    part.rename(target)


def _bounded(path: Path, most: int) -> bytes:
    content = b"".join(_parts(path, most))
    if len(content) > most:
        raise BadStatement("too_big", f"{path.name} has more than {most} bytes")
    return content


def _parts(path: Path, most: int = MAX_BYTES) -> Iterator[bytes]:
    """Yield a file's bytes, no more than one beyond `most`; a link, a pipe or a folder is no file.

    Raises OSError, BadStatement.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe would wait for ever
    with os.fdopen(descriptor, "rb") as opened:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise BadStatement("no_file", f"{path.name} is no file")
        left = most + 1
        while left and (part := opened.read(min(left, 1 << 20))):
            left -= len(part)
            yield part


def _named(name: str) -> re.Match[str] | None:
    """Return the parts of a name that is as agreed; None for any other."""
    match = _NAME.fullmatch(name)
    return None if match is None or match[2] not in TYPES or _day(match[3]) is None else match


def _is_for_us(name: str) -> bool:
    """Tell whether a file that is not named as agreed is one at all: no signature, and nothing being written."""
    return not name.endswith((".sig", ".part")) and not name.startswith(".")


def _nothing_there(inbox: Path, outbox: Path, message_id: str) -> bool:
    """Tell whether there is a folder in which neither our file lies nor a word of the bank's about it."""
    receipt = outbox / "receipts" / f"{message_id}.json"
    is_folder = inbox.is_dir() and receipt.parent.is_dir()
    return is_folder and not os.path.lexists(receipt) and not os.path.lexists(inbox / f"{message_id}.xml")


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(f"{text[:4]}-{text[4:6]}-{text[6:]}")
    except ValueError:
        return None


def _away(error: Exception) -> Unavailable:
    why: Any = getattr(error, "strerror", None) or str(error)
    return Unavailable("bank_unreachable", f"the bank's folder cannot be read: {why}", retry_after_s=5)
