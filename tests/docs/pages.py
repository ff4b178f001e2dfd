"""What the documents are, and what each check finds wrong with them. A check returns its complaints, at best none."""

import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, cast

import click
import typer

from gateway.api.notices import NoticeRoutes
from ops.cli.commands import app
from ops.openapi import records
from ops.settings import Settings, variable

ROOT = Path(__file__).parents[2]

# Words that look like a path of the repository and are none.
NO_PATHS = frozenset({"application/json", "WECHATPAY/SIGNTEST/"})
# Made at run time; where they lie is told in words.
MADE_LATER = frozenset(
    {".sluice/", "bench.json", "run.json", "postgres.place", "file.csv", "account.json", "terms.json", "secrets.json"}
)
SUFFIXES = "py|md|sql|toml|svg|lock|json|csv|place|pem|txt|yml|yaml"

_CODE_BLOCK = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_SHELL_BLOCK = re.compile(r"^```(?:bash|sh)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`([^`\n]+)`")
_PATH = re.compile(rf"(?:[\w.*<>-]+/)+(?:[\w.*<>-]+\.(?:{SUFFIXES}))?|[\w*-]+\.(?:{SUFFIXES})", re.ASCII)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.+?) *$", re.MULTILINE)


@cache
def tracked() -> frozenset[str]:
    """Return the files the repository has, those not yet added included, those ignored left out."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return frozenset(name for name in listed.stdout.splitlines() if (ROOT / name).exists())


def documents() -> list[Path]:
    """Return every page of the repository, those drawn from the code and those of test data left out."""
    names = [name for name in tracked() if name.endswith(".md") and not name.startswith("tests/")]
    return [ROOT / name for name in sorted(names) if name != "docs/states.md"]


def prose(text: str) -> str:
    """Return a page without its blocks of code."""
    return _CODE_BLOCK.sub("", text)


# ---- paths -----------------------------------------------------------------------------------------------------------


def missing_paths(page: Path, text: str) -> list[str]:
    """Return the paths a page names that are neither below the page's own folder nor below the repository.

    A page about the whole repository may call a file by its name alone where packages have one of that name.
    """
    places = [page.parent, ROOT]
    if page.parent in (ROOT, ROOT / "docs"):
        places += [ROOT / package for package in sorted({name.split("/")[0] for name in tracked() if "/" in name})]
    return [path for path in _paths(text) if not any(_exists(place / path) for place in places)]


def _paths(text: str) -> Iterator[str]:
    for span in _SPAN.findall(prose(text)):
        if span in NO_PATHS or span in MADE_LATER or span.startswith(("SLUICE_HOME/", "/")):
            continue
        if _PATH.fullmatch(span):
            yield span


def _exists(path: Path) -> bool:
    """Tell whether the repository has this file or folder; `*` and `<name>` stand for any name."""
    name = re.sub(r"<\w+>", "*", str(path.resolve().relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path))
    wanted = re.compile(re.escape(name).replace(r"\*", "[^/]*") + r"(?:/.*)?")
    return any(wanted.fullmatch(found) for found in tracked())


# ---- links -----------------------------------------------------------------------------------------------------------


def broken_links(page: Path, text: str) -> list[str]:
    """Return the links of a page that lead nowhere: no such file, or no such heading in it."""
    broken = []
    for target in _LINK.findall(prose(text)):
        if re.match(r"https?://|mailto:", target):
            continue
        file, _, anchor = target.partition("#")
        there = (page.parent / file).resolve() if file else page
        if not (there.is_relative_to(ROOT) and _exists(there)):
            broken.append(target)
            continue
        if not anchor:
            continue
        read = text if there == page else there.read_text("utf-8") if there.is_file() else ""
        if anchor not in anchors(read):
            broken.append(target)
    return broken


def anchors(text: str) -> set[str]:
    """Return the names by which a page's headings can be linked to, as GitHub makes them."""
    found: set[str] = set()
    for heading in _HEADING.findall(prose(text)):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").lower()
        name = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        count = sum(1 for other in found if re.fullmatch(re.escape(name) + r"(?:-\d+)?", other))
        found.add(f"{name}-{count}" if count else name)
    return found


# ---- commands --------------------------------------------------------------------------------------------------------


@cache
def commands() -> Mapping[str, frozenset[str]]:
    """Return every command of the command line with its options: "merchant add" → {"--json", …}."""
    found: dict[str, frozenset[str]] = {}

    def walk(command: Any, names: tuple[str, ...]) -> None:
        below = getattr(command, "commands", None)
        if below is not None:
            for name, one in below.items():
                walk(one, (*names, name))
            return
        options = {o for p in command.params for o in (*p.opts, *p.secondary_opts) if o.startswith("--")}
        found[" ".join(names)] = frozenset(options | {"--help"})

    walk(cast(click.Command, typer.main.get_command(app)), ())
    return found


