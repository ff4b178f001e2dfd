"""Registering a payee 收款方: the sub-account at the bank first, then the payee with its account in the ledger."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import orjson

from channels.banks import unsayable
from kernel.db import Pool, acquire
from kernel.env import Env
from kernel.errors import Conflict, NotFound, Rejected, Unavailable
from kernel.lane import Lanes
from kernel.sealing import Secret
from kernel.work import BOOKS, Need, Work
from ledger import open_account
from ledger.posting import ACCOUNTS
from people import Use, approved
from splitting import states
from splitting.accounts import store as accounts_store
from splitting.accounts.freezing import FreezeAccount, UnfreezeAccount
from splitting.accounts.opening import OpenAnew, Openings, Said, new_opening, next_number, with_account
from splitting.guard.store import platforms
from splitting.objects import payee_payload
from splitting.settlement.calendar import BankHours
from splitting.shares.own import SetOwnPayee
from splitting.shares.sharing import owed_account
from splitting.tables import (
    ACCOUNT_OPENINGS,
    BANK_LINKS,
    PAYEES,
    PAYOUT_BANKS,
    BankLink,
    OwnPayee,
    Payee,
    PayoutBank,
)
from streams import publish

_FACTS = Payee._fields.index("bank_account")  # the columns before it are what a payee is registered with
MERCHANT, OPERATOR = "merchant", "operator"


def check_payable(bank: str | None, name: str, account: str | None, link: BankLink | None = None) -> None:
    """Raise Rejected (payee_cannot_be_paid) for a payee that no file to its bank could name.

    bank: None is a payee whose shares are kept. account: None where the bank has still to open it. link: to that bank;
    None: files as most banks take them.
    """
    settings = {} if link is None else orjson.loads(link.settings)
    if bank is not None and (why := unsayable(settings, name, account)):
        raise Rejected("payee_cannot_be_paid", f"a payment file to {bank} cannot hold this payee: {why}", param="name")


def check_class(account_class: str | None, bank: str | None, currency: str) -> None:
    """Raise Rejected (account_class_wrong) for a class that no account of a payee can have."""
    if account_class is not None and (bank is None or currency != "CNY"):
        why = "an account of class II or III is at a bank, and in CNY"
        raise Rejected("account_class_wrong", why, param="account_class")


@dataclass(frozen=True, slots=True)
class CreatePayee:
    """Register a payee; the same id with the same facts again changes nothing.

    said: of its account at its bank; None: it is open under the number that the row has. Raises Conflict (payee_exists)
    for other facts, Rejected (payee_cannot_be_paid) where no bank's file could name it.
    """

    payee: Payee
    said: Said | None = None

    @property
    def book(self) -> int:
        return self.payee.book

    def needs(self, work: Work) -> Iterable[Need]:
        yield BOOKS, (self.book,)
        yield PAYEES, (self.book, self.payee.id)
        yield BANK_LINKS, (self.book, self.payee.bank or "")
        yield ACCOUNTS, (self.book, owed_account(self.payee))
        if self.said is not None:
            yield ACCOUNT_OPENINGS, (self.book, self.payee.id)

    def apply(self, work: Work) -> Payee:
        existing = work.find(PAYEES, (self.book, self.payee.id))
        if existing is not None:
            other = None not in (existing.bank_account, account := self._account) and existing.bank_account != account
            if other or existing[:_FACTS] != self.payee[:_FACTS]:
                raise _exists(self.payee.id)
            return existing
        link = work.find(BANK_LINKS, (self.book, self.payee.bank or ""))
        check_payable(self.payee.bank, self.payee.name, self._account, link)
        work.head(self.book)
        open_account(work, self.book, owed_account(self.payee))
        payee = self.payee._replace(created_at=work.now)
        if self.said is not None:
            payee = with_account(payee, self.said)
        elif payee.bank is not None:
            payee = payee._replace(account_status=states.SubAccount.OPEN.value)
        work.put(PAYEES, payee)
        if self.said is not None and self.said.status is not states.SubAccount.OPEN:
            work.put(ACCOUNT_OPENINGS, new_opening(work, payee, 1, self.said))
        publish(work, self.book, "payee.created", payee.id, payee_payload(payee))
        return payee

    @property
    def _account(self) -> str | None:
        return self.payee.bank_account if self.said is None else self.said.account


@dataclass(frozen=True, slots=True)
class SetAccountClass:
    """Note of which class a payee's account at its bank is, None for one without limits. Returns the payee.

    What is on its way to it is not counted. The same again changes nothing. Raises NotFound (no_such_object), Rejected
    (account_class_wrong).
    """

    book: int
    payee_id: str
    account_class: str | None

    def needs(self, work: Work) -> Iterable[Need]:
        yield BOOKS, (self.book,)
        yield PAYEES, (self.book, self.payee_id)

    def apply(self, work: Work) -> Payee:
        payee = _get(work, self.book, self.payee_id)
        check_class(self.account_class, payee.bank, payee.currency)
        if payee.account_class == self.account_class:
            return payee
        payee = payee._replace(account_class=self.account_class)
        work.put(PAYEES, payee)
        publish(work, self.book, "payee.account_class_set", payee.id, payee_payload(payee))
        return payee


@dataclass(frozen=True, slots=True)
class SuspendPayee:
    """Have nothing paid out to a payee from the next batch on; lines that were made before go on. Returns it.

    by: merchant or operator. An operator's word goes over a merchant's: it takes the suspension over. Repeating it
    changes nothing. Raises NotFound (no_such_object).
    """

    book: int
    payee_id: str
    by: str

    def needs(self, work: Work) -> Iterable[Need]:
        yield BOOKS, (self.book,)
        yield PAYEES, (self.book, self.payee_id)

    def apply(self, work: Work) -> Payee:
        payee = _get(work, self.book, self.payee_id)
        if payee.suspended_by in (self.by, OPERATOR):
            return payee
        payee = payee._replace(suspended_at=payee.suspended_at or work.now, suspended_by=self.by)
        work.put(PAYEES, payee)
        publish(work, self.book, "payee.suspended", payee.id, payee_payload(payee))
        return payee


@dataclass(frozen=True, slots=True)
class ResumePayee:
    """Have what a payee is owed paid out again, with all that was kept back, from the next batch on. Returns it.

    Raises NotFound (no_such_object), Conflict (payee_suspended_by_operator) where a merchant would lift that.
    """

    book: int
    payee_id: str
    by: str

    def needs(self, work: Work) -> Iterable[Need]:
        yield BOOKS, (self.book,)
        yield PAYEES, (self.book, self.payee_id)

    def apply(self, work: Work) -> Payee:
        payee = _get(work, self.book, self.payee_id)
        if payee.suspended_by is None:
            return payee
        if payee.suspended_by == OPERATOR and self.by != OPERATOR:
            raise Conflict("payee_suspended_by_operator", f"{payee.id} is suspended by the operator, who may resume it")
        payee = payee._replace(suspended_at=None, suspended_by=None)
        work.put(PAYEES, payee)
        publish(work, self.book, "payee.resumed", payee.id, payee_payload(payee))
        return payee


def _get(work: Work, book: int, payee_id: str) -> Payee:
    payee = work.find(PAYEES, (book, payee_id))
    if payee is None:
        raise NotFound("no_such_object", f"there is no payee {payee_id}")
    return payee


@dataclass(frozen=True, slots=True)
class LinkBank:
    """Note how a merchant's custody at a bank is reached; the same bank again replaces its enrolment.

    At a bank that is new, a batch waits until what it pays has been deposited, as long as two people do not say
    otherwise. ended: it is asked for nothing more. Raises Conflict (other_pool_account): what stands in one pool
    account must not be looked for in another.
    """

    link: BankLink
    ended: bool = False

    @property
    def book(self) -> int:
        return self.link.book

    def needs(self, work: Work) -> Iterable[Need]:
        yield BOOKS, (self.book,)
        yield BANK_LINKS, (self.book, self.link.bank)
        yield PAYOUT_BANKS, (self.book, self.link.bank)

    def apply(self, work: Work) -> BankLink:
        work.head(self.book)
        existing = work.find(BANK_LINKS, (self.book, self.link.bank))
        if existing is None and work.find(PAYOUT_BANKS, (self.book, self.link.bank)) is None:
            work.put(PAYOUT_BANKS, PayoutBank(self.book, self.link.bank, *BankHours(), None, True, None))
        if existing is not None and existing.pool_account != self.link.pool_account:
            raise Conflict(
                "other_pool_account",
                f"book {self.book} has the pool account {existing.pool_account} at {self.link.bank}, and this is "
                f"{self.link.pool_account}: another currency's, or another customer's; give it another bank's name",
            )
        link = self.link._replace(read_at=work.now)
        if self.ended:
            link = link._replace(ended_at=link.ended_at or work.now)
        if existing is not None:
            taken_up = existing.ended_at is not None and link.ended_at is None  # nobody read it meanwhile
            link = link._replace(cursor=existing.cursor, read_at=work.now if taken_up else existing.read_at)
        work.put(BANK_LINKS, link)
        return link


@dataclass(frozen=True, slots=True)
class ResealBankLink:
    """Replace the envelope of a merchant's custody unless it changed meanwhile; return whether it was replaced."""

    old: BankLink
    new: BankLink

    @property
    def book(self) -> int:
        return self.old.book

    def needs(self, work: Work) -> Iterable[Need]:
        yield BOOKS, (self.book,)
        yield BANK_LINKS, (self.book, self.old.bank)

    def apply(self, work: Work) -> bool:
        work.head(self.book)
        there = work.get(BANK_LINKS, (self.book, self.old.bank))
        if there.sealed == self.new.sealed:
            return True
        if (there.settings, there.sealed) != (self.old.settings, self.old.sealed):
            return False  # rotated meanwhile, and so sealed under the current key
        work.put(BANK_LINKS, there._replace(settings=self.new.settings, sealed=self.new.sealed))
        return True


