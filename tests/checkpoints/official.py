"""The published generators as their authors hand them out, at any size, with random weights in 16 bit.

DiffusionSat is a zip whose root has no UNet: that lies in a training run's folder, as a pickle. Text2Earth is
a repository of the hub. CRS-Diff is one pickle in latent-diffusion's layout with a configuration of its own.
``PUBLISHED`` has the authors' sizes, ``SMALL`` the same layout for a test.
"""

from __future__ import annotations

import json
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

import torch
from checkpoints.tiny import SCHEDULER, write_tokenizer
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel

from rs_course.checkpoints import legacy
from rs_course.checkpoints.diffusionsat import SatUNet

_BLOCKS = {
    "down_block_types": [*["CrossAttnDownBlock2D"] * 3, "DownBlock2D"],
    "up_block_types": ["UpBlock2D", *["CrossAttnUpBlock2D"] * 3],
    "use_linear_projection": True,
}
_VAE = {
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "latent_channels": 4,
    "scaling_factor": 0.18215,
}


@dataclass(frozen=True)
class Sizes:
    """Configurations of the parts: ``unet``, ``vae`` and ``text`` of the diffusers layouts, ``crsdiff`` as in
    the authors' ``crs.yaml`` (``None``: the one that is published); ``side`` of Text2Earth's latents.
    """

    side: int
    unet: dict
    vae: dict
    text: dict
    crsdiff: dict | None


PUBLISHED = Sizes(
    side=64,
    unet={**_BLOCKS, "attention_head_dim": [5, 10, 20, 20], "cross_attention_dim": 1024},
    vae={**_VAE, "block_out_channels": [128, 256, 512, 512], "layers_per_block": 2},
    text={
        "vocab_size": 49408, "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 23,
        "num_attention_heads": 16, "hidden_act": "gelu", "projection_dim": 512,
    },
    crsdiff=None,
)  # fmt: skip
_TEXT = {
    "vocab_size": 600, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1,
    "num_attention_heads": 2, "projection_dim": 16, "max_position_embeddings": 77,
}  # fmt: skip
_UNET = {
    "in_channels": 4, "out_channels": 4, "model_channels": 32, "num_res_blocks": 1,
    "attention_resolutions": [4, 2], "channel_mult": [1, 1, 1, 1], "num_heads": 2, "context_dim": 32,
}  # fmt: skip
SMALL = Sizes(
    side=16,
    unet={
        **_BLOCKS, "block_out_channels": [8, 8, 8, 8], "layers_per_block": 1, "norm_num_groups": 4,
        "attention_head_dim": [1, 1, 1, 1], "cross_attention_dim": 32,
    },
    vae={**_VAE, "block_out_channels": [8, 8, 8, 8], "layers_per_block": 1, "norm_num_groups": 4},
    text=_TEXT,
    crsdiff={
        **legacy.PUBLISHED,
        "image_size": 16,
        "unet_config": {"params": _UNET},
        "local_control_config": {"params": {**_UNET, "local_channels": 18, "inject_channels": [8, 8, 8, 8]}},
        "global_content_control_config": {"params": {"in_dim": 32, "channel_mult": [2, 4]}},
        "metadata_config": {"params": {"max_value": 1000, "embedding_dim": 32, "metadata_dim": 7}},
        "first_stage_config": {
            "params": {
                "embed_dim": 4,
                "ddconfig": {
                    "z_channels": 4, "resolution": 256, "in_channels": 3, "out_ch": 3, "ch": 32,
                    "ch_mult": [1, 1, 1, 1], "num_res_blocks": 1,
                },
            }
        },
        "cond_stage_config": {
            "params": {"clip_text_config": {**_TEXT, "hidden_act": "quick_gelu", "eos_token_id": 513}}
        },
    },
)  # fmt: skip


