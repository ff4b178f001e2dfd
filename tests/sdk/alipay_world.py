"""What the scripts of both Alipay libraries need beside their library: the payer, the day's end, a door for notices."""

import io
import json
import queue
import threading
import urllib.request
import zipfile
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any


class World:
    """The sandbox's control API for one merchant, and a small server that takes its notices."""

    def __init__(self, base_url: str, merchant: str) -> None:
        self.base_url, self.merchant = base_url, merchant
        self._heard: queue.Queue[str] = queue.Queue()
        heard = self._heard

        class Door(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                heard.put(self.rfile.read(int(self.headers["Content-Length"])).decode())
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b"success")

            def log_message(self, *_: Any) -> None:
                pass

        server = HTTPServer(("127.0.0.1", 0), Door)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.notify_url = f"http://127.0.0.1:{server.server_port}/notices"

    def control(self, path: str, **body: str) -> Any:
        raw = json.dumps({"merchant": self.merchant, **body} if "code" not in body else body).encode()
        with urllib.request.urlopen(f"{self.base_url}/control/{path}", raw) as answer:
            return json.load(answer)

    def pay(self, order: str) -> None:
        self.control("alipay/pay", order=order)

    def notice(self, order: str) -> str:
        """Return the next notice about an order, as the form that was posted."""
        while f"out_trade_no={order}&" not in (form := self._heard.get(timeout=200)):
            continue
        return form

    def fetch(self, url: str) -> str:
        """Return what a GET of an address leads to."""
        with urllib.request.urlopen(url) as answer:
            return answer.read().decode()

    def texts(self, url: str) -> dict[str, str]:
        """Return the texts in the zip of a bill by their names, which are GBK without a mark that says so."""
        with urllib.request.urlopen(url) as answer, zipfile.ZipFile(io.BytesIO(answer.read())) as bundle:
            members = bundle.infolist()
            return {one.filename.encode("cp437").decode("gbk"): bundle.read(one).decode("gbk") for one in members}
