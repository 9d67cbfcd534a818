"""mini-text2earth: text and a resolution level to tiles, real Sentinel-2 looks among them.

    rs-course train mini-text2earth
    rs-course train mini-text2earth-inpainting
    rs-course train mini-text2earth-fast

The UNet of Text2Earth (Liu et al. 2025, doi 10.1109/MGRS.2025.3560455) at course scale: the level goes
through the timestep's own sinusoid (``class_embed_type="timestep"``) and is dropped together with the text.
The inpainting twin sees a mask and what lies around it too. It goes on from its parent: the five new input
channels (mask, latents of the masked tile) start at zero, so at first it paints what its parent would.

The fast twin draws in four steps of one evaluation each. Its teacher goes from one of its levels to the next
in several guided steps, each of two evaluations; it learns to land at the same place in one. Guidance
distilled into one pass (Meng et al. 2023, arXiv 2210.03142) and fewer steps (progressive distillation,
Salimans & Ho 2022, arXiv 2202.00512) are one question here: which velocity, followed by one DDIM step, leads
where the teacher got?
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F

from rs_course import precision, seeds
from rs_course.diffusion.pixel import from_pixels
from rs_course.diffusion.process import add_noise, split
from rs_course.diffusion.samplers import dpmpp_2m, final
from rs_course.diffusion.schedules import Schedule
from rs_course.simulated_earth import CLASSES
from rs_course.training_loop import Budget, Recipe, by_step, linear_decay

from . import latent
from .training_sets import (
    Tiles,
    eurosat_tiles,
    placed_captions,
    simulated_sentence,
    simulated_tiles,
    with_level,
    with_mirror_images,
)

if TYPE_CHECKING:
    from diffusers import AutoencoderKL

UNET = latent.UNET | {
    "block_out_channels": (64, 80, 96), "attention_head_dim": (2, 5, 6), "class_embed_type": "timestep",
}  # fmt: skip
PIPELINE = "Text2EarthDiffusionPipeline"
DROP = 0.1  # share of tiles trained without text and level (Ho & Salimans 2022)
REWORDED = 2  # sentences of ``mixture.real_captions`` beside the class prompt
REAL = 0.75  # share of real tiles in a batch; they are harder to learn than the simulated ones
WHOLE = 0.2  # share of masks that cover the whole tile, so that the twin can paint freely too


class Denoiser(latent.TextDenoiser):
    """``(x_t, t, token numbers, levels)`` to v; what an inpainting UNet also sees comes last."""

    def forward(
        self,
        x: torch.Tensor,
        t: torch.Tensor,
        ids: torch.Tensor,
        levels: torch.Tensor,
        around: torch.Tensor | None = None,
    ) -> torch.Tensor:
        x = x if around is None else torch.cat([x, around.to(x)], 1)
        return self.unet(x, t, self.texts(ids), class_labels=levels).sample


def train(
    out: str | Path,
    *,
    minutes: float | None = 120,
    seed: int = 0,
    resume: bool = True,
    data: Any = "eurosat",
    simulated: int = 6_000,
    scenes: int = 6_000,
    start: str | Path | None = None,
    batch_size: int = 64,
    **options,
):
    """Train on EuroSAT's training split and on simulated scenes of several resolutions.

    The arguments are those of every mini, see :mod:`rs_course.training`.
    """
    from diffusers import UNet2DConditionModel

    words, sources, text_encoder, folders = material(data, simulated, scenes, start)
    with seeds.initial_weights(seed):
        network = Denoiser(UNet2DConditionModel(**UNET), text_encoder)

    def save(network, out):
        latent.save_pipeline(out, network.unet, PIPELINE, folders, network.texts.tower)

    made = batches(sources, words, seed, batch_size)
    options = {"sample_grid": latent.of_classes("eurosat"), "start": start} | options
    return latent.fit(out, network, made, save, budget=Budget(minutes), seed=seed, resume=resume, **options)


def material(data: Any, simulated: int, scenes: int, start: str | Path | None = None):
    """What there is to learn from: words to numbers, sources for :func:`batches`, a text tower, folders."""
    vae, tokenizer, text_encoder, folders = latent.shared_parts(text_encoder=start)
    real, drawn = eurosat_tiles(data), with_mirror_images(simulated_tiles(simulated, scenes))
    sources = [
        (REAL, in_views(real), latent.encode(vae, real.images, views=latent.VIEWS).flatten(0, 1)),
        (1 - REAL, drawn, latent.encode(vae, drawn.images)[:, 0]),
    ]
    return latent.tokens(tokenizer), sources, text_encoder, folders


def in_views(real: Tiles) -> Tiles:
    """Real tiles as they are turned and mirrored, with what is found in each view; without the pictures."""
    found = placed_captions(real.images, real.labels, CLASSES)
    own = [sentences for sentences in real.captions for _ in range(latent.VIEWS)]
    return Tiles(
        np.empty(0),
        real.labels.repeat(latent.VIEWS),
        [a + b for a, b in zip(own, found, strict=True)],
        [row for row in real.metadata for _ in range(latent.VIEWS)],
    )


def batches(
    sources: list[tuple[float, Tiles, torch.Tensor]],
    words: Callable,
    seed: int,
    batch_size: int = 32,
    vae: AutoencoderKL = None,
):
    """Batches ``(x0 [B, 4, 16, 16], token numbers [B, 77], levels [B])`` from any step on.

    Args:
        sources: Share of the batch, tiles, and their latents ``[N, 4, 16, 16]``.
        words: Sentences to token numbers.
        seed: That of step k depends on (seed, k) alone.
        batch_size: Tiles a batch.
        vae: Give what lies around a mask too, ``[B, 5, 16, 16]``, encoded by this one.
    """

    def batch(draw):
        rows = [draw.integers(len(x), size=round(share * batch_size)) for share, _, x in sources]
        x0 = torch.cat([x[own].float() for (_, _, x), own in zip(sources, rows, strict=True)])
        tiles = [(one, own) for (_, one, _), own in zip(sources, rows, strict=True)]
        prompts = [prompt_of(one, i, draw) for one, own in tiles for i in own]
        ids, levels = conditions(prompts, words, draw)
        if vae is None:
            return x0, ids, levels
        images = np.concatenate([one.images[own] for one, own in tiles])
        return x0, ids, levels, surroundings(vae, images, draw)

    return by_step(batch, seed)


def prompt_of(tiles: Tiles, i: int, draw: np.random.Generator) -> str:
    """The class prompt for half of the real tiles, the same with what was found in the tile where there is
    something, or the class in other words; for simulated ones as ``simulated_sentence``; behind the level.
    """
    own, gsd = tiles.captions[i], tiles.metadata[i]["gsd"]
    if "year" in tiles.metadata[i]:
        return with_level(simulated_sentence(tiles, i, draw), gsd)
    prompt, *others = own  # nobody knows when a EuroSAT tile was taken
    kind = draw.random()
    if kind < 0.3 and others[REWORDED:]:
        prompt = f"{prompt}. {others[-1]}"
    elif kind < 0.45:
        prompt = others[draw.integers(REWORDED)]
    return with_level(prompt, gsd)


def conditions(
    prompts: list[str], words: Callable, draw: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Token numbers and levels; both dropped together for a share ``DROP``."""
    from rs_course.checkpoints.prompts import parse_level

    heard = [(0, "") if draw.random() < DROP else parse_level(prompt) for prompt in prompts]
    return words([text for _, text in heard]), torch.tensor([float(level) for level, _ in heard])


