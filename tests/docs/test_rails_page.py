"""That the rails' pages say of every rail what its adapter says.

docs/rails.md compares them; docs/rails/ names every setting, has terms that can be used, and shows what payers do.
"""

import importlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from types import ModuleType
from typing import Any

import pytest

from channels import CHANNELS, Method
from channels.contract import Capabilities
from channels.powers import HasFundBill, Proceeds, TellsDisputes, deposit_prefix
from channels.registry import NAMES, secrets_of
from channels.sharing import Sharing
from channels.stripe.adapter import EVENTS
from channels.stripe.calls import VERSION
from gateway.accounts.terms import Terms
from tests.docs.pages import ROOT, difference, section_of
from tests.docs.rail_pages import complaints as untold
from tests.docs.rail_pages import page_of

PAGE = (ROOT / "docs" / "rails.md").read_text("utf-8")
TABLE = "What each rail can do"


# ---- what the adapters say -------------------------------------------------------------------------------------------


def golden_of(name: str) -> ModuleType:
    """Return what the rail's own tests know of it."""
    return importlib.import_module(f"tests.channels.{name}.{name}_rail")


# A rail of somebody's own is not in this page: it has a README in its folder. Those of this repository have settings to
# be tried with beside their tests, and each of them has to be here.
HERE = tuple(name for name in NAMES if (ROOT / "tests" / "channels" / name / f"{name}_rail.py").exists())
# Each rail's accounts as they may be set up, by how they are.
ACCOUNTS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    name: {"needed": golden.settings()} | ({"certificate mode": golden.certified()} if name == "alipay" else {})
    for name in HERE
    for golden in [golden_of(name)]
}
BUILT: Mapping[str, Any] = {name: CHANNELS[name](ACCOUNTS[name]["needed"]) for name in HERE}


def spans(words: Any) -> str:
    return " ".join(f"`{word}`" for word in words) or "none"


def methods(found: frozenset[Method]) -> str:
    return spans(method.value for method in Method if method in found)


def runs(prefixes: frozenset[str]) -> str:
    return f"{min(prefixes)} to {max(prefixes)}" if prefixes else "none"


def has(name: str, power: type[Any]) -> str:
    return "yes" if isinstance(BUILT[name], power) else "no"


def refunding(can: Capabilities) -> str:
    most = "" if can.most_refunds is None else f", {can.most_refunds} of one payment"
    return f"{'in parts' if can.partial_refunds else 'whole'}, {can.refund_within.days} days{most}"


def closing(can: Capabilities) -> str:
    return "no: the hub gives it up" if not can.closes else "no: it expires" if can.expires_only else "yes"


def mark(name: str) -> str:
    found = deposit_prefix(BUILT[name])
    return f"`{found[:2]}`" if found else "none"


