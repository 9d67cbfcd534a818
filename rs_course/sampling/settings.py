"""What is the same for all images of a call, checked."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np


@dataclass
class Settings:
    """Arguments of ``sample`` that no image has for itself; ``Checkpoint.sample`` says what each means.

    Attributes:
        guidance_interval: (low, high): guidance acts only while t/T lies between, 1 being pure noise.
        guess_mode: The ControlNet, or CRS-Diff's maps, speak to the conditional half alone.
    """

    steps: int | None = None
    guidance: float | None = None
    sampler: str | None = None
    eta: float = 0.0
    strength: float = 1.0
    control_strength: float | list[float] = 1.0
    content_strength: float = 1.0
    guidance_interval: tuple[float, float] | None = None
    guess_mode: bool | None = None

    @property
    def guided(self) -> bool:
        """Whether classifier-free guidance runs."""
        return self.guidance > 1


NAMES = tuple(field.name for field in fields(Settings))


def read_settings(checkpoint, **given) -> Settings:
    """Complete what was given with the checkpoint's own settings.

    Raises:
        ValueError: A number out of its range.
    """
    settings = Settings(**given)
    for name, value in {"guidance_interval": (0.0, 1.0), "guess_mode": False, **checkpoint.defaults}.items():
        if name in NAMES and getattr(settings, name) is None:
            setattr(settings, name, value)
    if settings.guess_mode and checkpoint.controlnet is None:
        raise ValueError("This checkpoint was loaded without a ControlNet or maps: leave guess_mode out.")
    if (built_in := checkpoint.settings.get("distilled_guidance")) and settings.guided:
        raise ValueError(
            f"guidance {settings.guidance:g} cannot be added: this checkpoint has guidance {built_in:g} "
            "distilled into its weights. Leave guidance= out, or take its teacher."
        )
    steps, strength = settings.steps, settings.strength
    trained = checkpoint.scheduler.config.num_train_timesteps
    if not isinstance(steps, int | np.integer) or isinstance(steps, bool) or not 1 <= steps <= trained:
        raise ValueError(f"steps is {steps!r}; it must be a whole number, 1 to {trained}.")
    if not 0 <= strength <= 1 or int(steps * strength) < 1:
        raise ValueError(
            f"strength is {strength}; it is the share of the {steps} steps that is run, above 0 and at most "
            "1, and must leave at least one step."
        )
    low, high = settings.guidance_interval
    if not 0 <= low < high <= 1:
        raise ValueError(
            f"guidance_interval is {settings.guidance_interval}; it is (low, high) with 0 <= low < high <= 1."
        )
    return settings
