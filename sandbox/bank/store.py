"""The bank's SQL. Functions that take a `Tx` run inside the caller's transaction; nothing here decides anything."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

from sandbox.bank.instructions import Line
from sandbox.bank.reports import Entry
from sandbox.bank.rules import Account
from sandbox.store import Row, Store, Tx

SCHEMA = Path(__file__).with_name("schema.sql").read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Customer:
    """Somebody who has accounts here and may upload files."""

    customer_id: str
    name: str
    key_id: str
    public_key: str


@dataclass(frozen=True, slots=True)
class Upload:
    """A file a customer sent, accepted for processing."""

    file_id: str
    customer_id: str
    message_id: str
    sha256: str
    raw: bytes
    received_at: str
    original_file_id: str | None


@dataclass(frozen=True, slots=True)
class OutFile:
    """A file the bank made for a customer, as the listing shows it."""

    cursor: int
    file_id: str
    type: str
    name: str
    business_date: str
    created_at: str
    sha256: str
    original_message_id: str | None
    original_file_id: str | None


@dataclass(frozen=True, slots=True)
class Deposit:
    """Money from outside that is to be booked on a day, as its payer announced it. Negative: it is drawn."""

    account: str
    end_to_end_id: str
    announced_minor: int
    remittance: str
    payer_name: str
    due_date: date
    mchid: str | None
    settled_date: date | None


@dataclass(frozen=True, slots=True)
class PaidLine:
    """A line that was executed."""

    customer_id: str
    end_to_end_id: str
    debtor_account: str
    creditor_account: str
    amount_minor: int
    returned: bool
    paid_out: bool  # to an account at another bank


def add_missing_columns(tx: Tx) -> None:
    """Bring a home that an earlier version made up to this one's tables."""
    have = {row["name"] for row in tx.all("SELECT name FROM pragma_table_info('bank_entry')")}
    for name in ("creditor_ref", "creditor_account", "shown_ref"):
        if name not in have:
            tx.execute(f"ALTER TABLE bank_entry ADD COLUMN {name} TEXT")
    have = {row["name"] for row in tx.all("SELECT name FROM pragma_table_info('bank_paid_line')")}
    made = tx.one("SELECT sql FROM sqlite_master WHERE name = 'bank_file'")
    if made is not None and "CHECK (type IN" in made["sql"]:  # which knew three types
        # A constraint of a table is taken away so: sqlite.org, ALTER TABLE, section 7.
        tx.execute("PRAGMA writable_schema=ON")
        now = made["sql"].replace("CHECK (type IN ('pain.002', 'camt.053', 'camt.054'))", "")
        tx.execute("UPDATE sqlite_master SET sql = ? WHERE name = 'bank_file'", now)
        version = tx.one("PRAGMA schema_version")
        tx.execute(f"PRAGMA schema_version={(version['schema_version'] if version else 0) + 1}")
        tx.execute("PRAGMA writable_schema=OFF")
    if "paid_out" not in have:
        tx.execute("ALTER TABLE bank_paid_line ADD COLUMN paid_out INTEGER NOT NULL DEFAULT 0")


# --- the bank's date ---------------------------------------------------------------------------------------------


def start_date(tx: Tx, today: date) -> None:
    """Record the bank's first business date, once."""
    tx.execute("INSERT OR IGNORE INTO bank_state (name, value) VALUES ('date', ?)", today.isoformat())


def read_date(source: Tx | Store) -> date:
    """Return the bank's business date."""
    row = source.one("SELECT value FROM bank_state WHERE name = 'date'")
    if row is None:
        raise RuntimeError("the bank has no date; start_date was not called")
    return date.fromisoformat(row["value"])


def set_date(tx: Tx, day: date) -> None:
    """Move the bank's business date."""
    tx.execute("UPDATE bank_state SET value = ? WHERE name = 'date'", day.isoformat())


# --- customers ---------------------------------------------------------------------------------------------------


