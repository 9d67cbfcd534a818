"""Figures of a study; each takes rows or verdicts and draws on axes that it makes or is given."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import cycle
from textwrap import fill
from typing import TYPE_CHECKING, cast

import numpy as np

from rs_course import plots
from rs_course.study.comparisons import curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from rs_course.study.hypotheses import Verdict

_VERDICT_COLOURS = {"shown": "#009E73", "not shown": "#8A8A8A", "contradicted": "#D55E00"}
# An arm, or a number of real images, keeps its colour through the course, whatever is drawn beside it.
_COLOURS = {
    label: colour
    for colour, labels in {
        "#0072B2": ("real tiles alone", "real"),
        "#D55E00": (
            "+ generated, by one that saw everything", "generator saw everything", "mixed",
            "real + 4 × generated", "real + 4 × inpainted",
        ),
        "#009E73": (
            "+ generated, by one that saw these tiles only", "generator saw these tiles only",
            "real + 4 × SDEdit",
        ),
        "#CC79A7": ("+ generated, by one that saw a simulation only", "generator saw a simulation only"),
        "#E69F00": ("+ retrieved real tiles, labelled by CLIP",),
        "#56B4E9": ("+ generated, labels shuffled", "wrong labels (control)", "shuffled"),
        "#882255": ("generated alone", "inpainted alone", "synthetic"),
        "#7F7F7F": ("copies (control)", "duplicate"),
        # The more real images, the darker.
        "#FCA50A": ("1 per class",), "#DD513A": ("4 per class",), "#932667": ("16 per class",),
        "#420A68": ("100 per class",), "#000000": ("1000 per class",),
    }.items()
    for label in labels
}  # fmt: skip


def colours(labels: Iterable[str]) -> dict[str, str]:
    """A colour for each label: the one that it has all through the course, or one that is free here."""
    labels = list(labels)
    taken = {_COLOURS[label] for label in labels if label in _COLOURS}
    free = cycle([colour for colour in plots.COLOURS if colour not in taken] or plots.COLOURS)
    return {label: _COLOURS.get(label) or next(free) for label in labels}


def learning_curves(
    lines: dict,
    *,
    x: str = "real_per_class",
    xlabel: str = "real training images per class",
    axes: Axes | None = None,
) -> Figure:
    """Accuracy against the number of real images: a line per name, a dot per seed, a band of one deviation.

    Rows of one setting that no real image trained have no place on that axis: a line right across it.

    Args:
        lines: ``{name: rows}``.
        x: Column of the horizontal axis, such as ``"steps"``.
        xlabel: What it is called.
        axes: Where to draw.
    """
    axes, own, budgets = _axes(axes), colours(lines), set()
    for name, rows in lines.items():
        points, colour = curve(rows, x), own[name]
        if _without_real(rows, x):
            (only,) = points.values()
            low, high = 100 * (only.mean - only.std), 100 * (only.mean + only.std)
            axes.axhline(100 * only.mean, ls="--", color=colour, label=name)
            end, right = [1] * only.n, axes.get_yaxis_transform()
            axes.plot(end, 100 * rows["accuracy"], ".", ms=3, color=colour, transform=right, clip_on=False)
            if only.n > 1:
                axes.axhspan(low, high, color=colour, alpha=0.15, lw=0)
            continue
        budgets |= set(points)
        at = np.array(list(points))
        mean = np.array([100 * p.mean for p in points.values()])
        deviation = np.array([100 * p.std if p.n > 1 else 0 for p in points.values()])
        axes.plot(at, mean, "-o", ms=3.5, color=colour, label=name)
        axes.fill_between(at, mean - deviation, mean + deviation, color=colour, alpha=0.15, lw=0)
        axes.plot(rows[x], 100 * rows["accuracy"], ".", ms=3, color=colour, alpha=0.5)
    values = sorted(budgets)
    axes.set_xscale("log")
    apart = [v for k, v in enumerate(values) if k == 0 or v > 1.3 * values[k - 1]]  # labels that do not touch
    axes.set_xticks(apart, [f"{value:g}" for value in apart])
    axes.minorticks_off()
    parts = {part for rows in lines.values() if "part" in rows for part in rows["part"].dropna()}
    judged = "validation" if parts == {"validation"} else "test"
    axes.set(xlabel=xlabel, ylabel=f"{judged} accuracy, %\nband: ± one standard deviation")
    if lines:
        axes.legend()
    return cast("Figure", axes.figure)


def table(lines: dict, *, x: str = "real_per_class", xlabel: str = "real training images per class") -> str:
    """What :func:`learning_curves` draws, a line per name: % right, ± one deviation of the seeds."""
    told = [f"{xlabel}: % right ± standard deviation of the seeds"]
    for name, rows in lines.items():
        points = {f"{at:g}": p for at, p in curve(rows, x).items()}
        if _without_real(rows, x):
            made = rows["n_synthetic"].iloc[0] / len(rows["class_names"].iloc[0])
            points = {f"0 ({made:g} generated)": p for p in points.values()}
        entries = [
            f"{at}: {100 * p.mean:.0f}" + (f" ± {100 * p.std:.0f}" if p.n > 1 else "")
            for at, p in points.items()
        ]
        told.append(f"{name:46} {'   '.join(entries)}")
    return "\n".join(told)


def one_of_each(shown: dict[str, tuple], classes: Sequence[str]) -> Figure:
    """A tile of each class from several sources, one source below the other, some classes side by side.

    Args:
        shown: ``{source: (one image per class, provenance)}``, as :func:`rs_course.study.examples` returns.
        classes: Their names.
    """
    columns = max(k for k in range(1, 8) if len(classes) % k == 0)
    order = np.arange(len(shown) * len(classes)).reshape(len(shown), -1, columns).swapaxes(0, 1).ravel()
    titles = [*classes, *[""] * (len(order) - len(classes))]
    badges = [provenance for _, provenance in shown.values() for _ in classes]
    return plots.tiles(
        np.concatenate([images for images, _ in shown.values()])[order],
        [titles[i] for i in order],
        provenance=[badges[i] for i in order],
        columns=columns,
        scale=1.28,
        row_labels=[*shown] * (len(classes) // columns),
    )


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
        names: What to call each; by default its text and budget. Long ones are broken into lines.
        xlabel: What the differences are of.
    """
    names = [fill(name, 50) for name in names or [verdict.title for verdict in verdicts]]
    named = zip(names, verdicts, strict=True)
    drawn = [(name, v.verdict, v.difference) for name, v in named if v.difference is not None]
    lines = sum(1 + name.count("\n") for name, *_ in drawn)
    axes = _axes(axes, (6.8, 0.16 * (len(drawn) + lines) + 0.9))
    for y, (_, verdict, difference) in enumerate(drawn):
        colour = _VERDICT_COLOURS[verdict]
        axes.plot([100 * difference.low, 100 * difference.high], [y, y], color=colour, lw=2)
        axes.plot(100 * difference.estimate, y, "o", color=colour, ms=5)
    axes.axvline(0, color="k", lw=0.8)
    axes.set_yticks(range(len(drawn)), [name for name, *_ in drawn])
    axes.set_ylim(len(drawn) - 0.4, -0.6)  # the first on top, and room for labels of several lines
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
    budgets, own_colour = sorted({budget for _, budget, _ in known}), colours(names.values())
    for k, (name, label) in enumerate(names.items()):
        own = [(budget, difference) for of, budget, difference in known if of == name]
        at = [budgets.index(budget) + 0.16 * (k - (len(names) - 1) / 2) for budget, _ in own]
        middle = np.array([100 * d.estimate for _, d in own])
        ends = np.array([(100 * d.low, 100 * d.high) for _, d in own]).reshape(-1, 2)
        away = np.abs(ends.T - middle)
        axes.errorbar(at, middle, away, fmt="o", ms=4, lw=1.4, color=own_colour[label], label=label)
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

    figure = figure or plt.figure(figsize=(2.5 * len(rows) + 1.4, 4.3))
    panels = figure.subplots(1, len(rows), squeeze=False, sharey=True)[0]
    for axes, (title, part) in zip(panels, rows.items(), strict=True):
        classes = list(part["class_names"].iloc[0])
        side = len(classes)
        mean = np.mean([np.reshape(list(matrix), (side, side)) for matrix in part["confusion"]], axis=0)
        share = 100 * mean / mean.sum(1, keepdims=True)
        drawn = axes.imshow(share, cmap="Blues", vmin=0, vmax=100)
        for i, j in zip(*np.nonzero(share >= 8), strict=True):
            axes.text(j, i, f"{share[i, j]:.0f}", ha="center", va="center", fontsize=7,
                      color="white" if share[i, j] > 55 else "black")  # fmt: skip
        axes.set_xticks(range(side), classes, rotation=90, fontsize=8)
        axes.set_yticks(range(side), classes, fontsize=8)
        axes.set_title(f"{fill(title, 34)}\n{100 * part['accuracy'].mean():.1f} % right", fontsize=9)
        axes.grid(False)
    panels[0].set_ylabel("true class")
    panels[len(rows) // 2].set_xlabel("predicted class")
    figure.colorbar(drawn, ax=panels, shrink=0.6, pad=0.01, label="% of the true class (below 8: no number)")
    return figure


def bars(rows: dict, *, axes: Axes | None = None, ylabel: str = "test accuracy, %") -> Figure:
    """Mean accuracy of several settings, a dot per seed."""
    axes, own = _axes(axes), colours(rows)
    for x, (name, part) in enumerate(rows.items()):
        axes.bar(x, 100 * part["accuracy"].mean(), 0.6, color=own[name], alpha=0.75)
        axes.plot([x] * len(part), 100 * part["accuracy"], "k.", ms=4)
    axes.set_xticks(range(len(rows)), [fill(name, 16) for name in rows], fontsize=8)
    axes.set_ylabel(ylabel)
    axes.set_ylim(0, None)  # a bar that is cut off tells a wrong ratio
    return cast("Figure", axes.figure)


def _without_real(rows, x: str) -> bool:
    """Whether ``rows`` are one setting on the axis of real images that no real image trained."""
    none_real = "n_real" in rows and not rows["n_real"].any()
    return x == "real_per_class" and none_real and rows[x].nunique() == 1


def _axes(axes=None, size=None):
    if axes is not None:
        return axes
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=size)[1]