def random_state(build, generator: torch.Generator) -> dict[str, torch.Tensor]:
    """Float16 tensors for a module that is never made: norms 1, biases 0, matrices that keep the variance."""
    with torch.device("meta"):
        shapes = {key: value.shape for key, value in build().state_dict().items()}
    state = {}
    for key, shape in shapes.items():
        if len(shape) < 2:
            state[key] = torch.full(shape, float(key.endswith("weight")), dtype=torch.float16)
        else:
            values = torch.randn(shape, generator=generator) / shape[1:].numel() ** 0.5
            state[key] = values.to(torch.float16)
    return state


def _pipeline(root: Path, sizes: Sizes, index: dict, draw: torch.Generator, **scheduler) -> None:
    """Everything of a pipeline folder but the UNet."""
    write_tokenizer(root / "tokenizer")
    text = CLIPTextConfig(**sizes.text, bos_token_id=512, eos_token_id=513)
    parts = {
        "vae": (AutoencoderKL, sizes.vae, "diffusion_pytorch_model.safetensors"),
        "text_encoder": (lambda: CLIPTextModel(text), text.to_dict(), "model.safetensors"),
    }
    for name, (kind, config, file) in parts.items():
        (root / name).mkdir(parents=True)
        (root / name / "config.json").write_text(json.dumps(config))
        build = (lambda kind=kind, config=config: kind(**config)) if name == "vae" else kind
        save_file(random_state(build, draw), root / name / file, metadata={"format": "pt"})
    (root / "scheduler").mkdir()
    (root / "scheduler" / "scheduler_config.json").write_text(json.dumps({**SCHEDULER, **scheduler}))
    (root / "model_index.json").write_text(json.dumps(index))


def write_diffusionsat(file: Path, sizes: Sizes = SMALL, seed: int = 0) -> Path:
    """The zip of a single-image DiffusionSat; returns it."""
    root, draw = file.with_suffix(""), torch.Generator().manual_seed(seed)
    index = {"_class_name": "StableDiffusionPipeline", "scheduler": ["diffusers", "DDIMScheduler"]}
    _pipeline(root, sizes, index, draw)
    config = {"_class_name": "SatUNet", "sample_size": 96, **sizes.unet}
    (root / "checkpoint-150000" / "unet").mkdir(parents=True)
    (root / "checkpoint-150000" / "unet" / "config.json").write_text(json.dumps(config))
    state = random_state(lambda: SatUNet(**sizes.unet), draw)
    torch.save(state, root / "checkpoint-150000" / "unet" / "diffusion_pytorch_model.bin")
    del state
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(root.rglob("*")):
            archive.write(path, path.relative_to(root.parent))
    return file


def write_text2earth(folder: Path, sizes: Sizes = SMALL, seed: int = 0, *, inpainting: bool = False) -> Path:
    """A clone of the hub's repository; returns it."""
    draw = torch.Generator().manual_seed(seed)
    kind = "Text2EarthDiffusionInpaintPipeline" if inpainting else "Text2EarthDiffusionPipeline"
    index = {"_class_name": kind, "scheduler": ["diffusers", "PNDMScheduler"]}
    _pipeline(folder, sizes, index, draw, prediction_type="epsilon")
    (folder / "feature_extractor").mkdir()
    (folder / "feature_extractor" / "preprocessor_config.json").write_text("{}")
    (folder / "README.md").write_text("# Text2Earth")
    config = {**sizes.unet, "sample_size": sizes.side, "class_embed_type": "timestep"}
    config["in_channels"] = 9 if inpainting else 4
    (folder / "unet").mkdir()
    (folder / "unet" / "config.json").write_text(
        json.dumps({"_class_name": "UNet2DConditionModel", **config})
    )
    state = random_state(lambda: UNet2DConditionModel(**config), draw)
    save_file(state, folder / "unet" / "diffusion_pytorch_model.safetensors", metadata={"format": "pt"})
    return folder


