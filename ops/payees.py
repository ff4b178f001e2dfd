"""`sluice payee`: payees with what they are owed, and resuming one, which takes two people."""

from typing import Any

import splitting
from channels.sharing import ReceiverKind
from kernel.db import acquire
from kernel.errors import NotFound
from kernel.money import Money
from ledger.posting import ACCOUNTS
from ops.people import Acting
from ops.wiring import Hub
from people import Act, What
from splitting import Payee, states
from splitting.accounts.freezing import check_freezable
from splitting.objects import OwnPayeeOut, debt_payload, own_payee_payload
from splitting.payees import OPERATOR
from splitting.shares.sharing import owed_account
from splitting.shares.store import debts
from splitting.tables import PAYEES, OwnPayee, PayeeAccount, RailReceiver, WithdrawalLimit
from splitting.withdrawals import rules


async def listed(hub: Hub, book: int) -> list[dict[str, Any]]:
    """Return a merchant's payees as the API shows them, each with `owed`: in major units, what it has now."""
    async with acquire(hub.pool) as connection:
        rows = await splitting.store.payees(connection, book, limit=10_000)
        found = await ACCOUNTS.load(connection, [(book, owed_account(row)) for row in rows]) if rows else []
    has = {account.name: account.available for account in found}
    return [
        {**splitting.payee_payload(row), "owed": Money(has.get(owed_account(row), 0), row.currency).major()}
        for row in rows
    ]


async def debts_of(hub: Hub, book: int, payee_id: str | None, *, recovered: bool) -> list[dict[str, Any]]:
    """Return what payees owe as the API shows it, with `amount` and `left` in major units; the newest ten thousand.

    recovered: also what was paid back. Raises NotFound (no_such_object).
    """
    async with acquire(hub.pool) as connection:
        if payee_id is not None and not await PAYEES.load(connection, [(book, payee_id)]):
            raise NotFound("no_such_object", f"there is no payee {payee_id}; see `sluice payee list`")
        is_open = None if recovered else True
        found = await debts(connection, book, payee_id=payee_id, is_open=is_open, limit=10_000)
    return [
        {
            **debt_payload(row, left),
            "amount": Money(row.amount_minor, row.currency).major(),
            "left": Money(left, row.currency).major(),
        }
        for row, left in found
    ]


async def kept_back(hub: Hub, book: int, bank: str, currency: str) -> list[str]:
    """Say of each payee at a bank that is suspended, or whose account is not open, what it is owed and not paid."""
    return [
        f"{row['name']} ({row['id']}) {why}: {row['owed']} {currency} are not paid out"
        for row in await listed(hub, book)
        if row["currency"] == currency
        and (row["sub_account"] or {}).get("bank") == bank
        and (why := _why_kept(row)) is not None
    ]


def _why_kept(row: dict[str, Any]) -> str | None:
    if row["suspended_at"] is not None:
        return "is suspended 暂停"
    status = row["sub_account"]["status"]
    return None if status == states.SubAccount.OPEN else f"has an account at the bank that is {status}"


async def resume_as(acting: Acting, book: int, payee_id: str) -> Payee:
    """Resume a payee as the person who acts, with another's approval: money that was kept back is paid then.

    Raises NotFound (no_such_object), and what Acting.second and ResumePayee raise.
    """
    use, since = None, (await _payee(acting.hub, book, payee_id)).suspended_at
    if since is not None:
        what = What(Act.MERCHANTS, "payee resume", payee_id, {"suspended_at": since.isoformat()}, book)
        use = await acting.second(what)
    return await acting.hub.payees.resume(book, payee_id, by=OPERATOR, use=use)


async def freeze_as(acting: Acting, book: int, payee_id: str, note: str) -> Payee:
    """Freeze a payee's account as the person who acts, with another's approval. note: why, for the approval alone.

    One that is frozen stays as it is, and takes nobody's approval. Raises what Acting.second and FreezeAccount raise.
    """
    payee = await _payee(acting.hub, book, payee_id)
    check_freezable(payee)
    if payee.frozen_at is not None:
        return payee
    use = await acting.second(What(Act.MERCHANTS, "payee freeze", payee_id, {"note": note}, book))
    return await acting.hub.payees.freeze(book, payee_id, use=use)