def train_inpainting(
    out: str | Path,
    *,
    minutes: float | None = 20,
    seed: int = 0,
    resume: bool = True,
    data: Any = "eurosat",
    simulated: int = 6_000,
    scenes: int = 6_000,
    batch_size: int = 32,
    parent: str | Path = "mini-text2earth",
    **options,
):
    """Train on the tiles of mini-text2earth, from its weights; the text tower is its parent's and stays."""
    vae, tokenizer, text_encoder, folders = latent.shared_parts(text_encoder=parent)
    folders["text_encoder"] = latent.own_tower(parent) or folders["text_encoder"]
    tiles = eurosat_tiles(data), simulated_tiles(simulated, scenes)
    sources = [
        (share, one, latent.encode(vae, one.images)[:, 0])
        for share, one in zip((REAL, 1 - REAL), tiles, strict=True)
    ]
    network = Denoiser(from_parent(parent), text_encoder)
    network.texts.requires_grad_(False)

    def save(network, out):
        latent.save_pipeline(out, network.unet, PIPELINE, folders)

    made = batches(sources, latent.tokens(tokenizer), seed, batch_size, vae)
    options = {"recipe": replace(latent.RECIPE, lr=4e-4), "sample_grid": repainted(tiles[1])} | options
    return latent.fit(out, network, made, save, budget=Budget(minutes), seed=seed, resume=resume, **options)


