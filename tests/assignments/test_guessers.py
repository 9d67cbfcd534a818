"""Answers that cost no work stay below the passing mark, whatever the question and the exam's seed.

Each question is answered by guessers of the usual kinds: copy of the input, identity matrix,
classes in turn, constants, means, the answer to the public example, the nearest example, the majority. The
checks judge them as they judge a submission, here without a sandbox.
"""

import ast
import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from rs_course.grading.exam import Wrong
from rs_course.grading.exams import cl_tiles

from .conftest import FINISHED, assignment

PASSING = 0.5
NAMES = FINISHED


def first(*values, **_):
    return values[0]


def numbered(*values, **_):
    return torch.arange(len(values[0])) % 5


ANY = {
    "input": first,
    "last input": lambda *values, **_: values[-1],
    "identity": lambda *values, **_: torch.eye(len(values[0]), len(values[-1])),
    "cyclic": numbered,
    "zero": lambda *values, **_: 0.0,
    "one": lambda *values, **_: 1.0,
    "zeros": lambda *values, **_: torch.zeros(len(values[0])),
    "ones": lambda *values, **_: torch.ones(len(values[0])),
    "nan": lambda *values, **_: float("nan"),
    "infinite": lambda *values, **_: torch.full((len(values[0]),), torch.inf),
    "mean": lambda *values, **_: values[0].double().mean(),
    "means": lambda *values, **_: values[0].double().flatten(1).mean(1),
    "three numbers": lambda *values, **_: [0.0, -1.0, 1.0],
}


def overlap(a, b):
    a, b = (set(text.lower().split()) for text in (a, b))
    return len(a & b) / len(a | b)


def of_the_nearest(images, captions, state):
    """Words of the caption of the image with the nearest mean colour."""
    known, said = state
    near = torch.cdist(images.mean((2, 3)), known.mean((2, 3))).argmin(1)
    return torch.tensor([[overlap(said[place], caption) for caption in captions] for place in near])


def nearest_tile(new, state):
    known, labels = state
    small = (F.avg_pool2d(images, 8).flatten(1) for images in (new, known))
    return labels[torch.cdist(*small).argmin(1)]


def in_turn(*answers):
    """A function that gives one answer after the other, whatever it is asked."""
    endless = itertools.cycle(answers)
    return lambda *_: next(endless)


def real_tiles(images, labels, handovers):
    return images, labels


def all_tiles(images, labels, handovers):
    tiles, given = zip(*handovers, strict=True)
    return torch.cat([images, *tiles]), torch.cat([labels, *given])


def box(low, high, size):
    return torch.full((size, size), size**-2)


def centred(low, high, size):
    line = torch.exp(-((torch.arange(size) - (size - 1) / 2) ** 2) / 8)
    return line[:, None] * line / line.sum() ** 2


