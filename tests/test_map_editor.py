"""Drawn strokes become maps; two clicks in the editor make a stroke and a new picture."""

import base64

import numpy as np
import pytest

from rs_course import map_editor
from rs_course.checkpoints import maps
from rs_course.checkpoints.maps import COVERS, GRID, Stroke

LAKE = Stroke("water", "oval", (2, 2), (9, 9))
ROAD = Stroke("road", "line", (0, 12), (15, 12))


def test_strokes_lie_where_they_were_drawn_and_later_ones_on_top():
    drawn = maps.classes_of_strokes([LAKE, ROAD, Stroke("building", "box", (5, 5), (6, 6))])
    name = lambda row, column: COVERS[drawn[round(row / 15 * 127), round(column / 15 * 127)]]  # noqa: E731
    assert name(3, 5) == "water"
    assert name(5, 6) == "building"
    assert name(2, 2) == "background", "the corner of an oval's rectangle is outside"
    assert name(0, 12) == name(15, 12) == "road", "the outer cells reach the edge"


@pytest.mark.parametrize("side", [16, 64, 128])
def test_an_oval_has_its_area_and_a_line_is_never_broken(side):
    half = 0.5 * 7 / 15 + 0.5 / 15
    share = (maps.classes_of_strokes([LAKE], side) == COVERS.index("water")).mean()
    assert share == pytest.approx(np.pi * half**2, abs=0.03)
    slanted = maps.classes_of_strokes([Stroke("road", "line", (0, 0), (15, 9))], side) == COVERS.index("road")
    assert slanted.any(axis=1).all()


def test_conditions_hold_the_road_in_both_maps():
    found = maps.maps_of_strokes([LAKE, ROAD], side=64)
    assert {name: tuple(value.shape) for name, value in found.items()} == {
        "road": (1, 3, 64, 64),
        "segmentation": (1, 3, 64, 64),
    }
    yellow = (found["segmentation"][0] == found["segmentation"].new_tensor([1, 1, 0])[:, None, None]).all(0)
    assert (yellow == (found["road"][0, 0] == 1)).all()


@pytest.mark.parametrize(
    ("stroke", "message"),
    [
        (("lava", "line", (0, 0), (1, 1)), "no cover 'lava'"),
        (("water", "star", (0, 0), (1, 1)), "no shape 'star'"),
        (("water", "line", (0, 0), (1, 16)), "rows and columns run from 0 to 15"),
    ],
)
def test_bad_strokes_are_named(stroke, message):
    with pytest.raises(ValueError, match=message):
        maps.classes_of_strokes([stroke])


def test_two_clicks_make_a_stroke_and_undo_takes_it_back():
    seen = []

    def draw(strokes):
        seen.append(list(strokes))
        return np.full((4, 4, 3), 50 * len(strokes), np.uint8)

    panel = map_editor.edit_map(draw, [LAKE], alt="a lake")
    editor = panel.controls["editor"]
    first = editor.picture.value
    assert base64.b64decode(panel._repr_mimebundle_()[0]["image/png"]) == first
    editor.cover.value, editor.shape.value = "road", "line"
    editor.cells[0 * GRID + 12].click()
    assert editor.picture.value == first
    editor.cells[15 * GRID + 12].click()
    assert seen[-1] == [LAKE, ROAD]
    assert editor.picture.value != first
    assert editor.cells[7 * GRID + 12].style.button_color == "rgb(255, 255, 0)"
    editor.undo.click()
    assert seen[-1] == [LAKE]
    assert editor.picture.value == first
    assert editor.busy.value == ""
    assert {(cell.layout.min_width, cell.layout.flex) for cell in editor.cells} == {("18px", "0 0 auto")}
