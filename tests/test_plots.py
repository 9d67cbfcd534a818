"""Figures: both image conventions, the badge in the picture, and clear errors."""

import io
from base64 import b64decode

import matplotlib
import numpy as np
import pytest
import torch
from bs4 import BeautifulSoup
from PIL import Image

matplotlib.use("agg")

from matplotlib import pyplot as plt

from rs_course import plots


def _pixels(figure) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(plots.png(figure))).convert("RGB"))


def _contains(pixels, colour: str) -> bool:
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    return bool((np.abs(pixels - rgb.astype(float)).max(axis=-1) < 2).sum() > 50)


@pytest.mark.parametrize("kind", ["real", "simulated", "generated", "computed"])
def test_the_badge_is_drawn_in_the_colour_of_its_provenance(kind):
    images = np.full((2, 8, 8, 3), 255, np.uint8)
    pixels = _pixels(plots.tiles(images, provenance=f"{kind} · somewhere"))
    for other, colour in plots.PROVENANCE_COLOURS.items():
        assert _contains(pixels, colour) == (other == kind)


def test_both_conventions_draw_the_same_picture():
    array = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    tensor = torch.from_numpy(array).permute(0, 3, 1, 2) / 255
    drawn = [_pixels(plots.tiles(images, provenance="simulated")) for images in (array, tensor)]
    np.testing.assert_array_equal(*drawn)


def test_a_list_of_provenances_frames_each_tile_and_lists_each_once():
    figure = plots.tiles(np.zeros((3, 8, 8, 3), np.uint8), provenance=["real", "generated", "generated"])
    edges = [matplotlib.colors.to_hex(axis.spines["left"].get_edgecolor()).upper() for axis in figure.axes]
    colours = plots.PROVENANCE_COLOURS
    assert edges == [colours["real"], colours["generated"], colours["generated"]]
    assert [text.get_text() for text in figure.texts] == ["generated", "real"]
    asked = plots.tiles(np.zeros((2, 8, 8, 3), np.uint8), provenance=["real", "generated"], framed=False)
    assert [text.get_text() for text in asked.texts] == ["real", "generated"]
    assert not any(axis.axison for axis in asked.axes)


def test_badge_survives_cropping_and_marks_single_axes():
    figure, axes = plt.subplots()
    axes.plot([1, 2])
    plots.badge(figure, "computed")
    buffer = io.BytesIO()
    figure.savefig(buffer, bbox_inches="tight")
    cropped = np.asarray(Image.open(buffer).convert("RGB"))
    assert _contains(cropped, plots.PROVENANCE_COLOURS["computed"])
    figure, axes = plt.subplots()
    plots.badge(axes, "real · EuroSAT")
    assert axes.texts[0].get_text() == "real · EuroSAT"
    plt.close("all")


def test_badges_that_do_not_fit_beside_each_other_stand_in_lines():
    """A narrow sheet of tiles stays narrow, and every badge lies inside the figure, below the tiles."""
    badges = [
        "real · Sentinel-2",
        "computed · interpolated from it",
        "generated · a network made it from that",
    ]
    figure = plots.tiles(np.zeros((3, 8, 8, 3), np.uint8), provenance=badges, scale=0.8)
    assert figure.get_figwidth() < 3
    boxes = [text.get_window_extent() for text in figure.texts]
    assert len({round(box.y0) for box in boxes}) == 3 and min(box.x0 for box in boxes) > 0
    assert max(box.y1 for box in boxes) < min(axis.get_window_extent().y0 for axis in figure.axes)


def test_every_pixel_of_a_tile_is_drawn_equally_large():
    """A chessboard of 5×5 pixels, asked for at 0.33 inches, is 6 or 7 screen pixels a field everywhere."""
    board = np.indices((5, 5)).sum(0) % 2 * np.uint8(255)
    images = np.repeat(np.stack([board] * 3)[..., None], 3, axis=3).astype(np.uint8)
    figure = plots.tiles(images, ["one", "A VeryLongNameOfAClass", ""], provenance="simulated", scale=0.33)
    for axis in figure.axes:
        box = axis.get_window_extent()
        assert box.width == pytest.approx(35) and box.height == pytest.approx(35)
    assert figure.axes[1].get_title().count("\n") >= 2


