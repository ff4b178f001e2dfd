"""The beginning of a new rail, written into a checkout: the body of `sluice channel new`.

One folder in channels/, one line in its registry, one folder of golden bytes, and the place where its other side is
described for the contract suite. What is written type-checks, and every test of the contract suite exists for it and
fails until it is written. The methods are taken from channels/contract.py as it stands, and what the rail may have
besides from channels/powers.py.
"""

import ast
import keyword
import re
import textwrap
from pathlib import Path

_NAME = re.compile(r"[a-z][a-z_]{1,30}[a-z]", re.ASCII)
REGISTRY = Path("channels/registry.py")
CONTRACT = Path("channels/contract.py")
POWERS = Path("channels/powers.py")
# What the contract says of methods that have no description of their own there.
_DOCS = {
    "pay_request": "Return the request that places the order; the same number never charges twice.",
    "pay_outcome": "Return what came of it. Refused only by an explicit list of final codes; in doubt, Unknown.",
    "query_request": "Return the request that asks for the order by our number.",
    "query_outcome": "Return the order's state. Unknown(not_found=True) only where the rail knows no such order.",
    "close_request": "Return the request that closes an unpaid order.",
    "refund_request": "Return the request that gives money back; the same number never gives it twice.",
    "refund_outcome": "Return what came of it; Confirmed has the amount that the rail says went back.",
    "refund_query_request": "Return the request that asks for a refund by our number.",
    "refund_query_outcome": "Return its state. Unknown(not_found=True) only where the rail knows no such refund.",
    "bill_request": "Return the request for the bill 对账单 of a day, Beijing's.",
    "bill_file": "Return the bill that the answer holds, where it is to be had, or why there is none.",
}


class CannotBegin(Exception):
    """A rail of this name cannot be begun here; nothing was written."""


def begin(root: Path, name: str) -> list[Path]:
    """Write the beginning of a rail into the checkout at `root`; return what was written or changed, relative to it.

    Raises CannotBegin.
    """
    if not _NAME.fullmatch(name) or keyword.iskeyword(name):
        raise CannotBegin(f"{name!r} is no name for a rail: 3 to 32 of a-z and _, beginning and ending with a letter")
    try:
        registry, contract, powers = ((root / path).read_text("utf-8") for path in (REGISTRY, CONTRACT, POWERS))
    except OSError:
        raise CannotBegin(f"{root} is no checkout of this hub: there is no {REGISTRY} to write a line into") from None
    package = Path("channels") / name
    if (root / package).exists() or (root / package).with_suffix(".py").exists():
        raise CannotBegin(f"there is {package} already")
    title = name.replace("_", " ").capitalize()
    made = {
        package / "__init__.py": _package(name, title),
        package / "adapter.py": _adapter(name, title, contract, powers),
        package / "README.md": _readme(title),
        Path("tests/golden") / name / "README.md": _golden(title),
        Path("tests/contract") / f"counterparty_{name}.py": _counterparty(name, title),
        REGISTRY: _registered(registry, name),
    }
    for path, text in made.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, "utf-8")
    return sorted(made)


def class_of(name: str) -> str:
    """Return the name of the rail's class: bank_transfer → BankTransfer."""
    return "".join(part.capitalize() for part in name.split("_"))


# ---- what is written -------------------------------------------------------------------------------------------------


def _registered(registry: str, name: str) -> str:
    """Return the registry with one line more, in order."""
    found = re.search(r"^NAMES = \(\n((?:    \"\w+\",\n)*)\)", registry, re.MULTILINE)
    if found is None:
        raise CannotBegin(f"{REGISTRY} has no list NAMES with a rail a line")
    lines = sorted([*found[1].splitlines(keepends=True), f'    "{name}",\n'])
    return registry[: found.start(1)] + "".join(lines) + registry[found.end(1) :]


def _package(name: str, title: str) -> str:
    made = class_of(name)
    return (
        f'"""{title} as a channel: see README.md."""\n\n'
        + "".join(sorted((f"from channels.{name}.adapter import {made}, build\n", "from channels.face import Face\n")))
        + "\n"
        'SECRETS = frozenset({"secret_key"})  # settings that are sealed at rest; each may end in _file instead\n'
        'SETTINGS = frozenset({"secret_key", "merchant", "base_url"})  # all that it reads\n'
        'ACCOUNT = ("merchant",)  # of which each names the account at the rail\n\n'
        "# What people see of it: its names in Chinese and English, a character and a colour; see channels/face.py.\n"
        f'FACE = Face(("{title}", "{title}"), "{title[0]}", "#51605b")\n\n'
        f'__all__ = ["ACCOUNT", "FACE", "SECRETS", "SETTINGS", "{made}", "build"]\n'
    )


