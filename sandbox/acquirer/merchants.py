"""The merchants of one rail, their credentials and their registered addresses."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from sandbox.acquirer.errors import CoreError
from sandbox.acquirer.models import Merchant, Reader, read_merchant
from sandbox.acquirer.wire import Webhook, Wire
from sandbox.context import SandboxContext
from sandbox.store import Row, Tx


class Merchants:
    """All of a rail's merchants, kept in memory beside the store because every request needs one."""

    def __init__(self, ctx: SandboxContext, wire: Wire) -> None:
        self._ctx, self._wire = ctx, wire
        self._signing_up = asyncio.Lock()
        sql = "SELECT * FROM acquirer_merchant WHERE rail = ? ORDER BY seq"
        self._known = {row["merchant"]: read_merchant(row) for row in ctx.store.all(sql, wire.rail)}

    def find(self, merchant: str) -> Merchant | None:
        """Return the merchant with this number, if any."""
        return self._known.get(merchant)

    def get(self, merchant: str) -> Merchant:
        """Return a merchant. Raises merchant_unknown."""
        found = self.find(merchant)
        if found is None:
            raise CoreError("merchant_unknown", f"there is no merchant {merchant}")
        return found

    def all(self) -> list[Merchant]:
        """Return every merchant, oldest first."""
        return list(self._known.values())

    def folder(self, merchant: str) -> Path:
        """Return where a merchant's files lie."""
        return self._ctx.home / self._wire.rail / merchant

    async def create(
        self,
        *,
        name: str,
        fee_bp: int,
        fixed_fee_minor: int,
        settle_to: str | None,
        wishes: Mapping[str, Any],
        refund_fee: str | None = None,
    ) -> Merchant:
        """Sign up a merchant; the rail makes its credentials. refund_fee: returned | kept; None: as the rail does."""
        async with self._signing_up:
            seq = len(self._known) + 1
            merchant = self._wire.merchant_id(seq)
            extra = await self._wire.sign_up(merchant, wishes)
            if refund_fee is not None:
                extra["refund_fee"] = refund_fee
            day_before = self._ctx.clock.beijing_date() - timedelta(days=1)
            await self._ctx.store.write(
                lambda tx: tx.execute(
                    "INSERT INTO acquirer_merchant (rail, merchant, seq, name, fee_bp, fixed_fee_minor, settle_to,"
                    " extra, closed_through) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    *(self._wire.rail, merchant, seq, name, fee_bp, fixed_fee_minor, settle_to),
                    *(json.dumps(extra, ensure_ascii=False), day_before.isoformat()),
                )
            )
            return self._reread(merchant)

    async def settle_to(self, merchant: str, account: str | None) -> Merchant:
        """Change the bank account a merchant's days are paid out to."""
        sql = "UPDATE acquirer_merchant SET settle_to = ? WHERE rail = ? AND merchant = ?"
        await self._ctx.store.write(lambda tx: tx.execute(sql, account, self._wire.rail, merchant))
        return self._reread(merchant)

    async def note(self, merchant: str, **extra: Any) -> Merchant:
        """Add to the rail's own `extra` of a merchant."""
        changed = json.dumps({**self.get(merchant).extra, **extra}, ensure_ascii=False)
        sql = "UPDATE acquirer_merchant SET extra = ? WHERE rail = ? AND merchant = ?"
        await self._ctx.store.write(lambda tx: tx.execute(sql, changed, self._wire.rail, merchant))
        return self._reread(merchant)

    def _reread(self, merchant: str) -> Merchant:
        sql = "SELECT * FROM acquirer_merchant WHERE rail = ? AND merchant = ?"
        row = self._ctx.store.one(sql, self._wire.rail, merchant)
        assert row is not None
        self._known[merchant] = read_merchant(row)
        return self._known[merchant]

    # ---- webhooks ----------------------------------------------------------------------------------------------------

    def webhooks(self, reader: Reader, merchant: str) -> list[Webhook]:
        """Return the addresses a merchant has registered, oldest first."""
        sql = "SELECT * FROM acquirer_webhook WHERE rail = ? AND merchant = ? ORDER BY rowid"
        return [_webhook(row) for row in reader.all(sql, self._wire.rail, merchant)]

    def add_webhook(self, tx: Tx, merchant: Merchant, url: str, values: Mapping[str, Any]) -> Webhook:
        """Register an address. values: what the rail wants to know beside it."""
        now_ms = self._ctx.clock.now_ms()
        last = tx.one("SELECT coalesce(max(rowid), 0) AS seq FROM acquirer_webhook")
        assert last is not None
        webhook_id = self._wire.number("webhook", merchant.merchant, last["seq"] + 1, now_ms)
        extra = self._wire.webhook_extra(merchant, values)
        row = tx.one(
            "INSERT INTO acquirer_webhook (rail, merchant, webhook_id, url, extra, created_ms)"
            " VALUES (?, ?, ?, ?, ?, ?) RETURNING *",
            *(self._wire.rail, merchant.merchant, webhook_id, url, json.dumps(extra, ensure_ascii=False), now_ms),
        )
        assert row is not None
        return _webhook(row)

    def note_webhook(self, tx: Tx, webhook: Webhook, **extra: Any) -> Webhook:
        """Add to what the rail keeps about a registered address."""
        changed = {**webhook.extra, **extra}
        sql = "UPDATE acquirer_webhook SET extra = ? WHERE rail = ? AND webhook_id = ?"
        tx.execute(sql, json.dumps(changed, ensure_ascii=False), self._wire.rail, webhook.webhook_id)
        return replace(webhook, extra=changed)

    def remove_webhook(self, tx: Tx, merchant: str, webhook_id: str) -> bool:
        """Forget an address; tell whether there was one."""
        sql = "DELETE FROM acquirer_webhook WHERE rail = ? AND merchant = ? AND webhook_id = ?"
        return tx.execute(sql, self._wire.rail, merchant, webhook_id) == 1


def _webhook(row: Row) -> Webhook:
    return Webhook(row["webhook_id"], row["merchant"], row["url"], json.loads(row["extra"]), row["created_ms"])
