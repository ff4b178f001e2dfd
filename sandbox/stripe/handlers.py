"""What each call of the API does. Handlers only translate; the rules are in intents.py, sessions.py and balance.py."""

from collections.abc import Sequence
from datetime import UTC
from email.utils import format_datetime
from typing import Any

from sandbox.acquirer import Acquirer, Trade
from sandbox.store import Tx
from sandbox.stripe import objects
from sandbox.stripe.balance import Balance
from sandbox.stripe.calls import Answer, Call, about, ok
from sandbox.stripe.errors import no_such, wrong
from sandbox.stripe.forms import Fields
from sandbox.stripe.intents import Intents
from sandbox.stripe.naming import Naming
from sandbox.stripe.sessions import Sessions

LIST = ("limit", "starting_after", "ending_before", "expand")
OF_SESSIONS = "payment_intent"
EXPANDS = {
    "latest_charge": objects.Expand(charge=True),
    "latest_charge.balance_transaction": objects.Expand(charge=True, transaction=True),
}


class Handlers:
    """One method for each call."""

    def __init__(self, acquirer: Acquirer, naming: Naming, intents: Intents, sessions: Sessions) -> None:
        self._of = acquirer
        self._naming = naming
        self._intents = intents
        self._sessions = sessions
        self._balance = Balance(acquirer)

    def _shown(self, call: Call, trade: Trade) -> Answer:
        return ok(objects.intent(trade, self._of.page_url(trade), _expand(call.fields.texts("expand"))))

    def _shown_session(self, call: Call, trade: Trade) -> Answer:
        paths = call.fields.texts("expand")
        if strange := [path for path in paths if path.partition(".")[0] != OF_SESSIONS]:
            raise wrong("expand", f"This property cannot be expanded ({strange[0][:100]}).")
        below = [path.removeprefix(f"{OF_SESSIONS}.") for path in paths if path != OF_SESSIONS]
        return ok(objects.session(trade, self._of.page_url(trade), _expand(below) if paths else None))

    def create(self, tx: Tx, call: Call) -> Answer:
        """POST /v1/payment_intents."""
        return self._shown(call, self._intents.create(tx, call.merchant, call.fields))

    def show(self, tx: Tx, call: Call) -> Answer:
        """GET /v1/payment_intents/{intent}."""
        return self._shown(call, about(call))

    def confirm(self, tx: Tx, call: Call) -> Answer:
        """POST /v1/payment_intents/{intent}/confirm."""
        return self._shown(call, self._intents.confirm(tx, about(call), call.fields))

    def capture(self, tx: Tx, call: Call) -> Answer:
        """POST /v1/payment_intents/{intent}/capture."""
        return self._shown(call, self._intents.capture(tx, about(call), call.fields))

    def cancel(self, tx: Tx, call: Call) -> Answer:
        """POST /v1/payment_intents/{intent}/cancel."""
        return self._shown(call, self._intents.cancel(tx, about(call), call.fields))

    def list_intents(self, tx: Tx, call: Call) -> Answer:
        """GET /v1/payment_intents, newest first."""
        trades = self._of.trades.of_merchant(tx, call.merchant.merchant)
        seen = [trade for trade in reversed(trades) if objects.has_intent(trade)]
        return self._listed(call, [objects.intent(trade, self._of.page_url(trade)) for trade in seen])

    def create_session(self, tx: Tx, call: Call) -> Answer:
        """POST /v1/checkout/sessions."""
        return self._shown_session(call, self._sessions.create(tx, call.merchant, call.fields))

    def show_session(self, tx: Tx, call: Call) -> Answer:
        """GET /v1/checkout/sessions/{session}."""
        return self._shown_session(call, about(call))

    def expire_session(self, tx: Tx, call: Call) -> Answer:
        """POST /v1/checkout/sessions/{session}/expire."""
        return self._shown_session(call, self._sessions.expire(tx, about(call)))

    def make_refund(self, tx: Tx, call: Call) -> Answer:
        """POST /v1/refunds."""
        trade = about(call)
        return ok(objects.refund(self._intents.refund(tx, trade, call.fields), trade))

    def show_refund(self, tx: Tx, call: Call) -> Answer:
        """GET /v1/refunds/{refund}."""
        assert call.refund is not None
        return ok(objects.refund(call.refund, about(call)))

    def list_refunds(self, tx: Tx, call: Call) -> Answer:
        """GET /v1/refunds, newest first: of one intent, or of all."""
        if call.fields.text("payment_intent") or call.fields.text("charge"):
            trades = [self._naming.paid(call.merchant, call.fields)]
        else:
            trades = self._of.trades.of_merchant(tx, call.merchant.merchant)
        found = [(refund, trade) for trade in trades for refund in self._of.refunds.of_trade(tx, trade)]
        found.sort(key=lambda pair: -pair[0].refund_id)
        return self._listed(call, [objects.refund(refund, trade) for refund, trade in found])

    def show_dispute(self, tx: Tx, call: Call) -> Answer:
        """GET /v1/disputes/{dispute}; its intent is shown whole where that is asked for."""
        assert call.dispute is not None
        expands = call.fields.texts("expand")
        if strange := [path for path in expands if path != OF_SESSIONS]:
            raise wrong("expand", f"This property cannot be expanded ({strange[0][:100]}).")
        trade = about(call)
        return ok(objects.dispute(call.dispute, trade, self._of.page_url(trade) if expands else None))

    def list_transactions(self, tx: Tx, call: Call) -> Answer:
        """GET /v1/balance_transactions, newest first.

        The Date of the answer is the account's books': after their day was closed by hand it is the next one there.
        """
        expands = call.fields.texts("expand")
        if strange := [path for path in expands if path != "data.source"]:
            raise wrong("expand", f"This property cannot be expanded ({strange[0][:100]}).")
        created = Fields(call.fields.values["created"]) if isinstance(call.fields.values.get("created"), dict) else None
        since = before = None
        if created is not None:
            created.only(("gt", "gte", "lt", "lte"))
            after, up_to = created.whole("gt"), created.whole("lte")
            since = created.whole("gte") if after is None else after + 1
            before = created.whole("lt") if up_to is None else up_to + 1
        rows = self._balance.newest_first(call.merchant, since, before, source=bool(expands))
        kind = call.fields.text("type")
        currency = call.fields.text("currency")
        rows = [row for row in rows if kind in (None, row["type"]) and currency in (None, row["currency"])]
        page = self._listed(call, rows)
        body, day = page.body, self._balance.the_day(since, before)
        if day is not None:
            body = self._of.bills.cut(call.merchant, day, body)
        return Answer(
            200, body, headers={"Date": format_datetime(self._balance.now(call.merchant).astimezone(UTC), usegmt=True)}
        )

    def make_hook(self, tx: Tx, call: Call) -> Answer:
        """POST /v1/webhook_endpoints; the secret is told this once."""
        url, events = call.fields.required("url"), call.fields.texts("enabled_events")
        if not url.startswith(("https://", "http://127.0.0.1:", "http://localhost:")):
            raise wrong("url", "Invalid URL: webhook endpoints must be https, or on this machine", "url_invalid")
        if not events:
            raise wrong("enabled_events", "Missing required param: enabled_events.", "parameter_missing")
        values = {
            "enabled_events": events,
            "api_version": call.fields.text("api_version"),
            "description": call.fields.text("description"),
        }
        return ok(objects.webhook(self._of.merchants.add_webhook(tx, call.merchant, url, values), secret=True))

    def show_hook(self, tx: Tx, call: Call) -> Answer:
        """GET /v1/webhook_endpoints/{hook}."""
        assert call.hook is not None
        return ok(objects.webhook(call.hook))

    def list_hooks(self, tx: Tx, call: Call) -> Answer:
        """GET /v1/webhook_endpoints, newest first."""
        hooks = self._of.merchants.webhooks(tx, call.merchant.merchant)
        return self._listed(call, [objects.webhook(hook) for hook in reversed(hooks)])

    def remove_hook(self, tx: Tx, call: Call) -> Answer:
        """DELETE /v1/webhook_endpoints/{hook}."""
        assert call.hook is not None
        self._of.merchants.remove_webhook(tx, call.merchant.merchant, call.hook.webhook_id)
        return ok({"id": call.hook.webhook_id, "object": "webhook_endpoint", "deleted": True})

    def _listed(self, call: Call, rows: list[dict[str, Any]]) -> Answer:
        """Return the page of `rows` that is asked for."""
        fields = call.fields
        limit = fields.whole("limit")
        limit = 10 if limit is None else limit
        if not 1 <= limit <= 100:
            raise wrong("limit", "This value must be between 1 and 100.", "parameter_invalid_integer")
        after, before = fields.text("starting_after"), fields.text("ending_before")
        ids = [row["id"] for row in rows]
        for name, number in (("starting_after", after), ("ending_before", before)):
            if number is not None and number not in ids:
                raise no_such("object", number[:100], name, 400)
        if after is not None:
            rows = rows[len(ids) - ids[::-1].index(after) :]
        if before is not None:
            rows = rows[: ids.index(before)][-limit:]
        return ok(objects.listed(call.path, rows[:limit], len(rows) > limit))


def _expand(paths: Sequence[str]) -> objects.Expand:
    """Return what is to be shown whole of an intent. Raises ApiError."""
    expand = objects.NOTHING
    for path in paths:
        if path not in EXPANDS:
            raise wrong("expand", f"This property cannot be expanded ({path[:100]}).")
        more = EXPANDS[path]
        expand = objects.Expand(expand.charge or more.charge, expand.transaction or more.transaction)
    return expand
