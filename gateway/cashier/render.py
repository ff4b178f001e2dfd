"""Making pages: templates, headers that keep them to themselves, and the few files they need."""

import hashlib
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson
from aiohttp import web
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from channels.face import Face
from channels.registry import FACES, NAMES, script_of
from gateway.cashier.text import Say

HERE = Path(__file__).parent
TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
KEPT_TO_ITSELF: Mapping[str, str] = {
    "Referrer-Policy": "no-referrer",  # the address of a page is the right to pay it; a link to a rail names our domain
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
NOT_KEPT: Mapping[str, str] = {**KEPT_TO_ITSELF, "Cache-Control": "no-store"}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'{forms}; frame-ancestors 'none'; base-uri 'none'"
)


class Templates:
    """The templates and files of the cashier, read once."""

    def __init__(self) -> None:
        self._templates = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._files = {path.name: path.read_bytes() for path in sorted((HERE / "static").iterdir())}
        self._files["cashier.css"] += marks(FACES).encode()
        wallets = "".join(script_of(name) for name in NAMES)  # before the page's own, which may open one at once
        self._files["cashier.js"] = f"window.wallets = {{}};\n{wallets}".encode() + self._files["cashier.js"]
        digest = hashlib.sha256(b"\n".join(self._files.values())).hexdigest()[:12]
        self._templates.globals["asset"] = lambda name: f"/cashier/{name}?v={digest}"

    def page(
        self, template: str, say: Say, status: int = 200, *, posts_to: str | None = None, **values: Any
    ) -> web.Response:
        """Return a page. posts_to: the address of a rail that a form on it is sent to."""
        text = self._templates.get_template(f"{template}.html").render(say=say, **values)
        policy = _POLICY.format(forms=f" {sources(posts_to)}" if posts_to else "")
        headers = {
            **NOT_KEPT,
            "Content-Security-Policy": policy,
            "Content-Language": say.tag,
            "Vary": "Accept-Language",
        }
        return web.Response(status=status, text=text, content_type="text/html", charset="utf-8", headers=headers)

    def file(self, name: str) -> web.Response | None:
        """Return one of the files; its address changes with its content, so it may be kept."""
        content = self._files.get(name)
        if content is None:
            return None
        headers = {**KEPT_TO_ITSELF, "Cache-Control": "public, max-age=31536000, immutable"}
        return web.Response(body=content, content_type=TYPES[Path(name).suffix], charset="utf-8", headers=headers)


def marks(faces: Mapping[str, Face]) -> str:
    """Return the style of each rail's mark: its character, white on its colour."""
    return "".join(
        f'.mark.{name} {{ background: {face.colour}; }} .mark.{name}::after {{ content: "{face.mark}"; }}\n'
        for name, face in faces.items()
    )


def picture(content: bytes, kind: str = "image/svg+xml", headers: Mapping[str, str] | None = None) -> web.Response:
    """Return a picture that is not to be kept."""
    policy = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
    return web.Response(body=content, content_type=kind, headers={**NOT_KEPT, **policy, **(headers or {})})


def json(body: Any) -> web.Response:
    return web.Response(body=orjson.dumps(body), content_type="application/json", headers=NOT_KEPT)


def see_other(url: str) -> web.Response:
    """Send the browser on."""
    return web.Response(status=303, headers={**NOT_KEPT, "Location": url})


def other_language(path: str, say: Say) -> str:
    """Return the address of a page in the other language. path: empty for the very page, whose path is not quoted."""
    return f"{path}?lang={'en' if say.language == 'zh' else 'zh'}"


def is_web(url: str) -> bool:
    """Tell whether an address is one that a browser may be sent to: http or https, never javascript."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc) and not set(url) & set(" \t\r\n\"'<>\\")


def sources(url: str) -> str:
    """Return what a policy allows so that a form may be sent there: that origin, and its neighbours.

    Browsers hold every redirect after the form to the policy too, and a rail hands on from its gateway to its cashier:
    gateway.95516.com to cashier.95516.com.
    """
    parts = urlsplit(url)
    own = f"{parts.scheme}://{parts.netloc}"
    host = parts.hostname or ""
    try:
        ip_address(host)
    except ValueError:
        labels = host.split(".")
        if parts.scheme == "https" and len(labels) >= 3:
            return f"{own} https://*.{'.'.join(labels[1:])}"
    return own
