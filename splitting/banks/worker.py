"""The way to a merchant's bank: sub-accounts opened, batches sent, the bank's files read and applied.

Everything may be repeated: accounts go by our reference, batches by their bytes, files by where we have read to.
"""

import asyncio
import logging
import math
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import orjson

import cases
from channels.banks import NAMES, SECRETS, Bank, Kind, a_bank, profile, types_of
from channels.settings import check_addresses
from kernel.addresses import AddressRefused
from kernel.clock import BEIJING
from kernel.db import AGAIN, LOST, Pool, acquire, attempt, tell
from kernel.env import Env
from kernel.errors import NotFound, Rejected, SluiceError, Unavailable
from kernel.lane import Lanes
from kernel.sealing import CannotOpen, MasterKeys, Secret, master_of, without_secrets
from kernel.turns import Turns
from people import Use, approved
from splitting import states, store
from splitting.accounts import store as accounts_store
from splitting.accounts.opening import Openings
from splitting.banks import enrolment
from splitting.banks.bookings import Collected
from splitting.banks.fates import SET_ASIDE, bank_of
from splitting.banks.files import BankFiles
from splitting.banks.sending import Sending
from splitting.payees import LinkBank, ResealBankLink
from splitting.recalls.store import unsent as unsent_recalls
from splitting.settlement.instructions import MakeSettlement
from splitting.settlement.making import make
from splitting.settlement.shared import Parts
from splitting.tables import AccountOpening, BankFile, BankLink, Recall, Settlement, Withdrawal
from splitting.withdrawals.sending import WithdrawalSending
from splitting.withdrawals.store import unsent as unsent_withdrawals

log = logging.getLogger(__name__)
T = TypeVar("T")
S = TypeVar("S", Settlement, Withdrawal, Recall, AccountOpening)
D = TypeVar("D", Withdrawal, Recall, AccountOpening)


class Unsent(NamedTuple):
    """What a bank is not known to have of one merchant's, or not to have done, each oldest first."""

    settlements: list[Settlement]
    withdrawals: list[Withdrawal]
    recalls: list[Recall]
    openings: list[AccountOpening]

    @property
    def all(self) -> Iterator[Settlement | Withdrawal | Recall | AccountOpening]:
        return chain(self.settlements, self.withdrawals, self.recalls, self.openings)


class Resealed(NamedTuple):
    """What sealing the enrolments anew came to."""

    done: int  # now under the current master key
    already: int  # were under it before
    failed: Sequence[str]  # why not, by book and bank
    in_use: frozenset[str]  # master keys that some enrolment is still under


