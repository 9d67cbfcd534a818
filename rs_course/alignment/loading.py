"""``load``: the way from a name, a folder or a file to a scorer.

Weights of OpenCLIP (and RemoteCLIP, GeoRSCLIP, SkyCLIP, which keep its names) become a ``CLIPModel``::

    visual.transformer.resblocks.3.attn.in_proj_weight  [3D, D]
      -> vision_model.encoder.layers.3.self_attn.{q,k,v}_proj.weight  [D, D] each
"""

from __future__ import annotations

import math
import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rs_course import paths

from .preparation import Preparation, read_tokenizer
from .scorer import EmbeddingCache, Scorer

if TYPE_CHECKING:
    import torch
    from transformers import CLIPConfig

_CLASSES = {"clip": "CLIPModel", "siglip": "SiglipModel", "siglip2": "Siglip2Model"}


def load(
    name_or_folder: str | Path,
    *,
    device: str | torch.device | None = None,
    tokenizer: Any = None,
    quick_gelu: bool | None = None,
    cache: bool | str | Path = True,
    batch_size: int = 32,
    long_captions: str = "warn",
) -> Scorer:
    """Load a scorer: a mini, one of the registry, a folder or file, or an id of the Hugging Face hub.

    Args:
        name_or_folder: A name (``"mini-clip"``, ``"remoteclip-vit-b-32"``, ``"git-rsclip"``), a folder of
            ``transformers`` with a CLIP, SigLIP or SigLIP 2 model, a file or folder with OpenCLIP weights, or
            a hub id (``"openai/clip-vit-base-patch32"``).
        device: ``None`` takes a GPU where there is one.
        tokenizer: Folder with the tokenizer, for OpenCLIP weights that have none beside them.
        quick_gelu: For OpenCLIP weights, whether they use x·σ(1.702x): OpenAI's do, and so do models that
            were trained on from them. ``None`` asks ``open_clip_config.json`` and otherwise takes GELU.
        cache: ``True`` keeps embeddings in the course's cache folder by content, a path keeps them in that
            file, ``False`` does not keep them.
        batch_size: Images per forward pass.
        long_captions: ``"warn"``, ``"raise"`` or ``"cut"`` when a caption exceeds the context length.

    Raises:
        FileNotFoundError: No such scorer, or one of its files is missing.
        ValueError: A model that does not score image-text pairs, or damaged files.
    """
    from rs_course import registry
    from rs_course.checkpoints.loading import locate, read_device

    path = locate(name_or_folder, "scorer")
    if quick_gelu is None and (entry := registry.find(name_or_folder, "scorer")):
        quick_gelu = entry.quick_gelu
    if path.is_dir() and (path / "config.json").is_file():
        model, tokenizer, preparation = _from_transformers(path)
    else:
        model, tokenizer, preparation = _from_open_clip(path, tokenizer, quick_gelu)
    file = paths.cache_dir() / "embeddings.sqlite" if cache is True else cache
    return Scorer(
        model.float().to(read_device(device)),
        tokenizer,
        preparation,
        name=str(name_or_folder),
        cache=EmbeddingCache(file) if file else None,
        batch_size=batch_size,
        long_captions=long_captions,
    )


def _from_transformers(folder: Path):
    import transformers

    from rs_course.checkpoints.weights import find_weights, read_json, read_state_dict

    kind = read_json(folder / "config.json").get("model_type")
    if kind not in _CLASSES:
        raise ValueError(
            f"{folder} holds a model of type {kind!r}, which does not score image-text pairs: "
            f"this code reads {', '.join(_CLASSES)} and OpenCLIP weights."
        )
    weights = find_weights(folder, "model")
    preparation = _preparation(folder)
    tokenizer = read_tokenizer(folder, lower_case=kind.startswith("siglip"))
    state = read_state_dict(weights)
    try:
        with _quiet(transformers.utils.logging):
            config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
            model, report = getattr(transformers, _CLASSES[kind]).from_pretrained(
                None, config=config, state_dict=state, output_loading_info=True
            )
    except (OSError, RuntimeError, ValueError) as error:
        raise ValueError(
            f"The weights in {folder} cannot be read ({str(error).splitlines()[0]}): fetch them again."
        ) from None
    if missing := sorted(report["missing_keys"]):
        raise ValueError(
            f"The weights in {folder} lack {missing[0]} (and {len(missing) - 1} more): they would be random."
        )
    return model, tokenizer, preparation


