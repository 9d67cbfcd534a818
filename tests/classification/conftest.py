"""Small sets with a known answer: tiles whose colour is their class, and simulated ones."""

import numpy as np
import pytest
import torch

from rs_course import datasets
from rs_course.classification import Tiles

NAMES = ("blue", "green", "red")


def coloured(per_class: int, *, seed: int = 0, names=NAMES, side: int = 32) -> Tiles:
    """Noisy uint8 tiles in which channel 2 - k is brighter in class k; classes take turns."""
    rng = np.random.default_rng(seed)
    labels = np.tile(np.arange(len(names)), per_class)
    images = rng.integers(0, 160, (len(labels), side, side, 3))
    images[np.arange(len(labels)), :, :, 2 - labels] += 60
    return Tiles(images.astype(np.uint8), labels, tuple(names))


def write_set(folder, tiles: Tiles):
    """A generated set in Parquet."""
    rows = [
        {
            "index": i,
            "image": image,
            "prompt": "a tile",
            "label": tiles.classes[label],
            "metadata": None,
            "seed": 0,
            "checkpoint": "test",
            "checkpoint_sha256": "0" * 64,
            "settings": {},
        }
        for i, (image, label) in enumerate(zip(tiles.images, tiles.labels, strict=True))
    ]
    datasets.write_shard(folder / "part-00000.parquet", rows, classes=tiles.classes)
    return folder


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """The networks are tiny: more threads only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def simulated():
    """Training and test tiles of the simulated Earth: 100 and 50."""
    return datasets.load("simulated", "train", size=100), datasets.load("simulated", "test", size=50)
