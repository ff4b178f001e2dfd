"""Whether a rail knows us by these credentials: asked by questions that change nothing, before they are put to use."""

from datetime import timedelta

from channels.client import ChannelClient
from channels.contract import BadNotice, Channel, Order, Unknown
from channels.powers import Proves, RotatesKeys
from kernel.env import Env, NoAnswer, NotSent
from kernel.ids import reference
from kernel.money import Money

_NOBODYS = "SLUICE000000PROOF"  # a number no rail gave; one that is asked by its own number says that it has none


async def unproven(channel: Channel, env: Env) -> str | None:
    """Ask about a payment that never was, and for the rail's keys where it gives them sealed for us.

    Returns None when the rail answered as to one it knows; else what it said instead, which may also be silence. What
    no question shows stays open: a secret with which only notices are checked.
    """
    client = ChannelClient(channel, env)
    now = env.now()
    able = channel.capabilities
    order = Order(
        reference(1, f"att_{env.rng.getrandbits(104):026x}1"),
        Money(1, min(able.currencies)),
        min(able.methods),
        "proof",
        "https://sluice.invalid/notify",
        now + timedelta(minutes=30),
        now,
        channel_ref=_NOBODYS if able.query_by_resend else None,
    )
    if isinstance(channel, Proves):
        outcome = await client.exchange("query", order, channel.proof_request, channel.proof_outcome)
    else:
        outcome = await client.query(order)
    if isinstance(outcome, Unknown) and not outcome.not_found:
        return outcome.reason
    if isinstance(channel, RotatesKeys) and (keys := channel.trusted_keys_request()) is not None:
        signed = channel.sign(keys, now=env.now(), nonce=env.secrets(16).hex())
        try:
            channel.trust(keys, await env.transport.send(signed, timeout_s=15), now=env.now())
        except (NotSent, NoAnswer, BadNotice) as error:
            return f"the rail's keys could not be read: {error}"
    return None


async def another_accounts(channel: Channel, env: Env, paid: Order) -> str | None:
    """Ask about a payment that was made into our account: good credentials of another account do not know it.

    Returns None when the rail knows it by these credentials; else what it said instead, which may also be silence.
    """
    outcome = await ChannelClient(channel, env).query(paid)
    return outcome.reason or "no such payment" if isinstance(outcome, Unknown) else None
