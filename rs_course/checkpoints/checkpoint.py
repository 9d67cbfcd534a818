"""A loaded generator, and its card: where it comes from, and the SHA-256 of every weight file.

``card.json`` lies in the checkpoint's folder. Where it states hashes, ``load`` verifies them before it opens
a weight file; at the size of the minis that costs a few hundredths of a second.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from rs_course.files import sha256, write_json

from .families import FAMILIES
from .images import Pictures, clip_image_features, images
from .layout import Layout, shared_parts
from .weights import read_json

_OWN_TO_CRSDIFF = ("content_adapter", "metadata_embedding")


@dataclass(eq=False, repr=False)
class Checkpoint:
    """A generator with everything it needs; made by ``rs_course.checkpoints.load``.

    Attributes:
        family: ``"diffusionsat"``, ``"text2earth"``, ``"text2earth-inpainting"``, ``"crsdiff"`` or
            ``"stable-diffusion"``.
        unet: Predicts noise or velocity from latents, time and conditions.
        vae: Between images and latents.
        text_encoder: CLIP's text tower.
        tokenizer: Its tokenizer.
        scheduler: The checkpoint's own noise schedule and sampler.
        controlnet: DiffusionSat's ControlNet, CRS-Diff's map encoder, or ``None``.
        card: Source, licence, training data, hash.
        content_adapter: CRS-Diff's content tokens, else ``None``.
        metadata_embedding: CRS-Diff's metadata vector, else ``None``.
        image_encoder: CLIP's image tower for CRS-Diff's content, where the checkpoint has one.
        settings: What the checkpoint's authors recommend, over the family's own defaults: ``steps``,
            ``guidance``, ``guidance_interval``, ``sampler``, ``size``; ``distilled_guidance`` where guidance
            is part of the weights.
    """

    family: str
    unet: torch.nn.Module
    vae: torch.nn.Module
    text_encoder: torch.nn.Module
    tokenizer: Any
    scheduler: Any
    controlnet: torch.nn.Module | None = None
    card: Card | None = None
    content_adapter: Any = None
    metadata_embedding: torch.nn.Module | None = None
    image_encoder: torch.nn.Module | None = None
    settings: dict = field(default_factory=dict)

    def __repr__(self) -> str:
        millions = sum(p.numel() for part in self.modules().values() for p in part.parameters()) / 1e6
        where = f"{str(self.dtype).removeprefix('torch.')} on {self.device}"
        return f"Checkpoint(family={self.family!r}, {millions:.1f} M parameters, {where})"

    @property
    def vae_factor(self) -> int:
        """Pixels per latent pixel, along each side."""
        return 2 ** (len(self.vae.config.block_out_channels) - 1)

    @property
    def default_size(self) -> tuple[int, int]:
        """(height, width) that the model was trained at, as far as the files tell."""
        if size := self.settings.get("size"):
            return (size, size) if isinstance(size, int) else tuple(size)
        # Configs of the published models carry their ancestors' sample_size, larger than what they were
        # trained at.
        latent = self.unet.config.sample_size or 64
        height, width = (latent, latent) if isinstance(latent, int) else latent
        most = FAMILIES[self.family].trained_size
        return min(height * self.vae_factor, most), min(width * self.vae_factor, most)

    @property
    def defaults(self) -> dict:
        """Settings of ``sample`` where the call says nothing."""
        family = FAMILIES[self.family]
        return {"steps": family.steps, "guidance": family.guidance, **self.settings}

    @property
    def device(self) -> torch.device:
        """Where the UNet lies."""
        # diffusers' own ``device`` and ``dtype`` walk over all parameters, a few milliseconds each time.
        return next(self.unet.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Floating type of the UNet."""
        return next(self.unet.parameters()).dtype

    def modules(self) -> dict[str, torch.nn.Module]:
        """The parts that hold weights, by name."""
        names = ("unet", "vae", "text_encoder", "image_encoder", "controlnet", *_OWN_TO_CRSDIFF)
        return {name: part for name in names if (part := getattr(self, name)) is not None}

    def to(self, device: torch.device | str) -> Checkpoint:
        """Move all parts to a device; returns itself."""
        for part in self.modules().values():
            part.to(device=device)
        return self

    def compile(self, **options) -> Checkpoint:
        """Compile UNet and ControlNet with ``torch.compile``; the first images are slow. Returns itself."""
        for part in (self.unet, self.controlnet):
            if part is not None:
                part.compile(**options)
        return self

    def read_content(self, content: Any) -> torch.Tensor:
        """CRS-Diff's content as a CLIP image feature ``[N, D]``; ``None`` is zeros, which means absent.

        Args:
            content: The projected, un-normalised feature, or pictures for the checkpoint's own image tower.

        Raises:
            ValueError: A feature of another width, or pictures for a checkpoint without an image tower.
        """
        width = self.content_adapter.in_dim
        if content is None:
            return torch.zeros(1, width)
        if getattr(content, "ndim", 0) in (1, 2):
            feature = torch.as_tensor(content, dtype=torch.float32).reshape(-1, content.shape[-1])
            if feature.shape[1] == 2 * width:
                feature = feature[:, :width]  # behind it stands a text feature that the model ignores
            if feature.shape[1] != width:
                raise ValueError(
                    f"conditions['content'] has {feature.shape[1]} numbers; "
                    f"it is a CLIP image feature [N, {width}]."
                )
            return feature
        if self.image_encoder is None:
            raise ValueError(
                "This checkpoint has no CLIP image tower (the authors' own was not released), so "
                f"conditions['content'] must be a projected image feature [N, {width}]: encode the picture "
                "first, or put a CLIP model into its folder image_encoder."
            )
        return clip_image_features(self.image_encoder, images(content, "conditions['content']"))

    def sample(
        self,
        prompts: str | Sequence[str],
        *,
        metadata: dict | list | torch.Tensor | None = None,
        image: Pictures | None = None,
        mask: Pictures | None = None,
        conditions: dict | None = None,
        cond_metadata: dict | list | torch.Tensor | None = None,
        negative_prompt: str | Sequence[str] | None = None,
        steps: int | None = None,
        guidance: float | None = None,
        sampler: str | None = None,
        eta: float = 0.0,
        size: tuple[int, int] | None = None,
        strength: float = 1.0,
        control_strength: float | Sequence[float] = 1.0,
        content_strength: float = 1.0,
        seed: int | torch.Generator = 0,
        latents: torch.Tensor | None = None,
        output: str = "image",
        **engine: Any,
    ) -> torch.Tensor:
        """Generate images. Arguments that differ between images have one row per image, or one for all.

        Args:
            prompts: A sentence or a list of them. Text2Earth reads a level from it (``16_GOOGLE_LEVEL_a
                harbour``).
            metadata: Where, when, how fine: a dict with physical units (lon, lat, gsd, cloud_cover, year,
                month, day; a missing field is unknown), a list of dicts, or a tensor ``[N, 7]`` normalised
                already.
            image: The ControlNet's condition pictures; without a ControlNet a picture to start from.
            mask: Where to repaint ``image``: 1 repaints, 0 keeps, values between are a soft edge.
            conditions: CRS-Diff's maps: a dict of mlsd, hed, sketch, road, depth, segmentation and content.
            cond_metadata: Metadata of the condition pictures (DiffusionSat).
            negative_prompt: What guidance pushes away from; empty by default.
            steps: Sampler steps.
            guidance: Classifier-free guidance scale (Ho and Salimans 2022, arXiv 2207.12598); 1 turns it off.
            sampler: ``"ddim"``, ``"ddpm"``, ``"euler"``, ``"dpmsolver++"``, ``"sde-dpmsolver++"`` (which
                adds noise at every step; Lu et al. 2022, arXiv 2211.01095), ``"unipc"``, or ``None`` for the
                checkpoint's own.
            eta: Share of noise that DDIM adds back at each step, 0..1.
            size: (height, width) in pixels.
            strength: Share of the steps that is run on ``image``: small values stay close to it.
            control_strength: Factor on the ControlNet's or map encoder's residuals.
            content_strength: Factor on CRS-Diff's content tokens.
            seed: Image i depends on (seed, i) alone. A ``torch.Generator`` draws as the published pipelines
                do.
            latents: Initial noise ``[N, C, h, w]`` of unit variance, instead of the seed's.
            output: ``"image"`` or ``"latent"``.
            engine: ``batch_size``, ``start``, ``progress``, ``guidance_interval``, ``guess_mode``: see
                ``rs_course.sampling.sample``.

        Returns:
            float32 images ``[N, 3, H, W]`` in [0, 1], or latents ``[N, C, h, w]``, on the CPU.

        Raises:
            TypeError, ValueError: One sentence on what was wrong.
            RuntimeError: Not even one image fits into memory.
        """
        from rs_course import sampling

        return sampling.sample(
            self, prompts, metadata=metadata, image=image, mask=mask, conditions=conditions,
            cond_metadata=cond_metadata, negative_prompt=negative_prompt, steps=steps, guidance=guidance,
            sampler=sampler, eta=eta, size=size, strength=strength, control_strength=control_strength,
            content_strength=content_strength, seed=seed, latents=latents, output=output, **engine,
        )  # fmt: skip


