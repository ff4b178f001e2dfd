"""`sluice bank link` and `rotate`: where a merchant's money is paid out from, which takes two people to say."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ops.people import Acting
from people import Act, Use, What
from splitting import BankLink
from splitting.banks.enrolment import SECRETS


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


async def _second(acting: Acting, command: str, book: int, bank: str, told: Mapping[str, Any]) -> Use | None:
    """Ask for another's approval of what was read: of secrets a keyed digest stands in it, and not their text."""

    def shown(name: str, value: Any) -> Any:
        if name not in SECRETS or value is None:
            return value
        return "digest " + acting.hub.authenticator.digest(f"argument {name} {value}").hex()[:32]

    arguments = {name: shown(name, value) for name, value in told.items()}
    return await acting.second(What(Act.CHANNELS, command, bank, arguments, book))
