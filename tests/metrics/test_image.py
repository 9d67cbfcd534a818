"""PSNR and SSIM equal the field's values under every named convention, and refuse the field's accidents."""

import json
import math

import numpy as np
import pytest
import torch

from rs_course.metrics import CONVENTIONS, luma, psnr, ssim
from rs_course.superres.degradation import round8


def as_batch(array, dtype=torch.float64):
    return torch.from_numpy(array).permute(2, 0, 1)[None].to(dtype) / 255


@pytest.fixture(scope="module")
def golden(shared):
    folder = shared / "fixtures" / "superresolution"
    return json.loads((folder / "golden.json").read_text()), np.load(folder / "golden.npz")


def golden_pairs(golden):
    numbers, arrays = golden
    for image, entry in numbers["images"].items():
        for method, values in entry["metrics"].items():
            yield arrays[f"img.{image}.{method}_u8"], arrays[f"img.{image}.hr_u8"], values
    synthetic = numbers["metric_synthetic"]
    yield arrays["metric.noisy_u8"], arrays["metric.a_u8"], synthetic["noisy_vs_a"]
    yield arrays["metric.a_u8"], arrays["metric.a_u8"], synthetic["a_vs_a"]


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("measure", [psnr, ssim])
def test_conventions_equal_the_code_they_are_named_after(golden, convention, measure):
    for pred, target, values in golden_pairs(golden):
        for crop in (0, 4):
            expected = float(values[f"{convention}_{measure.__name__}_crop{crop}"])
            for dtype in (torch.float64, torch.float32):
                pair = as_batch(pred, dtype), as_batch(target, dtype)
                value = measure(*pair, crop=crop, **CONVENTIONS[convention]).item()
                assert value == expected or abs(value - expected) < 1e-6


def test_luma(golden):
    _, arrays = golden
    rgb = as_batch(arrays["ycbcr.rgb_u8"])
    assert np.abs(luma(rgb)[0, 0].numpy() * 255 - arrays["ycbcr.basicsr_y_float"]).max() < 2e-5
    assert np.array_equal(
        (luma(rgb, rounded=True)[0, 0] * 255).round().byte().numpy(), arrays["ycbcr.official_y_u8"]
    )


def test_means_of_images_not_pooled_errors(golden):
    numbers, arrays = golden
    expected = numbers["torchmetrics_psnr_over_two_images"]
    values = [
        psnr(as_batch(arrays[f"img.{i}.dscf_u8"]), as_batch(arrays[f"img.{i}.hr_u8"]))
        for i in expected["images"]
    ]
    assert torch.cat(values).mean().item() == pytest.approx(expected["mean_of_per_image_psnr"], abs=1e-6)


@pytest.fixture
def pair():
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(3, 3, 40, 48, generator=generator, dtype=torch.float64)
    return (target + 0.1 * torch.randn(target.shape, generator=generator, dtype=torch.float64)).clamp(
        0, 1
    ), target


def test_equals_skimage_with_the_field_s_settings(pair):
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
    pred, target = pair
    for i in range(3):
        p, t = (x[i].permute(1, 2, 0).numpy() for x in pair)
        assert psnr(pred, target)[i].item() == pytest.approx(peak_signal_noise_ratio(t, p, data_range=1.0))
        assert ssim(pred, target)[i].item() == pytest.approx(
            structural_similarity(t, p, channel_axis=-1, **settings)
        )


def test_torchmetrics_agrees_only_inside_the_image(pair):
    from torchmetrics.functional.image import structural_similarity_index_measure as theirs

    pred, target = pair
    default, full = theirs(pred, target, data_range=1.0, reduction="none", return_full_image=True)
    assert torch.allclose(full[..., 5:-5, 5:-5], ssim(pred, target, return_map=True), atol=1e-12)
    assert (default - ssim(pred, target)).abs().min() > 1e-5


def test_scale_of_the_data_range_cancels(pair):
    pred, target = pair
    for measure in (psnr, ssim):
        assert torch.allclose(measure(pred * 255, target * 255, data_range=255.0), measure(pred, target))


def test_closed_forms():
    target = torch.zeros(1, 3, 16, 16)
    assert psnr(target + 0.1, target).item() == pytest.approx(20, abs=1e-6)
    assert psnr(target, target).item() == math.inf
    assert ssim(target + 0.1, target).item() == pytest.approx(1e-4 / (0.01 + 1e-4), rel=1e-5)
    # Studio-range luma spans 219 of 255 steps.
    white = torch.ones(1, 3, 16, 16)
    assert psnr(white, target, channel="y").item() == pytest.approx(-20 * math.log10(219 / 255), abs=1e-9)


def test_crop_ignores_the_border(pair):
    pred, target = pair
    damaged = pred.clone()
    damaged[..., :4, :] = 0
    assert torch.equal(psnr(damaged, target, crop=4), psnr(pred, target, crop=4))
    assert torch.equal(psnr(pred, target, crop=4), psnr(pred[..., 4:-4, 4:-4], target[..., 4:-4, 4:-4]))


def test_rounding_is_half_to_even():
    assert torch.equal(round8(torch.tensor([0.5, 1.5, 2.5]) / 255) * 255, torch.tensor([0.0, 2.0, 2.0]))


@pytest.mark.parametrize("measure", [psnr, ssim])
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"pred": torch.zeros(1, 3, 20, 20, dtype=torch.uint8)}, TypeError, "divide uint8 by 255"),
        ({"pred": torch.zeros(1, 4, 20, 20)}, ValueError, r"an image batch is \[N, 3, H, W\]"),
        ({"pred": torch.zeros(1, 3, 20, 16)}, ValueError, "differ in size"),
        ({"pred": torch.full((1, 3, 20, 20), float("nan"))}, ValueError, "NaN"),
        ({"pred": torch.full((1, 3, 20, 20), 128.0)}, ValueError, "data_range=1"),
        ({"data_range": 0}, ValueError, "data_range=0"),
        ({"channel": "Y"}, ValueError, "choose 'rgb' or 'y'"),
        ({"crop": 10}, ValueError, "crop=10 leaves nothing"),
        ({"rounding": "uint8"}, ValueError, "rounding='uint8'"),
    ],
)
def test_bad_input(measure, change, error, message):
    arguments = {"pred": torch.zeros(1, 3, 20, 20), "target": torch.zeros(1, 3, 20, 20), **change}
    with pytest.raises(error, match=message):
        measure(arguments.pop("pred"), arguments.pop("target"), **arguments)


def test_ssim_needs_eleven_pixels():
    with pytest.raises(ValueError, match="at least 11×11"):
        ssim(torch.zeros(1, 3, 18, 18), torch.zeros(1, 3, 18, 18), crop=4)


def test_warnings_of_the_field_s_accidents():
    target = torch.full((1, 3, 20, 20), 0.5)
    with pytest.warns(UserWarning, match="clamp a network's output"):
        psnr(target + 0.6, target)
    with pytest.warns(UserWarning, match="were the images meant to be in"):
        psnr(target, target, data_range=255.0)
