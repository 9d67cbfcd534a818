"""Writing a loaded generator as a clean folder: current key names, safetensors, one sub-folder per part."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from pathlib import Path

import torch

from rs_course.files import write_json

from .card import write_card
from .checkpoint import Checkpoint
from .loading import load_controlnet

# A class of this package is written under the name that the published configurations use.
_PUBLISHED_NAMES = {"SatControlNet": "ControlNetModel", "SatControlNet3D": "ControlNetModel3D"}
_OWN_CLASSES = ("SatUNet", *_PUBLISHED_NAMES.values())
# The models of transformers, which name their weight file otherwise.
_WEIGHTS = {"text_encoder": "model.safetensors", "image_encoder": "model.safetensors"}


def write_checkpoint(checkpoint: Checkpoint, target: Path) -> None:
    """Write all parts; a part that is a plain diffusers or transformers model opens there.

    The folder appears under its name when it is complete.

    Raises:
        FileExistsError: Something is there already.
    """
    with _new_folder(target) as folder:
        for name, module in checkpoint.modules().items():
            if name == "controlnet":
                name = "local_adapter" if checkpoint.family == "crsdiff" else name
                for k, net in enumerate(getattr(module, "nets", [module])):
                    write_model(net, folder / (f"{name}_{k}" if k else name), name)
            else:
                write_model(module, folder / name, name)
        checkpoint.tokenizer.save_pretrained(folder / "tokenizer")
        scheduler = dict(checkpoint.scheduler.config)
        scheduler_class = (
            "DDIMScheduler" if checkpoint.family == "crsdiff" else type(checkpoint.scheduler).__name__
        )
        write_json(folder / "scheduler" / "scheduler_config.json", _config(scheduler, scheduler_class))
        write_json(folder / "model_index.json", _index(checkpoint, scheduler_class))
        if card := checkpoint.card:
            stated = {"source": card.source, "licence": card.licence, "training_data": card.training_data}
            write_card(folder, **stated, settings=checkpoint.settings, converted_from=card.hash)


def write_controlnet(source: Path, target: Path, dtype: torch.dtype) -> None:
    """Write DiffusionSat's ControlNet(s) alone."""
    net = load_controlnet(source, dtype)
    with _new_folder(target) as folder:
        for k, one in enumerate(getattr(net, "nets", [net])):
            write_model(one, folder / (f"controlnet_{k}" if k else "controlnet"), "controlnet")


def write_model(module: torch.nn.Module, folder: Path, name: str) -> None:
    """One model: its config and its weights."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    if name in _WEIGHTS:
        module.config.save_pretrained(folder)
    else:
        config = dict(module.config)
        class_name = type(module).__name__
        write_json(folder / "config.json", _config(config, _PUBLISHED_NAMES.get(class_name, class_name)))
    weights = {key: value.contiguous() for key, value in module.state_dict().items()}
    save_file(
        weights, folder / _WEIGHTS.get(name, "diffusion_pytorch_model.safetensors"), metadata={"format": "pt"}
    )


def _index(checkpoint: Checkpoint, scheduler_class: str) -> dict:
    """``model_index.json``: what plain diffusers needs to open the folder.

    A class that diffusers does not have stands behind ``null``, as in the published files: pass it by hand.
    """
    inpaints = checkpoint.unet.config.in_channels == 9
    unet = type(checkpoint.unet).__name__
    return {
        "_class_name": "StableDiffusionInpaintPipeline" if inpaints else "StableDiffusionPipeline",
        "feature_extractor": [None, None],
        "requires_safety_checker": False,
        "safety_checker": [None, None],
        "scheduler": ["diffusers", scheduler_class],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": [None if unet in _OWN_CLASSES else "diffusers", unet],
        "vae": ["diffusers", "AutoencoderKL"],
    }


def _config(values: dict, class_name: str) -> dict:
    return {"_class_name": class_name, **{key: v for key, v in values.items() if not key.startswith("_")}}


@contextmanager
def _new_folder(target: Path):
    """A scratch folder beside the target that takes its name at the end, or is removed after an error."""
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise FileExistsError(f"{target} is there already: choose another folder, or remove it first.")
    scratch = target.with_name(target.name + ".partial")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        yield scratch
        if target.is_dir():
            target.rmdir()
        scratch.rename(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
