"""Checks of notebook 04: the right answer passes, every listed mistake is named, stubs are not judged."""

import re

import pytest
import torch
import torch.nn.functional as F

from rs_course import classification
from rs_course.check import classification as check


def soft(z, t, y, s, T, *, student=1.0, factor=1.0, kl=0.0, reduce="mean"):
    p = (t / T).softmax(1)
    each = -(p * (z / student).log_softmax(1)).sum(1) + kl * (p * p.log()).sum(1)
    return s * factor * getattr(each, reduce)() + (1 - s) * F.cross_entropy(z, y, reduction=reduce)


def own(similarity, labels, scale, dim=1):
    return (scale * similarity).softmax(dim)[torch.arange(len(labels)), labels]


def interval(d, level=0.95):
    return torch.stack([d.quantile((1 - level) / 2), d.quantile((1 + level) / 2)])


def differences(a, b, draws):
    return (a.double() - b.double())[draws].mean(1)


RIGHT = {
    "soft_target_loss": soft,
    "clip_filter": lambda x, y, scale: own(x, y, scale) > 1 / x.shape[1],
    "paired_bootstrap": lambda a, b, draws: interval(differences(a, b, draws)),
}
WRONG = {
    "soft_target_loss": {
        "T divides the student's logits too": lambda z, t, y, s, T: soft(z, t, y, s, T, student=T),
        r"no factor T²": lambda z, t, y, s, T: soft(z, t, y, s, T, factor=T**2),
        "Hinton's distillation": lambda z, t, y, s, T: soft(z, t, y, s, T, student=T, factor=T**2),
        "T is not used": lambda z, t, y, s, T: soft(z, t, y, s, 1.0),
        "sharpens the teacher": lambda z, t, y, s, T: soft(z, t, y, s, 1 / T),
        "you exchanged them": lambda z, t, y, s, T: soft(z, t, y, 1 - s, T),
        "Kullback-Leibler": lambda z, t, y, s, T: soft(z, t, y, s, T, kl=1.0),
        "teacher and student are exchanged": lambda z, t, y, s, T: (
            -s * (z.softmax(1) * (t / T).log_softmax(1)).sum(1).mean() + (1 - s) * F.cross_entropy(z, y)
        ),
        "label's term is missing": lambda z, t, y, s, T: (
            soft(z, t, y, s, T) - (1 - s) * F.cross_entropy(z, y)
        ),
        "teacher's term is missing": lambda z, t, y, s, T: (1 - s) * F.cross_entropy(z, y),
        "both terms have weight 1": lambda z, t, y, s, T: soft(z, t, y, 1, T) + F.cross_entropy(z, y),
        "summed over the images": lambda z, t, y, s, T: soft(z, t, y, s, T, reduce="sum"),
    },
    "clip_filter": {
        "multiply the cosines by scale": lambda x, y, scale: own(x, y, 1.0) > 1 / 4,
        "over the images": lambda x, y, scale: own(x, y, scale, 0) > 1 / 4,
        "He et al. are milder": lambda x, y, scale: x.argmax(1) == y,
        "more than one half": lambda x, y, scale: own(x, y, scale) > 0.5,
        "1/N": lambda x, y, scale: own(x, y, scale) > 1 / len(y),
        "raw cosine": lambda x, y, scale: x[torch.arange(len(y)), y] > 1 / 4,
        "exactly what must go": lambda x, y, scale: own(x, y, scale) <= 1 / 4,
        "this is the probability": own,
        "not the numbers of those": lambda x, y, scale: (own(x, y, scale) > 1 / 4).nonzero()[:, 0],
    },
    "paired_bootstrap": {
        "drawn separately": lambda a, b, draws: interval(
            a.double()[draws].mean(1) - b.double()[draws.roll(1, 0)].mean(1)
        ),
        "this is b − a": lambda a, b, draws: interval(differences(b, a, draws)),
        "low and high are exchanged": lambda a, b, draws: interval(differences(a, b, draws)).flip(0),
        "90 % interval": lambda a, b, draws: interval(differences(a, b, draws), 0.9),
        "extremes of all resamples": lambda a, b, draws: torch.stack(differences(a, b, draws).aminmax()),
        "one standard error": lambda a, b, draws: torch.stack(
            [(a.double() - b.double()).mean() + k * differences(a, b, draws).std() for k in (-1, 1)]
        ),
        "do not divide it by √B": lambda a, b, draws: torch.stack(
            [(d := differences(a, b, draws)).mean() + k * 1.96 * d.std() / 1000**0.5 for k in (-1, 1)]
        ),
        "of a alone": lambda a, b, draws: interval(a.double()[draws].mean(1)),
        "draws are not used": lambda a, b, draws: (a.double() - b.double()).mean().expand(2),
        "differences of all resamples": differences,
    },
}


@pytest.mark.parametrize("name", RIGHT)
def test_right_answers_pass(name):
    verdict = getattr(check, name).judge(RIGHT[name])
    assert verdict, verdict


def test_a_list_of_two_numbers_is_an_interval():
    assert check.paired_bootstrap.judge(lambda *x: RIGHT["paired_bootstrap"](*x).tolist())


@pytest.mark.parametrize(("name", "mistake"), [(n, m) for n, wrong in WRONG.items() for m in wrong])
def test_every_mistake_is_named(name, mistake):
    verdict = getattr(check, name).judge(WRONG[name][mistake])
    assert verdict.status == "wrong"
    assert re.search(mistake, verdict.message), verdict.message


@pytest.mark.parametrize("name", RIGHT)
def test_stubs_are_not_judged(name):
    assert getattr(check, name).judge(lambda *args: ...).status == "not done"


def test_the_splits_leak_as_they_say_and_the_course_finds_it():
    counts = {}
    for letter, split in check.splits().items():
        leak = classification.leakage(split["train"], split["test"])
        places = set(split["train_places"]) & set(split["test_places"])
        counts[letter] = (len(leak.identical), len(leak.near), len(places))
    assert counts == {"A": (0, 4, 4), "B": (0, 0, 0), "C": (0, 0, 4), "D": (4, 4, 4)}


def test_leaks_are_judged_one_by_one():
    right = {"A": "turned", "B": "clean", "C": "same place", "D": "identical"}
    assert check.leaks.judge(right)
    assert "look beyond equal pixels" in check.leaks.judge({**right, "C": "clean"}).message
    assert "beware of tiles that only look alike" in check.leaks.judge({**right, "B": "turned"}).message
    assert "exactly the pixels" in check.leaks.judge({**right, "A": "identical"}).message
    assert "something simpler" in check.leaks.judge({**right, "D": "turned"}).message
    assert "does not hold" in check.leaks.judge({**right, "A": "same place"}).message
    assert "is no leak" in check.leaks.judge({**right, "A": "water"}).message
    assert "keys" in check.leaks.judge({"A": "clean"}).message
    assert check.leaks.judge(dict.fromkeys("ABCD")).status == "not done"


@pytest.mark.parametrize("name", [*RIGHT, "leaks"])
def test_three_hints_each(name):
    assert len(getattr(check, name).hints) == 3
