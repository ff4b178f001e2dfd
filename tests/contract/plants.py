"""Harms, planted: each makes any rail's adapter commit exactly one, so that the plays can be seen to bite.

A plant wraps the rail's own channel and changes what passes through one of its methods. It knows the contract's words
and nothing of a rail, so that a rail that comes later is tried with all of them. What one rail cannot do wrong stands
in `spared`, with the reason; test_plants.py holds that list against what rails say of themselves.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, ClassVar

from channels import (
    BadBill,
    BadNotice,
    Channel,
    Confirmed,
    Method,
    Notice,
    Order,
    Outcome,
    Pending,
    Refused,
    Unknown,
)
from channels.contract import BillFile, BillLine, Dispute, DisputeStatus, Kind, Request, Response, Unmoved
from channels.powers import TellsDisputes
from kernel.money import Money
from tests.contract.plays import UNHEARD_OF, RailFacts


class Planted:
    """A channel with one harm. Everything else is the rail's own."""

    everybody: ClassVar[list["Planted"]] = []  # every planted channel of this run: whom answers may be mistaken for

    def __init__(self, channel: Channel) -> None:
        self.real = channel
        self.asked: list[Any] = []
        self.everybody.append(self)
        for name in dir(channel):  # powers are asked for by type, which takes no note of __getattr__
            if not name.startswith("_") and not hasattr(type(self), name):
                setattr(self, name, self._of_the_rail(name))

    def _of_the_rail(self, name: str) -> Any:
        found = getattr(self.real, name)
        if name.endswith("_request") and name not in ("bill_request", "fund_bill_request", "trusted_keys_request"):

            def remembering(*asked: Any, **more: Any) -> Any:
                if asked and asked[0] not in self.asked:
                    self.asked.append(asked[0])
                return found(*asked, **more)

            return remembering
        return found

    def others(self) -> Iterable["Planted"]:
        """Return the other accounts of this rail."""
        return [one for one in self.everybody if one is not self and one.real.name == self.real.name]

    def query_outcome(self, order: Order, answer: Response, *, now: datetime) -> Outcome:
        return self.read("query", order, answer, now)

    def pay_outcome(self, order: Order, answer: Response, *, now: datetime) -> Outcome:
        return self.read("pay", order, answer, now)

    def close_outcome(self, order: Order, answer: Response, *, now: datetime) -> Outcome:
        return self.read("close", order, answer, now)

    def reverse_outcome(self, order: Order, answer: Response, *, now: datetime) -> Outcome:
        return self.read("reverse", order, answer, now)

    def proceed_outcome(self, order: Order, answer: Response, *, now: datetime) -> Outcome:
        return self.read("proceed", order, answer, now)

    def refund_outcome(self, refund: Any, answer: Response, *, now: datetime) -> Outcome:
        return self.read("refund", refund, answer, now)

    def refund_query_outcome(self, refund: Any, answer: Response, *, now: datetime) -> Outcome:
        return self.read("refund_query", refund, answer, now)

    def read(self, op: str, asked: Any, answer: Response, now: datetime) -> Outcome:
        """Return what an answer means; plants change this."""
        return self.rightly(op, asked, answer, now)

    def rightly(self, op: str, asked: Any, answer: Response, now: datetime) -> Outcome:
        """Return what the rail's own adapter makes of an answer."""
        outcome: Outcome = getattr(self.real, f"{op}_outcome")(asked, answer, now=now)
        return outcome


def in_doubt(outcome: Outcome) -> bool:
    return isinstance(outcome, Unknown) and not outcome.not_found


def moved(asked: Any, now: datetime) -> Confirmed:
    return Confirmed(asked.channel_ref or "0", asked.amount, now)


# ---- answers ---------------------------------------------------------------------------------------------------------


class AnotherOrder(Planted):
    """Believes an answer about another order, or another refund, of the same account."""

    def read(self, op: str, asked: Any, answer: Response, now: datetime) -> Outcome:
        found = self.rightly(op, asked, answer, now)
        others = [one for one in self.asked if type(one) is type(asked) and one != asked] if in_doubt(found) else []
        for other in others:
            with suppress(ValueError):
                found = self.rightly(op, other, answer, now)
                if not isinstance(found, Unknown):
                    return found
        return self.rightly(op, asked, answer, now)


