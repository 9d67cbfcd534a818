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

import numpy as np

from rs_course.classification import recipes, statistics
from rs_course.classification.arms import ARMS, compose, real_shots
from rs_course.classification.sets import Tiles

FEATURE_CLASSIFIERS = ("linear-probe", "clip-tuning")


@dataclass(frozen=True)
class Task:
    """What one run is; every field is a key of the task's dict.

    Attributes:
        dataset: Real data: what :func:`rs_course.datasets.load` takes.
        pool: Number of real records the shots are drawn from; ``None`` takes all of the data set.
        test: Number of test records; ``None`` takes the whole test split.
        classes: Names of the classes to use, in label order, joined by commas; empty takes all.
        synthetic: Generated set: what ``datasets.load`` takes.
        arm: One of :data:`rs_course.classification.arms.ARMS`.
        real_per_class: Real images of each class.
        ratio: Synthetic images per real one (1 to 4 in the course's protocol).
        synthetic_per_class: Their number, instead of ``ratio``; 0 follows ``ratio``.
        recipe: See :mod:`rs_course.classification.recipes`.
        synthetic_weight: Weight of the synthetic batch's loss in the recipe ``paired``.
        scorer: For the filter, the teacher, and classifiers on frozen features.
        augment: See :mod:`rs_course.classification.augment`.
        classifier: A name for :func:`rs_course.classification.classifiers.build`, ``"linear-probe"`` or
            ``"clip-tuning"`` (both on frozen features, which are not augmented).
        steps: Gradient steps in all, the same for every arm: matched compute.
        batch: Images a step.
        rate: Highest learning rate; ``None`` takes the classifier's own.
        symmetries: Whether the test averages over the eight symmetries of the square.
        device: Where to train, ``"cpu"`` or ``"cuda"``.
        seed: Of shots, weights, order and augmentation.
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
    batch: int = 64
    rate: float | None = None
    symmetries: bool = True
    device: str = "cpu"
    seed: int = 0

    @classmethod
    def of(cls, task: dict | Task) -> Task:
        """Read and check a dict.

        Raises:
            ValueError: An unknown key or an impossible value.
        """
        if isinstance(task, cls):
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
        ``correct``           bytes: correctness of every test image (:func:`statistics.unpack`)
        ``n_test``            number of test images; ``n_real``, ``n_synthetic``: of training images
        ``n_candidates``      size of the synthetic set; ``n_rejected``: what the filter refuses of it
        ``n_leaked``          test images whose very pixels are in the training set
        ``seconds``           CPU seconds of training and test
        ``real_hash``         of pixels and labels, empty if none; so ``synthetic_hash``, ``test_hash``
        ``predictions_hash``  of the predicted classes
        ====================  =======================================================================

    Raises:
        ValueError, FileNotFoundError: What the task asks for is not possible or not there.
    """
    from rs_course import datasets
    from rs_course.classification.evaluation import evaluate

    task = Task.of(task)
    real_data = datasets.load(task.dataset, "train", size=task.pool)
    test_data = datasets.load(task.dataset, "test", size=task.test)
    if task.classes:
        names = [name.strip() for name in task.classes.split(",")]
        real_data, test_data = real_data.with_classes(names), test_data.with_classes(names)
    test = Tiles.of(test_data)
    real = None if task.arm == "synthetic" else real_shots(real_data, task.real_per_class, seed=task.seed)
    synthetic, candidates, rejected = _synthetic(task, real_data.classes)
    if synthetic is not None and synthetic.images.shape[1:] != test.images.shape[1:]:
        raise ValueError(
            f"The synthetic images have {_side(synthetic)} pixels and the test images {_side(test)}: "
            "generate or load both in one size."
        )
    real, added = compose(
        task.arm, real, synthetic, copies=task.added * len(real_data.classes), seed=task.seed
    )
    started = time.process_time()
    probabilities = _train_and_predict(task, real, added, test)
    scores = evaluate(probabilities, test.labels)
    return {
        "accuracy": scores.accuracy,
        "top3": scores.top_k,
        "macro_f1": scores.macro_f1,
        "ece": scores.ece,
        "recall": scores.recall.tolist(),
        "confusion": scores.confusion.ravel().tolist(),
        "class_names": list(test.classes),
        "correct": statistics.pack(scores.correct),
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
    }


