"""Checks of notebook 04: soft targets, the CLIP filter, the paired bootstrap, and splits that leak."""

from __future__ import annotations

import functools

import numpy as np
import torch
import torch.nn.functional as F

from rs_course.check.core import Mistake, call, diagnose, exercise


def _normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@exercise(
    hints=(
        "Two cross-entropies, one with the teacher's distribution as target and one with the label; s weighs "
        "the first.",
        "The teacher's target is softmax(teacher / T). The student's logits are not divided by T, and there "
        "is no factor T².",
        "soft = -((teacher / T).softmax(1) * logits.log_softmax(1)).sum(1).mean(); "
        "return s * soft + (1 - s) * …",
    )
)
def soft_target_loss(student):
    """``student(logits [N,C], teacher [N,C], labels [N], s, T)`` → He et al.'s loss, a number."""
    from rs_course.classification import recipes

    logits, teacher, s, T = 2 * _normal(12, 5), 3 * _normal(12, 5, seed=1), 0.3, 2.0
    labels = torch.arange(12) % 5
    target = torch.from_numpy(
        recipes.soft_targets(teacher.numpy(), labels.numpy(), share=s, temperature=T)
    ).double()
    want = -(target * logits.log_softmax(1)).sum(1).mean()
    got = call(student, logits, teacher, labels, s, T)

    def loss(s=s, t_teacher=T, t_student=1.0, factor=1.0, kl=False, swapped=False, reduce="mean"):
        p, z = (teacher / t_teacher).softmax(1), logits / t_student
        if swapped:
            p, z = logits.softmax(1), teacher / t_teacher
        each = -(p * z.log_softmax(1)).sum(1)
        each = each + (p * p.log()).sum(1) if kl else each
        hard = F.cross_entropy(logits, labels, reduction=reduce)
        return s * factor * (each.mean() if reduce == "mean" else each.sum()) + (1 - s) * hard

    mistakes = {
        "T divides the student's logits too; in He et al. only the teacher is softened": loss(t_student=T),
        "there is no factor T² here: that belongs to distillation where both are softened": loss(factor=T**2),
        "both are softened and multiplied by T²: this is Hinton's distillation, not He et al.'s loss": loss(
            t_student=T, factor=T**2
        ),
        "T is not used: the teacher's distribution is too sharp": loss(t_teacher=1.0),
        "you multiplied by T instead of dividing: that sharpens the teacher": loss(t_teacher=1 / T),
        "s weighs the soft term and 1 − s the label; you exchanged them": loss(s=1 - s),
        "this is the Kullback-Leibler divergence; the cross-entropy keeps the teacher's entropy": loss(
            kl=True
        ),
        "teacher and student are exchanged in the soft term": loss(swapped=True),
        "the label's term is missing": loss() - (1 - s) * F.cross_entropy(logits, labels),
        "the teacher's term is missing": (1 - s) * F.cross_entropy(logits, labels),
        "both terms have weight 1; they are weighed by s and 1 − s": loss(s=1.0)
        + F.cross_entropy(logits, labels),
        "you summed over the images; take the mean": loss(reduce="sum"),
    }
    diagnose(got, want, mistakes, name="the loss", tol=1e-6)
    return "half label, half teacher: a wrong synthetic label costs less"


