"""The terms 签约条款 of a channel account: what it costs, what it takes and when it is open. Pure.

They are data of the account, one JSON object; an object without a field means that this field sets no bound. Amounts
are minor units of whatever currency is paid: an account whose currencies differ in fees or limits is added once for
each of them (`currencies`). Days, months and opening hours are Beijing's.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, date, datetime
from itertools import pairwise
from typing import Any, NamedTuple, TypeVar

import orjson

from channels.contract import Capabilities, Method, RefundFee
from kernel.clock import BEIJING, business_date, rfc3339
from kernel.money import MAX_MINOR, Money, is_currency, proportion
from kernel.safe_json import BadJson, loads

T = TypeVar("T")


class TermsWrong(ValueError):
    """Terms that cannot be understood; `param` is the path of the field, e.g. fees.tiers.1.basis_points."""

    def __init__(self, param: str, why: str) -> None:
        super().__init__(f"{param}: {why}" if param else why)
        self.param = param


class Used(NamedTuple):
    """What an account has taken, in one currency: payments captured, by Beijing's day and month."""

    day_minor: int = 0
    day_count: int = 0
    month_minor: int = 0


NOTHING_USED = Used()


class WhyNot(NamedTuple):
    """Why an account does not take a payment: a stable code, and words for people."""

    code: str
    words: str

    def __str__(self) -> str:
        return f"{self.code}: {self.words}"


class Tier(NamedTuple):
    """From this much volume in the month on, this rate."""

    from_volume_minor: int
    basis_points: int


@dataclass(frozen=True, slots=True)
class FeeSchedule:
    """What the rail keeps 手续费 of each payment."""

    basis_points: int = 0  # of the amount
    fixed_minor: int = 0  # on top, per payment
    minimum_minor: int = 0  # per payment
    cap_minor: int | None = None  # 封顶: per payment
    tiers: Sequence[Tier] = ()  # by the month's volume of this account and currency, in rising order
    free_quota_minor: int = 0  # 免费额度: volume of the month without any fee
    refund_fee: RefundFee | None = None  # whether refunds bring the fee back; None: as is usual for the rail

    def rate_bp(self, month_volume_minor: int) -> int:
        """Return the rate for a payment made when the month's volume stands there: the whole payment pays it."""
        rate = self.basis_points
        for tier in self.tiers:
            if month_volume_minor < tier.from_volume_minor:
                break
            rate = tier.basis_points
        return rate

    def keeps_on_refund(self, rail: Capabilities) -> bool:
        """Tell whether the fee stays with the rail when the payment is given back."""
        return (self.refund_fee or rail.refund_fee) is RefundFee.KEPT

    def fee_minor(self, amount_minor: int, month_volume_minor: int = 0) -> int:
        """Return the fee of a payment, in minor units, 0 to amount_minor; shares round half up.

        month_volume_minor: what the account captured this month before it. A payment that crosses the free quota pays
        for what lies beyond it; one that lies inside pays nothing, not even the fixed part.
        """
        charged = amount_minor
        if self.free_quota_minor > month_volume_minor:
            charged = amount_minor - (self.free_quota_minor - month_volume_minor)
            if charged <= 0:
                return 0
        fee = proportion(charged, self.rate_bp(month_volume_minor), 10_000) + self.fixed_minor
        fee = max(fee, self.minimum_minor)
        if self.cap_minor is not None:
            fee = min(fee, self.cap_minor)
        return min(fee, amount_minor)


@dataclass(frozen=True, slots=True)
class Limits:
    """What the rail takes 限额; None sets no bound."""

    minimum_minor: int | None = None  # per payment
    maximum_minor: int | None = None  # 单笔
    day_minor: int | None = None  # 单日
    month_minor: int | None = None  # 单月
    day_count: int | None = None  # payments a day


class Maintenance(NamedTuple):
    """An announced closing 停机维护: not open from `begins_at` until just before `ends_at`."""

    begins_at: datetime
    ends_at: datetime
    note: str


