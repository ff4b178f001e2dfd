"""Sharing out a deposit of several channel accounts that are one account at the rail, by the rail's bill."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import orjson

import cases
from kernel.db import Connection
from kernel.work import BOOKS, Need, Work
from ledger import Transfer, accounts, open_account, post_expected
from ledger.posting import ACCOUNTS, ENTRIES
from splitting.settlement.deposits import AWAITS, FOR_EVER, IN_SUSPENSE, unidentified
from streams import publish

# What each channel account's payments of a settlement come to by the rail's bill, in minor units, given a book, the
# accounts, the day and the currency; None where there is no bill of that day yet.
Parts = Callable[[int, Sequence[str], date, str], Awaitable[Mapping[str, int] | None]]


async def awaiting_bill(connection: Connection, book: int) -> list[cases.Case]:
    """Return the deposits of a book that are shared out by a bill which had not come, oldest first, as their cases."""
    rows = await connection.fetch(
        f"SELECT {', '.join(cases.Case._fields)} FROM case_file WHERE status = 'open' AND book = $1 AND kind = $2 "
        "AND facts ->> $3 = 'true' ORDER BY opened_at, id",
        book,
        IN_SUSPENSE,
        AWAITS,
    )
    return [cases.Case(*row) for row in rows]


@dataclass(frozen=True, slots=True)
class ShareDeposit:
    """Share out what is in suspense of a deposit between the channel accounts that it is of. Returns what is left.

    parts: by channel account, in minor units, signed: what the bill says of the day. An account has its part of one
    reference and currency once, whatever the bank books under it afterwards. What no part explains stays in suspense,
    and people decide about it. A deposit that lacks as much as it is, or more, is not what the bill is about: anybody
    may transfer something under the rail's reference. Nothing is shared out of it, and the bill is not used. Where
    people have decided already, or the bill was used before, nothing is done.
    """

    book: int
    about: str  # the transfer that put the deposit in suspense
    parts: Mapping[str, int]

    def needs(self, work: Work) -> Iterable[Need]:
        key = (self.book, cases.case_id(self.book, IN_SUSPENSE, self.about))
        yield BOOKS, (self.book,)
        yield cases.CASES, key
        if not work.knows(cases.CASES, key) or (case := work.find(cases.CASES, key)) is None:
            return
        deposit, reference = unidentified(case), orjson.loads(case.facts).get("reference", "")
        yield ACCOUNTS, (self.book, accounts.suspense(deposit.currency))
        for account in self.parts:
            yield ACCOUNTS, (self.book, accounts.channel(account, deposit.currency))
            yield ENTRIES, (self.book, part_id(reference, deposit.currency, account))

    def apply(self, work: Work) -> int | None:
        case = work.find(cases.CASES, (self.book, cases.case_id(self.book, IN_SUSPENSE, self.about)))
        if case is None or case.status != cases.states.Case.OPEN:
            return None
        facts = orjson.loads(case.facts)
        facts.pop(cases.HINDERED, None)
        if not facts.get(AWAITS):
            return None
        deposit = unidentified(case)
        suspense = open_account(work, self.book, accounts.suspense(deposit.currency)).name
        ids = {account: part_id(facts["reference"], deposit.currency, account) for account in self.parts}
        shared = {
            account: part
            for account, part in self.parts.items()
            if part and work.find(ENTRIES, (self.book, ids[account])) is None
        }
        lacks = sum(shared.values()) - deposit.amount_minor
        if lacks >= abs(deposit.amount_minor):
            shared = {}
            facts |= {"lacks_minor": lacks}
        transfers = []
        for account, part in shared.items():
            channel = open_account(work, self.book, accounts.channel(account, deposit.currency)).name
            rule = "suspense_to_channel" if part > 0 else "channel_to_suspense"
            debit, credit = (suspense, channel) if part > 0 else (channel, suspense)
            transfers.append(Transfer(ids[account], rule, debit, credit, abs(part), deposit.currency))
        if transfers:
            day = deposit.business_date
            post_expected(work, self.book, f"{self.about}:shared", transfers, business_date=day, fresh=True)
        for account, part in shared.items():
            told = {**deposit.payload(), "channel_account": account, "amount_minor": part}
            publish(work, self.book, "channel.deposited", account, told)
        left = deposit.amount_minor - sum(shared.values())
        facts |= {AWAITS: False, "shared": shared, "amount_minor": left}
        cases.open_case(
            work, self.book, IN_SUSPENSE, self.about,
            amount_minor=left, currency=deposit.currency, facts=facts, rest=FOR_EVER,
        )  # fmt: skip
        if not left:
            why = f"shared out by the bill of {facts['settled_date']}"
            cases.close_case(work, self.book, IN_SUSPENSE, self.about, why=why)
        return left


def part_id(reference: str, currency: str, account: str) -> str:
    """Return the id of the transfer by which a channel account gets its part of what a rail paid in."""
    return f"shr:{reference}:{currency}:{account}"
