"""Figures about generators that the lessons draw; each returns a matplotlib ``Figure`` with its badge.

A sweep is a grid of tiles in which one thing changes down the rows and another across the columns:

>>> look = sweep(model, "a river", rows={"guidance": [1, 4]}, columns={"noise": range(6)})  # doctest: +SKIP
>>> look.figure(provenance="generated · mini-diffusionsat · seed 0")  # doctest: +SKIP

Everything else stays the same, the initial noise included, so that what differs between two tiles of a row is
the column's doing.
"""

from __future__ import annotations

import calendar
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from numpy.typing import ArrayLike

from rs_course import plots, seeds
from rs_course.checkpoints.prompts import FIELDS

if TYPE_CHECKING:
    from rs_course.checkpoints.checkpoint import Checkpoint

_UNITS = {"cloud_cover": "cloud cover (share)", "gsd": "gsd (m per pixel)", "lat": "latitude (°N)"}


def guidance(
    scales: Sequence[float],
    recognised: ArrayLike,
    variety: ArrayLike,
    *,
    trials: int,
    reference: tuple[int, int, Sequence[float]],
    provenance: str | Sequence[str],
):
    """What guidance buys and costs: recognised tiles on the left, variety within a class on the right.

    Args:
        scales: Guidance scales.
        recognised: Number of tiles recognised at each scale, out of ``trials``.
        variety: Distance between tiles of a class, one number per class, at each scale.
        trials: Tiles at each scale.
        reference: ``(number recognised, number of tiles, distance in each class)`` of true tiles, drawn
            dashed with a grey band: the 95 % interval.
        provenance: Of the figure.
    """
    from rs_course.metrics import wilson

    figure, (left, right) = plots.subplots(1, 2, figsize=(8, 2.8))
    intervals = [wilson(hits, trials) for hits in recognised]
    shares = [interval.estimate for interval in intervals]
    below = [interval.estimate - interval.low for interval in intervals]
    above = [interval.high - interval.estimate for interval in intervals]
    left.errorbar(scales, shares, yerr=[below, above], fmt="o-", capsize=3)
    left.set(title=f"share recognised, {trials} tiles a scale, 95 %", ylim=(0, 1.03))
    known, count, true_variety = reference
    *means, true_mean = [statistics.mean(row) for row in (*variety, true_variety)]
    *errors, true_error = [1.96 * statistics.stdev(row) / len(row) ** 0.5 for row in (*variety, true_variety)]
    right.errorbar(scales, means, yerr=errors, fmt="o-", capsize=3, color=plots.COLOURS[1])
    right.set(title=f"cosine distance within a class, {len(variety[0])} classes, 95 %", ylim=(0, None))
    share = wilson(known, count)
    bands = (
        (share.estimate, share.low, share.high),
        (true_mean, true_mean - true_error, true_mean + true_error),
    )
    for axis, (true, low, high) in zip((left, right), bands, strict=True):
        axis.axhspan(low, high, color="k", alpha=0.08, lw=0)
        axis.axhline(true, color="k", ls="--", lw=1)
        axis.annotate(
            f"{count} true tiles",
            (max(scales), true),
            (0, -3),
            textcoords="offset points",
            ha="right",
            va="top",
            fontsize=8,
        )
        axis.set(xlabel="guidance scale", xticks=list(scales))
    return plots.badge(figure, provenance)


def obedience(results: dict, *, provenance: str | Sequence[str]):
    """Told and done: what each metadata field does to generated and to simulated tiles.

    Args:
        results: Part ``metadata`` of ``data/results/generator_obedience.json``.
        provenance: Of the figure.
    """
    figure, axes = plots.subplots(1, len(results), figsize=(2.2 * len(results), 2.5))
    for axis, (field, row) in zip(axes, results.items(), strict=True):
        axis.plot(row["values"], row["simulator"], "k--", label="simulator")
        axis.plot(row["values"], row["generated"], "o-", color=plots.COLOURS[1], ms=4, label="generated")
        axis.set_title(f"r = {row['correlation']:.2f}")
        axis.set(xlabel=_UNITS.get(field, field), ylabel=row["measure"])
    axes[0].legend()
    counts = {row["tiles per value"] for row in results.values()}
    return plots.badge(figure, f"{provenance} · {', '.join(map(str, counts))} tiles a point")


