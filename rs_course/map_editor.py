"""An editor of land-cover maps, with a picture that follows it; made of buttons, so mouse and keyboard both
work and nothing has to be installed.

    map_editor.edit_map(draw, [Stroke("water", "oval", (3, 2), (9, 7))], alt="A drawn map, and tiles of it")

Two clicks make a stroke: where it starts and where it ends. ipywidgets is imported where it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rs_course.checkpoints.maps import COVERS, GRID, SEGMENTATION_COLOURS, SHAPES, Stroke, classes_of_strokes
from rs_course.widgets import Panel, busy_sign, png_bytes, shown_picture, working


class MapEditor:
    """The strokes so far, the buttons that show them, and the picture made from them.

    Attributes:
        strokes: What has been drawn, in order.
        cells: 16×16 buttons, row by row.
        cover, shape: What the next stroke is.
        undo: Takes the last stroke back, or a first click.
        picture: The image widget.
        busy: Says that a picture is being drawn, or why none could be.
    """

    def __init__(self, draw, strokes):
        import ipywidgets

        self._draw, self.strokes, self._start = draw, [Stroke(*stroke) for stroke in strokes], None
        small = ipywidgets.Layout(
            width="18px", height="18px", min_width="18px", padding="0px", margin="0px", flex="0 0 auto",
            border="1px solid rgba(128, 128, 128, 0.35)",  # so that empty cells can be seen on any theme
        )  # fmt: skip
        # One style per cover, shared by the cells that show it: a repaint sends a name, not a colour.
        self._styles = [
            ipywidgets.ButtonStyle(button_color="rgb({}, {}, {})".format(*colour))
            for colour in SEGMENTATION_COLOURS.values()
        ]
        self.cells = [
            ipywidgets.Button(layout=small, tooltip=f"row {i // GRID}, column {i % GRID}")
            for i in range(GRID * GRID)
        ]
        for i, cell in enumerate(self.cells):
            cell.on_click(lambda _, i=i: self.click(divmod(i, GRID)))
        wide = ipywidgets.Layout(width="16em", flex="0 0 auto")
        self.cover = ipywidgets.Dropdown(options=COVERS, value="water", description="cover", layout=wide)
        self.shape = ipywidgets.Dropdown(options=SHAPES, value="oval", description="shape", layout=wide)
        narrow = ipywidgets.Layout(width="6em", flex="0 0 auto")
        self.undo = ipywidgets.Button(description="undo", layout=narrow)
        self.undo.on_click(lambda _: self.take_back())
        self.note, self.busy = ipywidgets.Label(), busy_sign()
        self.picture = shown_picture(png_bytes(draw(self.strokes)))
        self._colour()

    def click(self, place: tuple[int, int]) -> None:
        """A cell was clicked: the first click starts a stroke, the second ends it."""
        if self._start is None:
            self._start = place
            self.note.value = f"from row {place[0]}, column {place[1]} to …"
        else:
            self.strokes.append(Stroke(self.cover.value, self.shape.value, self._start, place))
            self._start = None
            self._show()

    def take_back(self) -> None:
        """Forget a first click, or else the last stroke."""
        if self._start is None and self.strokes:
            self.strokes.pop()
        self._start = None
        self._show()

    def widget(self):
        """Everything in one box."""
        import ipywidgets

        rows = [ipywidgets.HBox(self.cells[i : i + GRID]) for i in range(0, GRID * GRID, GRID)]
        wrap = ipywidgets.Layout(flex_flow="row wrap", align_items="flex-start")
        tools = ipywidgets.HBox([self.cover, self.shape, self.undo, self.note], layout=wrap)
        cells = ipywidgets.VBox(rows, layout=ipywidgets.Layout(flex="0 0 auto", margin="0 1em 0 0"))
        return ipywidgets.VBox([tools, self.busy, ipywidgets.HBox([cells, self.picture], layout=wrap)])

    def _show(self) -> None:
        self._colour()
        with working(self.busy):
            self.picture.value = png_bytes(self._draw(self.strokes))

    def _colour(self) -> None:
        for cell, cover in zip(self.cells, classes_of_strokes(self.strokes, GRID).ravel(), strict=True):
            if cell.style is not self._styles[cover]:
                cell.style = self._styles[cover]
        self.note.value = "two clicks make a stroke"


def edit_map(draw: Callable, strokes: Sequence = (), *, alt: str) -> Panel:
    """An editor with some strokes on its map, and what ``draw`` makes of them; redrawn after each stroke.

    Args:
        draw: Called with the list of strokes; returns a matplotlib ``Figure`` or a uint8 image ``[H, W, 3]``.
        strokes: What is drawn already.
        alt: Text for people who cannot see the picture.

    Returns:
        A panel whose static twin is the first picture; ``.controls["editor"]`` is the :class:`MapEditor`.
    """
    editor = MapEditor(draw, strokes)
    return Panel(
        editor.widget(),
        text=f"<MapEditor: {alt}>",
        png=bytes(editor.picture.value),
        alt=alt,
        controls={"editor": editor},
        picture=editor.picture,
    )
