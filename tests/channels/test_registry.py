"""Every rail of the registry is a Channel, method by method, and has its powers whole; simulations share no code.

Both are found by looking, so a rail that is added is held to them without a line anywhere.
"""

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import pytest

import channels.powers
import channels.sharing
from channels import CHANNELS
from channels.contract import Capabilities, Channel, Method
from channels.powers import POWERS
from channels.registry import NAMES, PAYER_CODES, capabilities_of, secrets_of

ROOT = Path(__file__).parents[2]
OURS = {
    "kernel",
    "sandbox",
    "ledger",
    "channels",
    "streams",
    "cases",
    "people",
    "splitting",
    "gateway",
    "reconciliation",
    "ops",
    "loadtests",
    "tests",
}


def methods_of(protocol: type[Any]) -> dict[str, Any]:
    return {name: method for name, method in vars(protocol).items() if inspect.isfunction(method) and name[0] != "_"}


def complaints(made: type[Any], protocol: type[Any] = Channel) -> list[str]:
    """Return where a class is not a Channel: a method that is missing, or takes or gives something else."""
    found = []
    for name, method in methods_of(protocol).items():
        have = getattr(made, name, None)
        if have is None:
            found.append(f"{name} is missing")
            continue
        wanted, given = inspect.signature(method).parameters, inspect.signature(have).parameters
        if [(p.name, p.kind) for p in wanted.values()] != [(p.name, p.kind) for p in given.values()][: len(wanted)]:
            found.append(f"{name}{inspect.signature(have)} is not {name}{inspect.signature(method)}")
        want, give = get_type_hints(method), get_type_hints(have)
        for parameter in want.keys() - {"return"}:
            if not parts(want[parameter]) <= parts(give.get(parameter)):
                found.append(f"{name} takes no {want[parameter]} as {parameter}")
        if not within(give.get("return"), want["return"]):
            found.append(f"{name} returns {give.get('return')}, not {want['return']}")
    return found


def misgivings(made: type[Any]) -> list[str]:
    """Return where a class has a power in part, or its capabilities say something else than its methods."""
    found = []
    for power, says in POWERS.items():
        has = [name for name in methods_of(power) if hasattr(made, name)]
        if has:
            found += [f"{power.__name__}: {one}" for one in complaints(made, power)]
        if (said := says(made.capabilities)) is not None and said is not bool(has):
            found.append(f"{power.__name__}: the capabilities say {said}")
    return found


def parts(kind: Any) -> set[Any]:
    """Return the members of a union, or the type itself."""
    return set(get_args(kind)) if get_origin(kind) in (Union, UnionType) else {kind}


def within(given: Any, wanted: Any) -> bool:
    """Tell whether everything of one type is of the other, as far as the contract has such cases."""
    if given == wanted or parts(given) <= parts(wanted):
        return True
    origins = get_origin(given) or given, get_origin(wanted) or wanted
    return all(inspect.isclass(one) for one in origins) and issubclass(*origins) and get_args(given) == get_args(wanted)