def speed(record: dict, *, provenance: str | Sequence[str]):
    """Quality against cost of the settings that were tried, and how many times faster than plain diffusers.

    Args:
        record: One checkpoint's part of ``data/results/sampling_speed.json``.
        provenance: Of the figure.
    """
    import json

    figure, (left, right) = plots.subplots(1, 2, figsize=(8.4, 2.9))
    fid = record["equal_quality"]["fid"]
    tried = {name: value for name, value in fid.items() if name.startswith("{")}
    for sampler in dict.fromkeys(json.loads(name)["sampler"] for name in tried):
        points = [(_evaluations(json.loads(name)), v) for name, v in tried.items() if sampler in name]
        left.plot(*zip(*sorted(points), strict=True), "o", ms=4, label=sampler)
    for name, distance in tried.items():
        at, offset = (_evaluations(json.loads(name)), distance), (5, -4)
        left.annotate(
            _brief(json.loads(name)), at, offset, textcoords="offset points", va="top", fontsize=6.5
        )
    (plain, reference), *_ = ((name, value) for name, value in fid.items() if name.startswith("plain"))
    steps = record["equal_steps"]["steps"]
    left.plot([2 * steps], [reference], "ks", ms=4)
    left.axhline(reference, color="k", ls="--", lw=1, label=plain)
    left.axhline(fid["real against real"], color=plots.COLOURS[2], ls=":", label="real against real")
    left.set(xlabel="UNet evaluations per image", ylabel="FID (mini-clip features)", ylim=(0, None))
    left.set(title="distance against cost", xscale="log", xlim=(5, 250), xticks=(5, 10, 20, 50, 100, 200))
    left.get_xaxis().set_major_formatter("{x:g}")
    left.minorticks_off()
    left.legend()
    rows = {f"{steps} steps, {n}": r for n, r in record["equal_steps"]["16"].items()}
    if "speed" in record["equal_quality"]:
        chosen = record["equal_quality"]["chosen"]
        equal = f"FID as low: {chosen['sampler']}, {_brief(chosen)}"
        rows[equal] = record["equal_quality"]["speed"]["16"]["engine"]
    right.barh(list(rows), [row["times_plain"] for row in rows.values()])
    for y, row in enumerate(rows.values()):
        right.text(row["times_plain"], y, f" {row['images_per_s']:.1f}/s", va="center", fontsize=8)
    right.invert_yaxis()
    right.set(title="speed, 16 tiles at once", xlabel="times as fast as plain diffusers")
    right.margins(x=0.2)
    return plots.badge(figure, provenance)


def quality_table(results: dict) -> str:
    """``data/results/generator_quality.json`` as a Markdown table, generated beside real, and who judged."""
    parts = {name: part for name, part in results.items() if "classification accuracy score" in part}
    rows = [[""], ["---"] * (1 + 2 * len(parts))]
    for name, part in parts.items():
        rows[0] += [f"{name}: {part['checkpoint']}", f"{name}: real tiles"]

    def score(part, key):
        return part["classification accuracy score"][key]

    made, tested = results["made by"], {f"{part['tiles']['test']:,}" for part in parts.values()}
    measures = {
        "settings": (lambda p: _settings(p["settings"]), lambda p: ""),
        "tiles": (lambda p: f"{p['tiles']['generated']:,}", lambda p: f"{p['tiles']['as many real']:,}"),
        "prompted class recognised, % ± sd over seeds": (
            lambda p: _percent(p["recognised"]["seeds"]),
            lambda p: _percent(p["recognised real test tiles"]["seeds"]),
        ),
        "… true tiles through the autoencoder": (
            lambda p: "",
            lambda p: _percent(p["recognised real test tiles through mini-vae"]["seeds"]),
        ),
        "strongly guided: settings": (lambda p: _settings(p["guided"]["settings"]), lambda p: ""),
        "strongly guided: tiles": (lambda p: f"{p['guided']['tiles']:,}", lambda p: ""),
        "strongly guided: class recognised, %": (
            lambda p: _percent(p["guided"]["recognised"]["seeds"]),
            lambda p: "",
        ),
        "accuracy after training on these tiles only, %": (
            lambda p: _percent(score(p, "generated")),
            lambda p: _percent(score(p, "real")),
        ),
        "the same, as a share of real, %": (lambda p: f"{100 * score(p, 'ratio'):.1f}", lambda p: "100"),
        "FID": _pair("fid"),
        "FID within a class": _pair("fid within a class"),
        "KID": _pair("kid"),
        "precision": _pair("precision"),
        "recall": _pair("recall"),
        "nearer to a training tile than 99.9 % of unseen real ones, %": (
            lambda p: f"{100 * p['memorisation']['nearer than 99.9 % of unseen real']:.2f}",
            lambda p: "0.10",
        ),
    }
    for name, (generated, real) in measures.items():
        cells = [cell for part in parts.values() for cell in (generated(part), real(part))]
        rows.append([name, *cells])
    table = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    return (
        f"{table}\n\n*Judge of the class: {made['classifier']}, trained on real tiles; the real ones that it "
        f"judges are {' and '.join(tested)} unseen tiles. FID to recall: {made['features']}, one set of that "
        f"many tiles against the unseen ones, so without ±. Source: `{made['command']}`.*"
    )


