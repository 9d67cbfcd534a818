"""Widgets redraw when moved, and carry a static picture for pages without a kernel."""

import base64

import numpy as np
import pytest

from rs_course import widgets


def _grey(level, size="small"):
    return np.full((4 if size == "small" else 8,) * 2 + (3,), level, np.uint8)


@pytest.fixture
def panel():
    return widgets.sliders(
        _grey, {"level": (0, 9, 1), "size": ["small", "large"]}, start={"level": 3}, alt="grey"
    )


def test_moving_a_slider_changes_the_picture(panel):
    first = panel.picture.value
    panel.controls["level"].value = 7
    second = panel.picture.value
    panel.controls["size"].value = "large"
    assert len({first, second, panel.picture.value}) == 3
    panel.controls["size"].value = "small"
    panel.controls["level"].value = 3
    assert panel.picture.value == first


def test_one_output_holds_the_widget_and_its_static_picture(panel):
    data, metadata = panel._repr_mimebundle_()
    assert set(data) == {"application/vnd.jupyter.widget-view+json", "image/png", "text/plain"}
    assert base64.b64decode(data["image/png"]) == panel.picture.value
    assert metadata["image/png"]["alt"] == "grey"


def test_figures_are_drawn_and_bad_controls_named():
    from matplotlib.figure import Figure

    panel = widgets.sliders(lambda t: Figure((t, 1)), {"t": (1, 3, 1)}, alt="a figure")
    assert bytes(panel.picture.value).startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="control 't' must be"):
        widgets.sliders(_grey, {"t": 5}, alt="x")
    with pytest.raises(ValueError, match="must return a Figure or a uint8 image"):
        widgets.sliders(lambda t: np.zeros((2, 2)), {"t": (0, 1, 1)}, alt="x")
