"""The file gateway, spoken to over HTTP in a process of its own."""

import asyncio
import hashlib
import stat
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.sandbox.bank.bank_client import (
    Customer,
    Pay,
    Play,
    Sandbox,
    order,
    read_notice,
    read_report,
    read_statements,
)

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_customer_gets_a_token_a_key_and_the_banks_public_key_in_files_only_it_can_read(
    sandbox: Sandbox,
) -> None:
    paper = (await sandbox.customer("某商户")).paper
    assert {"bic", "bank_name", "bank_key_id", "key_id", "base_url", "customer_id"} <= set(paper)
    folder = sandbox.home / "sandbox" / "bank"
    for file in (Path(paper["token_file"]), Path(paper["private_key_file"]), folder / "bank_private_key.pem"):
        assert file.is_relative_to(folder)
        assert modes(file) == (0o600, 0o700)
    assert (folder / "bank_public_key.pem").samefile(paper["bank_public_key_file"])


def modes(file: Path) -> tuple[int, int]:
    """Return the permissions of a file and of its folder."""
    return stat.S_IMODE(file.stat().st_mode), stat.S_IMODE(file.parent.stat().st_mode)


async def test_an_order_is_executed_reported_and_stated(play: Play) -> None:
    lines = [Pay("E-1", "60.00", play.payee, note="一号"), Pay("E-2", "40.00", play.other_payee)]
    raw = order("M-1", play.pool, lines)
    accepted = await play.customer.upload(raw)
    assert accepted.status == 202
    play.customer.verify_bank(accepted)
    assert accepted.json["message_id"] == "M-1"
    assert accepted.json["sha256"] == hashlib.sha256(raw).hexdigest()
    report = await play.customer.report(accepted.json)
    assert (report.status, report.lines) == ("ACSC", [("E-1", "ACSC", None), ("E-2", "ACSC", None)])
    assert await play.customer.balance(play.pool) == 0
    assert await play.customer.balance(play.payee) == 60_00

    day = await play.sandbox.today()
    await play.sandbox.close_day(day)
    days = await play.customer.statements(day)
    assert set(days) == {play.pool, play.payee, play.other_payee}
    assert all(stated.adds_up for stated in days.values())
    pool = days[play.pool]
    assert (pool.opening, pool.closing) == (0, 0)
    assert [(b.end_to_end_id, b.minor, b.other_account) for b in pool.bookings] == [
        ("TOP-UP", 100_00, None),
        ("E-1", -60_00, play.payee),
        ("E-2", -40_00, play.other_payee),
    ]
    (credit,) = days[play.payee].bookings
    assert (credit.end_to_end_id, credit.minor, credit.remittance) == ("E-1", 60_00, "一号")
    assert credit.date == day.isoformat()
    references = [b.bank_ref for stated in days.values() for b in stated.bookings]
    assert len(set(references)) == len(references)


async def test_each_line_is_judged_alone(play: Play) -> None:
    euro = await play.customer.open_account("euro", "sub", "EUR")
    closed = await play.customer.open_account("closed", "sub")
    await play.sandbox.control("POST", f"/bank/accounts/{closed}/close")
    lines = [
        Pay("E-1", "90.00", play.payee),
        Pay("E-2", "10.01", play.payee),
        Pay("E-3", "10.00", play.payee),
        Pay("E-1", "0.01", play.payee),
        Pay("E-4", "0.00", play.payee),
        Pay("E-5", "1.00", "6200000000000099999"),
        Pay("E-6", "1.00", closed),
        Pay("E-7", "1.00", euro),
        Pay("E-8", "1.00", play.payee, currency="EUR"),
        Pay("E-9", "1.00", play.payee, bic="DEUTDEFFXXX"),
        Pay("E-10", "1.00", play.pool),
    ]
    report = await play.customer.pay(order("M-1", play.pool, lines))
    assert report.status == "PART"
    assert report.lines == [
        ("E-1", "ACSC", None),
        ("E-2", "RJCT", "AM04"),
        ("E-3", "ACSC", None),
        ("E-1", "RJCT", "AM05"),
        ("E-4", "RJCT", "AM01"),
        ("E-5", "RJCT", "AC01"),
        ("E-6", "RJCT", "AC04"),
        ("E-7", "RJCT", "AM03"),
        ("E-8", "RJCT", "AM03"),
        ("E-9", "RJCT", "RC01"),
        ("E-10", "RJCT", "AG01"),
    ]
    assert await play.customer.balance(play.pool) == 0
    assert await play.customer.balance(play.payee) == 100_00


