"""Opening payees' sub-accounts 开户: the bank is asked until it says what became of one; silence is no answer.

An opening has one reference at the bank, whenever and however often it is asked, so there is one account. An identity
token 身份凭证 that the bank has not answered to is kept sealed, and no longer than that.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from channels.banks import Bank, BankAccount, OpensAccounts
from kernel.db import Pool, acquire
from kernel.env import Env
from kernel.errors import NotFound, Rejected, Unavailable
from kernel.sealing import Bound, CannotOpen, MasterKeys, Secret, master_of, rewrap, seal, unseal
from kernel.states import advance
from kernel.work import BOOKS, Command, Need, Work
from splitting import states
from splitting.accounts import store
from splitting.objects import payee_payload
from splitting.tables import ACCOUNT_OPENINGS, PAYEES, AccountOpening, BankLink, Payee
from streams import publish

log = logging.getLogger(__name__)
# The bank said nothing that can be believed: an account may have been opened.
SILENT = frozenset({"bank_unreachable", "bank_unavailable", "bank_answer_unreadable"})
# HTTP statuses that say no to this opening; another one is about us, and the bank is asked again.
_FINAL = frozenset({400, 409, 422})


class Said(NamedTuple):
    """What a bank said of an opening, or that it has not said yet."""

    status: states.SubAccount  # opening | open | refused
    account: str | None = None
    reason: str | None = None  # of a refusal: the bank's code
    sealed: str | None = None  # the identity token, where the bank did not answer
    bank_has_token: bool = True  # or needs none


def reference_of(payee_id: str, number: int) -> str:
    """Return under which reference the bank is asked for a payee's account: the first one's is the payee's id."""
    return payee_id if number == 1 else f"{payee_id}-{number}"


def heard(account: BankAccount) -> Said:
    """Return what an account that the bank shows means for its opening; one that nobody can pay to is none."""
    if account.status == "open":
        return Said(states.SubAccount.OPEN, account.account)
    if account.status == "pending":
        return Said(states.SubAccount.OPENING)
    return Said(states.SubAccount.REFUSED, reason=account.reason or account.status)


def with_account(payee: Payee, said: Said) -> Payee:
    """Return a payee whose account is as the bank said."""
    return payee._replace(bank_account=said.account, account_status=said.status.value, account_reason=said.reason)


@dataclass(frozen=True, slots=True)
class RecordOpening:
    """Take in what the bank said of an opening that is under way; one that has ended stays as it is. Returns the payee.

    An account that no file to the bank could name counts as refused: unsayable says why.
    """

    book: int
    payee_id: str
    number: int
    said: Said

    def needs(self, work: Work) -> Iterable[Need]:
        yield from _needs(self.book, self.payee_id)

    def apply(self, work: Work) -> Payee:
        payee = work.get(PAYEES, (self.book, self.payee_id))
        opening = work.find(ACCOUNT_OPENINGS, (self.book, self.payee_id))
        if opening is None or opening.ended_at is not None or opening.number != self.number:
            return payee
        if self.said.status is states.SubAccount.OPENING:
            work.put(ACCOUNT_OPENINGS, opening._replace(sealed=self.said.sealed))
            return payee
        work.put(ACCOUNT_OPENINGS, opening._replace(sealed=None, ended_at=work.now))
        return moved(work, payee, self.said)


@dataclass(frozen=True, slots=True)
class OpenAnew:
    """Note that another account was asked for, for a payee whose last opening was refused, and what the bank said.

    number: of this opening. Where another was noted meanwhile nothing changes. Returns the payee. Raises NotFound
    (no_such_object).
    """

    book: int
    payee_id: str
    number: int
    said: Said

    def needs(self, work: Work) -> Iterable[Need]:
        yield from _needs(self.book, self.payee_id)

    def apply(self, work: Work) -> Payee:
        payee = work.find(PAYEES, (self.book, self.payee_id))
        if payee is None:
            raise NotFound("no_such_object", f"there is no payee {self.payee_id}")
        before = work.find(ACCOUNT_OPENINGS, (self.book, self.payee_id))
        if payee.account_status != states.SubAccount.REFUSED or self.number != next_number(before):
            return payee
        work.put(ACCOUNT_OPENINGS, new_opening(work, payee, self.number, self.said))
        return moved(work, payee, self.said)


