"""`sluice link`: payment links and standing codes by hand."""

import hashlib
from typing import Any
from urllib.parse import urlsplit

import orjson
from pydantic import ValidationError

from gateway.api.payment_links import PaymentLinkIn
from gateway.cashier import codes, emvco
from gateway.cashier.links import LINK, STATIC, LinkOut, MerchantQrOut, NewLink
from gateway.claims import Claims
from gateway.door.responses import rejected
from gateway.store import find_merchant
from gateway.tables import CashierLink
from kernel.db import acquire
from kernel.errors import NotFound
from kernel.money import Money, from_major
from ops.wiring import Hub

OWN_TEMPLATE = "26"  # of an EMVCo code: whom to pay, told by whose it is (our host) and our token
_FORMS = {".svg": codes.svg, ".png": codes.png}


class LinkWrong(ValueError):
    """What was typed makes no link; the message says why."""


def wanted(
    *,
    name: str,
    description: str,
    amount: str | None,
    minimum: str | None,
    maximum: str | None,
    currency: str,
    standing: bool,
    max_uses: int | None,
    expires_at: str | None,
) -> NewLink:
    """Return the link that was typed; amounts in major units. Raises LinkWrong."""
    if standing and (amount or max_uses or expires_at):
        raise LinkWrong("a standing code has neither amount, nor uses, nor end")
    body: dict[str, Any] = {"name": name, "description": description, "currency": currency}
    try:
        for field, typed in (("amount", amount), ("minimum", minimum), ("maximum", maximum)):
            if typed is not None:
                body[field] = from_major(typed, currency).minor
        if max_uses is not None:
            body["max_uses"] = max_uses
        if expires_at is not None:
            body["expires_at"] = expires_at
        told = PaymentLinkIn.model_validate_json(orjson.dumps(body))
    except ValidationError as error:
        raise LinkWrong(rejected(error, PaymentLinkIn).message) from None
    except (ValueError, KeyError) as error:
        raise LinkWrong(str(error)) from None
    return NewLink(
        STATIC if standing else LINK, told.name, told.description, told.amount, told.minimum, told.maximum,
        told.currency, told.expires_at, told.max_uses,
    )  # fmt: skip


async def add(hub: Hub, book: int, new: NewLink) -> dict[str, Any]:
    """Add a link and return it as the API shows it. Raises NotFound for a book that is none."""
    async with acquire(hub.pool) as connection:
        if await find_merchant(connection, book) is None:
            raise NotFound("no_such_book", f"there is no book {book}; see `sluice merchant list`")
    links, key = hub.links(), hub.env.secrets(16).hex()
    row, _ = await links.add(book, new, Claims([f"i:by-hand-{key}"], hashlib.sha256(key.encode()).digest()))
    return _plain(links.payload(row))


async def listed(hub: Hub, book: int) -> list[dict[str, Any]]:
    """Return all of a merchant's links and standing codes, newest first."""
    links = hub.links()
    rows = [row for kind in (LINK, STATIC) for row in await links.listed(book, kind, before=None, limit=1000)]
    return [_plain(links.payload(row)) for row in sorted(rows, key=lambda row: row.id, reverse=True)]


async def picture(hub: Hub, book: int, link_id: str, suffix: str, as_emvco: str | None) -> bytes:
    """Return the QR code as a picture. suffix: .svg or .png. Raises LinkWrong, NotFound."""
    form = _FORMS.get(suffix.lower())
    if form is None:
        raise LinkWrong("the file's name must end in .svg or .png")
    links = hub.links()
    link = await links.get(book, link_id)
    url = links.url(link)
    return form(url if as_emvco is None else emvco_text(link, url, as_emvco))


def emvco_text(link: CashierLink, url: str, said: str) -> str:
    """Return the EMVCo code of a link: for payers' apps that know our host. said: NAME:CITY:MCC. Raises LinkWrong."""
    parts = said.split(":")
    if len(parts) != 3:
        raise LinkWrong("--emvco is NAME:CITY:MCC, e.g. 'TEA HOUSE:BEIJING:5411'")
    name, city, mcc = parts
    where = urlsplit(url)
    code = emvco.PaymentCode(
        name=name,
        city=city,
        currency=link.currency,
        mcc=mcc,
        accounts={OWN_TEMPLATE: {emvco.GUID: (where.hostname or "")[:32], "01": where.path}},
        dynamic=link.kind == LINK and link.max_uses == 1,
        amount=None if link.amount_minor is None else Money(link.amount_minor, link.currency),
    )
    try:
        return emvco.build(code)
    except emvco.BadCode as bad:
        raise LinkWrong(f"{bad.message} [{bad.code}]") from None


def _plain(payload: LinkOut | MerchantQrOut) -> dict[str, Any]:
    plain: dict[str, Any] = orjson.loads(orjson.dumps(payload))
    return plain
