"""Credentials are proved by a question that changes nothing: the right ones pass at every rail, stolen ones do not."""

import pytest

from channels import CHANNELS
from channels.proof import another_accounts, unproven
from tests.contract.plays import Play, plays

pytestmark = pytest.mark.asyncio(loop_scope="session")


@plays()
async def test_the_rail_knows_us_by_our_credentials(play: Play) -> None:
    assert await unproven(CHANNELS[play.rail.name](play.other.settings()), play.env) is None


@plays()
async def test_the_rail_does_not_know_us_by_somebody_elses(play: Play) -> None:
    stranger = type(play.other)(play.other.base_url, play.other.http)
    await stranger.open_account()
    stolen = CHANNELS[play.rail.name](play.other.with_stolen_keys(stranger))
    said = await unproven(stolen, play.env)
    assert said, "stolen keys were believed"


@plays()
async def test_good_credentials_of_another_account_do_not_know_what_was_paid_into_ours(play: Play) -> None:
    order = await play.paid()
    assert await another_accounts(CHANNELS[play.rail.name](play.other.settings()), play.env, order) is None
    stranger = type(play.other)(play.other.base_url, play.other.http)
    await stranger.open_account()
    theirs = CHANNELS[play.rail.name](stranger.settings())
    assert await unproven(theirs, play.env) is None
    assert await another_accounts(theirs, play.env, order), "another account knows what was paid into ours"
