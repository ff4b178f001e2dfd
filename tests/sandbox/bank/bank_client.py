"""A client of the bank's file gateway, written from its README with public libraries only, and a sandbox to talk to."""

import asyncio
import base64
import hashlib
import os
import re
import signal
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from pyiso20022.camt import camt_053_001_08 as camt053
from pyiso20022.camt import camt_054_001_08 as camt054
from pyiso20022.pain import pain_001_001_09 as pain001
from pyiso20022.pain import pain_002_001_10 as pain002
from pyiso20022.pain import pain_002_001_12 as pain002_12
from xsdata.formats.dataclass.parsers import XmlParser
from xsdata.formats.dataclass.parsers.config import ParserConfig
from xsdata.formats.dataclass.serializers import XmlSerializer
from xsdata.models.datatype import XmlDate, XmlDateTime

from sandbox.bank.schema import check, parse_xml
from tests.iso_schemas import NAMESPACE, departures, is_shipped

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[3]
BIC = "SBXBCNBJXXX"


# --- messages ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pay:
    """One line of an order; `amount` as it is to be written."""

    end_to_end_id: str
    amount: str
    creditor: str
    currency: str = "CNY"
    bic: str | None = BIC
    note: str = "share of the day"
    name: str = "张三小吃店"


def order(message_id: str, debtor: str, lines: Sequence[Pay], *, debtor_bic: str = BIC) -> bytes:
    """Write a pain.001.001.09 with one payment block."""
    total = sum((Decimal(line.amount) for line in lines), Decimal(0))
    document = pain001.Document(
        cstmr_cdt_trf_initn=pain001.CustomerCreditTransferInitiationV09(
            grp_hdr=pain001.GroupHeader85(
                msg_id=message_id,
                cre_dt_tm=XmlDateTime.from_string("2010-12-01T09:00:00Z"),
                nb_of_txs=str(len(lines)),
                ctrl_sum=total,
                initg_pty=pain001.PartyIdentification135(nm="收单商户"),
            ),
            pmt_inf=[
                pain001.PaymentInstruction30(
                    pmt_inf_id=f"{message_id}-1",
                    pmt_mtd=pain001.PaymentMethod3Code.TRF,
                    reqd_exctn_dt=pain001.DateAndDateTime2Choice(dt=XmlDate.from_string("2010-12-01")),
                    dbtr=pain001.PartyIdentification135(nm="收单商户"),
                    dbtr_acct=pain001.CashAccount38(id=_account001(debtor)),
                    dbtr_agt=_agent001(debtor_bic),
                    cdt_trf_tx_inf=[_line001(line) for line in lines],
                )
            ],
        )
    )
    text = XmlSerializer().render(document, ns_map={None: pain001.Document.Meta.namespace})
    return text.encode()


def _line001(line: Pay) -> pain001.CreditTransferTransaction34:
    return pain001.CreditTransferTransaction34(
        pmt_id=pain001.PaymentIdentification6(end_to_end_id=line.end_to_end_id),
        amt=pain001.AmountType4Choice(
            instd_amt=pain001.ActiveOrHistoricCurrencyAndAmount(value=Decimal(line.amount), ccy=line.currency)
        ),
        cdtr_agt=_agent001(line.bic) if line.bic else None,
        cdtr=pain001.PartyIdentification135(nm=line.name),
        cdtr_acct=pain001.CashAccount38(id=_account001(line.creditor)),
        rmt_inf=pain001.RemittanceInformation16(ustrd=[line.note]),
    )


def _account001(number: str) -> pain001.AccountIdentification4Choice:
    return pain001.AccountIdentification4Choice(othr=pain001.GenericAccountIdentification1(id=number))


def _agent001(bic: str) -> pain001.BranchAndFinancialInstitutionIdentification6:
    return pain001.BranchAndFinancialInstitutionIdentification6(
        fin_instn_id=pain001.FinancialInstitutionIdentification18(bicfi=bic)
    )