def add_customer(tx: Tx, customer: Customer, token_sha256: str, at: datetime) -> None:
    """Record a customer."""
    tx.execute(
        "INSERT INTO bank_customer (customer_id, name, token_sha256, key_id, public_key, created_at)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        *(customer.customer_id, customer.name, token_sha256, customer.key_id, customer.public_key, at.isoformat()),
    )


def find_customer(store: Store, token_sha256: str) -> Customer | None:
    """Return the customer a token belongs to."""
    row = store.one("SELECT * FROM bank_customer WHERE token_sha256 = ?", token_sha256)
    return Customer(row["customer_id"], row["name"], row["key_id"], row["public_key"]) if row else None


def find_customer_by_id(store: Store, customer_id: str) -> Customer | None:
    """Return a customer."""
    row = store.one("SELECT * FROM bank_customer WHERE customer_id = ?", customer_id)
    return Customer(row["customer_id"], row["name"], row["key_id"], row["public_key"]) if row else None


def customer_ids(tx: Tx) -> list[str]:
    """Return every customer, oldest first."""
    return [row["customer_id"] for row in tx.all("SELECT customer_id FROM bank_customer ORDER BY rowid")]


# --- accounts ----------------------------------------------------------------------------------------------------


def next_account_seq(tx: Tx) -> int:
    """Return the number the next account gets in the bank's row of accounts."""
    row = tx.one("SELECT coalesce(max(seq), 0) + 1 AS seq FROM bank_account")
    return int(row["seq"]) if row else 1


def add_account(tx: Tx, account: Account, reference: str, opened: date) -> None:
    """Record an account."""
    tx.execute(
        "INSERT INTO bank_account (number, customer_id, reference, name, currency, kind, status, opened_date)"
        " VALUES (?, ?, ?, ?, ?, ?, 'open', ?)",
        *(account.number, account.customer_id, reference, account.name, account.currency, account.kind),
        opened.isoformat(),
    )


def find_account(source: Tx | Store, number: str) -> Account | None:
    """Return an account by its number."""
    row = source.one("SELECT * FROM bank_account WHERE number = ?", number)
    return _account(row) if row else None


def find_account_by_reference(tx: Tx, customer_id: str, reference: str) -> Account | None:
    """Return the account a customer opened under a reference."""
    row = tx.one("SELECT * FROM bank_account WHERE customer_id = ? AND reference = ?", customer_id, reference)
    return _account(row) if row else None


def list_accounts(store: Store, customer_id: str, after: int, limit: int) -> list[tuple[int, Account]]:
    """Return a customer's accounts after a cursor, each with its own."""
    rows = store.all(
        "SELECT * FROM bank_account WHERE customer_id = ? AND seq > ? ORDER BY seq LIMIT ?", customer_id, after, limit
    )
    return [(row["seq"], _account(row)) for row in rows]


def close_account(tx: Tx, number: str, day: date) -> None:
    """Close an account: nothing can be paid to it or from it any more."""
    tx.execute(
        "UPDATE bank_account SET status = 'closed', closed_date = ? WHERE number = ? AND status = 'open'",
        *(day.isoformat(), number),
    )


def accounts_of_day(tx: Tx, customer_id: str, day: date) -> list[tuple[Account, date]]:
    """Return the accounts a customer had on a day with the date each was opened, pool accounts first."""
    rows = tx.all(
        "SELECT * FROM bank_account WHERE customer_id = ?1 AND opened_date <= ?2"
        " AND (closed_date IS NULL OR closed_date >= ?2 OR balance_minor <> 0 OR EXISTS"
        "  (SELECT 1 FROM bank_entry WHERE account = number AND booking_date = ?2)) ORDER BY kind, seq",
        *(customer_id, day.isoformat()),
    )
    return [(_account(row), date.fromisoformat(row["opened_date"])) for row in rows]


