"""Which client a bank takes."""

from channels.banks.client import BankClient, BankSettings
from channels.banks.drop import DropClient
from kernel.env import Env


def a_bank(settings: BankSettings, env: Env) -> BankClient:
    """Return the client of a bank: files by a folder where the settings name one, else over HTTP. Raises ValueError."""
    return BankClient(settings, env) if settings.drop_dir is None else DropClient(settings, env)
