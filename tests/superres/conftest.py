"""The official weights and outputs, where ``../shared`` lies beside the checkout."""

import json

import numpy as np
import pytest
import torch


class Golden:
    """Arrays of ``golden.npz`` as tensors, the numbers of ``golden.json``, and the folder they lie in."""

    def __init__(self, folder):
        self.folder = folder
        self.arrays = np.load(folder / "golden.npz")
        self.numbers = json.loads((folder / "golden.json").read_text())

    def __getitem__(self, name):
        return torch.from_numpy(self.arrays[name])

    def __contains__(self, name):
        return name in self.arrays

    def image(self, name):
        """uint8 ``[H, W, 3]`` → float32 ``[1, 3, H, W]`` in [0, 1]."""
        return self[name].permute(2, 0, 1)[None].float() / 255


@pytest.fixture(scope="session")
def golden(shared) -> Golden:
    return Golden(shared / "fixtures" / "superresolution")


@pytest.fixture
def photograph():
    """A smooth synthetic picture ``[2, 3, 40, 52]`` in [0, 1]: the networks misbehave on white noise."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(2, 3, 6, 8, generator=generator)
    return torch.nn.functional.interpolate(coarse, (40, 52), mode="bicubic").clamp(0, 1)
