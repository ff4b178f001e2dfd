"""Where channels send their notices 异步通知; what is answered is in the rail's own dialect."""

import re
from collections.abc import Sequence

from aiohttp import web

from channels.contract import Response
from gateway.door.admission import STRANGERS, Rank
from gateway.door.bodies import read_body
from gateway.door.pages import Page
from gateway.payments.notices import Notices
from kernel.errors import NotFound

_BASE36 = re.compile(r"[0-9a-z]{1,6}")
_MAX_BOOK = 2**31 - 1


class NoticeRoutes:
    """The route of notices."""

    def __init__(self, notices: Notices) -> None:
        self._notices = notices

    def pages(self) -> Sequence[Page]:
        path = "/notify/{channel}/{book}/{account}"
        return [Page("POST", path, "notify", self.notify, rank=Rank.NOTICE, who=STRANGERS)]

    async def notify(self, request: web.Request) -> web.Response:
        """Take a channel's notice."""
        info = request.match_info
        if not _BASE36.fullmatch(info["book"]) or int(info["book"], 36) > _MAX_BOOK:
            raise NotFound("no_such_route", "there is no such address for notices")
        raw = await read_body(request)
        headers = {name.lower(): value for name, value in request.headers.items()}
        answer = await self._notices.receive(
            info["channel"], int(info["book"], 36), info["account"], Response(200, headers, raw)
        )
        return web.Response(status=answer.status, body=answer.body or None, headers=dict(answer.headers))
