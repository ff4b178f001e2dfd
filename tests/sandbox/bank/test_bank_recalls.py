"""Recalls 追回 at the simulated bank: what it answers by its rules, and what becomes of the money."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from pyiso20022.camt import camt_029_001_09 as camt029

from sandbox.store import Store
from tests.sandbox.bank.bank_client import Pay, Play, order, read

pytestmark = pytest.mark.asyncio(loop_scope="session")
NS = "urn:iso:std:iso:20022:tech:xsd:camt.055.001.08"


def recall(ident: str, of: str, line: str, amount: str = "5.00", lines: int = 1) -> bytes:
    """Write a camt.055 by hand, from the definition."""
    party = "<Pty><Nm>Demo shop</Nm></Pty>"
    one = (
        f"<TxInf><CxlId>{ident}</CxlId><OrgnlEndToEndId>{line}</OrgnlEndToEndId>"
        f'<OrgnlInstdAmt Ccy="CNY">{amount}</OrgnlInstdAmt><CxlRsnInf><Rsn><Cd>DUPL</Cd></Rsn></CxlRsnInf></TxInf>'
    )
    return (
        f'<Document xmlns="{NS}"><CstmrPmtCxlReq><Assgnmt><Id>{ident}</Id><Assgnr>{party}</Assgnr><Assgne>{party}'
        f"</Assgne><CreDtTm>2026-11-24T09:00:00Z</CreDtTm></Assgnmt><Case><Id>{ident}</Id><Cretr>{party}</Cretr></Case>"
        f"<Undrlyg><OrgnlPmtInfAndCxl><OrgnlPmtInfId>{of}-1</OrgnlPmtInfId><OrgnlGrpInf><OrgnlMsgId>{of}</OrgnlMsgId>"
        f"<OrgnlMsgNmId>pain.001.001.09</OrgnlMsgNmId></OrgnlGrpInf>{one * lines}</OrgnlPmtInfAndCxl></Undrlyg>"
        "</CstmrPmtCxlReq></Document>"
    ).encode()


async def answers(play: Play, ident: str, number: int = 1) -> list[tuple[str, str, str | None]]:
    """Return what the bank has answered to a recall, once it has so many times: case, status, reason."""
    while True:
        listed = await play.customer.files("camt.029", message_id=ident)
        if len(listed) >= number:
            break
        await asyncio.sleep(0.02)
    found = []
    for one in listed:
        told = read(await play.customer.download(one), camt029.Document).rsltn_of_invstgtn
        (details,) = told.cxl_dtls
        (information,) = details.orgnl_pmt_inf_and_sts
        (payment,) = information.tx_inf_and_sts
        reason = payment.cxl_sts_rsn_inf[0].rsn.cd if payment.cxl_sts_rsn_inf else None
        assert told.rslvd_case.id == ident
        found.append((told.sts.conf, payment.tx_cxl_sts.value, reason))
    return found


async def asked(play: Play, raw: bytes) -> dict[str, Any]:
    answer = await play.customer.upload(raw)
    assert answer.status == 202, answer.json
    play.customer.verify_bank(answer)
    told: dict[str, Any] = answer.json
    return told


async def test_each_recall_is_answered_by_the_rule_that_applies_first_and_moves_no_more_than_it_says(
    play: Play,
) -> None:
    who = play.customer.paper["customer_id"]

    def name(line: str) -> str:
        return f"{who[-8:]}-{line}"

    lines = [Pay(name(one), "5.00", play.payee) for one in ("paid", "agreed", "waits", "poor")]
    lines.append(Pay(name("refused"), "5.00", "6200000000000000000"))
    await play.sandbox.fault("line_waits", {"end_to_end_id": name("waits")})
    report = await play.customer.pay(order("M-1", play.pool, lines))
    assert report.status == "PART"
    assert (name("waits"), "ACSP", None) in report.lines
    assert await play.customer.balance(play.payee) == 15_00
    for line in ("agreed", "poor"):
        await play.sandbox.fault("recall_agreed", {"customer_id": who, "end_to_end_id": name(line)})

    expected = {
        "nothing": ("RJCR", "NOOR"),
        "refused": ("RJCR", "NOOR"),
        "paid": ("RJCR", "CUST"),
        "waits": ("ACCR", None),
        "agreed": ("ACCR", None),
    }
    for line, (status, reason) in expected.items():
        await asked(play, recall(f"R-{line}", "M-1", name(line)))
        assert [one[1:] for one in await answers(play, f"R-{line}")] == [(status, reason)], line
    assert await play.customer.balance(play.payee) == 10_00
    assert await play.customer.balance(play.pool) == 90_00

    # what was answered is answered so again, and nothing more moves
    await asked(play, recall("R-agreed", "M-1", name("agreed")))
    for again, status in (("waits", ("ACCR", None)), ("agreed", ("RJCR", "ARDT"))):
        await asked(play, recall(f"S-{again}", "M-1", name(again)))
        assert [one[1:] for one in await answers(play, f"S-{again}")] == [status]
    await asked(play, recall("R-other", "M-1", name("paid"), amount="5.01"))
    assert (await answers(play, "R-other"))[0][1:] == ("RJCR", "NOOR")
    assert len(await answers(play, "R-agreed")) == 1, "the same bytes are one recall"

    day = await play.sandbox.today()
    await play.sandbox.close_day(day)
    stated = await play.customer.statements(day)
    shown = [(one.end_to_end_id, one.minor, one.return_reason) for one in stated[play.pool].bookings]
    assert [one for one in shown if one[0] == name("waits")] == []
    assert [one[1:] for one in shown if one[0] == name("agreed")] == [(-5_00, None), (5_00, "FOCR")]
    assert all(one.adds_up for one in stated.values())

    # the payee has spent it since
    out = Pay("OUT", "10.00", "9558", bic="ICBKCNBJXXX", name="户 payee")
    assert (await play.customer.pay(order("M-2", play.payee, [out]))).status == "ACSC"
    await asked(play, recall("R-poor", "M-1", name("poor")))
    assert (await answers(play, "R-poor"))[0][1:] == ("RJCR", "AM04")


async def test_a_recall_left_open_is_decided_once_later_and_a_line_that_waits_is_carried_out(play: Play) -> None:
    who = play.customer.paper["customer_id"]
    lines = [Pay(f"{who[-8:]}-{n}", "5.00", play.payee) for n in range(3)]
    await play.sandbox.fault("line_waits", {"end_to_end_id": lines[2].end_to_end_id})
    assert (await play.customer.pay(order("M-1", play.pool, lines))).status == "PART"
    for line, ident in zip(lines, ("A", "B"), strict=False):
        await play.sandbox.fault("recall_undecided", {"customer_id": who, "end_to_end_id": line.end_to_end_id})
        ident = f"{who[-8:]}-{ident}"
        await asked(play, recall(ident, "M-1", line.end_to_end_id))
        assert await answers(play, ident) == [("PDCR", "PDCR", "PTNA")]
    assert await play.customer.balance(play.payee) == 10_00
    for ident, agrees, told in (("A", True, ("CNCL", "ACCR", None)), ("B", False, ("RJCR", "RJCR", "LEGL"))):
        ident = f"{who[-8:]}-{ident}"
        body = {"recall_id": ident, "agrees": agrees, "code": "LEGL"}
        await play.sandbox.control("POST", "/bank/recalls", body)
        assert (await answers(play, ident, 2))[1] == told
        async with play.sandbox.http.post(f"{play.sandbox.url}/control/bank/recalls", json=body) as again:
            assert again.status == 404
    await play.sandbox.control("POST", "/bank/waiting", {"end_to_end_id": lines[2].end_to_end_id})
    assert await play.customer.balance(play.payee) == 10_00, "one came back, one was paid"


async def test_a_file_of_several_lines_is_refused_and_other_bytes_under_an_id_are_another(play: Play) -> None:
    refused = await play.customer.upload(recall("R-1", "M-1", "E-1", lines=2))
    assert (refused.status, refused.json["code"]) == (400, "one_line_only")
    await asked(play, recall("R-1", "M-1", "E-1"))
    await asked(play, recall("R-1", "M-1", "E-2"))
    assert {one[1:] for one in await answers(play, "R-1", 2)} == {("RJCR", "NOOR"), ("RJCR", "NARR")}


async def test_a_home_of_before_takes_answers_to_recalls_in(tmp_path: Path) -> None:
    from sandbox.bank import store as bank

    kept = Store(tmp_path / "sandbox.db")
    kept.create(
        "CREATE TABLE bank_entry (seq INTEGER); CREATE TABLE bank_paid_line (paid_out INTEGER);"
        "CREATE TABLE bank_file (seq INTEGER PRIMARY KEY, type TEXT NOT NULL CHECK (type IN ('pain.002', 'camt.053', "
        "'camt.054')), customer_id TEXT, file_id TEXT UNIQUE, business_date TEXT);"
        "CREATE INDEX bank_file_of_day ON bank_file (type, business_date);"
        "CREATE TABLE bank_spoiled_file (file_id TEXT PRIMARY KEY REFERENCES bank_file (file_id));"
        "INSERT INTO bank_file VALUES (1, 'pain.002', 'c', 'f1', 'd'); INSERT INTO bank_spoiled_file VALUES ('f1');"
    )
    for _ in range(2):
        with kept.transaction() as tx:
            bank.add_missing_columns(tx)
    with kept.transaction() as tx:
        tx.execute("INSERT INTO bank_file VALUES (2, 'camt.029', 'c', 'f2', 'd')")
        assert [row["type"] for row in tx.all("SELECT type FROM bank_file ORDER BY seq")] == ["pain.002", "camt.029"]
        tx.execute("INSERT INTO bank_spoiled_file VALUES ('f2')")
        assert tx.all("PRAGMA foreign_key_check") == []
    kept.close()
