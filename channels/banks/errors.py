"""What of a bank's is damaged, or not what it should be."""

import re
from typing import Any

_NO_TEXT = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def plain(said: Any, most: int) -> str:
    """Return what a bank said as it may stand in a row and a case: so many characters, U+FFFD for what is none."""
    return _NO_TEXT.sub("\ufffd", str(said)[:most])


class BadStatement(Exception):
    """A file or an answer is damaged or not what it should be. All of it is refused.

    code: stable. message: for people. content: the bytes that came, where they came and are not to be believed.
    """

    def __init__(self, code: str, message: str, content: bytes | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.content = content
