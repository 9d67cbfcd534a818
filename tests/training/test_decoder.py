"""The autoencoder's second training: texture comes nearer, the latents stay near the first edition's."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL

from rs_course import classification, simulated_earth
from rs_course.diffusion.pixel import from_pixels
from rs_course.training import vae as training
from rs_course.training.vae import ARCHITECTURE
from rs_course.training_loop import Budget

TINY = {**ARCHITECTURE, "block_out_channels": (8, 8, 8), "norm_num_groups": 4}


@pytest.fixture(scope="module")
def tiles():
    return np.stack([simulated_earth.scene(label, 5).image for label in simulated_earth.CLASSES])


@pytest.fixture
def distance():
    return training.FeatureDistance(classification.build("small-cnn", 4, seed=0))


@pytest.fixture
def vae():
    torch.manual_seed(0)
    return AutoencoderKL(**TINY)


def test_texture_comes_nearer(tmp_path, tiles, distance, vae):
    recipe = replace(training.DECODER_RECIPE, lr=3e-3, log_every=10)
    options = {"budget": Budget(steps=40), "batch_size": 4, "recipe": recipe}
    trained = training.fit_decoder(tmp_path, vae, tiles, {"seen": tiles[:2]}, [distance], **options)
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    for part in {*training.DECODER_WEIGHTS} - {"drift", "kl"}:
        assert log[-1][part] < log[0][part], part
    stored = AutoencoderKL.from_pretrained(tmp_path).state_dict()
    for name, value in trained.state_dict().items():
        torch.testing.assert_close(stored[name].float(), value, rtol=1e-3, atol=1e-3)


def test_losses_are_a_function_of_the_seed(tiles, distance, vae):
    x, known = from_pixels(tiles[:2]), training.posterior_means(vae, tiles[:2]).float()
    one, same, other = (training.decoder_losses(vae, distance, x, known, seed=seed) for seed in (7, 7, 8))
    assert one["squared"] == same["squared"] != other["squared"]
    assert one["drift"] < 1e-4  # nothing has been learnt yet
    far = training.decoder_losses(vae, distance, x, known + 0.5, seed=7)["drift"].item()
    assert far == pytest.approx(0.25 * vae.config.scaling_factor**2, rel=0.02)


def test_equal_images_have_no_distance(tiles, distance):
    x = torch.from_numpy(tiles).permute(0, 3, 1, 2) / 127.5 - 1
    assert [part.item() for part in distance(x, x)] == [0, 0]
    assert distance(x, x.roll(1, 0))[0].item() > 0.05
    distance.classifier.body[-1].weight.data.mul_(50)  # a classifier that is sure of what it sees
    assert distance(x, x.roll(1, 0))[1].item() > 0.01


def test_energies_know_how_strong_detail_is_and_not_where_it_lies(tiles):
    x = torch.from_numpy(tiles).permute(0, 3, 1, 2) / 127.5 - 1
    full, half = training.energies(x)
    assert full.shape == (10, 24, 14, 14) and half.shape == (10, 24, 6, 6)
    twice = training.energies(2 * x)[0]
    strong = full > np.log(100 * training.FAINT)
    torch.testing.assert_close(twice[strong], full[strong] + np.log(4), rtol=0, atol=0.02)
    blurred = torch.nn.functional.avg_pool2d(x, 3, 1, 1)
    assert (training.energies(blurred)[0] < full).float().mean() > 0.95
    assert training.energies(torch.full_like(x, 0.3))[0].exp().max() < 1.01 * training.FAINT


def test_bands_keep_the_energy_of_a_patch():
    """The eight bands and the mean are an orthonormal basis of 3×3 patches (Parseval)."""
    patch = torch.randn(1, 3, 3, 3)
    bands = training.bands_of(patch)
    total = bands.square().sum() + 3 * (patch.mean((2, 3)) * 3).square().sum() / 3
    torch.testing.assert_close(total, patch.square().sum())