class AnotherMerchant(Planted):
    """Believes an answer about another merchant's order of the same number."""

    def read(self, op: str, asked: Any, answer: Response, now: datetime) -> Outcome:
        found = self.rightly(op, asked, answer, now)
        if not in_doubt(found):
            return found
        for other in self.others():
            for theirs in other.asked:
                if type(theirs) is type(asked) and theirs.reference == asked.reference:
                    read = other.rightly(op, theirs, answer, now)
                    if not isinstance(read, Unknown):
                        return read
        return found


class AnotherAmount(Planted):
    """Takes whatever amount the rail states for what was asked."""

    def read(self, op: str, asked: Any, answer: Response, now: datetime) -> Outcome:
        found = self.rightly(op, asked, answer, now)
        if isinstance(found, Unknown) and found.stated_amount is not None:
            return moved(replace(asked, amount=found.stated_amount), now)
        if in_doubt(found):
            for minor in (asked.amount.minor - 1, asked.amount.minor + 1):
                read = self.rightly(op, replace(asked, amount=Money(minor, asked.amount.currency)), answer, now)
                if isinstance(read, Confirmed):
                    return read
        return found


class AnotherCurrency(Planted):
    """Compares figures, and no currencies."""

    def read(self, op: str, asked: Any, answer: Response, now: datetime) -> Outcome:
        found = self.rightly(op, asked, answer, now)
        for currency in self.real.capabilities.currencies if in_doubt(found) else ():
            read = self.rightly(op, replace(asked, amount=Money(asked.amount.minor, currency)), answer, now)
            if isinstance(read, Confirmed):
                return read
        return found


class PendingAsPaid(Planted):
    """Takes what waits for its payer for paid."""

    def read(self, op: str, asked: Any, answer: Response, now: datetime) -> Outcome:
        found = self.rightly(op, asked, answer, now)
        return moved(asked, now) if isinstance(found, Pending) and op == "query" else found


class AcceptedAsDone(Planted):
    """Takes a refund that was accepted for one that was done."""

    def read(self, op: str, asked: Any, answer: Response, now: datetime) -> Outcome:
        found = self.rightly(op, asked, answer, now)
        return moved(asked, now) if isinstance(found, Pending) and op == "refund" else found


class DoubtAsPaid(Planted):
    """Takes an answer that cannot be trusted (unsigned, wrongly signed, an error) for yes."""

    def read(self, op: str, asked: Any, answer: Response, now: datetime) -> Outcome:
        found = self.rightly(op, asked, answer, now)
        return moved(asked, now) if in_doubt(found) and op in ("query", "refund_query") else found


class DoubtAsRefused(Planted):
    """Takes an answer that cannot be trusted for no."""

    def read(self, op: str, asked: Any, answer: Response, now: datetime) -> Outcome:
        found = self.rightly(op, asked, answer, now)
        return Refused("doubt", closed=True) if in_doubt(found) else found


class NewWordAsPaid(Planted):
    """Takes a word that it does not know for yes."""

    def read(self, op: str, asked: Any, answer: Response, now: datetime) -> Outcome:
        found = self.rightly(op, asked, answer, now)
        return moved(asked, now) if not isinstance(found, Confirmed) and in_a_new_word(answer) else found


class NewWordAsRefused(Planted):
    """Takes a word that it does not know for no."""

    def read(self, op: str, asked: Any, answer: Response, now: datetime) -> Outcome:
        found = self.rightly(op, asked, answer, now)
        return Refused("new_word", closed=True) if not isinstance(found, Confirmed) and in_a_new_word(answer) else found


def in_a_new_word(answer: Response) -> bool:
    return any(word.encode() in answer.body for word in UNHEARD_OF if word)


def only_of_refunds(harm: type[Planted]) -> type[Planted]:
    """Return a plant that does its harm where refunds are concerned, and reads payments rightly."""

    class OfRefunds(harm):  # type: ignore[valid-type,misc]
        def read(self, op: str, asked: Any, answer: Response, now: datetime) -> Outcome:
            if not op.startswith("refund"):
                return self.rightly(op, asked, answer, now)
            outcome: Outcome = super().read(op, asked, answer, now)
            return outcome

    return OfRefunds


