"""``load``: the way from a name or a folder to a generator."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from rs_course import paths

from .card import read_card, verify
from .layout import Layout, find

if TYPE_CHECKING:
    from .checkpoint import Checkpoint


def load(name_or_folder, *, device=None, dtype=None, controlnet=None) -> Checkpoint:
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
    import torch

    from .checkpoint import Checkpoint
    from .loading import load_controlnet, load_parts

    device = read_device(device)
    dtype = read_dtype(dtype, device)
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
        several = isinstance(controlnet, list | tuple)
        located = [locate(one) for one in controlnet] if several else locate(controlnet)
        parts["controlnet"] = load_controlnet(located, dtype)
    card, settings = read_card(layout, str(name_or_folder), files)
    checkpoint = Checkpoint(layout.family, **parts, card=card, settings=settings)
    if device.type == "cuda":
        # What tensor cores convolve fastest; on a CPU it was measured to cost 4 to 10 %.
        for part in (checkpoint.unet, checkpoint.vae):
            part.to(memory_format=torch.channels_last)
    return checkpoint.to(device)


def locate(name_or_folder, kind: str = "checkpoint") -> Path:
    """Folder or file of a checkpoint or scorer: an existing path, a shipped mini, what was fetched, a hub id.

    Args:
        name_or_folder: Name, path or hub id.
        kind: ``"checkpoint"`` or ``"scorer"``: which entries of the registry count.

    Raises:
        FileNotFoundError: None of these, or not fetched yet.
    """
    from rs_course import registry

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
        return from_hub(name)
    minis = sorted(folder.name for folder in shipped.glob("mini-clip*" if kind == "scorer" else "mini-*"))
    raise FileNotFoundError(
        f"There is no {kind} {name!r}: give a folder or file that exists, a hub id, or one of "
        f"{', '.join([*minis, *registry.names(kind)])}."
    )


def from_hub(repository: str) -> Path:
    """A repository of the Hugging Face hub, from its cache or downloaded; only weights, configs and
    vocabularies.

    Args:
        repository: ``owner/name``, or ``owner/name@revision``. Without a revision, the one of the first use
            is kept in the cache's ``hub.json``, so that a name does not change its meaning.

    Raises:
        FileNotFoundError: No such repository or revision, or it is out of reach.
        OSError: The files cannot be stored.
    """
    from huggingface_hub import errors as hub
    from huggingface_hub import snapshot_download

    name, _, revision = repository.partition("@")
    pins_file = paths.cache_dir() / "hub.json"
    pins = json.loads(pins_file.read_text(encoding="utf-8")) if pins_file.is_file() else {}
    wanted = ["*.json", "*.txt", "*.safetensors", "*.bin"]
    try:
        folder = Path(snapshot_download(name, revision=revision or pins.get(name), allow_patterns=wanted))
    except hub.GatedRepoError:
        reason = "is open only to those who accept its licence on huggingface.co and log in with a token"
    except hub.RevisionNotFoundError:
        reason = f"has no revision {revision or pins.get(name)!r}"
    except (hub.RepositoryNotFoundError, hub.HFValidationError):
        reason = "is neither a folder here nor a repository of the Hugging Face hub"
    except (hub.HfHubHTTPError, hub.LocalEntryNotFoundError, hub.OfflineModeIsEnabled, ConnectionError):
        reason = "is neither a folder here nor in the cache, and the Hugging Face hub is out of reach"
    except OSError as error:
        raise OSError(f"{repository!r} cannot be stored in the Hugging Face cache ({error}).") from None
    else:
        if not revision and name not in pins:
            _keep(pins_file, {**pins, name: folder.name})
        return folder
    raise FileNotFoundError(f"{repository!r} {reason}.")


def _keep(file: Path, content: dict) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.{os.getpid()}")
    partial.write_text(json.dumps(content, indent=1), encoding="utf-8")
    os.replace(partial, file)


def read_device(device):
    """A ``torch.device`` that exists on this machine."""
    import torch

    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(device)
    except RuntimeError:
        raise ValueError(f"{device!r} is no device: use 'cpu', 'cuda' or 'cuda:1'.") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise RuntimeError(
            "device='cuda' was asked for, but this machine has no usable NVIDIA GPU (or this PyTorch was "
            "built without CUDA): leave device out to use the CPU."
        )
    return device


def read_dtype(dtype, device):
    """A floating ``torch.dtype``."""
    import torch

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
    from .weights import find_weights, weight_parts

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
