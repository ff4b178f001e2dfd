"""What may be sent to the hub: pydantic models of the bodies. Nothing deeper sees them.

Amounts are whole minor units, strictly: 10.0, "10" and true are refused. Unknown fields are refused too.
"""

import json
import re
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Annotated, Any, Literal

import orjson
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from gateway.payments.orders import KEPT
from kernel.addresses import check_shown
from kernel.cards import holds_card_number
from kernel.money import is_currency

MAX_AMOUNT = 10**12  # minor units; no rail takes more in one payment
# Neither control characters nor marks that break lines, change direction or hide: what is shown is what was sent.
_UNSEEN = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    r"\U000e0000-\U000e007f]"
)
# What hides nothing: a joiner behind what it joins, as Persian, Hindi and joined emoji have it (UAX #31, 2.3.1;
# UTS #51, 1.4.9), and the flags of England and its like, spelt in tags (UTS #51, annex C).
# Behind ASCII a joiner joins nothing.
_JOINS = re.compile(
    r"(?<=[^\x00-\x7f\u200c\u200d])[\u200c\u200d]|\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{2,6}\U000e007f"
)
_LINES = str.maketrans("", "", "\n\r\t")


def _shown(text: str, *, lines: bool = False) -> str:
    """Refuse characters that a reader would not see, by name and place. lines: it may have several."""
    if text.isascii() and text.isprintable():
        return text
    found = _UNSEEN.search(_JOINS.sub("x", text))
    if found is None:
        return text
    what = "a line break" if found[0] in "\n\r\u2028\u2029" else f"U+{ord(found[0]):04X}, which is not shown"
    form = "it" if lines else "it in one line,"
    raise ValueError(f"it holds {what}; send {form} without control characters and marks that hide or turn text")


def _shown_in_lines(text: str) -> str:
    _shown(text.translate(_LINES), lines=True)
    return text


def _form(pattern: str, words: str) -> AfterValidator:
    """Return the check that a text is of a form. words: what to send, for people."""
    form = re.compile(pattern, re.ASCII)

    def check(text: str) -> str:
        if not form.fullmatch(text):
            raise ValueError(f"send {words}")
        return text

    return AfterValidator(check)


def _known_currency(code: str) -> str:
    if not is_currency(code):
        raise ValueError(f"{code} is not an ISO 4217 currency")
    return code


Text = Annotated[str, StringConstraints(min_length=1, max_length=127), AfterValidator(_shown)]
MetadataKey = Annotated[str, StringConstraints(min_length=1, max_length=40), AfterValidator(_shown)]
MetadataValue = Annotated[str, StringConstraints(max_length=500), AfterValidator(_shown_in_lines)]
Amount = Annotated[int, Field(gt=0, le=MAX_AMOUNT, strict=True, description="whole minor units, e.g. 分")]


def _not_null(value: Any) -> Any:
    """Refuse null where leaving it out means all, or whatever the payer says: who computed it meant neither."""
    if value is None:
        raise ValueError("send a whole number, or leave it out")
    return value


GivenAmount = Annotated[Amount | None, BeforeValidator(_not_null)]
CurrencyCode = Annotated[
    str,
    _form(r"[A-Z]{3}", "a currency of ISO 4217 in capital letters, such as CNY"),
    AfterValidator(_known_currency),
    Field(description="ISO 4217"),
]
OrderId = Annotated[str, _form(r"[0-9A-Za-z_\-|*.:/]{1,64}", "1 to 64 of the characters 0-9 A-Z a-z _ - | * . : /")]
PayeeId = Annotated[str, _form(r"pye_[0-9a-f]{26}", "the id of a payee, as POST /v1/payees answers it")]


