"""Every kind of case: what has happened, and what a person may decide about it."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

# The hub's own word where a case closed without anybody; no person decides it.
GONE = "gone"
HUB = "sluice"

# Decisions that leave the matter as it is: it may end by itself, and another may be made whenever more is known.
PROVISIONAL = frozenset({"wait", "sent_on"})


# What a decision may name: for people.
NAMED: Mapping[str, str] = {
    "account": "a channel account",
    "line": "the line of a settlement",
    "file": "a file given by hand",
}


class CaseKind(NamedTuple):
    """What a case of this kind says has happened, and its decisions, each with what it brings about.

    names: those decisions that name something besides, and what: one of NAMED.
    """

    says: str
    decisions: Mapping[str, str]
    names: Mapping[str, str] = MappingProxyType({})


_OUTSIDE = "the money was returned outside the rail (say how in the note); nothing more is sent"

_LOOKED_INTO = {"looked_into": "the facts have been found out and put right outside the hub (say how in the note)"}
_COMES = "money that arrives later is refunded automatically"
_WAIT = "wait: the hub keeps asking, and it becomes a case again in three days if nothing has changed"

KINDS: Mapping[str, CaseKind] = {
    "refund_paid_twice": CaseKind(
        "a rail has paid a refund that no money covers: the refund was also paid under another number, or its money "
        "has been used since",
        {
            "recovered": "the payer or the rail returned it outside the hub (say how in the note)",
            "borne": "the merchant or the platform bears the loss (say who, and under which entry, in the note)",
        },
    ),
    "refund_of_unwanted_money_failed": CaseKind(
        "money that was paid late or twice could not be returned: the rail refused the refund",
        {
            "retry": "send the refund again now, under a new number",
            "settled_outside": _OUTSIDE,
            "keep": "the merchant keeps the money, with the payer's consent (say why in the note)",
        },
    ),
    "refund_came_back": CaseKind(
        "a refund succeeded and then came back: the payer does not have the money, the merchant's account has it again",
        {
            "retry": "send the refund again now, under a new number; to the same card it is likely to come back again",
            "settled_outside": _OUTSIDE,
            "keep": "the merchant keeps the money, with the payer's consent (say why in the note)",
        },
    ),
    "refund_unfinished": CaseKind(
        "a refund has been under way for days, or is refused each time, or the rail needs to be told where to send it",
        {
            "carried_out": "the rail states elsewhere that the payer has the money: book the refund as succeeded",
            "not_carried_out": (
                "the rail states elsewhere that the refund was not made and will not be: end it as failed. Its money "
                "and the payees' shares are restored, and it may be tried again. Not if the rail has the money and "
                "asks where to send it (at_rail): then tell the rail, and decide sent_on"
            ),
            "sent_on": "the rail has been told where to send the money; the hub asks until the payer has it",
            "wait": _WAIT,
        },
    ),
    "attempt_unfinished": CaseKind(
        "an order is still open at its rail a day after it expired: the hub can neither end it nor learn its state",
        {
            "ended_unpaid": f"the rail states elsewhere that nobody paid: end the order; {_COMES}",
            "wait": _WAIT,
        },
    ),
    "hold_not_released": CaseKind(
        "money is reserved at a rail for a payment that has ended or was paid otherwise, and the rail does not release "
        "it",
        {
            "released": f"the rail states elsewhere that it has released the money: end the order; {_COMES}",
            "wait": _WAIT,
        },
    ),
    "capture_unfinished": CaseKind(
        "the hub asked a day ago to capture reserved money, and the rail has neither confirmed nor refused",
        {
            "not_captured": (
                "the rail states elsewhere that it has not captured the money and will not: the money counts as "
                "reserved again, to be captured or voided"
            ),
            "released": f"the rail states elsewhere that it has released the money: end the order; {_COMES}",
            "wait": _WAIT,
        },
    ),
    "amount_differs": CaseKind(
        "a rail reports another amount than the hub asked for; nothing was booked", _LOOKED_INTO
    ),
    "charged_twice": CaseKind(
        "a rail reports that one order was paid a second time; the second payment was not booked", _LOOKED_INTO
    ),
    "channel_contradicts_itself": CaseKind(
        "a rail contradicted what it had said of a payment, a refund or a share (for example: paid, then returned by a "
        "reversal that it carried out late); the second statement was not booked",
        _LOOKED_INTO,
    ),
    "chargeback_not_booked": CaseKind(
        "a rail reports a chargeback that cannot be booked as it is told: another currency, more than was paid, "
        "another amount than before, of a payment that is not paid, or contrary to its end; nothing was booked of that",
        {
            "looked_into": (
                "the facts have been found out (say how in the note): either nothing is to be booked, or it was "
                "recorded by hand (`sluice chargeback`)"
            )
        },
    ),
    "chargeback_beyond": CaseKind(
        "a rail took money back for a chargeback that the payment did not have any more: refunds had given it back to "
        "the payer; that part is in suspense 挂账",
        {
            "charge": "a refund has failed or come back since: the payment bears it after all, and its payees with it",
            "recovered": "the payer or the rail returned it outside the hub (say how in the note)",
            "borne": "the merchant or the platform bears the loss (say who, and under which entry, in the note)",
        },
    ),
    "settlement_refused": CaseKind(
        "a bank refused a whole settlement batch and did nothing of it, or the hub cannot write it for the bank "
        "(refused_by); it is not sent any more, and its money stays in transit",
        {
            "send_again": (
                "the reason is put right, at the bank or in its settings (`sluice bank rotate`): send the same lines "
                "again, under the same number"
            ),
            "cancel": (
                "it is not to be sent: the hub asks the bank once more, and if that has nothing of it, every payee is "
                "owed its share again and paid with the next batch"
            ),
        },
    ),
    "payout_in_doubt": CaseKind(
        "a bank refused a payout as a duplicate, or gave contradictory answers: it may have been paid, so its money "
        "stays in transit",
        {
            "paid": "the bank states elsewhere (in its statement) that it paid: book the payout as paid",
            "not_paid": "the bank states elsewhere that it has not paid and will not: the payee is owed it again",
            "wait": "leave it in transit; the bank's next statement decides",
        },
    ),
    "payout_recalled": CaseKind(
        "a line that two people had recalled 追回 was not paid, or came back: its payee is owed it again, and it is "
        "held and in no batch until people decide",
        {
            "release": (
                "the payee and its account are right, or have been put right: its money is paid with the next batch. "
                "Who is to have it no more is refunded first"
            ),
            "paid": "the bank states that it has paid the line after all (ask it to show the debit): book it as paid",
        },
    ),
    "withdrawal_in_doubt": CaseKind(
        "a bank took no order for a payee's withdrawal 提现 (refused_by), refused it as a duplicate, or gave "
        "contradictory answers: its money stays held in the sub-account; one without an order is sent no more",
        {
            "paid": "the bank states elsewhere (in its statement) that it paid: book the withdrawal as paid",
            "not_paid": "the bank states elsewhere that it has not paid and will not: the payee can withdraw it again",
            "send_again": (
                "the bank took no order, and the reason is put right: send the same order again, under the same number"
            ),
            "wait": "leave it held; the bank's next report decides",
        },
    ),
    "bank_contradicts_itself": CaseKind(
        "a bank contradicted what it had said of a payout or a withdrawal; the second statement was not booked",
        _LOOKED_INTO,
    ),
    "booking_unclear": CaseKind(
        "a bank reports a booking that looks like one already booked: either one booking was reported twice, or money "
        "moved twice; it is not booked",
        {
            "another": "the bank's statement has both: book this one too",
            "same": "the bank reported one booking twice, or corrected it (say how in the note): book nothing",
        },
    ),
    "booking_unidentified": CaseKind(
        "a bank reports a booking that cannot be attributed: it is no channel's deposit, no payment's transfer and no "
        "payout of the hub; it is not booked",
        {
            "book": "a channel paid it in, or took it: book it on the channel account that you name (--account)",
            "returned": (
                "a payout came back 退票: name its line (--line, see `sluice settlement show`); its payee is owed it "
                "again. Of a withdrawal, its id (wdr_…): the sub-account has it again"
            ),
            "suspend": "nobody can say yet whose it is: put it in suspense 挂账, which is a case until it leaves it",
            "interest": "the bank paid interest 结息 on what is in custody: book it so",
            "charge": "the bank took a charge 银行收费 of its own: book it so",
            "moved": (
                "it is on an account for one role 功能账户 (`sluice bank accounts`), and was moved there from the pool "
                "account, or from there to it: book it so, and decide the pool account's own booking as no_deposit"
            ),
            "part": (
                "the bank booked a batch as several sums, and this is one (batch): when each is decided so, the lines "
                "in transit are paid. Only where they come to the same, to the unit"
            ),
            "no_deposit": (
                "it is no channel's: somebody else's money (say in the note what it is, and what becomes of "
                "it); book nothing"
            ),
        },
        names={"book": "account", "returned": "line"},
    ),
    "money_in_suspense": CaseKind(
        "money came into the pool account, or went from it, and nobody knows whose it is: it is in suspense 挂账. A "
        "rail's deposit for several channel accounts is there until the rail's bill says whose it is (awaits_bill); "
        "then what no line of the bill explains",
        {
            "book": "a channel paid it in, or took it: book it on the channel account that you name (--account)",
            "returned": "a payout came back 退票: name its line (--line); its payee is owed it again",
            "gone_back": (
                "the bank has sent it back to whom it came from, or got it back (decide the booking that tells of "
                "that as no_deposit)"
            ),
        },
        names={"book": "account", "returned": "line"},
    ),
    "bank_file_set_aside": CaseKind(
        "a bank's file, or a part of it, cannot be trusted, read or applied; the files after it are applied. The hub "
        "fetches it again every few minutes, and the case closes when all of it has been applied",
        {
            "release": (
                "the bank stands by the file: what is kept of it is applied, though it gives totals or ids otherwise "
                "than they are. Not a file that the bank has not signed"
            ),
            "replace": (
                "the bank has sent the file another way: the one that you name (--file, see `sluice bank files "
                "replace`) is applied in its place"
            ),
            "discard": (
                "its content has come in another file, was put right outside the hub, or does not concern the hub (say "
                "which in the note): the hub stops fetching it and books nothing more of it"
            ),
        },
        names={"replace": "file"},
    ),
}
