"""The decoder's second training: the encoder stays, features come nearer, an interruption changes nothing."""

import json

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL

from rs_course import classification, simulated_earth
from rs_course.training import decoder
from rs_course.training.clock import Clock
from rs_course.training.vae import ARCHITECTURE

TINY = {**ARCHITECTURE, "block_out_channels": (8, 8, 8), "norm_num_groups": 4}


@pytest.fixture(scope="module")
def tiles():
    return np.stack([simulated_earth.scene(label, 5).image for label in simulated_earth.CLASSES])


@pytest.fixture
def distance():
    return decoder.FeatureDistance(classification.build("small-cnn", 4, seed=0))


@pytest.fixture
def vae():
    torch.manual_seed(0)
    return AutoencoderKL(**TINY)


def steps(monkeypatch, count):
    """A clock that runs for ``count`` steps of the loop, whatever the machine does."""
    passed = {"looks": 0}

    def share(self):
        passed["looks"] += 1
        return (passed["looks"] // 3) / count  # three looks a step

    monkeypatch.setattr(Clock, "share", property(share))


def test_only_the_decoder_changes_and_features_come_nearer(tmp_path, monkeypatch, tiles, distance, vae):
    before = {name: value.clone() for name, value in vae.state_dict().items()}
    steps(monkeypatch, 40)
    options = {"minutes": 1, "batch": 4, "lr": 3e-3, "log_every": 10}
    trained = decoder.fit(tmp_path, vae, tiles, {"seen": tiles[:2]}, distance, **options)
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert log[-1]["features"] < log[0]["features"] and log[-1]["mse"] < log[0]["mse"]
    stored = AutoencoderKL.from_pretrained(tmp_path).state_dict()
    for name, value in trained.state_dict().items():
        ours = not name.startswith(("encoder", "quant_conv"))
        assert torch.equal(value, before[name]) != ours, name
        torch.testing.assert_close(stored[name].float(), value, rtol=1e-3, atol=1e-3)


def test_the_critic_is_as_loud_as_asked(tiles, distance, vae):
    """With the critic heard, the last layer's gradient grows by at most CRITIC times its own length."""
    torch.manual_seed(1)
    critic = decoder.Critic()
    x, z = decoder.draw_batch(tiles, decoder.posteriors(vae, tiles), 4, 0, 0)
    painter = [*vae.decoder.parameters()]
    last = next(i for i, p in enumerate(painter) if p is vae.decoder.conv_out.weight)
    alone, heard = (
        decoder.gradients_of(vae, critic, distance, x, z, painter, heard=h)[0][last] for h in (False, True)
    )
    assert (heard - alone).norm() == pytest.approx(decoder.CRITIC * alone.norm().item(), rel=1e-2)


def test_a_batch_is_a_function_of_seed_and_step(tiles, vae):
    latents = decoder.posteriors(vae, tiles)
    assert latents.shape == (10, 2, 4, 16, 16)
    one, same, other = (decoder.draw_batch(tiles, latents, 3, 0, step) for step in (7, 7, 8))
    assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True))
    assert not torch.equal(one[1], other[1])


def test_equal_images_have_no_distance(tiles, distance):
    x = torch.from_numpy(tiles).permute(0, 3, 1, 2) / 127.5 - 1
    assert distance(x, x).item() == 0
    assert distance(x, x.roll(1, 0)).item() > 0.05
