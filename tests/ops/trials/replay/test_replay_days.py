"""Whole days through a running hub, from the first order to the reconciled statement, by the command that users run."""

import csv
import errno
import fcntl
import json
import os
import pty
import re
import struct
import termios
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import asyncpg
import pytest
from rich.cells import cell_len

from ops import embedded
from ops.trials.replay import generate
from tests.ops.trials.replay.running import KEYS, REPOSITORY, Replay, RunningHub, ended

ORDERS = REPOSITORY.parent / "shared" / "data" / "orders"
# The last of the real days stands for all of them, a generated one where there is none; `make replays` plays every one.
EVERY_DAY = sorted(ORDERS.glob("*.csv"))
REAL_DAYS = EVERY_DAY if os.environ.get("REPLAY_EVERY_DAY") else EVERY_DAY[-1:]
GENERATED = "a generated day"

# Facts of the data set, counted by other means: invoices, cancellations among them, net in pence.
FACTS = {
    "2010-12-01": (143, 6, 5_863_556),
    "2010-12-02": (167, 23, 4_620_728),
    "2010-12-03": (108, 7, 4_562_046),
    "2010-12-06": (133, 18, 5_386_018),
    "2010-12-08": (148, 23, 4_418_984),
}


def facts_of(file: Path) -> tuple[int, int, int]:
    """Count a file in the plainest way there is: invoices, cancellations among them, net in minor units."""
    sums: dict[str, Decimal] = {}
    with file.open(newline="", encoding="utf-8-sig") as lines:
        for row in csv.DictReader(lines):
            amount = Decimal(row["Quantity"]) * Decimal(row["UnitPrice"])
            sums[row["InvoiceNo"]] = sums.get(row["InvoiceNo"], Decimal(0)) + amount
    net = sum((amount.quantize(Decimal("0.01"), ROUND_HALF_UP) for amount in sums.values()), Decimal(0))
    return len(sums), sum(number.startswith("C") for number in sums), int(net * 100)


@pytest.fixture
def small_day(tmp_path: Path) -> Path:
    """Return a generated day of twenty invoices."""
    file = tmp_path / "orders.csv"
    generate.write(file, 11, orders=20)
    return file


@pytest.mark.parametrize("day", REAL_DAYS or [GENERATED], ids=lambda day: getattr(day, "stem", day))
def test_a_day_adds_up_and_every_planted_fault_is_found(
    running_hub: RunningHub, day: str | Path, tmp_path: Path
) -> None:
    if day == GENERATED:
        day = tmp_path / "orders.csv"
        generate.write(day, 1, orders=40)
    file = Path(day)
    faults = 20 if file.stem in FACTS else 10
    found = running_hub.replay("--orders", str(file), "--faults", str(faults)).assert_good()
    invoices, cancellations, net = facts_of(file)
    assert (invoices, cancellations, net) == FACTS.get(file.stem, (invoices, cancellations, net))
    assert (found["invoices"], found["file_net_minor"]) == (invoices, net)
    assert found["refunded"] <= cancellations
    assert found["paid"] > 0.6 * (invoices - cancellations)
    assert found["faults_planted"] == found["faults_asked"] == faults
    assert sum(found["disturbances"].values()) > 0
    assert found["settled_minor"] > 0
    assert len(found["business_dates"]) >= 1
    assert not (Path(found["logs"]) / "hub.log").exists()  # the hub that runs was used


def test_a_day_on_which_payers_have_coupons_adds_up_too(running_hub: RunningHub, tmp_path: Path) -> None:
    """What the merchant's own coupons paid arrives on no day, is shared out to nobody, and is all accounted for."""
    file = tmp_path / "orders.csv"
    generate.write(file, 5, orders=20)
    found = running_hub.replay("--coupons", "--orders", str(file), "--faults", "10", "--seed", "5").assert_good()
    assert found["shares_minor"]["merchant coupon"] > 0
    assert found["faults_planted"] == 10
    assert found["settled_minor"] > 0


def test_two_replays_at_the_same_time_do_not_disturb_each_other(running_hub: RunningHub, small_day: Path) -> None:
    both = [
        running_hub.start("replay", "--json", "-", "--orders", str(small_day), "--faults", "10", "--seed", seed)
        for seed in ("1", "2")
    ]
    first, second = (ended(process).assert_good() for process in both)
    assert first["book"] != second["book"]
    for same in ("invoices", "paid", "refunded", "refused", "captured_minor", "refunded_minor"):
        assert first[same] == second[same]


@pytest.mark.parametrize(("columns", "faults"), [(80, 0), (120, 200)])
def test_the_page_fits_where_there_is_no_terminal_and_more_faults_than_there_is_room_for_are_left_out(
    running_hub: RunningHub, small_day: Path, tmp_path: Path, columns: int, faults: int
) -> None:
    wide = RunningHub(running_hub.home, {**running_hub.environment, "COLUMNS": str(columns)})
    kept = tmp_path / "folder" / "summary.json"
    process = wide.start("replay", "--orders", str(small_day), "--json", str(kept), "--faults", str(faults))
    done = ended(process)
    found = Replay(done.code, kept.read_text(), done.err).assert_good()
    assert found["faults_asked"] == faults
    if faults:
        assert found["paid"] + found["refunded"] <= found["faults_planted"] < faults
        assert len({fault["reference"] for fault in found["faults"]}) == found["faults_planted"]
    assert "the day adds up to the last cent" in done.out
    assert "…" not in done.out
    assert "\x1b" not in done.out + done.err
    assert max(map(cell_len, done.out.splitlines()[:-1])) <= columns
    stages = [line for line in done.err.splitlines() if line.startswith("… ")]
    assert len(stages) == len(done.err.splitlines()) == 5


