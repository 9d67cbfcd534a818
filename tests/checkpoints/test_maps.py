"""Condition maps: what the filters find in pictures whose content is known, and the simulator's own truth."""

import numpy as np
import pytest
import torch
from PIL import Image

from rs_course import simulated_earth
from rs_course.checkpoints import maps


@pytest.fixture(scope="module")
def square():
    picture = np.zeros((64, 64, 3), dtype=np.uint8)
    picture[16:48, 16:48] = 200
    return picture


def test_edges_lie_on_the_outline(square):
    found = maps.edges(square)
    assert found.shape == (1, 3, 64, 64) and found.min() >= 0 and found.max() <= 1
    grey = found[0, 0]
    outline = torch.zeros(64, 64, dtype=torch.bool)
    outline[13:51, 13:51] = True
    outline[19:45, 19:45] = False
    assert grey[outline].mean() > 20 * grey[~outline].mean()


def test_lines_are_thin_and_straight(square):
    found = maps.lines([Image.fromarray(square), Image.fromarray(square)])
    assert found.shape == (2, 3, 64, 64) and torch.equal(found[0], found[1])
    assert set(found.unique().tolist()) == {0.0, 1.0}
    rows, columns = torch.nonzero(found[0, 0], as_tuple=True)
    # A Canny edge lies within a pixel of the square's side.
    near = torch.stack(
        [(rows - 15.5).abs(), (rows - 47.5).abs(), (columns - 15.5).abs(), (columns - 47.5).abs()]
    )
    assert (near.min(dim=0).values <= 2).all()
    assert len(rows) >= 80  # most of the outline's 128 pixels


def test_a_sketch_is_dark_on_white(square):
    found = maps.sketch(torch.from_numpy(square).permute(2, 0, 1)[None] / 255)
    assert found.median() == 1 and found.min() < 0.3
    assert 0.02 < (found[0, 0] < 0.5).float().mean() < 0.2


def test_maps_of_a_simulated_scene():
    scene = simulated_earth.scene("Residential", seed=3)
    found = maps.maps_of_scene(scene)
    assert set(found) == {"road", "depth", "segmentation"}
    assert np.array_equal(found["road"][0, 0].numpy() > 0.5, scene.roads)
    building = torch.tensor(maps.SEGMENTATION_COLOURS["building"]) / 255
    where = (found["segmentation"][0] == building[:, None, None]).all(dim=0).numpy()
    assert np.array_equal(where, scene.landcover == simulated_earth.LANDCOVER["building"][0])
    highest = np.unravel_index(scene.elevation.argmax(), scene.elevation.shape)
    assert found["depth"][0, 0][highest] == 1 and found["depth"].min() == 0
    small = maps.maps_of_scene(scene, size=64)
    assert all(m.shape == (1, 3, 64, 64) for m in small.values())
    colours = {tuple(c) for c in (small["segmentation"][0].flatten(1).T * 255).round().int().tolist()}
    assert colours <= set(maps.SEGMENTATION_COLOURS.values())
    assert small["road"].mean() == pytest.approx(scene.roads.mean(), abs=1e-6)