def unknown_commands(text: str) -> list[str]:
    """Return the calls of `sluice` on a page, in text and in shell blocks, that would not be understood."""
    return [call for call in _calls(text) if not _understood(call)]


def _calls(text: str) -> Iterator[str]:
    for span in _SPAN.findall(prose(text)):
        if re.match(r"(?:\.venv/bin/)?sluice ", span):
            yield span.removeprefix(".venv/bin/")
    for block in _SHELL_BLOCK.findall(text):
        for call in re.findall(r"(?:^|[\s(/])(sluice [^\n|)>]*)", block.replace("\\\n", " ")):
            yield call.strip()


def _understood(call: str) -> bool:
    words = re.findall(r"\"[^\"]*\"|\S+", call)[1:]
    if words == ["…"]:
        return True
    for length in (3, 2, 1):
        options = commands().get(" ".join(words[:length]))
        if options is not None:
            return all(word in options for word in words[length:] if word.startswith("--"))
    return False


def unknown_targets(text: str, makefile: str) -> list[str]:
    """Return what a page tells `make` to do that the Makefile cannot."""
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    told = re.findall(r"`make ([a-z]+)[^`]*`", prose(text))
    told += [t for block in _SHELL_BLOCK.findall(text) for t in re.findall(r"^make ([a-z]+)", block, re.MULTILINE)]
    return [target for target in told if target not in targets]


def unknown_variables(text: str) -> list[str]:
    """Return the SLUICE_ variables a page names that no setting has."""
    known = {variable(name) for name in Settings.model_fields} | {"SLUICE_SECRETS_DIR"}
    return sorted(set(re.findall(r"\bSLUICE_[A-Z_]+[A-Z]\b", text)) - known)


# ---- tables ----------------------------------------------------------------------------------------------------------


def first_cells(text: str, heading: str) -> list[str]:
    """Return what stands in code marks in the first column of the table below a heading."""
    section = section_of(text, heading)
    return re.findall(r"^\| `([^`|]+)` \|", section, re.MULTILINE)


def section_of(text: str, heading: str) -> str:
    """Return what stands below a heading, up to the next of its rank or a higher one. Raises AssertionError."""
    found = re.search(rf"^(#+) {re.escape(heading)}$", text, re.MULTILINE)
    assert found is not None, f"there is no heading {heading!r}"
    rest = text[found.end() :]
    end = re.search(rf"^#{{1,{len(found[1])}}} ", rest, re.MULTILINE)
    return rest[: end.start()] if end else rest


def difference(written: Iterable[str], offered: Iterable[str]) -> list[str]:
    """Return what is written and does not exist, what exists and is not written, and what is written twice."""
    written = list(written)
    have, want = set(written), set(offered)
    twice = sorted({one for one in have if written.count(one) > 1})
    return [f"no such: {x}" for x in sorted(have - want)] + [f"not written: {x}" for x in sorted(want - have)] + twice


# ---- what code refers to ---------------------------------------------------------------------------------------------


def dangling_references(source: str) -> list[str]:
    """Return the pages and decisions that a source file refers to and that are not there."""
    dangling = []
    for name in re.findall(r"\b(?:docs/[\w/-]+\.(?:md|svg)|(?:ARCHITECTURE|CHANGELOG)\.md)", source):
        if name not in tracked():
            dangling.append(name)
    for number in re.findall(r"(?:docs/decisions/|\bdecision )(\d{4})(?!\d)", source):
        if not any(name.startswith(f"docs/decisions/{number}-") for name in tracked()):
            dangling.append(f"decision {number}")
    for name, heading in re.findall(r"([A-Z]+\.md), \"([^\"]+)\"", source):
        page = ROOT / name
        if not page.exists() or heading not in _HEADING.findall(page.read_text("utf-8")):
            dangling.append(f"{name}, {heading}")
    return dangling


# ---- the API ---------------------------------------------------------------------------------------------------------


def routes() -> frozenset[str]:
    """Return every route, as "GET /v1/payments"."""
    pages = NoticeRoutes(cast(Any, None)).pages()
    return frozenset(f"{one.method} {one.path}" for one in [*records(), *pages])


def strange_routes(text: str) -> list[str]:
    """Return the routes that a page names, or has a heading for, and that there are not."""
    written = re.findall(r"`((?:GET|POST|PUT|PATCH|DELETE) /(?:v1|notify)/[^`]+)`", text)
    return [name for name in written if name not in routes()]


def unnamed(text: str, names: Iterable[str]) -> list[str]:
    """Return those names that stand nowhere in the text in code marks."""
    spans = set(re.findall(r"`(\w+)`", text))
    return [name for name in names if name not in spans]
