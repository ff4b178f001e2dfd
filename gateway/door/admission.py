"""Who is let in when more comes than can be done: decided before anything is done, at the price of counting.

Work that has begun costs whether or not somebody still waits for it, so a hub that takes everything ends by serving
nobody in time. What is under way at once is therefore limited, and the limit is found by watching: while requests take
about as long as they do without a crowd it grows, when they take longer it shrinks (additive increase, multiplicative
decrease). Time spent waiting for a rail counts for that rail's room, not for the hub's: a rail that hangs fills only
its own. docs/decisions/0026-turned-away-before-anything-is-done.md has the reasons and what it does not do.
"""

import enum
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from kernel.addresses import Addresses
from kernel.env import Env, Request, Response, Transport
from kernel.errors import Rejected, Unavailable

log = logging.getLogger(__name__)

WINDOW_S = 0.1  # the limit is judged so often
PATIENCE_S = 1.0  # of the hub's own time until the first commit; who was let in and is not there yet is turned away
TELL_EVERY_S = 5.0  # one line in the log for all who were turned away meanwhile
MOST_KNOWN = 10_000  # callers who proved who they are, remembered to be told apart before they prove it again
STRANGERS, PAYERS = 0, -1  # no book has these numbers


class TurnedAway(Unavailable):
    """There is too much under way; nothing was done for this one."""


class CallerLeft(Rejected):
    """The connection ended before anything was done for the request. Nobody is there to be told so."""


class Rank(enum.IntEnum):
    """What gives way to what: of a rank, only what has it or a higher one counts when there is room to be found."""

    CREATE = 0  # new payments; whatever leads nowhere
    QUERY = 1  # what concerns payments that exist: reads, refunds, payers' pages
    NOTICE = 2  # a rail says that money moved: what ends the merchants' asking


class _Verdict(enum.Enum):
    COME_IN = 0
    YOURS = 1  # you have a fair part of it under way
    OURS = 2


@dataclass(frozen=True, eq=False)
class Reason:
    """Why and how somebody is turned away at the door: of these there are six, however many are turned away."""

    yours: bool
    again_s: int  # in so many seconds

    def error(self) -> TurnedAway:
        if self.yours:
            said = "you have your share of what the hub can do under way; nothing was done"
            return TurnedAway("too_many_requests", said, retry_after_s=self.again_s)
        said = "the hub has as much under way as it can do; nothing was done"
        return TurnedAway("busy", said, retry_after_s=self.again_s)


_YOURS, _OURS = [[Reason(yours, again_s) for again_s in (1, 2, 3)] for yours in (True, False)]


class Habits(NamedTuple):
    """How a room begins, and how far it may go."""

    least: int  # never fewer at once
    first: int
    most: int  # never more
    usual_s: float  # what one takes without a crowd, until that has been seen
    most_usual_s: float  # not believed to be more
    slack_s: float  # on top of twice the usual before it counts as slow


# Half a second in each leaves an accepted request within a second. Without a crowd a hub takes some 10 ms. The least
# is what may come while the machine stalls for a moment without a flood being made of it.
HUB = Habits(least=32, first=64, most=512, usual_s=0.02, most_usual_s=0.15, slack_s=0.1)
# No more than the connections there are to a host (channels/http.py).
RAIL = Habits(least=16, first=32, most=100, usual_s=0.1, most_usual_s=15.0, slack_s=0.15)


