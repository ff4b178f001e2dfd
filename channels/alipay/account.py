"""How Alipay is talked to: common parameters, signatures, certificates, and which answer is believed."""

import re
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import orjson
from cryptography import x509

from channels.alipay import messages, signing
from channels.alipay.messages import Doubt
from channels.contract import (
    BadNotice,
    Outcome,
    Request,
    Response,
    Unknown,
)
from kernel.safe_json import BadJson

USER_AGENT = "sluice-hub/0.1"
CERTIFICATE = "alipay.open.app.alipaycert.download"
_SN = re.compile(r"[0-9a-f]{32}", re.ASCII)


class AlipayAccount:
    """One merchant's application at Alipay, with its keys."""

    def __init__(
        self,
        *,
        app_id: str,
        seller_id: str,
        base_url: str,
        signer: signing.Signer,
        keys: signing.AlipayKeys,
        app_cert_sn: str = "",
        roots: Sequence[x509.Certificate] = (),
        known: x509.Certificate | None = None,
        mini_app_id: str = "",
    ) -> None:
        """base_url: without a path. app_cert_sn, roots, known: of certificate mode; `known` is Alipay's certificate.

        mini_app_id: of the mini-program in which payers pay, where the merchant has one.
        """
        self.app_id = app_id
        self.seller_id = seller_id
        self._signer = signer
        self._keys = keys
        self._roots = roots
        self._known = known
        self._mini_app_id = mini_app_id
        self._gateway_url = gateway_url(base_url)
        self._origin = urlsplit(self._gateway_url)[:2]
        self._common = {"app_id": app_id, "format": "JSON", "charset": "utf-8", "sign_type": "RSA2", "version": "1.0"}
        if app_cert_sn:
            self._common |= {"app_cert_sn": app_cert_sn, "alipay_root_cert_sn": signing.root_sn(roots)}
        self._headers = {
            "Accept": "application/json",
            "User-Agent": USER_AGENT,
            "Content-Type": "application/x-www-form-urlencoded;charset=utf-8",
        }

    def sign(self, request: Request, *, now: datetime, nonce: str) -> Request:
        """Return the request with its time and signature; Alipay knows no nonce."""
        return self._signer.sign(request, now=now)

    def verified_by(self, message: Response, *, now: datetime) -> str:
        """Return the id of the key that signed an answer or a notice. Raises BadNotice."""
        if not message.body.lstrip().startswith(b"{"):
            return self._verified_form(signing.form(message.body), now)
        try:
            return self._verified(signing.envelope(message.body), now)
        except BadJson as error:
            raise BadNotice("malformed", f"not an answer of Alipay: {error}") from None

    def trusted_keys_request(self, message: Response | None = None) -> Request | None:
        """Return the request for the certificate that a message names; None in key mode, or where it names none."""
        if self._known is None or message is None:
            return None
        try:
            if message.body.lstrip().startswith(b"{"):
                named = signing.envelope(message.body).cert_sn
            else:
                named = signing.form(message.body).fields.get("alipay_cert_sn", "")
        except (BadJson, BadNotice):
            return None
        if not _SN.fullmatch(named):
            return None
        return self._post(CERTIFICATE, messages.written({"alipay_cert_sn": named}))

    def trust(self, request: Request, answer: Response, *, now: datetime) -> Sequence[str]:
        """Take over the certificate of that answer; return the ids now trusted. Raises BadNotice.

        What vouches for it is its chain to the roots we were given, and that it is Alipay's; the answer's own signature
        may be by the key inside it, so it is checked against the old and the new ones together.
        """
        if self._known is None:
            raise BadNotice("no_keys", "in key mode Alipay's key does not change by itself")
        try:
            named = orjson.loads(parse_qs(request.body.decode())["biz_content"][0])["alipay_cert_sn"]
            envelope = self._from(CERTIFICATE, answer)
            if not messages.verdict(envelope.fields).done:
                raise BadNotice("not_delivered", "Alipay gave no certificate of that number")
            pem = b64decode(str(envelope.fields.get("alipay_cert_content", "")), validate=True).decode()
            chain = signing.certificates(pem)
            key = signing.successor(chain, named=named, roots=self._roots, known=self._known, now=now)
        except (ValueError, KeyError, Doubt) as error:
            raise BadNotice("malformed", f"not a certificate of Alipay's: {error}") from None
        keys = self._keys.with_more([key])
        keys.verify([envelope.signed], envelope.signature, envelope.cert_sn, now=now)
        self._keys = keys
        return keys.ids()

    def _post(self, method: str, content: str, *, notify_url: str = "") -> Request:
        """Common parameters in the query, where the gateway learns the charset; the business content in the body."""
        query = urlencode({**self._common, "method": method, **if_any(notify_url=notify_url)})
        body = urlencode({"biz_content": content}).encode()
        return Request("POST", f"{self._gateway_url}?{query}", self._headers, body)

    def _outcome(
        self,
        method: str,
        answer: Response,
        now: datetime,
        errors: Mapping[str, messages.Says],
        read: Callable[[dict[str, Any]], Outcome],
        *,
        admits: bool = False,
        then: Mapping[str, Request] | None = None,
    ) -> Outcome:
        """Return what an answer means. Only a verified one is read, but for requests that were never let in.

        An error that does carry a signature must carry a right one. then: what is asked next after such a sub_code.
        """
        try:
            envelope = self._from(method, answer)
            found = messages.verdict(envelope.fields)
            went_well = found.done or (found.payer_is_asked and method == "alipay.trade.pay")
            if envelope.signature or went_well:
                self._verified(envelope, now)
            if went_well and envelope.node != "error_response":
                return read(envelope.fields)
            outcome = messages.error_outcome(found, errors, admits=admits, signed=bool(envelope.signature))
            next_question = (then or {}).get(found.sub_code) if envelope.signature and found.failed else None
            return replace(outcome, follow_up=next_question) if isinstance(outcome, Unknown) else outcome
        except BadNotice as doubt:
            return Unknown(f"HTTP {answer.status}, not verified: {doubt.code}: {doubt.message}")
        except BadJson as doubt:
            return Unknown(f"HTTP {answer.status}, not readable: {doubt}")
        except Doubt as doubt:
            why, gone = f"HTTP {answer.status}, not believed: {doubt}", isinstance(doubt, messages.GivenBack)
            return Unknown(why, stated_amount=doubt.stated_amount, given_back=gone)

    def _answers(self, method: str, answer: Response) -> bool:
        """Tell whether an answer is one to this method; it is not verified yet."""
        try:
            return self._from(method, answer).node != "error_response"
        except BadJson:
            return False

    def _believed(self, method: str, answer: Response, now: datetime) -> dict[str, Any]:
        """Return the fields of an answer once its signature is verified. Raises BadNotice, BadJson."""
        envelope = self._from(method, answer)
        self._verified(envelope, now)
        return envelope.fields

    def _from(self, method: str, answer: Response) -> signing.Envelope:
        """Return the parts of an answer to `method`. Raises BadJson for anything else."""
        if answer.status != 200:
            raise BadJson("Alipay answers with 200 only")
        envelope = signing.envelope(answer.body)
        if envelope.node not in (f"{method.replace('.', '_')}_response", "error_response"):
            raise BadJson(f"{envelope.node[:64]!r} is no answer to {method}")
        return envelope

    def _verified(self, envelope: signing.Envelope, now: datetime) -> str:
        return self._keys.verify([envelope.signed], envelope.signature, envelope.cert_sn, now=now)

    def _verified_form(self, form: signing.Form, now: datetime) -> str:
        if form.fields.get("sign_type", "RSA2") != "RSA2":
            raise BadNotice("bad_signature", "only RSA2 is understood")
        named = form.fields.get("alipay_cert_sn", "")
        return self._keys.verify(form.signed, form.fields.get("sign", ""), named, now=now)


def gateway_url(base_url: str) -> str:
    """Return the one address of Alipay's OpenAPI at a host."""
    return f"{base_url.rstrip('/')}/gateway.do"


def if_any(**values: str | None) -> dict[str, str]:
    return {name: value for name, value in values.items() if value}
