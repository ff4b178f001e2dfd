"""The bank's files by a folder, as an SFTP server would serve it: one for each customer who asks for it.

in/ takes orders: NAME.xml by a rename, with NAME.xml.sig beside it. Each is accepted as an upload is, its receipt is
written, and it moves to in/done or in/refused. out/ has what the bank wrote, each file whole and signed beside.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING

from sandbox.bank import signing, store
from sandbox.bank.bookings import RAIL
from sandbox.bank.cancellations import read_upload
from sandbox.bank.errors import FileRefused
from sandbox.bank.schema import MAX_BYTES
from sandbox.bank.store import Customer, OutFile
from sandbox.context import SandboxContext

if TYPE_CHECKING:
    from sandbox.bank.service import Bank

LOOK_EVERY_S = 0.2
_FAULTS = ("drop_cut", "drop_unsigned")


class Drops:
    """See the module."""

    def __init__(self, ctx: SandboxContext, bank: Bank, home: Path) -> None:
        self._ctx, self._bank, self._home = ctx, bank, home
        ctx.faults.declare(RAIL, _FAULTS, ("customer_id", "type"))

    def folder(self, customer_id: str) -> Path:
        """Return where a customer's folder is, or would be."""
        return self._home / customer_id

    def make(self, customer_id: str) -> Path:
        """Make a customer's folder, which is served from now on."""
        folder = self.folder(customer_id)
        for name in ("in/done", "in/refused", "out/receipts"):
            (folder / name).mkdir(parents=True, exist_ok=True, mode=0o700)
        return folder

    async def serve(self) -> None:
        """Look after every folder, for ever."""
        while True:
            for folder in sorted(self._home.glob("cust_*")):
                customer = await asyncio.to_thread(store.find_customer_by_id, self._ctx.store, folder.name)
                if customer is not None:
                    await self._take_in(customer, folder)
                    await asyncio.to_thread(self._give_out, customer, folder)
            await asyncio.sleep(LOOK_EVERY_S)

    async def _take_in(self, customer: Customer, folder: Path) -> None:
        for path in sorted((folder / "in").glob("*.xml")):
            raw = path.read_bytes()
            receipt, moved = await self._accepted(customer, path, raw)
            self._write(folder / "out" / "receipts" / f"{path.stem}.json", json.dumps(receipt).encode())
            for one in (path.with_name(f"{path.name}.sig"), path):
                if one.exists():
                    one.rename(folder / "in" / moved / one.name)

    async def _accepted(self, customer: Customer, path: Path, raw: bytes) -> tuple[dict[str, str], str]:
        """Accept an order as the file gateway does; return the receipt and whether it is done or refused."""
        try:
            sig = path.with_name(f"{path.name}.sig")
            signature = signing.parse_header(sig.read_text("ascii").strip() if sig.exists() else None)
            if signature.key_id != customer.key_id:
                raise signing.NotSigned(f"keyid {signature.key_id} is not the customer's key")
            signing.verify(signature, customer.public_key, raw)
            if len(raw) > MAX_BYTES:
                raise FileRefused("file_too_large", f"files have at most {MAX_BYTES} bytes")
            order = await asyncio.to_thread(read_upload, raw)
        except signing.NotSigned as reason:
            return {"refused": "signature_not_valid", "message": str(reason)}, "refused"
        except FileRefused as reason:
            return {"refused": reason.code, "message": str(reason)}, "refused"
        upload = await self._bank.orders.accept(customer, order, raw)
        return {
            "file_id": upload.file_id,
            "message_id": upload.message_id,
            "sha256": upload.sha256,
            "received_at": upload.received_at,
        }, "done"

    def _give_out(self, customer: Customer, folder: Path) -> None:
        """Write what the customer's folder has not yet, in the order of the bank's numbers."""
        out = folder / "out"
        last = max((int(path.name[:12]) for path in out.glob("*.xml")), default=0)
        for file in store.list_files(self._ctx.store, customer.customer_id, None, None, last, 100):
            raw = store.find_file_raw(self._ctx.store, customer.customer_id, file.file_id)
            if raw is not None:
                self._write(out / _name(file), raw, customer_id=customer.customer_id, type=file.type)

    def _write(self, path: Path, raw: bytes, **facts: str) -> None:
        """Write a file and its signature beside it, each whole or not at all, the file last; but for ordered faults."""
        ordered = {name for name in _FAULTS if facts and self._ctx.faults.take(RAIL, name, **facts)}
        wrong = bool(facts) and self._ctx.faults.take(RAIL, "signature_wrong", **facts) is not None
        header = self._bank.signing_key.sign(raw + b" " if wrong else raw, self._ctx.clock.now_utc())
        told = [(path.with_name(f"{path.name}.sig"), header.encode())] if "drop_unsigned" not in ordered else []
        for target, content in [*told, (path, raw[: len(raw) // 2] if "drop_cut" in ordered else raw)]:
            part = target.with_name(f".{target.name}.part")
            part.write_bytes(content)
            part.rename(target)


def _name(file: OutFile) -> str:
    return f"{file.cursor:012d}_{file.type}_{file.business_date.replace('-', '')}_{file.file_id}.xml"
