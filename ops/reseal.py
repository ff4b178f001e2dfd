"""Putting every credential under the current master key: the body of `sluice channel reseal`."""

from collections.abc import Callable
from typing import Any

from ops.wiring import Hub


async def reseal(
    hub: Hub, *, new_key: bool, retire: bool, progress: Callable[[int, int], None] = lambda done, of: None
) -> dict[str, Any]:
    """Put the credentials of all channel accounts and bank links, and our own keys, under the current master key.

    Repeating it finishes what was left. new_key: make one first. retire: then forget the master keys that nothing is
    under, unless something failed. Whatever moment this is stopped at, everything opens: a key is forgotten only when
    nothing needs it any more.
    """
    if new_key:
        hub.keys.add()
    rails, banks = await hub.channel_admin.reseal(progress), await hub.banks.reseal()
    own = await hub.certificate_keys.reseal()
    failed = [*rails.failed, *banks.failed, *own.failed]
    unused = set(hub.keys.ids()[1:]) - rails.in_use - banks.in_use - own.in_use
    retired = sorted(unused) if retire and not failed else []
    if retired:
        hub.keys.retire(unused)
    return {
        "resealed": rails.done + banks.done + own.done,
        "already": rails.already + banks.already + own.already,
        "failed": failed,
        "master_keys": hub.keys.ids(),
        "retired": retired,
    }
