"""A bank that takes files over HTTP: hand over orders, fetch what the bank wrote. Keeps nothing."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from functools import partial
from typing import Any
from urllib.parse import quote, urlencode

import orjson

from channels.banks.contract import IDENTITY_REFUSALS
from channels.banks.errors import BadStatement, plain
from channels.banks.files import Accepted, BankAccount, FileInfo, FilePage, Kind
from channels.banks.iso20022 import signing
from channels.banks.iso20022.camt055 import camt055
from channels.banks.iso20022.pain001 import batch_of, unsayable, written
from channels.banks.iso20022.settings import NOTICES, BankSettings
from channels.banks.iso20022.spool import Spooled
from channels.banks.orders import Order, RecallRequest
from channels.contract import Refused, Unknown
from kernel.clock import business_date
from kernel.env import Env, NoAnswer, NotSent, Request, Response
from kernel.errors import Rejected, Unavailable
from kernel.sealing import Secret, without_secrets

MAX_NAME = 200  # characters of a file's id or name
MAX_CURSOR = 2_000
SLOWEST = 256 << 10  # bytes a second at which a long file still reaches the bank
TYPES = frozenset({"pain.002", "camt.029", "camt.053", *NOTICES})
_SHA256 = re.compile(r"[0-9A-Fa-f]{64}", re.ASCII)


# The bank says no and did nothing. Anything else that is not a 202 leaves the upload's fate open.
_REFUSALS = frozenset({400, 401, 403, 413, 415, 422})


class BankClient:
    """One customer's way to its bank. Every call may be repeated: accounts by reference, files by their bytes."""

    keeps_files = True

    def __init__(self, settings: BankSettings, env: Env) -> None:
        """Read the keys; raises ValueError when one of them cannot be used."""
        self.settings = settings
        self.types: Mapping[Kind, str] = {
            Kind.REPORT: "pain.002",
            Kind.NOTICE: settings.notices,
            Kind.RESOLUTION: "camt.029",
            Kind.STATEMENT: "camt.053",
        }
        self._env = env
        self._base = settings.base_url.rstrip("/")
        self._key = signing.private_key(settings.private_key)
        self._bank_keys = {ident: signing.public_key(pem) for ident, pem in settings.bank_keys.items()}

    def unsayable(self, name: str, account: str | None = None) -> str | None:
        """Return why a payee of this name and account number cannot be paid by a pain.001; None where it can be."""
        return unsayable(name, account)

    async def pool_account(self, reference: str, name: str, currency: str) -> str:
        """Open the pool account, or return the one opened under this reference. Raises what open_account raises."""
        return (await self.open_account(reference, name, currency, "pool")).account

    async def open_account(
        self, reference: str, name: str, currency: str, kind: str, identity: Secret | None = None
    ) -> BankAccount:
        """Open an account, or return the one opened under this reference before.

        kind: pool (what channels pay into) or sub (a payee's). Raises Rejected when the bank says no, Unavailable when
        it did not answer, or told of another account than was asked for: then call again with the same reference. Where
        the bank says that the token is used, it is asked without: the first call may have used it. What it says is told
        without the token.
        """
        body = {"reference": reference, "name": name, "currency": currency, "kind": kind}
        hidden = [] if identity is None else [identity]
        try:
            account = _account(await self._opened(body, identity))
        except Rejected as no:
            refusal = no.code.removeprefix("bank_")
            if refusal in IDENTITY_REFUSALS:
                raise Rejected(refusal, IDENTITY_REFUSALS[refusal], param="identity_token") from None
            no.message = without_secrets(no.message, hidden)
            no.args = (no.message,)
            raise
        except Unavailable as silent:
            silent.message = without_secrets(silent.message, hidden)
            silent.args = (silent.message,)
            raise
        if (account.name, account.currency, account.kind) != (name, currency, kind):
            raise Unavailable("bank_answer_unreadable", "the bank's answer is of another account than was asked for")
        if account.status == "open" and not account.account:
            raise Unavailable("bank_answer_unreadable", "the bank calls an account open that has no number")
        return account

    async def _opened(self, body: dict[str, str], identity: Secret | None) -> dict[str, Any]:
        """Ask for an account by a token, and without one that the bank says was used: by us, or it says no again."""
        without = orjson.dumps(body)
        if identity is None:
            return await self._call("POST", "/accounts", without)
        try:
            return await self._call("POST", "/accounts", orjson.dumps({**body, "identity_token": identity.reveal()}))
        except Rejected as no:
            if no.code != "bank_identity_token_used":
                raise
            try:
                return await self._call("POST", "/accounts", without)
            except Rejected:
                raise no from None

    async def account(self, number: str) -> BankAccount:
        """Return an account as it is now. Raises Rejected for one that is not ours, Unavailable."""
        return _account(await self._call("GET", f"/accounts/{quote(number, safe='')}"))

    async def submit(self, order: Order) -> Accepted | Refused | Unknown:
        """Give the bank an order as a pain.001, the same bytes each time. Raises Rejected (bad_instruction).

        A long one is never in memory as a whole.
        """
        return await self._given(written(batch_of(order, self.settings.bic)), order.again_since)

    async def recall(self, request: RecallRequest) -> Accepted | Refused | Unknown:
        """Ask the bank for a payment back by a camt.055, the same bytes each time. Raises Rejected (bad_recall)."""
        return await self._given([camt055(request, self.settings.bic)], None)

    async def upload(self, xml: bytes, *, again_since: datetime | None = None) -> Accepted | Refused | Unknown:
        """Give the bank a pain.001. After Unknown, call again with the very same bytes: they are executed once.

        Accepted says that the bank has the file, not that it paid: that is in the pain.002. Refused is given only for
        an explicit no, after which nothing of the file was done. again_since: not needed, each answer is of its call.
        """
        return await self._given([xml], again_since)

    async def _given(self, pieces: Iterable[bytes], again_since: datetime | None) -> Accepted | Refused | Unknown:
        now = int(self._env.now().timestamp())
        try:
            file = await self._env.offload(Spooled, pieces, now)
        except OSError as error:
            return Unknown(f"the order cannot be written to the disk: {error.strerror}", not_sent=True)
        with file:
            return await self._hand_over(file, again_since)

    async def _signature(self, file: Spooled) -> str:
        sign = partial(signing.sign_hashed, key_id=self.settings.key_id, created=file.created)
        return await self._env.offload(sign, file.to_sign, self._key)

    async def _hand_over(self, file: Spooled, again_since: datetime | None) -> Accepted | Refused | Unknown:
        """Give the bank a file that lies ready."""
        request = Request(
            "POST",
            f"{self._base}/files",
            {**self._headers(), "Content-Type": "application/xml", signing.HEADER: await self._signature(file)},
            file=file.path,
        )
        try:
            patience_s = self.settings.timeout_s + file.size / SLOWEST
            answer = await self._env.transport.send(request, timeout_s=patience_s)
        except NotSent as error:
            return Unknown(str(error), not_sent=True)
        except NoAnswer as error:
            return Unknown(str(error))
        if answer.status in _REFUSALS:
            code, message = _problem(answer)
            return Refused(code, message)
        if answer.status != 202:
            return Unknown(f"the bank answered {answer.status}")
        return await self._receipt(file.sha256, answer)

    async def _receipt(self, sha256: str, answer: Response) -> Accepted | Unknown:
        """Believe a 202 only when the bank signed it and it speaks of the bytes we sent."""
        try:
            await self._verified(answer)
            receipt = accepted(json_object(answer.body))
        except (BadStatement, KeyError) as error:
            return Unknown(f"the bank's receipt cannot be trusted: {error}")
        if receipt.sha256 != sha256:
            return Unknown("the bank's receipt is for other bytes than we sent")
        return receipt

    async def list_files(
        self,
        type: str,
        after: str | None = None,
        *,
        under_way: Sequence[str] = (),
        message_id: str | None = None,
        limit: int = 100,
    ) -> FilePage:
        """Return files of one type made after a cursor, oldest first. Raises Unavailable, Rejected.

        type: one of TYPES. under_way: not needed, the bank reports by itself. after:
        FilePage.next of the call before. message_id: of ours; only reports on it. limit: a bank that does not heed it
        lists all it has. The list itself is not signed; what it leads to is. What it says oddly of one file
        (FileInfo.odd) keeps no other from being read.
        """
        query = {"type": type, "limit": str(limit)}
        query |= {} if after is None else {"after": after}
        query |= {} if message_id is None else {"message_id": message_id}
        path = f"/files?{urlencode(query)}"
        said = await self._call("GET", path, routine=True, may_be_long=True)
        listed, cursor = said.get("files"), said.get("next", "")
        if not isinstance(listed, list) or not (cursor is None or _is_name(str(cursor), MAX_CURSOR)):
            raise Unavailable(
                "bank_answer_unreadable", "the bank's list of files cannot be read, or does not say where it continues"
            )
        files = tuple(self._listed(one, type) for one in listed)
        return FilePage(files, after if cursor is None else str(cursor))

    def _listed(self, one: Any, type: str) -> FileInfo:
        """Read what a list says of one file. What is for people alone may be anything."""
        told = one if isinstance(one, dict) else {}
        day, is_hash = _day(told.get("business_date")), _SHA256.fullmatch(str(told.get("sha256")))
        if day is None or not is_hash or not _is_name(told.get("file_id")):
            usable = {"business_date": day, "file_id": _is_name(told.get("file_id")), "sha256": is_hash}
            said = (
                f"no usable {', '.join(name for name, good in usable.items() if not good)} in {ascii(one)[:MAX_NAME]}"
            )
            ident = f"listed-{hashlib.sha256(ascii(one).encode()).hexdigest()[:16]}"
            return FileInfo(ident, type, said, business_date(self._env.now()), "", "", odd=True)
        known = {name: text for name, text in told.items() if _is_name(text)}
        return FileInfo(
            file_id=known["file_id"],
            type=known["type"] if known.get("type") in TYPES else type,
            name=known.get("name", known["file_id"]),
            business_date=day,
            created_at=known.get("created_at", ""),
            sha256=known["sha256"],
            original_message_id=known.get("original_message_id"),
            original_file_id=known.get("original_file_id"),
        )

    async def uploads(self, message_id: str) -> tuple[Accepted, ...]:
        """Return what the bank has received from us under a message id, first one first; empty: it has nothing.

        Not signed: it may tell a person where an unknown upload stands, but only a pain.002 decides about money. More
        than one: other bytes came under the same id, and the bank pays by the first. Raises Unavailable, Rejected.
        """
        said = await self._call("GET", f"/files?{urlencode({'type': 'pain.001', 'message_id': message_id})}")
        try:
            return tuple(map(accepted, said["files"]))
        except (KeyError, TypeError) as error:
            raise Unavailable("bank_answer_unreadable", f"the bank's list of files cannot be read: {error!r}") from None

    async def fetch(self, file: FileInfo | str) -> bytes:
        """Return a file's bytes, signed by the bank. Raises BadStatement, Unavailable, Rejected.

        file: with a FileInfo its hash is compared as well, so that one signed file cannot stand in for another. Bytes
        that came and are not believed are in the BadStatement.
        """
        if isinstance(file, FileInfo) and file.odd:
            raise BadStatement("listed_oddly", f"the bank's list does not say which file this is: {file.name}")
        file_id = file if isinstance(file, str) else file.file_id
        answer = await self._send(
            "GET", f"/files/{quote(file_id, safe='')}", accept="application/xml", may_be_long=True
        )
        try:
            await self._verified(answer)
        except BadStatement as error:
            raise BadStatement(error.code, error.message, answer.body) from None
        if isinstance(file, FileInfo) and hashlib.sha256(answer.body).hexdigest() != file.sha256.lower():
            why = f"{file.name} is not the file the bank listed: its hash differs"
            raise BadStatement("other_file", why, answer.body)
        return answer.body

    async def _verified(self, answer: Response) -> None:
        header = answer.headers.get(signing.HEADER.lower())
        try:
            await self._env.offload(signing.verify, header, answer.body, self._bank_keys)
        except signing.BadSignature as error:
            raise BadStatement(f"signature_{error.code}", error.message) from None

    async def _call(
        self, method: str, path: str, body: bytes = b"", *, routine: bool = False, may_be_long: bool = False
    ) -> dict[str, Any]:
        try:
            return json_object((await self._send(method, path, body, routine=routine, may_be_long=may_be_long)).body)
        except BadStatement as error:
            raise Unavailable("bank_answer_unreadable", error.message) from None

    async def _send(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        accept: str = "application/json",
        *,
        routine: bool = False,
        may_be_long: bool = False,
    ) -> Response:
        """Make a call that may be repeated. Raises Rejected for an explicit no, Unavailable for anything unclear."""
        headers = self._headers(accept)
        if body:
            headers["Content-Type"] = "application/json"
        try:
            answer = await self._env.transport.send(
                Request(method, self._base + path, headers, body, routine, may_be_long),
                timeout_s=self.settings.timeout_s,
            )
        except (NotSent, NoAnswer) as error:
            raise Unavailable("bank_unreachable", f"the bank did not answer: {error}", retry_after_s=5) from None
        if answer.status in (200, 201):
            return answer
        code, message = _problem(answer)
        if 400 <= answer.status < 500 and answer.status not in (408, 425, 429):
            raise Rejected(f"bank_{code}", f"the bank refused: {message}", status=answer.status)
        raise Unavailable("bank_unavailable", f"the bank answered {answer.status}: {message}", retry_after_s=5)

    def _headers(self, accept: str = "application/json") -> dict[str, str]:
        return {"Authorization": f"Bearer {self.settings.token}", "Accept": accept}


