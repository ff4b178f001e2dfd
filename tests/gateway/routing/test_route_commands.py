"""`sluice route explain`, `policy` and `replay` on a hub that has taken payments."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from channels.contract import Refused
from gateway.routing import PolicyWrong
from kernel.clock import BEIJING
from kernel.errors import NotFound, Rejected
from ops.trials.routing import command
from tests.gateway.front import Front, a_front

BUSY = Refused("SYSTEM_BUSY", "the rail is overloaded", retriable=True)
BOTH: dict[str, Any] = {"accounts": {"backup": "other"}, "fees_bp": {"backup": 90}}


def policy_file(home: Path, **policy: Any) -> Path:
    file = home / "policy.json"
    file.write_text(json.dumps({"explore": {"fraction_bp": 0}, **policy}), encoding="utf-8")
    return file


async def told(front: Front, capsys: pytest.CaptureFixture[str], *args: Any, **more: Any) -> Any:
    """Return what `sluice route replay … --json` prints for the day of the test's clock."""
    day = front.clock.now().astimezone(BEIJING).date()
    capsys.readouterr()
    assert await command.replay_policy(front.hub, front.book, *args, day, day, as_json=True, **more) == 0
    return json.loads(capsys.readouterr().out)


async def test_explain_shows_each_attempt_with_every_number_s_unit(
    database_url: str, home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    async with a_front(database_url, home, **BOTH) as front:
        await front.hub.routing_policies.set(front.book, {"explore": {"fraction_bp": 0}}, note="no trying out")
        front.clock.forward(2)
        for n in range(4):
            await front.paid(f"well-{n}")
        front.rail.says(pay=BUSY)
        payment_id = await front.paid("busy")
        assert await command.explain_payment(front.hub, payment_id, as_json=False) == 0
        text = capsys.readouterr().out
        assert await command.explain_payment(front.hub, payment_id, as_json=True) == 0
        machine = json.loads(capsys.readouterr().out)
        with pytest.raises(NotFound):
            await command.explain_payment(front.hub, "pay_" + "0" * 26, as_json=False)
    first, second = machine["attempts"]
    assert (first["channel_account"], first["status"], first["code"]) == ("rail", "failed_over", "SYSTEM_BUSY")
    assert [one["a"] for one in first["decision"]["rank"]] == ["rail", "backup"]
    assert (second["channel_account"], second["status"]) == ("backup", "confirmed")
    assert second["decision"]["no"] == {"rail": "tried"}
    assert "policy version 1" in text
    assert "attempt 1: rail (scripted)" in text
    assert "failed_over, SYSTEM_BUSY" in text
    for part in ("0.60 CNY", "0.90 CNY", "payments", " %", "100.00 CNY", "worth of a success 2.0000 CNY", "closed"):
        assert part in text
    assert "backup was the only account that could take it; fee 0.90 CNY" in text
    assert "this payment has been there" in text


async def test_explain_shows_that_an_account_s_breaker_is_open(
    database_url: str, home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    async with a_front(database_url, home, accounts={"backup": "other"}) as front:
        await front.hub.routing_policies.set(
            front.book, {"rules": [{"then": {"prefer": {"rail": 1}}}]}, note="rail first"
        )
        front.clock.forward(2)
        front.rail.says(pay=BUSY)
        for n in range(5):
            await front.paid(f"busy-{n}")
        payment_id = await front.paid("after")
        await command.explain_payment(front.hub, payment_id, as_json=False)
        text = capsys.readouterr().out
    assert "attempt 1: backup" in text
    assert "breaker open: asked last" in text
    assert "attempt 2" not in text


async def test_policies_are_set_shown_listed_and_checked(
    database_url: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with a_front(database_url, home, **BOTH) as front:
        file = policy_file(home, rules=[{"name": "r", "then": {"only": ["rail", "channel:other", "bakup"]}}])
        assert await command.check_policy(front.hub, front.book, file) == 1
        assert "r: bakup is none of the merchant's accounts or rails" in capsys.readouterr().out
        file = policy_file(home, rules=[{"name": "r", "then": {"only": ["rail", "channel:other"]}}])
        assert await command.check_policy(front.hub, front.book, file) == 0
        assert await command.set_policy(front.hub, front.book, file, "two accounts") == 0
        assert await command.set_policy(front.hub, front.book, policy_file(home, margin_bp=300), "dearer") == 0
        capsys.readouterr()
        assert await command.list_policies(front.hub, front.book, as_json=False) == 0
        listed = capsys.readouterr().out
        assert await command.show_policy(front.hub, front.book, None, as_json=False) == 0
        holding = capsys.readouterr().out
        assert await command.show_policy(front.hub, front.book, 1, as_json=True) == 0
        first = json.loads(capsys.readouterr().out)
        with pytest.raises(NotFound):
            await command.show_policy(front.hub, front.book, 7, as_json=False)
        with pytest.raises(NotFound):
            await command.list_policies(front.hub, 99, as_json=False)
        with pytest.raises(Rejected):
            await command.set_policy(front.hub, front.book, policy_file(home, margin=1), "wrong")
        with pytest.raises(PolicyWrong):
            await command.check_policy(front.hub, front.book, policy_file(home, margin=1))
    assert [line.split()[0] for line in listed.splitlines()] == ["2", "1", "2"]
    assert "dearer" in holding
    assert '"margin_bp": 300' in holding
    assert (first["version"], first["note"], first["set_by"]) == (1, "two accounts", "operator")


async def test_a_replay_under_the_same_policy_moves_nothing_and_costs_the_same(
    database_url: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with a_front(database_url, home, **BOTH) as front:
        await front.hub.routing_policies.set(front.book, {"explore": {"fraction_bp": 0}}, note="no trying out")
        front.clock.forward(2)
        for n in range(12):
            front.clock.forward(5)
            await front.paid(f"order-{n}", 10_000 + n)
        found = await told(front, capsys, policy_file(home))
    assert (found["payments"], found["moved"], found["paid"]) == (12, 0, 12)
    assert found["fees"]["CNY"]["difference"] == 0
    assert found["fees"]["CNY"]["as_it_was"] == found["fees"]["CNY"]["charged"] == 720
    assert found["success"]["estimated"] == 0


async def test_a_replay_under_a_pin_moves_all_and_tells_the_fees_to_the_unit_and_what_its_estimate_rests_on(
    database_url: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with a_front(database_url, home, **BOTH) as front:
        await front.hub.routing_policies.set(front.book, {"explore": {"fraction_bp": 0}}, note="no trying out")
        front.clock.forward(2)
        for n in range(8):
            front.clock.forward(5)
            await front.paid(f"order-{n}")
        file = policy_file(home, rules=[{"then": {"pin": "backup"}}])
        found = await told(front, capsys, file)
        day = front.clock.now().astimezone(BEIJING).date()
        assert await command.replay_policy(front.hub, front.book, file, day, day, as_json=False) == 0
        text = capsys.readouterr().out
        earlier = day - timedelta(days=3)
        await command.replay_policy(front.hub, front.book, file, earlier, earlier, as_json=True)
        nothing = json.loads(capsys.readouterr().out)
        with pytest.raises(Rejected):
            await command.replay_policy(front.hub, front.book, file, day, earlier, as_json=True)
    assert (found["payments"], found["moved"]) == (8, 8)
    assert found["moved_to"] == [{"from": "rail", "to": "backup", "payments": 8}]
    assert found["fees"]["CNY"] == {"as_it_was": 480, "other": 720, "difference": 240, "charged": 480}
    assert (found["success"]["estimated"], found["success"]["thin"]) == (8, 8)  # nobody ever tried the backup
    assert found["success"]["median_observations"] == 0
    assert "fees of what was paid, exact by today's schedules: 4.80 CNY as it was, 7.20 CNY then: 2.40 CNY more" in text
    assert nothing["payments"] == 0


async def test_a_payment_that_failed_over_and_stays_keeps_its_fee_and_one_that_moves_is_counted(
    database_url: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with a_front(database_url, home, **BOTH) as front:
        await front.hub.routing_policies.set(front.book, {"explore": {"fraction_bp": 0}}, note="no trying out")
        front.clock.forward(2)
        front.rail.says(pay=BUSY)
        await front.paid("failed-over")
        same = await told(front, capsys, policy_file(home))
        other = await told(front, capsys, policy_file(home, rules=[{"then": {"pin": "backup"}}]))
    assert (same["moved"], same["fees"]["CNY"]["difference"]) == (0, 0)
    assert same["fees"]["CNY"]["as_it_was"] == 90
    assert (other["moved"], other["fees"]["CNY"]["difference"]) == (1, 0)
