"""What a day came to, as plain values: for an operator's page, a command line, a daily proof."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any

from reconciliation.matching.match import Discrepancy
from reconciliation.matching.verdicts import DiscrepancyKind
from reconciliation.runs import Case, Run
from reconciliation.store import DiscrepancySum

SHOWN = 20  # differences listed one by one; the counts cover all


def of_run(run: Run) -> dict[str, Any]:
    """Return the summary of one run. `agrees`: the day needs nobody, nothing differs but the day of some lines."""
    worrying = [one for one in run.discrepancies if one.kind is not DiscrepancyKind.LATE]
    return {
        "run": run.id,
        "counterparty": run.counterparty,
        "business_date": run.business_date.isoformat(),
        "times": run.times,
        "areas": {
            str(area): {
                "matched": run.matched[area],
                "differing": dict(
                    sorted(Counter(str(one.kind) for one in run.discrepancies if one.key.area is area).items())
                ),
            }
            for area in run.areas
        },
        "net": None
        if run.net is None
        else {
            "currency": run.net.ours.currency,
            "ours_minor": run.net.ours.minor,
            "bill_minor": run.net.bill.minor,
            "received_minor": run.received_minor,
        },
        "agrees": not worrying,
        "differences": [_difference(one) for one in run.discrepancies[:SHOWN]],
        "not_shown": max(0, len(run.discrepancies) - SHOWN),
        "moves": len(run.moves),
        "digest": run.digest,
    }


def of_cases(cases: Iterable[Case], sums: Sequence[DiscrepancySum], today: date) -> dict[str, Any]:
    """Return what is unsettled: how many of each kind, what they come to in each currency, the oldest first.

    cases: those that are listed. sums: of all that there are.
    """
    listed = sorted(cases, key=lambda case: (case.business_date, case.id))
    kinds, states, totals = Counter[str](), Counter[str](), Counter[str]()
    for some in sums:
        kinds[str(some.kind)] += some.count
        states[str(some.state)] += some.count
        totals[some.currency] += some.difference_minor
    return {
        "count": sum(kinds.values()),
        "by_kind": dict(sorted(kinds.items())),
        "by_state": dict(sorted(states.items())),
        "difference_minor": dict(sorted(totals.items())),
        "oldest_age_days": max(((today - some.oldest).days for some in sums), default=0),
        "cases": [
            {
                "id": case.id,
                "counterparty": case.counterparty,
                "item": str(case.key.item),
                "reference": case.key.reference,
                "payment_reference": case.payment_reference,
                "kind": str(case.kind),
                "state": str(case.state),
                "business_date": case.business_date.isoformat(),
                "age_days": case.age_days,
                "currency": case.currency,
                "ours_minor": case.ours_minor,
                "theirs_minor": case.theirs_minor,
                "difference_minor": case.difference_minor,
                "detail": case.detail,
            }
            for case in listed
        ],
    }


def _difference(one: Discrepancy) -> dict[str, Any]:
    return {
        "item": str(one.key.item),
        "reference": one.key.reference,
        "kind": str(one.kind),
        "business_date": one.home.isoformat(),
        "currency": one.verdict.currency,
        "ours_minor": one.verdict.ours_minor,
        "theirs_minor": one.verdict.theirs_minor,
        "difference_minor": one.verdict.difference_minor,
        "detail": one.verdict.detail,
    }
