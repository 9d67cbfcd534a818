"""One cell of a study: compose an arm, train a classifier, test it on held-out real images.

>>> row = run_task({"dataset": "simulated", "real_per_class": 8, "steps": 50})  # doctest: +SKIP

A task is a flat dict of plain values, and so is its row, so that tasks can be pickled to any worker and rows
written to a table. The row is a function of the task and of the data it names.
"""

from __future__ import annotations

import hashlib
import re
import time
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from rs_course.classification import evaluation, recipes
from rs_course.classification.controls import held_out, near_duplicates
from rs_course.classification.sets import ARMS, Tiles, compose, real_shots

FEATURE_CLASSIFIERS = ("linear-probe", "clip-tuning", "zero-shot")
PARTS = ("", "validation", "test")


@dataclass(frozen=True)
class Task:
    """What one run is; every field is a key of the task's dict.

    Attributes:
        dataset: Real data: what :func:`rs_course.datasets.load` takes.
        pool: Number of real records the shots are drawn from; ``None`` takes all of the data set.
        test: Number of test records; ``None`` takes the whole test split.
        classes: Names of the classes to use, in label order, joined by commas; empty takes all.
        synthetic: Generated set: what ``datasets.load`` takes; or ``"retrieval"``: images of the training
            pool that the scorer finds for the class prompts, whatever their labels.
        arm: One of :data:`rs_course.classification.sets.ARMS`.
        real_per_class: Real images of each class.
        ratio: Synthetic images per real one (1 to 4 in the course's protocol).
        synthetic_per_class: Their number, instead of ``ratio``; 0 follows ``ratio``.
        recipe: See :mod:`rs_course.classification.recipes`.
        synthetic_weight: Weight of the synthetic batch's loss in the recipe ``paired``.
        scorer: For the filter, the teacher, and classifiers on frozen features.
        augment: See :mod:`rs_course.classification.augment`.
        classifier: A name for :func:`rs_course.classification.classifiers.build`, ``"linear-probe"`` or
            ``"clip-tuning"`` (both on frozen features, which are not augmented), or ``"zero-shot"`` (texts).
        steps: Gradient steps in all, the same for every arm: matched compute.
        batch_size: Images a step.
        lr: Highest learning rate; ``None`` takes the classifier's own.
        symmetries: Whether the test averages over the eight symmetries of the square.
        device: Where to train, ``"cpu"`` or ``"cuda"``.
        seed: Of shots, weights, order and augmentation.
        part: ``"validation"`` or ``"test"`` of :func:`rs_course.classification.controls.held_out`, which then
            gives the training pool too; empty for the collection's own test split.
        frozen: Hash of the settings that were frozen on validation; the part ``"test"`` opens for no task
            without one.
        image_size: Side in pixels that a held-out collection is resized to.
        own_draw: Take the synthetic images that were made with this task's seed, not the first ones.
        threshold: Keep of the synthetic images those whose class the scorer gives more than this.
        round_trip: Autoencoder that all training images pass through ("mini-vae"), or empty.
        finetune_lr: Learning rate of the second half of ``pretrain`` as a share of the first half's.
        weight_decay, label_smoothing: Of every training.
        shifts: Whether to test on :mod:`rs_course.classification.evaluation` and the simulated Earth as well.
    """

    dataset: str = "simulated"
    pool: int | None = None
    test: int | None = None
    classes: str = ""
    synthetic: str | None = None
    arm: str = "real"
    real_per_class: int = 16
    ratio: float = 1.0
    synthetic_per_class: int = 0
    recipe: str = "basic"
    synthetic_weight: float = 1.0
    scorer: str = "mini-clip"
    augment: str = "flip+rotate"
    classifier: str = "small-cnn"
    steps: int = 400
    batch_size: int = 64
    lr: float | None = None
    symmetries: bool = True
    device: str = "cpu"
    seed: int = 0
    part: str = ""
    frozen: str = ""
    image_size: int | None = None
    own_draw: bool = False
    threshold: float | None = None
    round_trip: str = ""
    finetune_lr: float = 1.0
    weight_decay: float = 0.05
    label_smoothing: float = 0.1
    shifts: bool = False

    @classmethod
    def of(cls, task: dict | Task) -> Task:
        """Read and check a dict.

        Raises:
            ValueError: An unknown key or an impossible value.
        """
        if isinstance(task, Task):
            return task
        known = [field.name for field in fields(cls)]
        if unknown := [key for key in task if key not in known]:
            raise ValueError(f"A task has no setting {unknown[0]!r}; it has {', '.join(known)}.")
        self = cls(**task)
        _, teaching = recipes.parse(self.recipe)
        if "pretrain" in teaching and self.classifier in FEATURE_CLASSIFIERS:
            raise ValueError(
                f"The recipe pretrain needs a network to pre-train; {self.classifier} is a linear layer: use "
                "paired."
            )
        if self.arm not in ARMS:
            raise ValueError(f"There is no arm {self.arm!r}: use {', '.join(ARMS)}.")
        if self.real_per_class < 0 or self.added < 0 or (self.arm != "synthetic" and self.real_per_class < 1):
            raise ValueError(
                f"real_per_class={self.real_per_class}, ratio={self.ratio}: the arm {self.arm!r} needs at "
                "least one image per class."
            )
        if self.part not in PARTS:
            raise ValueError(
                f"There is no part {self.part!r}: use {' or '.join(PARTS[1:])}, or leave it out."
            )
        if self.part == "test" and not self.frozen:
            raise ValueError(
                "The test part is opened by settings that were frozen on validation: run the task as part of "
                "a study that tunes and freezes them, or with part = validation."
            )
        if self.arm != "real" and self.added < 1:
            raise ValueError(f"The arm {self.arm!r} adds {self.added} images per class: raise ratio.")
        if self.arm not in ("real", "duplicate") and not self.synthetic:
            raise ValueError(f"The arm {self.arm!r} needs a generated set: give its folder as synthetic.")
        return self

    @property
    def added(self) -> int:
        """Images per class that are added to the real ones."""
        return self.synthetic_per_class or round(self.ratio * self.real_per_class)