async def test_a_sub_account_pays_to_another_bank_and_what_comes_back_is_told_of(play: Play) -> None:
    await play.customer.pay(order("M-1", play.pool, [Pay("E-1", "60.00", play.payee)]))
    away = Pay("W-1", "25.00", "6222000011112222", bic="ICBKCNBJXXX", name="户 payee")
    raw = order("M-2", play.payee, [away])
    assert (await play.customer.pay(raw)).lines == [("W-1", "ACSC", None)]
    assert (await play.customer.upload(raw)).status == 202, "the same again is done once"
    assert await play.customer.balance(play.payee) == 35_00
    assert (await play.customer.pay(order("M-3", play.payee, [away]))).lines == [("W-1", "RJCT", "AM05")]
    before = len(await play.customer.files("camt.054"))
    back = {"account": "6222000011112222", "end_to_end_id": "W-1", "code": "AC04"}
    day = await play.sandbox.today()
    await play.sandbox.close_day(day)  # days later
    await play.sandbox.control("POST", "/bank/returns", back)
    async with play.sandbox.http.post(f"{play.sandbox.url}/control/bank/returns", json=back) as answer:
        assert answer.status == 409, "it comes back once"
    assert await play.customer.balance(play.payee) == 60_00
    (listed,) = (await play.customer.files("camt.054"))[before:]
    account, booking = read_notice(await play.customer.download(listed))
    assert (account, booking.end_to_end_id, booking.minor) == (play.payee, "W-1", 25_00)
    stated = (await play.customer.statements(day))[play.payee]
    assert (stated.adds_up, [one.minor for one in stated.bookings]) == (True, [60_00, -25_00])


async def test_a_refused_line_may_be_sent_again_but_an_executed_one_not(play: Play) -> None:
    assert (await play.customer.pay(order("M-1", play.pool, [Pay("E-1", "100.01", play.payee)]))).status == "RJCT"
    await play.sandbox.deposit(play.pool, 1, "ONE-MORE-FEN")
    again = [Pay("E-1", "100.01", play.payee)]
    assert (await play.customer.pay(order("M-2", play.pool, again))).lines == [("E-1", "ACSC", None)]
    await play.sandbox.deposit(play.pool, 100_01, "AND-AGAIN")
    assert (await play.customer.pay(order("M-3", play.pool, again))).lines == [("E-1", "RJCT", "AM05")]
    assert await play.customer.balance(play.payee) == 100_01


async def test_the_same_file_again_gets_the_same_receipt_and_pays_nothing(play: Play) -> None:
    raw = order("M-1", play.pool, [Pay("E-1", "10.00", play.payee)])
    answers = await asyncio.gather(*(play.customer.upload(raw) for _ in range(5)))
    await play.customer.report(answers[0].json)
    answers.append(await play.customer.upload(raw))
    assert {answer.status for answer in answers} == {202}
    assert len({answer.raw for answer in answers}) == 1
    assert len(await play.customer.files("pain.002")) == 1
    assert await play.customer.balance(play.payee) == 10_00


