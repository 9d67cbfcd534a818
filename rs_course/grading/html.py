"""The small pieces of HTML that feedback and class pages share: one style, escaped text, drawn histograms."""

from __future__ import annotations

import functools
from html import escape
from pathlib import Path

STYLE = """
:root { color-scheme: light dark; --ink: #1d2733; --paper: #fff; --soft: #eef2f5; --line: #cfd8e0; --good:
#1b7f5c;
  --bad: #b3402e; --accent: #22638f; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4eaf0; --paper: #15191e; --soft: #20272e; --line:
#39444f;
  --good: #5fc79f; --bad: #f0907f; --accent: #7ab8e0; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 60rem;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; } th, td { text-align: left; padding: .3rem .6rem;
  border-bottom: 1px solid var(--line); } td.n, th.n { text-align: right; font-variant-numeric:
  tabular-nums; }
pre { background: var(--soft); padding: .7rem; overflow: auto; max-height: 30rem; white-space: pre-wrap;
  overflow-wrap: anywhere; }
.good { color: var(--good); } .bad { color: var(--bad); } .quiet { opacity: .75; }
.bar { background: var(--soft); border: 1px solid var(--line); height: .7rem; border-radius: .35rem;
overflow: hidden; } .bar i { display: block; height: 100%; background: var(--accent); } svg text { fill:
currentColor; font: 12px system-ui, sans-serif; } svg rect { fill: var(--accent); }
"""


@functools.cache
def _templates():
    # Imported here: who grades no prose by hand needs no templates.
    import jinja2

    loader = jinja2.FileSystemLoader(Path(__file__).parent / "templates")
    return jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )


def render(template: str, **values) -> str:
    """A page from a template of ``templates/``; every value is escaped."""
    return _templates().get_template(template).render(style=STYLE, **values)


def page(title: str, body: str) -> str:
    """A complete page that loads nothing from anywhere, and whose text can run nothing."""
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head>\n'
        f"<body><h1>{escape(title)}</h1>\n{body}\n</body></html>\n"
    )


def bar(score: float, points: float) -> str:
    """A bar as long as the share of the points."""
    share = 0 if points <= 0 else min(max(score / points, 0), 1)
    return (
        f'<div class="bar" role="img" aria-label="{score:g} of {points:g} points">'
        f'<i style="width:{100 * share:.0f}%"></i></div>'
    )


def table(header: list[str], rows: list[list], numeric: set[int] = frozenset()) -> str:
    """A table of plain values."""

    def cells(tag, values):
        marks = (' class="n"' if n in numeric else "" for n in range(len(values)))
        return "".join(
            f"<{tag}{mark}>{escape(str(v))}</{tag}>" for mark, v in zip(marks, values, strict=True)
        )

    body = "".join(f"<tr>{cells('td', row)}</tr>\n" for row in rows)
    return f"<table><thead><tr>{cells('th', header)}</tr></thead><tbody>\n{body}</tbody></table>"


def histogram(values: list[float], top: float, label: str, *, bins: int = 10) -> str:
    """A histogram from 0 to ``top`` as inline SVG, with the counts as text."""
    counts = [0] * bins
    for value in values:
        counts[min(int(bins * max(value, 0) / top), bins - 1) if top > 0 else 0] += 1
    most, step, height = max([*counts, 1]), 52, 120
    parts = []
    for number, count in enumerate(counts):
        tall = height * count / most
        left = 10 + number * step
        parts.append(
            f'<rect x="{left}" y="{20 + height - tall:.1f}" width="{step - 6}" height="{tall:.1f}"/>'
        )
        if count:
            parts.append(f'<text x="{left + step / 2 - 6:.0f}" y="{15 + height - tall:.1f}">{count}</text>')
        parts.append(f'<text x="{left}" y="{height + 36}">{top * number / bins:.3g}</text>')
    parts.append(f'<text x="{10 + bins * step - 8}" y="{height + 36}">{top:.3g}</text>')
    summary = f"{label}: " + ", ".join(
        f"{top * n / bins:.3g} to {top * (n + 1) / bins:.3g}: {count}"
        for n, count in enumerate(counts)
        if count
    )
    return (
        f'<svg viewBox="0 0 {30 + bins * step} {height + 44}" role="img" aria-label="{escape(summary)}">'
        f"{''.join(parts)}</svg>"
    )
