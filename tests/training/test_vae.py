"""mini-vae's training on a few simulated tiles and a network small enough for seconds."""

import json

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL

from rs_course import simulated_earth
from rs_course.training import vae

TINY = {"block_out_channels": (8, 8, 8), "norm_num_groups": 4}


@pytest.fixture(scope="module")
def tiles():
    return np.stack([simulated_earth.scene(label, 0).image for label in simulated_earth.CLASSES[:4]])


def test_training_lowers_the_error_and_writes_the_diffusers_layout(tmp_path, tiles):
    options = {"unseen": {"seen": tiles}, "batch": 4, "log_every": 20, "model": TINY}
    vae.fit(tmp_path / "whole", tiles, steps=60, **options)
    log = [json.loads(line) for line in (tmp_path / "whole" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log] == [20, 40, 60]
    assert log[-1]["psnr"]["seen"] > log[0]["psnr"]["seen"] + 1

    model = AutoencoderKL.from_pretrained(tmp_path / "whole")
    latents = model.encode(torch.rand(2, 3, 64, 64)).latent_dist.mean
    assert latents.shape == (2, 4, 16, 16)
    x = torch.from_numpy(tiles).permute(0, 3, 1, 2) / 127.5 - 1
    scaled = model.encode(x).latent_dist.mean * model.config.scaling_factor
    assert scaled.std().item() == pytest.approx(1, rel=0.05)


def test_an_interrupted_training_goes_on_where_it_stopped(tmp_path, tiles, monkeypatch):
    options = {"unseen": {}, "batch": 4, "log_every": 5, "model": TINY, "steps": 10}
    whole = vae.fit(tmp_path / "whole", tiles, **options)

    draw_batch = vae.draw_batch

    def interrupted(images, count, seed, step, *, side):
        if step == 7:
            raise KeyboardInterrupt
        return draw_batch(images, count, seed, step, side=side)

    monkeypatch.setattr(vae, "draw_batch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        vae.fit(tmp_path / "parts", tiles, **options)
    monkeypatch.undo()
    parts = vae.fit(tmp_path / "parts", tiles, **options)
    for a, b in zip(whole.parameters(), parts.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_batch_is_a_function_of_seed_and_step(tiles):
    assert torch.equal(vae.draw_batch(tiles, 4, 0, 7, side=32), vae.draw_batch(tiles, 4, 0, 7, side=32))
    assert not torch.equal(vae.draw_batch(tiles, 4, 0, 7, side=32), vae.draw_batch(tiles, 4, 0, 8, side=32))


def test_crops_are_cut_from_the_tiles(tiles):
    crops = vae.draw_batch(tiles, 3, 0, 1, side=16)
    assert crops.shape == (3, 3, 16, 16)
    windows = np.lib.stride_tricks.sliding_window_view(tiles, (16, 16), (1, 2)).transpose(0, 1, 2, 4, 5, 3)
    for crop in crops:
        views = [np.rot90(crop.permute(1, 2, 0).numpy(), k) for k in range(4)]
        views = [np.rint((v + 1) * 127.5) for one in views for v in (one, one[:, ::-1])]
        assert any((windows == view).all((3, 4, 5)).any() for view in views)
