"""A page as a record: what is open to whoever comes, and speaks HTTP itself."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from gateway.door.admission import PAYERS, Rank
from kernel.errors import SluiceError

Work = Callable[[web.Request], Awaitable[web.Response]]
Refused = Callable[[SluiceError, web.Request, str], web.Response]


@dataclass(frozen=True, slots=True)
class Page:
    """One route that no API key opens: a payer's page, or where a rail sends its notices."""

    method: str
    path: str
    name: str  # in figures and logs
    work: Work
    head: bool = False  # answers HEAD too
    rank: Rank = Rank.QUERY
    who: int = PAYERS  # whom it counts as in a crowd, see gateway/door/admission.py
    refused: Refused | None = None  # makes a page of an error; None: problem details
