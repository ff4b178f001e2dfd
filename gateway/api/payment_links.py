"""Payment links 付款链接 and standing codes 静态收款码: what is sent, and what is done with it."""

import hashlib
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field, model_validator

from gateway.api.shares import SHARING, SPLIT, SplitIn
from gateway.cashier.links import LINK, STATIC, LinkOut, Links, MerchantQrOut, NewLink
from gateway.claims import Claims
from kernel.answers import ListOut
from kernel.routes import LIMIT, Call, Reply, Route, an_id, listed, made, starting_after
from kernel.shapes import (
    MAX_AMOUNT,
    Address,
    Amount,
    Body,
    Currency,
    GivenAmount,
    MerchantsName,
    Metadata,
    Moment,
    Text,
    metadata_text,
)

Uses = Annotated[int, Field(ge=1, le=100, strict=True)]
_NAME = "its name, for you"
_DESCRIPTION = "what is bought, of every payment made with it; the payer sees it"
_MINIMUM = "the least that a payer may choose to pay, in minor units"
_MAXIMUM = "the most that a payer may choose to pay, in minor units"
_EXPIRES_AT = "from then on no payment is made with it"
_MAX_USES = "how many of its payments may be open or paid; one that ends unpaid gives its place back"
_ACTIVE = "whether payments are made with it"


def _bounds(minimum: int, maximum: int) -> None:
    if minimum > maximum:
        raise ValueError("minimum is more than maximum; swap them")


class PaymentLinkIn(Body):
    """POST /v1/payment_links"""

    name: MerchantsName = Field(description=_NAME)
    description: Text = Field(description=_DESCRIPTION)
    amount: GivenAmount = Field(default=None, description="minor units; left out: the payer says how much")
    minimum: Amount = Field(default=1, description=_MINIMUM)
    maximum: Amount = Field(default=MAX_AMOUNT, description=_MAXIMUM)
    currency: Currency
    expires_at: Moment | None = Field(default=None, description=_EXPIRES_AT)
    max_uses: Uses | None = Field(default=None, description=_MAX_USES)
    split: SplitIn = Field(default=(), description=f"of every payment made with it: {SPLIT}")
    metadata: Metadata | None = Field(default=None, description="of every payment made with it")
    return_url: Address | None = Field(default=None, description="where the payer's browser goes afterwards")

    @model_validator(mode="after")
    def _checked(self) -> "PaymentLinkIn":
        if self.amount is not None and self.model_fields_set & {"minimum", "maximum"}:
            raise ValueError(
                "amount says what is paid, so minimum and maximum mean nothing beside it; send either it or the bounds"
            )
        _bounds(self.minimum, self.maximum)
        return self


class MerchantQrIn(Body):
    """POST /v1/merchant_qrs"""

    name: MerchantsName = Field(description=_NAME)
    description: Text = Field(description=_DESCRIPTION)
    minimum: Amount = Field(default=1, description=_MINIMUM)
    maximum: Amount = Field(default=MAX_AMOUNT, description=_MAXIMUM)
    currency: Currency
    split: SplitIn = Field(default=(), description=f"of every payment made with it: {SPLIT}")
    metadata: Metadata | None = Field(default=None, description="of every payment made with it")
    return_url: Address | None = Field(default=None, description="where the payer's browser goes afterwards")

    @model_validator(mode="after")
    def _checked(self) -> "MerchantQrIn":
        _bounds(self.minimum, self.maximum)
        return self


class PaymentLinkChange(Body):
    """PATCH /v1/payment_links/{id}"""

    active: Annotated[bool, Field(strict=True)] | None = Field(default=None, description=_ACTIVE)
    name: MerchantsName | None = Field(default=None, description=_NAME)
    description: Text | None = Field(default=None, description=_DESCRIPTION)
    expires_at: Moment | None = Field(default=None, description=_EXPIRES_AT)
    max_uses: Uses | None = Field(default=None, description=_MAX_USES)


class MerchantQrChange(Body):
    """PATCH /v1/merchant_qrs/{id}"""

    active: Annotated[bool, Field(strict=True)] | None = Field(default=None, description=_ACTIVE)
    name: MerchantsName | None = Field(default=None, description=_NAME)
    description: Text | None = Field(default=None, description=_DESCRIPTION)


def _new_link(kind: str, body: PaymentLinkIn | MerchantQrIn) -> NewLink:
    return NewLink(
        kind,
        body.name,
        body.description,
        None,
        body.minimum,
        body.maximum,
        body.currency,
        split=[share.asked() for share in body.split],
        metadata=metadata_text(body.metadata),
        return_url=body.return_url,
    )


