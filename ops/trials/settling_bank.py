"""The bank of `sluice settle bench`, in a process of its own: takes an order in, has it wait, and reports on it.

It is no bank but what one costs the hub: files over HTTP with signatures on both sides, as channels/banks/iso20022 has
them, nothing of them in memory as a whole. Every line is carried out. Run as `python -m ops.trials.settling_bank
FOLDER`, where FOLDER has `bank.pem` and `customer.pub.pem`; it writes its port on a line of its own.
"""

import asyncio
import base64
import hashlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aiohttp import web
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, utils

from channels.banks.iso20022 import signing
from channels.banks.iso20022.spool import hash_of
from ops.trials.memory import peak_mb

DAY = "2020-01-03"  # of its reports
KEY_ID, CREATED = "bench-bank", 1_577_836_800
_HEAD = re.compile(r"<MsgId>([^<]+)</MsgId>.*?<NbOfTxs>(\d+)</NbOfTxs><CtrlSum>([\d.]+)</CtrlSum>")
_LINE = re.compile(
    r"<EndToEndId>([^<]+)</EndToEndId>.*?<InstdAmt Ccy=\"(\w+)\">([\d.]+)<.*<CdtrAcct><Id><Othr><Id>([^<]+)<"
)


class Desk:
    """One customer's order, and the report on it."""

    def __init__(self, folder: Path) -> None:
        self._order, self._report = folder / "order.xml", folder / "report.xml"
        self._key = signing.private_key((folder / "bank.pem").read_text())
        self._customer = signing.public_key((folder / "customer.pub.pem").read_text())
        self._listed: list[dict[str, Any]] = []
        self._received: list[dict[str, Any]] = []
        self.lines = 0

    async def take(self, request: web.Request) -> web.Response:
        """Take an order, if the customer has signed these bytes, and say so."""
        fields = dict(re.findall(r'(\w+)="([^"]*)"', request.headers[signing.HEADER]))
        hashed, signed = hashlib.sha256(), signing.begun(fields["created"])
        with self._order.open("wb") as opened:
            async for piece in request.content.iter_any():
                opened.write(piece)
                hashed.update(piece)
                signed.update(piece)
        signature = base64.b64decode(fields["sig"])
        self._customer.verify(signature, signed.digest(), padding.PKCS1v15(), utils.Prehashed(hashes.SHA256()))
        with self._order.open() as order:
            head = "".join([next(order) for _ in range(3)])
        ((message_id, count, total),) = _HEAD.findall(head.replace("\n", ""))[:1]
        receipt = {"file_id": f"up-{hashed.hexdigest()[:12]}", "message_id": message_id,
                   "sha256": hashed.hexdigest(), "received_at": f"{DAY}T00:00:00Z"}  # fmt: skip
        if receipt not in self._received:
            self._received.append(receipt)
            self._answer(message_id, count, total)
        return self._signed(json.dumps(receipt).encode(), 202)

    def _answer(self, message_id: str, count: str, total: str) -> None:
        """Write the report on every line of the order."""
        with self._order.open() as order, self._report.open("w") as report:
            report.writelines(self._reported(order, message_id, count, total))
        self._listed.append(
            {"file_id": "report", "type": "pain.002", "name": "report.xml", "business_date": DAY,
             "created_at": DAY, "sha256": hash_of(self._report), "original_message_id": message_id,
             "original_file_id": self._received[0]["file_id"]}
        )  # fmt: skip

    def _reported(self, order: Iterator[str], message_id: str, count: str, total: str) -> Iterator[str]:
        yield (
            '<?xml version="1.0" encoding="UTF-8"?>\n<Document xmlns="urn:iso:std:iso:20022:tech:xsd:pain.002.001.10">'
            f"<CstmrPmtStsRpt><GrpHdr><MsgId>R-1</MsgId><CreDtTm>{DAY}T00:00:00Z</CreDtTm></GrpHdr>"
            f"<OrgnlGrpInfAndSts><OrgnlMsgId>{message_id}</OrgnlMsgId><OrgnlMsgNmId>pain.001.001.09</OrgnlMsgNmId>"
            f"<OrgnlNbOfTxs>{count}</OrgnlNbOfTxs><OrgnlCtrlSum>{total}</OrgnlCtrlSum><GrpSts>ACSC</GrpSts>"
            f"</OrgnlGrpInfAndSts><OrgnlPmtInfAndSts><OrgnlPmtInfId>{message_id}</OrgnlPmtInfId>\n"
        )
        for line in order:
            for ident, currency, amount, account in _LINE.findall(line):
                self.lines += 1
                yield (
                    f"<TxInfAndSts><OrgnlEndToEndId>{ident}</OrgnlEndToEndId><TxSts>ACSC</TxSts>"
                    f"<AcctSvcrRef>B{self.lines:012d}</AcctSvcrRef><OrgnlTxRef><Amt>"
                    f'<InstdAmt Ccy="{currency}">{amount}</InstdAmt></Amt>'
                    f"<CdtrAcct><Id><Othr><Id>{account}</Id></Othr></Id></CdtrAcct></OrgnlTxRef></TxInfAndSts>\n"
                )
        yield "</OrgnlPmtInfAndSts></CstmrPmtStsRpt></Document>\n"

    async def listed(self, request: web.Request) -> web.Response:
        """List the report, after no cursor; or what was received."""
        if request.query["type"] == "pain.001":
            return web.json_response({"files": self._received})
        is_new = request.query["type"] == "pain.002" and request.query.get("after", "0") == "0" and self._listed
        return web.json_response({"files": self._listed if is_new else [], "next": "1" if is_new else None})

    async def give(self, request: web.Request) -> web.StreamResponse:
        """Give the report, signed."""
        signed = signing.begun(CREATED)
        with self._report.open("rb") as opened:
            while piece := opened.read(1 << 20):
                signed.update(piece)
        header = signing.sign_hashed(signed, self._key, key_id=KEY_ID, created=CREATED)
        return web.FileResponse(self._report, headers={signing.HEADER: header})

    async def used(self, _: web.Request) -> web.Response:
        """Tell how much memory this took at most, and how long the two files are."""
        sizes = {"order_mb": self._order.stat().st_size, "report_mb": self._report.stat().st_size}
        told = {name: round(size / 2**20, 1) for name, size in sizes.items()}
        return web.json_response({"peak_mb": peak_mb(), "lines": self.lines, **told})

    def _signed(self, body: bytes, status: int) -> web.Response:
        header = signing.sign(body, self._key, key_id=KEY_ID, created=CREATED)
        return web.Response(body=body, status=status, headers={signing.HEADER: header})


async def serve(folder: Path) -> None:
    """Serve until the process is ended."""
    desk, app = Desk(folder), web.Application(client_max_size=1 << 30)
    app.router.add_post("/files", desk.take)
    app.router.add_get("/files", desk.listed)
    app.router.add_get("/files/report", desk.give)
    app.router.add_get("/used", desk.used)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
