"""How many images fit into the memory that is free now, and a bar that counts those that are made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch


def free_bytes(device: torch.device) -> int:
    """Memory that a process may still take on a device."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    import psutil

    return psutil.virtual_memory().available


def bytes_per_image(checkpoint, request) -> int:
    """Estimated activations of one image: the larger of the UNet's and the decoder's.

    Measured as the peak over the weights: a Stable Diffusion UNet on 64×64 latents holds 46 to 52 maps of its
    first width per evaluation, a decoder 13 to 16 maps of its own first width at full size.
    """
    height, width = request.size
    pixels = height * width
    unet, vae = checkpoint.unet, checkpoint.vae
    halves = 2 if request.guided else 1
    copies = 1 + (checkpoint.controlnet is not None)
    unet_maps = 52 * unet.config.block_out_channels[0] * halves * copies * pixels // checkpoint.vae_factor**2
    decoder_maps = 16 * vae.config.block_out_channels[0] * pixels
    return max(unet_maps, decoder_maps) * checkpoint.dtype.itemsize


def batch_that_fits(checkpoint, request, largest: int = 64) -> int:
    """Images per pass: at most ``largest``, and at most half of the free memory by estimate.

    Raises:
        RuntimeError: On a CPU, where the system would end the process: not even one image fits.
    """
    free, one = free_bytes(checkpoint.device), bytes_per_image(checkpoint, request)
    if checkpoint.device.type == "cpu" and one > free:
        raise out_of_memory(checkpoint, request)
    return max(1, min(largest, request.count, free // 2 // one))


def out_of_memory(checkpoint, request) -> RuntimeError:
    """The error for when even one image does not fit."""
    height, width = request.size
    free = free_bytes(checkpoint.device) / 2**30
    return RuntimeError(
        f"One image of {height}×{width} does not fit into the {free:.1f} GiB that are free on "
        f"{checkpoint.device}: ask for a smaller size, load with dtype='bfloat16', or free memory first."
    )


@contextmanager
def progress_bar(
    count: int, steps: int, shown: bool | Callable[[float], None]
) -> Iterator[Callable[[int], None]]:
    """Yields ``advance(batch)``, to be called after each step of a batch.

    Args:
        count: Images in all.
        steps: Steps of each.
        shown: Whether to show a bar; or a function that is told how many images were made since its last
            call, in fractions.
    """
    if callable(shown):
        yield lambda batch: shown(batch / steps)
    elif shown:
        with image_bar(count) as advance:
            yield lambda batch: advance(batch / steps)
    else:
        yield lambda batch: None


@contextmanager
def image_bar(total: int, done: int = 0) -> Iterator[Callable[[float], None]]:
    """A bar over ``total`` images, of which some are there already; yields ``advance(images)``."""
    from tqdm.auto import tqdm

    form = "{desc}{percentage:3.0f}%|{bar}| {n:.0f}/{total} images [{rate_fmt}, {remaining} left]"
    # The caller asked for it, so TQDM_DISABLE, which silences the bars of libraries, does not count here.
    with tqdm(total=total, initial=done, unit="image", bar_format=form, disable=False) as bar:
        # Fractions of images may add up to a little more than the total.
        yield lambda images: bar.update(min(images, total - bar.n))
