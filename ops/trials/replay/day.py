"""What a replayed day came to: its figures, and every promise that does not hold."""

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import splitting
from kernel.money import Money
from ops.trials.replay.faults import Planted
from ops.trials.replay.orders import Invoice, net_minor
from ops.trials.replay.rails import RailAccount
from ops.trials.replay.trade import Ledger
from ops.trials.replay.trouble import Plan

log = logging.getLogger(__name__)
# Words with which an order ends that nothing was wrong with but the way to its rail.
OUR_FAULT = frozenset({"channel_unreachable", "not_received", "no_channel", "canceled", "expired", "failed"})


@dataclass(slots=True)
class Stage:
    """Where the play is, and somebody to tell: on_begin (what, how many steps), on_step."""

    on_begin: Callable[[str, int], None]
    on_step: Callable[[], None]
    what: str = "nothing yet"
    steps: int = 0
    done: int = 0
    book: int | None = None  # of the merchant who was taken on

    def begin(self, what: str, steps: int) -> None:
        self.what, self.steps, self.done = what, steps, 0
        log.info("%s, %d steps", what, steps)
        self.on_begin(what, steps)

    def step(self) -> None:
        self.done += 1
        self.on_step()

    def __str__(self) -> str:
        return f"{self.what}, {self.done} of {self.steps} done" + (f", book {self.book}" if self.book else "")