def imported(path: Path) -> Iterator[str]:
    """Yield the modules of ours that a file imports, by their full names."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        match node:
            case ast.Import(names=names):
                yield from (one.name for one in names if one.name.split(".")[0] in OURS)
            case ast.ImportFrom(module=str(module), names=names, level=0) if module.split(".")[0] in OURS:
                yield from (f"{module}.{one.name}" for one in names)
            case ast.ImportFrom(level=level) if level:
                yield "a relative import"


@pytest.mark.parametrize("name", NAMES)
def test_every_rail_is_a_channel_method_by_method(name: str) -> None:
    made = get_type_hints(CHANNELS[name])["return"]
    assert complaints(made) == []
    assert made.name == name


@pytest.mark.parametrize("name", NAMES)
def test_every_rail_has_its_powers_whole_and_as_its_capabilities_say(name: str) -> None:
    assert misgivings(get_type_hints(CHANNELS[name])["return"]) == []


def test_every_power_is_some_rails_and_no_part_of_the_contract() -> None:
    made = [get_type_hints(build)["return"] for build in CHANNELS.values()]
    for power in POWERS:
        assert any(all(hasattr(one, name) for name in methods_of(power)) for one in made), power
        assert not methods_of(power).keys() & methods_of(Channel).keys(), power
    names = [name for power in POWERS for name in methods_of(power)]
    assert len(names) == len(set(names)), "a method is of one power"
    protocols = {
        one for module in (channels.powers, channels.sharing) for one in vars(module).values() if is_power(one)
    }
    assert protocols == set(POWERS)


def is_power(one: Any) -> bool:
    return inspect.isclass(one) and getattr(one, "_is_runtime_protocol", False) and one is not Channel


def test_the_registry_is_in_order_and_names_no_rail_twice() -> None:
    assert list(NAMES) == sorted(set(NAMES))
    assert list(CHANNELS) == list(NAMES)


def test_a_rail_names_its_secrets_and_a_stranger_has_none() -> None:
    assert "private_key" in secrets_of("wechat")
    assert secrets_of("nothing") == frozenset()
    assert secrets_of("registry") == frozenset()


RAILS = sorted((ROOT / "channels").glob("*/*.py"))
SIMULATED = sorted((ROOT / "sandbox").rglob("*.py"))


@pytest.mark.parametrize("name", NAMES)
def test_a_rail_whose_payers_codes_are_scanned_says_their_form(name: str) -> None:
    can = capabilities_of(CHANNELS[name])
    assert Method.BARCODE not in can.methods or name in PAYER_CODES, "the door takes codes of these forms alone"
    for start in can.barcode_prefixes:
        form = re.compile(PAYER_CODES[name])
        assert any(form.fullmatch(start + "0" * more) for more in range(10, 30))
        assert not any(
            re.fullmatch(PAYER_CODES[other], start + "0" * more)
            for other in PAYER_CODES.keys() - {name}
            for more in range(10, 30)
        ), "no other wallet's"


def test_no_rail_imports_its_simulation() -> None:
    assert len(RAILS) >= 8
    assert {str(path): one for path in RAILS for one in imported(path) if one.startswith("sandbox")} == {}


def test_a_simulation_imports_nothing_of_ours_but_simulations() -> None:
    assert len(SIMULATED) >= 30
    found = {str(path): one for path in SIMULATED for one in imported(path) if not one.startswith("sandbox")}
    assert found == {}


# ---- the checks bite -------------------------------------------------------------------------------------------------


def test_a_rail_that_is_no_channel_is_noticed() -> None:
    made: Any = get_type_hints(CHANNELS["wechat"])["return"]

    class Wrong(made):  # type: ignore[misc]
        refund_request = None

        def query_request(self, number: str) -> None: ...

        def close_outcome(self) -> int: ...

    assert {complaint.split()[0].partition("(")[0] for complaint in complaints(Wrong)} == {
        "refund_request",
        "query_request",
        "close_outcome",
    }


def test_a_power_that_is_had_in_part_or_said_otherwise_is_noticed() -> None:
    made: Any = get_type_hints(CHANNELS["bank_transfer"])["return"]

    class Half(made):  # type: ignore[misc]
        def proceed_request(self, order: Any) -> None: ...

        def deposit_prefix(self) -> int: ...

    assert {one.split(" returns")[0].split("(")[0] for one in misgivings(Half)} == {
        "Proceeds: proceed_request takes no <class 'channels.contract.Order'> as order",
        "Proceeds: proceed_request",
        "Proceeds: proceed_outcome is missing",
        "NamesDeposits: deposit_prefix",
    }
    currencies = frozenset({"CNY"})
    for said, power in [
        (Capabilities(frozenset({Method.BARCODE}), currencies), "Reverses"),
        (Capabilities(frozenset({Method.PAGE}), currencies, authorizes=frozenset({Method.PAGE})), "Authorizes"),
        (
            Capabilities(frozenset({Method.PAGE}), currencies, payer_initiated=frozenset({Method.PAGE})),
            "PayerInitiates",
        ),
        (Capabilities(frozenset({Method.APP}), currencies, signs_actions=frozenset({Method.APP})), "SignsActions"),
        (Capabilities(frozenset({Method.PAGE}), currencies, closes=False), "Proceeds"),
    ]:
        says = type("Says", (made,), {"capabilities": said})
        assert misgivings(says) == [f"{power}: the capabilities say True"]
    silent = type("Silent", (get_type_hints(CHANNELS["wechat"])["return"],), {"capabilities": made.capabilities})
    assert misgivings(silent) == ["SignsActions: the capabilities say False", "Reverses: the capabilities say False"]


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import sandbox.keys", ["sandbox.keys"]),
        ("from sandbox import keys", ["sandbox.keys"]),
        ("def f():\n    from kernel.money import Money", ["kernel.money.Money"]),
        ("from . import keys", ["a relative import"]),
        ("import json\nfrom pathlib import Path", []),
    ],
)
def test_imports_are_seen_wherever_they_stand(tmp_path: Path, source: str, found: list[str]) -> None:
    (tmp_path / "x.py").write_text(source)
    assert list(imported(tmp_path / "x.py")) == found
