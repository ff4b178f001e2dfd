"""What a clerk reads of a day: amounts as they are written, each difference with its Chinese name."""

from datetime import UTC, date, datetime

from reconciliation.matching.verdicts import Area, DiscrepancyKind, Key
from reconciliation.runs import Case
from reconciliation.states import State
from reconciliation.store import DiscrepancySum
from reconciliation.text import KINDS, STATES, of_case, of_cases, of_run

DAY = date(2026, 11, 24)
MOMENT = datetime(2026, 11, 25, tzinfo=UTC)
SHORT = Case(
    *("dis_1", "channel:wechat", Key(Area.CHANNEL, "payment", "1-abc"), DiscrepancyKind.MISSING_AT_CHANNEL, State.OPEN),
    *(DAY, "CNY", 25_925, None, -25_925, "no bill has it", None, (), MOMENT, MOMENT, 1),
)


def test_every_difference_and_every_state_has_a_chinese_name() -> None:
    assert set(KINDS) == set(DiscrepancyKind)
    assert set(STATES) == set(State)


def test_a_difference_says_what_whose_and_how_much_in_amounts_as_they_are_written() -> None:
    assert of_case(SHORT) == [
        "2026-11-24  missing at channel 短款  channel:wechat, payment 1-abc",
        "            ours 我方 259.25, theirs 对方 none 无, difference 差额 -259.25 CNY",
        "            open 待查, 1 day: no bill has it",
    ]
    many = [DiscrepancySum(SHORT.kind, State.OPEN, "CNY", 2_000, -5, DAY)]
    assert of_cases(many, 2_000) == "2000 open 待查"
    assert of_cases(many, 1_000) == "2000 open 待查, the oldest 1000 shown (--limit)"
    assert of_cases([], 0) == "nothing differs 无差错"


def test_a_run_says_whether_the_day_agrees_and_what_does_not() -> None:
    one = {"item": "payment", "reference": "1-abc", "kind": "amount_differs", "currency": "CNY"}
    run = {
        "business_date": "2026-11-24",
        "counterparty": "channel:alipay",
        "agrees": False,
        "areas": {"channel": {"matched": 18, "differing": {"amount_differs": 1}}},
        "net": {"currency": "CNY", "ours_minor": 1000, "bill_minor": 1003, "received_minor": None},
        "differences": [{**one, "ours_minor": 40_920, "theirs_minor": 40_923, "detail": "another amount"}],
        "not_shown": 3,
    }
    assert list(of_run(run)) == [
        "2026-11-24  channel:alipay  ✗ differs 有差错",
        "            channel: 18 matched, 1 amount differs 金额不符",
        "            net 净额: ours 我方 10.00, bill 账单 10.03, received 到账 none 无 CNY",
        "          - amount differs 金额不符: payment 1-abc, ours 409.20, theirs 409.23 CNY",
        "            another amount",
        "            and 3 more: sluice discrepancies",
    ]
    assert list(of_run({**run, "agrees": True, "areas": {}, "net": None, "differences": [], "not_shown": 0})) == [
        "2026-11-24  channel:alipay  ✓ agrees 对平"
    ]
