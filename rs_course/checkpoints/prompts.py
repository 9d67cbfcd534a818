"""What a generator is told beside pictures: the prompt, and when, where and how finely an image was taken.

Prompts: the level token of Text2Earth, and the way from a sentence to CLIP states. Metadata: DiffusionSat
(Khanna et al. 2024, arXiv 2312.03606) and CRS-Diff (Tang et al. 2024, arXiv 2403.11614) take the same seven
fields, each in its own order and on its own scale; a :class:`Normalisation` states both.
"""

from __future__ import annotations

import math
import re
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

LEVEL_TOKEN = "_GOOGLE_LEVEL_"


def parse_level(prompt: str) -> tuple[int, str]:
    """Split ``"16_GOOGLE_LEVEL_a harbour"`` into ``(16, "a harbour")``; level 0 means that none was given.

    As in the published pipeline: the number stands before the first token, the text after the last.

    Raises:
        ValueError: What stands before the token is not a whole number.
    """
    if LEVEL_TOKEN not in prompt:
        return 0, prompt
    pieces = prompt.split(LEVEL_TOKEN)
    try:
        return int(pieces[0]), pieces[-1]
    except ValueError:
        raise ValueError(
            f"{pieces[0]!r} before {LEVEL_TOKEN} is not a whole number: write a Google Maps level such as "
            f"16{LEVEL_TOKEN}… (level L shows 2^(17-L) metres per pixel)."
        ) from None


def level_of_gsd(gsd: float) -> int:
    """Google Maps level with the nearest ground resolution, ``2^(17 - level)`` metres per pixel, within
    10..18.
    """
    return min(max(round(17 - math.log2(gsd)), 10), 18)


def encode(tokenizer: Any, text_encoder: Any, prompts: list[str]) -> torch.Tensor:
    """Last hidden states ``[N, 77, D]`` after the final layer norm, without attention mask, as Stable
    Diffusion does.

    Warns with the words that are lost where a prompt is longer than the encoder's 77 tokens.
    """
    import torch

    length = text_encoder.config.max_position_embeddings
    different = list(dict.fromkeys(prompts))
    warn_if_cut(tokenizer, text_encoder, different)
    ids = tokenizer(
        different, padding="max_length", max_length=length, truncation=True, return_tensors="pt"
    ).input_ids
    states = text_encoder(ids.to(text_encoder.device))[0]
    if len(different) == len(prompts):
        return states
    return states[torch.as_tensor([different.index(prompt) for prompt in prompts])]


def warn_if_cut(tokenizer: Any, text_encoder: Any, prompts: list[str]) -> None:
    """Warn with the words that are lost of each prompt that is longer than the text encoder reads."""
    length = text_encoder.config.max_position_embeddings
    for prompt in dict.fromkeys(prompts):
        if len(prompt) < length:  # a token covers at least one character
            continue
        ids = tokenizer(prompt).input_ids
        if len(ids) > length:
            lost = re.sub(r"\s+", " ", tokenizer.decode(ids[length - 1 : -1])).strip()
            warnings.warn(
                f"The prompt has {len(ids)} tokens, the text encoder reads {length}: it does not see "
                f"{lost!r}.",
                stacklevel=3,
            )


# field: (lowest, highest, unit) of a value that a user may state
FIELDS = {
    "lon": (-180, 180, "degrees"),
    "lat": (-90, 90, "degrees"),
    "gsd": (0, math.inf, "metres per pixel"),
    "cloud_cover": (0, 1, "a fraction"),
    "year": (1980, 2100, "a calendar year"),
    "month": (1, 12, "a calendar month"),
    "day": (1, 31, "a day of the month"),
}


@dataclass(frozen=True)
class Normalisation:
    """How one family scales the fields: ``(value * factor - low) / (high - low) * scale``, in this order."""

    ranges: dict[str, tuple[float, float]]
    scale: float
    factor: dict[str, float]

    def __call__(self, field: str, value: float) -> float:
        low, high = self.ranges[field]
        return (value * self.factor.get(field, 1.0) - low) / (high - low) * self.scale


# Every field runs over 0..1000 like the diffusion timestep, because the same sinusoid embeds it.
DIFFUSIONSAT = Normalisation(scale=1000.0, factor={}, ranges={
    "lon": (-180, 180), "lat": (-90, 90), "gsd": (0, 1), "cloud_cover": (0, 1),
    "year": (1980, 2100), "month": (0, 12), "day": (0, 31),
})  # fmt: skip
# CRS-Diff counts clouds in percent and multiplies by 1000 inside its embedding.
CRSDIFF = Normalisation(scale=1.0, factor={"cloud_cover": 100.0}, ranges={
    "year": (1980, 2024), "month": (0, 12), "day": (0, 31), "gsd": (0, 5),
    "cloud_cover": (0, 100), "lat": (-90, 90), "lon": (-180, 180),
})  # fmt: skip


