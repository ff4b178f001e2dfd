"""What a day came to, in words for the people who look after it: one line a fact, amounts as they are written."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kernel.money import Money
from reconciliation.matching.verdicts import DiscrepancyKind
from reconciliation.runs import Case
from reconciliation.states import State
from reconciliation.store import DiscrepancySum

KINDS: Mapping[DiscrepancyKind, str] = {
    DiscrepancyKind.MISSING_AT_CHANNEL: "短款",
    DiscrepancyKind.MISSING_AT_HUB: "长款",
    DiscrepancyKind.AMOUNT_DIFFERS: "金额不符",
    DiscrepancyKind.STATUS_DIFFERS: "状态不符",
    DiscrepancyKind.COUPON_DIFFERS: "商户优惠不符",
    DiscrepancyKind.FEE_DIFFERS: "手续费不符",
    DiscrepancyKind.DUPLICATE: "重复",
    DiscrepancyKind.LATE: "跨日",
    DiscrepancyKind.DEPOSIT_MISSING: "入账缺失",
    DiscrepancyKind.DEPOSIT_DIFFERS: "入账金额不符",
    DiscrepancyKind.DEPOSIT_DUPLICATE: "入账重复",
    DiscrepancyKind.PAYOUT_MISSING_AT_BANK: "银行无此出款",
    DiscrepancyKind.PAYOUT_AMOUNT_DIFFERS: "出款金额不符",
    DiscrepancyKind.PAYOUT_DUPLICATE: "出款重复",
    DiscrepancyKind.PAYOUT_UNKNOWN_AT_HUB: "平台无此出款",
    DiscrepancyKind.PAYOUT_STATUS_DIFFERS: "出款状态不符",
    DiscrepancyKind.ENTRY_UNKNOWN_AT_HUB: "来账不明",
    DiscrepancyKind.BALANCE_DIFFERS: "余额不符",
    DiscrepancyKind.STATEMENT_MISSING: "缺对账单",
    DiscrepancyKind.STATEMENT_GAP: "对账单缺行",
    DiscrepancyKind.OPENING_DIFFERS: "期初不符",
}
STATES: Mapping[State, str] = {
    State.OPEN: "待查",
    State.EXPLAINED: "已查明",
    State.SUSPENDED: "挂账",
    State.ADJUSTED: "调账",
    State.WRITTEN_OFF: "核销",
    State.RESOLVED: "对平",
}


def amount(minor: int | None, currency: str) -> str:
    """Return minor units as people write them, without the currency; None is `none`."""
    return "none 无" if minor is None else Money(minor, currency).major()


def of_case(case: Case) -> list[str]:
    """Return a discrepancy as three lines."""
    ours, theirs, apart = (
        amount(minor, case.currency) for minor in (case.ours_minor, case.theirs_minor, case.difference_minor)
    )
    age = max(case.age_days, 0)
    return [
        f"{case.business_date}  {_plain(case.kind)} {KINDS[case.kind]}  {case.counterparty}, "
        f"{case.key.item} {case.key.reference}",
        f"            ours 我方 {ours}, theirs 对方 {theirs}, difference 差额 {apart} {case.currency}",
        f"            {case.state} {STATES[case.state]}, {age} {'day' if age == 1 else 'days'}: {case.detail}",
    ]


def of_cases(sums: Sequence[DiscrepancySum], shown: int) -> str:
    """Return how many there are in each state, and where not all are shown, how many are."""
    counts = [(state, sum(some.count for some in sums if some.state is state)) for state in State]
    told = [f"{count} {_plain(state)} {STATES[state]}" for state, count in counts if count]
    missing = sum(count for _, count in counts) - shown
    if missing > 0:
        told.append(f"the oldest {shown} shown (--limit)")
    return ", ".join(told) or "nothing differs 无差错"


def of_run(run: Mapping[str, Any]) -> Iterator[str]:
    """Return the lines of one run, as `report.of_run` tells it."""
    verdict = "✓ agrees 对平" if run["agrees"] else "✗ differs 有差错"
    yield f"{run['business_date']}  {run['counterparty']}  {verdict}"
    for area, found in run["areas"].items():
        differing = [
            f"{count} {_plain(kind)} {KINDS[DiscrepancyKind(kind)]}" for kind, count in found["differing"].items()
        ]
        yield f"            {area}: " + ", ".join([f"{found['matched']} matched", *differing])
    if net := run["net"]:
        names = (("ours 我方", "ours_minor"), ("bill 账单", "bill_minor"), ("received 到账", "received_minor"))
        shown = [f"{name} {amount(net[key], net['currency'])}" for name, key in names]
        yield f"            net 净额: {', '.join(shown)} {net['currency']}"
    for one in run["differences"]:
        ours, theirs = (amount(one[key], one["currency"]) for key in ("ours_minor", "theirs_minor"))
        yield (
            f"          - {_plain(one['kind'])} {KINDS[DiscrepancyKind(one['kind'])]}: "
            f"{one['item']} {one['reference']}, "
            f"ours {ours}, theirs {theirs} {one['currency']}"
        )
        yield f"            {one['detail']}"
    if run["not_shown"]:
        yield f"            and {run['not_shown']} more: sluice discrepancies"


def _plain(name: str) -> str:
    return name.replace("_", " ")
