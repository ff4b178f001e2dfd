"""What payers do to an order: pay on its page, be declined there, let a try fail. Inside the caller's transaction."""

from collections.abc import Mapping
from typing import Any

from sandbox.acquirer import Acquirer, Trade
from sandbox.store import Tx
from sandbox.stripe.cards import DECLINED

HOLDS_FOR_MS = 7 * 86_400_000
CARD_SAYS_NO = {
    "code": "card_declined",
    "decline_code": "generic_decline",
    "message": DECLINED,
    "type": "card_error",
}


def pay(tx: Tx, acquirer: Acquirer, trade: Trade, payer: str | None) -> Trade:
    """Have a payer type a card that is good: the page is complete, the money taken or reserved. Raises CoreError."""
    if trade.state == "open":
        trade = _tried(tx, acquirer, trade)
        trade = acquirer.trades.note(tx, trade, payment_method="pm_card_visa")
    if trade.hold:
        until_ms = acquirer.ctx.clock.now_ms() + HOLDS_FOR_MS
        done = acquirer.trades.hold(tx, trade, payer or "visa 4242", expires_ms=until_ms)
    else:
        done = acquirer.trades.charge(tx, trade, payer or "visa 4242")
    acquirer.trades.tell(tx, "approved", done)
    return done


def decline(tx: Tx, acquirer: Acquirer, trade: Trade) -> Trade:
    """Have a payer type a card that is declined; the page stays open for another. Raises CoreError."""
    return fail(tx, acquirer, _tried(tx, acquirer, trade) if trade.state == "open" else trade, CARD_SAYS_NO)


def _tried(tx: Tx, acquirer: Acquirer, trade: Trade) -> Trade:
    """Have the page make its intent: until its payer tries, there is none to be seen."""
    return acquirer.trades.note(tx, trade, session={**trade.extra["session"], "tried": True})


def fail(tx: Tx, acquirer: Acquirer, trade: Trade, error: Mapping[str, Any]) -> Trade:
    """Let a try with a card fail: the intent shows the error, lets go of the card and waits for another."""
    left = {"status": "requires_payment_method", "payment_method": None, "last_payment_error": dict(error)}
    noted = acquirer.trades.note(tx, trade, **left)
    return acquirer.trades.decline(tx, noted, final=False, refusal=str(error.get("decline_code") or error["code"]))
