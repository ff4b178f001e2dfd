"""Payment links 付款链接 and standing codes 静态收款码: addresses from which payers make payments themselves.

How often a link may be used is decided under the book's lock, in the commit that makes the payment: what counts are
payments that are open or paid, so one that nobody paid in time gives its place back.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, NamedTuple

import orjson
from pydantic import Field, WithJsonSchema
from typing_extensions import TypedDict

import splitting
from gateway.accounts.ready import ChannelAccounts
from gateway.cashier.tokens import CashierTokens
from gateway.claims import Claims
from gateway.objects import kept
from gateway.payments.create import Created, CreatePayment, NewPayment, earlier_needs, earlier_payment
from gateway.payments.payments import Payments
from gateway.routing.seam import AUTO, could_ever_take
from gateway.states import PaymentStatus as Status
from gateway.store import find_link, links
from gateway.tables import CASHIER, CASHIER_LINKS, PAYMENTS, CashierLink, Payment
from kernel.answers import Currency, Minor, Time, id_schema
from kernel.clock import rfc3339
from kernel.db import Pool, acquire
from kernel.env import Env
from kernel.errors import Conflict, NotFound, Rejected
from kernel.lane import Lanes
from kernel.routes import not_from_a_list
from kernel.work import BOOKS, Need, Work
from splitting import Part, ShareKind, SplitLine
from splitting.tables import PAYEES

LINK, STATIC = "link", "static"
LONGEST = timedelta(days=3653)  # ten years: a link that is to last longer needs no end
BY_LINK = timedelta(minutes=30)  # how long a payment that a payer made from a link may be paid
_DEAD = (Status.FAILED, Status.CANCELED, Status.EXPIRED)


class _CommonOut(TypedDict):
    id: Annotated[str, WithJsonSchema(id_schema("lnk"))]
    name: str
    description: str
    amount: Annotated[Minor | None, Field(description="null: the payer says how much")]
    currency: Currency
    active: Annotated[bool, Field(description="whether you have payments made with it")]
    suspended_at: Annotated[
        Time | None, Field(description="since when your operator has it suspended: no payment is made with it")
    ]
    url: Annotated[str, Field(description="what payers open, or scan as a QR code")]
    minimum: Annotated[Minor | None, Field(description="the least a payer may choose; null where amount is fixed")]
    maximum: Annotated[Minor | None, Field(description="the most a payer may choose; null where amount is fixed")]
    payment_count: Annotated[int, Field(description="payments ever made with it")]
    metadata: dict[str, str]
    return_url: str | None
    created_at: Time


class LinkOut(_CommonOut):
    """A payment link 付款链接."""

    object: Literal["payment_link"]
    expires_at: Time | None
    max_uses: int | None


class MerchantQrOut(_CommonOut):
    """A merchant's standing code 静态收款码."""

    object: Literal["merchant_qr"]
    code_svg: Annotated[str, Field(description="the address of the QR code as a picture")]
    code_png: str


class NewLink(NamedTuple):
    """A link or standing code as a merchant asked for it, checked for form."""

    kind: str
    name: str
    description: str
    amount_minor: int | None
    minimum_minor: int
    maximum_minor: int
    currency: str
    expires_at: datetime | None = None
    max_uses: int | None = None
    split: Sequence[SplitLine] = ()
    metadata: str | None = None
    return_url: str | None = None


def split_lines_of(link: CashierLink) -> list[SplitLine]:
    """Return the split plan of every payment made with a link."""
    lines = [] if link.split is None else orjson.loads(link.split)
    return [SplitLine(payee, ShareKind(kind), value) for payee, kind, value in lines]


def split_of(link: CashierLink) -> list[Part]:
    """Return by what a payment made with a link is shared out."""
    return [Part(split=lines)] if (lines := split_lines_of(link)) else []


def uses_of(link: CashierLink) -> list[str]:
    """Return the ids of the payments that take a use of the link, or have taken one."""
    found: list[str] = orjson.loads(link.uses)
    return found


def is_dead(payment: Payment) -> bool:
    """Tell whether a payment takes no use of its link any more: it ended and nobody's money is in it."""
    return payment.status in _DEAD and not payment.captured_minor


def why_closed(link: CashierLink, now: datetime) -> str | None:
    """Return why no payment can be made with a link now: suspended, inactive, link_expired; None where one can."""
    if link.suspended_at is not None:
        return "suspended"
    if link.state != "active":
        return "inactive"
    return "link_expired" if link.expires_at is not None and link.expires_at <= now else None


