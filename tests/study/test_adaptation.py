"""A generator adapted to the shots of a task: from the table to tiles, with the same shots as the task."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.optim.optimizer import register_optimizer_step_pre_hook

from rs_course import checkpoints, datasets
from rs_course.classification import real_shots
from rs_course.paths import data_dir
from rs_course.study import adaptation, sets

pytestmark = pytest.mark.skipif(
    not (data_dir() / "checkpoints" / "mini-diffusionsat" / "unet").is_dir(), reason="needs mini-diffusionsat"
)


def test_a_set_is_drawn_by_the_generator_that_saw_the_shots_of_the_task(tmp_path, monkeypatch):
    seen = {}
    adapt = adaptation.adapt

    def watched(out, checkpoint, shots, **options):
        seen[options["seed"]] = shots.hashes()
        return adapt(out, checkpoint, shots, **options)

    monkeypatch.setattr(adaptation, "adapt", watched)
    table = {
        "making": "adapted", "adaptation": 3, "checkpoint": "mini-diffusionsat", "dataset": "simulated",
        "per_class": 1, "steps": 1, "guidance": 1.0,
    }  # fmt: skip
    own = sets.Sets({"adapted": table}, tmp_path)
    task = {"synthetic": "@adapted", "real_per_class": 2, "seed": 3}
    (waiting,) = own.needed([task])
    ((name, spec),) = waiting.items()
    rates = []
    hook = register_optimizer_step_pre_hook(lambda made, *_: rates.append(made.param_groups[0]["lr"]))
    sets.make(spec)
    hook.remove()
    assert rates == pytest.approx([adaptation.LR * share for share in (1, 2 / 3, 1 / 3)])
    tiles = datasets.load(own.folder / name)
    assert sorted(tiles.labels.tolist()) == list(range(10)) and name == own.of(task)["synthetic"][0]
    assert seen == {3: real_shots(datasets.load("simulated", "train"), 2, seed=3).hashes()}
    folder = own.folder / f"{name}-checkpoint"
    base = checkpoints.load("mini-diffusionsat", dtype=torch.float32)
    adapted = checkpoints.load(folder, dtype=torch.float32)
    changed = [
        not torch.equal(a, b) for a, b in zip(base.unet.parameters(), adapted.unet.parameters(), strict=True)
    ]
    assert np.mean(changed) > 0.9
    for part in ("vae", "text_encoder"):  # the other parts are the base's
        for a, b in zip(getattr(base, part).parameters(), getattr(adapted, part).parameters(), strict=True):
            assert torch.equal(a, b)
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    before = weights.stat().st_mtime_ns
    assert adapt(folder, "mini-diffusionsat", None, steps=1) == folder  # complete: nothing is trained again
    assert weights.stat().st_mtime_ns == before and load_file(weights)


def test_what_cannot_be_adapted_is_named(tmp_path):
    with pytest.raises(ValueError, match="give at least one step"):
        adaptation.adapt(tmp_path / "a", "mini-diffusionsat", None, steps=0)
    with pytest.raises(ValueError, match="mini-text2earth is of the family text2earth"):
        adaptation.adapt(tmp_path / "b", "mini-text2earth", None, steps=1)
    assert adaptation.prompt("StorageTanks") == "a satellite image of storage tanks"
