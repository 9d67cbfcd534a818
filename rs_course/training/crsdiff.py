"""mini-crsdiff: maps, a content picture and metadata, any subset, to tiles of the simulated Earth.

    rs-course train mini-crsdiff

CRS-Diff (Tang et al. 2024, arXiv 2403.11614) at course scale. As in Uni-ControlNet (Zhao et al. 2023, arXiv
2305.16322), which it follows, the UNet below stays as it is, and only what tells it about maps, content and
metadata is learnt. That UNet is mini-diffusionsat's, whose own metadata stays unknown here.
"""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from rs_course import seeds
from rs_course.checkpoints.crsdiff import MAPS, ContentAdapter, LocalAdapter
from rs_course.checkpoints.prompts import CRSDIFF, FIELDS, metadata_rows
from rs_course.training_loop import Budget, by_step

from . import conditioning_data, latent, sample_grid
from .conditioning_data import MappedScenes
from .crsdiff_start import encoder_copy, metadata_like
from .training_sets import simulated_sentence

CONTENT_MULT = (1, 2)  # two content tokens; the published model has four
# How often the published training leaves things out (configs/crs.yaml of its repository).
DROP_TEXT, KEEP_ALL, DROP_ALL = 0.5, 0.1, 0.1
DROP_EACH = {"mlsd": 0.6, "hed": 0.5, "sketch": 0.5, "road": 0.5, "depth": 0.5, "segmentation": 0.5}
# Beyond that: scenes without any of the maps that are found in the picture. Lines and edges say so much that
# what people draw (roads, land cover) is not listened to where it is rarely given alone.
FOUND, DROP_FOUND = ("mlsd", "hed", "sketch"), 0.6
# And scenes that are told one map of these and nothing else, as often as this.
ALONE, ONE_ALONE = {"road": 0.6, "depth": 0.1, "segmentation": 0.3}, 0.4
# A road is a few of 256 latent pixels, so that its errors hardly count among the others'.
ROAD_WEIGHT = 5.0
DROP_CONTENT = 0.5
DROP_FIELD = 0.1  # share of scenes on which each single field is unknown
DRAWS = 3  # noise levels learnt from one reading of the maps
SCHEDULER = {
    "_class_name": "DDIMScheduler",
    "num_train_timesteps": 1000,
    **latent.BETAS,
    "prediction_type": "v_prediction",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
}


class Denoiser(nn.Module):
    """``(x_t [K·B, …], t, maps [B, 18, 8h, 8w], states, content, metadata)`` to v.

    The maps are read once for K noise levels of the same scene. The UNet is no submodule: it is not trained,
    nor is the metadata vector, which speaks to it as its own embedding does.
    """

    def __init__(self, unet):
        super().__init__()
        self.local_adapter = latent.with_plain_attention(encoder_copy(unet))
        self.content_adapter = ContentAdapter(unet.config.cross_attention_dim, CONTENT_MULT)
        for parameter in self.content_adapter.ff2.net[2].parameters():
            nn.init.zeros_(parameter)  # tokens that say nothing yet
        self.metadata_embedding = metadata_like(unet).requires_grad_(False)
        self._frozen = (latent.with_plain_attention(unet).requires_grad_(False),)

    def forward(self, x, t, maps, states, content, metadata):
        draws = len(x) // len(maps)
        context = torch.cat([states, self.content_adapter(content)], dim=1)
        given = [context, self.metadata_embedding(metadata), *self.local_adapter.features(maps)]
        context, vector, *features = (part.repeat(draws, *[1] * (part.ndim - 1)) for part in given)
        *down, mid = self.local_adapter(x, t, context, features=features)
        residuals = {"down_block_additional_residuals": down, "mid_block_additional_residual": mid}
        return self._frozen[0](x, t, context, class_labels=vector, **residuals).sample


def train(
    out, *, minutes=205, seed=0, resume=True, data=6_000, base="mini-diffusionsat", start=None, batch_size=6,
    **options,
):  # fmt: skip
    """Train on simulated scenes with their true maps.

    Args:
        out, minutes, seed, resume: As of every mini, see :mod:`rs_course.training`.
        data: Number of simulated scenes; this mini learns from no real ones.
        base: Name or folder of the generator whose UNet it stands on, and whose text tower speaks to both.
        start: Name or folder of a checkpoint of the same form, whose map and content parts are gone on from.
        batch_size: Scenes a step, each at :data:`DRAWS` noise levels.
        options: Of :func:`rs_course.training.latent.fit`.
    """
    from rs_course.checkpoints.images import clip_image_features
    from rs_course.checkpoints.loading import load_image_encoder, load_model, locate, unet_class

    vae, tokenizer, text_encoder, folders = latent.shared_parts(text_encoder=base)
    unet_folder, clip = locate(base) / "unet", folders["text_encoder"]
    folders["text_encoder"] = latent.own_tower(base) or clip
    unet = load_model(unet_class(unet_folder), unet_folder, torch.float32)
    scenes = conditioning_data.scenes(int(data))
    encoder = load_image_encoder(clip, torch.float32)
    pictures = torch.from_numpy(scenes.images).permute(0, 3, 1, 2)
    content = torch.cat([clip_image_features(encoder, part.float() / 255) for part in pictures.split(250)])
    encoded, texts = latent.encode(vae, scenes.images)[:, 0], latent.text_states(tokenizer, text_encoder)
    with seeds.initial_weights(seed):
        network = Denoiser(unet).to(memory_format=torch.channels_last)
    if start is not None:
        for part in ("local_adapter", "content_adapter"):
            latent.begin_from(getattr(network, part), start, part)
    unet.to(vae.device)  # no submodule, so it does not move with the network

    def write(network, out):
        save(network, out, {**folders, "unet": unet_folder, "image_encoder": clip})

    made = batches(scenes, encoded, content, texts, seed, batch_size)
    options = latent.SHORT | {"loss_weight": on_roads, "sample_grid": as_mapped(scenes)} | options
    return latent.fit(out, network, made, write, budget=Budget(minutes), seed=seed, resume=resume, **options)