def amount_for(link: CashierLink, said_minor: int | None) -> int:
    """Return what a payment made with a link is of; said_minor: what the payer typed. Raises Rejected."""
    if link.amount_minor is not None:
        return link.amount_minor
    if said_minor is None:
        raise Rejected("amount_missing", "type an amount", param="amount")
    if said_minor < link.minimum_minor:
        raise Rejected("amount_out_of_bounds", f"at least {link.minimum_minor} minor units", param="amount")
    if said_minor > link.maximum_minor:
        raise Rejected("amount_out_of_bounds", f"at most {link.maximum_minor} minor units", param="amount")
    return said_minor


# ---- commands --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AddLink:
    """Record a link or standing code; the same request again returns what the first one made.

    refusal: why no payer could ever pay with it, where that is so. Returns (row, whether an earlier request had made
    it). Raises Rejected (no_channel, expiry_out_of_bounds, no_such_payee, currency_differs, split_exceeds_payment),
    Conflict.
    """

    book: int
    link: CashierLink
    claims: Claims
    refusal: Rejected | None = None

    def needs(self, work: Work) -> Iterable[Need]:
        yield BOOKS, (self.book,)
        yield from self.claims.needs(self.book)
        yield CASHIER_LINKS, (self.book, self.link.id)
        for line in split_lines_of(self.link):
            yield PAYEES, (self.book, line.payee_id)
        for table, key in self.claims.needs(self.book):
            if work.knows(table, key) and (claim := work.find(table, key)) is not None:
                yield CASHIER_LINKS, (self.book, claim.object_id)

    def apply(self, work: Work) -> tuple[CashierLink, bool]:
        work.head(self.book)
        earlier = self.claims.earlier(work, self.book)
        if earlier is not None:
            found = work.find(CASHIER_LINKS, (self.book, earlier))
            if found is None:
                raise no_such_link(earlier)
            return found, earlier != self.link.id
        if self.refusal is not None:
            raise self.refusal
        _check_expiry(self.link.expires_at, work.now)
        for line in split_lines_of(self.link):
            payee = work.find(PAYEES, (self.book, line.payee_id))
            if payee is None:
                raise NotFound("no_such_payee", f"there is no payee {line.payee_id}", param="split")
            if payee.currency != self.link.currency:
                raise Rejected("currency_differs", f"payee {payee.id} is paid in {payee.currency}", param="split")
        # What a split takes of the most that may be paid it must leave room for, or no payer could ever pay.
        splitting.compute(self.link.amount_minor or self.link.maximum_minor, 0, split_lines_of(self.link))
        row = self.link._replace(created_at=work.now, updated_at=work.now)
        work.put(CASHIER_LINKS, row)
        self.claims.take(work, self.book, row.id)
        return row, False


@dataclass(frozen=True, slots=True)
class ChangeLink:
    """Change some columns of a link; payments that were made with it go on.

    Raises NotFound, Rejected (expiry_out_of_bounds).
    """

    book: int
    link_id: str
    kind: str
    changes: Mapping[str, Any]

    def needs(self, work: Work) -> Iterable[Need]:
        yield BOOKS, (self.book,)
        yield CASHIER_LINKS, (self.book, self.link_id)

    def apply(self, work: Work) -> CashierLink:
        work.head(self.book)
        found = work.find(CASHIER_LINKS, (self.book, self.link_id))
        if found is None or found.kind != self.kind:
            raise no_such_link(self.link_id)
        _check_expiry(self.changes.get("expires_at"), work.now)
        changed = found._replace(**self.changes, updated_at=work.now)
        work.put(CASHIER_LINKS, changed)
        return changed


@dataclass(frozen=True, slots=True)
class SuspendLink:
    """Have no payment made with a link, or again; payments that were made with it go on. Returns whether that is new.

    Raises NotFound (no_such_link).
    """

    book: int
    link_id: str
    suspended: bool

    def needs(self, work: Work) -> Iterable[Need]:
        yield BOOKS, (self.book,)
        yield CASHIER_LINKS, (self.book, self.link_id)

    def apply(self, work: Work) -> bool:
        work.head(self.book)
        found = work.find(CASHIER_LINKS, (self.book, self.link_id))
        if found is None:
            raise no_such_link(self.link_id)
        if (found.suspended_at is not None) == self.suspended:
            return False
        at = work.now if self.suspended else None
        work.put(CASHIER_LINKS, found._replace(suspended_at=at, updated_at=work.now))
        return True


