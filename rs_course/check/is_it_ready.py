"""Exercises of the last lesson: verdicts from intervals, what synthetic images are worth, controls."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rs_course.check.core import Mistake, exercise, match
from rs_course.check.formulas import formula

if TYPE_CHECKING:
    from rs_course.check.core import Draws

_CASES = (
    (0.01, 0.05), (-0.02, 0.03), (-0.06, -0.01), (-0.001, 0.2), (0.0, 0.04), (-0.04, 0.0), (-0.3, 0.02),
    (0.2, 1.5), (-2.0, -0.4), (0.0, 0.0), (0.0001, 0.01), (-0.01, -0.0001),
)  # fmt: skip


_VERDICTS = ("shown", "not shown", "contradicted")


def _one_of_three(raw, want, args):
    if raw not in _VERDICTS:
        raise Mistake(f'return "shown", "not shown" or "contradicted", not {raw!r}')


def _by(number) -> str:
    """A verdict from one number: above, at or below zero."""
    return _VERDICTS[1 - int(np.sign(number))]


@formula(
    hints=(
        "An interval holds the differences that are still possible. Is zero among them?",
        "Above zero: shown. Below zero: contradicted. Zero inside, or on the edge: not shown.",
        'if low > 0: return "shown"; if high < 0: return …',
    ),
    takes="low high",
    right="""
        above = low > 0
        below = high < 0
        otherwise = "not shown"
        words = "shown", "not shown", "contradicted"
        said = "shown" if above else "contradicted" if below else otherwise
        answer = dict(zip(_VERDICTS, words))[said]
    """,
    slips="""
        above = low >= 0; below = high <= 0  # zero lies on the edge, so it is still possible: not shown
        above = low >= 0  # zero lies on the edge of [0, x], so it is still possible: not shown
        below = high <= 0  # zero lies on the edge of [x, 0], so it is still possible: not shown
        above = low > 0.001; below = high < -0.001  # the limit is zero itself: however near, zero is excluded
        answer = "shown" if low * high > 0 else "not shown"  # you ask whether zero is excluded, but not on
          # which side
        answer = "shown" if low * high > 0 else "contradicted"  # you ask whether zero is excluded, but not on
          # which side; and zero inside contradicts nothing
        answer = "contradicted" if low * high > 0 else "not shown"  # you ask whether zero is excluded, but
          # not on which side
        answer = "shown" if low + high > 0 else "contradicted"  # zero lies inside; the middle alone does not
          # decide
        answer = _by(low + high)  # zero lies inside; the middle alone does not decide
        answer = _by(high)  # zero lies inside; the upper end alone does not decide
        answer = _by(low)  # zero lies inside; the lower end alone does not decide
        above = high > 0  # zero lies inside: what is possible is not shown; look at the lower end
        below = low < 0  # zero lies inside: contradicted is more than not shown; look at the upper end
        answer = 'not shown'  # zero is excluded, so something is known
        below = False  # zero is excluded from below as well: a difference that must be negative contradicts
          # the claim
        above = False  # zero is excluded, so something is known: a difference that must be positive shows the
          # claim
        otherwise = 'contradicted'  # what is not shown is not contradicted: zero lies inside
        otherwise = 'shown'  # an interval that holds zero shows nothing
        words = ('contradicted', 'not shown', 'shown')  # the sign is the other way round: above zero is
          # shown, below zero contradicted
        words = ('shown', 'contradicted', 'not shown')  # not shown and contradicted are exchanged
        words = ('not shown', 'shown', 'contradicted')  # shown and not shown are exchanged
        answer = 'shown' if high - low < 0.05 else 'not shown'  # you ask whether the interval is narrow; ask
          # whether zero is in it
    """,
    name="the verdict",
    done="the interval decides, and 'not shown' is no proof of absence",
    trials=len(_CASES),
    look=_one_of_three,
)
def verdict(random: Draws):
    """``student(low, high)`` → "shown", "not shown" or "contradicted"."""
    return random.cycle(*_CASES)


@formula(
    hints=(
        "Read the real curve from right to left: at which number of images does it reach this accuracy?",
        "The axis of a learning curve is logarithmic: interpolate log(images) over accuracy, then take exp.",
        "return np.exp(np.interp(accuracy, accuracies, …))",
    ),
    takes="images accuracies accuracy",
    right="""
        n = images
        y = accuracies
        a = accuracy
        to = np.log(n)
        x = np.interp(a, y, to)
        back = np.exp(x)
        answer = back
    """,
    slips="""
        to = np.positive(n); back = np.positive(x)  # you interpolated the number itself; the curve is
          # straight over its logarithm
        back = np.positive(x)  # this is the logarithm; take exp of it
        to = np.log10(n); back = np.positive(x)  # this is the logarithm to base 10; take 10 to that power
        to = np.log2(n); back = np.positive(x)  # this is the logarithm to base 2; take 2 to that power
        to = np.log10(n)  # you took log10 and then exp: use the same base both ways
        to = np.log2(n)  # you took log2 and then exp: use the same base both ways
        back = 10**x  # you took the natural logarithm and then 10 to that power: use the same base both ways
        back = np.exp2(x)  # you took the natural logarithm and then 2 to that power: use the same base both
          # ways
        to = np.positive(n)  # you took exp without a logarithm before
        to = np.sqrt(n); back = np.square(x)  # you interpolated over the root; the curve is straight over the
          # logarithm
        to = np.log1p(n); back = np.expm1(x)  # log1p shifts small budgets; the axis is log(images)
        to = np.log1p(n)  # you took log(1 + images) and then exp: that counts one image too many
        x = np.interp(np.log(a), np.log(y), to)  # the accuracies stay as they are; only the number of images
          # gets a logarithm
        answer = np.exp(np.interp(a, np.log(n), y))  # the arguments of np.interp are exchanged: it is (x, xp,
          # fp), with accuracy as x
        answer = np.interp(a, np.log(n), y)  # the last two arguments of np.interp are exchanged: they are the
          # accuracies, then log(images)
        answer = np.interp(a, n, y)  # the arguments of np.interp are exchanged, and the logarithm is missing
        answer = n[np.searchsorted(y, a)]  # this is the next larger budget; interpolate between two
        answer = n[np.searchsorted(y, a) - 1]  # this is the next smaller budget; interpolate between two
        answer = n[np.abs(y - a).argmin()]  # this is the budget whose accuracy is nearest; interpolate
          # between two
        answer = (n[np.searchsorted(y, a) - 1] + n[np.searchsorted(y, a)]) / 2  # this is the mean of the two
          # neighbouring budgets, wherever the accuracy lies between them
        answer = np.sqrt(n[np.searchsorted(y, a) - 1] * n[np.searchsorted(y, a)])  # this is the geometric
          # mean of the two neighbouring budgets, wherever the accuracy lies between them
        answer = np.exp(np.polyval(np.polyfit(y, np.log(n), 1), a))  # a straight line was fitted through the
          # whole curve; read the curve between two budgets
        answer = np.polyval(np.polyfit(y, n, 1), a)  # a straight line was fitted through the whole curve,
          # without a logarithm
        answer = np.exp(np.interp(a, y[[0, -1]], np.log(n[[0, -1]])))  # the curve is interpolated from its
          # first to its last budget; use the budgets between
        answer = a  # this is an accuracy, not a number of images
    """,
    name="the number of real images",
    done="an exchange rate between synthetic and real images, for this classifier and this test",
    tol=1e-06,
)
def worth(random: Draws):
    """``student(images [K], accuracies [K], accuracy)`` → number of real images per class."""
    count = random.sizes(1, low=4)[0]
    images = np.cumprod(np.concatenate([[1.0 + random.number], random.rng.uniform(2.5, 6, count - 1)]))
    accuracies = np.sort(random.rng.uniform(0.2, 0.97, count))
    part = random.cycle(0.3, 0.7, 0.2, 0.6)
    knot = random.rng.integers(0, count - 1)
    accuracy = (1 - part) * accuracies[knot] + part * accuracies[knot + 1]
    return images, accuracies, round(float(accuracy), 4)


OBJECTIONS = {
    "compute": "the mixed arm was simply trained for longer",
    "labels": "any pictures help as a regulariser, their classes do not matter",
    "memory": "the generator hands over real tiles that the classifier was not given",
    "decoder": "the tiles lose in the autoencoder; the generator itself is good enough",
    "archive": "unlabelled real tiles would have done as well",
    "place": "the classifier recognises the place, not what happened there",
}
CONTROLS = {
    "adapted": "a generator that has seen only the tiles that the classifier has",
    "pre-event": "the same classifier on images from before the event, with whole events held out",
    "more seeds": "the same two arms with twice as many seeds",
    "round trip": "real tiles, encoded and decoded, in place of the generated ones",
    "shuffled": "the generated tiles with permuted labels",
    "second network": "the same two arms with a network of twice the widths",
    "equal updates": "the same number of updates on the real tiles in both arms",
    "retrieval": "real tiles that CLIP finds for the names of the classes, as many as the generated ones",
}
_ANSWERED_BY = {
    "compute": "equal updates",
    "labels": "shuffled",
    "memory": "adapted",
    "decoder": "round trip",
    "archive": "retrieval",
    "place": "pre-event",
}


@exercise(
    hints=(
        "For each objection ask: which arm would do equally well if the objection were true?",
        "If the classes did not matter, wrong labels would do. Two controls answer none of the objections.",
        "compute: equal updates; labels: shuffled; decoder: round trip; memory: …",
    )
)
def controls(answers: dict):
    """``answers``: dict from a key of :data:`OBJECTIONS` to a key of :data:`CONTROLS`."""
    match(
        answers,
        _ANSWERED_BY,
        CONTROLS,
        lambda objection, control: (
            f"{objection}: suppose {OBJECTIONS[objection]}: then {CONTROLS[control]} would not tell; look "
            "for the arm that would do just as well"
        ),
    )
    return "every objection has an arm that would win if it were true"
