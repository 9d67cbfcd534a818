"""Reading land cover from a tile: the judge of what stands where.

    reader = load()                          # mini-landcover, trained on simulated tiles alone
    classes = read(reader, images)           # [N, 64, 64], places in NAMES

Class labels and CLIP scores saturate: they cannot tell whether the water lies on the left. A segmentation
network can, as far as it reads rightly, so every use shows its score on true tiles beside it.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from rs_course.checkpoints.maps import SEGMENTATION_COLOURS

NAMES = tuple(SEGMENTATION_COLOURS)


class LandcoverReader(nn.Module):
    """Tile ``[N, 3, 64, 64]`` in [0, 1] to scores of :data:`NAMES` ``[N, 7, 64, 64]``."""

    def __init__(self, width: int = 32):
        super().__init__()

        def conv(inside, outside, stride=1, dilation=1):
            layer = nn.Conv2d(inside, outside, 3, stride, padding=dilation, dilation=dilation, bias=False)
            return nn.Sequential(layer, nn.BatchNorm2d(outside), nn.ReLU())

        self.fine = conv(3, width // 2)
        self.coarse = nn.Sequential(
            conv(width // 2, width, 2),
            *(conv(width, width, dilation=d) for d in (1, 2, 4, 8)),
        )
        self.head = nn.Sequential(conv(width // 2 + width, width), nn.Conv2d(width, len(NAMES), 1))

    def forward(self, x):
        fine = self.fine(2 * x - 1)
        coarse = F.interpolate(self.coarse(fine), scale_factor=2, mode="bilinear")
        return self.head(torch.cat([fine, coarse], dim=1))


def load(name_or_folder="mini-landcover") -> LandcoverReader:
    """The reader from its folder: ``model.safetensors`` of :class:`LandcoverReader`.

    Raises:
        FileNotFoundError, ValueError: No such folder, or another network's weights.
    """
    from rs_course.checkpoints.loading import locate
    from rs_course.checkpoints.weights import read_state_dict

    reader = LandcoverReader()
    state = read_state_dict(locate(name_or_folder) / "model.safetensors")
    if state.keys() != reader.state_dict().keys():
        raise ValueError(f"{name_or_folder} holds the weights of another network: give a land-cover reader.")
    reader.load_state_dict(state)
    return reader.eval()


@torch.inference_mode()
def read(reader: LandcoverReader, images: np.ndarray, batch_size: int = 100) -> np.ndarray:
    """Places in :data:`NAMES` for uint8 tiles ``[N, 64, 64, 3]``: uint8 ``[N, 64, 64]``."""
    found = []
    for start in range(0, len(images), batch_size):
        x = torch.from_numpy(np.array(images[start : start + batch_size])).permute(0, 3, 1, 2) / 255
        found.append(reader(x).argmax(1).byte().numpy())
    return np.concatenate(found)


def shrunk(classes: np.ndarray) -> np.ndarray:
    """A map ``[256, 256]`` on the tile's pixels ``[64, 64]``: every fourth, and a road where it takes three
    tenths of one.
    """
    road = (classes == NAMES.index("road")).reshape(64, 4, 64, 4).mean((1, 3)) >= 0.3
    return np.where(road, NAMES.index("road"), classes[2::4, 2::4]).astype(np.uint8)