class _Open(NamedTuple):
    """Opening hours of one weekday: minutes after midnight, the second one not included."""

    weekday: int  # Monday is 0
    from_minute: int
    until_minute: int


@dataclass(frozen=True, slots=True)
class Terms:
    """The terms of one channel account. Empty sequences set no bound."""

    fees: FeeSchedule = field(default_factory=FeeSchedule)
    limits: Limits = field(default_factory=Limits)
    methods: Sequence[Method] = ()  # of those the rail has
    currencies: Sequence[str] = ()
    windows: Sequence[str] = ()  # weekly opening hours, Beijing: "mon-fri 08:00-22:00"; over midnight is meant so
    maintenance: Sequence[Maintenance] = ()
    regions: Sequence[str] = ()  # where payers may be, ISO 3166-1 alpha-2
    share_basis_points: int | None = (
        None  # 最大分账比例: the most of a payment that the rail shares out; None: the rail's
    )
    _hours: Sequence[_Open] = field(default=(), repr=False, compare=False)  # the windows, read
    _unbounded: bool = field(default=True, repr=False, compare=False)  # nothing is ever refused; as good as always

    def __post_init__(self) -> None:
        object.__setattr__(self, "_hours", tuple(one for text in self.windows for one in _window("windows", text)))
        bounds = (self.methods, self.currencies, self.windows, self.maintenance, self.regions)
        object.__setattr__(self, "_unbounded", not any(bounds) and self.limits == Limits())

    @classmethod
    def parse(cls, text: str | bytes) -> "Terms":
        """Read terms as they are stored or sent. Raises TermsWrong for anything that is not exactly terms."""
        try:
            value = loads(text.encode() if isinstance(text, str) else text)
        except BadJson as error:
            raise TermsWrong("", f"terms are one JSON object: {error}") from None
        return cls.of(value)

    @classmethod
    def of(cls, value: object) -> "Terms":
        """Read terms from a JSON object read already. Raises TermsWrong."""
        given = _Fields("", value)
        terms = cls(
            fees=given.take("fees", _fees, FeeSchedule()),
            limits=given.take("limits", _limits, Limits()),
            methods=given.take("methods", _each(_method), ()),
            currencies=given.take("currencies", _each(_currency), ()),
            windows=given.take("windows", _each(_window_text), ()),
            maintenance=given.take("maintenance", _each(_maintenance), ()),
            regions=given.take("regions", _each(_region), ()),
            share_basis_points=given.take("share_basis_points", _rate, None),
        )
        given.end()
        return terms

    def as_object(self) -> dict[str, Any]:
        """Return the terms as a JSON object, without what they leave open."""
        plain: dict[str, Any] = {
            "fees": _said(self.fees, FeeSchedule()),
            "limits": _said(self.limits, Limits()),
            "methods": [method.value for method in self.methods],
            "currencies": list(self.currencies),
            "windows": list(self.windows),
            "maintenance": [
                {"from": rfc3339(m.begins_at), "until": rfc3339(m.ends_at), "note": m.note} for m in self.maintenance
            ],
            "regions": list(self.regions),
            "share_basis_points": self.share_basis_points,
        }
        return {name: value for name, value in plain.items() if value or value == 0}

    def to_json(self) -> str:
        """Write the terms; equal terms are written alike."""
        return orjson.dumps(self.as_object(), option=orjson.OPT_SORT_KEYS).decode()

    def check_rail(self, rail: Capabilities) -> None:
        """Raises TermsWrong where the terms name a method or a currency that the rail does not have."""
        for param, named, had in (
            ("methods", self.methods, rail.methods),
            ("currencies", self.currencies, rail.currencies),
        ):
            beyond = [str(one) for one in named if one not in had]
            if beyond:
                raise TermsWrong(
                    param, f"the rail has no {', '.join(beyond)}; it has {', '.join(sorted(map(str, had)))}"
                )

    @property
    def needs_usage(self) -> bool:
        """Tell whether a fee or a limit depends on what the account has taken this day or month."""
        fees, limits = self.fees, self.limits
        bounded = (limits.day_minor, limits.month_minor, limits.day_count) != (None, None, None)
        return bounded or bool(fees.tiers) or fees.free_quota_minor > 0

    def why_not(
        self, amount: Money, method: Method, now: datetime, used: Used = NOTHING_USED, *, region: str | None = None
    ) -> WhyNot | None:
        """Return why the account does not take such a payment, None where it does.

        used: what it has taken this day and month in the amount's currency. region: of the payer, None where unknown:
        then `regions` refuses nobody. The codes: method_not_agreed, currency_not_agreed, below_minimum, above_maximum,
        day_limit, day_count, month_limit, region, closed, maintenance.
        """
        if self._unbounded:
            return None
        if self.methods and method not in self.methods:
            return WhyNot("method_not_agreed", f"takes {', '.join(self.methods)}, not {method}")
        if self.currencies and amount.currency not in self.currencies:
            return WhyNot("currency_not_agreed", f"takes {', '.join(self.currencies)}, not {amount.currency}")
        limits = self.limits
        if limits != _NO_LIMITS and (over := _over(limits, amount, used)) is not None:
            return over
        if self.regions and region is not None and region not in self.regions:
            return WhyNot("region", f"takes payers from {', '.join(self.regions)}, not {region}")
        if self._hours and not self._within_hours(now):
            return WhyNot("closed", f"open {', '.join(self.windows)} (Beijing)")
        if self.maintenance and (closing := self._maintenance_at(now)) is not None:
            return WhyNot("maintenance", f"closed until {rfc3339(closing.ends_at)}: {closing.note or 'maintenance'}")
        return None

    def _within_hours(self, now: datetime) -> bool:
        if not self._hours:
            return True
        here = now.astimezone(BEIJING)
        weekday, minute = here.weekday(), here.hour * 60 + here.minute
        return any(o.weekday == weekday and o.from_minute <= minute < o.until_minute for o in self._hours)

    def _maintenance_at(self, now: datetime) -> Maintenance | None:
        return next((m for m in self.maintenance if m.begins_at <= now < m.ends_at), None)


