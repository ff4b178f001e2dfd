"""Straightens the plays' columns and writes what README.md has of them: python -m tests.scenarios.pages"""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import cases
from ledger.accounts import NATURE, Side, kind_of
from ledger.rules import RULES
from ops.cases import EFFECTS
from tests.scenarios.coverage import (
    NOT_REACHED,
    Place,
    cases_shown,
    decisions_shown,
    ends,
    rules_shown,
    states_shown,
)
from tests.scenarios.language import ACTIONS, ANSWERS
from tests.scenarios.reader import LINE, POSTING, Play, read
from tests.scenarios.stage import check

HERE = Path(__file__).parent
README = HERE / "README.md"
PLAYS = sorted(HERE.glob("plays/*.play"))
EXAMPLE = HERE / "plays" / "refund_on_hold.play"

_SHOWN = 3
_RULE, _SIDE, _ACCOUNT, _CHINESE, _DEBIT, _CREDIT = 24, 8, 22, 12, 10, 12  # widths on a screen


def every_play() -> list[Play]:
    return [read(path, check) for path in PLAYS]


# ---- columns ---------------------------------------------------------------------------------------------------------


def straightened(text: str) -> str:
    """Return a play with its accounts and amounts in columns, and the Chinese term beside every account."""
    return "".join(f"{_straight(row.rstrip())}\n" for row in text.rstrip().splitlines())


def _straight(row: str) -> str:
    if not row.startswith(" "):
        return row
    row = row.strip()
    posting = POSTING.fullmatch(row)
    line = LINE.fullmatch(posting["line"] if posting else row)
    if line is None:
        return f"  {row}"
    rule = " ".join(filter(None, (posting["rule"], posting["step"]))) if posting else ""
    account = f"{line['account']} "  # a long one has a space after it, too
    cells = ((rule, _RULE), (line["side"], _SIDE), (account, _ACCOUNT))
    chinese = _wide(NATURE[kind_of(line["account"])].chinese, _CHINESE)
    amount = line["amount"].rjust(_DEBIT if line["side"] == Side.DEBIT else _DEBIT + _CREDIT)
    return f"  {''.join(_wide(*cell) for cell in cells)}{chinese}{amount}"


def _wide(text: str, columns: int) -> str:
    """Return text filled up to so many columns of a screen; a Chinese character takes two."""
    taken = sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)
    return text + " " * (columns - taken)


# ---- tables ----------------------------------------------------------------------------------------------------------


def tables(plays: Sequence[Play]) -> Mapping[str, str]:
    """Return what README.md has of the plays, by its names."""
    rules, states, kinds, decisions = (
        shown(plays) for shown in (rules_shown, states_shown, cases_shown, decisions_shown)
    )
    return {
        "example": f"```\n{EXAMPLE.read_text('utf-8')}```",
        "plays": _table(("play", "what it shows"), ((_link(Place(p.path.stem, 1)), p.title) for p in plays)),
        "rules": _table(
            ("posting rule", "debit 借", "credit 贷", "what it is", "shown by"),
            (
                (f"`{name}`", f"`{rule.debit}`", f"`{rule.credit}`", rule.meaning, _links(rules.get(name)))
                for name, rule in RULES.items()
            ),
        ),
        "ends": _table(
            ("object", "ends as", "shown by"),
            ((name, f"`{state}`", _end((name, state), states.get((name, state)))) for name, state in ends()),
        ),
        "cases": _table(
            ("case", "what has happened", "shown by"),
            ((f"`{kind}`", one.says, _links(kinds.get(kind))) for kind, one in cases.KINDS.items()),
        ),
        "decisions": _table(
            ("case", "decision", "what a person says by it", "shown by"),
            (
                (f"`{kind}`", f"`{word}`", cases.KINDS[kind].decisions[word], _links(decisions.get((kind, word))))
                for kind, word in EFFECTS
            ),
        ),
        "actions": _table(("line", "what happens"), ((f"`{one.template}`", one.meaning) for one in ACTIONS)),
        "answers": _table(
            ("answer", "the channel"), ((f"`while wechat {words}`", told[0]) for words, told in ANSWERS.items())
        ),
    }


def _end(end: tuple[str, str], places: Sequence[Place] | None) -> str:
    return f"none: {NOT_REACHED[end]}" if end in NOT_REACHED else _links(places)


def _links(places: Sequence[Place] | None) -> str:
    """Return links to the three plainest plays, and how many more there are."""
    first, more = (places or ())[:_SHOWN], len(places or ()) - _SHOWN
    return "<br>".join([*map(_link, first), *([f"and {more} more"] if more > 0 else [])])


def _link(place: Place) -> str:
    return f"[{place.play}.play:{place.number}](plays/{place.play}.play#L{place.number})"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = (f"| {' | '.join(cells)} |" for cells in (head, *rows))
    first, *others = lines
    return "\n".join([first, "|---" * len(head) + "|", *others])


def with_tables(text: str, plays: Sequence[Play]) -> str:
    """Return the page with its tables as the plays have them now."""
    for name, table in tables(plays).items():
        begin, end = f"<!-- {name}, made from the plays -->\n", f"\n<!-- end of {name} -->"
        place = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
        if not place.search(text):
            raise ValueError(f"README.md has no place for {name}")
        text = place.sub(lambda _, made=f"{begin}\n{table}\n{end}": made, text)  # type: ignore[misc]
    return text


def main() -> None:
    for path in PLAYS:
        path.write_text(straightened(path.read_text("utf-8")), "utf-8")
    README.write_text(with_tables(README.read_text("utf-8"), every_play()), "utf-8")


if __name__ == "__main__":
    main()
