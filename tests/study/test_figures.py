"""Figures of a study: an arm keeps its colour, labels fit, and the table says what the lines show."""

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex

from rs_course import study
from rs_course.study import comparisons, figures


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def _drawn(figure, axis=0):
    return {line.get_label(): to_hex(line.get_color()) for line in figure.axes[axis].lines[::2]}


def test_arms_and_budgets_keep_their_colours_whatever_is_drawn_beside_them():
    found = study.finished("is_it_ready")
    lines = found.lines()
    every = _drawn(figures.learning_curves(lines))
    assert len(set(every.values())) == len(lines) == 6
    alone = dict(list(lines.items())[::-2])
    assert _drawn(figures.learning_curves(alone)).items() <= every.items()
    bars = figures.bars(alone).axes[0].patches
    assert [to_hex(bar.get_facecolor()) for bar in bars] == [every[name] for name in alone]
    ladders = [comparisons.ladders(found.ledger, arm) for arm in ("real", "mixed")]
    real, mixed = (_drawn(figures.learning_curves(rows, x="steps")) for rows in ladders)
    assert len(real) == 4 and mixed.items() <= real.items()
    small = figures.colours(["real tiles alone", "mine", "real + 4 × generated", "another"])
    assert len(set(small.values())) == 4, "arms of a student's own get colours that are free"


def test_the_table_says_what_the_lines_show():
    rows = pd.DataFrame({"real_per_class": [1, 1, 4], "seed": [0, 1, 0], "accuracy": [0.2, 0.3, 0.5]})
    head, line = figures.table({"mine": rows}).splitlines()
    assert "real training images" in head
    assert line.split() == ["mine", "1:", "25", "±", "7", "4:", "50"]


def test_an_arm_without_real_images_has_no_place_among_their_numbers():
    real = pd.DataFrame({"real_per_class": [1, 4], "seed": 0, "accuracy": [0.2, 0.5], "n_real": [2, 8]})
    alone = pd.DataFrame({"real_per_class": [3, 3], "seed": [0, 1], "accuracy": [0.4, 0.6], "n_real": 0})
    alone = alone.assign(n_synthetic=32, class_names=[["a", "b"]] * 2)
    lines = {"real": real, "generated alone": alone}
    axes = figures.learning_curves(lines).axes[0]
    line = next(line for line in axes.lines if line.get_label() == "generated alone")
    assert list(line.get_ydata()) == pytest.approx([50, 50]) and list(line.get_xdata()) == [0, 1]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "4"]
    assert "standard deviation" in axes.get_ylabel()
    assert figures.table(lines).splitlines()[2].endswith(" 0 (16 generated): 50 ± 14")
    shots = pd.concat([alone, alone.assign(real_per_class=5)])  # made from 3 and from 5 real ones: a curve
    assert "3: 50 ± 14" in figures.table({"made from the shots": shots})


def test_every_source_shows_each_class_below_its_name():
    classes = [f"class {k}" for k in range(10)]
    sources = {
        "real": (np.full((10, 8, 8, 3), 255, np.uint8), "real · somewhere"),
        "made": (np.zeros((10, 8, 8, 3), np.uint8), "generated · model"),
    }
    axes = figures.one_of_each(sources, classes).axes
    assert [axis.get_title() for axis in axes if axis.get_title()] == classes
    white = [axis.images[0].get_array().max() == 255 for axis in axes]
    assert white == [True] * 5 + [False] * 5 + [True] * 5 + [False] * 5
    assert [text.get_text() for axis in axes for text in axis.texts] == ["real", "made"] * 2


def test_long_claims_leave_room_for_their_intervals():
    verdicts = study.finished("is_it_ready").named("decoder", "generator")
    figure = figures.differences(verdicts, names=[f"{v.text}, and more words than fit" for v in verdicts])
    figure.draw_without_rendering()
    assert figure.axes[0].get_position().width > 0.4
