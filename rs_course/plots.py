"""Figures of the course: one style, image tiles, and a badge that says where the pixels came from.

    plots.style()                                   # once per notebook
    fig = plots.tiles(images, titles, provenance="simulated · seed 0")
    plots.show(fig, alt="Ten tiles, one per class ...")

matplotlib is imported where it is used, so that ``import rs_course.plots`` costs nothing.
"""

from __future__ import annotations

import io
import math
import re
from base64 import b64encode
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette, which people with colour-blindness tell apart (jfly.uni-koeln.de/color).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
# White text on each has a contrast of 5 or more (4.5 is the norm for small text).
PROVENANCE_COLOURS = {
    "real": "#007A59", "simulated": "#0072B2", "generated": "#B34F00", "computed": "#5A5A5A",
}  # fmt: skip


def style() -> None:
    """Set the course's matplotlib style for the rest of the session."""
    import matplotlib.pyplot as plt

    plt.rcParams.update({
        "axes.prop_cycle": plt.cycler(color=COLOURS), "axes.grid": True, "axes.axisbelow": True,
        "axes.spines.right": False, "axes.spines.top": False, "axes.titlesize": 10,
        "axes.titlelocation": "left", "axes.labelsize": 9, "figure.constrained_layout.use": True,
        "figure.dpi": _DPI, "figure.figsize": (6.4, 3.6), "font.size": 9, "grid.alpha": 0.25,
        "grid.linewidth": 0.6, "image.interpolation": "nearest", "legend.fontsize": 8,
        "legend.frameon": False, "lines.linewidth": 1.6,
    })  # fmt: skip


