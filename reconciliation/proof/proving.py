"""Proving a business date 日终证明: each book's custody at each bank against its statement, signed for the day."""

import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

import orjson

from channels.banks import AccountStatement, opens_accounts
from gateway.store import merchants
from kernel.clock import business_date, rfc3339
from kernel.db import Connection, Pool, acquire, transaction
from kernel.env import Env
from kernel.errors import Conflict, NotFound, Rejected
from ledger import accounts
from ledger.accounts import NATURE, AccountKind, Side
from reconciliation.proof import store
from reconciliation.proof.certificate import FORMAT, Certificate, digest, key_id, same_proof, signed
from reconciliation.proof.custody import Base, Custody, Given, Moved, Proved, as_json, prove
from reconciliation.proof.items import At, Item
from reconciliation.proof.keys import CertificateKeys
from reconciliation.sources.statements import statements_of
from splitting.banks.store import bank_accounts
from splitting.guard import store as guard
from splitting.settlement.calendar import BankHours, Calendar
from splitting.store import bank_links
from splitting.tables import PAYOUT_BANKS, BankAccount, BankLink

log = logging.getLogger(__name__)
DAY = timedelta(days=1)
TRIES = 3  # of a proof that another one of the same dates comes before


class Overtaken(Exception):
    """What a proof went on from was replaced while it was made."""


class _Before(NamedTuple):
    """The certificate that a proof goes on from."""

    certificate: Certificate
    told: Mapping[str, Any]

    @property
    def issued_on(self) -> date:
        return business_date(datetime.fromisoformat(self.told["issued_at"]))

    def book(self, book: int) -> Mapping[str, Any]:
        return next((one for one in self.told["books"] if one["book"] == book), {})

    def base(self, book: int, bank: str, currency: str) -> Base | None:
        """Return what it has left of a custody; None where it had none."""
        of_book = self.book(book)
        for one in of_book.get("custody", ()):
            if (one["bank"], one["currency"]) == (bank, currency):
                left: dict[str, int] = defaultdict(int)
                for line in one["unexplained"]:
                    left[line["account"]] += line["minor"]
                items = [Item.of_json(item) for item in one["explained"]]
                seq = one.get("as_of_seq", of_book["journal"]["seq"])
                return Base(date.fromisoformat(one["as_of"]), seq, items, left)
        return None


