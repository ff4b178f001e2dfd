"""No address among any rail's settings leads the hub to a neighbour: not when it is entered, not when it is called."""

from pathlib import Path
from typing import Any

import aiohttp
import pytest

from channels import CHANNELS, ChannelClient, HttpTransport
from channels.registry import secrets_of
from channels.settings import SHOWN, absorb, check_addresses
from kernel.addresses import LOOPBACK, PUBLIC, AddressRefused
from kernel.env import system_env
from tests.contract.counterparties import COUNTERPARTIES

pytestmark = pytest.mark.asyncio(loop_scope="session")

# Addresses that rails read beside the ones our sandbox gives.
MORE = {"wechat": ("api_url",), "unionpay": ("file_url",)}
METADATA = "http://169.254.169.254/latest/meta-data"


@pytest.mark.parametrize("name", sorted(CHANNELS))
async def test_every_address_of_a_rail_is_checked_when_it_is_entered(
    name: str, base_url: str, http: aiohttp.ClientSession
) -> None:
    other = COUNTERPARTIES[name](base_url, http)
    await other.open_account()
    public, hidden = absorb(other.settings(), secrets_of(name), folder=Path())
    settings: dict[str, Any] = {**public, **hidden}
    check_addresses(settings, LOOPBACK)
    with pytest.raises(AddressRefused):
        check_addresses(settings, PUBLIC)
    named = {key for key, value in settings.items() if isinstance(value, str) and value.startswith(base_url)}
    assert "base_url" in named
    for key in named - SHOWN | set(MORE.get(name, ())):
        with pytest.raises(AddressRefused, match=key):
            check_addresses({**settings, key: METADATA}, LOOPBACK)

    # Nor does an account of before, which nobody checked, lead there: of all that it asks, nothing is sent.
    async with HttpTransport() as transport:
        env = system_env(transport)
        bill = await ChannelClient(CHANNELS[name](settings), env).bill(env.now().date())
        assert bill.content is None
        assert "not an address of the public internet" in bill.reason
        await env.tasks.aclose()
