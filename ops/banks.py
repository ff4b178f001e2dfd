"""`sluice bank …`: what takes two people to say of a merchant's banks, and of the files that came from them."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cases
import splitting
from channels.banks import KINDS, SECRETS, Kind
from gateway.payments.bank_credits import BankCredits
from kernel.db import acquire
from kernel.errors import Conflict, NotFound, Rejected
from ops.cases import decide_as
from ops.people import Acting
from ops.wiring import Hub
from people import Act, Use, What
from reconciliation.daily import last_statements
from splitting import BankLink
from splitting.banks import fates
from splitting.banks.files import check_readable
from splitting.banks.store import standings
from splitting.tables import BankAccount, BankFile

_NUMBER = re.compile(r"[A-Za-z0-9]{1,34}")


async def link_as(
    acting: Acting, book: int, bank: str, given: Mapping[str, Any], *, folder: Path, name: str, currency: str
) -> BankLink:
    """Link a bank as the person who acts, with another's approval. Raises what Merchants.link_bank raises."""
    merchants = acting.hub.merchants
    await merchants.require(book)
    read = acting.hub.banks.read(given, folder)
    use = await _second(acting, "bank link", book, bank, {**read, "name": name, "currency": currency})
    return await merchants.link_bank(book, bank, read, name=name, currency=currency, use=use)


async def rotate_as(acting: Acting, book: int, bank: str, given: Mapping[str, Any], *, folder: Path) -> BankLink:
    """Put new credentials at a bank into use, by the same rule. Raises what Banks.rotate raises."""
    banks = acting.hub.banks
    await banks.link(book, bank)
    read = banks.read(given, folder)
    use = await _second(acting, "bank rotate", book, bank, read)
    return await banks.rotate(book, bank, read, folder=folder, use=use)


async def name_account_as(
    acting: Acting, book: int, bank: str, *, currency: str, role: str, account: str
) -> BankAccount:
    """Note which account at a bank is for a role as the person who acts, with another's approval.

    Raises Rejected (bank_account_wrong), and what BankAccounts.name and Acting.second raise.
    """
    hub = acting.hub
    await hub.banks.link(book, bank)
    if not _NUMBER.fullmatch(account):
        raise Rejected("bank_account_wrong", f"{account[:40]!r} is no number of an account: 1 to 34 letters and digits")
    told = {"currency": currency, "role": role, "account": account}
    use = await acting.second(What(Act.CHANNELS, "bank account", bank, told, book))
    return await hub.bank_accounts.name(book, bank, currency, role, account, by=acting.name, use=use)


async def accounts_of(hub: Hub, book: int, bank: str) -> list[dict[str, Any]]:
    """Return the accounts of a merchant's custody at a bank, by kind, as commands show them: in the book, at the bank.

    `at_bank_minor` is what the bank's last statement closes with, None where it shows no such account. Raises NotFound
    (no_such_bank).
    """
    link = await hub.banks.link(book, bank)
    async with acquire(hub.pool) as connection:
        found = await standings(connection, book, bank)
        stated = await last_statements(connection, book, bank)
    closing = {(one.account, one.closing.currency): one for one in stated}
    rows = []
    for one in found:
        told = closing.get((one.account.account, one.account.currency))
        rows.append(
            {
                "bank": link.bank,
                "role": one.account.role,
                "account": one.account.account,
                "currency": one.account.currency,
                "in_book_minor": one.minor,
                "at_bank_minor": None if told is None else told.closing.minor,
                "stated_on": None if told is None else told.business_date.isoformat(),
                "set_by": one.account.set_by,
            }
        )
    return rows


async def _second(acting: Acting, command: str, book: int, bank: str, told: Mapping[str, Any]) -> Use | None:
    """Ask for another's approval of what was read: of secrets a keyed digest stands in it, and not their text."""

    def shown(name: str, value: Any) -> Any:
        if name not in SECRETS or value is None:
            return value
        return "digest " + acting.hub.authenticator.digest(f"argument {name} {value}").hex()[:32]

    arguments = {name: shown(name, value) for name, value in told.items()}
    return await acting.second(What(Act.CHANNELS, command, bank, arguments, book))