async def test_other_bytes_under_a_used_message_id_are_rejected_as_a_whole(play: Play) -> None:
    first = await play.customer.upload(order("M-1", play.pool, [Pay("E-1", "10.00", play.payee)]))
    other = await play.customer.upload(order("M-1", play.pool, [Pay("E-2", "20.00", play.payee)]))
    assert (first.status, other.status) == (202, 202)
    assert first.json["file_id"] != other.json["file_id"]
    assert (await play.customer.report(first.json)).status == "ACSC"
    rejected = await play.customer.report(other.json)
    assert (rejected.status, rejected.reason, rejected.lines) == ("RJCT", "AM05", [])
    assert await play.customer.balance(play.payee) == 10_00


async def test_message_ids_and_end_to_end_ids_of_two_customers_do_not_collide(play: Play, sandbox: Sandbox) -> None:
    neighbour = await sandbox.customer("邻居")
    pool = await neighbour.open_account("pool", "pool")
    await sandbox.deposit(pool, 5_00)
    assert (await play.customer.pay(order("M-1", play.pool, [Pay("E-1", "1.00", play.payee)]))).status == "ACSC"
    assert (await neighbour.pay(order("M-1", pool, [Pay("E-1", "5.00", play.payee)]))).status == "ACSC"
    assert await play.customer.balance(play.payee) == 6_00


async def test_a_customer_sees_and_spends_only_its_own(play: Play, sandbox: Sandbox) -> None:
    stranger = await sandbox.customer("陌生人")
    assert (await stranger.call("GET", f"/accounts/{play.pool}")).status == 404
    assert (await stranger.call("GET", "/accounts")).json["accounts"] == []
    own = await stranger.open_account("own", "pool")
    report = await stranger.pay(order("M-1", play.pool, [Pay("E-1", "1.00", own)]))
    assert report.lines == [("E-1", "RJCT", "AC01")]
    await play.customer.pay(order("M-1", play.pool, [Pay("E-1", "1.00", play.payee)]))
    for listed in await play.customer.files():
        assert (await stranger.call("GET", f"/files/{listed['file_id']}")).status == 404
    assert {listed["original_message_id"] for listed in await stranger.files("pain.002")} == {"M-1"}
    assert len(await stranger.files()) == 1


async def test_a_sub_account_cannot_be_paid_from(play: Play) -> None:
    await play.customer.pay(order("M-1", play.pool, [Pay("E-1", "10.00", play.payee)]))
    report = await play.customer.pay(order("M-2", play.payee, [Pay("E-2", "10.00", play.other_payee)]))
    assert report.lines == [("E-2", "RJCT", "AG01")]


async def test_every_credit_to_a_pool_account_is_announced(play: Play, sandbox: Sandbox) -> None:
    other_pool = await play.customer.open_account("other pool", "pool")
    lines = [Pay("E-1", "3.00", play.payee), Pay("E-2", "4.00", other_pool)]
    await play.customer.pay(order("M-1", play.pool, lines))
    notices = [read_notice(await play.customer.download(listed)) for listed in await play.customer.files("camt.054")]
    assert [(account, booking.end_to_end_id, booking.minor) for account, booking in notices] == [
        (play.pool, "TOP-UP", 100_00),
        (other_pool, "E-2", 4_00),
    ]
    in_truth = {entry["bank_ref"] for entry in (await sandbox.truth(other_pool))["entries"]}
    assert {notices[1][1].bank_ref} == in_truth


