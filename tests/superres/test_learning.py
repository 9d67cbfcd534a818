"""Training for super-resolution: batches, first guess, and the two-stage recipe end to end at toy size."""

import copy
import itertools
import json
import math
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from rs_course import superres
from rs_course.metrics import psnr
from rs_course.superres import baselines, learning
from rs_course.training import dscf
from rs_course.training_loop import EMA, Budget


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
    first = learning.batches([pool], batch_size=3, patch=20, seed=1)
    batches = [next(first) for _ in range(4)]
    again = next(learning.batches([pool], batch_size=3, patch=20, seed=1, first_step=2))
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


def train(network, pool, steps, **options):
    def data(first):
        return learning.batches([pool], batch_size=2, patch=16, seed=0, first_step=first)

    options = {"lr": 1e-3, **options}
    return learning.train(network, data, learning.decibels, Budget(steps=steps), **options)


def test_a_training_is_adam_with_a_warm_up_a_cosine_clipping_and_an_average(pool):
    torch.manual_seed(0)
    ours = baselines.ESPCN(8)
    theirs, average, ema = copy.deepcopy(ours), copy.deepcopy(ours), EMA(ours)
    optimizer = torch.optim.Adam(theirs.parameters(), betas=(0.9, 0.99))

    def loss(network, low, high):  # so steep that it has to be clipped
        return {"total": 1e4 * learning.decibels(network, low, high)["total"]}

    def data(first):
        return learning.batches([pool], batch_size=2, patch=16, seed=0, first_step=first)

    run = learning.train(ours, data, loss, Budget(steps=60), lr=1e-2, ema=ema)
    for k, (_, (low, high)) in enumerate(zip(itertools.islice(run, 60), data(0), strict=False)):
        warm, cosine = min(1, (k + 1) / 50), max(0.02, 0.5 * (1 + math.cos(math.pi * k / 60)))
        optimizer.param_groups[0]["lr"] = 1e-2 * warm * cosine
        optimizer.zero_grad()
        loss(theirs, low, high)["total"].backward()
        assert torch.nn.utils.clip_grad_norm_(theirs.parameters(), 1.0) > 1
        optimizer.step()
        for mean, current in zip(average.parameters(), theirs.parameters(), strict=True):
            mean.data.lerp_(current.data, 1 - min(0.999, (2 + k) / (11 + k)))
        if k in (3, 59):
            for a, b in ((ours, theirs), (ema.module, average)):
                for one, other in zip(a.parameters(), b.parameters(), strict=True):
                    torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)
    assert k == 59


def test_seconds_of_regression_beat_bicubic(pool):
    torch.manual_seed(0)
    network = baselines.ESPCN(16)
    ema = EMA(network)
    for _ in train(network, pool, 150, ema=ema):
        pass
    low, high = (images.float() / 255 for images in pool)
    gain = psnr(superres.upscale(low, ema.module), high) - psnr(baselines.bicubic(low), high)
    assert gain.min() > 0.2


def test_the_old_name_averages_in_place_and_says_what_it_is_called_now(pool):
    torch.manual_seed(0)
    old, new = baselines.ESPCN(8), baselines.ESPCN(8)
    new.load_state_dict(old.state_dict())
    ema = EMA(new)
    for _ in train(new, pool, 5, ema=ema):
        pass

    def data(first):
        return learning.batches([pool], batch=2, patch=16, seed=0, start=first)

    with pytest.warns(DeprecationWarning, match="is called superres.learning.train now"):
        for _ in learning.fit(old, data, learning.decibels, steps=5, rate=1e-3):
            pass
    assert all(torch.equal(a, b) for a, b in zip(old.parameters(), ema.module.parameters(), strict=True))


def test_recipe_writes_official_layout_and_goes_on(pool, tmp_path):
    recipe = {name: replace(stage, patch=16, batch_size=2) for name, stage in dscf.RECIPE.items()}
    network = dscf.train(tmp_path, pools=[pool], minutes=0.05, recipe=recipe)
    loaded = superres.load(tmp_path)
    assert sum(p.numel() for p in loaded.parameters()) == 130_828
    assert all(torch.equal(network.state_dict()[k], v) for k, v in loaded.state_dict().items())
    record = json.loads((tmp_path / "training.json").read_text())
    assert list(record["stages"]) == list(dscf.RECIPE)
    base = load_file(tmp_path / "state" / "student-fine.safetensors")
    average = torch.load(tmp_path / "state" / "student-fine" / "training.pt", weights_only=True)["ema"]
    assert all(torch.equal(base[key], value) for key, value in average.items())
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
