"""Bank transfer 银行转账: the payer transfers to a virtual sub-account 虚拟子账户 that is this payment's alone.

Every method is pure; see channels/contract.py for what each promises and README.md for what is believed when.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from typing import Any
from urllib.parse import quote

import orjson
from cryptography.hazmat.primitives.asymmetric import rsa

from channels.bank_transfer import messages
from channels.bank_transfer.messages import Doubt
from channels.banks import BadStatement
from channels.banks.iso20022 import signing
from channels.contract import (
    BadBill,
    BadNotice,
    BillFile,
    BillLine,
    Capabilities,
    Method,
    Notice,
    Order,
    Outcome,
    RefundOrder,
    Refused,
    Request,
    Response,
    Unknown,
)
from channels.settings import called_address, needed, secret
from kernel.safe_json import BadJson, loads_object

SECRETS = frozenset({"token", "private_key"})
MAX_AGE_S = 300  # a signed message older or newer than this is not believed
_JSON = {"Accept": "application/json", "User-Agent": "sluice-hub/0.1"}
_CAPABILITIES = Capabilities(
    methods=frozenset({Method.TRANSFER}),
    currencies=frozenset({"CNY"}),
    query_schedule_s=(30, 120, 300, 900, 1800, 3600),
)


class BankTransfer:
    """One customer's collection service at a bank, paid into one pool account 归集户."""

    name = "bank_transfer"
    capabilities = _CAPABILITIES

    def __init__(
        self,
        *,
        base_url: str,
        pool: str,
        currency: str,
        token: str,
        key_id: str,
        private_key: rsa.RSAPrivateKey,
        bank_keys: Mapping[str, rsa.RSAPublicKey],
    ) -> None:
        """base_url: the bank's, before /virtual-accounts. bank_keys: key id → key, several at once."""
        self.capabilities = replace(_CAPABILITIES, currencies=frozenset({currency}))
        self._pool = pool
        self._key_id = key_id
        self._private_key = private_key
        self._bank_keys = dict(bank_keys)
        self._base = base_url.rstrip("/")
        self._headers: Mapping[str, str] = {**_JSON, "Authorization": f"Bearer {token}"}

    def sign(self, request: Request, *, now: datetime, nonce: str) -> Request:
        """Return the request with its Bank-Signature, which covers the body; a GET is vouched for by the token."""
        if not request.body:
            return request
        header = signing.sign(request.body, self._private_key, key_id=self._key_id, created=int(now.timestamp()))
        return Request(request.method, request.url, {**request.headers, signing.HEADER: header}, request.body)

    def verified_by(self, message: Response, *, now: datetime) -> str:
        """Return the id of the bank's key that signed the message, not long ago. Raises BadNotice."""
        return _verified(message, self._bank_keys, now)

    # ---- payments ----------------------------------------------------------------------------------------------------

    def pay_request(self, order: Order) -> Request:
        """Return the request that opens the payment's account; repeating it returns the same account."""
        return self._post("/virtual-accounts", messages.open_body(order, self._pool))

    def pay_outcome(self, order: Order, answer: Response, *, now: datetime) -> Outcome:
        """Return the account to transfer to, or what has become of it already."""
        return self._outcome(answer, now, messages.PAY_REFUSALS, lambda said: messages.collection(order, said))

    def query_request(self, order: Order) -> Request:
        """Return the request that asks what was paid to the payment's account."""
        return self._get(f"/virtual-accounts/{quote(order.reference, safe='')}")

    def query_outcome(self, order: Order, answer: Response, *, now: datetime) -> Outcome:
        """Return the payment's state; Unknown(not_found=True) when the bank, signed, knows no such account."""
        return self._found(answer, now, lambda said: messages.collection(order, said))

    def close_request(self, order: Order) -> Request:
        """Return the request that closes an account nothing was paid to."""
        return self._post(f"/virtual-accounts/{quote(order.reference, safe='')}/close", messages.close_body(order))

    def close_outcome(self, order: Order, answer: Response, *, now: datetime) -> Outcome:
        """Return Refused(closed=True) when the bank confirms it; anything else is Unknown: then query."""
        outcome = self._found(answer, now, lambda said: messages.collection(order, said))
        if isinstance(outcome, Refused | Unknown):
            return outcome
        return Unknown("the bank has not closed the account")

    def proof_request(self, order: Order) -> Request:
        """Return the request that closes an account there is not: it is signed, and a question is not."""
        return self.close_request(order)

    def proof_outcome(self, order: Order, answer: Response, *, now: datetime) -> Outcome:
        return self.close_outcome(order, answer, now=now)

    # ---- refunds -----------------------------------------------------------------------------------------------------

    def refund_request(self, refund: RefundOrder) -> Request:
        """Return the request that sends money back to where it came from; the same number is executed once."""
        return self._post("/returns", messages.return_body(refund))

    def refund_outcome(self, refund: RefundOrder, answer: Response, *, now: datetime) -> Outcome:
        """Return what became of it; only a refusal on our list is final."""
        final = dict.fromkeys(messages.REFUND_REFUSALS, False)
        return self._outcome(answer, now, final, lambda said: messages.returned(refund, said))

    def refund_query_request(self, refund: RefundOrder) -> Request:
        """Return the request that asks for a return by our number."""
        return self._get(f"/returns/{quote(refund.reference, safe='')}")

    def refund_query_outcome(self, refund: RefundOrder, answer: Response, *, now: datetime) -> Outcome:
        """Return its state; Unknown(not_found=True) when the bank, signed, knows no such return."""
        return self._found(answer, now, lambda said: messages.returned(refund, said))

    # ---- notices -----------------------------------------------------------------------------------------------------

    def notice(self, message: Response, *, now: datetime) -> Notice:
        """Verify and read a camt.054 that the bank sent us: one booking. Raises BadNotice."""
        self.verified_by(message, now=now)
        about: str | None = None
        try:
            entry = messages.read_notification(message.body)
            about = (entry.creditor_ref if entry.amount.minor > 0 else entry.end_to_end_id) or ""
            if entry.account != self._pool:
                raise Doubt(f"a booking on account {entry.account}; ours is {self._pool}")
            kind, reference, outcome = messages.booking(entry)
        except BadStatement as error:
            raise BadNotice("malformed", error.message) from None
        except Doubt as error:
            raise BadNotice("not_ours", f"the notice is signed but not believed: {error}", about=about) from None
        return Notice(kind, reference, outcome, entry.entry_ref)

    def notice_accepted(self) -> Response:
        """Return "received, do not send again"."""
        return Response(204, {}, b"")

    def notice_refused(self, why: str, *, again: bool) -> Response:
        """Return no; the bank sends both kinds again on its schedule."""
        body = orjson.dumps({"code": "not_accepted", "message": why[:200]})
        return Response(503 if again else 400, {"content-type": "application/json"}, body)

    # ---- the day's report --------------------------------------------------------------------------------------------

    def bill_request(self, day: date) -> Request:
        """Return the request for the day's collection report, which exists once the bank's day is over."""
        return self._get(f"/collections?date={day.isoformat()}")

    def bill_file(self, asked: Request, answer: Response, *, now: datetime) -> BillFile:
        """Return the report, which is the answer itself, or why there is none."""
        try:
            self.verified_by(answer, now=now)
            if answer.status == 200:
                return BillFile(ready=True, content=answer.body)
            said = loads_object(answer.body)
        except (BadNotice, BadJson) as error:
            return BillFile(ready=False, reason=f"HTTP {answer.status}, not believed: {error}")
        code = str(said.get("code"))
        if answer.status == 404 and code == "nothing_collected":
            return BillFile(ready=False, nothing=True)
        return BillFile(ready=False, reason=f"HTTP {answer.status} {code}: {said.get('message')}")

    def bill_content(self, file: BillFile, answer: Response) -> bytes:
        """Never needed: the report comes with the first answer."""
        raise BadBill("no_such_file", "the bank hands the report out at once")

    def bill_lines(self, content: bytes, day: date, *, only_late: bool = False) -> Iterable[BillLine]:
        """Return the lines of the report; all of it is checked first. Raises BadBill."""
        return messages.report_lines(content, day, self._pool, only_late=only_late)

    # ---- keys --------------------------------------------------------------------------------------------------------

    def trusted_keys_request(self, message: Response | None = None) -> Request | None:
        """Return the request for the bank's current keys."""
        return self._get("/keys")

    def trust(self, request: Request, answer: Response, *, now: datetime) -> Sequence[str]:
        """Take over the keys of a list that a key we trust has endorsed, or one so endorsed has; old ones stay.

        Raises BadNotice. A new key is endorsed by the one before it, so any that we ever knew leads to the newest.
        """
        if answer.status != 200:
            raise BadNotice("not_delivered", f"the keys' address answered {answer.status}")
        try:
            known = messages.endorsed(loads_object(answer.body)["keys"], self._bank_keys)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BadNotice("malformed", f"not a list of the bank's keys: {error}") from None
        _verified(answer, known, now)
        self._bank_keys = known
        return sorted(known)

    # ---- shared ------------------------------------------------------------------------------------------------------

    def _outcome(
        self, answer: Response, now: datetime, final: Mapping[str, bool], read: Callable[[Mapping[str, Any]], Outcome]
    ) -> Outcome:
        try:
            self.verified_by(answer, now=now)
            said = loads_object(answer.body)
            if answer.status in (200, 201):
                return read(said)
        except Doubt as doubt:
            return Unknown(str(doubt), stated_amount=doubt.stated_amount)
        except (BadNotice, BadJson) as doubt:
            return Unknown(f"HTTP {answer.status}, not believed: {doubt}")
        if 400 <= answer.status < 500:
            return messages.refusal(said, final)
        return Unknown(f"the bank answered {answer.status}")

    def _found(self, answer: Response, now: datetime, read: Callable[[Mapping[str, Any]], Outcome]) -> Outcome:
        """Return what a question about one number was answered; a signed 404 that says so is not_found."""
        if answer.status == 404:
            try:
                self.verified_by(answer, now=now)
                if loads_object(answer.body).get("code") == "no_such_reference":
                    return Unknown("the bank knows no such number", not_found=True)
            except (BadNotice, BadJson) as doubt:
                return Unknown(f"HTTP 404, not believed: {doubt}")
        return self._outcome(answer, now, {}, read)

    def _post(self, path: str, body: bytes) -> Request:
        return Request("POST", self._base + path, {**self._headers, "Content-Type": "application/json"}, body)

    def _get(self, path: str) -> Request:
        return Request("GET", self._base + path, self._headers)


