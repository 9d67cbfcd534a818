"""What mini-dscf reaches, what the ablation of its recipe shows, and whether sharper tiles help a classifier.

    python benchmarks/superres_quality.py table       [--real FOLDER] [--dscf FILE] [--efdn FILE]
    python benchmarks/superres_quality.py ablation    --refined FILE --teacher FILE [--real FOLDER]
    python benchmarks/superres_quality.py fine-tuning --dscf FILE --real FOLDER
    python benchmarks/superres_quality.py recognition [--generator NAME] [--controlnet NAME]

Each part writes its own key of ``data/results/superres_quality.json``, which its lesson reads. PSNR and SSIM
are of the luma, crop 4, 8-bit images (convention ``basicsr_y``), means over images with bootstrap intervals.
"""

from __future__ import annotations

import argparse
import copy
import json
import time

import numpy as np
import torch
from conditioning import SAMPLER

from rs_course import checkpoints, datasets, metrics, simulated_earth, superres
from rs_course.paths import data_dir
from rs_course.superres import baselines, conv_lora, degradation, learning, quality
from rs_course.superres.degradation import high_resolution, observed
from rs_course.training import dscf as recipe
from rs_course.training_loop import EMA, Budget

RESULTS = data_dir() / "results" / "superres_quality.json"
# (λ1, λ2, λ3) of the ablation, where the truth counts by PSNR / 100 dB: the three terms pull about equally.
DISTILLED = (0.5, 5.0, 0.004)
STRENGTH = 0.3  # of SDEdit in part recognition
CONVENTION = {"crop": 4, **metrics.CONVENTIONS["basicsr_y"]}


class DiffusionUpscaler:
    """``[N, 3, h, w]`` to ``[N, 3, 4h, 4w]`` at 10 m by mini-diffusionsat, or a generator with its interface.

    With a ControlNet for super-resolution the generator sees the coarse picture at every step (Khanna et al.
    2024, arXiv 2312.03606, section 3.2). Without one it only starts from it: SDEdit (Meng et al., ICLR 2022)
    noises the bicubic enlargement by ``STRENGTH`` and denoises it. There is no text to push towards.
    """

    def __init__(self, generator, **settings):
        self.generator, self.settings = generator, {"guidance": 1.0, **settings}

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        size = tuple(4 * side for side in images.shape[-2:])
        options = {"size": size, "metadata": {"gsd": 10.0}, **self.settings}
        if self.generator.controlnet is None:
            options |= {"image": baselines.bicubic(images), "strength": STRENGTH}
        else:
            options |= {"image": images, "cond_metadata": {"gsd": 40.0}}
        return self.generator.sample([""] * len(images), **options).to(images)


def test_sets(real: str | None) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """(low, high) by name: simulated scenes under two degradations, and real images under the field's."""
    seen, high, _ = observed(count=60)
    sets = {"simulated, bicubic": (degradation.bicubic(high), high), "simulated, sensor": (seen, high)}
    if real:
        high, _ = high_resolution(real, count=len_of(real))
        sets["UC Merced test, bicubic"] = (degradation.bicubic(high), high)
    return sets


def len_of(real: str, split: str = "test") -> int:
    return len(datasets.load(real, split))


def train_pools(real: str | None) -> list[tuple]:
    """The pools that mini-dscf was trained on: simulated scenes, and real images if they are there."""
    high, _ = high_resolution(split="train", count=300, first=recipe.FIRST_SCENE)
    parts = [high]
    if real:
        parts.append(high_resolution(real, "train", count=len_of(real, "train"))[0])
    return [learning.pairs((p * 255).round().byte().permute(0, 2, 3, 1).numpy()) for p in parts]


def score(network, sets) -> dict[str, torch.Tensor]:
    """PSNR of every image by test set."""
    return {
        name: metrics.psnr(superres.upscale(low, network), high, **CONVENTION)
        for name, (low, high) in sets.items()
    }


def interval(values) -> dict:
    """Mean of per-image values with its bootstrap interval."""
    result = metrics.bootstrap(np.mean, np.asarray(values), resamples=2000)
    return {"mean": round(result.estimate, 3), "low": round(result.low, 3), "high": round(result.high, 3)}


def table(args) -> dict:
    """Distortion and texture of every method on every test set, and the gain over bicubic."""
    methods = {
        "nearest": baselines.nearest,
        "bicubic": baselines.bicubic,
        "mini-dscf": superres.load("mini-dscf"),
    }
    for name, file in (("DSCF, official, zero-shot", args.dscf), ("EFDN, official, zero-shot", args.efdn)):
        if file:
            methods[name] = superres.load(file)
    result = {}
    for name, (low, high) in test_sets(args.real).items():
        rows = quality.compare(methods, low, high)
        result[name] = {"images": len(high)} | {
            method: {
                "psnr": round(row["psnr"].mean().item(), 3),
                "ssim": round(row["ssim"].mean().item(), 4),
                "texture": round(row["texture"], 1),
                "gain": interval(row["psnr"] - rows["bicubic"]["psnr"]),
            }
            for method, row in rows.items()
        }
    return result


