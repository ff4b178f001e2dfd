"""`sluice proof rotate` takes two people, who agree that one key is replaced, once."""

import json
from collections.abc import Callable

from typer.testing import Result

Sluice = Callable[..., Result]


def test_a_key_is_replaced_by_two_people_once(two_operators: Sluice) -> None:
    def rotate(code: int = 0) -> Result:
        return two_operators("proof", "rotate", "--json", code=code)

    def approvals() -> list[dict[str, str]]:
        found: list[dict[str, str]] = json.loads(two_operators("approval", "list", "--json").stdout)["approvals"]
        return found

    def agree() -> None:
        (asked,) = (one for one in approvals() if one["status"] == "asked")
        two_operators("--as", "cy", "approval", "approve", asked["id"])

    assert "approval_asked" in rotate(1).output
    assert "approval_asked" in rotate(1).output, "one person alone makes no key"
    assert "no_such_certificate_key" in two_operators("proof", "key", code=1).output
    agree()
    first = json.loads(rotate().stdout)
    assert first["replaces"] is None
    assert "approval_asked" in rotate(1).output, "what was agreed to is used up"
    agree()
    second = json.loads(rotate().stdout)
    assert second["replaces"] == first["key"] != second["key"]
    newest = two_operators("proof", "key").stdout
    assert newest == two_operators("proof", "key", "--key", second["key"]).stdout
    assert newest != two_operators("proof", "key", "--key", first["key"]).stdout
