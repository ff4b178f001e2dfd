"""The process: starting, announcing itself, stopping, and its store."""

import asyncio
import json
import subprocess
import sys
import threading
import time
from datetime import date, timedelta
from pathlib import Path

import pytest

from sandbox.main import NotRunning, info
from sandbox.store import Store, Tx
from tests.sandbox.sandbox_client import REPOSITORY, Sandbox, exchange

OF_THE_PORT = ("base_url", "open_url", "api_url")  # which may be another after a restart


def test_a_new_home_gets_keys_a_default_merchant_and_an_announcement(own_sandbox: Sandbox) -> None:
    announced = json.loads((own_sandbox.home / "sandbox" / "info.json").read_text())
    assert own_sandbox.control("GET", "/info") == announced
    assert announced["base_url"] == own_sandbox.base_url
    assert announced["pid"] == own_sandbox.process.pid
    (default,) = announced["wechat"]["merchants"]
    assert default["mchid"] == announced["wechat"]["default_mchid"]
    for name in ("private_key_file", "certificate_file", "apiv3_key_file", "public_key_file"):
        assert Path(default[name]).is_file()
    assert len(Path(default["apiv3_key_file"]).read_bytes()) == 32
    assert Path(default["private_key_file"]).stat().st_mode & 0o077 == 0
    assert "POST /control/wechat/pay" in announced["control"]


def test_info_tells_a_running_sandbox_from_a_dead_one(own_sandbox: Sandbox, tmp_path: Path) -> None:
    assert info(own_sandbox.home)["running"] is True
    own_sandbox.kill()
    assert info(own_sandbox.home)["running"] is False
    with pytest.raises(NotRunning):
        info(tmp_path / "elsewhere")


def test_a_home_has_room_for_one_sandbox(own_sandbox: Sandbox) -> None:
    command = [sys.executable, "-m", "sandbox", "--home", str(own_sandbox.home), "--port", "0"]
    second = subprocess.run(command, cwd=REPOSITORY, capture_output=True, timeout=300, check=False)
    assert second.returncode == 2
    assert b"running" in second.stderr


def test_keys_and_merchants_outlive_the_process(own_sandbox: Sandbox) -> None:
    merchant = own_sandbox.merchant(fee_bp=25)
    assert own_sandbox.stop() == 0
    own_sandbox.start()
    listed = own_sandbox.control("GET", "/wechat/merchants")["merchants"]
    again = next(entry for entry in listed if entry["mchid"] == merchant.mchid)
    without_url = {key: value for key, value in merchant.credentials.items() if key not in OF_THE_PORT}
    assert without_url.items() <= again.items()
    merchant.base_url = own_sandbox.base_url
    merchant.create("order-after-restart")


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/wechat/merchants", b"{", 400),
        ("/wechat/merchants", b'{"fee": 3}', 400),
        ("/wechat/merchants", b'{"fee_bp": "60"}', 400),
        ("/wechat/pay", b'{"mchid": "1900000001"}', 400),
        ("/wechat/pay", b'{"mchid": "1900000001", "out_trade_no": "unknown"}', 404),
        ("/wechat/pay", b'{"mchid": "1", "out_trade_no": "unknown"}', 404),
        ("/wechat/pay", b'{"code_url": "weixin://wxpay/bizpayurl?pr=unknown"}', 404),
        ("/wechat/close-day", b'{"mchid": "1900000001", "date": "today"}', 400),
    ],
    ids=str,
)
def test_the_control_api_says_what_is_wrong(sandbox: Sandbox, path: str, body: bytes, status: int) -> None:
    reply = exchange(sandbox.base_url, "POST", f"/control{path}", {}, body)
    assert reply.status == status
    assert set(reply.json) == {"code", "message"}


# --- the store -----------------------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> Store:
    opened = Store(tmp_path / "store.db")
    opened.create("CREATE TABLE note (text TEXT UNIQUE)")
    return opened


def notes(store: Store) -> list[str]:
    return [row["text"] for row in store.all("SELECT text FROM note ORDER BY rowid")]


async def test_commands_that_arrive_together_are_answered_each_for_itself(store: Store) -> None:
    def add(text: str, *, fail: bool) -> None:
        def command(tx: Tx) -> str:
            tx.execute("INSERT INTO note VALUES (?)", text)
            if fail:
                raise LookupError(text)
            return text

        answers.append(asyncio.ensure_future(store.write(command)))

    answers: list[asyncio.Future[str]] = []
    for number in range(20):
        add(f"note {number}", fail=number % 5 == 0)
    outcomes = await asyncio.gather(*answers, return_exceptions=True)
    for number, outcome in enumerate(outcomes):
        if number % 5 == 0:
            assert isinstance(outcome, LookupError)
        else:
            assert outcome == f"note {number}"
    assert notes(store) == [f"note {number}" for number in range(20) if number % 5]
    store.close()


async def test_a_store_that_is_closed_has_done_what_was_asked_of_it_and_begins_nothing_more(
    store: Store, tmp_path: Path
) -> None:
    """Whoever asked may be gone by then, while something else is being committed."""
    gate, wrong = threading.Event(), []
    asyncio.get_running_loop().set_exception_handler(lambda _, found: wrong.append(found))

    def waits_for_the_gate(tx: Tx) -> None:
        gate.wait()
        tx.execute("INSERT INTO note VALUES ('first')")

    asking = [asyncio.ensure_future(store.write(waits_for_the_gate))]
    await asyncio.sleep(0)  # it is being committed, and what comes now waits
    asking.append(asyncio.ensure_future(store.write(lambda tx: tx.execute("INSERT INTO note VALUES ('second')"))))
    await asyncio.sleep(0)
    for task in asking:
        task.cancel()
    await asyncio.wait(asking)
    gate.set()
    store.close()
    await asyncio.sleep(0.01)
    assert wrong == []
    again = Store(tmp_path / "store.db")
    assert notes(again) == ["first", "second"]
    again.close()


async def test_a_transaction_that_raises_leaves_nothing_and_a_nested_one_only_its_own_part(store: Store) -> None:
    def failing(text: str) -> None:
        with store.transaction() as tx:
            tx.execute("INSERT INTO note VALUES (?)", text)
            raise KeyError(text)

    with pytest.raises(KeyError):
        failing("lost")
    with store.transaction() as tx:
        tx.execute("INSERT INTO note VALUES ('outer')")
        with pytest.raises(KeyError):
            failing("inner")
        assert notes(store) == []  # readers see committed data only
    assert notes(store) == ["outer"]
    store.close()


async def test_awaiting_inside_a_transaction_is_caught(store: Store) -> None:
    async def other() -> None:
        with store.transaction() as tx:
            tx.execute("INSERT INTO note VALUES ('other')")

    with store.transaction(), pytest.raises(RuntimeError, match="awaited inside"):
        await asyncio.ensure_future(other())
    assert notes(store) == []
    store.close()


def test_its_clock_is_off_by_what_a_file_says_at_each_look(tmp_path: Path) -> None:
    clock = tmp_path / "clock"
    clock.write_text("-86400")
    sandbox = Sandbox(tmp_path, 0.01, "--clock", str(clock))
    try:
        before = date.fromisoformat(sandbox.control("GET", "/bank")["date"])
        clock.write_text(str(40 * 86_400))
        wanted = before + timedelta(days=40)
        while date.fromisoformat(sandbox.control("GET", "/bank")["date"]) < wanted:
            time.sleep(0.02)  # it follows the calendar each second
        merchant = sandbox.merchant()
        with pytest.raises(AssertionError):  # signed by the machine's clock
            merchant.create("order-of-another-day")
    finally:
        sandbox.kill()