class NotFoundAsRefused(Planted):
    """Takes "no such order" for no."""

    def read(self, op: str, asked: Any, answer: Response, now: datetime) -> Outcome:
        found = self.rightly(op, asked, answer, now)
        return Refused("not_found", closed=True) if isinstance(found, Unknown) and found.not_found else found


class ClosedWithoutAsking(Planted):
    """Takes every answer to a closing for done."""

    def read(self, op: str, asked: Any, answer: Response, now: datetime) -> Outcome:
        return Refused("closed", closed=True) if op == "close" else self.rightly(op, asked, answer, now)


class FailedRefundNotUnderstood(Planted):
    """Has no word for a refund that failed, so that it is asked about for ever."""

    def read(self, op: str, asked: Any, answer: Response, now: datetime) -> Outcome:
        found = self.rightly(op, asked, answer, now)
        if op in ("refund", "refund_query") and (isinstance(found, Refused) or has_failed(found)):
            return Unknown("no such word")
        return found


class FailedRefundAsDone(Planted):
    """Takes the end of a refund for its success."""

    def read(self, op: str, asked: Any, answer: Response, now: datetime) -> Outcome:
        found = self.rightly(op, asked, answer, now)
        failed = op in ("refund", "refund_query") and (isinstance(found, Refused) or has_failed(found))
        return moved(asked, now) if failed else found


def has_failed(outcome: Outcome) -> bool:
    return isinstance(outcome, Pending) and (outcome.next_action or {}).get("type") == "operator"


class LateAnswerAsFirst(Planted):
    """Takes a rail's refusal of a repeated message for the answer to the first."""

    def read(self, op: str, asked: Any, answer: Response, now: datetime) -> Outcome:
        found = self.rightly(op, asked, answer, now)
        return Refused("repeated") if in_doubt(found) and op in ("pay", "refund") else found


# ---- what is asked for -----------------------------------------------------------------------------------------------


class NoEnd(Planted):
    """Never tells the rail when an order ends."""

    def pay_request(self, order: Order) -> Request:
        return self.real.pay_request(replace(order, expires_at=order.expires_at + timedelta(hours=1)))

    def payer_initiated_action(self, order: Order, *, now: datetime, nonce: str) -> Pending:
        longer = replace(order, expires_at=order.expires_at + timedelta(hours=1))
        return self.real.payer_initiated_action(longer, now=now, nonce=nonce)


class WrongAmountAsked(Planted):
    """Asks for one unit more than the order is of."""

    def pay_request(self, order: Order) -> Request:
        return self.real.pay_request(one_more(order))

    def payer_initiated_action(self, order: Order, *, now: datetime, nonce: str) -> Pending:
        return self.real.payer_initiated_action(one_more(order), now=now, nonce=nonce)


class WrongRefundAsked(Planted):
    """Gives back one unit more than the refund is of."""

    def refund_request(self, refund: Any) -> Request:
        return self.real.refund_request(one_more(refund))


def one_more(asked: Any) -> Any:
    return replace(asked, amount=Money(asked.amount.minor + 1, asked.amount.currency))


class RefundTwice(Planted):
    """Gives a repeated refund a number of its own."""

    times = 0

    def refund_request(self, refund: Any) -> Request:
        self.times += 1
        return self.real.refund_request(replace(refund, reference=f"{refund.reference[:-4]}{self.times:04}"))


class OrderTwice(Planted):
    """Gives a repeated order a number of its own."""

    times = 0

    def pay_request(self, order: Order) -> Request:
        self.times += 1
        return self.real.pay_request(replace(order, reference=f"{order.reference[:-4]}{self.times:04}"))


# ---- notices ---------------------------------------------------------------------------------------------------------


class AnyAge(Planted):
    """Believes a notice however long ago it was signed."""

    def notice(self, message: Response, *, now: datetime) -> Notice | None:
        return self.real.notice(message, now=datetime.now(UTC))


