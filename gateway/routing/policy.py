"""A merchant's routing policy 路由策略: rules in order, the worth of a sale, how much may be tried out. Pure.

A policy is one JSON object, kept in numbered versions. `Policy.parse` reads it strictly: what is not understood is
refused, never ignored. Amounts are minor units of the currency named beside them; times of day are Beijing's.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator, model_validator

from channels.contract import Method
from kernel.clock import BEIJING
from kernel.money import MAX_MINOR, is_currency
from kernel.safe_json import BadJson, loads
from kernel.shapes import Currency, FormOf
from kernel.words import in_words

DEFAULT_MARGIN_BP = 200
DEFAULT_EXPLORE_BP = 2_000


class PolicyWrong(ValueError):
    """A policy that cannot be understood; `param` is the path of the field, e.g. rules.1.then.pin."""

    def __init__(self, param: str, why: str) -> None:
        super().__init__(f"{param}: {why}" if param else why)
        self.param = param


class Target(NamedTuple):
    """Whom a rule names: one account, or every account of a rail ("channel:wechat")."""

    account: str | None
    channel: str | None

    def names(self, account_id: str, channel: str) -> bool:
        return self.account == account_id if self.account is not None else self.channel == channel

    def __str__(self) -> str:
        return self.account if self.account is not None else f"channel:{self.channel}"


def _target(text: str) -> Target:
    head, colon, rest = text.partition(":")
    return Target(None, rest) if colon and head == "channel" else Target(text, None)


# ---- the JSON --------------------------------------------------------------------------------------------------------

_Name = Annotated[str, StringConstraints(pattern=r"^(channel:[a-z][a-z0-9_]{0,31}|[0-9A-Za-z][0-9A-Za-z_.-]{0,63})$")]
_Text = Annotated[str, StringConstraints(min_length=1, max_length=500)]
_Minor = Annotated[int, Field(ge=0, le=MAX_MINOR, strict=True)]
_Currency = Annotated[str, FormOf(Currency)]  # checked below, with words of its own
_CLOCK = r"^([01]\d|2[0-3]):[0-5]\d-(([01]\d|2[0-3]):[0-5]\d|24:00)$"
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AmountRangeIn(_Strict):
    """Amounts: `from` included, `below` not."""

    from_: _Minor | None = Field(default=None, alias="from", description="included")
    below: _Minor | None = Field(default=None, description="not included")

    @model_validator(mode="after")
    def _some(self) -> "AmountRangeIn":
        if self.from_ is None and self.below is None:
            raise ValueError("give from, below or both")
        if self.from_ is not None and self.below is not None and self.below <= self.from_:
            raise ValueError("below must be above from")
        return self


class AnyOfIn(_Strict):
    """One of these texts."""

    in_: Annotated[tuple[_Text, ...], Field(alias="in", min_length=1, max_length=200, description="these texts")]


class RoutingWhenIn(_Strict):
    """All that is given must hold; what is left out always holds."""

    amount: AmountRangeIn | None = Field(default=None, description="needs a `currency`")
    currency: Annotated[tuple[_Currency, ...], Field(min_length=1, max_length=50)] | None = Field(
        default=None, description="one of these"
    )
    method: Annotated[tuple[Method, ...], Field(min_length=1)] | None = Field(
        default=None, description="one of these ways to pay"
    )
    payer_region: (
        Annotated[
            tuple[Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")], ...], Field(min_length=1, max_length=300)
        ]
        | None
    ) = Field(default=None, description="the payer is in one of these, ISO 3166-1")
    metadata: Annotated[dict[_Text, _Text | AnyOfIn], Field(min_length=1, max_length=20)] | None = Field(
        default=None, description="the payment's metadata has each of these names, with this text or one of these"
    )
    time: Annotated[str, StringConstraints(pattern=_CLOCK)] | None = Field(
        default=None, description="of the day in Beijing, such as `09:00-17:00`; may run over midnight"
    )
    weekday: (
        Annotated[tuple[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"], ...], Field(min_length=1)] | None
    ) = Field(default=None, description="one of these, in Beijing")

    @field_validator("currency")
    @classmethod
    def _known(cls, codes: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for code in codes or ():
            if not is_currency(code):
                raise ValueError(f"{code[:8]!r} is not an ISO 4217 currency")
        return codes

    @model_validator(mode="after")
    def _amount_of_something(self) -> "RoutingWhenIn":
        if self.amount is not None and self.currency is None:
            raise ValueError("an amount means nothing without its currency: give currency too")
        if self.time is not None and self.time[:5] == self.time[6:]:
            raise ValueError("a window of time has a length")
        return self


class RoutingThenIn(_Strict):
    """Exactly one of these."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "maxProperties": 1})

    pin: _Name | None = Field(default=None, description="only this account, or rail (`channel:wechat`); ends the rules")
    only: Annotated[tuple[_Name, ...], Field(min_length=1, max_length=100)] | None = Field(
        default=None, description="none but these"
    )
    exclude: Annotated[tuple[_Name, ...], Field(min_length=1, max_length=100)] | None = Field(
        default=None, description="none of these"
    )
    prefer: (
        Annotated[dict[_Name, Annotated[int, Field(ge=1, le=10_000, strict=True)]], Field(min_length=1, max_length=100)]
        | None
    ) = Field(default=None, description="puts a healthy one of these first, drawn by weight; ends the rules")

    @model_validator(mode="after")
    def _one(self) -> "RoutingThenIn":
        if sum(value is not None for value in (self.pin, self.only, self.exclude, self.prefer)) != 1:
            raise ValueError("give exactly one of pin, only, exclude and prefer")
        return self


