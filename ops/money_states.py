"""What each state of each object says of money, and which invariant holds it against the journal.

`make fix` draws it into docs/states.md. A test sees to it that no state and no object is missing, that the invariants
are there, and that each of these states, put into a row by hand, is found.
"""

from typing import NamedTuple


class Means(NamedTuple):
    """What the journal has of an object in this state, and the invariants of `sluice verify` that say so."""

    journal: str
    invariants: tuple[str, ...]


_NOTHING = "nothing"
_CAPTURE = "its attempt's capture and fee, once"
_UNPAID = ("captures_match_the_journal", "a_payment_is_paid_once")
_PAID = ("captures_match_the_journal", "fees_match_the_journal", "a_payment_is_paid_once")
_REFUND = ("refunds_match_the_journal", "refunded_fees_match_the_journal", "refunds_never_exceed_captures")
_CHARGEBACK = ("chargebacks_match_the_journal", "refunded_fees_match_the_journal", "refunds_never_exceed_captures")
_RAIL = ("share_orders_match_the_journal", "at_rails_is_what_is_open", "shares_go_one_way")
_WITHDRAWAL = ("withdrawals_match_the_journal", "withdrawals_are_counted")
_RECALL = ("recalls_agree_with_their_payments",)
_LINE = ("instructions_match_the_journal", "batches_match_their_lines")

MEANING: dict[str, dict[str, Means]] = {
    "payment": {
        "processing": Means(_NOTHING, (*_UNPAID, "reserved_money_is_not_booked")),
        "requires_action": Means(_NOTHING, (*_UNPAID, "reserved_money_is_not_booked")),
        "requires_capture": Means(f"{_NOTHING}: the rail reserves it", (*_UNPAID, "reserved_money_is_not_booked")),
        "succeeded": Means(_CAPTURE, (*_PAID, "succeeded_payments_have_their_event")),
        "failed": Means(f"{_NOTHING}, or what came late", (*_PAID, "unwanted_money_goes_back")),
        "canceled": Means(f"{_NOTHING}, or what came late", (*_PAID, "unwanted_money_goes_back")),
        "expired": Means(f"{_NOTHING}, or what came late", (*_PAID, "unwanted_money_goes_back")),
    },
    "attempt": {
        **dict.fromkeys(
            ("created", "pending", "unknown", "refused", "closed", "failed_over"), Means(_NOTHING, _UNPAID)
        ),
        "authorized": Means(f"{_NOTHING}: the rail reserves it", (*_UNPAID, "reserved_money_is_not_booked")),
        "confirmed": Means("its capture and fee, once; it is the payment's", _PAID),
        "late": Means("its capture and fee, once; and its refund", (*_PAID, "unwanted_money_goes_back")),
        "overpaid": Means("its capture and fee, once; and its refund", (*_PAID, "unwanted_money_goes_back")),
    },
    "refund": {
        "processing": Means("its sum held, its fee's part made good", _REFUND),
        "succeeded": Means("its hold posted, once; its fee's part made good", _REFUND),
        "failed": Means("its holds voided, or posted and returned; its fee stands again", _REFUND),
    },
    "chargeback": {
        "opened": Means("what the rail took, once, with its fee; the payment's fee's part made good", _CHARGEBACK),
        "won": Means("that, and that it came back, once each", _CHARGEBACK),
        "lost": Means("what the rail took, once, with its fee; the payment's fee's part made good", _CHARGEBACK),
    },
    "split": {
        "planned": Means(_NOTHING, ("shares_match_the_journal",)),
        "posted": Means(
            "a transfer for each share, what is frozen of it held; and what it gave back",
            (
                *("shares_match_the_journal", "shares_sum_to_the_net", "shares_follow_the_refunds"),
                "frozen_shares_are_held",
            ),
        ),
    },
    "hold": dict.fromkeys(
        ("held", "posted", "voided", "expired"),
        Means("the transfer that made it, and the one that ended it", ("holds_match_the_journal",)),
    ),
    "instruction": {
        "in_transit": Means("sent, and neither paid nor refused", _LINE),
        "paid": Means("sent and paid, once each", _LINE),
        "refused": Means("sent and refused, once each: owed again", (*_LINE, *_RECALL)),
        "returned": Means("sent, paid and returned, once each: owed again", (*_LINE, *_RECALL)),
    },
    "batch": {
        "draft": Means(
            "lines that are booked in transit so far, and go to no bank yet", ("batches_match_their_lines",)
        ),
        "awaiting_release": Means(
            "lines in transit that a second person has to let go", ("batches_match_their_lines",)
        ),
        "created": Means("lines of which some are in transit", ("batches_match_their_lines",)),
        "refused": Means(
            "lines in transit, of which the bank has done nothing, and a case that asks two people",
            ("batches_match_their_lines", "refused_batches_are_asked_about"),
        ),
        "cancelled": Means("lines in transit that are being given back", ("batches_match_their_lines",)),
        "sent": Means("lines of which some are in transit", ("batches_match_their_lines",)),
        "finished": Means("lines that are all paid, refused or returned", ("batches_match_their_lines",)),
    },
    "share_order": {
        "planned": Means("its parts in transit at the rail; nothing has left", _RAIL),
        "sent": Means("its parts in transit at the rail, or paid by it, or owed again, once each", _RAIL),
        "finished": Means("its parts paid by the rail, or owed again, once each", _RAIL),
        "refused": Means("its parts owed again, once each", _RAIL),
    },
    "share_return": {
        "waiting": Means(_NOTHING, _RAIL[:1]),
        "sent": Means(_NOTHING, _RAIL[:1]),
        "done": Means("what the rail has fetched back of a share, once", _RAIL[:1]),
        "refused": Means(_NOTHING, _RAIL[:1]),
        "dropped": Means(_NOTHING, _RAIL[:1]),
    },
    "withdrawal": {
        "requested": Means("its sum held", _WITHDRAWAL),
        "stopped": Means(
            "its sum held, and a case that asks two people", (*_WITHDRAWAL, "stopped_withdrawals_are_asked_about")
        ),
        "sent": Means("its sum held", _WITHDRAWAL),
        "paid": Means("its hold posted, once", _WITHDRAWAL),
        "refused": Means("its hold voided: the sub-account has it as before", _WITHDRAWAL),
        "returned": Means("its hold posted, and returned, once each", _WITHDRAWAL),
    },
    "recall": {
        **dict.fromkeys(
            ("requested", "sent", "pending", "refused", "overtaken"),
            Means("what its line has; what is owed again of a line is held until people decide", _RECALL),
        ),
        "accepted": Means("likewise; its payment is not on its way, or people are asked about it", _RECALL),
    },
    "case": dict.fromkeys(("open", "decided"), Means(f"{_NOTHING}: it moves no money", ("cases_match_their_events",))),
    "discrepancy": dict.fromkeys(
        ("open", "explained", "suspended", "adjusted", "written_off", "resolved"),
        Means(f"{_NOTHING}: reconciliation books nothing", ()),
    ),
}


def drawing() -> str:
    """Return the section of docs/states.md."""
    lines = [
        "## What each state says of money",
        "",
        "What the journal has of an object in each state, and by which invariants `sluice verify` holds the row to it.",
        "",
        "| object | state | the journal has | invariants |",
        "|---|---|---|---|",
    ]
    for name, states in MEANING.items():
        for state, means in states.items():
            held = ", ".join(f"`{one}`" for one in means.invariants) or "none"
            lines.append(f"| {name} | {state} | {means.journal} | {held} |")
    return "\n".join([*lines, ""])
