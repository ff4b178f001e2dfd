"""The event that a state table names beside a move is the one that is published with it, and no other is."""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import cases
import cases.states
import gateway.payments.record_outcome
import gateway.states
import people.states
import reconciliation.states
import splitting.states
from channels.banks import RecallVerdict
from channels.contract import Confirmed, Dispute, DisputeStatus, Refused
from gateway.payments.attempts import FailOver
from gateway.payments.belief import Answers
from gateway.payments.chargebacks import RecordChargeback
from gateway.payments.record_refund import RecordRefundOutcome
from gateway.tables import ATTEMPTS, CHARGEBACKS, PAYMENTS, REFUNDS, overpaid_refund_id
from kernel.errors import Conflict
from kernel.money import Money
from kernel.states import Move, StateTable
from kernel.work import Command, Table
from ops.wiring import joined_events
from splitting import (
    ApplyDeposit,
    BankLink,
    CreatePayee,
    DecideInstruction,
    LinkBank,
    MakeSettlement,
    MarkSent,
    Payee,
)
from splitting.accounts.freezing import FreezeAccount, UnfreezeAccount
from splitting.accounts.opening import OpenAnew, RecordOpening, Said
from splitting.rails.receivers import RecordReceiver, SetReceiver
from splitting.recalls import decisions as recall_decisions
from splitting.recalls.commands import AnswerRecall, Asked, GiveRecall, RecallLines, RecallWithdrawal
from splitting.settlement import refused
from splitting.settlement.calendar import BankHours
from splitting.settlement.instructions import ReleaseSettlement
from splitting.settlement.payouts import SetPayoutBank
from splitting.settlement.refused import CancelSettlement, GiveBack, RefuseSettlement
from splitting.settlement.returns import ApplyReturn
from splitting.store import Owed
from splitting.tables import (
    INSTRUCTIONS,
    PAYEES,
    RAIL_RECEIVERS,
    RECALLS,
    SETTLEMENTS,
    SHARE_ORDERS,
    SHARE_RETURNS,
    WITHDRAWALS,
    PayeeAccount,
    RailReceiver,
)
from splitting.withdrawals import decisions as withdrawal_decisions
from splitting.withdrawals.commands import (
    ApplyWithdrawalReturn,
    AskWithdrawal,
    BindAccount,
    DecideWithdrawal,
    MarkWithdrawalSent,
    StopWithdrawal,
)
from streams.outbox import EVENTS
from tests.gateway.payments.life import AMOUNT, LASTS, MOVES, PAYMENT, RAILS, WAIT, Life
from tests.splitting.in_memory import BOOK, DAY, NOW, Book, Ledger
from tests.splitting.test_rails_never_pay_twice import EVERY_FATE, FARM, Market

ROOT = Path(__file__).resolve().parents[2]


class Object(NamedTuple):
    """A kind of object: where its rows are, and its state table's module and name."""

    rows: Table[Any]
    module: Any
    name: str
    of: str = "status"

    @property
    def table(self) -> StateTable[Any, Any]:
        found: StateTable[Any, Any] = getattr(self.module, self.name)
        return found


OBJECTS = (
    Object(PAYMENTS, gateway.states, "PAYMENT"),
    Object(ATTEMPTS, gateway.states, "ATTEMPT"),
    Object(REFUNDS, gateway.states, "REFUND"),
    Object(CHARGEBACKS, gateway.states, "CHARGEBACK"),
    Object(SETTLEMENTS, splitting.states, "BATCH"),
    Object(INSTRUCTIONS, splitting.states, "INSTRUCTION"),
    Object(WITHDRAWALS, splitting.states, "WITHDRAWAL"),
    Object(PAYEES, splitting.states, "SUB_ACCOUNT", "account_status"),
    Object(RECALLS, splitting.states, "RECALL"),
    Object(RAIL_RECEIVERS, splitting.states, "RECEIVER"),
    Object(SHARE_ORDERS, splitting.states, "SHARING"),
    Object(SHARE_RETURNS, splitting.states, "FETCHING"),
    Object(cases.CASES, cases.states, "CASE"),
)
SILENT = (
    reconciliation.states.DISCREPANCY,
    people.states.PERSON,
    people.states.APPROVAL,
    splitting.states.FILE,
    splitting.states.RAIL_PART,
)
# Events that tell of no object with a state table, or of what is no move of one.
OTHERS = (
    *("split.", "split_plan.", "debt.", "payout_schedule.", "channel.", "channel_account."),
    *("payee.created", "payee.suspended", "payee.resumed", "payee.account_class_set"),
    *("routing_policy.", "payee_account.", "withdrawal_limit.", "payout_reserve.", "own_payee."),
)


