"""mini-crsdiff: maps, a content picture and metadata, any subset, to tiles of the simulated Earth.

    rs-course train mini-crsdiff

CRS-Diff (Tang et al. 2024, arXiv 2403.11614) at course scale. As in Uni-ControlNet (Zhao et al. 2023, arXiv
2305.16322), which it follows, the UNet below stays as it is, and only what tells it about maps, content and
metadata is learnt. That UNet is mini-diffusionsat's, whose own metadata stays unknown here.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from rs_course import seeds
from rs_course.checkpoints.crsdiff import MAPS, ContentAdapter, LocalAdapter, MetadataVector
from rs_course.checkpoints.prompts import CRSDIFF, DIFFUSIONSAT, FIELDS, metadata_rows
from rs_course.training_loop import Budget, by_step

from . import latent
from .training_sets import MappedScenes, condition_maps, mapped_scenes, simulated_sentence

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
SCHEDULER = latent.DDIM | {"set_alpha_to_one": False, "steps_offset": 1}


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

    def forward(
        self,
        x: torch.Tensor,
        t: torch.Tensor,
        maps: torch.Tensor,
        states: torch.Tensor,
        content: torch.Tensor,
        metadata: torch.Tensor,
    ) -> torch.Tensor:
        draws = len(x) // len(maps)
        context = torch.cat([states, self.content_adapter(content)], dim=1)
        given = [context, self.metadata_embedding(metadata), *self.local_adapter.features(maps)]
        context, vector, *features = (part.repeat(draws, *[1] * (part.ndim - 1)) for part in given)
        *down, mid = self.local_adapter(x, t, context, features=features)
        residuals = {"down_block_additional_residuals": down, "mid_block_additional_residual": mid}
        return self._frozen[0](x, t, context, class_labels=vector, **residuals).sample


def train(
    out: str | Path,
    *,
    minutes: float | None = 205,
    seed: int = 0,
    resume: bool = True,
    data: Any = 6_000,
    base: str | Path = "mini-diffusionsat",
    start: str | Path | None = None,
    batch_size: int = 6,
    **options,
):
    """Train on simulated scenes with their true maps.

    The arguments are those of every mini, see :mod:`rs_course.training`. Each scene of a step is learnt at
    :data:`DRAWS` noise levels, and what is gone on from are the map and content parts.
    """
    from rs_course.checkpoints.images import clip_image_features
    from rs_course.checkpoints.loading import load_image_encoder, load_model, locate, unet_class

    vae, tokenizer, text_encoder, folders = latent.shared_parts(text_encoder=base)
    unet_folder, clip = locate(base) / "unet", folders["text_encoder"]
    folders["text_encoder"] = latent.own_tower(base) or clip
    unet = load_model(unet_class(unet_folder), unet_folder, torch.float32)
    scenes = mapped_scenes(int(data))
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
    maps = condition_maps(scenes.truth[:10], scenes.filtered[:10]).unflatten(1, (len(MAPS), 3))
    drawn = {name: maps[:, k] for k, name in enumerate(MAPS) if name not in FOUND}
    prompts = [datasets.class_prompt(int(label)) for label in scenes.labels[:10]]

    def sample(out):
        wish = {"metadata": scenes.metadata[:10], "conditions": drawn, "guess_mode": True}
        return checkpoints.load(out).sample(prompts, size=picture.shape[-2:], **wish, **latent.GRID_SETTINGS)

    land_cover = F.interpolate(drawn["segmentation"], size=picture.shape[-2:])
    return latent.beside({"the scene": picture, "land cover": land_cover}, sample)


def batches(
    scenes: MappedScenes,
    encoded: torch.Tensor,
    content: torch.Tensor,
    texts: Callable,
    seed: int,
    batch_size: int = 6,
):
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
        maps = condition_maps(scenes.truth[chosen], scenes.filtered[chosen], encoded.device)
        kept = kept_maps(batch_size, draw).repeat_interleave(3, dim=1)[:, :, None, None]
        maps = as_drawn(maps, draw) * kept.to(maps)
        heard = draw.random(batch_size) >= DROP_TEXT
        sentences = [
            simulated_sentence(scenes, i, draw) if h else "" for i, h in zip(chosen, heard, strict=True)
        ]
        seen = torch.from_numpy(draw.random((batch_size, 1)) >= DROP_CONTENT)
        unknown = draw.random((batch_size, len(FIELDS))) < DROP_FIELD
        unknown |= draw.random((batch_size, 1)) < DROP_ALL
        metadata = known[chosen].masked_fill(torch.from_numpy(unknown), 0.0)
        x0 = encoded[chosen].float().repeat(DRAWS, 1, 1, 1)
        return x0, maps, texts(sentences), content[chosen] * seen, metadata

    return by_step(batch, seed)


def kept_maps(count: int, draw: int) -> torch.Tensor:
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


def as_drawn(maps: torch.Tensor, draw: int) -> torch.Tensor:
    """Maps as people bring them: half of the batches at 64 pixels, half with black and white roads."""
    if draw.random() < 0.5:
        maps = F.interpolate(F.avg_pool2d(maps, 2), scale_factor=2, mode="bicubic").clamp(0, 1)
    if draw.random() < 0.5:
        road = slice(3 * MAPS.index("road"), 3 * MAPS.index("road") + 3)
        maps[:, road] = (maps[:, road] > 0.3).float()
    return maps


def save(network: Denoiser, out: str | Path, folders: dict[str, Path]) -> None:
    """Write the three parts of its own in half precision, and which parts other minis lend."""
    from rs_course.checkpoints.export import write_model

    out = Path(out)
    for name in ("local_adapter", "content_adapter", "metadata_embedding"):
        write_model(copy.deepcopy(getattr(network, name)).half(), out / name, name)
    latent.write_index(out, "StableDiffusionPipeline", SCHEDULER, [None, "SatUNet"], folders)


INJECT_CHANNELS = (96, 64, 64)  # widths of the map features, one per level of the UNet


@torch.no_grad()
def encoder_copy(unet: torch.nn.Module) -> LocalAdapter:
    """A map encoder that starts as the UNet's own encoder, and silent: what it returns is zero.

    Its norms that listen to maps have no weights of their own, so the UNet's become biases of what listens.
    """
    config, widths = unet.config, unet.config.block_out_channels
    adapter = LocalAdapter(
        model_channels=widths[0],
        channel_mult=[width / widths[0] for width in widths],
        inject_channels=INJECT_CHANNELS,
        context_dim=config.cross_attention_dim,
        num_heads=config.attention_head_dim,
        attention_levels=[k for k, kind in enumerate(config.down_block_types) if "CrossAttn" in kind],
        num_res_blocks=config.layers_per_block,
        norm_groups=config.norm_num_groups,
    )
    unknown = unet.metadata_embedding.vector(torch.zeros(1, config.num_metadata), unet.time_proj, unet.dtype)
    adapter.time_embed[0].load_state_dict(unet.time_embedding.linear_1.state_dict())
    adapter.time_embed[2].load_state_dict(unet.time_embedding.linear_2.state_dict())
    adapter.time_embed[2].bias += unknown[0]
    theirs = [[unet.conv_in]]
    for block in unet.down_blocks:
        attentions = getattr(block, "attentions", [None] * len(block.resnets))
        theirs += [[r, a] if a else [r] for r, a in zip(block.resnets, attentions, strict=True)]
        theirs += [[sampler.conv] for sampler in block.downsamplers or ()]
    middle = unet.mid_block
    theirs.append([middle.resnets[0], middle.attentions[0], middle.resnets[1]])
    for ours, layers in zip([*adapter.input_blocks, adapter.middle_block], theirs, strict=True):
        for layer, source in zip(ours, layers, strict=True):
            _copy(layer, source)
    # The zero convolutions at the end make the start silent. Those behind the maps are not zero here, other
    # than in the published training: zeros behind zeros learn slowly, and minutes are all there is.
    for outlet in (*(block[0] for block in adapter.zero_convs), adapter.middle_block_out[0]):
        nn.init.zeros_(outlet.weight)
        nn.init.zeros_(outlet.bias)
    norms = [layer.fdn for block in adapter.input_blocks for layer in _norms(block)]
    listening = [norm.conv_beta for norm in norms]
    readers = [m for m in adapter.feature_extractor.modules() if isinstance(m, nn.Conv2d)]
    for convolution in [*readers, *listening]:  # as loud as what the UNet sees itself
        nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
    for convolution in readers:
        nn.init.zeros_(convolution.bias)
    return adapter


def _norms(block: nn.Module) -> list[nn.Module]:
    """The norms of a block that listen to the maps."""
    layers = [layer for layer in block if getattr(layer, "local", False)]
    return [norm for layer in layers for norm in (layer.norm_in, layer.norm_out)]


def _copy(layer: nn.Module, source: nn.Module) -> None:
    """Weights of a layer of diffusers' UNet into the map encoder's."""
    state = source.state_dict()
    if hasattr(layer, "in_layers"):
        convolutions = {"in_layers.2": "conv1", "emb_layers.1": "time_emb_proj", "out_layers.3": "conv2"}
        names = {**convolutions, "skip_connection": "conv_shortcut"}
        if not layer.local:
            names |= {"in_layers.0": "norm1", "out_layers.0": "norm2"}
        else:
            for ours, norm in ((layer.norm_in, source.norm1), (layer.norm_out, source.norm2)):
                ours.fdn.conv_gamma.bias.copy_(norm.weight - 1)
                ours.fdn.conv_beta.bias.copy_(norm.bias)
                nn.init.zeros_(ours.attention.value_conv.weight)  # the UNet has no attention here
                nn.init.zeros_(ours.attention.value_conv.bias)
        for ours, name in names.items():
            if hasattr(source, name) and getattr(source, name) is not None:
                layer.get_submodule(ours).load_state_dict(getattr(source, name).state_dict())
    elif hasattr(layer, "transformer_blocks"):  # theirs projects by matrices, ours by 1×1 convolutions
        shapes = {key: value.shape for key, value in layer.state_dict().items()}
        layer.load_state_dict({key: value.reshape(shapes[key]) for key, value in state.items()})
    else:
        getattr(layer, "op", layer).load_state_dict(state)


@torch.no_grad()
def metadata_like(unet: torch.nn.Module) -> MetadataVector:
    """A metadata vector that starts as the UNet's own: least squares over the values that occur.

    Both models read an unknown field as the normalised 0, so the fit is of the difference to that.
    """
    vector = MetadataVector(unet.config.block_out_channels[0])
    occurring = {
        "lon": np.linspace(-180, 180, 400),
        "lat": np.linspace(-90, 90, 400),
        "gsd": np.r_[np.full(200, 10.0), 4 * 10 ** np.linspace(0, 1, 200)],  # half of the scenes have 10 m
        "cloud_cover": np.linspace(0, 1, 400),
        "year": np.arange(2016, 2025),
        "month": np.arange(1, 13),
        "day": np.arange(1, 32),
    }
    for k, (field, mlp) in enumerate(zip(CRSDIFF.ranges, vector.mlp_models, strict=True)):
        embed = unet.metadata_embedding[list(DIFFUSIONSAT.ranges).index(field)]
        values = occurring[field]
        rows = torch.tensor([[DIFFUSIONSAT(field, v), CRSDIFF(field, v)] for v in values]).float()
        rows = torch.cat([rows, torch.zeros(len(values), 2)])  # what unknown means must be met closely
        target = embed(unet.time_proj(rows[:, 0])) - embed(unet.time_proj(torch.zeros(1)))
        column = torch.zeros(len(rows), len(vector.mlp_models)).index_copy_(1, torch.tensor([k]), rows[:, 1:])
        inputs = F.pad(vector.sinusoid(column)[:, k], (0, 1), value=1.0).double()
        ridge = 1e-3 * torch.eye(inputs.shape[1], dtype=torch.float64)
        solved = torch.linalg.solve(inputs.T @ inputs + ridge, inputs.T @ target.double()).float()
        mlp["fc1"].weight.copy_(solved[:-1].T)
        mlp["fc1"].bias.copy_(solved[-1])
    return vector