def _synthetic(task: Task, classes) -> tuple[Tiles | None, int, int]:
    """The wanted synthetic images, how many there were to choose from, and how many the filter refuses."""
    from rs_course import datasets

    if task.arm in ("real", "duplicate"):
        return None, 0, 0
    tiles = Tiles.of(datasets.load(task.synthetic, "train"))
    tiles = tiles.take(tiles.labels >= 0).in_classes(classes, what="the synthetic set")
    if (tiles.per_class() == 0).any():
        name = classes[int(tiles.per_class().argmin())]
        raise ValueError(
            f"The synthetic set {task.synthetic} has no image of the class {name}: generate some."
        )
    if "clip-filter" not in recipes.parse(task.recipe)[1]:
        return tiles.first(task.added, what="the synthetic set"), len(tiles), 0
    logits = recipes.zero_shot_logits(_scorer(task), tiles.images, _prompts(task, classes))
    p = recipes.softmax(logits)
    rejected = len(tiles) - len(recipes.filtered(tiles, p))
    chosen = recipes.best_of_each(p, tiles.labels, task.added, seed=task.seed)
    return tiles.take(chosen), len(tiles), rejected


def _leaked(test: Tiles, *training: Tiles | None) -> int:
    seen = {name for tiles in training if tiles is not None for name in tiles.hashes()}
    return sum(name in seen for name in test.hashes())


def _train_and_predict(task: Task, real: Tiles | None, added: Tiles | None, test: Tiles):
    """Class probabilities of the test images ``[N, C]``."""
    from rs_course.classification.training import fit, predict

    _, teaching = recipes.parse(task.recipe)
    parts = [(tiles.images, tiles.labels) for tiles in (real, added) if tiles is not None]
    settings = {"classes": len(test.classes), "steps": task.steps, "batch": task.batch, "seed": task.seed}
    settings |= {"augment": task.augment, "rate": task.rate, "device": task.device}
    if added is not None and "soft-targets" in teaching:
        logits = recipes.zero_shot_logits(_scorer(task), added.images, _prompts(task, test.classes))
        parts[-1] = (added.images, recipes.soft_targets(logits, added.labels))
    if task.classifier in FEATURE_CLASSIFIERS:
        return _on_features(task, parts, test, paired=bool(len(parts) == 2 and "paired" in teaching))
    if len(parts) == 2 and "pretrain" in teaching:
        half = {**settings, "steps": task.steps // 2}
        model = fit(*parts[1], classifier=task.classifier, **half)
        model = fit(*parts[0], classifier=model, **{**half, "steps": task.steps - task.steps // 2})
    elif len(parts) == 2 and "paired" in teaching:
        half = task.batch // 2  # of each, so that a step costs what it costs in the other arms
        settings |= {"batch": task.batch - half, "extra_batch": half, "extra_weight": task.synthetic_weight}
        model = fit(*parts[0], extra=parts[1], classifier=task.classifier, **settings)
    else:
        model = fit(*_pooled(parts, len(test.classes)), classifier=task.classifier, **settings)
    return predict(model, test.images, symmetries=task.symmetries)


def _on_features(task: Task, parts, test: Tiles, *, paired: bool):
    """Class probabilities from a linear layer on the scorer's frozen features."""
    from rs_course.classification import tuning

    scorer, prompts = _scorer(task), _prompts(task, test.classes)
    start = tuning.text_head(scorer, prompts) if task.classifier == "clip-tuning" else None
    parts = parts if paired else [_pooled(parts, len(test.classes))]
    pairs = [(scorer.image_embeddings(images), labels) for images, labels in parts]
    head = tuning.tune(
        pairs,
        len(test.classes),
        start=start,
        steps=task.steps,
        batch=task.batch,
        rate=task.rate,
        seed=task.seed,
    )
    return tuning.probabilities(head, scorer.image_embeddings(test.images))


def _pooled(parts, classes: int):
    """One set (images, targets ``[N, C]``) out of several."""
    from rs_course.classification.inputs import as_targets

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
    from rs_course.datasets.prompts import PHRASES

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
