"""What a payer is shown, as rows keep it: what the rail gave, whose wallet it is for, and until when it can be used."""

from datetime import datetime

import orjson

from channels.contract import Pending
from kernel.clock import rfc3339


def to_keep(outcome: Pending, channel: str) -> str | None:
    """Return the next_action of a row; None where the rail gave nothing new to show."""
    if outcome.next_action is None:
        return None
    until = {} if outcome.usable_until is None else {"expires_at": rfc3339(outcome.usable_until)}
    return orjson.dumps({**outcome.next_action, "channel": channel, **until}).decode()


def ends_at(next_action: str) -> datetime | None:
    """Return until when it can be used, where that is not as long as the order itself."""
    if '"expires_at"' not in next_action:  # as good as always; it saves the reading
        return None
    until = orjson.loads(next_action).get("expires_at")
    return datetime.fromisoformat(until) if isinstance(until, str) else None


def has_run_out(next_action: str | None, now: datetime) -> bool:
    """Tell whether there was something to show, and it can no longer be used: the rail has to be asked for another."""
    until = None if next_action is None else ends_at(next_action)
    return until is not None and until <= now