class Body(BaseModel):
    """Strict in form: no unknown fields, no coercion of numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="null")


def _leads_a_browser(address: str) -> str:
    check_shown(address)
    return address


Address = Annotated[
    str,
    StringConstraints(max_length=512),
    _form(
        r"https?://[!#-;=?-~]+", "an address that begins with https:// or http://, in ASCII; anything else in it as %XX"
    ),
    AfterValidator(_leads_a_browser),
]
# What a way to pay needs, and what else it may have; payer_region goes with all of them.
_NEEDS = {
    "barcode": {"auth_code"},
    "jsapi": {"payer"},
    "h5": {"client_ip"},
    "card": {"token"},
}
_MAY_HAVE = {
    "h5": {"return_url"},
    "page": {"return_url"},
    "card": {"return_url"},
    "cashier": {"return_url"},
}


def _ip_address(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        raise ValueError("that is no IPv4 or IPv6 address") from None


# Codes that wallets show their payers, and the number by which Alipay knows a payer, are digits too, and one in ten of
# them ends in a right check digit by chance. No payer is turned away for that:
#   10 to 15, 18 digits: WeChat Pay's code (pay.weixin.qq.com/wiki/doc/api/micropay.php, chapter 5_1)
#   25 to 30, 16 to 24 digits: Alipay's code (opendocs.alipay.com/open/194/106039, alipay.trade.pay). Some numbers of
#     Mastercard and Diners Club begin so as well, and nothing tells them apart; a code is neither stored nor logged
#     (docs/decisions/0011).
#   62, 19 digits: UnionPay's code. By what integrators write; UnionPay's own document could not be read.
#   2088, 16 digits: Alipay's user id (buyer_id). No issuer's numbers begin so.
_WALLETS_CODE = re.compile(r"1[0-5][0-9]{16}|(?:2[5-9]|30)[0-9]{14,22}|62[0-9]{17}", re.ASCII)
_WALLETS_PAYER = re.compile(r"2088[0-9]{12}", re.ASCII)


def _no_card_number(value: Any, known: re.Pattern[str] | None = None) -> Any:
    """Refuse what could be a card's number before anything else is looked at: this hub is no place for one."""
    text = str(value) if isinstance(value, str | int) else ""
    if holds_card_number(text) and not (known is not None and known.fullmatch(text)):
        raise PydanticCustomError("card_number", "this looks like a card number, which is never sent to this hub")
    return value


def _no_card_but_a_code(value: Any) -> Any:
    return _no_card_number(value, _WALLETS_CODE)


def _no_card_but_a_payer(value: Any) -> Any:
    return _no_card_number(value, _WALLETS_PAYER)


class MethodIn(Body):
    """How the payer pays, and over which channel."""

    type: Literal["qr", "barcode", "jsapi", "h5", "app", "page", "card", "transfer", "cashier"]
    channel: Annotated[str, StringConstraints(min_length=1, max_length=64)] = "auto"
    auth_code: (
        Annotated[
            str,
            _form(r"[0-9]{16,24}", "the 16 to 24 digits that the till has scanned"),
            BeforeValidator(_no_card_but_a_code),
        ]
        | None
    ) = Field(default=None, description="barcode: what the till scanned from the payer's phone")
    payer: (
        Annotated[
            str,
            _form(r"[\x21-\x7e]{1,128}", "1 to 128 visible ASCII characters, as the rail gave them"),
            BeforeValidator(_no_card_but_a_payer),
        ]
        | None
    ) = Field(default=None, description="jsapi: who the payer is at the rail (openid, buyer_id)")
    token: (
        Annotated[
            str,
            _form(r"[0-9A-Za-z_\-]{1,255}", "the token as the rail's form gave it: 1 to 255 of 0-9 A-Z a-z _ -"),
            BeforeValidator(_no_card_number),
        ]
        | None
    ) = Field(default=None, description="card: what the rail's own form made of the card")
    client_ip: Annotated[str, StringConstraints(max_length=45), AfterValidator(_ip_address)] | None = Field(
        default=None, description="h5: the payer's address"
    )
    return_url: Address | None = Field(default=None, description="where the payer's browser goes afterwards")
    payer_region: (
        Annotated[str, _form(r"[A-Z]{2}", "a country of ISO 3166-1 in two capital letters, such as DE")] | None
    ) = Field(default=None, description="where the payer is, ISO 3166-1")

    @model_validator(mode="after")
    def _each_field_where_it_belongs(self) -> "MethodIn":
        needed, allowed = _NEEDS.get(self.type, set()), _MAY_HAVE.get(self.type, set())
        for name in ("auth_code", "payer", "token", "client_ip", "return_url"):
            given = getattr(self, name) is not None
            if given and name not in needed | allowed:
                raise ValueError(f"{name} does not go with {self.type}")
            if not given and name in needed:
                raise ValueError(f"{self.type} needs {name}")
        return self

    def details(self) -> str | None:
        """Return as JSON what an attempt keeps of this, so that its order can be sent again; None for nothing.

        A payer's code is not kept (docs/decisions/0011).
        """
        kept = {name: value for name in KEPT if (value := getattr(self, name)) is not None}
        return orjson.dumps(kept, option=orjson.OPT_SORT_KEYS).decode() if kept else None


