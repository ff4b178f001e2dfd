"""Events out of the hub 事件流: gapless and chained within a book, delivered at least once."""

from streams import store
from streams.bell import Bell
from streams.consumer import Consumer
from streams.outbox import EVENTS, POSITIONS, Event, publish
from streams.relay import Relay
from streams.store import INVARIANTS, events_after

__all__ = [
    "EVENTS",
    "INVARIANTS",
    "POSITIONS",
    "Bell",
    "Consumer",
    "Event",
    "Relay",
    "events_after",
    "publish",
    "store",
]
