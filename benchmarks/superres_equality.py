"""Equality with the official code: largest differences, printed as a table and stored.

    python benchmarks/superres_equality.py GOLDEN_FOLDER

The folder holds what the official repositories computed (DSCF-SR at 0532888, SPAN at c77a591, basicsr, and
FAKD's affinities): ``golden.npz``, ``golden.json``, and the published weights of DSCF and EFDN. It is not in
the repository; ``tests/superres`` and ``tests/metrics`` make these comparisons too, where it is there. Writes
``data/results/superres_equality.json``, which the lesson on super-resolution prints.

A difference of images is relative to max(1, largest absolute value), as the float32 noise of the network is.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from rs_course import metrics, superres
from rs_course.paths import data_dir
from rs_course.superres import conv_lora
from rs_course.superres.learning import affinity, spatial_affinity_loss

RESULTS = data_dir() / "results" / "superres_equality.json"
WEIGHTS = {"dscf": "team23_DSCF.safetensors", "efdn": "team00_EFDN.safetensors"}


class Golden:
    """The folder's arrays as tensors, and its numbers."""

    def __init__(self, folder: Path):
        self.folder, self.arrays = folder, np.load(folder / "golden.npz")
        self.numbers = json.loads((folder / "golden.json").read_text(encoding="utf-8"))

    def __getitem__(self, name: str) -> torch.Tensor:
        return torch.from_numpy(self.arrays[name])

    def image(self, name: str) -> torch.Tensor:
        """uint8 ``[H, W, 3]`` → float64 ``[1, 3, H, W]`` in [0, 1]."""
        return self[name].permute(2, 0, 1)[None].double() / 255


def apart(result: torch.Tensor, expected: torch.Tensor, *, relative: bool = False) -> float:
    """Largest absolute difference, on the scale of max(1, largest value) where ``relative``."""
    return float((result - expected).abs().max() / (max(1, expected.abs().max()) if relative else 1))


def networks(golden: Golden):
    """DSCF and EFDN on photographs; SPAN and ConvLoRA before and after merging."""
    for name, file in WEIGHTS.items():
        network = superres.load(golden.folder / file)
        yield (
            f"{name.upper()}, official weights, {len(golden.numbers['images'])} photographs",
            5e-5,
            max(
                apart(
                    network(golden.image(f"img.{image}.lr_u8").float())[0],
                    golden[f"img.{image}.{name}_out"],
                    relative=True,
                )
                for image in golden.numbers["images"]
            ),
        )
    span = superres.SPAN(8, branches=True)
    span.load_state_dict(load_file(golden.folder / "span_tiny8_random.safetensors"))
    x = golden["span8.in"]
    yield "SPAN, training branches", 5e-5, apart(span(x), golden["span8.out_train_branches"], relative=True)
    merged = span.merge()(x)
    yield "SPAN, merged once", 5e-5, apart(merged, golden["span8.out_eval_merged"], relative=True)
    adapted = conv_lora.add(superres.load(golden.folder / WEIGHTS["dscf"]))
    adapted.load_state_dict(load_file(golden.folder / "dscf_lora_student_AB.safetensors"), strict=False)
    x = golden["lora_student.in"]
    yield "DSCF + ConvLoRA, unmerged", 1e-5, apart(adapted(x), golden["lora_student.out_unmerged"])
    merged = conv_lora.merge(adapted)(x)
    yield "DSCF + ConvLoRA, merged", 1e-5, apart(merged, golden["lora_student.out_merged"])


def affinities(golden: Golden):
    """Affinity matrices and the loss, in both conventions of gathering layers."""
    matrices, losses = [], []
    for case, meta in golden.numbers["sad"]["cases"].items():
        student, teacher = (
            [golden[f"sad.{case}.{kind}{i}"] for i in range(len(meta["per_layer"]))]
            for kind in ("student", "teacher")
        )
        matrices.append(apart(affinity(student[0]), golden[f"sad.{case}.affinity_student0"]))
        for reduction, key in (("sum", "fakd_reference_sum_over_layers"), ("mean", "mean_over_layers")):
            loss = spatial_affinity_loss(student, teacher, reduction=reduction).item()
            losses.append(abs(loss - meta[key]))
    yield "spatial affinity, matrices", 1e-10, max(matrices)
    yield "spatial affinity, loss over layers (sum, mean)", 1e-10, max(losses)


def resizing(golden: Golden):
    """``imresize`` beside both official codes."""
    worst = max(
        apart(
            superres.imresize(golden[f"imresize.{case}.in"].permute(2, 0, 1), meta["scale"]).permute(1, 2, 0),
            golden[f"imresize.{case}.out_{code}"],
        )
        for case, meta in golden.numbers["imresize"].items()
        for code in ("official", "basicsr")
    )
    yield f"imresize, {len(golden.numbers['imresize'])} sizes and scales", 2e-7, worst


def measures(golden: Golden):
    """PSNR (dB) and SSIM under every named convention, crop 0 and 4."""
    triples = [
        (golden.image(f"img.{image}.{method}_u8"), golden.image(f"img.{image}.hr_u8"), values)
        for image, entry in golden.numbers["images"].items()
        for method, values in entry["metrics"].items()
    ]
    for name in ("psnr", "ssim"):
        worst = max(
            abs(
                getattr(metrics, name)(pred, target, crop=crop, **settings).item()
                - float(values[f"{convention}_{name}_crop{crop}"])
            )
            for pred, target, values in triples
            for convention, settings in metrics.CONVENTIONS.items()
            for crop in (0, 4)
        )
        yield f"{name.upper()}, {len(metrics.CONVENTIONS)} conventions, {len(triples)} pairs", 1e-6, worst


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    golden = Golden(parser.parse_args().folder)
    rows = []
    with torch.no_grad():
        for part in (networks, affinities, resizing, measures):
            for what, bar, difference in part(golden):
                rows.append({"what": what, "difference": float(f"{difference:.1e}"), "bar": bar})
                print(f"{what:52} {difference:8.1e}   bar {bar:.0e}", flush=True)
    report = {"made by": "benchmarks/superres_equality.py", "torch": torch.__version__, "rows": rows}
    RESULTS.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
