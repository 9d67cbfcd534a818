"""Train super-resolution networks: pairs of patches, a first guess, losses, and the loop as a generator."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from rs_course.superres import degradation
from rs_course.superres.distillation import distillation_loss, negative_psnr
from rs_course.superres.span import IMAGE_RANGE, SPAN


def pairs(images: np.ndarray, scale: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    """uint8 ``[M, H, W, 3]`` → uint8 low ``[M, 3, H/4, W/4]`` (bicubic) and high ``[M, 3, H, W]``."""
    high = degradation.modcrop(torch.from_numpy(images).permute(0, 3, 1, 2), scale).contiguous()
    low = torch.cat([degradation.bicubic(part.float() / 255, scale) for part in high.split(32)])
    return (low * 255).round().byte(), high


def batches(pools, *, batch: int, patch: int, seed: int, start: int = 0) -> Iterator[tuple]:
    """Yield (low, high) float patches, flipped and turned at random; step k depends on (seed, k) alone.

    Args:
        pools: List of (low, high) from :func:`pairs`; every pool is drawn from equally often.
        batch: Patches a step.
        patch: Side in low-resolution pixels.
        seed: Of the draws.
        start: First step.
    """
    step = start
    while True:
        draw = np.random.default_rng([seed, step])
        lows, highs = [], []
        for _ in range(batch):
            low, high = pools[draw.integers(len(pools))]
            scale, i = high.shape[-1] // low.shape[-1], draw.integers(len(low))
            y, x = draw.integers(low.shape[-2] - patch + 1), draw.integers(low.shape[-1] - patch + 1)
            turns, mirrored = int(draw.integers(4)), draw.integers(2)
            for images, factor, into in ((low, 1, lows), (high, scale, highs)):
                cut = images[i, :, y * factor : (y + patch) * factor, x * factor : (x + patch) * factor]
                cut = torch.rot90(cut.flip(-1) if mirrored else cut, turns, (-2, -1))
                into.append(cut)
        yield torch.stack(lows).float() / 255, torch.stack(highs).float() / 255
        step += 1


@torch.no_grad()
def start_as_interpolation(network: SPAN) -> SPAN:
    """Set a merged network's first weights so that it starts as a bilinear enlargement plus a little noise.

    SPAN has no shortcut from input to output and must otherwise learn to interpolate before anything else.
    After a minute on one core (UC Merced, a test of ours) it was 0.7 dB above bicubic this way, 1.6 dB
    below otherwise.
    """
    first, last, scale = network.conv_1.eval_conv, network.upsampler[0], network.scale
    offset = (torch.arange(scale) + 0.5) / scale - 0.5
    line = torch.stack([(-offset).clamp(min=0), 1 - offset.abs(), offset.clamp(min=0)], dim=1)
    kernel = torch.einsum("ai,bj->abij", line, line).reshape(scale**2, 3, 3)
    for layer in (first, network.conv_cat):
        layer.weight[:3] = 0
        layer.bias[:3] = 0
    last.weight *= 0.01
    for c in range(3):
        first.weight[c, c, 1, 1] = 1
        network.conv_cat.weight[c, c] = 1
        rows = slice(c * scale**2, (c + 1) * scale**2)
        last.weight[rows, c] = kernel / IMAGE_RANGE
        last.bias[rows] = network.mean[0, c]
    return network


def fit(
    network: torch.nn.Module,
    data: Callable[[int], Iterator[tuple]],
    loss: Callable[..., dict[str, torch.Tensor]],
    *,
    steps: int,
    rate: float,
    state_file: Path | None = None,
    save_every: float = 120.0,
    decay: float = 0.999,
) -> Iterator[tuple[int, dict[str, torch.Tensor]]]:
    """Train what is trainable in ``network``; a generator of (steps done, loss terms).

    Adam with a short warm-up and a cosine to 2 % of ``rate``. When the generator is exhausted, the network
    holds the exponential average of its weights.

    Args:
        network: Changed in place.
        data: Called with the first step to make; gives the iterator of (low, high).
        loss: Called with (network, low, high); returns a dict whose ``"total"`` is minimised.
        steps: Length of the schedule.
        rate: Largest learning rate.
        state_file: Where to keep the state, and to go on from.
        save_every: Seconds between two saves.
        decay: Of the average.
    """
    parameters = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=rate, betas=(0.9, 0.99))
    average, done = [p.detach().clone() for p in parameters], 0
    if state_file and state_file.exists():
        state = torch.load(state_file, weights_only=True)
        optimizer.load_state_dict(state["optimizer"])
        done, average = state["step"], state["average"]
        for p, value in zip(parameters, state["parameters"], strict=True):
            p.data.copy_(value)
    saved, stream = time.monotonic(), data(done)
    while done < steps:
        low, high = next(stream)
        cosine = 0.5 * (1 + math.cos(math.pi * done / steps))
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1, (done + 1) / 50) * max(0.02, cosine)
        terms = loss(network, low.contiguous(memory_format=torch.channels_last), high)
        optimizer.zero_grad(set_to_none=True)
        terms["total"].backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        done += 1
        # A young average forgets faster, or it would still hold the first weights at the end of a short run.
        torch._foreach_lerp_(average, [p.detach() for p in parameters], 1 - min(decay, done / (done + 10)))
        yield done, {name: term.detach() for name, term in terms.items()}
        if state_file and time.monotonic() - saved > save_every:
            saved = time.monotonic()
            state = {"optimizer": optimizer.state_dict(), "step": done, "average": average}
            torch.save(state | {"parameters": parameters}, state_file.with_suffix(".tmp"))
            state_file.with_suffix(".tmp").replace(state_file)
    for p, value in zip(parameters, average, strict=True):
        p.data.copy_(value)


def absolute(network, low, high, *, dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    """Mean absolute error, computed in ``dtype``: the faster one makes nearly twice the steps."""
    with torch.autocast(low.device.type, dtype, enabled=dtype != torch.float32):
        enlarged = network(low)
    return {"total": F.l1_loss(enlarged.float(), high)}


def decibels(network, low, high) -> dict[str, torch.Tensor]:
    """The score itself: negative PSNR of each patch in units of 100 dB."""
    return {"total": negative_psnr(network(low), high)}


def distilled(
    teacher: SPAN, weights: tuple[float, float, float], *, reconstruction: str = "l1"
) -> Callable[..., dict[str, torch.Tensor]]:
    """DSCLoRA's loss on the nine maps its repository returns: the convolutions of blocks 1 to 3.

    Args:
        teacher: Frozen; any width.
        weights, reconstruction: As in :func:`~rs_course.superres.distillation.distillation_loss`.
    """

    def loss(network, low, high):
        image, maps = network(low, return_features=True)
        with torch.no_grad():
            teacher_image, teacher_maps = teacher(low, return_features=True)
        return distillation_loss(
            image,
            teacher_image,
            high,
            maps["convolutions"],
            teacher_maps["convolutions"],
            weights=weights,
            reconstruction=reconstruction,
        )

    return loss