def run_task(task: dict | Task) -> dict:
    """Run one task.

    Returns:
        A flat dict of plain values:

        ====================  =======================================================================
        ``accuracy``          share of correct test images; ``top3``, ``macro_f1``, ``ece`` beside it
        ``recall``            list of C floats; ``confusion``: C·C counts, row by row (true class first)
        ``class_names``       list of C names
        ``correct``           bytes: correctness of every test image (:func:`evaluation.unpack`)
        ``n_test``            number of test images; ``n_real``, ``n_synthetic``: of training images
        ``n_candidates``      size of the synthetic set; ``n_rejected``: what the filter refuses of it
        ``n_leaked``          test images whose very pixels are in the training set
        ``seconds``           CPU seconds of training and test
        ``real_hash``         of pixels and labels, empty if none; so ``synthetic_hash``, ``test_hash``
        ``predictions_hash``  of the predicted classes
        ====================  =======================================================================

        With ``part`` also ``n_near`` (added images that nearly equal a judged one); with ``shifts`` the lists
        ``shift_names``, ``shift_accuracy``, ``shift_count`` and ``shift_correct``.

    Raises:
        ValueError, FileNotFoundError: What the task asks for is not possible or not there.
    """
    from rs_course.classification.evaluation import evaluate

    task = Task.of(task)
    pool, test_data = _data(task)
    test = Tiles.of(test_data)
    real = None if task.arm == "synthetic" else real_shots(pool, task.real_per_class, seed=task.seed)
    synthetic, candidates, rejected = _synthetic(task, pool, test)
    real, added = compose(task.arm, real, synthetic, copies=task.added * len(pool.classes), seed=task.seed)
    if task.round_trip:
        real, added = (tiles and recipes.round_trip(tiles, task.round_trip) for tiles in (real, added))
    started = time.process_time()
    classify = _train(task, real, added)
    scores = evaluate(classify(test.images, symmetries=task.symmetries), test.labels)
    further: dict = {}
    if task.part:
        near = near_duplicates(added.images, test.images).sum() if added is not None else 0
        further |= {"n_near": int(near)}
    if task.shifts:
        further |= _under_shift(classify, test)
    return {
        "accuracy": scores.accuracy,
        "top3": scores.top_k,
        "macro_f1": scores.macro_f1,
        "ece": scores.ece,
        "recall": scores.recall.tolist(),
        "confusion": scores.confusion.ravel().tolist(),
        "class_names": list(test.classes),
        "correct": evaluation.pack(scores.correct),
        "n_test": len(test),
        "n_real": len(real) if real is not None else 0,
        "n_synthetic": len(added) if added is not None else 0,
        "n_candidates": candidates,
        "n_rejected": rejected,
        "n_leaked": _leaked(test, real, added),
        "seconds": time.process_time() - started,
        "real_hash": real.hash() if real is not None else "",
        "synthetic_hash": added.hash() if added is not None else "",
        "test_hash": test.hash(),
        "predictions_hash": hashlib.blake2b(scores.predictions.tobytes(), digest_size=16).hexdigest(),
        **further,
    }


