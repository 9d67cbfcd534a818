"""Pages from the templates of ``templates/``: one style, and every value escaped."""

from __future__ import annotations

import functools
from html import escape
from pathlib import Path


@functools.cache
def _templates():
    # Imported here: whoever only checks a notebook needs no templates.
    import jinja2

    loader = jinja2.FileSystemLoader(Path(__file__).parent / "templates")
    made = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    made.filters["g"] = "{:g}".format
    made.globals["histogram"] = histogram
    return made


def render(template: str, **values) -> str:
    """A page from a template of ``templates/``; every value is escaped."""
    return _templates().get_template(template).render(**values)


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
