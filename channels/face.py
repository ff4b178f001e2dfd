"""What payers and merchants see of a rail: its names, its mark, and what else people call it."""

import re
from dataclasses import dataclass

_COLOUR = re.compile(r"#[0-9a-f]{6}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Face:
    """A rail as people know it; `FACE` in its package. What is left out follows from its name.

    names: in Chinese and in English, as a payer reads them. mark: one letter or character, white on `colour`, which is
    #rrggbb in small letters. app: what payers call its app, where not as the rail. called: other names, in small
    letters, that people write where they mean the rail's.
    """

    names: tuple[str, str]
    mark: str = "·"
    colour: str = "#51605b"
    app: tuple[str, str] | None = None
    called: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not all(self.names) or len(self.mark) != 1 or self.mark in '"\\\n' or not _COLOUR.fullmatch(self.colour):
            raise ValueError(f"no face of a rail: {self}")


def plain(name: str) -> Face:
    """Return the face of a rail that says nothing of it: its own name."""
    title = name.replace("_", " ").capitalize()
    return Face((title, title), title[:1] or "·")
