"""Sliders with a picture that follows them, and a static picture where no kernel runs.

    widgets.sliders(draw, {"t": (0, 999, 1)}, start={"t": 500}, alt="A tile at diffusion step t")
    widgets.explorer()                              # the simulated Earth by class, date, cloud and gsd

ipywidgets is imported where it is used, so that ``import rs_course.widgets`` needs no notebook library.
"""

from __future__ import annotations

import calendar
import contextlib
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from rs_course.checkpoints.checkpoint import Checkpoint


@dataclass
class Panel:
    """A widget together with what pages without a kernel show in its place.

    Both go into one output: a live front end picks the widget, GitHub and nbconvert the ``html`` or ``png``.
    ``rs-course run`` drops the widget part when it stores a notebook, so that a page which is opened again
    never complains about a missing model.
    """

    widget: object
    text: str
    html: str | None = None
    png: bytes | None = None
    alt: str = ""
    controls: dict = field(default_factory=dict)
    picture: object = None

    def _repr_mimebundle_(self, **_):
        bundle = self.widget._repr_mimebundle_()
        data = dict(bundle[0] if isinstance(bundle, tuple) else bundle) | {"text/plain": self.text}
        if self.html is not None:
            data["text/html"] = self.html
        if self.png is None:
            return data, {}
        return data | {"image/png": b64encode(self.png).decode()}, {"image/png": {"alt": self.alt}}

    def _ipython_display_(self):
        from IPython.display import display

        from rs_course import plots

        data, metadata = self._repr_mimebundle_()
        display(data, metadata=metadata, raw=True)
        if self.alt:
            plots.say(self.alt)


def sliders(
    draw: Callable,
    controls: dict,
    *,
    start: dict | None = None,
    alt: str,
    idle: Any = None,
):
    """Show one control per argument of ``draw`` and redraw when one is moved.

    Args:
        draw: Called with the controls' values as keyword arguments; returns a matplotlib ``Figure`` or a
            uint8 image ``[H, W, 3]``.
        controls: Argument name to what it may be: ``(low, high, step)`` gives a slider, a list a drop-down.
        start: First value of each control; otherwise the lowest or first.
        alt: Text for people who cannot see the picture.
        idle: From all values to the names of the controls that change nothing now; those are switched off.

    Returns:
        A :class:`Panel`, shown where it ends a cell; its ``.controls`` map each name to its widget.
    """
    import ipywidgets

    start = start or {}
    box_of = {name: _control(name, allowed, start.get(name)) for name, allowed in controls.items()}

    def render():
        return png_bytes(draw(**{name: control.value for name, control in box_of.items()}))

    first = render()
    picture, note = shown_picture(first), busy_sign()

    def switch():
        off = idle({name: control.value for name, control in box_of.items()}) if idle else ()
        for name, control in box_of.items():
            control.disabled = name in off

    def redraw(_change):
        switch()
        with working(note):
            picture.value = render()

    for control in box_of.values():
        control.observe(redraw, names="value")
    switch()
    tools = ipywidgets.HBox(list(box_of.values()), layout=ipywidgets.Layout(flex_flow="row wrap"))
    return Panel(
        ipywidgets.VBox([tools, note, picture]),
        text=f"<Sliders: {alt}>",
        png=first,  # for pages without a kernel (GitHub, HTML)
        alt=alt,
        controls=box_of,
        picture=picture,
    )


def shown_picture(png: bytes):
    """An image widget in its own size and ratio; a narrow page shrinks it as a whole."""
    import ipywidgets

    layout = ipywidgets.Layout(
        max_width="100%", width="auto", height="auto", flex="0 1 auto", align_self="flex-start"
    )
    picture = ipywidgets.Image(value=png, format="png", layout=layout)
    picture.add_class("rs-course-picture")
    return picture


def busy_sign():
    """A line that says "drawing …", or why nothing could be drawn; as high when it is empty."""
    import ipywidgets

    sign = ipywidgets.Label(layout=ipywidgets.Layout(height="1.6em", margin="0"))
    sign.add_class("rs-course-busy")
    return sign


@contextlib.contextmanager
def working(sign: Any):
    """Show the busy sign for as long as the block runs; an exception becomes its text."""
    sign.value = "drawing …"
    try:
        yield
    except Exception as error:  # whatever fails, the controls stay and the reader learns why
        sign.value = f"nothing new was drawn: {error}"
    else:
        sign.value = ""


