"""How messages of the direct link travel: base64 of SM4-CBC of JSON that is signed by SM2. See README.md."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sandbox.cmb import sm

UNSIGNED = "__signature_sigdat__"
SKEW = timedelta(hours=1)


class Turned(Exception):
    """The gateway turns a message away; it has no signed answer."""


@dataclass(frozen=True, slots=True)
class User:
    """A customer of the direct link."""

    uid: str
    name: str
    key: bytes
    point: tuple[int, int]

    @property
    def identity(self) -> bytes:
        return (self.uid + "0" * 16)[:16].encode()


def ordered(value: Any) -> str:
    """Return JSON in the order that is signed."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def opened(data: str, user: User, now: datetime) -> dict[str, Any]:
    """Return a user's request. Raises Turned."""
    try:
        message = json.loads(sm.decrypt(base64.b64decode(data, validate=True), user.key, user.identity))
        signature, request = message["signature"], message["request"]
        given = base64.b64decode(signature["sigdat"], validate=True)
        made = datetime.strptime(signature["sigtim"], "%Y%m%d%H%M%S").replace(tzinfo=now.tzinfo)
    except (ValueError, KeyError, TypeError, binascii.Error):
        raise Turned("DATA cannot be decrypted or read") from None
    unsigned = ordered({**message, "signature": {**signature, "sigdat": UNSIGNED}})
    if not sm.is_signed(unsigned.encode(), given, user.point, user.identity):
        raise Turned("the signature is wrong")
    if abs(now - made) > SKEW:
        raise Turned("sigtim is more than an hour off")
    head = request.get("head") or {}
    reqid = str(head.get("reqid", ""))
    if head.get("userid") != user.uid or not 18 <= len(reqid) <= 51 or not reqid[:17].isdigit():
        raise Turned("head has a wrong userid or reqid")
    return dict(request)


def sealed(response: dict[str, Any], user: User, private: int, now: datetime, *, spoil: bool = False) -> bytes:
    """Return a response as it travels, signed by the bank. spoil: by a signature that does not fit."""
    message = {"response": response, "signature": {"sigdat": UNSIGNED, "sigtim": f"{now:%Y%m%d%H%M%S}"}}
    signed = ordered(message) + (" " if spoil else "")
    signature = base64.b64encode(sm.sign(signed.encode(), private, user.identity)).decode()
    message["signature"]["sigdat"] = signature
    return base64.b64encode(sm.encrypt(ordered(message).encode(), user.key, user.identity))
