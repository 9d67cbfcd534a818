"""The conditional minis that ship with the course do what they are shown."""

import numpy as np
import torch
import torch.nn.functional as F

from rs_course import checkpoints, datasets
from rs_course.checkpoints.maps import Stroke, maps_of_strokes
from rs_course.paths import data_dir
from rs_course.superres.degradation import bicubic

SHIPPED = data_dir() / "checkpoints"


def test_all_minis_together_are_small_enough_for_a_poor_network():
    sizes = {one.name: sum(f.stat().st_size for f in one.rglob("*.safetensors")) for one in SHIPPED.iterdir()}
    assert sum(sizes.values()) < 54e6
    assert sizes["mini-crsdiff"] < 8e6


def test_mini_crsdiff_puts_water_where_the_map_has_it():
    generator = checkpoints.load("mini-crsdiff")
    field, lake = ((0, 0), (15, 7)), ((0, 8), (15, 15))
    for left, right, sign in (("agriculture", "water", 1), ("water", "agriculture", -1)):
        drawn = maps_of_strokes([Stroke(left, "box", *field), Stroke(right, "box", *lake)], 64)
        tiles = generator.sample([""] * 4, conditions=drawn, size=(64, 64), seed=1)
        red = tiles[:, 0].mean((0, 1))  # water reflects no red
        assert sign * (red[4:28].mean() - red[36:60].mean()) > 0.05


def test_mini_controlnet_draws_the_tile_that_it_was_shown():
    generator = checkpoints.load("mini-diffusionsat", controlnet="mini-controlnet")
    data = datasets.load("simulated", "test", size=8)
    high = torch.stack([data[k]["image"] for k in range(8)])
    low = bicubic(high)
    told = {"metadata": list(data.metadata)}
    told["cond_metadata"] = [{**row, "gsd": 4 * row["gsd"]} for row in data.metadata]
    tiles = generator.sample([""] * 8, image=low, size=(64, 64), guidance=1, seed=0, **told)
    own = (bicubic(tiles) - low).square().mean((1, 2, 3))
    other = (bicubic(tiles) - low.roll(1, 0)).square().mean((1, 2, 3))
    assert (own < other / 4).all()


def test_mini_controlnet_keeps_the_place_and_changes_the_season():
    generator = checkpoints.load("mini-diffusionsat", controlnet="mini-controlnet")
    data = datasets.load("simulated", "test", size=20)
    rows = [k for k in range(20) if data.metadata[k]["cloud_cover"] < 0.1][:6]
    picture = torch.stack([data[k]["image"] for k in rows])
    shown = [dict(data.metadata[k]) for k in rows]
    tiles = {
        month: generator.sample(
            [""] * len(rows), image=picture, seed=0, cond_metadata=shown,
            metadata=[{**row, "month": month, "lat": 48.0} for row in shown],
        )
        for month in (1, 7)
    }  # fmt: skip
    coarse = F.avg_pool2d(torch.cat([tiles[7], picture]), 8).flatten(1).numpy()
    likeness = np.corrcoef(coarse)[: len(rows), len(rows) :]
    assert (likeness.argmax(1) == np.arange(len(rows))).mean() > 0.6
    green = {month: (one[:, 1] - one[:, 0]).mean() for month, one in tiles.items()}
    assert green[7] > green[1] + 0.002
