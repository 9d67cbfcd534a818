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


def test_a_busy_sign_says_what_happens_and_an_error_leaves_the_controls():
    signs = []

    def draw(level):
        signs.append(sign.value)
        if level == 9:
            raise ValueError("level 9 has no picture")
        return _grey(level)

    sign = widgets.busy_sign()
    panel = widgets.sliders(_grey, {"level": (0, 9, 1)}, alt="grey")
    box = panel.widget.children
    assert box[1].value == "" and box[2] is panel.picture
    with widgets.working(sign):
        draw(1)
    assert signs == ["drawing …"] and sign.value == ""
    with widgets.working(sign):
        draw(9)
    assert sign.value == "nothing new was drawn: level 9 has no picture"


def test_a_control_that_changes_nothing_is_switched_off():
    panel = widgets.sliders(
        _grey,
        {"level": (0, 9, 1), "size": ["small", "large"]},
        alt="grey",
        idle=lambda values: {"level"} if values["size"] == "large" else set(),
    )
    assert not panel.controls["level"].disabled
    panel.controls["size"].value = "large"
    assert panel.controls["level"].disabled and not panel.controls["size"].disabled


def test_nothing_shrinks_beside_a_wide_picture(panel):
    tools, _, picture = panel.widget.children
    assert tools.layout.flex_flow == "row wrap"
    assert all(control.layout.flex == "0 0 auto" for control in tools.children)
    assert picture.layout.height == "auto" and picture.layout.max_width == "100%"


def test_a_panel_says_its_words_behind_its_picture(panel):
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.utils.capture import capture_output

    InteractiveShell.instance()
    with capture_output() as captured:
        panel._ipython_display_()
    shown, words = captured.outputs
    assert "image/png" in shown.data and "Picture: grey" in words.data["text/html"]