class Banks(Protocol):
    """Whoever can open a sub-account at a merchant's bank."""

    openings: Openings

    async def link(self, book: int, bank: str) -> BankLink: ...

    async def sub_account(
        self, book: int, bank: str, reference: str, name: str, currency: str, account: str | None
    ) -> str: ...


class Payees:
    """Use cases of payees."""

    def __init__(self, lanes: Lanes, banks: Banks, env: Env, pool: Pool) -> None:
        self._lanes = lanes
        self._banks = banks
        self._env = env
        self._pool = pool

    async def register(
        self,
        book: int,
        *,
        reference: str,
        name: str,
        kind: str,
        currency: str,
        bank: str | None,
        account: str | None = None,
        account_class: str | None = None,
        identity: Secret | None = None,
    ) -> Payee:
        """Register a payee with its sub-account; the same reference again returns the same payee.

        bank: None keeps the payee's shares in the books without settling them. account: the payee's own at a bank that
        opens none. account_class: of its account, where that has limits; repeating it with another changes nothing.
        identity: what the bank issued to the payee 身份凭证; it goes to the bank, and is kept only until that answers.
        Where the bank does not say at once, the account is opening: the bank is asked until it does. If it opens none
        then, registering the payee again asks for another account. Raises NotFound (no_such_bank), Rejected
        (payee_cannot_be_paid, payee_account_missing, payee_account_needless, account_class_wrong, identity_token_…, and
        the bank's no: nothing was registered), Conflict (payee_exists, with other facts), Unavailable.
        """
        payee_id = payee_id_of(book, reference)
        if bank is None and account is not None:
            raise Rejected("payee_account_needless", "an account is at a bank: name the bank", param="account")
        if bank is None and identity is not None:
            why = "an account is opened at a bank: name the bank"
            raise Rejected("identity_token_needless", why, param="identity_token")
        check_class(account_class, bank, currency)
        payee = Payee(book, payee_id, name, kind, currency, bank, None, self._env.now(), account_class=account_class)
        there = await self._find(book, payee_id)
        if there is not None:
            if there[:_FACTS] != payee[:_FACTS] or account not in (None, there.bank_account):
                raise _exists(payee_id)  # before a bank opens an account for other facts, or refuses to
            return await self._asked_anew(there, identity)
        said = None
        if bank is not None:
            link = await self._banks.link(book, bank)
            check_payable(bank, name, account, link)  # before an account is opened for it
            said = await self._banks.openings.ask(link, payee_id, 1, name, currency, account, identity)
        registered: Payee = await self._lanes.put(CreatePayee(payee, said))
        return registered

    async def _asked_anew(self, payee: Payee, identity: Secret | None) -> Payee:
        """Return a payee, after another account was asked for where its bank refused the last one."""
        if payee.bank is None or payee.account_status != states.SubAccount.REFUSED:
            return payee
        async with acquire(self._pool) as connection:
            number = next_number(await accounts_store.last_opening(connection, payee.book, payee.id))
        link = await self._banks.link(payee.book, payee.bank)
        said = await self._banks.openings.ask(link, payee.id, number, payee.name, payee.currency, None, identity)
        opened: Payee = await self._lanes.put(OpenAnew(payee.book, payee.id, number, said))
        return opened

    async def _find(self, book: int, payee_id: str) -> Payee | None:
        async with acquire(self._pool) as connection:
            rows = await PAYEES.load(connection, [(book, payee_id)])
        return rows[0] if rows else None

    async def set_class(self, book: int, payee_id: str, account_class: str | None, *, use: Use | None = None) -> Payee:
        """Note of which class a payee's account is. use: as resume has it. Raises what SetAccountClass raises."""
        return await self._lanes.put(approved(SetAccountClass(book, payee_id, account_class), use))

    async def suspend(self, book: int, payee_id: str, *, by: str) -> Payee:
        """Have nothing paid out to a payee; what it is owed is booked as ever. Raises what SuspendPayee raises."""
        suspended: Payee = await self._lanes.put(SuspendPayee(book, payee_id, by))
        return suspended

    async def resume(self, book: int, payee_id: str, *, by: str, use: Use | None = None) -> Payee:
        """Have a payee paid again. use: of the approval that it takes, if it does. Raises what ResumePayee raises."""
        resumed: Payee = await self._lanes.put(approved(ResumePayee(book, payee_id, by), use))
        return resumed

    async def freeze(self, book: int, payee_id: str, *, use: Use | None = None) -> Payee:
        """Freeze a payee's account. use: as resume has it. Raises what FreezeAccount raises."""
        frozen: Payee = await self._lanes.put(approved(FreezeAccount(book, payee_id), use))
        return frozen

    async def unfreeze(self, book: int, payee_id: str, *, use: Use | None = None) -> Payee:
        """Unfreeze a payee's account, whoever froze it. use: as resume has it. Raises what UnfreezeAccount raises."""
        unfrozen: Payee = await self._lanes.put(approved(UnfreezeAccount(book, payee_id), use))
        return unfrozen

    async def pay_own(
        self, book: int, currency: str, payee_id: str | None, *, by: str, use: Use | None = None
    ) -> OwnPayee:
        """Set by which payee the merchant is paid what is its own of payments; with None by none any more.

        Payments follow within a second; those made before keep what was set then. use: of the approval that it takes,
        if it does. Raises what SetOwnPayee raises.
        """
        row = OwnPayee(book, currency, payee_id, by, self._env.now())
        done: OwnPayee = await self._lanes.put(approved(SetOwnPayee(row), use))
        return done

    async def add_platform(
        self, book: int, *, name: str, currency: str, bank: str, account: str | None = None
    ) -> Payee:
        """Register the platform itself as the payee of its commission, with a sub-account of its own at the bank.

        It has one for each bank and currency; the same again returns the same. account: its own, at a bank that opens
        none. Raises what register raises.
        """
        async with acquire(self._pool) as connection:
            others = await platforms(connection, book)
        there = next((one for one in others if (one.bank, one.currency) == (bank, currency)), None)
        payee_id = platform_id_of(book, bank, currency) if there is None else there.id
        check_payable(bank, name, account, await self._banks.link(book, bank))
        reference, own = f"platform-{book}-{currency}", account
        account = await self._banks.sub_account(book, bank, reference, name, currency, account)
        async with acquire(self._pool) as connection:
            other = await accounts_store.holder_of(connection, book, bank, account, but=payee_id)
        if own is None and other is not None:
            raise Unavailable("bank_answer_unreadable", f"{bank} gives the platform the account of {other}")
        payee = Payee(
            book, payee_id, name, "platform", currency, bank, account, self._env.now(),
            fees_apart=any(one.currency == currency and one.id != payee_id for one in others),
        )  # fmt: skip
        put: Payee = await self._lanes.put(CreatePayee(payee))
        return put


def _exists(payee_id: str) -> Conflict:
    why = f"{payee_id} is registered with another name, kind, currency or bank"
    return Conflict("payee_exists", why, object_id=payee_id)


def payee_id_of(book: int, reference: str) -> str:
    """Return a payee's id: it follows from the merchant's own number, so registering twice cannot make two."""
    return "pye_" + hashlib.sha256(f"{book}/{reference}".encode()).hexdigest()[:26]


def platform_id_of(book: int, bank: str, currency: str) -> str:
    """Return the id of the platform's payee at a bank in a currency; no number of a merchant's gives the same.

    Books of before 0048 have one with an id that is the same in all of them, and keep it.
    """
    return "pye_" + hashlib.sha256(f"platform/{book}/{bank}/{currency}".encode()).hexdigest()[:26]
