"""Every play holds, and one that is changed by a cent does not; no rule and no end is without its play."""

import copy
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from tests.scenarios.pages import PLAYS
from tests.scenarios.reader import Line, Play, Record, Unplayable, differences, money, parse, read
from tests.scenarios.stage import CHANNELS, Stage, check
from tests.splitting.town import a_town


@asynccontextmanager
async def acted(play: Play, database_url: str, home: Path) -> AsyncIterator[list[Record]]:
    """Act a play out on a hub of its own. When the test has looked at what it did, every invariant must hold."""
    accounts = {account: "other" for account in CHANNELS.values() if account != "rail"}
    async with a_town(database_url, home, accounts=accounts) as town, AsyncExitStack() as stack:
        yield await Stage(town, stack).play(play)


def one_cent_off(play: Play) -> Iterator[tuple[Line, Play]]:
    """Give the play changed by a cent, up and down, at each amount of each account, and the line as it was."""
    for cents in (1, -1):
        for s, step in enumerate(play.steps):
            for n, line in enumerate(step.lines):
                changed = copy.deepcopy(play)
                changed.steps[s].lines[n] = line._replace(minor=line.minor + cents)
                yield line, changed
            for n, posting in enumerate(step.postings):
                for side in ("debit", "credit"):
                    line = getattr(posting, side)
                    changed = copy.deepcopy(play)
                    other = posting._replace(**{side: line._replace(minor=line.minor + cents)})
                    changed.steps[s].postings[n] = other
                    yield line, changed


@pytest.mark.parametrize("path", PLAYS, ids=lambda path: path.stem)
async def test_a_play_is_what_the_hub_does_and_changed_by_a_cent_it_is_not(
    database_url: str, tmp_path: Path, path: Path
) -> None:
    play = read(path, check)
    async with acted(play, database_url, tmp_path) as records:
        if found := differences(play, records):
            pytest.fail("\n".join(found), pytrace=False)
        for line, changed in one_cent_off(play):
            [said] = differences(changed, records)
            assert said.startswith(f"{path.name}:{line.number}: "), said
            assert f"{line.account}: expected {line.side} " in said, said
            assert said.endswith(f"found {line.side} {money(line.minor)}"), said


SALE = """A sale 收款

The payer pays, and the shop is owed it.

payer pays P1 100.00
  payment P1 is succeeded
  payment_captured debit channel:wechat 应收渠道款 100.00
                   credit merchant 100.00
  channel_fee      debit merchant 0.60
                   credit channel:wechat 0.60

balance
  debit channel:wechat 99.40
  credit merchant 99.40
"""
HERE = Path("sale.play")


OTHERWISE = (
    "5: 'payer pays P1 100.00' posted otherwise: payment_captured: channel:wechat to merchant 100.00; "
    "channel_fee: merchant to channel:wechat 0.60"
)
FEE = "  channel_fee      debit merchant 0.60\n                   credit channel:wechat 0.60\n"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("0.60\n\n", "0.61\n\n", ["10: channel_fee, channel:wechat: expected credit 0.61, found credit 0.60"]),
        ("P1 is succeeded", "P1 is failed", ["6: payment P1: expected failed, found succeeded"]),
        ("credit merchant 99", "credit merchant 98", ["14: merchant: expected credit 98.40, found credit 99.40"]),
        ("credit merchant 99", "debit merchant 99", ["14: merchant: expected debit 99.40, found credit 99.40"]),
        ("  credit merchant 99.40\n", "", ["12: merchant: expected nothing, found credit 99.40"]),
        (
            "t 99.40\n  cr",
            "t 99.40\n  credit suspense 1.00\n  cr",
            ["14: suspense: expected credit 1.00, found nothing"],
        ),
        ("credit channel:wechat 0.60", "credit channel:alipay 0.60", [OTHERWISE]),
        (FEE, "", [OTHERWISE]),
        # What is done changes by a cent, not what is said of it: then every account that the cent is on is named.
        (
            "payer pays P1 100.00",
            "payer pays P1 100.01",
            [
                "7: payment_captured, channel:wechat: expected debit 100.00, found debit 100.01",
                "8: payment_captured, merchant: expected credit 100.00, found credit 100.01",
                "13: channel:wechat: expected debit 99.40, found debit 99.41",
                "14: merchant: expected credit 99.40, found credit 99.41",
            ],
        ),
    ],
)
async def test_what_a_play_says_and_the_hub_does_not_do_is_named_with_both_amounts(
    database_url: str, tmp_path: Path, old: str, new: str, said: list[str]
) -> None:
    assert SALE.count(old) == 1
    play = parse(HERE, SALE.replace(old, new), check)
    async with acted(play, database_url, tmp_path) as records:
        assert differences(play, records) == [f"sale.play:{line}" for line in said]


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ("payer pays P1 100.00\nshop refunds R1 100.01 of P1", "sale.play:6: .*refund_exceeds_captured"),
        ("shop closes P1", "sale.play:5: 'shop closes P1': there is no payment P1 yet"),
        ("payer pays P1 100.00\nclerk decides keep on refund_came_back", "sale.play:6: .*no case refund_came_back"),
    ],
)
async def test_what_the_hub_does_not_take_is_told_with_its_place(
    database_url: str, tmp_path: Path, wrong: str, why: str
) -> None:
    play = parse(HERE, f"A sale\n\nIt is wrong.\n\n{wrong}\n\nbalance\n  nothing\n", check)
    with pytest.raises(Unplayable, match=why):
        async with acted(play, database_url, tmp_path):
            pass
