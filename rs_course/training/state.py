"""The state of an unfinished training on disk, from which the same call goes on."""

from __future__ import annotations

from pathlib import Path

import torch

from rs_course.diffusion.learning import EMA

STATE = "training.pt"


def save_state(out: Path, model, ema: EMA, optimizer, **numbers) -> None:
    """Write weights, averaged weights and optimiser, with numbers such as ``step``; whole or not at all."""
    parts = {"model": model, "ema": ema.model, "optimizer": optimizer}
    state = {name: part.state_dict() for name, part in parts.items()}
    partial = out / (STATE + ".part")
    torch.save({**state, **numbers}, partial)
    partial.replace(out / STATE)


def restore_state(out: Path, model, ema: EMA, optimizer) -> dict | None:
    """Fill the parts from what :func:`save_state` left and return its numbers; ``None`` without a file."""
    if not (out / STATE).exists():
        return None
    state = torch.load(out / STATE, weights_only=True)
    for name, part in {"model": model, "ema": ema.model, "optimizer": optimizer}.items():
        part.load_state_dict(state.pop(name))
    return state