class Room:
    """So many at once, and who they are."""

    def __init__(self, env: Env, habits: Habits) -> None:
        self.env = env
        self._habits = habits
        self.limit = float(habits.first)
        self.usual_s = habits.usual_s
        self._held: list[dict[int, int]] = [{} for _ in Rank]  # by rank: who → how many
        self._counts = [0 for _ in Rank]
        self._window_ends = 0.0
        self._lowered_at = 0.0
        self._count, self._sum_s, self._peak = 0, 0.0, 0

    @property
    def under_way(self) -> int:
        return sum(self._counts)

    def verdict(self, who: int, rank: Rank = Rank.CREATE) -> _Verdict:
        """Tell whether one more of `who` may come in.

        who: a book, or one of those that stand for many. In a full room whoever has less than a fair part under way may
        still come: others have more than theirs, and nobody else comes in for them until that is mended.
        """
        limit = self.limit - sum(self._counts[rank + 1 :])
        if self._counts[rank] < limit:
            return _Verdict.COME_IN
        self._peak = max(self._peak, self.under_way + 1)
        held = self._held[rank]
        mine = held.get(who, 0)
        if len(held) == (1 if mine else 0):
            return _Verdict.OURS
        if mine + 1 > _fair(limit, [*held.values(), *(() if mine else (1,))]):
            return _Verdict.YOURS if mine else _Verdict.OURS
        return _Verdict.OURS if who == STRANGERS else _Verdict.COME_IN

    def take(self, who: int, rank: Rank = Rank.CREATE) -> None:
        self._counts[rank] += 1
        self._peak = max(self._peak, self.under_way)
        held = self._held[rank]
        held[who] = held.get(who, 0) + 1

    def give_back(self, who: int, rank: Rank = Rank.CREATE) -> None:
        self._counts[rank] -= 1
        held = self._held[rank]
        left = held[who] - 1
        if left:
            held[who] = left
        else:
            del held[who]

    def took(self, began: float, seconds: float) -> None:
        """Learn from one that has ended. began: monotonic; what began before the limit fell tells of an older crowd."""
        now = self.env.clock.monotonic()
        if began >= self._lowered_at:
            self._count += 1
            self._sum_s += seconds
        if now >= self._window_ends and self._count:
            self._judge(now, self._sum_s / self._count)
            self._window_ends = now + WINDOW_S
            self._count, self._sum_s, self._peak = 0, 0.0, self.under_way

    def _judge(self, now: float, average_s: float) -> None:
        habits = self._habits
        if average_s < self.usual_s:
            self.usual_s = average_s
        elif 4 * self._peak <= self.limit or self.limit <= habits.least:
            # Without a crowd, or where a smaller one would be no help, slow is what is usual.
            self.usual_s = min(self.usual_s + 0.1 * (average_s - self.usual_s), habits.most_usual_s)
        if average_s > 2 * self.usual_s + habits.slack_s:
            if 2 * self._peak > self.limit:
                self.limit, self._lowered_at = max(habits.least, 0.8 * self.limit), now
        elif self._peak >= self.limit:
            self.limit = min(habits.most, 1.05 * self.limit + 1)


def _fair(limit: float, held: list[int]) -> float:
    """Return the most one may have so that all together have `limit`: what some leave, the others may have."""
    held.sort()
    for number, one in enumerate(held):
        part = limit / (len(held) - number)
        if one >= part:
            return part
        limit -= one
    return float(held[-1])


class CallersLine(Protocol):
    """The connection a caller waits on."""

    def is_closing(self) -> bool: ...


class Ticket:
    """One request that was let in. While it waits for others than us, it is away and takes no place."""

    __slots__ = ("_admission", "_away", "_away_s", "_left", "_line", "_rank", "_room", "_since", "_who", "began")

    def __init__(self, admission: "Admission", who: int, rank: Rank, line: CallersLine | None) -> None:
        room = self._room = admission.room
        self._admission, self._who, self._rank, self._line = admission, who, rank, line
        self._away, self._away_s, self._left, self._since = 0, 0.0, False, 0.0
        self.began = room.env.clock.monotonic()
        room.take(who, rank)

    def go_on(self) -> None:
        """Raise where it is not worth while any more, before anything is done: CallerLeft, TurnedAway."""
        if self._left:  # what goes on beside, after the request has ended, is asked by nobody who could leave
            return
        if self._line is None or self._line.is_closing():
            raise CallerLeft("caller_left", "the connection ended before anything was done")
        if self._room.env.clock.monotonic() - self.began - self._away_s > PATIENCE_S:
            raise TurnedAway("busy", "the request waited too long for its turn; nothing was done")

    def leave(self) -> None:
        """End it: the place is free."""
        if self._away:
            self.come_back(self._away)
        self._left = True
        self._room.give_back(self._who, self._rank)
        self._room.took(self.began, self._room.env.clock.monotonic() - self.began - self._away_s)

    def go_away(self) -> bool:
        """Return whether it did: what has ended, and goes on beside, has no place to leave."""
        if self._left:
            return False
        self._away += 1
        if self._away == 1:
            self._since = self._room.env.clock.monotonic()
            self._room.give_back(self._who, self._rank)
        return True

    def come_back(self, times: int = 1) -> None:
        if self._left:
            return
        self._away -= times
        if not self._away:
            self._away_s += self._room.env.clock.monotonic() - self._since
            self._room.take(self._who, self._rank)  # never refused: what it waited for has happened

    def come_in_again(self) -> None:
        """Come back where there is still room. Raises TurnedAway."""
        reason = self._admission.turns_away(self._rank, self._who)
        if reason is not None:
            raise reason.error()
        self.come_back()


class Place:
    """A place in a room for a request that is let in but whose turn has not come: those behind it see it taken."""

    __slots__ = ("_rank", "_room", "_who")

    def __init__(self, room: Room, who: int, rank: Rank) -> None:
        self._room, self._who, self._rank = room, who, rank
        room.take(who, rank)

    def give_back(self) -> None:
        self._room.give_back(self._who, self._rank)


_current: ContextVar[Ticket | None] = ContextVar("ticket", default=None)


