"""Who looks at a page: in which app, on what device, in which language. All of it is what the browser says; a wrong
answer shows other ways to pay and nothing worse."""

import re
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from typing import NamedTuple

LANGUAGES = ("zh", "en")
_PHONE = re.compile(r"Mobi|Android|iPhone|iPad", re.ASCII)
# WeChat's program for computers opens pages too, and cannot pay in them.
_DESKTOP_APP = re.compile(r"WindowsWechat|MacWechat|UnifiedPCWindowsWechat", re.ASCII | re.IGNORECASE)
_ACCEPTED = re.compile(r"\s*([A-Za-z]{1,8})(?:-[A-Za-z0-9-]*)?\s*(?:;\s*q=([01](?:\.[0-9]{0,3})?)\s*)?", re.ASCII)


class Visitor(NamedTuple):
    """Where a page is looked at."""

    rail: str | None  # in whose own app; None: in an ordinary browser
    on_phone: bool


def visitor(user_agent: str, browsers: Mapping[str, Sequence[str]]) -> Visitor:
    """Return where a page is looked at. browsers: rail → words in its app's User-Agent."""
    on_phone = _PHONE.search(user_agent) is not None
    if _DESKTOP_APP.search(user_agent):
        return Visitor(None, on_phone=False)
    for rail, words in browsers.items():
        if any(word in user_agent for word in words):
            return Visitor(rail, on_phone=True)
    return Visitor(None, on_phone)


def language(wanted: str | None, accepted: str) -> str:
    """Return the language to write in: the one asked for by name, else the best accepted that we know, else Chinese.

    accepted: an Accept-Language header.
    """
    if wanted in LANGUAGES:
        return wanted
    best, found = 0.0, LANGUAGES[0]
    for part in accepted.split(",")[:20]:
        match = _ACCEPTED.fullmatch(part)
        if match is None or match[1].lower() not in LANGUAGES:
            continue
        weight = float(match[2] or "1")
        if weight > best:
            best, found = weight, match[1].lower()
    return found


def address(peer: str | None, forwarded: str | None) -> str:
    """Return the payer's address. Where the peer is a proxy of ours, the last it was told of, else the peer.

    peer: who connected. forwarded: X-Forwarded-For. A proxy in front is on this host or in a private network; from
    anywhere else the header could say anything.
    """
    try:
        near = ip_address(peer or "")
    except ValueError:
        return "127.0.0.1"
    if near.is_private and forwarded:
        try:
            return str(ip_address(forwarded.rpartition(",")[2].strip()))
        except ValueError:
            return str(near)
    return str(near)
