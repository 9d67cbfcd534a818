"""One page that answers: figures and a summary from a study's ledger.

    DIR/report/report.md      question, answer, verdicts with intervals, accuracies, provenance
    DIR/report/*.png          learning curves, convergence, controls, confusion matrices, verdicts

What can be drawn depends on which arms the ledger holds; a figure whose rows are missing is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rs_course.study import comparisons, figures, hypotheses, results
from rs_course.study.finished import Finished, finished

_TITLES = {
    "learning_curves": "Accuracy against the number of real images",
    "convergence": "Accuracy on validation against the number of gradient steps, real images alone",
    "controls": "Every line at one budget, a dot per seed",
    "confusions": "Who is taken for whom",
    "verdicts": "Every hypothesis at every budget, with 95 % intervals; colours after Holm's correction",
}


def write(folder: str | Path, out: str | Path | None = None) -> Path:
    """Draw the figures and write the page.

    Args:
        folder: Of the study, or the name of one that ships with the course.
        out: Where to write; by default ``report`` in that folder, and ``runs/NAME/report`` for a study that
            ships with the course.

    Returns:
        The page.

    Raises:
        FileNotFoundError: No study was run there.
    """
    found = finished(folder)
    beside = Path("runs") / folder if results.shipped(folder) else found.folder
    out = Path(out) if out else beside / "report"
    out.mkdir(parents=True, exist_ok=True)
    page = out / "report.md"
    page.write_text(summary(found, _draw(found, out)), encoding="utf-8")
    return page


def _draw(found: Finished, out: Path) -> list[str]:
    """Draw what the ledger has rows for; returns the names of the figures."""
    from rs_course import plots

    plots.style()
    drawn = {}
    if lines := found.lines():
        drawn["learning_curves"] = figures.learning_curves(lines)
        budget = _shared(lines)
        at = found.lines(budget)
        drawn["controls"] = figures.bars(at)
        drawn["controls"].axes[0].set_title(f"{budget:g} real images per class")
        drawn["confusions"] = figures.confusions(dict(list(at.items())[:3]))
    if ladders := comparisons.ladders(found.ledger):
        drawn["convergence"] = figures.learning_curves(ladders, x="steps", xlabel="gradient steps")
    if any(verdict.difference for verdict in found.verdicts):
        short = [f"{v.name}, {v.budget}" if v.budget else v.name for v in found.verdicts]
        drawn["verdicts"] = figures.differences(found.verdicts, names=short)
    for name, figure in drawn.items():
        plots.badge(figure, provenance(found))
        (out / f"{name}.png").write_bytes(plots.png(figure))
    return list(drawn)


def _shared(lines: dict) -> int:
    """The budget that most lines have, of several the largest."""
    budgets = [budget for rows in lines.values() for budget in set(rows["real_per_class"])]
    return max(set(budgets), key=lambda budget: (budgets.count(budget), budget))


def provenance(found: Finished) -> str:
    """The badge of a study's figures."""
    data = found.described["inputs"].get("data", [])
    names = ", ".join(Path(name).name for name in ([data] if isinstance(data, str) else data))
    return f"computed · {names or 'no data named'} · checkpoint {found.described['hashes']['checkpoint'][:8]}"


def summary(found: Finished, drawn: Sequence[str] = ()) -> str:
    """The page as Markdown; ``drawn`` names the figures beside it."""
    ids, ledger = found.described["ids"], found.ledger
    lines = [f"# {found.described['title']}", ""]
    if question := found.extra.get("question"):
        lines += [f"*{question}*", ""]
    if missing := len(ids) - len(ledger):
        lines += [f"**Preliminary: {missing} of {len(ids)} runs are not done.**", ""]
    lines += _answer(found)
    seeds = found.tested["seed"].nunique()
    lines += [
        f"{len(found.tested)} runs on test images, {seeds} seed{'s' if seeds != 1 else ''}. Differences are "
        "paired by seed and test image, intervals take both for random (Student's *t*), *p* is Holm's over "
        "all verdicts."
    ]
    if drawn:
        lines += ["", "## Figures", ""]
    for name in drawn:
        lines += [f"![{_TITLES[name]}]({name}.png)", "", f"*{_TITLES[name]}.*", ""]
    if found.verdicts:
        lines += ["## Verdicts", "", *_verdicts(found.verdicts), ""]
    lines += ["## Accuracy", "", _table(found.tested), "", "## Provenance", ""]
    for kind, digest in found.described["hashes"].items():
        lines.append(f"- {kind}: `{digest}` ({found.described['inputs'].get(kind, 'none named')})")
    return "\n".join(lines) + "\n"


def _answer(found: Finished) -> list[str]:
    """The answer for every budget, what memory gives, how often the test part was opened."""
    lines = [f"- {sentence}" for sentence in found.answers().values()]
    short = {verdict.name: verdict.short for verdict in found.verdicts}
    for name, shares in found.memory().items():
        if kept := "; ".join(_kept(budget, *share) for budget, share in shares.items()):
            lines.append(f"- What is left of the gain with borrowed memory, {short[name]}: {kept}.")
    if looks := found.frozen["looks"]:
        times = f"{len(looks)} time{'s' if len(looks) != 1 else ''}"
        lines.append(
            f"- The settings were frozen on {found.frozen['at'][:16]}; the test part was opened {times}, "
            f"first on {looks[0]['at'][:16]}."
        )
    return ["## Answer", "", *lines, ""] if lines else []


def _kept(budget: int, share: float, low: float, high: float) -> str:
    if share != share:
        return f"{budget} per class: not known, there is no clear gain"
    return f"{budget} per class: {100 * share:.0f} % [{100 * low:.0f}, {100 * high:.0f}]"


def _verdicts(verdicts) -> list[str]:
    lines = ["| budget | hypothesis | difference, points [95 %] | p, Holm | verdict |", "| --- " * 5 + "|"]
    for verdict in verdicts:
        numbers = "", ""
        if verdict.difference is not None:
            numbers = hypotheses.points(verdict.difference), f"{verdict.p:.2g}"
        cells = [str(verdict.budget or ""), verdict.text, *numbers, f"**{verdict.verdict}**"]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _table(rows) -> str:
    """Mean ± deviation of every setting, one line each."""
    from rs_course.classification.evaluation import spread

    settings = (
        "dataset", "classifier", "arm", "real_per_class", "synthetic", "ratio", "synthetic_per_class",
        "recipe", "augment", "round_trip", "threshold", "steps",
    )  # fmt: skip
    keys = [key for key in settings if key in rows and rows[key].nunique(dropna=False) > 1] or ["arm"]
    lines = [f"| {' | '.join(keys)} | accuracy, % | macro F1, % |", "| --- " * (len(keys) + 2) + "|"]
    for values, own in rows.groupby(keys, sort=False, dropna=False):
        named = [_cell(value) for value in values]
        scores = [f"{spread(100 * own[name]):.1f}" for name in ("accuracy", "macro_f1")]
        lines.append(f"| {' | '.join(named + scores)} |")
    return "\n".join(lines)


def _cell(value) -> str:
    if value is None or value != value:
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)
