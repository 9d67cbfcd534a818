"""The sampling loop, the same for every family of generators, in batches that fit into the memory that is
free."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import signature
from numbers import Integral
from typing import TYPE_CHECKING, Any

import torch

from rs_course.checkpoints.prompts import warn_if_cut

from .request import SETTINGS, Request, Settings, read_request, read_settings, take
from .samplers import Edit, make_sampler, noise_source, plan, step

if TYPE_CHECKING:
    from rs_course.checkpoints.checkpoint import Checkpoint


@dataclass
class Step:
    """State of a batch after one step.

    Attributes:
        index: 0 for the first step.
        t: The timestep that was left.
        latents: ``[N, C, h, w]`` after the step.
        prediction: The UNet's (guided) output, ``[N, C, h, w]``.
    """

    index: int
    t: float
    latents: torch.Tensor
    prediction: torch.Tensor


def sample(
    checkpoint: Checkpoint,
    prompts: str | Sequence[str],
    *,
    output: str = "image",
    batch_size: int | None = None,
    start: int = 0,
    progress: Any = False,
    **arguments,
) -> torch.Tensor:
    """Generate images. ``Checkpoint.sample`` documents the arguments; these are the engine's own:

    Args:
        checkpoint: A ``rs_course.checkpoints.Checkpoint``.
        prompts: As in ``Checkpoint.sample``.
        output: ``"image"`` or ``"latent"``.
        batch_size: Images per pass; ``None`` takes as many as the free memory allows. It does not change the
            images.
        start: Index of the first image: with ``start=8``, image j is image 8 + j of the same seed.
        progress: Show a progress bar with images per second and the time left; or a function that is called
            with the number of images made since its last call, in fractions.
        arguments: As in ``Checkpoint.sample``, and two more. ``guidance_interval=(low, high)`` guides only
            while t/T lies between, 1 being pure noise: guidance at the ends costs variety and time
            (Kynkäänniemi et al. 2024, arXiv 2404.07724). ``guess_mode=True`` lets the ControlNet (softer
            in its first layers) or CRS-Diff's maps speak to the conditional half alone: guidance then
            strengthens them too, and they lead without a prompt (Zhang et al. 2023, arXiv 2302.05543).

    Returns:
        float32 ``[N, 3, H, W]`` in [0, 1], or latents ``[N, C, h, w]``, on the CPU.

    Raises:
        ValueError: NaN instead of an image, besides what ``Checkpoint.sample`` names.
    """
    if output not in ("image", "latent"):
        raise ValueError(f"output is {output!r}; choose 'image' or 'latent'.")
    request, settings, source = _read(checkpoint, prompts, **arguments)
    if batch_size is not None and (not isinstance(batch_size, Integral) or batch_size < 1):
        raise ValueError(f"batch_size is {batch_size!r}; it is a number of images from 1 on, or None.")
    size = batch_size or batch_that_fits(checkpoint, request)
    results, done = [], 0
    with progress_bar(request.count, settings.steps, progress) as advance:
        while done < request.count:
            stop = min(done + size, request.count)
            try:
                # Inference tensors are the fastest; torch.cat below makes ordinary ones, fit for training on.
                with torch.inference_mode():
                    for state in _denoise(checkpoint, request, settings, source, done, stop, start):
                        latents = state.latents
                        advance(stop - done)
                    latents = _finite(latents, checkpoint.dtype, "UNet")
                    results.append(latents.cpu() if output == "latent" else decode(checkpoint, latents).cpu())
                done = stop
            except torch.OutOfMemoryError:
                if size == 1:
                    raise out_of_memory(checkpoint, request) from None
                # No image depends on its batch, so that a smaller one may take over.
                size = math.ceil(size / 2)
    return torch.cat(results)


def describe(checkpoint: Checkpoint, prompts: str | Sequence[str], metadata: Any = None, **arguments) -> dict:
    """What :func:`sample` would do with these arguments: all of them checked, nothing computed.

    Warns about prompts that are longer than the text encoder reads.

    Returns:
        The settings that shape an image besides its prompt, metadata and seed, with the checkpoint's defaults
        filled in, as JSON can hold them.
    """
    request, settings, _ = _read(checkpoint, prompts, metadata=metadata, **arguments)
    warn_if_cut(checkpoint.tokenizer, checkpoint.text_encoder, [*request.rows["text"], *request.negative])
    scheduler, eta = make_sampler(
        checkpoint.scheduler, settings.sampler, settings.eta, request.family.solver_options
    )
    return {
        "sampler": settings.sampler or type(scheduler).__name__,
        "steps": int(settings.steps),
        "eta": eta,
        "guidance": float(settings.guidance),
        "guidance_interval": list(settings.guidance_interval),
        "negative_prompt": request.negative[0] if len(request.negative) == 1 else request.negative,
        "size": list(request.size),
        "dtype": str(checkpoint.dtype).removeprefix("torch."),
    }


@torch.no_grad()
def trajectory(
    checkpoint: Checkpoint, prompts: str | Sequence[str], *, start: int = 0, **arguments
) -> Iterator[Step]:
    """The steps of one batch, as a generator; arguments as in ``Checkpoint.sample``."""
    request, settings, source = _read(checkpoint, prompts, **arguments)
    yield from _denoise(checkpoint, request, settings, source, 0, request.count, start)


@torch.no_grad()
def decode(checkpoint: Checkpoint, latents: torch.Tensor) -> torch.Tensor:
    """Latents ``[N, C, h, w]`` to float32 images ``[N, 3, H, W]`` in [0, 1].

    Raises:
        ValueError: NaN, as of an autoencoder that leaves the range of float16.
    """
    vae = checkpoint.vae
    latents = latents.to(next(vae.parameters()))
    decoded = _finite(vae.decode(latents / vae.config.scaling_factor).sample.float(), latents.dtype, "VAE")
    return (decoded / 2 + 0.5).clamp(0, 1)


def _finite(values: torch.Tensor, dtype: torch.dtype, part: str) -> torch.Tensor:
    """The values; NaN is no image, and would be stored as black."""
    if torch.isfinite(values).all():
        return values
    cure = "take another sampler or steps"
    if dtype == torch.float16:
        cure = "load the checkpoint with dtype='bfloat16' or 'float32'"
    raise ValueError(
        f"The {part} gave NaN or infinity instead of an image ({str(dtype).removeprefix('torch.')}): {cure}."
    )


# What the arguments of diffusers' pipelines are called here, and where all are named.
_DIFFUSERS = {
    "prompt": "prompts", "num_inference_steps": "steps", "guidance_scale": "guidance", "generator": "seed",
    "height": "size", "width": "size", "output_type": "output", "scheduler": "sampler",
    "controlnet_conditioning_scale": "control_strength", "mask_image": "mask",
}  # fmt: skip
_ALL = "help(Checkpoint.sample) names all"


def _read(checkpoint, prompts, *, seed=0, **arguments):
    own = {name: arguments.pop(name) for name in SETTINGS if name in arguments}
    if unknown := arguments.keys() - signature(read_request).parameters.keys():
        name = min(unknown)
        told = f"diffusers' {name} is {_DIFFUSERS[name]} here" if name in _DIFFUSERS else _ALL
        raise TypeError(f"sample() has no argument {name!r}: {told}.")
    settings = read_settings(checkpoint, **own)
    request = read_request(checkpoint, prompts, guided=settings.guided, **arguments)
    return request, settings, noise_source(seed)


def _denoise(checkpoint, request: Request, settings: Settings, source, first, last, start) -> Iterator[Step]:
    """Run the sampler for images ``first..last - 1`` of the request; one :class:`Step` per sampler step."""
    device, dtype, predict = checkpoint.device, checkpoint.dtype, request.family.predict
    scheduler, eta = make_sampler(
        checkpoint.scheduler, settings.sampler, settings.eta, request.family.solver_options
    )
    timesteps = plan(scheduler, settings.steps)
    if settings.strength < 1:
        skipped = (settings.steps - int(settings.steps * settings.strength)) * scheduler.order
        timesteps = timesteps[skipped:]
        if hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(skipped)

    shape = (last - first, checkpoint.vae.config.latent_channels, *request.latent_size(checkpoint))
    picture, mask, latents = (
        None if rows is None else take(rows, first, last).to(device)
        for rows in (request.image, request.mask, request.latents)
    )

    def initial_noise():
        return source.initial(shape, start + first).to(device) if latents is None else latents

    def step_noise(k):
        return source.step(shape, start + first, k).to(device)

    given = {"picture": picture, "mask": mask, "noise": initial_noise, "strength": settings.strength}
    edit = Edit(checkpoint, request.size, source, scheduler, timesteps, **given)
    cond, cond_uncond = _conditioning(checkpoint, request, settings, first, last)
    own = getattr(source, "generators", None)
    generators = own(last - first, start + first) if own else None
    low, high = (bound * scheduler.config.num_train_timesteps for bound in settings.guidance_interval)
    x = edit.initial
    for index, t in enumerate(timesteps):
        seen = edit.with_picture(scheduler.scale_model_input(x, t)).to(dtype)
        if cond_uncond is not None and low <= float(t) <= high:
            pair = predict(checkpoint, torch.cat([seen, seen]), t, cond_uncond, settings.control_strength)
            noise_pred_uncond, noise_pred_cond = pair.float().chunk(2)
            noise_pred = noise_pred_uncond + settings.guidance * (noise_pred_cond - noise_pred_uncond)
        else:
            noise_pred = predict(checkpoint, seen, t, cond, settings.control_strength).float()
        x = step(scheduler, noise_pred, t, x, eta, step_noise, index, generators)
        x = edit.keep_outside(x, index)
        yield Step(index, float(t), x, noise_pred)


def _conditioning(checkpoint, request: Request, settings: Settings, first: int, last: int):
    """What the model is told about images ``first..last - 1``: with the condition, and (under guidance) both
    without and with it, stacked.
    """
    device, encoded = checkpoint.device, []
    for rows, heard in zip(request.batch(first, last), (1.0, 0.0), strict=False):
        rows = {key: _to(value, device) for key, value in rows.items()}
        if settings.guess_mode:
            rows["heard"] = torch.full((last - first, 1, 1, 1), heard, device=device)
        encoded.append(request.family.encode(checkpoint, rows, settings.content_strength))
    return encoded[0], _stack(encoded[1], encoded[0]) if request.guided else None


def _to(value, device):
    if isinstance(value, list):
        return [_to(part, device) for part in value]
    return value.to(device) if isinstance(value, torch.Tensor) else value


def _stack(first, second):
    """Two batches in one: tensors, lists of tensors and dicts of either."""
    if isinstance(second, dict):
        return {key: _stack(first[key], value) for key, value in second.items()}
    if isinstance(second, list):
        return [_stack(a, b) for a, b in zip(first, second, strict=True)]
    return torch.cat([first, second])


def free_bytes(device: torch.device) -> int:
    """Memory that a process may still take on a device."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    import psutil

    return psutil.virtual_memory().available