def _account(row: Row) -> Account:
    return Account(
        number=row["number"],
        customer_id=row["customer_id"],
        name=row["name"],
        currency=row["currency"],
        kind=row["kind"],
        status=row["status"],
        balance_minor=row["balance_minor"],
    )


# --- entries -----------------------------------------------------------------------------------------------------


def next_entry(tx: Tx, account: str) -> tuple[int, int]:
    """Return the number the next entry gets in the bank, and the one it gets in its account."""
    row = tx.one(
        "SELECT (SELECT coalesce(max(seq), 0) + 1 FROM bank_entry) AS in_bank, entry_count + 1 AS in_account"
        " FROM bank_account WHERE number = ?",
        account,
    )
    if row is None:
        raise RuntimeError(f"no account {account}")
    return int(row["in_bank"]), int(row["in_account"])


def last_bank_ref(tx: Tx, account: str) -> str | None:
    """Return the reference of the last entry of an account, as its customer is shown it."""
    row = tx.one(
        "SELECT coalesce(shown_ref, bank_ref) AS ref FROM bank_entry WHERE account = ? ORDER BY seq DESC LIMIT 1",
        account,
    )
    return row["ref"] if row else None


def add_entry(tx: Tx, account: str, entry_no: int, bank_ref: str, entry: Entry, at: datetime) -> None:
    """Book an entry and move the balance with it. bank_ref: its own, also where the entry shows another's."""
    tx.execute(
        "INSERT INTO bank_entry (account, entry_no, bank_ref, amount_minor, is_credit, booking_date, booked_at, family,"
        " sub_family, end_to_end_id, instruction_id, message_id, payment_id, remittance, other_name, other_account,"
        " return_reason, creditor_ref, creditor_account, shown_ref)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        *(account, entry_no, bank_ref, entry.amount_minor, int(entry.is_credit), entry.booking_date.isoformat()),
        *(at.isoformat(), entry.family, entry.sub_family, entry.end_to_end_id, entry.instruction_id),
        *(entry.message_id, entry.payment_id, entry.remittance, entry.other_name, entry.other_account),
        *(entry.return_reason, entry.creditor_ref, entry.creditor_account),
        None if entry.bank_ref == bank_ref else entry.bank_ref,
    )
    signed = entry.amount_minor if entry.is_credit else -entry.amount_minor
    tx.execute(
        "UPDATE bank_account SET balance_minor = balance_minor + ?, entry_count = ? WHERE number = ?",
        *(signed, entry_no, account),
    )


def entries_of_day(tx: Tx, customer_id: str, day: date) -> dict[str, list[Entry]]:
    """Return what was booked on a customer's accounts on a day, by account, in booking order."""
    rows = tx.all(
        "SELECT e.* FROM bank_account a JOIN bank_entry e ON e.account = a.number AND e.booking_date = ?"
        " WHERE a.customer_id = ? ORDER BY e.seq",
        *(day.isoformat(), customer_id),
    )
    by_account: dict[str, list[Entry]] = {}
    for row in rows:
        by_account.setdefault(row["account"], []).append(_entry(row))
    return by_account


def entries_of_account(store: Store, account: str) -> Iterator[tuple[Entry, str]]:
    """Yield an account's entries in booking order, each with the moment it was booked."""
    for row in store.all("SELECT * FROM bank_entry WHERE account = ? ORDER BY seq", account):
        yield _entry(row), row["booked_at"]


def _entry(row: Row) -> Entry:
    return Entry(
        entry_ref=entry_ref(row["entry_no"]),
        bank_ref=row["shown_ref"] or row["bank_ref"],
        amount_minor=row["amount_minor"],
        is_credit=bool(row["is_credit"]),
        booking_date=date.fromisoformat(row["booking_date"]),
        family=row["family"],
        sub_family=row["sub_family"],
        end_to_end_id=row["end_to_end_id"],
        instruction_id=row["instruction_id"],
        message_id=row["message_id"],
        payment_id=row["payment_id"],
        remittance=row["remittance"],
        other_name=row["other_name"],
        other_account=row["other_account"],
        return_reason=row["return_reason"],
        creditor_ref=row["creditor_ref"],
        creditor_account=row["creditor_account"],
        accepted_at=datetime.fromisoformat(row["booked_at"]) if row["creditor_ref"] else None,
    )