@exercise(
    hints=(
        "How likely does the scorer find the class that the image was made for, among all the classes?",
        "Probabilities are softmax(scale · cosine) over the classes; keep what gives its own class more than "
        "1/C.",
        "p = (scale * similarity).softmax(1); own = p[torch.arange(len(p)), labels]; return own > …",
    )
)
def clip_filter(student):
    """``student(similarity [N,C], labels [N], scale)`` → bool ``[N]``: which images stay."""
    from rs_course.classification import recipes

    labels, scale = torch.arange(40) % 4, 100.0
    similarity = 0.235 + 0.015 * _normal(40, 4, seed=2)
    similarity[torch.arange(40), labels] += 0.008
    p = (scale * similarity).softmax(1)
    own = p[torch.arange(40), labels]
    want = torch.from_numpy(recipes.clip_filter(p.numpy(), labels.numpy()))
    got = call(student, similarity, labels, scale)
    if torch.is_tensor(got) and got.dtype.is_floating_point and got.shape == own.shape:
        raise Mistake("this is the probability; compare it with the limit and return true or false per image")
    if torch.is_tensor(got) and got.ndim == 1 and not got.dtype.is_floating_point and got.dtype != torch.bool:
        raise Mistake("give true or false for every image, not the numbers of those that stay")
    flat = similarity.softmax(1)[torch.arange(40), labels]
    across = (scale * similarity).softmax(0)[torch.arange(40), labels]
    mistakes = {
        "multiply the cosines by scale before the softmax: without it nearly everything is 1/C": flat > 1 / 4,
        "the softmax runs over the images (dim=0); the classes compete, so it is dim=1": across > 1 / 4,
        "you keep only what is recognised as its class; He et al. are milder and keep p > 1/C": (
            similarity.argmax(1) == labels
        ),
        "you ask for more than one half; the limit is 1/C": own > 0.5,
        "you used 1/N, the number of images; the limit is one over the number of classes": own > 1 / 40,
        "the raw cosine is compared with 1/C; turn it into a probability first": (
            similarity[torch.arange(40), labels] > 1 / 4
        ),
        "this keeps exactly what must go": ~want,
    }
    diagnose(got, want, mistakes, name="the mask")
    return f"{int(want.sum())} of 40 stay: whatever the scorer finds likelier than chance"


@exercise(
    hints=(
        "Which images were in the test is chance. Ask what the difference would have been on other draws.",
        "For every row of draws: the mean of a minus the mean of b on *the same* images. Then two quantiles.",
        "d = (a.double() - b.double())[draws].mean(1); return torch.stack([d.quantile(0.025), …])",
    )
)
def paired_bootstrap(student):
    """``student(a [T], b [T], draws [B,T])`` → ``[low, high]``, the 95 % interval of mean(a) − mean(b).

    a and b say which test images two classifiers named rightly; row k of ``draws`` holds resample k.
    """
    generator = torch.Generator().manual_seed(3)
    hard = torch.rand(300, generator=generator, dtype=torch.float64)
    b = hard < 0.6
    a = hard + 0.03 * _normal(300, seed=4) < 0.66
    draws = torch.randint(300, (1000, 300), generator=generator)
    d = (a.double() - b.double())[draws].mean(1)

    def interval(values, level=0.95):
        tail = (1 - level) / 2
        return torch.stack([values.quantile(tail), values.quantile(1 - tail)])

    want, got = interval(d), call(student, a, b, draws)
    if isinstance(got, list | tuple):
        got = torch.stack([torch.as_tensor(value, dtype=torch.float64) for value in got])
    if torch.is_tensor(got) and got.shape == d.shape:
        raise Mistake("these are the differences of all resamples; return two of their quantiles")
    mean, spread = d.mean(), d.std()
    whole = a.double().mean() - b.double().mean()
    unpaired = a.double()[draws].mean(1) - b.double()[draws.roll(1, 0)].mean(1)
    mistakes = {
        "a and b are drawn separately, so the interval is too wide; both see the same images": interval(
            unpaired
        ),
        "this is b − a": -interval(d).flip(0),
        "low and high are exchanged": interval(d).flip(0),
        "this is a 90 % interval: 5 % are left out on each side": interval(d, 0.90),
        "these are the extremes of all resamples; leave out 2.5 % on each side": torch.stack(
            [d.min(), d.max()]
        ),
        "this is mean ± one standard error; a 95 % interval is about twice as wide": torch.stack(
            [whole - spread, whole + spread]
        ),
        "the spread of the resamples already is the standard error: do not divide it by √B": torch.stack(
            [mean - 1.96 * spread / 1000**0.5, mean + 1.96 * spread / 1000**0.5]
        ),
        "this is the interval of a alone; bootstrap the difference": interval(a.double()[draws].mean(1)),
        "the draws are not used, so this is one number twice": torch.stack([whole, whole]),
    }
    diagnose(got, want, mistakes, name="[low, high]", tol=1e-6)
    return "paired by image: what is hard for both does not widen the interval"


