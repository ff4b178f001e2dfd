"""The simulated bank behind the direct link: users, accounts, batches carried out line by line, bookings, days."""

from __future__ import annotations

import asyncio
import base64
import secrets
from collections.abc import Mapping
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from sandbox import keys
from sandbox.cmb import sm
from sandbox.cmb.link import User
from sandbox.context import SandboxContext
from sandbox.store import Row, Tx

RAIL = "cmb"
OK = "SUC0000"
PAGE = 200
SCHEMA = Path(__file__).with_name("schema.sql").read_text(encoding="utf-8")
_FAULTS = ("request_lost", "answer_lost", "signature_wrong", "gateway_error", "other_answer")
_LINE_FAULTS = ("refuse_line", "suspect_line", "other_amount")


class Direct:
    """See the module. Built by `install`."""

    def __init__(self, ctx: SandboxContext) -> None:
        self._ctx, self._store = ctx, ctx.store
        self._work = asyncio.Event()
        self.private = _private_key(ctx.home / "cmb")
        point = sm.multiply(self.private, sm.G)
        assert point is not None
        self.public_key = _written(point)
        ctx.store.create(SCHEMA)
        ctx.faults.declare(RAIL, _FAULTS, ("uid", "funcode"))
        ctx.faults.declare(RAIL, _LINE_FAULTS, ("uid", "yur_ref", "account"))
        ctx.faults.declare(RAIL, ("statement_entry_missing",), ("account", "day"))

    # --- days and users ----------------------------------------------------------------------------------------------

    def today(self, source: Tx | None = None) -> date:
        """Return the bank's date: Beijing's, or the one that it was set to."""
        row = (source or self._store).one("SELECT value FROM cmb_state WHERE name = 'date'")
        return date.fromisoformat(row["value"]) if row else self._ctx.clock.beijing_date()

    async def set_date(self, day: date) -> None:
        """Have what is booked from now on be booked on this date; all before it are closed."""
        await self._store.write(
            lambda tx: tx.execute("INSERT OR REPLACE INTO cmb_state VALUES ('date', ?)", day.isoformat())
        )

    async def enrol(self, name: str) -> dict[str, str]:
        """Make a user with keys, and an account in its name."""
        uid, symmetric = f"U{secrets.randbelow(10**9):09d}", secrets.token_hex(8)
        private, point = sm.new_key()
        account = _number()

        def command(tx: Tx) -> None:
            tx.execute("INSERT INTO cmb_user VALUES (?, ?, ?, ?, ?)", uid, name, symmetric, *map(str, point))
            tx.execute("INSERT INTO cmb_account (number, uid, name) VALUES (?, ?, ?)", account, uid, name)

        await self._store.write(command)
        return {
            "profile": "cmb", "uid": uid, "symmetric_key": symmetric, "account": account, "account_holder": name,
            "private_key": base64.b64encode(private.to_bytes(32, "big")).decode(), "public_key": _written(point),
            "bank_public_key": self.public_key, "branch": "75", "mode": "00001",
        }  # fmt: skip

    def find(self, uid: str) -> User | None:
        """Return a user."""
        row = self._store.one("SELECT * FROM cmb_user WHERE uid = ?", uid)
        return User(uid, row["name"], row["symmetric_key"].encode(), (int(row["x"]), int(row["y"]))) if row else None

    async def open_account(self, name: str) -> str:
        """Open somebody's account, into which can be paid."""
        number = _number()
        await self._store.write(
            lambda tx: tx.execute("INSERT INTO cmb_account (number, name) VALUES (?, ?)", number, name)
        )
        return number

    def account(self, number: str) -> Row | None:
        """Return any account."""
        return self._store.one("SELECT * FROM cmb_account WHERE number = ?", number)

    async def close(self, number: str) -> None:
        """Close an account: nothing can be paid into it."""
        await self._store.write(lambda tx: tx.execute("UPDATE cmb_account SET status = 'C' WHERE number = ?", number))

    # --- money -------------------------------------------------------------------------------------------------------

    async def deposit(self, account: str, minor: int, words: str) -> None:
        """Book money from outside, or to it."""
        await self._store.write(lambda tx: self._book(tx, account, minor, words, other_name="A payer elsewhere"))

    def _book(self, tx: Tx, account: str, minor: int, words: str, **more: str) -> None:
        tx.execute("UPDATE cmb_account SET balance_minor = balance_minor + ? WHERE number = ?", minor, account)
        row = tx.one("SELECT balance_minor FROM cmb_account WHERE number = ?", account)
        assert row is not None
        columns = {"yur_ref": "", "other_account": "", "other_name": "", **more}
        tx.execute(
            f"INSERT INTO cmb_entry (account, day, amount_minor, balance_minor, words, {', '.join(columns)})"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            account, self.today(tx).isoformat(), minor, row["balance_minor"], words, *columns.values(),
        )  # fmt: skip

    async def accept(self, user: User, head: Mapping[str, Any], lines: list[dict[str, Any]]) -> dict[str, str]:
        """Take a batch in, once under its number; return the record of BB1PAYBH."""
        number = str(head.get("bthNbr", ""))

        def command(tx: Tx) -> str:
            if tx.one("SELECT 1 FROM cmb_batch WHERE uid = ? AND number = ?", user.uid, number):
                return "批次编号重复"
            if str(len(lines)) != head.get("dtlNbr") or not 0 < len(lines) <= 1_000:
                return "明细笔数不符"
            if any(not 0 < len(str(line.get("yurRef", ""))) <= 30 for line in lines):
                return "业务参考号错误"
            owner = tx.one("SELECT uid FROM cmb_account WHERE number = ?", lines[0]["dbtAcc"])
            if owner is None or owner["uid"] != user.uid:
                return "付方账号无权限"
            day = self.today(tx).isoformat()
            row = tx.one(
                "INSERT INTO cmb_batch (uid, number, day, status) VALUES (?, ?, ?, 'NTE') RETURNING seq",
                user.uid, number, day,
            )  # fmt: skip
            assert row is not None
            for line in lines:
                tx.execute(
                    "INSERT INTO cmb_line (batch, uid, yur_ref, debtor, creditor, name, check_name, amount_minor,"
                    " words) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    row["seq"], user.uid, line["yurRef"], line["dbtAcc"], line["crtAcc"], line["crtNam"],
                    line.get("rcvChk") == "1", minor_of(line["trsAmt"]), line.get("nusAge", ""),
                )  # fmt: skip
            return ""

        why = await self._store.write(command)
        self._work.set()
        wrong = {"reqSts": "FIN", "rtnFlg": "F", "errCod": "FBE0001", "errTxt": why}
        return {"bthNbr": number, **(wrong if why else {"reqSts": "NTE", "rtnFlg": ""})}

    async def carry_out(self) -> None:
        """Carry out what was taken in, a moment later, for ever: a batch in one transaction, its lines one by one."""
        while True:
            self._work.clear()
            row = self._store.one("SELECT seq FROM cmb_batch WHERE status = 'NTE' ORDER BY seq LIMIT 1")
            if row is None:
                await self._work.wait()
                continue
            await self._ctx.sleep(1.0)
            await self._store.write(partial(self._execute, batch=row["seq"]))

    def _execute(self, tx: Tx, batch: int) -> None:
        for line in tx.all("SELECT * FROM cmb_line WHERE batch = ? ORDER BY seq", batch):
            why, facts = self._refused(tx, line), {"uid": line["uid"], "yur_ref": line["yur_ref"]}
            facts["account"] = line["creditor"]
            if self._ctx.faults.take(RAIL, "suspect_line", **facts):
                tx.execute("UPDATE cmb_line SET status = 'WRF' WHERE seq = ?", line["seq"])
                continue
            if self._ctx.faults.take(RAIL, "refuse_line", **facts):
                why = "收方账户状态异常"
            if not why:
                told = {"yur_ref": line["yur_ref"]}
                self._book(tx, line["debtor"], -line["amount_minor"], line["words"], **told,
                           other_account=line["creditor"], other_name=line["name"])  # fmt: skip
                self._book(tx, line["creditor"], line["amount_minor"], line["words"], **told,
                           other_account=line["debtor"])  # fmt: skip
            tx.execute(
                "UPDATE cmb_line SET status = 'FIN', flag = ?, why = ? WHERE seq = ?",
                "F" if why else "S",
                why,
                line["seq"],
            )
        tx.execute("UPDATE cmb_batch SET status = 'FIN', flag = 'S' WHERE seq = ?", batch)

    def _refused(self, tx: Tx, line: Row) -> str:
        """Return why a line is not carried out; empty: it is."""
        twice = tx.one(
            "SELECT 1 FROM cmb_line WHERE uid = ? AND yur_ref = ? AND flag IN ('S', 'B') AND seq <> ?",
            line["uid"], line["yur_ref"], line["seq"],
        )  # fmt: skip
        creditor = tx.one("SELECT * FROM cmb_account WHERE number = ?", line["creditor"])
        debtor = tx.one("SELECT balance_minor FROM cmb_account WHERE number = ?", line["debtor"])
        if twice is not None:
            return "业务参考号重复"
        if creditor is None:
            return "收方账号不存在"
        if creditor["status"] != "A":
            return "收方账号已销户"
        if line["check_name"] and creditor["name"] != line["name"]:
            return "收方户名不符"
        return "" if debtor is not None and debtor["balance_minor"] >= line["amount_minor"] else "余额不足"

    async def give_back(self, yur_ref: str, code: str) -> None:
        """Send a line's money back 退票."""

        def command(tx: Tx) -> None:
            line = tx.one("SELECT * FROM cmb_line WHERE yur_ref = ? AND flag = 'S'", yur_ref)
            if line is None:
                raise ValueError(f"no line {yur_ref} was carried out")
            tx.execute(
                "UPDATE cmb_line SET flag = 'B', why = '退票', returned_on = ?, returned_code = ? WHERE seq = ?",
                self.today(tx).isoformat(), code, line["seq"],
            )  # fmt: skip
            self._book(tx, line["creditor"], -line["amount_minor"], "退票", yur_ref=yur_ref)
            self._book(tx, line["debtor"], line["amount_minor"], "退票", yur_ref=yur_ref,
                       other_account=line["creditor"])  # fmt: skip

        await self._store.write(command)

    # --- what users ask ----------------------------------------------------------------------------------------------

    async def answer(self, user: User, funcode: str, body: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """Return the result code and body of an answer."""
        match funcode:
            case "BB1PAYBH":
                row = await self.accept(user, body["bb1bmdbhx1"][0], body["bb1paybhx1"])
                return OK, {"bb1paybhz1": [row]}
            case "BB1QRYBT":
                return OK, {"bb1qrybtz1": self._batches(user, body["bb1qrybtx1"][0])}
            case "BB1QRYBD":
                return OK, self._lines(user, body["bb1qrybdy1"][0])
            case "BB1PAYQB":
                return OK, {"bb1payqbz1": self._returns(user, body["bb1payqby1"][0])}
            case "NTQADINF":
                return OK, {"ntqadinfz": [self._standing(user, one["accnbr"]) for one in body["ntqadinfx"]]}
            case "NTQABINF":
                return OK, {"ntqabinfz": self._balances(user, body["ntqabinfy"][0])}
            case "trsQryByBreakPoint":
                return OK, self._bookings(user, body)
        return "FBC0001", {}

    def _batches(self, user: User, asked: Mapping[str, str]) -> list[dict[str, str]]:
        found = self._store.all(
            "SELECT b.*, count(l.seq) AS lines, sum(l.amount_minor) AS total, sum(l.flag = 'S') AS good,"
            " coalesce(sum(l.amount_minor) FILTER (WHERE l.flag = 'S'), 0) AS paid FROM cmb_batch b"
            " JOIN cmb_line l ON l.batch = b.seq WHERE b.uid = ? AND b.day BETWEEN ? AND ?"
            " GROUP BY b.seq ORDER BY b.seq",
            user.uid, iso(asked["begDat"]), iso(asked["endDat"]),
        )  # fmt: skip
        return [
            {"bthNbr": row["number"], "trsDat": plain(row["day"]), "busCod": "N02030", "reqSts": row["status"],
             "rtnFlg": row["flag"], "errTxt": row["words"], "dtlNum": str(row["lines"]), "dtlAmt": major(row["total"]),
             "sucNum": str(row["good"]), "sucAmt": major(row["paid"])}
            for row in found
        ]  # fmt: skip

    def _lines(self, user: User, asked: Mapping[str, str]) -> dict[str, Any]:
        first = int(asked.get("ctnKey") or 0)
        found = self._store.all(
            "SELECT l.*, b.number FROM cmb_line l JOIN cmb_batch b ON b.seq = l.batch"
            " WHERE b.uid = ? AND b.number = ? AND l.seq > ? ORDER BY l.seq LIMIT ?",
            user.uid, asked["bthNbr"], first, PAGE + 1,
        )  # fmt: skip
        more = [{**asked, "ctnKey": str(found[PAGE - 1]["seq"])}] if len(found) > PAGE else []
        return {"bb1qrybdz1": [self._line(row) for row in found[:PAGE]], **({"bb1qrybdy1": more} if more else {})}

    def _line(self, row: Row) -> dict[str, str]:
        facts = {"uid": row["uid"], "yur_ref": row["yur_ref"], "account": row["creditor"]}
        wrong = self._ctx.faults.bind(RAIL, "other_amount", f"line-{row['seq']}", **facts) is not None
        return {
            "bthNbr": row["number"], "dbtAcc": row["debtor"], "crtAcc": row["creditor"], "crtNam": row["name"],
            "ccyNbr": "10", "trsAmt": major(row["amount_minor"] + wrong), "yurRef": row["yur_ref"],
            "reqSts": row["status"], "rtnFlg": row["flag"], "errTxt": f"{row['why']}  ",
        }  # fmt: skip

    def _returns(self, user: User, asked: Mapping[str, str]) -> list[dict[str, str]]:
        found = self._store.all(
            "SELECT * FROM cmb_line WHERE uid = ? AND debtor = ? AND returned_on BETWEEN ? AND ? ORDER BY seq",
            user.uid, asked["accNbr"], iso(asked["bgnDat"]), iso(asked["endDat"]),
        )  # fmt: skip
        return [
            {"yurRef": row["yur_ref"], "trsAmt": major(row["amount_minor"]), "ccyNbr": "10", "rcvEac": row["creditor"],
             "rtnCod": row["returned_code"], "rtnTxt": "退票"}
            for row in found
        ]  # fmt: skip

    def _standing(self, user: User, number: str) -> dict[str, str]:
        row = self.account(number)
        if row is None or row["uid"] != user.uid:
            return {"accnbr": number, "errcod": "NTE0001", "errtxt": "无权限"}
        balance = major(row["balance_minor"])
        return {"accnbr": number, "accnam": row["name"], "ccynbr": "10", "onlblv": balance, "avlblv": balance,
                "stscod": row["status"], "errcod": OK}  # fmt: skip

    def _balances(self, user: User, asked: Mapping[str, str]) -> list[dict[str, str]]:
        """Return the balance at the end of each day that is closed."""
        row, found = self.account(asked["accnbr"]), []
        day, last = date.fromisoformat(iso(asked["bgndat"])), date.fromisoformat(iso(asked["enddat"]))
        while row is not None and row["uid"] == user.uid and day <= min(last, self.today() - timedelta(days=1)):
            stood = self._store.one(
                "SELECT balance_minor FROM cmb_entry WHERE account = ? AND day <= ? ORDER BY seq DESC LIMIT 1",
                row["number"], day.isoformat(),
            )  # fmt: skip
            minor = stood["balance_minor"] if stood else 0
            found.append({"accnbr": row["number"], "trsdat": f"{day:%Y%m%d}", "balamt": major(minor)})
            day += timedelta(days=1)
        return found

    def _bookings(self, user: User, body: Mapping[str, Any]) -> dict[str, Any]:
        asked = body["TRANSQUERYBYBREAKPOINT_X1"][0]
        row, number = self.account(asked["cardNbr"]), asked["cardNbr"]
        key: Mapping[str, str] = next(iter(body.get("TRANSQUERYBYBREAKPOINT_Y1") or []), {})
        following = int(key.get("expectNextSequence") or 1)
        found = self._store.all(
            "SELECT * FROM cmb_entry WHERE account = ? AND seq >= ? AND day BETWEEN ? AND ? ORDER BY seq LIMIT ?",
            number if row is not None and row["uid"] == user.uid else "", following,
            iso(asked["beginDate"]), iso(asked["endDate"]), PAGE + 1,
        )  # fmt: skip
        more, shown = len(found) > PAGE, found[:PAGE]
        last = shown[-1] if shown else None
        account = f"{number[:10]}80003"  # 行内续传用账号: of no meaning to anybody else
        told = {"acctNbr": account, "transDate": plain(last["day"]) if last else key.get("transDate", ""),
                "expectNextSequence": str(last["seq"] + 1 if last else following)}  # fmt: skip
        rows = [
            one for one in map(_booking, shown)
            if self._ctx.faults.take(RAIL, "statement_entry_missing", account=number, day=one["transDate"]) is None
        ]  # fmt: skip
        return {
            "TRANSQUERYBYBREAKPOINT_Y1": [told],
            "TRANSQUERYBYBREAKPOINT_Z1": [{"ctnFlag": "Y" if more else "N", "queryAcctNbr": account if more else ""}],
            "TRANSQUERYBYBREAKPOINT_Z2": rows,
        }


def _number() -> str:
    return f"7559{secrets.randbelow(10**11):011d}"


def _booking(row: Row) -> dict[str, str]:
    return {
        "transDate": plain(row["day"]), "transSequenceIdn": f"C{row['seq']:014d}", "transTime": "120000",
        "loanCode": "C" if row["amount_minor"] >= 0 else "D", "transAmount": major(row["amount_minor"]),
        "currencyNbr": "10", "remarkTextClt": row["words"], "reversalFlag": "N",
        "acctOnlineBal": major(row["balance_minor"]), "ctpAcctNbr": row["other_account"],
        "ctpAcctName": row["other_name"], "yurRef": row["yur_ref"],
    }  # fmt: skip


def major(minor: int) -> str:
    """Write fen as yuan."""
    sign, size = "-" if minor < 0 else "", abs(minor)
    return f"{sign}{size // 100}.{size % 100:02d}"


def minor_of(text: str) -> int:
    """Read yuan with two decimals as fen."""
    whole, _, part = text.partition(".")
    return int(whole) * 100 + int((part + "00")[:2])


def iso(day: str) -> str:
    """Write 20261124 as 2026-11-24."""
    return f"{day[:4]}-{day[4:6]}-{day[6:]}"


def plain(day: str) -> str:
    """Write 2026-11-24 as 20261124."""
    return day.replace("-", "")


def _written(point: tuple[int, int]) -> str:
    """Return a public key as it is given out: 04, then both numbers, in base64."""
    return base64.b64encode(b"\x04" + b"".join(n.to_bytes(32, "big") for n in point)).decode()


def _private_key(folder: Path) -> int:
    """Return the bank's own key, made when it is first asked for."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    kept = folder / "bank_private_key"
    if not kept.exists():
        private, _ = sm.new_key()
        keys.write_file(kept, f"{private:064x}".encode(), secret=True)
    return int(kept.read_text(), 16)
