"""The form of what Stripe is sent, alike for all calls."""

from collections.abc import Mapping

from channels.contract import Request
from channels.stripe import messages

USER_AGENT = "sluice-hub/0.1"
VERSION = "2026-10-28.endive"  # of the API; pinned, so that answers keep their shape whatever the account is set to


class Calls:
    """Makes requests, unsigned."""

    _headers: Mapping[str, str] = {
        "Accept": "application/json",
        "Stripe-Version": VERSION,
        "User-Agent": USER_AGENT,
    }

    def get(self, url: str) -> Request:
        """Return a question."""
        return Request("GET", url, self._headers)

    def post(self, url: str, fields: messages.Pairs, *, key: str | None = None) -> Request:
        """Return a command. key: under which Stripe executes it once.

        Without one the object's own state sees to that: Stripe replays whatever came of a key, a 500 too, for a day.
        What has a state to guard it does better without.
        """
        headers = {**self._headers, "Content-Type": "application/x-www-form-urlencoded"}
        return Request("POST", url, headers | ({"Idempotency-Key": key} if key else {}), messages.form(fields))
