"""Classifiers: modules from images ``[N, 3, H, W]`` in [0, 1] to logits ``[N, C]``.

Each normalises its input itself, so whoever trains or tests one needs to know nothing about it.

>>> model = build("small-cnn", 10, seed=0)  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from rs_course import seeds

# Mean and spread of Sentinel-2 tiles rendered for the eye, near enough for real and simulated ones alike.
MEAN, STD = (0.35, 0.38, 0.40), (0.18, 0.14, 0.12)


class Normalised(nn.Module):
    """A network behind the normalisation (and the size) that it wants.

    Args:
        body: Takes normalised images; gives logits, or an output of ``transformers`` that has them.
        mean, std: Per channel, of values in [0, 1].
        size: (height, width) to resize to, or ``None`` for any.
        lr: Learning rate that :func:`rs_course.classification.fit` takes when none is given.
    """

    def __init__(
        self, body: nn.Module, mean=MEAN, std=STD, size: tuple[int, int] | None = None, lr: float = 3e-3
    ):
        super().__init__()
        self.body, self.size, self.lr = body, size, lr
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images ``[N, 3, H, W]`` in [0, 1] to logits ``[N, C]``."""
        if self.size and x.shape[-2:] != self.size:
            x = F.interpolate(x, self.size, mode="bicubic", antialias=True).clamp(0, 1)
        output = self.body(((x - self.mean) / self.std).contiguous(memory_format=torch.channels_last))
        return getattr(output, "logits", output)


class Block(nn.Module):
    """Two 3×3 convolutions around a shortcut (He et al. 2016); halves the side, averaging on the shortcut."""

    def __init__(self, inside: int, outside: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inside, outside, 3, 2, 1, bias=False),
            nn.BatchNorm2d(outside),
            nn.ReLU(inplace=True),
            nn.Conv2d(outside, outside, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outside),
        )
        self.short = nn.Sequential(
            nn.AvgPool2d(2, ceil_mode=True),
            nn.Conv2d(inside, outside, 1, bias=False),
            nn.BatchNorm2d(outside),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``[N, inside, H, W]`` to ``[N, outside, H/2, W/2]``."""
        return F.relu(self.short(x) + self.body(x), inplace=True)


NARROW, WIDE = (16, 32, 64, 128), (32, 64, 128, 256)


def small_cnn(classes: int, widths: tuple[int, ...] = NARROW) -> nn.Module:
    """A residual network for tiles: 0.3 million parameters, 12 million multiplications for 64×64 pixels.

    The first convolution halves the side, because most of the time of a small network goes into its largest
    maps. It is narrow, because a minute or two of training is better spent on seeing the tiles more often:
    96.7 ± 0.2 % on EuroSAT's test tiles with 1,000 per class, 10,000 steps (data/studies/is_it_ready.toml).
    """
    first, *_, last = widths
    return nn.Sequential(
        nn.Conv2d(3, first, 5, 2, 2, bias=False),
        nn.BatchNorm2d(first),
        nn.ReLU(inplace=True),
        *(Block(a, b) for a, b in pairwise(widths)),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(last, classes),
    )


def small_vit(classes: int) -> nn.Module:
    """A vision transformer (Dosovitskiy et al. 2021) for tiles of 64×64 pixels, from ``transformers``."""
    from transformers import ViTConfig, ViTForImageClassification

    return ViTForImageClassification(
        ViTConfig(
            image_size=64,
            patch_size=8,
            hidden_size=128,
            num_hidden_layers=6,
            num_attention_heads=4,
            intermediate_size=256,
            hidden_dropout_prob=0.0,
            num_labels=classes,
        )
    )


def pretrained(name_or_folder: str, classes: int) -> nn.Module:
    """A ResNet, ConvNeXt, ViT, … of ``transformers`` with a new last layer.

    Args:
        name_or_folder: Hub id or local folder ("microsoft/resnet-50", "facebook/convnext-tiny-224",
            "google/vit-base-patch16-224").
        classes: Outputs of the new last layer.

    Raises:
        FileNotFoundError: Neither a folder nor reachable.
    """
    from transformers import AutoModelForImageClassification
    from transformers.image_processing_base import ImageProcessingMixin

    try:
        wants, _ = ImageProcessingMixin.get_image_processor_dict(name_or_folder)
        body = AutoModelForImageClassification.from_pretrained(
            name_or_folder, num_labels=classes, ignore_mismatched_sizes=True
        )
    except (OSError, ValueError) as error:
        raise FileNotFoundError(
            f"{name_or_folder!r} is neither {' nor '.join(SMALL)}, nor a folder or reachable hub id of an "
            f"image classifier ({str(error).splitlines()[0]})."
        ) from None
    side = wants.get("crop_size") or wants.get("size") or 224
    if isinstance(side, dict):
        side = side.get("shortest_edge") or side["height"]
    return Normalised(body, wants["image_mean"], wants["image_std"], (side, side), lr=1e-4)


SMALL = ("small-cnn", "wide-cnn", "small-vit")


def build(name: str, classes: int, *, seed: int = 0) -> nn.Module:
    """A classifier with fresh weights, or a pretrained one with a fresh last layer.

    Args:
        name: ``"small-cnn"``, ``"wide-cnn"`` (twice its widths), ``"small-vit"``, or what
            :func:`pretrained` takes.
        classes: Number of classes.
        seed: Of the fresh weights; the global random state is left as it was.
    """
    with seeds.initial_weights(seed):
        if name not in SMALL:
            return pretrained(name, classes)
        if name == "small-vit":
            model = Normalised(small_vit(classes), size=(64, 64), lr=1e-3)
        else:
            model = Normalised(small_cnn(classes, WIDE if name == "wide-cnn" else NARROW))
    return model.to(memory_format=torch.channels_last)


def save(model: nn.Module, folder: str | Path, classes: Sequence[str], **card) -> None:
    """Keep a small CNN as ``model.safetensors`` in 16 bits, with its classes in ``card.json``.

    Args:
        model: From :func:`build` with ``"small-cnn"``, trained.
        folder: Where to; it is made if need be.
        classes: Names of the classes, in the order of the outputs.
        **card: ``source``, ``licence``, ``training_data``, as for
            :func:`rs_course.checkpoints.checkpoint.write_card`.
    """
    from safetensors.torch import save_file

    from rs_course.checkpoints.checkpoint import write_card

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    state = {k: v.half() if v.is_floating_point() else v for k, v in model.state_dict().items()}
    save_file({k: v.contiguous() for k, v in state.items()}, folder / "model.safetensors")
    write_card(folder, settings={"classes": list(classes)}, **card)


def load(name_or_folder: str | Path) -> tuple[nn.Module, list[str]]:
    """A small CNN that :func:`save` kept, ready to predict, and the names of its classes.

    Args:
        name_or_folder: ``"mini-cnn-real"``, ``"mini-cnn-generated"``, or a folder.

    Raises:
        FileNotFoundError, ValueError: No such folder, or no small CNN in it.
    """
    from rs_course.checkpoints.checkpoint import stated
    from rs_course.checkpoints.loading import locate
    from rs_course.checkpoints.weights import read_state_dict

    folder = locate(name_or_folder)
    classes = stated(folder).get("settings", {}).get("classes")
    if not classes:
        raise ValueError(f"{name_or_folder} names no classes in its card: give what classifiers.save wrote.")
    model, state = build("small-cnn", len(classes)), read_state_dict(folder / "model.safetensors")
    if state.keys() != model.state_dict().keys():
        raise ValueError(f"{name_or_folder} holds the weights of another network: give a small CNN.")
    model.load_state_dict(state)
    return model.eval(), list(classes)
