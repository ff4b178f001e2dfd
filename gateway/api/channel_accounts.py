"""Channel accounts 渠道账户: what is sent, and what is done with it."""

import hashlib
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from gateway.accounts.admin import ChannelAdmin, terms_wrong
from gateway.accounts.objects import ChannelAccountOut, channel_account_payload
from gateway.accounts.terms import Terms, TermsWrong
from gateway.accounts.terms_form import TermsIn
from gateway.claims import Claims
from gateway.tables import ChannelAccount
from kernel.answers import ListOut
from kernel.errors import NotFound
from kernel.routes import Call, Reply, Route, a_name, listed, made
from kernel.shapes import Body, Form, FormOf

AccountName = Annotated[str, Form(r"[0-9A-Za-z_\-]{1,32}", "1 to 32 of the characters 0-9 A-Z a-z _ -")]
RailName = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Settings = Annotated[
    dict[Annotated[str, Form(r"[a-z0-9_]{1,40}", "names of settings: 1 to 40 of a-z 0-9 _")], Any],
    Field(min_length=1, max_length=50),
]
Position = Annotated[int, Field(ge=0, le=10_000, strict=True)]
_TERMS = "all terms 签约条款: fees, limits, hours"
_POSITION = "among equals the lower is preferred"


class ChannelAccountIn(Body):
    """POST /v1/channel_accounts"""

    id: AccountName = Field(description="your name for it; it stands in the address of its notices")
    channel: RailName = Field(description="the rail, such as `wechat`")
    credentials: Settings = Field(
        repr=False,
        description="what the rail needs: identifiers, addresses, keys, certificates as text (PEM); see docs/rails.md",
    )
    # To be said, even where it is nothing: what the rail charges is nobody's to guess.
    terms: Annotated[dict[str, Any], FormOf(TermsIn)] = Field(description=f"{_TERMS}; `{{}}`: no fee and no bound")
    position: Position | None = Field(default=None, description=f"{_POSITION}; last where left out")


class ChannelAccountChange(Body):
    """PATCH /v1/channel_accounts/{id}"""

    version: Annotated[int, Field(ge=1, le=2**31 - 1, strict=True)] = Field(
        description="of the account as you read it; 409 `version_mismatch` where it has moved on"
    )
    terms: Annotated[dict[str, Any], FormOf(TermsIn)] | None = Field(
        default=None, description=f"{_TERMS}; they replace those of before"
    )
    position: Position | None = Field(default=None, description=_POSITION)
    state: Literal["enabled", "draining", "off"] | None = Field(
        default=None,
        description="`draining`: nothing new goes to it, what is open is finished and refunded there",
    )


class RotateIn(Body):
    """POST /v1/channel_accounts/{id}/rotate"""

    credentials: Settings = Field(
        repr=False,
        description="what is new; what is not named stays, `null` takes away; of the same account at the rail",
    )
    keep_days: Annotated[int, Field(ge=0, le=365, strict=True)] = Field(
        default=30, description="for how many days more notices under those of before are believed"
    )
    unproven: Annotated[bool, Field(strict=True)] = Field(
        default=False, description="put them into use without asking the rail whether it knows the account by them"
    )


class NothingIn(Body):
    """A body that says nothing."""


_CREDENTIALS = ("address_refused", "channel_keys_unusable", "channel_settings_wrong")


def _terms(said: dict[str, Any]) -> Terms:
    """Return terms as sent. Raises Rejected (terms_wrong)."""
    try:
        return Terms.of(said)
    except TermsWrong as error:
        raise terms_wrong(error) from None


def _missing(name: str) -> NotFound:
    return NotFound("no_such_channel_account", f"there is no channel account {name!r}")