@dataclass(frozen=True, slots=True)
class ResealOpening:
    """Replace the envelope of a token unless it changed meanwhile; return whether it was replaced."""

    old: AccountOpening
    sealed: str

    @property
    def book(self) -> int:
        return self.old.book

    def needs(self, work: Work) -> Iterable[Need]:
        yield from _needs(self.book, self.old.payee_id)

    def apply(self, work: Work) -> bool:
        there = work.find(ACCOUNT_OPENINGS, (self.book, self.old.payee_id))
        if there is None or there.sealed != self.old.sealed:
            return False
        work.put(ACCOUNT_OPENINGS, there._replace(sealed=self.sealed))
        return True


def next_number(before: AccountOpening | None) -> int:
    """Return the number of a payee's next opening; the one before it may have been answered at once, and has no row."""
    return 2 if before is None else before.number + 1


def new_opening(work: Work, payee: Payee, number: int, said: Said) -> AccountOpening:
    """Return the row of an opening of which the bank has said this."""
    ended = None if said.status is states.SubAccount.OPENING else work.now
    return AccountOpening(payee.book, payee.id, number, said.sealed, work.now, ended)


def moved(work: Work, payee: Payee, said: Said) -> Payee:
    """Move a payee's account by what the bank said, and tell of it."""
    event = {
        states.SubAccount.OPEN: states.SubAccountEvent.OPENED,
        states.SubAccount.REFUSED: states.SubAccountEvent.REFUSED,
        states.SubAccount.OPENING: states.SubAccountEvent.ASKED,
    }[said.status]
    before = states.SubAccount(payee.account_status or "")
    advance(states.SUB_ACCOUNT, before, event)
    payee = with_account(payee, said)
    work.put(PAYEES, payee)
    if (told := states.SUB_ACCOUNT[before, event].tells) is not None:
        publish(work, payee.book, told, payee.id, payee_payload(payee))
    return payee


def _needs(book: int, payee_id: str) -> Iterable[Need]:
    yield BOOKS, (book,)
    yield PAYEES, (book, payee_id)
    yield ACCOUNT_OPENINGS, (book, payee_id)


class Puts(Protocol):
    """Whoever commits a command."""

    async def put(self, command: Command[Any]) -> Any: ...


