"""`sluice bank link` takes two people, who agree to the very credentials that are put into use."""

import json
from collections.abc import Callable
from pathlib import Path

from typer.testing import Result

Sluice = Callable[..., Result]


def test_a_bank_is_linked_by_two_people_with_the_credentials_they_agreed_to(tea_house: Sluice, tmp_path: Path) -> None:
    enrolment = tmp_path / "enrolment.json"

    def written(**more: str) -> None:
        told = {"base_url": "https://127.0.0.1:1", "bic": "CITYCNBJ", "token_file": "token", **more}
        enrolment.write_text(json.dumps(told))

    def link(name: str = "pool") -> str:
        words = ("bank", "link", "--book", "1", "citybank", "--credentials", str(enrolment), "--name", name, "--json")
        return tea_house(*words, code=1).output

    (tmp_path / "token").write_text("the secret token of the bank")
    written()
    assert "address_refused" in link(), "nobody is asked about what cannot be"
    written(base_url="https://bank.example.com")
    assert "second_person_missing" in link()
    tea_house("person", "add", "cy", "--role", "operator", "--keep")
    assert "approval_asked" in link()
    (asked,) = json.loads(tea_house("approval", "list", "--json").stdout)["approvals"]
    shown = tea_house("approval", "show", asked["id"]).output
    assert "https://bank.example.com" in shown
    assert "the secret token" not in shown
    tea_house("--as", "cy", "approval", "approve", asked["id"])
    (tmp_path / "token").write_text("another token")
    assert "approval_asked" in link(), "the file is another by now"
    (tmp_path / "token").write_text("the secret token of the bank")
    assert "approval_asked" in link("other pool")
    said = link()
    assert "bank_settings_wrong" in said, "agreed to, and what is missing is said by the use case"
    statuses = [one["status"] for one in json.loads(tea_house("approval", "list", "--json").stdout)["approvals"]]
    assert sorted(statuses) == ["approved", "asked", "asked"], "nothing was done, so nothing is used up"
