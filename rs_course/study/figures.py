"""Figures of a study; each takes rows or verdicts and draws on axes that it makes or is given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import numpy as np

from rs_course import plots
from rs_course.study.comparisons import curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from rs_course.study.hypotheses import Verdict

_VERDICT_COLOURS = {"shown": "#009E73", "not shown": "#8A8A8A", "contradicted": "#D55E00"}


def learning_curves(
    lines: dict,
    *,
    x: str = "real_per_class",
    xlabel: str = "real training images per class",
    axes: Axes | None = None,
) -> Figure:
    """Accuracy against the number of real images: a line per name, a dot per seed, a band of one deviation.

    Args:
        lines: ``{name: rows}``.
        x: Column of the horizontal axis, such as ``"steps"``.
        xlabel: What it is called.
        axes: Where to draw.
    """
    axes = _axes(axes)
    for colour, (name, rows) in zip(_cycle(), lines.items(), strict=False):
        points = curve(rows, x)
        at = np.array(list(points))
        mean = np.array([100 * p.mean for p in points.values()])
        deviation = np.array([100 * p.std if p.n > 1 else 0 for p in points.values()])
        axes.plot(at, mean, "-o", ms=3.5, color=colour, label=name)
        axes.fill_between(at, mean - deviation, mean + deviation, color=colour, alpha=0.15, lw=0)
        axes.plot(rows[x], 100 * rows["accuracy"], ".", ms=3, color=colour, alpha=0.5)
    values = sorted({value for rows in lines.values() for value in rows[x]})
    axes.set_xscale("log")
    apart = [v for k, v in enumerate(values) if k == 0 or v > 1.3 * values[k - 1]]  # labels that do not touch
    axes.set_xticks(apart, [f"{value:g}" for value in apart])
    axes.minorticks_off()
    parts = {part for rows in lines.values() if "part" in rows for part in rows["part"].dropna()}
    judged = "validation" if parts == {"validation"} else "test"
    axes.set(xlabel=xlabel, ylabel=f"{judged} accuracy, %")
    if lines:
        axes.legend()
    return cast("Figure", axes.figure)


def differences(
    verdicts: Sequence[Verdict],
    *,
    axes: Axes | None = None,
    names: Sequence[str] | None = None,
    xlabel: str = "percentage points",
) -> Figure:
    """Verdicts with their differences and intervals, one line each, coloured by what they show.

    Args:
        verdicts: From :func:`rs_course.study.hypotheses.judge`; those without rows are left out.
        axes: Where to draw.
        names: What to call each; by default its text and budget.
        xlabel: What the differences are of.
    """
    names = names or [verdict.title for verdict in verdicts]
    named = zip(names, verdicts, strict=True)
    drawn = [(name, v.verdict, v.difference) for name, v in named if v.difference is not None]
    axes = _axes(axes, (6.8, 0.32 * len(drawn) + 0.9))
    for y, (_, verdict, difference) in enumerate(drawn):
        colour = _VERDICT_COLOURS[verdict]
        axes.plot([100 * difference.low, 100 * difference.high], [y, y], color=colour, lw=2)
        axes.plot(100 * difference.estimate, y, "o", color=colour, ms=5)
    axes.axvline(0, color="k", lw=0.8)
    axes.set_yticks(range(len(drawn)), [name for name, *_ in drawn])
    axes.invert_yaxis()
    axes.set_xlabel(xlabel)
    return cast("Figure", axes.figure)


def gains(verdicts: Sequence[Verdict], names: dict[str, str], *, axes: Axes | None = None) -> Figure:
    """What some hypotheses gain, budget by budget, with intervals.

    Args:
        verdicts: From :func:`rs_course.study.hypotheses.judge`.
        names: What to call a hypothesis, by its name; the order is kept.
        axes: Where to draw.
    """
    axes = _axes(axes)
    known = [
        (v.name, v.budget or 0, v.difference)
        for v in verdicts
        if v.difference is not None and v.name in names
    ]
    budgets = sorted({budget for _, budget, _ in known})
    for k, (name, label) in enumerate(names.items()):
        own = [(budget, difference) for of, budget, difference in known if of == name]
        at = [budgets.index(budget) + 0.16 * (k - (len(names) - 1) / 2) for budget, _ in own]
        middle = np.array([100 * d.estimate for _, d in own])
        ends = np.array([(100 * d.low, 100 * d.high) for _, d in own]).reshape(-1, 2)
        away = np.abs(ends.T - middle)
        colour = plots.COLOURS[(k + 1) % len(plots.COLOURS)]  # the first is that of real tiles alone
        axes.errorbar(at, middle, away, fmt="o", ms=4, lw=1.4, color=colour, label=label)
    axes.set_xticks(range(len(budgets)), [f"{budget:g}" for budget in budgets])
    axes.axhline(0, color="k", lw=0.8)
    axes.set(xlabel="real training images per class", ylabel="gain, percentage points")
    axes.legend()
    return cast("Figure", axes.figure)


def confusions(rows: dict, *, figure: Figure | None = None) -> Figure:
    """Confusion matrices side by side, mean over seeds, in per cent of the true class.

    Args:
        rows: ``{title: rows}`` of one setting each.
        figure: Where to draw.
    """
    import matplotlib.pyplot as plt

    figure = figure or plt.figure(figsize=(3.1 * len(rows) + 0.4, 3.6))
    panels = figure.subplots(1, len(rows), squeeze=False, sharey=True)[0]
    for axes, (title, part) in zip(panels, rows.items(), strict=True):
        classes = list(part["class_names"].iloc[0])
        side = len(classes)
        mean = np.mean([np.reshape(list(matrix), (side, side)) for matrix in part["confusion"]], axis=0)
        share = 100 * mean / mean.sum(1, keepdims=True)
        axes.imshow(share, cmap="Blues", vmin=0, vmax=100)
        for i, j in zip(*np.nonzero(share >= 8), strict=True):
            axes.text(j, i, f"{share[i, j]:.0f}", ha="center", va="center", fontsize=6,
                      color="white" if share[i, j] > 55 else "black")  # fmt: skip
        axes.set_xticks(range(side), classes, rotation=90, fontsize=6)
        axes.set_yticks(range(side), classes, fontsize=6)
        axes.set_title(f"{title}\n{100 * part['accuracy'].mean():.1f} % right", fontsize=8)
        axes.grid(False)
    panels[0].set_ylabel("true class")
    return figure


def bars(rows: dict, *, axes: Axes | None = None, ylabel: str = "test accuracy, %") -> Figure:
    """Mean accuracy of several settings, a dot per seed."""
    axes = _axes(axes)
    for x, (colour, (_, part)) in enumerate(zip(_cycle(), rows.items(), strict=False)):
        axes.bar(x, 100 * part["accuracy"].mean(), 0.6, color=colour, alpha=0.75)
        axes.plot([x] * len(part), 100 * part["accuracy"], "k.", ms=4)
    axes.set_xticks(range(len(rows)), list(rows), fontsize=8)
    axes.set_ylabel(ylabel)
    axes.set_ylim(0, None)  # a bar that is cut off tells a wrong ratio
    return cast("Figure", axes.figure)


def _axes(axes=None, size=None):
    if axes is not None:
        return axes
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=size)[1]


def _cycle():
    return plots.COLOURS * 4
