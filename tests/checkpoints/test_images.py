"""The one image convention: float [N, 3, H, W] in [0, 1]; anything else is named."""

import numpy as np
import pytest
import torch

from rs_course.checkpoints.images import image_batch


def test_valid_batches_pass_unchanged():
    images = torch.rand(2, 3, 4, 5, dtype=torch.float64)
    assert image_batch(images) is images
    assert image_batch(images[0]).shape == (1, 3, 4, 5)
    assert image_batch(torch.rand(1, 1, 4, 4), channels=1).shape == (1, 1, 4, 4)
    assert image_batch(torch.rand(1, 7, 4, 4), channels=None).shape == (1, 7, 4, 4)
    assert image_batch(torch.empty(0, 3, 4, 4)).shape == (0, 3, 4, 4)


def test_rounding_beyond_the_range_is_allowed_but_not_another_convention():
    image_batch(torch.full((1, 3, 2, 2), 1.0005))
    with pytest.raises(ValueError, match=r"values in \[-1, -1\]; images here lie in \[0, 1\]"):
        image_batch(torch.full((1, 3, 2, 2), -1.0))


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (np.zeros((1, 3, 2, 2)), TypeError, "must be a torch tensor .* not ndarray"),
        (torch.zeros(1, 3, 2, 2, dtype=torch.uint8), TypeError, "divide uint8 images by 255"),
        (torch.zeros(2, 2), ValueError, "an image batch is"),
        (torch.zeros(1, 4, 5, 3), ValueError, r"channels come first: permute \[N, H, W, 3\]"),
        (torch.full((1, 3, 2, 2), torch.nan), ValueError, "contains NaN"),
    ],
)
def test_mistakes_are_named(images, error, message):
    with pytest.raises(error, match=message):
        image_batch(images, "tiles")