ROWS: Mapping[str, Callable[[str, Capabilities], str]] = {
    "methods": lambda _, can: methods(can.methods),
    "currencies": lambda _, can: " ".join(sorted(can.currencies)),
    "largest payment, minor units": lambda _, can: f"{can.maximum_minor:,}",
    "first digits of its payers' codes 付款码": lambda _, can: runs(can.barcode_prefixes),
    "its app, by User-Agent": lambda _, can: spans(can.browsers),
    "method in its app's browser": lambda _, can: spans(method.value for method in can.in_browser),
    "can reserve money first 预授权": lambda _, can: methods(can.authorizes),
    "can capture a part": lambda _, can: "yes" if can.partial_capture else "no",
    "money moves on a second call by the hub": lambda name, _: has(name, Proceeds),
    "the payer's browser or app places the order": lambda _, can: methods(can.payer_initiated),
    "unknown to the rail until its payer comes": lambda _, can: methods(can.payer_initiated | can.known_after_payer),
    "closes an unpaid order": lambda _, can: closing(can),
    "refunds": lambda _, can: refunding(can),
    "its fee when refunded": lambda _, can: can.refund_fee.value,
    "a refund may fail after it succeeded 退款退回": lambda _, can: "yes" if can.refunds_come_back else "no",
    "tells of chargebacks 拒付": lambda name, _: has(name, TellsDisputes),
    "reports the merchant's own coupons 商户优惠": lambda _, can: "yes" if can.merchant_coupons else "no",
    "can share money out 分账": lambda name, _: has(name, Sharing),
    "signs its answers": lambda _, can: "yes" if can.signs_answers else "no: TLS only",
    "address for notices": lambda _, can: "sent with each order" if can.per_order_notices else "registered beforehand",
    "has a fund-flow bill 资金账单": lambda name, _: has(name, HasFundBill),
    "its deposits' references begin": lambda name, _: mark(name),
}
# What Capabilities say to the hub alone: how often to ask, what to sign. A new one belongs here or in the table.
FOR_THE_HUB = {
    "minimum_minor",
    "query_schedule_s",
    "barcode_poll_s",
    "barcode_give_up_s",
    "signs_actions",
    "query_by_resend",
}
IN_THE_TABLE = {
    "methods", "currencies", "maximum_minor", "barcode_prefixes", "browsers", "authorizes", "partial_capture",
    "payer_initiated",
    "known_after_payer", "closes", "expires_only", "partial_refunds", "refund_within", "most_refunds", "signs_answers",
    "per_order_notices",
    "in_browser", "refund_fee", "merchant_coupons", "refunds_come_back",
}  # fmt: skip


def complaints(page: str) -> list[str]:
    """Return where the first table says something else than the adapters."""
    lines = [line for line in section_of(page, TABLE).splitlines() if line.startswith("|")]
    head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[: len(ROWS) + 2]]
    rails = re.findall(r"`(\w+)`", " ".join(head))
    found = difference(rails, HERE) + difference([row[0] for row in rows], ROWS)
    for what, *cells in rows:
        for rail, cell in zip(rails, cells, strict=True):
            if what in ROWS and rail in BUILT and (right := ROWS[what](rail, BUILT[rail].capabilities)) != cell:
                found.append(f"{what}, {rail}: {cell!r}, it is {right!r}")
    return found


def test_the_rails_of_this_repository_are_in_the_page() -> None:
    assert {"alipay", "bank_transfer", "paypal", "stripe", "unionpay", "wechat"} <= set(HERE)


def test_the_table_says_of_every_rail_what_its_adapter_says() -> None:
    assert complaints(PAGE) == []


def test_every_capability_is_in_the_table_or_of_no_concern_to_people() -> None:
    assert not IN_THE_TABLE & FOR_THE_HUB
    assert {field.name for field in fields(Capabilities)} == IN_THE_TABLE | FOR_THE_HUB


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("| yes | no: it expires |", "| yes | yes |"), "closes an unpaid order, unionpay: 'yes'"),
        (("330 days", "365 days"), "refunds, unionpay: 'in parts, 365 days'"),
        (("| can capture a part |", "| captures parts |"), "no such: captures parts"),
        (("`bank_transfer` |", "`transfer` |"), "no such: transfer"),
    ],
)
def test_a_table_that_is_not_right_is_noticed(change: tuple[str, str], complaint: str) -> None:
    assert change[0] in PAGE
    assert any(found.startswith(complaint) for found in complaints(PAGE.replace(*change, 1)))


# ---- settings --------------------------------------------------------------------------------------------------------


class Asked(dict[str, Any]):
    """Settings that remember what was asked for."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        super().__init__(given)
        self.names: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        self.names.add(name.removesuffix("_file"))
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self.names.add(name.removesuffix("_file"))
        return super().get(name, default)


def settings_of(name: str) -> str:
    """Return what is said of a rail's account."""
    return section_of(page_of(name), "Settings")