def read(raw: bytes, document: type[T]) -> T:
    """Read one of the bank's messages by its schema, and as strictly as two independent readers can."""
    check(parse_xml(raw), document)
    if is_shipped(document.Meta.namespace.removeprefix(NAMESPACE)):  # type: ignore[attr-defined]
        assert departures(raw) == []
    config = ParserConfig(
        fail_on_unknown_properties=True, fail_on_unknown_attributes=True, fail_on_converter_warnings=True
    )
    return XmlParser(config=config).from_bytes(raw, document)


@dataclass(frozen=True)
class Report:
    """What a pain.002 says: status of the file, and of each line with its reason."""

    message_id: str
    status: str | None
    reason: str | None
    lines: list[tuple[str | None, str | None, str | None]]


def read_report(raw: bytes) -> Report:
    newer = b"pain.002.001.12" in raw
    report = read(raw, pain002_12.Document if newer else pain002.Document).cstmr_pmt_sts_rpt
    group = report.orgnl_grp_inf_and_sts
    return Report(
        message_id=group.orgnl_msg_id,
        status=group.grp_sts,
        reason=_reason(group.sts_rsn_inf),
        lines=[
            (line.orgnl_end_to_end_id, line.tx_sts, _reason(line.sts_rsn_inf))
            for block in report.orgnl_pmt_inf_and_sts
            for line in block.tx_inf_and_sts
        ],
    )


def _reason(infos: Sequence[pain002.StatusReasonInformation12]) -> str | None:
    return infos[0].rsn.cd if infos and infos[0].rsn else None


@dataclass(frozen=True)
class Booking:
    """One entry of a camt message; minor is signed, out is negative."""

    end_to_end_id: str
    minor: int
    date: str
    bank_ref: str
    other_account: str | None
    remittance: str | None
    return_reason: str | None


@dataclass(frozen=True)
class Day:
    """One Stmt of a camt.053."""

    account: str
    sequence: int
    opening: int
    closing: int
    bookings: list[Booking]

    @property
    def adds_up(self) -> bool:
        return self.opening + sum(booking.minor for booking in self.bookings) == self.closing


def read_statements(raw: bytes) -> dict[str, Day]:
    days = {}
    for stmt in read(raw, camt053.Document).bk_to_cstmr_stmt.stmt:
        balances = {balance.tp.cd_or_prtry.cd: _signed(balance.amt, balance.cdt_dbt_ind) for balance in stmt.bal}
        number = stmt.acct.id.othr.id
        bookings = [_booking(entry) for entry in stmt.ntry]
        days[number] = Day(number, int(stmt.elctrnc_seq_nb), balances["OPBD"], balances["CLBD"], bookings)
    return days


def read_notice(raw: bytes) -> tuple[str, Booking]:
    """Return the account and the credit a camt.054 announces."""
    (notice,) = read(raw, camt054.Document).bk_to_cstmr_dbt_cdt_ntfctn.ntfctn
    (entry,) = notice.ntry
    return notice.acct.id.othr.id, _booking(entry)


def _booking(entry: Any) -> Booking:
    (details,) = entry.ntry_dtls
    (tx,) = details.tx_dtls
    parties = tx.rltd_pties
    other = (parties.dbtr_acct or parties.cdtr_acct) if parties else None
    return Booking(
        end_to_end_id=tx.refs.end_to_end_id,
        minor=_signed(entry.amt, entry.cdt_dbt_ind),
        date=str(entry.bookg_dt.dt),
        bank_ref=entry.acct_svcr_ref,
        other_account=other.id.othr.id if other else None,
        remittance="".join(tx.rmt_inf.ustrd) if tx.rmt_inf else None,
        return_reason=tx.rtr_inf.rsn.cd if tx.rtr_inf else None,
    )


def _signed(amount: Any, indicator: Any) -> int:
    minor = amount.value * 100  # the tests that read balances pay in yuan
    assert minor == int(minor)
    return int(minor) * (1 if indicator.value == "CRDT" else -1)


# --- the wire ------------------------------------------------------------------------------------------------------