@pytest.mark.parametrize(("currency", "unit"), [("JPY", 1), ("KWD", 1000)])
def test_a_currency_the_channel_does_not_take_is_refused_and_the_day_still_adds_up(
    running_hub: RunningHub, small_day: Path, currency: str, unit: int
) -> None:
    found = running_hub.replay("--orders", str(small_day), "--currency", currency, "--faults", "20").assert_good()
    assert (found["paid"], found["refunded"], found["captured_minor"], found["settled_minor"]) == (0, 0, 0, 0)
    assert found["refused"]["no_channel"] > 10
    assert found["refused_minor"] == found["file_net_minor"] > 1000 * unit
    assert (found["faults_asked"], found["faults_planted"], found["business_dates"]) == (20, 0, [])


def test_a_day_on_which_nothing_is_sold_adds_up(running_hub: RunningHub, tmp_path: Path) -> None:
    file = tmp_path / "orders.csv"
    file.write_text(
        "InvoiceNo,StockCode,Quantity,InvoiceDate,UnitPrice,CustomerID\n"
        "1,85123A,-3,2010-12-01,0,\n"
        "C2,85123A,-3,2010-12-01,2.55,17850\n"
        "C3,85123A,3,2010-12-01,2.55,17850\n"
        "C4,M,-1,2010-12-01,2.55,\n"
    )
    found = running_hub.replay("--orders", str(file), "--faults", "5").assert_good()
    refused = {"amount_not_positive": 1, "nobody_paid_for_it": 1, "cancels_nothing": 1, "no_customer": 1}
    assert found["refused"] == refused
    assert (found["paid"], found["faults_planted"]) == (0, 0)


WRONG_BALANCE = """
    INSERT INTO account
    SELECT max(book), 'suspense:planted:CNY', 'CNY', 'debit', true, 1, 0, 0, 0 FROM book
"""


async def test_what_does_not_hold_is_on_the_page_in_the_summary_and_in_the_last_lines(
    running_hub: RunningHub, small_day: Path, tmp_path: Path
) -> None:
    asked = tmp_path / "summary.json"
    done = running_hub.start("replay", "--orders", str(small_day), "--output", str(asked))
    assert done.stderr is not None
    while "orders" not in (line := done.stderr.readline()):
        assert line, "the replay ended by itself"
    connection = await asyncpg.connect(embedded.postgres_url(running_hub.home))
    await connection.execute(WRONG_BALANCE)
    found = ended(done)
    await connection.execute("DELETE FROM account WHERE name = 'suspense:planted:CNY'")
    await connection.close()
    assert found.code == 1
    summary = json.loads(asked.read_text())
    assert set(summary) == KEYS
    assert len(summary["wrongs"]) == summary["invariants"]["broken"] == 2
    words = " ".join(found.out.replace("│", " ").split())
    assert "the day does not add up" in words
    for wrong in summary["wrongs"]:
        assert wrong in words
    assert any("suspense:planted:CNY: account says 1/0" in wrong for wrong in summary["wrongs"])
    logs = Path(summary["logs"])
    last = found.err.splitlines()[-1]
    assert last == f"sluice: 2 promises of this day did not hold; failure.txt, summary.json and the logs are in {logs}"
    assert set(os.listdir(logs)) == {"replay.log", "summary.json", "failure.txt"}
    assert all(wrong in (logs / "failure.txt").read_text() for wrong in summary["wrongs"])


def test_odd_invoice_numbers_are_refused_or_paid_and_stop_nothing(running_hub: RunningHub, tmp_path: Path) -> None:
    file = tmp_path / "orders.csv"
    numbers = ["发票-1", "a b", "x" * 300, "5/7?&#", "C发票-1", "=1+1", "'; drop table payment"]
    with file.open("w", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(["InvoiceNo", "StockCode", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID"])
        for minute, number in enumerate(numbers):
            rows.writerow([number, "8", -1 if number[0] == "C" else 1, f"2010-12-01 08:{minute:02}", "2.55", "17850"])
    running_hub.replay("--orders", str(file)).assert_good()


def test_a_terminal_sees_a_bar_that_arrives_while_a_pipe_sees_json_alone(
    running_hub: RunningHub, small_day: Path
) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 80, 0, 0))
    terminal = RunningHub(running_hub.home, {**running_hub.environment, "TERM": "xterm-256color"})
    process = terminal.start("replay", "--json", "-", "--orders", str(small_day), stderr=theirs)
    os.close(theirs)
    seen = b""
    while part := _read(ours):
        seen += part
    done = ended(process)
    assert json.loads(done.out)["wrongs"] == []
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen.decode())
    assert "orders 交易" in text
    assert "20/20" in text
    lines = [line.rstrip() for line in text.replace("\r", "\n").splitlines()]
    assert max(len(line) for line in lines) < 80


def _read(handle: int) -> bytes:
    try:
        return os.read(handle, 65_536)
    except OSError as error:
        if error.errno == errno.EIO:  # how Linux says that the other end of a terminal has gone
            return b""
        raise
