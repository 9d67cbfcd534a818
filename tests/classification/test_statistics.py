"""Scores against scikit-learn, intervals against their formulas."""

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from rs_course.classification import evaluate, spread
from rs_course.classification.evaluation import pack, unpack


@pytest.fixture
def predictions():
    rng = np.random.default_rng(0)
    labels = rng.integers(5, size=300)
    logits = rng.normal(size=(300, 5)) + 1.5 * np.eye(5)[labels]
    p = np.exp(logits)
    return p / p.sum(1, keepdims=True), labels


def test_scores_are_those_of_scikit_learn(predictions):
    p, labels = predictions
    found, guess = evaluate(p, labels), p.argmax(1)
    assert found.accuracy == pytest.approx(sklearn_metrics.accuracy_score(labels, guess))
    assert found.macro_f1 == pytest.approx(sklearn_metrics.f1_score(labels, guess, average="macro"), rel=1e-6)
    assert found.top_k == pytest.approx(sklearn_metrics.top_k_accuracy_score(labels, p, k=3), rel=1e-6)
    assert np.allclose(found.recall, sklearn_metrics.recall_score(labels, guess, average=None))
    assert np.allclose(found.precision, sklearn_metrics.precision_score(labels, guess, average=None))
    assert np.array_equal(found.confusion, sklearn_metrics.confusion_matrix(labels, guess))
    assert np.array_equal(found.correct, labels == guess)


def test_calibration_error_is_the_mean_distance_of_confidence_and_accuracy(predictions):
    p, labels = predictions
    confidence, correct = p.max(1), p.argmax(1) == labels
    error = 0.0
    for low in np.arange(15) / 15:
        inside = (confidence > low) & (confidence <= low + 1 / 15)
        if inside.any():
            error += inside.mean() * abs(confidence[inside].mean() - correct[inside].mean())
    assert evaluate(p, labels).ece == pytest.approx(error, abs=1e-5)
    perfect = evaluate(np.eye(5)[labels], labels)
    assert perfect.ece == pytest.approx(0, abs=1e-7) and perfect.accuracy == perfect.macro_f1 == 1


@pytest.mark.parametrize(
    ("p", "labels", "message"),
    [
        (np.full((2, 3), 0.5), [0, 1], "rows that sum to one"),
        (np.full((2, 2), 0.5), [0, 2], "class numbers from 0 to 1"),
        (np.full((2, 2), 0.5), [0], "2 class numbers"),
    ],
)
def test_scores_of_nonsense_are_refused(p, labels, message):
    with pytest.raises(ValueError, match=message):
        evaluate(p, labels)


def test_mean_and_spread_over_seeds():
    assert spread([0.90, 0.92, 0.94]) == pytest.approx((0.92, 0.02, 3))
    assert f"{spread([0.90, 0.92, 0.94]):.1%}" == "92.0% ± 2.0%"
    assert f"{spread([0.5]):.2f}" == "0.50 (one seed)"
    with pytest.raises(ValueError, match="one per seed"):
        spread([])


def test_correctness_survives_packing():
    correct = np.random.default_rng(0).random(43) < 0.5
    assert len(pack(correct)) == 6
    assert np.array_equal(unpack(pack(correct), 43), correct)
    with pytest.raises(ValueError, match="not 60"):
        unpack(pack(correct), 60)
