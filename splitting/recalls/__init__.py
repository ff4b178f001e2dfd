"""Recalls 追回 of payments that were sent to a bank, and what is held of what comes back."""
