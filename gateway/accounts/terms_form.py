"""What terms look like, for the API's document. `Terms.of` reads them; a test holds the two to one another."""

from typing import Annotated, NotRequired

from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypedDict

from channels.contract import Method, RefundFee
from kernel.answers import Time
from kernel.money import MAX_MINOR
from kernel.shapes import INT64, Currency

_Minor = Annotated[int, Field(ge=0, le=MAX_MINOR, json_schema_extra=INT64)]
_PositiveMinor = Annotated[int, Field(ge=1, le=MAX_MINOR, json_schema_extra=INT64)]
_Rate = Annotated[int, Field(ge=0, le=10_000, description="basis points 万分之一")]
_STRICT = ConfigDict(extra="forbid")
_DAY = "(?:mon|tue|wed|thu|fri|sat|sun)"
_DAYS = f"{_DAY}(?:-{_DAY})?"
_CLOCK = "(?:[01][0-9]|2[0-3]):[0-5][0-9]"
_Hours = Annotated[str, Field(pattern=f"^{_DAYS}(?:,{_DAYS})* {_CLOCK}-(?:{_CLOCK}|24:00)$")]
_Region = Annotated[str, Field(pattern="^[A-Z]{2}$")]
_Note = Annotated[str, Field(max_length=200)]


@with_config(_STRICT)
class TierIn(TypedDict):
    """A rate from a volume on."""

    from_volume_minor: Annotated[_Minor, Field(description="from this volume of the month on")]
    basis_points: Annotated[_Rate, Field(description="a payment pays this rate as a whole")]


@with_config(_STRICT)
class FeesIn(TypedDict, total=False):
    """What the rail keeps of a payment."""

    basis_points: Annotated[_Rate | None, Field(description="of a payment, rounded half up")]
    fixed_minor: Annotated[_Minor | None, Field(description="on top of that, for each payment")]
    minimum_minor: Annotated[_Minor | None, Field(description="the least of a payment's fee, the fixed part counted")]
    cap_minor: Annotated[_Minor | None, Field(description="the most of a payment's fee 封顶, the fixed part counted")]
    tiers: Annotated[Annotated[list[TierIn], Field(max_length=100)] | None, Field(description="rising by volume")]
    free_quota_minor: Annotated[_Minor | None, Field(description="volume of the month without any fee 免费额度")]
    refund_fee: Annotated[
        RefundFee | None,
        Field(description="what becomes of the fee of a payment that is refunded; left out: as usual"),
    ]


@with_config(_STRICT)
class LimitsIn(TypedDict, total=False):
    """What the account takes."""

    minimum_minor: Annotated[_PositiveMinor | None, Field(description="of one payment 单笔限额")]
    maximum_minor: Annotated[_PositiveMinor | None, Field(description="of one payment 单笔限额")]
    day_minor: Annotated[_Minor | None, Field(description="captured in a day")]
    month_minor: Annotated[_Minor | None, Field(description="captured in a month")]
    day_count: Annotated[_Minor | None, Field(description="payments in a day")]


# `from` is a word of the language.
MaintenanceIn = TypedDict(
    "MaintenanceIn",
    {
        "from": Annotated[Time, Field(description="when it begins")],
        "until": Annotated[Time, Field(description="when it ends")],
        "note": NotRequired[Annotated[_Note | None, Field(description="for people")]],
    },
)
MaintenanceIn.__doc__ = "An announced closing."
with_config(_STRICT)(MaintenanceIn)

_SOME = Field(max_length=100, json_schema_extra={"uniqueItems": True})


@with_config(_STRICT)
class TermsIn(TypedDict, total=False):
    """Terms 签约条款; whatever is left out, or null, sets no bound. Days, months and hours are Beijing's."""

    fees: Annotated[FeesIn | None, Field(description="what the rail keeps 手续费")]
    limits: Annotated[LimitsIn | None, Field(description="what the account takes 限额")]
    methods: Annotated[
        Annotated[list[Method], _SOME] | None, Field(description="those of the rail's that you have agreed")
    ]
    currencies: Annotated[Annotated[list[Currency], _SOME] | None, Field(description="those that you have agreed")]
    windows: Annotated[
        Annotated[list[_Hours], _SOME] | None,
        Field(description='weekly opening hours, such as `"mon-fri 08:00-22:00"`'),
    ]
    maintenance: Annotated[Annotated[list[MaintenanceIn], _SOME] | None, Field(description="announced closings")]
    regions: Annotated[
        Annotated[list[_Region], _SOME] | None,
        Field(description="where payers may be, ISO 3166-1; one of an unknown region is taken"),
    ]
    share_basis_points: Annotated[
        _Rate | None,
        Field(description="the most of a payment that the rail shares out 最大分账比例; left out: the rail's own"),
    ]
