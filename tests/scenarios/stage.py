"""The stage of the plays: the hub itself, and what each line of the language does to it.

Everything is real but the other side: a PostgreSQL, the merchant's HTTP door, the janitor, splitting, the daily proof.
The two channels answer as the play says; the bank speaks HTTP, and its files are signed.
"""

from collections.abc import Iterator
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from datetime import date, timedelta
from typing import Any, cast
from unittest.mock import patch

from cases import Named
from channels import Notice
from channels.contract import (
    BillLine,
    Confirmed,
    Dispute,
    DisputeStatus,
    Kind,
    Outcome,
    Pending,
    RefundFee,
    Refused,
    Unknown,
)
from channels.sharing import ReceiverKind
from gateway.tables import chargeback_id
from kernel.clock import business_date
from kernel.errors import SluiceError
from ops.banks import get_file
from ops.cases import decide
from splitting import CreatePayee, Payee
from splitting.accounts.opening import RecordOpening, Said
from splitting.banks.fates import kept_as
from splitting.banks.sending import message_id
from splitting.banks.worker import BankWorker
from splitting.rails.limits import RAILS
from splitting.recalls.commands import Asked, RecallLines, RecallWithdrawal
from splitting.recalls.rules import number_at_bank
from splitting.states import SubAccount
from splitting.withdrawals.rules import reference
from tests.channels.banks.bank_files import camt054, entry, pain002, report_line
from tests.channels.banks.test_recall_messages import answer
from tests.gateway.front import CLOSED, Answer
from tests.scenarios.language import CHANNELS, NO, PAYEES, SECONDS, SHARE, Understood, action, understand
from tests.scenarios.reader import STANDINGS, Play, Record, Unplayable
from tests.scenarios.sights import Sights, body, cny
from tests.splitting.play_bank import PlayBank, a_bank_read, a_round, all_read
from tests.splitting.town import BANK, KILN, Town, bind

GONE = Refused("expired_or_canceled_card", closed=True)
BY_RAIL = " by rail"
PAGE = {"type": "page", "return_url": "https://shop.example/thanks"}
_MARKS = {"wechat": "WX20261124", "alipay": "AP20261124"}  # how the channels' deposits are named at the bank


def check(text: str) -> None:
    """Raise ValueError for a line that is no action."""
    understand(text)


def minor(amount: str) -> int:
    return int(amount.replace(".", ""))