def explorer(*, seed: int = 0):
    """Explore the simulated Earth: class, date, cloud cover and ground sampling distance of one place.

    Args:
        seed: Which place of each class is shown first.

    Returns:
        A :class:`Panel`, as from :func:`sliders`.
    """
    from rs_course import plots, simulated_earth

    def draw(label, month, cloud_cover, gsd, seed):
        scene = simulated_earth.scene(label, seed, date=(2019, month, 15), cloud_cover=cloud_cover, gsd=gsd)
        title = f"{label}, {calendar.month_name[month]}, {cloud_cover:.0%} cloud, {gsd:g} m"
        return plots.tiles(scene.image[None], [title], provenance=f"simulated · seed {seed}", scale=3.6)

    controls = {
        "label": list(simulated_earth.CLASSES), "month": (1, 12, 1), "cloud_cover": (0.0, 0.9, 0.1),
        "gsd": (5.0, 20.0, 2.5), "seed": (0, 99, 1),
    }  # fmt: skip
    return sliders(
        draw,
        controls,
        start={"label": "River", "month": 7, "gsd": 10.0, "seed": seed},
        alt="One simulated tile that changes with class, month, cloud cover, metres per pixel and place.",
    )


# What the grid explorer may change along an axis, and the values it tries.
AXES = {
    "noise": range(4), "guidance": [1, 2, 4, 8], "steps": [4, 8, 16, 32], "month": [1, 4, 7, 10],
    "cloud_cover": [0.0, 0.3, 0.6, 0.9], "gsd": [5, 10, 20, 40], "lat": [60, 45, 35, -35],
}  # fmt: skip


def grid_explorer(
    checkpoint: Checkpoint,
    prompts: Sequence[str],
    *,
    provenance: str,
    metadata: dict | None = None,
    seed: int = 0,
):
    """Explore a generator: two things of :data:`AXES` change over a grid of tiles, the controls set the rest.

    Args:
        checkpoint: From ``rs_course.checkpoints.load``.
        prompts: Sentences to choose from.
        provenance: Of the tiles.
        metadata: Fields that no axis or control changes, physical units.
        seed: Of the noise.

    Returns:
        A :class:`Panel`, as from :func:`sliders`.
    """
    from rs_course.sampling.figures import sweep

    def draw(down, across, prompt, month, cloud_cover, guidance):
        rows = {down: AXES[down]} if down != across else None
        told = {**(metadata or {}), "month": month, "cloud_cover": cloud_cover}
        own = {} if "guidance" in (down, across) else {"guidance": guidance}
        look = sweep(checkpoint, prompt, rows, {across: AXES[across]}, metadata=told, seed=seed, **own)
        return look.figure(provenance=provenance, suptitle=prompt)

    controls = {
        "down": list(AXES), "across": list(AXES), "prompt": list(prompts), "month": (1, 12, 1),
        "cloud_cover": (0.0, 0.9, 0.1), "guidance": (1.0, 8.0, 0.5),
    }  # fmt: skip
    return sliders(
        draw,
        controls,
        start={"across": "guidance", "month": 7, "guidance": checkpoint.defaults["guidance"]},
        alt="A grid of generated tiles: initial noise changes down the rows, the guidance scale across.",
        idle=lambda values: {values["down"], values["across"]},
    )


def _control(name, allowed, value):
    import ipywidgets

    label, wide = name.replace("_", " "), ipywidgets.Layout(width="24em", flex="0 0 auto")
    if isinstance(allowed, list):
        first = allowed[0] if value is None else value
        return ipywidgets.Dropdown(options=allowed, value=first, description=label, layout=wide)
    if not (isinstance(allowed, tuple) and len(allowed) == 3):
        raise ValueError(
            f"control {name!r} must be (low, high, step) for a slider or a list of choices, not {allowed!r}."
        )
    low, high, step = allowed
    whole = all(isinstance(number, int) for number in allowed)
    kind = ipywidgets.IntSlider if whole else ipywidgets.FloatSlider
    # Redrawing while the slider is held would queue more pictures than the kernel can draw.
    options = {"description": label, "layout": wide, "continuous_update": False}
    return kind(value=low if value is None else value, min=low, max=high, step=step, **options)


def png_bytes(picture: Figure | np.ndarray) -> bytes:
    """PNG bytes of a Figure or a uint8 image."""
    if hasattr(picture, "savefig"):
        from rs_course import plots

        return plots.fewer_colours(plots.png(picture))
    pixels = np.asarray(picture)
    if pixels.dtype != np.uint8 or pixels.ndim != 3:
        raise ValueError(
            f"draw must return a Figure or a uint8 image [H, W, 3], not {pixels.dtype} {list(pixels.shape)}."
        )
    from rs_course.datasets.tables import png

    return png(pixels)
