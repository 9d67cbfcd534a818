"""Tiles, batches, layouts and number types give one result; baselines and the comparison of upscalers."""

import pytest
import torch

from rs_course import superres
from rs_course.paths import data_dir
from rs_course.superres import baselines, quality
from rs_course.superres.degradation import Stretch, bicubic, high_resolution, observed, round8
from rs_course.superres.learning import start_as_interpolation


@pytest.fixture(scope="module")
def network():
    """A small DSCF with weights large enough that 21 pixels away still matter."""
    torch.manual_seed(0)
    network = superres.SPAN(8).double().eval()
    for parameter in network.parameters():
        parameter.data *= 1.3
    return network


@pytest.mark.parametrize("tile", [1, 7, 16, 100])
def test_tiles_equal_the_whole(network, photograph, tile):
    images = photograph.double()[:, :, : 12 if tile == 1 else None, : 9 if tile == 1 else None]
    whole = superres.upscale(images, network)
    assert whole.shape == (2, 3, 4 * images.shape[2], 4 * images.shape[3])
    assert torch.allclose(superres.upscale(images, network, tile=tile), whole, atol=1e-9)


def test_a_margin_one_pixel_short_is_not_enough(network, photograph, monkeypatch):
    images = photograph.double()
    whole = superres.upscale(images, network)
    monkeypatch.setattr(superres.SPAN, "halo", superres.SPAN.halo - 1)
    short = superres.upscale(images, network, tile=16)
    assert not torch.equal(short, whole)


def test_batch_size_and_layout_change_rounding_only(photograph):
    torch.manual_seed(0)
    network = start_as_interpolation(superres.SPAN(26)).eval()
    images = photograph.repeat(3, 1, 1, 1)
    result = superres.upscale(images, network)
    assert torch.allclose(superres.upscale(images, network, batch_size=1), result, atol=1e-5)
    with torch.no_grad():
        assert torch.allclose(network(images).clamp(0, 1), result, atol=1e-5)
    assert result.is_contiguous() and not result.requires_grad
    assert torch.equal(superres.upscale(images[0], network), superres.upscale(images[:1], network))


def test_number_type_is_the_network_s(photograph):
    torch.manual_seed(0)
    network = start_as_interpolation(superres.SPAN(26))
    reference = superres.upscale(photograph, network)
    result = superres.upscale(photograph, network.bfloat16())
    assert result.dtype == torch.float32
    assert 0 < (result - reference).abs().mean() < 0.02


def test_gpu_in_half_precision(photograph):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA GPU")
    network = superres.load("mini-dscf")
    reference = superres.upscale(photograph, network)
    for dtype in (torch.bfloat16, torch.float16):
        result = superres.upscale(photograph, network.to("cuda", dtype))
        assert result.device.type == "cpu" and (result - reference).abs().mean() < 0.01


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        (torch.zeros(1, 4, 16, 16), {}, "images has 4 channels"),
        (torch.full((1, 3, 16, 16), 100.0), {}, r"images here lie in \[0, 1\]"),
        (torch.zeros(1, 3, 16, 16), {"tile": 0}, "tile=0"),
    ],
)
def test_bad_input(network, images, options, message):
    with pytest.raises(ValueError, match=message):
        superres.upscale(images, network, **options)


def test_no_tiles_where_they_are_not_exact():
    with pytest.raises(ValueError, match="EFDN pools over the whole image"):
        superres.upscale(torch.zeros(1, 3, 32, 32), superres.EFDN(), tile=16)


def test_untrained_espcn_is_bicubic_and_its_tiles_are_exact(photograph):
    network = baselines.ESPCN()
    assert torch.allclose(superres.upscale(photograph, network), baselines.bicubic(photograph), atol=1e-6)
    torch.nn.init.normal_(network.upsampler[0].weight)
    whole = superres.upscale(photograph, network.double())
    assert torch.allclose(superres.upscale(photograph, network, tile=13), whole, atol=1e-5)


def test_compare_ranks_the_truth_first_and_nearest_last():
    generator = torch.Generator().manual_seed(0)
    high = round8(superres.imresize(torch.rand(4, 3, 16, 16, generator=generator), 4))
    low = bicubic(high)
    results = quality.compare(
        {"nearest": baselines.nearest, "bicubic": baselines.bicubic, "truth": lambda x: high}, low, high
    )
    psnr = {name: r["psnr"].mean().item() for name, r in results.items()}
    assert psnr["nearest"] < psnr["bicubic"] < psnr["truth"]
    assert results["truth"]["texture"] < 1e-3 < results["bicubic"]["texture"]
    with pytest.raises(ValueError, match="it is no ×4 upscaler"):
        quality.compare({"double": lambda x: baselines.nearest(x, 2)}, low, high)


def test_texture_distance_ignores_order_and_sees_blur():
    generator = torch.Generator().manual_seed(1)
    high = torch.rand(6, 3, 40, 40, generator=generator)
    assert quality.texture_distance(high.flip(0), high) < 1e-6
    assert quality.texture_distance(baselines.bicubic(bicubic(high)), high) > 10


def test_power_spectrum_finds_a_wave():
    x = torch.arange(64) / 64
    wave = 0.5 + 0.3 * torch.cos(2 * torch.pi * 10 * x).expand(2, 3, 64, 64)
    frequency, power = quality.power_spectrum(wave)
    assert frequency[power.argmax()].item() == pytest.approx(10 / 64)
    with pytest.raises(ValueError, match="square"):
        quality.power_spectrum(torch.zeros(1, 3, 8, 9))