@dataclass
class Answer:
    """An HTTP answer, read."""

    status: int
    raw: bytes
    json: Any
    signature: str | None


@dataclass
class Customer:
    """A customer of the bank, with what it was given on paper."""

    http: aiohttp.ClientSession
    paper: dict[str, Any]
    key: rsa.RSAPrivateKey = field(init=False)
    token: str = field(init=False)

    def __post_init__(self) -> None:
        key = serialization.load_pem_private_key(Path(self.paper["private_key_file"]).read_bytes(), password=None)
        assert isinstance(key, rsa.RSAPrivateKey)
        self.key = key
        self.token = Path(self.paper["token_file"]).read_text(encoding="utf-8")

    async def call(self, method: str, path: str, **kwargs: Any) -> Answer:
        headers = {"Authorization": f"Bearer {self.token}", **kwargs.pop("headers", {})}
        async with self.http.request(method, self.paper["base_url"] + path, headers=headers, **kwargs) as answer:
            raw = await answer.read()
            json = await answer.json() if answer.content_type == "application/json" else None
            return Answer(answer.status, raw, json, answer.headers.get("Bank-Signature"))

    async def open_account(self, reference: str, kind: str, currency: str = "CNY") -> str:
        body = {"reference": reference, "name": f"户 {reference}", "currency": currency, "kind": kind}
        answer = await self.call("POST", "/accounts", json=body)
        assert answer.status in (200, 201), answer.json
        return str(answer.json["account"])

    async def balance(self, account: str) -> int:
        return int((await self.call("GET", f"/accounts/{account}")).json["balance_minor"])

    def sign(self, raw: bytes, *, key: rsa.RSAPrivateKey | None = None, key_id: str | None = None) -> str:
        created = str(int(time.time()))
        signature = (key or self.key).sign(created.encode() + b"\n" + raw, padding.PKCS1v15(), hashes.SHA256())
        encoded = base64.b64encode(signature).decode()
        return f'keyid="{key_id or self.paper["key_id"]}",alg="rsa-v1_5-sha256",created="{created}",sig="{encoded}"'

    async def upload(self, raw: bytes, **headers: str) -> Answer:
        sent = {"Content-Type": "application/xml", "Bank-Signature": self.sign(raw), **headers}
        return await self.call("POST", "/files", data=raw, headers=sent)

    async def files(self, kind: str | None = None, **query: str) -> list[dict[str, Any]]:
        """Follow the listing to its end."""
        found: list[dict[str, Any]] = []
        after = "0"
        while True:
            params = {"after": after, **({"type": kind} if kind else {}), **query}
            page = (await self.call("GET", "/files", params=params)).json
            found += page["files"]
            if not page["files"]:
                assert page["next"] == after
                return found
            after = page["next"]

    async def download(self, listed: dict[str, Any]) -> bytes:
        answer = await self.call("GET", f"/files/{listed['file_id']}")
        assert answer.status == 200
        assert hashlib.sha256(answer.raw).hexdigest() == listed["sha256"]
        self.verify_bank(answer)
        return answer.raw

    def verify_bank(self, answer: Answer) -> None:
        """Raise unless the bank signed these very bytes."""
        found = re.fullmatch(
            r'keyid="([^"]+)",alg="rsa-v1_5-sha256",created="(\d+)",sig="([^"]+)"', answer.signature or ""
        )
        assert found, answer.signature
        assert found[1] == self.paper["bank_key_id"]
        key = serialization.load_pem_public_key(Path(self.paper["bank_public_key_file"]).read_bytes())
        assert isinstance(key, rsa.RSAPublicKey)
        signed = found[2].encode() + b"\n" + answer.raw
        key.verify(base64.b64decode(found[3]), signed, padding.PKCS1v15(), hashes.SHA256())

    async def report(self, upload: dict[str, Any]) -> Report:
        """Poll until the bank has reported on an upload."""
        while True:
            for listed in await self.files("pain.002", message_id=upload["message_id"]):
                if listed["original_file_id"] == upload["file_id"]:
                    return read_report(await self.download(listed))
            await asyncio.sleep(0.02)

    async def pay(self, raw: bytes) -> Report:
        answer = await self.upload(raw)
        assert answer.status == 202, answer.json
        return await self.report(answer.json)

    async def statements(self, day: date) -> dict[str, Day]:
        """Return every account's Stmt of a day."""
        found: dict[str, Day] = {}
        for listed in await self.files("camt.053"):
            if listed["business_date"] == day.isoformat():
                found |= read_statements(await self.download(listed))
        return found


