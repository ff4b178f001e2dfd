"""Invariants of the books: each a function that returns what breaks it, at best nothing.

The same functions serve the tests, the nightly job and `sluice verify`. Each takes a connection inside a REPEATABLE
READ transaction, so that what it compares was true at one moment.
"""

from collections.abc import Awaitable, Callable, Mapping
from datetime import date, datetime, time

from kernel.chain import Walk, follows
from kernel.clock import BEIJING
from kernel.db import Connection
from ledger.accounts import AccountKind
from ledger.posting import chained
from ledger.rules import PLATFORM_EVENTS, RULES
from ledger.store import journal

Check = Callable[[Connection], Awaitable[list[str]]]
_DAY = "(t.recorded_at AT TIME ZONE 'UTC' + interval '8 hours')::date"  # in Beijing


async def debits_equal_credits(connection: Connection) -> list[str]:
    """试算平衡: in every book and currency the accounts' debits equal their credits, posted and held alike."""
    rows = await connection.fetch(
        "SELECT book, currency, sum(debits) d, sum(credits) c, sum(debits_held) dh, sum(credits_held) ch FROM account "
        "GROUP BY book, currency HAVING sum(debits) <> sum(credits) OR sum(debits_held) <> sum(credits_held)"
    )
    return [
        f"book {r['book']} {r['currency']}: debits {r['d']} credits {r['c']}, held {r['dh']}/{r['ch']}" for r in rows
    ]


async def balances_follow_from_the_journal(connection: Connection) -> list[str]:
    """Every account's four sums are what the journal adds up to, and no transfer touches an account that is not."""
    rows = await connection.fetch(
        """
        WITH legs AS (
            SELECT book, debit AS name, amount_minor AS debit, 0::bigint AS credit, step, hold_id FROM transfer
            UNION ALL
            SELECT book, credit, 0, amount_minor, step, hold_id FROM transfer
        ), sums AS (
            SELECT l.book, l.name,
                sum(l.debit) FILTER (WHERE l.step IN ('post', 'post_hold')) AS debits,
                sum(l.credit) FILTER (WHERE l.step IN ('post', 'post_hold')) AS credits,
                coalesce(sum(l.debit) FILTER (WHERE l.step = 'hold'), 0)
                    - coalesce(sum(CASE WHEN l.debit > 0 THEN h.amount_minor END)
                               FILTER (WHERE l.step IN ('post_hold', 'void_hold')), 0) AS debits_held,
                coalesce(sum(l.credit) FILTER (WHERE l.step = 'hold'), 0)
                    - coalesce(sum(CASE WHEN l.credit > 0 THEN h.amount_minor END)
                               FILTER (WHERE l.step IN ('post_hold', 'void_hold')), 0) AS credits_held
            FROM legs l LEFT JOIN hold h ON h.book = l.book AND h.id = l.hold_id
            GROUP BY l.book, l.name
        )
        SELECT coalesce(a.book, s.book) AS book, coalesce(a.name, s.name) AS name,
               a.debits, a.credits, a.debits_held, a.credits_held,
               s.debits AS jd, s.credits AS jc, s.debits_held AS jdh, s.credits_held AS jch
        FROM account a FULL JOIN sums s ON s.book = a.book AND s.name = a.name
        WHERE a.book IS NULL
           OR a.debits <> coalesce(s.debits, 0) OR a.credits <> coalesce(s.credits, 0)
           OR a.debits_held <> coalesce(s.debits_held, 0) OR a.credits_held <> coalesce(s.credits_held, 0)
        """
    )
    return [
        f"book {r['book']} {r['name']}: account says {r['debits']}/{r['credits']} held "
        f"{r['debits_held']}/{r['credits_held']}, journal {r['jd']}/{r['jc']} held {r['jdh']}/{r['jch']}"
        for r in rows
    ]