def _verified(message: Response, keys: Mapping[str, rsa.RSAPublicKey], now: datetime) -> str:
    header = message.headers.get(signing.HEADER.lower())
    try:
        created = signing.verify(header, message.body, keys)
    except signing.BadSignature as error:
        raise BadNotice(error.code, error.message) from None
    if abs(now.timestamp() - created) > MAX_AGE_S:
        raise BadNotice("stale", f"the message was signed at {created}, more than {MAX_AGE_S} s from now")
    return str(header).split('keyid="', 1)[1].split('"', 1)[0]


def build(settings: Mapping[str, Any]) -> BankTransfer:
    """Build the channel from what the bank gave its customer.

    settings: base_url, pool, its currency (CNY where it is left out), token, key_id, private_key,
    bank_key_id, bank_public_key; secrets also as files.
    Raises KeyError, ValueError, OSError.
    """
    keys: dict[str, str] = {needed(settings, "bank_key_id"): secret(settings, "bank_public_key")}
    return BankTransfer(
        base_url=called_address(settings, path=True),
        pool=needed(settings, "pool"),
        currency=settings.get("currency", "CNY"),
        token=secret(settings, "token").strip(),
        key_id=needed(settings, "key_id"),
        private_key=signing.private_key(secret(settings, "private_key")),
        bank_keys={ident: signing.public_key(pem) for ident, pem in keys.items()},
    )
