"""The torch preparation against the processors of transformers, which use Pillow."""

import numpy as np
import pytest
import torch
from PIL import Image

from rs_course.alignment.preparation import Preparation, resize


@pytest.mark.parametrize(("mode", "filter_"), [("bicubic", Image.BICUBIC), ("bilinear", Image.BILINEAR)])
@pytest.mark.parametrize("size", [(224, 224), (24, 18), (64, 200), (7, 48), (1, 1), (96, 96), (90, 20)])
def test_resize_equals_pillow_bit_for_bit(mode, filter_, size):
    pixels = np.random.default_rng(0).integers(0, 256, (64, 48, 3), np.uint8)
    theirs = np.asarray(Image.fromarray(pixels).resize(size[::-1], filter_))
    ours = resize(torch.from_numpy(pixels).permute(2, 0, 1)[None], size, mode)[0]
    np.testing.assert_array_equal(ours.permute(1, 2, 0).numpy(), theirs)


@pytest.mark.parametrize("shape", [(40, 64), (64, 40), (32, 32)])
def test_clip_preparation_equals_its_processor(clip, shape):
    from transformers import CLIPImageProcessorPil

    pixels = torch.randint(0, 256, (1, 3, *shape), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    processor = CLIPImageProcessorPil.from_pretrained(clip[0])
    theirs = processor(list(pixels), return_tensors="pt")["pixel_values"]
    settings = {
        "size": {"shortest_edge": 32},
        "crop_size": {"height": 32, "width": 32},
        "image_mean": processor.image_mean,
        "image_std": processor.image_std,
    }
    ours = Preparation.from_config(settings, "test")(pixels)["pixel_values"]
    assert ours.shape == theirs.shape == (1, 3, 32, 32)
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)


def test_settings_that_are_not_understood_are_named():
    good = {"size": 32, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    assert Preparation.from_config(good, "x").size == 32
    assert Preparation.from_config(good | {"do_resize": False}, "x").size is None
    for broken in (good | {"resample": 1}, good | {"size": {"longest_edge": 3}}, {"size": 32}):
        with pytest.raises(ValueError, match="image settings in x are not understood"):
            Preparation.from_config(broken, "x")


def test_a_crop_larger_than_the_image_is_named():
    crop = Preparation(size=None, crop=(32, 32), mean=(0.0,) * 3, std=(1.0,) * 3)
    with pytest.raises(ValueError, match="crops 32×32 pixels out of images that are 16×40"):
        crop(torch.zeros(1, 3, 16, 40, dtype=torch.uint8))