def tiles(
    images: np.ndarray | torch.Tensor,
    titles: Sequence[str] | None = None,
    *,
    provenance: str | Sequence[str],
    columns: int | None = None,
    scale: float = 1.5,
    suptitle: str | None = None,
    row_labels: Sequence[str] | None = None,
    framed: bool = True,
) -> Figure:
    """Draw a batch of images as a grid.

    Args:
        images: uint8 array ``[N, H, W, 3]``, or float tensor or array ``[N, 3, H, W]`` in [0, 1].
        titles: One string per image.
        provenance: Where the images come from, e.g. ``"simulated · seed 0"``, for all images; or a list with
            one entry per image, which frames each tile in the colour of its provenance.
        columns: Tiles per row; by default up to eight.
        scale: Width of one tile in inches.
        suptitle: Title of the whole figure.
        row_labels: One string per row, written up its left side.
        framed: False where the frames would give an answer away; the badges stay.

    Raises:
        ValueError: Not an image batch, or not one title (or provenance) per image, or label per row.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    pixels = _as_pixels(images)
    count = len(pixels)
    for name, given in (
        ("titles", titles),
        ("provenance", None if isinstance(provenance, str) else provenance),
    ):
        if given is not None and len(given) != count:
            raise ValueError(f"{name} has {len(given)} entries for {count} images; give one per image.")
    columns = columns or min(count, 8)
    rows = math.ceil(count / columns)
    if row_labels is not None and len(row_labels) != rows:
        raise ValueError(f"row_labels has {len(row_labels)} entries for {rows} rows; give one per row.")
    height, width = pixels.shape[1:3]
    # Every pixel becomes the same whole number of screen pixels; shrunk pictures are averaged instead.
    zoom = round(scale * _DPI / width)
    wide, high = (zoom * width, zoom * height) if zoom else (scale * _DPI, scale * _DPI * height / width)
    titles = [_fitted(title, wide) for title in titles or [""] * count]
    heads = [_title_height(titles[i : i + columns]) for i in range(0, count, columns)]
    labels = [_fitted(label, high) for label in row_labels or []]
    left = 10 + 14 * (1 + max(label.count("\n") for label in labels)) if labels else _GAP
    top = 34 if suptitle else _GAP
    entries = [provenance] if isinstance(provenance, str) else provenance
    badges = list(dict.fromkeys(entries if framed else sorted(entries)))  # their order tells nothing either
    # As wide as the tiles, or as the widest badge below them.
    across = max(left + columns * (wide + _GAP), *map(_badge_width, badges))
    down = top + sum(heads) + rows * (high + _GAP) + _strip(_lines_of_badges(badges, across)) * _DPI
    fig = Figure(figsize=(across / _DPI, down / _DPI), dpi=_DPI, layout="none")
    FigureCanvasAgg(fig)
    for i, image in enumerate(pixels):
        row, column = divmod(i, columns)
        x, y = left + column * (wide + _GAP), top + sum(heads[: row + 1]) + row * (high + _GAP)
        axis = fig.add_axes((x / across, 1 - (y + high) / down, wide / across, high / down))
        axis.set_axis_off()
        axis.imshow(image, interpolation="nearest" if zoom else "antialiased", aspect="auto")
        axis.set_title(titles[i], fontsize=8, loc="center", pad=3)
        if framed and not isinstance(provenance, str):
            _frame(axis, _colour_of(provenance[i]))
        if row_labels and column == 0:
            label = _fitted(row_labels[row], high)
            turned = {"transform": axis.transAxes, "rotation": 90, "ha": "right", "va": "center"}
            axis.text(-5 / wide, 0.5, label, **turned, fontsize=8)
    if suptitle:
        fig.suptitle(suptitle, fontsize=10, x=0.01, ha="left")
    badge(fig, badges)
    return fig


def subplots(*grid, **options):
    """``matplotlib.pyplot.subplots``; matplotlib is imported when the first figure is drawn, not before."""
    import matplotlib.pyplot as plt

    return plt.subplots(*grid, **options)


def badge(figure_or_axes: Figure | Axes, provenance: str | Sequence[str]):
    """Write the provenance under a figure, in as many lines as it takes, or in one axes' lower right corner.

    Args:
        figure_or_axes: The matplotlib ``Figure``, or an ``Axes`` where panels differ in provenance.
        provenance: A string that starts with "real", "simulated", "generated" or "computed" and goes on with
            the data set, checkpoint and seed; or a list of such strings.

    Returns:
        ``figure_or_axes``.
    """
    from matplotlib.axes import Axes

    entries = [provenance] if isinstance(provenance, str) else list(provenance)
    box = {"boxstyle": "round,pad=0.3", "linewidth": 0}
    text = {"color": "white", "fontsize": 8, "ha": "right", "va": "bottom"}
    if isinstance(figure_or_axes, Axes):
        text |= {"transform": figure_or_axes.transAxes, "bbox": box | {"facecolor": _colour_of(entries[0])}}
        figure_or_axes.text(0.99, 0.015, entries[0], **text)
        return figure_or_axes
    figure = figure_or_axes
    width, height = figure.get_size_inches()
    lines = _lines_of_badges(entries, width * _DPI)
    _reserve_badge_space(figure, _strip(lines))
    for below, line in enumerate(reversed(lines)):
        right, up = 1 - 0.06 / width, (0.06 + below * _BADGE_PITCH) / height
        for entry in reversed(line):
            drawn = figure.text(right, up, entry, bbox=box | {"facecolor": _colour_of(entry)}, **text)
            extent = drawn.get_window_extent(figure.canvas.get_renderer())
            right -= (extent.width / figure.dpi + 0.16) / width
    return figure


def show(figure: Figure, alt: str) -> None:
    """Display a figure with a text for people who cannot see it.

    Args:
        figure: matplotlib ``Figure``; it is closed afterwards.
        alt: One or two sentences: what is drawn and what there is to see.
    """
    from IPython.display import display

    display(
        {"image/png": fewer_colours(png(figure)), "text/plain": f"<Figure: {alt}>"},
        metadata={"image/png": {"alt": alt}},
        raw=True,
    )
    say(alt)


def film(frames: Sequence, alt: str, *, scale: int = 1, seconds: float = 0.25) -> None:
    """Offer pictures as a film. It stands still until a reader opens it, and needs neither kernel nor script.

    Args:
        frames: An image batch, or figures of one size, which are closed.
        alt: What moves, for everybody: it is also the film's title.
        scale: Screen pixels for each pixel of an image batch.
        seconds: For each picture.
    """
    from IPython.display import display
    from PIL import Image

    if hasattr(frames[0], "savefig"):
        pictures = [Image.open(io.BytesIO(png(figure))).convert("RGB") for figure in frames]
    else:
        pictures = [Image.fromarray(image) for image in _as_pixels(frames)]
    first, *rest = (picture.quantize(64, dither=Image.Dither.NONE) for picture in pictures)
    buffer = io.BytesIO()
    first.save(buffer, "GIF", save_all=True, append_images=rest, duration=round(1000 * seconds), loop=0)
    source = f"data:image/gif;base64,{b64encode(buffer.getvalue()).decode()}"
    # The browser enlarges: stored pixel by pixel, noise would take many times the bytes.
    size = f'width="{scale * first.width}" style="image-rendering: pixelated; max-width: 100%"'
    moving = f'<img alt="{escape(alt)}" src="{source}" {size}>'
    html = f"<details><summary>Film: {escape(alt)}</summary>{moving}</details>"
    display({"text/html": html, "text/plain": f"<Film: {alt}>"}, raw=True)


def say(alt: str) -> None:
    """Put a picture's alternative text on the page for screen readers, unseen.

    JupyterLab gives every picture of an output an empty alternative text; this stands right behind it.
    """
    from IPython.display import display

    # Styles that JupyterLab's sanitiser leaves in a notebook which is not trusted yet.
    hidden = "height: 1px; width: 1px; overflow: hidden; opacity: 0.01; margin: 0"
    text = f'<p class="{ALT_CLASS}" style="{hidden}">Picture: {escape(alt)}</p>'
    display({"text/html": text, "text/plain": ""}, raw=True)


def png(figure: Figure) -> bytes:
    """Render a figure to PNG bytes and close it."""
    import matplotlib.pyplot as plt

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", facecolor="white", metadata={"Software": None})
    plt.close(figure)
    return buffer.getvalue()


def fewer_colours(picture: bytes) -> bytes:
    """The same PNG in the 256 colours that suit it best: half of the bytes in a stored page."""
    from PIL import Image

    buffer = io.BytesIO()
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    # Median cut gives rare colours, such as a few red pixels of a field, to their neighbours; this does not.
    fewer = image.quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    fewer.save(buffer, format="png", optimize=True)
    return buffer.getvalue()


ALT_CLASS = "rs-course-alt"
_DPI = 100
_BADGE_INCHES = 0.26
_BADGE_PITCH = 0.23  # inches from line to line
_GAP = 6  # pixels between tiles
_LETTER = 6.2  # mean width in pixels of a letter of a title
_CONVENTIONS = "uint8 [N, H, W, 3] or float [N, 3, H, W] in [0, 1]"


def _title_height(titles) -> int:
    """Pixels above a row of tiles."""
    return max((17 * (title.count("\n") + 1) for title in titles if title), default=0)


def _fitted(title: str, width: float) -> str:
    """A title in as many lines as its width in pixels asks for; ``CamelCase`` may be parted as well."""
    letters, lines = max(int(width / _LETTER), 1), []
    for line in title.split("\n"):
        lines.append("")
        for word in re.findall(r"\s*(?:[A-Z]?[^\sA-Z]+|[A-Z]+(?![^\sA-Z])|[A-Z])", line):
            if lines[-1] and len(lines[-1] + word) > letters:
                lines.append("")
            lines[-1] += word if lines[-1] else word.lstrip()
    return "\n".join(lines)


def _badge_width(entry: str) -> float:
    """Pixels that a badge and the space beside it take."""
    return 24 + _LETTER * len(entry)


def _lines_of_badges(entries: Sequence[str], width: float) -> list[list[str]]:
    """Badges in lines of at most ``width`` pixels; one that is wider has a line of its own."""
    lines: list[list[str]] = [[]]
    for entry in entries:
        if lines[-1] and sum(map(_badge_width, [*lines[-1], entry])) > width:
            lines.append([])
        lines[-1].append(entry)
    return lines


def _strip(lines: Sequence) -> float:
    """Inches under a figure that its lines of badges take."""
    return _BADGE_INCHES + (len(lines) - 1) * _BADGE_PITCH


def _colour_of(provenance: str) -> str:
    kind = provenance.split(" ")[0].rstrip(":·")
    if kind not in PROVENANCE_COLOURS:
        raise ValueError(
            f"provenance {provenance!r} must start with one of {', '.join(PROVENANCE_COLOURS)}, "
            'e.g. "simulated · seed 0".'
        )
    return PROVENANCE_COLOURS[kind]


def _frame(axis, colour) -> None:
    axis.set_axis_on()
    axis.grid(False)
    axis.set(xticks=[], yticks=[])
    for spine in axis.spines.values():
        spine.set(visible=True, edgecolor=colour, linewidth=2)


def _reserve_badge_space(figure, inches: float) -> None:
    """Keep the strip under the axes free, whichever way the figure is laid out."""
    engine, strip = figure.get_layout_engine(), inches / figure.get_figheight()
    if engine is None:
        bottom = figure.subplotpars.bottom
        figure.subplots_adjust(bottom=max(bottom, bottom * 0.75 + strip))
    elif hasattr(engine, "_params") and "rect" in engine.get():
        figure.get_layout_engine().set(rect=(0, strip, 1, 1 - strip))


def _as_pixels(images) -> np.ndarray:
    """Return uint8 ``[N, H, W, 3]`` from either image convention."""
    array = images.detach().cpu().numpy() if hasattr(images, "detach") else np.asarray(images)
    if array.ndim == 3:
        array = array[None]
    if array.ndim != 4:
        raise ValueError(
            f"images have shape {list(array.shape)}; give uint8 [N, H, W, 3] or float [N, 3, H, W]."
        )
    if array.dtype == np.uint8 and array.shape[-1] == 3:
        return array
    if array.dtype.kind == "f" and array.shape[1] == 3:
        return (array.clip(0, 1) * 255 + 0.5).astype(np.uint8).transpose(0, 2, 3, 1)
    raise ValueError(f"images are {array.dtype} of shape {list(array.shape)}; give {_CONVENTIONS}.")
