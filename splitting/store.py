"""Reading who is owed what, and what banks were told. Writing goes through the commit lane."""

import json
from collections.abc import AsyncIterator, Sequence
from datetime import date, datetime
from typing import NamedTuple

from kernel.db import Connection
from splitting.plans.document import hash_of
from splitting.tables import (
    BANK_FILES,
    BANK_LINKS,
    INSTRUCTIONS,
    SPLITS,
    Attachment,
    BankFile,
    BankLink,
    Instruction,
    OwnPayee,
    Payee,
    PlanVersion,
    Settlement,
    Split,
    SplitPlan,
)

_PAYEE = ", ".join(Payee._fields)
_SPLIT_PLAN = ", ".join(SplitPlan._fields)
_PLAN_VERSION = ", ".join(PlanVersion._fields)
_ATTACHMENT = ", ".join(Attachment._fields)
_OWN_PAYEE = ", ".join(OwnPayee._fields)
_BANK_LINK = ", ".join(BankLink._fields)
_BANK_FILE = ", ".join(BankFile._fields)
_SETTLEMENT = ", ".join(Settlement._fields)
_INSTRUCTION = ", ".join(Instruction._fields)
# What is sent to a bank, or comes back from it, counts whatever business date it was booked for.
PAID_OUT = frozenset(
    {
        *("settlement_sent", "settlement_refused", "settlement_returned"),
        *("commission_sent", "commission_refused", "commission_returned"),
        *("recall", "commission_recall"),
    }
)
_FOLLOWED = (
    "l.ended_at IS NULL OR EXISTS (SELECT 1 FROM settlement s "
    "WHERE s.book = l.book AND s.bank = l.bank AND s.status <> 'finished') OR EXISTS (SELECT 1 FROM withdrawal w "
    "WHERE w.book = l.book AND w.bank = l.bank AND w.status IN ('requested', 'stopped', 'sent')) OR EXISTS ("
    "SELECT 1 FROM account_opening o JOIN payee p ON p.book = o.book AND p.id = o.payee_id "
    "WHERE o.ended_at IS NULL AND o.book = l.book AND p.bank = l.bank) OR EXISTS ("
    "SELECT 1 FROM recall r WHERE r.book = l.book AND r.bank = l.bank AND r.status IN ('requested', 'sent', 'pending'))"
)


async def payees(connection: Connection, book: int, after: str = "", limit: int = 1000) -> list[Payee]:
    """Return the book's payees in order of id."""
    rows = await connection.fetch(
        f"SELECT {_PAYEE} FROM payee WHERE book = $1 AND id > $2 ORDER BY id LIMIT $3",
        book,
        after,
        limit,
    )
    return [Payee(*row) for row in rows]


async def suspended_payees(connection: Connection) -> tuple[int, datetime | None]:
    """Return how many payees of all books are suspended, and since when the first of them is; None where none is."""
    row = await connection.fetchrow("SELECT count(*)::int, min(suspended_at) FROM payee WHERE suspended_at IS NOT NULL")
    return (0, None) if row is None else (row[0], row[1])


async def find_split(connection: Connection, book: int, payment_id: str) -> Split | None:
    rows = await SPLITS.load(connection, [(book, payment_id)])
    return rows[0] if rows else None


async def with_plan(connection: Connection, book: int, payment_ids: Sequence[str]) -> set[str]:
    """Return which of these payments have a split plan. It is committed with the payment, or never."""
    rows = await connection.fetch(
        "SELECT payment_id FROM split WHERE book = $1 AND payment_id = ANY($2::text[])", book, payment_ids
    )
    return {row[0] for row in rows}


async def split_plans(connection: Connection, book: int, after: str = "", limit: int = 1000) -> list[SplitPlan]:
    """Return the book's split plans in order of id."""
    rows = await connection.fetch(
        f"SELECT {_SPLIT_PLAN} FROM split_plan WHERE book = $1 AND id > $2 ORDER BY id LIMIT $3", book, after, limit
    )
    return [SplitPlan(*row) for row in rows]


