"""Who visits a page inside WeChat: the openid that JSAPI orders want, by silent authorisation (网页授权 snsapi_base).

Source: WeChat Official Accounts platform, "网页授权" (fetched 2026-11). Errors come as HTTP 200 with an errcode.
"""

import re
from dataclasses import dataclass, field
from urllib.parse import urlencode

from channels.contract import BadNotice, Request, Response
from kernel.safe_json import BadJson, loads_object

OPEN_URL, API_URL = "https://open.weixin.qq.com", "https://api.weixin.qq.com"
_OPENID = re.compile(r"[0-9A-Za-z_\-]{1,128}", re.ASCII)
_HEADERS = {"Accept": "application/json", "User-Agent": "sluice-hub/0.1"}


@dataclass(frozen=True, slots=True)
class Payers:
    """The official account 公众号 (or service account) whose pages payers visit.

    secret: its AppSecret; empty: the merchant has given none, and nobody is asked who they are.
    """

    appid: str
    secret: str = field(default="", repr=False)
    open_url: str = OPEN_URL
    api_url: str = API_URL

    def url(self, back_url: str, state: str) -> str | None:
        """Return where the visitor's WeChat goes; it asks the visitor nothing. None without an AppSecret."""
        if not self.secret:
            return None
        asked = {
            "appid": self.appid,
            "redirect_uri": back_url,
            "response_type": "code",
            "scope": "snsapi_base",
            "state": state,
        }
        return f"{self.open_url}/connect/oauth2/authorize?{urlencode(asked)}#wechat_redirect"

    def request(self, code: str) -> Request:
        """Return the request that exchanges a code, which is good once and for five minutes."""
        asked = {"appid": self.appid, "secret": self.secret, "code": code, "grant_type": "authorization_code"}
        return Request("GET", f"{self.api_url}/sns/oauth2/access_token?{urlencode(asked)}", _HEADERS)

    def openid(self, answer: Response) -> str:
        """Return the visitor's openid. Raises BadNotice; what it says holds neither code nor secret."""
        try:
            said = loads_object(answer.body)
        except BadJson:
            raise BadNotice("malformed", f"the exchange of a code answered {answer.status}, not readable") from None
        openid = said.get("openid")
        if answer.status != 200 or not isinstance(openid, str) or not _OPENID.fullmatch(openid):
            raise BadNotice("no_payer", f"WeChat does not say who the visitor is: errcode {said.get('errcode')!r:.20}")
        return openid
