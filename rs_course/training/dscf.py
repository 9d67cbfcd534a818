"""mini-dscf: our own weights in DSCF's official layout, by DSCLoRA's two-stage recipe (arXiv 2504.11271).

    teacher, student           SPAN with 48 and 26 channels              mean absolute error
    teacher-fine, student-fine the same                                  PSNR itself
    lora                       student frozen + ConvLoRA                 truth + teacher's image + affinities
    polish                     the same factors, large patches           PSNR itself

The factors are then merged, so that the result is an ordinary 26-channel network of 130,828 parameters.
The paper's loss weights and step counts are not published in its repository; those below are ours, for
minutes on a CPU.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rs_course import precision, seeds
from rs_course.files import write_json
from rs_course.superres import conv_lora, learning
from rs_course.superres.degradation import high_resolution
from rs_course.superres.networks import SPAN
from rs_course.training_loop import EMA, Budget

MINUTES = 60
# Training scenes: places of the data set's train split that its first 50,000 tiles per class do not use.
SCENES, FIRST_SCENE = 400, 50_000


@dataclass(frozen=True)
class Stage:
    """One row of the recipe.

    Attributes:
        network: ``"teacher"`` or ``"student"``.
        loss: ``"absolute"`` (in bfloat16), ``"decibels"`` or ``"distilled"``.
        share: Of the whole time.
        lr: Largest learning rate.
        patch: Side of a low-resolution patch.
        batch_size: Patches a step.
    """

    network: str
    loss: str
    share: float
    lr: float
    patch: int = 32
    batch_size: int = 16


RECIPE = {
    "teacher": Stage("teacher", "absolute", 0.30, 1e-3),
    "teacher-fine": Stage("teacher", "decibels", 0.10, 5e-4, batch_size=12),
    "student": Stage("student", "absolute", 0.28, 2e-3),
    "student-fine": Stage("student", "decibels", 0.20, 1e-3, batch_size=12),
    "lora": Stage("student", "distilled", 0.09, 1e-3, patch=24, batch_size=8),
    "polish": Stage("student", "decibels", 0.03, 5e-4, patch=64, batch_size=4),
}
# (λ1, λ2, λ3) of truth, teacher, affinity in stage "lora".
WEIGHTS = (0.5, 0.5, 0.004)


def train(
    out: str | Path,
    *,
    minutes: float | None = MINUTES,
    seed: int = 0,
    resume: bool = True,
    data: Any = None,
    pools: Any = None,
    recipe: Any = RECIPE,
) -> SPAN:
    """Run the recipe; write ``out/model.safetensors`` (official key names), the factors, the teacher.

    Args:
        out: Folder; the states and logs of the stages and the teacher lie in ``out/state``.
        minutes: Time for all stages together.
        seed: Decides initial weights and batches.
        resume: Go on from ``out/state``; otherwise start again.
        data: Name, folder or archive of real images at least 256 pixels wide, mixed half and half with
            simulated scenes (mini-dscf: UC Merced); ``None`` for simulated scenes alone.
        pools: List of (low, high) from :func:`rs_course.superres.learning.pairs`, instead of ``data``.
        recipe: Stages by name.

    Returns:
        The trained network, merged.
    """
    from safetensors.torch import load_file, save_file

    out, state = Path(out), Path(out) / "state"
    if not resume and state.exists():
        shutil.rmtree(state)
    for folder in (state, out / "conv_lora", out / "teacher"):
        folder.mkdir(parents=True, exist_ok=True)
    pools = pools or _pools(data)
    with seeds.initial_weights(seed):
        networks = {"teacher": SPAN(48), "student": SPAN(26)}
    for network in networks.values():
        learning.start_as_interpolation(network.to(memory_format=torch.channels_last))
    losses = {
        "absolute": partial(learning.absolute, dtype=precision.autocast() or torch.float32),
        "decibels": learning.decibels,
        "distilled": learning.distilled(networks["teacher"], WEIGHTS),
    }
    record_file = state / "stages.json"
    record = json.loads(record_file.read_text(encoding="utf-8")) if record_file.exists() else {}
    for number, (name, stage) in enumerate(recipe.items()):
        network = networks[stage.network]
        if stage.loss == "distilled":
            networks["teacher"].requires_grad_(False)
            conv_lora.add(network, generator=torch.Generator().manual_seed(seed))
        finished = state / f"{name}.safetensors"
        if finished.exists():
            network.load_state_dict(load_file(finished))
            continue
        sizes = {"batch_size": stage.batch_size, "patch": stage.patch, "seed": seed + 1000 * number}
        run = learning.train(
            network,
            lambda first, sizes=sizes: learning.batches(pools, first_step=first, **sizes),
            losses[stage.loss],
            Budget(minutes * stage.share),
            lr=stage.lr,
            ema=(ema := EMA(network)),
            out=state / name,
        )
        for progress in run:
            record[name] = {"steps": progress.step + 1, **asdict(stage)}
        network.load_state_dict(ema.module.state_dict())
        write_json(record_file, record)
        save_file(_packed(network), finished)
    save_file(conv_lora.factors_of(networks["student"]), out / "conv_lora" / "factors.safetensors")
    network = conv_lora.merge(networks["student"]).eval().requires_grad_(True)
    save_file(_packed(network), out / "model.safetensors", metadata={"format": "pt"})
    # In half precision: the teacher is kept to look at its features, not to enlarge with.
    save_file(_packed(networks["teacher"].half()), out / "teacher" / "model.safetensors")
    write_json(out / "training.json", {"seed": seed, "weights": WEIGHTS, "stages": record})
    return network


def _pools(data) -> list[tuple]:
    """Simulated scenes, and the ``train`` split of a named set of real images: drawn half and half."""
    from rs_course import datasets

    scenes, _ = high_resolution(split="train", count=SCENES, first=FIRST_SCENE)
    sources = [(scenes * 255).round().byte().permute(0, 2, 3, 1).numpy()]
    if data is not None:
        sources.append(np.asarray(datasets.load(data, "train").images))
    return [learning.pairs(images) for images in sources]


def _packed(network) -> dict[str, torch.Tensor]:
    """State dict in the row-major layout that safetensors asks for."""
    return {key: value.contiguous() for key, value in network.state_dict().items()}
