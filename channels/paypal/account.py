"""How PayPal is talked to: the session, the certificates of notices, and what an answer means."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from channels.contract import (
    BadNotice,
    Outcome,
    Request,
    Response,
    Unknown,
)
from channels.paypal import messages, signing
from channels.paypal.messages import Doubt
from kernel.safe_json import BadJson, loads_object

USER_AGENT = "sluice-hub/0.1"
JSON = {"Accept": "application/json", "User-Agent": USER_AGENT}


class PayPalAccount:
    """One merchant's account at PayPal, with the credentials of its application."""

    def __init__(
        self,
        *,
        client_id: str,
        client_secret: str,
        merchant_id: str,
        base_url: str,
        webhook_id: str,
        keys: signing.NoticeKeys,
    ) -> None:
        """base_url: without a path. webhook_id: of the notices' address at PayPal; empty while there is none."""
        self.merchant_id = merchant_id
        self._webhook_id = webhook_id
        self._keys = keys
        self._login_headers = {
            **JSON,
            "Authorization": signing.basic(client_id, client_secret),
            "Content-Type": "application/x-www-form-urlencoded",
        }
        self._base = base_url.rstrip("/")
        self._origin = origin(self._base)
        self._orders_url = f"{self._base}/v2/checkout/orders"
        self._payments_url = f"{self._base}/v2/payments"
        self._session: signing.Session | None = None

    def login_request(self, *, now: datetime) -> Request | None:
        """Return the request for a bearer token, unless the one we have is good for a while."""
        if self._session is not None and now < self._session.renew_at:
            return None
        return Request("POST", f"{self._base}/v1/oauth2/token", self._login_headers, b"grant_type=client_credentials")

    def login(self, answer: Response, *, now: datetime) -> None:
        """Take over the token. Raises BadNotice."""
        self._session = signing.Session.read(answer, now=now)

    def login_over(self, sent: Request, answer: Response) -> bool:
        """Tell whether PayPal no longer knows the token; it looks at nothing else before that."""
        if answer.status != 401 or not sent.url.startswith(f"{self._base}/"):
            return False
        if self._session is not None and self._session.carried(sent):
            self._session = None
        return True

    def sign(self, request: Request, *, now: datetime, nonce: str) -> Request:
        """Return the request within the session. The token goes to the API we call and to no other host."""
        if self._session is None or not request.url.startswith(f"{self._base}/"):
            return request
        return self._session.on(request)

    def verified_by(self, message: Response, *, now: datetime) -> str:
        """Return the address of the certificate that signed a notice. Raises BadNotice; answers are not signed."""
        if not self._webhook_id:
            raise BadNotice("no_webhook", "this account has no webhook_id, so no notice can be meant for it")
        return self._keys.verify(message, self._webhook_id, now=now)

    def trusted_keys_request(self, message: Response | None = None) -> Request | None:
        """Return the request for the certificate that a notice names; None where it is not at PayPal's."""
        headers = signing.signature_headers(message.headers) if message is not None else None
        if headers is None or not self._keys.may_fetch(headers["cert-url"]):
            return None
        return Request("GET", headers["cert-url"], {"Accept": "*/*", "User-Agent": USER_AGENT})

    def trust(self, request: Request, answer: Response, *, now: datetime) -> Sequence[str]:
        """Take over that certificate once its chain leads to our root; return the addresses now trusted."""
        self._keys.trust(request.url, answer, now=now)
        return self._keys.ids()

    def _get(self, url: str) -> Request:
        return Request("GET", url, JSON)

    def _post(self, url: str, body: bytes, request_id: str | None) -> Request:
        headers = {**JSON, "Content-Type": "application/json", "Prefer": "return=representation"}
        if request_id is not None:
            headers["PayPal-Request-Id"] = request_id
        return Request("POST", url, headers, body)

    def _outcome(
        self, answer: Response, errors: Mapping[str, messages.Says], read: Callable[[dict[str, Any]], Outcome]
    ) -> Outcome:
        """Return what an answer means. TLS vouches for it; a list decides what an error concludes."""
        if not 200 <= answer.status < 300:
            return messages.error_outcome(answer, errors)
        try:
            return read(loads_object(answer.body))
        except BadJson as doubt:
            return Unknown(f"HTTP {answer.status}, not readable: {doubt}")
        except Doubt as doubt:
            return Unknown(f"HTTP {answer.status}, not believed: {doubt}", stated_amount=doubt.stated_amount)


def origin(base_url: str) -> tuple[str, str]:
    """Return scheme and host of an address."""
    parts = urlsplit(base_url)
    return parts.scheme, parts.netloc
