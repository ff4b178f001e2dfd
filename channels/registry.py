"""The list of channels, one line each. Adding a rail means one folder and one line here.

A rail's package has `build`, which makes a Channel of its settings, `SETTINGS`, the names of all that it reads,
`SECRETS`, the names of the secret ones, `ACCOUNT`, the names of those that each name an account at the rail, and
`FACE`, what people see of it.
One that is paid inside its own app has a file cashier.js: see `script_of`.
One whose payers' ids can be told from any other rail's also has `PAYER_ID`, a regular expression of their form.
One whose payers show codes to be scanned has `PAYER_CODE`, the same of those.
tests/channels/test_registry.py holds every rail listed here against the contract, method by method.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, get_type_hints

from channels.contract import Capabilities, Channel, ChannelConfig
from channels.face import Face, plain

NAMES = (
    "alipay",
    "bank_transfer",
    "paypal",
    "stripe",
    "unionpay",
    "wechat",
)

CHANNELS: Mapping[str, ChannelConfig] = {name: import_module(f"channels.{name}").build for name in NAMES}


def class_of(build: Callable[[Mapping[str, Any]], Channel]) -> type[Any]:
    """Return the class that a rail's `build` says it makes, before there are settings to build it from."""
    made: type[Any] = get_type_hints(build)["return"]
    return made


def capabilities_of(build: Callable[[Mapping[str, Any]], Channel]) -> Capabilities:
    """Return what a rail can do, before there are settings to build it from. Raises TypeError."""
    made = class_of(build)
    capabilities = getattr(made, "capabilities", None)
    if not isinstance(capabilities, Capabilities):
        raise TypeError(f"{build} must say which class it makes, not {made}")
    return capabilities


def secrets_of(name: str) -> frozenset[str]:
    """Return the names of a rail's secret settings, from its package; none for a rail that is not listed here."""
    return frozenset(_listed(name, "SECRETS"))


def settings_of(name: str) -> frozenset[str]:
    """Return the names of all settings that a rail reads, without …_file; none for a rail that is not listed here."""
    return frozenset(_listed(name, "SETTINGS"))


def account_of(name: str) -> tuple[str, ...]:
    """Return the names of the settings that each name an account at a rail; none for a rail that is not listed here."""
    return tuple(_listed(name, "ACCOUNT"))


def _listed(name: str, what: str) -> Iterable[str]:
    found: Iterable[str] = getattr(import_module(f"channels.{name}"), what) if name in CHANNELS else ()
    return found


FACES: Mapping[str, Face] = {name: getattr(import_module(f"channels.{name}"), "FACE", plain(name)) for name in NAMES}


def script_of(name: str) -> str:
    """Return what the cashier's pages run to open a rail's wallet; empty where its app is not asked by a script.

    It sets `window.wallets.<name>` to a function of the parameters of a `jsapi` action and of what to call in the end,
    with true where the payer said yes.
    """
    script = Path(str(import_module(f"channels.{name}").__file__)).with_name("cashier.js")
    return script.read_text("utf-8") if script.exists() else ""


def _forms(of: str) -> dict[str, str]:
    found = {name: getattr(import_module(f"channels.{name}"), of, None) for name in NAMES}
    return {name: form for name, form in found.items() if form is not None}


PAYER_CODES: Mapping[str, str] = _forms("PAYER_CODE")  # rail → the form of the codes that its payers show
_PAYER_IDS = {name: re.compile(form, re.ASCII) for name, form in _forms("PAYER_ID").items()}


def rail_of_payer(payer: str) -> str | None:
    """Return the rail whose payers have ids of this form (Order.payer), None where no rail, or more than one, has."""
    found = [name for name, form in _PAYER_IDS.items() if form.fullmatch(payer)]
    return found[0] if len(found) == 1 else None
