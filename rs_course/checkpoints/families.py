"""What distinguishes the generators: how prompts, metadata and pictures reach the UNet, and what
"unconditional" means.

Every family here is Stable Diffusion with one more way in. Its difference is three small methods:

    read(...)           the user's arguments  -> rows, one per image
    unconditional(rows) the rows of guidance's other half
    encode(...)         rows of one half      -> what ``predict`` needs, computed once per image
    predict(...)        latents and time      -> the UNet's output

The sampling loop (``rs_course.sampling``) is the same for all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from . import conditions as sat
from .crsdiff import MAPS
from .diffusionsat import SatMultiControlNet
from .images import images
from .prompts import CRSDIFF, DIFFUSIONSAT, encode, level_of_gsd, metadata_rows, parse_level

if TYPE_CHECKING:
    from .checkpoint import Checkpoint

Rows = dict[str, torch.Tensor | list]


class StableDiffusion:
    """Text alone. Rombach et al. 2022, arXiv 2112.10752."""

    steps = 50
    guidance = 7.5
    trained_size = 512  # pixels; no published checkpoint of the family was trained at more
    size_multiple = 1  # of latent pixels
    solver_options: dict = {}  # noqa: RUF012 - by sampler: settings under which it equals the family's own
    training_data = "not stated by its authors"  # of the published checkpoint

    def read(
        self, checkpoint: Checkpoint, prompts: list[str], *, metadata: Any, image: Any, conditions: Any,
        cond_metadata: Any,
    ) -> Rows:  # fmt: skip
        """Check the arguments that are this family's own; a value has one row per image, or one for all."""
        refuse("metadata", metadata, "is not told where or when an image was taken")
        refuse("conditions", conditions, "takes no condition maps")
        refuse("cond_metadata", cond_metadata, "has no ControlNet")
        return {"text": prompts}

    def unconditional(self, rows: Rows) -> Rows:
        """Guidance drops the text; the sampling loop puts the negative prompt in its place."""
        return rows

    def encode(self, checkpoint: Checkpoint, rows: Rows, content_strength: float = 1.0) -> Rows:
        """What ``predict`` is given of one half's rows."""
        return {"text": encode(checkpoint.tokenizer, checkpoint.text_encoder, rows["text"])}

    def predict(
        self,
        checkpoint: Checkpoint,
        x: torch.Tensor,
        t: torch.Tensor,
        given: Rows,
        control_strength: Any = 1.0,
    ) -> torch.Tensor:
        """The UNet's output ``[B, 4, h, w]`` for latents ``x`` at time ``t``."""
        return checkpoint.unet(x, t, given["text"]).sample


class DiffusionSat(StableDiffusion):
    """Text and metadata; with a ControlNet also condition images and theirs. Khanna et al. 2024, arXiv
    2312.03606.
    """

    training_data = "SpaceNet, Satlas and Functional Map of the World"
    # The multistep solvers of its diffusers (0.17) end at the smallest trained noise level, current ones at
    # zero.
    solver_options = {  # noqa: RUF012
        name: {"final_sigmas_type": "sigma_min"} for name in ("dpmsolver++", "sde-dpmsolver++", "unipc")
    }

    def read(self, checkpoint, prompts, *, metadata, image, conditions, cond_metadata):
        """What a call asks for, checked, as rows by name."""
        refuse("conditions", conditions, "takes its condition pictures as image=")
        rows: Rows = {"text": prompts, "metadata": torch.zeros(1, 7)}
        if metadata is not None:
            if not getattr(checkpoint.unet.config, "use_metadata", True):
                refuse("metadata", metadata, "was saved with use_metadata=false")
            rows["metadata"] = metadata_rows(metadata, DIFFUSIONSAT)
        net = checkpoint.controlnet
        if net is None:
            refuse("cond_metadata", cond_metadata, "was loaded without controlnet= in load()")
            return rows
        rows["condition"] = sat.read_conditions(net, image, len(prompts))
        if cond_metadata is not None:
            count = sat.images_per_prompt(net, rows["condition"])
            rows["cond_metadata"] = sat.read_cond_metadata(net, cond_metadata, count)
        return rows

    def unconditional(self, rows):
        """No text, and all metadata unknown (zeros after normalisation); the pictures stay."""
        dropped = {key: torch.zeros_like(rows[key]) for key in ("metadata", "cond_metadata") if key in rows}
        return {**rows, **dropped}

    def encode(self, checkpoint, rows, content_strength=1.0):
        """The rows as the networks take them."""
        names = ("metadata", "cond_metadata", "condition", "heard")
        return {**super().encode(checkpoint, rows), **{key: rows[key] for key in names if key in rows}}

    def predict(self, checkpoint, x, t, given, control_strength=1.0):
        """The network's output for latents ``x [N, C, h, w]`` at time ``t``."""
        residuals = {}
        if checkpoint.controlnet is not None:
            several = isinstance(checkpoint.controlnet, SatMultiControlNet)
            count = len(checkpoint.controlnet.nets) if several else 1
            strengths = one_each(control_strength, count, "ControlNets")
            condition = [part.to(x) for part in given["condition"]]
            seen = (condition, strengths) if several else (condition[0], strengths[0])
            down, mid = checkpoint.controlnet(
                x, t, given["text"], seen[0], metadata=given["metadata"],
                cond_metadata=given.get("cond_metadata"), conditioning_scale=seen[1],
                guess_mode="heard" in given, return_dict=False,
            )  # fmt: skip
            if "heard" in given:  # guess mode: 0 for the unconditional half
                down, mid = [residual * given["heard"] for residual in down], mid * given["heard"]
            residuals = {"down_block_additional_residuals": down, "mid_block_additional_residual": mid}
        return checkpoint.unet(x, t, given["text"], metadata=given["metadata"], **residuals).sample


