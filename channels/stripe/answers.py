"""Reading Stripe's answers: what the lists of errors conclude, and of which intent an answer speaks."""

from collections.abc import Callable, Mapping
from typing import Any

from channels.contract import Order, Outcome, Pending, Response, Unknown
from channels.stripe import messages
from channels.stripe.messages import Doubt, Intent
from kernel.safe_json import BadJson, loads_object

PAST_IT = "payment_intent_unexpected_state"  # the error of an intent that is past what was asked; it shows the intent
Read = Callable[[dict[str, Any]], Outcome]


class Answers:
    """The answers to calls with one key. livemode: whether it is a key of real money."""

    def __init__(self, *, livemode: bool) -> None:
        self.livemode = livemode

    def intent(self, body: Mapping[str, Any]) -> Intent:
        """Return the intent that a body shows. Raises Doubt."""
        return messages.intent(body, livemode=self.livemode)

    def about(self, order: Order, body: Mapping[str, Any]) -> Outcome:
        """Return what a body says of this order's intent. Raises Doubt."""
        found = self.intent(body)
        return messages.about_order(found, order, found.outcome())

    def declined(self, order: Order, answer: Response) -> Outcome:
        """Return what a 402 says: it names the intent as it is left, without a card."""
        error = messages.rail_error(answer)
        try:
            if error.type != "card_error":
                raise Doubt("it is no card error")
            left = self._left(order, error)
            if left.status != "requires_payment_method":
                raise Doubt(f"the intent is {left.status[:40]}")
        except Doubt as doubt:
            return Unknown(f"HTTP 402, not believed: {doubt}")
        return messages.declined(error.body)

    def past_it(self, answer: Response, read: Read) -> Outcome:
        """Return what `read` makes of the intent that an error shows when it is past what was asked."""
        error = messages.rail_error(answer)
        shown = error.body.get("payment_intent")
        if error.code != PAST_IT or not isinstance(shown, dict):
            return messages.unknown(error)
        try:
            return read(shown)
        except Doubt as doubt:
            return Unknown(f"{error.code}: {doubt}", stated_amount=doubt.stated_amount)

    def outcome(self, answer: Response, errors: messages.Errors, read: Read) -> Outcome:
        """Return what an answer means; of errors a list decides."""
        if answer.status != 200:
            return messages.error_outcome(messages.rail_error(answer), errors)
        try:
            return read(loads_object(answer.body))
        except BadJson as doubt:
            return Unknown(f"HTTP {answer.status}, not readable: {doubt}")
        except Doubt as doubt:
            return Unknown(f"HTTP {answer.status}, not believed: {doubt}", stated_amount=doubt.stated_amount)

    def _left(self, order: Order, error: messages.RailError) -> Intent:
        """Return this order's intent as an error shows it. Raises Doubt."""
        shown = error.body.get("payment_intent")
        if not isinstance(shown, dict):
            raise Doubt("the error shows no intent")
        found = self.intent(shown)
        messages.about_order(found, order, Pending())
        return found


def replayed(answer: Response) -> bool:
    """Tell whether an answer is that to an earlier request under the same key: it shows what was."""
    return answer.headers.get("idempotent-replayed", "").lower() == "true"