class Proving:
    """Proves business dates, and keeps the certificates."""

    def __init__(
        self,
        pool: Pool,
        env: Env,
        keys: CertificateKeys,
        calendar: Calendar,
        fetch: Callable[[int, str, date | None], Awaitable[object]],
    ) -> None:
        """fetch: has the statements of a merchant's bank fetched and kept, as far as they are not; since a day anew."""
        self._pool = pool
        self._env = env
        self._keys = keys
        self._calendar = calendar
        self._fetch = fetch

    async def fetch(self, day: date | None = None) -> list[str]:
        """Fetch what banks have written since; return, for people, which bank could not be asked, and why.

        day: a date that is to be proved. A bank that answers questions is asked anew what it says of that and the date
        before, which may be otherwise by now; one that lists files lists what it has replaced.
        A proof without that bank's statement says that it is missing.
        """
        trouble = []
        async with acquire(self._pool) as connection:
            links = await bank_links(connection)
        for link in links:
            try:
                await self._fetch(link.book, link.bank, None if day is None else day - DAY)
            except Exception as error:  # one bank's trouble is none of the others'
                trouble.append(f"book {link.book}: {link.bank} could not be asked for its statements: {error}")
        return trouble

    async def prove(self, day: date) -> Certificate:
        """Prove a business date and return its certificate; the same one as before where nothing is otherwise.

        Where something is, a further one is made, which names the one it replaces. What does not hold is certified as
        such. Raises Rejected (date_not_over), Conflict (proof_overtaken), Unavailable (the key cannot be had).
        """
        if day >= business_date(self._env.now()):
            raise Rejected("date_not_over", f"business date {day} can be proved when it is over", param="date")
        for _ in range(TRIES):
            try:
                return await self._prove(day)
            except Overtaken:
                continue
        raise Conflict("proof_overtaken", "another proof is made at the same time; try it again")

    async def find(self, day: date, number: int | None = None) -> Certificate:
        """Return a date's certificate, the newest unless a number is given. Raises NotFound (no_such_certificate)."""
        async with acquire(self._pool) as connection:
            found = await store.find(connection, day, number)
        if found is None:
            which = "certificate" if number is None else f"certificate {number}"
            raise NotFound("no_such_certificate", f"there is no {which} of {day}; see `sluice proof list`")
        return found

    async def newest(self, limit: int) -> list[Certificate]:
        """Return the certificates of the last dates, newest first."""
        async with acquire(self._pool) as connection:
            return await store.newest(connection, limit)

    async def _prove(self, day: date) -> Certificate:
        async with acquire(self._pool) as connection:
            found = await store.before(connection, day)
            before = None if found is None else _Before(found, found.told)
            books = [merchant.book for merchant in await merchants(connection)]
            links = await bank_links(connection)
        told = []
        for book in books:
            async with (
                acquire(self._pool) as connection,
                connection.transaction(isolation="repeatable_read", readonly=True),
            ):
                one = await self._book(connection, book, day, [link for link in links if link.book == book], before)
            if one is not None:
                told.append(one)
        proof = {
            "format": FORMAT,
            "date": day.isoformat(),
            "before": None
            if found is None
            else {"date": found.business_date.isoformat(), "number": found.number, "sha256": found.sha256},
            "holds": all(map(_holds, told)),
            "books": told,
        }
        return await self._certify(day, found, proof)

    async def _certify(self, day: date, before: Certificate | None, proof: Mapping[str, Any]) -> Certificate:
        """Sign what was proved, unless the date's newest certificate says the same."""
        async with transaction(self._pool) as tx:
            await store.lock(tx)
            if await store.before(tx, day) != before:
                raise Overtaken
            last = await store.find(tx, day)
            if last is not None and same_proof(last.told, proof):
                return last
            key = await self._keys.signing(tx)
            told = {
                **proof,
                "number": 1 if last is None else last.number + 1,
                "replaces": None if last is None else last.sha256,
                "issued_at": rfc3339(self._env.now()),
                "key": key_id(key.public_key()),
            }
            content = signed(told, key)
            made = Certificate(day, told["number"], digest(content), content, told["key"], told["holds"])
            await store.add(tx, made)
        if not made.holds:
            log.error("the proof of a business date does not hold", extra={"date": str(day), "number": made.number})
        return made

    # ---- one book ----------------------------------------------------------------------------------------------------

    async def _book(
        self, connection: Connection, book: int, day: date, links: Sequence[BankLink], before: _Before | None
    ) -> dict[str, Any] | None:
        """Prove one merchant's book; None where nothing ever moved in it."""
        head = await store.head(connection, book)
        balances = await store.balances_at(connection, book, day)
        subs = await store.sub_accounts(connection, book)
        others = await bank_accounts(connection, book)
        custody = [
            await self._custody(connection, one, day, balances, before)
            for link in links
            for one in await self._custodies(connection, link, subs, others, balances, day)
        ]
        control = await _control(connection, book, day, balances)
        if not custody and not control:
            return None
        beyond = 0 if before is None else before.book(book).get("journal", {"seq": 0})["seq"]
        since = date.min if before is None or not beyond else before.issued_on
        return {
            "book": book,
            "journal": {"seq": head.transfer_seq, "sha256": head.transfer_hash.hex()},
            "events": {"seq": head.event_seq, "sha256": head.event_hash.hex()},
            "custody": custody,
            "control": control,
            "guarded": {"from_seq": beyond + 1, "to_seq": head.transfer_seq},
            "second_clearing": await _second_clearing(connection, book, day, balances, since, beyond),
        }

    async def _custodies(
        self,
        connection: Connection,
        link: BankLink,
        subs: Sequence[store.SubAccount],
        others: Sequence[BankAccount],
        balances: Sequence[store.Balance],
        day: date,
    ) -> list[Custody]:
        """Return a merchant's custody at a bank in each currency, where there is any."""
        moved = {one.currency for one in balances if one.account == accounts.bank(link.bank, one.currency)}
        moved |= {one.currency for one in balances if one.account == accounts.in_transit(link.bank, one.currency)}
        moved |= {
            one.currency for one in balances if one.account.startswith(f"{AccountKind.BANK_ACCOUNT}:{link.bank}.")
        }
        if not moved:  # nothing of it is in the book; what does the bank say?
            dates = await store.statement_dates(connection, link.book, _counterparty(link.bank), None, day)
            if dates:
                told = await statements_of(connection, link.book, _counterparty(link.bank), dates[-1])
                moved = {one.closing.currency for one in told}
        return [
            Custody(
                link.book, link.bank, currency, link.pool_account,
                {one.payee_id: one.number for one in subs if (one.bank, one.currency) == (link.bank, currency)},
                {one.role: one.account for one in others if (one.bank, one.currency) == (link.bank, currency)},
                opens_accounts(orjson.loads(link.settings)),
            )
            for currency in sorted(moved)
        ]  # fmt: skip

    async def _custody(
        self,
        connection: Connection,
        custody: Custody,
        day: date,
        balances: Sequence[store.Balance],
        before: _Before | None,
    ) -> dict[str, Any]:
        base = None if before is None else before.base(custody.book, custody.bank, custody.currency)
        standing = {one.account: one.minor for one in balances}
        counterparty = _counterparty(custody.bank)
        statements: list[AccountStatement] = []
        after = None if base is None else base.as_of
        dates = await store.statement_dates(connection, custody.book, counterparty, after, day)
        head = await store.head(connection, custody.book)
        late_since = date.max if base is None or before is None else before.issued_on
        if base is None and dates:  # what the first statement opens with is what the book had by then
            base = Base(dates[0] - DAY, head.transfer_seq)
        for on in dates:
            told = await statements_of(connection, custody.book, counterparty, on)
            statements += [one for one in told if one.closing.currency == custody.currency]
        proved = prove(
            Given(
                day, custody, base, statements,
                await _moved(connection, custody, base, day, late_since),
                standing.get(accounts.bank(custody.bank, custody.currency), 0),
                {
                    payee: -standing.get(accounts.sub_account(payee, custody.currency), 0)
                    for payee in custody.subs
                },
                {
                    role: standing.get(accounts.bank_account(custody.bank, role, custody.currency), 0)
                    for role in custody.others
                },
                await self._works(connection, custody, day),
            )
        )  # fmt: skip
        told_of = as_json(proved, await _explained(connection, custody, proved, day))
        files = (
            []
            if proved.statement_of is None
            else await store.statement_files(connection, custody.book, counterparty, proved.statement_of)
        )
        told_of["statement_files"] = [{"name": one.name, "sha256": one.sha256} for one in files]
        if proved.as_of < day:  # its transfers up to here are in what is carried, and no later one
            told_of["as_of_seq"] = head.transfer_seq if base is None else base.journal_seq
        return told_of

    async def _works(self, connection: Connection, custody: Custody, day: date) -> bool:
        """Tell whether a bank works on a day, by its hours and the calendar; of years that are not known, it does."""
        rows = await PAYOUT_BANKS.load(connection, [(custody.book, custody.bank)])
        hours = BankHours(rows[0].cut_off, rows[0].every_day) if rows else BankHours()
        try:
            return hours.works(self._calendar, day)
        except Rejected:
            return True


