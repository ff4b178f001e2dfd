"""A certificate in words, for whoever signs the day off: one line a fact, amounts as they are written."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from kernel.money import Money

KINDS = {
    "in_transit": "在途, the bank has booked it already",
    "at_bank_only": "银行已记账, 平台未记账",
    "at_hub_only": "平台已记账, 银行未记账",
}
UNEXPLAINED = {
    "statement_missing": "缺对账单",
    "statement_gap": "对账单缺行",
    "opening_differs": "期初不符",
    "balance_differs": "余额不符",
    "control_differs": "科目不平",
    "in_transit_differs": "在途不符",
}

LISTED = 100  # of one kind, at one bank or in one currency: more is no page that anybody reads


def of_certificate(told: Mapping[str, Any]) -> Iterator[str]:
    """Yield a certificate's lines; the last says whether the proof holds."""
    for book in told["books"]:
        for one in book["custody"]:
            yield from _custody(book["book"], one)
        for one in book["control"]:
            yield from _control(book["book"], one)
        yield from _second_clearing(book["book"], book["second_clearing"])
    number = f"certificate {told['number']} of {told['date']}"
    replaced = "" if told["replaces"] is None else f", in place of {told['replaces'][:12]}…"
    if not told["books"]:
        yield "no book has any money yet"
    verdict = "it holds 平" if told["holds"] else "IT DOES NOT HOLD 不平"
    yield f"{number}{replaced}, signed by {told['key']}: {verdict}"


def _others(side: Mapping[str, Any], currency: str) -> str:
    """Return what is on the accounts that are for one role each 功能账户."""
    others = side.get("others_minor", {})
    return "".join(f" + {role} {Money(minor, currency).major()}" for role, minor in others.items())


def _custody(book: int, one: Mapping[str, Any]) -> Iterator[str]:
    def amount(minor: int) -> str:
        return Money(minor, one["currency"]).major()

    hub, bank = one["hub"], one["bank_statement"]
    mark = "✓" if one["holds"] else "✗"
    ours = (
        f"custody 备付金 {amount(hub['custody_minor'])} = pool 备付金户 {amount(hub['pool_minor'])} "
        f"+ sub-accounts 子账户 {amount(hub['sub_accounts_minor'])}{_others(hub, one['currency'])}"
    )
    theirs = (
        "no statement 无对账单"
        if bank is None
        else f"bank 银行 {amount(bank['total_minor'])} = {amount(bank['pool_minor'])} "
        f"+ {amount(bank['sub_accounts_minor'])}{_others(bank, one['currency'])}, statement of {one['statement_of']}"
    )
    yield f"{mark} book {book} {one['bank']} {one['currency']}: {ours}; {theirs}"

    def booking(item: Mapping[str, Any]) -> str:
        case = f", case {item['case']}" if "case" in item else ""
        return (
            f"    {item['day']} {item.get('line') or item['id']} {amount(item['minor'])} on …{item['account'][-4:]}: "
            f"{item['kind']} {KINDS[item['kind']]}{case}"
        )

    def wrong(left: Mapping[str, Any]) -> str:
        where = f"{amount(left['minor'])} on …{left['account'][-4:]}"
        return f"  ✗ {left['what']} {UNEXPLAINED[left['what']]}: {where}: {left['detail']}"

    for kind in KINDS:
        some = [item for item in one["explained"] if item["kind"] == kind]
        yield from _listed(some, booking, amount, f"    {kind} {KINDS[kind]}")
    yield from _listed(one["unexplained"], wrong, amount, "  ✗")


def _listed(
    items: Sequence[Mapping[str, Any]],
    said: Callable[[Mapping[str, Any]], str],
    amount: Callable[[int], str],
    of: str,
) -> Iterator[str]:
    """Yield a line for each of the first; what is not listed is counted and summed, and the certificate has it."""
    yield from map(said, items[:LISTED])
    if rest := items[LISTED:]:
        total = amount(sum(item["minor"] for item in rest))
        yield f"{of}: {len(rest)} more, {total} in all; the certificate lists them (--json)"


def _control(book: int, one: Mapping[str, Any]) -> Iterator[str]:
    def amount(minor: int) -> str:
        return Money(minor, one["currency"]).major()

    yield (
        f"{'✓' if one['holds'] else '✗'} book {book} {one['currency']}: custody {amount(one['custody_minor'])} = "
        f"owed 负债 {amount(one['owed_minor'])} − due 应收 {amount(one['due_minor'])}"
    )
    for name, said in (
        ("deposits_under_way", "deposit under way 渠道未到账"),
        ("in_transit", "in transit 在途"),
        ("suspense", "suspense 挂账"),
    ):

        def told(part: Mapping[str, Any], said: str = said) -> str:
            lines = f", {part['lines']} lines" if "lines" in part else ""
            return f"    {said}: {part['id']} {amount(part['minor'])}{lines}"

        yield from _listed(one[name], told, amount, f"    {said}")
    for left in one["unexplained"]:
        yield f"  ✗ {left['what']} {UNEXPLAINED[left['what']]}: {amount(left['minor'])}: {left['detail']}"


def _second_clearing(book: int, one: Mapping[str, Any]) -> Iterator[str]:
    held = ", ".join(Money(fee["held_minor"], fee["currency"]).major() + " " + fee["currency"] for fee in one["fees"])
    said = "the platform has fees alone 无二清" if one["holds"] else "THE PLATFORM HAS WHAT IS NO FEE 二清"
    yield f"{'✓' if one['holds'] else '✗'} book {book}: {said}; owed to it {held or 'nothing'}"
    for breach in one["breaches"]:
        amount = Money(breach["minor"], breach["currency"]).major()
        yield f"  ✗ {breach['id']} ({breach['rule']}) brought {amount} to {breach['account']}"
