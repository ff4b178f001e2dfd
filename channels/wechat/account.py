"""What every product of WeChat Pay shares: the merchant's credentials, the keys trusted, who is believed."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

from channels.contract import BadNotice, Method, Outcome, Pending, Request, Response, Unknown
from channels.wechat import messages, signing
from channels.wechat.messages import Doubt
from channels.wechat.payers import Payers
from kernel.safe_json import BadJson, loads_object, text

USER_AGENT = "sluice-hub/0.1"
T = TypeVar("T")

_JSON = {"Accept": "application/json", "User-Agent": USER_AGENT}


class WeChatAccount:
    """One direct merchant's account at WeChat Pay, with its keys."""

    def __init__(
        self,
        *,
        mchid: str,
        appid: str,
        base_url: str,
        signer: signing.Signer,
        apiv3_key: bytes,
        platform_keys: Iterable[signing.PlatformKey],
        public_key_id: str | None = None,
        rotates: bool = True,
        payers: Payers | None = None,
    ) -> None:
        """base_url: without a path. public_key_id: asks WeChat to sign answers with that key.

        rotates: whether the account has platform certificates, which WeChat replaces from time to time. payers: tells
        who visits a page; None: nobody does.
        """
        self.mchid = mchid
        self.appid = appid
        self.signer = signer
        self.base = base_url.rstrip("/")
        self._apiv3_key = apiv3_key
        self._keys = signing.PlatformKeys(platform_keys)
        self._public_key_id = public_key_id
        self._rotates = rotates
        self._payers = payers or Payers(appid)
        preferred = {"Wechatpay-Serial": public_key_id} if public_key_id else {}
        self._get_headers: Mapping[str, str] = {**_JSON, **preferred}
        self._post_headers: Mapping[str, str] = {**self._get_headers, "Content-Type": "application/json"}

    def sign(self, request: Request, *, now: datetime, nonce: str) -> Request:
        """Return the request with its Authorization header."""
        return self.signer.sign(request, now=now, nonce=nonce)

    def verified_by(self, message: Response, *, now: datetime) -> str:
        """Return the serial number or public-key id of the key that signed the message. Raises BadNotice."""
        return self._keys.verify(message, now=now)

    # ---- keys --------------------------------------------------------------------------------------------------------

    def trusted_keys_request(self, message: Response | None = None) -> Request | None:
        """Return the request for the current platform certificates; None where only a public key is used."""
        return self.get("/v3/certificates") if self._rotates else None

    def trust(self, request: Request, answer: Response, *, now: datetime) -> Sequence[str]:
        """Take over the platform certificates of that answer; return the ids now trusted. Raises BadNotice.

        What vouches for a certificate is that it opens with our APIv3 key; the answer's own signature may be by a key
        inside it, so it is checked against the old and the new ones together.
        """
        if answer.status != 200:
            raise BadNotice("not_delivered", f"the certificates' address answered {answer.status}")
        try:
            listed = loads_object(answer.body)["data"]
            found = [
                signing.platform_key(
                    signing.decrypt(self._apiv3_key, entry["encrypt_certificate"]), text(entry["serial_no"])
                )
                for entry in listed
            ]
        except (ValueError, KeyError, TypeError) as error:
            raise BadNotice("malformed", f"not a list of platform certificates: {error}") from None
        keys = self._keys.with_more(found)
        keys.verify(answer, now=now)
        self._keys = keys
        return keys.ids()

    def sealer(self) -> signing.Sealer:
        """Return what encrypts single fields for WeChat; its headers go with the request."""
        return self._keys.sealer(self._public_key_id)

    # ---- the payer's WeChat ------------------------------------------------------------------------------------------

    def payer_url(self, back_url: str, state: str) -> str | None:
        """Return where a page's visitor goes to come back with a code; None without an AppSecret."""
        return self._payers.url(back_url, state)

    def payer_request(self, code: str) -> Request:
        """Return the request that exchanges the code."""
        return self._payers.request(code)

    def payer(self, answer: Response) -> str:
        """Return the visitor's openid. Raises BadNotice."""
        return self._payers.openid(answer)

    def call_to_pay(self, method: Method, shown: Pending, *, now: datetime, nonce: str) -> Pending:
        """Return what opens the payment in the payer's WeChat, signed by us; nonce: at most 32 characters.

        In a page or mini-program it is given to requestPayment, in an app to WeChat's own library. It is good for as
        long as the prepay id is: two hours.
        """
        prepay_id, seconds = (shown.next_action or {})["prepay_id"], str(int(now.timestamp()))
        last = prepay_id if method is Method.APP else f"prepay_id={prepay_id}"
        signature = self.signer.signature(f"{self.appid}\n{seconds}\n{nonce}\n{last}\n".encode())
        if method is Method.APP:
            action = {
                "type": "app",
                "appid": self.appid,
                "partnerid": self.mchid,
                "prepayid": prepay_id,
                "package": "Sign=WXPay",
                "noncestr": nonce,
                "timestamp": seconds,
                "sign": signature,
            }
        else:
            action = {
                "type": "jsapi",
                "appId": self.appid,
                "timeStamp": seconds,
                "nonceStr": nonce,
                "package": last,
                "signType": "RSA",
                "paySign": signature,
            }
        return replace(shown, next_action=action)

    # ---- asking and reading ------------------------------------------------------------------------------------------

    def get(self, path: str) -> Request:
        """Return a GET request, unsigned."""
        return Request("GET", self.base + path, self._get_headers)

    def post(self, path: str, body: bytes, headers: Mapping[str, str] | None = None) -> Request:
        """Return a POST request, unsigned. headers: beside the usual ones, or instead."""
        return Request("POST", self.base + path, {**self._post_headers, **(headers or {})}, body)

    def believed(
        self,
        answer: Response,
        now: datetime,
        errors: Mapping[str, messages.Says],
        read: Callable[[dict[str, Any]], T],
    ) -> T | Outcome:
        """Return what an answer means. Only a verified 2xx is read; WeChat does not sign errors, so a list decides.

        An error that does carry a signature must carry a right one.
        """
        if answer.status < 400 or "wechatpay-signature" in answer.headers:
            try:
                self._keys.verify(answer, now=now)
            except BadNotice as doubt:
                return Unknown(f"HTTP {answer.status}, not verified: {doubt.code}: {doubt.message}")
        if not 200 <= answer.status < 300:
            return messages.error_outcome(answer, errors)
        try:
            return read(loads_object(answer.body) if answer.body else {})
        except BadJson as doubt:
            return Unknown(f"HTTP {answer.status}, not readable: {doubt}")
        except Doubt as doubt:
            return Unknown(f"HTTP {answer.status}, not believed: {doubt}", stated_amount=doubt.stated_amount)

    def opened(self, message: Response, *, now: datetime) -> tuple[str, str, bytes]:
        """Verify a notice; return (event, its id, what it holds, decrypted). Raises BadNotice."""
        self._keys.verify(message, now=now)
        try:
            envelope = loads_object(message.body)
            event, notice_id = text(envelope["event_type"]), text(envelope["id"])
            sealed = envelope["resource"]
            if not isinstance(sealed, dict):
                raise BadJson("resource is not an object")
        except (BadJson, KeyError) as error:
            raise BadNotice("malformed", f"not a notice of WeChat Pay: {error}") from None
        return event, notice_id, signing.decrypt(self._apiv3_key, sealed)


def in_path(number: str) -> str:
    """Return a number of ours as one segment of a path."""
    return quote(number, safe="")


def origin(url: str) -> tuple[str, str]:
    """Return scheme and host of an address."""
    parts = urlsplit(url)
    return parts.scheme, parts.netloc