class AnyonesNotice(Planted):
    """Believes a notice that is for another account."""

    def notice(self, message: Response, *, now: datetime) -> Notice | None:
        try:
            return self.real.notice(message, now=now)
        except BadNotice:
            for other in self.others():
                with suppress(BadNotice):
                    return other.real.notice(message, now=now)
            raise


class AnySignature(Planted):
    """Believes a notice whoever signed it, as long as it looks like one."""

    last: Notice | None = None

    def notice(self, message: Response, *, now: datetime) -> Notice | None:
        try:
            self.last = self.real.notice(message, now=now) or self.last
        except BadNotice as doubt:
            if self.last is None or doubt.code == "unknown_key":
                raise
        return self.last


class NewIdEachTime(Planted):
    """Takes every copy of a notice for a notice of its own."""

    told = 0

    def notice(self, message: Response, *, now: datetime) -> Notice | None:
        notice = self.real.notice(message, now=now)
        self.told += 1
        return None if notice is None else replace(notice, notice_id=f"{notice.notice_id}-{self.told}")


class OldKeysOnly(Planted):
    """Never learns a rail's new key."""

    def trusted_keys_request(self, message: Response | None = None) -> Request | None:
        return None

    def notice(self, message: Response, *, now: datetime) -> Notice | None:
        self.first = getattr(self, "first", None) or self.key_of(message, now)
        if self.key_of(message, now) != self.first:
            raise BadNotice("bad_signature", "not signed with the one key there is")
        return self.real.notice(message, now=now)

    def key_of(self, message: Response, now: datetime) -> str:
        return self.real.verified_by(message, now=now)


class WrongUnitTold(Planted):
    """Reads a notice's amount in another unit."""

    def notice(self, message: Response, *, now: datetime) -> Notice | None:
        notice = self.real.notice(message, now=now)
        if notice is None or not isinstance(notice.outcome, Confirmed):
            return notice
        amount = Money(notice.outcome.amount.minor * 100, notice.outcome.amount.currency)
        return replace(notice, outcome=replace(notice.outcome, amount=amount))


class NoticeOfAnother(Planted):
    """Reads a notice as if it were about the order before."""

    first: str = ""

    def notice(self, message: Response, *, now: datetime) -> Notice | None:
        notice = self.real.notice(message, now=now)
        if notice is None:
            return None
        self.first = self.first or notice.reference
        return replace(notice, reference=self.first)


# ---- bills -----------------------------------------------------------------------------------------------------------


class AnyonesBill(Planted):
    """Reads another merchant's bill."""

    def bill_lines(self, content: bytes, day: date, *, only_late: bool = False) -> Iterable[BillLine]:
        try:
            return list(self.real.bill_lines(content, day, only_late=only_late))
        except BadBill:
            for other in self.others():
                with suppress(BadBill):
                    return list(other.real.bill_lines(content, day, only_late=only_late))
            raise


class AnyDaysBill(Planted):
    """Reads another day's bill."""

    def bill_lines(self, content: bytes, day: date, *, only_late: bool = False) -> Iterable[BillLine]:
        for off in (0, *range(1, 9), *range(-8, 0)):
            with suppress(BadBill):
                return list(self.real.bill_lines(content, day + timedelta(days=off), only_late=only_late))
        raise BadBill("other_day", "of no day near this one")


class AnyBytes(Planted):
    """Reads a bill whatever bytes came: neither hash nor signature is looked at."""

    file: BillFile | None = None
    content = b""

    def bill_file(self, asked: Request, answer: Response, *, now: datetime) -> BillFile:
        found = self.real.bill_file(asked, answer, now=now)
        if found.ready:
            self.file = found
        return self.file or found

    def bill_content(self, file: BillFile, answer: Response) -> bytes:
        try:
            self.content = self.real.bill_content(file, answer)
        except BadBill:
            if file.sha1 is not None:
                found = hashlib.sha1(answer.body, usedforsecurity=False).hexdigest()
                with suppress(BadBill):
                    return self.real.bill_content(replace(file, sha1=found), answer)
            if not self.content:
                raise
        return self.content


