"""The lesson's figures show the numbers they are given."""

import numpy as np

from rs_course.alignment import figures
from rs_course.metrics.features import Estimate


def texts(axis):
    return [text.get_text() for text in axis.texts]


def test_confusion_shows_shares_of_each_true_class():
    figure = figures.confusion([0, 0, 0, 1], [0, 0, 1, 1], ["a", "b"], provenance="computed · test")
    assert np.allclose(figure.axes[0].images[0].get_array(), [[2 / 3, 1 / 3], [0, 1]])
    assert texts(figure.axes[0]) == ["67", "33", "100"]


def test_noticed_names_the_mildest_grade_and_its_direction():
    z = [[[0.5, 4, 9], [-1, 2, -5]], [[0, 0, 1], [-4, 0, 0]]]
    grades = {"blur": [1, 2, 4], "swap": [0.1, 0.2, 0.3]}
    figure = figures.noticed(z, grades, ["FID", "score"], provenance="computed · test")
    assert texts(figure.axes[0]) == ["2 ↑", "4 ↓", "blind", "0.1 ↓"]
    assert [label.get_text() for label in figure.axes[1].get_yticklabels()] == ["1", "2", "3", "blind"]


def test_bias_draws_the_line_to_infinitely_many():
    line = Estimate(1.0, slope=10.0, sizes=[10, 20], values=[2.0, 1.5])
    figure = figures.bias([10, 20], [2.0, 1.5], line, provenance="computed · test")
    _, dotted, star = figure.axes[0].lines
    assert np.allclose(dotted.get_ydata(), [1, 2]) and star.get_ydata()[0] == 1


def test_rates_and_trade_off_have_a_point_for_every_number():
    rows = {
        "river/road": {"percent": 90, "low": 80, "high": 95},
        "side": {"percent": 50, "low": 40, "high": 60},
    }
    panels = {title: {"one": rows, "two": rows} for title in ("pairs", "swaps")}
    figure = figures.rates(panels, provenance="computed · test")
    assert sum(line.get_marker() == "o" for axis in figure.axes for line in axis.lines) == 8
    row = {"CLIP score, mini-clip": {"mean": 30}, "FID, mini-clip-b": 0.2, "precision": 0.5, "recall": 0.4}
    figure = figures.trade_off({"mini": {"1": row, "3": row}}, row, provenance="computed · test")
    lines = [line for line in figure.axes[1].lines if len(line.get_xdata())]  # the others are the key
    assert texts(figure.axes[0]) == ["1", "3"] and len(lines) == 2


def test_the_numbers_of_crossing_lines_stand_beside_their_points_and_apart():
    def line(*points):
        rows = [{"CLIP score, mini-clip": {"mean": x}, "FID, mini-clip-b": y} for x, y in points]
        return {str(k): row | {"precision": 0.5, "recall": 0.4} for k, row in enumerate(rows)}

    true = {"CLIP score, mini-clip": {"mean": 55}, "FID, mini-clip-b": 0.01}
    lines = {"a": line((13, 0.08), (57, 0.081), (59, 0.2)), "b": line((25, 0.06), (57.5, 0.05), (56, 0.082))}
    axis = figures.trade_off(lines, true, provenance="computed · test").axes[0]
    pixels = axis.transData.transform
    boxes = [text.get_window_extent() for text in axis.texts]
    assert not any(a.overlaps(b) for k, a in enumerate(boxes) for b in boxes[:k])
    points = np.concatenate([pixels(drawn.get_xydata()) for drawn in axis.lines[:2]])
    far = [np.linalg.norm(pixels(t.get_position()) - p) for t, p in zip(axis.texts, points, strict=True)]
    assert max(far) < 20 and min(far) > 5


def test_curves_are_drawn_step_by_step():
    figure = figures.curves({"one": [1, 2, 3], "two": [1, 1, 1]}, provenance="computed · test")
    assert [list(line.get_ydata()) for line in figure.axes[0].lines] == [[1, 2, 3], [1, 1, 1]]


def test_learning_and_matrix_show_the_matrices():
    cosines = np.eye(3)
    figure = figures.learning(
        [2, 1], 1.5, {"before": cosines, "after": -cosines}, provenance="computed · test"
    )
    assert np.allclose(figure.axes[2].images[0].get_array(), -cosines)
    assert np.allclose(
        figures.matrix(cosines, provenance="computed · test").axes[0].images[0].get_array(), cosines
    )
