"""What rails are called, and what is said of a name that none has."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches

from channels.registry import FACES
from kernel.errors import Rejected

# What people call a rail besides its name.
_ALIASES: Mapping[str, str] = {word: name for name, face in FACES.items() for word in face.called}


def meant(name: str, known: Sequence[str]) -> str:
    """Return a question that names which of the known names was meant; empty where none is like it."""
    found = get_close_matches(name, known, 1, 0.7)
    return f" did you mean {found[0]}?" if found else ""


def rail_meant(name: str, rails: Sequence[str]) -> str | None:
    """Return which of these rails somebody means who calls it so; None where none is like it."""
    plain = name.strip().lower().replace("-", "_").replace(" ", "_")
    found = _ALIASES.get(plain) or next(iter(get_close_matches(plain, rails, 1, 0.7)), None)
    return found if found in rails else None


def no_such_channel(name: str, rails: Sequence[str], param: str = "method.channel") -> Rejected:
    """Return the refusal of a rail's name that this hub does not know, with those it does."""
    found = rail_meant(name, rails)
    hint = f" Did you mean {found}?" if found else ""
    more = "; or auto, which leaves it to the hub" if param == "method.channel" else ""
    return Rejected(
        "no_such_channel",
        f"there is no channel {name[:40]!r}.{hint} There are: {', '.join(rails)}{more}",
        param=param,
        channels=list(rails),
    )
