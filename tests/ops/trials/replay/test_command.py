"""What is asked wrongly is refused before anything starts, in one line, with exit code 2."""

from pathlib import Path
from typing import Any

import pytest

from ops.settings import Settings
from ops.trials.replay import command, generate


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "orders.csv"
    generate.write(path, 1, orders=3)
    return path


def refused(home: Path, capsys: pytest.CaptureFixture[str], orders: Path | None, **more: Any) -> tuple[int, str]:
    """Run the command; return its exit code and what it said, and see that it was one line and nothing was started."""
    asked = {"currency": "CNY", "faults": 0, "seed": 1, "disturb": True, "json_file": None, **more}
    asked.setdefault("troubles", {"cut": "none", "slow": "none", "lossy": "none"})
    code = command.run(Settings(home=home), orders, **asked)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("sluice: ")
    assert said.err.count("\n") == 1
    assert not (home / "postgres").exists()
    assert not (home / "demo" / "runs").exists()
    return code, said.err


@pytest.mark.parametrize("currency", ["", "cny", "ABC", "XAU", "人民币"])
def test_an_unknown_currency(tmp_path: Path, file: Path, capsys: pytest.CaptureFixture[str], currency: str) -> None:
    code, said = refused(tmp_path / "home", capsys, file, currency=currency)
    assert (code, repr(currency) in said) == (2, True)


def test_no_patience(tmp_path: Path, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(tmp_path / "home", capsys, file, patience_s=0)[0] == 2


def test_fewer_faults_than_none(tmp_path: Path, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(tmp_path / "home", capsys, file, faults=-1)[0] == 2


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("nowhere.csv", None, "No such file"),
        (".", None, "Is a directory"),
        ("empty.csv", "", "no order lines"),
        ("picture.csv", "\x89PNG\x00\x00", "no column"),
        ("bad.csv", f"{','.join(generate.COLUMNS)}\n1,8,X,six,2010-12-01,1,,UK\n", "line 2: Quantity 'six'"),
    ],
)
def test_a_file_that_cannot_be_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: str | None, why: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    code, said = refused(tmp_path / "home", capsys, path)
    assert code == 2
    assert why in said
    assert str(path) in said


def test_a_summary_that_could_not_be_written(tmp_path: Path, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = refused(tmp_path / "home", capsys, file, json_file=tmp_path)
    assert (code, "Is a directory" in said) == (2, True)
    code, said = refused(tmp_path / "home", capsys, file, json_file=file / "summary.json")
    assert (code, "cannot be written" in said) == (2, True)


@pytest.mark.parametrize("home", ["orders.csv", "orders.csv/home"])
def test_a_home_that_cannot_be_used(tmp_path: Path, file: Path, capsys: pytest.CaptureFixture[str], home: str) -> None:
    code, said = refused(tmp_path / home, capsys, file)
    assert code == 1
    assert f"SLUICE_HOME {tmp_path / home}" in said


def test_a_home_whose_demo_folder_is_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "demo").write_text("")
    code, said = refused(tmp_path, capsys, None)
    assert code == 1
    assert "demo" in said


def test_a_rail_the_day_is_not_played_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = refused(tmp_path, capsys, None, troubles={"cut": "bitcoin", "slow": "none", "lossy": "none"})
    assert code == 2
    assert "--cut bitcoin" in said
    assert "wechat" in said