# question: {guesser: functions}; a function that is not named here answers nothing.
OWN = {
    "aligner": {
        "identity": {"fit": first, "match": lambda images, captions, state: torch.eye(len(images))},
        "cyclic": {"fit": first, "match": lambda images, captions, state: torch.eye(len(images)).roll(1, 1)},
        "constant": {
            "fit": first,
            "match": lambda images, captions, state: torch.ones(len(images), len(captions)),
        },
        "brightness and length": {
            "fit": first,
            "match": lambda images, captions, state: (
                images.mean((1, 2, 3))[:, None] * torch.tensor([float(len(text)) for text in captions])
            ),
        },
        "nearest example": {"fit": lambda images, captions: (images, captions), "match": of_the_nearest},
    },
    "verdict": {
        text: {"gains": lambda *_: [0.0] * 5, "verdict": lambda *_, text=text: text}
        for text in ("yes", "no", "not decided")
    }
    | {"cyclic": {"gains": lambda *_: 0.0, "verdict": in_turn("not decided", "no", "yes")}},
    "usable": {
        "always": {"usable": lambda *_: True},
        "never": {"usable": lambda *_: False},
        "cyclic": {"usable": in_turn(True, False)},
        "cyclic the other way": {"usable": in_turn(False, True)},
    },
    "classifier": {
        "cyclic": {"train": real_tiles, "predict": lambda new, state: torch.arange(len(new)) % 5},
        "majority": {
            "train": real_tiles,
            "predict": lambda new, state: state[1].mode().values.expand(len(new)),
        },
        "nearest real tile": {"train": real_tiles, "predict": nearest_tile},
        "nearest tile of all": {"train": all_tiles, "predict": nearest_tile},
    },
    "blur": {
        "box": {"estimate_blur": box},
        "centred Gaussian": {"estimate_blur": centred},
        "one pixel": {
            "estimate_blur": lambda low, high, size: torch.eye(size**2)[size**2 // 2].view(size, size)
        },
    },
    "upscaler": {
        "copy of the input": {"fit": first, "upscale": lambda low, state: low},
        "bicubic": {
            "fit": first,
            "upscale": lambda low, state: F.interpolate(low, scale_factor=4, mode="bicubic"),
        },
        "nearest pixel": {"fit": first, "upscale": lambda low, state: F.interpolate(low, scale_factor=4)},
        "mean": {
            "fit": first,
            "upscale": lambda low, state: F.interpolate(
                low.mean((2, 3), keepdim=True), scale_factor=4 * low.shape[2]
            ),
        },
        "a training image": {
            "fit": lambda low, high: high,
            "upscale": lambda low, state: state[torch.arange(len(low)) % len(state)],
        },
    },
}


def asked(examined):
    """Names of the functions that a check calls."""
    calls = (node for node in ast.walk(ast.parse(examined.check.call)) if isinstance(node, ast.Call))
    return {node.func.id for node in calls}


def share(checks, functions):
    """Part of a question's points."""
    earned = 0.0
    for examined in checks:
        try:
            examined.judge(eval(examined.check.call, {**functions, **examined.sent}))
            earned += examined.check.points
        except Wrong as wrong:
            earned += wrong.fraction * examined.check.points
        except Exception:
            continue
    return earned / sum(examined.check.points for examined in checks)


def questions():
    return [(name, question) for name in NAMES for question in assignment(name).exam.questions]


@pytest.mark.parametrize(("name", "question"), questions(), ids=lambda text: text)
def test_guessing_does_not_pass(name, question):
    checks = [examined for examined in assignment(name).checks if examined.check.question == question]
    names = set().union(*map(asked, checks))
    guessers = {kind: dict.fromkeys(names, function) for kind, function in ANY.items()} | OWN.get(
        question, {}
    )
    known = next(examined for examined in checks if examined.check.public)
    if known.check.expected is not None:
        right = known.check.expected(**known.inputs)
        guessers["public example"] = dict.fromkeys(names, lambda *_, **__: right)
    reached = {kind: share(checks, functions) for kind, functions in guessers.items()}
    assert max(reached.values()) < PASSING, reached


def test_the_judge_of_guessers_sees_a_right_answer():
    """The guessers fail because they are wrong, not because the test cannot call them."""
    checks = [
        examined for examined in assignment("a1_alignment").checks if examined.check.question == "similarity"
    ]
    right = {"similarity": lambda images, texts: F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T}
    assert share(checks, right) == 1.0


def test_hand_overs_share_no_generated_tile():
    """Else the label that most of them give a shared tile would tell the good ones without a look at it."""
    rng = np.random.default_rng(0)
    asked, labels = torch.arange(9 * cl_tiles.SIZE) % 5, torch.arange(10) % 5
    kinds = [cl_tiles.GOOD] * 6 + [cl_tiles.RENUMBERED] * 3 + [cl_tiles.COPIES] * 3
    tiles, images = cl_tiles.patches(rng, asked), cl_tiles.patches(rng, labels)
    _, parts = cl_tiles._hand_overs(rng, kinds, tiles, asked, images, labels)
    places = torch.cat([places for places, _ in parts[:9]])
    assert len(places.unique()) == 9 * cl_tiles.SIZE
