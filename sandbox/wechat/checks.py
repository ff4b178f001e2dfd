"""Reading request bodies as strictly as WeChat Pay does: the first wrong parameter is named and nothing happens."""

import ipaddress
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from sandbox.wechat.errors import ApiError, wrong_parameter

OUT_TRADE_NO = re.compile(r"[0-9A-Za-z_\-|*]{6,32}")
OUT_REFUND_NO = re.compile(r"[0-9A-Za-z_\-|*@]{1,64}")
AUTH_CODE = re.compile(r"1[0-5][0-9]{16}")


class Fields:
    """One JSON object of a request, read field by field. Unknown fields are ignored."""

    def __init__(self, values: Mapping[str, Any], pointer: str = "") -> None:
        self._values, self._pointer = values, pointer

    def wrong(self, name: str, issue: str) -> ApiError:
        """Return the refusal for field `name`."""
        return wrong_parameter(f"{self._pointer}/{name}", issue, self._values.get(name))

    def has(self, name: str) -> bool:
        """Tell whether the field is there and not null."""
        return self._values.get(name) is not None

    def text(self, name: str, most: int, pattern: re.Pattern[str] | None = None) -> str:
        """Return a required text of 1 to `most` bytes of UTF-8: 茶 counts three, as at the real one."""
        if not self.has(name):
            raise self.wrong(name, "is required")
        value = self._values[name]
        if not isinstance(value, str):
            raise self.wrong(name, "must be a string")
        if not 1 <= len(value.encode()) <= most:
            raise self.wrong(name, f"must have 1 to {most} bytes")
        if pattern is not None and not pattern.fullmatch(value):
            raise self.wrong(name, f"must match {pattern.pattern}")
        return value

    def optional_text(self, name: str, most: int) -> str:
        """Return an optional text, empty if it is not given."""
        if not self.has(name) or self._values[name] == "":
            return ""
        return self.text(name, most)

    def amount(self, name: str) -> int:
        """Return a required whole number of fen, at least 1."""
        if not self.has(name):
            raise self.wrong(name, "is required")
        value = self._values[name]
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.wrong(name, "must be an integer in fen")
        if not 1 <= value <= 10_000_000_000:
            raise self.wrong(name, "must be at least 1 and at most 10000000000")
        return value

    def choice(self, name: str, *allowed: str) -> str:
        """Return a required text that is one of `allowed`."""
        value = self.text(name, 64)
        if value not in allowed:
            raise self.wrong(name, f"must be one of {', '.join(allowed)}")
        return value

    def child(self, name: str) -> "Fields":
        """Return a required object."""
        if not self.has(name):
            raise self.wrong(name, "is required")
        if not isinstance(self._values[name], dict):
            raise self.wrong(name, "must be an object")
        return Fields(self._values[name], f"{self._pointer}/{name}")

    def optional_child(self, name: str) -> "Fields | None":
        """Return an optional object."""
        return self.child(name) if self.has(name) else None

    def moment(self, name: str) -> datetime:
        """Return a required RFC 3339 moment with its offset."""
        text = self.text(name, 64)
        try:
            at = datetime.fromisoformat(text)
        except ValueError as error:
            raise self.wrong(name, "must be RFC 3339, as 2018-06-08T10:34:56+08:00") from error
        if at.tzinfo is None:
            raise self.wrong(name, "must carry its offset from UTC")
        return at

    def notify_url(self, name: str = "notify_url") -> str:
        """Return a required address for notices: https, or http to this machine; no query string."""
        url = self.text(name, 256)
        parts = urlsplit(url)
        if parts.scheme not in ("https", "http") or not parts.hostname:
            raise self.wrong(name, "must be an https URL")
        if parts.scheme == "http" and not _is_loopback(parts.hostname):
            raise self.wrong(name, "must be https unless it is on this machine")
        if parts.query or "?" in url:
            raise self.wrong(name, "must not carry a query string")
        return url


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
