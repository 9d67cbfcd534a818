"""Old layouts: keys of forks and of latent-diffusion, renamed to those of current diffusers and transformers.

CRS-Diff's ``last.ckpt``, one file in the layout of latent-diffusion, is taken apart here.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from .weights import filled, read_json, read_state_dict

if TYPE_CHECKING:
    import torch

    StateDict = dict[str, torch.Tensor]

_VAE_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


def current_vae(state: StateDict) -> StateDict:
    """AutoencoderKL: ``query``, ``key``, ``value``, ``proj_attn`` of diffusers before 0.18; 1×1 convolutions
    too.
    """
    renamed = {}
    for key, value in state.items():
        match = re.fullmatch(r"(.*\.attentions\.\d+\.)(query|key|value|proj_attn)\.(weight|bias)", key)
        key = f"{match[1]}{_VAE_ATTENTION[match[2]]}.{match[3]}" if match else key
        if ".attentions." in key and value.ndim == 4:
            value = value[:, :, 0, 0]
        renamed[key] = value
    return renamed


def current_text_encoder(state: StateDict) -> StateDict:
    """CLIP text tower: transformers 5 has no ``text_model.`` level; position ids are not weights.

    The text tower of a whole CLIP model is picked out of it.
    """
    level = "text_model."
    if any(key.startswith(level) for key in state):
        state = {k.removeprefix(level): value for k, value in state.items() if k.startswith(level)}
    return {key: value for key, value in state.items() if not key.endswith("position_ids")}


def split_ldm(state: StateDict) -> dict[str, StateDict]:
    """CRS-Diff's single state dict, by part; the keys of each part are its own."""
    prefixes = {
        "unet": "model.diffusion_model.",
        "vae": "first_stage_model.",
        "text_encoder": "cond_stage_model.transformer.",
        "local_adapter": "local_adapter.",
        "content_adapter": "global_content_adapter.",
        "metadata_embedding": "metadata_emb.",
    }
    return {
        part: {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
        for part, prefix in prefixes.items()
    }


def unet_from_ldm(state: StateDict, config: dict) -> StateDict:
    """The UNet of latent-diffusion with diffusers' keys."""
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

    # The converter expects the whole file's prefix, and moves the values out of what it is given.
    prefixed = {f"model.diffusion_model.{key}": value for key, value in state.items()}
    return convert_ldm_unet_checkpoint(prefixed, config)


def vae_from_ldm(state: StateDict, config: dict) -> StateDict:
    """The autoencoder of latent-diffusion with diffusers' keys."""
    from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint

    return current_vae(
        convert_ldm_vae_checkpoint({f"first_stage_model.{k}": v for k, v in state.items()}, config)
    )


# configs/crs.yaml of the published repository; a config.json or crs.yaml beside the file replaces it.
_UNET = {
    "in_channels": 4, "out_channels": 4, "model_channels": 320, "num_res_blocks": 2,
    "attention_resolutions": [4, 2, 1], "channel_mult": [1, 2, 4, 4], "num_heads": 8, "context_dim": 768,
}  # fmt: skip
PUBLISHED = {
    "linear_start": 0.00085, "linear_end": 0.012, "timesteps": 1000,
    "image_size": 64, "scale_factor": 0.18215,
    "unet_config": {"params": _UNET},
    "local_control_config": {
        "params": {**_UNET, "local_channels": 18, "inject_channels": [192, 256, 384, 512]}
    },
    "global_content_control_config": {"params": {"in_dim": 768, "channel_mult": [2, 4]}},
    "metadata_config": {"params": {"max_value": 1000, "embedding_dim": 320, "metadata_dim": 7}},
    "first_stage_config": {
        "params": {
            "embed_dim": 4,
            "ddconfig": {
                "z_channels": 4, "resolution": 256, "in_channels": 3, "out_ch": 3,
                "ch": 128, "ch_mult": [1, 2, 4, 4], "num_res_blocks": 2,
            },
        }
    },
    "cond_stage_config": {"params": {}},
}  # fmt: skip
_LOCAL = (
    "model_channels", "channel_mult", "inject_channels", "context_dim", "num_heads", "local_channels",
    "num_res_blocks", "in_channels",
)  # fmt: skip
_CLIP_L_14 = {
    "vocab_size": 49408, "hidden_size": 768, "intermediate_size": 3072, "projection_dim": 768,
    "num_hidden_layers": 12, "num_attention_heads": 12, "hidden_act": "quick_gelu",
    "max_position_embeddings": 77,
}  # fmt: skip


def read_config(file: Path) -> dict:
    """``model.params`` of the config beside a checkpoint file, or the published one."""
    for name in ("config.json", "crs.yaml", "config.yaml"):
        beside = file.parent / name
        if beside.is_file():
            if name.endswith(".json"):
                return read_json(beside)["model"]["params"]
            import yaml

            return yaml.safe_load(beside.read_text(encoding="utf-8"))["model"]["params"]
    return PUBLISHED


def configs(params: dict) -> dict[str, dict]:
    """Configurations of the parts as diffusers, transformers and ``crsdiff`` know them."""
    unet, vae = params["unet_config"]["params"], params["first_stage_config"]["params"]["ddconfig"]
    local, metadata = params["local_control_config"]["params"], params["metadata_config"]["params"]
    content = params["global_content_control_config"]["params"]
    clip = params["cond_stage_config"].get("params", {}).get("clip_text_config", _CLIP_L_14)
    levels = range(len(unet["channel_mult"]))
    attends = [2**level in unet["attention_resolutions"] for level in levels]
    return {
        "unet": {
            "sample_size": params.get("image_size", 64),
            "in_channels": unet["in_channels"],
            "out_channels": unet["out_channels"],
            "block_out_channels": [unet["model_channels"] * mult for mult in unet["channel_mult"]],
            "layers_per_block": unet["num_res_blocks"],
            "down_block_types": ["CrossAttnDownBlock2D" if a else "DownBlock2D" for a in attends],
            "up_block_types": ["CrossAttnUpBlock2D" if a else "UpBlock2D" for a in reversed(attends)],
            "attention_head_dim": unet["num_heads"],
            "cross_attention_dim": unet["context_dim"],
            "class_embed_type": "identity",  # the metadata vector enters as class_labels
        },
        "vae": {
            "in_channels": vae["in_channels"],
            "out_channels": vae["out_ch"],
            "latent_channels": vae["z_channels"],
            "block_out_channels": [vae["ch"] * mult for mult in vae["ch_mult"]],
            "layers_per_block": vae["num_res_blocks"],
            "down_block_types": ["DownEncoderBlock2D" for _ in vae["ch_mult"]],
            "up_block_types": ["UpDecoderBlock2D" for _ in vae["ch_mult"]],
            "sample_size": vae["resolution"],
            "scaling_factor": params["scale_factor"],
        },
        "text_encoder": {"bos_token_id": clip["vocab_size"] - 2, **clip},
        "scheduler": {
            "num_train_timesteps": params["timesteps"],
            "beta_start": params["linear_start"],
            "beta_end": params["linear_end"],
            "beta_schedule": "scaled_linear",
            "clip_sample": False,
            "set_alpha_to_one": False,
            "steps_offset": 1,
            "prediction_type": "epsilon",
        },
        "local_adapter": {
            **{key: local[key] for key in _LOCAL},
            "attention_levels": [level for level in levels if attends[level]],
        },
        "content_adapter": {"in_dim": content["in_dim"], "channel_mult": list(content["channel_mult"])},
        "metadata_embedding": {key: metadata[key] for key in ("embedding_dim", "metadata_dim", "max_value")},
    }


def builders(config: dict[str, dict]) -> dict:
    """How each part with weights is made."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    from .crsdiff import ContentAdapter, LocalAdapter, MetadataVector

    return {
        "unet": lambda: UNet2DConditionModel(**config["unet"]),
        "vae": lambda: AutoencoderKL(**config["vae"]),
        "text_encoder": lambda: CLIPTextModel(CLIPTextConfig(**config["text_encoder"])),
        "local_adapter": lambda: LocalAdapter(**config["local_adapter"]),
        "content_adapter": lambda: ContentAdapter(**config["content_adapter"]),
        "metadata_embedding": lambda: MetadataVector(**config["metadata_embedding"]),
    }


def load_parts(file: Path, dtype: torch.dtype | None = None) -> dict:
    """All parts of CRS-Diff from its single file: modules, scheduler and tokenizer.

    Raises:
        ValueError: Another kind of file, or weights that do not fit the config.
        FileNotFoundError: No tokenizer beside it.
    """
    from transformers import CLIPTokenizer

    from rs_course.sampling.samplers import CRSDiffScheduler

    config = configs(params := read_config(file))
    states = split_ldm(read_state_dict(file))
    if not states["local_adapter"] or not states["unet"]:
        plain = (
            " It is another model of latent-diffusion's layout, such as Stable Diffusion in one file: give "
            "the folder with its model_index.json."
            if states["unet"]
            else " Is it another checkpoint's file?"
        )
        raise ValueError(
            f"{file} holds no CRS-Diff: its keys should start with model.diffusion_model. and local_adapter."
            f"{plain}"
        )
    states["unet"] = unet_from_ldm(states["unet"], config["unet"])
    states["vae"] = vae_from_ldm(states["vae"], config["vae"])
    states["text_encoder"] = current_text_encoder(states["text_encoder"])
    parts = {name: filled(build, states[name], file, dtype) for name, build in builders(config).items()}
    parts["scheduler"] = CRSDiffScheduler(**config["scheduler"])
    parts["tokenizer"] = CLIPTokenizer.from_pretrained(_tokenizer_folder(file, params))
    return parts


def _tokenizer_folder(file: Path, params: dict) -> Path:
    named = params["cond_stage_config"].get("params", {}).get("tokenizer", "")
    for folder in (file.parent / name for name in (named, "tokenizer", "clip_tokenizer") if name):
        if (folder / "vocab.json").is_file():
            return folder
    raise FileNotFoundError(
        f"{file} does not contain CLIP's vocabulary: put the tokenizer of openai/clip-vit-large-patch14 "
        f"(vocab.json, merges.txt, tokenizer_config.json) into {file.parent / 'tokenizer'}."
    )