async def plan_versions(connection: Connection, book: int, plan_id: str) -> list[PlanVersion]:
    """Return a split plan's versions, newest first; at most a hundred."""
    rows = await connection.fetch(
        f"SELECT {_PLAN_VERSION} FROM split_plan_version WHERE book = $1 AND plan_id = $2 "
        "ORDER BY version DESC LIMIT 100",
        book,
        plan_id,
    )
    return [PlanVersion(*row) for row in rows]


async def versions_by_rail(connection: Connection, book: int) -> list[tuple[str, int, bool]]:
    """Return (plan, version, whether it is active) of the versions with a line that travels by rail."""
    rows = await connection.fetch(
        "SELECT plan_id, version, status = 'active' FROM split_plan_version "
        "WHERE book = $1 AND by_rail AND status <> 'draft'",
        book,
    )
    return [(row[0], row[1], row[2]) for row in rows]


async def attachments(connection: Connection, book: int) -> list[Attachment]:
    """Return what split plans are attached to in a book; at most ten thousand."""
    rows = await connection.fetch(
        f"SELECT {_ATTACHMENT} FROM split_attachment WHERE book = $1 AND plan_id IS NOT NULL LIMIT 10000", book
    )
    return [Attachment(*row) for row in rows]


async def own_payees(connection: Connection, book: int) -> list[OwnPayee]:
    """Return by which payees a merchant is paid what is its own, in order of currency."""
    rows = await connection.fetch(f"SELECT {_OWN_PAYEE} FROM own_payee WHERE book = $1 ORDER BY currency", book)
    return [OwnPayee(*row) for row in rows]


async def find_bank_link(connection: Connection, book: int, bank: str) -> BankLink | None:
    rows = await BANK_LINKS.load(connection, [(book, bank)])
    return rows[0] if rows else None


async def bank_links(connection: Connection) -> list[BankLink]:
    """Return every merchant's custody at every bank."""
    rows = await connection.fetch(f"SELECT {_BANK_LINK} FROM bank_link ORDER BY book, bank")
    return [BankLink(*row) for row in rows]


async def some_link_sealed(connection: Connection) -> bool:
    """Tell whether any bank's credentials are sealed."""
    found: bool = await connection.fetchval("SELECT EXISTS (SELECT FROM bank_link WHERE sealed IS NOT NULL)")
    return found


async def links_to_follow(connection: Connection) -> list[BankLink]:
    """Return every custody whose bank is to be asked for files: of those that ended, where a batch is under way."""
    rows = await connection.fetch(
        f"SELECT {', '.join('l.' + column for column in BankLink._fields)} FROM bank_link l "
        f"WHERE {_FOLLOWED} ORDER BY l.book, l.bank"
    )
    return [BankLink(*row) for row in rows]


async def least_read(connection: Connection) -> list[tuple[str, datetime]]:
    """Return for each bank when the files of that merchant were read last whose files have been unread the longest."""
    rows = await connection.fetch(f"SELECT l.bank, min(l.read_at) FROM bank_link l WHERE {_FOLLOWED} GROUP BY l.bank")
    return [(row[0], row[1]) for row in rows if row[1] is not None]


async def unread(connection: Connection, since: datetime) -> list[tuple[int, str, datetime]]:
    """Return (book, bank, when) of each custody whose bank's files were last read before `since`, oldest first."""
    rows = await connection.fetch(
        f"SELECT l.book, l.bank, l.read_at FROM bank_link l WHERE ({_FOLLOWED}) AND l.read_at < $1 "
        "ORDER BY l.read_at, l.book, l.bank",
        since,
    )
    return [(row[0], row[1], row[2]) for row in rows]


# The ledger account in which a row of `payee` is owed its shares: splitting/shares/sharing.owed_account in SQL.
OWED_IN = (
    "CASE WHEN kind <> 'platform' THEN 'payee:' || id || ':' || currency "
    "WHEN fees_apart THEN 'platform_fee:' || id || ':' || currency ELSE 'platform_fee:' || currency END"
)


