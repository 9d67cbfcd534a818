"""Figures of the lesson on alignment; each returns a matplotlib ``Figure`` with its badge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from rs_course import plots

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def learning(
    losses: Sequence[float], guessing: float, matrices: dict, *, provenance: str | Sequence[str]
) -> Figure:
    """A loss beside similarity matrices of pairs, image by caption.

    Args:
        losses: One number per step.
        guessing: Loss of a scorer that cannot tell.
        matrices: Title to cosines ``[N, N]``.
        provenance: Of the figure.
    """
    figure, axes = plots.subplots(
        1, 1 + len(matrices), figsize=(8.6, 2.9), width_ratios=(1.2, *[1] * len(matrices))
    )
    axes[0].plot(losses)
    axes[0].axhline(guessing, color="0.6", ls=":")
    axes[0].set(xlabel="step", ylabel="loss (dotted: guessing)")
    for axis, (title, matrix) in zip(axes[1:], matrices.items(), strict=True):
        shown = _matrix(axis, matrix, vmin=-1, cmap="RdBu_r")
        axis.set(title=title, xlabel="caption", ylabel="image")
    figure.colorbar(shown, ax=axes[-1], label="cosine", shrink=0.8)
    return plots.badge(figure, provenance)


def matrix(values: ArrayLike, *, title: str = "", provenance: str | Sequence[str]) -> Figure:
    """One matrix of probabilities, image by caption."""
    figure, axis = plots.subplots(figsize=(4.2, 3.4))
    shown = _matrix(axis, values)
    axis.set(title=title, xlabel="caption", ylabel="image")
    for ticks in (axis.xaxis, axis.yaxis):
        ticks.get_major_locator().set_params(integer=True)
    figure.colorbar(shown, label="probability", shrink=0.8)
    return plots.badge(figure, provenance)


def confusion(
    labels: ArrayLike, guesses: ArrayLike, classes: Sequence, *, provenance: str | Sequence[str]
) -> Figure:
    """Share of each true class (row) that was taken for each class (column), in percent where it is not 0.

    Args:
        labels, guesses: Class numbers ``[N]``.
        classes: Names.
        provenance: Of the figure.
    """
    count = len(classes)
    table = np.zeros((count, count))
    np.add.at(table, (np.asarray(labels), np.asarray(guesses)), 1)
    figure, axis = plots.subplots(figsize=(5.4, 4.6))
    shares = table / table.sum(1, keepdims=True).clip(1)
    shown = _matrix(axis, shares)
    for (row, column), share in np.ndenumerate(shares):
        if share:
            colour = "white" if share > 0.5 else "black"
            axis.text(column, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=7, color=colour)
    figure.colorbar(shown, label="share of the true class", shrink=0.8)
    axis.set_title("in percent; blank: none")
    axis.set_xticks(range(count), classes, rotation=60, ha="right", rotation_mode="anchor")
    axis.set_yticks(range(count), classes)
    axis.set(xlabel="chosen sentence", ylabel="true class")
    return plots.badge(figure, provenance)


def rates(panels: dict, *, provenance: str | Sequence[str]) -> Figure:
    """Shares with their intervals, judge beside judge.

    Args:
        panels: Title to ``{judge: {question: {"percent", "low", "high"}}}``.
        provenance: Of the figure.
    """
    widths = [len(next(iter(panel.values()))) for panel in panels.values()]
    figure, axes = plots.subplots(1, len(panels), figsize=(8.6, 3.3), width_ratios=widths, sharey=True)
    for axis, (title, panel) in zip(axes, panels.items(), strict=True):
        for shift, (judge, rows), colour in zip((-0.15, 0.15), panel.items(), plots.COLOURS, strict=False):
            for x, row in enumerate(rows.values()):
                axis.plot([x + shift] * 2, [row["low"], row["high"]], color=colour)
                axis.plot(x + shift, row["percent"], "o", color=colour, label=None if x else judge)
        axis.set_xticks(range(len(rows)), rows, rotation=20, ha="right", rotation_mode="anchor")
        axis.axhline(50, color="0.6", ls=":")
        axis.set(title=title, ylim=(0, 103), xlim=(-0.5, len(rows) - 0.5))
    axes[0].set_ylabel("prefers the true sentence, %")
    axes[0].legend(loc="lower left")
    return plots.badge(figure, provenance)


def trade_off(generators: dict, true: dict, *, provenance: str | Sequence[str]) -> Figure:
    """Fréchet distance against agreement along guidance, and precision and recall against guidance.

    Args:
        generators: Name to ``{guidance: measured}``, measured as ``benchmarks/alignment_truth.py`` stores it.
        true: The same numbers of true tiles.
        provenance: Of the figure.
    """
    figure, axes = plots.subplots(1, 2, figsize=(8.6, 3.4))
    for (name, line), colour in zip(generators.items(), plots.COLOURS, strict=False):
        points = [(row["CLIP score, mini-clip"]["mean"], row["FID, mini-clip-b"]) for row in line.values()]
        axes[0].plot(*zip(*points, strict=True), "o-", color=colour, label=name)
        scales = [float(scale) for scale in line]
        for measure, style, label in (("precision", "o-", name), ("recall", "o--", None)):
            values = [row[measure] for row in line.values()]
            axes[1].plot(scales, values, style, ms=4, color=colour, label=label)
    star = true["CLIP score, mini-clip"]["mean"], true["FID, mini-clip-b"]
    axes[0].plot(*star, "k*", ms=11, label="true tiles")
    axes[0].set(xlabel="CLIP score (100 cos) of mini-clip", ylabel="FID in mini-clip-b's features")
    axes[0].set_title("distance against score; numbers: guidance scale")
    axes[1].set_title("precision and recall")
    axes[0].legend()
    axes[1].set(xlabel="guidance scale", ylabel="share of tiles", ylim=(0, 1))
    for measure, style in (("precision", "-"), ("recall", "--")):
        axes[1].plot([], [], style, color="0.4", label=measure)
    axes[1].legend(loc="lower left")
    plots.badge(figure, provenance)
    _number(axes[0], list(generators.values()))
    return figure


def _number(axis, names: Sequence) -> None:
    """Write a name beside each point of the first lines, in the direction where most room is left."""
    axis.figure.draw_without_rendering()  # only now it is known where a point lies on the page
    lines = [axis.transData.transform(line.get_xydata()) for line in axis.lines]
    taken = np.concatenate([*lines, *(np.linspace(a[:-1], a[1:], 40).reshape(-1, 2) for a in lines)])
    turn = np.arange(0, 2 * np.pi, np.pi / 8)
    ring = 11 * np.stack([np.cos(turn), np.sin(turn)], axis=1)  # pixels
    for line, points, own in zip(axis.lines, lines, names, strict=False):
        for name, point in zip(own, points, strict=True):
            room = np.linalg.norm(point + ring[:, None] - taken, axis=2).min(1)
            place = point + ring[room.argmax()]
            at = axis.transData.inverted().transform(place)
            axis.text(*at, name, ha="center", va="center", fontsize=8, color=line.get_color())
            taken = np.concatenate([taken, place[None]])


def curves(lines: dict, *, provenance: str | Sequence[str]) -> Figure:
    """Scores (100 cos) by step.

    Args:
        lines: Scorer to one number per step.
        provenance: Of the figure.
    """
    figure, axis = plots.subplots(figsize=(5.4, 3))
    for name, line in lines.items():
        axis.plot(line, label=name)
    axis.set(xlabel="step", ylabel="CLIP score (100 cos)")
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.legend()
    return plots.badge(figure, provenance)


def bias(
    sizes: Sequence[float],
    values: ArrayLike,
    extrapolated: Sequence[float],
    *,
    provenance: str | Sequence[str],
) -> Figure:
    """A distance against one over the number of tiles, with the line that is extrapolated to infinitely many.

    Args:
        sizes, values: Numbers of tiles, and the distance at each.
        extrapolated: What :func:`rs_course.metrics.fid_infinity` returned.
        provenance: Of the figure.
    """
    figure, axis = plots.subplots(figsize=(5.4, 3))
    axis.plot([1 / n for n in sizes], values, "o-", label="measured")
    ends = np.array([0, 1 / min(extrapolated.sizes)])
    axis.plot(ends, extrapolated + extrapolated.slope * ends, "k:", lw=1)
    axis.plot(0, extrapolated, "k*", ms=10, label="extrapolated")
    axis.set(xlabel="1 / number of tiles", ylabel="FID")
    axis.legend()
    return plots.badge(figure, provenance)


def noticed(
    z: ArrayLike, grades: dict, metrics: Sequence[str], *, provenance: str | Sequence[str], limit: float = 3.0
) -> Figure:
    """Table of damages by metrics: the mildest grade that a metric notices, and which way it moves.

    Args:
        z: Deviations ``[damages, metrics, grades]`` in standard deviations of unchanged sets.
        grades: Name of each damage to its grades, mild to strong.
        metrics: Names.
        provenance: Of the figure.
        limit: From how many standard deviations on a deviation counts as noticed.
    """
    z = np.asarray(z)
    seen = abs(z) > limit
    count = z.shape[2]
    first = np.where(seen.any(2), seen.argmax(2), count)
    figure, axis = plots.subplots(figsize=(8.8, 4.4))
    shown = _matrix(axis, first, vmin=-1.5, vmax=count, cmap="YlOrRd_r", aspect="auto")
    scale = figure.colorbar(shown, ticks=range(count + 1), label="first grade that is noticed, 1: mildest")
    scale.ax.set_yticklabels([*range(1, count + 1), "blind"])
    scale.ax.set_ylim(count, -0.5)
    for (row, column), grade in np.ndenumerate(first):
        text = "blind"
        if grade < count:
            text = f"{list(grades.values())[row][grade]} {'↑' if z[row, column, grade] > 0 else '↓'}"
        axis.text(column, row, text, ha="center", va="center", fontsize=7)
    axis.set_xticks(range(len(metrics)), metrics, rotation=30, ha="right", rotation_mode="anchor")
    axis.set_yticks(range(len(grades)), grades)
    axis.set_title("mildest grade that is noticed; ↑ the metric rises, ↓ it falls")
    return plots.badge(figure, provenance)


def _matrix(axis, values, *, vmin=0.0, vmax=1.0, cmap="Blues", **options):
    axis.grid(False)
    return axis.imshow(np.asarray(values), vmin=vmin, vmax=vmax, cmap=cmap, **options)
