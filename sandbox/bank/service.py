"""The bank as one object: its customers and their accounts, and the parts that do the rest.

One transaction for each thing that happens.
"""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path

from sandbox import keys
from sandbox.bank import openings, signing, store
from sandbox.bank.bookings import RAIL, Bookings, known_account, sha256
from sandbox.bank.days import Days
from sandbox.bank.deposits import Deposits
from sandbox.bank.drop import Drops
from sandbox.bank.errors import Refused
from sandbox.bank.money import NotAnAmount, minor_digits
from sandbox.bank.orders import Orders
from sandbox.bank.rules import Account
from sandbox.bank.store import Customer
from sandbox.context import SandboxContext
from sandbox.store import Tx

_ACCOUNT_PREFIX = "6200"


@dataclass(frozen=True, slots=True)
class Enrolment:
    """A new customer, and where its secrets lie."""

    customer: Customer
    token_file: Path
    private_key_file: Path


class Bank:
    """The simulated bank. Built by `install`."""

    def __init__(self, ctx: SandboxContext) -> None:
        self._ctx = ctx
        self._store = ctx.store
        self._folder = ctx.home / "bank"
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.public_key_file = self._folder / "bank_public_key.pem"
        self.signing_key = signing.load_signing_key("BANK", self._folder / "bank_private_key.pem")
        keys.write_file(self.public_key_file, self.signing_key.public_pem)
        ctx.store.create(store.SCHEMA)
        with ctx.store.transaction() as tx:
            store.add_missing_columns(tx)
            store.start_date(tx, ctx.clock.beijing_date())
        ctx.faults.declare(RAIL, ("signature_wrong",), ("customer_id", "type"))
        ctx.faults.declare(RAIL, ("look_at_opening", "opening_answer_lost"), ("customer_id", "name"))
        bookings = Bookings(ctx)
        self.orders = Orders(ctx, bookings)
        self.deposits = Deposits(ctx, bookings)
        self.days = Days(ctx, bookings, self.deposits)
        self.credit = self.deposits.credit  # what acquirers pay out by
        self.drops = Drops(ctx, self, self._folder / "drop")

    @property
    def business_date(self) -> date:
        """Return the bank's business date: what is booked now carries it."""
        return self.days.business_date

    async def enrol(self, name: str) -> Enrolment:
        """Record a customer with a token and a signing key of its own; both are files only the owner can read."""
        customer_id = f"cust_{secrets.token_hex(8)}"
        token = f"bank_{secrets.token_urlsafe(32)}"
        folder = self._folder / "customers" / customer_id
        folder.mkdir(parents=True, mode=0o700)
        private_key_file, token_file = folder / "private_key.pem", folder / "token"

        def make_files() -> Customer:
            key = signing.new_signing_key("CUST", private_key_file)
            keys.write_file(token_file, token.encode(), secret=True)
            return Customer(customer_id, name, key.key_id, key.public_pem.decode())

        customer = await asyncio.to_thread(make_files)
        now = self._ctx.clock.now_utc()
        await self._store.write(lambda tx: store.add_customer(tx, customer, sha256(token.encode()), now))
        return Enrolment(customer, token_file, private_key_file)

    def authenticate(self, token: str) -> Customer | None:
        """Return the customer a token belongs to."""
        return store.find_customer(self._store, sha256(token.encode()))

    async def issue_token(self, customer_id: str, name: str, valid_s: int) -> str:
        """Issue an identity token to a holder, who gives it to a customer; it opens one account."""
        token = f"idt_{secrets.token_urlsafe(24)}"
        until = (self._ctx.clock.now_utc() + timedelta(seconds=valid_s)).isoformat()
        await self._store.write(lambda tx: openings.add_token(tx, sha256(token.encode()), customer_id, name, until))
        return token

    async def ask_identity(self, customer_id: str) -> None:
        """Have a customer's sub-accounts be opened by an identity token alone."""
        await self._store.write(lambda tx: openings.ask_identity(tx, customer_id))

    async def decide_opening(self, customer_id: str, reference: str, refuse: str | None) -> Account:
        """Decide an opening that is looked at: open the account, or refuse it with a code."""

        def command(tx: Tx) -> Account:
            opening = openings.find_opening(tx, customer_id, reference)
            if opening is None or opening.status != "pending":
                raise Refused(404, "opening_not_found", f"no opening {reference} is being looked at")
            if refuse is not None:
                openings.refuse_opening(tx, customer_id, reference, refuse)
                return replace(opening, status="refused", reason=refuse)
            number = account_number(store.next_account_seq(tx))
            account = replace(opening, number=number, status="open")
            store.add_account(tx, account, reference, store.read_date(tx))
            return account

        return await self._store.write(command)

    def _check_identity(self, tx: Tx, customer: Customer, reference: str, name: str, token: str | None) -> None:
        """Use a holder's token up for an opening; without one, say so where the customer needs one."""
        if token is None:
            if openings.asks_identity(tx, customer.customer_id):
                raise Refused(422, "identity_token_required", "an account is opened by its holder's token")
            return
        digest = sha256(token.encode())
        row = openings.find_token(tx, customer.customer_id, digest)
        if row is None:
            raise Refused(422, "identity_token_unknown", "there is no such token")
        if row["used_by"] is not None:
            raise Refused(422, "identity_token_used", "the token was used before")
        if row["expires_at"] <= self._ctx.clock.now_utc().isoformat():
            raise Refused(422, "identity_token_expired", "the token has expired")
        if row["name"] != name:
            raise Refused(422, "identity_token_of_another", "the token is another holder's")
        openings.use_token(tx, digest, reference)

    async def open_account(
        self,
        customer: Customer,
        *,
        reference: str,
        name: str,
        currency: str,
        kind: str,
        identity_token: str | None = None,
    ) -> tuple[Account, bool]:
        """Return the account opened under a reference, and whether it is new; or the opening that is looked at.

        The same reference with other particulars is refused (409). What is known by its reference needs no token.
        """
        try:
            minor_digits(currency)
        except NotAnAmount as reason:
            raise Refused(400, "currency_not_offered", str(reason)) from None

        def command(tx: Tx) -> tuple[Account, bool]:
            known = store.find_account_by_reference(tx, customer.customer_id, reference)
            known = known or openings.find_opening(tx, customer.customer_id, reference)
            if known is not None:
                if (known.name, known.currency, known.kind) != (name, currency, kind):
                    raise Refused(
                        409,
                        "reference_in_use",
                        f"reference {reference} belongs to account {known.number}"
                        f" ({known.name}, {known.currency}, {known.kind})",
                    )
                return known, False
            if kind == "sub":
                self._check_identity(tx, customer, reference, name, identity_token)
                facts = {"customer_id": customer.customer_id, "name": name}
                if self._ctx.faults.take(RAIL, "look_at_opening", **facts):
                    openings.add_opening(tx, customer.customer_id, reference, name, currency, kind)
                    return Account("", customer.customer_id, name, currency, kind, "pending", 0), True
            number = account_number(store.next_account_seq(tx))
            account = Account(number, customer.customer_id, name, currency, kind, "open", 0)
            store.add_account(tx, account, reference, store.read_date(tx))
            return account, True

        return await self._store.write(command)

    def find_account(self, number: str) -> Account | None:
        """Return any account at this bank by its number."""
        return store.find_account(self._store, number)

    async def close_account(self, number: str) -> Account:
        """Close an account: lines to it are refused with AC04 from now on. Repeating it does nothing."""

        def command(tx: Tx) -> Account:
            account = known_account(tx, number)
            store.close_account(tx, number, store.read_date(tx))
            return replace(account, status="closed")

        return await self._store.write(command)


def account_number(seq: int) -> str:
    """Return the account number of the bank's `seq`-th account: 19 digits, the last one by Luhn's rule."""
    body = f"{_ACCOUNT_PREFIX}{seq:014d}"
    total = 0
    for position, digit in enumerate(reversed(body)):
        value = int(digit) * (2 if position % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return body + str(-total % 10)