def _percent(shares) -> str:
    """Mean and standard deviation over seeds, in percent."""
    return f"{100 * statistics.mean(shares):.1f} ± {100 * statistics.stdev(shares):.1f}"


def _settings(chosen: dict) -> str:
    from .samplers import SAMPLERS

    # Where no sampler was named, the checkpoint's own scheduler is noted by its class.
    names = {kind.__name__: name for name, (kind, own) in SAMPLERS.items() if not own}
    name = names.get(chosen["sampler"], chosen["sampler"])
    low, high = chosen["guidance_interval"]
    way = f"guidance {chosen['guidance']:g} from {low:g} to {high:g} of the way"
    return f"{name}, {chosen['steps']} steps, {way}"


def conditioning_table(results: dict) -> str:
    """What ``data/results/conditioning.json`` says of ``mini-crsdiff``'s maps, as a Markdown table."""
    rows = ["| given | pixels of the right land cover | roads (F1) | … more than by another place's maps |"]
    rows.append("| --- " * 4 + "|")
    for arm, found in results["maps"]["arms"].items():
        share, low, high = (100 * value for value in found["pixels"])
        cells = [arm, f"{share:.0f} % [{low:.0f}, {high:.0f}]", f"{found['road F1']:.2f}", ""]
        if more := found.get("more than by those"):
            points, (gain, *bounds) = [100 * value for value in more["pixels"]], more["road F1"]
            cells[3] = (
                f"{points[0]:+.0f} [{points[1]:.0f}, {points[2]:.0f}] points; "
                f"F1 {gain:+.2f} [{bounds[0]:.2f}, {bounds[1]:.2f}]"
            )
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def _pair(name: str):
    return tuple(lambda part, key=key: f"{part[name][key] + 0:.3g}" for key in ("generated", "real"))


def _evaluations(setting: dict) -> float:
    """UNet evaluations per image: two a step where guidance acts, else one."""
    low, high = setting["guidance_interval"]
    return setting["steps"] * (1 + high - low)


def _brief(setting: dict) -> str:
    """Steps and guidance interval in two short lines."""
    return "{} steps,\nguided {:g}–{:g}".format(setting["steps"], *setting["guidance_interval"])


# What an image has for itself; all other axes are settings of a whole call.
_PER_IMAGE = ("prompt", "negative_prompt", "noise", *FIELDS)
_WORDING = {
    "month": lambda m: calendar.month_abbr[m],
    "cloud_cover": lambda share: f"{share:.0%} cloud",
    "gsd": lambda metres: f"{metres:g} m",
    "lat": lambda degrees: f"{abs(degrees):g}° {'N' if degrees >= 0 else 'S'}",
    "steps": lambda n: f"{n} steps",
    "prompt": str,
    "negative_prompt": lambda text: f"not: {text}" if text else "nothing",
    "sampler": lambda name: name or "own sampler",
}