class Stage:
    """A shop with two channels, three payees and a bank."""

    def __init__(self, town: Town, stack: AsyncExitStack) -> None:
        self.town = town
        self.front = town.front
        self.seen = Sights(town)
        self._stack = stack
        self._bank: tuple[PlayBank, BankWorker] | None = None
        self._by_mail = b""
        self._bookings = 0
        self._bills: dict[str, list[BillLine]] = {channel: [] for channel in CHANNELS}
        # What the channels answer from one action to the next: of money they have reserved, that they have.
        self._base: dict[str, dict[str, Outcome]] = {channel: {} for channel in CHANNELS}
        for account in CHANNELS.values():
            rail = self.front.shop.rails[account]
            rail.capabilities = replace(rail.capabilities, refunds_come_back=True)

    # ---- playing -----------------------------------------------------------------------------------------------------

    async def play(self, play: Play) -> list[Record]:
        """Act a play out; return what the hub did at each step. Raises Unplayable where it does not take an action."""
        records = []
        for step in play.steps:
            record, before = Record(), await self.seen.last_posting()
            try:
                if not step.is_standing:
                    await self._act(understand(step.text))
            except (AssertionError, LookupError, ValueError, SluiceError) as error:
                raise Unplayable(f"{play.at(step.number)}: {step.text!r}: {error}") from error
            record.postings = await self.seen.journal(before)
            if step.text in STANDINGS:
                record.balances = await self.seen.standing(available=step.text == "available")
            for claim in step.claims:
                record.states[claim.object, claim.name] = await self.seen.state(claim.object, claim.name)
            records.append(record)
        return records

    async def _act(self, told: Understood) -> None:
        front = self.front
        rails = {"wechat": front.rail, "alipay": front.others["second"]}
        for channel, rail in rails.items():
            rail.answers = {**self._base[channel], **told.answers.get(channel, {})}
        await told.action.act(self, **told.values)
        for channel, rail in rails.items():
            rail.answers = dict(self._base[channel])

    # ---- what payers and the shop do ---------------------------------------------------------------------------------

    @action(
        "payer pays {payment} {money}[ to {shares}][, refunds {policy}][, released {release}]"
        "[ with {coupon:money} by the shop's coupon]"
    )
    async def pays(
        self, payment: str, money: str, shares: str = "", policy: str = "", release: str = "", coupon: str = ""
    ) -> None:
        """A payer pays by QR code; it is shared out, given back and released so; a coupon of the shop's pays a part."""
        amount = minor(money)
        if coupon:
            said = Confirmed("ch-coupon", cny(amount), self.front.clock.now(), cny(minor(coupon)))
            self.front.rail.says(pay=said)
        more: dict[str, Any] = {"split": list(_plan(shares))} if shares else {}
        if BY_RAIL in shares:
            await self._receivers()
        if policy or release or BY_RAIL in shares:
            more = {"split_plan": {"document": _document(shares, policy, release)}}
        answer = await self.front.pay(payment, amount, **more)
        self.seen.payments[payment] = body(answer)["id"]

    @action("payer authorizes {payment} {money}")
    async def authorizes(self, payment: str, money: str) -> None:
        """A payer has the channel reserve the money 预授权; the shop captures it later, or voids it."""
        held = Pending(channel_ref="auth-1", authorized=cny(minor(money)))
        self.front.rail.says(pay=held)
        self._base["wechat"] = {"query": held}
        await self.is_to_authorize(payment, money)

    @action("payer is to authorize {payment} {money}")
    async def is_to_authorize(self, payment: str, money: str) -> None:
        """A payer is sent to the channel to have the money reserved 预授权."""
        method = {**PAGE, "channel": self.front.shop.channel.name}
        answer = await self.front.pay(payment, minor(money), method=method, capture="manual")
        self.seen.payments[payment] = body(answer)["id"]

    @action("shop captures {payment} {money}")
    async def captures(self, payment: str, money: str) -> None:
        """The shop takes so much of what is reserved; the rest is released."""
        path = f"/v1/payments/{self.seen.payment(payment)}/capture"
        body(await self.front.post(path, {"amount": minor(money)}, key=self.front.new_key()))

    @action("shop voids {payment}")
    async def voids(self, payment: str) -> None:
        """The shop has what is reserved released."""
        body(await self.front.post(f"/v1/payments/{self.seen.payment(payment)}/void"))

    @action("shop closes {payment}")
    async def closes(self, payment: str) -> None:
        """The shop ends an order that nobody has paid."""
        body(await self.front.post(f"/v1/payments/{self.seen.payment(payment)}/close"))

    @action("shop refunds {refund} {money} of {payment}")
    async def refunds(self, refund: str, money: str, payment: str) -> None:
        """The shop gives back so much of a payment."""
        self.seen.refunds[refund] = body(await self.front.refund(self.seen.payment(payment), minor(money)))["id"]

    @action("shop confirms delivery of {payment}")
    async def delivers(self, payment: str) -> None:
        """The shop says that the goods have arrived 确认收货: what waits for that can be paid out."""
        body(await self.front.post(f"/v1/payments/{self.seen.payment(payment)}/confirm_delivery"))

    @action("shop retries {refund}")
    async def retries(self, refund: str) -> None:
        """The shop has a refund that failed sent again, under a new number."""
        body(await self.front.post(f"/v1/refunds/{self.seen.refund(refund)}/retry", key=self.front.new_key()))

    # ---- what channels do by themselves ------------------------------------------------------------------------------

    @action("{channel} confirms {attempt}")
    async def confirms(self, channel: str, attempt: str) -> None:
        """The channel's notice says that this attempt of a payment (P1.1 is the first of P1) was paid."""
        stored = await self.seen.attempt(attempt)
        ordered = (await self.front.payment(stored.payment_id))["amount"]
        body(await self._notice(channel, stored.reference, stored.capture_minor or ordered))

    @action("{channel} says {money} were paid for {attempt}")
    async def says_paid(self, channel: str, money: str, attempt: str) -> None:
        """The channel's notice names an amount of its own, whatever was ordered; the hub may refuse it."""
        await self._notice(channel, (await self.seen.attempt(attempt)).reference, minor(money))

    @action("{channel} confirms {attempt} under another number")
    async def confirms_twice(self, channel: str, attempt: str) -> None:
        """The channel says of an order that it was paid, under another number of its own; the hub may refuse it."""
        stored = await self.seen.attempt(attempt)
        said = Confirmed("another", cny(stored.captured_minor), self.front.clock.now())
        with suppress(SluiceError):
            await self._told(channel, Kind.PAYMENT, stored.reference, said)

    @action("{channel} says that {attempt} was not paid")
    async def denies(self, channel: str, attempt: str) -> None:
        """The channel says of an order that it is closed and was never paid; the hub may refuse it."""
        with suppress(SluiceError):
            await self._told(channel, Kind.PAYMENT, (await self.seen.attempt(attempt)).reference, CLOSED)

    @action("{channel} reserves {attempt}")
    async def reserves(self, channel: str, attempt: str) -> None:
        """The channel's notice says that the payer's money is reserved."""
        stored = await self.seen.attempt(attempt)
        payment = await self.front.payment(stored.payment_id)
        held = Pending(channel_ref="auth-1", authorized=cny(payment["amount"]))
        await self._told(channel, Kind.PAYMENT, stored.reference, held)

    @action("{channel} confirms {try}")
    async def confirms_refund(self, channel: str, **of: str) -> None:
        """The channel's notice says that this try of a refund (R1.1 is the first of R1) has been paid out."""
        reference, amount = await self.seen.try_of(of["try"])
        await self._told(channel, Kind.REFUND, reference, Confirmed(f"ch-{reference}", amount, self.front.clock.now()))

    @action("{channel} refuses {try}")
    async def refuses_refund(self, channel: str, **of: str) -> None:
        """The channel's notice says that this try of a refund was refused."""
        await self._told(channel, Kind.REFUND, (await self.seen.try_of(of["try"]))[0], NO)

    @action("{channel} returns {try}")
    async def returns(self, channel: str, **of: str) -> None:
        """退款退回: days after it had succeeded, the channel says that the payer's bank would not take the refund."""
        await self._told(channel, Kind.REFUND, (await self.seen.try_of(of["try"]))[0], GONE)

    @action("{channel} takes {money} of {payment} back as {chargeback}[ for a fee of {fee:money}]")
    async def takes_back(self, channel: str, money: str, payment: str, chargeback: str, fee: str = "0.00") -> None:
        """拒付: the payer disputes the payment, and the channel takes so much of it from the shop at once."""
        stored = await self.seen.attempt(f"{payment}.1")
        told = Dispute(
            chargeback, stored.reference, stored.channel_ref, DisputeStatus.OPENED, cny(minor(money)), cny(minor(fee)),
            "fraudulent", self.front.clock.now(),
        )  # fmt: skip
        self.seen.chargebacks[chargeback] = chargeback_id(self.front.book, CHANNELS[channel], chargeback)
        await self._disputed(channel, told)

    @action("{channel} says that {chargeback} was of {money}")
    async def says_of_chargeback(self, channel: str, chargeback: str, money: str) -> None:
        """The channel names another amount of a chargeback than before; the hub refuses it."""
        told = self._dispute(channel, chargeback)
        with suppress(SluiceError):
            await self._disputed(channel, replace(told, amount=cny(minor(money))))

    @action("shop wins {chargeback} of {channel}[, and {fee:money} of its fee]")
    async def wins(self, chargeback: str, channel: str, fee: str = "0.00") -> None:
        """The payer's bank is convinced: the channel gives the money back, and of its fee so much."""
        told, now = self._dispute(channel, chargeback), self.front.clock.now()
        won = replace(told, status=DisputeStatus.WON, ended_at=now, fee_back=cny(minor(fee)))
        await self._disputed(channel, won)

    @action("shop loses {chargeback} of {channel}")
    async def loses(self, chargeback: str, channel: str) -> None:
        """The payer keeps the money."""
        await self._disputed(channel, replace(self._dispute(channel, chargeback), status=DisputeStatus.LOST))

    @action("{channel} keeps its fees on refunds")
    async def keeps_fees(self, channel: str) -> None:
        """From now on the channel's fee for a payment is not given back with a refund."""
        rail = self.front.shop.rails[CHANNELS[channel]]
        rail.capabilities = replace(rail.capabilities, refund_fee=RefundFee.KEPT)

    @action("shop is to be paid its own")
    async def is_paid_its_own(self) -> None:
        """From now on the shop, a payee itself, is paid what is its own 商户本金 of payments."""
        await self.town.pay_own()

    @action("{channel} bills {attempt} {money} with a fee of {fee:money}")
    async def bills(self, channel: str, attempt: str, money: str, fee: str) -> None:
        """The channel's bill of the day has this line."""
        reference, bill = (await self.seen.attempt(attempt)).reference, self._bills[channel]
        line = BillLine(
            Kind.PAYMENT, reference, reference, f"ch-{reference}", cny(minor(money)), cny(minor(fee)), "success",
            self.front.clock.now(), len(bill) + 1,
        )  # fmt: skip
        bill.append(line)

    # ---- what the hub does in the background -------------------------------------------------------------------------

    @action("hub shares out")
    async def shares_out(self) -> None:
        """The worker hears of what has succeeded and posts the payees' shares 分账."""
        await self.front.share_out()

    @action("hub has rails share out")
    async def has_rails_share_out(self) -> None:
        """A minute later the worker has the channel pay the shares that go by it 渠道分账, or asks about it."""
        self.front.clock.forward(SECONDS["minute"])
        await self.front.hub.rail_worker().once()

    @action("hub releases what is due")
    async def releases(self) -> None:
        """The worker releases the shares whose date has come 放款."""
        await self.front.hub.releases.once()

    @action("hub looks again after {time}")
    async def looks_again(self, time: str) -> None:
        """So much time passes, and the worker sees to everything whose time has come."""
        await self.front.later(_seconds(time))

    @action("hub looks again every {time}, {number} times")
    async def looks_often(self, time: str, number: str) -> None:
        """The same, so often."""
        for _ in range(int(number)):
            await self.front.later(_seconds(time))

    @action("hub settles the day as {batch}")
    async def settles(self, batch: str) -> None:
        """The day's payouts 结算 are made, booked in transit 在途, and sent to the bank."""
        await self._at_bank()
        self.seen.batches[batch] = day = self._today()
        hub, book = self.front.hub, self.front.book
        next_day, over = day + timedelta(days=1), self.front.clock.now()  # the play's day ends when it says so
        await hub.banks.settle(book, BANK, day, "CNY", execution_date=next_day, not_before=over)

    @action("hub reconciles {channel}")
    async def reconciles(self, channel: str) -> None:
        """The day's books are compared with the channel's bill of the day 对账."""
        account = CHANNELS[channel]
        self.front.shop.rails[account].bill = self._bills[channel]
        await self.front.hub.daily_proof().channel(self.front.book, account, self._today(), currency="CNY")

    @action("a day passes")
    async def day_passes(self) -> None:
        """The next business date begins."""
        self.front.clock.forward(SECONDS["day"])

    # ---- what the bank does ------------------------------------------------------------------------------------------

    @action("bank books {money} from {channel}[ as {name}]")
    async def books_in(self, money: str, channel: str, name: str = "") -> None:
        """The bank's notice 到账通知 says that the channel paid into the pool account, under its own number."""
        await self._books(money, credit=True, end_to_end_id=_MARKS[channel], name=name)

    @action("bank books {money} to {channel}")
    async def books_out(self, money: str, channel: str) -> None:
        """The bank's notice says that the channel took so much out of the pool account."""
        await self._books(money, credit=False, end_to_end_id=_MARKS[channel])

    @action("bank books {money} from a stranger")
    async def books_strange(self, money: str) -> None:
        """The bank's notice says that money came, and nothing in it says whose."""
        await self._books(money, credit=True, end_to_end_id="INVOICE-7")

    @action("bank books {money} to a stranger")
    async def books_strange_out(self, money: str) -> None:
        """The bank's notice says that money went out of the pool account, and nothing in it says whose."""
        await self._books(money, credit=False, end_to_end_id="INVOICE-7")

    @action("clerk names an account for {role}")
    async def names_account(self, role: str) -> None:
        """The merchant's custody at the bank has an account for one role 功能账户, beside the pool account."""
        await self._at_bank()
        await self.front.hub.bank_accounts.name(self.front.book, BANK, "CNY", role, f"6299{role}", by="Li Na")

    @action("bank books {money} into the account for {role}")
    async def books_into_account(self, money: str, role: str) -> None:
        """The bank's notice says that money came into an account that is for one role."""
        content = self._notice_of(money, credit=True, end_to_end_id="BANK", name="", account=f"6299{role}")
        await self._says("camt.054", content)

    @action("bank books {money} out of the account for {role}")
    async def books_out_of_account(self, money: str, role: str) -> None:
        """The bank's notice says that money went from an account that is for one role."""
        content = self._notice_of(money, credit=False, end_to_end_id="BANK", name="", account=f"6299{role}")
        await self._says("camt.054", content)

    @action("kiln registers, and the bank looks at it")
    async def registers(self) -> None:
        """A payee is registered whose sub-account the bank opens after somebody has looked at it 开户审核."""
        payee = Payee(self.front.book, KILN, "kiln", "supplier", "CNY", BANK, None, self.front.clock.now())
        await self.town.put(CreatePayee(payee, Said(SubAccount.OPENING)))

    @action("bank opens the account of kiln")
    async def opens(self) -> None:
        """The bank says that it has opened that account, and under which number."""
        said = Said(SubAccount.OPEN, "6200" + KILN[-12:])
        await self.town.put(RecordOpening(self.front.book, KILN, 1, said))

    @action("bank returns {payee} of {batch}")
    async def bank_returns(self, payee: str, batch: str) -> None:
        """The bank's notice says that a payout came back 退票 into the pool account, and why."""
        line = (await self.town.lines(self.seen.batches[batch]))[PAYEES[payee]]
        reason = "<RtrInf><Rsn><Cd>AC04</Cd></Rsn></RtrInf>"
        await self._books(f"{cny(line.amount_minor).major()}", credit=True, end_to_end_id=line.id, more=reason)

    @action("bank sends a report of a wrong total that pays {payee} of {batch}")
    async def pays_wrongly(self, payee: str, batch: str) -> None:
        """The bank's report says that the payee was paid, and that the batch came to 1.00."""
        line = (await self.town.lines(self.seen.batches[batch]))[PAYEES[payee]]
        said = pain002("PART", report_line(line.id, "ACSC"), of=message_id(line.settlement_id))
        total = b"</OrgnlMsgNmId><OrgnlCtrlSum>1.00</OrgnlCtrlSum>"
        await self._says("pain.002", said.replace(b"</OrgnlMsgNmId>", total))

    @action("bank refuses to take any batch")
    async def refuses_batches(self) -> None:
        """From now on the bank says no to every batch as a whole, and does nothing of it."""
        (await self._at_bank())[0].refuses = 400, "account_blocked"

    @action("bank takes batches again")
    async def takes_batches(self) -> None:
        """The bank has put right why it refused batches."""
        (await self._at_bank())[0].refuses = None

    @action("bank sends half a file, of {money} from {channel}")
    async def sends_half(self, money: str, channel: str) -> None:
        """The bank's notice of a deposit ends in the middle; by mail it sends the whole of it."""
        self._by_mail = self._notice_of(money, credit=True, end_to_end_id=_MARKS[channel], name="")
        await self._says("camt.054", self._by_mail[: len(self._by_mail) // 2])

    @action("bank tells again of {name}, of {money} from {channel}")
    async def tells_again(self, name: str, money: str, channel: str) -> None:
        """Another notice has an entry of this number, so that nothing tells it from the first."""
        await self._books(money, credit=True, end_to_end_id=_MARKS[channel], name=name)

    @action("bank sends a file that cannot be read")
    async def sends_garbage(self) -> None:
        """The bank lists a notice, and what comes when it is fetched is none."""
        await self._says("camt.054", b"<Document/>")

    @action("bank pays {payee} of {batch}")
    async def bank_pays(self, payee: str, batch: str) -> None:
        """The bank's report says that the payee's sub-account 子账户 was credited."""
        await self._reports(payee, batch, "ACSC")

    @action("bank refuses {payee} of {batch}")
    async def bank_refuses(self, payee: str, batch: str) -> None:
        """The bank's report says that it did not pay: the account is closed."""
        await self._reports(payee, batch, "RJCT", "AC04")

    @action("bank refuses {payee} of {batch} as blocked")
    async def bank_refuses_as_blocked(self, payee: str, batch: str) -> None:
        """The bank's report says that it did not pay: the account is blocked 账户冻结. The hub freezes it."""
        await self._reports(payee, batch, "RJCT", "AC06")

    @action("clerks freeze the account of {payee}")
    async def freezes(self, payee: str) -> None:
        """Two people have nothing paid to a payee's account, or withdrawn from it 冻结."""
        await self.front.hub.payees.freeze(self.front.book, PAYEES[payee])

    @action("clerks unfreeze the account of {payee}")
    async def unfreezes(self, payee: str) -> None:
        """Two people have it paid and withdrawn from again 解冻."""
        await self.front.hub.payees.unfreeze(self.front.book, PAYEES[payee])

    @action("bank doubts {payee} of {batch}")
    async def bank_doubts(self, payee: str, batch: str) -> None:
        """The bank's report refuses the payout as one that it has already: it may have been paid."""
        await self._reports(payee, batch, "RJCT", "DU04")

    @action("clerk recalls {payee} of {batch}")
    async def recalls(self, payee: str, batch: str) -> None:
        """Two people have the bank asked for a line back 追回; it takes the request."""
        line = (await self.town.lines(self.seen.batches[batch]))[PAYEES[payee]]
        asked = Asked("DUPL", "", "Wang Fang")
        await self.front.hub.lanes.put(RecallLines(line.book, line.settlement_id, [line.id], asked))
        await a_round((await self._at_bank())[1])

    @action("clerk recalls {withdrawal}")
    async def recalls_withdrawal(self, withdrawal: str) -> None:
        """Two people have the bank asked for a withdrawal back; it takes the request."""
        row = await self.seen.withdrawal(withdrawal)
        await self.front.hub.lanes.put(RecallWithdrawal(row.book, row.id, Asked("CUST", "", "Wang Fang")))
        await a_round((await self._at_bank())[1])

    @action("bank gives up {payee} of {batch}")
    async def gives_up(self, payee: str, batch: str) -> None:
        """The bank's answer accepts the recall: the money comes back, or never goes."""
        await self._answers_recall(payee, batch, "ACCR")

    @action("bank keeps {payee} of {batch}")
    async def keeps(self, payee: str, batch: str) -> None:
        """The bank's answer refuses the recall: its customer does not agree."""
        await self._answers_recall(payee, batch, "RJCR", reason="CUST")

    @action("bank gives up {withdrawal}")
    async def gives_up_withdrawal(self, withdrawal: str) -> None:
        """The bank's answer accepts the recall of a withdrawal."""
        row = await self.seen.withdrawal(withdrawal)
        number = reference(row.book, row.id)
        amount = cny(row.amount_minor).major()
        ident = number_at_bank(row.book, row.id, 1)
        await self._says("camt.029", answer("ACCR", ident=ident, of=number, line=number, amount=amount))

    @action("{payee} asks to withdraw {withdrawal} {money}")
    async def withdraws(self, payee: str, withdrawal: str, money: str) -> None:
        """A payee asks for money of its sub-account, on its own account at another bank; the hub tells the bank."""
        _, bank_worker = await self._at_bank()
        front, ident = self.front, PAYEES[payee]
        await bind(front, ident)
        asked = {"amount": minor(money), "currency": "CNY", "reference": withdrawal}
        answer = await front.post(f"/v1/payees/{ident}/withdrawals", asked)
        self.seen.withdrawals[withdrawal] = body(answer)["id"]
        await a_round(bank_worker)

    @action("bank pays {withdrawal}")
    async def pays_out(self, withdrawal: str) -> None:
        """The bank's report says that the withdrawal has left for the other bank."""
        await self._reports_on(withdrawal, "ACSC")

    @action("bank refuses {withdrawal}")
    async def refuses_to_pay_out(self, withdrawal: str) -> None:
        """The bank's report says that it did not pay the withdrawal."""
        await self._reports_on(withdrawal, "RJCT", "AC04")

    @action("bank doubts {withdrawal}")
    async def doubts_paying_out(self, withdrawal: str) -> None:
        """The bank's report refuses the withdrawal as one that it has already: it may have been paid."""
        await self._reports_on(withdrawal, "RJCT", "DU04")

    @action("bank returns {withdrawal}")
    async def brings_back(self, withdrawal: str) -> None:
        """The bank's notice says that a withdrawal came back 退票 to the sub-account, and why."""
        row = await self.seen.withdrawal(withdrawal)
        reason = "<RtrInf><Rsn><Cd>AC04</Cd></Rsn></RtrInf>"
        number = reference(row.book, row.id)
        told = self._notice_of(
            cny(row.amount_minor).major(), credit=True, end_to_end_id=number, name="", more=reason,
            account=row.sub_account,
        )  # fmt: skip
        await self._says("camt.054", told)

    # ---- what a clerk decides ----------------------------------------------------------------------------------------

    @action("clerk decides {decision} on {case}[ of {name}][ for {channel}][ as {payee} in {batch}]")
    async def decides(
        self, decision: str, case: str, name: str = "", channel: str = "", payee: str = "", batch: str = ""
    ) -> None:
        """A person decides a case 待人工处理; the hub does what follows from it."""
        found = await self.seen.case(case, name)
        if found is None:
            raise ValueError(f"there is no case {case} to decide")
        hub, named = self.front.hub, Named("account", CHANNELS[channel]) if channel else None
        if payee:
            named = Named("line", (await self.town.lines(self.seen.batches[batch]))[PAYEES[payee]].id)
        if decision == "replace":
            spoiled = await get_file(hub, kept_as(found))
            given = await hub.banks.files.offer(spoiled, self._by_mail, "by-mail.xml", "Li Na")
            named = Named("file", given.id)
        await decide(hub, found.id, decision, by="Wang Fang", note="asked and agreed", named=named)
        if decision in ("release", "replace", "send_again", "cancel"):
            await a_round((await self._at_bank())[1])

    # ---- the other side ----------------------------------------------------------------------------------------------

    def _today(self) -> date:
        return business_date(self.front.clock.now())

    async def _notice(self, channel: str, reference: str, amount: int) -> Answer:
        """Have a channel's notice of a payment come, as a message that the hub has to verify."""
        account = CHANNELS[channel]
        rail = self.front.shop.rails[account].name
        return await self.front.notice(reference, amount, account=account, rail=rail)

    async def _told(self, channel: str, kind: Kind, reference: str, outcome: Outcome) -> None:
        """Have a channel's notice come, verified."""
        notice = Notice(kind, reference, outcome, "n")
        await self.front.hub.payments.apply_notice(self.front.book, CHANNELS[channel], notice)

    def _dispute(self, channel: str, chargeback: str) -> Dispute:
        told = self.front.shop.rails[CHANNELS[channel]].disputes[chargeback]
        assert isinstance(told, Dispute)
        return told

    async def _disputed(self, channel: str, told: Dispute) -> None:
        """Have a dispute stand so at a channel, and its notice come."""
        rail = self.front.shop.rails[CHANNELS[channel]]
        before, rail.disputes[told.ref] = rail.disputes.get(told.ref), told
        try:
            await self._told(channel, Kind.CHARGEBACK, told.ref, Unknown("it is to be asked about"))
        except SluiceError:
            rail.disputes[told.ref] = before or told
            raise

    async def _receivers(self) -> None:
        """Have WeChat know the farm and the platform as receivers 分账接收方."""
        rails = cast(dict[str, Any], RAILS)
        self._stack.enter_context(patch.dict(rails, {self.front.shop.channel.name: RAILS["wechat"]}))
        hub, book = self.front.hub, self.front.book
        for number, name in enumerate(("farm", "platform"), 1900000001):
            await hub.receivers.set(
                book, PAYEES[name], CHANNELS["wechat"], kind=ReceiverKind.MERCHANT, account=str(number), name=name,
                by="Li Na",
            )  # fmt: skip
        await hub.rail_worker().once()

    async def _at_bank(self) -> tuple[PlayBank, BankWorker]:
        if self._bank is None:
            self._bank = await self._stack.enter_async_context(a_bank_read(self.town))
        return self._bank

    async def _says(self, kind: str, content: bytes) -> None:
        bank, bank_worker = await self._at_bank()
        bank.says(kind, content)
        await all_read(self.town, bank, bank_worker)

    async def _books(self, money: str, *, credit: bool, end_to_end_id: str, name: str = "", more: str = "") -> None:
        content = self._notice_of(money, credit=credit, end_to_end_id=end_to_end_id, name=name, more=more)
        await self._says("camt.054", content)

    def _notice_of(
        self, money: str, *, credit: bool, end_to_end_id: str, name: str, more: str = "", account: str = "poolCNY"
    ) -> bytes:
        self._bookings += 1
        ref = name or f"E{self._bookings}"
        content = camt054(account, entry(ref, money, credit=credit, end_to_end_id=end_to_end_id, extra=more))
        # Each notice is a message of its own.
        return content.replace(b"<MsgId>M2<", f"<MsgId>M{self._bookings}<".encode())

    async def _answers_recall(self, payee: str, batch: str, status: str, *, reason: str = "") -> None:
        line = (await self.town.lines(self.seen.batches[batch]))[PAYEES[payee]]
        conf = "CNCL" if status == "ACCR" else status
        amount = cny(line.amount_minor).major()
        told = answer(
            status, conf, ident=number_at_bank(line.book, line.id, 1), of=message_id(line.settlement_id), line=line.id,
            amount=amount, reason=reason,
        )  # fmt: skip
        await self._says("camt.029", told)

    async def _reports_on(self, withdrawal: str, status: str, *reasons: str) -> None:
        row = await self.seen.withdrawal(withdrawal)
        number = reference(row.book, row.id)
        await self._says("pain.002", pain002(status, report_line(number, status, *reasons), of=number))

    async def _reports(self, payee: str, batch: str, status: str, *reasons: str) -> None:
        line = (await self.town.lines(self.seen.batches[batch]))[PAYEES[payee]]
        of = message_id(line.settlement_id)
        await self._says("pain.002", pain002("PART", report_line(line.id, status, *reasons), of=of))


def _plan(shares: str) -> Iterator[dict[str, Any]]:
    for payee, percent, by_rail in SHARE.findall(shares):
        if payee not in PAYEES:
            raise ValueError(f"there is no payee {payee}: {', '.join(PAYEES)}")
        part = {"basis_points": round(float(percent) * 100)} if percent else {"remainder": 1}
        yield {"payee": PAYEES[payee], **part, **({"travels": "rail"} if by_rail else {})}


def _document(shares: str, policy: str, release: str) -> dict[str, Any]:
    """Return the same as a plan that says whose shares refunds take back first, and when payees can be paid."""
    lines = [{"name": SHARE.findall(shares)[n][0], **line} for n, line in enumerate(_plan(shares))]
    document: dict[str, Any] = {"version": 1, "base": "paid", "lines": lines}
    first = policy.removesuffix(" first")
    if first in PAYEES and first != "platform":
        document["refunds"] = {"policy": "payer_first", "payer": first}
    elif policy:
        document["refunds"] = {"policy": policy.replace(" ", "_")}
    if release == "on delivery":
        document["release"] = [{"when": "delivery"}]
    elif release:
        days = int(release.split(" ")[-2])
        document["release"] = [{"basis_points": 5_000}, {"basis_points": 5_000, "days": days}]
    return document


def _seconds(time: str) -> int:
    number, unit = time.split(" ")
    return int(number) * SECONDS[unit.removesuffix("s")]