class Owed(NamedTuple):
    """What a payee is to be paid for business dates up to some day, as the journal stood at one moment."""

    payee_id: str
    minor: int  # at nothing or below where nothing is to be paid
    debits: int  # of its account then: what is taken from it since is no longer owed
    least: int = 1  # where there is less it is carried over
    kept: int = 0  # what of it is kept as a reserve; `minor` is without it


async def owed_until(
    connection: Connection, book: int, bank: str, currency: str, day: date, *, after: str = "", limit: int | None = None
) -> list[Owed]:
    """Return what each of the bank's payees is owed from business dates up to `day`, in order of id.

    All that was ever sent to a bank is deducted, for whichever date, and so is what a later date took back; a later
    date's shares are never in it. It is the least that the payee was owed at the end of any date from `day` on, less
    what was sent. Costs the payees and the dates after `day`, not the book's age. after, limit: so many payees after
    that one.
    """
    rows = await connection.fetch(
        f"""
        WITH p AS (
            SELECT id, {OWED_IN} AS account
            FROM payee WHERE book = $1 AND bank = $2 AND currency = $3 AND bank_account IS NOT NULL AND id > $6
            ORDER BY id LIMIT $7
        ), later AS (
            SELECT p.id, d.business_date, sum(d.credits - d.debits) AS earned
            FROM p CROSS JOIN LATERAL (
                SELECT business_date, credits, debits FROM day_sum
                WHERE book = $1 AND account = p.account AND business_date > $4 AND rule <> ALL($5::text[]) OFFSET 0
            ) d GROUP BY p.id, d.business_date
        ), since AS (
            SELECT id, sum(earned) OVER (PARTITION BY id ORDER BY business_date DESC) AS earned FROM later
        ), most AS (SELECT id, max(earned) AS earned FROM since GROUP BY id)
        SELECT p.id, (a.credits - a.debits - greatest(m.earned, 0))::bigint, a.debits
        FROM p CROSS JOIN LATERAL (
            SELECT debits, credits FROM account WHERE book = $1 AND name = p.account OFFSET 0
        ) a LEFT JOIN most m ON m.id = p.id ORDER BY p.id
        """,
        book,
        bank,
        currency,
        day,
        sorted(PAID_OUT),
        after,
        limit,
    )
    return [Owed(*row) for row in rows]


async def find_settlement(connection: Connection, book: int, settlement_id: str) -> Settlement | None:
    row = await connection.fetchrow(
        f"SELECT {_SETTLEMENT} FROM settlement WHERE book = $1 AND id = $2", book, settlement_id
    )
    return Settlement(*row) if row else None


async def settlements(
    connection: Connection, book: int, limit: int = 100, *, before: str | None = None
) -> list[Settlement]:
    """Return the book's batches, newest business date first; those after batch `before` in that order."""
    rows = await connection.fetch(
        f"SELECT {_SETTLEMENT} FROM settlement s WHERE book = $1 AND ($3::text IS NULL OR (business_date, id) < "
        "(SELECT business_date, id FROM settlement WHERE book = $1 AND id = $3)) "
        "ORDER BY business_date DESC, id DESC LIMIT $2",
        book,
        limit,
        before,
    )
    return [Settlement(*row) for row in rows]


async def unsent(connection: Connection, *, page: int = 500) -> AsyncIterator[Settlement]:
    """Yield each batch to be sent or given back, of every book, oldest first; `page` rows a statement."""
    last: tuple[datetime, int, str] | None = None
    while True:
        rows = await connection.fetch(
            f"SELECT {_SETTLEMENT} FROM settlement WHERE status IN ('created', 'cancelled') "
            "AND ($1::timestamptz IS NULL OR (created_at, book, id) > ($1, $2, $3)) "
            "ORDER BY created_at, book, id LIMIT $4",
            *(last or (None, 0, "")),
            page,
        )
        for row in rows:
            yield Settlement(*row)
        if len(rows) < page:
            return
        last = rows[-1]["created_at"], rows[-1]["book"], rows[-1]["id"]


