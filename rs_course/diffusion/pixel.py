"""mini-ddpm: the course's pixel-space diffusion model, loaded from disk and ready to sample.

>>> model = pixel.load("mini-ddpm")
>>> tiles = model.sample(["River"] * 4, steps=25, guidance=2.0, seed=0)          # [4, 3, 32, 32] in [0, 1]

A checkpoint folder has diffusers' layout: ``unet/`` (configuration and safetensors), ``scheduler/``, and
``model_index.json`` with the class names.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from rs_course import paths, seeds
from rs_course.diffusion.process import Denoise, denoiser
from rs_course.diffusion.samplers import SAMPLERS, final, guided
from rs_course.diffusion.schedules import Schedule, cosine
from rs_course.diffusion.unet import UNet
from rs_course.files import write_json

_SCHEDULER = {
    "_class_name": "DDIMScheduler", "beta_schedule": "squaredcos_cap_v2", "clip_sample": True,
    "num_train_timesteps": 1000, "prediction_type": "v_prediction",
}  # fmt: skip


@dataclass(frozen=True)
class PixelModel:
    """A class-conditional network with what is needed to sample from it.

    Attributes:
        unet: Predicts v in [-1, 1] pixel space.
        schedule: The schedule it was trained with.
        classes: Names; the network's entry ``len(classes)`` means "no class".
        size: Height and width of a tile.
    """

    unet: UNet
    schedule: Schedule
    classes: tuple[str, ...]
    size: int

    def labels(self, names: Sequence[str | int]) -> torch.Tensor:
        """Class numbers ``[N]`` of names (or numbers).

        Raises:
            ValueError: A name the model does not know.
        """
        unknown = [n for n in names if n not in self.classes and n not in range(len(self.classes))]
        if unknown:
            raise ValueError(f"mini-ddpm knows no class {unknown[0]!r}; it knows {', '.join(self.classes)}.")
        return torch.tensor([self.classes.index(n) if n in self.classes else n for n in names])

    def denoiser(self, names: Sequence[str | int], *, guidance: float = 1.0) -> Denoise:
        """``denoise(xt, t) -> (x0, eps)`` for one class per image, for any sampler; x0 is kept in [-1, 1]."""
        ask = guided(self.unet, self.labels(names), len(self.classes), guidance)
        return denoiser(ask, self.schedule, prediction_type="v", clip=1.0)

    def noise(self, count: int, *, seed: int = 0, start: int = 0) -> torch.Tensor:
        """x_T of images ``start`` to ``start + count − 1``."""
        return seeds.noise((count, 3, self.size, self.size), seed=seed, start=start)

    def sample(
        self,
        names: Sequence[str | int],
        *,
        sampler: str = "dpmsolver++",
        steps: int = 20,
        guidance: float = 1.0,
        seed: int = 0,
        start: int = 0,
        **options,
    ) -> torch.Tensor:
        """Tiles ``[N, 3, size, size]`` in [0, 1], one per name; tile j is a function of (seed, start + j)."""
        if sampler not in SAMPLERS:
            raise ValueError(f"sampler is {sampler!r}; choose one of {', '.join(SAMPLERS)}.")
        if sampler in ("ddpm", "ddim"):
            options |= {"seed": seed, "start": start}
        xt = self.noise(len(names), seed=seed, start=start)
        denoise = self.denoiser(names, guidance=guidance)
        return to_image(final(SAMPLERS[sampler](denoise, xt, self.schedule, steps, **options)))

    def save(self, folder: str | Path) -> None:
        """Write the checkpoint folder."""
        folder = Path(folder)
        self.unet.save(folder / "unet")
        index = {"_class_name": "PixelModel", "classes": list(self.classes), "size": self.size}
        write_json(folder / "model_index.json", index, indent=2)
        write_json(folder / "scheduler" / "scheduler_config.json", _SCHEDULER, indent=2)


def load(name_or_folder: str | Path = "mini-ddpm") -> PixelModel:
    """Load a pixel-space checkpoint that ships with the course, or from a folder.

    Raises:
        FileNotFoundError: Neither a shipped checkpoint nor a folder.
    """
    shipped = paths.data_dir() / "checkpoints" / str(name_or_folder)
    folder = shipped if shipped.is_dir() else Path(name_or_folder)
    if not (folder / "model_index.json").is_file():
        raise FileNotFoundError(
            f"There is no pixel-space checkpoint {str(name_or_folder)!r}: use 'mini-ddpm', or train one with "
            "`rs-course train mini-ddpm` and give its folder."
        )
    index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    return PixelModel(UNet.load(folder / "unet"), cosine(), tuple(index["classes"]), index["size"])


def to_image(x: torch.Tensor) -> torch.Tensor:
    """From the model's [-1, 1] to the course's [0, 1]."""
    return (x / 2 + 0.5).clamp(0, 1)


def shrink(images: np.ndarray, size: int = 32) -> np.ndarray:
    """Area-average uint8 tiles ``[N, H, W, 3]`` to ``[N, size, size, 3]``: a coarser sensor's view.

    Raises:
        ValueError: H or W is no multiple of ``size``.
    """
    n, h, w, _ = images.shape
    if h % size or w % size:
        raise ValueError(
            f"Tiles of {h}×{w} pixels cannot be averaged to {size}×{size}: give a multiple of {size}."
        )
    # In parts, because the means are float64.
    parts = np.array_split(images.reshape(n, size, h // size, size, w // size, 3), max(1, n // 1000))
    return np.concatenate([np.rint(part.mean((2, 4))).astype(np.uint8) for part in parts])


def from_pixels(images: np.ndarray) -> torch.Tensor:
    """uint8 ``[N, H, W, 3]`` to the model's range: float ``[N, 3, H, W]`` in [-1, 1]."""
    # A copy, because torch warns of arrays that it may not write to, such as those of a memory-mapped set.
    return torch.tensor(images).permute(0, 3, 1, 2).float() / 127.5 - 1
