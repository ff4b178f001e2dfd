"""The second-clearing guard 二清, over the journal: what reached the platform's accounts, and that each was a fee.

The platform owns, in a book, the fee accounts and whatever a payee of kind `platform` has: its sub-account at a bank,
and no account of shares. It has a payee for each bank and currency. Money comes to them in these ways only:

- a commission, which is exactly the share that the payment's own split gives to that payee, at once or in the
  parts that were frozen of it; or of that share what is given again after a refund failed or a chargeback was won;
- a commission that a bank refused or sent back, which is exactly what was sent of it; and into its sub-account one that
  was recalled 追回 and paid after all;
- a commission that was to go by a rail 渠道分账 and did not, or that the rail fetched back: no more than was sent;
- into its sub-account, what was sent of its commission, and what it withdrew from there and came back.

Whatever else is there belongs to clients, and the platform would clear it a second time.
"""

from datetime import date, datetime, time
from typing import NamedTuple

from kernel.clock import BEIJING
from kernel.db import Connection
from splitting.store import OWED_IN
from splitting.tables import Payee

_PAYEE = ", ".join(Payee._fields)
_SENT = (
    "SELECT FROM transfer s WHERE s.book = t.book AND s.id = regexp_replace(t.id, ':[a-z]+$', ':sent') "
    "AND s.rule = 'commission_sent' AND s.amount_minor = t.amount_minor"
)
# Every entry that reached an account of the platform's otherwise than a fee does.
_BREACHES = f"""
    SELECT t.book, t.id, t.rule, t.credit, t.currency, t.amount_minor FROM transfer t
    LEFT JOIN payee o ON o.book = t.book AND o.kind = 'platform' AND o.id = split_part(t.credit, ':', 2)
        AND split_part(t.credit, ':', 1) IN ('sub_account', 'payee')
    WHERE t.step <> 'void_hold' AND (starts_with(t.credit, 'platform_fee:') OR o.id IS NOT NULL) AND NOT CASE
        WHEN o.id IS NULL AND t.rule = 'commission' THEN EXISTS (
            SELECT FROM split s CROSS JOIN LATERAL json_array_elements(s.shares) WITH ORDINALITY AS x(v, n)
            JOIN (SELECT book, id, {OWED_IN} AS owed FROM payee WHERE kind = 'platform') p
                ON p.book = s.book AND p.id = x.v ->> 0 AND p.owed = t.credit
            WHERE s.book = t.book AND s.status = 'posted' AND s.currency = t.currency
                AND s.payment_id = coalesce((
                    SELECT r.payment_id FROM refund r WHERE r.book = t.book AND r.id = split_part(t.id, ':', 1)
                    UNION ALL
                    SELECT c.payment_id FROM chargeback c WHERE c.book = t.book AND c.id = split_part(t.id, ':', 1)
                ), split_part(t.id, ':', 1))
                AND x.n - 1 = substring(t.id FROM ':(?:share:|again:|frozen:(?=[0-9]+:))([0-9]+)')::int
                AND CASE
                    WHEN t.id LIKE 'pay%:share:%' THEN (x.v ->> 1)::bigint - t.amount_minor = coalesce((
                        SELECT sum((f.v ->> 2)::bigint) FROM json_array_elements(s.frozen) AS f(v)
                        WHERE (f.v ->> 0)::bigint = x.n - 1
                    ), 0)
                    WHEN t.id LIKE 'pay%' THEN EXISTS (
                        SELECT FROM json_array_elements(s.frozen) AS f(v)
                        WHERE t.id ~ (s.payment_id || ':frozen:' || (x.n - 1) || ':' || (f.v ->> 1) || '([.:]|$)')
                            AND (f.v ->> 0)::bigint = x.n - 1 AND CASE t.step
                                WHEN 'hold' THEN (f.v ->> 2)::bigint >= t.amount_minor
                                ELSE (f.v ->> 2)::bigint - (f.v ->> 3)::bigint = t.amount_minor END
                    )
                    ELSE (x.v ->> 1)::bigint >= t.amount_minor END
        )
        WHEN o.id IS NULL AND t.rule IN ('commission_refused', 'commission_returned')
            THEN EXISTS ({_SENT} AND s.debit = t.credit)
        WHEN o.id IS NULL AND t.rule IN ('commission_off_rail', 'commission_fetched_back') THEN EXISTS (
            SELECT FROM transfer s WHERE s.book = t.book AND s.rule = 'commission_to_rail' AND s.debit = t.credit
                AND s.id = substring(t.id FROM '^.*?:rail:[0-9]+:[0-9]+') || ':sent'
                AND s.amount_minor >= t.amount_minor
        )
        WHEN starts_with(t.credit, 'sub_account:') AND t.rule = 'settlement_paid'
            THEN EXISTS ({_SENT} AND s.credit = t.debit)
        WHEN starts_with(t.credit, 'sub_account:') AND t.rule = 'commission_recall'
            THEN EXISTS ({_SENT} AND s.debit = t.debit)
        WHEN starts_with(t.credit, 'sub_account:') AND t.rule = 'withdrawal_returned' THEN EXISTS (
            SELECT FROM transfer s WHERE s.book = t.book AND s.id = regexp_replace(t.id, ':[a-z]+$', ':paid')
                AND s.rule = 'withdrawal' AND s.step = 'post_hold' AND s.amount_minor = t.amount_minor
                AND s.debit = t.credit AND s.credit = t.debit
        )
        ELSE false
    END
"""


