"""What the bank says no to, and how."""

from __future__ import annotations


class Refused(Exception):
    """Say that a request is refused and nothing was done.

    status: the HTTP status; code: stable snake_case; message: for people, names the offending value.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


class FileRefused(Refused):
    """Say that an uploaded file cannot be taken in (400): nothing of it was recorded, its MsgId stays free."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(400, code, message)
