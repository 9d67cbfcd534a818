"""mini-vae's training on a few simulated tiles and a network small enough for seconds."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL

from rs_course import simulated_earth
from rs_course.training import vae
from rs_course.training_loop import Budget

TINY = {"block_out_channels": (8, 8, 8), "norm_num_groups": 4}


@pytest.fixture(scope="module")
def tiles():
    return np.stack([simulated_earth.scene(label, 0).image for label in simulated_earth.CLASSES[:4]])


def test_training_lowers_the_error_and_writes_the_diffusers_layout(tmp_path, tiles):
    recipe = replace(vae.RECIPE, log_every=20)
    options = {"budget": Budget(steps=60), "batch_size": 4, "recipe": recipe, "model": TINY}
    vae.fit(tmp_path / "whole", tiles, {"seen": tiles}, **options)
    log = [json.loads(line) for line in (tmp_path / "whole" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log] == [20, 40, 60]
    assert log[-1]["psnr"]["seen"] > log[0]["psnr"]["seen"] + 1

    model = AutoencoderKL.from_pretrained(tmp_path / "whole")
    latents = model.encode(torch.rand(2, 3, 64, 64)).latent_dist.mean
    assert latents.shape == (2, 4, 16, 16)
    x = torch.from_numpy(tiles).permute(0, 3, 1, 2) / 127.5 - 1
    scaled = model.encode(x).latent_dist.mean * model.config.scaling_factor
    assert scaled.std().item() == pytest.approx(1, rel=0.05)


def draw(tiles, count, step, side):
    return vae.draw_batch(tiles, count, np.random.default_rng([0, step]), side=side)


def test_a_batch_is_a_function_of_seed_and_step(tiles):
    assert torch.equal(draw(tiles, 4, 7, 32), draw(tiles, 4, 7, 32))
    assert not torch.equal(draw(tiles, 4, 7, 32), draw(tiles, 4, 8, 32))


def test_crops_are_cut_from_the_tiles(tiles):
    crops = draw(tiles, 3, 1, 16)
    assert crops.shape == (3, 3, 16, 16)
    windows = np.lib.stride_tricks.sliding_window_view(tiles, (16, 16), (1, 2)).transpose(0, 1, 2, 4, 5, 3)
    for crop in crops:
        views = [np.rot90(crop.permute(1, 2, 0).numpy(), k) for k in range(4)]
        views = [np.rint((v + 1) * 127.5) for one in views for v in (one, one[:, ::-1])]
        assert any((windows == view).all((3, 4, 5)).any() for view in views)