def entry_ref(entry_no: int) -> str:
    """Return NtryRef, which numbers the entries of one account from 1 without a gap."""
    return f"{entry_no:08d}"


# --- uploads -----------------------------------------------------------------------------------------------------


def find_upload(source: Tx | Store, customer_id: str, message_id: str, sha256: str) -> Upload | None:
    """Return the file a customer sent with this MsgId and these very bytes."""
    row = source.one(
        "SELECT * FROM bank_upload WHERE customer_id = ? AND message_id = ? AND sha256 = ?",
        *(customer_id, message_id, sha256),
    )
    return upload_of(row) if row else None


def find_first_upload(tx: Tx, customer_id: str, message_id: str) -> Upload | None:
    """Return the file that used a MsgId first."""
    row = tx.one(
        "SELECT * FROM bank_upload WHERE customer_id = ? AND message_id = ? ORDER BY seq LIMIT 1",
        *(customer_id, message_id),
    )
    return upload_of(row) if row else None


def add_upload(tx: Tx, upload: Upload) -> None:
    """Record a file as received."""
    tx.execute(
        "INSERT INTO bank_upload (file_id, customer_id, message_id, sha256, raw, received_at, original_file_id, status)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, 'received')",
        *(upload.file_id, upload.customer_id, upload.message_id, upload.sha256, upload.raw, upload.received_at),
        upload.original_file_id,
    )


def next_open_upload(store: Store) -> Upload | None:
    """Return the oldest file that still has to be processed."""
    row = store.one("SELECT * FROM bank_upload WHERE status = 'received' ORDER BY seq LIMIT 1")
    return upload_of(row) if row else None


def finish_upload(tx: Tx, file_id: str) -> bool:
    """Mark a file as processed; return False if it was already."""
    done = "UPDATE bank_upload SET status = 'done' WHERE file_id = ? AND status = 'received'"
    return tx.execute(done, file_id) == 1


def list_uploads(
    store: Store, customer_id: str, message_id: str | None, after: int, limit: int
) -> list[tuple[int, str, Upload]]:
    """Return what a customer sent after a cursor, each with its own cursor and status."""
    rows = store.all(
        "SELECT seq, file_id, customer_id, message_id, sha256, x'' AS raw, received_at, original_file_id, status"
        " FROM bank_upload WHERE customer_id = ? AND message_id = coalesce(?, message_id) AND seq > ?"
        " ORDER BY seq LIMIT ?",
        *(customer_id, message_id, after, limit),
    )
    return [(row["seq"], row["status"], upload_of(row)) for row in rows]


def upload_of(row: Row) -> Upload:
    """Return an upload as its row has it."""
    return Upload(
        file_id=row["file_id"],
        customer_id=row["customer_id"],
        message_id=row["message_id"],
        sha256=row["sha256"],
        raw=row["raw"],
        received_at=row["received_at"],
        original_file_id=row["original_file_id"],
    )


# --- executed lines ----------------------------------------------------------------------------------------------


def is_paid(tx: Tx, customer_id: str, end_to_end_id: str) -> bool:
    """Return whether a customer's EndToEndId was executed."""
    sql = "SELECT 1 FROM bank_paid_line WHERE customer_id = ? AND end_to_end_id = ?"
    return tx.one(sql, customer_id, end_to_end_id) is not None


def add_paid_line(tx: Tx, customer_id: str, file_id: str, line: Line, *, paid_out: bool) -> None:
    """Record that a line was executed; a second time fails. paid_out: to an account at another bank."""
    tx.execute(
        "INSERT INTO bank_paid_line (customer_id, end_to_end_id, file_id, debtor_account, creditor_account,"
        " amount_minor, paid_out) VALUES (?, ?, ?, ?, ?, ?, ?)",
        *(customer_id, line.end_to_end_id, file_id, line.debtor_account, line.creditor_account, line.amount_minor),
        int(paid_out),
    )