async def oldest_unfinished(connection: Connection) -> datetime | None:
    """Return when the oldest batch or withdrawal was made that is not all decided, None where all are."""
    made: datetime | None = await connection.fetchval(
        "SELECT least((SELECT min(created_at) FROM settlement WHERE status <> 'finished'), "
        "(SELECT min(created_at) FROM withdrawal WHERE status IN ('requested', 'stopped', 'sent')))"
    )
    return made


async def instructions(connection: Connection, book: int, settlement_id: str) -> list[Instruction]:
    """Return a batch's lines in order of id."""
    rows = await connection.fetch(
        f"SELECT {_INSTRUCTION} FROM instruction WHERE book = $1 AND settlement_id = $2 ORDER BY id",
        book,
        settlement_id,
    )
    return [Instruction(*row) for row in rows]


async def each_instruction(connection: Connection, book: int, settlement_id: str) -> AsyncIterator[Instruction]:
    """Yield a batch's lines in order of id, some at a time: a batch may have very many. Call it in a transaction."""
    async for row in connection.cursor(
        f"SELECT {_INSTRUCTION} FROM instruction WHERE book = $1 AND settlement_id = $2 ORDER BY id",
        book,
        settlement_id,
        prefetch=500,
    ):
        yield Instruction(*row)


async def find_instruction(connection: Connection, book: int, instruction_id: str) -> Instruction | None:
    rows = await INSTRUCTIONS.load(connection, [(book, instruction_id)])
    return rows[0] if rows else None


async def keep_bank_file(connection: Connection, file: BankFile, packed: bytes | None) -> BankFile:
    """Keep a file's bytes and its row, each once; return the row as it stands. Call it in a transaction.

    Where the bytes could not be had before, and now are, the row has them from now on.
    """
    if packed is not None:
        await connection.execute(
            "INSERT INTO bank_file_content (book, sha256, size, packed) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
            file.book,
            file.sha256,
            file.size,
            packed,
        )
    numbers = ", ".join(f"${number}" for number in range(1, len(file) + 1))
    row = await connection.fetchrow(
        f"INSERT INTO bank_file AS f ({_BANK_FILE}) VALUES ({numbers}) ON CONFLICT (book, id) DO UPDATE SET "
        "sha256 = coalesce(excluded.sha256, f.sha256), "
        "size = CASE WHEN excluded.sha256 IS NULL THEN f.size ELSE excluded.size END "
        f"RETURNING {', '.join('f.' + column for column in BankFile._fields)}",
        *file,
    )
    assert row is not None
    return BankFile(*row)


async def find_bank_file(connection: Connection, book: int, file_key: str) -> BankFile | None:
    rows = await BANK_FILES.load(connection, [(book, file_key)])
    return rows[0] if rows else None


async def bank_file(connection: Connection, file_key: str) -> BankFile | None:
    """Return a file of any book, or None."""
    row = await connection.fetchrow(f"SELECT {_BANK_FILE} FROM bank_file WHERE id = $1", file_key)
    return BankFile(*row) if row else None


async def bank_file_content(connection: Connection, book: int, sha256: str) -> bytes | None:
    """Return the bytes under a hash as they are kept, packed; None where there are none."""
    packed: bytes | None = await connection.fetchval(
        "SELECT packed FROM bank_file_content WHERE book = $1 AND sha256 = $2", book, sha256
    )
    return packed