def between(table: StateTable[Any, Any], before: str, after: str) -> set[str | None]:
    """Return what the moves tell that lead from one state to another."""
    return {move.tells for (state, _), move in table.items() if (state, move.to) == (before, after)}


class Watched(Book):
    """A book in memory that holds every event it is given against the state tables."""

    def __init__(self) -> None:
        self.seen: set[tuple[str, str | None, str]] = set()
        self.wrong: list[str] = []
        super().__init__()

    def _stand(self) -> dict[tuple[str, Any], str]:
        rows = ((one, self._rows.get(one.rows, {})) for one in OBJECTS)
        return {
            (one.name, key): status
            for one, found in rows
            for key, row in found.items()
            if row is not None and (status := getattr(row, one.of)) is not None
        }

    def do(self, command: Command[Any]) -> Any:
        before, told = self._stand(), len(self._added.get(EVENTS, []))
        try:
            return super().do(command)
        finally:
            after = self._stand()
            published = [event.type for event in self._added.get(EVENTS, [])[told:]]
            self._compare(type(command).__name__, before, after, published)

    def _compare(
        self, what: str, before: dict[tuple[str, Any], str], after: dict[tuple[str, Any], str], published: list[str]
    ) -> None:
        must: Counter[str] = Counter()
        may: set[str] = set()
        for (name, key), status in after.items():
            table = next(one for one in OBJECTS if one.name == name).table
            was = before.get((name, key))
            if was == status:
                may |= {tells for tells in between(table, status, status) if tells is not None}
                continue
            self.seen.add((name, was, status))
            tells = {table.begins.get(status, "no beginning")} if was is None else between(table, was, status)  # type: ignore[call-overload]
            if len(tells) != 1:
                self.wrong.append(f"{what}: {name} {was} → {status} is no move, or tells of two: {tells}")
            must.update(one for one in tells if one is not None)
        found = Counter(one for one in published if not one.startswith(OTHERS))
        if must - found:
            self.wrong.append(f"{what}: not published: {sorted(must - found)}")
        if beyond := [one for one in found - must if one not in may]:
            self.wrong.append(f"{what}: published, and no move says so: {beyond}")


