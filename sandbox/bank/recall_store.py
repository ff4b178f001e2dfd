"""The bank's SQL of lines that wait and of recalls 追回, as store.py has all other."""

from __future__ import annotations

from sandbox.bank import store
from sandbox.bank.store import PaidLine, Upload, upload_of
from sandbox.store import Tx


def add_waiting_line(tx: Tx, customer_id: str, file_id: str, end_to_end_id: str) -> None:
    """Record that a line is checked and not carried out yet."""
    tx.execute(
        "INSERT INTO bank_waiting_line (customer_id, end_to_end_id, file_id, status) VALUES (?, ?, ?, 'waiting')",
        *(customer_id, end_to_end_id, file_id),
    )


def find_waiting_line(tx: Tx, end_to_end_id: str) -> Upload | None:
    """Return the order of a line that waits."""
    row = tx.one(
        "SELECT u.* FROM bank_waiting_line w JOIN bank_upload u ON u.file_id = w.file_id"
        " WHERE w.end_to_end_id = ? AND w.status = 'waiting'",
        end_to_end_id,
    )
    return upload_of(row) if row else None


def waiting_status(tx: Tx, customer_id: str, end_to_end_id: str) -> str | None:
    """Return how a line stands that waits, or waited: waiting, recalled or done."""
    row = tx.one(
        "SELECT status FROM bank_waiting_line WHERE customer_id = ? AND end_to_end_id = ?",
        *(customer_id, end_to_end_id),
    )
    return row["status"] if row else None


def end_waiting_line(tx: Tx, customer_id: str, end_to_end_id: str, status: str) -> None:
    """Record that a line waits no more: it was recalled, or carried out."""
    tx.execute(
        "UPDATE bank_waiting_line SET status = ? WHERE customer_id = ? AND end_to_end_id = ?",
        *(status, customer_id, end_to_end_id),
    )


def find_own_paid_line(tx: Tx, customer_id: str, end_to_end_id: str) -> PaidLine | None:
    """Return a customer's line that was executed."""
    row = tx.one(
        "SELECT creditor_account FROM bank_paid_line WHERE customer_id = ? AND end_to_end_id = ?",
        *(customer_id, end_to_end_id),
    )
    return store.find_paid_line(tx, row["creditor_account"], end_to_end_id) if row else None


def add_recall(tx: Tx, customer_id: str, recall_id: str, file_id: str, end_to_end_id: str, status: str) -> None:
    """Record what a customer wants back, and how that stands."""
    tx.execute(
        "INSERT OR IGNORE INTO bank_recall (customer_id, recall_id, file_id, end_to_end_id, status)"
        " VALUES (?, ?, ?, ?, ?)",
        *(customer_id, recall_id, file_id, end_to_end_id, status),
    )


def find_open_recall(tx: Tx, recall_id: str) -> Upload | None:
    """Return the file by which a recall was asked for that is not decided."""
    row = tx.one(
        "SELECT u.* FROM bank_recall r JOIN bank_upload u ON u.file_id = r.file_id"
        " WHERE r.recall_id = ? AND r.status = 'open'",
        recall_id,
    )
    return upload_of(row) if row else None


def end_recall(tx: Tx, customer_id: str, recall_id: str, status: str) -> None:
    """Record how a recall was decided."""
    tx.execute(
        "UPDATE bank_recall SET status = ? WHERE customer_id = ? AND recall_id = ?",
        *(status, customer_id, recall_id),
    )