def month_of(moment: datetime) -> date:
    """Return the first day of the month a moment lies in, Beijing's: what monthly tiers, quotas and limits go by."""
    return business_date(moment).replace(day=1)


def flat(basis_points: int) -> Terms:
    """Return terms that say nothing but a rate."""
    return Terms(fees=FeeSchedule(basis_points=basis_points))


OPEN = Terms()  # terms that say nothing: no fee, no bound
_NO_LIMITS = Limits()


def _over(limits: Limits, amount: Money, used: Used) -> WhyNot | None:
    """Return which limit a payment would break."""
    minor, currency = amount.minor, amount.currency
    if limits.minimum_minor is not None and minor < limits.minimum_minor:
        return WhyNot("below_minimum", f"takes {Money(limits.minimum_minor, currency)} and more")
    if limits.maximum_minor is not None and minor > limits.maximum_minor:
        return WhyNot("above_maximum", f"takes at most {Money(limits.maximum_minor, currency)} a payment")
    for code, limit, so_far, unit in (
        ("day_limit", limits.day_minor, used.day_minor, "a day"),
        ("month_limit", limits.month_minor, used.month_minor, "a month"),
    ):
        if limit is not None and so_far + minor > limit:
            taken = f"{Money(so_far, currency)} of {Money(limit, currency)} {unit} are taken"
            return WhyNot(code, taken)
    if limits.day_count is not None and used.day_count >= limits.day_count:
        return WhyNot("day_count", f"all {limits.day_count} payments of the day are taken")
    return None


# ---- reading ---------------------------------------------------------------------------------------------------------


