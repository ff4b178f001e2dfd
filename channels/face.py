"""What payers and merchants see of a rail: its names, its mark, and what else people call it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

READABLE = 4.5  # contrast of text, WCAG 2.2, 1.4.3
_COLOUR = re.compile(r"#[0-9a-f]{6}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Face:
    """A rail as people know it; `FACE` in its package. What is left out follows from its name.

    names: in Chinese and in English, as a payer reads them, the same on every page. mark: one letter or character,
    white on `colour`, which is #rrggbb in small letters and dark enough to read the mark (4.5 to one). called: other
    names, in small letters, that people write where they mean the rail's. how: by method, what is said below the rail's
    name of how one pays (Chinese, English), where the cashier's own words for all rails would be wrong or say less.
    on_computers: words in the User-Agent of its program for computers, which opens pages and cannot pay in them.
    """

    names: tuple[str, str]
    mark: str = "·"
    colour: str = "#51605b"
    called: tuple[str, ...] = ()
    how: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    on_computers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not all(self.names) or len(self.mark) != 1 or self.mark in '"\\\n' or not _COLOUR.fullmatch(self.colour):
            raise ValueError(f"no face of a rail: {self}")
        if _white_on(self.colour) < READABLE:
            raise ValueError(
                f"{self.names[1]}'s mark cannot be read: white on {self.colour} is too faint, take a darker one"
            )


def plain(name: str) -> Face:
    """Return the face of a rail that says nothing of it: its own name."""
    title = name.replace("_", " ").capitalize()
    return Face((title, title), title[:1] or "·")


def _white_on(colour: str) -> float:
    """Return the contrast of white on a colour, 1 to 21 (WCAG 2.2, "contrast ratio" and "relative luminance")."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    luminance = sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
    return 1.05 / (luminance + 0.05)
