"""Every kind of case: what has happened, and what a person may decide about it."""

from collections.abc import Mapping
from typing import NamedTuple

# The hub's own word where a case closed without anybody; no person decides it.
GONE = "gone"
HUB = "sluice"

# Decisions that leave the matter as it is: it may end by itself, and another may be made whenever more is known.
PROVISIONAL = frozenset({"wait", "sent_on"})


class CaseKind(NamedTuple):
    """What a case of this kind says has happened, and its decisions, each with what it brings about.

    with_account: those decisions that name a channel account besides.
    """

    says: str
    decisions: Mapping[str, str]
    with_account: frozenset[str] = frozenset()


_OUTSIDE = "the money was given back outside the rail (say how in the note); nothing more is sent"

_LOOKED_INTO = {"looked_into": "what happened has been found out and put right outside the hub (say how in the note)"}
_COMES = "money that comes all the same goes back"
_WAIT = "leave it to be asked about; it is a case again in three days if it is still so"

KINDS: Mapping[str, CaseKind] = {
    "refund_paid_twice": CaseKind(
        "a rail has paid a refund that nothing bears: another number of it is paid too, or its money is gone since",
        {
            "recovered": "the payer or the rail gave it back outside the hub (say how in the note)",
            "borne": "the merchant or the platform bears it (say who, and under which entry, in the note)",
        },
    ),
    "refund_of_unwanted_money_failed": CaseKind(
        "money that was paid late or twice could not be given back: the rail refused the refund",
        {
            "retry": "send the refund again now, under a new number",
            "settled_outside": _OUTSIDE,
            "keep": "the merchant keeps the money, with the payer's consent (say why in the note)",
        },
    ),
    "refund_came_back": CaseKind(
        "a refund had succeeded and came back: the payer has not got the money, the merchant's account has it again",
        {
            "retry": "send the refund again now, under a new number; to the same card it is likely to come back again",
            "settled_outside": _OUTSIDE,
            "keep": "the merchant keeps the money, with the payer's consent (say why in the note)",
        },
    ),
    "refund_unfinished": CaseKind(
        "a refund has been under way for days, is refused each time, or a person must say where its money is to go",
        {
            "carried_out": "the rail says elsewhere that the payer has the money: book it here as succeeded",
            "not_carried_out": (
                "the rail says elsewhere that it was not carried out and will not be: end it here as failed; its money "
                "and the payees' shares stand again, and it may be asked for anew. Not where the rail has the money "
                "and asks where it is to go (at_rail): tell the rail that, and say sent_on"
            ),
            "sent_on": "the rail was told where the money is to go; it is asked until it says that the payer has it",
            "wait": _WAIT,
        },
    ),
    "attempt_unfinished": CaseKind(
        "an order is still open at its rail a day after its time ran out: it can be neither ended nor understood",
        {
            "ended_unpaid": f"the rail says elsewhere that nobody paid: end it here; {_COMES}",
            "wait": _WAIT,
        },
    ),
    "hold_not_released": CaseKind(
        "money is reserved at a rail for a payment that is over or paid otherwise, and the rail does not release it",
        {
            "released": f"the rail says elsewhere that it is released: end it here; {_COMES}",
            "wait": _WAIT,
        },
    ),
    "capture_unfinished": CaseKind(
        "reserved money was to be captured a day ago: the rail neither confirms that, nor says that it will not",
        {
            "not_captured": (
                "the rail says elsewhere that it was not captured and will not be: it is reserved again here, to be "
                "captured anew or voided"
            ),
            "released": f"the rail says elsewhere that it is released: end it here; {_COMES}",
            "wait": _WAIT,
        },
    ),
    "amount_differs": CaseKind(
        "a rail speaks of another amount than the one it was asked for; nothing was booked", _LOOKED_INTO
    ),
    "charged_twice": CaseKind(
        "a rail says of one order that it was paid a second time; the second was not booked", _LOOKED_INTO
    ),
    "channel_contradicts_itself": CaseKind(
        "a rail said one thing of a payment or refund and then another (paid, then given back by a reversal that came "
        "late); nothing was booked for the second",
        _LOOKED_INTO,
    ),
    "payout_in_doubt": CaseKind(
        "a bank refuses a payout as one that it has already, or says two things of it: it may have been paid, so its "
        "money stays in transit",
        {
            "paid": "the bank says elsewhere (in its statement) that it paid: booked as paid",
            "not_paid": "the bank says elsewhere that it has not paid and will not: the payee is owed it again",
            "wait": "leave it in transit; the bank's next word decides",
        },
    ),
    "bank_contradicts_itself": CaseKind(
        "a bank said one thing of a payout and then another; nothing was booked for the second", _LOOKED_INTO
    ),
    "booking_unclear": CaseKind(
        "a bank tells of a booking that looks like one that is booked: told of twice, or money that moved twice; it is "
        "not booked",
        {
            "another": "the bank's statement has both: booked now, as one more",
            "same": "the bank told of one booking twice, or corrected it (say how in the note): nothing is booked",
        },
    ),
    "booking_unidentified": CaseKind(
        "a bank tells of a booking of which nothing says whose it is: no channel's deposit, no payment's transfer and "
        "no payout of ours; it is not booked",
        {
            "book": "a channel paid it in, or took it: booked on the channel account that you name (--account)",
            "no_deposit": (
                "no channel's: a payout that came back, a charge, somebody else's money (say in the note what it is, "
                "and what becomes of it); nothing is booked"
            ),
        },
        with_account=frozenset({"book"}),
    ),
    "bank_file_set_aside": CaseKind(
        "a file of a bank's cannot be believed, read or applied, all of it or a part; the files after it are. It is "
        "asked for again every few minutes, and the case closes by itself once all of it has been applied",
        {
            "discard": (
                "what it says has come in another file, was put right outside the hub, or is none of ours (say how in "
                "the note): it is not asked for again, and nothing more of it is booked"
            ),
        },
    ),
}
