"""A small exam with small limits, on plain numbers and numpy arrays, for the tests of the grading engine."""

from rs_course.grading.exam import Check, Exam, Wrong
from rs_course.grading.sandbox import Limits


def _number(rng):
    return {"x": float(rng.uniform(1, 9))}


def _vector(rng):
    return {"values": rng.normal(size=50)}


def _guess(rng):
    labels = rng.integers(0, 2, 40)
    return {"values": labels + rng.normal(size=40) * 0.1, "_labels": labels}


def _accuracy(value, inputs):
    if not isinstance(value, list) or len(value) != 40:
        raise Wrong("predict must return a list of 40 labels")
    accuracy = sum(int(a == b) for a, b in zip(value, inputs["_labels"].tolist(), strict=True)) / 40
    if accuracy < 0.9:
        raise Wrong("the accuracy is below 0.9", fraction=0.5 if accuracy > 0.6 else 0.0)
    return accuracy


exam = Exam(
    name="tiny",
    title="Tiny assignment",
    checks=(
        Check(
            "double.example",
            "double",
            1,
            "double(x)",
            lambda rng: {"x": 2.0},
            expected=lambda x: 2 * x,
            public=True,
        ),
        Check(
            "double.new",
            "double",
            2,
            "double(x)",
            _number,
            expected=lambda x: 2 * x,
            mistakes={"you squared x": lambda x: x * x, "the sign is wrong": lambda x: -2 * x},
        ),
        Check(
            "spread.new",
            "spread",
            3,
            "spread(values)",
            _vector,
            expected=lambda values: values.std(),
            mistakes={"this is the variance": lambda values: values.var()},
        ),
        Check("predict.new", "predict", 2, "predict(values)", _guess, judge=_accuracy),
    ),
    leaderboard=("predict.new", "accuracy"),
    preload=("numpy",),
    limits=Limits(
        step_s=0.5, wall_s=6, memory_mb=400, disk_mb=16, files=500, result_mb=2, output_bytes=2_000
    ),
)
