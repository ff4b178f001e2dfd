"""Who looks at a page: in which app, on what device, in which language. All of it is what the browser says; a wrong
answer shows other ways to pay and nothing worse."""

import re
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from typing import NamedTuple

from channels.registry import FACES

LANGUAGES = ("zh", "en")
_PHONE = re.compile(r"Mobi|Android|iPhone|iPad", re.ASCII)
_ACCEPTED = re.compile(
    r"\s*([A-Za-z]{1,8}|\*)(?:-[A-Za-z0-9-]*)?\s*(?:;\s*q\s*=\s*(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)\s*)?",
    re.ASCII | re.IGNORECASE,
)
# Tags under which browsers ask for Chinese: the language itself, and those that ISO 639-3 puts under it.
_CHINESE = frozenset({"zh", "cmn", "yue", "wuu", "nan", "hak"})


class Device(NamedTuple):
    """Where a page is looked at."""

    rail: str | None  # in whose own app; None: in an ordinary browser
    on_phone: bool


def device(user_agent: str, browsers: Mapping[str, Sequence[str]]) -> Device:
    """Return where a page is looked at. browsers: rail → words in its app's User-Agent."""
    on_phone = _PHONE.search(user_agent) is not None
    said = user_agent.lower()
    if any(word.lower() in said for face in FACES.values() for word in face.on_computers):
        return Device(None, on_phone=False)
    for rail, words in browsers.items():
        if any(word in user_agent for word in words):
            return Device(rail, on_phone=True)
    return Device(None, on_phone)


def language(wanted: str | None, accepted: str) -> str:
    """Return the language to write in: the one asked for by name, else Chinese for who prefers it, else English.

    accepted: an Accept-Language header (RFC 9110, 12.5.4). Whoever asks for neither of the two, or for anything (`*`),
    reads English rather than Chinese.
    """
    if wanted in LANGUAGES:
        return wanted
    weights: dict[str, float] = {}
    for part in accepted.split(",")[:20]:
        match = _ACCEPTED.fullmatch(part)
        if match is None:
            continue
        tag = match[1].lower()
        name = "zh" if tag in _CHINESE else tag
        weights[name] = max(weights.get(name, 0.0), float(match[2] or "1"))
    others = weights.get("*", 0.0)
    chinese, english = weights.get("zh", others), weights.get("en", others)
    if chinese != english:
        return "zh" if chinese > english else "en"
    return next((name for name in weights if name in LANGUAGES and chinese), "en")


def address(peer: str | None, forwarded: Sequence[str]) -> str:
    """Return the payer's address. Where the peer is a proxy of ours, the last it was told of, else the peer.

    peer: who connected. forwarded: X-Forwarded-For, each there is: some proxies add one of their own behind what came.
    A proxy in front is on this host or in a private network; from anywhere else the header could say anything.
    """
    try:
        near = ip_address(peer or "")
    except ValueError:
        return "127.0.0.1"
    if near.is_private and forwarded:
        try:
            return str(ip_address(forwarded[-1].rpartition(",")[2].strip()))
        except ValueError:
            return str(near)
    return str(near)