class FirstPageOnly(Planted):
    """Reads the first page of a bill for all of it."""

    def bill_file(self, asked: Request, answer: Response, *, now: datetime) -> BillFile:
        return replace(self.real.bill_file(asked, answer, now=now), more=None)


class PaidForEver(Planted):
    """Takes what was paid once for paid, whatever has become of it since."""

    def __init__(self, channel: Channel) -> None:
        super().__init__(channel)
        self.paid: dict[str, Confirmed] = {}

    def read(self, op: str, asked: Any, answer: Response, now: datetime) -> Outcome:
        found = self.rightly(op, asked, answer, now)
        if op == "query" and isinstance(found, Confirmed):
            self.paid[asked.reference] = found
        return self.paid.get(asked.reference, found)


def changed_lines(change: Callable[[list[BillLine]], list[BillLine]]) -> type[Planted]:
    """Return a plant that reads a bill so changed."""

    class Changed(Planted):
        def bill_lines(self, content: bytes, day: date, *, only_late: bool = False) -> Iterable[BillLine]:
            return change(list(self.real.bill_lines(content, day, only_late=only_late)))

    return Changed


# ---- disputes --------------------------------------------------------------------------------------------------------


class Disputing(Planted):
    """A channel with a harm in what it says of disputes."""

    asked_of: ClassVar[list[str]] = []

    def dispute_outcome(self, ref: str, answer: Response, *, now: datetime) -> Dispute | Unmoved | Unknown:
        if ref not in self.asked_of:
            self.asked_of.append(ref)
        return self.heard(ref, answer, now)

    def heard(self, ref: str, answer: Response, now: datetime) -> Dispute | Unmoved | Unknown:
        """Return what an answer means; plants change this."""
        return self.truly(ref, answer, now)

    def truly(self, ref: str, answer: Response, now: datetime) -> Dispute | Unmoved | Unknown:
        """Return what the rail's own adapter makes of an answer; what it has no power to say it does not know."""
        if not isinstance(self.real, TellsDisputes):
            return Unknown("this rail tells of none")
        return self.real.dispute_outcome(ref, answer, now=now)


class InquiryAsChargeback(Disputing):
    """Takes an inquiry, for which nothing was taken, for a chargeback."""

    def heard(self, ref: str, answer: Response, now: datetime) -> Dispute | Unmoved | Unknown:
        found = self.truly(ref, answer, now)
        if not isinstance(found, Unmoved):
            return found
        nothing = Money(1, "CNY")
        return Dispute(ref, found.reference, "", DisputeStatus.OPENED, nothing, nothing, found.reason, now)


class NeverEnds(Disputing):
    """Says of every dispute that it is open."""

    def heard(self, ref: str, answer: Response, now: datetime) -> Dispute | Unmoved | Unknown:
        found = self.truly(ref, answer, now)
        return replace(found, status=DisputeStatus.OPENED) if isinstance(found, Dispute) else found


class AnotherDispute(Disputing):
    """Believes an answer about another dispute."""

    def heard(self, ref: str, answer: Response, now: datetime) -> Dispute | Unmoved | Unknown:
        for other in [ref, *self.asked_of]:
            found = self.truly(other, answer, now)
            if not isinstance(found, Unknown):
                return found
        return self.truly(ref, answer, now)


def tells_none(rail: RailFacts) -> str:
    return "" if rail.tells_disputes else "it tells of no disputes"


# ---- the list --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Harm:
    """One harm: what plants it, the plays of which at least one must fail, and whom it cannot happen to."""

    plant: type[Planted]
    plays: tuple[str, ...]  # module without its test_contract_, a dot, the play without its test_
    spared: Callable[[RailFacts], str] = lambda rail: ""  # why this rail cannot do it; empty: it can


NEW_WORDS = ("harm.a_payments_state_in_a_word_nobody_knows_is_asked_about_again",)
NEW_WORD_OF_REFUNDS = ("harm.a_refunds_state_in_a_word_nobody_knows_is_asked_about_again",)