class RoutingRuleIn(_Strict):
    """What becomes of the payments that it fits."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=80)] | None = Field(
        default=None, description="for people, and in explanations"
    )
    when: RoutingWhenIn = Field(default=RoutingWhenIn(), description="left out: always")
    then: RoutingThenIn


class RoutingExploreIn(_Strict):
    """How much may be tried out."""

    fraction_bp: Annotated[int, Field(ge=0, le=10_000, strict=True)] = Field(
        default=DEFAULT_EXPLORE_BP, description="of the payments that may be tried out, basis points"
    )
    up_to_minor: Annotated[dict[_Currency, _Minor], Field(max_length=50)] = Field(
        default_factory=lambda: dict(DEFAULT_UP_TO_MINOR), description="by currency: no larger ones are tried out"
    )

    @field_validator("up_to_minor")
    @classmethod
    def _known(cls, caps: dict[str, int]) -> dict[str, int]:
        for code in caps:
            if not is_currency(code):
                raise ValueError(f"{code[:8]!r} is not an ISO 4217 currency")
        return caps


class PolicyIn(_Strict):
    """A routing policy 路由策略."""

    margin_bp: Annotated[int, Field(ge=1, le=10_000, strict=True)] = Field(
        default=DEFAULT_MARGIN_BP, description="what you earn on a sale, basis points of its amount"
    )
    explore: RoutingExploreIn = Field(default_factory=RoutingExploreIn)
    rules: Annotated[tuple[RoutingRuleIn, ...], Field(max_length=200)] = Field(default=(), description="in order")


DEFAULT_UP_TO_MINOR: Mapping[str, int] = {"CNY": 20_000}


# ---- what routing works with -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Facts:
    """What the rules look at in a payment."""

    method: Method
    currency: str
    amount_minor: int
    now: datetime
    region: str | None
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class RoutingRule:
    """One rule, read."""

    name: str
    action: str  # pin | only | exclude | prefer
    targets: Sequence[Target]
    weights: Sequence[int]  # of prefer, in the order of targets
    from_minor: int = 0
    below_minor: int = MAX_MINOR * 10
    currencies: frozenset[str] | None = None
    methods: frozenset[Method] | None = None
    regions: frozenset[str] | None = None
    metadata: Sequence[tuple[str, frozenset[str]]] = ()
    minutes: tuple[int, int] | None = None
    weekdays: frozenset[int] | None = None

    def holds(self, facts: Facts) -> bool:
        """Tell whether the rule is for such a payment. A region nobody knows is in none."""
        if self.methods is not None and facts.method not in self.methods:
            return False
        if self.currencies is not None and facts.currency not in self.currencies:
            return False
        if not self.from_minor <= facts.amount_minor < self.below_minor:
            return False
        if self.regions is not None and facts.region not in self.regions:
            return False
        if any(facts.metadata.get(key) not in values for key, values in self.metadata):
            return False
        return (self.minutes is None and self.weekdays is None) or self._at(facts.now)

    def _at(self, now: datetime) -> bool:
        """Tell whether the rule holds at this time; a window over midnight belongs to the day on which it begins."""
        here = now.astimezone(BEIJING)
        day, minute = here.weekday(), here.hour * 60 + here.minute
        if self.minutes is not None:
            begins, ends = self.minutes
            if begins < ends:
                if not begins <= minute < ends:
                    return False
            elif minute < ends:
                day = (day - 1) % 7
            elif minute < begins:
                return False
        return self.weekdays is None or day in self.weekdays

    def names(self, account_id: str, channel: str) -> bool:
        return any(target.names(account_id, channel) for target in self.targets)


@dataclass(frozen=True, slots=True)
class Policy:
    """One version of a merchant's policy. Version 0: nobody has set one."""

    version: int = 0
    margin_bp: int = DEFAULT_MARGIN_BP  # what the merchant earns on a sale, of the amount
    explore_bp: int = DEFAULT_EXPLORE_BP  # of payments that may be used to try accounts out
    up_to_minor: Mapping[str, int] = field(
        default_factory=lambda: DEFAULT_UP_TO_MINOR
    )  # and the largest of them, by currency; others: none
    rules: Sequence[RoutingRule] = ()

    @classmethod
    def parse(cls, text: str | bytes, version: int = 0) -> "Policy":
        """Read a policy from JSON. Raises PolicyWrong for anything that is not exactly a policy."""
        try:
            value = loads(text.encode() if isinstance(text, str) else text)
        except BadJson as error:
            raise PolicyWrong("", f"a policy is one JSON object: {error}") from None
        return cls.of(value, version)

    @classmethod
    def of(cls, value: object, version: int = 0) -> "Policy":
        """Read a policy from a JSON object read already. Raises PolicyWrong."""
        try:
            given = PolicyIn.model_validate(value)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            param = ".".join(str(part) for part in first["loc"] if not str(part).startswith("function-"))
            raise PolicyWrong(param, in_words(first)) from None
        rules = tuple(_rule(rule, number) for number, rule in enumerate(given.rules, 1))
        return cls(version, given.margin_bp, given.explore.fraction_bp, dict(given.explore.up_to_minor), rules)

    def small(self, currency: str, amount_minor: int) -> bool:
        """Tell whether a payment is small enough to be used for trying accounts out."""
        return amount_minor <= self.up_to_minor.get(currency, 0)

    def unknown(self, accounts: Mapping[str, str]) -> Iterator[tuple[str, str]]:
        """Yield (rule, target) of every name that is none of these accounts (id → rail), nor a rail of theirs."""
        for rule in self.rules:
            for target in rule.targets:
                if not any(target.names(account, channel) for account, channel in accounts.items()):
                    yield rule.name, str(target)