async def test_opening_an_account_again_returns_it_and_other_particulars_are_refused(play: Play) -> None:
    body = {"reference": "r", "name": "n", "currency": "CNY", "kind": "sub"}
    first = await play.customer.call("POST", "/accounts", json=body)
    again = await play.customer.call("POST", "/accounts", json=body)
    assert (first.status, again.status) == (201, 200)
    assert first.json == again.json
    assert first.json["balance_minor"] == 0
    other = await play.customer.call("POST", "/accounts", json={**body, "currency": "EUR"})
    assert (other.status, other.json["code"]) == (409, "reference_in_use")


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "loan"},
        {"currency": "QQQ"},
        {"currency": "XAU"},
        {"name": ""},
        {"name": "x" * 71},
        {"name": "a\u0000b"},
        {"name": "a\ud800"},
        {"name": 7},
        {"reference": None},
    ],
)
async def test_an_account_that_could_not_stand_in_a_statement_is_refused(play: Play, change: dict[str, object]) -> None:
    body = {"reference": "r", "name": "n", "currency": "CNY", "kind": "sub", **change}
    answer = await play.customer.call("POST", "/accounts", json=body)
    assert answer.status == 400, answer.json
    assert answer.json["message"]


async def test_lists_are_read_page_by_page_without_loss(play: Play) -> None:
    for number in range(7):
        await play.customer.open_account(f"more {number}", "sub")
    seen: list[str] = []
    after = "0"
    while page := (await play.customer.call("GET", "/accounts", params={"after": after, "limit": "3"})).json:
        if not page["accounts"]:
            break
        assert len(page["accounts"]) <= 3
        seen += [account["account"] for account in page["accounts"]]
        after = page["next"]
    assert len(seen) == len(set(seen)) == 10
    for query in ({"limit": "0"}, {"limit": "101"}, {"limit": "x"}, {"after": "-1"}, {"type": "mt940"}):
        assert (await play.customer.call("GET", "/files", params=query)).status == 400


async def test_an_upload_can_be_asked_after_by_its_message_id(play: Play) -> None:
    assert await play.customer.files("pain.001", message_id="M-1") == []
    raw = order("M-1", play.pool, [Pay("E-1", "1.00", play.payee)])
    await play.customer.pay(raw)
    (listed,) = await play.customer.files("pain.001", message_id="M-1")
    assert (listed["message_id"], listed["status"]) == ("M-1", "done")
    assert await play.customer.download(listed) == raw


async def test_without_token_or_with_a_wrong_one_nothing_is_shown(play: Play) -> None:
    url = play.customer.paper["base_url"]
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {play.customer.token}"}):
        for path in ("/accounts", "/files", f"/accounts/{play.pool}"):
            async with play.sandbox.http.get(url + path, headers=headers) as answer:
                assert answer.status == 401
                assert (await answer.json())["code"] == "not_authenticated"


async def test_unsigned_and_forged_files_are_refused_and_leave_no_trace(play: Play, sandbox: Sandbox) -> None:
    raw = order("M-1", play.pool, [Pay("E-1", "1.00", play.payee)])
    good = play.customer.sign(raw)
    forger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    neighbour = await sandbox.customer("邻居")
    forged = {
        "missing": "",
        "of other bytes": play.customer.sign(raw + b" "),
        "by another key": play.customer.sign(raw, key=forger),
        "by a neighbour": neighbour.sign(raw),
        "by a neighbour in my name": neighbour.sign(raw, key_id=play.customer.paper["key_id"]),
        "other algorithm": good.replace("rsa-v1_5-sha256", "none"),
        "moved in time": good.replace('created="1', 'created="2'),
        "garbled": good.replace('sig="', 'sig="A'),
        "no header at all": "Bearer x",
    }
    for name, header in forged.items():
        answer = await play.customer.upload(raw, **{"Bank-Signature": header})
        assert (answer.status, answer.json["code"]) == (401, "signature_not_valid"), name
    assert await play.customer.files("pain.001") == []
    assert (await play.customer.upload(raw, **{"Bank-Signature": good})).status == 202


async def test_a_refused_file_leaves_its_message_id_free(play: Play) -> None:
    good = order("M-1", play.pool, [Pay("E-1", "1.00", play.payee)])
    for raw, code in [
        (good.replace(b"<NbOfTxs>1<", b"<NbOfTxs>2<"), "count_differs"),
        (good.replace(b"pain.001.001.09", b"pain.001.001.03"), "wrong_namespace"),
        (b"<!DOCTYPE x>" + good[good.index(b"<Document") :], "dtd_forbidden"),
        (b"", "not_xml"),
    ]:
        answer = await play.customer.upload(raw)
        assert (answer.status, answer.json["code"]) == (400, code)
        assert answer.json["message"]
    assert await play.customer.files("pain.001") == []
    assert (await play.customer.pay(good)).status == "ACSC"


