"""Does a classifier that has only seen the simulated Earth recognise real Sentinel-2 tiles?

Trains a small residual network on simulated tiles and tests it on EuroSAT's real test tiles; tests the same
network inside the simulation; compares colours and textures class by class.

    python benchmarks/sim_to_real.py                      # ../shared/data/eurosat.tar
    python benchmarks/sim_to_real.py --real FOLDER        # class folders, with splits.csv (file,label,split)
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import platform
import tarfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

from rs_course import precision, simulated_earth
from rs_course.paths import data_dir

ROOT = Path(__file__).resolve().parent
TAR = ROOT.parents[1] / "shared" / "data" / "eurosat.tar"
CLASSES = simulated_earth.CLASSES


def real_tiles(source: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """EuroSAT tiles of one split, uint8 ``[N, 64, 64, 3]``, and labels, from the tar or a folder."""
    if source.is_dir():
        read = {p.relative_to(source).as_posix(): p.read_bytes for p in source.rglob("*") if p.is_file()}
    else:
        archive = tarfile.open(source)  # noqa: SIM115  (read lazily below; closed with the process)
        members = [m for m in archive.getmembers() if m.isfile()]
        read = {m.name: (lambda m=m: archive.extractfile(m).read()) for m in members}
    table = next(name for name in read if name.endswith("splits.csv"))
    base = table.removesuffix("splits.csv")
    rows = [r for r in csv.DictReader(io.StringIO(read[table]().decode())) if r["split"] == split]
    files = (io.BytesIO(read[base + r["file"]]()) for r in rows)
    images = np.stack([np.array(Image.open(file).convert("RGB")) for file in files])
    return images, np.array([CLASSES.index(r["label"]) for r in rows])


def simulated_tiles(per_class: int, first_seed: int) -> tuple[np.ndarray, np.ndarray]:
    """``per_class`` tiles of every class from consecutive seeds."""
    seeds = range(first_seed, first_seed + per_class)
    images = np.concatenate([simulated_earth.tiles(name, seeds) for name in CLASSES])
    return images, np.repeat(np.arange(len(CLASSES)), per_class)


class Block(nn.Module):
    """Two 3 × 3 convolutions around a shortcut (He et al. 2016, basic block)."""

    def __init__(self, inside: int, outside: int):
        super().__init__()
        stride = 1 if inside == outside else 2
        self.body = nn.Sequential(
            nn.Conv2d(inside, outside, 3, stride, 1, bias=False), nn.BatchNorm2d(outside), nn.ReLU(),
            nn.Conv2d(outside, outside, 3, 1, 1, bias=False), nn.BatchNorm2d(outside),
        )  # fmt: skip
        self.short = nn.Conv2d(inside, outside, 1, stride) if stride == 2 else nn.Identity()

    def forward(self, x):
        return functional.relu(self.short(x) + self.body(x))


def network(width: int = 24) -> nn.Module:
    """A residual network of about 0.4 million parameters for 64 × 64 tiles."""
    return nn.Sequential(
        nn.Conv2d(3, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(), Block(width, 2 * width),
        Block(2 * width, 4 * width), Block(4 * width, 5 * width), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Dropout(0.2), nn.Linear(5 * width, len(CLASSES)),
    ).to(memory_format=torch.channels_last)  # fmt: skip


def to_input(images: torch.Tensor) -> torch.Tensor:
    """uint8 ``[N, H, W, 3]`` to float ``[N, 3, H, W]`` about zero."""
    return (images.permute(0, 3, 1, 2).float() / 255 - 0.4) / 0.2


def augment(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """The eight symmetries of the square, and per image: gain, tint, contrast, blur."""

    def draw(*shape, low, high):
        return low + (high - low) * torch.rand(*shape, generator=generator)

    quarter, flip = torch.randint(4, (2,), generator=generator).tolist()
    x = torch.rot90(x, quarter, (2, 3))
    x = x.flip(3) if flip % 2 else x
    n = len(x)
    mean = x.mean((2, 3), keepdim=True)
    x = mean + (x - mean) * draw(n, 1, 1, 1, low=0.75, high=1.3)
    x = x + draw(n, 1, 1, 1, low=-0.15, high=0.15) + draw(n, 3, 1, 1, low=-0.12, high=0.12)
    soft = functional.avg_pool2d(functional.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
    return x + (soft - x) * draw(n, 1, 1, 1, low=-0.3, high=0.6)


def train(images: np.ndarray, labels: np.ndarray, *, epochs: int, seed: int, batch: int = 128) -> nn.Module:
    """AdamW with one cycle of learning rate and label smoothing; bfloat16 where that is faster."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = network().train()
    steps = epochs * (len(images) // batch)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-3, total_steps=steps)
    x, y = torch.from_numpy(images), torch.from_numpy(labels)
    for _ in range(epochs):
        order = torch.randperm(len(x), generator=generator)
        for at in order[: len(order) // batch * batch].split(batch):
            inputs = augment(to_input(x[at]), generator).to(memory_format=torch.channels_last)
            with precision.fast():
                loss = functional.cross_entropy(model(inputs).float(), y[at], label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model.eval()


@torch.no_grad()
def confusion(model: nn.Module, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Counts ``[true, predicted]``."""
    table = np.zeros((len(CLASSES), len(CLASSES)), int)
    for at in range(0, len(images), 500):
        inputs = to_input(torch.from_numpy(images[at : at + 500])).to(memory_format=torch.channels_last)
        np.add.at(table, (labels[at : at + 500], model(inputs).argmax(1).numpy()), 1)
    return table


BANDS = ((0.02, 0.06), (0.06, 0.12), (0.12, 0.2), (0.2, 0.3), (0.3, 0.4), (0.4, 0.5))  # cycles per pixel


def statistics(images: np.ndarray) -> dict:
    """Colour and texture of a set of tiles: per-tile means, spreads, and log power in rings of frequency."""
    x = images.astype(np.float64)
    grey = x.mean(-1)
    power = np.abs(np.fft.rfft2(grey - grey.mean((1, 2), keepdims=True))) ** 2
    radius = np.hypot(np.fft.fftfreq(64)[:, None], np.fft.rfftfreq(64)[None])
    rings = [np.log10(power[:, (radius >= a) & (radius < b)].mean(1) + 1e-3) for a, b in BANDS]
    means, spreads = x.mean((1, 2)), x.std((1, 2))
    return {
        "mean": means.mean(0), "mean_sd": means.std(0), "within_sd": spreads.mean(0),
        "log_power": np.mean(rings, 1), "features": np.concatenate([means, spreads, np.transpose(rings)], 1),
    }  # fmt: skip


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """Fréchet distance of two sets of features after scaling each to unit spread in ``b`` (the real set)."""
    scale = b.std(0)
    a, b = a / scale, b / scale
    product = np.linalg.eigvals(np.cov(a.T) @ np.cov(b.T))
    cross = np.sqrt(np.maximum(product.real, 0)).sum()
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.cov(a.T).trace() + np.cov(b.T).trace() - 2 * cross)


def compare(simulated, real) -> dict:
    """Per class: means and spreads of both, ring-wise difference of log power, Fréchet distance."""
    table = {}
    for k, name in enumerate(CLASSES):
        s, r = statistics(simulated[0][simulated[1] == k]), statistics(real[0][real[1] == k])
        entry = {key: {"simulated": s[key], "real": r[key]} for key in s if key != "features"}
        half = len(r["features"]) // 2
        entry["frechet"] = frechet(s["features"], r["features"])
        entry["frechet_real_halves"] = frechet(r["features"][:half], r["features"][half:])
        table[name] = entry
    return table


def rounded(value):
    """Numbers of nested results with four digits, arrays as lists."""
    if isinstance(value, dict):
        return {key: rounded(v) for key, v in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [rounded(v) for v in value]
    if isinstance(value, np.integer):
        return int(value)
    return round(float(value), 4) if isinstance(value, (float, np.floating)) else value


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--real", type=Path, default=TAR, help="EuroSAT's tar or folder")
    parser.add_argument("--split", default="test", help="tune the simulator on train, report on test")
    parser.add_argument("--per-class", type=int, default=1000, help="simulated training tiles per class")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=data_dir() / "results" / "sim_to_real.json")
    args = parser.parse_args()
    if not args.real.exists():
        print(f"Skipped: no EuroSAT at {args.real.name}; give its tar or folder with --real.")
        return
    real = real_tiles(args.real, args.split)
    held_out = simulated_tiles(200, 10_000_000)
    facts = {
        "provenance": {
            "trained on": f"simulated · version {simulated_earth.VERSION} · {args.per_class} per class",
            "tested on": f"real · EuroSAT · {args.split} · {len(real[0])} tiles",
            "network": f"residual, {sum(p.numel() for p in network().parameters())} parameters",
            "epochs": args.epochs,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "machine": platform.machine(),
        },
        "statistics": compare(held_out, real),
    }
    runs, tables = [], []
    for seed in range(args.seeds):
        start = time.process_time()
        data = simulated_tiles(args.per_class, 1_000_000 * (seed + 1))
        made = time.process_time() - start
        model = train(*data, epochs=args.epochs, seed=seed)
        tables.append(confusion(model, *real))
        inside = confusion(model, *held_out)
        run = {
            "seed": seed,
            "real_top1": tables[-1].trace() / tables[-1].sum(),
            "simulated_top1": inside.trace() / inside.sum(),
            "simulated_recall": inside.diagonal() / inside.sum(1),
            "tiles_per_cpu_second": len(data[0]) / made,
            "cpu_seconds": time.process_time() - start,
        }
        runs.append(run)
        print(f"seed {seed}: real {run['real_top1']:.3f}, simulated {run['simulated_top1']:.3f}", flush=True)
        result = {
            **summary(runs, np.array(tables)),
            **facts,
        }  # written after every seed: a long run may be cut
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(rounded(result), indent=1) + "\n")
    show(result)


def summary(runs: list[dict], tables: np.ndarray) -> dict:
    """Means and spreads over the seeds, recall and confusion ``[true, predicted]`` on the real tiles."""
    tops = {key: np.array([run[key] for run in runs]) for key in ("real_top1", "simulated_top1")}
    mean = tables.mean(0)
    return {
        **{key: {"mean": v.mean(), "std": v.std(ddof=min(1, len(v) - 1))} for key, v in tops.items()},
        "recall": dict(zip(CLASSES, mean.diagonal() / mean.sum(1), strict=True)),
        "confusion": mean,
        "runs": runs,
    }


def show(result: dict) -> None:
    """Print the two accuracies, and per class the recall, the distance, and the usual mistakes."""
    for key in ("real_top1", "simulated_top1"):
        print(f"{key}: {100 * result[key]['mean']:.1f} ± {100 * result[key]['std']:.1f} %")
    print("class                  recall  frechet (real halves)   most often taken for")
    for k, name in enumerate(CLASSES):
        row = result["confusion"][k] / result["confusion"][k].sum()
        wrong = [f"{CLASSES[j]} {row[j]:.2f}" for j in np.argsort(-row) if j != k][:3]
        entry = result["statistics"][name]
        distance = f"{entry['frechet']:6.2f} ({entry['frechet_real_halves']:.2f})"
        print(f"{name:22s} {row[k]:.2f}   {distance}  {', '.join(wrong)}")


if __name__ == "__main__":
    main()
