"""Acorn: JSON over HTTP, signed both ways with a key that both sides have. Every method is pure."""

import hmac
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime
from typing import Any
from urllib.parse import quote, urlsplit

import orjson

from channels.contract import (
    BadBill,
    BadNotice,
    BillFile,
    BillLine,
    Capabilities,
    Confirmed,
    Kind,
    Method,
    Notice,
    Order,
    Outcome,
    Pending,
    RefundOrder,
    Refused,
    Request,
    Response,
    Unknown,
)
from channels.settings import secret
from kernel.clock import rfc3339
from kernel.money import Money
from kernel.safe_json import BadJson, loads_object, text, whole

MAX_AGE_S = 300
# Final refusals; True: nothing was done, and another rail may well say yes.
PAY_REFUSALS = {"merchant_off": True, "amount_not_allowed": True}
REFUND_REFUSALS = {"refund_exceeds": False, "order_open": False, "order_closed": False}


class Acorn:
    """One merchant's account at Acorn."""

    name = "acorn"
    capabilities = Capabilities(methods=frozenset({Method.QR}), currencies=frozenset({"CNY"}))

    def __init__(self, *, merchant: str, base_url: str, keys: list[bytes]) -> None:
        self.merchant = merchant
        self._base = base_url.rstrip("/") + "/acorn"
        self._keys = keys

    def sign(self, request: Request, *, now: datetime, nonce: str) -> Request:
        """Return the request with its signature."""
        parts = urlsplit(request.url)
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        at = str(int(now.timestamp()))
        signature = _mac(self._keys[0], f"{request.method}\n{target}\n{at}\n".encode() + request.body)
        headers = {**request.headers, "Acorn-Merchant": self.merchant, "Acorn-Time": at, "Acorn-Sign": signature}
        return Request(request.method, request.url, headers, request.body)

    def verified_by(self, message: Response, *, now: datetime) -> str:
        """Return the id of the key that signed an answer or notice, not long ago. Raises BadNotice."""
        at, signature = message.headers.get("acorn-time", ""), message.headers.get("acorn-sign")
        if signature is None or not (at.isascii() and at.isdigit() and len(at) <= 12):
            raise BadNotice("unsigned", "the message is not signed")
        if abs(now.timestamp() - int(at)) > MAX_AGE_S:
            raise BadNotice("stale", f"the message was signed at {at}")
        for number, key in enumerate(self._keys, 1):
            if hmac.compare_digest(_mac(key, f"{at}\n".encode() + message.body), signature):
                return f"key-{number}"
        raise BadNotice("bad_signature", "the signature is not Acorn's over these bytes")

    # ---- payments ----------------------------------------------------------------------------------------------------

    def pay_request(self, order: Order) -> Request:
        """Return the request that places the order."""
        body = {
            "order": order.reference,
            "amount": order.amount.minor,
            "currency": order.amount.currency,
            "title": order.description,
            "notify": order.notify_url,
            "expires": rfc3339(order.expires_at),
        }
        return self._post("/orders", body)

    def pay_outcome(self, order: Order, answer: Response, *, now: datetime) -> Outcome:
        """Return the code to show, or what has become of the order already."""
        return self._outcome(answer, now, PAY_REFUSALS, lambda said: self._order(order, said))

    def query_request(self, order: Order) -> Request:
        """Return the request that asks for the order by our number."""
        return self._get(f"/orders/{quote(order.reference, safe='')}")

    def query_outcome(self, order: Order, answer: Response, *, now: datetime) -> Outcome:
        """Return the order's state."""
        return self._outcome(answer, now, {}, lambda said: self._order(order, said))

    def close_request(self, order: Order) -> Request:
        """Return the request that closes an unpaid order."""
        return self._post(f"/orders/{quote(order.reference, safe='')}/close", {})

    def close_outcome(self, order: Order, answer: Response, *, now: datetime) -> Outcome:
        """Return Refused(closed=True) when the order is closed now, Unknown otherwise."""
        outcome = self._outcome(answer, now, {}, lambda said: self._order(order, said))
        return outcome if isinstance(outcome, Refused | Unknown) else Unknown("the order is not closed")

    # ---- refunds -----------------------------------------------------------------------------------------------------

    def refund_request(self, refund: RefundOrder) -> Request:
        """Return the request that gives money back."""
        body = {
            "refund": refund.reference,
            "order": refund.payment_reference,
            "amount": refund.amount.minor,
            "notify": refund.notify_url,
        }
        return self._post("/refunds", body)

    def refund_outcome(self, refund: RefundOrder, answer: Response, *, now: datetime) -> Outcome:
        """Return what came of it."""
        return self._outcome(answer, now, REFUND_REFUSALS, lambda said: self._refund(refund, said))

    def refund_query_request(self, refund: RefundOrder) -> Request:
        """Return the request that asks for a refund by our number."""
        return self._get(f"/refunds/{quote(refund.reference, safe='')}")

    def refund_query_outcome(self, refund: RefundOrder, answer: Response, *, now: datetime) -> Outcome:
        """Return the refund's state."""
        return self._outcome(answer, now, {}, lambda said: self._refund(refund, said))

    # ---- notices -----------------------------------------------------------------------------------------------------

    def notice(self, message: Response, *, now: datetime) -> Notice:
        """Verify and read a notice. Raises BadNotice."""
        self.verified_by(message, now=now)
        try:
            said = loads_object(message.body)
            if said["merchant"] != self.merchant:
                raise BadNotice("not_ours", "the notice is for another merchant")
            kind = Kind(text(said["kind"]))
            return Notice(kind, text(said[_NAME[kind]]), _moved(said), text(said["id"]))
        except (ValueError, KeyError, TypeError) as error:
            raise BadNotice("malformed", f"no notice of Acorn's: {error}") from None

    def notice_accepted(self) -> Response:
        """Return "received"."""
        return Response(200, {}, b"ok")

    def notice_refused(self, why: str, *, again: bool) -> Response:
        """Return no; Acorn sends again whatever is not ok."""
        return Response(503 if again else 400, {}, why.encode())

    # ---- bills -------------------------------------------------------------------------------------------------------

    def bill_request(self, day: date) -> Request:
        """Return the request for a day's bill."""
        return self._get(f"/bills/{day.isoformat()}")

    def bill_file(self, asked: Request, answer: Response, *, now: datetime) -> BillFile:
        """Return the bill, which is the answer itself, or why there is none."""
        try:
            self.verified_by(answer, now=now)
            if answer.status == 200:
                return BillFile(ready=True, content=answer.body)
            code = text(loads_object(answer.body)["code"])
        except (BadNotice, BadJson, KeyError) as error:
            return BillFile(ready=False, reason=f"HTTP {answer.status}, not believed: {error}")
        return BillFile(ready=False, nothing=code == "nothing", reason=code)

    def bill_content(self, file: BillFile, answer: Response) -> bytes:
        """Never needed: the bill comes with the first answer."""
        raise BadBill("no_such_file", "Acorn hands the bill out at once")

    def bill_lines(self, content: bytes, day: date, *, only_late: bool = False) -> Iterable[BillLine]:
        """Read a whole bill: a head with merchant and date, rows, and a foot that counts them. Raises BadBill."""
        try:
            head, *rows, foot = [line.split(",") for line in content.decode().splitlines()]
            if head[:2] != ["acorn", self.merchant] or foot != ["end", str(len(rows))]:
                raise BadBill("damaged", "the bill is not whole, or not ours")
            if head[2:] != [day.isoformat()]:
                raise BadBill("other_day", f"the bill is of {head[2:]}, asked was {day}")
            return iter([_line(row, number) for number, row in enumerate(rows, 2)])
        except (ValueError, IndexError) as error:
            raise BadBill("damaged", f"the bill cannot be read: {error}") from None

    def deposit_prefix(self) -> str:
        """Return how Acorn's transfers to our bank are numbered: by the merchant, then the day."""
        return f"AC{self.merchant}"

    # ---- shared ------------------------------------------------------------------------------------------------------

    def _get(self, path: str) -> Request:
        return Request("GET", self._base + path, {"Accept": "application/json"})

    def _post(self, path: str, body: Mapping[str, Any]) -> Request:
        return Request("POST", self._base + path, {"Content-Type": "application/json"}, orjson.dumps(body))

    def _outcome(
        self, answer: Response, now: datetime, final: Mapping[str, bool], read: Callable[[dict[str, Any]], Outcome]
    ) -> Outcome:
        try:
            said = loads_object(answer.body)
            # Acorn has no key in common with a caller it does not know, so it cannot sign this.
            if answer.status == 401 and said.get("code") == "signature" and final is PAY_REFUSALS:
                return Refused("signature", "Acorn does not know our key", retriable=True)
            self.verified_by(answer, now=now)
            if answer.status == 200:
                return read(said)
            code, message = text(said["code"]), text(said["message"])
        except (BadNotice, BadJson, KeyError) as doubt:
            return Unknown(f"HTTP {answer.status}, not believed: {doubt}")
        if code in ("order_unknown", "refund_unknown"):
            return Unknown(code, not_found=True)
        if code in final:
            return Refused(code, message, retriable=final[code])
        return Unknown(f"{code}: {message}")

    def _order(self, order: Order, said: dict[str, Any]) -> Outcome:
        if (said["merchant"], said["order"]) != (self.merchant, order.reference):
            return Unknown("an answer about another order")
        match said["state"]:
            case "open":
                return Pending({"type": "qr", "code": text(said["code"])})
            case "closed":
                return Refused("closed", closed=True)
            case "paid":
                return _as_asked(_moved(said), order.amount)
        return Unknown(f"the order is {said['state']!r}")

    def _refund(self, refund: RefundOrder, said: dict[str, Any]) -> Outcome:
        if (said["merchant"], said["refund"], said["order"]) != (
            self.merchant,
            refund.reference,
            refund.payment_reference,
        ):
            return Unknown("an answer about another refund")
        if Money(whole(said["amount"]), text(said["currency"])) != refund.amount:
            return Unknown("a refund of another amount")
        match said["state"]:
            case "pending":
                return Pending(channel_ref=text(said["number"]))
            case "success":
                return _moved(said)
            case "failed":
                return Refused("failed", closed=True)
        return Unknown(f"the refund is {said['state']!r}")


