"""The JSON form of a split plan, version 1: read strictly, with refusals that name the line.

A plan may be another's version with some lines changed: `resolved` writes such a one out, once, when it is made.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date as Day
from hashlib import sha256
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from channels.contract import Method
from kernel.errors import Rejected
from kernel.shapes import MAX_AMOUNT, Form, PayeeId, Visible
from kernel.words import in_words
from splitting.plans.tree import OWN, Base, Line, Plan, Policy, Release, ShareKind, TakingBack, Tier, When, walk

DEEPEST, MOST_LINES = 16, 1_000
PLAN_ID = r"spl_[0-9a-f]{26}"

LineName = Annotated[
    str, Form(r"[0-9A-Za-z][0-9A-Za-z_.-]{0,39}", "1 to 40 of 0-9 A-Z a-z _ . -, a letter or digit first")
]
ProductLine = Annotated[str, StringConstraints(min_length=1, max_length=64), Visible()]
_Minor = Annotated[int, Field(ge=0, le=MAX_AMOUNT, strict=True)]
_Rate = Annotated[int, Field(ge=0, le=10_000, strict=True)]
_KINDS = tuple(kind.value for kind in ShareKind)


class PlanWrong(Rejected):
    """A plan that cannot be understood; `param` is the path of the field, `line` the name of the line it is in."""

    def __init__(self, param: str, why: str, line: str = "") -> None:
        where = f"line {line!r}: " if line else f"{param}: " if param else ""
        super().__init__("split_plan_wrong", f"{where}{why}", param=param, **({"line": line} if line else {}))

    def under(self, param: str) -> "PlanWrong":
        """Return the same of a plan that stands in a field of a request."""
        inner = self.facts["param"]
        self.facts["param"] = f"{param}.{inner}" if inner else param
        return self


# ---- the JSON --------------------------------------------------------------------------------------------------------


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SplitAmountsIn(_Strict):
    """Amounts: `from` included, `below` not."""

    from_: _Minor = Field(default=0, alias="from", description="minor units, included")
    below: _Minor | None = Field(default=None, description="minor units, not included; left out: no bound")

    @model_validator(mode="after")
    def _some(self) -> "SplitAmountsIn":
        if self.below is not None and self.below <= self.from_:
            raise ValueError("below must be above from")
        return self


class SplitWhenIn(_Strict):
    """All that is given must hold; what is left out always holds."""

    method: Annotated[tuple[Method, ...], Field(min_length=1)] | None = Field(
        default=None, description="it is paid in one of these ways; how a cashier's payer pays is known when it is paid"
    )
    amount: SplitAmountsIn | None = Field(
        default=None, description="of the payment, or of its part that the plan is for"
    )
    product_line: Annotated[tuple[ProductLine, ...], Field(min_length=1, max_length=200)] | None = Field(
        default=None, description="it is of one of these"
    )
    payee: Literal["active", "suspended"] | None = Field(default=None, description="the line's payee is")

    @model_validator(mode="after")
    def _some(self) -> "SplitWhenIn":
        if not self.model_fields_set:
            raise ValueError("give at least one condition, or leave `when` out")
        return self


class SplitTierIn(_Strict):
    """Another value from some volume on."""

    from_: Annotated[int, Field(ge=1, le=10**15, strict=True)] = Field(alias="from", description="volume, minor units")
    value: _Minor = Field(description="in place of the line's amount, basis points or weight")


class SplitReleaseIn(_Strict):
    """When a part of a share can be paid out 放款."""

    basis_points: Annotated[int, Field(ge=1, le=10_000, strict=True)] = Field(
        default=10_000, description="of the share; all parts together are 10000"
    )
    when: Literal["payment", "delivery", "date"] = Field(
        default="payment", description="`payment`: with it, or `days` after; `delivery`: once you confirm it; `date`"
    )
    days: Annotated[int, Field(ge=0, le=3_650, strict=True)] | None = Field(
        default=None, description="after the payment's business date; of a delivery: at the latest then"
    )
    date: Annotated[str, Form(r"\d{4}-\d\d-\d\d", "a date as 2026-12-31")] | None = Field(
        default=None, description="only of `date`: from which on"
    )

    @model_validator(mode="after")
    def _sense(self) -> "SplitReleaseIn":
        if (self.date is not None) != (self.when == "date"):
            raise ValueError("a date goes with when: date, and with nothing else")
        if self.date is not None:
            if self.days is not None:
                raise ValueError("give days or a date, not both")
            Day.fromisoformat(self.date)
        return self


def _sums_up(releases: "tuple[SplitReleaseIn, ...]") -> "tuple[SplitReleaseIn, ...]":
    whole = sum(one.basis_points for one in releases)
    if whole != 10_000:
        raise ValueError(f"the parts of a share are 10000 basis points together, and these are {whole}")
    return releases


_Releases = Annotated[tuple[SplitReleaseIn, ...], Field(min_length=1, max_length=24), AfterValidator(_sums_up)]


class SplitLineIn(_Strict):
    """A line of a split plan; exactly one of amount, basis_points, remainder."""

    name: LineName = Field(description="each once in a plan; overrides, answers and explanations name it")
    payee: PayeeId | None = Field(default=None, description="who gets what the lines under it leave; left out: you")
    amount: _Minor | None = Field(default=None, description="fixed, minor units")
    basis_points: _Rate | None = Field(default=None, description="of what the line above gets, or of the plan's `base`")
    remainder: _Minor | None = Field(default=None, description="weight in what amounts and rates leave")
    minimum: _Minor = Field(default=0, description="at least so much, minor units; not of a fixed amount")
    cap: _Minor | None = Field(default=None, description="at most so much, minor units; not of a fixed amount")
    tiers: Annotated[tuple[SplitTierIn, ...], Field(max_length=20)] = Field(default=(), description="rising by `from`")
    volume_of: Literal["payee", "merchant"] | None = Field(default=None, description="whose volume chooses the tier")
    when: SplitWhenIn | None = Field(default=None, description="left out: always")
    otherwise: Literal["parent", "others"] = Field(
        default="parent",
        description="where a condition does not hold: what it would have got stays with the line above, or it is as if "
        "the line were not there",
    )
    lines: Annotated[tuple["SplitLineIn", ...], Field(max_length=MOST_LINES)] = Field(
        default=(), description="who shares out what this line gets; what they leave is its payee's"
    )

    release: _Releases | None = Field(
        default=None, description="when its payee can be paid what it keeps; left out: as the plan says"
    )
    travels: Literal["bank", "rail"] = Field(
        default="bank",
        description="who pays its payee what it keeps: the payee's bank, by transfer with the settlement, or the rail "
        "that the payment is made on, out of it",
    )

    @model_validator(mode="after")
    def _sense(self) -> "SplitLineIn":
        given = [kind for kind in _KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError("give exactly one of amount, basis_points and remainder")
        if self.amount is not None and (self.minimum or self.cap is not None):
            raise ValueError("a fixed amount has neither minimum nor cap")
        if self.cap is not None and self.minimum > self.cap:
            raise ValueError("minimum is more than cap")
        if bool(self.tiers) != (self.volume_of is not None):
            raise ValueError("give tiers and volume_of together")
        if any(after.from_ <= before.from_ for before, after in zip(self.tiers, self.tiers[1:], strict=False)):
            raise ValueError("tiers rise: each begins above the one before")
        if self.basis_points is not None and any(tier.value > 10_000 for tier in self.tiers):
            raise ValueError("a tier of a rate is at most 10000 basis points")
        if self.payee is None and (self.volume_of == "payee" or (self.when is not None and self.when.payee)):
            raise ValueError("it has no payee whose volume or state could be looked at")
        if self.payee is None and self.release is not None:
            raise ValueError("what is yours is not frozen: a line without a payee has no release")
        if self.payee is None and self.travels == "rail":
            raise ValueError("what is yours is not shared out by a rail: a line that travels by rail has a payee")
        return self


class SplitRefundsIn(_Strict):
    """Whose shares refunds take back first."""

    policy: Policy = Field(
        description="`ratio`: everybody's, in proportion to what is left; `platform_first`; `last_in_first_out`: "
        "yours, then line by line from the last to the first; `payer_first`: those of one line. The others' follow in "
        "proportion"
    )
    payer: LineName | None = Field(
        default=None, description="only with `payer_first`: the name of a line of the plan; left out: you"
    )

    @model_validator(mode="after")
    def _sense(self) -> "SplitRefundsIn":
        if self.payer is not None and self.policy is not Policy.PAYER_FIRST:
            raise ValueError("only payer_first has a payer")
        return self


class SplitExtendsIn(_Strict):
    """The version of a plan that another changes."""

    plan: Annotated[str, Form(PLAN_ID, "the id of a split plan, as POST /v1/split_plans answers it")] = Field(
        description="its id"
    )
    version: Annotated[int, Field(ge=1, le=2**31 - 1, strict=True)] = Field(description="of that plan")


class SplitTreeIn(_Strict):
    """A split plan 分账方案, version 1 of its form."""

    version: Literal[1] = Field(description="of this form")
    base: Annotated[Literal["arriving", "paid", "gross"], Field()] = Field(
        default="arriving",
        description="what rates at the top are of: what arrives (paid less the channel's fee and your own coupons), "
        "what is paid (less your coupons), or all of it",
    )
    refunds: SplitRefundsIn | None = Field(
        default=None, description="whose shares refunds take back first; left out: everybody's, in proportion"
    )
    release: _Releases | None = Field(
        default=None, description="when payees can be paid, of lines that do not say it themselves; left out: at once"
    )
    extends: SplitExtendsIn | None = Field(
        default=None, description="inherit base, refunds, release and lines of another plan's version"
    )
    override: dict[LineName, dict[str, Any] | None] = Field(
        default_factory=dict,
        description="only with `extends`: by name of an inherited line, fields in place of its own (null: without it), "
        "or null in place of the line",
    )
    lines: Annotated[tuple[SplitLineIn, ...], Field(max_length=MOST_LINES)] = Field(
        default=(), description="at the top; with `extends`, besides those inherited"
    )


def read(value: object) -> Plan:
    """Read a plan that extends none. Raises PlanWrong for anything that is not exactly one."""
    given = _checked(value)
    if given.extends is not None or given.override:
        raise PlanWrong(
            "extends", "a plan of one payment extends none: write its lines out, or keep it as a split plan"
        )
    if not given.lines:
        raise PlanWrong("lines", "a plan has at least one line")
    lines = [_line(line, given.release or ()) for line in given.lines]
    return Plan(Base(given.base), lines, _taking_back(given.refunds, lines))


def resolved(value: object, version_of: Callable[[str, int], Mapping[str, Any] | None]) -> dict[str, Any]:
    """Return a plan written out: what it inherits, with its overrides, in the same form without `extends`.

    version_of: returns the written-out form of a plan's version, None where there is none. Raises PlanWrong.
    """
    given = _checked(value)
    assert isinstance(value, Mapping)
    if given.extends is None:
        if given.override:
            raise PlanWrong("override", "there is nothing to override without `extends`")
        found = dict(value)
    else:
        extended = version_of(given.extends.plan, given.extends.version)
        if extended is None:
            raise PlanWrong("extends", f"there is no version {given.extends.version} of a plan {given.extends.plan}")
        names = set(given.override)
        lines = list(_changed(extended["lines"], given.override, names))
        if names:
            raise PlanWrong(f"override.{min(names)}", f"there is no inherited line {min(names)!r} left to change")
        base = value.get("base", extended.get("base", "arriving"))
        found = {"version": 1, "base": base, "lines": [*lines, *value.get("lines", ())]}
        for name in ("refunds", "release"):
            if (said := value.get(name, extended.get(name))) is not None:
                found[name] = said
    read(found)
    return found


def hash_of(document: Mapping[str, Any]) -> bytes:
    """Return the SHA-256 of a written-out plan as canonical JSON: keys sorted, no spaces, UTF-8."""
    text = json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return sha256(text.encode()).digest()


def _changed(
    lines: Sequence[Mapping[str, Any]], override: Mapping[str, Any], unused: set[str]
) -> Iterator[dict[str, Any]]:
    """Yield lines with overrides applied; take the names that were found out of `unused`."""
    for line in lines:
        name, made = line["name"], dict(line)
        if name in override:
            unused.discard(name)
            change = override[name]
            if change is None:
                continue
            if any(kind in change for kind in _KINDS):
                made = {key: value for key, value in made.items() if key not in _KINDS}
            made = {key: value for key, value in {**made, **change}.items() if value is not None}
            if "lines" in change:  # in place of those under it, which nothing is left to change of
                yield made
                continue
        if "lines" in made:
            made["lines"] = list(_changed(made["lines"], override, unused))
        yield made


def _checked(value: object) -> SplitTreeIn:
    """Return the form, its size, names and rates checked. Raises PlanWrong."""
    _bounded(value)
    try:
        given = SplitTreeIn.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        way = [part for part in first["loc"] if not str(part).startswith("function-")]
        named = _named(value, way)
        field = ".".join(map(str, way[_field_from(way) :])) if named else ""
        raise PlanWrong(
            ".".join(map(str, way)), f"{field}: {in_words(first)}" if field else in_words(first), named
        ) from None
    seen: set[str] = set()
    for place, lines in _levels(given.lines, "lines"):
        for n, line in enumerate(lines):
            if line.name in seen:
                raise PlanWrong(f"{place}.{n}.name", "another line has this name; name each once", line.name)
            seen.add(line.name)
        rates = [line for line in lines if line.when is None and line.cap is None and not line.tiers]
        whole = sum(line.basis_points or 0 for line in rates)
        if whole > 10_000:
            last = [line for line in rates if line.basis_points][-1]
            raise PlanWrong(place, f"with it the rates add up to {whole} basis points: more than there is", last.name)
    return given


def _field_from(way: Sequence[int | str]) -> int:
    """Return where in the path of a field its last line ends: what follows is the field as its line has it."""
    return max((n + 2 for n, part in enumerate(way[:-1]) if part == "lines"), default=0)


def _levels(lines: Sequence[SplitLineIn], place: str) -> Iterator[tuple[str, Sequence[SplitLineIn]]]:
    yield place, lines
    for n, line in enumerate(lines):
        if line.lines:
            yield from _levels(line.lines, f"{place}.{n}.lines")


def _bounded(value: object) -> None:
    """Raise PlanWrong for a tree too deep or too large to be read, before anything else looks at it."""
    count, depth = 0, 0
    level = [value]
    while level:
        under: list[object] = []
        for one in level:
            lines = one.get("lines") if isinstance(one, Mapping) else None
            if isinstance(lines, list | tuple):
                under.extend(lines)
        count += len(under)
        depth += 1
        if count > MOST_LINES:
            raise PlanWrong("lines", f"a plan has at most {MOST_LINES} lines")
        if under and depth > DEEPEST:
            named = next((one["name"] for one in under if isinstance(one, Mapping) and "name" in one), "")
            raise PlanWrong("lines", f"a plan has at most {DEEPEST} levels of lines", str(named)[:40])
        level = under


def _named(value: Any, place: Sequence[Any]) -> str:
    """Return the name of the innermost line on the way to a place, empty where that has none."""
    name = ""
    for part in place:
        if isinstance(value, Mapping) and part in value:
            value = value[part]
        elif isinstance(value, list | tuple) and isinstance(part, int) and part < len(value):
            value = value[part]
            if isinstance(value, Mapping) and isinstance(value.get("name"), str):
                name = value["name"][:40]
        else:
            break
    return name


def _line(given: SplitLineIn, release: Sequence[SplitReleaseIn]) -> Line:
    """Return a line. release: what its plan says of when payees can be paid."""
    kind = next(kind for kind in ShareKind if getattr(given, kind.value) is not None)
    payee = given.payee or OWN
    return Line(
        name=given.name,
        payee_id=payee,
        kind=kind,
        value=getattr(given, kind.value),
        minimum=given.minimum,
        cap=given.cap,
        tiers=[Tier(tier.from_, tier.value) for tier in given.tiers],
        volume_of=payee if given.volume_of == "payee" else OWN,
        when=_when(given.when),
        to_others=given.otherwise == "others",
        lines=[_line(line, release) for line in given.lines],
        releases=() if payee == OWN else [_release(one) for one in given.release or release],
        by_rail=given.travels == "rail",
    )


def _release(given: SplitReleaseIn) -> Release:
    on_delivery = given.when == "delivery"
    if given.date is not None:
        return Release(given.basis_points, None, Day.fromisoformat(given.date))
    days = given.days if given.days is not None or on_delivery else 0
    return Release(given.basis_points, days, on_delivery=on_delivery)


def _taking_back(given: SplitRefundsIn | None, lines: Sequence[Line]) -> TakingBack:
    """Return how refunds take back; a line without a payee is the merchant. Raises PlanWrong."""
    if given is None:
        return TakingBack()
    if given.payer is None:
        return TakingBack(given.policy)
    named = next((line for line in walk(lines) if line.name == given.payer), None)
    if named is None:
        raise PlanWrong("refunds.payer", f"no line of the plan is named {given.payer!r}")
    return TakingBack(given.policy, OWN if named.payee_id == OWN else given.payer)


def _when(given: SplitWhenIn | None) -> When | None:
    if given is None:
        return None
    amount = given.amount or SplitAmountsIn()
    return When(
        methods=None if given.method is None else frozenset(map(str, given.method)),
        from_minor=amount.from_,
        below_minor=amount.below,
        product_lines=None if given.product_line is None else frozenset(given.product_line),
        payee=given.payee,
    )
