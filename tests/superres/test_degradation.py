"""MATLAB's bicubic, degradations, 16-bit data."""

import math

import numpy as np
import pytest
import torch

from rs_course.superres import degradation, imresize
from rs_course.superres.degradation import resize_taps
from rs_course.superres.quality import check_pair


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
def test_bad_input_of_resizing(images, scale, error, message):
    with pytest.raises(error, match=message):
        imresize(images, scale)


def test_bicubic_equals_the_stored_low_resolution(golden):
    for name in golden.numbers["images"]:
        low = degradation.bicubic(golden.image(f"img.{name}.hr_u8"))
        assert torch.equal((low * 255).round().byte()[0].permute(1, 2, 0), golden[f"img.{name}.lr_u8"])


def test_sensor_keeps_a_constant_and_its_centre():
    assert torch.allclose(
        degradation.sensor(torch.full((1, 3, 16, 16), 0.4), noise=0), torch.tensor(0.4), atol=1e-6
    )
    ramp = torch.linspace(0, 1, 64, dtype=torch.float64).expand(1, 3, 64, 64)
    low = degradation.sensor(ramp, noise=0)
    # A symmetric window turns a straight ramp into the mean of each block of four.
    assert (low - ramp.unfold(-1, 4, 4).mean(-1)[..., 2::4, :])[..., 3:-3].abs().max() <= 0.5 / 255 + 1e-9


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_sensor_transfers_a_wave_as_its_formula_says(scale):
    """A Gaussian of standard deviation σ multiplies a wave of frequency f by exp(-2 π² σ² f²)."""
    side, psf, cycles = 48 * scale, 0.7, 6
    x = (torch.arange(side, dtype=torch.float64) + 0.5) / side
    wave = 0.5 + 0.4 * torch.cos(2 * math.pi * cycles * x).expand(1, 3, side, side)
    low = degradation.sensor(wave, scale, psf=psf, noise=0)[
        0, 0, 24, 12:36
    ]  # three cycles, far from the border
    amplitude = 2 * torch.fft.fft(low.double())[3].abs().item() / 24
    assert amplitude == pytest.approx(0.4 * math.exp(-2 * (math.pi * psf * cycles / 48) ** 2), rel=0.01)


def test_sensor_noise_belongs_to_the_image():
    high = torch.full((4, 3, 64, 64), 0.5)
    low = degradation.sensor(high, noise=0.02, seed=3)
    assert torch.equal(low[:2], degradation.sensor(high[:2], noise=0.02, seed=3))
    assert low.std().item() == pytest.approx(0.02, rel=0.05)


def test_modcrop():
    assert degradation.modcrop(torch.zeros(1, 3, 101, 107)).shape == (1, 3, 100, 104)


@pytest.mark.parametrize("shrink", [degradation.bicubic, degradation.sensor])
@pytest.mark.parametrize(
    ("high", "scale", "error", "message"),
    [
        (torch.zeros(1, 3, 30, 32), 4, ValueError, "30×32 pixels do not divide by 4: cut them first"),
        (torch.zeros(1, 3, 32, 32), 2.5, ValueError, "scale=2.5: the enlargement is a whole number"),
        (torch.zeros(1, 3, 32, 32), 1, ValueError, "scale=1"),
        (torch.zeros(1, 4, 32, 32), 4, ValueError, "high has 4 channels"),
        (torch.full((1, 3, 32, 32), 200.0), 4, ValueError, r"images here lie in \[0, 1\]"),
        (torch.zeros(1, 3, 32, 32, dtype=torch.uint8), 4, TypeError, "divide uint8"),
    ],
)
def test_bad_input(shrink, high, scale, error, message):
    with pytest.raises(error, match=message):
        shrink(high, scale)


def test_bad_sensor():
    with pytest.raises(ValueError, match="psf=0"):
        degradation.sensor(torch.zeros(1, 3, 8, 8), psf=0)


def test_pairs_that_do_not_match():
    low = torch.zeros(2, 3, 8, 8)
    assert check_pair(low, torch.zeros(2, 3, 32, 32), 4)[0].shape == low.shape
    with pytest.raises(ValueError, match="8×8 and high resolution 33×32 are no ×4 pair: crop"):
        check_pair(low, torch.zeros(2, 3, 33, 32), 4)
    with pytest.raises(ValueError, match="2 low-resolution and 1 high-resolution"):
        check_pair(low, torch.zeros(1, 3, 32, 32), 4)


def test_stretch_of_16_bit_reflectance():
    raw = np.random.default_rng(0).integers(300, 4000, (12, 10, 3)).astype(np.uint16)
    stretch = degradation.Stretch((0, 0, 0), (4000, 4000, 5000))
    image = stretch.apply(raw)
    assert image.shape == (1, 3, 12, 10)
    assert image[0, 2, 4, 5].item() == pytest.approx(raw[4, 5, 2] / 5000)
    assert np.abs(stretch.undo(image) - raw).max() < 1e-3


def test_bad_stretch():
    with pytest.raises(ValueError, match="is a band constant"):
        degradation.Stretch((7,) * 3, (7,) * 3)
    with pytest.raises(ValueError, match=r"takes \[H, W, 3\]: choose the bands first"):
        degradation.Stretch((0,) * 3, (1,) * 3).apply(np.zeros((4, 4, 13), np.uint16))