async def test_files_too_large_are_refused_whether_or_not_they_say_so(play: Play) -> None:
    async def unannounced() -> object:
        for _ in range(11):
            yield b" " * 2**20

    for data in (b" " * (10 * 2**20 + 1), unannounced()):
        headers = {"Content-Type": "application/xml", "Bank-Signature": play.customer.sign(b"")}
        try:
            answer = await play.customer.call("POST", "/files", data=data, headers=headers)
        except aiohttp.ClientConnectionError:
            continue  # the bank hung up while we were still sending, which is an answer too
        assert (answer.status, answer.json["code"]) == (413, "file_too_large")
    assert await play.customer.files("pain.001") == []


async def test_only_xml_is_taken(play: Play) -> None:
    raw = order("M-1", play.pool, [Pay("E-1", "1.00", play.payee)])
    answer = await play.customer.upload(raw, **{"Content-Type": "application/json"})
    assert answer.status == 415


# --- days ----------------------------------------------------------------------------------------------------------


async def test_the_days_form_a_chain_of_balances(play: Play) -> None:
    first = await play.sandbox.today()
    await play.customer.pay(order("M-1", play.pool, [Pay("E-1", "30.00", play.payee)]))
    await play.sandbox.close_day(first)
    second = first + timedelta(days=1)
    assert await play.sandbox.today() == second
    await play.customer.pay(order("M-2", play.pool, [Pay("E-2", "20.00", play.payee)]))
    third = second + timedelta(days=1)
    await play.sandbox.close_day(third)  # closes the second too
    days = [(await play.customer.statements(day)) for day in (first, second, third)]
    assert [(day[play.pool].opening, day[play.pool].closing) for day in days] == [
        (0, 70_00),
        (70_00, 50_00),
        (50_00, 50_00),
    ]
    assert [day[play.payee].sequence for day in days] == [1, 2, 3]
    assert [len(day[play.pool].bookings) for day in days] == [2, 1, 0]
    assert all(stated.adds_up for day in days for stated in day.values())


async def test_closing_a_day_again_makes_nothing_new(play: Play) -> None:
    day = await play.sandbox.today()
    first = await play.sandbox.close_day(day)
    again = await play.sandbox.close_day(day)
    assert (first["already_closed"], again["already_closed"]) == (False, True)
    assert first["bank_date"] == again["bank_date"]
    assert len([f for f in await play.customer.files("camt.053") if f["business_date"] == day.isoformat()]) == 1


async def test_a_closed_account_appears_in_the_statement_of_its_last_day_and_no_later(play: Play) -> None:
    day = await play.sandbox.today()
    await play.sandbox.control("POST", f"/bank/accounts/{play.payee}/close")
    await play.sandbox.close_day(day + timedelta(days=1))
    assert play.payee in await play.customer.statements(day)
    assert play.payee not in await play.customer.statements(day + timedelta(days=1))


async def test_a_day_absurdly_far_ahead_is_not_closed(play: Play) -> None:
    day = await play.sandbox.today()
    body = {"date": (day + timedelta(days=400)).isoformat()}
    async with play.sandbox.http.post(f"{play.sandbox.url}/control/bank/close-day", json=body) as answer:
        assert answer.status == 400
    assert await play.sandbox.today() == day


