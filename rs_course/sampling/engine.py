"""The sampling loop, the same for every family of generators."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from .memory import batch_that_fits, out_of_memory
from .noise import noise_source
from .progress import progress_bar
from .request import Request, read_request, take
from .samplers import make_sampler, step


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


@dataclass
class Settings:
    """What is the same for all images of a call."""

    steps: int
    guidance: float
    sampler: str | None
    eta: float
    strength: float
    control_strength: float | list[float]
    content_strength: float
    interval: tuple[float, float]
    guess_mode: bool


@torch.inference_mode()
def sample(
    checkpoint, prompts, *, output="image", batch_size=None, start=0, progress=False, **arguments
) -> torch.Tensor:
    """Generate images. ``Checkpoint.sample`` documents the arguments; these are the engine's own:

    Args:
        checkpoint: A ``rs_course.checkpoints.Checkpoint``.
        prompts: As in ``Checkpoint.sample``.
        output: ``"image"`` or ``"latent"``.
        batch_size: Images per pass; ``None`` takes as many as the free memory allows. It does not change the
            images.
        start: Index of the first image: with ``start=8``, image j is image 8 + j of the same seed.
        progress: Show a progress bar with images per second.
        arguments: As in ``Checkpoint.sample``, and two more. ``guidance_interval=(low, high)`` guides only
            while t/T lies between, 1 being pure noise: guidance at the ends costs variety and time
            (Kynkäänniemi et al. 2024, arXiv 2404.07724). ``guess_mode=True`` lets the ControlNet speak to the
            conditional half alone, softer in its first layers, so that it leads without a prompt (Zhang et
            al. 2023, arXiv 2302.05543).

    Returns:
        float32 ``[N, 3, H, W]`` in [0, 1], or latents ``[N, C, h, w]``, on the CPU.
    """
    if output not in ("image", "latent"):
        raise ValueError(f"output is {output!r}; choose 'image' or 'latent'.")
    request, settings, source = _read(checkpoint, prompts, **arguments)
    size = batch_size or batch_that_fits(checkpoint, request)
    results, done = [], 0
    with progress_bar(request.count, settings.steps, progress) as advance:
        while done < request.count:
            stop = min(done + size, request.count)
            try:
                for state in _denoise(checkpoint, request, settings, source, done, stop, start):
                    latents = state.latents
                    advance(stop - done)
                results.append(latents.cpu() if output == "latent" else decode(checkpoint, latents).cpu())
            except torch.OutOfMemoryError:
                if size == 1:
                    raise out_of_memory(checkpoint, request) from None
                size = math.ceil(
                    size / 2
                )  # image i does not depend on the batch, so the batch is simply repeated
                continue
            done = stop
    return torch.cat(results)


@torch.inference_mode()
def trajectory(checkpoint, prompts, *, start=0, **arguments) -> Iterator[Step]:
    """The steps of one batch, as a generator; arguments as in ``Checkpoint.sample``."""
    request, settings, source = _read(checkpoint, prompts, **arguments)
    yield from _denoise(checkpoint, request, settings, source, 0, request.count, start)


@torch.inference_mode()
def decode(checkpoint, latents: torch.Tensor) -> torch.Tensor:
    """Latents ``[N, C, h, w]`` to float32 images ``[N, 3, H, W]`` in [0, 1]."""
    vae = checkpoint.vae
    decoded = vae.decode(latents.to(vae.device, vae.dtype) / vae.config.scaling_factor).sample
    return (decoded.float() / 2 + 0.5).clamp(0, 1)


def _read(
    checkpoint,
    prompts,
    *,
    metadata=None,
    image=None,
    mask=None,
    conditions=None,
    cond_metadata=None,
    negative_prompt=None,
    steps=None,
    guidance=None,
    sampler=None,
    eta=0.0,
    size=None,
    strength=1.0,
    control_strength=1.0,
    content_strength=1.0,
    seed=0,
    latents=None,
    guidance_interval=None,
    guess_mode=False,
):
    defaults = checkpoint.defaults
    steps = defaults["steps"] if steps is None else steps
    guidance = defaults["guidance"] if guidance is None else guidance
    train = checkpoint.scheduler.config.num_train_timesteps
    if not isinstance(steps, int | np.integer) or isinstance(steps, bool) or not 1 <= steps <= train:
        raise ValueError(f"steps is {steps!r}; it must be a whole number, 1 to {train}.")
    if not 0 <= strength <= 1 or int(steps * strength) < 1:
        raise ValueError(
            f"strength is {strength}; it is the share of the {steps} steps that is run, above 0 and at most "
            "1, and must leave at least one step."
        )
    interval = defaults.get("guidance_interval") if guidance_interval is None else guidance_interval
    low, high = interval or (0.0, 1.0)
    if not 0 <= low < high <= 1:
        raise ValueError(
            f"guidance_interval is {guidance_interval}; it is (low, high) with 0 <= low < high <= 1."
        )
    request = read_request(
        checkpoint,
        prompts,
        metadata=metadata,
        image=image,
        mask=mask,
        conditions=conditions,
        cond_metadata=cond_metadata,
        negative_prompt=negative_prompt,
        guidance=guidance,
        size=size,
        latents=latents,
    )
    settings = Settings(
        steps, guidance, sampler, eta, strength, control_strength, content_strength, (low, high), guess_mode
    )
    return request, settings, noise_source(seed)


def _denoise(checkpoint, request: Request, settings: Settings, source, first, last, start) -> Iterator[Step]:
    """Run the sampler for images ``first..last - 1`` of the request; one :class:`Step` per model call."""
    device, dtype = checkpoint.unet.device, checkpoint.unet.dtype
    scheduler, eta = make_sampler(
        checkpoint.scheduler, settings.sampler, settings.eta, request.family.solver_options
    )
    scheduler.set_timesteps(settings.steps, device=device)
    timesteps = scheduler.timesteps
    if settings.strength < 1:
        skipped = max(settings.steps - int(settings.steps * settings.strength), 0)
        timesteps = timesteps[skipped * scheduler.order :]
        if hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(skipped * scheduler.order)

    given, both = _conditioning(checkpoint, request, settings, first, last)
    edit = Edit(checkpoint, request, source, scheduler, timesteps, first, last, start, settings.strength)
    x = edit.initial
    low, high = (bound * scheduler.config.num_train_timesteps for bound in settings.interval)
    for index, t in enumerate(timesteps):
        scaled = edit.with_picture(scheduler.scale_model_input(x, t)).to(dtype)
        if both is not None and low <= float(t) <= high:
            doubled = request.family.predict(
                checkpoint, torch.cat([scaled, scaled]), t, both, settings.control_strength
            )
            without, told = doubled.float().chunk(2)
            prediction = without + settings.guidance * (told - without)
        else:
            prediction = request.family.predict(
                checkpoint, scaled, t, given, settings.control_strength
            ).float()
        noise = lambda k=index: source.step(x.shape, start + first, k).to(device)  # noqa: B023, E731
        x = step(scheduler, prediction, t, x, eta, noise)
        x = edit.keep_outside(x, index)
        yield Step(index, float(t), x, prediction)


def _conditioning(checkpoint, request: Request, settings: Settings, first: int, last: int):
    """What the model is told about images ``first..last - 1``: alone, and (under guidance) behind what it is
    told without the condition.
    """
    halves = []
    for rows in request.batch(first, last):
        if rows is not None:
            rows = {key: _to(value, checkpoint.unet.device) for key, value in rows.items()}
            halves.append(request.family.encode(checkpoint, rows, settings.content_strength))
    if settings.guess_mode:
        for half, heard in zip(halves, (1.0, 0.0), strict=False):
            half["heard"] = torch.full((last - first, 1, 1, 1), heard, device=checkpoint.unet.device)
    return halves[0], _join(halves[1], halves[0]) if len(halves) == 2 else None


class Edit:
    """What a picture and a mask change in the loop: where it starts, what the UNet sees, what is put back.

    A UNet with nine channels sees the mask and the masked picture (inpainting); with four, the picture
    outside the mask is put back after every step at the right noise level. Without a mask, strength below 1
    is SDEdit (Meng et al. 2022, arXiv 2108.01073).
    """

    def __init__(self, checkpoint, request, source, scheduler, timesteps, first, last, start, strength):
        vae, unet = checkpoint.vae, checkpoint.unet
        device = unet.device
        channels = vae.config.latent_channels
        shape = (last - first, channels, *(side // checkpoint.vae_factor for side in request.size))
        rows = lambda value: None if value is None else take(value, first, last).to(device)  # noqa: E731
        picture, mask, latents = rows(request.image), rows(request.mask), rows(request.latents)
        sees_picture = unet.config.in_channels == 2 * channels + 1

        def encode(image):
            latents = source.encode(vae.encode((image * 2 - 1).to(vae.dtype)).latent_dist)
            return latents.float() * vae.config.scaling_factor

        from_picture = picture is not None and (strength < 1 or mask is None)
        self.picture = None
        if picture is not None and (from_picture or not sees_picture):
            self.picture = encode(picture)
        self.noise = source.initial(shape, start + first).to(device) if latents is None else latents
        if from_picture:
            self.initial = scheduler.add_noise(
                self.picture, self.noise, timesteps[:1].expand(len(self.noise))
            )
        else:
            self.initial = self.noise * scheduler.init_noise_sigma

        self.scheduler, self.timesteps = scheduler, timesteps
        self.extra, self.mask = None, None
        if mask is not None:
            self.mask = F.interpolate(mask, size=shape[-2:])
        if sees_picture:
            if mask is None:  # everything is to be painted, nothing is known
                self.mask = torch.ones(len(self.noise), 1, *shape[-2:], device=device)
                hidden = torch.full((len(self.noise), 3, *request.size), 0.5, device=device)
            else:
                hidden = torch.where(mask < 0.5, picture, torch.full_like(picture, 0.5))
            self.extra = torch.cat([self.mask, encode(hidden)], dim=1)

    def with_picture(self, x: torch.Tensor) -> torch.Tensor:
        """The UNet's input: latents, and for nine channels also mask and masked picture."""
        return x if self.extra is None else torch.cat([x, self.extra], dim=1)

    def keep_outside(self, x: torch.Tensor, index: int) -> torch.Tensor:
        """Put the picture back where the mask is 0, at the noise level that the next step expects."""
        if self.extra is not None or self.mask is None:
            return x
        known = self.picture
        if index + 1 < len(self.timesteps):
            known = self.scheduler.add_noise(known, self.noise, self.timesteps[index + 1].reshape(1))
        return (1 - self.mask) * known + self.mask * x


def _to(value, device):
    if isinstance(value, list):
        return [_to(part, device) for part in value]
    return value.to(device) if isinstance(value, torch.Tensor) else value


def _join(first: dict, second: dict) -> dict:
    """Stack two halves: every tensor, and every tensor of a list."""
    return {
        key: [torch.cat(pair) for pair in zip(first[key], value, strict=True)]
        if isinstance(value, list)
        else torch.cat([first[key], value])
        for key, value in second.items()
    }
