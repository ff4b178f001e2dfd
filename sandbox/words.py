"""Answers in which a state is said in another word, for the fault `answer_status`; they are signed like all others."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

Names = Sequence[Sequence[str]]


def in_other_words(said: Any, names: Names, word: str) -> Any:
    """Return what is said with `word` in place of each state in it, however deep.

    names: the fields that hold a state; of several groups, the first of which a field is there.
    """
    for group in names:
        changed = _replaced(said, group, word)
        if changed != said:
            return changed
    return said


def json_in_other_words(body: bytes, names: Names, word: str) -> bytes:
    """Return the same of an answer as it is sent; an empty one says no state."""
    return orjson.dumps(in_other_words(orjson.loads(body), names, word)) if body else body


def _replaced(said: Any, group: Sequence[str], word: str) -> Any:
    if isinstance(said, Mapping):
        states = {name for name, value in said.items() if name in group and isinstance(value, str)}
        return {name: word if name in states else _replaced(value, group, word) for name, value in said.items()}
    return [_replaced(one, group, word) for one in said] if isinstance(said, list) else said