class ChannelAccountRoutes:
    """The routes of channel accounts."""

    def __init__(
        self, admin: ChannelAdmin, digest: Callable[[str], bytes], notify_url: Callable[[int, str, str], str]
    ) -> None:
        """digest: keyed, so that what is kept of a body with secrets tells nothing. notify_url: book, account, rail."""
        self._admin = admin
        self._digest = digest
        self._notify_url = notify_url

    def routes(self) -> Sequence[Route[Any]]:
        scope, place = "channels", "/v1/channel_accounts"
        one = a_name(r"[0-9A-Za-z_\-]{1,32}", "the channel account", _missing, "channel_account")
        return [
            Route(
                method="POST",
                path=place,
                scope=scope,
                handler=self.add_channel_account,
                problems=("account_exists", "no_such_channel", "rail_account_taken", "terms_wrong", *_CREDENTIALS),
                answer=ChannelAccountOut,
                says="Add a channel account; it is enabled at once",
                body=ChannelAccountIn,
                needs_key=True,
                makes=True,
            ),
            Route(
                method="GET",
                path=place,
                scope=scope,
                handler=self.list_channel_accounts,
                answer=ListOut[ChannelAccountOut],
                says="List all channel accounts, in your order",
                query=(),
            ),
            Route(
                method="GET",
                path=f"{place}/{{id}}",
                scope=scope,
                handler=self.get_channel_account,
                answer=ChannelAccountOut,
                says="Read a channel account",
                ident=one,
            ),
            Route(
                method="PATCH",
                path=f"{place}/{{id}}",
                scope=scope,
                handler=self.change_channel_account,
                problems=("no_such_channel", "terms_wrong", "version_mismatch"),
                answer=ChannelAccountOut,
                says="Change terms, position or state of a channel account",
                ident=one,
                body=ChannelAccountChange,
            ),
            Route(
                method="POST",
                path=f"{place}/{{id}}/rotate",
                scope=scope,
                handler=self.rotate_channel_account,
                problems=(
                    "another_account",
                    "channel_account_closed",
                    "credentials_not_proven",
                    "no_such_channel",
                    "version_mismatch",
                    *_CREDENTIALS,
                ),
                answer=ChannelAccountOut,
                says="Put new credentials into use",
                ident=one,
                body=RotateIn,
                needs_key=True,
            ),
            Route(
                method="POST",
                path=f"{place}/{{id}}/drain",
                scope=scope,
                handler=self.drain_channel_account,
                answer=ChannelAccountOut,
                says="Send nothing new to a channel account",
                ident=one,
                body=NothingIn,
                needs_key=True,
            ),
        ]

    async def add_channel_account(self, call: Call[ChannelAccountIn]) -> Reply:
        body = call.body
        row, replayed = await self._admin.add(
            call.book,
            body.id,
            body.channel,
            body.credentials,
            terms=_terms(body.terms),
            position=body.position,
            claims=self._claims(call, "add"),
            by=call.by,
        )
        return made(self._payload(row), replayed=replayed)

    async def list_channel_accounts(self, call: Call[None]) -> Reply:
        rows = await self._admin.list(call.book)
        return listed([self._payload(row) for row in rows], len(rows))

    async def get_channel_account(self, call: Call[None]) -> Reply:
        return Reply(self._payload(await self._admin.get(call.book, call.ident)))

    async def change_channel_account(self, call: Call[ChannelAccountChange]) -> Reply:
        body = call.body
        row = await self._admin.change(
            call.book,
            call.ident,
            version=body.version,
            terms=None if body.terms is None else _terms(body.terms),
            position=body.position,
            state=body.state,
            by=call.by,
        )
        return Reply(self._payload(row))

    async def rotate_channel_account(self, call: Call[RotateIn]) -> Reply:
        body = call.body
        row, replayed = await self._admin.rotate(
            call.book,
            call.ident,
            body.credentials,
            keep=timedelta(days=body.keep_days),
            claims=self._claims(call, f"rotate {call.ident}"),
            by=call.by,
            prove=not body.unproven,
        )
        return Reply(self._payload(row), replayed=replayed)

    async def drain_channel_account(self, call: Call[NothingIn]) -> Reply:
        claims = self._claims(call, f"drain {call.ident}")
        row = await self._admin.change(call.book, call.ident, state="draining", claims=claims, by=call.by)
        return Reply(self._payload(row))

    def _claims(self, call: Call[Any], what: str) -> Claims:
        """Return the claim of a request whose body may hold secrets: kept is an HMAC of it, which tells nothing."""
        return Claims((f"i:{call.key}",), self._digest(f"{what}\n{hashlib.sha256(call.raw).hexdigest()}"))

    def _payload(self, row: ChannelAccount) -> ChannelAccountOut:
        notify_url = self._notify_url(row.book, row.id, row.channel)
        return channel_account_payload(row, notify_url, self._admin.problem(row))
