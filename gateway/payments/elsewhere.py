"""Notices about what is no concern of the channel account that they came to."""

from kernel.errors import NotFound


class OfAnotherAccount(NotFound):
    """The number is another channel account's, of this merchant or of another; nothing was applied."""


class OfAnotherSystem(NotFound):
    """The number names nothing that this hub ever made; nothing was applied, and nothing could be later."""
