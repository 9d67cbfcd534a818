"""Figures that the lessons draw more than once; each returns a matplotlib ``Figure`` with its badge."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from rs_course import plots

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from rs_course.diffusion.schedules import Schedule


def clouds(
    points: dict,
    *,
    provenance: str | Sequence[str],
    colours: str | Sequence[str] = plots.COLOURS[1],
    behind: np.ndarray | None = None,
    limit: float = 2.9,
    width: float = 9.6,
) -> Figure:
    """Scatter plots of points in the plane, side by side.

    Args:
        points: Title to points ``[N, 2]``.
        provenance: Of the figure.
        colours: One colour, a colour for each title, or a number per point.
        behind: Points ``[M, 2]`` drawn in grey under each panel.
        limit: Both axes run from −limit to limit.
        width: Of the figure in inches.
    """
    fig, axes = plots.subplots(
        1, len(points), figsize=(width, width / len(points) + 0.5), sharex=True, sharey=True, squeeze=False
    )
    for ax, (title, x) in zip(axes[0], points.items(), strict=True):
        if behind is not None:
            ax.scatter(*np.asarray(behind).T, s=1, color="0.75")
        shade = colours[title] if isinstance(colours, dict) else colours
        paint = {"color": shade} if isinstance(shade, str) else {"c": shade, "cmap": "Dark2"}
        ax.scatter(*np.asarray(x).T, s=2, **paint)
        ax.set(title=title, aspect="equal", xlim=(-limit, limit), ylim=(-limit, limit))
    return plots.badge(fig, provenance)


def arrows(grid: np.ndarray, fields: dict, *, provenance: str | Sequence[str], width: float = 8) -> Figure:
    """Vector fields in the plane over the points they belong to, side by side.

    Args:
        grid: Where the arrows start, ``[M, 2]``.
        fields: Title to a pair (points ``[N, 2]``, arrows ``[M, 2]``).
        provenance: Of the figure.
        width: Of the figure in inches.
    """
    points = {title: cloud for title, (cloud, _) in fields.items()}
    fig = clouds(points, provenance=provenance, colours="0.75", limit=2.7, width=width)
    for ax, (_, vectors) in zip(fig.axes, fields.values(), strict=True):
        ax.quiver(
            *np.asarray(grid).T, *np.asarray(vectors).T, angles="xy", width=0.005, color=plots.COLOURS[1]
        )
    return fig


def paths(
    walks: dict, *, provenance: str | Sequence[str], behind: np.ndarray | None, width: float = 7.0
) -> Figure:
    """Ways of points through the plane, from white dots to black ones.

    Args:
        walks: Title to positions ``[steps, N, 2]``.
        provenance: Of the figure.
        behind: Points ``[M, 2]`` drawn in grey.
        width: Of the figure in inches.
    """
    fig = clouds(
        {title: walk[-1] for title, walk in walks.items()}, provenance=provenance, behind=behind, width=width
    )
    for ax, walk in zip(fig.axes, walks.values(), strict=True):
        ax.plot(*np.asarray(walk).transpose(2, 0, 1), lw=0.8)
        ax.plot(*np.asarray(walk[0]).T, "o", mfc="white", mec="black", ms=5)
        ax.plot(*np.asarray(walk[-1]).T, "o", color="black", ms=5)
    return fig


def ways_from(
    start: np.ndarray,
    denoise: Callable,
    schedule: Schedule,
    *,
    provenance: str | Sequence[str],
    behind: np.ndarray | None,
    seed: int = 0,
) -> Figure:
    """Six ways of DDPM from one start, beside six of DDIM from it and from points close by.

    Args:
        start: x and y.
        denoise: As the samplers ask for it.
        schedule: Of the noise.
        provenance: Of the figure.
        behind: Points ``[M, 2]`` drawn in grey.
        seed: Of DDPM's noise and of the points close by.
    """
    import torch

    from rs_course import seeds
    from rs_course.diffusion import samplers

    same = torch.tensor([start], dtype=torch.float64).repeat(6, 1)
    near = same.clone()
    near[1:] += 0.1 * seeds.noise((5, 2), seed=seed, dtype=torch.float64)
    ways = {
        "DDPM: one start": (same, samplers.ddpm(denoise, same, schedule, steps=50, seed=seed)),
        "DDIM: starts close by": (near, samplers.ddim(denoise, near, schedule, steps=50)),
    }
    walks = {title: torch.stack([x, *(step.xt for step in steps)]) for title, (x, steps) in ways.items()}
    return paths(walks, provenance=provenance, behind=behind)


def losses(curve: Sequence[float], by_step: dict, *, provenance: str | Sequence[str]) -> Figure:
    """A training curve beside the loss at each step t; the line named "best possible" is the floor of both.

    Args:
        curve: Loss of every training step.
        by_step: Name to losses at evenly spaced t = 0 … 999.
        provenance: Of the figure.
    """
    fig, (left, right) = plots.subplots(1, 2, figsize=(8.6, 2.9))
    left.plot(curve, lw=0.4)
    left.axhline(np.mean(by_step["best possible"]), color="black", ls="--", label="best possible")
    left.set(xlabel="training step", ylabel="loss", ylim=(0, 1))
    left.legend()
    for name, values in by_step.items():
        style = {"color": "black", "ls": "--"} if name == "best possible" else {}
        right.plot(np.linspace(0, 1000, len(values), endpoint=False), values, label=name, **style)
    right.set(xlabel="t", ylabel="loss at step t")
    right.legend()
    return plots.badge(fig, provenance)


def error_lines(
    evaluations: Sequence[float],
    errors: dict,
    *,
    provenance: str | Sequence[str],
    fit_from: int | None = None,
    cost: str = "network evaluations (NFE)",
) -> Figure:
    """Error against cost, on log-log axes.

    Args:
        evaluations: Cost, one per point of a line.
        errors: Name of the sampler to its errors.
        provenance: Of the figure.
        fit_from: Write the slope, fitted from this point on, beside each name.
        cost: What ``evaluations`` counts.
    """
    from matplotlib.ticker import LogLocator

    fig, ax = plots.subplots(figsize=(5.6, 3.4))
    for name, values in errors.items():
        label = name
        if fit_from is not None:
            label += f": slope {slope(evaluations[fit_from:], values[fit_from:]):.1f}"
        ax.loglog(evaluations, values, "o-", label=label)
    ax.set(xlabel=cost, ylabel="distance to the exact end (RMS)")
    ax.set_xticks(evaluations, [str(n) for n in evaluations])
    ax.minorticks_off()
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))  # else there may be one tick in all
    ax.yaxis.set_major_formatter("{x:g}")
    ax.legend()
    return plots.badge(fig, provenance)


def slope(x: ArrayLike, y: ArrayLike) -> float:
    """Slope of the straight line through log y over log x: minus the order of a method."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def steps_on_a_curve(
    slope: Callable, start: float, times: Sequence[float], *, provenance: str | Sequence[str]
) -> tuple[Figure, dict[str, tuple[int, float]]]:
    """Euler, Heun and a two-step method on one curve, with every slope that they ask for.

    Args:
        slope: ``slope(x, t)``, dx/dt as a number.
        start: x at ``times[0]``.
        times: Decreasing or increasing times, one more than there are steps.
        provenance: Of the figure.

    Returns:
        The figure, and for each method its number of slopes and its distance to the exact end.
    """
    fine = np.linspace(times[0], times[-1], 2001)
    exact = [start]
    for t, s in pairwise(fine):  # Heun with so small a step that no eye sees its error
        here = slope(exact[-1], t)
        exact.append(exact[-1] + (s - t) * (here + slope(exact[-1] + (s - t) * here, s)) / 2)
    fig, axes = plots.subplots(1, 3, figsize=(9, 2.8), sharey=True)
    found = {}
    for axis, (name, rule) in zip(axes, _RULES.items(), strict=True):
        axis.plot(fine, exact, color="#909090", lw=3, label="exact")
        x, before, asked = start, None, 0
        for t, s in pairwise(times):
            here, asked = slope(x, t), asked + 1
            step, trial = rule(slope, x, t, s, here, before)
            if trial is not None:  # where the second slope is asked
                asked += 1
                axis.plot([t, s], [x, trial], ":", color=plots.COLOURS[4])
                axis.plot([s], [trial], "o", mfc="white", color=plots.COLOURS[4], ms=5)
            axis.plot([t, s], [x, x + step], color=plots.COLOURS[1])
            axis.plot([t], [x], "o", color=plots.COLOURS[1], ms=5)
            x, before = x + step, (here, t)
        axis.plot(times[-1:], [x], "s", color="black", ms=5, label="end")
        axis.set(title=f"{name}: {asked} slopes", xlabel="t, from noise (right) to image (left)")
        found[name] = (asked, abs(x - exact[-1]))
    axes[0].set_ylabel("x")
    axes[0].legend()
    plots.badge(fig, provenance)
    return fig, found


def _two_step(slope, x, t, s, here, before):
    """Adams and Bashforth's: the slope is continued in a straight line from the one before."""
    if before is None:
        return (s - t) * here, None
    return (s - t) * (here + (s - t) / (t - before[1]) * (here - before[0]) / 2), None


def _heun(slope, x, t, s, here, before):
    trial = x + (s - t) * here
    return (s - t) * (here + slope(trial, s)) / 2, trial


_RULES = {
    "Euler": lambda slope, x, t, s, here, before: ((s - t) * here, None),
    "Heun": _heun,
    "two-step": _two_step,
}
