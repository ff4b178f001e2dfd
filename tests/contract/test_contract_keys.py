"""Channels change their keys while messages are under way."""

import pytest

from channels import CHANNELS, ChannelClient, Confirmed
from tests.contract.plays import Play, plays

pytestmark = pytest.mark.asyncio(loop_scope="session")


@plays(alone=True)
async def test_a_notice_under_way_while_keys_change_is_read_and_so_are_later_ones(play: Play) -> None:
    play.client = ChannelClient(CHANNELS[play.rail.name](play.other.when_keys_change()), play.env)
    before = await play.paid()
    _, under_way = await play.notice()
    await play.other.rotate_keys()
    if not play.other.LEARNS_KEYS:
        play.client = ChannelClient(CHANNELS[play.rail.name](play.other.settings()), play.env)
    after = await play.paid()
    new, message = await play.notice()
    assert new.reference == after.reference
    old = await play.read(under_way)
    assert old is not None
    assert old.reference == before.reference
    assert await play.read(message) == new


@plays(alone=True, when=lambda rail: rail.other.LEARNS_KEYS and rail.capabilities.signs_answers)
async def test_a_new_key_of_the_channel_is_learned_under_way(play: Play) -> None:
    client = ChannelClient(CHANNELS[play.rail.name](play.other.when_keys_change()), play.env)
    play.client = client
    order = await play.begun(play.order())
    await play.other.pay(order.reference)
    await play.other.rotate_keys()
    assert isinstance(await client.query(order), Confirmed)