def repainted(tiles: Tiles):
    """Ten tiles whose middle is painted anew, for the samples."""
    from rs_course import checkpoints, datasets

    picture = checkpoints.images.images(tiles.images[:10])
    mask = torch.zeros(1, 1, *picture.shape[-2:])
    mask[..., 16:-16, 16:-16] = 1
    prompts = [with_level(datasets.class_prompt(int(label)), 10.0) for label in tiles.labels[:10]]

    def sample(out):
        return checkpoints.load(out).sample(prompts, image=picture, mask=mask, **latent.GRID_SETTINGS)

    return latent.beside({"the tile": picture, "without": picture * (1 - mask)}, sample)


def from_parent(parent: str | Path):
    """A nine-channel UNet with its parent's weights; what it newly sees counts nothing yet."""
    from diffusers import UNet2DConditionModel

    own, known = UNet2DConditionModel(**{**UNET, "in_channels": 9}), UNet2DConditionModel(**UNET)
    latent.begin_from(known, parent)
    weight = torch.zeros_like(own.conv_in.weight)
    weight[:, :4] = known.conv_in.weight.detach()
    own.load_state_dict({**known.state_dict(), "conv_in.weight": weight})
    return own


def surroundings(vae: AutoencoderKL, images: np.ndarray, draw: np.random.Generator) -> torch.Tensor:
    """Mask and latents of the masked tiles, as the sampling engine computes them: ``[B, 5, h, w]``."""
    masks = torch.from_numpy(np.stack([random_mask(images.shape[1], draw) for _ in images]))[:, None]
    x, masks = from_pixels(images).to(vae.device), masks.to(vae.device)
    with torch.no_grad(), precision.fast(vae.device.type):
        seen = vae.encode(x * (masks < 0.5)).latent_dist.mean.float()
    small = F.interpolate(masks, size=seen.shape[-2:])
    return torch.cat([small, seen * vae.config.scaling_factor], 1)


def random_mask(side: int, draw: np.random.Generator) -> np.ndarray:
    """float32 ``[side, side]``, 1 is to be painted: everything, or one to three boxes or discs."""
    if draw.random() < WHOLE:
        return np.ones((side, side), np.float32)
    mask = np.zeros((side, side), np.float32)
    rows, columns = np.mgrid[:side, :side]
    for _ in range(draw.integers(1, 4)):
        (y, x), (height, width) = draw.uniform(0, side, 2), draw.uniform(side / 8, side / 2, 2)
        if draw.random() < 0.5:
            inside = (abs(rows - y) < height) & (abs(columns - x) < width)
        else:
            inside = ((rows - y) / height) ** 2 + ((columns - x) / width) ** 2 < 1
        mask[inside] = 1
    return mask


FAST_STEPS, WALK = 4, 4  # steps of the student, and of the teacher for each of them
GUIDANCE = 2.0
FAST_SETTINGS = {"steps": FAST_STEPS, "guidance": 1.0, "sampler": "ddim"}
FAST_SCHEDULER = latent.DDIM | {"set_alpha_to_one": True, "timestep_spacing": "trailing"}