class _Fields:
    """The fields of one JSON object, each taken once; what is left over is refused."""

    def __init__(self, path: str, value: object) -> None:
        if not isinstance(value, Mapping):
            raise TermsWrong(path, "must be an object")
        self._path = path
        self._left = dict(value)
        self._known: list[str] = []

    def take(self, name: str, read: Callable[[str, Any], T], default: T) -> T:
        """Return a field read by `read(path, value)`, the default where it is left out or null."""
        self._known.append(name)
        value = self._left.pop(name, None)
        return default if value is None else read(self.path(name), value)

    def need(self, name: str, read: Callable[[str, Any], T]) -> T:
        self._known.append(name)
        if self._left.get(name) is None:
            raise TermsWrong(self.path(name), "is needed")
        return read(self.path(name), self._left.pop(name))

    def path(self, name: str) -> str:
        return f"{self._path}.{name}" if self._path else name

    def end(self) -> None:
        """Raises TermsWrong for a field nobody took."""
        for name in self._left:
            raise TermsWrong(self.path(str(name)[:40]), f"there is no such field; there are {', '.join(self._known)}")


def _whole(least: int, most: int) -> Callable[[str, Any], int]:
    def read(path: str, value: Any) -> int:
        if type(value) is not int or not least <= value <= most:
            raise TermsWrong(path, f"must be a whole number from {least} to {most}")
        return value

    return read


_minor = _whole(0, MAX_MINOR)
_positive_minor = _whole(1, MAX_MINOR)
_rate = _whole(0, 10_000)


def _each(read: Callable[[str, Any], T]) -> Callable[[str, Any], Sequence[T]]:
    def read_all(path: str, value: Any) -> Sequence[T]:
        if not isinstance(value, Sequence) or isinstance(value, str | bytes):
            raise TermsWrong(path, "must be a list")
        if len(value) > 100:
            raise TermsWrong(path, "may have 100 entries")
        found = tuple(read(f"{path}.{n}", one) for n, one in enumerate(value))
        for n, one in enumerate(found):
            if one in found[:n]:
                raise TermsWrong(f"{path}.{n}", "stands twice")
        return found

    return read_all


def _text(path: str, value: Any) -> str:
    if not isinstance(value, str) or len(value) > 200 or not value.isprintable():
        raise TermsWrong(path, "must be printable text of at most 200 characters")
    return value


def _fees(path: str, value: Any) -> FeeSchedule:
    given = _Fields(path, value)
    fees = FeeSchedule(
        basis_points=given.take("basis_points", _rate, 0),
        fixed_minor=given.take("fixed_minor", _minor, 0),
        minimum_minor=given.take("minimum_minor", _minor, 0),
        cap_minor=given.take("cap_minor", _minor, None),
        tiers=given.take("tiers", _each(_tier), ()),
        free_quota_minor=given.take("free_quota_minor", _minor, 0),
        refund_fee=given.take("refund_fee", _refund_fee, None),
    )
    given.end()
    if fees.cap_minor is not None and fees.cap_minor < fees.minimum_minor:
        raise TermsWrong(given.path("cap_minor"), f"is below minimum_minor, {fees.minimum_minor}")
    for n, (before, after) in enumerate(pairwise(fees.tiers), 1):
        if after.from_volume_minor <= before.from_volume_minor:
            raise TermsWrong(f"{path}.tiers.{n}.from_volume_minor", "tiers stand in rising order of volume")
    return fees


def _refund_fee(path: str, value: Any) -> RefundFee:
    try:
        return RefundFee(value)
    except ValueError:
        raise TermsWrong(path, f"is none of {', '.join(RefundFee)}") from None


def _tier(path: str, value: Any) -> Tier:
    given = _Fields(path, value)
    tier = Tier(given.need("from_volume_minor", _minor), given.need("basis_points", _rate))
    given.end()
    return tier


