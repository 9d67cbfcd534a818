"""What a call of ``sample`` asks for, checked once before anything is computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rs_course.checkpoints.conditions import fit_conditions, nets
from rs_course.checkpoints.families import FAMILIES, Rows, StableDiffusion
from rs_course.checkpoints.images import images, resize

if TYPE_CHECKING:
    from rs_course.checkpoints.checkpoint import Checkpoint


@dataclass
class Request:
    """N images to make.

    Attributes:
        count: N.
        size: (height, width) in pixels.
        family: The checkpoint's conditioning.
        rows: The conditional half's rows: each value has N rows, or one for all.
        negative: The texts of the unconditional half.
        image: Picture to start from, ``[N or 1, 3, H, W]`` in [0, 1], or ``None``.
        mask: What to repaint (1) and keep (0), soft values allowed, ``[N or 1, 1, H, W]``, or ``None``.
        latents: Unit-variance initial latents ``[N or 1, C, h, w]``, or ``None``.
        guided: Whether classifier-free guidance runs, so that both halves are needed.
    """

    count: int
    size: tuple[int, int]
    family: StableDiffusion
    rows: Rows
    negative: list[str]
    image: torch.Tensor | None
    mask: torch.Tensor | None
    latents: torch.Tensor | None
    guided: bool

    def batch(self, start: int, stop: int) -> list[Rows]:
        """Rows of images ``start..stop - 1``: conditional, and under guidance also unconditional."""
        rows = {key: take(value, start, stop) for key, value in self.rows.items()}
        if not self.guided:
            return [rows]
        return [rows, {**self.family.unconditional(rows), "text": take(self.negative, start, stop)}]

    def latent_size(self, checkpoint: Checkpoint) -> tuple[int, int]:
        """(height, width) of the latents."""
        return tuple(side // checkpoint.vae_factor for side in self.size)


def take(value: Any, start: int, stop: int):
    """Rows ``start..stop - 1`` of a tensor or list of strings that has N rows, or one row for all."""
    if value is None:
        return None
    if isinstance(value, torch.Tensor):
        return value.expand(stop - start, *value.shape[1:]) if value.shape[0] == 1 else value[start:stop]
    if isinstance(value[0], torch.Tensor):  # one tensor per ControlNet
        return [take(part, start, stop) for part in value]
    return value * (stop - start) if len(value) == 1 else value[start:stop]


def read_request(
    checkpoint: Checkpoint,
    prompts: str | Sequence[str],
    *,
    guided: bool,
    metadata: Any = None,
    image: Any = None,
    mask: Any = None,
    conditions: Any = None,
    cond_metadata: Any = None,
    negative_prompt: str | Sequence[str] | None = None,
    size: int | tuple[int, int] | None = None,
    latents: torch.Tensor | None = None,
) -> Request:
    """Check and complete the arguments of ``Checkpoint.sample`` that differ between images.

    Raises:
        TypeError, ValueError: One sentence on what was wrong.
    """
    family = FAMILIES[checkpoint.family]
    texts = read_texts(prompts, "prompts")
    negative = read_texts("" if negative_prompt is None else negative_prompt, "negative_prompt")
    edits = image if checkpoint.controlnet is None or checkpoint.family == "crsdiff" else None
    given = {"image": image, "conditions": conditions, "cond_metadata": cond_metadata}
    rows = family.read(checkpoint, texts, metadata=metadata, **given)
    picture = None if edits is None else images(edits, "image")
    mask = None if mask is None else images(mask, "mask", mode="L")
    if mask is not None and picture is None:
        raise ValueError("mask= says where to repaint, so image= is needed as well (without a ControlNet).")
    if mask is not None and 0 < mask.max() <= 1 / 255:
        raise ValueError("mask has nothing above 1 of 255: pass a bool mask, or 0..255, or floats in [0, 1].")
    latents = None if latents is None else read_latents(checkpoint, latents)
    size = read_size(checkpoint, family, size, latents, rows, picture)

    latent_size = [side // checkpoint.vae_factor for side in size]
    if "condition" in rows:
        rows["condition"] = fit_conditions(checkpoint.controlnet, rows["condition"], latent_size)
    if "content" in rows:
        map_size = tuple(side * checkpoint.controlnet.stride for side in latent_size)
        rows["maps"] = fit_maps(rows.get("maps", torch.zeros(1, 18, *map_size)), map_size)
    if picture is not None:
        picture = images(edits, "image", size=size)
    if mask is not None:
        mask = resize(mask, size)

    lengths = {"prompts": len(texts), "negative_prompt": len(negative)}
    for name, value in {**rows, "image": picture, "mask": mask, "latents": latents}.items():
        if isinstance(value, torch.Tensor):
            lengths[name] = value.shape[0]
        elif isinstance(value, list) and isinstance(value[0], torch.Tensor):
            lengths[name] = max(part.shape[0] for part in value)
    count = max(lengths.values())
    if odd := {name: length for name, length in lengths.items() if length not in (1, count)}:
        name, length = next(iter(odd.items()))
        largest = max(lengths, key=lengths.get)
        raise ValueError(
            f"{name} has {length} rows, but {largest} has {count}: give one per image, or one for all."
        )
    return Request(count, size, family, rows, negative, picture, mask, latents, guided)


def read_texts(texts: str | Sequence[str], name: str) -> list[str]:
    """A sentence or several as a list."""
    texts = [texts] if isinstance(texts, str) else list(texts)
    if not texts:
        raise ValueError(f"{name} is empty.")
    for text in texts:
        if not isinstance(text, str):
            raise TypeError(f"{name} must be a string or a list of strings, not {type(text).__name__}.")
    return texts


def read_latents(checkpoint: Checkpoint, latents: torch.Tensor | None) -> torch.Tensor:
    """Starting latents ``[N, C, h, w]``, checked."""
    channels = checkpoint.vae.config.latent_channels
    latents = torch.as_tensor(latents, dtype=torch.float32)
    if latents.ndim == 3:
        latents = latents[None]
    if latents.ndim != 4 or latents.shape[1] != channels:
        raise ValueError(
            f"latents has shape {list(latents.shape)}; initial latents are [N, {channels}, h, w]."
        )
    if not latents.isfinite().all():
        raise ValueError("latents contains NaN or infinity; initial latents are noise of unit variance.")
    return latents


def read_size(
    checkpoint: Checkpoint,
    family: Any,
    size: int | tuple[int, int] | None,
    latents: torch.Tensor | None,
    rows: Rows,
    picture: torch.Tensor | None,
) -> tuple[int, int]:
    """(height, width): as asked for, else as the latents or pictures have it, else what the model was trained
    at.
    """
    factor = checkpoint.vae_factor
    unit = factor * family.size_multiple
    from_latents = None if latents is None else tuple(side * factor for side in latents.shape[-2:])
    if size is None:
        if from_latents:
            size = from_latents
        elif "condition" in rows:
            stride = nets(checkpoint.controlnet)[0].stride
            drawn = [side * factor // stride for side in rows["condition"][0].shape[-2:]]
            size = tuple(max(side // unit, 1) * unit for side in drawn)
        elif "maps" in rows:  # as drawn, unless that is beyond what the model was trained at
            drawn = rows["maps"].shape[-2:]
            shrink = min(1.0, min(checkpoint.default_size) / min(drawn))
            size = tuple(max(round(side * shrink / unit), 1) * unit for side in drawn)
        elif picture is not None:
            size = tuple(max(side // unit, 1) * unit for side in picture.shape[-2:])
        else:
            size = checkpoint.default_size
    size = (size, size) if isinstance(size, int | np.integer) else tuple(size)
    whole = all(isinstance(side, int | np.integer) for side in size)
    if len(size) != 2 or not whole or any(side <= 0 or side % unit for side in size):
        raise ValueError(
            f"size is {size}; it is (height, width), both multiples of {unit} for this checkpoint."
        )
    if from_latents and from_latents != size:
        raise ValueError(
            f"latents of {latents.shape[-2]}×{latents.shape[-1]} make images of "
            f"{from_latents[0]}×{from_latents[1]}, but size asks for {size[0]}×{size[1]}."
        )
    return size


def fit_maps(maps: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """CRS-Diff's ``[N, 18, H, W]`` at another size, map by map."""
    if tuple(maps.shape[-2:]) == size:
        return maps
    return resize(maps.unflatten(1, (6, 3)).flatten(0, 1), size).unflatten(0, (-1, 6)).flatten(1, 2)


