"""Tiny checkpoints of every family in the published layouts, their weights made by a formula.

A tensor's values depend on its name and shape alone, so that every machine gets the same models.
"""

import json
import shutil
import zlib
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel

from rs_course.checkpoints.diffusionsat import SatControlNet, SatControlNet3D, SatUNet

WIDTH = 32  # of the text states
UNET = {
    "sample_size": 8,
    "block_out_channels": [16, 32],
    "layers_per_block": 1,
    "attention_head_dim": [2, 4],
    "cross_attention_dim": WIDTH,
    "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
    "norm_num_groups": 8,
    "use_linear_projection": True,
}
CONTROLNET = {
    **{k: v for k, v in UNET.items() if k not in ("sample_size", "up_block_types")},
    "conditioning_embedding_out_channels": [8, 8, 16, 16],
}
VAE = {
    "block_out_channels": [8, 16],
    "down_block_types": ["DownEncoderBlock2D"] * 2,
    "up_block_types": ["UpDecoderBlock2D"] * 2,
    "latent_channels": 4,
    "layers_per_block": 1,
    "norm_num_groups": 8,
    "scaling_factor": 0.18215,
}
TEXT = {
    "hidden_size": WIDTH,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "max_position_embeddings": 77,
    "projection_dim": 16,
}
SCHEDULER = {
    "_class_name": "DDIMScheduler",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
    "prediction_type": "v_prediction",
    "skip_prk_steps": True,
}
FAMILIES = ("stable-diffusion", "diffusionsat", "text2earth", "text2earth-inpainting")


def formula(name: str, shape) -> torch.Tensor:
    """Normal numbers drawn from the name: norms near 1, biases small, matrices scaled to keep variance."""
    x = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(tuple(shape))
    if len(shape) < 2:
        x = 1 + 0.2 * x if name.endswith("weight") else 0.1 * x
    else:
        x = x / np.sqrt(np.prod(shape[1:]))
    return torch.from_numpy(np.asarray(x, dtype=np.float32))


def formula_state(module: torch.nn.Module, prefix: str) -> dict[str, torch.Tensor]:
    return {key: formula(f"{prefix}.{key}", value.shape) for key, value in module.state_dict().items()}


def write_model(
    folder: Path, module, config: dict, prefix: str, weights="diffusion_pytorch_model.safetensors"
):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    save_file(formula_state(module, prefix), folder / weights, metadata={"format": "pt"})


def write_tokenizer(folder: Path) -> int:
    """CLIP's byte vocabulary without merges; returns its size."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [b for b in range(256) if b not in printable]
    letters = [chr(b) for b in printable] + [chr(256 + i) for i in range(len(rest))]
    tokens = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True)
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    special = {
        "bos_token": "<|startoftext|>",
        "eos_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>",
        "pad_token": "!",
    }
    (folder / "tokenizer_config.json").write_text(
        json.dumps({**special, "model_max_length": 77, "tokenizer_class": "CLIPTokenizer"})
    )
    return len(tokens)


def write_checkpoint(folder: Path, family: str = "diffusionsat", unet: dict | None = None) -> Path:
    """A whole pipeline folder; ``unet`` changes entries of the UNet's config."""
    config = {"_class_name": "UNet2DConditionModel", **UNET, **(unet or {})}
    scheduler = ["diffusers", "DDIMScheduler"]
    kind = UNet2DConditionModel
    if family == "diffusionsat":
        config["_class_name"], kind = "SatUNet", SatUNet
    elif family.startswith("text2earth"):
        config["class_embed_type"] = "timestep"
        scheduler = ["diffusers", "PNDMScheduler"]
    if family == "text2earth-inpainting":
        config["in_channels"] = 9
    build = kind(**{k: v for k, v in config.items() if not k.startswith("_")})
    write_model(folder / "unet", build, config, family)
    write_model(folder / "vae", AutoencoderKL(**VAE), {"_class_name": "AutoencoderKL", **VAE}, "vae")
    size = write_tokenizer(folder / "tokenizer")
    text = {**TEXT, "vocab_size": size, "bos_token_id": size - 2, "eos_token_id": size - 1}
    tower = CLIPTextModel(CLIPTextConfig(**text))
    write_model(
        folder / "text_encoder", tower, {"model_type": "clip_text_model", **text}, "text", "model.safetensors"
    )
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(SCHEDULER))
    (folder / "model_index.json").write_text(
        json.dumps({"_class_name": "StableDiffusionPipeline", "scheduler": scheduler})
    )
    return folder


def write_controlnet(folder: Path, *, temporal: bool = False, **config) -> Path:
    kind = SatControlNet3D if temporal else SatControlNet
    config = {**CONTROLNET, **({"norm_num_groups": 16} if temporal else {}), **config}
    # The published net has its middle block in the config of its class only; the tiny one needs no more
    # either.
    build = kind(**config)
    write_model(
        folder,
        build,
        {"_class_name": "ControlNetModel3D" if temporal else "ControlNetModel", **config},
        folder.name,
    )
    return folder


def copy(source: Path, target: Path) -> Path:
    return Path(shutil.copytree(source, target))


def write_crsdiff(folder: Path) -> Path:
    """CRS-Diff as ``rs-course convert`` writes it: a pipeline folder with the three parts of its own."""
    from rs_course.checkpoints.crsdiff import ContentAdapter, LocalAdapter, MetadataVector

    blocks = {"block_out_channels": [32, 64], "norm_num_groups": 32, "attention_head_dim": 4}
    unet = {**blocks, "class_embed_type": "identity", "use_linear_projection": False}
    write_checkpoint(folder, "crsdiff", unet)
    adapter = {
        "model_channels": 32,
        "channel_mult": [1, 2],
        "inject_channels": [8, 12],
        "context_dim": WIDTH,
        "num_heads": 4,
        "attention_levels": [0],
        "num_res_blocks": 1,
    }
    parts = {
        "local_adapter": (LocalAdapter, adapter),
        "content_adapter": (ContentAdapter, {"in_dim": WIDTH}),
        "metadata_embedding": (MetadataVector, {"embedding_dim": 32}),
    }
    for name, (kind, config) in parts.items():
        write_model(folder / name, kind(**config), config, name)
    return folder
