"""From a folder to the parts of a generator in memory."""

from __future__ import annotations

import inspect
from pathlib import Path

import torch

from . import ldm, legacy
from .layout import CRSDIFF_PARTS, Layout, controlnet_folders
from .weights import filled, find_weights, read_json, read_state_dict


def load_parts(layout: Layout, dtype: torch.dtype) -> dict:
    """Every part of a checkpoint by name, on the CPU.

    Raises:
        FileNotFoundError, ValueError: A part is missing, damaged, or does not fit its config.
    """
    if layout.single_file is not None:
        return ldm.load_parts(layout.single_file, dtype)
    from diffusers import AutoencoderKL
    from transformers import CLIPTokenizer

    folders = layout.parts
    parts = {
        "unet": load_model(unet_class(folders["unet"]), folders["unet"], dtype),
        "vae": load_model(AutoencoderKL, folders["vae"], dtype, legacy.current_vae),
        "text_encoder": load_text_encoder(folders["text_encoder"], dtype),
        "tokenizer": CLIPTokenizer.from_pretrained(folders["tokenizer"]),
        "scheduler": load_scheduler(layout),
    }
    if "local_adapter" in folders:
        config = {name: read_json(folders[name] / "config.json") for name in CRSDIFF_PARTS}
        config = {name: {k: v for k, v in c.items() if not k.startswith("_")} for name, c in config.items()}
        builders = ldm.builders(config)
        for name in CRSDIFF_PARTS:
            file = find_weights(folders[name])
            parts[name] = filled(builders[name], read_state_dict(file), file, dtype)
    if "image_encoder" in folders:
        parts["image_encoder"] = load_image_encoder(folders["image_encoder"], dtype)
    if "controlnet" in folders:
        parts["controlnet"] = load_controlnet(layout.root, dtype)
    return parts


def unet_class(folder: Path) -> type:
    """The class named in a UNet's config: DiffusionSat's own, or diffusers'."""
    from diffusers import UNet2DConditionModel

    from .satunet import SatUNet

    name = read_json(folder / "config.json").get("_class_name", "UNet2DConditionModel")
    classes = {"SatUNet": SatUNet, "UNet2DConditionModel": UNet2DConditionModel}
    if name not in classes:
        raise ValueError(
            f"{folder / 'config.json'} describes a {name}; a UNet here is one of {', '.join(classes)}."
        )
    return classes[name]


def load_model(model: type, folder: Path, dtype: torch.dtype, rename=lambda state: state) -> torch.nn.Module:
    """A diffusers model from its folder; keys of the config that the class does not know are left aside."""
    config = read_json(folder / "config.json")
    known = set(inspect.signature(model.__init__).parameters) - {"self"}
    config = {key: value for key, value in config.items() if key in known}
    file = find_weights(folder)
    state = rename(read_state_dict(file))
    if config.get("use_metadata") is False:
        state = legacy.without_metadata(state)
    return filled(lambda: model(**config), state, file, dtype)


def load_text_encoder(folder: Path, dtype: torch.dtype) -> torch.nn.Module:
    """A CLIP text tower, also out of a whole CLIP model."""
    from transformers import CLIPTextConfig, CLIPTextModel

    read_json(folder / "config.json")  # one sentence where it is missing or damaged
    config = CLIPTextConfig.from_pretrained(folder)
    file = find_weights(folder, "model")
    state = legacy.current_text_encoder(read_state_dict(file))
    return filled(lambda: CLIPTextModel(config), state, file, dtype)


def load_image_encoder(folder: Path, dtype: torch.dtype) -> torch.nn.Module:
    """A CLIP image tower with its projection, out of a whole CLIP model as well."""
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    stated = read_json(folder / "config.json")
    own = {**stated.get("vision_config", stated), "projection_dim": stated.get("projection_dim", 512)}
    if (folder / "preprocessor_config.json").is_file():
        preparation = read_json(folder / "preprocessor_config.json")
        own |= {name: preparation[name] for name in ("image_mean", "image_std") if name in preparation}
    config = CLIPVisionConfig(**own)
    file = find_weights(folder, "model")
    with torch.device("meta"):
        expected = CLIPVisionModelWithProjection(config).state_dict()
    # The towers of a whole CLIP model lie side by side under the same names.
    state = {key: value for key, value in read_state_dict(file).items() if key in expected}
    return filled(lambda: CLIPVisionModelWithProjection(config), state, file, dtype)


def load_scheduler(layout: Layout):
    """The scheduler as the official loading yields it: the class that ``model_index.json`` names, the other
    file's numbers.
    """
    import diffusers

    from rs_course.sampling.samplers import CRSDiffScheduler

    config = read_json(layout.parts["scheduler"] / "scheduler_config.json")
    name = (layout.index.get("scheduler") or [None, None])[1] or config.get("_class_name", "DDIMScheduler")
    scheduler = CRSDiffScheduler if layout.family == "crsdiff" else getattr(diffusers, name, None)
    if scheduler is None:
        raise ValueError(f"{layout.root} names the scheduler {name}, which diffusers does not have.")
    try:
        made = scheduler.from_config(config)
    except ImportError as error:  # some need a library of their own
        needs = (str(error).strip().splitlines() or ["a library is missing"])[0]
        raise ValueError(
            f"{layout.root} names the scheduler {name}, which cannot be had here: {needs}"
        ) from None
    except (TypeError, AttributeError):  # of tokens or of another class of model
        made = None
    if not _denoises_latents(made):
        raise ValueError(
            f"{layout.root} names the scheduler {name}, which is none for denoising latents (flow matching, "
            "tokens and the like are other kinds of model): is scheduler_config.json of this checkpoint?"
        )
    return made


def _denoises_latents(scheduler) -> bool:
    """Whether it has what the engine calls: noise of a known size, and steps from a prediction alone."""
    if not all(
        hasattr(scheduler, name) for name in ("init_noise_sigma", "scale_model_input", "step", "order")
    ):
        return False
    needed = [p for p in inspect.signature(scheduler.step).parameters.values() if p.default is p.empty]
    return sum(p.kind is p.POSITIONAL_OR_KEYWORD for p in needed) <= 3  # prediction, time, latents


def load_controlnet(path, dtype: torch.dtype) -> torch.nn.Module:
    """DiffusionSat's ControlNet at a path (or list of paths); several become one ``SatMultiControlNet``."""
    from .controlnets import SatControlNet, SatControlNet3D, SatMultiControlNet

    paths = path if isinstance(path, list | tuple) else [path]
    nets = []
    for folder in [folder for one in paths for folder in controlnet_folders(one)]:
        name = read_json(folder / "config.json").get("_class_name")
        classes = {"ControlNetModel": SatControlNet, "ControlNetModel3D": SatControlNet3D}
        if name not in classes:
            raise ValueError(
                f"{folder / 'config.json'} describes a {name}, not a ControlNet of DiffusionSat."
            )
        nets.append(load_model(classes[name], folder, dtype))
    return nets[0] if len(nets) == 1 else SatMultiControlNet(nets)