async def platforms(connection: Connection, book: int) -> list[Payee]:
    """Return the platform's payees of a book, one for each bank and currency, oldest first."""
    rows = await connection.fetch(
        f"SELECT {_PAYEE} FROM payee WHERE book = $1 AND kind = 'platform' ORDER BY created_at, id", book
    )
    return [Payee(*row) for row in rows]


class Breach(NamedTuple):
    """An entry of the journal by which the platform came to have what is no fee."""

    book: int
    id: str
    rule: str
    account: str
    currency: str
    amount_minor: int


async def platform_holds_fees_alone(connection: Connection) -> list[str]:
    """二清: all that an account of the platform's ever received is a commission, as its payment's own split has it."""
    rows = await connection.fetch(f"{_BREACHES} ORDER BY t.book, t.seq")
    return [
        f"book {one.book}: {one.id} ({one.rule}) brought {one.amount_minor} {one.currency} to {one.account}, "
        "and is no commission of any split"
        for one in (Breach(*row) for row in rows)
    ]


async def breaches(connection: Connection, book: int, since: date, beyond: int) -> list[Breach]:
    """Return what breaks that in one book, of the entries recorded since a day, in Beijing, and after number `beyond`.

    Costs what was recorded since that day, however old the book is.
    """
    rows = await connection.fetch(
        f"{_BREACHES} AND t.book = $1 AND t.recorded_at >= $2 AND t.seq > $3 ORDER BY t.seq",
        book,
        datetime.combine(max(since, date(1, 1, 2)), time(), BEIJING),
        beyond,
    )
    return [Breach(*row) for row in rows]


class Credited(NamedTuple):
    """What came to the platform's fee account by one rule."""

    account: str
    rule: str
    minor: int


async def credited(connection: Connection, book: int, day: date, fee_accounts: list[str]) -> list[Credited]:
    """Return what came to these accounts for a business date, by rule."""
    rows = await connection.fetch(
        "SELECT account, rule, sum(credits)::bigint FROM day_sum WHERE book = $1 AND account = ANY($2::text[]) "
        "AND business_date = $3 AND credits > 0 GROUP BY account, rule ORDER BY account, rule",
        book,
        fee_accounts,
        day,
    )
    return [Credited(*row) for row in rows]


INVARIANTS = {"platform_holds_fees_alone": platform_holds_fees_alone}