def ablation(args) -> dict:
    """Full fine-tuning, LoRA, LoRA + distillation: the same seconds of processor time from the same start."""
    sets = {name: pair for name, pair in test_sets(args.real).items() if "bicubic" in name}
    pools = train_pools(args.real)
    start, teacher = superres.load(args.refined), superres.load(args.teacher).requires_grad_(False)
    before = score(start, sets)
    arms = {
        "full": (learning.decibels, False),
        "LoRA": (learning.decibels, True),
        "LoRA + distillation": (learning.distilled(teacher, DISTILLED, reconstruction="psnr"), True),
    }
    gains = {arm: {name: [] for name in sets} for arm in arms}
    steps = {}
    for arm, (loss, adapted) in arms.items():
        for seed in range(args.seeds):
            network = copy.deepcopy(start).train()
            if adapted:
                conv_lora.add(network, generator=torch.Generator().manual_seed(seed))

            def data(step, seed=seed):
                # Small patches: affinities cost the fourth power of the side.
                sizes = {"batch_size": 8, "patch": 24}
                return learning.batches(pools, seed=500 + seed, first_step=step, **sizes)

            if arm not in steps:
                steps[arm] = max(2, int(args.seconds / seconds_per_step(network, loss, data(0))))
            after = score(trained(network, data, loss, steps[arm], args.rate), sets)
            for name in sets:
                gains[arm][name].append(after[name] - before[name])
            print(arm, seed, {n: round(g[-1].mean().item(), 4) for n, g in gains[arm].items()}, flush=True)
    result = {"seconds": args.seconds, "seeds": args.seeds, "steps": steps, "rate": args.rate}
    result |= {"weights": DISTILLED, "sets": {}}
    for name in sets:
        per_arm = {arm: torch.stack(gains[arm][name]) for arm in arms}
        result["sets"][name] = {
            "start_psnr": round(before[name].mean().item(), 3),
            "gain over the start": {
                arm: {
                    **interval(values.mean(0)),
                    "seeds": [round(v, 4) for v in values.mean(1).tolist()],
                }
                for arm, values in per_arm.items()
            },
            "LoRA + distillation minus LoRA": interval(
                (per_arm["LoRA + distillation"] - per_arm["LoRA"]).mean(0)
            ),
            "LoRA minus full": interval((per_arm["LoRA"] - per_arm["full"]).mean(0)),
        }
    return result


def trained(network, data, loss, steps: int, lr: float):
    """The average of the network's weights over a training."""
    ema = EMA(network)
    for _ in learning.train(network, data, loss, Budget(steps=steps), lr=lr, ema=ema):
        pass
    return ema.module


def seconds_per_step(network, loss, stream) -> float:
    """Processor seconds of one training step (least of four): wall time would count other programs."""
    times = []
    for _ in range(4):
        low, high = next(stream)
        begin = time.process_time()
        loss(network, low.contiguous(memory_format=torch.channels_last), high)["total"].backward()
        times.append(time.process_time() - begin)
    network.zero_grad(set_to_none=True)
    return min(times)


def fine_tuning(args) -> dict:
    """The official weights on real aerial images: zero-shot, and after fine-tuning on the train split."""
    sets = {name: pair for name, pair in test_sets(args.real).items() if "bicubic" in name}
    pools = train_pools(args.real)[1:]
    network = superres.load(args.dscf).train()
    before = score(network, sets)

    def data(step):
        return learning.batches(pools, batch_size=12, patch=32, seed=0, first_step=step)

    steps = max(2, int(args.seconds / seconds_per_step(network, learning.decibels, data(0))))
    after = score(trained(network, data, learning.decibels, steps, args.rate), sets)
    return {
        "seconds": args.seconds,
        "steps": steps,
        "rate": args.rate,
        "sets": {
            name: {
                "bicubic": round(score(baselines.bicubic, {name: sets[name]})[name].mean().item(), 3),
                "zero-shot": round(before[name].mean().item(), 3),
                "fine-tuned": round(after[name].mean().item(), 3),
                "gain of fine-tuning": interval(after[name] - before[name]),
            }
            for name in sets
        },
    }


