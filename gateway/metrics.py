"""What the gateway measures, in Prometheus' terms."""

from collections.abc import Iterable
from datetime import datetime
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from cases.store import Waiting
from channels import Outcome
from kernel.lane import Lanes

_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 15)


class Crowd(Protocol):
    """Anything that lets only so many in at once."""

    @property
    def under_way(self) -> int: ...

    @property
    def limit(self) -> float: ...


class Metrics:
    """The figures of one process; with several workers they are summed by prometheus_client's shared files."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "sluice_http_requests_total", "Requests answered", ["route", "status"], registry=registry
        )
        self.latency = Histogram(
            "sluice_http_request_seconds", "Time to answer", ["route"], buckets=_BUCKETS, registry=registry
        )
        self.channel_calls = Counter(
            "sluice_channel_calls_total", "Calls to channels", ["op", "channel", "outcome"], registry=registry
        )
        self.channel_latency = Histogram(
            "sluice_channel_call_seconds", "Time a channel took", ["op", "channel"], buckets=_BUCKETS, registry=registry
        )
        self.notices = Counter("sluice_notices_total", "Notices that came in", ["channel", "result"], registry=registry)
        self.lane_waiting = Gauge(
            "sluice_lane_waiting", "Commands waiting for a commit", registry=registry, multiprocess_mode="livesum"
        )
        self.lane_batches = Gauge(
            "sluice_lane_batches", "Batches committed", registry=registry, multiprocess_mode="livesum"
        )
        self.lane_commands = Gauge(
            "sluice_lane_commands", "Commands committed", registry=registry, multiprocess_mode="livesum"
        )
        self.cases_open = Gauge(
            "sluice_cases_open",
            "Cases that wait for a person's decision",
            ["kind"],
            registry=registry,
            multiprocess_mode="mostrecent",
        )
        self.case_oldest = Gauge(
            "sluice_case_oldest_seconds",
            "How long the oldest of them has waited",
            ["kind"],
            registry=registry,
            multiprocess_mode="mostrecent",
        )
        self.payees_suspended = Gauge(
            "sluice_payees_suspended",
            "Payees to whom nothing is paid out",
            registry=registry,
            multiprocess_mode="mostrecent",
        )
        self.proofs_failing = Gauge(
            "sluice_proofs_failing",
            "Business dates of the last 31 whose newest certificate says that the proof does not hold",
            registry=registry,
            multiprocess_mode="mostrecent",
        )
        self.proof_age = Gauge(
            "sluice_proof_age_seconds",
            "Since the last business date ended whose proof holds; -1: none ever did",
            registry=registry,
            multiprocess_mode="mostrecent",
        )
        self.timetable_late = Gauge(
            "sluice_timetable_late_seconds",
            "For how long a step of a business date has been due and not done; of whoever has waited longest",
            ["step"],
            registry=registry,
            multiprocess_mode="mostrecent",
        )
        self.lane_books_aside = Gauge(
            "sluice_lane_books_aside",
            "Books that something else holds and whose commands wait for it",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.database_up = Gauge(
            "sluice_database_up",
            "1 where the last look at the database was answered",
            registry=registry,
            multiprocess_mode="mostrecent",
        )
        self.worker_beat = Gauge(
            "sluice_worker_heartbeat_seconds",
            "Since any worker last said that it lives; -1: none ever did",
            registry=registry,
            multiprocess_mode="mostrecent",
        )
        self.consumer_lag = Gauge(
            "sluice_consumer_lag_events",
            "Events a consumer has not handled yet, of all books",
            ["consumer"],
            registry=registry,
            multiprocess_mode="mostrecent",
        )
        self.overdue = Gauge(
            "sluice_overdue_seconds",
            "How late the oldest open attempt, refund or cashier payment is with being asked about; a settlement's age",
            ["what"],
            registry=registry,
            multiprocess_mode="mostrecent",
        )
        self.bank_unread = Gauge(
            "sluice_bank_unread_seconds",
            "Since all that a bank had for a merchant was last read; of the merchant for whom that is longest ago",
            ["bank"],
            registry=registry,
            multiprocess_mode="mostrecent",
        )
        self._banks: set[str] = set()
        self.log_lines_dropped = Counter(
            "sluice_log_lines_dropped_total", "Lines of the log that nobody read in time", registry=registry
        )
        self.admission_limit = Gauge(
            "sluice_admission_limit",
            "Requests that may be under way at once, as found; of the hub, and payments at each rail",
            ["room"],
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.admission_under_way = Gauge(
            "sluice_admission_under_way",
            "Requests under way, and payments at each rail",
            ["room"],
            registry=registry,
            multiprocess_mode="livesum",
        )
        # Looking a labelled child up costs more than counting, so each is kept once found.
        self._children: dict[tuple[str, int], tuple[Counter, Histogram]] = {}
        self._calls: dict[tuple[str, str, str], tuple[Counter, Histogram]] = {}

    def answered(self, route: str, status: int, seconds: float | None) -> None:
        """Count one answered request; `route` is the pattern, never the path. seconds: None for what was turned away.

        Among the times those would make the hub look fastest when it is fullest.
        """
        children = self._children.get((route, status))
        if children is None:
            children = (self.requests.labels(route, str(status)), self.latency.labels(route))
            self._children[route, status] = children
        children[0].inc()
        if seconds is not None:
            children[1].observe(seconds)

    def channel_call(self, op: str, channel: str, outcome: Outcome, seconds: float) -> None:
        """Count one call to a channel and what it said."""
        said = type(outcome).__name__
        children = self._calls.get((op, channel, said))
        if children is None:
            counted = self.channel_calls.labels(op, channel, said.lower())
            children = self._calls[op, channel, said] = (counted, self.channel_latency.labels(op, channel))
        children[0].inc()
        children[1].observe(seconds)

    def watch(self, lanes: Lanes) -> None:
        """Take the lanes' figures over; called when metrics are read."""
        self.lane_waiting.set(sum(lane.waiting for lane in lanes.all))
        self.lane_books_aside.set(sum(lane.books_aside for lane in lanes.all))
        self.lane_batches.set(sum(lane.figures.batches for lane in lanes.all))
        self.lane_commands.set(sum(lane.figures.commands for lane in lanes.all))

    def tell_rooms(self, rooms: Iterable[tuple[str, Crowd]]) -> None:
        """Take over what is under way, and how much may be, by the room's name."""
        for name, room in rooms:
            self.admission_limit.labels(name).set(room.limit)
            self.admission_under_way.labels(name).set(room.under_way)

    def tell_banks(self, least_read: Iterable[tuple[str, datetime]], now: datetime) -> None:
        """Take over since when each bank's files are unread; one that is no longer followed goes back to 0."""
        found = dict(least_read)
        self._banks |= found.keys()
        for bank in self._banks:
            self.bank_unread.labels(bank).set(max(0, (now - found.get(bank, now)).total_seconds()))

    def tell_cases(self, kinds: Iterable[str], waiting: Iterable[Waiting], now: datetime) -> None:
        """Take over what waits for a person: of every kind, so that one that no longer waits goes back to 0."""
        found = {one.kind: one for one in waiting}
        for kind in kinds:
            one = found.get(kind)
            self.cases_open.labels(kind).set(0 if one is None else one.number)
            self.case_oldest.labels(kind).set(0 if one is None else (now - one.since).total_seconds())