def _rule(given: RoutingRuleIn, number: int) -> RoutingRule:
    when, then = given.when, given.then
    if then.prefer is not None:
        action, names, weights = "prefer", list(then.prefer), list(then.prefer.values())
    elif then.pin is not None:
        action, names, weights = "pin", [then.pin], []
    elif then.only is not None:
        action, names, weights = "only", list(then.only), []
    else:
        action, names, weights = "exclude", list(then.exclude or ()), []
    span = when.amount
    return RoutingRule(
        name=given.name or f"rule {number}",
        action=action,
        targets=tuple(map(_target, names)),
        weights=tuple(weights),
        from_minor=(span.from_ or 0) if span else 0,
        below_minor=span.below if span and span.below is not None else MAX_MINOR * 10,
        currencies=_set(when.currency),
        methods=_set(when.method),
        regions=_set(when.payer_region),
        metadata=tuple(
            (key, frozenset([value]) if isinstance(value, str) else frozenset(value.in_))
            for key, value in (when.metadata or {}).items()
        ),
        minutes=_minutes(when.time) if when.time else None,
        weekdays=frozenset(map(WEEKDAYS.index, when.weekday)) if when.weekday else None,
    )


def _set(values: Sequence[Any] | None) -> frozenset[Any] | None:
    return None if values is None else frozenset(values)


def _minutes(text: str) -> tuple[int, int]:
    begins, ends = (int(part[:2]) * 60 + int(part[3:]) for part in text.split("-"))
    return begins, ends


NO_POLICY = Policy()
