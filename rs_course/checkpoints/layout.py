"""What lies in a checkpoint folder, and which family it is; pipelines of other kinds are refused.

A folder with a UNet is not yet a generator that this package can run. What the UNet is told beside the text
(SDXL's sizes, a depth map, a picture to edit, a noise level) is not in its weights but in its pipeline.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from .weights import read_json

PARTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
CRSDIFF_PARTS = ("local_adapter", "content_adapter", "metadata_embedding")

# UNet input channels beyond the latents, by what is put there.
_CHANNELS = {
    1: "a depth map (depth-to-image)",
    3: "a small picture (an upscaler)",
    4: "a picture to edit (InstructPix2Pix)",
}
_UNET_KEYS = {
    "addition_embed_type": "an added embedding, as SDXL or Kandinsky have it",
    "encoder_hid_dim_type": "other text or image states, as Kandinsky or IP-Adapter have them",
    "num_class_embeds": "class labels or a noise level, as upscalers have it",
    "time_cond_proj_dim": "the guidance scale, as distilled models (LCM) have it",
}
_VAE_KEYS = ("shift_factor", "latents_mean", "latents_std")
_ELSEWHERE = (
    "this package reads text-to-image models like Stable Diffusion 1 and 2; diffusers has the pipeline for it"
)


@dataclass
class Layout:
    """The parts of a checkpoint, each a folder.

    Attributes:
        root: The checkpoint's folder.
        family: A key of ``families.FAMILIES``.
        parts: Part name to folder.
        index: Content of ``model_index.json`` (empty where there is none).
        single_file: The one file that holds everything (CRS-Diff's ``last.ckpt``), or ``None``.
    """

    root: Path
    family: str
    parts: dict[str, Path] = field(default_factory=dict)
    index: dict = field(default_factory=dict)
    single_file: Path | None = None


def find(path: str | Path) -> Layout:
    """Find the parts of a checkpoint.

    ``model_index.json`` may hold ``_shared_parts``, part name to relative folder: the course's minis share
    one VAE and one CLIP.

    Understood are a diffusers pipeline folder, the folder around it, a training run whose UNet lies in
    ``checkpoint-N/unet`` (or that UNet folder itself, ``unet_ema`` included), and CRS-Diff's single file or
    its folder.

    Raises:
        FileNotFoundError: No checkpoint there, or a part of it is missing.
        ValueError: Several checkpoints there, or a pipeline of another kind.
    """
    path = Path(path)
    if path.is_file():
        return Layout(path.parent, "crsdiff", single_file=path)
    if not path.is_dir():
        raise FileNotFoundError(f"There is no checkpoint {path}.")
    # A pipeline's folder may hold single files of the same model besides; model_index.json decides.
    if not _is_root(path) and (files := sorted(path.glob("*.ckpt"))):
        return Layout(path, "crsdiff", single_file=_one_of(files))
    root, unet = _pipeline_root(path)
    index = read_json(root / "model_index.json") if (root / "model_index.json").is_file() else {}
    _refuse_transformers(root, index)
    shared = shared_parts(root)
    parts = {name: shared.get(name, root / name) for name in PARTS}
    parts["unet"] = unet or parts["unet"]
    if not parts["unet"].is_dir() and (latest := _latest_unet(root)):
        parts["unet"] = latest
    if missing := [name for name, folder in parts.items() if not folder.is_dir()]:
        present = [name for name in ("controlnet", *PARTS) if (root / name).is_dir()]
        raise FileNotFoundError(
            f"{root} has no {', '.join(missing)} (it holds {', '.join(present) or 'nothing'}): "
            + (
                "load the generator's own folder and pass this one as controlnet=."
                if present == ["controlnet"]
                else "the checkpoint is incomplete, fetch it again."
            )
        )
    if (root / "controlnet").is_dir():
        parts["controlnet"] = root / "controlnet"
    for name in (*CRSDIFF_PARTS, "image_encoder"):
        folder = shared.get(name, root / name)
        if folder.is_dir():
            parts[name] = folder
    _refuse_foreign(root, index, parts)
    return Layout(root, _family(index, parts), parts, index)


def _one_of(files: list[Path]) -> Path:
    """CRS-Diff's file among the .ckpt files of a folder."""
    if len(files) == 1:
        return files[0]
    if last := next((file for file in files if file.name == "last.ckpt"), None):
        return last
    names = ", ".join(file.name for file in files)
    raise ValueError(f"{files[0].parent} holds several checkpoints ({names}): name the file of one.")


def shared_parts(root: Path) -> dict[str, Path]:
    """Folders of the parts that a checkpoint shares with others: those of ``_shared_parts`` in its
    ``model_index.json``.

    Raises:
        ValueError: A folder that lies neither in the checkpoint nor beside it.
    """
    index = root / "model_index.json"
    named = read_json(index).get("_shared_parts", {}) if index.is_file() else {}
    home, found = root.resolve().parent, {}
    for part, relative in named.items() if isinstance(named, dict) else ():
        folder = (root / relative).resolve() if isinstance(relative, str) else home
        if folder == home or not folder.is_relative_to(home):
            raise ValueError(
                f"{index} takes its {part} from {relative!r}: a shared part lies in the checkpoint's folder "
                "or in one beside it."
            )
        found[part] = folder
    return found


def _pipeline_root(path: Path) -> tuple[Path, Path | None]:
    """The folder with the parts, and the UNet folder if the path names one."""
    if _is_root(path):
        return path, None
    inside_run = next((path / name for name in ("unet", "unet_ema") if (path / name).is_dir()), None)
    if unet := path if (path / "config.json").is_file() else inside_run:
        for root in list(path.parents)[:2]:
            if _is_root(root):
                return root, unet
        raise FileNotFoundError(
            f"{path} holds a single model; the rest of the pipeline should lie in a folder above it."
        )
    below = [child for pattern in ("*", "*/*") for child in sorted(path.glob(pattern))]
    roots = [child for child in below if child.is_dir() and _is_root(child)]
    inside = [child for child in roots if (child / "unet").is_dir() or _latest_unet(child)]
    if len(inside) > 1:
        names = ", ".join(child.name for child in inside)
        raise ValueError(f"{path} holds several checkpoints ({names}): name the folder of one.")
    if not inside and any(path.rglob("controlnet/config.json")):
        raise FileNotFoundError(
            f"{path} holds a ControlNet but no generator: load a generator and pass this as controlnet=."
        )
    if not inside:
        raise FileNotFoundError(
            f"{path} holds no checkpoint: neither model_index.json with its unet, vae, text_encoder, "
            "tokenizer and scheduler, nor a .ckpt file."
        )
    return inside[0], None


def _is_root(folder: Path) -> bool:
    return (folder / "vae").is_dir() or (folder / "model_index.json").is_file()


def _latest_unet(root: Path) -> Path | None:
    """The UNet of the training run's last ``checkpoint-N``; the plain one before its moving average, as
    published.
    """
    found = {}
    for name in ("unet_ema", "unet"):
        for folder in root.glob(f"checkpoint-*/{name}"):
            if match := re.fullmatch(r"checkpoint-(\d+)", folder.parent.name):
                found[int(match[1])] = folder
    return found[max(found)] if found else None


def _family(index: dict, parts: dict[str, Path]) -> str:
    unet = read_json(parts["unet"] / "config.json")
    inpaints = unet.get("in_channels") == 9
    if "local_adapter" in parts:
        return "crsdiff"
    if unet.get("_class_name") == "SatUNet":
        return "diffusionsat"
    if "Text2Earth" in index.get("_class_name", "") or unet.get("class_embed_type") == "timestep":
        return "text2earth-inpainting" if inpaints else "text2earth"
    return "stable-diffusion"


def controlnet_folders(path: str | Path) -> list[Path]:
    """Folders of the ControlNets at a path: the net itself, or ``controlnet``, ``controlnet_1``, … inside it.

    A training run keeps them in ``checkpoint-N/controlnet``; the last one is taken.

    Raises:
        FileNotFoundError: None there.
    """
    path = Path(path)
    if (path / "config.json").is_file():
        return [path]
    found = sorted(child for child in path.glob("controlnet*") if (child / "config.json").is_file())
    if not found:
        runs = [file.parent for file in path.rglob("checkpoint-*/controlnet/config.json")]
        found = sorted(runs, key=lambda folder: int(folder.parent.name.split("-")[-1]))[-1:]
    if not found:
        found = [file.parent for file in path.rglob("controlnet/config.json")][:1]
    if not found:
        raise FileNotFoundError(f"There is no ControlNet in {path} (a folder with config.json and weights).")
    return found


def _refuse_transformers(root: Path, index: dict) -> None:
    """Refuse a pipeline that has a transformer in the UNet's place (Stable Diffusion 3, Flux, PixArt)."""
    if (root / "transformer").is_dir() and not (root / "unet").is_dir():
        raise ValueError(f"{root} is {_named(index)}, a transformer instead of a UNet: {_ELSEWHERE}.")


def _refuse_foreign(root: Path, index: dict, parts: dict[str, Path]) -> None:
    """Refuse a pipeline that needs more than text, or another kind of part, judged by the configs."""
    unet, vae, text = (read_json(parts[name] / "config.json") for name in ("unet", "vae", "text_encoder"))
    if (root / "text_encoder_2").is_dir():
        raise ValueError(f"{root} is {_named(index)} with a second text encoder (SDXL): {_ELSEWHERE}.")
    for key, what in _UNET_KEYS.items():
        if unet.get(key) is not None:
            raise ValueError(f"{root} is {_named(index)}, whose UNet is told {what} ({key}): {_ELSEWHERE}.")
    latent = vae.get("latent_channels", 4)
    more = unet.get("in_channels", 4) - latent
    if more not in (0, latent + 1):
        what = _CHANNELS.get(more, "something else")
        raise ValueError(
            f"{root} is {_named(index)}, whose UNet has {latent + more} input channels: {latent} latents and "
            f"{what}: {_ELSEWHERE}."
        )
    if unet.get("out_channels", 4) != latent:
        raise ValueError(
            f"{root}: its UNet gives {unet.get('out_channels', 4)} channels for {latent} latent ones: "
            f"{_ELSEWHERE}."
        )
    kind = vae.get("_class_name", "AutoencoderKL")
    if kind != "AutoencoderKL" or (odd := next((key for key in _VAE_KEYS if vae.get(key) is not None), None)):
        what = f"is a {kind}" if kind != "AutoencoderKL" else f"has a {odd}"
        raise ValueError(f"{root}: its VAE {what}, other than Stable Diffusion's: {_ELSEWHERE}.")
    if "clip" not in (encoder := text.get("model_type", "clip")):
        raise ValueError(f"{root}: its text encoder is a {encoder}, not CLIP: {_ELSEWHERE}.")
    width = text.get("hidden_size", text.get("text_config", {}).get("hidden_size"))
    wanted = unet.get("cross_attention_dim", 1280)
    if isinstance(width, int) and isinstance(wanted, int) and width != wanted:
        raise ValueError(
            f"{root}: the text encoder gives {width} numbers and the UNet reads {wanted}: are both of one "
            "checkpoint?"
        )


def _named(index: dict) -> str:
    name = index.get("_class_name")
    return f"a {name}" if isinstance(name, str) else "a pipeline"