def written(name: str) -> dict[str, str]:
    """Return the settings a rail's table names, each with what it says of whether it is needed."""
    rows: dict[str, str] = dict(re.findall(r"^\| `(\w+)` \|([^|]*)\|", settings_of(name), re.MULTILINE))
    return {setting: said.strip() for setting, said in rows.items()}


def without(given: Mapping[str, Any], gone: set[str]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if name.removesuffix("_file") not in gone}


def builds(name: str, given: Mapping[str, Any]) -> bool:
    try:
        CHANNELS[name](given)
    except (KeyError, ValueError):
        return False
    return True


@pytest.mark.parametrize("name", HERE)
def test_the_page_names_every_setting_a_rail_reads_and_which_are_secret(name: str) -> None:
    asked = [Asked(given) for given in ACCOUNTS[name].values()]
    for one in asked:
        CHANNELS[name](one)
    said = written(name)
    assert difference(said, set().union(*(one.names for one in asked))) == []
    assert {setting for setting, how in said.items() if "secret" in how} == secrets_of(name)


@pytest.mark.parametrize("name", HERE)
def test_what_the_page_calls_needed_is_and_the_rest_is_not(name: str) -> None:
    how = {setting: said.removesuffix("secret").strip(", ") for setting, said in written(name).items()}
    ways = set(how.values()) - {"needed", ""}
    everything = {setting: value for given in ACCOUNTS[name].values() for setting, value in given.items()}
    for way in ways or {"needed"}:
        enough = without(everything, {setting for setting, said in how.items() if said not in ("needed", way)})
        assert builds(name, enough), f"{name} {way}"
        for setting in (setting for setting, said in how.items() if said in ("needed", way)):
            assert not builds(name, without(enough, {setting})), f"{name} {way} needs no {setting}"


# ---- what is registered, and terms -----------------------------------------------------------------------------------


def test_the_page_lists_the_events_to_be_registered_at_stripe_and_the_version() -> None:
    section = settings_of("stripe")
    assert difference(re.findall(r"`((?:payment_intent|refund|charge|checkout)\.[\w.]+)`", section), EVENTS) == []
    assert f"`{VERSION}`" in section


def test_the_page_lists_the_events_to_be_registered_at_paypal() -> None:
    source = (ROOT / "channels" / "paypal" / "adapter.py").read_text("utf-8")
    read = set(re.findall(r'^ +"([A-Z]+(?:\.[A-Z]+)+)": _', source, re.MULTILINE))
    assert len(read) >= 7
    assert difference(re.findall(r"`((?:CHECKOUT|PAYMENT)\.[A-Z.]+)`", settings_of("paypal")), read) == []


@pytest.mark.parametrize("name", HERE)
def test_the_terms_shown_for_a_rail_are_terms_and_within_what_it_can(name: str) -> None:
    shown = re.findall(r"`(\{\"fees\".*\})`", settings_of(name))
    assert len(shown) == 1
    Terms.of(json.loads(shown[0])).check_rail(BUILT[name].capabilities)


# ---- what payers do --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", HERE)
def test_a_rails_page_shows_what_its_payers_do_by_each_method(name: str) -> None:
    assert untold(name, page_of(name), sorted(BUILT[name].capabilities.methods)) == []


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("### `h5`", "### `page`"), "no such: page"),
        (("### `app`", "### `apple`"), "not written: app"),
        (("- **It lives**: 45 seconds", "- 45 seconds"), "barcode has no 'It lives'"),
        (('"signType": "RSA",', ""), "jsapi: no such: signType"),
        (("| `code` |", "| code |"), "qr: not written: code"),
        (('"channel": "wechat"\n}', '"channel": "alipay"\n}'), "qr: the example's channel is 'alipay'"),
    ],
)
def test_a_page_that_leaves_something_out_is_noticed(change: tuple[str, str], complaint: str) -> None:
    page = page_of("wechat")
    assert change[0] in page
    assert complaint in untold("wechat", page.replace(*change, 1), sorted(BUILT["wechat"].capabilities.methods))