HARMS: Mapping[str, Harm] = {
    "an order that never ends": Harm(
        NoEnd, ("harm.no_order_can_be_paid_after_the_moment_we_said",), lambda rail: rail.other.NO_EXPIRY
    ),
    "another order's answer believed": Harm(
        AnotherOrder, ("harm.what_is_said_of_another_order_is_not_believed_of_this_one",)
    ),
    "another refund's answer believed": Harm(
        AnotherOrder, ("harm.what_is_said_of_another_refund_is_not_believed_of_this_one",)
    ),
    "another merchant's answer believed": Harm(
        AnotherMerchant,
        ("harm.what_is_said_of_another_merchants_order_of_the_same_number_is_not_believed",),
        lambda rail: rail.other.UNNAMED.get("merchant", ""),
    ),
    "another amount believed": Harm(AnotherAmount, ("payments.an_amount_other_than_ours_is_never_confirmed",)),
    "another refund's amount believed": Harm(
        AnotherAmount, ("refunds.an_amount_other_than_ours_is_never_a_confirmed_refund",)
    ),
    "another currency believed": Harm(
        AnotherCurrency, ("harm.the_same_figure_in_another_currency_is_never_confirmed",)
    ),
    "pending read as paid": Harm(
        PendingAsPaid,
        (
            "payments.what_the_payer_is_shown_leads_to_a_payment",
            "payments.a_payer_who_is_asked_first_is_waited_for",
            "payments.an_order_nobody_made_is_not_found_and_not_refused",
        ),
    ),
    "a refund accepted read as done": Harm(
        AcceptedAsDone, ("harm.a_refund_that_fails_is_known_to_have_failed",), lambda rail: rail.other.REFUNDS_AT_ONCE
    ),
    "an untrusted answer read as paid": Harm(
        DoubtAsPaid, ("faults.a_question_in_doubt_is_unknown_and_may_be_asked_again",)
    ),
    "an untrusted answer read as refused": Harm(
        DoubtAsRefused, ("faults.a_question_in_doubt_is_unknown_and_may_be_asked_again",)
    ),
    "an untrusted answer about a refund read as done": Harm(
        DoubtAsPaid, ("faults.a_question_about_a_refund_in_doubt_is_unknown",)
    ),
    "a word nobody knows read as paid": Harm(NewWordAsPaid, NEW_WORDS),
    "a word nobody knows read as refused": Harm(NewWordAsRefused, NEW_WORDS),
    "a word nobody knows about a refund read as done": Harm(only_of_refunds(NewWordAsPaid), NEW_WORD_OF_REFUNDS),
    "a word nobody knows about a refund read as failed": Harm(only_of_refunds(NewWordAsRefused), NEW_WORD_OF_REFUNDS),
    "not found read as refused": Harm(
        NotFoundAsRefused,
        ("payments.an_order_nobody_made_is_not_found_and_not_refused",),
        lambda rail: "its questions make the order they ask about" if rail.capabilities.query_by_resend else "",
    ),
    "closed without asking": Harm(ClosedWithoutAsking, ("payments.an_order_that_was_paid_is_never_reported_closed",)),
    "paid for ever": Harm(
        PaidForEver,
        ("harm.a_reversal_carried_out_after_the_rail_said_paid_is_told_of_when_asked",),
        lambda rail: "" if Method.BARCODE in rail.methods else "no message gives back what it said was paid",
    ),
    "a failed refund not understood": Harm(
        FailedRefundNotUnderstood, ("harm.a_refund_that_fails_is_known_to_have_failed",)
    ),
    "a failed refund read as done": Harm(FailedRefundAsDone, ("harm.a_refund_that_fails_is_known_to_have_failed",)),
    "a repeated order's refusal read as final": Harm(
        LateAnswerAsFirst,
        ("payments.the_same_number_for_another_amount_is_never_a_refusal",),
    ),
    "a repeated refund's refusal read as final": Harm(
        LateAnswerAsFirst, ("refunds.the_same_refund_number_for_another_amount_is_never_a_refusal",)
    ),
    "another amount asked for": Harm(WrongAmountAsked, ("payments.an_amount_other_than_ours_is_never_confirmed",)),
    "another amount given back": Harm(WrongRefundAsked, ("refunds.repeating_a_refund_pays_back_once",)),
    "a refund repeated under a new number": Harm(RefundTwice, ("refunds.repeating_a_refund_pays_back_once",)),
    "an order repeated under a new number": Harm(
        OrderTwice, ("faults.an_order_in_doubt_is_had_by_asking_again_with_the_same_number",)
    ),
    "a copy of a notice taken for another": Harm(NewIdEachTime, ("notices.a_notice_sent_twice_reads_the_same_twice",)),
    "a rail's new key never learned": Harm(
        OldKeysOnly,
        ("keys.a_notice_under_way_while_keys_change_is_read_and_so_are_later_ones",),
        lambda rail: "" if rail.other.LEARNS_KEYS else "its new keys come with new settings",
    ),
    "a notice of any age believed": Harm(
        AnyAge,
        ("harm.a_notice_signed_long_ago_is_not_believed",),
        lambda rail: rail.other.NO_WINDOW,
    ),
    "another account's notice believed": Harm(AnyonesNotice, ("notices.a_notice_for_another_account_is_refused",)),
    "any signature of a notice believed": Harm(AnySignature, ("notices.a_notice_altered_on_the_way_is_refused",)),
    "a notice's amount in another unit": Harm(
        WrongUnitTold, ("notices.a_payment_is_told_by_a_notice_that_agrees_with_the_query",)
    ),
    "a notice taken for another order's": Harm(
        NoticeOfAnother, ("notices.notices_in_another_order_each_speak_of_their_own_payment",)
    ),
    "another merchant's bill read": Harm(
        AnyonesBill, ("harm.another_merchants_bill_is_not_read_as_ours",), lambda rail: rail.other.BILL_OF_NOBODY
    ),
    "another day's bill read": Harm(AnyDaysBill, ("bills.another_days_bill_is_not_read_as_todays",)),
    "a bill of any bytes read": Harm(
        AnyBytes,
        ("harm.a_bill_altered_on_the_way_is_not_read", "harm.a_whole_bill_of_other_bytes_is_not_read_in_its_place"),
        lambda rail: rail.other.BILL_UNVOUCHED,
    ),
    "a bill's second page ignored": Harm(
        FirstPageOnly,
        ("harm.a_bill_of_several_pages_is_read_to_its_end",),
        lambda rail: "" if rail.other.PAGE_SIZE else "its bill comes in one piece",
    ),
    "an inquiry taken for a chargeback": Harm(
        InquiryAsChargeback, ("disputes.an_inquiry_has_taken_nothing_until_it_does",), tells_none
    ),
    "a dispute's end not understood": Harm(
        NeverEnds, ("disputes.a_dispute_is_told_of_as_what_it_took_and_gave_back",), tells_none
    ),
    "another dispute's answer believed": Harm(
        AnotherDispute, ("disputes.what_is_said_of_another_dispute_is_not_believed",), tells_none
    ),
    "a bill's chargebacks read as refunds": Harm(
        changed_lines(lambda lines: [replace(line, kind=Kind.REFUND) for line in lines]),
        ("disputes.a_days_bill_has_what_disputes_took_and_gave_back",),
        tells_none,
    ),
    "a bill's payment lost": Harm(
        changed_lines(lambda lines: sorted(lines, key=lambda line: line.kind is Kind.REFUND)[1:]),
        ("bills.a_days_bill_says_what_the_counterparty_says",),
    ),
    "a bill's fees ignored": Harm(
        changed_lines(lambda lines: [replace(line, fee=Money(0, line.fee.currency)) for line in lines]),
        ("bills.a_days_bill_says_what_the_counterparty_says",),
        lambda rail: rail.other.NO_FEE,
    ),
    "a bill's refunds read as payments": Harm(
        changed_lines(lambda lines: [replace(line, kind=Kind.PAYMENT) for line in lines]),
        ("bills.a_days_bill_says_what_the_counterparty_says",),
    ),
    "a bill's states ignored": Harm(
        changed_lines(lambda lines: [replace(line, status="success") for line in lines]),
        ("bills.a_payment_nobody_made_and_one_of_another_state_show_in_the_bill",),
    ),
}
