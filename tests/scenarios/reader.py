"""Reads a play and holds it against what a hub did. Pure: knows the chart of accounts, the rules and the states.

A play is text, in this order: its title; what happens and why it matters; then the steps. A step is a line at the left
edge, one action, and under it, indented, what the action leads to: the states of objects, and its postings, an account
a line. `balance` and `available` list every account that does not stand at nothing. README.md shows one.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from cases.catalogue import GONE
from ledger.accounts import NATURE, AccountKind, Side, kind_of
from ledger.rules import RULES
from ops.money_states import MEANING

# What the plays tell apart and the tables of states do not: a case that ended without a person's decision.
TOLD_APART = {"case": frozenset({GONE})}

HELD, RELEASED = "held", "released"  # 冻结, 解冻: of a posting that reserves, or gives free, and moves nothing
STANDINGS = ("balance", "available")
NOTHING = "nothing"

_AMOUNT = r"\d+\.\d\d"
LINE = re.compile(
    rf"(?P<side>debit|credit) +(?P<account>[a-z_]+(?::[a-z_.]+)?)(?: +(?P<chinese>\S+))? +(?P<amount>{_AMOUNT})"
)
POSTING = re.compile(rf"(?P<rule>[a-z_]+)(?: (?P<step>{HELD}|{RELEASED}))? +(?P<line>debit .*)")
_CLAIM = re.compile(r"(?P<object>[a-z_]+) (?P<name>.+) is (?P<state>[a-z_]+)")


class Malformed(Exception):
    """A play that cannot be read; says where and why."""


class Unplayable(Exception):
    """An action that the hub did not take; says where and why."""


class Line(NamedTuple):
    """An account and what a posting moves, or a balance has, on one of its sides."""

    number: int
    side: str
    account: str
    minor: int


class Posting(NamedTuple):
    """One posting by a rule; step: "", HELD or RELEASED."""

    number: int
    rule: str
    step: str
    debit: Line
    credit: Line


class Claim(NamedTuple):
    """That an object is in a state."""

    number: int
    object: str
    name: str
    state: str


@dataclass
class Step:
    """An action, or a look at all accounts, and what the play says of it. given: its postings are not listed."""

    number: int
    text: str
    given: bool = False
    claims: list[Claim] = field(default_factory=list)
    postings: list[Posting] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)  # of a balance

    @property
    def is_standing(self) -> bool:
        return self.text in STANDINGS


@dataclass
class Play:
    path: Path
    title: str
    story: str
    steps: list[Step]

    def at(self, number: int) -> str:
        return f"{self.path.name}:{number}"


class Posted(NamedTuple):
    """A posting as the journal has it, its accounts under the names that plays use."""

    rule: str
    step: str
    debit: str
    credit: str
    minor: int


@dataclass
class Record:
    """What the hub did at one step. balances: by account, debits positive."""

    postings: list[Posted] = field(default_factory=list)
    balances: dict[str, int] = field(default_factory=dict)
    states: dict[tuple[str, str], str] = field(default_factory=dict)  # by object and name


def states_of(name: str) -> set[str]:
    """Return the states an object may have, in the words of the plays."""
    return set(MEANING[name]) | TOLD_APART.get(name, frozenset())


def money(minor: int) -> str:
    return f"{minor // 100}.{minor % 100:02}"


# ---- reading ---------------------------------------------------------------------------------------------------------


def read(path: Path, check_action: Callable[[str], None]) -> Play:
    """Read a play. check_action: raises ValueError for a line that is no action. Raises Malformed."""
    return parse(path, path.read_text("utf-8"), check_action)


def parse(path: Path, text: str, check_action: Callable[[str], None]) -> Play:
    rows = text.splitlines()
    head = next((n for n, row in enumerate(rows) if not row.strip()), len(rows))
    end = next((n for n, row in enumerate(rows[head + 1 :], head + 1) if not row.strip()), len(rows))
    play = Play(path, rows[0] if rows else "", " ".join(rows[head + 1 : end]), [])
    # A play that lacks its title or its story would have its first actions taken for the story.
    if head != 1 or not play.story or any(row.startswith(" ") for row in rows[head + 1 : end]):
        raise Malformed(f"{play.at(1)}: a play begins with its title, an empty line, and what happens in it")
    for number, row in enumerate(rows[end:], end + 1):
        try:
            _read_row(play, number, row.rstrip(), check_action)
        except ValueError as error:
            raise Malformed(f"{play.at(number)}: {error}") from None
    for step in play.steps:
        _check_pairs(play, step)
    if not play.steps or play.steps[-1].text != "balance":
        raise Malformed(f"{play.at(len(rows))}: a play ends with a balance, which shows every account")
    return play


def _read_row(play: Play, number: int, row: str, check_action: Callable[[str], None]) -> None:
    if not row:
        return
    if not row.startswith(" "):
        given = row.startswith("given ")
        step = Step(number, row.removeprefix("given "), given)
        if not step.is_standing:
            check_action(step.text)
        elif given:
            raise ValueError(f"{step.text!r} is looked at, not given")
        play.steps.append(step)
        return
    if not play.steps:
        raise ValueError("there is no action yet that this could follow from")
    step, row = play.steps[-1], row.strip()
    if step.is_standing:
        if row != NOTHING:
            step.lines.append(_line(number, row))
    elif claim := _CLAIM.fullmatch(row):
        step.claims.append(_claim(number, **claim.groupdict()))
    elif step.given:
        raise ValueError("of what is given only states are told, no postings: take 'given' away to list them")
    elif posting := POSTING.fullmatch(row):
        rule, debit = posting["rule"], _line(number, posting["line"])
        if rule not in RULES:
            raise ValueError(f"there is no posting rule {rule!r}; ledger/rules.py has them")
        unknown = Line(number, "credit", "", 0)
        step.postings.append(Posting(number, rule, posting["step"] or "", debit, unknown))
    elif row.startswith("credit ") and step.postings and not step.postings[-1].credit.account:
        step.postings[-1] = step.postings[-1]._replace(credit=_line(number, row))
    else:
        raise ValueError(
            f"{row!r} is neither a state ('payment P1 is succeeded') nor a posting ('RULE debit ACCOUNT AMOUNT', and "
            "'credit ACCOUNT AMOUNT' on the next line)"
        )


def _line(number: int, text: str) -> Line:
    found = LINE.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not 'debit' or 'credit', an account, and an amount like 100.00")
    account = found["account"]
    try:
        kind = kind_of(account)
    except ValueError:
        raise ValueError(f"there is no account {account!r}: {', '.join(AccountKind)}") from None
    if found["chinese"] not in (None, NATURE[kind].chinese):
        raise ValueError(f"{account} is {NATURE[kind].chinese} in the chart of accounts, not {found['chinese']}")
    return Line(number, found["side"], account, int(found["amount"].replace(".", "")))


def _claim(number: int, object: str, name: str, state: str) -> Claim:
    if object not in MEANING:
        raise ValueError(f"there is no {object!r}: {', '.join(MEANING)}")
    if state not in states_of(object):
        raise ValueError(f"a {object} is never {state!r}: {', '.join(sorted(states_of(object)))}")
    return Claim(number, object, name, state)


def _check_pairs(play: Play, step: Step) -> None:
    for posting in step.postings:
        if not posting.credit.account:
            raise Malformed(f"{play.at(posting.number)}: {posting.rule} has no credit under its debit")


# ---- holding it against what the hub did -----------------------------------------------------------------------------


def differences(play: Play, records: Iterable[Record]) -> list[str]:
    """Return what a play says and the hub did otherwise, a line each with its place; empty where they agree."""
    found: list[str] = []
    for step, record in zip(play.steps, records, strict=True):
        for claim in step.claims:
            state = record.states.get((claim.object, claim.name), "not there")
            if state != claim.state:
                found.append(
                    f"{play.at(claim.number)}: {claim.object} {claim.name}: expected {claim.state}, found {state}"
                )
        if step.is_standing:
            found += _of_standing(play, step, record.balances)
        elif not step.given:
            found += _of_postings(play, step, record.postings)
    return found


def _of_standing(play: Play, step: Step, balances: Mapping[str, int]) -> Iterable[str]:
    left = {account: minor for account, minor in balances.items() if minor}
    for line in step.lines:
        wanted = line.minor if line.side == Side.DEBIT else -line.minor
        if (there := left.pop(line.account, 0)) != wanted:
            yield f"{play.at(line.number)}: {line.account}: expected {_on_side(wanted)}, found {_on_side(there)}"
    for account, minor in left.items():
        yield f"{play.at(step.number)}: {account}: expected nothing, found {_on_side(minor)}"


def _of_postings(play: Play, step: Step, posted: list[Posted]) -> Iterable[str]:
    told = [(posting.rule, posting.step, posting.debit.account, posting.credit.account) for posting in step.postings]
    if told != [one[:4] for one in posted]:
        journal = "; ".join(
            f"{' '.join(filter(None, one[:2]))}: {one[2]} to {one[3]} {money(one[4])}" for one in posted
        )
        yield f"{play.at(step.number)}: {step.text!r} posted otherwise: {journal or NOTHING}"
        return
    for posting, one in zip(step.postings, posted, strict=True):
        for line in (posting.debit, posting.credit):
            if line.minor != one.minor:
                yield (
                    f"{play.at(line.number)}: {posting.rule}, {line.account}: "
                    f"expected {line.side} {money(line.minor)}, found {line.side} {money(one.minor)}"
                )


def _on_side(minor: int) -> str:
    return f"{Side.DEBIT if minor > 0 else Side.CREDIT} {money(abs(minor))}" if minor else NOTHING
