"""`sluice verify` says what it has walked of the chains and what not, in words and for machines."""

import asyncio
import json
from collections.abc import Callable

from typer.testing import Result

from tests.ops.test_case_commands import found


def test_the_command_says_what_it_has_walked_and_what_not(tea_house: Callable[..., Result], database_url: str) -> None:
    asyncio.run(found(database_url))
    assert "nothing was verified from this home before" in tea_house("verify").output
    assert "not again" in tea_house("verify").output
    told = json.loads(tea_house("verify", "--json").stdout)["walked"]["events"]
    assert (told["rows"], told["why_all"], told["verified_before"] > 0) == (0, "", True)
    told = json.loads(tea_house("verify", "--all", "--json").stdout)["walked"]["events"]
    assert (told["rows"] > 0, told["verified_before"], told["verified_at"]) == (True, 0, None)