@dataclass
class Settings:
    """Arguments of ``sample`` that no image has for itself; ``Checkpoint.sample`` says what each means.

    Attributes:
        guidance_interval: (low, high): guidance acts only while t/T lies between, 1 being pure noise.
        guess_mode: The ControlNet, or CRS-Diff's maps, speak to the conditional half alone.
    """

    steps: int | None = None
    guidance: float | None = None
    sampler: str | None = None
    eta: float = 0.0
    strength: float = 1.0
    control_strength: float | list[float] = 1.0
    content_strength: float = 1.0
    guidance_interval: tuple[float, float] | None = None
    guess_mode: bool | None = None

    @property
    def guided(self) -> bool:
        """Whether classifier-free guidance runs."""
        return self.guidance > 1


SETTINGS = tuple(field.name for field in fields(Settings))


def read_settings(checkpoint: Checkpoint, **given) -> Settings:
    """Complete what was given with the checkpoint's own settings.

    Raises:
        ValueError: A number out of its range.
    """
    settings = Settings(**given)
    for name, value in {"guidance_interval": (0.0, 1.0), "guess_mode": False, **checkpoint.defaults}.items():
        if name in SETTINGS and getattr(settings, name) is None:
            setattr(settings, name, value)
    if settings.guess_mode and checkpoint.controlnet is None:
        raise ValueError("This checkpoint was loaded without a ControlNet or maps: leave guess_mode out.")
    if (built_in := checkpoint.settings.get("distilled_guidance")) and settings.guided:
        raise ValueError(
            f"guidance {settings.guidance:g} cannot be added: this checkpoint has guidance {built_in:g} "
            "distilled into its weights. Leave guidance= out, or take its teacher."
        )
    steps, strength = settings.steps, settings.strength
    trained = checkpoint.scheduler.config.num_train_timesteps
    if not isinstance(steps, int | np.integer) or isinstance(steps, bool) or not 1 <= steps <= trained:
        raise ValueError(f"steps is {steps!r}; it must be a whole number, 1 to {trained}.")
    if not 0 <= strength <= 1 or int(steps * strength) < 1:
        raise ValueError(
            f"strength is {strength}; it is the share of the {steps} steps that is run, above 0 and at most "
            "1, and must leave at least one step."
        )
    low, high = settings.guidance_interval
    if not 0 <= low < high <= 1:
        raise ValueError(
            f"guidance_interval is {settings.guidance_interval}; it is (low, high) with 0 <= low < high <= 1."
        )
    return settings
