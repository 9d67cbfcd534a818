"""The training loop: batches, first guess, resuming, and the two-stage recipe end to end at toy size."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from rs_course import superres
from rs_course.metrics import psnr
from rs_course.superres import baselines, learning
from rs_course.training import dscf


@pytest.fixture(scope="module")
def pool():
    generator = torch.Generator().manual_seed(0)
    high = superres.imresize(torch.rand(4, 3, 32, 32, generator=generator), 4).clamp(0, 1)
    return learning.pairs((high * 255).round().byte().permute(0, 2, 3, 1).numpy())


def test_pairs_are_the_fields(pool):
    low, high = pool
    assert (low.dtype, low.shape, high.shape) == (torch.uint8, (4, 3, 32, 32), (4, 3, 128, 128))
    assert torch.equal(superres.degradation.bicubic(high.float() / 255), low.float() / 255)


def test_every_batch_is_a_pair_and_depends_on_seed_and_step_alone(pool):
    first = learning.batches([pool], batch=3, patch=20, seed=1)
    batches = [next(first) for _ in range(4)]
    again = next(learning.batches([pool], batch=3, patch=20, seed=1, start=2))
    assert all(torch.equal(a, b) for a, b in zip(batches[2], again, strict=True))
    for low, high in batches:
        # Away from the border, where shrinking saw other pixels, the low patch is the high one shrunk.
        shrunk = superres.imresize(high, 1 / 4)
        assert (shrunk - low)[..., 2:-2, 2:-2].abs().max() <= 0.5 / 255 + 1e-6


def test_first_guess_is_nearly_bilinear(pool):
    torch.manual_seed(0)
    network = learning.start_as_interpolation(superres.SPAN(26))
    low, high = (images.float() / 255 for images in pool)
    guess = superres.upscale(low, network)
    bilinear = torch.nn.functional.interpolate(low, scale_factor=4, mode="bilinear")
    assert psnr(guess, bilinear).min() > 18
    random = superres.upscale(low, superres.SPAN(26))
    assert psnr(guess, high).mean() > psnr(random, high).mean() + 5


def fit(network, pool, steps, **options):
    def data(start):
        return learning.batches([pool], batch=2, patch=16, seed=0, start=start)

    return learning.fit(network, data, learning.decibels, steps=steps, rate=1e-3, **options)


def test_interrupted_training_goes_on_to_the_same_weights(pool, tmp_path):
    torch.manual_seed(0)
    whole, resumed = baselines.ESPCN(8), baselines.ESPCN(8)
    start = {key: value.clone() for key, value in whole.state_dict().items()}
    for _ in fit(whole, pool, 12):
        pass
    for network, stop in ((resumed, 5), (resumed, 99)):
        network.load_state_dict(start)
        for step, _terms in fit(network, pool, 12, state_file=tmp_path / "state", save_every=0):
            if step == stop:
                break
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))


def test_seconds_of_regression_beat_bicubic(pool):
    torch.manual_seed(0)
    network = baselines.ESPCN(16)
    for _ in fit(network, pool, 150):
        pass
    low, high = (images.float() / 255 for images in pool)
    gain = psnr(superres.upscale(low, network), high) - psnr(baselines.bicubic(low), high)
    assert gain.min() > 0.2


def test_recipe_writes_official_layout_and_goes_on(pool, tmp_path):
    recipe = {name: replace(stage, patch=16, batch=2) for name, stage in dscf.RECIPE.items()}
    lines = []
    network = dscf.train(tmp_path, pools=[pool], minutes=0.05, recipe=recipe, log=lines.append)
    loaded = superres.load(tmp_path)
    assert sum(p.numel() for p in loaded.parameters()) == 130_828
    assert all(torch.equal(network.state_dict()[k], v) for k, v in loaded.state_dict().items())
    record = json.loads((tmp_path / "training.json").read_text())
    assert list(record["stages"]) == list(dscf.RECIPE)
    base = load_file(tmp_path / "state" / "student-fine.safetensors")
    # The recipe freezes what ConvLoRA does not adapt: first layer, 1×1 layer, all biases.
    for key, value in loaded.state_dict().items():
        frozen = key.endswith("bias") or key.startswith(("conv_1", "conv_cat"))
        assert torch.equal(value, base[key]) == frozen, key
    factors = load_file(tmp_path / "conv_lora" / "factors.safetensors")
    unmerged = superres.conv_lora.unmerge(superres.load(tmp_path), factors)
    for key, value in unmerged.state_dict().items():
        if "lora_" not in key:
            assert torch.allclose(value, base[key], atol=1e-6), key
    assert superres.load(tmp_path / "teacher").channels == 48
    again = dscf.train(tmp_path, pools=[pool], minutes=0.05, recipe=recipe)
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), network.parameters(), strict=True))
