"""imresize equals MATLAB's rule as the official code computes it."""

import pytest
import torch

from rs_course.superres import imresize
from rs_course.superres.resize import resize_taps


def test_equals_official(golden):
    for case, meta in golden.numbers["imresize"].items():
        images = golden[f"imresize.{case}.in"].permute(2, 0, 1)
        result = imresize(images, meta["scale"]).permute(1, 2, 0)
        assert list(result.shape) == meta["out_shape"]
        for code in ("official", "basicsr"):
            assert (result - golden[f"imresize.{case}.out_{code}"]).abs().max() <= 2e-7


def test_low_resolution_and_baseline_of_the_photographs(golden):
    for name in golden.numbers["images"]:
        low = imresize(golden.image(f"img.{name}.hr_u8"), 1 / 4)[0].permute(1, 2, 0)
        assert (low - golden[f"img.{name}.lr_float_unrounded"]).abs().max() <= 2e-7
        large = imresize(golden.image(f"img.{name}.lr_u8"), 4)[0].permute(1, 2, 0)
        assert torch.equal((large.clamp(0, 1) * 255).round().byte(), golden[f"img.{name}.bicubic_u8"])


@pytest.mark.parametrize("scale", [1 / 4, 1 / 3, 0.7, 1, 2, 3.5, 4])
def test_constant_stays_and_batch_equals_single(scale):
    images = torch.rand(3, 2, 19, 23, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    batch = imresize(images, scale)
    assert torch.equal(batch[1], imresize(images[1], scale))
    assert torch.allclose(imresize(torch.full((1, 1, 9, 7), 0.3), scale), torch.tensor(0.3), atol=1e-6)


def test_keys_kernel_at_scale_4_and_its_mirror():
    index, weight = resize_taps(5, 4)
    # Output pixel 1 lies at 0.625: taps -1, 0, 1, 2 at distances 1.625, 0.625, 0.375, 1.375.
    assert index[0].tolist() == [1, 0, 0, 1]
    assert weight[0].tolist() == pytest.approx([-0.0439453125, 0.3896484375, 0.7275390625, -0.0732421875])
    assert torch.allclose(resize_taps(50, 1 / 4)[1].sum(1), torch.ones(13, dtype=torch.float64))


def test_differentiable():
    images = torch.rand(1, 1, 8, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: imresize(x, 1 / 4), images)
    assert torch.autograd.gradcheck(lambda x: imresize(x, 2), images)


def test_antialiasing_removes_what_cannot_be_shown():
    stripes = (torch.arange(64) % 4 < 2).float().expand(1, 1, 64, 64)
    assert imresize(stripes, 1 / 4)[..., 2:-2].std() < 1e-3
    shifted = stripes.roll(1, -1)
    with pytest.warns(UserWarning, match="aliased"):
        aliased = imresize(shifted, 1 / 4, antialias=False), imresize(stripes, 1 / 4, antialias=False)
    assert max(a[..., 2:-2].sub(0.5).abs().mean() for a in aliased) > 0.05


def test_half_precision_is_rounded_once():
    images = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0)).bfloat16()
    assert torch.equal(imresize(images, 4), imresize(images.float(), 4).bfloat16())


@pytest.mark.parametrize(
    ("images", "scale", "error", "message"),
    [
        (torch.zeros(3, 4, 4, dtype=torch.uint8), 2, TypeError, "divide uint8 by 255"),
        ([[1.0]], 2, TypeError, "not a list"),
        (torch.zeros(4, 4), 2, ValueError, r"\[N, C, H, W\]"),
        (torch.zeros(3, 0, 4), 2, ValueError, "H, W >= 1"),
        (torch.zeros(3, 4, 4), 0, ValueError, "scale=0"),
        (torch.zeros(3, 4, 4), float("nan"), ValueError, "scale=nan"),
    ],
)
def test_bad_input(images, scale, error, message):
    with pytest.raises(error, match=message):
        imresize(images, scale)