async def test_a_returned_line_comes_back_as_an_entry_with_its_reason_once(play: Play) -> None:
    await play.customer.pay(order("M-1", play.pool, [Pay("E-1", "10.00", play.payee)]))
    day = await play.sandbox.today()
    await play.sandbox.close_day(day)
    back = {"account": play.payee, "end_to_end_id": "E-1", "code": "AC04"}
    await play.sandbox.control("POST", "/bank/returns", back)
    async with play.sandbox.http.post(f"{play.sandbox.url}/control/bank/returns", json=back) as answer:
        assert answer.status == 409
    assert await play.customer.balance(play.pool) == 100_00
    await play.sandbox.close_day(day + timedelta(days=1))
    (booking,) = (await play.customer.statements(day + timedelta(days=1)))[play.pool].bookings
    assert (booking.end_to_end_id, booking.minor, booking.return_reason) == ("E-1", 10_00, "AC04")
    _, announced = read_notice(await play.customer.download((await play.customer.files("camt.054"))[-1]))
    assert announced == booking


# --- faults --------------------------------------------------------------------------------------------------------


async def test_a_lost_request_did_nothing_and_a_lost_answer_did_everything(play: Play) -> None:
    raw = order("M-1", play.pool, [Pay("E-1", "10.00", play.payee)])
    match = {"op": "upload", "customer_id": play.customer.paper["customer_id"]}
    await play.sandbox.fault("request_lost", match)
    with pytest.raises(aiohttp.ClientConnectionError):
        await play.customer.upload(raw)
    assert await play.customer.files("pain.001") == []
    await play.sandbox.fault("answer_lost", match)
    with pytest.raises(aiohttp.ClientConnectionError):
        await play.customer.upload(raw)
    (listed,) = await play.customer.files("pain.001")
    resent = await play.customer.upload(raw)
    assert (resent.status, resent.json["file_id"]) == (202, listed["file_id"])
    assert (await play.customer.report(resent.json)).status == "ACSC"
    assert await play.customer.balance(play.payee) == 10_00


async def test_the_bank_refuses_a_line_when_told_to(play: Play) -> None:
    await play.sandbox.fault("refuse_line", {"creditor_account": play.payee})
    await play.sandbox.fault("refuse_line", {"end_to_end_id": "E-3"}, code="MS03")
    lines = [Pay(f"E-{number}", "1.00", play.payee) for number in (1, 2, 3)]
    report = await play.customer.pay(order("M-1", play.pool, lines))
    assert report.lines == [("E-1", "RJCT", "AC04"), ("E-2", "ACSC", None), ("E-3", "RJCT", "MS03")]
    assert await play.customer.balance(play.payee) == 1_00


async def test_the_bank_calls_refused_what_it_has_carried_out_when_told_to(play: Play) -> None:
    await play.sandbox.fault("say_refused", {"end_to_end_id": "E-1"}, codes="NARR AM05")
    report = await play.customer.pay(order("M-1", play.pool, [Pay("E-1", "1.00", play.payee)]))
    assert report.lines == [("E-1", "RJCT", "NARR")]
    assert await play.customer.balance(play.payee) == 1_00


async def test_a_report_may_be_of_a_newer_version(play: Play) -> None:
    await play.sandbox.fault("report_in_12", {"message_id": "M-1"})
    report = await play.customer.pay(order("M-1", play.pool, [Pay("E-1", "1.00", play.payee)]))
    assert report.lines == [("E-1", "ACSC", None)]
    (file,) = await play.customer.files("pain.002")
    assert b"pain.002.001.12" in await play.customer.download(file)


async def test_a_report_may_speak_of_the_payment_information_alone(play: Play) -> None:
    await play.sandbox.fault("report_by_payment", {"message_id": "M-1"})
    report = await play.customer.pay(order("M-1", play.pool, [Pay("E-1", "1.00", play.payee)]))
    assert (report.status, report.lines) == ("ACCP", [])
    assert await play.customer.balance(play.payee) == 1_00


