"""Chargebacks 拒付 of rails that tell of disputes: a notice names one, and the rail is asked how it stands.

A notice is taken as a hint alone. So notices may come in any order, twice, or never: an open chargeback is asked about
on a schedule besides.
"""

from dataclasses import dataclass

import cases
from channels import Unknown
from channels.contract import Dispute, Unmoved
from channels.powers import TellsDisputes
from gateway.accounts.ready import ChannelAccounts, Ready
from gateway.payments.chargebacks import NOT_BOOKED, ClaimChargeback, RecordChargeback
from gateway.payments.elsewhere import OfAnotherAccount
from gateway.payments.store import find_chargeback
from gateway.payments.unfinished import REST
from gateway.store import find_attempt, find_payment
from gateway.tables import Chargeback, attempt_number, chargeback_id
from kernel.db import Pool, acquire
from kernel.errors import Broken, NotFound, Unavailable
from kernel.ids import parse_reference
from kernel.lane import Lanes
from kernel.work import Command
from people import Use, approved
from streams import Bell


@dataclass(frozen=True, slots=True)
class Found:
    """Which attempt's money a dispute is about."""

    payment_id: str
    number: int


class Disputing:
    """Records chargebacks."""

    def __init__(self, *, pool: Pool, lanes: Lanes, accounts: ChannelAccounts, bell: Bell, time_scale: float) -> None:
        self._pool = pool
        self._lanes = lanes
        self._accounts = accounts
        self._bell = bell
        self._time_scale = time_scale

    async def look_at(self, book: int, account_id: str, ref: str) -> Chargeback | None:
        """Ask the rail about a dispute, and record what it says; None where it has taken no money.

        Raises NotFound (no_such_payment) for a dispute of nobody's payment here, OfAnotherAccount where it is another
        account's, Broken (chargeback_not_booked), which a person is told of, and Unavailable (notice_unclear) where
        the rail does not say.
        """
        ready = await self._accounts.get(book, account_id)
        told = await self._told(ready, ref)
        if told.reference is None:
            raise NotFound("no_such_payment", f"dispute {ref[:64]!r} is of a payment that was not made here")
        about = await self._payment_of(book, account_id, told.reference)
        if isinstance(told, Unmoved):
            return None
        return await self.record(
            RecordChargeback(book, about.payment_id, about.number, account_id, told, self._time_scale)
        )

    async def follow_up(self, row: Chargeback) -> None:
        """Ask about an open chargeback that is due, unless another worker does. Raises as look_at."""
        if await self._lanes.put(ClaimChargeback(row.book, row.id, self._time_scale)):
            await self.look_at(row.book, row.channel_account, row.channel_ref)

    async def record(self, command: RecordChargeback, use: Use | None = None) -> Chargeback:
        """Record what is said of a chargeback; what cannot be booked is a case. use: of the approval that it takes."""
        putting: Command[Chargeback] = approved(command, use)
        try:
            recorded: Chargeback = await self._lanes.put(putting)
        except Broken as broken:
            if command.by is None:
                await self._tell(command, broken)
            raise
        self._bell.ring()
        return recorded

    async def find(self, book: int, ident: str) -> Chargeback:
        """Return a chargeback. Raises NotFound (no_such_chargeback)."""
        async with acquire(self._pool) as connection:
            row = await find_chargeback(connection, book, ident)
        if row is None:
            raise NotFound("no_such_chargeback", f"there is no chargeback {ident}")
        return row

    async def _told(self, ready: Ready, ref: str) -> Dispute | Unmoved:
        if not isinstance(ready.client.channel, TellsDisputes):
            raise NotFound("no_such_payment", f"{ready.account.channel} tells of no disputes")
        told = await ready.client.dispute(ref)
        if isinstance(told, Unknown):
            if told.not_found:
                raise NotFound("no_such_payment", f"the channel knows no dispute {ref[:64]!r}")
            raise Unavailable("notice_unclear", f"the channel does not say how dispute {ref} stands: {told.reason}")
        if isinstance(told, Dispute) and told.ref != ref:
            raise Unavailable("notice_unclear", f"the channel was asked about dispute {ref} and tells of {told.ref}")
        return told

    async def _payment_of(self, book: int, account_id: str, reference: str) -> Found:
        strange = f"{reference[:64]!r} is no number of a payment here"
        parsed = parse_reference(reference, "pay")
        if parsed is None or parsed[1].count("_") != 2:
            raise NotFound("no_such_payment", strange)
        payment_id, number = attempt_number(parsed[1])
        async with acquire(self._pool) as connection:
            payment = await find_payment(connection, parsed[0], payment_id)
            attempt = await find_attempt(connection, parsed[0], payment_id, number)
        if payment is None or attempt is None:
            raise NotFound("no_such_payment", strange)
        if parsed[0] != book or attempt.channel_account != account_id:
            raise OfAnotherAccount("no_such_reference", f"{reference} is not a number of this channel account")
        return Found(payment_id, number)

    async def _tell(self, command: RecordChargeback, broken: Broken) -> None:
        """Have a person see a chargeback that cannot be booked; the command that found it has left no trace."""
        told = command.told
        facts = {
            "message": broken.message, "payment": command.payment_id, "channel_account": command.account,
            "channel_ref": told.ref, "status": told.status.value, "fee": told.fee.minor, "reason": told.reason,
        }  # fmt: skip
        about = chargeback_id(command.book, command.account, told.ref)
        amount = told.amount
        await self._lanes.put(
            cases.OpenCase(command.book, NOT_BOOKED, about, amount.minor, amount.currency, facts, REST)
        )
