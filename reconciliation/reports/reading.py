"""Reading reports: the sums of the ledger's days, and where banks are."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from datetime import date, datetime
from enum import StrEnum
from typing import NamedTuple

import orjson

from channels.banks import region
from kernel.clock import business_date
from kernel.db import Pool, acquire
from kernel.errors import Rejected
from reconciliation.reports import store
from reconciliation.reports.figures import Concentration, Floating, brought, concentration, floating
from splitting.store import bank_links


class Range(NamedTuple):
    """Days in Beijing, both included, in one currency; of one book, or of all."""

    first: date
    last: date
    currency: str
    book: int | None = None


class By(StrEnum):
    """By what a concentration is asked for."""

    CHANNEL = "channel"  # the rail
    ACCOUNT = "account"  # book and channel account
    MERCHANT = "merchant"  # book


class FloatAtBank(NamedTuple):
    """What lay at a bank, and where that is."""

    bank: str
    region: str | None
    figures: Floating
    brought_minor: int | None  # what the rate that was asked for brings


class Reports:
    """What reports are read from."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def concentration(self, of: Range, by: By, now: datetime) -> Concentration:
        """Return how what payers paid, less refunds, is spread. Raises Rejected (period_not_over)."""
        _check(of, now)
        async with acquire(self._pool) as connection:
            found = await store.captured(connection, of.book, of.currency, of.first, of.last)
        sums: Counter[str] = Counter()
        for one in found:
            names = {By.CHANNEL: one.channel or "unknown", By.MERCHANT: str(one.book)}
            sums[names.get(by, f"{one.book}/{one.account}")] += one.minor
        return concentration(sums)

    async def float_at_banks(self, of: Range, rate_bp: int | None, now: datetime) -> list[FloatAtBank]:
        """Return what lay at each bank 资金沉淀. rate_bp: also what that rate a year would bring.

        Raises Rejected (period_not_over).
        """
        _check(of, now)
        async with acquire(self._pool) as connection:
            lay = await store.lay(connection, of.book, of.currency, of.first, of.last)
            moved = {one.bank: one for one in await store.banks(connection, of.book, of.currency, of.first, of.last)}
        regions, ends = await self.regions(of.book), defaultdict(list)
        for one in lay:
            ends[one.bank].append(one.minor)
        found = []
        for bank, some in ends.items():
            came = moved.get(bank, store.Bank(bank, 0, 0, 0))
            figures = floating(some, came.interest_minor, came.charges_minor)
            would = None if rate_bp is None else brought(some, rate_bp)
            found.append(FloatAtBank(bank, regions.get(bank), figures, would))
        return found

    async def deposited(self, of: Range, now: datetime) -> dict[str, int]:
        """Return what channels paid in at each bank, less what they took. Raises Rejected (period_not_over)."""
        _check(of, now)
        async with acquire(self._pool) as connection:
            found = Counter(await store.cleared(connection, of.book, of.currency, of.first, of.last))
            for one in await store.banks(connection, of.book, of.currency, of.first, of.last):
                found[one.bank] += one.deposited_minor
        return dict(found)

    async def regions(self, book: int | None = None) -> Mapping[str, str | None]:
        """Return where each bank is, as its link says; None where it does not, or where merchants' links differ."""
        async with acquire(self._pool) as connection:
            links = [link for link in await bank_links(connection) if book is None or link.book == book]
        said = defaultdict(set)
        for link in links:
            said[link.bank].add(region(orjson.loads(link.settings)))
        return {bank: next(iter(some)) if len(some) == 1 else None for bank, some in said.items()}


def _check(of: Range, now: datetime) -> None:
    if of.last < of.first:
        raise Rejected("period_backwards", f"{of.last} is before {of.first}", param="to")
    if business_date(now) <= of.last:
        raise Rejected("period_not_over", f"{of.last} is not over in Beijing: a report is of days that are")