@pytest.mark.parametrize(
    ("fault", "params", "shown"),
    [
        ("statement_entry_missing", {}, []),
        ("statement_entry_altered", {"delta_minor": -1}, [10_00 - 1]),
        ("statement_entry_altered", {"delta_minor": -20_00}, [-10_00]),
        ("statement_entry_doubled", {}, [10_00, 10_00]),
    ],
)
async def test_statement_faults_spoil_the_file_and_neither_the_money_nor_the_balances(
    play: Play, fault: str, params: dict[str, int], shown: list[int]
) -> None:
    await play.customer.pay(order("M-1", play.pool, [Pay("E-1", "10.00", play.payee)]))
    await play.sandbox.fault(fault, {"account": play.payee, "end_to_end_id": "E-1"}, **params)
    day = await play.sandbox.today()
    await play.sandbox.close_day(day)
    days = await play.customer.statements(day)
    spoiled = days[play.payee]
    assert [booking.minor for booking in spoiled.bookings] == shown
    assert (spoiled.opening, spoiled.closing) == (0, 10_00)
    assert not spoiled.adds_up
    assert days[play.pool].adds_up
    truth = await play.sandbox.truth(play.payee)
    assert (truth["balance_minor"], [entry["amount_minor"] for entry in truth["entries"]]) == (10_00, [10_00])
    await play.sandbox.close_day(day + timedelta(days=1))
    next_day = (await play.customer.statements(day + timedelta(days=1)))[play.payee]
    assert (next_day.opening, next_day.adds_up) == (10_00, True)


async def test_a_deposit_can_stay_away_or_come_short(play: Play) -> None:
    await play.sandbox.fault("deposit_missing", {"account": play.pool})
    await play.sandbox.fault("deposit_short", {"account": play.pool}, by_minor=30)
    await play.sandbox.deposit(play.pool, 5_00, "LOST")
    await play.sandbox.deposit(play.pool, 6_00, "SHORT")
    await play.sandbox.deposit(play.pool, 7_00, "WHOLE")
    truth = await play.sandbox.truth(play.pool)
    assert [entry["amount_minor"] for entry in truth["entries"]] == [100_00, 5_70, 7_00]
    told = {deposit["end_to_end_id"]: (deposit["status"], deposit["booked_minor"]) for deposit in truth["deposits"]}
    assert told["LOST"] == ("missing", 0)
    assert told["SHORT"] == ("booked", 5_70)
    await play.sandbox.deposit(play.pool, 5_00, "LOST")  # announcing it again does not bring it back
    assert await play.customer.balance(play.pool) == 112_70


# --- volume --------------------------------------------------------------------------------------------------------


@pytest.mark.long
async def test_a_thousand_lines_are_paid_from_one_file_and_the_account_of_the_day_is_paged(
    sandbox: Sandbox, play: Play
) -> None:
    many: Customer = play.customer
    accounts = await asyncio.gather(*(many.open_account(f"payee {number}", "sub") for number in range(600)))
    lines = [Pay(f"E-{number}", "0.05", accounts[number % 600]) for number in range(1_200)]
    report = await many.pay(order("M-1", play.pool, lines))
    assert report.status == "ACSC"
    assert len(report.lines) == 1_200
    assert await many.balance(play.pool) == 40_00
    day = await sandbox.today()
    await sandbox.close_day(day)
    pages = [read_statements(await many.download(listed)) for listed in await many.files("camt.053")]
    assert [len(page) for page in pages] == [500, 103]
    assert all(stated.adds_up for page in pages for stated in page.values())
    assert sum(stated.closing for page in pages for stated in page.values()) == 100_00


async def test_reports_can_be_fetched_again_and_stay_the_same(play: Play) -> None:
    await play.customer.pay(order("M-1", play.pool, [Pay("E-1", "1.00", play.payee)]))
    (listed,) = await play.customer.files("pain.002")
    first, second = await play.customer.download(listed), await play.customer.download(listed)
    assert first == second
    assert read_report(first).message_id == "M-1"
