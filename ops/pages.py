"""The pages that come out of the code: docs/commands.md and docs/settings.md. `make fix` writes, `make check` compares.

What a page says of a command is what its `--help` says, and of a setting what ops/settings.py says: neither is written
twice, so neither can be out of date. The check also holds every page to lines that a screen can show.
"""

import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import typer.main
from pydantic.fields import FieldInfo

from ops import openapi
from ops.cli.commands import app
from ops.settings import PREFIX, Settings

WIDTH = 120
_SOURCE = "Written from the code by `make fix`; `make check` fails when this page is stale."


def commands_page() -> str:
    """Return docs/commands.md."""
    root = typer.main.get_command(app)
    found = list(_commands(root, "sluice"))
    lines = [
        "# Commands 命令",
        "",
        _SOURCE,
        "",
        *_wrapped(
            "Each command has `--help`. Commands that make, list or show something print JSON with `--json`; "
            "commands that write figures or a summary put them into a file with `--output FILE`."
        ),
        "",
        "| exit code | meaning |",
        "|---|---|",
        "| 0 | done |",
        "| 1 | the answer is no, or something failed |",
        "| 2 | the command was not understood; nothing was done |",
        "| 3 | the result is unknown: the database does not answer, or (`sluice channel call`) the rail did not |",
        "| 130, 143 | stopped by Ctrl-C, by SIGTERM |",
        "",
        "| command | what it does |",
        "|---|---|",
        *(f"| [`{name}`](#{name.replace(' ', '-')}) | {_cell(_first_line(command))} |" for name, command in found),
        "",
    ]
    for name, command in found:
        lines += [f"## {name}", "", *_described(command), ""]
        lines += ["```", _usage(name, command), "```", ""]
        rows = list(_parameters(command))
        if rows:
            lines += ["| | | default |", "|---|---|---|", *rows, ""]
    return "\n".join(lines).rstrip() + "\n"


def _commands(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Yield every command that does something, under its whole name, as its group has them in order."""
    if not hasattr(command, "commands"):
        yield name, command
        return
    for one, below in command.commands.items():
        if not below.hidden:
            yield from _commands(below, f"{name} {one}")


def _first_line(command: Any) -> str:
    return inspect.cleandoc(command.help or "").split("\n\n")[0].replace("\n", " ")


def _described(command: Any) -> list[str]:
    """Return a command's help as paragraphs that fit the page; a list of exit codes stays a list."""
    lines: list[str] = []
    for paragraph in inspect.cleandoc(command.help or "").replace("\b", "").split("\n\n"):
        codes = paragraph.strip().startswith("Exit codes:")
        text = re.sub(r"\n(?=\d[\d, ]*: )", "\n- ", paragraph.strip()) if codes else paragraph
        for part in re.split(r"\n(?=- )", text):
            lines += _wrapped(" ".join(part.split()), hanging="  " if part.startswith("- ") else "")
            if codes and part.startswith("Exit codes:"):
                lines.append("")
        lines.append("")
    return lines[:-1]


def _wrapped(text: str, hanging: str = "") -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent=hanging, break_long_words=False, break_on_hyphens=False)


def _usage(name: str, command: Any) -> str:
    arguments = [one for one in command.params if one.param_type_name == "argument" and not one.hidden]
    shown = [one.name.upper() if one.required else f"[{one.name.upper()}]" for one in arguments]
    return " ".join([name, *shown, "[OPTIONS]"])


def _parameters(command: Any) -> Iterator[str]:
    """Yield a row for each argument and option but --help."""
    for parameter in command.params:
        if "--help" in parameter.opts or getattr(parameter, "hidden", False):
            continue
        if parameter.param_type_name == "argument":
            name = parameter.name.upper()
        else:
            name = ", ".join([*parameter.opts, *parameter.secondary_opts])
        default = parameter.default
        if parameter.required:
            said = "needed"
        elif default is None or default is False or callable(default) or default == ():
            said = ""
        else:
            said = f"`{'on' if default is True else default}`"
        yield f"| `{name}` | {_cell(getattr(parameter, 'help', None) or '')} | {said} |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def settings_page() -> str:
    """Return docs/settings.md."""
    lines = [
        "# Settings 设置",
        "",
        _SOURCE,
        "",
        *_wrapped(
            "Each is an environment variable; an empty one counts as not given. A secret may come from a file instead: "
            "`SLUICE_SECRETS_DIR` names a folder with one file a variable, called as the variable in lower case "
            "(`sluice_database_url`). "
            "`sluice doctor` points out a misspelt one."
        ),
        "",
        "| variable | meaning | values | default |",
        "|---|---|---|---|",
    ]
    for name, field in Settings.model_fields.items():
        lines.append(
            f"| `{PREFIX}{name.upper()}` | {_cell(field.description or '')} | {_values(field)} | {_default(field)} |"
        )
    return "\n".join(lines) + "\n"


def _values(field: FieldInfo) -> str:
    """Return what a setting may be, where its type says so."""
    literals = [value for value in get_args(field.annotation) if isinstance(value, str)]
    if literals:
        return ", ".join(f"`{value}`" for value in literals)
    bounds = {
        name: getattr(one, name) for one in field.metadata for name in ("ge", "gt", "le", "lt") if hasattr(one, name)
    }
    low, high = bounds.get("ge", bounds.get("gt")), bounds.get("le", bounds.get("lt"))
    if low is None and high is None:
        return ""
    return f"{'' if low is None else low} to {'' if high is None else high}".strip()


def _default(field: FieldInfo) -> str:
    default = field.default
    return "" if default is None else f"`{str(default).lower() if isinstance(default, bool) else default}`"


PAGES: Mapping[str, Callable[[], str]] = {
    "docs/commands.md": commands_page,
    "docs/settings.md": settings_page,
    "docs/openapi.json": openapi.text,
}


def long_lines(page: str) -> list[int]:
    """Return the numbers of a page's lines that are longer than WIDTH; tables, code and pictures are what they are."""
    found, in_code = [], False
    for number, line in enumerate(page.split("\n"), 1):
        in_code ^= line.lstrip().startswith("```")
        if not in_code and len(line) > WIDTH and not line.lstrip().startswith(("|", "![")):
            found.append(number)
    return found


def _every_page() -> Iterator[Path]:
    for path in sorted(Path().rglob("*.md")):
        if not any(part.startswith(".") or part == "node_modules" for part in path.parts):
            yield path


def main() -> int:
    """Write the pages, or with --check only say which are stale, and where a line is too long."""
    check, stale = "--check" in sys.argv, []
    for name, made in PAGES.items():
        path, wanted = Path(name), made()
        if not check:
            path.write_text(wanted, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != wanted:
            stale.append(name)
    for name in stale:
        print(f"{name} does not say what the code says: run `make fix` and commit it", file=sys.stderr)
    long = (
        [f"{path}:{number}" for path in _every_page() for number in long_lines(path.read_text("utf-8"))]
        if check
        else []
    )
    for place in long:
        print(f"{place} is longer than {WIDTH} characters: wrap it", file=sys.stderr)
    return 1 if stale or long else 0


if __name__ == "__main__":
    raise SystemExit(main())