def test_a_badge_can_be_read():
    """White on each colour has the contrast that WCAG asks of small text."""

    def luminance(colour):
        parts = np.array(matplotlib.colors.to_rgb(colour))
        linear = np.where(parts <= 0.03928, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return linear @ [0.2126, 0.7152, 0.0722]

    for colour in plots.PROVENANCE_COLOURS.values():
        assert 1.05 / (luminance(colour) + 0.05) >= 4.5


def test_png_closes_the_figure_and_is_the_same_each_time():
    def draw():
        figure = plt.figure()
        figure.text(0.5, 0.5, "x")
        return figure

    assert plots.png(draw()) == plots.png(draw())
    assert plt.get_fignums() == []


def test_show_attaches_the_alternative_text():
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.utils.capture import capture_output

    InteractiveShell.instance()
    with capture_output() as captured:
        plots.show(plots.tiles(np.zeros((1, 8, 8, 3), np.uint8), provenance="simulated"), alt="A black tile.")
    output, words = captured.outputs
    assert output.metadata == {"image/png": {"alt": "A black tile."}}
    assert output.data["text/plain"] == "<Figure: A black tile.>"
    assert "Picture: A black tile." in words.data["text/html"]


def test_a_shown_picture_is_small_and_looks_the_same():
    ramp = np.linspace(0, 255, 64 * 64 * 3).reshape(1, 64, 64, 3).astype(np.uint8)
    noisy = (ramp + np.random.default_rng(0).integers(0, 20, ramp.shape)).clip(0, 255).astype(np.uint8)
    noisy[0, :2, :2] = (255, 0, 0)  # four pixels of a colour of their own
    exact = plots.png(plots.tiles(noisy, provenance="simulated"))
    small = plots.fewer_colours(exact)
    pixels = [np.asarray(Image.open(io.BytesIO(p)).convert("RGB"), dtype=float) for p in (exact, small)]
    assert len(small) < 0.7 * len(exact)
    apart = np.abs(pixels[0] - pixels[1])
    assert apart.mean() < 2.5 and apart.max() < 40, "no rare colour is given to its neighbours"


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        (np.zeros((2, 3, 8, 8), np.uint8), {}, "uint8 of shape"),
        (np.zeros((8, 8), np.float32), {}, "shape \\[8, 8\\]"),
        (np.zeros((2, 8, 8, 3), np.uint8), {"titles": ["one"]}, "titles has 1 entries for 2 images"),
        (np.zeros((2, 8, 8, 3), np.uint8), {"provenance": ["real"]}, "provenance has 1 entries for 2"),
        (np.zeros((2, 8, 8, 3), np.uint8), {"provenance": "nice"}, "'nice' must start with one of real"),
    ],
)
def test_bad_input_is_named(images, options, message):
    with pytest.raises(ValueError, match=message):
        plots.tiles(images, **({"provenance": "simulated"} | options))


def test_a_film_stands_still_until_it_is_opened_and_says_what_moves(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda data, **_: shown.append(data["text/html"]))
    batch = np.zeros((3, 4, 6, 3), np.uint8)
    batch[1] = 90
    batch[2] = 200
    plots.film(batch, "Grey & brighter", scale=5, seconds=0.1)
    figures = [plots.tiles(batch[k : k + 1], provenance="computed") for k in range(2)]
    plots.film(figures, "Two figures")
    details = BeautifulSoup(shown[0], "html.parser").details
    assert "open" not in details.attrs and details.summary.text == "Film: Grey & brighter"
    assert details.img["alt"] == "Grey & brighter" and "script" not in shown[0]
    moving = Image.open(io.BytesIO(b64decode(details.img["src"].partition(",")[2])))
    assert (moving.n_frames, moving.size, moving.info["duration"]) == (3, (6, 4), 100)
    assert details.img["width"] == "30"
    moving.seek(2)
    assert moving.convert("RGB").getpixel((1, 1)) == (200, 200, 200)
    assert "Two figures" in shown[1]