async def sealed_balances(connection: Connection, since: Mapping[int, int] | None = None) -> dict[int, bytes]:
    """Return for each book a digest of its accounts and their four sums; an account that never moved is not in it.

    since: book → number of a transfer; then the sums are without what the journal has moved after it, as they were
    when that transfer was the book's last. Every account is read: there are as many as payees and channel accounts.
    """
    rows = await connection.fetch(
        """
        WITH legs AS (
            SELECT t.book, l.name, l.is_debit, t.step, t.amount_minor, h.amount_minor AS authorized_minor
            FROM transfer t JOIN unnest($1::int[], $2::bigint[]) AS m (book, seq) ON m.book = t.book AND t.seq > m.seq
            CROSS JOIN LATERAL (VALUES (t.debit, true), (t.credit, false)) AS l (name, is_debit)
            LEFT JOIN hold h ON h.book = t.book AND h.id = t.hold_id
        ), moved AS (
            SELECT book, name,
                coalesce(sum(amount_minor) FILTER (WHERE is_debit AND step IN ('post', 'post_hold')), 0) AS debits,
                coalesce(sum(amount_minor) FILTER (WHERE NOT is_debit AND step IN ('post', 'post_hold')), 0) AS credits,
                coalesce(sum(CASE step WHEN 'post' THEN 0 WHEN 'hold' THEN amount_minor ELSE -authorized_minor END)
                         FILTER (WHERE is_debit), 0) AS debits_held,
                coalesce(sum(CASE step WHEN 'post' THEN 0 WHEN 'hold' THEN amount_minor ELSE -authorized_minor END)
                         FILTER (WHERE NOT is_debit), 0) AS credits_held
            FROM legs GROUP BY book, name
        ), sums AS (
            SELECT book, name, a.currency, a.side, a.may_overdraw,
                coalesce(a.debits, 0) - coalesce(m.debits, 0) AS debits,
                coalesce(a.credits, 0) - coalesce(m.credits, 0) AS credits,
                coalesce(a.debits_held, 0) - coalesce(m.debits_held, 0) AS debits_held,
                coalesce(a.credits_held, 0) - coalesce(m.credits_held, 0) AS credits_held
            FROM account a FULL JOIN moved m USING (book, name)
        )
        SELECT book, sha256(convert_to(string_agg(
            concat_ws(' ', name, currency, side, may_overdraw, debits, credits, debits_held, credits_held),
            E'\n' ORDER BY name
        ), 'UTF8')) FROM sums WHERE (debits, credits, debits_held, credits_held) <> (0, 0, 0, 0) GROUP BY book
        """,
        list(since or {}),
        list((since or {}).values()),
    )
    return {row[0]: row[1] for row in rows}


async def no_account_overdrawn(connection: Connection) -> list[str]:
    """No account that may not is below zero, holds counted."""
    rows = await connection.fetch(
        "SELECT book, name FROM account WHERE NOT may_overdraw AND "
        "(CASE side WHEN 'credit' THEN credits - debits - debits_held ELSE debits - credits - credits_held END) < 0"
    )
    return [f"book {r['book']} {r['name']} is below zero" for r in rows]


async def transfers_follow_the_rules(connection: Connection) -> list[str]:
    """Every transfer debits and credits accounts of the kinds its rule names, in one currency."""
    broken = []
    rows = await connection.fetch(
        "SELECT DISTINCT t.book, t.rule, split_part(t.debit, ':', 1) AS debit, split_part(t.credit, ':', 1) AS credit, "
        "t.currency = d.currency AND t.currency = c.currency AS same FROM transfer t "
        "LEFT JOIN account d ON d.book = t.book AND d.name = t.debit "
        "LEFT JOIN account c ON c.book = t.book AND c.name = t.credit"
    )
    for row in rows:
        rule = RULES.get(row["rule"])
        if rule is None or (rule.debit, rule.credit) != (row["debit"], row["credit"]):
            broken.append(f"book {row['book']}: {row['rule']} moved {row['debit']} to {row['credit']}")
        elif not row["same"]:
            broken.append(f"book {row['book']}: {row['rule']} crossed currencies")
    return broken