def train_fast(
    out: str | Path,
    *,
    minutes: float | None = 45,
    seed: int = 0,
    resume: bool = True,
    data: Any = "eurosat",
    simulated: int = 6_000,
    scenes: int = 6_000,
    teacher: str | Path = "mini-text2earth",
    batch_size: int = 64,
    **options,
):
    """Train on the tiles and sentences of mini-text2earth.

    Args:
        out, minutes, seed, resume, data, simulated, scenes, batch_size, options: As of every mini.
        teacher: Name or folder of the checkpoint that is walked with and begun from.
    """
    from diffusers import UNet2DConditionModel

    words, sources, text_encoder, folders = material(data, simulated, scenes, start=teacher)
    guide = latent.as_it_was(Denoiser(UNet2DConditionModel(**UNET), text_encoder), teacher)
    student = copy.deepcopy(guide)
    student.unet.train().requires_grad_(True)
    silence = words([""])

    def unconditional(ids, levels):
        return silence.to(ids).expand_as(ids), torch.zeros_like(levels)

    def save(network, out):
        tower = latent.own_tower(teacher) or folders["text_encoder"]
        shared = {**folders, "text_encoder": tower}
        latent.save_pipeline(out, network.unet, PIPELINE, shared, scheduler=FAST_SCHEDULER)

    options = {
        "recipe": Recipe(lr=2e-4, decay=linear_decay(0.4), log_every=100),
        "ema_decay": 0.995,
        "targets": targets_of(guide, unconditional, latent.schedule()),
        "sample_grid": latent.of_classes("eurosat", {**FAST_SETTINGS, "seed": 0}),
    } | options
    made = batches(sources, words, seed, batch_size)
    return latent.fit(out, student, made, save, budget=Budget(minutes), seed=seed, resume=resume, **options)


def levels(steps: int, count: int = 1000) -> list[int]:
    """Levels of a plan of so many steps, the noisiest first, as diffusers' trailing spacing has them; -1 is
    the clean image.
    """
    return [round(count - k * count / steps) - 1 for k in range(steps + 1)]


def targets_of(
    teacher: Callable[..., torch.Tensor],
    unconditional: Callable[..., tuple],
    schedule: Schedule,
    *,
    steps: int = FAST_STEPS,
    walk: int = WALK,
    guidance: float = GUIDANCE,
) -> Callable[..., tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """What the student is asked: a noisy tile at one of its levels, and the velocity that leads to the next.

    Args:
        teacher: ``teacher(xt, t, *condition)`` to v.
        unconditional: ``unconditional(*condition)``: the condition without text, for guidance.
        schedule: Noise schedule of both.
        steps: Steps of the student.
        walk: Steps of the teacher from one level of the student to the next.
        guidance: The teacher's, all of the way.
    """
    plan = levels(steps, len(schedule))

    @torch.no_grad()
    def targets(x0, eps, t, *condition):
        k = int(t[0]) * steps // len(schedule)  # one level for the batch, so that the teacher walks once
        start, stop = plan[k], plan[k + 1]
        xt = add_noise(x0, eps, start, schedule)
        pairs = [torch.cat(pair) for pair in zip(condition, unconditional(*condition), strict=True)]

        def denoise(x, level):
            at = torch.full((2 * len(x),), round(level), device=x.device)
            cond, uncond = teacher(torch.cat([x, x]), at, *pairs).float().chunk(2)
            return split(uncond + guidance * (cond - uncond), x, level, schedule, "v")

        path = torch.linspace(start, stop, walk + 1).round().int().tolist()
        reached = final(dpmpp_2m(denoise, xt, schedule, timesteps=path, lower_order_final=stop < 0))
        (a, s), (a_next, s_next) = (schedule.coefficients(level, xt) for level in (start, stop))
        clean = (reached - s_next / s * xt) / (a_next - a * s_next / s)
        return xt, torch.full((len(xt),), start, device=xt.device), (a * xt - clean) / s

    return targets