def _account(said: Mapping[str, Any]) -> BankAccount:
    try:
        return BankAccount(
            account=str(said["account"] or ""),
            name=str(said["name"]),
            currency=str(said["currency"]),
            kind=str(said["kind"]),
            status=str(said["status"]),
            balance_minor=int(said["balance_minor"]),
            reason=None if said.get("reason") is None else plain(said["reason"], 100),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise Unavailable("bank_answer_unreadable", f"the bank's account cannot be read: {error!r}") from None


def _day(told: Any) -> date | None:
    try:
        return date.fromisoformat(told)
    except (TypeError, ValueError):
        return None


def _is_name(told: Any, most: int = MAX_NAME) -> bool:
    """Tell whether it is a text that can stand in a row, an address and on a screen."""
    return isinstance(told, str) and 0 < len(told) <= most and told.isprintable()


def json_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object that a bank wrote. Raises BadStatement."""
    try:
        said = json.loads(body)  # also where a name of a file has half a letter in it
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        raise BadStatement("unreadable", "the bank's answer is not a JSON object")
    return said


def accepted(said: Mapping[str, Any]) -> Accepted:
    """Read what a bank has received. Raises KeyError, TypeError."""
    ident, message_id, digest, at = (
        plain(said[name], MAX_NAME) for name in ("file_id", "message_id", "sha256", "received_at")
    )
    return Accepted(ident, message_id, digest, at)


def _problem(answer: Response) -> tuple[str, str]:
    """Return the bank's own code and sentence of a refusal, or what can be said without them."""
    try:
        said = json_object(answer.body)
    except BadStatement:
        said = {}
    code, message = said.get("code", f"http_{answer.status}"), said.get("message", f"HTTP {answer.status}")
    return plain(code, 100), plain(message, 300)