async def platform_takes_fees_only(connection: Connection) -> list[str]:
    """二清: nothing but fees ever reached an account of the platform's own."""
    rows = await connection.fetch(
        "SELECT book, id, rule FROM transfer WHERE (starts_with(debit, $1) OR starts_with(credit, $1)) "
        "AND rule <> ALL($2::text[])",
        f"{AccountKind.PLATFORM_FEE}:",
        sorted(PLATFORM_EVENTS),
    )
    return [f"book {r['book']}: {r['id']} ({r['rule']}) reached the platform's account" for r in rows]


async def journal_chain_holds(connection: Connection, walk: Walk | None = None) -> list[str]:
    """The journal is numbered without a gap, every hash follows from the one before, and the head is its last."""
    broken, walk = [], walk or Walk()
    heads = await connection.fetch(
        "SELECT book, b.transfer_seq, b.transfer_hash "
        "FROM book b FULL JOIN (SELECT DISTINCT book FROM transfer) t USING (book) ORDER BY book"
    )
    for head in heads:
        number, previous = walk.start(head["book"])
        async for entry in journal(connection, head["book"], number):
            number, walk.rows = number + 1, walk.rows + 1
            if entry.seq != number or not follows(entry.hash, previous, *chained(entry)):
                broken.append(
                    f"book {head['book']}: transfer {number} ({entry.id}) does not follow from the one before"
                )
                break
            previous, walk.last[head["book"]] = entry.hash, entry.id
        else:
            if (number, previous) != (head["transfer_seq"], head["transfer_hash"]):
                broken.append(
                    f"book {head['book']}: the journal ends at {number}, its head says {head['transfer_seq']}"
                )
            walk.ends[head["book"]] = number, previous
    return broken


async def holds_match_the_journal(connection: Connection) -> list[str]:
    """Every hold is as its transfer made it and as the one that resolved it, if any, left it; and none is missing."""
    rows = await connection.fetch(
        """
        WITH told AS (
            SELECT book, coalesce(hold_id, id) AS id,
                count(*) FILTER (WHERE step = 'hold') AS made,
                count(*) FILTER (WHERE step = 'post_hold') AS posted,
                count(*) FILTER (WHERE step = 'void_hold') AS voided,
                max(debit) FILTER (WHERE step = 'hold') AS debit,
                max(credit) FILTER (WHERE step = 'hold') AS credit,
                max(amount_minor) FILTER (WHERE step = 'hold') AS amount_minor,
                max(currency) FILTER (WHERE step = 'hold') AS currency,
                coalesce(max(amount_minor) FILTER (WHERE step = 'post_hold'), 0) AS posted_minor,
                bool_or((hold_id IS NULL) = (step IN ('post_hold', 'void_hold'))) AS misnamed
            FROM transfer WHERE step <> 'post' OR hold_id IS NOT NULL
            GROUP BY 1, 2
        )
        SELECT coalesce(h.book, t.book) AS book, coalesce(h.id, t.id) AS id
        FROM hold h FULL JOIN told t ON t.book = h.book AND t.id = h.id
        WHERE t.misnamed OR (
            t.made, t.posted, t.voided, t.debit, t.credit, t.amount_minor, t.currency, t.posted_minor
        ) IS DISTINCT FROM (
            1, (h.state = 'posted')::int, (h.state IN ('voided', 'expired'))::int,
            h.debit, h.credit, h.amount_minor, h.currency, h.posted_minor
        )
        """
    )
    return [f"book {r['book']}: hold {r['id']} and the journal tell different stories" for r in rows]