class ShareIn(Body):
    """One line of a split plan; exactly one of amount, basis_points, remainder."""

    payee: PayeeId
    amount: Annotated[int, Field(ge=0, le=MAX_AMOUNT, strict=True)] | None = None
    basis_points: Annotated[int, Field(ge=0, le=10_000, strict=True)] | None = None
    remainder: Annotated[int, Field(ge=0, le=MAX_AMOUNT, strict=True, description="weight")] | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> "ShareIn":
        if sum(v is not None for v in (self.amount, self.basis_points, self.remainder)) != 1:
            raise ValueError("give exactly one of amount, basis_points and remainder")
        return self


class PaymentIn(Body):
    """POST /v1/payments"""

    merchant_order_id: OrderId
    amount: Amount
    currency: CurrencyCode
    method: MethodIn
    description: Text
    expires_in: Annotated[int, Field(ge=60, le=7200, strict=True, description="seconds")] = 7200
    capture: Literal["automatic", "manual"] = Field(
        default="automatic", description="manual: the payer's money is reserved, and captured when you ask"
    )
    split: Annotated[tuple[ShareIn, ...], Field(max_length=50)] = ()
    metadata: Annotated[dict[MetadataKey, MetadataValue], Field(max_length=50)] | None = None

    @model_validator(mode="after")
    def _payees_once(self) -> "PaymentIn":
        if len({share.payee for share in self.split}) != len(self.split):
            raise ValueError("a payee may stand in a split once")
        return self


MerchantsName = Annotated[str, StringConstraints(min_length=1, max_length=80), AfterValidator(_shown)]
Uses = Annotated[int, Field(ge=1, le=100, strict=True)]


_RFC3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})", re.ASCII
)


_LOST_PLUS = re.compile(r"[0-9] [0-9]{2}:[0-9]{2}$", re.ASCII)  # a + in a query that was not escaped is read as a space


def _rfc3339(value: Any) -> Any:
    """Refuse numbers, and texts of another form: what seconds or milliseconds of which epoch, a reader would guess."""
    if not isinstance(value, str) or not _RFC3339.fullmatch(value):
        raise ValueError("send a time with its offset as RFC 3339 writes it, such as 2026-11-24T08:30:00Z")
    return value


Moment = Annotated[datetime, BeforeValidator(_rfc3339)]


def _bounds(amount: int | None, minimum: int, maximum: int) -> None:
    if minimum > maximum:
        raise ValueError("minimum is more than maximum; swap them")
    if amount is not None and not minimum <= amount <= maximum:
        raise ValueError(
            f"amount {amount} is not between minimum {minimum} and maximum {maximum}; send either it or the two bounds"
        )


class PaymentLinkIn(Body):
    """POST /v1/payment_links"""

    name: MerchantsName
    description: Text
    amount: GivenAmount = Field(default=None, description="minor units; left out: the payer says how much")
    minimum: Amount = 1
    maximum: Amount = MAX_AMOUNT
    currency: CurrencyCode
    expires_at: Moment | None = None
    max_uses: Uses | None = None
    split: Annotated[tuple[ShareIn, ...], Field(max_length=50)] = ()
    metadata: Annotated[dict[MetadataKey, MetadataValue], Field(max_length=50)] | None = None
    return_url: Address | None = None

    @model_validator(mode="after")
    def _checked(self) -> "PaymentLinkIn":
        _bounds(self.amount, self.minimum, self.maximum)
        if len({share.payee for share in self.split}) != len(self.split):
            raise ValueError("a payee may stand in a split once")
        return self


class MerchantQrIn(Body):
    """POST /v1/merchant_qrs"""

    name: MerchantsName
    description: Text
    minimum: Amount = 1
    maximum: Amount = MAX_AMOUNT
    currency: CurrencyCode
    split: Annotated[tuple[ShareIn, ...], Field(max_length=50)] = ()
    metadata: Annotated[dict[MetadataKey, MetadataValue], Field(max_length=50)] | None = None
    return_url: Address | None = None

    @model_validator(mode="after")
    def _checked(self) -> "MerchantQrIn":
        _bounds(None, self.minimum, self.maximum)
        if len({share.payee for share in self.split}) != len(self.split):
            raise ValueError("a payee may stand in a split once")
        return self


class PaymentLinkChange(Body):
    """PATCH /v1/payment_links/{id}"""

    active: Annotated[bool, Field(strict=True)] | None = None
    name: MerchantsName | None = None
    description: Text | None = None
    expires_at: Moment | None = None
    max_uses: Uses | None = None