class Banks:
    """The banks of every merchant this process has served."""

    def __init__(self, pool: Pool, lanes: Lanes, env: Env, keys: MasterKeys) -> None:
        self._pool = pool
        self._lanes = lanes
        self._env = env
        self._keys = keys
        self._clients: dict[tuple[int, str], tuple[BankLink, Bank]] = {}
        self.files = BankFiles(pool, lanes, env, self.client)
        self._sending = Sending(pool, lanes, self.client)
        self.withdrawals = WithdrawalSending(lanes, self.client)
        self.openings = Openings(pool, lanes, env, keys, self.client)

    # ---- enrolments --------------------------------------------------------------------------------------------------

    def read(self, given: Mapping[str, Any], folder: Path) -> dict[str, Any]:
        """Return an enrolment with the content of every file that it names.

        Raises Rejected (bank_settings_wrong, address_refused).
        """
        return self._read(given, folder)

    async def enrol(
        self,
        book: int,
        bank: str,
        given: Mapping[str, Any],
        *,
        folder: Path,
        name: str,
        currency: str,
        use: Use | None = None,
    ) -> BankLink:
        """Open a merchant's pool account at a bank and keep how the bank is reached; repeating it finds the account.

        given: the bank's answer to the enrolment, keys as text or as names of files, which are read now. use: of the
        approval that it takes, if it does. Raises Rejected (bank_settings_wrong, address_refused, or the bank's no),
        Unavailable, Conflict (other_pool_account, approval_unusable).
        """
        enrolled = self._read(given, folder)
        if not enrolled.get("account_holder"):
            raise Rejected(
                "bank_settings_wrong",
                "account_holder is missing: in whose name 户名 the bank holds the account, which every batch says",
            )
        link = self._sealed(BankLink(book, bank, "", "{}", "{}"), enrolled)
        pool = await self._build(link).pool_account(f"pool-{book}-{currency}", name, currency)
        linked: BankLink = await self._lanes.put(approved(LinkBank(link._replace(pool_account=pool)), use))
        return linked

    async def rotate(
        self, book: int, bank: str, given: Mapping[str, Any], *, folder: Path, use: Use | None = None
    ) -> BankLink:
        """Put new credentials at a bank into use; what is not named stays, null takes away.

        The bank is asked with them first. It mends an enrolment whose master key was lost too; then every secret must
        be named. use: as enrol has it. Raises NotFound (no_such_bank), Rejected (bank_settings_wrong, address_refused,
        another_account), Unavailable, Conflict (approval_unusable).
        """
        link = await self.link(book, bank)
        try:
            known = _read(enrolment.opened(link, self._keys), Path())
        except (CannotOpen, Rejected):
            known = orjson.loads(link.settings)
        new_ones = self._read(given, folder)
        if strange := new_ones.keys() - known.keys() - _names(known):  # misspelt: the old would go on being used
            raise Rejected(
                "bank_settings_wrong", f"a bank has no setting {', '.join(sorted(strange))[:200]}; nothing was changed"
            )
        wanted = {**known, **new_ones}
        new = self._sealed(link, {name: value for name, value in wanted.items() if value is not None})
        try:
            await self._build(new).account(link.pool_account)
        except Rejected as no:
            if no.facts.get("status") != 404:
                raise
            raise Rejected(
                "another_account",
                f"with these credentials {bank} knows no account {link.pool_account}: another customer's",
            ) from None
        linked: BankLink = await self._lanes.put(approved(LinkBank(new), use))
        return linked

    async def reseal(self) -> Resealed:
        """Put every enrolment, and every identity token that is kept, under the current master key, one commit each.

        Repeating it finishes what was left.
        """
        async with acquire(self._pool) as connection:
            links = await store.bank_links(connection)
        failed: list[str] = []
        done = 0
        for link in links:
            try:
                new = enrolment.under_current(link, self._keys, self._env.secrets)
                if link.sealed is None:
                    self._build(new)  # what makes no client is not sealed away
                if new is not link:
                    done += await self._lanes.put(ResealBankLink(link, new))
            except (CannotOpen, Rejected, ValueError) as error:
                failed.append(f"book {link.book} bank {link.bank}: {error}")
        async with acquire(self._pool) as connection:
            now = await store.bank_links(connection)
        in_use = frozenset(master_of(link.sealed) for link in now if link.sealed is not None)
        tokens, already, not_done, under = await self.openings.reseal()
        already += len(links) - done - len(failed)
        return Resealed(done + tokens, already, [*failed, *not_done], in_use | under)

    async def end(self, book: int, bank: str) -> BankLink:
        """Ask a bank for no more files, except while a batch is under way; linking it again takes that back.

        Raises NotFound.
        """
        link = await self.link(book, bank)
        ended: BankLink = await self._lanes.put(LinkBank(link, ended=True))
        return ended

    def _read(self, given: Mapping[str, Any], folder: Path) -> dict[str, Any]:
        """Return an enrolment without names of files. Raises Rejected (bank_settings_wrong, address_refused)."""
        enrolled = _read(given, folder)
        try:
            check_addresses(enrolled, self._env.addresses)
        except AddressRefused as refused:
            raise Rejected("address_refused", str(refused)) from None
        return enrolled

    def _sealed(self, link: BankLink, given: Mapping[str, Any]) -> BankLink:
        return enrolment.sealed(link, given, self._keys, self._env.secrets)

    def _build(self, link: BankLink) -> Bank:
        """Return a client of an enrolment. Raises Rejected (bank_settings_wrong), CannotOpen."""
        settings = enrolment.opened(link, self._keys)
        try:
            return a_bank(settings, self._env)
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            hidden = [Secret(str(settings[name])) for name in SECRETS if settings.get(name)]
            said = f"{error} is missing" if isinstance(error, KeyError) else f"{type(error).__name__}: {error}"
            why = without_secrets(said, hidden)
        raise Rejected("bank_settings_wrong", f"these settings do not reach a bank: {why}")

    # ---- sub-accounts ------------------------------------------------------------------------------------------------

    async def sub_account(
        self, book: int, bank: str, reference: str, name: str, currency: str, account: str | None = None
    ) -> str:
        """Open a sub-account at once, or return the number of the one opened under this reference before.

        account: see Openings.ask. Raises NotFound (no_such_bank), Rejected, Unavailable (bank_account_not_open, also
        where the bank has not said yet).
        """
        link = await self.link(book, bank)
        said = await self.openings.asked(link, reference, name, currency, account)
        if said.account is None:
            why = f"{bank} has not opened the account yet ({said.reason or said.status}); ask again"
            raise Unavailable("bank_account_not_open", why, retry_after_s=60)
        return said.account

    async def link(self, book: int, bank: str) -> BankLink:
        """Return how a merchant's custody at a bank is reached. Raises NotFound."""
        async with acquire(self._pool) as connection:
            link = await store.find_bank_link(connection, book, bank)
        if link is None:
            raise NotFound("no_such_bank", f"this merchant has no custody account at {bank}")
        return link

    def client(self, link: BankLink) -> Bank:
        """Return the client of a link, built anew only when its enrolment changed.

        Raises Unavailable (bank_link_closed) where it does not open.
        """
        known = self._clients.get((link.book, link.bank))
        if known is None or (known[0].settings, known[0].sealed) != (link.settings, link.sealed):
            try:
                known = self._clients[link.book, link.bank] = link, self._build(link)
            except (CannotOpen, Rejected) as error:
                log.error("a bank link cannot be used", extra={"book": link.book, "bank": link.bank, "why": str(error)})
                raise Unavailable(
                    "bank_link_closed",
                    f"the link to {link.bank} cannot be used now; the operator's log gives the reason",
                    retry_after_s=60,
                ) from None
        return known[1]

    def problem(self, link: BankLink) -> str | None:
        """Return why a link cannot be used: short, for people, without a secret; None where it can."""
        try:
            self._build(link)
        except CannotOpen as error:
            return f"its credentials do not open: {error}"
        except (Rejected, Unavailable) as error:
            return error.message
        except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
            return f"what is kept of it is damaged ({type(error).__name__})"
        return None

    # ---- settlement --------------------------------------------------------------------------------------------------

    async def settle(
        self,
        book: int,
        bank: str,
        business_date: date,
        currency: str,
        *,
        execution_date: date,
        not_before: datetime | None = None,
    ) -> Settlement | None:
        """Make the batch of a business date, once, and send it to the bank; repeating it goes on where it stopped.

        execution_date: the bank's day on which it is to be carried out, usually the one after the business date.
        not_before: when the date is over; None: at midnight in Beijing. None where nothing is to be paid: then there is
        no batch. Raises NotFound (no_such_bank), Rejected (date_not_over).
        """
        await self.link(book, bank)
        over = not_before or datetime.combine(business_date + timedelta(days=1), time(), BEIJING)
        batch = MakeSettlement(book, bank, business_date, execution_date, currency, [], over)
        settlement = await make(self._pool, self._lanes, batch, lambda owed: owed if owed.minor > 0 else None)
        return None if settlement is None else await self.send(settlement)

    async def send(self, settlement: Settlement) -> Settlement:
        """Send a batch the bank is not known to have; the same bytes each time, so the bank executes them once."""
        return (await self.carry_on(settlement))[0]

    async def lacking(self, settlement: Settlement) -> int:
        """Return what a batch waits for that has not been deposited, in minor units; 0 where it does not wait."""
        return await self._sending.lacking(settlement)

    async def carry_on(self, settlement: Settlement) -> tuple[Settlement, bool]:
        """Send a batch, or give back one that was cancelled; return it, and whether the bank answered.

        Any other batch is left as it is. Raises NotFound (no_such_bank), Unavailable.
        """
        if settlement.status not in (states.Batch.CREATED, states.Batch.CANCELLED):
            return settlement, True
        link = await self.link(settlement.book, settlement.bank)
        if settlement.status == states.Batch.CANCELLED:
            return await self._sending.give_back(link, settlement)
        return await self._sending.send(link, settlement)


