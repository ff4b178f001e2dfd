"""Stripe's test cards, by the payment methods that stand for them."""

from dataclasses import dataclass

DECLINED = "Your card was declined."
NO_FUNDS = "Your card has insufficient funds."


@dataclass(frozen=True, slots=True)
class Card:
    """How a card takes it: charged; declined with a code; or its holder is asked for proof first (3-D Secure)."""

    brand: str = "visa"
    last4: str = "4242"
    code: str | None = None
    decline_code: str | None = None
    message: str = DECLINED
    proof: bool = False


REFUND_FAILS = "pm_card_refundFail"
CARDS = {
    "pm_card_visa": Card(),
    "pm_card_visa_debit": Card(last4="5556"),
    # Its refunds succeed, and fail some time after (docs.stripe.com/testing, "Refunds": 4000 0000 0000 5126).
    REFUND_FAILS: Card(last4="5126"),
    "pm_card_mastercard": Card("mastercard", "4444"),
    "pm_card_amex": Card("amex", "8431"),
    "pm_card_unionpay": Card("unionpay", "0005"),
    "pm_card_jcb": Card("jcb", "0505"),
    "pm_card_hk": Card(last4="0005"),
    "pm_card_cn": Card(last4="0002"),
    "pm_card_authenticationRequired": Card(last4="3184", proof=True),
    "pm_card_threeDSecure2Required": Card(last4="3220", proof=True),
    "pm_card_chargeDeclined": Card(last4="0002", code="card_declined", decline_code="generic_decline"),
    "pm_card_visa_chargeDeclined": Card(last4="0002", code="card_declined", decline_code="generic_decline"),
    "pm_card_chargeDeclinedInsufficientFunds": Card(
        last4="9995", code="card_declined", decline_code="insufficient_funds", message=NO_FUNDS
    ),
    "pm_card_visa_chargeDeclinedInsufficientFunds": Card(
        last4="9995", code="card_declined", decline_code="insufficient_funds", message=NO_FUNDS
    ),
    "pm_card_visa_chargeDeclinedLostCard": Card(last4="9987", code="card_declined", decline_code="lost_card"),
    "pm_card_visa_chargeDeclinedStolenCard": Card(last4="9979", code="card_declined", decline_code="stolen_card"),
    "pm_card_chargeDeclinedFraudulent": Card(last4="0019", code="card_declined", decline_code="fraudulent"),
    "pm_card_chargeDeclinedExpiredCard": Card(
        last4="0069", code="expired_card", decline_code="expired_card", message="Your card has expired."
    ),
    "pm_card_chargeDeclinedIncorrectCvc": Card(
        last4="0127",
        code="incorrect_cvc",
        decline_code="incorrect_cvc",
        message="Your card's security code is incorrect.",
    ),
    "pm_card_chargeDeclinedProcessingError": Card(
        last4="0119",
        code="processing_error",
        decline_code="processing_error",
        message="An error occurred while processing your card. Try again in a little bit.",
    ),
}