class MerchantQrChange(Body):
    """PATCH /v1/merchant_qrs/{id}"""

    active: Annotated[bool, Field(strict=True)] | None = None
    name: MerchantsName | None = None
    description: Text | None = None


class RefundIn(Body):
    """POST /v1/payments/{id}/refunds"""

    amount: GivenAmount = Field(default=None, description="minor units; left out: all that is left")
    reason: Annotated[str, StringConstraints(min_length=1, max_length=80), AfterValidator(_shown)] = "requested"
    merchant_refund_id: OrderId | None = None


class CaptureIn(Body):
    """POST /v1/payments/{id}/capture"""

    amount: GivenAmount = Field(default=None, description="minor units; left out: all that is reserved")


class RetryIn(Body):
    """POST /v1/refunds/{id}/retry"""


class PayeeIn(Body):
    """POST /v1/payees"""

    name: Text
    kind: Literal["supplier", "merchant"] = "supplier"
    currency: CurrencyCode
    bank: Annotated[str, _form(r"[a-z0-9]{2,10}", "the name of a bank link: 2 to 10 of a-z 0-9")] | None = None
    reference: OrderId = Field(description="your own number of the payee; the same again returns the same payee")


AccountName = Annotated[str, _form(r"[0-9A-Za-z_\-]{1,32}", "1 to 32 of the characters 0-9 A-Z a-z _ -")]
RailName = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Settings = Annotated[
    dict[Annotated[str, _form(r"[a-z0-9_]{1,40}", "names of settings: 1 to 40 of a-z 0-9 _")], Any],
    Field(min_length=1, max_length=50),
]
Position = Annotated[int, Field(ge=0, le=10_000, strict=True)]


class ChannelAccountIn(Body):
    """POST /v1/channel_accounts"""

    id: AccountName
    channel: RailName
    credentials: Settings = Field(repr=False)
    terms: dict[str, Any]  # to be said, even where it is nothing: what the rail charges is nobody's to guess
    position: Position | None = None


class ChannelAccountChange(Body):
    """PATCH /v1/channel_accounts/{id}"""

    version: Annotated[int, Field(ge=1, le=2**31 - 1, strict=True)]
    terms: dict[str, Any] | None = None
    position: Position | None = None
    state: Literal["enabled", "draining", "off"] | None = None


class RotateIn(Body):
    """POST /v1/channel_accounts/{id}/rotate"""

    credentials: Settings = Field(repr=False)
    keep_days: Annotated[int, Field(ge=0, le=365, strict=True)] = 30
    unproven: Annotated[bool, Field(strict=True)] = False


class RoutingPolicyIn(Body):
    """PUT /v1/routing_policy"""

    version: Annotated[int, Field(ge=0, le=2**31 - 2, strict=True)]
    policy: dict[str, Any]
    note: Annotated[str, StringConstraints(min_length=1, max_length=500), AfterValidator(_shown)]


class NothingIn(Body):
    """A body that says nothing."""


def metadata_text(metadata: dict[str, str] | None) -> str | None:
    """Return metadata as the JSON it is stored as; None for none."""
    return orjson.dumps(metadata, option=orjson.OPT_SORT_KEYS).decode() if metadata else None


def moment(text: str) -> datetime:
    """Read an RFC 3339 moment with its offset and return it in UTC. Raises ValueError."""
    if not _RFC3339.fullmatch(text):
        lost = " In an address the + of an offset is written %2B." if _LOST_PLUS.search(text) else ""
        raise ValueError(f"send a time with its offset as RFC 3339 writes it, such as 2026-11-24T08:30:00Z.{lost}")
    try:
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except ValueError:
        raise ValueError("there is no such day or time; send one such as 2026-11-24T08:30:00Z") from None
    except OverflowError:
        raise ValueError("that is beyond the calendar") from None


class _GivenTwice(Exception):
    pass


def _once(pairs: list[tuple[str, Any]]) -> None:
    names: set[str] = set()
    for name, _ in pairs:
        if name in names:
            raise _GivenTwice(name)
        names.add(name)


_NAMES = json.JSONDecoder(object_pairs_hook=_once)


def name_given_twice(raw: bytes) -> str | None:
    """Return a name that stands twice in one object of this JSON, None where none does.

    raw: JSON that a model has accepted. Its reader keeps the last of two and says nothing; another reader keeps the
    first, and then two systems have seen two orders. Costs 2 to 5 µs on a payment's body.
    """
    try:
        _NAMES.decode(raw.decode())
    except _GivenTwice as twice:
        return str(twice)
    return None
