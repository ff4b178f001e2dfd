"""Notices 异步通知 to merchants: sent until acknowledged, on WeChat Pay's schedule.

A notice is written in the transaction of what it reports, so neither exists without the other, and a restart goes on
where the last process stopped: what was sent but not recorded as acknowledged is sent again.
"""

import asyncio
import uuid
from collections.abc import Mapping
from typing import Any

import aiohttp
import orjson

from sandbox.clock import rfc3339
from sandbox.context import SandboxContext
from sandbox.faults import Fault
from sandbox.keys import Pool
from sandbox.store import Row, Tx
from sandbox.wechat.certificates import PlatformKeys
from sandbox.wechat.merchants import Merchant, Merchants
from sandbox.wechat.signing import as_probe, encrypted, signed_headers

SCHEDULE_S = (15, 15, 30, 180, 600, 1200, 1800, 1800, 1800, 3600, 10800, 10800, 10800, 21600, 21600)
ACKNOWLEDGE_WITHIN_S = 5
AT_ONCE = 256
FAULTS = (
    "notice_drop",
    "notice_forged",
    "notice_sigtest",
    "notice_wrong_amount",
    "notice_unsigned",
    "notice_reordered",
)


class Notices:
    """The sender of notices."""

    def __init__(self, ctx: SandboxContext, pool: Pool, platform: PlatformKeys, merchants: Merchants) -> None:
        self._ctx, self._pool, self._platform, self._merchants = ctx, pool, platform, merchants
        self._http: aiohttp.ClientSession | None = None
        self._news = asyncio.Event()
        self._in_flight: set[str] = set()
        match_keys = ("mchid", "out_trade_no", "out_refund_no")
        ctx.faults.declare("wechat", FAULTS, match_keys)
        ctx.faults.declare("wechat", ["notice_duplicate"], match_keys, copies=2)
        ctx.faults.declare("wechat", ["notice_delay"], match_keys, ms=None)

    def write(
        self,
        tx: Tx,
        merchant: Merchant,
        event_type: str,
        plain: Mapping[str, Any],
        *,
        url: str,
        key_id: str | None,
        now_ms: int,
    ) -> None:
        """Write a notice, due at once, in the caller's transaction; call `wake` after the commit."""
        text = orjson.dumps(plain)
        number = plain.get("combine_out_trade_no") or plain["out_trade_no"]
        notice_id = str(uuid.uuid4())
        tx.execute(
            "INSERT INTO wechat_notice (notice_id, mchid, event_type, out_trade_no, out_refund_no, url, key_id, body,"
            " plain, state, next_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'pending', ?)",
            *(notice_id, merchant.mchid, event_type, number, plain.get("out_refund_no"), url, key_id),
            *(_body(notice_id, event_type, text, merchant, now_ms), text, now_ms),
        )

    def wake(self) -> None:
        """Tell the sender that something may be due."""
        self._news.set()

    async def run(self) -> None:
        """Send what is due, for as long as the sandbox lives."""
        timeout = aiohttp.ClientTimeout(total=ACKNOWLEDGE_WITHIN_S)
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
            "SELECT notice_id, next_ms FROM wechat_notice WHERE next_ms IS NOT NULL ORDER BY next_ms LIMIT ?",
            2 * AT_ONCE,
        )
        now_ms = self._ctx.clock.now_ms()
        for row in rows:
            if row["notice_id"] in self._in_flight:
                continue
            if len(self._in_flight) >= AT_ONCE:
                return None  # a finished attempt wakes us
            if row["next_ms"] > now_ms:
                return float(row["next_ms"] - now_ms) / 1000
            self._in_flight.add(row["notice_id"])
            self._ctx.spawn(f"notice {row['notice_id']}", self._attempt(row["notice_id"]))
        return None

    async def _attempt(self, notice_id: str) -> None:
        try:
            row = self._ctx.store.one("SELECT * FROM wechat_notice WHERE notice_id = ?", notice_id)
            merchant = None if row is None else self._merchants.find(row["mchid"])
            if row is None or merchant is None:
                raise LookupError(f"notice {notice_id} or its merchant is gone")
            if self._fault(row, "notice_reordered"):
                await self._ctx.store.write(lambda tx: _hold(tx, row))
                return
            if delay := self._fault(row, "notice_delay"):
                await asyncio.sleep(delay.params["ms"] / 1000)
            acknowledged = await self._send_all(row, merchant)
            now_ms = self._ctx.clock.now_ms()
            scale = self._ctx.time_scale
            await self._ctx.store.write(lambda tx: _record(tx, row, acknowledged, now_ms, scale))
        finally:
            self._in_flight.discard(notice_id)
            self._news.set()

    def _fault(self, row: Row, name: str) -> Fault | None:
        facts = {"mchid": row["mchid"], "out_trade_no": row["out_trade_no"]}
        if row["out_refund_no"] is not None:
            facts["out_refund_no"] = row["out_refund_no"]
        return self._ctx.faults.take("wechat", name, **facts)

    async def _send_all(self, row: Row, merchant: Merchant) -> bool:
        """Send the notice, and whatever the faults add; tell whether the right one was acknowledged."""
        key = self._platform.by_id(row["key_id"], merchant)
        body: bytes = row["body"]
        if self._fault(row, "notice_forged"):
            forged = await signed_headers(self._pool, key.key_id, await self._pool.strangers_key(), body)
            await self._post(row, "forged", body, forged)
        if self._fault(row, "notice_wrong_amount"):
            wrong = _with_wrong_amount(row, merchant, self._ctx.clock.now_ms())
            headers = await signed_headers(self._pool, key.key_id, key.key, wrong)
            await self._post(row, "wrong_amount", wrong, headers)
        if self._fault(row, "notice_drop"):
            await self._ctx.store.write(lambda tx: _log(tx, row, "dropped", self._ctx.clock.now_ms(), None, None))
            return False
        headers = await signed_headers(self._pool, key.key_id, key.key, body)
        if self._fault(row, "notice_sigtest"):
            await self._post(row, "sigtest", body, as_probe(headers))
            return False  # whatever it answered: a probe is not an acknowledgement
        if self._fault(row, "notice_unsigned"):
            await self._post(row, "unsigned", body, {})
            return False
        duplicate = self._fault(row, "notice_duplicate")
        copies = int(duplicate.params["copies"]) if duplicate else 1
        whats = ["right"] + ["duplicate"] * (copies - 1)
        return any(await asyncio.gather(*(self._post(row, what, body, headers) for what in whats)))

    async def _post(self, row: Row, what: str, body: bytes, signature: Mapping[str, str]) -> bool:
        """POST once, log it, and tell whether the merchant acknowledged with 200 or 204."""
        assert self._http is not None
        headers = {
            "Content-Type": "application/json",
            "Accept": "*/*",
            "User-Agent": "Mozilla/4.0",
            "Request-ID": uuid.uuid4().hex,
            **signature,
        }
        status, problem = None, None
        try:
            async with self._http.post(row["url"], data=body, headers=headers, allow_redirects=False) as answer:
                status = answer.status
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            problem = f"{type(error).__name__}: {error}"
        at_ms = self._ctx.clock.now_ms()
        await self._ctx.store.write(lambda tx: _log(tx, row, what, at_ms, status, problem))
        return status in (200, 204)

    def listed(self, mchid: str) -> list[dict[str, Any]]:
        """Return a merchant's notices with every attempt, oldest first."""
        rows = self._ctx.store.all("SELECT * FROM wechat_notice WHERE mchid = ? ORDER BY rowid", mchid)
        return [
            {
                **{key: row[key] for key in ("notice_id", "event_type", "out_trade_no", "out_refund_no", "url")},
                "state": row["state"],
                "next_at": row["next_ms"] and rfc3339(row["next_ms"]),
                "attempts": [
                    {"what": attempt["what"], "http_status": attempt["http_status"], "problem": attempt["problem"]}
                    for attempt in self._ctx.store.all(
                        "SELECT * FROM wechat_notice_attempt WHERE notice_id = ? ORDER BY seq", row["notice_id"]
                    )
                ],
            }
            for row in rows
        ]


