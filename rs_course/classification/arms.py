"""The arms of a study: what a classifier is trained on.

=============  =====================================================================================
arm            training set
=============  =====================================================================================
``real``       the real images
``synthetic``  the synthetic images, as many as ``mixed`` has of them
``mixed``      both
``duplicate``  the real images and, in place of the synthetic ones, copies of real ones: a control for
               "more images" that hold nothing new
``shuffled``   as ``mixed``, but the synthetic labels are permuted: a control for what the pictures
               teach without their classes
=============  =====================================================================================

A ratio of 1:r means r synthetic images for every real one. Subsets are nested: 1:1 is contained in 1:2.
"""

from __future__ import annotations

import numpy as np

from rs_course.classification import controls
from rs_course.classification.sets import Tiles

ARMS = ("real", "synthetic", "mixed", "duplicate", "shuffled")
REAL_PER_CLASS = (1, 2, 4, 8, 16, 64, 100, 1000)
RATIOS = (1, 2, 3, 4)


def real_shots(data, per_class: int, *, seed: int) -> Tiles:
    """The first ``per_class`` images of every class in the draw ``seed`` of a data set; nested in
    ``per_class``.

    Raises:
        ValueError: A class has fewer images.
    """
    have = np.bincount(data.labels[data.labels >= 0], minlength=len(data.classes))
    if have.min() < per_class:
        name = data.classes[int(have.argmin())]
        raise ValueError(
            f"{data.title} has {have.min()} images of the class {name}, but {per_class} per class are "
            "wanted: lower the budget or load more of the data set."
        )
    from rs_course.datasets.splits import balanced_order

    # Classes take turns until the smallest one is used up, so the beginning of the order is balanced.
    rows = balanced_order(data.ids, data.labels, per_class * len(data.classes), seed, data.title)
    return Tiles.of(data, rows)


def compose(
    arm: str, real: Tiles | None, synthetic: Tiles | None = None, *, copies: int = 0, seed: int = 0
) -> tuple[Tiles | None, Tiles | None]:
    """Real part and added part of an arm; one of them is ``None`` where the arm does not have it.

    Args:
        arm: One of :data:`ARMS`.
        real: The real images.
        synthetic: The synthetic images of the wanted ratio.
        copies: For ``duplicate``, the number of copies in place of synthetic images.
        seed: Of the copies and the permutation.

    Raises:
        ValueError: Unknown arm, a part that is missing, or different classes.
    """
    if arm not in ARMS:
        raise ValueError(f"There is no arm {arm!r}: use {', '.join(ARMS)}.")
    if real is None and arm != "synthetic":
        raise ValueError(f"The arm {arm!r} needs real images.")
    if synthetic is None and arm not in ("real", "duplicate"):
        raise ValueError(f"The arm {arm!r} needs a synthetic set.")
    if real is not None and synthetic is not None and real.classes != synthetic.classes:
        raise ValueError(
            f"The real set has the classes {', '.join(real.classes)}, the synthetic one "
            f"{', '.join(synthetic.classes)}: the label spaces must be equal."
        )
    if arm == "real":
        return real, None
    if arm == "synthetic":
        return None, synthetic
    if arm == "duplicate":
        return real, controls.duplicates(real, copies, seed=seed)
    return real, controls.shuffled_labels(synthetic, seed=seed) if arm == "shuffled" else synthetic
