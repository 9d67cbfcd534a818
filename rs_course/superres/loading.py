"""Load a super-resolution network (which one follows from the names in its file), and enlarge images with
it, or with any upscaler: whole or in tiles, on its device, in its precision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import nn

from rs_course import registry
from rs_course.checkpoints.images import image_batch
from rs_course.checkpoints.weights import read_state_dict, unwrapped
from rs_course.deprecation import old_arguments
from rs_course.paths import cache_dir, data_dir
from rs_course.superres.networks import EFDN, SPAN

# Published weights that are not part of the repository: file name, and where it comes from.
_DSCF_SR = "https://github.com/Yaozzz666/DSCF-SR/tree/0532888c0ece73204532dcfa943fec8d0a82966b/model_zoo"
PUBLISHED = {"dscf": ("team23_DSCF", _DSCF_SR), "efdn": ("team00_EFDN", _DSCF_SR)}
FETCHED = {"dscf": "dsclora"}  # its name in the registry of what can be fetched
SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt")


def load(name_or_file: str | Path) -> nn.Module:
    """Load a network ready to enlarge images.

    Args:
        name_or_file: ``"mini-dscf"`` (ships with the course), ``"dscf"`` or ``"efdn"`` (the published
            weights, fetched as ``dsclora`` or put into the cache), or a file or folder with a state dict in
            the official key names of SPAN, DSCF or EFDN.

    Returns:
        ``nn.Module`` in eval mode, ``[N, 3, h, w]`` in [0, 1] → ``[N, 3, scale·h, scale·w]``; ``.scale`` and
        ``.min_side`` say what it takes. Training branches of a SPAN file are merged.

    Raises:
        FileNotFoundError: No such name, file or folder.
        ValueError: A file of another network, or of this one but incomplete.
    """
    file = _locate(name_or_file)
    return build(read_state_dict(file), source=file.name).eval()


def build(state: dict[str, torch.Tensor], *, source: str = "the state dict") -> nn.Module:
    """Recognise the network a state dict belongs to and load it strictly.

    Args:
        state: Tensors by official key name, also as training programs wrap them (``{"params": …}``,
            ``{"params_ema": …}``, ``module.`` before every key).
        source: What to call it in an error.

    Returns:
        A merged :class:`SPAN` (DSCF is the one with 26 channels) or an :class:`EFDN`.

    Raises:
        ValueError: Another network's keys, missing or surplus keys, shapes that differ, or unmerged
            ConvLoRA factors.
    """
    state = unwrapped(state)
    if any("lora_" in key for key in state):
        raise ValueError(
            f"{source} holds ConvLoRA factors beside the kernels, and whether they are already merged is "
            "not in the "
            "file: build the network, add them with superres.conv_lora.add, load, and merge."
        )
    if "conv_1.eval_conv.weight" in state and "upsampler.0.weight" in state:
        channels, branches = len(state["conv_1.eval_conv.weight"]), "conv_1.sk.weight" in state
        network = SPAN(channels, scale=_scale(state, "upsampler.0"), branches=branches)
    elif "head.weight" in state and "tail.0.weight" in state:
        network = EFDN(len(state["head.weight"]), scale=_scale(state, "tail.0"))
    else:
        known = "SPAN and DSCF have conv_1.eval_conv.weight, EFDN has head.weight and tail.0.weight"
        raise ValueError(f"{source} is no network known here ({known}); its first keys: {sorted(state)[:3]}.")
    _explain_mismatch(network, state, source)
    network.load_state_dict(state)
    return network.merge() if isinstance(network, SPAN) else network


def _scale(state, layer: str) -> int:
    """Enlargement from the number of channels before the pixel shuffle, 3·scale²."""
    return round((state[f"{layer}.weight"].shape[0] / 3) ** 0.5)


def _explain_mismatch(network: nn.Module, state, source: str) -> None:
    expected = {key: list(tensor.shape) for key, tensor in network.state_dict().items()}
    name = type(network).__name__
    if missing := sorted(expected.keys() - state.keys()):
        raise ValueError(
            f"{source} looks like {name} but lacks {len(missing)} tensors, first {missing[0]!r}."
        )
    if surplus := sorted(state.keys() - expected.keys()):
        raise ValueError(
            f"{source} looks like {name} but has {len(surplus)} tensors too many, first {surplus[0]!r}."
        )
    for key, shape in expected.items():
        if list(state[key].shape) != shape:
            raise ValueError(f"{source}: {key} has shape {list(state[key].shape)}, {name} needs {shape}.")


def _locate(name_or_file: str | Path) -> Path:
    path = Path(name_or_file).expanduser()
    if path.is_dir():
        return _only_file(path)
    if path.is_file():
        return path
    if path.suffix in SUFFIXES or len(path.parts) > 1:
        raise FileNotFoundError(f"no file or folder {path}.")
    shipped = data_dir() / "checkpoints" / str(name_or_file)
    if shipped.is_dir():
        return _only_file(shipped)
    if name_or_file not in PUBLISHED:
        raise FileNotFoundError(
            f"no super-resolution network {str(name_or_file)!r}: 'mini-dscf' ships with the course, "
            f"{' and '.join(map(repr, PUBLISHED))} are published, or give a file."
        )
    if name_or_file in FETCHED and registry.get(FETCHED[name_or_file]).local_files():
        return registry.require(FETCHED[name_or_file])[0]
    stem, url = PUBLISHED[name_or_file]
    folder = cache_dir() / "superres"
    for suffix in SUFFIXES:
        if (folder / f"{stem}{suffix}").is_file():
            return folder / f"{stem}{suffix}"
    fetch = f"run 'rs-course fetch {FETCHED[name_or_file]}', or " if name_or_file in FETCHED else ""
    raise FileNotFoundError(
        f"{name_or_file} is not in the cache: {fetch}put {stem}.pth from {url} into {folder}."
    )


def _only_file(folder: Path) -> Path:
    files = sorted(f for f in folder.iterdir() if f.suffix in SUFFIXES)
    if len(files) != 1:
        found = ", ".join(f.name for f in files) or "none"
        raise FileNotFoundError(f"{folder} should hold one weight file; found {found}: name the file itself.")
    return files[0]


@old_arguments(batch="batch_size")
@torch.no_grad()
def upscale(
    images: torch.Tensor,
    network: nn.Module | Callable[[torch.Tensor], torch.Tensor],
    *,
    tile: int | None = None,
    batch_size: int = 8,
) -> torch.Tensor:
    """Enlarge a batch and clamp the result, as it would be shown or measured.

    Args:
        images: Float ``[N, 3, h, w]`` in [0, 1] (or one ``[3, h, w]``).
        network: From :func:`rs_course.superres.load`, or any function from low to high resolution. A
            network's own device and number type are used; ``load("mini-dscf").to("cuda", torch.bfloat16)``
            enlarges in bfloat16.
        tile: Cut the images into squares of this many low-resolution pixels, each with a margin as wide as
            the network sees, so that the result equals the whole image's. Needed when the memory is small.
        batch_size: Images, or tiles, enlarged at once.

    Returns:
        ``[N, 3, scale·h, scale·w]`` in [0, 1], on the device and in the number type of ``images``.

    Raises:
        TypeError, ValueError: Images that are not a batch in [0, 1]; a tile below 1; or tiles for a
            network that sees the whole image (EFDN), where they would change the result.
    """
    images = image_batch(images)
    run = _runner(network, images)
    if tile is None:
        return _join([run(part) for part in images.split(batch_size)])
    halo, scale = getattr(network, "halo", None), getattr(network, "scale", None)
    if halo is None:
        raise ValueError(
            f"{type(network).__name__} pools over the whole image, so that tiles would change its result: "
            "leave tile=None."
        )
    if tile < 1:
        raise ValueError(f"tile={tile}: give a side of at least 1 low-resolution pixel.")
    height, width = images.shape[-2:]
    out = images.new_empty(*images.shape[:2], height * scale, width * scale)
    for rows, columns in _tiles(height, width, tile):
        # The image's own border is no margin: there the network pads with zeros, as it does for the whole
        # image.
        top, left = max(rows.start - halo, 0), max(columns.start - halo, 0)
        part = images[..., top : rows.stop + halo, left : columns.stop + halo]
        enlarged = _join([run(p) for p in part.split(batch_size)])
        places = ((rows, top), (columns, left))
        inner = [slice((s.start - first) * scale, (s.stop - first) * scale) for s, first in places]
        target = [slice(s.start * scale, s.stop * scale) for s in (rows, columns)]
        out[..., target[0], target[1]] = enlarged[..., inner[0], inner[1]]
    return out


def _runner(network, images: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    """``network`` on its own device and number type, back on the images', clamped."""
    if not isinstance(network, nn.Module) or (parameter := next(network.parameters(), None)) is None:
        return lambda part: network(part).to(images).clamp(0, 1)

    def run(part):
        # Channels last is a third faster on a CPU and differs by rounding only (2e-6 on photographs).
        part = part.to(parameter).contiguous(memory_format=torch.channels_last)
        return network(part).to(images).clamp_(0, 1)

    return run


def _join(parts: list[torch.Tensor]) -> torch.Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _tiles(height: int, width: int, tile: int) -> Iterator[tuple[slice, slice]]:
    for top in range(0, height, tile):
        for left in range(0, width, tile):
            yield slice(top, min(top + tile, height)), slice(left, min(left + tile, width))
