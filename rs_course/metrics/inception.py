"""Inception-v3 as FID means it: the TensorFlow network of 2015, from a local weight file.

Published FID values use these features and no others. The weights are not shipped; the file is
``weights-inception-2015-12-05-6726825d.pth`` of torch-fidelity (or ``pt_inception-…`` of pytorch-fid).

>>> network = load("weights-inception-2015-12-05-6726825d.pth")  # doctest: +SKIP
>>> metrics.fid(network.features(real), network.features(generated))  # doctest: +SKIP

How images are brought to 299 × 299 pixels changes FID (Parmar et al. 2022), so it is an argument:

- ``"tensorflow"``: bilinear without antialiasing and without half-pixel centres, as in the original code;
- ``"clean"``: Pillow's antialiased bicubic without rounding, as clean-fid does.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import nn

if TYPE_CHECKING:
    import numpy as np

SIZE = 299


class Convolution(nn.Module):
    """Convolution, batch normalisation (ε = 0.001) and ReLU; padded to keep the size at stride 1."""

    def __init__(self, inside, outside, kernel, stride=1, padded=True):
        super().__init__()
        kernel = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = tuple(k // 2 for k in kernel) if stride == 1 and padded else 0
        self.conv = nn.Conv2d(inside, outside, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outside, eps=0.001)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.bn(self.conv(x)))


class Mixed(nn.Module):
    """Branches side by side, their outputs joined along the channels.

    A branch is a list of ``(name, channels, kernel[, stride])``; where a list stands in place of one, the
    convolutions in it all read the same input (a fork). The last branch is a pooling, with a 1 × 1
    convolution ``branch_pool`` unless ``pool_channels`` is 0.
    """

    def __init__(self, inside, branches, pool, pool_channels):
        super().__init__()
        self.pool = pool
        self.routes = []
        for branch in branches:
            width, route = inside, []
            for step in branch:
                fork = step if isinstance(step, list) else [step]
                for name, outside, *shape in fork:
                    self.add_module(name, Convolution(width, outside, *shape))
                route.append([name for name, *_ in fork])
                width = sum(outside for _, outside, *_ in fork)
            self.routes.append(route)
        if pool_channels:
            self.branch_pool = Convolution(inside, pool_channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        outputs = []
        for route in self.routes:
            y = x
            for names in route:
                y = torch.cat([getattr(self, name)(y) for name in names], dim=1)
            outputs.append(y)
        if self.pool == "average":  # TensorFlow's average does not count the padding
            pooled = F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        else:
            pooled = F.max_pool2d(x, 3, *((1, 1) if self.pool == "maximum" else (2, 0)))
        outputs.append(self.branch_pool(pooled) if hasattr(self, "branch_pool") else pooled)
        return torch.cat(outputs, dim=1)


def _block_a(inside, pool):
    branches = [
        [("branch1x1", 64, 1)],
        [("branch5x5_1", 48, 1), ("branch5x5_2", 64, 5)],
        [("branch3x3dbl_1", 64, 1), ("branch3x3dbl_2", 96, 3), ("branch3x3dbl_3", 96, 3)],
    ]
    return Mixed(inside, branches, "average", pool)


def _block_b(inside):
    branches = [
        [("branch3x3", 384, 3, 2)],
        [("branch3x3dbl_1", 64, 1), ("branch3x3dbl_2", 96, 3), ("branch3x3dbl_3", 96, 3, 2)],
    ]
    return Mixed(inside, branches, "halved", 0)


def _block_c(c):
    wide, high = (1, 7), (7, 1)
    names = [f"branch7x7dbl_{i}" for i in range(1, 6)]
    branches = [
        [("branch1x1", 192, 1)],
        [("branch7x7_1", c, 1), ("branch7x7_2", c, wide), ("branch7x7_3", 192, high)],
        list(zip(names, (c, c, c, c, 192), (1, high, wide, high, wide), strict=True)),
    ]
    return Mixed(768, branches, "average", 192)


def _block_d(inside):
    branches = [
        [("branch3x3_1", 192, 1), ("branch3x3_2", 320, 3, 2)],
        [
            ("branch7x7x3_1", 192, 1),
            ("branch7x7x3_2", 192, (1, 7)),
            ("branch7x7x3_3", 192, (7, 1)),
            ("branch7x7x3_4", 192, 3, 2),
        ],
    ]
    return Mixed(inside, branches, "halved", 0)


def _block_e(inside, pool):
    def fork(stem):
        return [(f"{stem}a", 384, (1, 3)), (f"{stem}b", 384, (3, 1))]

    branches = [
        [("branch1x1", 320, 1)],
        [("branch3x3_1", 384, 1), fork("branch3x3_2")],
        [("branch3x3dbl_1", 448, 1), ("branch3x3dbl_2", 384, 3), fork("branch3x3dbl_3")],
    ]
    return Mixed(inside, branches, pool, 192)


class InceptionV3(nn.Module):
    """The network of FID and Inception Score; names as in the published weight file."""

    def __init__(self):
        super().__init__()
        self.Conv2d_1a_3x3 = Convolution(3, 32, 3, 2)
        self.Conv2d_2a_3x3 = Convolution(32, 32, 3, padded=False)
        self.Conv2d_2b_3x3 = Convolution(32, 64, 3)
        self.Conv2d_3b_1x1 = Convolution(64, 80, 1)
        self.Conv2d_4a_3x3 = Convolution(80, 192, 3, padded=False)
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = _block_a(192, 32), _block_a(256, 64), _block_a(288, 64)
        self.Mixed_6a = _block_b(288)
        self.Mixed_6b, self.Mixed_6c = _block_c(128), _block_c(160)
        self.Mixed_6d, self.Mixed_6e = _block_c(160), _block_c(192)
        self.Mixed_7a = _block_d(768)
        # The last block pools with a maximum: a slip of the 2015 graph that every published FID contains.
        self.Mixed_7b, self.Mixed_7c = _block_e(1280, "average"), _block_e(2048, "maximum")
        self.fc = nn.Linear(2048, 1008)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Pooled features ``[N, 2048]`` of images ``[N, 3, 299, 299]`` in [-1, 1]."""
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(F.max_pool2d(x, 3, 2)))
        x = F.max_pool2d(x, 3, 2)
        for name, block in self.named_children():
            if name.startswith("Mixed"):
                x = block(x)
        return x.mean(dim=(2, 3))

    def features(
        self, images: np.ndarray | torch.Tensor, *, resize: str = "tensorflow", batch_size: int = 16
    ) -> torch.Tensor:
        """Features ``[N, 2048]`` for :func:`~rs_course.metrics.fid`, on the CPU.

        Args:
            images: Float tensor ``[N, 3, H, W]`` in [0, 1], or a uint8 array ``[N, H, W, 3]``; floats are
                rounded to 8 bits, as when they are saved.
            resize: ``"tensorflow"`` or ``"clean"``.
            batch_size: Images per forward pass.

        Raises:
            TypeError: Images of another type.
            ValueError: No images, wrong channels, NaN, values outside [0, 1], or an unknown ``resize``.
        """
        from rs_course.alignment.preparation import pillow_weights, to_uint8

        if resize not in ("tensorflow", "clean"):
            raise ValueError(f"resize={resize!r}: choose 'tensorflow' (original FID) or 'clean' (clean-fid).")
        batch, device = to_uint8(images), self.fc.weight.device
        down, across = (
            _tensorflow_weights(side) if resize == "tensorflow" else pillow_weights(side, SIZE, "bicubic")
            for side in batch.shape[-2:]
        )
        found = []
        with torch.inference_mode():
            for part in batch.split(batch_size):
                resized = down.to(device) @ part.to(device).double() @ across.to(device).T
                if resize == "clean":
                    resized = resized.clamp_(0, 255)
                found.append(self((resized.float() - 128) / 128).cpu())
        return torch.cat(found).clone()

    def probabilities(self, features: torch.Tensor) -> torch.Tensor:
        """Class probabilities ``[N, 1008]`` of features, without the bias, for the Inception Score."""
        return (features.to(self.fc.weight) @ self.fc.weight.T).softmax(dim=1).cpu()


