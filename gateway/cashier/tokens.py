"""Tokens of cashier pages: whoever has one may pay that payment, see its state, and nothing else."""

import hashlib
import hmac

from kernel.ids import parse_reference, reference

_PAGE, _LINK = b"cashier page\n", b"cashier link\n"
_MAC_DIGITS = 32  # 128 bits: not to be guessed, whatever ids an onlooker has seen


class CashierTokens:
    """Makes and reads tokens: the payment's reference, which carries its book, and a MAC of it. Nothing is stored.

    key: at least 32 unguessable bytes, the same in every process of a hub.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def token(self, book: int, payment_id: str) -> str:
        """Return the token of a payment's page: [0-9a-z-], good in a URL as it stands."""
        name = reference(book, payment_id)
        return f"{name}-{self._mac(name)}"

    def read(self, token: str) -> tuple[int, str] | None:
        """Return (book, payment_id) of a token made here, None for anything else. Looks nothing up."""
        name, dash, mac = token.rpartition("-")
        if not dash or not token.isascii() or not hmac.compare_digest(mac, self._mac(name)):
            return None
        return parse_reference(name, "pay")

    def link_token(self, book: int, link_id: str) -> str:
        """Return the token of a payment link's page, or of a standing code's; no payment's is alike."""
        name = reference(book, link_id)
        return f"{name}-{self._mac(name, _LINK)}"

    def read_link(self, token: str) -> tuple[int, str] | None:
        """Return (book, link_id) of such a token, None for anything else."""
        name, dash, mac = token.rpartition("-")
        if not dash or not token.isascii() or not hmac.compare_digest(mac, self._mac(name, _LINK)):
            return None
        return parse_reference(name, "lnk")

    def seal(self, text: str) -> str:
        """Return what only a holder of the key can make of a text: 64 hexadecimal digits, for a payer's cookie."""
        return hmac.new(self._key, b"cashier cookie\n" + text.encode(), hashlib.sha256).hexdigest()

    def _mac(self, name: str, what: bytes = _PAGE) -> str:
        digest = hmac.new(self._key, what + name.encode(), hashlib.sha256).hexdigest()
        return digest[:_MAC_DIGITS]


def payment_page(public_url: str, tokens: CashierTokens, book: int, payment_id: str) -> str:
    """Return the address of a payment's cashier page. public_url: where payers reach this hub."""
    return f"{public_url.rstrip('/')}/pay/{tokens.token(book, payment_id)}"