def normalize_metadata(
    lon: float | None = None,
    lat: float | None = None,
    gsd: float | None = None,
    cloud_cover: float | None = None,
    year: int | None = None,
    month: int | None = None,
    day: int | None = None,
) -> torch.Tensor:
    """The seven numbers that DiffusionSat takes, from physical units.

    Longitude, latitude and the year are offset to start at 0 (-180°, -90°, 1980), then every field is scaled
    linearly so that its usual range becomes 0..1000. Nothing is clipped.

    Args:
        lon: Longitude in degrees, -180..180.
        lat: Latitude in degrees, -90..90.
        gsd: Ground sample distance of the generated image in metres per pixel.
        cloud_cover: Cloud fraction, 0..1.
        year: Calendar year; the model counts from 1980.
        month: 1..12 (0: unknown).
        day: 1..31 (0: unknown).

    Returns:
        float32 tensor ``[7]``: lon, lat, gsd, cloud cover, year, month, day. A field that is ``None`` is
        unknown and becomes 0, as in the training of the published model.

    Raises:
        ValueError: A place, cloud cover, month or day that does not exist.
    """
    import torch

    values = dict(zip(FIELDS, (lon, lat, gsd, cloud_cover, year, month, day), strict=True))
    for field, value in values.items():
        # The year is only counted from 1980, never clipped; 0 is how the data sets write an unknown month or
        # day.
        if field != "year" and not (field in ("month", "day") and value == 0):
            _check(field, value)
    row = [0.0 if value is None else DIFFUSIONSAT(field, float(value)) for field, value in values.items()]
    return torch.tensor(row, dtype=torch.float32)


def metadata_rows(metadata: Any, normalisation: Normalisation, name: str = "metadata") -> torch.Tensor:
    """Whatever a user passes as metadata, as normalised numbers.

    Args:
        metadata: A dict with physical units (see :data:`FIELDS`), a list of such dicts, or numbers that are
            normalised already: a tensor, array or list ``[7]`` or ``[N, 7]``.
        normalisation: Scale and order of the family.
        name: What the caller calls the argument, for messages.

    Returns:
        float32 tensor ``[N, 7]``; an unknown field is 0.

    Raises:
        TypeError: Neither dicts nor numbers.
        ValueError: A misspelt field, a value out of range, or another shape.
    """
    import torch

    if isinstance(metadata, dict):
        metadata = [metadata]
    listed = isinstance(metadata, list | tuple) and bool(metadata)
    if listed and all(row is None or isinstance(row, dict) for row in metadata):
        return torch.tensor([_row(row or {}, normalisation, name) for row in metadata], dtype=torch.float32)
    try:
        if isinstance(metadata, list | tuple):
            metadata = torch.stack([torch.as_tensor(row, dtype=torch.float32) for row in metadata])
        rows = torch.as_tensor(metadata, dtype=torch.float32)
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(
            f"{name} must be a dict with fields such as lon, lat and gsd, a list of such dicts, "
            f"or a tensor [N, 7] of normalised numbers, not {type(metadata).__name__}."
        ) from None
    rows = rows[None] if rows.ndim == 1 else rows
    if rows.ndim != 2 or rows.shape[1] != 7:
        raise ValueError(
            f"{name} has shape {list(rows.shape)}; normalised metadata is [N, 7], one column per field "
            f"({', '.join(normalisation.ranges)})."
        )
    if not torch.isfinite(rows).all():
        raise ValueError(f"{name} contains NaN or infinity; write 0 for an unknown normalised value.")
    return rows


def _row(fields: dict, normalisation: Normalisation, name: str) -> list[float]:
    for field, value in fields.items():
        if field not in FIELDS:
            raise ValueError(f"{name} has no field {field!r}; the fields are {', '.join(FIELDS)}.")
        _check(field, value, name)
    return [
        0.0 if fields.get(field) is None else normalisation(field, float(fields[field]))
        for field in normalisation.ranges
    ]


def _check(field: str, value, name: str = "metadata") -> None:
    if value is None:
        return
    low, high, unit = FIELDS[field]
    try:
        inside = low <= float(value) <= high and math.isfinite(float(value))
    except (TypeError, ValueError):
        raise TypeError(f"{name}: {field} must be a number ({unit}), not {value!r}.") from None
    if not inside:
        bounds = f"{low}..{high}" if math.isfinite(high) else f"at least {low}"
        hint = " (a percentage must be divided by 100)" if field == "cloud_cover" and float(value) > 1 else ""
        raise ValueError(f"{name}: {field} is {value}, but it is {unit}, {bounds}{hint}.")
