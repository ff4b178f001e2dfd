"""Openings of sub-accounts: who asks for identity tokens, the tokens, and openings that people look at."""

from sandbox.bank.rules import Account
from sandbox.store import Row, Tx


def ask_identity(tx: Tx, customer_id: str) -> None:
    """Have a customer's sub-accounts be opened by an identity token alone."""
    tx.execute("INSERT OR IGNORE INTO bank_asks_identity VALUES (?)", customer_id)


def asks_identity(tx: Tx, customer_id: str) -> bool:
    """Return whether a customer's sub-accounts are opened by an identity token alone."""
    return tx.one("SELECT 1 FROM bank_asks_identity WHERE customer_id = ?", customer_id) is not None


def add_token(tx: Tx, token_sha256: str, customer_id: str, name: str, expires_at: str) -> None:
    """Record an identity token that its holder may give to a customer."""
    tx.execute(
        "INSERT INTO bank_identity_token (token_sha256, customer_id, name, expires_at) VALUES (?, ?, ?, ?)",
        *(token_sha256, customer_id, name, expires_at),
    )


def find_token(tx: Tx, customer_id: str, token_sha256: str) -> Row | None:
    """Return an identity token for a customer."""
    return tx.one(
        "SELECT * FROM bank_identity_token WHERE customer_id = ? AND token_sha256 = ?", customer_id, token_sha256
    )


def use_token(tx: Tx, token_sha256: str, reference: str) -> None:
    """Note by which opening a token was used."""
    tx.execute("UPDATE bank_identity_token SET used_by = ? WHERE token_sha256 = ?", reference, token_sha256)


def add_opening(tx: Tx, customer_id: str, reference: str, name: str, currency: str, kind: str) -> None:
    """Record an opening that people look at."""
    tx.execute(
        "INSERT INTO bank_opening (customer_id, reference, name, currency, kind) VALUES (?, ?, ?, ?, ?)",
        *(customer_id, reference, name, currency, kind),
    )


def find_opening(tx: Tx, customer_id: str, reference: str) -> Account | None:
    """Return an opening that is looked at or was refused, as the account that is not there."""
    row = tx.one("SELECT * FROM bank_opening WHERE customer_id = ? AND reference = ?", customer_id, reference)
    if row is None:
        return None
    status = "pending" if row["refused"] is None else "refused"
    return Account("", customer_id, row["name"], row["currency"], row["kind"], status, 0, row["refused"])


def refuse_opening(tx: Tx, customer_id: str, reference: str, code: str) -> None:
    """Refuse an opening that was looked at."""
    tx.execute(
        "UPDATE bank_opening SET refused = ? WHERE customer_id = ? AND reference = ?", code, customer_id, reference
    )