def recognition(args) -> dict:
    """Accuracy of a small CNN on 10 m tiles restored from 40 m, trained on the same form or on true tiles.

    Diffusion takes part as SDEdit, and as a ControlNet where one is named.
    """
    sets = {split: datasets.load("simulated", split, size=n) for split, n in (("train", 1000), ("test", 500))}
    labels = {split: torch.as_tensor(np.asarray(data.labels)) for split, data in sets.items()}
    truth = {
        split: torch.from_numpy(np.array(data.images)).permute(0, 3, 1, 2).float() / 255
        for split, data in sets.items()
    }
    low = {split: degradation.bicubic(high) for split, high in truth.items()}
    network = superres.load("mini-dscf")
    texture = baselines.DrawnTexture(network, low["train"], truth["train"])
    upscalers = {"bicubic": baselines.bicubic, "mini-dscf": network, "mini-dscf + drawn texture": texture}
    generator = checkpoints.load(args.generator)
    upscalers["SDEdit"] = DiffusionUpscaler(generator)
    if args.controlnet:
        steered = checkpoints.load(args.generator, controlnet=args.controlnet)
        upscalers["ControlNet"] = DiffusionUpscaler(steered, **SAMPLER)
    forms = {  # in one batch: image i of a call has noise i
        name: {
            split: degradation.round8(superres.upscale(x, upscaler, batch_size=len(x)))
            for split, x in low.items()
        }
        for name, upscaler in upscalers.items()
    } | {"true 10 m": truth}
    result = {
        "classes": 10,
        "train": len(labels["train"]),
        "test": len(labels["test"]),
        "psnr": {
            name: round(metrics.psnr(form["test"], truth["test"], **CONVENTION).mean().item(), 2)
            for name, form in forms.items()
            if name != "true 10 m"
        },
        "texture": {
            name: round(quality.texture_distance(form["test"], truth["test"]), 1)
            for name, form in forms.items()
            if name != "true 10 m"
        },
        "generator": {
            "name": args.generator,
            "controlnet": args.controlnet,
            "SDEdit strength": STRENGTH,
            "ControlNet sampler": SAMPLER,
        },
        "trained on the same form": {},
        "trained on true tiles": {name: [] for name in forms},
    }
    for name, form in forms.items():
        accuracies = []
        for seed in range(args.seeds):
            classifier = train_classifier(form["train"], labels["train"], seed)
            accuracies.append(accuracy(classifier, form["test"], labels["test"]))
            if name == "true 10 m":
                for other, its in forms.items():
                    right = accuracy(classifier, its["test"], labels["test"])
                    result["trained on true tiles"][other].append(right)
        result["trained on the same form"][name] = accuracies
        print(name, accuracies, flush=True)
    return result


def train_classifier(images, labels, seed: int, *, epochs: int = 12, batch: int = 50) -> torch.nn.Module:
    """A four-layer CNN on 64×64 tiles, with flips and turns; everything random follows from ``seed``."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = []
        for channels_in, channels in ((3, 16), (16, 32), (32, 64), (64, 64)):
            layers += [
                torch.nn.Conv2d(channels_in, channels, 3, stride=2, padding=1),
                torch.nn.BatchNorm2d(channels),
                torch.nn.ReLU(),
            ]
        network = torch.nn.Sequential(
            *layers, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(64, 10)
        )
    steps = epochs * len(images) // batch
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    draw = np.random.default_rng(seed)
    for _ in range(steps):
        rows = draw.choice(len(images), batch, replace=False)
        x = torch.rot90(images[rows], int(draw.integers(4)), (2, 3))
        x = x.flip(3) if draw.integers(2) else x
        loss = torch.nn.functional.cross_entropy(network(x - 0.4), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return network.eval()


@torch.no_grad()
def accuracy(network, images, labels) -> float:
    """Share of tiles classified correctly, in percent."""
    return round(100 * (network(images - 0.4).argmax(1) == labels).double().mean().item(), 2)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=["table", "ablation", "fine-tuning", "recognition"])
    for name in ("--real", "--dscf", "--efdn", "--refined", "--teacher"):
        parser.add_argument(name)
    parser.add_argument("--generator", default="mini-diffusionsat", help="what draws in part recognition")
    parser.add_argument("--controlnet", help="its ControlNet for super-resolution")
    parser.add_argument("--seconds", type=float, default=20.0, help="processor time of each training run")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rate", type=float, default=3e-4)
    args = parser.parse_args()
    torch.set_num_threads(1)
    parts = {"table": table, "ablation": ablation, "fine-tuning": fine_tuning, "recognition": recognition}
    result = parts[args.part](args)
    record = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    record["provenance"] = {
        "simulated Earth": simulated_earth.VERSION,
        "real": "UC Merced Land Use (Yang & Newsam 2010), 231 train and 63 test images",
        "measure": "PSNR and SSIM of BT.601 luma, crop 4, 8-bit; mean over images",
    }
    record[args.part] = result
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    print(json.dumps(result, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