class Lives(Life):
    """A payment's life with what else can end an order or a refund."""

    def __init__(self, chance: random.Random) -> None:
        self.watched = Watched()
        crowded = chance.random() < 0.3  # several orders at once, and money reserved by one of them
        super().__init__(
            cashier=crowded or chance.random() < 0.3,
            manual=crowded or chance.random() < 0.3,
            split=False,
            wallets=3 if crowded else chance.randint(0, 3),
            book=self.watched,
        )

    def runs_out(self, n: int) -> None:
        """The channel says that it is closed, after the payment's time has run out."""
        if tries := self.attempts:
            number = tries[n % len(tries)].number
            refund_id = overpaid_refund_id(PAYMENT, number)
            with self.later(LASTS):
                self.book.do(
                    gateway.payments.record_outcome.RecordOutcome(
                        BOOK, PAYMENT, number, Refused("CLOSED", closed=True), WAIT, refund_id
                    )
                )

    def fails_over_when_asked(self, n: int) -> None:
        """A question is answered with what another channel may take."""
        if tries := self.attempts:
            number, account = tries[n % len(tries)].number, RAILS[n % 3]
            said = Refused("BUSY", retriable=True)
            self.book.do(FailOver(BOOK, PAYMENT, number, said, self.chosen(account), answers=Answers.QUESTION))

    def refund_comes_back(self, n: int) -> None:
        if self.refunds:
            refund = self.refunds[n % len(self.refunds)]
            said = Refused("ACCOUNT_CLOSED")
            self.book.do(RecordRefundOutcome(BOOK, refund.id, said, 1.0, refund.retry_count, comes_back=True))

    def refund_is_paid_after_all(self, n: int) -> None:
        if self.refunds:
            refund = self.refunds[n % len(self.refunds)]
            good = Confirmed("ch-re", Money(refund.amount_minor, "CNY"), NOW)
            self.book.do(RecordRefundOutcome(BOOK, refund.id, good, 1.0, n % (refund.retry_count + 1)))

    def is_charged_back(self, n: int) -> None:
        """A payer disputes what was paid, and the channel tells how that stands."""
        if tries := self.attempts:
            attempt = tries[n % len(tries)]
            told = Dispute(
                f"dp_{attempt.number}_{n % 2}", None, attempt.channel_ref or "", DisputeStatus.OPENED,
                Money(AMOUNT // (1 + n % 2), "CNY"), Money(n % 2, "CNY"), "why", NOW,
            )  # fmt: skip
            ended = replace(told, status=DisputeStatus.WON if n % 3 else DisputeStatus.LOST, ended_at=NOW)
            for one in (told, ended)[: 1 + n % 5]:
                self.book.do(RecordChargeback(BOOK, PAYMENT, attempt.number, attempt.channel_account, one))


def lives(lived: int) -> Iterator[Watched]:
    chance = random.Random(8)
    moves = [*MOVES, *["runs_out", "fails_over_when_asked", "refund_comes_back", "refund_is_paid_after_all"] * 2]
    moves += ["is_charged_back"] * 3
    for _ in range(lived):
        life = Lives(chance)
        for _ in range(25):
            life.step(chance.choice(moves), chance.randint(0, 200))
        yield life.watched


def settlements() -> Iterator[Watched]:
    payees = [f"pye_{n}{0:025x}" for n in (1, 2)]
    for sent in (True, False):
        for fates in (["paid", "paid"], ["paid", "refused"], ["refused", "refused"], ["silent", "paid"]):
            book = Watched()
            ledger = Ledger(payees, "icbc")
            ledger.book = book
            for payee in payees:
                book.payee(payee, bank="icbc")
            ledger.settle()  # of nothing
            ledger.share(1_000)
            ledger.settle()
            if sent:
                for settlement in {line.settlement_id for line in ledger.open_lines}:
                    book.do(MarkSent(BOOK, settlement))
                    book.do(MarkSent(BOOK, settlement))
            lines = list(ledger.open_lines)
            ledger.decide(fates)
            for line in lines:
                told = ApplyDeposit(
                    BOOK, "icbc", None, "CNY", line.amount_minor, "R", DAY, line.id, "N", {"at_pool": True}
                )
                for _ in range(2):
                    book.do(ApplyReturn(line.id, told, "AC04"))
            yield book
    for limit in (None, 1):
        for portions in (1, 2):
            yield _in_portions(payees, portions, limit)
    for then in ("send_again", "cancel", "cancel, and it is there", "it is there", "it is decided"):
        yield _refused(payees, then)
    yield _cancelled(payees)


def _in_portions(payees: list[str], portions: int, limit: int | None) -> Watched:
    """Make a batch in portions, over the limit that two people have set for the bank or not."""
    book = Watched()
    ledger = Ledger(payees, "icbc")
    ledger.book = book
    for payee in payees:
        book.payee(payee, bank="icbc")
    book.do(LinkBank(BankLink(BOOK, "icbc", "62", "{}", "{}")))
    book.do(SetPayoutBank(BOOK, "icbc", BankHours(), limit, False))
    ledger.share(1_000)
    owed = [Owed(payee, minor, 0) for payee, minor in ledger.owed_now().items()]
    batch = MakeSettlement(BOOK, "icbc", ledger.day, ledger.day, "CNY", owed, NOW)
    if portions == 2:
        book.do(replace(batch, owed=owed[:1], upto=payees[0]))
        batch = replace(batch, owed=owed[1:], after=payees[0])
    book.do(batch)
    for _ in range(2):
        book.do(ReleaseSettlement(BOOK, batch.id))
    book.do(MarkSent(BOOK, batch.id))
    book.do(ReleaseSettlement(BOOK, batch.id))
    ledger.open_lines = [line for line in book._rows[INSTRUCTIONS].values() if line is not None]
    ledger.decide(["paid", "paid"])
    book.do(ReleaseSettlement(BOOK, batch.id))
    return book


def _cancelled(payees: list[str]) -> Watched:
    """Have two people cancel a batch that awaits its release."""
    book = Watched()
    ledger = Ledger(payees, "icbc")
    ledger.book = book
    for payee in payees:
        book.payee(payee, bank="icbc")
    book.do(LinkBank(BankLink(BOOK, "icbc", "62", "{}", "{}")))
    book.do(SetPayoutBank(BOOK, "icbc", BankHours(), 1, only_deposited=False))
    ledger.share(1_000)
    ledger.settle()
    lines = [line for line in book._rows[INSTRUCTIONS].values() if line is not None]
    for _ in range(2):
        book.do(CancelSettlement(BOOK, lines[0].settlement_id))
    for line in lines:
        book.do(GiveBack(BOOK, line.id))
    return book


def _refused(payees: list[str], then: str) -> Watched:
    """Have a bank refuse a batch as a whole, and what may follow from that."""
    book = Watched()
    ledger = Ledger(payees, "icbc")
    ledger.book = book
    for payee in payees:
        book.payee(payee, bank="icbc")
    ledger.share(1_000)
    ledger.settle()
    lines = list(ledger.open_lines)
    batch = lines[0].settlement_id
    no = RefuseSettlement(BOOK, batch, "code", "words", 1_000)
    for _ in range(2):
        book.do(no)
    book.do(ReleaseSettlement(BOOK, batch))
    decision = then.partition(",")[0]
    if decision in ("send_again", "cancel"):
        case = cases.case_id(BOOK, "settlement_refused", batch)
        book.do(cases.DecideCase(BOOK, case, decision, "ada", "why", refused.EFFECTS))
        book.do(ReleaseSettlement(BOOK, batch))
    if then == "cancel":
        for line in lines:
            book.do(GiveBack(BOOK, line.id))
    elif then != "it is decided":
        book.do(MarkSent(BOOK, batch))
        book.do(no)
    else:
        ledger.decide(["paid", "refused"])
        book.do(no)
    return book


def withdrawals() -> Iterator[Watched]:
    """Withdraw at a bank: one fate after another, from each state in which it may come, each word said twice."""
    payee = f"pye_{1}{0:025x}"
    fates = [
        ("paid",),
        ("refused",),
        ("sent", "paid", "returned", "sent", "paid", "refused"),
        ("sent", "refused", "sent"),
    ]
    fates += [("stopped", *then) for then in (("paid",), ("refused",), ("sent",), ("send_again", "stopped"))]
    for fate in fates:
        book = Watched()
        ledger = Ledger([payee], "icbc")
        ledger.book = book
        book.payee(payee, bank="icbc")
        book.do(LinkBank(BankLink(BOOK, "icbc", "62", "{}", "{}")))
        ledger.share(1_000)
        ledger.settle()
        ledger.decide(["paid"])
        book.do(BindAccount(PayeeAccount(BOOK, payee, "77", "ICBKCNBJ", "icbc", "ada", NOW)))
        asked = AskWithdrawal(BOOK, payee, "w-1", 1_000, "CNY", "key_1")
        row = book.do(asked)
        assert book.do(asked) == row
        told = ApplyDeposit(BOOK, "icbc", None, "CNY", 1_000, "R", DAY, row.id, "N", {"at_pool": False})
        words: dict[str, list[Command[Any]]] = {
            "sent": [MarkWithdrawalSent(BOOK, row.id)] * 2,
            "stopped": [StopWithdrawal(BOOK, row.id, "no", "words")] * 2,
            "paid": [DecideWithdrawal(BOOK, row.id, True, None, DAY)] * 2,
            "refused": [DecideWithdrawal(BOOK, row.id, False, "AC04", DAY)] * 2,
            "returned": [ApplyWithdrawalReturn(row.id, told, "AC04")] * 2,
        }
        case = cases.case_id(BOOK, "withdrawal_in_doubt", row.id)
        for word in fate:
            if fate[0] == "stopped" and word in ("refused", "send_again"):
                decision = "not_paid" if word == "refused" else word
                book.do(cases.DecideCase(BOOK, case, decision, "ada", "why", withdrawal_decisions.EFFECTS))
            else:
                for command in words[word]:
                    book.do(command)
        yield book


def openings() -> Iterator[Watched]:
    """Have a bank open a payee's account at once, later, or not; and another after it opened none."""
    opening, opened = Said(splitting.states.SubAccount.OPENING), Said(splitting.states.SubAccount.OPEN, "62")
    refused_it = Said(splitting.states.SubAccount.REFUSED, reason="bad_name")
    for first in (opening, opened, refused_it):
        for then in ((opened,), (refused_it, opening, opened), (refused_it, refused_it), (refused_it, opened)):
            book = Watched()
            payee = f"pye_{1}{0:025x}"
            book.do(CreatePayee(Payee(BOOK, payee, payee, "supplier", "CNY", "icbc", None, NOW), first))
            if first is opening:
                for _ in range(2):
                    book.do(RecordOpening(BOOK, payee, 1, then[0]))
            for number, said in enumerate(then, 2):
                book.do(OpenAnew(BOOK, payee, number, said))
                if said is opening:
                    book.do(RecordOpening(BOOK, payee, number, opened))
            for command in (FreezeAccount, FreezeAccount, UnfreezeAccount, UnfreezeAccount):
                with contextlib.suppress(Conflict):  # of an account that is not open
                    book.do(command(BOOK, payee))
            yield book


def recalls() -> Iterator[Watched]:
    """Recall a line and a withdrawal: each answer in each state in which it may come, each word said twice."""
    payee = f"pye_{1}{0:025x}"
    fates = [
        ("taken", "pending", "accepted", "released"),
        ("pending", "accepted", "taken", "not_taken", "pending", "after_all"),
        ("accepted", "refused"),
        ("refused", "taken", "not_taken", "pending", "accepted", "paid", "again", "taken", "refused"),
        ("not_taken", "again", "accepted"),
        ("taken", "not_taken", "accepted"),
        ("taken", "pending", "not_taken", "refused"),
        ("taken", "refused"),
        ("pending", "refused"),
        ("paid", "taken", "pending", "accepted"),
        ("paid", "not_taken"),
        ("taken", "paid", "refused"),
        ("taken", "pending", "paid", "accepted", "returned", "released"),
        ("lost",),
    ]
    for fate in fates:
        for of_line in (True, False):
            yield _recalled(payee, fate, of_line)


def _recalled(payee: str, fate: Sequence[str], of_line: bool) -> Watched:
    book = Watched()
    ledger = Ledger([payee], "icbc")
    ledger.book = book
    book.payee(payee, bank="icbc")
    book.do(LinkBank(BankLink(BOOK, "icbc", "62", "{}", "{}")))
    ledger.share(1_000)
    ledger.settle()
    (line,) = ledger.open_lines
    about, asked = line.id, Asked("DUPL", "", "ada")
    book.do(MarkSent(BOOK, line.settlement_id))
    decided: Any = DecideInstruction
    back: Any = ApplyReturn
    ask: Command[Any] = RecallLines(BOOK, line.settlement_id, [line.id], asked)
    if not of_line:
        ledger.decide(["paid"])
        book.do(BindAccount(PayeeAccount(BOOK, payee, "77", "ICBKCNBJ", "icbc", "ada", NOW)))
        about = book.do(AskWithdrawal(BOOK, payee, "w-1", 1_000, "CNY", "key_1")).id
        book.do(MarkWithdrawalSent(BOOK, about))
        decided, back, ask = DecideWithdrawal, ApplyWithdrawalReturn, RecallWithdrawal(BOOK, about, asked)
    told = ApplyDeposit(BOOK, "icbc", None, "CNY", 1_000, "R", DAY, about, "N", {"at_pool": of_line})
    held = cases.case_id(BOOK, "payout_recalled", about)
    for word in ("again", *fate):
        number = book._rows[RECALLS][BOOK, about].number if book._rows.get(RECALLS) else 1
        commands: dict[str, Command[Any]] = {
            "again": ask,
            "taken": GiveRecall(BOOK, about, number),
            "not_taken": GiveRecall(BOOK, about, number, "no"),
            "pending": AnswerRecall(BOOK, about, number, RecallVerdict.PENDING, "PTNA", DAY),
            "accepted": AnswerRecall(BOOK, about, number, RecallVerdict.ACCEPTED, None, DAY),
            "refused": AnswerRecall(BOOK, about, number, RecallVerdict.REFUSED, "CUST", DAY),
            "paid": decided(BOOK, about, True, None, DAY),
            "lost": decided(BOOK, about, False, "AC04", DAY),
            "returned": back(about, told, "FOCR"),
        }
        if word in commands:
            for _ in range(2):
                book.do(commands[word])
        elif of_line:
            decision = {"released": "release", "after_all": "paid"}[word]
            book.do(cases.DecideCase(BOOK, held, decision, "ada", "why", recall_decisions.EFFECTS))
    return book


def rails() -> Iterator[Watched]:
    """Have a rail share payments out, whatever it answers, and refunds fetch shares back; and register receivers."""
    rng = random.Random(1)
    for _ in range(150):
        book = Watched()
        fates = ["well"] * rng.randrange(4) + rng.choices(EVERY_FATE, k=rng.randrange(6))
        asyncio.run(_shared_out(Market(fates, book), rng))
        yield book
    book = Watched()
    asyncio.run(_closed_while_asked_back(Market(["pending", "pending", *["closed"] * 9], book)))
    yield book
    book = Watched()
    book.payee(FARM)
    facts = ("rail", "wechat", "merchant", "190001", "", "", "registering", None, None, 0)
    row = RailReceiver(BOOK, FARM, *facts, NOW, "ada", NOW, NOW)
    no, yes = Refused("NO_AUTH", "words"), Confirmed("", Money(0, "CNY"), NOW)
    for account, said in (("1", no), ("1", yes), ("2", yes), ("3", no)):
        for _ in range(2):
            told = book.do(SetReceiver(row._replace(account=account)))
        for _ in range(2):
            book.do(RecordReceiver(told, said, 0))
    yield book


async def _closed_while_asked_back(market: Market) -> None:
    """Have a refund want a share back of which the rail has not said yet that it does not pay it."""
    market.sell()
    await market.step()
    market.refund(9_000)
    while await market.step():
        pass


async def _shared_out(market: Market, rng: random.Random) -> None:
    market.sell()
    for _ in range(rng.randrange(3)):
        if rng.randrange(2):
            await market.step()
        else:
            market.refund(rng.randrange(1, 3_000))
    market.deliver()
    while await market.step():
        pass


def matters() -> Iterator[Watched]:
    book = Watched()
    kind = "refund_unfinished"
    found = cases.OpenCase(BOOK, kind, "re_1", 1, "CNY", {"a": "b"})
    waits, decided = "wait", "not_carried_out"
    for about in ("waits", "is decided", "goes"):
        ident = cases.case_id(BOOK, kind, "re_1")
        book.do(found)
        book.do(found)
        if about == "waits":
            book.do(cases.DecideCase(BOOK, ident, waits, "ada", about, {}))
        if about != "goes":
            book.do(cases.DecideCase(BOOK, ident, decided, "ada", about, {}))
        book.do(cases.CloseCase(BOOK, kind, "re_1", "it is over"))
        book.do(cases.CloseCase(BOOK, kind, "re_1", "it is over"))
    yield book


EVERY: dict[str, Callable[[], Iterator[Watched]]] = {
    "payments": lambda: lives(1_500),
    "settlements": settlements,
    "withdrawals": withdrawals,
    "openings": openings,
    "recalls": recalls,
    "rails": rails,
    "cases": matters,
}
OF = {
    "payments": ("PAYMENT", "ATTEMPT", "REFUND"),
    "settlements": ("BATCH",),
    "withdrawals": ("WITHDRAWAL",),
    "openings": ("SUB_ACCOUNT",),
    "recalls": ("RECALL", "INSTRUCTION"),
    "rails": ("RECEIVER", "SHARING", "FETCHING"),
    "cases": ("CASE",),
}


def wrong(what: str) -> list[str]:
    """Return how the events of these lives differ from the tables; nothing unless every move was made."""
    found: list[str] = []
    seen: set[tuple[str, str | None, str]] = set()
    for book in EVERY[what]():
        found += book.wrong
        seen |= book.seen
    for one in OBJECTS:
        if one.name in OF[what]:
            moves = {(one.name, str(state), str(move.to)) for (state, _), move in one.table.items() if state != move.to}
            begins = {(one.name, None, str(state)) for state in one.table.begins}
            found += [
                f"{name} {was} → {becomes}: nothing has moved so" for name, was, becomes in (moves | begins) - seen
            ]
    return sorted(set(found))


@pytest.mark.parametrize("what", EVERY)
def test_every_move_tells_what_its_table_says(what: str) -> None:
    assert wrong(what) == []


@pytest.mark.parametrize(
    ("what", "module", "name", "key", "move"),
    [
        (
            "payments",
            gateway.states,
            "PAYMENT",
            ("processing", "refused"),
            Move(gateway.states.P.FAILED, "payment.canceled"),
        ),
        ("payments", gateway.states, "ATTEMPT", ("closed", "confirmed_late"), Move(gateway.states.A.LATE)),
        (
            "payments",
            gateway.states,
            "REFUND",
            ("failed", "retried"),
            Move(gateway.states.R.PROCESSING, "refund.created"),
        ),
        (
            "settlements",
            splitting.states,
            "INSTRUCTION",
            ("in_transit", "refused"),
            Move(splitting.states.Instruction.REFUSED),
        ),
        ("cases", cases.states, "CASE", ("open", "gone"), Move(cases.states.Case.DECIDED, "case.opened")),
    ],
)
def test_a_table_that_names_another_event_is_noticed(
    what: str, module: Any, name: str, key: Any, move: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(getattr(module, name), key, move)
    monkeypatch.setitem(EVERY, "payments", lambda: lives(60))
    assert [line for line in wrong(what) if "nothing has moved so" not in line]


def test_a_command_that_publishes_another_event_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = gateway.payments.record_outcome.moved

    def astray(work: Any, payment: Any, event: str, *more: Any) -> Any:
        return usual(work, payment, "payment.canceled" if event == "payment.failed" else event, *more)

    monkeypatch.setattr(gateway.payments.record_outcome, "moved", astray)
    monkeypatch.setitem(EVERY, "payments", lambda: lives(60))
    found = wrong("payments")
    assert "RecordOutcome: not published: ['payment.failed']" in found
    assert "RecordOutcome: published, and no move says so: ['payment.canceled']" in found


def test_every_event_a_table_names_is_in_the_catalogue_and_every_other_is_told_by_a_move() -> None:
    tables = [one.table for one in OBJECTS]
    named = {move.tells for table in tables for move in table.values()} | {
        tells for table in tables for tells in table.begins.values()
    }
    catalogue = {name for name in joined_events() if not name.startswith(OTHERS)}
    assert named - {None} == catalogue


def test_what_publishes_nothing_names_no_event() -> None:
    for table in SILENT:
        assert {move.tells for move in table.values()} | set(table.begins.values()) == {None}
    for package in ("reconciliation", "people"):
        sources = [path.read_text("utf-8") for path in (ROOT / package).rglob("*.py")]
        assert sources
        assert not any("publish(" in source for source in sources)