def _adapter(name: str, title: str, contract: str, powers: str) -> str:
    made = class_of(name)
    methods = _methods(contract)
    used = set(re.findall(r"\b[A-Z]\w+\b", " ".join(header for header, _ in methods))) & _exported(contract)
    names = ",\n    ".join(sorted(used | {"Capabilities", "Method"}))
    parts = [
        f'"""{title}: every method is pure; see channels/contract.py for what each promises.\n\n'
        "What only some rails have is a protocol of channels/powers.py; where this rail has one, write its methods:\n"
        + "\n".join(textwrap.wrap(", ".join(_powers(powers)) + ".", 118))
        + '\n"""\n\n'
        "from collections.abc import Iterable, Mapping\n"
        "from datetime import date, datetime\n"
        "from typing import Any\n\n"
        f"from channels.contract import (\n    {names},\n)\n"
        "from channels.settings import secret\n\n\n"
        f"class {made}:\n"
        f'    """One merchant\'s account at {title}."""\n\n'
        f'    name = "{name}"\n'
        "    # The router and the contract suite read this: name what the rail can do, and no more.\n"
        '    capabilities = Capabilities(methods=frozenset({Method.QR}), currencies=frozenset({"CNY"}))\n\n'
        "    def __init__(self, *, merchant: str, base_url: str, secret_key: str) -> None:\n"
        "        self.merchant = merchant\n"
        '        self._base = base_url.rstrip("/")\n'
        "        self._secret_key = secret_key\n"
    ]
    for header, doc in methods:
        method = header.split("(")[0]
        parts.append(
            f"\n    def {header}:\n"
            f"{_docstring(doc)}"
            f'        raise NotImplementedError("{name}: {method} is not written; see channels/contract.py")\n'
        )
    parts.append(
        f"\n\ndef build(settings: Mapping[str, Any]) -> {made}:\n"
        '    """Return the channel of these settings. Raises ValueError, KeyError.\n\n'
        "    settings: merchant, base_url, secret_key (or secret_key_file).\n"
        '    """\n'
        f"    return {made}(\n"
        '        merchant=str(settings["merchant"]),\n'
        '        base_url=str(settings["base_url"]),\n'
        '        secret_key=secret(settings, "secret_key").strip(),\n'
        "    )\n"
    )
    return "".join(parts)


def _powers(powers: str) -> list[str]:
    """Return the names of the protocols that a rail may have besides."""
    table = next(
        node.value
        for node in ast.parse(powers).body
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "POWERS" and isinstance(node.value, ast.Dict)
    )
    return [ast.unparse(key) for key in table.keys if key is not None]


def _methods(contract: str) -> list[tuple[str, str]]:
    """Return the methods a rail must write, each as its header and description."""
    classes = {node.name: node for node in ast.parse(contract).body if isinstance(node, ast.ClassDef)}
    needed = []
    for node in classes["Channel"].body:
        if not isinstance(node, ast.FunctionDef):
            continue
        returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
        doc = ast.get_docstring(node) or _DOCS.get(node.name)
        if doc is None:
            raise CannotBegin(f"{CONTRACT} does not say what {node.name} does")
        # ast writes defaults without the spaces that go round them after a type.
        parameters = re.sub(r"(: [^,=]+)=", r"\1 = ", ast.unparse(node.args))
        needed.append((f"{node.name}({parameters}){returns}", doc))
    return needed


def _exported(contract: str) -> set[str]:
    """Return the names that the contract's module can be asked for."""
    tree = ast.parse(contract)
    classes = {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
    assigned = {
        t.id for node in tree.body if isinstance(node, ast.Assign) for t in node.targets if isinstance(t, ast.Name)
    }
    return classes | assigned | {"Request", "Response"}


def _docstring(doc: str) -> str:
    first, *rest = doc.splitlines()
    if not rest:
        return f'        """{first}"""\n'
    return "".join(f"        {line}\n" if line else "\n" for line in [f'"""{first}', *rest, '"""'])


def _readme(title: str) -> str:
    return (
        f"# {title} as a channel\n\n"
        "What is believed when, for whoever has to know why a payment stands as it does. Write here, from the rail's\n"
        "own documents and with their addresses and dates:\n\n"
        "| question | answer |\n|---|---|\n"
        "| which answers are signed, over which bytes, and which are not | |\n"
        "| which codes are a final refusal, and of these, which let another rail try | |\n"
        "| what says that the rail knows no such number | |\n"
        "| how a repetition under the same number is answered | |\n"
        "| how long an unpaid order lives, and whether it can be closed | |\n"
        "| to which day a movement belongs, when its bill is there, whether refunds give the fee back | |\n\n"
        "## Unproven\n"
        "No primary document or recording backs these; adapter and sandbox agree on them all the same.\n\n"
        "| what we assume | where used | what would prove it |\n|---|---|---|\n"
        "| everything, until it is looked up | every message | the rail's own documents, and recorded messages |\n"
    )


def _golden(title: str) -> str:
    return (
        f"# Golden bytes of {title}\n\n"
        "Real messages, secrets removed, one a file, named for what they show. The contract suite wants at least one\n"
        "of each kind: `request_*`, `answer_*`, `notice_*`, `bill_*`.\n"
    )


def _counterparty(name: str, title: str) -> str:
    return (
        f'"""The other side of {title} for the contract suite: where its protocol differs from others.\n\n'
        f"The simulated rail is a folder of its own beside the others, sandbox/{name}/ with `install`;\n"
        "stand it on sandbox/acquirer. It shares no code with the adapter.\n"
        '"""\n\n'
        "from tests.contract.counterparties import Counterparty\n\n\n"
        f"class {class_of(name)}Sandbox(Counterparty):\n"
        f'    """The simulated {title}."""\n\n'
        f'    RAIL = "{name}"\n'
        '    NO_WINDOW = ""  # write why a notice of any age is believed; or, better, WINDOW: how old it may be\n\n'
        "    async def open_account(self) -> None:\n"
        f'        raise NotImplementedError("{name}: there is no simulated rail to be tried against yet")\n'
    )
