"""What the screens of a payment show besides words: the mark it is followed by, where to go, accounts, a receipt."""

from collections.abc import Mapping
from typing import NamedTuple

import orjson

from gateway.cashier.render import is_web
from gateway.cashier.screens import Screen, ScreenKind
from gateway.cashier.text import Say
from gateway.cashier.visits import Visit
from gateway.store import Mark
from gateway.tables import Payment
from kernel.clock import rfc3339
from kernel.errors import NotFound


def mark(visit: Visit) -> str:
    """Return what tells this state of a payment from any other."""
    payment, last = visit.payment, visit.last
    shows = last is not None and last.next_action is not None
    return Mark(payment.book, payment.id, payment.status, payment.attempt_count, last and last.status, shows).text


class OrderNumber(NamedTuple):
    """The merchant's number of the order. short: what a payer can read out, and a shop can find it by."""

    short: str
    whole: str


MOST_DIGITS = 20  # of an order number that is shown as it is
LAST_DIGITS = 8  # of a longer one; its end is where numbers differ


def order_number(payment: Payment) -> OrderNumber:
    """Return the number of the order as payers see it: as it is where it is short, else how it ends."""
    whole = payment.merchant_order_id
    return OrderNumber(whole if len(whole) <= MOST_DIGITS else f"…{whole[-LAST_DIGITS:]}", whole)


def heading(shown: Screen, say: Say) -> str:
    """Return what a screen says first, to those who look and to those who listen; of a choice see offers.py."""
    rail = say.rail(shown.attempt.channel) if shown.attempt is not None else ""
    match shown.kind:
        case ScreenKind.CODE:
            return say("scan", rail=rail)
        case ScreenKind.LEAVE | ScreenKind.BRIDGE:
            return say("pay_with", rail=rail)
        case ScreenKind.DONE:
            return say(shown.result or "failed")
        case kind:
            return say(kind)


def leaving(shown: Screen) -> tuple[str, Mapping[str, str]]:
    """Return where a payer goes, and what is posted there. Raises NotFound for an address that is none."""
    action = shown.action
    url = str(action.get("url", ""))
    if not is_web(url):
        raise NotFound("no_such_object", "the channel named no address to go to")
    fields = action.get("fields", {})
    return url, orjson.loads(fields) if isinstance(fields, str) else fields  # a text: of before they were an object


def facts(action: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """Return what a transfer's form asks for: (word, as it is shown, as it is copied; empty where that is no use)."""
    account, name = action.get("account", ""), action.get("name", "")
    grouped = " ".join(account[at : at + 4] for at in range(0, len(account), 4)) if account.isdigit() else account
    bank, bic, amount = (str(action.get(name) or "") for name in ("bank", "bic", "amount"))
    shown = [
        ("account_name", name, name),
        ("account", grouped, account),
        ("bank", bank, bank),
        ("bic", bic, bic),
        ("amount", f"{amount} {action.get('currency', '')}".strip(), amount),
    ]
    return [fact for fact in shown if fact[1]]


class Fact(NamedTuple):
    """A line of a receipt. word: of text.py. at: of a time, itself, for machines."""

    word: str
    shown: str
    at: str | None = None


def receipt(visit: Visit) -> list[Fact]:
    """Return what a payer wants to know of a payment that was paid."""
    payment, say = visit.payment, visit.say
    won = next((one for one in visit.tries if one.number == payment.won_attempt), None)
    if won is None or payment.succeeded_at is None:
        return []
    paid_at = payment.succeeded_at
    shown = [
        Fact("paid_with", say.rail(won.channel)),
        Fact("paid_at", say.day_and_moment(paid_at), rfc3339(paid_at)),
    ]
    if payment.captured_minor != payment.amount_minor:
        shown.append(Fact("charged", say.money(payment.captured_minor, payment.currency)))
    if payment.refunded_minor:
        shown.append(Fact("given_back", say.money(payment.refunded_minor, payment.currency)))
    return shown


def return_url(payment: Payment) -> str | None:
    """Return where the merchant wants its payer afterwards."""
    url = None if payment.details is None else orjson.loads(payment.details).get("return_url")
    return url if isinstance(url, str) and is_web(url) else None