@dataclass(frozen=True)
class Sweep:
    """Tiles over two axes.

    Attributes:
        images: ``[R, C, 3, H, W]`` in [0, 1].
        row_labels: R strings.
        column_labels: C strings.
    """

    images: torch.Tensor
    row_labels: list[str]
    column_labels: list[str]

    def figure(
        self,
        *,
        provenance: str | Sequence[str],
        scale: float = 1.0,
        suptitle: str | None = None,
        row_labels: Sequence[str] | None = None,
    ):
        """The grid as a matplotlib ``Figure`` with its badge; ``row_labels`` replace the sweep's own."""
        from rs_course import plots

        rows, columns = self.images.shape[:2]
        titles = [*self.column_labels, *[""] * (columns * (rows - 1))]
        options = {"columns": columns, "scale": scale, "suptitle": suptitle, "provenance": provenance}
        labels = (row_labels or self.row_labels) if rows > 1 else None
        return plots.tiles(self.images.flatten(0, 1), titles, row_labels=labels, **options)


def sweep(
    checkpoint: Checkpoint,
    prompt: str,
    rows: Any = None,
    columns: Any = None,
    *,
    metadata: Any = None,
    seed: int = 0,
    **settings,
) -> Sweep:
    """Sample every combination of two axes.

    An axis is a dict with one entry, name to values. The name is any setting of ``Checkpoint.sample``
    (``guidance``, ``steps``, ``sampler``, ``strength``, ...), a metadata field (``month``, ``gsd``, ...),
    ``prompt``, ``negative_prompt``, or ``noise``: the index i of the initial noise of image (seed, i).

    Args:
        checkpoint: From ``rs_course.checkpoints.load``.
        prompt: Where no axis changes it.
        rows: Axis down; one row without it.
        columns: Axis across; one column without it.
        metadata: Fields that stay the same, physical units.
        seed: Of the noise.
        settings: Further arguments of ``Checkpoint.sample``, the same for all tiles.

    Raises:
        ValueError: An axis with no or several names, or the same name twice.
    """
    (down, downs), (across, acrosses) = _axis(rows, "rows"), _axis(columns, "columns")
    if down == across and down is not None:
        raise ValueError(f"rows and columns both change {down!r}: name two different things.")
    cells = [{down: a, across: b} for a in downs for b in acrosses]
    size = settings.pop("size", None) or checkpoint.default_size
    groups: dict = {}
    for index, cell in enumerate(cells):
        own = {name: value for name, value in cell.items() if name and name not in _PER_IMAGE}
        groups.setdefault(tuple(own.items()), []).append(index)
    tiles = [None] * len(cells)
    for own, members in groups.items():
        chosen = [cells[index] for index in members]
        rows = _per_image(checkpoint, chosen, prompt, metadata, size, seed)
        drawn = checkpoint.sample(**rows, size=size, seed=seed, **{**settings, **dict(own)})
        for index, image in zip(members, drawn, strict=True):
            tiles[index] = image
    images = torch.stack(tiles).unflatten(0, (len(downs), len(acrosses)))
    return Sweep(images, _labels(down, downs), _labels(across, acrosses))


def _axis(axis, what: str):
    if axis is None:
        return None, [None]
    if len(axis) != 1 or not (values := list(next(iter(axis.values())))):
        raise ValueError(f"{what} is one name with its values, such as {{'guidance': [1, 4]}}, not {axis!r}.")
    return next(iter(axis)), values


def _per_image(checkpoint, cells: list[dict], prompt, metadata, size, seed) -> dict:
    """Arguments of ``sample`` that have one row per image."""
    channels, factor = checkpoint.vae.config.latent_channels, checkpoint.vae_factor
    shape = (len(cells), channels, *(side // factor for side in size))
    rows = {
        "prompts": [cell.get("prompt", prompt) for cell in cells],
        "latents": seeds.noise(shape, seed=seed, indices=[cell.get("noise", 0) for cell in cells]),
    }
    if any("negative_prompt" in cell for cell in cells):
        rows["negative_prompt"] = [cell.get("negative_prompt", "") for cell in cells]
    if metadata is not None or any(name in FIELDS for cell in cells for name in cell):
        own = [{name: cell[name] for name in FIELDS if name in cell} for cell in cells]
        rows["metadata"] = [{**(metadata or {}), **row} for row in own]
    return rows


def _labels(name, values) -> list[str]:
    if name is None:
        return [""]
    return [_WORDING.get(name, lambda value: f"{name} {value}")(value) for value in values]