@dataclass(slots=True)
class Day:
    """Everything a replay came to; `summary()` is what goes into the file."""

    invoices: Sequence[Invoice]
    currency: str
    ledger: Ledger
    plan: Plan
    accounts: Sequence[RailAccount] = ()
    book: int = 0
    merchant: str = ""
    captured_minor: int = 0
    refunded_minor: int = 0
    fee_minor: int = 0
    refund_cost_minor: int = 0  # fees that channels kept of refunded payments
    coupon_minor: int = 0  # what the merchant's own coupons paid, less what refunds gave back of it
    coupon_rounding_minor: int = 0  # what part refunds round otherwise than their rails do, until the rest goes back
    shares: list[splitting.store.PayeeTotal] = field(default_factory=list)
    settled_minor: int = 0
    refused_lines: dict[str, int] = field(default_factory=dict)
    dates: list[date] = field(default_factory=list)
    faults_asked: int = 0
    planted: list[Planted] = field(default_factory=list)
    found: list[tuple[str, str]] = field(default_factory=list)  # (reference, kind) of every discrepancy
    explained: int = 0
    disturbances: dict[str, int] = field(default_factory=dict)
    retries: int = 0
    acknowledged: int = 0  # payments and refunds the merchant API told us of
    acknowledged_lost: list[str] = field(default_factory=list)  # what became of some of them that must not be
    charged_twice: list[str] = field(default_factory=list)
    unknown_charges: list[str] = field(default_factory=list)
    given_back: int = 0  # charges that came to nothing and went back whole, by themselves
    invariants: dict[str, int] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def refused_minor(self) -> int:
        return sum(invoice.amount_minor for found in self.ledger.refused.values() for invoice in found)

    @property
    def missed(self) -> list[Planted]:
        """Every planted fault that no discrepancy of its own speaks of."""
        left, missed = Counter(self.found), []
        for fault in self.planted:
            if left[fault.reference, fault.expected_kind]:
                left[fault.reference, fault.expected_kind] -= 1
            else:
                missed.append(fault)
        return missed

    @property
    def invented(self) -> list[tuple[str, str]]:
        """Every discrepancy, as (reference, kind), that no planted fault accounts for."""
        expected = Counter((fault.reference, fault.expected_kind) for fault in self.planted)
        return list((Counter(self.found) - expected).elements())

    def hold_against(self, account: RailAccount, found: Sequence[Mapping[str, Any]]) -> None:
        """Compare what the hub says was paid over an account with the rail's own truth about whom it charged.

        Whoever was charged for an order that did not succeed must have all of it back.
        """
        paid = {_plain(payment.reference) for payment in self.ledger.payments if payment.account == account.name}
        charges = {_plain(trade["order"]): trade["charged_count"] for trade in found}
        self.charged_twice += [
            f"{trade['order']} on {account.name}, {trade['charged_count']} times, {self._money(trade['paid'])}"
            for trade in found
            if trade["charged_count"] > 1
        ]
        for trade in found:
            returned = sum(one["amount"] for one in trade["refunds"] if one["status"] not in ("ABNORMAL", "failed"))
            if trade["charged_count"] and _plain(trade["order"]) not in paid:
                if returned == trade["paid"]:
                    self.given_back += 1
                else:
                    self.unknown_charges.append(
                        f"{trade['order']} on {account.name}, {self._money(trade['paid'])} charged, "
                        f"{self._money(returned)} given back"
                    )
        self.broken += [
            f"paid, but nobody was charged: {payment.reference} on {account.name}, "
            f"{self._money(payment.captured_minor)}"
            for payment in self.ledger.payments
            if payment.account == account.name and not charges.get(_plain(payment.reference))
        ]

    def rails(self) -> list[dict[str, Any]]:
        """Return what each account took and cost. cost_per_10k: fee for each 10,000 captured."""
        tried: Counter[str] = Counter()
        left: Counter[str] = Counter()
        for order in self.ledger.orders:
            tried.update(order.accounts)
            left.update(order.accounts[:-1])
        rows = []
        for account in self.accounts:
            paid = [payment for payment in self.ledger.payments if payment.account == account.name]
            captured, fee = sum(p.captured_minor for p in paid), sum(p.fee_minor for p in paid)
            rows.append(
                {
                    "account": account.name,
                    "channel": account.channel,
                    "attempts": tried[account.name],
                    "failed_over": left[account.name],
                    "paid": len(paid),
                    "captured_minor": captured,
                    "fee_minor": fee,
                    "refunded_minor": sum(r.minor for r in self.ledger.refunds if r.account == account.name),
                    "cost_per_10k": round(fee * 10_000 / captured, 2) if captured else 0,
                }
            )
        return rows

    def cut(self) -> dict[str, Any] | None:
        """Return what the cut did to the orders of its hour; None where nothing was cut.

        An order failed because of the cut when it ended unpaid although nothing was wrong with it: neither the hub nor
        a rail refused it for a reason of its own. `routed_away`: paid on another rail by the first attempt or a later
        one, where the cut rail takes such payments too. `waited`: paid on the cut rail, once it was back.
        """
        if self.plan.cut is None:
            return None
        names = {account.name for account in self.accounts if account.channel == self.plan.cut}
        methods = {m for account in self.accounts if account.name in names for m in account.methods}
        hour = [order for order in self.ledger.orders if order.phase == "during"]
        failed = [order for order in hour if order.outcome in OUR_FAULT]
        elsewhere = [o for o in hour if o.outcome == "paid" and o.method in methods and o.accounts[-1] not in names]
        all_orders = [order for order in self.ledger.orders if order.accounts]
        return {
            "rail": self.plan.cut,
            "orders_during": len(hour),
            "routed_away": len(elsewhere),
            "failed_over": sum(1 for order in elsewhere if names & set(order.accounts)),
            "other_wallet": sum(1 for order in hour if order.other_wallet),
            "waited": sum(1 for order in hour if order.outcome == "paid" and order.accounts[-1] in names),
            "failed_because_of_cut": len(failed),
            "failed_share": round(len(failed) / len(all_orders), 5) if all_orders else 0.0,
        }

    def shares_minor(self) -> dict[str, int]:
        """Return what each payee ends with, refunds taken back; the channels' fees are a share like any other.

        What they keep of payments given back comes out of no share, so it stands there as what is still to be paid in.
        """
        shares = {payee.name: payee.shares_minor - payee.taken_back_minor for payee in self.shares}
        others = {
            "refund cost": -self.refund_cost_minor,
            "merchant coupon": self.coupon_minor,
            "coupon rounding": self.coupon_rounding_minor,
        }
        return shares | {"channel fee": self.fee_minor} | {name: minor for name, minor in others.items() if minor}

    def wrongs(self) -> list[str]:
        """Return every promise of the page that does not hold, in words, with the figures; empty for a good day."""
        not_ended = [invoice.number for invoice in self.invoices if invoice.number not in self.ledger.ended]
        wrong = [f"{len(not_ended)} invoices did not end: {', '.join(not_ended[:5])}"] if not_ended else []
        wrong += self._wrong_sums()
        wrong += [
            f"missed: {fault.fault} was planted on {fault.reference} ({fault.where}) and not found as "
            f"{fault.expected_kind}"
            for fault in self.missed
        ]
        wrong += [f"invented: {kind} on {ref}, where nothing was planted" for ref, kind in self.invented]
        wrong += [f"charged twice: {what}" for what in self.charged_twice]
        wrong += [f"charged, unknown to the hub: {what}" for what in self.unknown_charges]
        wrong += [f"acknowledged, but {what}" for what in self.acknowledged_lost]
        if not self.invariants.get("checked"):
            wrong.append("no invariant was checked")
        return wrong + self.broken

    def _wrong_sums(self) -> list[str]:
        """Return which of the page's sums do not come out."""
        captured, refunded, refused = self.captured_minor, self.refunded_minor, self.refused_minor
        shares, net = self.shares_minor(), net_minor(self.invoices)
        paid_out = sum(payee.paid_minor for payee in self.shares)
        rails, paid = self.rails(), list(self.ledger.ended.values()).count("paid")
        wrong = []
        if captured - refunded + refused != net:
            wrong.append(
                f"money: captured {self._money(captured)} − refunded {self._money(refunded)} + refused "
                f"{self._money(refused)} comes to {self._money(captured - refunded + refused)}, "
                f"the file's net is {self._money(net)}"
            )
        if sum(shares.values()) != captured - refunded:
            wrong.append(
                f"shares: they sum to {self._money(sum(shares.values()))}, captured less refunded is "
                f"{self._money(captured - refunded)}: "
                + ", ".join(f"{name} {self._money(minor)}" for name, minor in shares.items())
            )
        if paid_out != self.settled_minor:
            wrong.append(
                f"settlement: the bank paid {self._money(self.settled_minor)}, the payees' books say "
                f"{self._money(paid_out)}"
            )
        if (count := sum(row["paid"] for row in rails)) != paid:
            wrong.append(f"rails: they have {count} paid orders, customers were told of {paid}")
        for what, booked in (("captured", captured), ("refunded", refunded)):
            if (told := sum(row[f"{what}_minor"] for row in rails)) != booked:
                wrong.append(
                    f"rails: the merchant was told that {self._money(told)} was {what}, the books say "
                    f"{self._money(booked)}"
                )
        return wrong

    def _money(self, minor: int) -> str:
        return str(Money(minor, self.currency))

    def summary(self) -> dict[str, Any]:
        """Return the figures for machines."""
        how = list(self.ledger.ended.values())
        return {
            "invoices": len(self.invoices),
            "paid": how.count("paid"),
            "refunded": how.count("refunded"),
            "refused": {reason: len(found) for reason, found in sorted(self.ledger.refused.items())},
            "currency": self.currency,
            "captured_minor": self.captured_minor,
            "refunded_minor": self.refunded_minor,
            "refused_minor": self.refused_minor,
            "file_net_minor": net_minor(self.invoices),
            "shares_minor": self.shares_minor(),
            "settled_minor": self.settled_minor,
            "settlement_lines_refused": self.refused_lines,
            "business_dates": [day.isoformat() for day in self.dates],
            "rails": self.rails(),
            "cut": self.cut(),
            "slow": self.plan.slow,
            "lossy": self.plan.lossy,
            "faults_asked": self.faults_asked,
            "faults_planted": len(self.planted),
            "discrepancies_found": len(self.found),
            "discrepancies_missed": len(self.missed),
            "discrepancies_invented": len(self.invented),
            "discrepancies_explained": self.explained,
            "faults": [
                {
                    "fault": fault.fault,
                    "reference": fault.reference,
                    "where": fault.where,
                    "found_as": " and ".join(kind for ref, kind in self.found if ref == fault.reference) or None,
                }
                for fault in self.planted
            ],
            "disturbances": dict(sorted(self.disturbances.items())),
            "retries": self.retries,
            "charged_twice": len(self.charged_twice),
            "unknown_charges": len(self.unknown_charges),
            "given_back": self.given_back,
            "rung_up_again": self.ledger.rung_up_again,
            "acknowledged": self.acknowledged,
            "acknowledged_lost": len(self.acknowledged_lost),
            "invariants": self.invariants,
            "wrongs": self.wrongs(),
            "book": self.book,
            "seconds": round(self.seconds, 2),
        }


def _plain(reference: str) -> str:
    """Return a number of ours without its dash, which some rails take and others spell in their own way."""
    return "".join(c for c in reference if c.isalnum())
