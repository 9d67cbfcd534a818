"""Exercises of notebook 00: the right answer passes, and each mistake is called by its name."""

import numpy as np
import pytest
import torch

from rs_course import check


def _right_tensor(images):
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255


def _right_subset(labels, size, seed):
    rng, n = np.random.default_rng(seed), labels.max() + 1
    return np.concatenate([rng.permutation(np.flatnonzero(labels == k))[: size // n] for k in range(n)])


def _new_at_each_size(labels, size, seed):
    return _right_subset(labels, size, seed + size)


def test_right_answers_pass():
    assert check.orientation.to_tensor(_right_tensor)
    assert check.orientation.chance_level(lambda labels: np.bincount(labels).max() / len(labels))
    assert check.orientation.nested_subset(_right_subset)


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        (lambda x: x, "should be a torch tensor"),
        (lambda x: torch.from_numpy(x).float() / 255, "channels are still last"),
        (lambda x: torch.from_numpy(x).permute(0, 3, 1, 2), "still torch.uint8"),
        (lambda x: 255 * _right_tensor(x), "divide by 255"),
        (lambda x: torch.from_numpy(x).reshape(2, 3, 4, 5).float() / 255, "reshape"),
        (lambda x: torch.from_numpy(x).permute(0, 3, 2, 1).float() / 255, "height and width are swapped"),
        (lambda x: torch.from_numpy(x).permute(0, 3, 1, 2).float() / 256, "divided by 256"),
        (lambda x: 2 * _right_tensor(x) - 1, r"\[-1, 1\]"),
        (lambda x: _right_tensor(x).flip(1), "red and blue"),
    ],
)
def test_mistakes_with_the_image_convention(answer, named):
    verdict = check.orientation.to_tensor.judge(answer)
    assert verdict.status == "wrong"
    assert named.replace("\\", "") in verdict.message


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        (lambda y: 1 / len(np.unique(y)), "equally common"),
        (lambda y: 1 / (y.max() + 1), "never occurs"),
        (lambda y: ((np.bincount(y) / len(y)) ** 2).sum(), "in proportion"),
        (lambda y: np.bincount(y).max(), "number of images"),
        (lambda y: 100 * np.bincount(y).max() / len(y), "in percent"),
        (lambda y: np.bincount(y).argmax(), "not how often"),
    ],
)
def test_mistakes_with_chance(answer, named):
    verdict = check.orientation.chance_level.judge(answer)
    assert verdict.status == "wrong"
    assert named in verdict.message


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        (lambda y, n, s: np.random.default_rng(s).permutation(len(y))[:n], "the classes get"),
        (_new_at_each_size, "are not among the 40"),
        (lambda y, n, s: _right_subset(y, n, 0), "seeds 0 and 1 give the same"),
        (
            lambda y, n, s: np.concatenate([np.flatnonzero(y == k)[:1].repeat(n // 4) for k in range(4)]),
            "twice",
        ),
        (lambda y, n, s: _right_subset(y, n - 4, s), "came back for size"),
        (lambda y, n, s: y[_right_subset(y, n, s)] / 2, "list of integers"),
        (lambda y, n, s: np.arange(n) + len(y), "outside 0 to"),
    ],
)
def test_mistakes_with_subsets(answer, named):
    verdict = check.orientation.nested_subset.judge(answer)
    assert verdict.status == "wrong"
    assert named in verdict.message


def test_an_unseeded_draw_is_named():
    rng = np.random.default_rng(0)
    verdict = check.orientation.nested_subset.judge(
        lambda y, n, s: _right_subset(y, n, rng.integers(1 << 30))
    )
    assert "two calls with the same seed differ" in verdict.message


@pytest.mark.parametrize("name", ["to_tensor", "chance_level", "nested_subset"])
def test_three_hints_for_each(name, capsys):
    for level in (1, 2, 3):
        check.hint(f"orientation.{name}", level)
    assert capsys.readouterr().out.count("Hint ") == 3
    with pytest.raises(ValueError, match="has hints 1 to 3; 4 is none"):
        check.hint(f"orientation.{name}", 4)
