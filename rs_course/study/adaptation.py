"""A generator that has seen nothing real but a few shots: the simulated Earth's, trained on for minutes.

A generator that was trained on all real tiles may hand a few-shot classifier what it remembers of them. The
same network, trained on the simulated Earth alone and then on the very shots that the classifier has, cannot;
the difference is the borrowed memory. Its autoencoder and its text tower are shared parts and know real
tiles, which is measured apart (:func:`rs_course.classification.recipes.round_trip`).
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.optim.lr_scheduler import LambdaLR

if TYPE_CHECKING:
    from rs_course.classification.sets import Tiles

LR, BATCH, EMA_DECAY, DROP = 3e-4, 32, 0.99, 0.1


def prompt(name: str) -> str:
    """What the adapted generator is told of a class, and asked for."""
    from rs_course.checkpoints.prompts import parse_level
    from rs_course.datasets import class_prompt
    from rs_course.datasets.simulated import PHRASES

    if name in PHRASES:
        return parse_level(class_prompt(name, "eurosat"))[1]
    return f"a satellite image of {re.sub(r'(?<=[a-z])(?=[A-Z])|[-_]', ' ', name).lower()}"


def adapt(out: str | Path, checkpoint: str, shots: Tiles, *, steps: int, seed: int = 0) -> Path:
    """Train a checkpoint of the DiffusionSat family on some real tiles.

    Args:
        out: Folder of the new checkpoint; one that is complete is kept.
        checkpoint: Name or folder, such as ``"mini-diffusionsat"``.
        shots: :class:`rs_course.classification.Tiles`, in four views each (turned and mirrored).
        steps: Gradient steps of 32 tiles.
        seed: Of batches and noise.

    Returns:
        The folder.

    Raises:
        ValueError: A checkpoint of another family, or fewer than one step.
    """
    from rs_course import checkpoints
    from rs_course.checkpoints.diffusionsat import SatUNet
    from rs_course.checkpoints.loading import locate
    from rs_course.diffusion.process import denoising_loss
    from rs_course.training import diffusionsat, latent
    from rs_course.training_loop import EMA, optimize, run

    out = Path(out)
    if (out / "model_index.json").is_file():  # written last
        return out
    if steps < 1:
        raise ValueError(f"adaptation = {steps}: give at least one step.")
    base = checkpoints.load(checkpoint, dtype=torch.float32)
    if not isinstance(base.unet, SatUNet):
        raise ValueError(
            f"{checkpoint} is of the family {base.family}: adapted sets start from diffusionsat."
        )
    text = latent.TextStates(base.text_encoder).requires_grad_(False)
    sentences = [prompt(shots.classes[k]) for k in shots.labels] + [""]
    words = latent.tokens(base.tokenizer)(sentences)
    encoded = latent.encode(base.vae, shots.images, views=latent.VIEWS)
    unet = latent.with_plain_attention(base.unet).requires_grad_(True).train()

    def batches():
        for step in range(steps):
            draw = np.random.default_rng([seed, step])
            rows, views = draw.integers(len(shots), size=BATCH), draw.integers(latent.VIEWS, size=BATCH)
            told = np.where(draw.random(BATCH) < DROP, len(shots), rows)  # the last sentence is empty
            yield encoded[rows, views].float(), words[told], torch.zeros(BATCH, 7)

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.unet = unet

        def forward(self, x, t, ids, metadata):
            return self.unet(x, t, text(ids), metadata=metadata).sample

    network = Network()
    ema = EMA(network, EMA_DECAY)
    optimizer = torch.optim.AdamW(network.parameters(), lr=LR, weight_decay=1e-2, fused=True)
    loss = denoising_loss(network, latent.schedule(), prediction_type="v", seed=seed)
    falling = LambdaLR(optimizer, lambda step: 1 - step / steps)
    run(optimize(network, batches(), loss, optimizer, scheduler=falling, ema=ema, clip_norm=1.0))
    latent.save_pipeline(out, ema.module.unet, diffusionsat.PIPELINE, _beside(out, Path(locate(checkpoint))))
    return out


def _beside(out: Path, base: Path) -> dict[str, Path]:
    """The other parts of a checkpoint, copied beside the new one, which may take them from nowhere else."""
    from rs_course.checkpoints.layout import shared_parts

    found, shared = {}, shared_parts(base)
    for part in ("vae", "text_encoder", "tokenizer"):
        found[part] = out.parent / f"{base.name}-{part}"
        if not found[part].is_dir():
            partial = out.parent / f".{base.name}-{part}.{os.getpid()}"
            shutil.copytree(shared.get(part, base / part), partial)
            os.replace(partial, found[part])
    return found
