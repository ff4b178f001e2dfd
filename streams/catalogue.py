"""An event's type as a record: what the event catalogue 事件目录 is made of.

Each package has the types of its subject in a mapping `EVENTS`, name → record; `ops/wiring.py` joins them.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple


class EventType(NamedTuple):
    """One type of event."""

    says: str  # for people
    payload: Any  # the model of what it carries
    listeners: tuple[str, ...] = ()  # our own
    # Of the model. One more where a reader of the one before would misread it: a member goes, or means something else.
    version: int = 1


Catalogue = Mapping[str, EventType]