def _holds(book: Mapping[str, Any]) -> bool:
    return all(part["holds"] for part in (*book["custody"], *book["control"], book["second_clearing"]))


def _counterparty(bank: str) -> str:
    return f"bank:{bank}"


async def _moved(
    connection: Connection, custody: Custody, base: Base | None, day: date, late_since: date
) -> list[Moved]:
    """Return the transfers of a custody that the proof before has not looked at.

    late_since: those for earlier dates were recorded on that day or later.
    """
    after = None if base is None else base.as_of
    ours = {accounts.sub_account(payee, custody.currency): payee for payee in custody.subs}
    at_bank = accounts.bank(custody.bank, custody.currency)
    roles = {accounts.bank_account(custody.bank, role, custody.currency): role for role in custody.others}
    found = []
    for on in await store.recorded_days(connection, custody.book, after, day, late_since=late_since):
        beyond = 0 if base is None else base.journal_seq
        for one in await store.moved_custody(connection, custody.book, on, after, day, beyond=beyond):
            bank = {one.debit: one.amount_minor, one.credit: -one.amount_minor}.get(at_bank, 0)
            payee, sub = ours.get(one.credit), one.amount_minor
            if payee is None and one.debit in ours:
                payee, sub = ours[one.debit], -one.amount_minor
            role = roles.get(one.debit) or roles.get(one.credit)
            there = 0 if role is None else one.amount_minor if one.debit in roles else -one.amount_minor
            if bank or payee is not None or role is not None:
                sub = sub if payee is not None else 0
                found.append(Moved(one.id, one.business_date, bank, payee, sub, role, there))
    return found