class Text2Earth(StableDiffusion):
    """Text and a resolution level, dropped jointly by guidance. Liu et al. 2025,
    doi 10.1109/MGRS.2025.3560455.

    The level is written into the prompt (``16_GOOGLE_LEVEL_a harbour``); where it is not, ``metadata`` with a
    gsd gives it. The other metadata fields say nothing to this model.
    """

    guidance = 4.0
    trained_size = 256
    training_data = "Git-10M"

    def read(self, checkpoint, prompts, *, metadata, image, conditions, cond_metadata):
        """What a call asks for, checked, as rows by name."""
        refuse("conditions", conditions, "takes no condition maps")
        refuse("cond_metadata", cond_metadata, "has no ControlNet")
        parsed = [parse_level(prompt) for prompt in prompts]
        levels = torch.tensor([level for level, _ in parsed], dtype=torch.float32)
        if metadata is not None:
            levels = torch.where(levels > 0, levels, read_levels(metadata, len(levels)))
        return {"text": [text for _, text in parsed], "level": levels}

    def unconditional(self, rows):
        """No text and level 0."""
        return {**rows, "level": torch.zeros_like(rows["level"])}

    def encode(self, checkpoint, rows, content_strength=1.0):
        """The rows as the networks take them."""
        return {**super().encode(checkpoint, rows), "level": rows["level"]}

    def predict(self, checkpoint, x, t, given, control_strength=1.0):
        """The network's output for latents ``x [N, C, h, w]`` at time ``t``."""
        levels = given["level"] if checkpoint.unet.class_embedding is not None else None
        return checkpoint.unet(x, t, given["text"], class_labels=levels).sample


class Text2EarthInpainting(Text2Earth):
    """Text2Earth whose UNet also sees a mask and the picture around it (nine channels)."""

    guidance = 3.5


class CRSDiff(StableDiffusion):
    """Text, metadata, six maps and a content image, any subset. Tang et al. 2024, arXiv 2403.11614.

    Guidance drops the text and the content; maps and metadata stay in both halves, so that guidance cannot
    strengthen them. In guess mode it drops the maps as well.
    """

    size_multiple = 8  # the map encoder's coarsest features cover 8 latent pixels

    def read(self, checkpoint, prompts, *, metadata, image, conditions, cond_metadata):
        """What a call asks for, checked, as rows by name."""
        refuse("cond_metadata", cond_metadata, "takes maps without metadata of their own")
        rows: Rows = {"text": prompts, "metadata": torch.zeros(1, 7)}
        if metadata is not None:
            rows["metadata"] = metadata_rows(metadata, CRSDIFF)
        rows.update(read_maps(checkpoint, {} if conditions is None else conditions))
        return rows

    def unconditional(self, rows):
        """The rows without what guidance compares with."""
        return {**rows, "content": torch.zeros_like(rows["content"])}

    def encode(self, checkpoint, rows, content_strength=1.0):
        """The rows as the networks take them."""
        text = super().encode(checkpoint, rows)["text"]
        tokens = checkpoint.content_adapter(rows["content"].to(text)) * content_strength
        maps = rows["maps"] * rows.get("heard", 1.0)  # guess mode: 0 for the unconditional half
        return {
            "text": torch.cat([text, tokens.expand(len(text), -1, -1)], dim=1),  # [B, 77 + 4, D]
            "metadata": checkpoint.metadata_embedding(rows["metadata"].to(text.device)).to(text.dtype),
            "features": checkpoint.controlnet.features(maps.to(text)),
        }

    def predict(self, checkpoint, x, t, given, control_strength=1.0):
        """The network's output for latents ``x [N, C, h, w]`` at time ``t``."""
        residuals = checkpoint.controlnet(x, t, given["text"], features=given["features"])
        strengths = one_each(control_strength, len(residuals), "residuals")
        *down, mid = [r * s for r, s in zip(residuals, strengths, strict=True)]
        residuals = {"down_block_additional_residuals": down, "mid_block_additional_residual": mid}
        return checkpoint.unet(x, t, given["text"], class_labels=given["metadata"], **residuals).sample


