"""Every code the door can answer with: its status, what happened, what to do.

Codes are stable: one is never given another meaning. The problems of the OpenAPI document come from this table; tests
hold it and `docs/problems.md` to one another, and the page to what the source can raise.
"""

# ruff: noqa: E501  (one row a line, so that a code is found and read at once)

from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Problem(NamedTuple):
    """A code the door can answer with. The texts are Markdown."""

    code: str  # one that ends in … stands for all that begin so
    status: int
    again: bool  # the same request, unchanged, may do better later
    happened: str
    todo: str


# fmt: off
# heading of docs/problems.md → its table
PROBLEMS_BY_SUBJECT: Mapping[str, Sequence[Problem]] = {
    "The request as such": (
        Problem("malformed_json", 400, False, "the body is not JSON in UTF-8, is nested too deeply, or holds a number nobody can read", "send valid JSON, without a byte-order mark"),
        Problem("body_not_object", 400, False, "the body is JSON, but no object", "send `{…}`"),
        Problem("duplicate_field", 400, False, "a name stands twice in one object; two readers would see two orders", "send it once"),
        Problem("unknown_field", 422, False, "there is no such field here", "look the field up in [api.md](api.md); misspelt names are not ignored"),
        Problem("field_missing", 422, False, "a field that is needed is not there", "send it"),
        Problem("invalid_request", 400, False, "a field or filter has the wrong type, length, form or characters", "see `param` and `detail`"),
        Problem("card_number_refused", 422, False, "`token`, `payer` or `auth_code` of `method` holds what looks like a card number (12 to 19 digits whose last is their check digit); nothing of it was kept", "send the token that the rail's own form made of the card; card numbers never reach this hub"),
        Problem("body_too_large", 413, False, "the body has more than 256 KiB", "send less"),
        Problem("body_too_slow", 408, True, "the rest of the body did not come within 10 seconds", "send the request again, with the same key"),
        Problem("malformed_request", 400, False, "this is no HTTP request, breaks HTTP's rules of length and characters, or its body is not chunked as it says; the connection is closed", "send HTTP/1.1; look at what stands between"),
        Problem("expectation_unknown", 417, False, "the `Expect` header asks for something other than `100-continue`", "leave it out"),
        Problem("caller_left", 499, False, "the connection ended before the request was whole; nothing was done. Nobody hears this answer: it stands in the access log and the figures", "nothing"),
        Problem("unsupported_media_type", 415, False, "the body does not call itself `application/json`", "set `Content-Type`"),
        Problem("unsupported_content_encoding", 415, False, "the body calls itself compressed", "send it as it is"),
        Problem("idempotency_key_missing", 400, False, "this request moves money and has no `Idempotency-Key`", "send one of your own, new for each new wish"),
        Problem("idempotency_key_invalid", 400, False, "the key is empty, longer than 255, not printable ASCII, has a space in it, or stands twice", "use a UUID or your own number"),
        Problem("unknown_filter", 400, False, "there is no such query parameter here", "see `detail` for those there are"),
        Problem("invalid_cursor", 400, False, "`starting_after` or `after` is not what a list gave you", "use the last `id`, or of events the last `seq`"),
        Problem("no_such_route", 404, False, "nothing is at this path", "look it up in [api.md](api.md); a slash at the end counts"),
        Problem("method_not_allowed", 405, False, "the path is right, the method is not", "see `Allow`"),
    ),
    "Who calls": (
        Problem("key_missing", 401, False, "there is no `Authorization: Bearer …`, or there are two", "send your API key once"),
        Problem("key_unknown", 401, False, "there is no such key", "look for a space or a line end copied with it"),
        Problem("key_revoked", 401, False, "the key was revoked", "use the new one"),
        Problem("key_suspended", 401, False, "the operator has suspended the key; what it began goes on to its end", "ask your operator"),
        Problem("key_expired", 401, False, "the key's time is over", "have the operator make a new one"),
        Problem("scope_missing", 403, False, "the key may not do this; `scope` says what it lacks", "use a key with that scope; only keys made with `--scope channels` have `channels`"),
    ),
    "Amounts, currencies, ways to pay": (
        Problem("amount_missing", 422, False, "there is no `amount`", "send it"),
        Problem("amount_not_integer", 422, False, "an amount, rate or weight is text, a fraction, `10.0`, `true`, or `null` where leaving it out would mean all", "send whole minor units as a JSON integer: 12.34 CNY is `1234`"),
        Problem("amount_not_positive", 422, False, "an amount is zero or less; of a share, less than zero", "send more than that"),
        Problem("amount_too_large", 422, False, "an amount is over 10^12 minor units, a rate over 10000 basis points", "split the order"),
        Problem("currency_missing", 422, False, "there is no `currency`", "send it"),
        Problem("currency_unknown", 422, False, "that is no ISO 4217 code with minor units", "three capital letters: `CNY`"),
        Problem("currency_differs", 422, False, "a payee of the split is paid in another currency", "register a payee in the payment's currency"),
        Problem("no_channel", 422, False, "none of your channel accounts takes this amount, currency and method; `accounts` says of each why not, in [routing's codes](routing.md#who-may)", "as `accounts` says: another `method`, another time, or other terms"),
        Problem("expiry_out_of_bounds", 422, False, "the `expires_at` of a payment link is over, or more than ten years away", "send a later time; leave it out for a link without an end"),
        Problem("channel_needed", 422, False, "`app` and `jsapi` open one wallet and no other, and nothing says which", "name it in `method.channel`; `channels` lists them"),
        Problem("payer_of_another_channel", 422, False, "`method.payer` is an id of another wallet (`channel_of_payer`) than `method.channel`", "send the id that the payer has in the wallet you name"),
    ),
    "Orders, keys, payments": (
        Problem("idempotency_key_reused", 422, False, "the key was used for another body, another payment or another route; `object_id` is what it made", "a new wish needs a new key; a repetition needs the very same bytes"),
        Problem("duplicate_order", 409, False, "the `merchant_order_id` was used with another body; `object_id` is that payment, which is open or paid", "read that payment; it can be tried again once that has ended unpaid; else a changed order needs a new number"),
        Problem("request_in_progress", 409, True, "the first request for this payment still waits for its channel", "send it again in a second"),
        Problem("attempt_undecided", 409, True, "the payer chose another way to pay while a message that moves money (a card's, a code's, our second call) is undecided: its channel was asked, and has neither said no nor closed it; payers see it on the page", "wait and try again; the same way may be tried at once"),
        Problem("no_such_link", 404, False, "there is no such payment link or standing code, or it is another merchant's", "list them"),
        Problem("link_closed", 409, False, "no payment is made with this link any more: it is switched off, or its time is over; payers see a page", "make another link"),
        Problem("link_used_up", 409, False, "as many payments of this link are open or paid as it allows; payers see a page", "make another link, or raise `max_uses`"),
        Problem("merchant_suspended", 409, False, "the merchant is suspended, or has no API key that is in force: no payment begins and no attempt is started; what is open goes on, and refunds are made; payers see a page", "ask your operator"),
        Problem("amount_out_of_bounds", 422, False, "what the payer typed is not between the link's `minimum` and `maximum`; payers see a page", "type another amount"),
        Problem("no_such_page", 404, False, "no payment has a page of this address; shown to payers as a page", "look whether the address is whole"),
        Problem("no_such_object", 404, False, "what stands in the path cannot be an id of this kind", "look at its prefix"),
        Problem("no_such_payment", 404, False, "there is no such payment, or it is another merchant's; which of the two is never told", "look at the id and the key"),
        Problem("payment_ended", 409, False, "it can be neither closed, voided nor paid: `status_now` says how it has ended, perhaps just now", "read it; refund it if it was paid"),
        Problem("not_closed_yet", 409, True, "the channel has not closed the order, or released the money, yet, nor said that it was paid", "ask again in a moment; an order that its rail cannot close yet, or never closes, ends at `expires_at`: see [close](api.md#post-v1paymentsidclose)"),
        Problem("payment_authorized", 409, False, "the payer's money is reserved, so there is nothing to close", "void it, or capture it"),
        Problem("payment_not_authorized", 409, False, "no money is reserved for it: `status_now` says how it stands", "read it"),
        Problem("capture_under_way", 409, False, "its money is already being captured", "read it until it has ended; give back by a refund what was too much; where the channel says that it is still reserved, `void` releases it"),
        Problem("capture_exceeds_hold", 422, False, "more than is reserved; `authorized_minor` is", "ask for that much, or leave `amount` out"),
        Problem("partial_capture_unsupported", 422, False, "this channel captures all that it reserved or nothing", "leave `amount` out, or void it"),
        Problem("capture_refused", 422, False, "the channel refused the capture, `channel_code` is its own code; the money is still reserved", "capture another amount, or void it"),
        Problem("payment_has_method", 409, False, "the payment was made for one way of paying, so its payer has nothing to choose", "send the payer to its `next_action`"),
        Problem("too_many_attempts", 409, False, "the payer has chosen anew too often", "make a new payment"),
        Problem("amount_differs", 409, False, "the channel says that another amount moved than was asked for; nothing was booked", "do nothing; the hub keeps asking and the operator looks into it"),
        Problem("coupon_exceeds_payment", 409, False, "the channel says that coupons of the merchant's paid more than the whole payment; nothing was booked", "do nothing; the operator looks into it"),
        Problem("charged_twice", 409, False, "the channel confirms one order under two numbers of its own", "do nothing; the operator looks into it"),
        Problem("channel_contradicts_itself", 409, False, "the channel takes back what it had confirmed (a reversal of ours that it carried out late gave the money back), or confirms what it had refused", "do nothing; the operator looks into it"),
    ),
    "Refunds": (
        Problem("refund_exceeds_captured", 422, False, "more than what is left; `refundable_minor` is left, refunds under way deducted", "ask for that much, or leave `amount` out"),
        Problem("refund_too_late", 422, False, "the channel gives no money back so long after the payment; `refundable_until` is when that ended", "give it back another way"),
        Problem("partial_refund_not_offered", 422, False, "the channel gives back all of a payment or nothing; `captured_minor` is all", "leave `amount` out"),
        Problem("payment_not_captured", 422, False, "nobody has paid it yet, so nothing can be given back", "close it instead"),
        Problem("insufficient_balance", 422, False, "the merchant's balance in the books does not cover the refund", "tell your operator: what a payment brought should cover its refunds"),
        Problem("refund_exceeds_shares", 422, False, "the payees have less left of this payment than the refund would take", "tell your operator"),
        Problem("refund_limit", 422, False, "the payment has had as many refunds as its channel takes of one payment, or the refund 26 tries", "give the rest back another way"),
        Problem("refund_not_failed", 409, False, "only a refund that failed, and that the channel has not paid after all, can be tried again; `status_now` says how it stands", "read it"),
        Problem("refund_undecided", 503, True, "the channel does not say what became of the refund's last try, so it was not sent under another number", "send the same request again later"),
        Problem("refund_at_channel", 409, False, "the channel has the refund's money and waits to be told, at the channel, where it is to go (WeChat Pay's `ABNORMAL`); it pays that try once it is told", "ask your operator, who tells the channel; the refund succeeds when the channel says so"),
        Problem("refund_settled_outside", 409, False, "your operator has noted that this money, paid late or twice, was given back outside the channel", "ask your operator before you give it back again"),
        Problem("duplicate_refund", 409, False, "the `merchant_refund_id` was used with another body; `object_id` is that refund", "read it; another refund needs a new number"),
        Problem("no_such_refund", 404, False, "there is no such refund, or it is another merchant's", "look at the id and the key"),
    ),
    "Splits, payees, settlements, balances": (
        Problem("split_exceeds_payment", 422, False, "the fixed shares, the rates and the channel's fee come to more than the payment, or than what is to be captured of it", "leave room for the fee, or give the last payee a `remainder`"),
        Problem("no_such_payee", 422, False, "a payee of the split is not one of yours", "register it first"),
        Problem("payee_cannot_be_paid", 422, False, "a file to the bank could not name this payee: its name, or the account number that the bank gave it, has characters or a length the format lacks", "correct the name; for an account number, ask your operator"),
        Problem("payee_exists", 409, False, "the `reference` belongs to a payee with another name, kind, currency or bank", "use another reference"),
        Problem("no_such_bank", 404, False, "you have no custody at that bank", "ask your operator to link it"),
        Problem("no_such_settlement", 404, False, "there is no such batch of yours", "list them"),
        Problem("no_such_account", 404, False, "there is no such account in your book", "list your balances"),
        Problem("bank_…", 422, False, "the bank refused to open the sub-account; its own code follows `bank_`", "see `detail`; correct the name, or tell your operator"),
        Problem("bank_unreachable", 503, True, "the bank did not answer", "send it again"),
        Problem("bank_unavailable", 503, True, "the bank answered that it cannot just now", "send it again"),
        Problem("bank_link_closed", 503, True, "what the hub needs to call the bank cannot be opened or used", "tell your operator, whose log says why"),
        Problem("bank_answer_unreadable", 503, True, "the bank's answer was unsigned or malformed, so it counts as none", "send it again; if it stays so, tell your operator"),
    ),
    "Channel accounts": (
        Problem("no_such_routing_policy", 404, False, "there is no version of that number", "list the versions"),
        Problem("no_such_channel_account", 404, False, "you have no channel account of that name", "list them"),
        Problem("no_such_channel", 422, False, "this hub has no such rail", "see `channels` for those it has, and `detail` for the one you may have meant"),
        Problem("account_exists", 409, False, "you have an account of that name already", "choose another name, or rotate that one's credentials"),
        Problem("channel_settings_wrong", 422, False, "these credentials make no account at that rail; nothing was stored", "see `detail`; it never shows a secret"),
        Problem("address_refused", 422, False, "an address among the credentials is not https at a public host, is not written in the one plain way, or leads to where your operator lets nothing be called", "send the rail's own address, without user, password or query; or ask your operator to allow it"),
        Problem("credentials_not_proven", 422, False, "asked by a question that changes nothing, the rail does not know the account by the new credentials, or did not answer; nothing was changed", "look at what it said; where the rail itself is away, try later or send `unproven: true`"),
        Problem("another_account", 422, False, "the new credentials belong to another account at the rail, or by them it does not show the last payment made into this one", "add it as an account of its own, and drain this one"),
        Problem("routing_policy_wrong", 422, False, "the routing policy cannot be understood", "correct the field `param` names"),
        Problem("terms_wrong", 422, False, "the terms cannot be understood, or name what the rail does not have", "correct the field `param` names"),
        Problem("version_mismatch", 409, False, "the account has changed since you read it", "read it again, and decide"),
        Problem("channel_account_closed", 503, True, "the account's credentials cannot be opened or used", "tell your operator, whose log says why"),
        Problem("channel_keys_unusable", 503, True, "the hub's file of master keys is missing or damaged", "tell your operator at once"),
    ),
    "The hub itself": (
        Problem("too_many_connections", 503, True, "as many connections are at work as the hub can hold; this one was closed", "use connections again instead of opening one for each request"),
        Problem("book_locked", 503, True, "something else holds this merchant's book, or the part of it that the request needs, such as a transaction opened by hand; nothing was done", "send it again after `Retry-After`; where it lasts, ask the operator, whose `sluice doctor` names who holds it"),
        Problem("clock_differs", 503, True, "the clock of the host that took the request and the database's are more than 5 s apart; nothing was done", "send it again; operators: set that host's clock, its readiness names it"),
        Problem("busy", 503, True, "more is under way, or waits to be written, than the hub can do; nothing was done", "send it again after `Retry-After`, with the same key"),
        Problem("too_many_requests", 429, True, "the hub is full, and you have your share of it under way; nothing was done", "have fewer requests under way at once; send it again after `Retry-After`, with the same key"),
        Problem("channel_busy", 503, True, "the rail, or every rail that could take the payment, answers more slowly than payments come; nothing was done", "send it again after `Retry-After`, with the same key"),
        Problem("database_unavailable", 503, True, "the hub's database is away; what you asked may have been done", "send it again with the same key"),
        Problem("shutting_down", 503, True, "this process is stopping; what you asked may have been done", "send it again with the same key"),
        Problem("internal_error", 500, False, "a mistake of ours", "quote the `request_id`; asking again with the same key does no harm"),
        Problem("posting_refused", 500, False, "the books refused what the hub's own rules say must be possible; nothing was booked", "tell your operator at once"),
    ),
}
# fmt: on

PROBLEMS: Mapping[str, Problem] = {one.code: one for rows in PROBLEMS_BY_SUBJECT.values() for one in rows}


def table(rows: Sequence[Problem]) -> str:
    """Return a subject's table as docs/problems.md has it."""
    head = "| code | status | again | what happened | what to do |\n|---|---|---|---|---|\n"
    lines = [f"| `{p.code}` | {p.status} | {'yes' if p.again else 'no'} | {p.happened} | {p.todo} |\n" for p in rows]
    return head + "".join(lines)


def with_tables(page: str) -> str:
    """Return docs/problems.md with its tables as they are here. Raises ValueError for a heading it does not have."""
    for subject, rows in PROBLEMS_BY_SUBJECT.items():
        begin = page.index("\n| code |", page.index(f"\n## {subject}\n")) + 1
        end = page.index("\n\n", begin) + 1
        page = page[:begin] + table(rows) + page[end:]
    return page
