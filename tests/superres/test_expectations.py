"""Numbers to keep: what resizers, networks with weights made by a formula, and their updates give.

``expectations.json`` was written by this module (``python -m superres.test_expectations`` in ``tests/``) at a
time when every official array of the fixtures was reproduced. So the proof survives where the fixtures are
not at hand.
"""

import json
from pathlib import Path

import pytest
import torch
from checkpoints.test_expectations import numbers, ramp
from checkpoints.tiny import formula_state

from rs_course.superres import EFDN, SPAN, conv_lora, degradation, learning

FILE = Path(__file__).parent / "expectations.json"
PICTURE = torch.nn.functional.interpolate(ramp(2, 3, 6, 8), (24, 32), mode="bicubic").clamp(0, 1)


def filled(network: torch.nn.Module, name: str) -> torch.nn.Module:
    network.load_state_dict(formula_state(network, name))
    return network.eval()


def adapted() -> torch.nn.Module:
    network = filled(conv_lora.add(SPAN(26)), "lora")
    for name, factor in conv_lora.factors_of(network).items():
        network.get_parameter(name).copy_(
            0.02 * factor if "lora_A" in name else factor
        )  # as after a training
    return network


def layer() -> conv_lora.ConvLoRA:
    return filled(conv_lora.ConvLoRA(torch.nn.Conv2d(3, 5, 3, padding=1), 4, 8.0), "layer")


def affinities() -> torch.Tensor:
    maps = [ramp(2, 4, 6, 8) ** power for power in (1, 2, 3, 4)]
    kinds = [{"normalise": n, "reduction": r} for n in (True, False) for r in ("sum", "mean")]
    losses = [learning.spatial_affinity_loss(maps[:2], maps[2:], **kind) for kind in kinds]
    return torch.cat([torch.stack(losses), learning.affinity(maps[0][:1, :, :1, :2]).flatten()])


CASES = {
    "imresize 1/4": lambda: degradation.imresize(PICTURE, 1 / 4),
    "imresize 4": lambda: degradation.imresize(PICTURE, 4),
    "imresize 0.7": lambda: degradation.imresize(PICTURE, 0.7),
    "bicubic": lambda: degradation.bicubic(PICTURE),
    "sensor": lambda: degradation.sensor(PICTURE, seed=3),
    "SPAN": lambda: filled(SPAN(26), "span")(PICTURE),
    "EFDN": lambda: filled(EFDN(48), "efdn")(PICTURE),
    "branches, merged": lambda: filled(SPAN(8, branches=True), "branches").merge()(PICTURE),
    "ConvLoRA": lambda: layer()(PICTURE),
    "ConvLoRA, merged": lambda: layer().merged()(PICTURE),
    "student": lambda: adapted()(PICTURE),
    "student, merged": lambda: conv_lora.merge(adapted())(PICTURE),
    "affinities": affinities,
}


@torch.no_grad()
def measure(name: str) -> list[float]:
    return numbers(CASES[name]())


@pytest.mark.parametrize("name", CASES)
def test_numbers(name):
    values = json.loads(FILE.read_text(encoding="utf-8"))[name]
    assert measure(name) == pytest.approx(values, abs=1e-4 * max(map(abs, values)))


if __name__ == "__main__":
    rows = [f" {json.dumps(name)}: {measure(name)}" for name in CASES]
    FILE.write_text("{\n" + ",\n".join(rows) + "\n}\n", encoding="utf-8")
