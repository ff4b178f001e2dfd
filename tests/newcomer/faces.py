"""Prints what the hub shows of rails, as `python -m tests.newcomer.faces NAME …`: from a checkout that has them."""

import sys

from channels.registry import FACES
from gateway.accounts.names import no_such_channel
from gateway.cashier.render import marks
from gateway.cashier.text import Say


def shown(name: str) -> str:
    """Return a rail's names as payers read them, what a merchant's other word for it leads to, and its mark's style."""
    face = FACES[name]
    word = (face.called or (name,))[0]
    hint = str(no_such_channel(word, [name]).message)
    meant = name if word == name or f"Did you mean {name}?" in hint else "nothing"
    style = marks({name: face}).split(" .mark")[0]
    return f"{Say('zh').rail(name)} {Say('en').rail(name)} {word}→{meant} {style}"


if __name__ == "__main__":
    print("\n".join(shown(name) for name in sys.argv[1:]))
