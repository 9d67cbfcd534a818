"""Keys of old forks, renamed to those of current diffusers and transformers. All such knowledge lies in this
file.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

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
    if any(key.startswith("text_model.") for key in state):
        state = {
            key.removeprefix("text_model."): value
            for key, value in state.items()
            if key.startswith("text_model.")
        }
    return {key: value for key, value in state.items() if not key.endswith("position_ids")}


def without_metadata(state: StateDict) -> StateDict:
    """A SatUNet that is used as plain Stable Diffusion (``use_metadata`` false) ignores the embedding's
    weights.
    """
    return {key: value for key, value in state.items() if not key.startswith("metadata_embedding.")}


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