def read_levels(metadata: Any, prompts: int) -> torch.Tensor:
    """Text2Earth's levels from the gsd in ``metadata``, 0 where none is stated.

    Raises:
        TypeError: Normalised numbers, which no longer tell the gsd.
        ValueError: A field that does not exist, or another number of rows than prompts.
    """
    rows = [metadata] if isinstance(metadata, dict) else list(metadata)
    metadata_rows(metadata, DIFFUSIONSAT)  # the same mistakes get the same messages in every family
    if not all(row is None or isinstance(row, dict) for row in rows):
        raise TypeError("This checkpoint takes a level, not seven numbers: pass metadata={'gsd': metres}.")
    if 1 not in (prompts, len(rows)) and prompts != len(rows):
        raise ValueError(
            f"metadata has {len(rows)} rows for {prompts} prompts: give one per image, or one for all."
        )
    stated = [(row or {}).get("gsd") for row in rows]
    return torch.tensor([float(level_of_gsd(gsd)) if gsd else 0.0 for gsd in stated])


def read_maps(checkpoint: Checkpoint, conditions: dict) -> Rows:
    """CRS-Diff's ``conditions`` as ``maps`` ``[N, 18, H, W]`` (an absent map is black) and ``content`` ``[N,
    D]``.

    Raises:
        TypeError: Not a dict.
        ValueError: An unknown map, or maps of several sizes.
    """
    if not isinstance(conditions, dict):
        raise TypeError(
            f"conditions is a dict of {', '.join(MAPS)} and content, not {type(conditions).__name__}."
        )
    if unknown := sorted(set(conditions) - {*MAPS, "content"}):
        raise ValueError(f"conditions has no entry {unknown[0]!r}; there are {', '.join(MAPS)} and content.")
    given = {
        key: images(value, f"conditions[{key!r}]")
        for key, value in conditions.items()
        if key in MAPS and value is not None
    }
    rows: Rows = {}
    if given:
        if len(sizes := {tuple(value.shape[-2:]) for value in given.values()}) > 1:
            raise ValueError(f"The maps in conditions have several sizes ({sorted(sizes)}): give them one.")
        count = max(len(value) for value in given.values())
        height, width = sizes.pop()
        black = torch.zeros(1, 3, height, width)
        rows["maps"] = torch.cat([given.get(key, black).expand(count, -1, -1, -1) for key in MAPS], dim=1)
    rows["content"] = checkpoint.read_content(conditions.get("content"))
    return rows


def one_each(strength: float | Sequence[float], count: int, of_what: str) -> list[float]:
    """A factor for each of ``count`` things, from one number or a list."""
    strengths = list(strength) if isinstance(strength, Sequence) else [strength] * count
    if len(strengths) != count:
        raise ValueError(
            f"control_strength has {len(strengths)} values for {count} {of_what}: give one each."
        )
    return strengths


def refuse(name: str, value: object, reason: str) -> None:
    """Raise a ``ValueError`` for an argument that this family does not take."""
    if value is not None:
        raise ValueError(f"This checkpoint {reason}: leave {name} out.")


FAMILIES = {
    "stable-diffusion": StableDiffusion(),
    "diffusionsat": DiffusionSat(),
    "text2earth": Text2Earth(),
    "text2earth-inpainting": Text2EarthInpainting(),
    "crsdiff": CRSDiff(),
}
