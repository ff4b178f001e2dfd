"""What the bench found, on the terminal and as one page that needs nothing from anywhere."""

from collections.abc import Sequence
from html import escape

from rich.table import Table

from ops.trials.routing.bench import ORACLE, OURS, WARM_UP, Result

_COLOURS = ("#0b6e4f", "#c1292e", "#235789", "#f1a208", "#6b4e71", "#777777")
WIDTH, HEIGHT, LEFT, BOTTOM = 900, 380, 70, 40

HEADINGS = ("policy", "success", f"after {WARM_UP}", "fees, CNY per 10,000", "regret, bp of amount", "not taken")


def rows(result: Result) -> list[tuple[str, ...]]:
    """Return a line for each policy, least regret first."""
    found: list[tuple[str, ...]] = []
    for name in sorted(result.scores, key=result.regret_minor):
        score = result.scores[name]
        later = score.later_success_rate
        found.append(
            (
                name,
                f"{score.success_rate:.2%}",
                "—" if later is None else f"{later:.2%}",
                f"{score.cost_per_10k:.2f}",
                f"{result.regret_bp(name):.3f}",
                f"{score.not_taken}",
            )
        )
    return found


def table(result: Result) -> Table:
    """Return the figures as a table for people."""
    shown = Table(*HEADINGS, box=None, title=f"{result.payments} payments, seed {result.seed}")
    shown.columns[0].no_wrap = True
    for column in shown.columns[1:]:
        column.justify = "right"
    for line in rows(result):
        shown.add_row(*line, style="bold" if line[0] == OURS else None)
    return shown


def page(result: Result) -> str:
    """Return one static page: the figures, and regret over time."""
    head = "".join(f"<th>{escape(text)}</th>" for text in HEADINGS)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in line) + "</tr>" for line in rows(result))
    title = f"Routing bench · {result.payments} payments · seed {result.seed}"
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>
<style>body{{font:15px system-ui,sans-serif;max-width:{WIDTH + 40}px;margin:2em auto;color:#222}}
table{{border-collapse:collapse}}td,th{{padding:.25em .8em;text-align:right;border-bottom:1px solid #ddd}}
td:first-child,th:first-child{{text-align:left}}svg text{{font:12px system-ui,sans-serif;fill:#444}}</style>
<h1>{escape(title)}</h1>
<p>Regret against an oracle that knows every chance of success: what its choices were worth in expectation, less what a
policy's were, in yuan, summed over the payments so far. The best fixed order was found in hindsight:
{escape(", ".join(result.best_order))}.</p>
{_chart(result)}
<table><tr>{head}</tr>{body}</table></html>
"""


def _chart(result: Result) -> str:
    """Draw the regret of every policy but the single rails, summed over time."""
    names = [name for name in result.scores if name != ORACLE and not name.startswith("only ")]
    truth = result.scores[ORACLE].values
    lines = {n: [(o - v) / 100 for o, v in zip(truth, result.scores[n].values, strict=True)] for n in names}
    top = max((max(line) for line in lines.values()), default=1.0) or 1.0
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="regret over time">']
    for part in range(5):
        y = _y(top * part / 4, top)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{top * part / 4:,.0f}</text>')
        x = LEFT + (WIDTH - LEFT) * part / 4
        anchor = "end" if part == 4 else "middle"
        parts.append(
            f'<text x="{x:.0f}" y="{HEIGHT - 18}" text-anchor="{anchor}">{result.payments * part // 4:,}</text>'
        )
    for number, (name, line) in enumerate(lines.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{_points(line, top)}"/>')
        y = 16 + 17 * number
        parts.append(f'<rect x="{LEFT + 12}" y="{y - 9}" width="10" height="10" fill="{colour}"/>')
        parts.append(f'<text x="{LEFT + 28}" y="{y}">{escape(name)}</text>')
    parts.append(f'<text x="{WIDTH}" y="{HEIGHT - 2}" text-anchor="end">payments → · CNY ↑</text></svg>')
    return "".join(parts)


def _points(line: Sequence[float], top: float) -> str:
    step = (WIDTH - LEFT) / max(1, len(line))
    return " ".join(f"{LEFT + step * (n + 1):.1f},{_y(value, top):.1f}" for n, value in enumerate(line))


def _y(value: float, top: float) -> float:
    return (HEIGHT - BOTTOM) * (1 - max(0.0, value) / top) + 4