async def _explained(connection: Connection, custody: Custody, proved: Proved, day: date) -> list[dict[str, Any]]:
    """Return the one-sided bookings, each with its reason, id and effect."""
    named = {item.line for item in proved.items if item.at is At.BANK and item.line is not None}
    of_line = {one.id: one for one in await store.lines(connection, custody.book, named)} if named else {}
    strangers = {item.id.partition("@")[0] for item in proved.items if item.at is At.BANK and item.line is None}
    cases = {}
    if strangers:
        for ref, case, status in await store.cases_of_bookings(connection, custody.book, strangers):
            cases[ref] = {"case": case, "case_status": status}
    told = []
    for item in proved.items:
        line = of_line.get(item.line or "")
        kind = f"at_{item.at.value}_only"
        if item.at is At.BANK and line is not None and (line.status == "in_transit" or line.bank_date > day):
            kind = "in_transit"
        more = cases.get(item.id.partition("@")[0], {}) if item.at is At.BANK else {}
        told.append({"kind": kind, "effect_minor": item.effect, **item.as_json(), **more})
    return told


async def _control(
    connection: Connection, book: int, day: date, balances: Sequence[store.Balance]
) -> list[dict[str, Any]]:
    """Return what a book's custody consists of, by its control accounts, in each currency."""
    in_transit = await store.in_transit_at(connection, book, day)
    suspended = await store.suspended_at(connection, book, day)
    told = []
    for currency in sorted({one.currency for one in balances if one.minor}):
        kinds: dict[AccountKind, int] = defaultdict(int)
        under_way = []
        of_banks: dict[str, int] = {}
        for one in (one for one in balances if one.currency == currency):
            kind = accounts.kind_of(one.account)
            minor = one.minor if NATURE[kind].side is Side.DEBIT else -one.minor
            kinds[kind] += minor
            if kind is AccountKind.CHANNEL and minor:
                under_way.append({"id": one.account.split(":")[1], "minor": minor})
            if kind is AccountKind.IN_TRANSIT:
                of_banks[one.account] = minor
        at_banks = AccountKind.BANK, AccountKind.BANK_ACCOUNT
        custody = sum(kinds[kind] for kind in at_banks)
        due = sum(m for k, m in kinds.items() if NATURE[k].side is Side.DEBIT and k not in at_banks)
        owed = sum(m for k, m in kinds.items() if NATURE[k].side is Side.CREDIT)
        batches = [one for one in in_transit if one.currency == currency]
        wrong = []
        if owed - due != custody:
            wrong.append(_left("control_differs", owed - due - custody, "what is owed and due does not make custody"))
        for account in sorted({*of_banks, *(accounts.in_transit(one.bank, currency) for one in batches)}):
            lines = sum(one.minor for one in batches if accounts.in_transit(one.bank, currency) == account)
            if lines != of_banks.get(account, 0):
                less = f"{account} has {of_banks.get(account, 0)}, its lines in transit come to {lines}"
                wrong.append(_left("in_transit_differs", of_banks.get(account, 0) - lines, less))
        told.append(
            {
                "currency": currency,
                "holds": not wrong,
                "custody_minor": custody,
                "owed_minor": owed,
                "due_minor": due,
                "difference_minor": owed - due - custody,
                "accounts": {kind.value: minor for kind, minor in sorted(kinds.items()) if minor},
                "deposits_under_way": under_way,
                "in_transit": [
                    {"id": one.settlement_id, "bank": one.bank, "lines": one.lines, "minor": one.minor}
                    for one in batches
                ],
                "suspense": [{"id": one.case_id, "minor": one.minor} for one in suspended if one.currency == currency],
                "unexplained": wrong,
            }
        )
    return told


async def _second_clearing(
    connection: Connection, book: int, day: date, balances: Sequence[store.Balance], since: date, beyond: int
) -> dict[str, Any]:
    """Return what the platform has in a book, what came to it for the date, and what of that is no fee 二清.

    since, beyond: every entry of the journal recorded since that day, with a higher number than that, is looked at.
    """
    kind = AccountKind.PLATFORM_FEE
    fees = {one.account: one for one in balances if accounts.kind_of(one.account) is kind}
    came: dict[str, dict[str, int]] = defaultdict(dict)
    for part in await guard.credited(connection, book, day, list(fees)):
        came[part.account][part.rule] = part.minor
    found = [
        {"id": one.id, "rule": one.rule, "account": one.account, "currency": one.currency, "minor": one.amount_minor}
        for one in await guard.breaches(connection, book, since, beyond)
    ]
    return {
        "holds": not found,
        "fees": [
            {
                "account": account,
                "currency": one.currency,
                "held_minor": -one.minor,
                "came_minor": came.get(account, {}),
            }
            for account, one in fees.items()
        ],
        "breaches": found,
    }


def _left(what: str, minor: int, detail: str) -> dict[str, Any]:
    return {"what": what, "minor": minor, "detail": detail}
