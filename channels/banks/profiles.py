"""Which kind of bank a link is to: `profile` among its settings, and what each kind is told of itself."""

import re
from collections.abc import Mapping
from typing import Any

from channels.banks import cmb, iso20022
from channels.banks.contract import Bank
from kernel.env import Env

ISO_20022, CMB = "iso20022", "cmb"
# The settings that each kind of bank reads.
NAMES: Mapping[str, frozenset[str]] = {
    ISO_20022: frozenset(
        {"profile", "base_url", "token", "private_key", "key_id", "bank_key_id", "bank_public_key", "bic", "bank_name",
         "drop_dir", "pain_001", "notices", "paid_by", "account_holder", "region"}
    ),
    CMB: cmb.NAMES,
}  # fmt: skip
SECRETS = frozenset({"token", "private_key", "symmetric_key"})


def profile(settings: Mapping[str, Any]) -> str:
    """Return which kind of bank these settings are of. Raises ValueError."""
    found = settings.get("profile") or ISO_20022
    if found not in NAMES:
        raise ValueError(f"profile is one of {', '.join(NAMES)}")
    return str(found)


def region(settings: Mapping[str, Any]) -> str | None:
    """Return where a bank is: its region's code of GB/T 2260, six digits; None where nobody said. Raises ValueError."""
    told = settings.get("region")
    if told is not None and not (isinstance(told, str) and re.fullmatch("[1-9][0-9]{5}", told, re.ASCII)):
        raise ValueError("region is a code of GB/T 2260, six digits such as 370700")
    return told


def a_bank(given: Mapping[str, Any], env: Env) -> Bank:
    """Return the client of a bank. given: what the bank gave us, see the README; keys as text or as names of files.

    Raises ValueError and KeyError, which show no secret.
    """
    region(given)
    if profile(given) == CMB:
        return cmb.CmbClient(cmb.read_settings(given), env)
    settings = iso20022.read_settings(given)
    if settings.drop_dir is None:
        return iso20022.BankClient(settings, env)
    return iso20022.DropClient(settings, env)


def unsayable(settings: Mapping[str, Any], name: str, account: str | None) -> str | None:
    """Return why a payee cannot be paid at the bank of these settings, as Bank.unsayable does; they need no secret."""
    if profile(settings) == CMB:
        return cmb.unsayable(name, account)
    return iso20022.unsayable(name, account)


def opens_accounts(settings: Mapping[str, Any]) -> bool:
    """Tell whether the bank opens payees' accounts, in our name: its statements show them then, and no others'."""
    return profile(settings) != CMB


def recalls_payments(settings: Mapping[str, Any]) -> bool:
    """Tell whether the bank can be asked for payments back (contract.RecallsPayments)."""
    return profile(settings) != CMB


def paid_by_booking(settings: Mapping[str, Any]) -> bool:
    """Tell whether the bank's booking of a debit says that it was paid: its reports end before ACSC."""
    return profile(settings) == ISO_20022 and settings.get("paid_by") == "booking"


def form(settings: Mapping[str, Any]) -> int:
    """Return how new orders are written by a bank's settings (Order.written_as); 1 where there is one form alone."""
    return 1 if profile(settings) == CMB else iso20022.form(settings)