def _data(task: Task):
    """Training pool and what is judged on, as data sets."""
    from rs_course import datasets

    if task.part:
        parts = held_out(task.dataset, image_size=task.image_size)
        found = parts.pool, parts.test if task.part == "test" else parts.validation
    else:
        train = datasets.load(task.dataset, "train", size=task.pool)
        found = train, datasets.load(task.dataset, "test", size=task.test)
    if not task.classes:
        return found
    names = [name.strip() for name in task.classes.split(",")]
    return tuple(data.with_classes(names) for data in found)


def _synthetic(task: Task, pool, test: Tiles) -> tuple[Tiles | None, int, int]:
    """The wanted synthetic images, how many there were to choose from, and how many the filter refuses."""
    from rs_course import datasets

    classes = pool.classes
    if task.arm in ("real", "duplicate") or not task.synthetic:
        return None, 0, 0
    if task.synthetic == "retrieval":
        return *_retrieved(task, pool), 0
    data = datasets.load(task.synthetic, "train")
    if task.own_draw:
        data = data.subset([i for i, name in enumerate(data.ids) if name.startswith(f"{task.seed}/")])
    tiles = Tiles.of(data)
    tiles = tiles.take(tiles.labels >= 0).in_classes(classes, what="the synthetic set")
    if (tiles.per_class() == 0).any():
        name = classes[int(tiles.per_class().argmin())]
        raise ValueError(
            f"The synthetic set {task.synthetic} has no image of the class {name}"
            f"{f' with the seed {task.seed}' if task.own_draw else ''}: generate some."
        )
    if tiles.images.shape[1:] != test.images.shape[1:]:
        raise ValueError(
            f"The synthetic images have {_side(tiles)} pixels and the test images {_side(test)}: "
            "generate or load both in one size."
        )
    if "clip-filter" not in recipes.parse(task.recipe)[1] and task.threshold is None:
        return tiles.first(task.added, what="the synthetic set"), len(tiles), 0
    if task.threshold is not None:  # of the very images that the plain arm takes
        tiles = tiles.first(task.added, what="the synthetic set")
    p = recipes.softmax(recipes.zero_shot_logits(_scorer(task), tiles.images, _prompts(task, classes)))
    kept = recipes.filtered(tiles, p, threshold=task.threshold)
    rejected = len(tiles) - len(kept)
    if task.threshold is not None:
        return kept, len(tiles), rejected
    return tiles.take(recipes.best_of_each(p, tiles.labels, task.added, seed=task.seed)), len(tiles), rejected


