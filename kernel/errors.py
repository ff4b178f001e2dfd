"""The four families of things that go wrong, sorted by who must act (see ARCHITECTURE.md, "Errors").

What a channel answers is none of these: it is an outcome, returned, see channels/contract.py.
"""

from typing import Any


class SluiceError(Exception):
    """Something the caller is told about: a stable code for machines, a sentence for people, facts to quote."""

    code: str

    def __init__(self, code: str, message: str, **facts: Any) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.facts = facts

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


class Rejected(SluiceError):
    """The request is wrong; the caller must change it. Nothing was done."""


class NotFound(Rejected):
    """There is no such object, or it is not the caller's; which of the two is never told."""


class Conflict(SluiceError):
    """The object has moved on, or another request is at it; the caller reads again and decides.

    retry_after_s: of the few that may be asked again unchanged, after how long.
    """

    def __init__(self, code: str, message: str, *, retry_after_s: int = 1, **facts: Any) -> None:
        super().__init__(code, message, **facts)
        self.retry_after_s = retry_after_s


class Unavailable(SluiceError):
    """Nothing was done and it is our fault or our limit; trying again later is right."""

    def __init__(self, code: str, message: str, *, retry_after_s: int = 1, **facts: Any) -> None:
        super().__init__(code, message, **facts)
        self.retry_after_s = retry_after_s


class Broken(SluiceError):
    """An invariant does not hold. A person must look, now; nothing further is done with the object."""