def _body(notice_id: str, event_type: str, plain: bytes, merchant: Merchant, now_ms: int) -> bytes:
    original_type = "transaction" if event_type.startswith("TRANSACTION") else "refund"
    summary = {"TRANSACTION.SUCCESS": "支付成功", "REFUND.SUCCESS": "退款成功"}.get(event_type, "退款异常")
    resource = {"original_type": original_type, **encrypted(merchant.apiv3_key, plain, original_type)}
    return orjson.dumps(
        {
            "id": notice_id,
            "create_time": rfc3339(now_ms),
            "resource_type": "encrypt-resource",
            "event_type": event_type,
            "summary": summary,
            "resource": resource,
        }
    )


def _with_wrong_amount(row: Row, merchant: Merchant, now_ms: int) -> bytes:
    """Return a notice of its own that says one fen more than is true."""
    plain = orjson.loads(row["plain"])
    amount = plain["amount"] if "amount" in plain else plain["sub_orders"][0]["amount"]
    for field in ("total", "payer_total", "refund", "payer_refund", "total_amount", "payer_amount"):
        if field in amount:
            amount[field] += 1
    return _body(str(uuid.uuid4()), row["event_type"], orjson.dumps(plain), merchant, now_ms)


def _hold(tx: Tx, row: Row) -> None:
    tx.execute("UPDATE wechat_notice SET state = 'held', next_ms = NULL WHERE notice_id = ?", row["notice_id"])


def _record(tx: Tx, row: Row, acknowledged: bool, now_ms: int, scale: float) -> None:
    """Write how an attempt ended, and let go a held notice of the same merchant."""
    attempts = row["attempts"] + 1
    state, next_ms = "given_up", None
    if acknowledged:
        state = "acknowledged"
    elif attempts <= len(SCHEDULE_S):
        state, next_ms = "pending", now_ms + int(SCHEDULE_S[attempts - 1] * scale * 1000)
    tx.execute(
        "UPDATE wechat_notice SET state = ?, attempts = ?, next_ms = ? WHERE notice_id = ?",
        *(state, attempts, next_ms, row["notice_id"]),
    )
    tx.execute(
        "UPDATE wechat_notice SET state = 'pending', next_ms = ? WHERE mchid = ? AND state = 'held'",
        *(now_ms, row["mchid"]),
    )


def _log(tx: Tx, row: Row, what: str, at_ms: int, status: int | None, problem: str | None) -> None:
    tx.execute(
        "INSERT INTO wechat_notice_attempt (notice_id, what, at_ms, http_status, problem) VALUES (?, ?, ?, ?, ?)",
        *(row["notice_id"], what, at_ms, status, problem),
    )