async def bank_files(
    connection: Connection,
    book: int,
    *,
    bank: str | None = None,
    fate: str | None = None,
    type: str | None = None,
    by_hand: bool = False,
    limit: int = 100,
) -> list[BankFile]:
    """Return a merchant's files from banks, newest first. by_hand: those alone that a person has given."""
    rows = await connection.fetch(
        f"SELECT {_BANK_FILE} FROM bank_file WHERE book = $1 AND ($2::text IS NULL OR bank = $2) "
        "AND ($3::text IS NULL OR fate = $3) AND ($4::text IS NULL OR type = $4) "
        "AND (NOT $5 OR given_by IS NOT NULL) ORDER BY received_at DESC, id LIMIT $6",
        book,
        bank,
        fate,
        type,
        by_hand,
        limit,
    )
    return [BankFile(*row) for row in rows]


async def decided_files(connection: Connection, book: int, file_keys: Sequence[str]) -> set[str]:
    """Return which of these files people have decided about for good: discarded, or released and then applied."""
    rows = await connection.fetch(
        "SELECT id FROM bank_file WHERE book = $1 AND id = ANY($2::text[]) AND (fate = 'discarded' "
        "OR (fate IN ('applied', 'repeated') AND fate_by <> 'sluice'))",
        book,
        file_keys,
    )
    return {row[0] for row in rows}


async def applied_before(connection: Connection, file: BankFile) -> str | None:
    """Return the first other file of the bank with the very same bytes that was applied; None where there is none."""
    found: str | None = await connection.fetchval(
        "SELECT id FROM bank_file WHERE book = $1 AND sha256 = $2 AND bank = $3 AND type = $4 AND id <> $5 "
        "AND fate = 'applied' ORDER BY received_at, id LIMIT 1",
        file.book,
        file.sha256,
        file.bank,
        file.type,
        file.id,
    )
    return found


async def files_to_apply(connection: Connection, types: Sequence[str]) -> list[BankFile]:
    """Return the kept files of these types that people have agreed to and that are not applied yet, oldest first."""
    rows = await connection.fetch(
        f"SELECT {_BANK_FILE} FROM bank_file WHERE fate = 'received' AND fate_by <> 'sluice' "
        "AND type = ANY($1::text[]) ORDER BY received_at, book, id LIMIT 1000",
        types,
    )
    return [BankFile(*row) for row in rows]


class PayeeTotal(NamedTuple):
    """What one payee was given, what refunds took back and what its bank paid, less what came back, in minor units."""

    payee_id: str
    name: str
    kind: str
    shares_minor: int
    taken_back_minor: int
    paid_minor: int


async def payee_totals(connection: Connection, book: int, currency: str) -> list[PayeeTotal]:
    """Return each payee's totals from the journal, in order of id."""
    rows = await connection.fetch(
        f"""
        WITH p AS (
            SELECT id, name, kind, {OWED_IN} AS owed, 'sub_account:' || id || ':' || currency AS sub
            FROM payee WHERE book = $1 AND currency = $2
        )
        SELECT p.id, p.name, p.kind,
               coalesce(sum(t.amount_minor) FILTER (WHERE t.rule IN ('share', 'commission')
                                                    AND t.credit = p.owed), 0)::bigint,
               coalesce(sum(t.amount_minor) FILTER (WHERE t.rule IN ('share_taken_back', 'commission_taken_back')
                                                    AND t.debit = p.owed), 0)::bigint,
               coalesce(sum(CASE WHEN t.credit = p.sub THEN t.amount_minor ELSE -t.amount_minor END)
                        FILTER (WHERE t.rule IN ('settlement_paid', 'recall', 'commission_recall')
                                    AND t.credit = p.sub
                                OR t.rule IN ('settlement_returned', 'commission_returned') AND t.debit = p.sub),
                        0)::bigint
        FROM p LEFT JOIN transfer t ON t.book = $1 AND t.step IN ('post', 'post_hold')
            AND (t.credit IN (p.owed, p.sub) OR t.debit IN (p.owed, p.sub))
        GROUP BY p.id, p.name, p.kind ORDER BY p.id
        """,
        book,
        currency,
    )
    return [PayeeTotal(*row) for row in rows]