@dataclass(frozen=True, slots=True)
class PayByLink:
    """Record a payment that a payer makes with a link, if the link still allows one.

    The same submission again returns the payment it made, also when the link has closed meanwhile. Returns Created.
    Raises NotFound, Conflict (link_closed, link_used_up, idempotency_key_reused), Rejected from splitting.plan.
    """

    book: int
    link_id: str
    create: CreatePayment

    def needs(self, work: Work) -> Iterable[Need]:
        yield from self.create.needs(work)
        yield from earlier_needs(work, self.book, self.create.claims)
        key = (self.book, self.link_id)
        yield CASHIER_LINKS, key
        link = work.find(CASHIER_LINKS, key) if work.knows(CASHIER_LINKS, key) else None
        # All of them, also where there is room: commands of the same batch may fill it before this one's turn.
        if link is not None and link.max_uses is not None:
            for payment_id in uses_of(link):
                yield PAYMENTS, (self.book, payment_id)

    def apply(self, work: Work) -> Created:
        work.head(self.book)
        earlier = earlier_payment(work, self.book, self.create.claims)
        if earlier is not None:
            return earlier
        link = work.find(CASHIER_LINKS, (self.book, self.link_id))
        if link is None:
            raise no_such_link(self.link_id)
        closed = why_closed(link, work.now)
        if closed is not None:
            raise Conflict("link_closed", f"no payment can be made with {link.id}: it is {closed}", why=closed)
        uses = self._uses(work, link)
        created = self.create.apply(work)
        changed = link._replace(
            uses=orjson.dumps(uses).decode(), payment_count=link.payment_count + 1, updated_at=work.now
        )
        work.put(CASHIER_LINKS, changed)
        return created

    def _uses(self, work: Work, link: CashierLink) -> list[str]:
        """Return the link's uses with this payment's. Raises Conflict where there is no room."""
        if link.max_uses is None:
            return []
        uses = uses_of(link)
        if len(uses) >= link.max_uses:
            uses = [one for one in uses if not is_dead(work.get(PAYMENTS, (self.book, one)))]
        if len(uses) >= link.max_uses:
            raise Conflict("link_used_up", f"{link.id} has been used {link.max_uses} times", payment=uses[-1])
        return [*uses, self.create.payment_id]


def _check_expiry(expires_at: datetime | None, now: datetime) -> None:
    """Raise Rejected for an end at which nobody can have paid, or that nobody will live to see."""
    if expires_at is not None and not now < expires_at <= now + LONGEST:
        when = "is over" if expires_at <= now else "is more than ten years away"
        raise Rejected(
            "expiry_out_of_bounds",
            f"expires_at {when}; it is now {rfc3339(now)}. Leave it out for a link without an end, and end one with "
            "active: false",
            param="expires_at",
        )


async def require_link(pool: Pool, book: int, link_id: str) -> None:
    """Raise NotFound (no_such_link) where a book has no payment link or standing code of this id."""
    async with acquire(pool) as connection:
        if await find_link(connection, book, link_id) is None:
            raise no_such_link(link_id)


def no_such_link(link_id: str) -> NotFound:
    return NotFound("no_such_link", f"there is no {link_id}")


# ---- use cases -------------------------------------------------------------------------------------------------------