def load(file: str | Path, *, device: str | torch.device | None = None) -> InceptionV3:
    """The network with the weights of a local file.

    Args:
        file: The published ``.pth`` file, or its tensors as safetensors.
        device: ``None`` takes a GPU where there is one.

    Raises:
        FileNotFoundError: No such file.
        ValueError: Another kind of file, or weights of another network.
    """
    from rs_course.checkpoints.loading import read_device
    from rs_course.checkpoints.weights import filled, read_state_dict

    state = {key: value for key, value in read_state_dict(file).items() if not key.startswith("AuxLogits.")}
    for key in [key for key in state if key.endswith(".running_mean")]:  # a counter that old files lack
        state.setdefault(key.replace("running_mean", "num_batches_tracked"), torch.tensor(0))
    return filled(InceptionV3, state, file).to(read_device(device))


def _tensorflow_weights(side: int) -> torch.Tensor:
    """Matrix ``[299, side]`` of TensorFlow 1's bilinear resize: pixel i lies at i · side/299."""
    place = torch.arange(SIZE, dtype=torch.float64) * (side / SIZE)
    low = place.floor().long().clamp(max=side - 1)
    share = place - low
    weights = torch.zeros(SIZE, side, dtype=torch.float64)
    row = torch.arange(SIZE)
    weights[row, low] += 1 - share
    weights[row, (low + 1).clamp(max=side - 1)] += share
    return weights