def write_crsdiff(folder: Path, sizes: Sizes = SMALL, seed: int = 0) -> Path:
    """A folder with ``last.ckpt``, the vocabulary, and ``config.json`` where the sizes are not the published
    ones; returns it.
    """
    draw = torch.Generator().manual_seed(seed)
    write_tokenizer(folder / "tokenizer")
    if sizes.crsdiff:
        (folder / "config.json").write_text(json.dumps({"model": {"params": sizes.crsdiff}}))
    config = legacy.configs(sizes.crsdiff or legacy.PUBLISHED)
    states = {name: random_state(build, draw) for name, build in legacy.builders(config).items()}
    layers, levels = config["unet"]["layers_per_block"], len(config["unet"]["block_out_channels"])
    names = {
        "unet": lambda key: "model.diffusion_model." + unet_name(key, layers, config["unet"]),
        "vae": lambda key: "first_stage_model." + vae_name(key, levels),
        "text_encoder": lambda key: "cond_stage_model.transformer.text_model." + key,
        "local_adapter": lambda key: "local_adapter." + key,
        "content_adapter": lambda key: "global_content_adapter." + key,
        "metadata_embedding": lambda key: "metadata_emb." + key,
    }
    whole = {"betas": torch.zeros(1000)}
    for part, state in states.items():
        for key, value in state.items():
            name = names[part](key)
            whole[name] = value[:, :, None, None] if ".attn_1." in name and value.ndim == 2 else value
    torch.save({"state_dict": whole, "global_step": 1, "epoch": 0}, folder / "last.ckpt")
    return folder


_RESNET = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0", "conv2": "out_layers.3", "conv_shortcut": "skip_connection",
}  # fmt: skip
_ENDS = {
    "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
    "conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2",
    "mid_block.resnets.0": "middle_block.0", "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.1": "middle_block.2",
}  # fmt: skip


def unet_name(key: str, layers: int, config: dict) -> str:
    """Latent-diffusion's name of a parameter of diffusers' UNet."""
    for ours, theirs in _ENDS.items():
        if key.startswith(ours + "."):
            key = key.replace(ours, theirs, 1)
    if match := re.match(
        r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.", key
    ):
        way, block, kind, number = match[1], int(match[2]), match[3], int(match[4])
        first = 1 + (layers + 1) * block if way == "down" else (layers + 1) * block
        rest = key[match.end() :]
        if kind == "downsamplers":
            key = f"input_blocks.{first + layers}.0.op.{rest.removeprefix('conv.')}"
        elif kind == "upsamplers":
            place = 2 if config["up_block_types"][block].startswith("CrossAttn") else 1
            key = f"output_blocks.{first + layers}.{place}.{rest}"
        else:
            side, place = ("input", "output")[way == "up"], int(kind == "attentions")
            key = f"{side}_blocks.{first + number}.{place}.{rest}"
    if re.match(r"(input|output)_blocks\.\d+\.0\.|middle_block\.[02]\.", key):
        for ours, theirs in _RESNET.items():
            key = key.replace(f".{ours}.", f".{theirs}.")
    return key


_VAE_NAMES = {
    r"mid_block\.resnets\.0": "mid.block_1", r"mid_block\.resnets\.1": "mid.block_2",
    r"mid_block\.attentions\.0\.group_norm": "mid.attn_1.norm",
    r"mid_block\.attentions\.0\.to_([qkv])": r"mid.attn_1.\1",
    r"mid_block\.attentions\.0\.to_out\.0": "mid.attn_1.proj_out",
    r"down_blocks\.(\d+)\.resnets": r"down.\1.block",
    r"down_blocks\.(\d+)\.downsamplers\.0": r"down.\1.downsample",
    "conv_shortcut": "nin_shortcut", "conv_norm_out": "norm_out",
}  # fmt: skip


def vae_name(key: str, levels: int) -> str:
    """Latent-diffusion's name of a parameter of diffusers' AutoencoderKL."""
    if match := re.search(r"up_blocks\.(\d+)\.(resnets|upsamplers\.0)", key):
        kind = "block" if match[2] == "resnets" else "upsample"
        key = key.replace(match[0], f"up.{levels - 1 - int(match[1])}.{kind}")
    for ours, theirs in _VAE_NAMES.items():
        key = re.sub(ours, theirs, key)
    return key