def _limits(path: str, value: Any) -> Limits:
    given = _Fields(path, value)
    limits = Limits(
        minimum_minor=given.take("minimum_minor", _positive_minor, None),
        maximum_minor=given.take("maximum_minor", _positive_minor, None),
        day_minor=given.take("day_minor", _minor, None),
        month_minor=given.take("month_minor", _minor, None),
        day_count=given.take("day_count", _minor, None),
    )
    given.end()
    if None not in (limits.minimum_minor, limits.maximum_minor) and limits.maximum_minor < limits.minimum_minor:  # type: ignore[operator]
        raise TermsWrong(given.path("maximum_minor"), f"is below minimum_minor, {limits.minimum_minor}")
    return limits


def _method(path: str, value: Any) -> Method:
    try:
        return Method(value)
    except ValueError:
        raise TermsWrong(path, f"is none of {', '.join(Method)}") from None


def _currency(path: str, value: Any) -> str:
    if not isinstance(value, str) or not is_currency(value):
        raise TermsWrong(path, "is not an ISO 4217 currency")
    return value


def _region(path: str, value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Z]{2}", value):
        raise TermsWrong(path, "is not two capital letters of ISO 3166-1, such as CN")
    return value


def _maintenance(path: str, value: Any) -> Maintenance:
    given = _Fields(path, value)
    closing = Maintenance(given.need("from", _moment), given.need("until", _moment), given.take("note", _text, ""))
    given.end()
    if closing.ends_at <= closing.begins_at:
        raise TermsWrong(given.path("until"), "must be later than from")
    return closing


def _moment(path: str, value: Any) -> datetime:
    try:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            raise ValueError
        return moment.astimezone(UTC)
    except (ValueError, TypeError, OverflowError):
        raise TermsWrong(path, "must be a moment with its offset, e.g. 2026-11-24T02:00:00+08:00") from None


_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WINDOW = re.compile(r"([a-z,-]+) (\d\d):(\d\d)-(\d\d):(\d\d)", re.ASCII)


def _window_text(path: str, value: Any) -> str:
    if not isinstance(value, str):
        raise TermsWrong(path, "must be text such as 'mon-fri 08:00-22:00'")
    _window(path, value)
    return value


def _window(path: str, text: str) -> Iterable[_Open]:
    """Return the opening hours a window stands for; one over midnight is two. Raises TermsWrong."""
    found = _WINDOW.fullmatch(text)
    if found is None:
        raise TermsWrong(path, f"{text[:60]!r} is not like 'mon-fri 08:00-22:00' or 'sat,sun 10:00-24:00'")
    hour, minute, until_hour, until_minute = map(int, found.groups()[1:])
    begins, ends = hour * 60 + minute, until_hour * 60 + until_minute
    if minute > 59 or until_minute > 59 or begins >= 1440 or ends > 1440 or begins == ends:
        raise TermsWrong(path, f"{text!r}: hours run from 00:00 to 24:00, and a window has a length")
    hours = []
    for day in _days(path, found[1]):
        hours.append(_Open(day, begins, ends if ends > begins else 1440))
        if 0 < ends < begins:
            hours.append(_Open((day + 1) % 7, 0, ends))
    return hours


def _days(path: str, text: str) -> list[int]:
    """Return weekdays: 'mon-fri', 'sat-mon' (over the week's end), 'mon,wed,fri'."""
    days: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        if first not in _DAYS or (last or first) not in _DAYS or part.endswith("-"):
            raise TermsWrong(path, f"{part!r} is no weekday; they are {', '.join(_DAYS)}")
        start, length = _DAYS.index(first), (_DAYS.index(last or first) - _DAYS.index(first)) % 7 + 1
        days += [(start + n) % 7 for n in range(length)]
    return days


def _said(value: Any, default: Any) -> dict[str, Any]:
    """Return the fields of a part of the terms that say something, as JSON has them."""
    said = {}
    for one in fields(value):
        found = getattr(value, one.name)
        if found != getattr(default, one.name):
            said[one.name] = [tier._asdict() for tier in found] if one.name == "tiers" else found
    return said
