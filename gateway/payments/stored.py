"""Payments and their attempts, read as the use cases need them."""

from gateway.payments.record_outcome import Recorded
from gateway.store import attempts, find_attempt, find_payment, find_refund
from gateway.tables import Attempt, Payment, Refund
from kernel.db import Pool, acquire
from kernel.errors import NotFound


class Stored:
    """Reads payments, their attempts and refunds."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def payment(self, book: int, payment_id: str) -> Payment:
        """Return a payment. Raises NotFound."""
        async with acquire(self._pool) as connection:
            payment = await find_payment(connection, book, payment_id)
        if payment is None:
            raise NotFound("no_such_payment", f"there is no payment {payment_id}")
        return payment

    async def attempt(self, book: int, payment_id: str, number: int) -> Attempt | None:
        async with acquire(self._pool) as connection:
            return await find_attempt(connection, book, payment_id, number)

    async def attempts(self, book: int, payment_id: str) -> list[Attempt]:
        """Return a payment's attempts, in order."""
        async with acquire(self._pool) as connection:
            return await attempts(connection, book, payment_id)

    async def refund(self, book: int, refund_id: str) -> Refund | None:
        async with acquire(self._pool) as connection:
            return await find_refund(connection, book, refund_id)

    async def as_it_stands(self, attempt: Attempt) -> Recorded:
        """Return a payment and one of its attempts as they are by now: a notice may have come, or a request."""
        async with acquire(self._pool) as connection:
            payment = await find_payment(connection, attempt.book, attempt.payment_id)
            now = await find_attempt(connection, attempt.book, attempt.payment_id, attempt.number)
        assert payment is not None, "it is never deleted"
        assert now is not None, "nor is it"
        return Recorded(payment, now)