def as_mapped(scenes: MappedScenes):
    """Ten scenes made anew from the maps that people draw, for the samples."""
    from rs_course import checkpoints, datasets

    picture = checkpoints.images.images(scenes.images[:10])
    maps = conditioning_data.maps(scenes.truth[:10], scenes.filtered[:10]).unflatten(1, (len(MAPS), 3))
    drawn = {name: maps[:, k] for k, name in enumerate(MAPS) if name not in FOUND}
    prompts = [datasets.class_prompt(int(label)) for label in scenes.labels[:10]]

    def sample(out):
        wish = {"metadata": scenes.metadata[:10], "conditions": drawn, "guess_mode": True}
        return checkpoints.load(out).sample(prompts, size=picture.shape[-2:], **wish, **sample_grid.SETTINGS)

    land_cover = F.interpolate(drawn["segmentation"], size=picture.shape[-2:])
    return sample_grid.beside({"the scene": picture, "land cover": land_cover}, sample)


def batches(scenes: MappedScenes, encoded, content, texts, seed: int, batch_size: int = 6):
    """Batches ``(x0 [3·B, 4, 16, 16], maps, states, content, metadata [B, …])`` from any step on.

    Args:
        scenes: Scenes with maps.
        encoded, content: Their latents ``[N, 4, 16, 16]`` and CLIP image features ``[N, D]``.
        texts: Sentences to states.
        seed: That of step k depends on (seed, k) alone.
        batch_size: Scenes a batch; each is learnt at :data:`DRAWS` noise levels.
    """
    known = metadata_rows([{f: row[f] for f in FIELDS} for row in scenes.metadata], CRSDIFF)

    def batch(draw):
        chosen = draw.integers(len(scenes.images), size=batch_size)
        maps = conditioning_data.maps(scenes.truth[chosen], scenes.filtered[chosen], encoded.device)
        kept = kept_maps(batch_size, draw).repeat_interleave(3, dim=1)[:, :, None, None]
        maps = as_drawn(maps, draw) * kept.to(maps)
        heard = draw.random(batch_size) >= DROP_TEXT
        sentences = [
            simulated_sentence(scenes, i, draw) if h else "" for i, h in zip(chosen, heard, strict=True)
        ]
        seen = torch.from_numpy(draw.random((batch_size, 1)) >= DROP_CONTENT)
        unknown = (draw.random((batch_size, len(FIELDS))) < DROP_FIELD) | (
            draw.random((batch_size, 1)) < DROP_ALL
        )
        metadata = known[chosen].masked_fill(torch.from_numpy(unknown), 0.0)
        x0 = encoded[chosen].float().repeat(DRAWS, 1, 1, 1)
        return x0, maps, texts(sentences), content[chosen] * seen, metadata

    return by_step(batch, seed)


def kept_maps(count: int, draw) -> torch.Tensor:
    """Which maps are given, ``[count, 6]`` of 0 and 1: at times all, none or one, else each by itself."""
    kept = draw.random((count, len(MAPS))) >= np.array([DROP_EACH[name] for name in MAPS])
    found = np.array([name in FOUND for name in MAPS])
    kept &= ~(found & (draw.random((count, 1)) < DROP_FOUND))
    one = np.array(MAPS) == draw.choice(list(ALONE), size=(count, 1), p=list(ALONE.values()))
    kept = np.where(draw.random((count, 1)) < ONE_ALONE, one, kept)
    chance = draw.random(count)[:, None]
    return torch.from_numpy(np.where(chance < KEEP_ALL, True, kept & (chance < 1 - DROP_ALL))).float()


def on_roads(maps: torch.Tensor, *_) -> torch.Tensor:
    """Weights ``[K·B, 1, h, w]`` of the errors: more where a given road map ``[B, 18, 8h, 8w]`` has roads."""
    first = 3 * MAPS.index("road")
    road = F.max_pool2d(maps[:, first : first + 1], LocalAdapter.stride)
    return (1 + (ROAD_WEIGHT - 1) * (road > 0.3)).repeat(DRAWS, 1, 1, 1)


def as_drawn(maps: torch.Tensor, draw) -> torch.Tensor:
    """Maps as people bring them: half of the batches at 64 pixels, half with black and white roads."""
    if draw.random() < 0.5:
        maps = F.interpolate(F.avg_pool2d(maps, 2), scale_factor=2, mode="bicubic").clamp(0, 1)
    if draw.random() < 0.5:
        road = slice(3 * MAPS.index("road"), 3 * MAPS.index("road") + 3)
        maps[:, road] = (maps[:, road] > 0.3).float()
    return maps


def save(network: Denoiser, out, folders: dict[str, Path]) -> None:
    """Write the three parts of its own in half precision, and which parts other minis lend."""
    from rs_course.checkpoints.export import write_model

    out = Path(out)
    for name in ("local_adapter", "content_adapter", "metadata_embedding"):
        write_model(copy.deepcopy(getattr(network, name)).half(), out / name, name)
    latent.write_index(out, "StableDiffusionPipeline", SCHEDULER, [None, "SatUNet"], folders)