async def split_plans_are_what_was_agreed_to(connection: Connection) -> list[str]:
    """A version's document has the hash that was agreed to, and the active one is the plan's."""
    rows = await connection.fetch(
        "SELECT book, plan_id, version, written_out::text, hash, status FROM split_plan_version ORDER BY 1, 2, 3"
    )
    wrong = [
        f"book {r[0]} {r[1]}: version {r[2]} is not the document that was hashed"
        for r in rows
        if hash_of(json.loads(r[3])) != r[4]
    ]
    other = await connection.fetch(
        """
        SELECT p.book, p.id FROM split_plan p LEFT JOIN split_plan_version v ON v.book = p.book AND v.plan_id = p.id
        GROUP BY p.book, p.id, p.versions, p.active
        HAVING count(v.version) <> p.versions OR coalesce(max(v.version), 0) <> p.versions
            OR max(v.version) FILTER (WHERE v.status = 'active') IS DISTINCT FROM p.active
        """
    )
    return wrong + [f"book {r[0]} {r[1]}: the plan and its versions differ" for r in other]


async def splits_keep_a_version_that_was_active(connection: Connection) -> list[str]:
    """The version of a plan that a payment keeps is there, and somebody has agreed to it."""
    unknown = await connection.fetch(
        """
        SELECT s.book, s.payment_id FROM split s
        CROSS JOIN LATERAL json_array_elements(CASE json_typeof(s.asked) WHEN 'object' THEN s.asked -> 'parts' END)
            AS x(part)
        LEFT JOIN split_plan_version v
            ON v.book = s.book AND v.plan_id = x.part ->> 'plan' AND v.version = (x.part ->> 'version')::int
        WHERE x.part ->> 'plan' IS NOT NULL AND (v.version IS NULL OR v.status = 'draft')
        """
    )
    return [f"book {r[0]} {r[1]}: the version that it is shared out by was never active" for r in unknown]


async def shares_sum_to_the_net(connection: Connection) -> list[str]:
    """A posted split's shares, the channel's fee and a coupon sum to the payment; none is taken back beyond itself."""
    rows = await connection.fetch(
        """
        SELECT s.book, s.payment_id, s.gross_minor, s.fee_minor, coalesce(sum((x.v ->> 1)::bigint), 0) AS shared,
            s.coupon_minor
        FROM split s LEFT JOIN LATERAL json_array_elements(s.shares) AS x(v) ON true
        WHERE s.status = 'posted'
        GROUP BY s.book, s.payment_id, s.gross_minor, s.fee_minor, s.coupon_minor
        HAVING coalesce(sum((x.v ->> 1)::bigint), 0) + s.fee_minor + s.coupon_minor <> s.gross_minor
            OR bool_or((x.v ->> 2)::bigint NOT BETWEEN 0 AND (x.v ->> 1)::bigint)
        """
    )
    return [f"book {r[0]} {r[1]}: shares {r[4]}, fee {r[3]} and coupon {r[5]} are not the {r[2]} paid" for r in rows]


