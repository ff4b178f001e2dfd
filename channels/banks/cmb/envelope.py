"""How a message of the direct link is signed and sealed, and an answer opened. Pure.

A message is JSON: {"request": {"head": …, "body": …}, "signature": {"sigtim", "sigdat"}}; an answer has "response".
What is signed is the whole of it with `sigdat` at a fixed word, every object's keys in the order of ASCII, without
spaces. What travels is that with the signature in it, encrypted by SM4-CBC and in base64. Who signs is named by the
user's number, filled up with zeros to 16; so is the vector.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

from channels.banks.cmb import sm
from channels.banks.errors import BadStatement

UNSIGNED = "__signature_sigdat__"
MAX_TEXT = 64 << 20


class _Number(float):
    """A number as the bank wrote it: to sign it, it is written the same again."""

    text: str


def _number(text: str) -> _Number:
    number = _Number(text)
    number.text = text
    return number


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return found


def parsed(text: str) -> Any:
    """Return what a text of JSON says; numbers keep how they were written. Raises BadStatement."""
    try:
        return json.loads(text, object_pairs_hook=_once, parse_float=_number, parse_int=_number)
    except (ValueError, RecursionError):
        raise BadStatement("not_json", "the bank's answer is no JSON that can be read in one way") from None


def canonical(value: Any) -> str:
    """Return JSON with every object's keys in order and no space."""
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{_text(key)}:{canonical(value[key])}" for key in sorted(value)) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, value)) + "]"
    return value.text if isinstance(value, _Number) else _text(value)


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def identity(uid: str) -> bytes:
    """Return under which name a user signs, which is also the vector of its encryption."""
    return uid.encode()[:16].ljust(16, b"0")


def sealed(request: Mapping[str, Any], moment: str, pair: sm.KeyPair, key: bytes, who: bytes) -> str:
    """Return a request as it travels. moment: yyyyMMddHHmmss in Beijing."""
    unsigned = canonical({"request": request, "signature": {"sigdat": UNSIGNED, "sigtim": moment}})
    signature = base64.b64encode(sm.sign(unsigned.encode(), pair, who)).decode()
    signed = canonical({"request": request, "signature": {"sigdat": signature, "sigtim": moment}})
    return base64.b64encode(sm.encrypt(signed.encode(), key, who)).decode()


def opened(answer: bytes, public: bytes, key: bytes, who: bytes) -> tuple[str, Mapping[str, Any]]:
    """Return an answer's text and its `response`, which the bank signed. Raises BadStatement with what came."""
    try:
        content = sm.decrypt(base64.b64decode(answer.strip(), validate=True), key, who)
        text = content.decode()
    except (binascii.Error, ValueError):
        raise BadStatement("not_sealed", "the bank's answer is not encrypted with our key", answer) from None
    try:
        return text, signed_response(text, public, who)
    except BadStatement as error:
        raise BadStatement(error.code, error.message, content) from None


def signed_response(text: str, public: bytes, who: bytes) -> Mapping[str, Any]:
    """Return the `response` of a text that the bank signed. Raises BadStatement."""
    said = parsed(text)
    signature = said.get("signature") if isinstance(said, dict) else None
    response = said.get("response") if isinstance(said, dict) else None
    if not isinstance(signature, dict) or not isinstance(response, dict):
        raise BadStatement("signature_unsigned", "the bank's answer has no response or no signature")
    try:
        given = base64.b64decode(str(signature.get("sigdat")), validate=True)
    except (binascii.Error, ValueError):
        given = b""
    unsigned = canonical({**said, "signature": {**signature, "sigdat": UNSIGNED}})
    if not sm.verify(unsigned.encode(), given, public, who):
        raise BadStatement("signature_forged", "the signature does not fit the answer")
    return response
