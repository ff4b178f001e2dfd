"""Opening a case, deciding it, and closing one whose matter is gone; each inside the caller's batch."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple, Protocol

import orjson

from cases.catalogue import GONE, HUB, KINDS, NAMED, PROVISIONAL
from cases.objects import case_payload
from cases.states import CASE, CaseEvent
from cases.states import Case as State
from cases.tables import CASES, Case, case_id
from kernel.errors import Conflict, NotFound, Rejected
from kernel.states import advance
from kernel.work import BOOKS, Need, Work
from streams import publish

# The facts that name what a decision named: a channel account, a line, a file.
ACCOUNT, LINE, FILE = "decided_account", "decided_line", "decided_file"
HINDERED = "hindered_by"  # the fact that says why the hub cannot do by itself what would close the case


class Named(NamedTuple):
    """What a decision names besides: what it is, one of NAMED, and its id."""

    what: str
    id: str

    @property
    def fact(self) -> str:
        """The fact of the case under which it is kept."""
        return f"decided_{self.what}"


def needs(book: int, kind: str, about: str) -> Iterable[Need]:
    """Name the rows that opening or closing this case looks at."""
    yield BOOKS, (book,)
    yield CASES, (book, case_id(book, kind, about))


def open_case(
    work: Work,
    book: int,
    kind: str,
    about: str,
    *,
    amount_minor: int | None = None,
    currency: str | None = None,
    facts: Mapping[str, Any] | None = None,
    rest: timedelta = timedelta(0),
) -> Case:
    """Have a person decide about an object; while such a case is open, only bring its facts up to date.

    kind: one of KINDS. about: the object's id. facts: what was found, for whoever decides; no secrets and no personal
    data. rest: how long after a decision the very same facts open nothing, where they are seen each time somebody
    looks. Looks at what `needs` names.
    """
    if kind not in KINDS:
        raise ValueError(f"there is no kind of case {kind!r}; add it to cases/catalogue.py")
    found = work.find(CASES, (book, case_id(book, kind, about)))
    told = orjson.dumps(dict(facts or {}), option=orjson.OPT_SORT_KEYS).decode()
    if found is not None and found.status == State.OPEN:
        if (told, amount_minor, currency) != (found.facts, found.amount_minor, found.currency):
            found = found._replace(facts=told, amount_minor=amount_minor, currency=currency)
            work.put(CASES, found)
        return found
    if found is not None and found.decided_at is not None and found.facts == told:
        rested = work.now - found.decided_at
        if rested < rest:
            return found
    case = Case(
        book, case_id(book, kind, about), kind, about, amount_minor, currency, told, State.OPEN.value, work.now,
        1 if found is None else found.opened_count + 1, None, None, None, None,
    )  # fmt: skip
    work.put(CASES, case)
    publish(work, book, "case.opened", case.id, case_payload(case))
    return case


@dataclass(frozen=True, slots=True)
class OpenCase:
    """Open a case for a fact that a command of its own could not keep: what refuses leaves no trace. Returns it."""

    book: int
    kind: str
    about: str
    amount_minor: int | None
    currency: str | None
    facts: Mapping[str, Any]
    rest: timedelta = timedelta(0)

    def needs(self, work: Work) -> Iterable[Need]:
        yield from needs(self.book, self.kind, self.about)

    def apply(self, work: Work) -> Case:
        return open_case(
            work, self.book, self.kind, self.about,
            amount_minor=self.amount_minor, currency=self.currency, facts=self.facts, rest=self.rest,
        )  # fmt: skip


def close_case(work: Work, book: int, kind: str, about: str, *, why: str) -> Case | None:
    """Close a case whose matter is gone without anybody's decision, where none was made or only a provisional one.

    Returns it; None where there never was one. why: for people, what made it go. Looks at what `needs` names.
    """
    case = work.find(CASES, (book, case_id(book, kind, about)))
    if case is None or not may_be_decided(case):
        return case
    return _decided(work, case, GONE, HUB, why, CaseEvent.GONE)


def may_be_decided(case: Case) -> bool:
    """Tell whether a decision may be made: none was yet, or one that leaves the matter as it is."""
    return case.status == State.OPEN or case.decision in PROVISIONAL


@dataclass(frozen=True, slots=True)
class CloseCase:
    """Close a case whose matter is gone, by a command of its own. Returns it; None where there never was one."""

    book: int
    kind: str
    about: str
    why: str

    def needs(self, work: Work) -> Iterable[Need]:
        yield from needs(self.book, self.kind, self.about)

    def apply(self, work: Work) -> Case | None:
        return close_case(work, self.book, self.kind, self.about, why=self.why)


@dataclass(frozen=True, slots=True)
class NoteHindrance:
    """Note in an open case why the hub cannot do what would close it; one that is decided by now stays as it is."""

    book: int
    kind: str
    about: str
    why: str

    def needs(self, work: Work) -> Iterable[Need]:
        yield from needs(self.book, self.kind, self.about)

    def apply(self, work: Work) -> Case | None:
        case = work.find(CASES, (self.book, case_id(self.book, self.kind, self.about)))
        if case is None or case.status != State.OPEN:
            return case
        facts = {**orjson.loads(case.facts), HINDERED: self.why}
        case = case._replace(facts=orjson.dumps(facts, option=orjson.OPT_SORT_KEYS).decode())
        work.put(CASES, case)
        return case


class Effect(Protocol):
    """What a decision does besides being recorded, in the same batch."""

    def needs(self, work: Work, case: Case) -> Iterable[Need]:
        """Name the rows `apply` will look at."""

    def apply(self, work: Work, case: Case) -> None:
        """Do it. Raises SluiceError to refuse the decision: then it is not recorded either."""


@dataclass(frozen=True, slots=True)
class DecideCase:
    """Record what a person has decided about a case, with what it brings about.

    effects: by (kind, decision). named: what the decision names, for the kinds and decisions that do; it is kept among
    the facts as `decided_account`, `decided_line` or `decided_file`. seen: the case as it was when a second person was
    asked; one that has been opened anew since, or is of another sum, is not the one that was agreed to. Repeating the
    same decision by the same person changes nothing more; one of PROVISIONAL may be followed by another. Returns the
    case.
    Raises NotFound (no_such_case), what check_decision raises, Conflict (case_changed), and what the effect refuses.
    """

    book: int
    case_id: str
    decision: str
    by: str
    note: str
    effects: Mapping[tuple[str, str], Effect]
    named: Named | None = None
    seen: Case | None = None

    def needs(self, work: Work) -> Iterable[Need]:
        yield BOOKS, (self.book,)
        yield CASES, (self.book, self.case_id)
        if work.knows(CASES, (self.book, self.case_id)):
            case = work.find(CASES, (self.book, self.case_id))
            if case is not None and (effect := self.effects.get((case.kind, self.decision))) is not None:
                yield from effect.needs(work, self._with_named(case))

    def apply(self, work: Work) -> Case:
        case = work.find(CASES, (self.book, self.case_id))
        if case is None:
            raise NotFound("no_such_case", f"there is no case {self.case_id}; see `sluice case list`")
        if not check_decision(case, self.decision, self.by, self.note, self.named):
            return case
        if self.seen is not None and _at_stake(self.seen) != _at_stake(case):
            raise Conflict("case_changed", f"{case.id} is not as it was when it was agreed to; look at it again")
        decided = _decided(work, self._with_named(case), self.decision, self.by, self.note, CaseEvent.DECIDED)
        if (effect := self.effects.get((case.kind, self.decision))) is not None:
            effect.apply(work, decided)
        return decided

    def _with_named(self, case: Case) -> Case:
        if self.named is None:
            return case
        facts = {**orjson.loads(case.facts), self.named.fact: self.named.id}
        return case._replace(facts=orjson.dumps(facts, option=orjson.OPT_SORT_KEYS).decode())


def named_in(case: Case, decision: str) -> Named | None:
    """Return what the facts of a case say that this decision named."""
    what = KINDS[case.kind].names.get(decision)
    if what is None:
        return None
    ident = orjson.loads(case.facts).get(Named(what, "").fact)
    return None if ident is None else Named(what, ident)


def check_decision(case: Case, decision: str, by: str, note: str, named: Named | None) -> bool:
    """See whether a case may be decided so; return whether that is new: the same by the same person changes nothing.

    Raises Conflict (case_decided) where it has been decided otherwise, Rejected (no_such_decision, case_note_missing,
    case_decider_missing, and case_account_missing, case_line_missing, case_file_missing, case_name_needless).
    """
    same = (case.decision, case.decided_by, case.note) == (decision, by, note)
    if same and named_in(case, decision) == named:
        return False
    if not may_be_decided(case):
        raise Conflict(
            "case_decided",
            f"{case.id} was decided by {case.decided_by}: {case.decision}",
            decision=case.decision,
            decided_by=case.decided_by,
        )
    may = KINDS[case.kind].decisions
    if decision not in may:
        raise Rejected("no_such_decision", f"{case.kind} is decided by one of: {', '.join(may)}", param="decision")
    if not by.strip():
        raise Rejected("case_decider_missing", "say who decides", param="by")
    if not note.strip():
        raise Rejected("case_note_missing", "give the reason of the decision", param="note")
    what = KINDS[case.kind].names.get(decision)
    if named is not None and named.what != what:
        raise Rejected("case_name_needless", f"{decision} does not name {NAMED[named.what]}", param=named.what)
    if what is not None and named is None:
        needed = f"{decision} needs {NAMED[what]}"
        if what == "account":
            raise Rejected("case_account_missing", needed, param=what)
        raise Rejected("case_line_missing" if what == "line" else "case_file_missing", needed, param=what)
    return True


def takes_two(decision: str) -> bool:
    """Tell whether a decision takes two people: all do that end a matter of money, by doing something or by a word."""
    return decision not in PROVISIONAL


def _at_stake(case: Case) -> tuple[object, ...]:
    """Return of a case what a decision about it is about."""
    return case.id, case.opened_count, case.amount_minor, case.currency


def _decided(work: Work, case: Case, decision: str, by: str, note: str, event: CaseEvent) -> Case:
    decided = case._replace(
        status=advance(CASE, State(case.status), event).value,
        decision=decision, decided_by=by, decided_at=work.now, note=note,
    )  # fmt: skip
    work.put(CASES, decided)
    publish(work, case.book, "case.decided", case.id, case_payload(decided))
    return decided
