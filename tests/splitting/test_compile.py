"""Which shares the rail pays and which the bank: by the rail's rules, each share whole and one way."""

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.errors import Rejected
from splitting.plans.tree import Line, Release, ShareKind
from splitting.rails.compile import BY_RAIL, SUSPENDED, WHY_NOT, Wanted, check, check_lines, route
from splitting.rails.limits import RAILS, AtRail
from splitting.tables import RailReceiver

NOW = datetime(2026, 11, 24, tzinfo=UTC)
TODAY = date(2026, 11, 24)
AT = AtRail("main", "wechat")


def receiver(payee: str, status: str = "registered", account: str | None = None) -> RailReceiver:
    return RailReceiver(
        1, payee, "main", "wechat", "merchant", account or payee, "", "", status, None, None, 1, None, "ada", NOW, NOW
    )


def line(name: str, *releases: Release) -> Line:
    return Line(name, f"pye_{name}", ShareKind.BASIS_POINTS, 100, releases=releases, by_rail=True)


@given(
    gross=st.integers(1, 10**9),
    parts=st.lists(st.tuples(st.integers(0, 79), st.integers(0, 10**6)), max_size=90),
    ceiling=st.none() | st.integers(0, 10_000),
    known=st.sets(st.integers(0, 79)),
    suspended=st.sets(st.integers(0, 79)),
    at_rail=st.booleans(),
)
def test_every_share_goes_one_way_and_the_rail_keeps_its_rules(
    gross: int,
    parts: list[tuple[int, int]],
    ceiling: int | None,
    known: set[int],
    suspended: set[int],
    at_rail: bool,
) -> None:
    wanted = {n: Wanted(f"l{n}", f"pye_{payee}", minor) for n, (payee, minor) in enumerate(parts)}
    receivers = {f"pye_{n}": receiver(f"pye_{n}") for n in known}
    at = AT._replace(basis_points=ceiling) if at_rail else None
    ways = route(wanted, gross, at, receivers, dict.fromkeys((f"pye_{n}" for n in suspended), SUSPENDED))
    assert ways.keys() == wanted.keys()
    assert set(ways.values()) <= {BY_RAIL, *WHY_NOT}
    by_rail = [wanted[n] for n, way in ways.items() if way == BY_RAIL]
    if at is None:
        assert not by_rail
        return
    most = gross * (RAILS["wechat"].basis_points if ceiling is None else ceiling) // 10_000
    assert sum(one.minor for one in by_rail) <= most
    assert len({one.payee_id for one in by_rail}) <= 50
    assert {one.payee_id for one in by_rail} <= receivers.keys() - {f"pye_{n}" for n in suspended}
    for n, way in ways.items():  # none is left out for nothing
        if way == "above_ceiling":
            assert sum(wanted[m].minor for m in ways if m < n and ways[m] == BY_RAIL) + wanted[n].minor > most


@pytest.mark.parametrize(
    ("releases", "why"),
    [
        ([Release(10_000, None, on_delivery=True)], "wait for delivery for ever"),
        ([Release(10_000, 30)], "up to 30 days after"),
        ([Release(5_000, 0), Release(5_000, 40, on_delivery=True)], "up to 40 days after"),
        ([Release(10_000, None, date(2026, 12, 24))], "released on 2026-12-24"),
    ],
)
def test_a_release_that_the_rail_would_not_wait_for_is_refused(releases: list[Release], why: str) -> None:
    with pytest.raises(Rejected, match=why) as refused:
        check_lines([line("farm", *releases)], list(RAILS.values()), TODAY)
    assert refused.value.code == "rail_cannot_share"
    assert refused.value.facts["line"] == "farm"
    assert "30 days at most" in refused.value.message


def test_a_release_within_the_rails_time_is_fine() -> None:
    releases = [Release(5_000, 29, on_delivery=True), Release(5_000, None, date(2026, 12, 23))]
    check_lines([line("farm", *releases)], list(RAILS.values()), TODAY)


def test_more_times_of_release_than_requests_are_refused() -> None:
    lines = [
        line(f"l{n}", Release(10_000, None, date(2026, 11, 25 + n % 6)), Release(10_000, n % 29)) for n in range(60)
    ]
    check_lines(lines, list(RAILS.values()), TODAY)
    one = RAILS["wechat"]._replace(requests_a_payment=30)
    with pytest.raises(Rejected, match="shares a payment out 30 times"):
        check_lines(lines, [one], TODAY)


@pytest.mark.parametrize(
    ("at", "rows", "wanted", "why"),
    [
        (
            AtRail("a", "unionpay"),
            {},
            [100],
            "unionpay shares no payment out for this hub, and WeChat Pay and Alipay do",
        ),
        (
            AtRail("a", "alipay", method="qr"),
            {},
            [100],
            "back by itself with every refund.*have it paid by app, h5, page",
        ),
        (AtRail("a", "alipay", method="page"), {}, [100], "is no receiver at channel account a"),
        (AtRail("a", "alipay"), {"status": "registered"}, [3_001], "Alipay shares out at most 30% of a payment, 3000"),
        (AT._replace(reserves=True), {}, [100], "not what is reserved"),
        (AT, {}, [100], "is no receiver at channel account main"),
        (AT, {"status": "registering"}, [100], "is registering as a receiver"),
        (AT, {"status": "registered"}, [3_001], "at most 30% of a payment, 3000"),
        (AT._replace(basis_points=100), {"status": "registered"}, [101], "at most 1% of a payment, 100"),
    ],
)
def test_a_payment_that_the_rail_cannot_share_out_is_refused_with_the_rule(
    at: AtRail, rows: dict[str, str], wanted: list[int], why: str
) -> None:
    receivers = {"pye_farm": receiver("pye_farm", rows["status"]) if rows else None}
    asked = [Wanted("farm", "pye_farm", minor) for minor in wanted]
    with pytest.raises(Rejected, match=why) as refused:
        check([line("farm")], asked, 10_000, at, receivers, TODAY)
    assert refused.value.facts["line"] == "farm"


def test_a_ceiling_is_reached_to_the_last_unit_and_fifty_receivers_are_taken() -> None:
    receivers = {f"pye_l{n}": receiver(f"pye_l{n}") for n in range(51)}
    lines = [line(f"l{n}") for n in range(51)]
    wanted = [Wanted(one.name, one.payee_id, 60) for one in lines]
    check(lines[:50], wanted[:50], 10_000, AT, receivers, TODAY)
    with pytest.raises(Rejected, match="51 receivers, and WeChat Pay takes 50"):
        check(lines, wanted, 100_000, AT, receivers, TODAY)
    one_account = {payee: receiver(payee, account="1900000001") for payee in receivers}
    check(lines, wanted, 100_000, AT, one_account, TODAY)
