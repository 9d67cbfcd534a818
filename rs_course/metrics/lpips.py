"""LPIPS: distance of two images in the features of a network trained on photographs, from local weight files.

Zhang et al. 2018, "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", arXiv 1801.03924,
version 0.1 of its weights. Nothing is shipped or downloaded: the features are torchvision's ``alexnet`` or
``vgg16`` file, the heads are ``alex.pth`` or ``vgg.pth`` of the package ``lpips`` (torchmetrics brings them
along), or one file holds both.

>>> distance = load("alex", "alexnet-owt-7be5be79.pth")  # doctest: +SKIP
>>> distance(restored, truth)  # [N], 0 for equal images  # doctest: +SKIP
"""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from rs_course.checkpoints.images import image_batch

# The five stages whose outputs are compared; before some of them the maps are pooled. A convolution is
# (place in torchvision's ``features``, channels in, channels out, kernel, stride, padding).
_STAGES = {
    "alex": [
        [(0, 3, 64, 11, 4, 2)],
        [(3, 64, 192, 5, 1, 2)],
        [(6, 192, 384, 3, 1, 1)],
        [(8, 384, 256, 3, 1, 1)],
        [(10, 256, 256, 3, 1, 1)],
    ],
    "vgg": [
        [(0, 3, 64, 3, 1, 1), (2, 64, 64, 3, 1, 1)],
        [(5, 64, 128, 3, 1, 1), (7, 128, 128, 3, 1, 1)],
        [(10, 128, 256, 3, 1, 1), (12, 256, 256, 3, 1, 1), (14, 256, 256, 3, 1, 1)],
        [(17, 256, 512, 3, 1, 1), (19, 512, 512, 3, 1, 1), (21, 512, 512, 3, 1, 1)],
        [(24, 512, 512, 3, 1, 1), (26, 512, 512, 3, 1, 1), (28, 512, 512, 3, 1, 1)],
    ],
}
# (stages that pool first, side of the pooling window, smallest image side)
_POOLING = {"alex": ((1, 2), 3, 31), "vgg": ((1, 2, 3, 4), 2, 16)}


class LPIPS(nn.Module):
    """The distance, as a module that holds its weights.

    Args:
        network: ``"alex"``, which papers report, or ``"vgg"``, which is smoother as a loss.
    """

    def __init__(self, network: str = "alex"):
        super().__init__()
        self.network = network
        self.features = nn.ModuleDict(
            {str(place): nn.Conv2d(*shape) for stage in _STAGES[network] for place, *shape in stage}
        )
        self.heads = nn.ModuleList(nn.Conv2d(stage[-1][2], 1, 1, bias=False) for stage in _STAGES[network])

    def maps(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Five feature maps of images in [0, 1]; every pixel's vector has length 1."""
        pooled, window, _ = _POOLING[self.network]
        # The published scaling is of images in [-1, 1]: ImageNet's mean and deviation, rounded.
        shift, scale = ((-0.030, -0.088, -0.188), (0.458, 0.448, 0.450))
        x = 2 * images - 1 - torch.tensor(shift).to(images)[:, None, None]
        x = x / torch.tensor(scale).to(images)[:, None, None]
        found = []
        for number, stage in enumerate(_STAGES[self.network]):
            if number in pooled:
                x = F.max_pool2d(x, window, stride=2)
            for place, *_ in stage:
                x = F.relu(self.features[str(place)](x))
            found.append(x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10))
        return found

    def forward(self, pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Distance of each pair, equation 1 of the paper; differentiable.

        Args:
            pred: ``[N, 3, H, W]`` in [0, 1].
            target: The same shape.

        Returns:
            ``[N]``, at least 0; smaller is more alike.

        Raises:
            TypeError, ValueError: Not two batches of images of one size, or images too small to be pooled.
        """
        pred, target = image_batch(pred, "pred"), image_batch(target, "target")
        if pred.shape != target.shape:
            raise ValueError(
                f"pred is {list(pred.shape)} and target {list(target.shape)}: give pairs of one size."
            )
        smallest = _POOLING[self.network][2]
        if min(pred.shape[-2:]) < smallest:
            raise ValueError(
                f"Images of {pred.shape[-2]}×{pred.shape[-1]} pixels are too small for LPIPS with "
                f"{self.network!r}, which pools them away: {smallest} pixels are the least."
            )
        kind = self.heads[0].weight
        pairs = zip(self.maps(pred.to(kind)), self.maps(target.to(kind)), self.heads, strict=True)
        return sum(head((a - b).square()).mean((1, 2, 3)) for a, b, head in pairs)


def load(
    network: str,
    file: str | Path,
    heads: str | Path | None = None,
    *,
    device: str | torch.device | None = None,
) -> LPIPS:
    """The distance with the weights of local files.

    Args:
        network: ``"alex"`` or ``"vgg"``.
        file: torchvision's weights of the network (``alexnet-owt-….pth``, ``vgg16-….pth``), or a whole model
            of the package ``lpips``.
        heads: The learned weights of the channels (``alex.pth``, ``vgg.pth`` of version 0.1); ``None`` takes
            those in ``file``, else those that torchmetrics brings along.
        device: ``None`` takes a GPU where there is one.

    Raises:
        FileNotFoundError: No such file.
        ValueError: An unknown network, or weights of another one, by name.
    """
    from rs_course.checkpoints.loading import read_device
    from rs_course.checkpoints.weights import filled, read_state_dict

    if network not in _STAGES:
        raise ValueError(f"There is no LPIPS network {network!r}: choose 'alex' or 'vgg'.")
    state = _own_names(read_state_dict(file))
    if not any(key.startswith("heads.") for key in state):
        heads = heads or _bundled(network)
        state |= _own_names(read_state_dict(heads))
        file = f"{file} with {heads}"
    return filled(lambda: LPIPS(network), state, file).to(read_device(device))


def _own_names(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """torchvision's ``features.3.weight``, and ``net.slice2.3.weight`` and ``lin1.model.1.weight`` of lpips.

    The classifier behind the features and the constants of the scaling are left out.
    """
    renamed = {}
    for key, value in state.items():
        if match := re.fullmatch(r"(?:features|net\.slice\d)\.(\d+)\.(weight|bias)", key):
            renamed[f"features.{match[1]}.{match[2]}"] = value
        elif match := re.fullmatch(r"lin(\d)\.model\.\d\.weight", key):
            renamed[f"heads.{match[1]}.weight"] = value
    return renamed


def _bundled(network: str) -> Path:
    package = find_spec("torchmetrics")
    file = Path(package.origin).parent / "functional" / "image" / "lpips_models" / f"{network}.pth"
    if not file.is_file():
        raise FileNotFoundError(
            "The file has no LPIPS heads, and torchmetrics brings none here: pass heads=, the file "
            f"{network}.pth of the package lpips."
        )
    return file