@contextmanager
def away() -> Iterator[None]:
    """Leave the hub's room while inside: whoever works in it meanwhile is not us."""
    ticket = _current.get()
    if ticket is None or not ticket.go_away():
        yield
        return
    try:
        yield
    finally:
        ticket.come_back()


@contextmanager
def outside() -> Iterator[None]:
    """Leave the hub's room while the caller has yet to send the rest, and ask for a place again. Raises TurnedAway.

    Or who begins much and ends nothing fills the room, and who is on a slow line is taken for a slow hub.
    """
    ticket = _current.get()
    left = ticket is not None and ticket.go_away()
    yield
    if ticket is not None and left:
        ticket.come_in_again()


def go_on() -> None:
    """Raise where the request we work for is not worth while any more, see Ticket.go_on; call it before a commit."""
    ticket = _current.get()
    if ticket is not None:
        ticket.go_on()


class Admission:
    """The hub's room in one process."""

    def __init__(self, env: Env, habits: Habits = HUB) -> None:
        self._env = env
        self.room = Room(env, habits)
        self._books: dict[int, int] = {}
        self._turned_away, self._tell_at = 0, 0.0

    def enter(self, rank: Rank, who: int, line: CallersLine | None) -> Ticket:
        """Let a request in and return its ticket, which must be left. Raises TurnedAway, CallerLeft.

        who: see `caller`. line: None where the caller has gone already.
        """
        if line is None or line.is_closing():
            raise CallerLeft("caller_left", "the connection ended before anything was done")
        reason = self.turns_away(rank, who)
        if reason is not None:
            raise reason.error()
        ticket = Ticket(self, who, rank, line)
        _current.set(ticket)
        return ticket

    def hold(self, rank: Rank, who: int) -> Place | Reason:
        """Return a place for a request, which is to be given back just before it enters; or why there is none."""
        return self.turns_away(rank, who) or Place(self.room, who, rank)

    def turns_away(self, rank: Rank, who: int) -> Reason | None:
        """Return why one more of `who` may not come in; None: it may."""
        verdict = self.room.verdict(who, rank)
        if verdict is _Verdict.COME_IN:
            return None
        self._tell()
        return (_YOURS if verdict is _Verdict.YOURS else _OURS)[_come_again(self._env) - 1]

    def caller(self, authorization: str | None) -> int:
        """Return whose header this is, as it comes, unproved: a book, or STRANGERS."""
        return STRANGERS if authorization is None else self._books.get(hash(authorization), STRANGERS)

    def knows(self, authorization: str | None, book: int) -> None:
        """Remember whose header this is: it has been proved. Kept is no key, only its hash in this process."""
        if authorization is not None:
            if len(self._books) >= MOST_KNOWN:
                self._books.clear()
            self._books[hash(authorization)] = book

    def _tell(self) -> None:
        self._turned_away += 1
        now = self._env.clock.monotonic()
        if now >= self._tell_at:
            log.warning(
                "more came than can be done at once",
                extra={"turned_away": self._turned_away, "limit": round(self.room.limit)},
            )
            self._turned_away, self._tell_at = 0, now + TELL_EVERY_S


def _come_again(env: Env) -> int:
    """Return in how many seconds to come again: not the same for all, or those turned away would come all at once."""
    return 1 + int(3 * env.rng.random())


class Rails:
    """A room for each rail: payments that wait for its answer, in this process."""

    def __init__(self, env: Env, habits: Habits = RAIL) -> None:
        self._env = env
        self._habits = habits
        self._rooms: dict[str, Room] = {}

    @property
    def all(self) -> Sequence[tuple[str, Room]]:
        return list(self._rooms.items())

    def room(self, rail: str) -> Room:
        found = self._rooms.get(rail)
        if found is None:
            found = self._rooms[rail] = Room(self._env, self._habits)
        return found

    def with_room(self, book: int, rails: Sequence[str]) -> int:
        """Return the first of these rails, in order of preference, that has room. Raises TurnedAway where none has."""
        for number, rail in enumerate(rails):
            if self.room(rail).verdict(book) is _Verdict.COME_IN:
                return number
        said = f"{rails[0]} does not answer as fast as payments come; nothing was done"
        raise TurnedAway("channel_busy", said, retry_after_s=_come_again(self._env))

    @contextmanager
    def place(self, book: int, rail: str) -> Iterator[None]:
        """Hold a place in a rail's room while inside."""
        room = self.room(rail)
        room.take(book)
        try:
            yield
        finally:
            room.give_back(book)


class Outward:
    """The way out of the host, on which whoever waits is away."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    @property
    def addresses(self) -> Addresses:
        return self._transport.addresses

    async def send(self, request: Request, *, timeout_s: float) -> Response:
        with away():
            return await self._transport.send(request, timeout_s=timeout_s)