LEAKS = {
    "clean": "training and test share nothing",
    "identical": "some test tiles are training tiles, byte for byte",
    "turned": "some test tiles are training tiles turned or mirrored, with a little noise",
    "same place": "no tile is repeated, but test places were photographed for training on another date",
}
_LEAK_OF = {"A": "turned", "B": "clean", "C": "same place", "D": "identical"}


@functools.cache
def splits() -> dict[str, dict]:
    """Four splits of simulated tiles, each with one of :data:`LEAKS`.

    Returns:
        By letter: ``train`` and ``test`` (:class:`rs_course.classification.Tiles`), and ``train_places``,
        ``test_places``: (class, seed of the place) of every tile.
    """
    from rs_course import simulated_earth
    from rs_course.classification import Tiles

    names = ("Residential", "River", "Industrial", "PermanentCrop")
    rng, found = np.random.default_rng(0), {}
    for number, (letter, leak) in enumerate(_LEAK_OF.items()):
        first = 500_000_000 + 1000 * number  # places that no data set of the course uses
        labels, seeds = np.arange(24) % 4, first + np.arange(24) // 4
        places = [(names[k], int(seed)) for k, seed in zip(labels, seeds, strict=True)]
        images = np.stack([simulated_earth.scene(*place).image for place in places])
        train, test = np.arange(16), np.arange(16, 24)
        kept = Tiles(images[test].copy(), labels[test], names)
        test_places = [places[i] for i in test]
        if leak in ("identical", "turned"):
            kept.images[:4] = images[:4]
            test_places[:4] = places[:4]
        if leak == "turned":
            for i in range(4):
                turned = np.rot90(kept.images[i], i % 3 + 1).astype(int)[:, :: 1 - 2 * (i % 2)]
                kept.images[i] = np.clip(turned + rng.integers(-2, 3, turned.shape), 0, 255)
        if leak == "same place":
            for i in range(4):
                kept.images[i] = simulated_earth.scene(*places[i], date="2020-10-20").image
            test_places[:4] = places[:4]
        found[letter] = {
            "train": Tiles(images[train], labels[train], names), "test": kept,
            "train_places": [places[i] for i in train], "test_places": test_places,
        }  # fmt: skip
    return found


@exercise(
    hints=(
        "Three questions for every split: are pixels equal? Are thumbnails nearly equal in some of the eight "
        "symmetries? Is a place on both sides?",
        "classification.leakage(train, test) answers the first two (.identical and .near); for the third, "
        "compare train_places with test_places, but only where no pixel is repeated.",
        "len(leak.identical), len(leak.near) and len(set(train_places) & set(test_places)): one split has "
        "4, 4, 4, one 0, 4, 4, one 0, 0, 4, and one has nothing.",
    )
)
def leaks(answers):
    """``answers``: dict from split letter "A" … "D" to a key of :data:`LEAKS`."""
    if not isinstance(answers, dict) or set(answers) != set(_LEAK_OF):
        raise Mistake('give a dictionary with the keys "A", "B", "C" and "D"')
    if all(value in (None, ...) for value in answers.values()):
        raise NotImplementedError
    if unknown := [value for value in answers.values() if value not in LEAKS]:
        raise Mistake(f"{unknown[0]!r} is no leak; choose from {', '.join(map(repr, LEAKS))}")
    for letter, answer in answers.items():
        if answer != _LEAK_OF[letter]:
            raise Mistake(f"split {letter}: {_objection(letter, answer)}")
    return "a test set is clean only after all three questions"


def _objection(letter: str, answer: str) -> str:
    truth = _LEAK_OF[letter]
    if answer == "clean":
        return "it shares something; look beyond equal pixels"
    if truth == "clean":
        return f"it was not found that {LEAKS[answer]}; beware of tiles that only look alike"
    if answer == "identical":
        return "no test tile has exactly the pixels of a training tile"
    if truth == "identical":
        return "there is something simpler: compare the pixels themselves"
    return f"that {LEAKS[answer]} does not hold; look at .near in eight symmetries and at the places"