def find_paid_line(tx: Tx, creditor_account: str, end_to_end_id: str) -> PaidLine | None:
    """Return the executed line that credited an account."""
    row = tx.one(
        "SELECT * FROM bank_paid_line WHERE creditor_account = ? AND end_to_end_id = ?",
        *(creditor_account, end_to_end_id),
    )
    if row is None:
        return None
    return PaidLine(
        customer_id=row["customer_id"],
        end_to_end_id=row["end_to_end_id"],
        debtor_account=row["debtor_account"],
        creditor_account=row["creditor_account"],
        amount_minor=row["amount_minor"],
        returned=bool(row["returned"]),
        paid_out=bool(row["paid_out"]),
    )


def mark_returned(tx: Tx, line: PaidLine) -> None:
    """Record that an executed line's money went back."""
    tx.execute(
        "UPDATE bank_paid_line SET returned = 1 WHERE customer_id = ? AND end_to_end_id = ?",
        *(line.customer_id, line.end_to_end_id),
    )


# --- deposits ----------------------------------------------------------------------------------------------------


def has_deposit(tx: Tx, account: str, end_to_end_id: str) -> bool:
    """Return whether a deposit was announced before."""
    sql = "SELECT 1 FROM bank_deposit WHERE account = ? AND end_to_end_id = ?"
    return tx.one(sql, account, end_to_end_id) is not None


def add_deposit(tx: Tx, deposit: Deposit) -> None:
    """Record a deposit as waiting for its day."""
    tx.execute(
        "INSERT INTO bank_deposit (account, end_to_end_id, announced_minor, booked_minor, remittance, payer_name,"
        " due_date, mchid, settled_date, status) VALUES (?, ?, ?, 0, ?, ?, ?, ?, ?, 'waiting')",
        *(deposit.account, deposit.end_to_end_id, deposit.announced_minor, deposit.remittance, deposit.payer_name),
        *(deposit.due_date.isoformat(), deposit.mchid),
        deposit.settled_date.isoformat() if deposit.settled_date else None,
    )


def deposits_due(tx: Tx, day: date) -> list[Deposit]:
    """Return the waiting deposits that are to be booked by a day, in the order they fell due and were announced."""
    rows = tx.all(
        "SELECT * FROM bank_deposit WHERE status = 'waiting' AND due_date <= ? ORDER BY due_date, rowid",
        day.isoformat(),
    )
    return [_deposit(row) for row in rows]


def mark_deposit(tx: Tx, deposit: Deposit, status: str, booked_minor: int) -> None:
    """Record what became of a deposit on its day."""
    tx.execute(
        "UPDATE bank_deposit SET status = ?, booked_minor = ? WHERE account = ? AND end_to_end_id = ?",
        *(status, booked_minor, deposit.account, deposit.end_to_end_id),
    )


def deposits_of_account(store: Store, account: str) -> list[tuple[Deposit, str, int]]:
    """Return every deposit announced for an account, with its status and what was booked."""
    rows = store.all("SELECT * FROM bank_deposit WHERE account = ? ORDER BY rowid", account)
    return [(_deposit(row), row["status"], row["booked_minor"]) for row in rows]


def _deposit(row: Row) -> Deposit:
    return Deposit(
        account=row["account"],
        end_to_end_id=row["end_to_end_id"],
        announced_minor=row["announced_minor"],
        remittance=row["remittance"],
        payer_name=row["payer_name"],
        due_date=date.fromisoformat(row["due_date"]),
        mchid=row["mchid"],
        settled_date=date.fromisoformat(row["settled_date"]) if row["settled_date"] else None,
    )


# --- files for customers -----------------------------------------------------------------------------------------