class Links:
    """What merchants do with their links and standing codes."""

    def __init__(
        self,
        *,
        payments: Payments,
        lanes: Lanes,
        accounts: ChannelAccounts,
        pool: Pool,
        env: Env,
        tokens: CashierTokens,
        public_url: str,
    ) -> None:
        self._payments = payments
        self._accounts = accounts
        self._lanes = lanes
        self._pool = pool
        self._env = env
        self._tokens = tokens
        self._public_url = public_url.rstrip("/")

    async def add(self, book: int, new: NewLink, claims: Claims) -> tuple[CashierLink, bool]:
        """Add one; return it with whether an earlier request had made it. Raises Rejected, Conflict."""
        now = self._env.now()
        split = orjson.dumps([list(line) for line in new.split]).decode() if new.split else None
        row = CashierLink(
            book, self._env.ids.new("lnk"), new.kind, new.name, new.description, new.amount_minor, new.minimum_minor,
            new.maximum_minor, new.currency, "active", new.expires_at, new.max_uses, "[]", 0, split, new.metadata,
            new.return_url, now, now,
        )  # fmt: skip
        made: tuple[CashierLink, bool] = await self._lanes.put(
            AddLink(book, row, claims, await self._never_paid(book, new))
        )
        return made

    async def pay(self, link: CashierLink, amount_minor: int, submission: str) -> Payment:
        """Take a payment that a payer makes from a payment link or a standing code, and return it.

        submission: 32 hexadecimal digits of the page the payer sent off; the same with the same amount is the same
        payment. Raises Conflict (link_closed, link_used_up, idempotency_key_reused), Rejected.
        """
        digest = hashlib.sha256(f"{link.id}\n{amount_minor}".encode()).digest()
        order = f"{link.id}-{submission}"
        details = {} if link.return_url is None else {"return_url": link.return_url}
        new = NewPayment(
            order, amount_minor, link.currency, CASHIER, link.description, link.metadata, split_of(link), BY_LINK,
            orjson.dumps(details).decode() if details else None, link_id=link.id,
        )  # fmt: skip
        claims = Claims((f"i:{order}", f"o:{order}"), digest)

        def by_link(create: CreatePayment) -> PayByLink:
            return PayByLink(link.book, link.id, create)

        return (await self._payments.create_for_cashier(link.book, new, claims, AUTO, by_link))[0]

    async def _never_paid(self, book: int, new: NewLink) -> Rejected | None:
        """Return why no account of the merchant will ever take what is paid with this link; None where one may.

        A merchant without any account may yet get one.
        """
        accounts = await self._accounts.of_book(book)
        least, most = new.amount_minor or new.minimum_minor, new.amount_minor or new.maximum_minor
        if not accounts or could_ever_take(accounts, new.currency, least, most):
            return None
        takes = sorted({c for one in accounts for c in one.client.channel.capabilities.currencies if c != new.currency})
        return Rejected(
            "no_channel",
            f"none of your channel accounts takes {new.currency} by a method of the cashier and in such amounts; "
            f"your rails take {', '.join(takes) or 'nothing else'}",
            param="currency",
        )

    async def change(self, book: int, link_id: str, kind: str, changes: Mapping[str, Any]) -> CashierLink:
        """Change columns of one. Raises NotFound."""
        changed: CashierLink = await self._lanes.put(ChangeLink(book, link_id, kind, changes))
        return changed

    async def set_suspended(self, book: int, link_id: str, *, suspended: bool) -> bool:
        """Suspend one, or resume it, as its operator; return whether that changed anything. Raises NotFound."""
        changed: bool = await self._lanes.put(SuspendLink(book, link_id, suspended))
        return changed

    async def get(self, book: int, link_id: str, kind: str | None = None) -> CashierLink:
        """Return one; kind: None for either. Raises NotFound."""
        async with acquire(self._pool) as connection:
            found = await find_link(connection, book, link_id)
        if found is None or kind not in (None, found.kind):
            raise no_such_link(link_id)
        return found

    async def listed(self, book: int, kind: str, *, before: str | None, limit: int) -> list[CashierLink]:
        """Return a merchant's, newest first. Raises Rejected (invalid_cursor) where `before` is none of them."""
        async with acquire(self._pool) as connection:
            if before is not None:
                last = await find_link(connection, book, before)
                if last is None or last.kind != kind:
                    raise not_from_a_list()
            return await links(connection, book, kind, before=before, limit=limit)

    def url(self, link: CashierLink) -> str:
        """Return the address that payers open or scan."""
        place = "l" if link.kind == LINK else "s"
        return f"{self._public_url}/{place}/{self._tokens.link_token(link.book, link.id)}"

    def payload(self, link: CashierLink) -> "LinkOut | MerchantQrOut":
        """Return a link or standing code as its merchant sees it."""
        url = self.url(link)
        common: _CommonOut = {
            "id": link.id,
            "name": link.name,
            "description": link.description,
            "amount": link.amount_minor,
            "currency": link.currency,
            "active": link.state == "active",
            "suspended_at": rfc3339(link.suspended_at) if link.suspended_at is not None else None,
            "url": url,
            "minimum": link.minimum_minor if link.amount_minor is None else None,
            "maximum": link.maximum_minor if link.amount_minor is None else None,
            "payment_count": link.payment_count,
            "metadata": kept(link.metadata) if link.metadata else {},
            "return_url": link.return_url,
            "created_at": rfc3339(link.created_at),
        }
        if link.kind == LINK:
            expires_at = rfc3339(link.expires_at) if link.expires_at is not None else None
            return {"object": "payment_link", **common, "expires_at": expires_at, "max_uses": link.max_uses}
        return {"object": "merchant_qr", **common, "code_svg": f"{url}/code.svg", "code_png": f"{url}/code.png"}
