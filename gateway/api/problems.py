"""Problems that several resources may give."""

# A rail is called: it says what cannot be, or the account cannot be used.
RAIL = (
    "amount_differs",
    "channel_account_closed",
    "channel_contradicts_itself",
    "channel_keys_unusable",
    "charged_twice",
    "coupon_exceeds_payment",
    "no_such_channel_account",
)