def next_file_seq(tx: Tx) -> int:
    """Return the cursor the next file gets."""
    row = tx.one("SELECT coalesce(max(seq), 0) + 1 AS seq FROM bank_file")
    return int(row["seq"]) if row else 1


def add_file(tx: Tx, customer_id: str, file: OutFile, raw: bytes) -> None:
    """Put a file into a customer's listing."""
    tx.execute(
        "INSERT INTO bank_file (seq, file_id, customer_id, type, name, business_date, created_at, sha256,"
        " original_message_id, original_file_id, raw) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        *(file.cursor, file.file_id, customer_id, file.type, file.name, file.business_date, file.created_at),
        *(file.sha256, file.original_message_id, file.original_file_id, raw),
    )


def last_file_raw(tx: Tx, customer_id: str, kind: str) -> bytes | None:
    """Return the bytes of the file of a type that a customer was given last, as it was meant."""
    row = tx.one(
        "SELECT coalesce(meant, raw) AS raw FROM bank_file LEFT JOIN bank_spoiled_file USING (file_id)"
        " WHERE bank_file.customer_id = ? AND type = ? ORDER BY seq DESC LIMIT 1",
        *(customer_id, kind),
    )
    return None if row is None else row["raw"]


def add_spoiled(tx: Tx, file_id: str, customer_id: str, fault: str, meant: bytes) -> None:
    """Keep what the bank would have written in place of a file."""
    tx.execute("INSERT INTO bank_spoiled_file VALUES (?, ?, ?, ?)", file_id, customer_id, fault, meant)


def spoiled_files(store: Store, customer_id: str) -> list[tuple[str, str, str]]:
    """Return a customer's spoiled files, oldest first: id, type, fault."""
    rows = store.all(
        "SELECT f.file_id, f.type, s.fault FROM bank_spoiled_file s CROSS JOIN bank_file f USING (file_id)"
        " WHERE s.customer_id = ? ORDER BY f.seq",
        customer_id,
    )
    return [tuple(row) for row in rows]


def find_meant(store: Store, file_id: str) -> bytes | None:
    """Return what the bank would have written in place of a spoiled file."""
    row = store.one("SELECT meant FROM bank_spoiled_file WHERE file_id = ?", file_id)
    return None if row is None else row["meant"]


def list_files(
    store: Store, customer_id: str, kind: str | None, message_id: str | None, after: int, limit: int
) -> list[OutFile]:
    """Return a customer's files after a cursor, oldest first; message_id narrows to the answers to that order."""
    rows = store.all(
        "SELECT seq, file_id, type, name, business_date, created_at, sha256, original_message_id, original_file_id"
        " FROM bank_file WHERE customer_id = ?1 AND (?2 IS NULL OR type = ?2)"
        " AND (?3 IS NULL OR original_message_id = ?3) AND seq > ?4 ORDER BY seq LIMIT ?5",
        *(customer_id, kind, message_id, after, limit),
    )
    return [OutFile(*row) for row in rows]


def find_file_raw(store: Store, customer_id: str, file_id: str) -> bytes | None:
    """Return the bytes of one of a customer's files, sent or received."""
    row = store.one(
        "SELECT raw FROM bank_file WHERE customer_id = ?1 AND file_id = ?2"
        " UNION ALL SELECT raw FROM bank_upload WHERE customer_id = ?1 AND file_id = ?2",
        *(customer_id, file_id),
    )
    return bytes(row["raw"]) if row else None


def find_file_type(store: Store, file_id: str) -> str:
    """Return of which type a file is; one that a customer sent is a pain.001."""
    row = store.one("SELECT type FROM bank_file WHERE file_id = ?", file_id)
    return str(row["type"]) if row else "pain.001"


def count_files(tx: Tx, kind: str, day: date) -> int:
    """Return how many files of a type were made for a business date."""
    row = tx.one("SELECT count(*) AS count FROM bank_file WHERE type = ? AND business_date = ?", kind, day.isoformat())
    return int(row["count"]) if row else 0
