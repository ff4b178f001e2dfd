"""Ways to pay, as merchants send them: one model each, with the fields that it needs and takes."""

import re
from ipaddress import ip_address
from typing import Annotated, Any, Literal

import orjson
from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, StringConstraints, WithJsonSchema
from pydantic_core import PydanticCustomError

from channels.registry import PAYER_CODES
from gateway.payments.orders import KEPT
from gateway.routing.eligibility import AUTO
from kernel.cards import holds_card_number
from kernel.shapes import Address, Body, Form

# Codes that wallets show their payers, and the number by which Alipay knows a payer, are digits too, and one in ten of
# them ends in a right check digit by chance. No payer is turned away for that. Some codes begin as numbers of
# Mastercard and Diners Club do, and nothing tells them apart; no code is stored or logged (docs/decisions/0011).
_WALLETS_CODE = f"(?:{'|'.join(PAYER_CODES.values())})"
_NO_CARD = {
    "auth_code": re.compile(_WALLETS_CODE, re.ASCII),
    "payer": re.compile(r"2088[0-9]{12}", re.ASCII),  # Alipay's; no issuer's numbers begin so
    "token": None,
}


def _no_card_number(method: Any) -> Any:
    """Refuse what could be a card's number before anything else is looked at: this hub is no place for one."""
    for name, known in _NO_CARD.items() if isinstance(method, dict) else ():
        value = method.get(name)
        text = str(value) if isinstance(value, str | int) else ""
        if holds_card_number(text) and not (known is not None and known.fullmatch(text)):
            why = "this looks like a card number, which is never sent to this hub"
            raise PydanticCustomError("card_number", why, {"field": name})
    return method


def _ip_address(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        raise ValueError("that is no IPv4 or IPv6 address") from None


_ADDRESS_OF_IP = {"anyOf": [{"type": "string", "format": "ipv4"}, {"type": "string", "format": "ipv6"}]}
_RailOrAuto = Annotated[str, StringConstraints(min_length=1, max_length=64)]


class _Method(Body):
    type: str
    channel: _RailOrAuto = Field(default=AUTO, description="the rail, or `auto` for whichever suits best")
    payer_region: (
        Annotated[str, Form(r"[A-Z]{2}", "a country of ISO 3166-1 in two capital letters, such as DE")] | None
    ) = Field(default=None, description="where the payer is, ISO 3166-1; for accounts that take some countries only")

    def details(self) -> str | None:
        """Return as JSON what an attempt keeps of this, so that its order can be sent again; None for nothing.

        A payer's code is not kept (docs/decisions/0011).
        """
        given = self.__dict__  # asking a pydantic model for a field that it lacks takes microseconds
        kept = {name: value for name in KEPT if (value := given.get(name)) is not None}
        return orjson.dumps(kept, option=orjson.OPT_SORT_KEYS).decode() if kept else None

    def scanned(self) -> str | None:
        """Return the code that a till has read off the payer's phone; None where none is scanned."""
        return None


class _Returning(_Method):
    return_url: Address | None = Field(default=None, description="where the payer's browser goes afterwards")


class MethodQrIn(_Method):
    """扫码: you show a code, the payer scans it."""

    type: Literal["qr"]


class MethodBarcodeIn(_Method):
    """付款码: you scan the code on the payer's phone, which also tells whose it is, whatever `channel` says."""

    type: Literal["barcode"]
    auth_code: Annotated[str, Form(_WALLETS_CODE, "the 16 to 24 digits that the till has scanned")] = Field(
        description="what was scanned; never stored. WeChat Pay: 18 digits from 10 to 15. Alipay: 16 to 24 from 25 to "
        "30. UnionPay: 19 from 62"
    )

    def scanned(self) -> str | None:
        return self.auth_code


class MethodJsapiIn(_Method):
    """Inside the wallet's own browser or mini-program."""

    type: Literal["jsapi"]
    channel: _RailOrAuto = Field(
        default=AUTO, description="the wallet; needed unless `payer` says whose it is (an openid, a buyer_id)"
    )
    payer: Annotated[str, Form(r"[\x21-\x7e]{1,128}", "1 to 128 visible ASCII characters, as the rail gave them")] = (
        Field(description="who the payer is at the rail (openid, buyer_id)")
    )


class MethodH5In(_Returning):
    """From a phone's browser into the wallet."""

    type: Literal["h5"]
    client_ip: Annotated[
        str, StringConstraints(max_length=45), AfterValidator(_ip_address), WithJsonSchema(_ADDRESS_OF_IP)
    ] = Field(description="the payer's address")


def _channel_is_needed(schema: dict[str, Any]) -> None:
    """Say so. The model takes it left out: the refusal that follows (`channel_needed`) names the wallets there are."""
    schema["required"] = ["type", "channel"]
    del schema["properties"]["channel"]["default"]


class MethodAppIn(_Method):
    """From your app into the wallet."""

    model_config = ConfigDict(json_schema_extra=_channel_is_needed)

    type: Literal["app"]
    channel: Annotated[
        _RailOrAuto, WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 64, "not": {"const": AUTO}})
    ] = Field(default=AUTO, description="which wallet your app opens")


class MethodPageIn(_Returning):
    """A page of the rail's, where the payer logs in or types a card."""

    type: Literal["page"]


class MethodCardIn(_Returning):
    """A card, by what the rail's own form made of it; a card's number is refused."""

    type: Literal["card"]
    token: Annotated[
        str, Form(r"[0-9A-Za-z_\-]{1,255}", "the token as the rail's form gave it: 1 to 255 of 0-9 A-Z a-z _ -")
    ] = Field(description="what the rail's own form made of the card")


class MethodTransferIn(_Method):
    """银行转账: to an account number of this payment's own."""

    type: Literal["transfer"]


class MethodCashierIn(_Returning):
    """收银台: the payer chooses, on a page of the hub's."""

    type: Literal["cashier"]


MethodIn = Annotated[
    MethodQrIn
    | MethodBarcodeIn
    | MethodJsapiIn
    | MethodH5In
    | MethodAppIn
    | MethodPageIn
    | MethodCardIn
    | MethodTransferIn
    | MethodCashierIn,
    Field(discriminator="type"),
    BeforeValidator(_no_card_number),
]