def _preparation(folder: Path) -> Preparation:
    from rs_course.checkpoints.weights import read_json

    for name in ("preprocessor_config.json", "processor_config.json"):
        file = folder / name
        if file.is_file():
            config = read_json(file)
            config = config.get("image_processor", config)  # transformers 5 nests it there
            if "image_mean" in config:
                return Preparation.from_config(config, file)
    raise FileNotFoundError(
        f"{folder} has no preprocessor_config.json, which says how images are resized and normalised: "
        "fetch it too."
    )


def _from_open_clip(path: Path, tokenizer, quick_gelu):
    from transformers import CLIPModel

    from rs_course.checkpoints.images import CLIP_COLOURS
    from rs_course.checkpoints.weights import filled, read_json, read_state_dict

    file = _weight_file(path) if path.is_dir() else path
    stated = file.parent / "open_clip_config.json"
    settings = read_json(stated) if stated.is_file() else {}
    state = read_state_dict(file)
    if not is_open_clip(state):
        raise ValueError(
            f"{file} is no OpenCLIP file: its tensors are called {', '.join(sorted(state)[:2])}, …; for "
            "weights of transformers give the folder with config.json."
        )
    config, state = to_transformers(state, file, model_cfg=settings.get("model_cfg"), quick_gelu=quick_gelu)
    model = filled(lambda: CLIPModel(config), state, file)
    size, pixels = config.vision_config.image_size, settings.get("preprocess_cfg", {})
    mean, std = (tuple(pixels.get(key.removeprefix("image_"), own)) for key, own in CLIP_COLOURS.items())
    preparation = Preparation(size=size, crop=(size, size), mean=mean, std=std)
    return model, _clip_tokenizer(file, tokenizer, config.text_config.vocab_size), preparation


def _weight_file(folder: Path) -> Path:
    files = sorted(f for suffix in ("safetensors", "pt", "bin") for f in folder.glob(f"*.{suffix}"))
    # Repositories of OpenCLIP hold the same weights twice: safetensors where there is a choice.
    files = [file for file in files if file.name == "open_clip_model.safetensors"] or files
    if len(files) != 1:
        found = ", ".join(f.name for f in files) or "no weights"
        raise FileNotFoundError(
            f"{folder} has no config.json and {found}: give a folder of transformers, or the OpenCLIP file."
        )
    return files[0]


def _clip_tokenizer(file: Path, given, vocabulary: int):
    """The tokenizer given, or beside the weights, or of a fetched scorer with CLIP's vocabulary."""
    from rs_course import registry

    if given is not None:
        return read_tokenizer(Path(given))
    fetched = [registry.get("openclip-vit-b-32").folder] if vocabulary == 49408 else []
    for folder in (file.parent, *fetched):
        if (folder / "tokenizer.json").is_file() or (folder / "vocab.json").is_file():
            return read_tokenizer(folder)
    raise FileNotFoundError(
        f"{file} has weights but no tokenizer: put CLIP's vocab.json and merges.txt beside it, pass their "
        "folder as tokenizer=, or run 'rs-course fetch openclip-vit-b-32'."
    )


@contextmanager
def _quiet(logging):
    """Hide the loading report of transformers, which :func:`_from_transformers` turns into an error."""
    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()


# OpenCLIP's name of a tower's part -> the name in transformers; both towers share the blocks.
_BLOCK = {
    "ln_1": "layer_norm1", "ln_2": "layer_norm2", "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2",
}  # fmt: skip
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


def to_transformers(
    state: dict, source: str | Path, *, model_cfg: dict | None = None, quick_gelu: bool | None = None
) -> tuple[CLIPConfig, dict[str, torch.Tensor]]:
    """OpenCLIP's weights under the names of transformers, and the configuration that fits them.

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