class Openings:
    """Asks banks for accounts. client: of a link; Unavailable where it cannot be used."""

    def __init__(self, pool: Pool, lanes: Puts, env: Env, keys: MasterKeys, client: Callable[[BankLink], Bank]) -> None:
        self._pool = pool
        self._lanes = lanes
        self._env = env
        self._keys = keys
        self._client = client

    async def ask(
        self,
        link: BankLink,
        payee_id: str,
        number: int,
        name: str,
        currency: str,
        account: str | None,
        identity: Secret | None,
    ) -> Said:
        """Ask a bank for a payee's account for the first time, and return what it said, or that it has not.

        account: the payee's own, which a bank that opens none has to be told; it is open. Raises Rejected
        (payee_account_missing, payee_account_needless, identity_token_needless, or the bank's no), Unavailable where
        the bank could not be asked.
        """
        said = await self.asked(link, reference_of(payee_id, number), name, currency, account, identity)
        if account is None and await self._is_anothers(link, payee_id, said):
            said = Said(states.SubAccount.OPENING)
        if said.status is not states.SubAccount.OPENING or identity is None or said.bank_has_token:
            return said
        bound = _bound(link.book, payee_id, number)
        return said._replace(sealed=seal(identity.reveal().encode(), bound, self._keys, self._env.secrets, label={}))

    async def asked(
        self,
        link: BankLink,
        reference: str,
        name: str,
        currency: str,
        account: str | None,
        identity: Secret | None = None,
    ) -> Said:
        """Ask a bank for the account of a reference, of whoever it is. Raises what ask raises."""
        client = self._client(link)
        if not isinstance(client, OpensAccounts):
            if identity is not None:
                why = f"{link.bank} opens no accounts: nothing is asked of it by an identity token"
                raise Rejected("identity_token_needless", why, param="identity_token")
            if account is None:
                why = f"{link.bank} opens no accounts: give the payee's own account there"
                raise Rejected("payee_account_missing", why, param="account")
            return Said(states.SubAccount.OPEN, account)
        if account is not None:
            why = f"{link.bank} opens the payee's account and gives its number: leave it out"
            raise Rejected("payee_account_needless", why, param="account")
        try:
            return heard(await client.open_account(reference, name, currency, "sub", identity))
        except Unavailable as silent:
            if silent.code not in SILENT:
                raise
            facts = {"bank": link.bank, "book": link.book, "reference": reference, "why": str(silent)}
            log.warning("a bank did not say whether it opens an account; it is asked again", extra=facts)
        return Said(states.SubAccount.OPENING, bank_has_token=False)

    async def _is_anothers(self, link: BankLink, payee_id: str, said: Said) -> bool:
        """Return whether a bank opened an account for a payee that another payee has: then it is not believed."""
        if said.account is None:
            return False
        async with acquire(self._pool) as connection:
            other = await store.holder_of(connection, link.book, link.bank, said.account, but=payee_id)
        if other is not None:
            facts = {"bank": link.bank, "book": link.book, "payee": payee_id, "other": other}
            log.error("a bank gives a payee the account of another; it is asked again", extra=facts)
        return other is not None

    async def carry_on(self, link: BankLink, opening: AccountOpening) -> bool:
        """Ask again about an opening that is under way; return whether it has ended. Raises Unavailable."""
        client = self._client(link)
        async with acquire(self._pool) as connection:
            (payee,) = await PAYEES.load(connection, [(opening.book, opening.payee_id)])
        facts = {"bank": link.bank, "book": link.book, "payee": payee.id}
        reference = reference_of(payee.id, opening.number)
        if not isinstance(client, OpensAccounts):
            log.error("a bank that opens no accounts any more was asked for one", extra=facts)
            return False
        try:
            token = self._token(opening)
            said = heard(await client.open_account(reference, payee.name, payee.currency, "sub", token))
            if said.account is not None and (why := client.unsayable(payee.name, said.account)):
                log.error("a bank opened an account that cannot be paid", extra={**facts, "why": why})
                said = Said(states.SubAccount.REFUSED, reason="payee_cannot_be_paid")
            elif await self._is_anothers(link, payee.id, said):
                return False
        except Rejected as no:
            if no.facts.get("status", 422) not in _FINAL:
                log.error(
                    "a bank does not let us ask for an account; it is asked again", extra={**facts, "why": str(no)}
                )
                return False
            said = Said(states.SubAccount.REFUSED, reason=no.code.removeprefix("bank_"))
        if said.status is states.SubAccount.OPENING and opening.sealed is None:
            return False
        await self._lanes.put(RecordOpening(opening.book, opening.payee_id, opening.number, said))
        return said.status is not states.SubAccount.OPENING

    def _token(self, opening: AccountOpening) -> Secret | None:
        """Return the token of an opening. One that does not open is done without: the bank says whether it needs it."""
        if opening.sealed is None:
            return None
        try:
            bound = _bound(opening.book, opening.payee_id, opening.number)
            return Secret(unseal(opening.sealed, bound, self._keys).decode())
        except CannotOpen as error:
            facts = {"book": opening.book, "payee": opening.payee_id, "why": str(error)}
            log.error("an identity token does not open; the bank is asked without", extra=facts)
            return None

    async def reseal(self) -> tuple[int, int, list[str], set[str]]:
        """Put every token under the current master key.

        Returns how many were, how many had been before, why others were not, and the master keys in use.
        """
        done, already, failed = 0, 0, list[str]()
        for opening in await self._with_tokens():
            bound = _bound(opening.book, opening.payee_id, opening.number)
            assert opening.sealed is not None
            try:
                if master_of(opening.sealed) == self._keys.current().id:
                    already += 1
                    continue
                new = rewrap(opening.sealed, bound, self._keys, self._env.secrets)
                done += await self._lanes.put(ResealOpening(opening, new))
            except CannotOpen as error:
                failed.append(f"book {opening.book} payee {opening.payee_id}: {error}")
        in_use = {master_of(opening.sealed) for opening in await self._with_tokens() if opening.sealed is not None}
        return done, already, failed, in_use

    async def _with_tokens(self) -> list[AccountOpening]:
        async with acquire(self._pool) as connection:
            return [one for one in await store.openings_under_way(connection) if one.sealed is not None]


def _bound(book: int, payee_id: str, number: int) -> Bound:
    return ("account opening", book, payee_id, number)