async def instructions_match_the_journal(connection: Connection) -> list[str]:
    """A line in transit was booked so and is undecided; any other was booked so once, and not otherwise.

    But one that was recalled and, people say, was paid after all was refused before.
    """
    rows = await connection.fetch(
        """
        WITH told AS (
            SELECT book, regexp_replace(id, ':(sent|paid|refused|returned)$', '') AS id,
                sum(amount_minor) FILTER (WHERE rule IN ('settlement_sent', 'commission_sent')) AS sent,
                sum(amount_minor) FILTER (WHERE rule IN ('settlement_paid', 'recall', 'commission_recall')) AS paid,
                bool_or(rule IN ('recall', 'commission_recall')) AS after_all,
                sum(amount_minor) FILTER (WHERE rule IN ('settlement_refused', 'commission_refused')) AS refused,
                sum(amount_minor) FILTER (WHERE rule IN ('settlement_returned', 'commission_returned')) AS returned
            FROM transfer WHERE rule IN (
                'settlement_sent', 'commission_sent', 'settlement_paid', 'settlement_refused', 'commission_refused',
                'settlement_returned', 'commission_returned'
            ) OR rule IN ('recall', 'commission_recall') AND step = 'post_hold' GROUP BY 1, 2
        )
        SELECT coalesce(i.book, t.book), coalesce(i.id, t.id), i.status, t.sent, t.paid, t.refused, t.returned
        FROM instruction i FULL JOIN told t ON t.book = i.book AND t.id = i.id
        WHERE i.id IS NULL OR coalesce(t.sent, 0) <> i.amount_minor
            OR coalesce(t.paid, 0) <> CASE WHEN i.status IN ('paid', 'returned') THEN i.amount_minor ELSE 0 END
            OR coalesce(t.refused, 0) <> CASE WHEN i.status = 'refused' OR t.after_all THEN i.amount_minor ELSE 0 END
            OR coalesce(t.returned, 0) <> CASE i.status WHEN 'returned' THEN i.amount_minor ELSE 0 END
        """
    )
    return [
        f"book {r[0]} {r[1]}: is {r[2]}, the journal has {r[3] or 0} sent, {r[4] or 0} paid, {r[5] or 0} refused, "
        f"{r[6] or 0} returned"
        for r in rows
    ]


async def batches_match_their_lines(connection: Connection) -> list[str]:
    """A batch's totals are its lines' totals, and it is finished when every line is decided, and not before."""
    rows = await connection.fetch(
        """
        SELECT s.book, s.id FROM settlement s LEFT JOIN instruction i ON i.book = s.book AND i.settlement_id = s.id
        GROUP BY s.book, s.id, s.total_minor, s.instruction_count, s.open_count, s.paid_minor,
            s.returned_minor, s.status
        HAVING coalesce(sum(i.amount_minor), 0) <> s.total_minor OR count(i.id) <> s.instruction_count
            OR count(i.id) FILTER (WHERE i.status = 'in_transit') <> s.open_count
            OR coalesce(sum(i.amount_minor) FILTER (WHERE i.status IN ('paid', 'returned')), 0) <> s.paid_minor
            OR coalesce(sum(i.amount_minor) FILTER (WHERE i.status = 'returned'), 0) <> s.returned_minor
            OR (s.status = 'finished') <> (s.open_count = 0)
        """
    )
    return [f"book {r[0]} {r[1]}: the batch and its lines do not add up" for r in rows]


async def bank_files_are_kept(connection: Connection) -> list[str]:
    """The bytes of every file that were had are there; what is quarantined has a case that is open."""
    rows = await connection.fetch(
        """
        SELECT f.book, f.id, 'its bytes are not there' FROM bank_file f
        WHERE f.sha256 IS NOT NULL AND NOT EXISTS (
            SELECT FROM bank_file_content c WHERE c.book = f.book AND c.sha256 = f.sha256 AND c.size = f.size
        )
        UNION ALL
        SELECT f.book, f.id, 'it is quarantined and nobody is asked about it' FROM bank_file f
        WHERE f.fate = 'quarantined' AND NOT EXISTS (
            SELECT FROM case_file c WHERE c.book = f.book AND c.kind = 'bank_file_set_aside'
                AND c.about = f.bank || ':' || f.file_id AND c.status = 'open'
        ) AND NOT EXISTS (
            SELECT FROM bank_file n WHERE n.book = f.book AND n.bank = f.bank AND n.file_id = f.file_id
                AND n.received_at > f.received_at
        )
        """
    )
    return [f"book {r[0]} {r[1]}: {r[2]}" for r in rows]


INVARIANTS = {
    "split_plans_are_what_was_agreed_to": split_plans_are_what_was_agreed_to,
    "splits_keep_a_version_that_was_active": splits_keep_a_version_that_was_active,
    "bank_files_are_kept": bank_files_are_kept,
    "shares_sum_to_the_net": shares_sum_to_the_net,
    "instructions_match_the_journal": instructions_match_the_journal,
    "batches_match_their_lines": batches_match_their_lines,
}
