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
        Problem("malformed_json", 400, False, "the body is not JSON in UTF-8, is nested too deeply, or holds a number that cannot be represented", "send valid JSON, without a byte-order mark"),
        Problem("body_not_object", 400, False, "the body is JSON, but not an object", "send `{…}`"),
        Problem("duplicate_field", 400, False, "a field appears twice in one object, so two readers could see two different orders", "send it once"),
        Problem("unknown_field", 422, False, "this request has no such field", "look the field up on the page `/docs` of your hub; misspelt names are not ignored"),
        Problem("field_missing", 422, False, "a required field is missing", "send it; `param` names it"),
        Problem("invalid_request", 400, False, "a field or filter has a wrong type, length, format or character", "see `param` and `detail`"),
        Problem("card_number_refused", 422, False, "`token`, `payer` or `auth_code` of `method` contains what looks like a card number (12 to 19 digits with a valid check digit); none of it was stored", "send the token that the rail's own form made of the card; card numbers must never reach this hub"),
        Problem("body_too_large", 413, False, "the body is larger than 256 KiB", "send less"),
        Problem("body_too_slow", 408, True, "the rest of the body did not arrive within 10 seconds", "send the request again, with the same key"),
        Problem("malformed_request", 400, False, "this is not an HTTP request, it breaks HTTP's rules on length or characters, or its chunked body is malformed; the connection is closed", "send HTTP/1.1; check the proxies in between"),
        Problem("expectation_unknown", 417, False, "the `Expect` header asks for something other than `100-continue`", "omit it"),
        Problem("caller_left", 499, False, "the connection ended before the request was complete, and nothing was done. Nobody receives this answer: it appears only in the access log and the metrics", "nothing"),
        Problem("unsupported_media_type", 415, False, "the body is not declared as `application/json`", "set `Content-Type`"),
        Problem("unsupported_content_encoding", 415, False, "the body is declared as compressed", "send it uncompressed"),
        Problem("idempotency_key_missing", 400, False, "this request has no `Idempotency-Key`, and needs one because it must not be carried out twice", "send a key of your own, a new one for each new order or operation"),
        Problem("idempotency_key_invalid", 400, False, "the key is empty, longer than 255 characters, not printable ASCII, contains a space, or is sent twice", "use a UUID or a number of your own"),
        Problem("unknown_filter", 400, False, "this route has no such query parameter", "see `detail` for those it has"),
        Problem("invalid_cursor", 400, False, "`starting_after` or `after` is not a value that a list has given you; an `after` beyond the last event (`last`) may mean that the hub was restored without its last minutes", "use the last object's `id`, or the last event's `seq`"),
        Problem("no_such_route", 404, False, "no route has this path", "look it up on the page `/docs` of your hub; a trailing slash makes another path"),
        Problem("method_not_allowed", 405, False, "the route exists, but not with this method", "see the `Allow` header"),
    ),
    "Who calls": (
        Problem("key_missing", 401, False, "there is no `Authorization: Bearer …` header, or there are two", "send your API key once"),
        Problem("key_unknown", 401, False, "no API key has this value", "check for a space or a line end that was copied with it"),
        Problem("key_revoked", 401, False, "the key was revoked", "use the key that replaced it"),
        Problem("key_suspended", 401, False, "the operator has suspended the key; operations already begun continue", "ask your operator"),
        Problem("key_expired", 401, False, "the key has expired", "ask your operator for a new one"),
        Problem("scope_missing", 403, False, "the key lacks the scope that this route needs; `scope` names it", "use a key with that scope; only keys made with `--scope channels` have `channels`"),
    ),
    "Amounts, currencies, ways to pay": (
        Problem("amount_missing", 422, False, "`amount` is missing", "send it"),
        Problem("amount_not_integer", 422, False, "an amount, rate or weight is text, a fraction, `10.0` or `true`; or it is `null` where omitting it would mean everything", "send whole minor units as a JSON integer: 12.34 CNY is `1234`"),
        Problem("amount_not_positive", 422, False, "an amount is zero or less (a share's: less than zero)", "send a positive amount"),
        Problem("amount_too_large", 422, False, "an amount is over 10^12 minor units, or a rate over 10000 basis points", "split the order, or correct the rate"),
        Problem("currency_missing", 422, False, "`currency` is missing", "send it"),
        Problem("currency_unknown", 422, False, "this is not an ISO 4217 code with minor units", "send three capital letters: `CNY`"),
        Problem("currency_differs", 422, False, "a payee of the split, or of what is your own, is paid in another currency", "register a payee in the payment's currency"),
        Problem("no_channel", 422, False, "none of your channel accounts takes this amount, currency and method; `accounts` gives the reason for each, in [routing's codes](routing.md#which-accounts-may-take-it)", "see the reasons: use another `method`, try at another time, or change an account's terms"),
        Problem("expiry_out_of_bounds", 422, False, "the `expires_at` of a payment link is in the past, or more than ten years away", "send a later time, or omit it for a link without an end"),
        Problem("channel_needed", 422, False, "`app` and `jsapi` each open one particular wallet, and the request does not say which", "name it in `method.channel`; `channels` lists the choices"),
        Problem("payer_of_another_channel", 422, False, "`method.payer` is an id of another wallet (`channel_of_payer`) than the one in `method.channel`", "send the payer's id at the wallet that you name"),
    ),
    "Orders, keys, payments": (
        Problem("idempotency_key_reused", 422, False, "the key was used with another body, for another payment or on another route; `object_id` is what that request made", "for a new operation use a new key; to repeat one, send exactly the same bytes"),
        Problem("duplicate_order", 409, False, "the `merchant_order_id` was used with another body; `object_id` is that payment, which is open or paid", "read that payment. The same number can be used again once it has ended unpaid; a changed order needs a new number"),
        Problem("request_in_progress", 409, True, "the first request for this payment is still waiting for its channel", "send it again in a second"),
        Problem("attempt_undecided", 409, True, "the payer chose another way to pay while a message that moves money is undecided (a card's, a payer's code's, or the hub's second call): the channel was asked, and neither refused the order nor closed it. Payers see this as a page", "wait and try again; the way chosen before may be tried at once"),
        Problem("no_such_link", 404, False, "no payment link or standing code has this id, or it belongs to another merchant", "list your links"),
        Problem("link_closed", 409, False, "this link makes no payments: it was switched off, it has expired, or your operator has suspended it. Payers see this as a page", "make another link"),
        Problem("link_used_up", 409, False, "the link's `max_uses` payments are open or paid. Payers see this as a page", "make another link, or raise `max_uses`"),
        Problem("merchant_suspended", 409, False, "the merchant is suspended, or has no valid API key: no payment and no attempt can begin. Open payments continue, and refunds are made. Payers see this as a page", "ask your operator"),
        Problem("amount_out_of_bounds", 422, False, "the amount that the payer typed is not between the link's `minimum` and `maximum`. Payers see this as a page", "type another amount"),
        Problem("no_such_page", 404, False, "no payment has a page at this address. Payers see this as a page", "check that the address is complete"),
        Problem("no_such_object", 404, False, "the id in the path is not an id of this kind of object", "check its prefix"),
        Problem("no_such_payment", 404, False, "no payment has this id, or it belongs to another merchant (the hub does not tell which)", "check the id and the API key"),
        Problem("payment_ended", 409, False, "the payment can no longer be closed, voided or paid: `status_now` says how it has ended, perhaps a moment ago", "read it; refund it if it was paid"),
        Problem("not_closed_yet", 409, True, "the channel has neither closed the order (or released the money) nor said that it was paid", "try again after `Retry-After`: a moment, or until `expires_at` where the rail cannot close the order (`detail` says why): see [close](api.md#post-v1paymentsidclose)"),
        Problem("payment_authorized", 409, False, "the payer's money is reserved, so the payment cannot be closed", "void it, or capture it"),
        Problem("payment_not_authorized", 409, False, "no money is reserved for this payment; `status_now` is its status", "read it"),
        Problem("capture_under_way", 409, False, "the reserved money is already being captured", "read the payment until it has ended, and refund what was captured too much. If the channel says that the money is still reserved, `void` releases it"),
        Problem("capture_exceeds_hold", 422, False, "the amount is more than is reserved; `authorized_minor` is what is", "capture at most that, or omit `amount`"),
        Problem("partial_capture_unsupported", 422, False, "this channel captures the whole reservation or nothing", "omit `amount`, or void the payment"),
        Problem("capture_refused", 422, False, "the channel refused the capture (`channel_code` is its own code); the money is still reserved", "capture another amount, or void the payment"),
        Problem("payment_has_method", 409, False, "the payment was created with one way to pay, so its payer has nothing to choose", "send the payer to its `next_action`"),
        Problem("too_many_attempts", 409, False, "the payer has changed the way to pay too often", "create a new payment"),
        Problem("amount_differs", 409, False, "the channel says that another amount moved than the hub asked for; nothing was booked", "do nothing: the hub keeps asking, and the operator investigates"),
        Problem("coupon_exceeds_payment", 409, False, "the channel says that the merchant's own coupons paid more than the whole payment; nothing was booked", "do nothing: the operator investigates"),
        Problem("charged_twice", 409, False, "the channel confirms one order under two numbers of its own", "do nothing: the operator investigates"),
        Problem("channel_contradicts_itself", 409, False, "the channel takes back what it had confirmed (for example, it carried out a reversal late and returned the money), or confirms what it had refused", "do nothing: the operator investigates"),
    ),
    "Refunds": (
        Problem("refund_exceeds_captured", 422, False, "the amount is more than is left to refund; `refundable_minor` is what is left, after refunds under way", "refund at most that, or omit `amount`"),
        Problem("payment_charged_back", 422, False, "a chargeback has taken what was to be refunded: the payer has it by way of the bank; `refundable_minor` is what is left, `charged_back_minor` what was taken", "refund no more than what is left; after the chargeback is won, the rest can be refunded again"),
        Problem("refund_too_late", 422, False, "the channel makes no refunds this long after the payment; `refundable_until` is when that ended", "return the money in another way"),
        Problem("partial_refund_not_offered", 422, False, "the channel refunds a payment whole or not at all; `captured_minor` is the whole", "omit `amount`"),
        Problem("payment_not_captured", 422, False, "the payment has not been paid, so there is nothing to refund; `status_now` is its status", "close it if it is open, or void it if money is reserved"),
        Problem("insufficient_balance", 422, False, "the merchant's balance in the books does not cover the refund", "tell your operator: a payment's money should cover its refunds"),
        Problem("refund_exceeds_shares", 422, False, "the payees have less left of this payment than the refund would take back", "tell your operator"),
        Problem("refund_limit", 422, False, "the payment has had as many refunds as its channel allows for one payment, or this refund has been tried 26 times", "return the rest in another way"),
        Problem("refund_not_failed", 409, False, "only a failed refund can be tried again, and only if the channel has not paid it after all; `status_now` is its status", "read it"),
        Problem("refund_undecided", 503, True, "the channel does not say what became of the refund's last try, so the hub did not send it under another number", "send the same request again later"),
        Problem("refund_at_channel", 409, False, "the channel holds the refund's money and waits for an instruction, given at the channel, where to send it (WeChat Pay's `ABNORMAL`)", "ask your operator to give that instruction; the refund then succeeds when the channel says so"),
        Problem("refund_settled_outside", 409, False, "your operator has recorded that this money, which was paid late or twice, was returned outside the channel", "ask your operator before you return it again"),
        Problem("duplicate_refund", 409, False, "the `merchant_refund_id` was used with another body; `object_id` is that refund", "read it; another refund needs a new number"),
        Problem("no_such_refund", 404, False, "no refund has this id, or it belongs to another merchant", "check the id and the API key"),
        Problem("no_such_chargeback", 404, False, "no chargeback has this id, or it belongs to another merchant", "check the id and the API key"),
    ),
    "Splits, payees, settlements, balances": (
        Problem("split_exceeds_payment", 422, False, "the fixed shares, the rates and the channel's fee add up to more than the payment, or than the amount to be captured", "leave room for the fee, or give the last payee a `remainder`"),
        Problem("split_plan_wrong", 422, False, "the split plan cannot be understood, or no payment could be shared by it; `param` is the field, `line` the line it is in", "see `detail` and docs/split-plans.md"),
        Problem("no_such_split_plan", 404, False, "none of your split plans has this id, or it has no such version", "list them; check the API key"),
        Problem("split_plan_not_active", 409, False, "no version of this split plan has been activated, or the one that is named has not", "have it activated, or name another version"),
        Problem("rail_cannot_share", 422, False, "the plan has lines that travel by rail, and the rail cannot pay them: `detail` quotes its rule, `line` names the line. Nothing was made", "change the plan, register the payee as a receiver, or name another channel; have the line travel by bank if nothing else helps"),
        Problem("split_plan_exists", 409, False, "`object_id` is your split plan of this name, with another currency or document", "add a version to it, or take another name"),
        Problem("split_plan_differs", 409, False, "the version has another hash than was given: it is not the document that was looked at", "read the plan again"),
        Problem("second_key_needed", 409, False, "the key that made this version may not activate it: that takes two", "use another key, or have your operator activate it"),
        Problem("no_such_payee", 404, False, "no payee has this id, or it belongs to another merchant", "register it first"),
        Problem("no_such_bound_account", 404, False, "the payee has no account at another bank bound to it", "bind one: `PUT /v1/payees/{id}/account`"),
        Problem("bound_account_wrong", 422, False, "no payee withdraws to such an account: its bank's BIC or name cannot be one, or is the bank that pays the payee; nothing was stored", "correct what the message names"),
        Problem("withdrawals_not_offered", 422, False, "the payee has no sub-account to withdraw from: its shares stay in the book, or its bank pays it on its own account already", "nothing to do: at such a bank a batch pays the payee itself"),
        Problem("no_bound_account", 422, False, "the payee has no account at another bank to withdraw to; nothing was done", "bind one first: `PUT /v1/payees/{id}/account`"),
        Problem("withdrawal_exists", 409, False, "a withdrawal was asked for under this `reference`, for another payee, amount or currency", "use another `reference`"),
        Problem("payee_suspended", 409, False, "nothing is paid out to a payee that is suspended", "resume it first, or have your operator do so"),
        Problem("withdrawal_amount_not_allowed", 422, False, "a withdrawal is of less than the least, or of more than the most at once", "ask for an amount within the limits that the message names"),
        Problem("withdrawal_daily_limit", 409, False, "the payee has asked for as much as it may that day, in Beijing", "ask for what is left, or on the next day"),
        Problem("account_class_limit", 409, False, "the payee's account at its bank is of class II or III 二、三类户, and was asked to send as much as it may that day or year", "ask for what is left, or on a later day; if its bank has the other account bound to it, bind it with `bound_at_bank`"),
        Problem("withdrawable_exceeded", 409, False, "the sub-account has less that is not held by other withdrawals", "ask for at most `withdrawable_minor` of the payee's balance"),
        Problem("account_class_wrong", 422, False, "an account of class II or III is at a bank, and in CNY; nothing was stored", "name the bank, or leave `account_class` out"),
        Problem("reserve_wrong", 422, False, "a reserve is less than nothing, above 10000 basis points, or rolls for no days; nothing was stored", "correct `fixed_minor`; give `rolling_basis_points` and `rolling_days` together"),
        Problem("payee_is_not_merchant", 422, False, "what is your own is paid to a payee of kind `merchant` alone; nothing was stored", "register yourself with `kind` `merchant`, and name that payee"),
        Problem("payee_at_another_bank", 422, False, "a payout schedule at one bank is for a payee of another; nothing was stored", "name the payee's own bank"),
        Problem("schedule_wrong", 422, False, "a payout schedule means nothing, such as a weekly one without its day; nothing was stored", "correct what the message names"),
        Problem("payee_account_missing", 422, False, "the bank opens no accounts, and the payee's own account was not given", "give `account`, the payee's own at that bank"),
        Problem("payee_account_needless", 422, False, "an account was given where the bank opens one, or without a bank", "leave `account` out"),
        Problem("payee_cannot_be_paid", 422, False, "a payment file to the bank cannot hold this payee: its name, or the account number that the bank assigned, has a length or characters that the format does not allow", "correct the name; if it is the account number, ask your operator"),
        Problem("payee_suspended_by_operator", 409, False, "your operator has suspended this payee", "ask your operator"),
        Problem("payee_exists", 409, False, "the `reference` belongs to a payee with another name, kind, currency or bank; `object_id` is that payee", "use another reference"),
        Problem("no_such_bank", 404, False, "you have no custody account at that bank", "ask your operator to link it"),
        Problem("no_such_split", 404, False, "none of your payments has this id and is shared out by a plan", "make the payment with `split` or `split_plan`"),
        Problem("no_such_settlement", 404, False, "none of your settlement batches has this id", "list them"),
        Problem("no_such_account", 404, False, "your book has no such account", "list your balances"),
        Problem("identity_token_required", 422, False, "the bank opens this account only by an identity token of its holder; nothing was registered", "give the payee's `identity_token`"),
        Problem("identity_token_unknown", 422, False, "the bank has issued no such identity token; nothing was registered", "have the payee identify itself at the bank again, and give the new token"),
        Problem("identity_token_used", 422, False, "an account was opened by this identity token before; nothing was registered", "have the payee identify itself at the bank again, and give the new token"),
        Problem("identity_token_expired", 422, False, "the identity token has expired; nothing was registered", "have the payee identify itself at the bank again, and give the new token"),
        Problem("identity_token_of_another", 422, False, "the identity token is another holder's than `name`; nothing was registered", "give the name that the payee has at the bank, or its own token"),
        Problem("identity_token_needless", 422, False, "no bank opens an account here by a token: none is named, or it opens none; nothing was registered", "leave `identity_token` out"),
        Problem("payee_account_not_open", 409, False, "the payee's sub-account is being opened or frozen, or its bank opened none", "wait until `sub_account.status` is `open`; if it is `refused`, register the payee again under its `reference`; if `frozen`, ask your operator"),
        Problem("bank_…", 422, False, "the bank refused to open the sub-account; its own code follows `bank_`", "see `detail`; correct the name, or tell your operator"),
        Problem("bank_link_closed", 503, True, "the credentials with which the hub calls the bank cannot be decrypted or used", "tell your operator, whose log gives the reason"),
    ),
    "Channel accounts": (
        Problem("no_such_routing_policy", 404, False, "the routing policy has no version with this number", "list the versions"),
        Problem("no_such_channel_account", 404, False, "you have no channel account of that name", "list them"),
        Problem("no_such_channel", 422, False, "this hub has no such rail", "see `channels` for those it has, and `detail` for the one that you may have meant"),
        Problem("account_exists", 409, False, "you already have a channel account of that name", "choose another name, or rotate that account's credentials"),
        Problem("channel_settings_wrong", 422, False, "the rail's adapter does not accept these credentials; nothing was stored", "see `detail`; it never shows a secret"),
        Problem("address_refused", 422, False, "an address among the credentials is not https at a public host, is not in the plain form, or leads where your operator does not let the hub call", "send the rail's own address, without user, password or query; or ask your operator to allow it"),
        Problem("credentials_not_proven", 422, False, "the hub tried the new credentials with a query that changes nothing, and the rail did not recognise the account or did not answer; nothing was changed", "look at the rail's answer in `detail`; if the rail itself is down, try later or send `unproven: true`"),
        Problem("rail_account_taken", 409, False, "another of your channel accounts is this account at the rail; `channel_account` names it", "change that one, or rotate its credentials"),
        Problem("another_account", 422, False, "the new credentials belong to another account at the rail, or do not show the last payment that was made into this one", "add it as a channel account of its own, and drain this one"),
        Problem("routing_policy_wrong", 422, False, "the routing policy is not valid", "correct the field that `param` names"),
        Problem("terms_wrong", 422, False, "the terms are not valid, or name something that the rail does not have", "correct the field that `param` names"),
        Problem("version_mismatch", 409, False, "the account, the policy or the split plan has changed since you read it; `version` is its present version", "read it again, and decide again"),
        Problem("channel_account_closed", 503, True, "the account's credentials cannot be decrypted or used", "tell your operator, whose log gives the reason"),
        Problem("channel_keys_unusable", 503, True, "the hub's file of master keys is missing or damaged", "tell your operator at once"),
    ),
    "The hub itself": (
        Problem("too_many_connections", 503, True, "the hub is serving as many connections as it can; this one was closed", "reuse connections instead of opening one for each request"),
        Problem("book_locked", 503, True, "another transaction, perhaps one opened by hand, holds this merchant's book or the part of it that the request needs; nothing was done", "send the request again after `Retry-After`; if it lasts, ask the operator, whose `sluice doctor` names who holds the lock"),
        Problem("clock_differs", 503, True, "the clock of the host that took the request differs from the database's by more than 5 s; nothing was done", "send the request again; operators: correct the clock of the host that is not ready"),
        Problem("busy", 503, True, "more requests are under way, or waiting to be written, than the hub can handle; nothing was done", "send the request again after `Retry-After`, with the same key"),
        Problem("too_many_requests", 429, True, "the hub is at its limit, and you already have your share of the requests under way; nothing was done", "run fewer requests at the same time; send this one again after `Retry-After`, with the same key"),
        Problem("channel_busy", 503, True, "every rail that could take the payment answers more slowly than payments arrive; nothing was done", "send the request again after `Retry-After`, with the same key"),
        Problem("database_unavailable", 503, True, "the hub's database is unavailable; the request may have been carried out", "send it again with the same key"),
        Problem("shutting_down", 503, True, "this process is stopping; the request may have been carried out", "send it again with the same key"),
        Problem("internal_error", 500, False, "an error in the hub", "quote the `request_id`; repeating the request with the same key does no harm"),
        Problem("posting_refused", 500, False, "the books refused a posting that the hub's own rules allow; nothing was booked", "tell your operator at once"),
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
