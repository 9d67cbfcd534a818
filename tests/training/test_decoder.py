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
def appearance():
    return decoder.Appearance(classification.build("small-cnn", 4, seed=0))


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


def test_only_the_decoder_changes_and_features_come_nearer(tmp_path, monkeypatch, tiles, appearance, vae):
    before = {name: value.clone() for name, value in vae.state_dict().items()}
    steps(monkeypatch, 40)
    options = {"minutes": 1, "batch": 4, "lr": 3e-3, "log_every": 10}
    trained = decoder.fit(tmp_path, vae, tiles, {"seen": tiles[:2]}, appearance, **options)
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    for part in ("squared", "features", "texture"):
        assert log[-1][part] < log[0][part], part
    stored = AutoencoderKL.from_pretrained(tmp_path).state_dict()
    for name, value in trained.state_dict().items():
        ours = not name.startswith(("encoder", "quant_conv"))
        assert torch.equal(value, before[name]) != ours, name
        torch.testing.assert_close(stored[name].float(), value, rtol=1e-3, atol=1e-3)


def test_a_batch_is_a_function_of_seed_and_step(tiles, vae):
    latents = decoder.posteriors(vae, tiles)
    assert latents.shape == (10, 2, 4, 16, 16)
    one, same, other = (decoder.draw_batch(tiles, latents, 3, 0, step) for step in (7, 7, 8))
    assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True))
    assert not torch.equal(one[1], other[1])


def test_places_and_textures_are_told_apart(tiles, appearance):
    """A shift by the stride of all layers moves every feature but hardly any texture; blur does both."""
    x = torch.from_numpy(tiles).permute(0, 3, 1, 2) / 127.5 - 1
    assert [part.item() for part in appearance(x, x)] == [0, 0]
    shifted, other = appearance(x, x.roll(16, 3)), appearance(x, x.roll(1, 0))
    assert shifted[0] > 0.1 * other[0]
    assert shifted[1] < 0.2 * other[1]
    blurred = torch.nn.functional.avg_pool2d(x, 5, 1, 2)
    assert appearance(x, blurred)[1] > 2 * shifted[1]


def test_gram_is_the_mean_of_outer_products():
    maps = torch.rand(2, 3, 4, 5)
    wanted = torch.einsum("nchw,ndhw->ncd", maps, maps) / 20
    torch.testing.assert_close(decoder.gram(maps), wanted)
