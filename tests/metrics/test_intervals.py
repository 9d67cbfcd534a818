"""Intervals against the textbook and scipy."""

import numpy as np
import pytest
import torch

from rs_course import metrics as d


def test_bootstrap_of_a_mean_is_the_textbook_error():
    sample = np.random.default_rng(0).normal(size=400)
    interval = d.bootstrap(np.mean, sample, resamples=1000)
    error = sample.std(ddof=1) / 20
    assert interval.estimate == sample.mean()
    assert interval.standard_error == pytest.approx(error, rel=0.1)
    assert interval.low == pytest.approx(sample.mean() - 1.96 * error, abs=0.4 * error)
    assert interval.high == pytest.approx(sample.mean() + 1.96 * error, abs=0.4 * error)
    halves = d.bootstrap(np.mean, sample, resamples=1000, replace=False)
    assert halves.standard_error == pytest.approx(error, rel=0.1)
    assert d.bootstrap(np.mean, sample, resamples=1000) == interval


def test_bootstrap_of_two_samples_paired_and_not():
    x = torch.randn(200, generator=torch.Generator().manual_seed(17))
    y = x + 1

    def gap(a, b):
        return (b - a).mean()

    assert d.bootstrap(gap, x, y, paired=True).standard_error == pytest.approx(0, abs=1e-6)
    assert d.bootstrap(gap, x, y).standard_error == pytest.approx(x.std().item() * 0.1, rel=0.2)


def test_wilson_interval_equals_scipys():
    from scipy.stats import binomtest

    for successes, trials in ((0, 10), (7, 10), (480, 500), (3, 3)):
        theirs = binomtest(successes, trials).proportion_ci(0.95, method="wilson")
        assert d.wilson(successes, trials)[1:3] == pytest.approx((theirs.low, theirs.high), abs=1e-12)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: d.wilson(3, 2), "successes <= trials"),
        (lambda: d.bootstrap(np.mean, np.zeros(1)), "at least two rows"),
        (lambda: d.bootstrap(np.mean, np.zeros(3), np.zeros(4), paired=True), "equal lengths"),
        (lambda: d.bootstrap(np.mean), "got sizes \\[\\]"),
    ],
)
def test_wrong_arguments_are_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()