def _retrieved(task: Task, pool) -> tuple[Tiles, int]:
    """What the scorer finds in a half of the pool, each seed's own, without the task's shots."""
    half = pool.subset(np.random.default_rng(task.seed).permutation(len(pool))[: len(pool) // 2])
    tiles = Tiles.of(half)
    own = set(real_shots(pool, task.real_per_class, seed=task.seed).hashes()) if task.real_per_class else ()
    tiles = tiles.take(np.array([name not in own for name in tiles.hashes()]))
    p = recipes.softmax(recipes.zero_shot_logits(_scorer(task), tiles.images, _prompts(task, pool.classes)))
    return recipes.retrieved(tiles, p, task.added), len(tiles)


_SHIFTED: dict[str, list] = {}  # by the hash of the test images: the same for the many tasks of a study


def _under_shift(classify, test: Tiles) -> dict:
    """Accuracy on every shift of the test images, and on the simulated Earth if it has the classes."""
    if (name := test.hash()) not in _SHIFTED:
        _SHIFTED.clear()
        _SHIFTED[name] = _shifts(test)
    judged = _SHIFTED[name]
    right = [classify(images).argmax(1).numpy() == labels for _, images, labels in judged]
    return {
        "shift_names": [name for name, _, _ in judged],
        "shift_accuracy": [float(correct.mean()) for correct in right],
        "shift_count": [len(correct) for correct in right],
        "shift_correct": [evaluation.pack(correct) for correct in right],
    }


def _shifts(test: Tiles) -> list:
    """``(name, images, labels)`` of every shift."""
    from rs_course import datasets

    judged = [(name, images, test.labels) for name, images in evaluation.shifted(test.images)]
    simulated = datasets.load("simulated", "test")
    if set(test.classes) <= set(simulated.classes) and test.images.shape[1:3] == (64, 64):
        other = Tiles.of(simulated).in_classes(test.classes)
        judged.append(("simulated Earth", other.images, other.labels))
    return judged


def _leaked(test: Tiles, *training: Tiles | None) -> int:
    seen = {name for tiles in training if tiles is not None for name in tiles.hashes()}
    return sum(name in seen for name in test.hashes())


def _train(task: Task, real: Tiles | None, added: Tiles | None):
    """``classify(images, symmetries=False)`` to probabilities ``[N, C]``."""
    from rs_course.classification.training import fit, predict

    _, teaching = recipes.parse(task.recipe)
    parts = [(tiles.images, tiles.labels) for tiles in (real, added) if tiles is not None]
    classes = next(tiles.classes for tiles in (real, added) if tiles is not None)
    if added is not None and "soft-targets" in teaching:
        logits = recipes.zero_shot_logits(_scorer(task), added.images, _prompts(task, classes))
        parts[-1] = (added.images, recipes.soft_targets(logits, added.labels))
    both = len(parts) == 2
    if task.classifier in FEATURE_CLASSIFIERS:
        return _on_features(task, parts, classes, paired=both and "paired" in teaching)
    settings: dict[str, Any] = {
        "classes": len(classes), "device": task.device, "augment": task.augment, "seed": task.seed,
        "weight_decay": task.weight_decay, "label_smoothing": task.label_smoothing, "lr": task.lr,
        "batch_size": task.batch_size, "classifier": task.classifier, "steps": task.steps,
    }  # fmt: skip
    if both and "pretrain" in teaching:
        model = fit(*parts[1], **settings | {"steps": task.steps // 2})
        later = {"classifier": model, "steps": task.steps - task.steps // 2}
        model = fit(*parts[0], **settings | later | {"lr": (task.lr or model.lr) * task.finetune_lr})
    elif both and "paired" in teaching:
        half = task.batch_size // 2  # of each, so that a step costs what it costs in the other arms
        settings |= {"batch_size": task.batch_size - half, "extra_batch_size": half}
        model = fit(*parts[0], extra=parts[1], extra_weight=task.synthetic_weight, **settings)
    else:
        model = fit(*_pooled(parts, len(classes)), **settings)
    return lambda images, symmetries=False: predict(model, images, symmetries=symmetries)


def _on_features(task: Task, parts, classes, *, paired: bool):
    """A linear layer on the scorer's frozen features, as a function of images."""
    from rs_course.classification.training import probabilities, tune

    scorer, prompts = _scorer(task), _prompts(task, classes)
    if task.classifier == "zero-shot":
        texts = recipes.text_head(scorer, prompts).T
        return lambda images, symmetries=False: (scorer.image_embeddings(images) @ texts).softmax(1)
    head = recipes.text_head(scorer, prompts) if task.classifier != "linear-probe" else None
    parts = parts if paired else [_pooled(parts, len(classes))]
    pairs = [(scorer.image_embeddings(images), labels) for images, labels in parts]
    layer = tune(
        pairs,
        len(classes),
        start=head,
        steps=task.steps,
        batch_size=task.batch_size,
        lr=task.lr,
        seed=task.seed,
    )
    return lambda images, symmetries=False: probabilities(layer, scorer.image_embeddings(images))


def _pooled(parts, classes: int):
    """One set (images, targets ``[N, C]``) out of several."""
    from rs_course.classification.sets import as_targets

    targets = [as_targets(labels, classes, len(images)) for images, labels in parts]
    return np.concatenate([images for images, _ in parts]), np.concatenate(targets)


def _side(tiles: Tiles) -> str:
    return "×".join(map(str, tiles.images.shape[1:3]))


def _scorer(task: Task):
    from rs_course import alignment

    return alignment.load(task.scorer, long_captions="cut")


def _prompts(task: Task, classes) -> list[str]:
    """What the scorer compares the images with: the sentence of each class, without a resolution token."""
    from rs_course.checkpoints.prompts import parse_level
    from rs_course.datasets import class_prompt
    from rs_course.datasets.simulated import PHRASES

    look = "simulated" if task.dataset == "simulated" else "eurosat"
    return [
        parse_level(class_prompt(name, look))[1]
        if name in PHRASES
        else f"a satellite image of {_words(name)}"
        for name in classes
    ]


def _words(name: str) -> str:
    """ "storage-tanks" and "StorageTanks" become "storage tanks"."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|[-_]", " ", name).lower()