def test_drawn_texture_costs_three_decibels_and_looks_right():
    generator = torch.Generator().manual_seed(2)
    grey = 0.5 + 0.15 * torch.randn(40, 1, 64, 64, generator=generator)
    high = grey.clamp(0, 1).repeat(1, 3, 1, 1)
    low = bicubic(high)
    texture = baselines.DrawnTexture(baselines.bicubic, low[:20], high[:20], seed=5)
    results = quality.compare({"mean": baselines.bicubic, "draw": texture}, low[20:], high[20:])
    loss = (results["mean"]["psnr"] - results["draw"]["psnr"]).mean().item()
    assert 2.4 < loss < 4.2  # 3.01 for a draw with exactly the variance of what is missing
    assert results["draw"]["texture"] < 0.2 * results["mean"]["texture"]
    assert torch.equal(texture(low[:2]), texture(low[:5])[:2])
    with pytest.raises(ValueError, match="measured on 64×64 pixels"):
        texture(low[..., :8, :8])


def test_high_resolution_pictures():
    images, provenance = high_resolution(count=2)
    assert (images.shape, provenance) == ((2, 3, 256, 256), "simulated · test")
    again, _ = high_resolution(count=2, split="train")
    assert not torch.equal(images, again)
    with pytest.raises(ValueError, match="count=0"):
        high_resolution(count=0)
    with pytest.raises(ValueError, match="choose one of 'train', 'val', 'test'"):
        high_resolution(split="tset")


def test_observed_pairs_are_the_simulators_own():
    """The sensor shows the sharp pictures smaller, in their order, and not as the bicubic rule does."""
    low, high, provenance = observed(count=3)
    assert (low.shape, high.shape, provenance) == ((3, 3, 64, 64), (3, 3, 256, 256), "simulated · test")
    assert torch.equal(high, high_resolution(count=3)[0])
    apart = (low - bicubic(high)).abs().mean((1, 2, 3))
    assert (apart < (low - bicubic(high).roll(1, 0)).abs().mean((1, 2, 3))).all() and apart.min() > 0
    with pytest.raises(ValueError, match="count=0"):
        observed(count=0)


def test_real_pictures(shared):
    images, provenance = high_resolution(str(shared / "data" / "ucm_png.tar"), count=3)
    assert images.shape == (3, 3, 256, 256) and provenance.startswith("real")
    with pytest.raises(ValueError, match="lower count"):
        high_resolution(str(shared / "data" / "ucm_png.tar"), count=10_000)


def test_shipped_network_beats_bicubic():
    network = superres.load("mini-dscf")
    assert sum(p.numel() for p in network.parameters()) == 130_828
    high, _ = high_resolution(count=20)
    results = quality.compare({"bicubic": baselines.bicubic, "mini-dscf": network}, bicubic(high), high)
    assert (results["mini-dscf"]["psnr"] - results["bicubic"]["psnr"]).mean() > 1.5
    assert superres.load(data_dir() / "checkpoints" / "mini-dscf" / "teacher").channels == 48


def test_shipped_network_beats_bicubic_on_real_images(shared):
    high, _ = high_resolution(str(shared / "data" / "ucm_png.tar"), count=21)  # of the test split
    results = quality.compare(
        {"bicubic": baselines.bicubic, "mini-dscf": superres.load("mini-dscf")}, bicubic(high), high
    )
    assert (results["mini-dscf"]["psnr"] - results["bicubic"]["psnr"]).mean() > 0.7


def test_16_bit_reflectance_is_sharpened_and_comes_back_in_its_own_numbers():
    """A tile as a GeoTIFF holds it: [H, W, bands] of 16-bit numbers, any size, a stated stretch."""
    generator = torch.Generator().manual_seed(3)
    smooth = superres.imresize(torch.rand(1, 3, 5, 6, generator=generator), 4).clamp(0, 1)
    raw = (300 + 3500 * smooth[0].permute(1, 2, 0)).round().numpy().astype("uint16")
    stretch = Stretch((300,) * 3, (3800,) * 3)
    sharp = stretch.undo(superres.upscale(stretch.apply(raw), superres.load("mini-dscf")))
    assert sharp.shape == (4 * 20, 4 * 24, 3) and sharp.min() >= 300 and sharp.max() <= 3800
    means = sharp.reshape(20, 4, 24, 4, 3).mean((1, 3))
    assert abs(means - raw).mean() < 0.02 * 3500


def test_what_was_enlarged_can_be_trained_on(network):
    images = torch.rand(1, 3, 8, 8, dtype=torch.float64)
    for tile in (None, 4):
        enlarged = superres.upscale(images, network, tile=tile)
        weight = torch.ones(1, dtype=torch.float64, requires_grad=True)
        (enlarged * weight).sum().backward()
        assert weight.grad is not None and not enlarged.is_inference()


def test_flat_tiles_are_compared():
    flat, low = torch.full((2, 3, 64, 64), 0.25), torch.full((2, 3, 16, 16), 0.25)
    row = quality.compare({"nearest": baselines.nearest}, low, flat)["nearest"]
    assert row["texture"] == 0 and torch.isinf(row["psnr"]).all() and (row["ssim"] == 1).all()
