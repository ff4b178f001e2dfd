"""Messages over the direct link: sent, answered, and believed where they are signed and answer what was asked."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from channels.banks.cmb import envelope, messages, sm
from channels.banks.cmb.settings import CmbSettings
from channels.banks.errors import BadStatement
from kernel.clock import BEIJING
from kernel.env import Env, NoAnswer, NotSent, Request
from kernel.errors import Rejected, Unavailable

PAGES = 2_000  # of one question: a bank that always has more is no bank


class Link:
    """One customer's link to the bank."""

    def __init__(self, settings: CmbSettings, env: Env) -> None:
        """Read the keys; raises ValueError when one of them cannot be used."""
        self.settings = settings
        self._env = env
        self._pair = sm.key_pair(settings.private_key, settings.public_key)
        self._public = sm.public_key(settings.bank_public_key)
        self._key, self._who = settings.symmetric_key.encode(), envelope.identity(settings.uid)

    async def _pages(
        self, funcode: str, key: str, asked: Mapping[str, Any], name: str
    ) -> tuple[list[str], list[dict[str, str]]]:
        """Ask until all is told; return the answers and their records."""
        texts: list[str] = []
        found: list[dict[str, str]] = []
        again: Mapping[str, Any] = {**asked, "ctnKey": ""}
        for _ in range(PAGES):
            text, response = await self._asked(funcode, {key: [again]})
            texts.append(text)
            found += readable(response, name)
            following = next(iter(readable(response, key)), {})
            if not following.get("ctnKey"):
                return texts, found
            again = following
        raise Unavailable("bank_answer_unreadable", f"the bank never comes to the end of {funcode}")

    async def _asked(self, funcode: str, body: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
        """Ask what may be asked again. Raises Unavailable, and Rejected where the bank says no under its signature."""
        try:
            text, response = await self._call(funcode, body, routine=True)
        except (NotSent, NoAnswer) as error:
            raise Unavailable("bank_unreachable", f"the bank did not answer: {error}", retry_after_s=5) from None
        except BadStatement as error:
            raise Unavailable("bank_answer_unreadable", error.message, retry_after_s=5) from None
        if (no := messages.refusal(response)) is not None:
            raise Rejected(f"bank_{no[0]}", f"the bank refused {funcode}: {no[1]}")
        return text, response

    async def _call(
        self, funcode: str, body: Mapping[str, Any], *, routine: bool = False
    ) -> tuple[str, Mapping[str, Any]]:
        """Send one message; return the answer's text and response. Raises NotSent, NoAnswer, Unavailable, BadStatement.

        An answer is to this very question, and signed: nothing else is believed.
        """
        now = self._env.now().astimezone(BEIJING)
        head = {"funcode": funcode, "userid": self.settings.uid, "reqid": _reqid(now, self._env.secrets(8).hex())}
        request, moment = {"head": head, "body": body}, f"{now:%Y%m%d%H%M%S}"
        seal = (request, moment, self._pair, self._key, self._who)
        data = await self._env.offload(envelope.sealed, *seal)
        form = urlencode({"UID": self.settings.uid, "ALG": "SM", "DATA": data, "FUNCODE": funcode}).encode()
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = await self._env.transport.send(
            Request("POST", self.settings.base_url, headers, form, routine, True), timeout_s=self.settings.timeout_s
        )
        if answer.status != 200 or answer.body.lstrip().startswith(b"CDCServer:"):
            why = answer.body[:200].decode("utf-8", "replace") if answer.status == 200 else f"HTTP {answer.status}"
            raise Unavailable("bank_unavailable", f"the bank's gateway answered {why!a}", retry_after_s=5)
        text, response = await self._env.offload(envelope.opened, answer.body, self._public, self._key, self._who)
        said = response.get("head") or {}
        if (said.get("funcode"), said.get("reqid"), said.get("userid")) != (funcode, head["reqid"], head["userid"]):
            raise BadStatement("other_answer", "the bank's answer is to another question", text.encode())
        return text, response


def readable(response: Mapping[str, Any], name: str) -> list[dict[str, str]]:
    try:
        return messages.rows(response, name)
    except BadStatement as error:
        raise Unavailable("bank_answer_unreadable", error.message) from None


def _reqid(now: datetime, mark: str) -> str:
    """Return a number for a message: 17 digits of the moment, then what no other has."""
    return f"{now:%Y%m%d%H%M%S}{now.microsecond // 1000:03d}{mark}"
