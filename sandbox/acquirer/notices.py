"""Notices 异步通知 to merchants: sent until acknowledged, on the rail's schedule.

A notice is written in the transaction of what it reports, so neither exists without the other, and a restart goes on
where the last process stopped: what was sent but not recorded as acknowledged is sent again.
"""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import aiohttp

from sandbox.acquirer.merchants import Merchants
from sandbox.acquirer.models import Event, Merchant, Refund, Trade
from sandbox.acquirer.wire import NoticeJob, Signed, Webhook, Wire
from sandbox.clock import rfc3339
from sandbox.context import SandboxContext
from sandbox.faults import Fault
from sandbox.store import Row, Tx

AT_ONCE = 256
MATCH_KEYS = ("merchant", "order", "refund", "op")
FAULTS = ("notice_drop", "notice_forged", "notice_wrong_amount", "notice_unsigned", "notice_reordered")


class Notices:
    """The sender of one rail's notices."""

    def __init__(self, ctx: SandboxContext, wire: Wire, merchants: Merchants) -> None:
        self._ctx, self._wire, self._merchants = ctx, wire, merchants
        self._http: aiohttp.ClientSession | None = None
        self._news = asyncio.Event()
        self._in_flight: set[int] = set()
        ctx.faults.declare(wire.rail, (*FAULTS, *(["notice_sigtest"] if wire.probes else ())), MATCH_KEYS)
        ctx.faults.declare(wire.rail, ["notice_duplicate"], MATCH_KEYS, copies=2)
        ctx.faults.declare(wire.rail, ["notice_delay"], MATCH_KEYS, ms=None)

    def tell(self, tx: Tx, event: Event, trade: Trade, refund: Refund | None) -> None:
        """Write what the rail tells of an event, due at once, in the caller's transaction; call `wake` afterwards."""
        now_ms, merchant = self._ctx.clock.now_ms(), self._merchants.get(trade.merchant)
        content = self._wire.content(event, merchant, trade, refund, now_ms)
        if content is None:
            return
        targets: list[tuple[str, str | None]]
        if self._wire.has_webhooks:
            hooks = self._merchants.webhooks(tx, trade.merchant)
            targets = [(hook.url, hook.webhook_id) for hook in hooks if self._wire.wants(hook, content)]
        else:
            url = (refund and refund.notify_url) or trade.notify_url
            targets = [] if url is None else [(url, None)]
        for url, webhook_id in targets:
            number = None if refund is None else refund.order
            self.write(tx, event, merchant, content, url=url, order=trade.order, refund=number, webhook_id=webhook_id)

    def write(
        self,
        tx: Tx,
        event: Event,
        merchant: Merchant,
        content: Mapping[str, Any],
        *,
        url: str,
        order: str,
        refund: str | None = None,
        webhook_id: str | None = None,
    ) -> None:
        """Write one notice, as `tell` does. order, refund: what it is about, for faults and the control API."""
        now_ms = self._ctx.clock.now_ms()
        last = tx.one("SELECT coalesce(max(seq), 0) AS seq FROM acquirer_notice")
        assert last is not None
        notice_id = self._wire.number("notice", merchant.merchant, last["seq"] + 1, now_ms)
        tx.execute(
            "INSERT INTO acquirer_notice (rail, notice_id, merchant, event, order_no, refund_no, url, webhook_id,"
            " content, state, created_ms, next_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'pending', ?, ?)",
            *(self._wire.rail, notice_id, merchant.merchant, event, order, refund, url, webhook_id),
            *(json.dumps(content, ensure_ascii=False), now_ms, now_ms),
        )

    def wake(self) -> None:
        """Tell the sender that something may be due."""
        self._news.set()

    async def run(self) -> None:
        """Send what is due, for as long as the sandbox lives."""
        timeout = aiohttp.ClientTimeout(total=self._wire.acknowledge_within_s)
        connector = aiohttp.TCPConnector(limit=AT_ONCE)
        async with aiohttp.ClientSession(timeout=timeout, connector=connector) as self._http:
            while True:
                self._news.clear()
                wait_s = self._send_due()
                try:
                    await asyncio.wait_for(self._news.wait(), wait_s)
                except TimeoutError:
                    continue

    def _send_due(self) -> float | None:
        """Start an attempt for every due notice; return the seconds until the next is due, None if there is none."""
        rows = self._ctx.store.all(
            "SELECT seq, next_ms FROM acquirer_notice WHERE rail = ? AND next_ms IS NOT NULL ORDER BY next_ms, seq"
            " LIMIT ?",
            *(self._wire.rail, 2 * AT_ONCE),
        )
        now_ms = self._ctx.clock.now_ms()
        for row in rows:
            if row["seq"] in self._in_flight:
                continue
            if len(self._in_flight) >= AT_ONCE:
                return None  # a finished attempt wakes us
            if row["next_ms"] > now_ms:
                return float(row["next_ms"] - now_ms) / 1000
            self._in_flight.add(row["seq"])
            self._ctx.spawn(f"{self._wire.rail}: notice {row['seq']}", self._attempt(row["seq"]))
        return None

    async def _attempt(self, seq: int) -> None:
        try:
            row = self._ctx.store.one("SELECT * FROM acquirer_notice WHERE seq = ?", seq)
            if row is None:
                raise LookupError(f"notice {seq} is gone")
            if self._fault(row, "notice_reordered"):
                await self._ctx.store.write(lambda tx: _hold(tx, row))
                return
            if delay := self._fault(row, "notice_delay"):
                await asyncio.sleep(delay.params["ms"] / 1000)
            acknowledged = await self._send_all(row)
            now_ms = self._ctx.clock.now_ms()
            await self._ctx.store.write(lambda tx: self._record(tx, row, acknowledged, now_ms))
        finally:
            self._in_flight.discard(seq)
            self._news.set()

    def _fault(self, row: Row, name: str) -> Fault | None:
        facts = {"merchant": row["merchant"], "order": row["order_no"], "op": row["event"]}
        if row["refund_no"] is not None:
            facts["refund"] = row["refund_no"]
        return self._ctx.faults.take(self._wire.rail, name, **facts)

    async def _send_all(self, row: Row) -> bool:
        """Send the notice, and whatever the faults add; tell whether the right one was acknowledged."""
        if self._fault(row, "notice_forged"):
            await self._post(row, "forged", "wrong")
        if self._fault(row, "notice_wrong_amount"):
            await self._post(row, "wrong_amount", "right")
        if self._fault(row, "notice_drop"):
            await self._ctx.store.write(lambda tx: _log(tx, row, "dropped", self._ctx.clock.now_ms(), None, None))
            return False
        if self._fault(row, "notice_sigtest"):
            await self._post(row, "sigtest", "probe")
            return False  # whatever it answered: a probe is not an acknowledgement
        if self._fault(row, "notice_unsigned"):
            await self._post(row, "unsigned", "none")
            return False
        duplicate = self._fault(row, "notice_duplicate")
        copies = int(duplicate.params["copies"]) if duplicate else 1
        whats = ["right"] + ["duplicate"] * (copies - 1)
        return any(await asyncio.gather(*(self._post(row, what, "right") for what in whats)))

    async def _post(self, row: Row, what: str, signed: Signed) -> bool:
        """Send once, log it, and tell whether the merchant acknowledged."""
        assert self._http is not None
        notice_id, content = row["notice_id"], json.loads(row["content"])
        if what == "wrong_amount":  # a notice of its own: whoever keeps ids must not drop the right one after it
            notice_id = self._wire.number("notice", row["merchant"], 10**9 + row["seq"], self._ctx.clock.now_ms())
            content = self._wire.wrong_amount(content)
        hook = self._webhook(row)
        job = NoticeJob(notice_id, row["event"], row["url"], content, hook, row["attempts"] + 1, row["created_ms"])
        message = await self._wire.sending(self._merchants.get(row["merchant"]), job, signed)
        status, problem, acknowledged = None, None, False
        try:
            async with self._http.request(
                message.method,
                message.url or row["url"],
                data=message.body,
                headers=message.headers,
                allow_redirects=False,
            ) as answer:
                status = answer.status
                acknowledged = self._wire.acknowledged(status, await answer.read())
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            problem = f"{type(error).__name__}: {error}"
        at_ms = self._ctx.clock.now_ms()
        await self._ctx.store.write(lambda tx: _log(tx, row, what, at_ms, status, problem))
        return acknowledged

    def _webhook(self, row: Row) -> Webhook | None:
        if row["webhook_id"] is None:
            return None
        known = self._merchants.webhooks(self._ctx.store, row["merchant"])
        return next((hook for hook in known if hook.webhook_id == row["webhook_id"]), None)

    def _record(self, tx: Tx, row: Row, acknowledged: bool, now_ms: int) -> None:
        """Write how an attempt ended, and let go a held notice of the same merchant."""
        attempts, schedule = row["attempts"] + 1, self._wire.schedule_s
        state, next_ms = "given_up", None
        if acknowledged:
            state = "acknowledged"
        elif attempts <= len(schedule):
            state, next_ms = "pending", now_ms + int(schedule[attempts - 1] * self._ctx.time_scale * 1000)
        tx.execute(
            "UPDATE acquirer_notice SET state = ?, attempts = ?, next_ms = ? WHERE seq = ?",
            *(state, attempts, next_ms, row["seq"]),
        )
        tx.execute(
            "UPDATE acquirer_notice SET state = 'pending', next_ms = ?"
            " WHERE rail = ? AND merchant = ? AND state = 'held'",
            *(now_ms, row["rail"], row["merchant"]),
        )

    def listed(self, merchant: str) -> list[dict[str, Any]]:
        """Return a merchant's notices with every attempt, oldest first."""
        sql = "SELECT * FROM acquirer_notice WHERE rail = ? AND merchant = ? ORDER BY seq"
        return [
            {
                "notice_id": row["notice_id"],
                "event": row["event"],
                "order": self._wire.told(row["order_no"]),
                "refund": row["refund_no"] and self._wire.told(row["refund_no"]),
                "url": row["url"],
                "state": row["state"],
                "next_at": row["next_ms"] and rfc3339(row["next_ms"]),
                "attempts": [
                    {"what": attempt["what"], "http_status": attempt["http_status"], "problem": attempt["problem"]}
                    for attempt in self._ctx.store.all(
                        "SELECT * FROM acquirer_notice_attempt WHERE notice_seq = ? ORDER BY seq", row["seq"]
                    )
                ],
            }
            for row in self._ctx.store.all(sql, self._wire.rail, merchant)
        ]


def _hold(tx: Tx, row: Row) -> None:
    tx.execute("UPDATE acquirer_notice SET state = 'held', next_ms = NULL WHERE seq = ?", row["seq"])


def _log(tx: Tx, row: Row, what: str, at_ms: int, status: int | None, problem: str | None) -> None:
    tx.execute(
        "INSERT INTO acquirer_notice_attempt (notice_seq, what, at_ms, http_status, problem) VALUES (?, ?, ?, ?, ?)",
        *(row["seq"], what, at_ms, status, problem),
    )