def _names(settings: Mapping[str, Any]) -> frozenset[str]:
    try:
        return NAMES[profile(settings)]
    except ValueError:
        return frozenset()


def _read(given: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return an enrolment without names of files. Raises Rejected (bank_settings_wrong)."""
    try:
        return enrolment.without_files(given, folder)
    except ValueError as error:
        raise Rejected("bank_settings_wrong", f"these settings do not reach a bank: {error}") from None


# How a merchant's channels name their deposits: the start of the end-to-end id → channel accounts.
Deposits = Callable[[int], Awaitable[Mapping[str, Sequence[str]]]]

MOST_REST_S = 30.0
MOST_WAIT_S = 300.0  # a batch without an answer is sent again so seldom at last


class _Rest(NamedTuple):
    """A bank that did not answer, or with which something is wrong, is asked less and less often."""

    pause_s: float
    until: float  # monotonic: a clock that is set back makes no pause longer
    why: str


QUERY_AGAIN_S = 300.0  # so long a file that is set aside is left alone
AGAIN_AT_ONCE = 20  # of those in one turn: the bank's new files come first in the next
SENT_AT_ONCE = 100  # withdrawals, recalls, and openings, in one turn: the bank's new files come between
SLOW_S = 1.0  # a round waits so long for a bank
_APPLIED = [
    *types_of(Kind.NOTICE),
    *types_of(Kind.REPORT),
    *types_of(Kind.RESOLUTION),
]  # a statement is the daily proof's
AT_ONCE = 16  # merchants of one bank


class BankWorker:
    """The background half: sends what is unsent, reads what banks wrote.

    Each merchant's custody at a bank is worked on by a task of its own: a bank that does not answer, or a book that
    something else holds, keeps nobody else waiting. What is still under way when a round begins is left to its task.
    """

    def __init__(
        self, banks: Banks, pool: Pool, env: Env, deposits: Deposits, collected: Collected, parts: Parts | None = None
    ) -> None:
        """parts: how a deposit of several channel accounts is shared out; None: it waits."""
        self._banks = banks
        self._parts = parts
        self._pool = pool
        self._env = env
        self._deposits = deposits
        self._collected = collected
        self._away: dict[tuple[int, str], _Rest] = {}
        self._turns: Turns[tuple[int, str], int] = Turns(env, "settlement")  # by book and bank
        self._at_once: dict[str, asyncio.Semaphore] = {}  # by bank
        self._unanswered: dict[tuple[int, str], _Rest] = {}  # batches, by book and id
        self._queried_again: dict[str, float] = {}  # when, by the case of a file that is set aside

    @property
    def busy(self) -> bool:
        """Whether something of a round is still under way."""
        return bool(self._turns.keys)

    async def once(self) -> int:
        """Begin a round over every merchant's banks but those under way; return how many files were applied by now."""
        unsent: defaultdict[tuple[int, str], Unsent] = defaultdict(lambda: Unsent([], [], [], []))
        async with acquire(self._pool) as connection:
            async for settlement in store.unsent(connection):
                unsent[settlement.book, settlement.bank].settlements.append(settlement)
            async for withdrawal in unsent_withdrawals(connection):
                unsent[withdrawal.book, withdrawal.bank].withdrawals.append(withdrawal)
            async for recall in unsent_recalls(connection):
                unsent[recall.book, recall.bank].recalls.append(recall)
            links = await store.links_to_follow(connection)
            for opening, bank in await accounts_store.openings_at_banks(connection):
                unsent[opening.book, bank].openings.append(opening)
            aside: dict[tuple[int, str], list[str]] = {}
            for book, case_id, about in await cases.store.open_of(connection, SET_ASIDE):
                aside.setdefault((book, bank_of(about)), []).append(case_id)
            agreed: dict[tuple[int, str], list[BankFile]] = {}
            for file in await store.files_to_apply(connection, _APPLIED):
                agreed.setdefault((file.book, file.bank), []).append(file)
        self._unanswered = {
            key: rest
            for key in ((one.book, one.id) for some in unsent.values() for one in some.all)
            if (rest := self._unanswered.get(key)) is not None
        }
        still = {case_id for some in aside.values() for case_id in some}
        self._queried_again = {case_id: at for case_id, at in self._queried_again.items() if case_id in still}
        begun = []
        for link in links:
            one = link.book, link.bank
            if one not in self._turns:
                room = self._at_once.setdefault(link.bank, asyncio.Semaphore(AT_ONCE))
                turn = self._turn(link, unsent[one], agreed.get(one, []), aside.get(one, []))
                begun.append(self._turns.begin(one, turn, room=room))
        if not begun:
            return 0
        done, _ = await asyncio.wait(begun, timeout=SLOW_S)
        return sum(task.result() or 0 for task in done)

    async def _turn(self, link: BankLink, unsent: Unsent, agreed: Sequence[BankFile], aside: Sequence[str]) -> int:
        """Do one merchant's part at one bank; return how many files were applied."""
        return await self.tend(link.bank, link.book, self._work(link, unsent, agreed, aside)) or 0

    async def _work(self, link: BankLink, unsent: Unsent, agreed: Sequence[BankFile], aside: Sequence[str]) -> int:
        """Send what is unsent, oldest first; then read what the bank wrote, whatever became of that.

        First comes what is kept of files that people have agreed to. Last, files that are set aside are asked for
        again, each every few minutes.

        Where the bank leaves a batch without an answer, the others of the merchant wait for the next round, and that
        one is sent again later and later: a batch that never gets through holds up no other.
        """
        deposits = await self._deposits(link.book)
        for file in agreed:
            error = await attempt(self._banks.files.apply_kept(link, file, deposits, self._collected))
            _tell_of_file(link, file.file_id, error)
        await self._send(link, unsent)
        await self._open(link, self._due(unsent.openings))
        number = await self._banks.files.read_new(link, deposits, self._collected)
        await self._banks.files.bookings.look_again(link)
        if self._parts is not None:
            await self._banks.files.bookings.share_out(link, self._parts)
        now = self._env.clock.monotonic()
        asked = {case_id: self._queried_again.get(case_id, -math.inf) for case_id in aside}
        due = [case_id for case_id, at in asked.items() if now - at >= QUERY_AGAIN_S]
        for case_id in sorted(due, key=asked.__getitem__)[:AGAIN_AT_ONCE]:
            self._queried_again[case_id] = now
            error = await attempt(self._banks.files.read_again(link, case_id, deposits, self._collected))
            _tell_of_file(link, case_id, error)
        return number

    async def _open(self, link: BankLink, openings: Sequence[AccountOpening]) -> None:
        """Ask about accounts that are being opened, each less and less often, until the bank does not answer."""
        for opening in openings:
            try:
                await self._give(opening, partial(self._banks.openings.carry_on, link))
            except Unavailable as silent:
                key = opening.book, opening.id
                self._unanswered[key] = self._later(self._unanswered.get(key), str(silent), MOST_WAIT_S)

    async def _send(self, link: BankLink, unsent: Unsent) -> None:
        """Give a bank what it is not known to have: recalls 追回 first, which are the more urgent. Raises Unavailable.

        Where one gets no answer, the rest waits for the next round.
        """
        for recall in self._due(unsent.recalls):
            if not await self._give(recall, partial(self._banks.files.recalls.send, link)):
                return
        for settlement in unsent.settlements:
            if not await self._give(settlement, self._carry_on):
                return
        for withdrawal in self._due(unsent.withdrawals):
            if not await self._give(withdrawal, partial(self._banks.withdrawals.send, link)):
                return

    async def _carry_on(self, settlement: Settlement) -> bool:
        return (await self._banks.carry_on(settlement))[1]

    def _due(self, orders: Sequence[D]) -> Sequence[D]:
        """Return which of them come in this turn: none that waits for its time, and no more than so many."""
        now = self._env.clock.monotonic()
        waiting = {key for key, rest in self._unanswered.items() if now < rest.until}
        return [one for one in orders if (one.book, one.id) not in waiting][:SENT_AT_ONCE]

    async def _give(self, order: S, send: Callable[[S], Awaitable[bool]]) -> bool:
        """Give a bank an order or a recall, unless its time has not come; return whether to go on with the next.

        Not where the bank left it without an answer. What cannot be sent is told of. Raises Unavailable.
        """
        key = order.book, order.id
        error: Exception | None = None
        known = self._unanswered.get(key)
        if known is not None and self._env.clock.monotonic() < known.until:
            return True
        try:
            answered = await send(order)
        except Unavailable:
            raise
        except (*LOST, *AGAIN):
            raise
        except Exception as wrong:  # of this order alone: the next is sent
            error, answered = wrong, True
        if error is None and answered:
            self._unanswered.pop(key, None)
            return True
        why = "no answer" if error is None else str(error)
        self._unanswered[key] = self._later(known, why, MOST_WAIT_S)
        if isinstance(error, SluiceError):
            log.error("an order cannot be sent", extra={"order": order.id, "why": why})
        elif error is not None:
            tell(log, "an order cannot be sent; the others are", error, order=order.id)
        return error is not None

    async def tend(self, bank: str, book: int, work: Coroutine[Any, Any, T]) -> T | None:
        """Do one merchant's part; whatever is wrong with it is told, and keeps nobody else's from being done."""
        rest = self._away.get((book, bank))
        if rest is not None and self._env.clock.monotonic() < rest.until:
            work.close()
            return None
        try:
            done = await work
            if self._away.pop((book, bank), None) is not None:
                log.info("a bank answers again", extra={"bank": bank, "book": book})
            return done
        except Unavailable as error:
            if error.code == "database_unavailable":  # which is no fault of the bank's
                return None
            told = "a bank is away" if error.code.startswith("bank_") else "settlement of one merchant has to wait"
            if self._let_rest(book, bank, error.code):
                log.warning(f"{told}; asking again later", extra={"bank": bank, "book": book, "why": str(error)})
        except SluiceError as error:
            if self._let_rest(book, bank, str(error)):
                log.error("a bank's files cannot be read", extra={"bank": bank, "book": book, "why": str(error)})
        except Exception as error:  # part of the worker loop
            if self._let_rest(book, bank, repr(error)):
                tell(log, "settlement of one merchant failed; the others go on", error, bank=bank, book=book)
        return None

    def _let_rest(self, book: int, bank: str, why: str) -> bool:
        """Ask this bank later; return whether that is to be told of: one that is away all night is told of once."""
        known = self._away.get((book, bank))
        self._away[book, bank] = self._later(known, why, MOST_REST_S)
        return known is None or known.why != why

    def _later(self, known: _Rest | None, why: str, most_s: float) -> _Rest:
        """Return when to ask again: each time after twice the pause."""
        pause_s = 2.0 if known is None else min(2 * known.pause_s, most_s)
        return _Rest(pause_s, self._env.clock.monotonic() + pause_s, why)

    async def run(self, *, idle_s: float = 2.0) -> None:
        """Work until cancelled."""
        while True:
            self._turns.tell_late()
            try:
                applied = await self.once()
            except Exception as error:  # the worker loop: nothing may end it but its owner
                tell(log, "a round of settlement failed; it goes on", error)
                applied = 0
            if not applied:
                await self._env.sleep(idle_s)


def _tell_of_file(link: BankLink, ident: str, error: Exception | None) -> None:
    if error is not None:
        facts = {"bank": link.bank, "book": link.book, "of": ident}
        tell(log, "a file that waits cannot be applied; the others are", error, **facts)
