"""Personal credentials: shown once, stored as a keyed digest."""

import base64
from collections.abc import Callable

PREFIX = "pk_"


def new_credential(secrets: Callable[[int], bytes]) -> str:
    """Return a fresh credential."""
    return PREFIX + base64.urlsafe_b64encode(secrets(32)).rstrip(b"=").decode()


def is_credential(text: str) -> bool:
    """Tell whether a text could be one."""
    return text.startswith(PREFIX) and len(text) <= 100 and text.isascii()
