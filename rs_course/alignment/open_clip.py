"""Weights of OpenCLIP (and RemoteCLIP, GeoRSCLIP, SkyCLIP, which keep its names) as a ``CLIPModel``.

visual.transformer.resblocks.3.attn.in_proj_weight  [3D, D]
  -> vision_model.encoder.layers.3.self_attn.{q,k,v}_proj.weight  [D, D] each
"""

from __future__ import annotations

import math
import re

# OpenCLIP's name of a tower's part -> the name in transformers; both towers share the blocks.
_BLOCK = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
_VISION = {
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "visual.ln_pre": "vision_model.pre_layrnorm",
    "visual.ln_post": "vision_model.post_layernorm",
}
_TEXT = {
    "token_embedding": "text_model.embeddings.token_embedding",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "ln_final": "text_model.final_layer_norm",
}
_BLOCK_KEY = re.compile(r"(visual\.)?transformer\.resblocks\.(\d+)\.(.+)")
# Width of one attention head where it is not 64, by the width of the vision tower (OpenCLIP's model configs).
_HEAD_WIDTH = {1280: 80, 1408: 88, 1664: 104}


def is_open_clip(state: dict) -> bool:
    """Whether a state dict has OpenCLIP's names."""
    return any(re.match(r"(module\.)?(visual\.|text\.transformer\.)", key) for key in state)


def to_transformers(state: dict, source, *, model_cfg: dict | None = None, quick_gelu: bool | None = None):
    """Configuration and renamed weights.

    Args:
        state: OpenCLIP's ``state_dict`` of a ViT (``module.`` and ``text.`` prefixes are understood).
        source: Where it comes from, for messages.
        model_cfg: OpenCLIP's own configuration where there is one (``open_clip_config.json``). Sizes follow
            from the weights; the width of a head and the activation do not, and without it are those of
            OpenCLIP's model of that width.
        quick_gelu: Activation x·σ(1.702x) of OpenAI's weights and of models trained on from them; ``None``
            asks the configuration and otherwise takes GELU.

    Returns:
        ``(CLIPConfig, state dict)``.

    Raises:
        ValueError: Not a ViT-based CLIP, or parts are missing.
    """
    from transformers import CLIPConfig

    state = {re.sub(r"^(module\.)?(text\.)?", "", key): value for key, value in state.items()}
    if "visual.conv1.weight" not in state or "visual.class_embedding" not in state:
        kind = "a ResNet" if any(".layer1." in key for key in state) else "another vision tower (timm?)"
        raise ValueError(
            f"{source} has {kind} in OpenCLIP's layout; only its own ViT is supported: use a ViT file."
        )
    try:
        config = CLIPConfig(**_settings(state, model_cfg or {}, quick_gelu))
        renamed = _renamed(state)
    except KeyError as error:
        raise ValueError(f"{source} looks like OpenCLIP but lacks {error}.") from None
    return config, renamed


def _settings(state, model_cfg, quick_gelu):
    patch, width = state["visual.conv1.weight"].shape[-1], state["visual.conv1.weight"].shape[0]
    vocabulary, text_width = state["token_embedding.weight"].shape
    head_width = model_cfg.get("vision_cfg", {}).get("head_width", _HEAD_WIDTH.get(width, 64))
    text_heads = model_cfg.get("text_cfg", {}).get("heads", max(1, text_width // 64))
    quick_gelu = model_cfg.get("quick_gelu", False) if quick_gelu is None else quick_gelu
    activation = "quick_gelu" if quick_gelu else "gelu"
    embed = state["visual.proj"].shape[1]
    vision = {
        "hidden_size": width,
        "intermediate_size": state["visual.transformer.resblocks.0.mlp.c_fc.weight"].shape[0],
        "num_hidden_layers": _depth(state, "visual."),
        "num_attention_heads": max(1, width // head_width),
        "patch_size": patch,
        "image_size": patch * math.isqrt(len(state["visual.positional_embedding"]) - 1),
        "hidden_act": activation,
        "projection_dim": embed,
    }
    text = {
        "hidden_size": text_width,
        "intermediate_size": state["transformer.resblocks.0.mlp.c_fc.weight"].shape[0],
        "num_hidden_layers": _depth(state, ""),
        "num_attention_heads": text_heads,
        "max_position_embeddings": len(state["positional_embedding"]),
        "vocab_size": vocabulary,
        "hidden_act": activation,
        "projection_dim": embed,
        # OpenCLIP reads the text at its largest id, which is the end-of-text token.
        "bos_token_id": vocabulary - 2,
        "eos_token_id": vocabulary - 1,
        "pad_token_id": vocabulary - 1,
    }
    return {"vision_config": vision, "text_config": text, "projection_dim": embed}


def _depth(state, prefix):
    pattern = re.compile(rf"{re.escape(prefix)}transformer\.resblocks\.(\d+)\.")
    return 1 + max(int(found[1]) for found in map(pattern.match, state) if found)


def _renamed(state):
    result = {
        "logit_scale": state["logit_scale"].reshape(()),
        "visual_projection.weight": state["visual.proj"].T.contiguous(),
        "text_projection.weight": state["text_projection"].T.contiguous(),
    }
    done = {"logit_scale", "visual.proj", "text_projection", "attn_mask", "visual.attn_mask"}
    for key, value in state.items():
        if key in done:
            continue
        if block := _BLOCK_KEY.fullmatch(key):
            tower = "vision_model" if block[1] else "text_model"
            layer, part = f"{tower}.encoder.layers.{block[2]}", block[3]
            if part in ("attn.in_proj_weight", "attn.in_proj_bias"):
                kind = part.removeprefix("attn.in_proj_")
                for letter, piece in zip("qkv", value.chunk(3), strict=True):
                    result[f"{layer}.self_attn.{letter}_proj.{kind}"] = piece.contiguous()
                continue
            stem, _, kind = part.rpartition(".")
            result[f"{layer}.{_BLOCK[stem]}.{kind}"] = value
            continue
        whole = _VISION | _TEXT
        stem, _, kind = key.rpartition(".")
        result[whole[key] if key in whole else f"{whole[stem]}.{kind}"] = value
    return result
