"""What a rail's bill says of a day is whose, where several channel accounts are one account at the rail."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import date

from channels.contract import BadBill, BillLine
from gateway.accounts.ready import ChannelAccounts, Ready
from gateway.store import accounts_of
from gateway.tables import attempt_number
from kernel.db import Connection, Pool, acquire
from kernel.errors import NotFound, Unavailable
from kernel.ids import parse_reference
from reconciliation.daily import channel_counterparty
from reconciliation.matching.match import paid_by
from reconciliation.sources.statements import ReadBill, bill_of
from splitting.rails.store import withheld_on

log = logging.getLogger(__name__)


class BillParts:
    """Reads kept bills for what each channel account's payments of a settlement come to."""

    def __init__(self, pool: Pool, channel_accounts: ChannelAccounts) -> None:
        self._pool = pool
        self._accounts = channel_accounts

    async def of(self, book: int, accounts: Sequence[str], day: date, currency: str) -> Mapping[str, int] | None:
        """Return each account's part of a day, in minor units: its lines' amounts less fees and the merchant's coupons,
        less what the rail shared out or keeps 分账.

        Lines of no payment of these accounts are in no part. None where no bill of that day is kept, or none that can
        be read.
        """
        async with acquire(self._pool) as connection:
            bill = await self._bill(connection, book, accounts, day)
            if bill is None:
                return None
            lines = [line for line in bill if line.amount.currency == currency]
            named = {line.payment_reference: _attempt(book, line) for line in lines}
            whose = await accounts_of(connection, book, [one for one in named.values() if one is not None])
            parts = {one: -await withheld_on(connection, book, one, currency, day) for one in accounts}
        for line in lines:
            attempt = named[line.payment_reference]
            account = None if attempt is None else whose.get(attempt)
            if account in parts:
                parts[account] += paid_by(line)
        return parts

    async def _bill(
        self, connection: Connection, book: int, accounts: Sequence[str], day: date
    ) -> list[BillLine] | None:
        """Return the day's bill: each of the accounts is given the whole of it, so any one's will do."""
        for account in accounts:
            try:
                ready = await self._accounts.get(book, account)
                found = await bill_of(connection, book, channel_counterparty(account), day, _reader(ready, day))
            except (NotFound, Unavailable):
                continue
            except BadBill as error:
                log.error("a bill cannot be read", extra={"book": book, "account": account, "why": error.message})
                continue
            if found is not None:
                return found
        return None


def _reader(ready: Ready, day: date) -> ReadBill:
    def read(raw: bytes) -> Iterable[BillLine]:
        return list(ready.client.channel.bill_lines(raw, day))

    return read


def _attempt(book: int, line: BillLine) -> tuple[str, int] | None:
    """Return (payment_id, number) of the attempt that a line's payment is; None where it is none of this book's."""
    parsed = parse_reference(line.payment_reference, "pay")
    return attempt_number(parsed[1]) if parsed is not None and parsed[0] == book else None
