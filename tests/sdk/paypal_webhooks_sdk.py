"""Runs in the environment of PayPal's older library, the one that checks webhooks; prints what the library made of it.

Sees nothing of the hub. `told` (JSON on standard input) names what to do and the address to do it at.
"""

import contextlib
import io
import json
import sys
from typing import Any

import paypalrestsdk
from OpenSSL import crypto
from paypalrestsdk.notifications import WebhookEvent


def register(told: dict[str, Any]) -> dict[str, Any]:
    """Register an address for notices through PayPal's API, and read it back.

    In the list: to find one by its number the library writes that twice into the address (on any Python since 3.7).
    """
    api = paypalrestsdk.Api(endpoint=told["base_url"], client_id=told["client_id"], client_secret=told["client_secret"])
    names = [{"name": name} for name in told["events"]]
    made = paypalrestsdk.Webhook({"url": told["url"], "event_types": names}, api=api)
    assert made.create(), made.error
    listed = paypalrestsdk.Webhook.all(api=api).webhooks
    return {
        "webhook_id": made.id,
        "listed": [[hook.id, hook.url, [event.name for event in hook.event_types]] for hook in listed],
    }


def verify(told: dict[str, Any]) -> list[bool]:
    """Say of each message whether the library believes it.

    Its own trust store holds a root of 2006 that signs nothing here; ours stands in its place. All else is its own.
    """

    def ours(_: type) -> crypto.X509Store:
        store = crypto.X509Store()
        for pem in told["trusted"]:
            store.add_cert(crypto.load_certificate(crypto.FILETYPE_PEM, pem.encode()))
        return store

    WebhookEvent._get_certificate_store = classmethod(ours)
    found = []
    for message in told["messages"]:
        headers = message["headers"]
        with contextlib.redirect_stdout(io.StringIO()):  # it prints what it thinks
            believed = WebhookEvent.verify(
                headers["paypal-transmission-id"],
                headers["paypal-transmission-time"],
                message["webhook_id"],
                bytes.fromhex(message["body"]).decode(),
                headers["paypal-cert-url"],
                headers["paypal-transmission-sig"],
                headers["paypal-auth-algo"],
            )
        found.append(bool(believed))
    return found


if __name__ == "__main__":
    do = {"register": register, "verify": verify}[sys.argv[1]]
    print(json.dumps(do(json.load(sys.stdin))))
