"""Applying a split 分账 and taking it back 分账回退, inside the caller's batch."""

from collections.abc import Iterable, Sequence
from datetime import date

import orjson

from kernel.errors import NotFound, Rejected
from kernel.work import Need, Work
from ledger import Transfer, accounts, post_expected
from ledger.posting import ACCOUNTS
from splitting.objects import shares_of, split_payload
from splitting.plans.arithmetic import OWN, Share, ShareKind, SplitLine, compute, give_again, take_back
from splitting.tables import PAYEES, SPLITS, Payee, Split
from streams import publish


def owed_account(payee: Payee) -> str:
    """Return the ledger account in which a payee's share is owed; the platform's is its fee account."""
    if payee.kind == "platform":
        return accounts.platform_fee(payee.currency)
    return accounts.payee(payee.id, payee.currency)


def split_lines_of(split: Split) -> list[SplitLine]:
    """Return a stored split's plan."""
    return [SplitLine(payee_id, ShareKind(kind), value) for payee_id, kind, value in orjson.loads(split.asked)]


def plan_needs(book: int, payment_id: str, asked: Sequence[SplitLine]) -> Iterable[Need]:
    yield SPLITS, (book, payment_id)
    for line in asked:
        yield PAYEES, (book, line.payee_id)


def plan(
    work: Work, book: int, payment_id: str, gross_minor: int, fee_minor: int, currency: str, asked: Sequence[SplitLine]
) -> None:
    """Keep a payment's split plan. Raises Rejected (no_such_payee, split_exceeds_payment, currency_differs)."""
    for line in asked:
        payee = work.find(PAYEES, (book, line.payee_id))
        if payee is None:
            raise NotFound("no_such_payee", f"there is no payee {line.payee_id}", param="split")
        if payee.currency != currency:
            raise Rejected("currency_differs", f"payee {payee.id} is paid in {payee.currency}", param="split")
    compute(gross_minor, fee_minor, asked)
    text = orjson.dumps([list(line) for line in asked]).decode()
    work.put(SPLITS, Split(book, payment_id, "planned", currency, text, gross_minor, fee_minor, "[]", None))


def check(work: Work, book: int, payment_id: str, gross_minor: int, fee_minor: int) -> None:
    """Make sure that a payment's plan, if it has one, fits what is now to be captured and what that costs.

    Looks at the row of SPLITS. Raises Rejected (split_exceeds_payment).
    """
    split = work.find(SPLITS, (book, payment_id))
    if split is not None:
        compute(gross_minor, fee_minor, split_lines_of(split))


def needs(work: Work, book: int, payment_id: str) -> Iterable[Need]:
    """Name the rows that sharing out a payment, or taking it back, looks at."""
    yield SPLITS, (book, payment_id)
    if not work.knows(SPLITS, (book, payment_id)):
        return
    split = work.find(SPLITS, (book, payment_id))
    if split is None:
        return
    yield ACCOUNTS, (book, accounts.merchant(split.currency))
    for line in split_lines_of(split):
        yield PAYEES, (book, line.payee_id)
        if work.knows(PAYEES, (book, line.payee_id)):
            payee = work.get(PAYEES, (book, line.payee_id))
            yield ACCOUNTS, (book, owed_account(payee))


def share_out(
    work: Work,
    book: int,
    payment_id: str,
    business_date: date,
    *,
    gross_minor: int,
    fee_minor: int,
    coupon_minor: int = 0,
) -> Split | None:
    """Post a captured payment's shares, once. Returns the split, or None for a payment that has no plan.

    Repeating it does nothing. business_date: of the payment. gross_minor, fee_minor: what was captured and what the
    channel keeps of it, which may be less, or another fee, than when the payment was planned. coupon_minor: what the
    merchant's own coupons paid of it, which does not arrive.
    """
    split = work.find(SPLITS, (book, payment_id))
    if split is None or split.status == "posted":
        return split
    shares = compute(gross_minor, fee_minor, split_lines_of(split), coupon_minor)
    source = accounts.merchant(split.currency)
    transfers = []
    for n, share in enumerate(shares):
        if share.payee_id == OWN or not share.amount_minor:
            continue
        payee = work.get(PAYEES, (book, share.payee_id))
        rule = "commission" if payee.kind == "platform" else "share"
        transfer_id = f"{payment_id}:share:{n}"
        transfers.append(Transfer(transfer_id, rule, source, owed_account(payee), share.amount_minor, split.currency))
    if transfers:
        post_expected(work, book, f"{payment_id}:split", transfers, business_date=business_date, fresh=True)
    split = split._replace(
        status="posted", gross_minor=gross_minor, fee_minor=fee_minor, coupon_minor=coupon_minor,
        shares=_dump(shares), posted_at=work.now,
    )  # fmt: skip
    work.put(SPLITS, split)
    publish(work, book, "split.posted", payment_id, split_payload(split))
    return split


def take_back_for_refund(
    work: Work, book: int, payment_id: str, refund_id: str, amount_minor: int, day: date
) -> list[int]:
    """Take a refund's part back from those who shared the payment, so that the merchant account can pay it.

    amount_minor: the refund less what the channel gives back of its fee and what a coupon had paid. The payment has
    been shared out (share_out). Returns what each share gave back, for `give_back_after_failed_refund`; empty where
    there was no plan: then the merchant account still has it all. refund_id: begins the ids of the transfers. Raises
    Rejected (refund_exceeds_shares).
    """
    split = work.find(SPLITS, (book, payment_id))
    if split is None:
        return []
    shares = shares_of(split)
    try:
        parts = take_back(shares, amount_minor)
    except ValueError as error:
        raise Rejected("refund_exceeds_shares", str(error)) from None
    _move(work, book, split, refund_id, shares, parts, day, back=True)
    return parts


def give_back_after_failed_refund(
    work: Work, book: int, payment_id: str, refund_id: str, parts: Sequence[int], amount_minor: int, day: date
) -> None:
    """Undo `take_back_for_refund`: the refund failed, so the payees' shares stand again.

    parts: what it returned. amount_minor: the refund less what the channel takes back of its fee and a coupon paid.
    """
    split = work.find(SPLITS, (book, payment_id))
    if split is not None and parts:
        shares = shares_of(split)
        _move(work, book, split, refund_id, shares, give_again(shares, parts, amount_minor), day, back=False)


def _move(
    work: Work,
    book: int,
    split: Split,
    refund_id: str,
    shares: Sequence[Share],
    parts: Sequence[int],
    day: date,
    *,
    back: bool,
) -> None:
    merchant, transfers, after = accounts.merchant(split.currency), [], []
    for n, (share, part) in enumerate(zip(shares, parts, strict=True)):
        after.append(share._replace(taken_back_minor=share.taken_back_minor + (part if back else -part)))
        if share.payee_id == OWN or not part:
            continue
        payee = work.get(PAYEES, (book, share.payee_id))
        word = "commission" if payee.kind == "platform" else "share"
        owed = owed_account(payee)
        if back:
            t = Transfer(f"{refund_id}:back:{n}", f"{word}_taken_back", owed, merchant, part, split.currency)
        else:
            t = Transfer(f"{refund_id}:again:{n}", word, merchant, owed, part, split.currency)
        transfers.append(t)
    if transfers:
        name = f"{refund_id}:taken_back" if back else f"{refund_id}:given_again"
        post_expected(work, book, name, transfers, business_date=day, fresh=True)
    work.put(SPLITS, split._replace(shares=_dump(after)))


def _dump(shares: Sequence[Share]) -> str:
    return orjson.dumps([list(share) for share in shares]).decode()