class LinkRoutes:
    """The routes of payment links and standing codes."""

    def __init__(self, links: Links) -> None:
        self._links = links

    def routes(self) -> Sequence[Route[Any]]:
        read, write = "payments:read", "payments:write"
        links, codes = "/v1/payment_links", "/v1/merchant_qrs"
        link, code = an_id("lnk", "the payment link", "payment_link"), an_id("lnk", "the standing code", "merchant_qr")
        page = (LIMIT, starting_after("lnk"))
        return [
            Route(
                method="POST",
                path=links,
                scope=write,
                handler=self.add_payment_link,
                problems=("expiry_out_of_bounds", "no_channel", "no_such_link", *SHARING),
                answer=LinkOut,
                says="Make a payment link",
                body=PaymentLinkIn,
                needs_key=True,
                makes=True,
            ),
            Route(
                method="GET",
                path=links,
                scope=read,
                handler=self.list_payment_links,
                answer=ListOut[LinkOut],
                says="List payment links, newest first",
                query=page,
            ),
            Route(
                method="GET",
                path=f"{links}/{{id}}",
                scope=read,
                handler=self.get_payment_link,
                problems=("no_such_link",),
                answer=LinkOut,
                says="Read a payment link",
                ident=link,
            ),
            Route(
                method="PATCH",
                path=f"{links}/{{id}}",
                scope=write,
                handler=self.change_payment_link,
                problems=("expiry_out_of_bounds", "no_such_link"),
                answer=LinkOut,
                says="Change a payment link, or switch it off",
                ident=link,
                body=PaymentLinkChange,
            ),
            Route(
                method="POST",
                path=codes,
                scope=write,
                handler=self.add_merchant_qr,
                problems=("no_channel", "no_such_link", *SHARING),
                answer=MerchantQrOut,
                says="Make a standing code",
                body=MerchantQrIn,
                needs_key=True,
                makes=True,
            ),
            Route(
                method="GET",
                path=codes,
                scope=read,
                handler=self.list_merchant_qrs,
                answer=ListOut[MerchantQrOut],
                says="List standing codes, newest first",
                query=page,
            ),
            Route(
                method="GET",
                path=f"{codes}/{{id}}",
                scope=read,
                handler=self.get_merchant_qr,
                problems=("no_such_link",),
                answer=MerchantQrOut,
                says="Read a standing code",
                ident=code,
            ),
            Route(
                method="PATCH",
                path=f"{codes}/{{id}}",
                scope=write,
                handler=self.change_merchant_qr,
                problems=("no_such_link",),
                answer=MerchantQrOut,
                says="Change a standing code, or switch it off",
                ident=code,
                body=MerchantQrChange,
            ),
        ]

    async def add_payment_link(self, call: Call[PaymentLinkIn]) -> Reply:
        body = call.body
        new = _new_link(LINK, body)._replace(
            amount_minor=body.amount, expires_at=body.expires_at, max_uses=body.max_uses
        )
        return await self._add(call, new)

    async def add_merchant_qr(self, call: Call[MerchantQrIn]) -> Reply:
        return await self._add(call, _new_link(STATIC, call.body))

    async def _add(self, call: Call[Any], new: NewLink) -> Reply:
        claims = Claims([f"i:{call.key}"], hashlib.sha256(new.kind.encode() + b"\n" + call.raw).digest())
        link, replayed = await self._links.add(call.book, new, claims)
        return made(self._links.payload(link), replayed=replayed)

    async def get_payment_link(self, call: Call[None]) -> Reply:
        return Reply(self._links.payload(await self._links.get(call.book, call.ident, LINK)))

    async def get_merchant_qr(self, call: Call[None]) -> Reply:
        return Reply(self._links.payload(await self._links.get(call.book, call.ident, STATIC)))

    async def list_payment_links(self, call: Call[None]) -> Reply:
        return await self._list(call, LINK)

    async def list_merchant_qrs(self, call: Call[None]) -> Reply:
        return await self._list(call, STATIC)

    async def _list(self, call: Call[None], kind: str) -> Reply:
        found = await self._links.listed(call.book, kind, before=call.after, limit=call.limit + 1)
        return listed([self._links.payload(link) for link in found], call.limit)

    async def change_payment_link(self, call: Call[PaymentLinkChange]) -> Reply:
        return await self._change(call, LINK)

    async def change_merchant_qr(self, call: Call[MerchantQrChange]) -> Reply:
        return await self._change(call, STATIC)

    async def _change(self, call: Call[Any], kind: str) -> Reply:
        body = call.body
        changes = {name: value for name in body.model_fields_set if (value := getattr(body, name)) is not None}
        if "active" in changes:
            changes["state"] = "active" if changes.pop("active") else "inactive"
        return Reply(self._links.payload(await self._links.change(call.book, call.ident, kind, changes)))
