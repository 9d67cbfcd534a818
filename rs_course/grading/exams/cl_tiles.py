"""Checks of A2 on tiles: leaked ones, hand-overs that can be trained on, and a classifier that needs them.

A generator (``mini-text2earth``) hands over labelled tiles. Some hand-overs are what they should be; in
others the classes are numbered in another order, or the tiles are copies of the student's own real ones.
How good a classifier can be is measured with the exam, with the recipe of the notebook's second cell and the
right hand-overs, so nothing depends on how good the generator is.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
import torch.nn.functional as F

from rs_course.grading import exams as earth
from rs_course.grading.exam import Check, Wrong, by_steps, numbers, of_call, wrong_shape

CLASSES = ("Forest", "Highway", "Industrial", "Residential", "River")
GENERATOR = {"steps": 6, "guidance": 4.0}
SIZE = 40  # tiles of a hand-over
DRAWS = 30
GOOD, RENUMBERED, COPIES = "good", "renumbered", "copies"


# --- The recipe of the notebook's first cells --------------------------------------------------------------


def features(images):
    """Colour and texture of each image: [N, 16]."""
    grey = images.mean(1, keepdim=True)
    colour = [images.mean((2, 3)), images.std((2, 3)), images.amin((2, 3))]
    parts = (grey.diff(dim=3).abs(), grey.diff(dim=2).abs(), F.avg_pool2d(grey, 8))
    texture = [measure((2, 3)) for part in parts for measure in (part.mean, part.std)]
    return torch.cat([*colour, *texture, parts[0].amax((2, 3))], dim=1)


def fit_ridge(images, labels):
    """Ridge regression from features to classes; returns what `classify` needs."""
    known = features(images)
    mean, spread = known.mean(0), known.std(0) + 1e-6
    known = (known - mean) / spread
    target = F.one_hot(labels, 5).float() - 0.2
    gram = known.T @ known + 10 * torch.eye(known.shape[1])
    return mean, spread, torch.linalg.solve(gram, known.T @ target)


def classify(images, state):
    """Class numbers 0 to 4: [N]."""
    mean, spread, weights = state
    return ((features(images) - mean) / spread @ weights).argmax(1)


# --- Leaks -------------------------------------------------------------------------------------------------


def _with_copies(rng, train=12, test=14):
    """Test images of which some are training images, some turned or mirrored ones, some a little changed."""
    known = torch.tensor(rng.random((train, 3, 12, 12)), dtype=torch.float32)
    new = torch.tensor(rng.random((test, 3, 12, 12)), dtype=torch.float32)
    places = rng.permutation(test)
    for number, place in enumerate(places[:8]):
        image = known[rng.integers(train)].rot90(number % 4, (1, 2))
        image = image.flip(2) if number >= 4 else image
        noise = torch.tensor(rng.uniform(-0.008, 0.008, image.shape), dtype=torch.float32)
        new[place] = image + (noise if number % 2 else 0)
    return {"train": known, "test": new, "tolerance": 0.01}


def _leaked(train, test, tolerance, *, turns=4, mirrors=True):
    found = []
    for image in test:
        variants = [image.rot90(k, (1, 2)) for k in range(turns)]
        variants += [variant.flip(2) for variant in variants] if mirrors else []
        found.append(min((train - v).abs().mean((1, 2, 3)).min().item() for v in variants) <= tolerance)
    return np.array(found)


_LEAK_MISTAKES = {
    "only unturned copies were found: try all turns and mirrors": lambda **x: _leaked(
        **x, turns=1, mirrors=False
    ),
    "mirrored copies were missed": partial(_leaked, mirrors=False),
    "turned copies were missed": partial(_leaked, turns=1),
    "slightly changed copies were missed: use the tolerance": lambda train, test, tolerance: _leaked(
        train, test, 1e-6
    ),
    "this marks the clean images": lambda **x: ~_leaked(**x),
}
_check_leaked = of_call("leaked", "leaked(train, test, tolerance)", expected=_leaked, mistakes=_LEAK_MISTAKES)
LEAKS = (
    _check_leaked(
        "leak.same_image",
        0.5,
        lambda rng: (lambda images: {"train": images[:3], "test": images[2:], "tolerance": 0.01})(
            torch.tensor(rng.random((5, 3, 8, 8)))
        ),
        public=True,
    ),
    _check_leaked("leak.turned", 2, _with_copies),
)


# --- Hand-overs --------------------------------------------------------------------------------------------


def generated(rng: np.random.Generator, count: int):
    """Tiles of the generator, uint8 ``[N, 3, 64, 64]``, and the classes they were asked for ``[N]``."""
    from rs_course import checkpoints, datasets

    labels = torch.arange(count) % len(CLASSES)
    prompts = [datasets.class_prompt(CLASSES[label]) for label in labels]
    seed = int(rng.integers(2**31))
    tiles = checkpoints.load("mini-text2earth").sample(prompts, seed=seed, **GENERATOR)
    return (tiles * 255).round().to(torch.uint8), labels


def _real(rng, per_class, classes=CLASSES):
    scenes = earth.scenes(rng, per_class * len(classes), classes)
    return earth.pixels(scenes), torch.tensor([CLASSES.index(scene.label) for scene in scenes])


def _renumbering(rng):
    """Another order of the classes, in which none keeps its number."""
    order, wrong = rng.permutation(len(CLASSES)), np.empty(len(CLASSES), dtype=np.int64)
    wrong[order] = np.roll(order, 1)
    return torch.tensor(wrong)


def copies(rng: np.random.Generator, images, labels, count: int):
    """Real tiles turned, mirrored and a little noisy, with their labels."""
    chosen = rng.integers(0, len(images), count)
    turned = [images[place].rot90(int(rng.integers(4)), (1, 2)) for place in chosen]
    turned = torch.stack([image.flip(2) if rng.random() < 0.5 else image for image in turned])
    noise = torch.tensor(rng.integers(-2, 3, tuple(turned.shape)))
    return (turned + noise).clamp(0, 255).to(torch.uint8), labels[chosen]


def _hand_overs(rng, kinds, pool, asked, images, labels):
    """One (tiles' places in the pool, labels) for each kind; copies are appended to the pool.

    Generated tiles are handed out in turn, so that no two hand-overs share one while the pool lasts: of a
    shared tile, the label that most hand-overs give it would say which are good without a look at it.

    Args:
        kinds: What each hand-over is.
        pool, asked: Generated tiles and their classes.
        images, labels: The real tiles.
    """
    made, made_labels = copies(rng, images, labels, 60)
    wrong, parts, turn = _renumbering(rng), [], torch.tensor(rng.permutation(len(pool)))
    for kind in kinds:
        if kind == COPIES:
            places = torch.tensor(rng.permutation(len(made))[:SIZE])
            parts.append((len(pool) + places, made_labels[places]))
            continue
        places, turn = turn[:SIZE], turn.roll(-SIZE)
        parts.append((places, wrong[asked[places]] if kind == RENUMBERED else asked[places]))
    return torch.cat([pool, made]), parts


# --- Which hand-overs are usable? --------------------------------------------------------------------------


def _best_of_draws(draw, quality):
    """The first draw of quality 0 or more, else the best: few real tiles may tell nothing by chance."""
    best, highest = None, -np.inf
    for _ in range(DRAWS):
        data = draw()
        if (found := quality(data)) > highest:
            best, highest = data, found
        if highest >= 0:
            break
    return best


def _margin(data) -> float:
    """How plainly the recipe, trained on each hand-over and tested on the real tiles, tells the good ones.

    0 or more: it is right for at least two fifths of the tiles with each good hand-over, and for at most
    three tenths with each renumbered one.
    """
    right = {GOOD: [], RENUMBERED: [], COPIES: []}
    for kind, (places, given) in zip(data["_kinds"], data["parts"], strict=True):
        guess = classify(data["images"] / 255, fit_ridge(data["pool"][places] / 255, given))
        right[kind].append((guess == data["labels"]).float().mean().item())
    return min(min(right[GOOD]) - 0.4, 0.3 - max(right[RENUMBERED]))


def _twelve(rng):
    tiles = generated(rng, 9 * SIZE)

    def draw():
        images, labels = _real(rng, 5)
        kinds = rng.permutation([GOOD] * 6 + [RENUMBERED] * 3 + [COPIES] * 3)
        pool, parts = _hand_overs(rng, kinds, *tiles, images, labels)
        data = {"images": images, "labels": labels, "pool": pool, "parts": parts}
        return {**data, "_kinds": kinds, "_right": kinds == GOOD}

    return _best_of_draws(draw, _margin)


def patches(rng: np.random.Generator, labels):
    """Tiles of one colour for each class with a coarse pattern of their own, uint8."""
    colours = 200 * torch.tensor([[0, 1, 0], [0, 0, 0], [1, 0, 0], [1, 1, 1], [0, 0, 1]])
    pattern = torch.tensor(rng.integers(0, 50, (len(labels), 3, 8, 8))).repeat_interleave(8, 2)
    return (colours[labels][:, :, None, None] + pattern.repeat_interleave(8, 3)).to(torch.uint8)


def _patches(rng):
    labels, asked = torch.arange(10) % 5, torch.arange(SIZE) % 5
    images = patches(rng, labels)
    kinds = np.array([RENUMBERED, GOOD, COPIES])
    pool, parts = _hand_overs(rng, kinds, patches(rng, asked), asked, images, labels)
    return {"images": images, "labels": labels, "pool": pool, "parts": parts, "_right": kinds == GOOD}


# Right verdicts on the twelve: part of the points. Whoever guesses has nine or more right once in 14 times.
VERDICTS = ((12, 1.0), (11, 0.8), (10, 0.5), (9, 0.25))


def _right_verdicts(value, inputs):
    given, right = numbers(value), inputs["_right"]
    if given.shape != right.shape:
        raise wrong_shape(given.shape, right.shape, "True or False is wanted for each hand-over")
    if given.all() or not given.any():
        raise Wrong("every hand-over got the same verdict")
    return int((given.astype(bool) == right).sum())


def _graded_verdicts(value, inputs):
    reached = _right_verdicts(value, inputs)
    for least, fraction in VERDICTS:
        if reached >= least:
            if fraction == 1.0:
                return
            raise Wrong(
                "some verdicts are wrong: do labels and pictures agree, and are the tiles new?", fraction
            )
    raise Wrong("the verdicts are hardly better than guessed: train on the tiles, test on the real ones")


def _all_verdicts(value, inputs):
    if _right_verdicts(value, inputs) < len(inputs["_right"]):
        raise Wrong("of colour patches, one set has renumbered classes, one is good, and one is copies")


_USABLE = "[usable(images / 255, labels, pool[places] / 255, given) for places, given in parts]"
USABLE = (
    Check("usable.patches", "usable", 0.5, _USABLE, _patches, judge=_all_verdicts, public=True),
    Check("usable.hidden_tiles", "usable", 2.5, _USABLE, _twelve, judge=_graded_verdicts),
)


# --- A classifier ------------------------------------------------------------------------------------------


def _exam_data(rng):
    """Real tiles of three classes and six hand-overs for five; new real tiles of all five.

    Drawn again while the good hand-overs gain little: a question must reward the right verdict.
    """
    tiles, (new, truth) = generated(rng, 80), _real(rng, 30)

    def draw():
        images, labels = _real(rng, 5, rng.permutation(CLASSES)[:3])
        kinds = rng.permutation([GOOD] * 2 + [RENUMBERED] * 3 + [COPIES])
        pool, parts = _hand_overs(rng, kinds, *tiles, images, labels)
        data = {"images": images, "labels": labels, "pool": pool, "parts": parts, "new": new}
        return {**data, "_kinds": kinds, "_truth": truth.numpy(), **_references(data, kinds, truth)}

    return _best_of_draws(draw, lambda data: min(_way(data) - 0.08, _margin(data)))


def _way(data) -> float:
    """What the right verdicts gain, in accuracy."""
    return data["_good"] - data["_blind"]


def _references(data, kinds, truth):
    """Accuracy of the recipe with the good hand-overs, and the best of what needs no verdict."""

    def accuracy(chosen):
        used = [part for part, take in zip(data["parts"], chosen, strict=True) if take]
        tiles = [data["images"], *(data["pool"][places] for places, _ in used)]
        labels = [data["labels"], *(given for _, given in used)]
        state = fit_ridge(torch.cat(tiles) / 255, torch.cat(labels))
        return (classify(data["new"] / 255, state) == truth).float().mean().item()

    return {"_good": accuracy(kinds == GOOD), "_blind": max(accuracy(kinds == ""), accuracy(kinds != ""))}


def _patch_data(rng):
    labels, asked = torch.arange(9) % 3, torch.arange(SIZE) % 5
    images = patches(rng, labels)
    kinds = np.array([RENUMBERED, GOOD, RENUMBERED])
    pool, parts = _hand_overs(rng, kinds, patches(rng, asked), asked, images, labels)
    truth = torch.tensor(rng.permutation(20) % 5)
    data = {"images": images, "labels": labels, "pool": pool, "parts": parts}
    return {**data, "new": patches(rng, truth), "_truth": truth.numpy()}


def _accuracy(value, inputs):
    predicted, truth = numbers(value), inputs["_truth"]
    if predicted.shape != truth.shape:
        if predicted.ndim == 2:
            raise wrong_shape(predicted.shape, truth.shape, "return the class, not its scores")
        raise wrong_shape(predicted.shape, truth.shape)
    if not np.isin(predicted, np.arange(len(CLASSES))).all():
        raise Wrong("predictions must be class numbers 0 to 4")
    if len(np.unique(predicted)) == 1:
        raise Wrong("every image got the same class")
    return float((predicted == truth).mean())


# How far from what needs no verdict to what the good hand-overs give: part of the points.
STEPS = (
    (0.9, 1.0, ""),
    (0.5, 0.6, "better than without a verdict on the hand-overs, but not what the good ones allow"),
    (0.1, 0.3, "hardly better than without a verdict: train on the good hand-overs and on no other"),
)


def _graded_accuracy(value, inputs):
    blind, good = inputs["_blind"], inputs["_good"]
    steps = [(min(blind + part * _way(inputs), good), *points) for part, *points in STEPS]
    otherwise = "no better than without the generated tiles, or with all of them"
    return by_steps(_accuracy(value, inputs), steps, otherwise)


def _all_right(value, inputs):
    if _accuracy(value, inputs) < 1:
        raise Wrong("patches of plainly different colours are not told apart")


_HANDED_OVER = "[(pool[places] / 255, given) for places, given in parts]"
_CLASSIFY = f"predict(new / 255, train(images / 255, labels, {_HANDED_OVER}))"
CLASSIFIER = (
    Check("classifier.patches", "classifier", 0.5, _CLASSIFY, _patch_data, judge=_all_right, public=True),
    Check("classifier.hidden_scenes", "classifier", 3.5, _CLASSIFY, _exam_data, judge=_graded_accuracy),
)
