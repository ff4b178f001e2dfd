"""Webhooks: the addresses merchants register for notices, and PayPal's own check of a notice's signature."""

import base64
import binascii
import json
import zlib
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import InvalidSignature

from sandbox import keys
from sandbox.acquirer import Acquirer, Merchant, Webhook
from sandbox.paypal.certificates import Certificates
from sandbox.paypal.errors import ApiError, not_found
from sandbox.paypal.views import link

MOST = 10  # of one application


class Webhooks:
    """See the module."""

    def __init__(self, acquirer: Acquirer, certificates: Certificates) -> None:
        self._of, self._certificates = acquirer, certificates
        self._url = f"{acquirer.ctx.base_url}/v1/notifications/webhooks"

    async def register(self, merchant: Merchant, body: Mapping[str, Any]) -> dict[str, Any]:
        """Register an address. https, or http on this machine."""
        url, events = body.get("url"), body.get("event_types")
        local = ("http://127.0.0.1", "http://localhost")
        if not isinstance(url, str) or not url.startswith(("https://", *local)) or len(url) > 2048:
            raise ApiError(400, "VALIDATION_ERROR", "Not a valid webhook URL", field="url")
        names = [event.get("name") for event in events if isinstance(event, dict)] if isinstance(events, list) else []
        if not names or not all(isinstance(name, str) and name for name in names):
            raise ApiError(400, "VALIDATION_ERROR", "event_types names no events", field="event_types")
        known = self._of.merchants.webhooks(self._of.ctx.store, merchant.merchant)
        if any(hook.url == url for hook in known):
            raise ApiError(400, "WEBHOOK_URL_ALREADY_EXISTS", "Webhook URL already exists")
        if len(known) >= MOST:
            raise ApiError(400, "WEBHOOK_NUMBER_LIMIT_EXCEEDED", "Webhook number limit exceeded")
        values = {"event_types": names}
        return self.shown(await self._of.write(lambda tx: self._of.merchants.add_webhook(tx, merchant, url, values)))

    def listed(self, merchant: Merchant) -> dict[str, Any]:
        """Return all of a merchant's."""
        hooks = self._of.merchants.webhooks(self._of.ctx.store, merchant.merchant)
        return {"webhooks": [self.shown(hook) for hook in hooks]}

    def one(self, merchant: Merchant, webhook_id: str) -> dict[str, Any]:
        """Return one."""
        for hook in self._of.merchants.webhooks(self._of.ctx.store, merchant.merchant):
            if hook.webhook_id == webhook_id:
                return self.shown(hook)
        raise not_found()

    async def remove(self, merchant: Merchant, webhook_id: str) -> None:
        """Forget one."""
        removed = await self._of.write(lambda tx: self._of.merchants.remove_webhook(tx, merchant.merchant, webhook_id))
        if not removed:
            raise not_found()

    def shown(self, hook: Webhook) -> dict[str, Any]:
        """Return it as PayPal shows it."""
        return {
            "id": hook.webhook_id,
            "url": hook.url,
            "event_types": [{"name": name} for name in hook.extra["event_types"]],
            "links": [link("self", f"{self._url}/{hook.webhook_id}")],
        }

    def verified(self, raw: bytes) -> dict[str, str]:
        """Return whether a notice is ours: SUCCESS or FAILURE. The event counts as the bytes that were handed in."""
        try:
            body = json.loads(raw)
            fields = {name: body[name] for name in _SIGNED}
        except (ValueError, KeyError, TypeError):
            raise ApiError(400, "VALIDATION_ERROR", "fields of the notice are missing") from None
        if not all(isinstance(value, str) for value in fields.values()):
            raise ApiError(400, "VALIDATION_ERROR", "fields of the notice are not text")
        return {"verification_status": "SUCCESS" if self._right(fields, _event(raw)) else "FAILURE"}

    def _right(self, fields: Mapping[str, str], event: bytes) -> bool:
        key = self._certificates.key_at(fields["cert_url"])
        if key is None or fields["auth_algo"] != "SHA256withRSA":
            return False
        signed = "|".join(
            (fields["transmission_id"], fields["transmission_time"], fields["webhook_id"], str(zlib.crc32(event)))
        )
        try:
            signature = base64.b64decode(fields["transmission_sig"], validate=True)
            key.verify(signature, signed.encode(), keys.PADDING, keys.SHA256)
        except (InvalidSignature, binascii.Error, ValueError):
            return False
        return True


_SIGNED = ("auth_algo", "cert_url", "transmission_id", "transmission_sig", "transmission_time", "webhook_id")


def _event(raw: bytes) -> bytes:
    """Return the event in a request for verification, as the bytes that stand there."""
    text = raw.decode()
    at = text.index('"webhook_event"') + len('"webhook_event"')
    at = text.index(":", at) + 1
    while text[at].isspace():
        at += 1
    _, end = json.JSONDecoder().raw_decode(text, at)
    return text[at:end].encode()
