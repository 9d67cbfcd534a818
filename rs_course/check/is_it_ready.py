"""Checks of notebook 06: verdicts from intervals, what synthetic images are worth, controls."""

from __future__ import annotations

import math

import numpy as np

from rs_course.check.core import Mistake, NotDone, call, diagnose, exercise

_CASES = ((0.01, 0.05), (-0.02, 0.03), (-0.06, -0.01), (-0.001, 0.2), (0.0, 0.04), (-0.04, 0.0))


@exercise(
    hints=(
        "An interval holds the differences that are still possible. Is zero among them?",
        "Above zero: shown. Below zero: contradicted. Zero inside, or on the edge: not shown.",
        'if low > 0: return "shown"; if high < 0: return …',
    )
)
def verdict(student):
    """``student(low, high)`` → "shown", "not shown" or "contradicted"."""
    from rs_course.metrics import Interval
    from rs_course.study import claims

    for low, high in _CASES:
        want = claims.verdict(Interval((low + high) / 2, low, high, 0.0))
        got = call(student, low, high)
        if got not in (claims.SHOWN, claims.NOT_SHOWN, claims.CONTRADICTED):
            raise Mistake(f'return "shown", "not shown" or "contradicted", not {got!r}')
        if got == want:
            continue
        where = f"for [{low}, {high}]"
        if want == claims.NOT_SHOWN and 0 in (low, high):
            raise Mistake(f"{where}: zero lies on the edge, so it is still possible: not shown")
        if want == claims.NOT_SHOWN:
            raise Mistake(f"{where} you say {got!r}, but zero lies inside; the middle alone does not decide")
        if got == claims.NOT_SHOWN:
            raise Mistake(f"{where} zero is excluded, so something is known: {want}")
        raise Mistake(f"{where} the sign is the other way round: {want}")
    return "the interval decides, and 'not shown' is no proof of absence"


@exercise(
    hints=(
        "Read the real curve from right to left: at which number of images does it reach this accuracy?",
        "The axis of a learning curve is logarithmic: interpolate log(images) over accuracy, then take exp.",
        "return np.exp(np.interp(accuracy, accuracies, …))",
    )
)
def worth(student):
    """``student(images [K], accuracies [K], accuracy)`` → number of real images per class."""
    from rs_course.study import evidence

    images, accuracies = np.array([1.0, 4.0, 16.0, 100.0, 1000.0]), np.array([0.35, 0.5, 0.67, 0.82, 0.94])
    want, got = [], []
    for accuracy in (0.42, 0.6, 0.9):
        want.append(evidence.worth(images, accuracies, accuracy))
        got.append(call(student, images, accuracies, accuracy))
    at = np.array([0.42, 0.6, 0.9])
    logarithm = np.interp(at, accuracies, np.log(images))
    above = np.searchsorted(accuracies, at)
    mistakes = {
        "you interpolated the number itself; the curve is straight over its logarithm": np.interp(
            at, accuracies, images
        ),
        "this is the logarithm; take exp of it": logarithm,
        "you took log10 and then exp: use the same base both ways": np.exp(logarithm / math.log(10)),
        "the arguments of np.interp are exchanged: it is (x, xp, fp), with accuracy as x": np.exp(
            np.interp(at, np.log(images), accuracies)
        ),
        "this is the next larger budget; interpolate between two": images[above],
        "this is the next smaller budget; interpolate between two": images[above - 1],
    }
    diagnose(
        np.asarray(got, dtype=float), np.array(want), mistakes, name="the number of real images", tol=1e-6
    )
    return "an exchange rate between synthetic and real images, for this classifier and this test"


OBJECTIONS = {
    "compute": "the mixed arm was simply trained for longer",
    "count": "more images help, whatever they show",
    "labels": "any pictures help as a regulariser, their classes do not matter",
    "memory": "the generator hands over real tiles that the classifier was not given",
    "place": "the classifier recognises the place, not what happened there",
}
CONTROLS = {
    "matched steps": "the same number of gradient steps in both arms",
    "duplicate": "copies of real images in place of the synthetic ones",
    "shuffled": "the synthetic images with permuted labels",
    "all real": "both arms get every real image that the generator was trained on",
    "pre-event": "the same classifier on images from before the event, with whole events held out",
}
_ANSWERED_BY = dict(zip(OBJECTIONS, CONTROLS, strict=True))


@exercise(
    hints=(
        "For each objection ask: which arm would do equally well if the objection were true?",
        "If only the count mattered, copies would do. If the classes did not matter, wrong labels would do.",
        "compute: matched steps; count: duplicate; labels: shuffled; memory: all real; place: …",
    )
)
def controls(answers):
    """``answers``: dict from a key of :data:`OBJECTIONS` to a key of :data:`CONTROLS`."""
    if not isinstance(answers, dict) or set(answers) != set(OBJECTIONS):
        raise Mistake(f"give a dictionary with the keys {', '.join(map(repr, OBJECTIONS))}")
    if all(value in (None, ...) for value in answers.values()):
        raise NotDone
    if unknown := [value for value in answers.values() if value not in CONTROLS]:
        raise Mistake(f"{unknown[0]!r} is no control; choose from {', '.join(map(repr, CONTROLS))}")
    for objection, control in answers.items():
        if control != _ANSWERED_BY[objection]:
            raise Mistake(
                f"suppose {OBJECTIONS[objection]}: then {CONTROLS[control]} would not tell; look for the arm "
                "that would do just as well"
            )
    return "every objection has an arm that would win if it were true"