def bytes_per_image(checkpoint: Checkpoint, request: Request) -> int:
    """Estimated activations of one image: the larger of the UNet's and the decoder's.

    Measured as the peak over the weights: a Stable Diffusion UNet on 64×64 latents holds 46 to 52 maps of its
    first width per evaluation, a decoder 13 to 16 maps of its own first width at full size.
    """
    pixels = math.prod(request.size)
    unet, decoder = (part.config.block_out_channels[0] for part in (checkpoint.unet, checkpoint.vae))
    copies = (1 + request.guided) * (1 + (checkpoint.controlnet is not None))
    unet_maps = 52 * unet * copies * pixels // checkpoint.vae_factor**2
    decoder_maps = 16 * decoder * pixels
    return max(unet_maps, decoder_maps) * checkpoint.dtype.itemsize


def batch_that_fits(checkpoint: Checkpoint, request: Request) -> int:
    """Images per pass: at most 64, and at most half of the free memory by estimate.

    Raises:
        RuntimeError: On a CPU, where the system would end the process: not even one image fits.
    """
    free, one = free_bytes(checkpoint.device), bytes_per_image(checkpoint, request)
    if checkpoint.device.type == "cpu" and one > free:
        raise out_of_memory(checkpoint, request)
    return max(1, min(64, request.count, free // 2 // one))


def out_of_memory(checkpoint: Checkpoint, request: Request) -> RuntimeError:
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