_NAME = {Kind.PAYMENT: "order", Kind.REFUND: "refund"}


def _mac(key: bytes, message: bytes) -> str:
    return hmac.new(key, message, "sha256").hexdigest()


def _moved(said: Mapping[str, Any]) -> Confirmed:
    amount = Money(whole(said["amount"]), text(said["currency"]))
    return Confirmed(text(said["number"]), amount, datetime.fromisoformat(text(said["at"])))


def _as_asked(moved: Confirmed, asked: Money) -> Outcome:
    return moved if moved.amount == asked else Unknown("another amount was paid", stated_amount=moved.amount)


def _line(row: list[str], number: int) -> BillLine:
    kind, order, refund, ref, amount, currency, fee, status, at = row
    return BillLine(
        Kind(kind),
        refund if kind == Kind.REFUND else order,
        order,
        ref,
        Money(int(amount), currency),
        Money(int(fee), currency),
        status if status in ("success", "processing", "failed", "reversed") else "unknown",
        datetime.fromisoformat(at),
        number,
    )


def build(settings: Mapping[str, Any]) -> Acorn:
    """Return the channel of these settings. Raises ValueError, KeyError.

    settings: merchant, base_url, secret_key (or secret_key_file).
    """
    keys = [line.encode() for line in secret(settings, "secret_key").split()]
    if not keys:
        raise ValueError("secret_key has no key")
    return Acorn(merchant=str(settings["merchant"]), base_url=str(settings["base_url"]), keys=keys)