async def unfreeze_as(acting: Acting, book: int, payee_id: str, note: str) -> Payee:
    """Unfreeze a payee's account as the person who acts, with another's approval: money that waited is paid then.

    An approval is of this freezing, and of none after it. Raises NotFound (no_such_object), and what Acting.second
    raises.
    """
    payee = await _payee(acting.hub, book, payee_id)
    if payee.frozen_at is None:
        return payee
    told = {"frozen_at": payee.frozen_at.isoformat(), "frozen_by": payee.frozen_by, "note": note}
    use = await acting.second(What(Act.MERCHANTS, "payee unfreeze", payee_id, told, book))
    return await acting.hub.payees.unfreeze(book, payee_id, use=use)


async def _payee(hub: Hub, book: int, payee_id: str) -> Payee:
    async with acquire(hub.pool) as connection:
        rows = await PAYEES.load(connection, [(book, payee_id)])
    if not rows:
        raise NotFound("no_such_object", f"there is no payee {payee_id}; see `sluice payee list`")
    return rows[0]


async def pay_own_as(acting: Acting, book: int, currency: str, payee_id: str | None) -> OwnPayee:
    """Set by which payee a merchant is paid its own, as the person who acts, with another's approval.

    Raises what Acting.second and Payees.pay_own raise.
    """
    use = await acting.second(What(Act.MERCHANTS, "payee own", currency, {"payee": payee_id}, book))
    return await acting.hub.payees.pay_own(book, currency, payee_id, by=acting.name, use=use)


async def own_payees_of(hub: Hub, book: int) -> list[OwnPayeeOut]:
    """Return by which payees a merchant is paid its own, as the API shows it."""
    async with acquire(hub.pool) as connection:
        return [own_payee_payload(row) for row in await splitting.store.own_payees(connection, book)]


async def bind_as(
    acting: Acting, book: int, payee_id: str, account: str, bank_bic: str, bank_name: str, bound_at_bank: bool
) -> PayeeAccount:
    """Bind a payee's own account at another bank as the person who acts, with another's approval.

    Raises what Acting.second and Withdrawals.bind raise.
    """
    told = {"account": account, "bank_bic": bank_bic, "bank_name": bank_name, "bound_at_bank": bound_at_bank}
    use = await acting.second(What(Act.MERCHANTS, "payee bind", payee_id, told, book))
    return await acting.hub.withdrawals.bind(
        book, payee_id, account=account, bank_bic=bank_bic, bank_name=bank_name, by=acting.name,
        bound_at_bank=bound_at_bank, use=use,
    )  # fmt: skip


async def limit_as(acting: Acting, book: int, bank: str, payee_id: str | None, limits: rules.Limits) -> WithdrawalLimit:
    """Set what a payee, or with None every payee at a bank, may withdraw, with another's approval.

    Raises what Acting.second and Withdrawals.set_limits raise.
    """
    rules.limits(*limits)
    use = await acting.second(
        What(Act.MERCHANTS, "payee limit", payee_id or bank, {"bank": bank, **limits._asdict()}, book)
    )
    return await acting.hub.withdrawals.set_limits(book, bank, payee_id, **limits._asdict(), use=use)


async def set_class_as(acting: Acting, book: int, payee_id: str, account_class: str | None) -> Payee:
    """Note of which class a payee's account is, as the person who acts, with another's approval.

    Raises what Acting.second and Payees.set_class raise.
    """
    use = await acting.second(What(Act.MERCHANTS, "payee class", payee_id, {"class": account_class}, book))
    return await acting.hub.payees.set_class(book, payee_id, account_class, use=use)


async def set_receiver_as(
    acting: Acting, book: int, payee_id: str, channel_account: str, *, kind: str, account: str, name: str, relation: str
) -> RailReceiver:
    """Have a payee be a receiver at a rail as the person who acts, with another's approval: it gets money there.

    Raises what Acting.second and Receivers.set raise.
    """
    arguments = {
        "channel_account": channel_account, "kind": kind, "account": account, "name": name, "relation": relation,
    }  # fmt: skip
    use = await acting.second(What(Act.MERCHANTS, "payee receiver", payee_id, arguments, book))
    return await acting.hub.receivers.set(
        book, payee_id, channel_account, kind=ReceiverKind(kind), account=account, name=name, relation=relation,
        by=acting.name, use=use,
    )  # fmt: skip
