"""DiffusionSat's condition images and their metadata, sorted to the shapes that its ControlNets take."""

from __future__ import annotations

from typing import Any

import torch

from .diffusionsat import SatControlNet, SatMultiControlNet
from .images import images, resize
from .prompts import DIFFUSIONSAT, metadata_rows


def read_condition(net: SatControlNet, value: Any, prompts: int, name: str = "image") -> torch.Tensor:
    """Condition of one net: ``[B, C, H, W]``, or ``[B, C, T, H, W]`` for a temporal one.

    Args:
        net: The ControlNet.
        value: Pictures in any form of :func:`images.images`. A list for one prompt is the images of its stack
            or sequence (``[a, b, c]`` or ``[[a, b, c]]``); a list of lists has one list per prompt. A float
            tensor in the net's own shape is taken as it is.
        prompts: Number of prompts.
        name: What the caller calls it, for messages.

    Raises:
        ValueError: A number of images or channels that the net does not take.
    """
    channels = net.config.conditioning_in_channels
    if getattr(value, "ndim", 0) == 5:
        value = torch.as_tensor(value)
        if value.dtype == torch.uint8:  # [B, T, H, W, 3]
            return read_condition(net, [list(stack) for stack in value], prompts, name)
        if not net.temporal:
            return _stacked(value.flatten(1, 2), channels, name)
        return value if value.shape[1] == channels else value.transpose(1, 2)
    if isinstance(value, list | tuple) and value and isinstance(value[0], list | tuple):
        stacks = [images(stack, name) for stack in value]
        if len({len(stack) for stack in stacks}) > 1:
            raise ValueError(f"{name} has a different number of images per prompt.")
        frames = torch.stack(stacks)  # [B, T, 3, H, W]
        return frames.transpose(1, 2) if net.temporal else _stacked(frames.flatten(1, 2), channels, name)
    pictures = images(value, name, mode="RGB" if channels % 3 == 0 and not _is_stack(value) else None)
    if net.temporal:
        if pictures.shape[1] > channels and pictures.shape[1] % channels == 0:  # [B, T·C, H, W]
            return pictures.unflatten(1, (-1, channels)).transpose(1, 2)
        return pictures.transpose(0, 1)[None]  # the frames of one prompt
    if pictures.shape[1] != channels and channels == 3 * len(pictures):
        pictures = pictures.flatten(0, 1)[None]
    elif pictures.shape[1] != channels and channels * prompts == 3 * len(pictures):
        pictures = pictures.unflatten(0, (prompts, -1)).flatten(1, 2)
    return _stacked(pictures, channels, name)


def read_conditions(controlnet: Any, value: Any, prompts: int) -> list[torch.Tensor]:
    """Conditions of a ControlNet, or of each net of a :class:`SatMultiControlNet` (one image per net)."""
    if value is None:
        raise ValueError("A ControlNet is loaded, so image= is needed: its condition picture.")
    if not isinstance(controlnet, SatMultiControlNet):
        return [read_condition(controlnet, value, prompts)]
    count = len(controlnet.nets)
    nested = isinstance(value, list | tuple) and value and isinstance(value[0], list | tuple)
    if nested:  # one list per prompt
        value = [[stack[k] for stack in value] for k in range(min(len(stack) for stack in value))]
    elif not isinstance(value, list | tuple):
        array = torch.as_tensor(value)
        value = list(array.split(1) if len(array) == count else array.split(array.shape[1] // count, dim=1))
    if len(value) != count:
        raise ValueError(f"image has {len(value)} pictures for {count} ControlNets: give one per net.")
    return [read_condition(net, part, prompts) for net, part in zip(controlnet.nets, value, strict=True)]


def fit_conditions(
    controlnet: Any, conditions: list[torch.Tensor], latent_size: tuple[int, int]
) -> list[torch.Tensor]:
    """Resize each condition to the resolution that its net expects for latents of ``latent_size`` (h, w)."""
    return [
        resize_frames(condition, (latent_size[0] * net.stride, latent_size[1] * net.stride))
        for net, condition in zip(nets(controlnet), conditions, strict=True)
    ]


def resize_frames(condition: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Condition ``[B, C, H, W]`` or ``[B, C, T, H, W]`` with sides of ``size``."""
    if condition.shape[-2:] == size:
        return condition
    if condition.ndim == 4:
        batch, channels = condition.shape[:2]
        if channels % 3:
            return resize(condition, size)
        return resize(condition.reshape(-1, 3, *condition.shape[-2:]), size).reshape(batch, channels, *size)
    frames = condition.transpose(1, 2)  # [B, T, C, H, W]
    return resize(frames.flatten(0, 1), size).unflatten(0, frames.shape[:2]).transpose(1, 2)


def nets(controlnet: Any) -> list[SatControlNet]:
    """The single ControlNets of a ControlNet."""
    return list(controlnet.nets) if isinstance(controlnet, SatMultiControlNet) else [controlnet]


def images_per_prompt(controlnet: Any, conditions: list[torch.Tensor]) -> int:
    """How many condition pictures each generated image has."""
    if len(conditions) > 1:
        return len(conditions)
    shape = conditions[0].shape
    return shape[2] if nets(controlnet)[0].temporal else max(shape[1] // 3, 1)


def read_cond_metadata(controlnet: Any, value: Any, count: int) -> torch.Tensor:
    """Metadata of the condition images: ``[B, 7]`` or ``[B, 7, T]``; one column per net where there are
    several.

    Args:
        controlnet: The ControlNet.
        value: A dict, one dict per image or per prompt, a list of lists (per prompt, per image), or
            normalised numbers ``[7]``, ``[B, 7]``, ``[7, T]``, ``[B, 7, T]`` (``[T, 7]`` where T is
            ``count``).
        count: T, the number of condition images of a prompt.
    """
    rows = _cond_rows(value, count)
    if isinstance(controlnet, SatMultiControlNet) and rows.ndim == 2:
        rows = rows[..., None].repeat(1, 1, count)
    return rows


def _cond_rows(value, count: int) -> torch.Tensor:
    name = "cond_metadata"
    listed = isinstance(value, list | tuple) and len(value) > 0
    if listed and isinstance(value[0], list | tuple) and isinstance(value[0][0], dict):
        return torch.stack([metadata_rows(list(rows), DIFFUSIONSAT, name).T for rows in value])
    if not isinstance(value, dict) and not (listed and isinstance(value[0], dict)):
        value = torch.as_tensor(value, dtype=torch.float32)
        if value.ndim == 3 and value.shape[1] == 7:
            return value
        if value.ndim == 2 and value.shape[0] == 7 and (value.shape[1] != 7 or count == 7):
            return value[None]
    rows = metadata_rows(value, DIFFUSIONSAT, name)
    return rows.T[None] if count > 1 and len(rows) == count else rows


def _is_stack(value) -> bool:
    """An array whose channels are already the net's: ``[B, C, H, W]`` with C other than 1, 3, 4."""
    return getattr(value, "ndim", 0) == 4 and value.shape[1] not in (1, 3, 4)


def _stacked(condition: torch.Tensor, channels: int, name: str) -> torch.Tensor:
    if condition.shape[1] != channels:
        raise ValueError(f"{name} has {condition.shape[1]} channels; this ControlNet takes {channels}.")
    return condition
