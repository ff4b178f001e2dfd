"""The file of master keys: made once, whole or not at all, and never lost by two who write it at once."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kernel.errors import Unavailable
from kernel.sealing import Secret
from ops.channel_keys import ChannelKeys, channel_keys
from ops.secrets_file import secret_file


def test_the_file_is_made_once_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    keys = channel_keys(tmp_path, None, os.urandom)
    first = keys.current()
    path = tmp_path / "secrets" / "channel-keys.json"
    assert path.stat().st_mode & 0o777 == 0o600
    again = channel_keys(tmp_path, None, os.urandom)
    assert again.current() == first
    assert again.fingerprint(Secret("x")) == keys.fingerprint(Secret("x"))


def test_a_key_that_another_process_adds_is_seen_and_old_ones_stay(tmp_path: Path) -> None:
    here, there = (channel_keys(tmp_path, None, os.urandom) for _ in range(2))
    first = here.current()
    fingerprint = here.fingerprint(Secret("x"))
    second = there.add()
    assert here.current() == second != first
    assert here.find(first.id) == first
    assert here.ids() == [second.id, first.id]
    assert here.fingerprint(Secret("x")) == fingerprint


def test_the_current_key_is_never_retired(tmp_path: Path) -> None:
    keys = channel_keys(tmp_path, None, os.urandom)
    first, second = keys.current(), keys.add()
    keys.retire({first.id, second.id})
    assert keys.ids() == [second.id]


def test_processes_that_add_keys_at_once_lose_none(tmp_path: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path; from ops.channel_keys import channel_keys\n"
        "keys = channel_keys(Path(sys.argv[1]), None, os.urandom)\n"
        "print(*[keys.add().id for _ in range(10)])"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    added = {ident for one in running for ident in one.communicate()[0].split()}
    assert len(added) == 30
    assert added <= set(channel_keys(tmp_path, None, os.urandom).ids())


def test_a_file_that_is_named_must_be_there_until_a_key_is_asked_for(tmp_path: Path) -> None:
    named = tmp_path / "mounted" / "keys.json"
    keys = channel_keys(tmp_path, named, os.urandom)
    with pytest.raises(Unavailable, match="SLUICE_CHANNEL_KEYS"):
        keys.current()
    made = keys.add()
    assert channel_keys(tmp_path, named, os.urandom).current() == made
    assert not (tmp_path / "secrets").exists()


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", '{"current": "mk_1", "keys": {}, "fingerprints": ""}', "not json"],
)
def test_a_damaged_file_is_refused_and_left_as_it_is(tmp_path: Path, text: str) -> None:
    path = tmp_path / "keys.json"
    path.write_text(text)
    keys = ChannelKeys(path, os.urandom)
    for use in (keys.current, keys.add, keys.ids):
        with pytest.raises(Unavailable, match="damaged"):
            use()
    assert path.read_text() == text


def test_a_half_written_file_never_takes_the_place_of_a_whole_one(tmp_path: Path) -> None:
    keys = channel_keys(tmp_path, None, os.urandom)
    first = keys.current()
    path = tmp_path / "secrets" / "channel-keys.json"
    (path.parent / f".{path.name}.draft").write_text('{"current": "mk_half')  # left by a process that was killed
    second = keys.add()
    assert set(json.loads(path.read_text())["keys"]) == {first.id, second.id}


def test_keys_that_others_can_read_are_told_of_and_still_open(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    made = channel_keys(tmp_path, None, os.urandom).current()
    path = tmp_path / "secrets" / "channel-keys.json"
    assert path.parent.stat().st_mode & 0o077 == 0
    assert not caplog.records
    path.chmod(0o640)
    assert channel_keys(tmp_path, None, os.urandom).current() == made
    assert "can be read by other users" in caplog.text


def test_the_first_secret_makes_a_folder_that_only_its_owner_opens(tmp_path: Path) -> None:
    secret_file(tmp_path, "api-key-pepper", os.urandom)
    assert (tmp_path / "secrets").stat().st_mode & 0o077 == 0
    assert (tmp_path / "secrets" / "api-key-pepper").stat().st_mode & 0o077 == 0