async def day_sums_follow_from_the_journal(connection: Connection, since: date = date.min) -> list[str]:
    """What is kept of each account by business date, day of recording and rule is what the journal adds up to.

    since: looks only at what was recorded on that day, in Beijing, or later.
    """
    rows = await connection.fetch(
        f"""
        WITH told AS (
            SELECT t.book, l.account, t.business_date, {_DAY} AS recorded_on, t.rule,
                sum(l.debit)::bigint AS debits, sum(l.credit)::bigint AS credits
            FROM transfer t CROSS JOIN LATERAL (
                VALUES (t.debit, t.amount_minor, 0), (t.credit, 0, t.amount_minor)
            ) AS l (account, debit, credit)
            WHERE t.step IN ('post', 'post_hold') AND t.recorded_at >= $2
            GROUP BY 1, 2, 3, 4, 5
        ), kept AS (SELECT * FROM day_sum WHERE recorded_on >= $1)
        SELECT book, account, business_date, recorded_on, rule FROM told FULL JOIN kept
        USING (book, account, business_date, recorded_on, rule)
        WHERE (told.debits, told.credits) IS DISTINCT FROM (kept.debits, kept.credits)
        ORDER BY book, account, business_date, recorded_on, rule
        """,
        since,
        _begins(since),
    )
    return [f"book {r[0]} {r[1]} {r[2]}, recorded {r[3]}: the day's sum of {r[4]} is not the journal's" for r in rows]


async def day_ends_follow_from_the_journal(connection: Connection, since: date = date.min) -> list[str]:
    """What each account stood at when a day was over is what it stands at now, less what the journal has moved since.

    since: looks only at the ends of that day, in Beijing, and of later ones.
    """
    rows = await connection.fetch(
        f"""
        WITH moved AS (
            SELECT t.book, l.account, {_DAY} AS day, sum(l.debit) AS debits, sum(l.credit) AS credits
            FROM transfer t CROSS JOIN LATERAL (
                VALUES (t.debit, t.amount_minor, 0), (t.credit, 0, t.amount_minor)
            ) AS l (account, debit, credit)
            WHERE t.step IN ('post', 'post_hold') AND t.recorded_at >= $2
            GROUP BY 1, 2, 3
        ), due AS (
            SELECT m.book, m.account, m.day,
                a.debits - sum(m.debits) OVER later + m.debits AS debits,
                a.credits - sum(m.credits) OVER later + m.credits AS credits
            FROM moved m JOIN account a ON a.book = m.book AND a.name = m.account
            WINDOW later AS (PARTITION BY m.book, m.account ORDER BY m.day DESC)
        ), kept AS (
            SELECT book, account, day, debits, credits FROM day_end WHERE day >= $1
            UNION ALL SELECT book, name, moved_on, debits, credits FROM account WHERE moved_on >= $1
        )
        SELECT book, account, day FROM due FULL JOIN kept USING (book, account, day)
        WHERE (due.debits, due.credits) IS DISTINCT FROM (kept.debits::numeric, kept.credits::numeric)
        ORDER BY book, account, day
        """,
        since,
        _begins(since),
    )
    return [f"book {r[0]} {r[1]}: the end of {r[2]} is not what the journal makes it" for r in rows]


def _begins(day: date) -> datetime:
    """Return the moment at which a day begins in Beijing; of the first of all days, one that UTC has too."""
    return datetime.combine(max(day, date(1, 1, 2)), time(), BEIJING)


INVARIANTS: dict[str, Check] = {
    "debits_equal_credits": debits_equal_credits,
    "balances_follow_from_the_journal": balances_follow_from_the_journal,
    "no_account_overdrawn": no_account_overdrawn,
    "transfers_follow_the_rules": transfers_follow_the_rules,
    "platform_takes_fees_only": platform_takes_fees_only,
    "journal_chain_holds": journal_chain_holds,
    "holds_match_the_journal": holds_match_the_journal,
    "day_sums_follow_from_the_journal": day_sums_follow_from_the_journal,
    "day_ends_follow_from_the_journal": day_ends_follow_from_the_journal,
}
