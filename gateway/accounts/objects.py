"""Channel accounts as the API, the events and the command line show them."""

from typing import Annotated, Any, Literal

import orjson
from pydantic import Field
from typing_extensions import TypedDict

from channels.settings import without_secret_looking
from gateway.accounts.credentials import shown
from gateway.accounts.terms import Terms, TermsWrong
from gateway.tables import ChannelAccount
from kernel.answers import Object, Time, Url, words
from kernel.clock import rfc3339
from streams.catalogue import EventType

STATES = ("enabled", "draining", "off")


class ChannelAccountOut(TypedDict):
    """A merchant's account with a rail 渠道账户."""

    object: Literal["channel_account"]
    id: str
    channel: Annotated[str, Field(description="the rail")]
    state: Annotated[str, words(STATES)]
    usable: Annotated[bool, Field(description="whether payments can be sent on it, whatever its state")]
    problem: Annotated[str | None, Field(description="why it is not usable")]
    position: int
    version: Annotated[int, Field(description="counts every change")]
    credentials_version: Annotated[int, Field(description="counts changes of credentials")]
    settings: Annotated[Object, Field(description="the public part of its credentials")]
    secrets: Annotated[dict[str, str], Field(description="the name of each of its secrets, with a fingerprint")]
    previous_credentials_until: Annotated[
        list[str], Field(description="until when each of the credentials of before verifies notices")
    ]
    terms: Annotated[Object, Field(description="签约条款, see docs/api.md")]
    notify_url: Annotated[Url, Field(description="where the rail sends this account's notices")]
    created_at: Time
    updated_at: Time


class ChannelAccountShort(TypedDict):
    """What an event tells of a channel account."""

    object: Literal["channel_account"]
    id: str
    channel: str
    state: Annotated[str, words(STATES)]
    version: int
    credentials_version: int
    by: Annotated[str, Field(description="the id of the API key that did it, or operator")]


EVENTS = {
    "channel_account.added": EventType("a channel account was added", ChannelAccountShort),
    "channel_account.changed": EventType("its terms, its position or its state were changed", ChannelAccountShort),
    "channel_account.rotated": EventType("new credentials were put into use", ChannelAccountShort),
}


def row_settings(row: ChannelAccount) -> dict[str, Any]:
    """Return an account's public settings; none where somebody has written something else into its row."""
    found = orjson.loads(row.settings)
    return found if isinstance(found, dict) else {}


def channel_account_payload(row: ChannelAccount, notify_url: str, problem: str | None) -> ChannelAccountOut:
    """Return a channel account as the API shows it: of its secrets no more than names and fingerprints.

    problem: why it cannot be used, see ChannelAdmin.problem.
    """
    seen = shown(row)
    try:
        terms = Terms.parse(row.terms).as_object()
    except TermsWrong:  # as they stand: whoever has to mend them must see them
        terms = orjson.loads(row.terms)
    return {
        "object": "channel_account",
        "id": row.id,
        "channel": row.channel,
        "state": row.state,
        "usable": problem is None,
        "problem": problem,
        "position": row.position,
        "version": row.version,
        "credentials_version": row.credentials_version,
        "settings": without_secret_looking(row_settings(row)),
        "secrets": dict(seen.fingerprints),
        "previous_credentials_until": list(seen.previous_until),
        "terms": terms,
        "notify_url": notify_url,
        "created_at": rfc3339(row.created_at),
        "updated_at": rfc3339(row.updated_at),
    }


def channel_account_event(row: ChannelAccount, by: str) -> ChannelAccountShort:
    """Return what an event tells of a channel account: who did it, and no secret."""
    return {
        "object": "channel_account",
        "id": row.id,
        "channel": row.channel,
        "state": row.state,
        "version": row.version,
        "credentials_version": row.credentials_version,
        "by": by,
    }
