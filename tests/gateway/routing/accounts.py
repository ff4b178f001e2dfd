"""Accounts, payments and knowledge for the tests of routing."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from channels.contract import Capabilities, Method
from gateway.accounts.terms import FeeSchedule, Terms
from gateway.routing.eligibility import Candidate, Wanted
from gateway.routing.knowledge import Knowledge, Seen
from gateway.routing.verdicts import Verdict
from kernel.money import Money

NOON = datetime(2026, 11, 24, 4, 0, tzinfo=UTC)  # a Tuesday's noon in Beijing
ALL = Capabilities(methods=frozenset(Method), currencies=frozenset({"CNY", "USD"}), authorizes=frozenset({Method.CARD}))


def account(name: str, fee_bp: int = 60, *, channel: str | None = None, position: int = 0, **more: Any) -> Candidate:
    """Return an account that takes everything."""
    terms = more.pop("terms", Terms(fees=FeeSchedule(basis_points=fee_bp)))
    return Candidate(
        name, channel or f"rail_{name}", more.pop("capabilities", ALL), terms=terms, position=position, **more
    )


def wanted(minor: int = 10_000, *, payment_id: str = "pay_1", now: datetime = NOON, **more: Any) -> Wanted:
    """Return a payment that wants an account."""
    return Wanted(payment_id, more.pop("method", Method.QR), Money(minor, more.pop("currency", "CNY")), now, **more)


def experience(
    counts: Mapping[str, tuple[int, int]], *, method: Method = Method.QR, minor: int = 10_000, until: datetime = NOON
) -> Knowledge:
    """Return knowledge of accounts that worked and failed so often, evenly mixed, over the hours before."""
    known = Knowledge()
    for name, (worked, failed) in counts.items():
        total, owed = worked + failed, 0
        for n in range(total):
            owed += failed
            fails = owed >= total
            if fails:
                owed -= total
            at = until.timestamp() - 30 * (total - n)
            known.see(Seen(name, method, "CNY", minor, Verdict.FAILED if fails else Verdict.WORKED, at, 200.0))
    return known
