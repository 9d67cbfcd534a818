"""``load``: the way from a name or a folder to a generator, part by part."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from rs_course import fetching, paths, registry

from . import legacy
from .layout import CRSDIFF_PARTS, Layout, controlnet_folders, find
from .weights import filled, find_weights, read_json, read_state_dict, weight_parts

if TYPE_CHECKING:
    from .checkpoint import Checkpoint


def load(
    name_or_folder: str | Path,
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype | str | None = None,
    controlnet: str | Path | Sequence[str | Path] | None = None,
) -> Checkpoint:
    """Load a generator.

    Args:
        name_or_folder: A name of the registry, or a folder or file in a published on-disk layout.
        device: ``None`` takes a GPU where there is one.
        dtype: A torch type or its name; ``None`` is float32 on a CPU and bfloat16 on a GPU.
        controlnet: Folder or name of a DiffusionSat ControlNet; a list of them adds their residuals.

    Returns:
        The generator, ready to sample.

    Raises:
        FileNotFoundError: No such checkpoint, or a part of it is missing.
        ValueError: Damaged, changed or mismatching files, or an unknown device or type.
        RuntimeError: Too little memory.
    """
    from .checkpoint import Checkpoint, read_card, verify  # and with it diffusers, which scorers do not need

    place = read_device(device)
    dtype = read_dtype(dtype, place)
    layout = find(locate(name_or_folder))
    files = weight_files(layout)
    require_memory(layout.root, files)
    verify(layout.root, files)
    parts = load_parts(layout, dtype)
    if layout.family == "crsdiff":
        if controlnet is not None:
            raise ValueError(
                "CRS-Diff has its own map encoder: pass maps as conditions=, and leave controlnet out."
            )
        parts["controlnet"] = parts.pop("local_adapter")
    elif controlnet is not None:
        if layout.family != "diffusionsat":
            raise ValueError(f"{name_or_folder} is of the family {layout.family}, which takes no ControlNet.")
        several = [controlnet] if isinstance(controlnet, str | Path) else controlnet
        parts["controlnet"] = load_controlnet([locate(one) for one in several], dtype)
    card, settings = read_card(layout, str(name_or_folder), files)
    checkpoint = Checkpoint(layout.family, **parts, card=card, settings=settings)
    if place.type == "cuda":
        # What tensor cores convolve fastest; on a CPU it was measured to cost 4 to 10 %.
        for part in (checkpoint.unet, checkpoint.vae):
            part.to(memory_format=torch.channels_last)
    return checkpoint.to(place)


def locate(name_or_folder: str | Path, kind: str = "checkpoint") -> Path:
    """Folder or file of a checkpoint or scorer: an existing path, a shipped mini, what was fetched, a hub id.

    Args:
        name_or_folder: Name, path or hub id.
        kind: ``"checkpoint"`` or ``"scorer"``: which entries of the registry count.

    Raises:
        FileNotFoundError: None of these, or not fetched yet.
    """
    path = Path(name_or_folder).expanduser()
    if path.exists():
        return path
    name = str(name_or_folder)
    shipped = paths.data_dir() / "checkpoints"
    if (shipped / name).is_dir():
        return shipped / name
    if entry := registry.find(name, kind):
        files = registry.require(name)
        return files[0] if kind == "scorer" and len(files) == 1 else entry.folder
    if name.count("/") == 1 and not name.startswith((".", "/", "~")):
        return fetching.from_hub(name)
    minis = sorted(folder.name for folder in shipped.glob("mini-clip*" if kind == "scorer" else "mini-*"))
    raise FileNotFoundError(
        f"There is no {kind} {name!r}: give a folder or file that exists, a hub id, or one of "
        f"{', '.join([*minis, *registry.names(kind)])}."
    )


def read_device(device: torch.device | str | None) -> torch.device:
    """A ``torch.device`` that exists on this machine."""
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
    except RuntimeError:
        raise ValueError(f"{device!r} is no device: use 'cpu', 'cuda' or 'cuda:1'.") from None
    if found.type == "cuda" and not torch.cuda.is_available():
        raise RuntimeError(
            "device='cuda' was asked for, but this machine has no usable NVIDIA GPU (or this PyTorch was "
            "built without CUDA): leave device out to use the CPU."
        )
    return found


def read_dtype(dtype: torch.dtype | str | None, device: torch.device) -> torch.dtype:
    """A floating ``torch.dtype``."""
    if dtype is None:
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    found = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise ValueError(f"{dtype!r} is no floating type: use 'float32', 'bfloat16' or 'float16'.")
    return found


def weight_files(layout: Layout) -> list[Path]:
    """All weight files of a checkpoint."""
    if layout.single_file is not None:
        return [layout.single_file]
    weighted = [name for name in layout.parts if name not in ("tokenizer", "scheduler", "controlnet")]
    stems = {"text_encoder": "model", "image_encoder": "model"}
    found = (
        find_weights(layout.parts[name], stems.get(name, "diffusion_pytorch_model")) for name in weighted
    )
    return [part for file in found for part in weight_parts(file)]


def require_memory(folder: Path, files: list[Path]) -> None:
    """Refuse before reading what cannot fit: weights pass through main memory on their way to any device.

    Raises:
        RuntimeError: The files are larger than the free memory.
    """
    import psutil

    needed = sum(file.stat().st_size for file in files)
    free = psutil.virtual_memory().available
    if needed > free:
        raise RuntimeError(
            f"{folder} has {needed / 2**30:.1f} GiB of weights, but {free / 2**30:.1f} GiB are free: "
            "close other programs, or take a smaller checkpoint."
        )


def load_parts(layout: Layout, dtype: torch.dtype) -> dict:
    """Every part of a checkpoint by name, on the CPU.

    Raises:
        FileNotFoundError, ValueError: A part is missing, damaged, or does not fit its config.
    """
    if layout.single_file is not None:
        return legacy.load_parts(layout.single_file, dtype)
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
        builders = legacy.builders(config)
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

    from .diffusionsat import SatUNet

    name = read_json(folder / "config.json").get("_class_name", "UNet2DConditionModel")
    classes = {"SatUNet": SatUNet, "UNet2DConditionModel": UNet2DConditionModel}
    if name not in classes:
        raise ValueError(
            f"{folder / 'config.json'} describes a {name}; a UNet here is one of {', '.join(classes)}."
        )
    return classes[name]


def load_model(
    model: type, folder: Path, dtype: torch.dtype, rename: Callable[[dict], dict] = lambda state: state
) -> torch.nn.Module:
    """A diffusers model from its folder; keys of the config that the class does not know are left aside."""
    config = read_json(folder / "config.json")
    known = set(inspect.signature(model.__init__).parameters) - {"self"}  # type: ignore[misc]
    config = {key: value for key, value in config.items() if key in known}
    file = find_weights(folder)
    state = rename(read_state_dict(file))
    if config.get("use_metadata") is False:
        state = {key: value for key, value in state.items() if not key.startswith("metadata_embedding.")}
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


def load_scheduler(layout: Layout) -> Any:
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


def load_controlnet(path: str | Path | Sequence[str | Path], dtype: torch.dtype) -> torch.nn.Module:
    """DiffusionSat's ControlNet at a path (or list of paths); several become one ``SatMultiControlNet``."""
    from .diffusionsat import SatControlNet, SatControlNet3D, SatMultiControlNet

    paths = [path] if isinstance(path, str | Path) else path
    classes = {"ControlNetModel": SatControlNet, "ControlNetModel3D": SatControlNet3D}
    nets = []
    for folder in [folder for one in paths for folder in controlnet_folders(one)]:
        name = read_json(folder / "config.json").get("_class_name")
        if name not in classes:
            raise ValueError(
                f"{folder / 'config.json'} describes a {name}, not a ControlNet of DiffusionSat."
            )
        nets.append(load_model(classes[name], folder, dtype))
    return nets[0] if len(nets) == 1 else SatMultiControlNet(nets)