CARD = "card.json"


@dataclass
class Card:
    """Where a checkpoint comes from.

    Attributes:
        source: Record, repository or command that made it.
        licence: Its licence, as stated there.
        training_data: What it was trained on.
        files: The weight files that ``hash`` covers.
    """

    source: str
    licence: str
    training_data: str
    files: list[Path] = field(default_factory=list, repr=False)

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the weight files' own SHA-256 sums, in sorted order, so that it tells the weights apart
        wherever they lie; computed when asked.
        """
        return hashlib.sha256("".join(sorted(map(sha256, self.files))).encode()).hexdigest()

    def __getitem__(self, key: str) -> str:
        return getattr(self, key)


def write_card(
    folder: str | Path, *, source: str, licence: str, training_data: str, settings: dict | None = None, **more
) -> Path:
    """Write ``card.json`` of a finished checkpoint; call it last, and again after any weight file changed.

    Args:
        folder: The checkpoint. The hashes of every ``.safetensors`` file below it are recorded, and of those
            that ``_shared_parts`` of its ``model_index.json`` names: a generator belongs to one VAE.
        source: Record, repository or command that made it.
        licence: Its licence.
        training_data: What it was trained on.
        settings: What ``sample`` uses where a call says nothing: ``steps``, ``guidance``,
            ``guidance_interval``, ``sampler``, ``size``.
        more: Anything else worth stating, as JSON.

    Returns:
        The file.

    Raises:
        FileNotFoundError: No weight file there.
    """
    folder = Path(folder)
    found = {file.resolve() for file in folder.rglob("*.safetensors")}
    found.update(file for part in shared_parts(folder).values() for file in part.glob("*.safetensors"))
    if not found:
        raise FileNotFoundError(f"{folder} holds no .safetensors file: write the weights before the card.")
    files = {Path(os.path.relpath(file, folder.resolve())).as_posix(): sha256(file) for file in found}
    stated = {"source": source, "licence": licence, "training_data": training_data, **more}
    content = {**stated, "settings": settings or {}, "files": dict(sorted(files.items()))}
    write_json(folder / CARD, content, ensure_ascii=False)
    return folder / CARD


def verify(folder: Path, files: Iterable[Path]) -> None:
    """Compare the weight files that are about to be read with the hashes that the folder's card records.

    Raises:
        ValueError: A file was changed, or is not on the card although the card lists files.
    """
    recorded = stated(folder).get("files") or {}
    if not isinstance(recorded, dict) or not all(isinstance(digest, str) for digest in recorded.values()):
        raise ValueError(f"{folder / CARD} does not list its files with their SHA-256: it is damaged.")
    if not recorded:
        return
    recorded = {(folder / name).resolve(): digest for name, digest in recorded.items()}
    for file in files:
        if (expected := recorded.get(file.resolve())) is None:
            raise ValueError(
                f"{file} is not among the weights that {folder / CARD} lists: remove it, or fetch the "
                "checkpoint again."
            )
        if (found := sha256(file)) != expected:
            raise ValueError(
                f"{file} is not the file that {folder / CARD} describes (SHA-256 {found[:12]}… instead of "
                f"{expected[:12]}…): it was changed or damaged, so fetch the checkpoint again."
            )


def stated(folder: Path) -> dict:
    """Content of ``card.json``; empty where there is none."""
    return read_json(folder / CARD) if (folder / CARD).is_file() else {}


def read_card(layout: Layout, name: str, files: list[Path]) -> tuple[Card, dict]:
    """Card and recommended settings: ``card.json`` in the folder, or what the registry says of a published
    name.

    Args:
        layout: The checkpoint's folder.
        name: What it was asked for by.
        files: Its weight files.
    """
    from rs_course import registry

    content = stated(layout.root)
    settings = content.get("settings", {})
    unknown = f"not stated in {layout.root.name}"
    known = {"source": str(layout.root), "licence": unknown, "training_data": unknown}
    if entry := registry.find(name, "checkpoint"):
        known = {"source": entry.homepage, "licence": entry.licence}
        known["training_data"] = FAMILIES[layout.family].training_data
        if entry.image_size:
            settings = {"size": entry.image_size, **settings}
    known.update({key: value for key, value in content.items() if key in known})
    return Card(**known, files=files), settings
