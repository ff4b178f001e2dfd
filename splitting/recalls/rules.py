"""By which number a bank knows a recall, and what a recall may say. Pure."""

import re

from channels.banks import RECALL_REASONS, no_text
from kernel.errors import Rejected
from kernel.ids import base36
from splitting.settlement.ids import INSTRUCTION_ID
from splitting.withdrawals.rules import PREFIX

MOST_NOTE = 105  # characters
_OF_LINE = re.compile(r"r([1-9][0-9]{0,2})-(.{1,40})", re.ASCII)
_OF_WITHDRAWAL = re.compile(r"([0-9a-z]{1,6})-r([1-9][0-9]{0,2})-([0-9a-f]{26})", re.ASCII)


def number_at_bank(book: int, about: str, number: int) -> str:
    """Return a recall's number at the bank, of at most 35 characters: of the line or withdrawal, the n-th time."""
    if about.startswith(PREFIX):
        return f"{base36(book)}-r{number}-{about.removeprefix(PREFIX)}"
    return f"r{number}-{about}"


def recalled_by(book: int, text: str) -> tuple[str, int] | None:
    """Return of which line or withdrawal of this book a recall is, and the how-manieth; None where it is no such."""
    own = base36(book)
    if (found := _OF_LINE.fullmatch(text)) is not None:
        line = found[2]
        if INSTRUCTION_ID.fullmatch(line) is not None and line.startswith(f"{own}-"):
            return line, int(found[1])
    if (found := _OF_WITHDRAWAL.fullmatch(text)) is not None and found[1] == own:
        return PREFIX + found[3], int(found[2])
    return None


def check(reason: str, note: str) -> None:
    """Raise Rejected (recall_wrong) for what no recall may say."""
    if reason not in RECALL_REASONS:
        why = f"{reason[:10]!r} is no reason of a recall; there are {', '.join(RECALL_REASONS)}"
        raise Rejected("recall_wrong", why, param="reason")
    if note and (wrong := no_text("the note", note, MOST_NOTE)) is not None:
        raise Rejected("recall_wrong", wrong, param="note")