# ---- files -----------------------------------------------------------------------------------------------------------


async def get_file(hub: Hub, file_key: str) -> BankFile:
    """Return a bank's file as it is kept. Raises NotFound (no_such_bank_file)."""
    async with acquire(hub.pool) as connection:
        file = await splitting.store.bank_file(connection, file_key)
    if file is None:
        raise NotFound("no_such_bank_file", f"there is no file {file_key}; see `sluice bank files list`")
    return file


async def release_as(acting: Acting, file_key: str, *, note: str) -> BankFile:
    """Have what is kept of a file applied as it is, and apply it; return it as it stands then.

    Raises NotFound, Rejected (bank_file_not_kept, bank_file_not_believed, bank_file_unreadable), Conflict, and what
    decide_as raises.
    """
    hub, file = acting.hub, await get_file(acting.hub, file_key)
    fates.check_releasable(file)
    case = await _case(hub, file)
    content = await hub.banks.files.content(file)
    await hub.env.offload(check_readable, file.type, content)  # nobody is asked to agree to what cannot be applied
    await decide_as(acting, case.id, fates.RELEASE, note=note, of_file=True)
    return await _apply(hub, file)


async def replace_as(acting: Acting, file_key: str, given: Path, *, note: str) -> BankFile:
    """Have a file that the bank has sent another way applied in a file's place; return that as it stands then.

    It is kept before anybody is asked, so that whoever agrees can look at it. Raises what release_as raises, and
    Rejected (bank_file_unreadable).
    """
    hub, file = acting.hub, await get_file(acting.hub, file_key)
    case = await _case(hub, file)
    with given.open("rb") as opened:
        content = opened.read(fates.MOST_BYTES + 1)
    if not 0 < len(content) <= fates.MOST_BYTES:
        raise Rejected("bank_file_unreadable", f"a file has 1 to {fates.MOST_BYTES} bytes; {given.name} has not")
    await hub.env.offload(check_readable, file.type, content)  # nobody is asked to agree to what cannot be applied
    other = await hub.banks.files.offer(file, content, given.name, acting.name)
    await decide_as(acting, case.id, fates.REPLACE, note=note, named=cases.Named("file", other.id), of_file=True)
    return await _apply(hub, other)


async def discard_as(acting: Acting, file_key: str, *, note: str) -> BankFile:
    """Have nothing more of a file applied; return it as it stands then. Raises what release_as raises."""
    hub, file = acting.hub, await get_file(acting.hub, file_key)
    await decide_as(acting, (await _case(hub, file)).id, fates.DISCARD, note=note, of_file=True)
    return await get_file(hub, file_key)


async def _case(hub: Hub, file: BankFile) -> cases.Case:
    """Return the case of a file. Raises Conflict (bank_file_moved) where it has none, or another file has it by now."""
    ident = cases.case_id(file.book, fates.SET_ASIDE, fates.about(file))
    async with acquire(hub.pool) as connection:
        case = await cases.store.find_case(connection, ident)
    if case is None or fates.kept_as(case) != file.id:
        raise Conflict("bank_file_moved", f"{file.id} is {file.fate}, and nobody is asked about it")
    return case


async def _apply(hub: Hub, file: BankFile) -> BankFile:
    """Apply a file that people have agreed to; a statement waits for the daily proof, which alone reads it."""
    file = await get_file(hub, file.id)
    if file.fate != "received" or KINDS.get(file.type) is Kind.STATEMENT:
        return file
    link = await hub.banks.link(file.book, file.bank)
    collected = BankCredits(hub.payments, hub.pool).collected
    return await hub.banks.files.apply_kept(link, file, await hub.accounts.deposits(file.book), collected)