class Sandbox:
    """A sandbox process, started, killed and started again on one home."""

    def __init__(self, home: Path, http: aiohttp.ClientSession, time_scale: float) -> None:
        self.home = home
        self.http = http
        self.time_scale = time_scale
        self.url = ""
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        command = ["-m", "sandbox", "--home", str(self.home), "--port", "0"]
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, *command, "--time-scale", str(self.time_scale)),
            stdout=asyncio.subprocess.PIPE,
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        assert self._process.stdout
        while line := (await self._process.stdout.readline()).decode():
            if line.startswith("sandbox ready "):
                self.url = line.split()[2]
                return
        raise RuntimeError("the sandbox ended before it was ready; its error output stands above")

    async def kill(self) -> None:
        """End it the hard way."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> None:
        await self._end(signal.SIGTERM)

    async def _end(self, how: signal.Signals) -> None:
        if self._process and self._process.returncode is None:
            self._process.send_signal(how)
            await self._process.wait()

    async def control(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        async with self.http.request(method, f"{self.url}/control{path}", json=body) as answer:
            assert answer.status < 300, await answer.text()
            return await answer.json() if answer.content_type == "application/json" else None

    async def customer(self, name: str = "收单商户") -> Customer:
        return Customer(self.http, await self.control("POST", "/bank/customers", {"name": name}))

    def moved(self, customer: Customer) -> Customer:
        """Return the customer with the address the sandbox has now."""
        return Customer(self.http, {**customer.paper, "base_url": f"{self.url}/bank"})

    async def fault(self, name: str, match: dict[str, Any], times: int = 1, **params: Any) -> str:
        body = {"fault": name, "rail": "bank", "match": match, "times": times, "params": params}
        return str((await self.control("POST", "/faults", body))["fault_id"])

    async def deposit(self, account: str, minor: int, end_to_end_id: str = "TOP-UP") -> None:
        await self.control(
            "POST",
            "/bank/deposits",
            {"account": account, "amount_minor": minor, "end_to_end_id": end_to_end_id},
        )

    async def truth(self, account: str) -> dict[str, Any]:
        found = await self.control("GET", f"/bank/accounts/{account}/entries")
        assert isinstance(found, dict)
        return found

    async def today(self) -> date:
        return date.fromisoformat((await self.control("GET", "/bank"))["date"])

    async def close_day(self, day: date) -> dict[str, Any]:
        closed = await self.control("POST", "/bank/close-day", {"date": day.isoformat()})
        assert isinstance(closed, dict)
        return closed


@asynccontextmanager
async def running_sandbox(home: Path, time_scale: float = 0.01) -> AsyncIterator[Sandbox]:
    """Run a sandbox for as long as the block lasts."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as http:
        sandbox = Sandbox(home, http, time_scale)
        await sandbox.start()
        try:
            yield sandbox
        finally:
            await sandbox.stop()


@dataclass(frozen=True)
class Play:
    """A customer with a funded pool account and two sub-accounts, in a running sandbox."""

    sandbox: Sandbox
    customer: Customer
    pool: str
    payee: str
    other_payee: str


async def new_play(sandbox: Sandbox) -> Play:
    """Enrol a customer with a pool account holding 100 yuan."""
    customer = await sandbox.customer()
    pool = await customer.open_account("pool", "pool")
    payee, other = [await customer.open_account(name, "sub") for name in ("payee", "other payee")]
    await sandbox.deposit(pool, 100_00)
    return Play(sandbox, customer, pool, payee, other)
