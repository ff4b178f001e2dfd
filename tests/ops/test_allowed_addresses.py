"""What an operator lets the hub call: listed, the sandbox that is started, and the cables of a trial while it lasts."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kernel.addresses import Addresses, AddressRefused
from ops.addresses import open_to, origin_of, rule, sandbox_of
from ops.cli.running import hub_processes
from ops.settings import Settings, SettingsWrong, load


def refuses(addresses: Addresses, address: str) -> bool:
    try:
        addresses.check_entered(address)
    except AddressRefused:
        return True
    return False


def test_a_hub_with_its_sandbox_calls_that_very_port_and_a_hub_without_calls_none(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, sandbox_port=8410, allow_addresses="bank.internal")
    own = {child.name: child.env.get("SLUICE_ALLOW_ADDRESSES") for child in hub_processes(settings)}
    assert own == {"sandbox": None, "gateway": "bank.internal,127.0.0.1:8410", "worker": "bank.internal,127.0.0.1:8410"}
    assert all(not child.env for child in hub_processes(settings, sandbox=False))
    of_gateway = rule(settings.model_copy(update={"allow_addresses": own["gateway"]}))
    assert not refuses(of_gateway, "http://127.0.0.1:8410")
    assert not refuses(of_gateway, "https://bank.internal")
    for other in ("http://127.0.0.1:8401", "http://127.0.0.1:5432", "http://localhost:8400", "http://[::1]:8410"):
        assert refuses(of_gateway, other)
    assert refuses(rule(settings), "http://127.0.0.1:8410")
    assert not refuses(rule(settings, sandbox_of(settings)), "http://127.0.0.1:8410")


def test_a_cable_is_called_by_every_process_of_the_home_while_the_trial_lasts(tmp_path: Path) -> None:
    ours, others = rule(Settings(home=tmp_path)), rule(Settings(home=tmp_path / "other"))
    assert refuses(ours, "http://127.0.0.1:7001")
    with open_to(tmp_path, 7001):
        assert not refuses(ours, "http://127.0.0.1:7001")
        assert refuses(ours, "http://127.0.0.1:7002")
        assert refuses(ours, "http://127.0.0.2:7001")
        assert refuses(others, "http://127.0.0.1:7001")
    assert refuses(ours, "http://127.0.0.1:7001")


def test_a_trial_that_is_killed_leaves_nothing_open(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from ops.addresses import open_to\n"
        "with open_to(Path(sys.argv[1]), 7001): print('open', flush=True); time.sleep(600)\n"
    )
    trial = subprocess.Popen([sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE, text=True)
    assert trial.stdout is not None
    assert trial.stdout.readline() == "open\n"
    ours = rule(Settings(home=tmp_path))
    assert not refuses(ours, "http://127.0.0.1:7001")
    os.kill(trial.pid, signal.SIGKILL)
    trial.wait()
    trial.stdout.close()
    assert list((tmp_path / "trial-addresses").iterdir())
    assert refuses(ours, "http://127.0.0.1:7001")


def test_a_list_that_cannot_be_understood_is_named_with_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_ALLOW_ADDRESSES", "127.0.0.1:8410,x:y:z")
    with pytest.raises(SettingsWrong, match=r"SLUICE_ALLOW_ADDRESSES: 'x:y:z' is no place"):
        load()


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("http://127.0.0.1:8410/x", "http://127.0.0.1:8410"),
        ("https://u:p@rail.example/x", "https://rail.example:443"),
        ("http://[::1]", "http://[::1]:80"),
    ],
)
def test_what_is_typed_on_the_command_line_names_its_own_place(address: str, place: str) -> None:
    assert origin_of(address) == place
