"""Loading images: `rs_course.datasets` beside what a user would pick instead.

    python benchmarks/datasets.py [--images 2000] [--rounds 7]

The same folder of JPEG tiles (64×64, ten classes, made by the simulated Earth) is read for one epoch in
shuffled batches of 64, on one thread, by

* ``records``: a ``DataLoader`` over our data set (a dict per record),
* ``array``: batches cut out of ``data.images``, as the course's training loops do,
* ``imagefolder``: the class-folder loop of torchvision's ``ImageFolder`` with ``ToTensor``, in a
  ``DataLoader``,
* ``hf``: Hugging Face ``datasets`` with its "imagefolder" builder and torch format.

All four yield the same float tensors (checked). Rounds are interleaved, and a ratio is taken within each
round, so that other load on the machine falls on all alike; medians over rounds, with the range. The result
goes to ``benchmarks/results/datasets.json``.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import PIL
import torch
from PIL import Image
from torch.utils.data import DataLoader

from rs_course import datasets

BATCH = 64


def write_folder(folder: Path, n: int):
    """Tiles of the simulated Earth as JPEG files, one folder per class."""
    data = datasets.load("simulated", "train", size=n)
    shutil.rmtree(folder, ignore_errors=True)
    for k, (pixels, label) in enumerate(zip(data.images, data.labels, strict=True)):
        path = folder / data.classes[label] / f"{k:06}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, quality=95)


class ImageFolder:
    """What torchvision's ``ImageFolder`` with ``ToTensor`` does: open, decode and scale one file per item."""

    def __init__(self, folder):
        self.paths = sorted(Path(folder).rglob("*.jpg"))
        classes = sorted({path.parent.name for path in self.paths})
        self.labels = [classes.index(path.parent.name) for path in self.paths]

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, i):
        with open(self.paths[i], "rb") as file:
            image = Image.open(file).convert("RGB")
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()
        return {"image": pixels.float().div(255), "label": self.labels[i]}


def records_reader(folder):
    data = datasets.load(folder, "all")

    def epoch(order):
        loader = DataLoader(data, BATCH, sampler=order, collate_fn=datasets.collate)
        return [(batch["image"], batch["label"]) for batch in loader]

    return epoch


def array_reader(folder):
    data = datasets.load(folder, "all")
    images, labels = data.images, torch.from_numpy(data.labels)

    def epoch(order):
        batches = []
        for rows in torch.tensor(order).split(BATCH):
            pixels = torch.from_numpy(images[rows.numpy()]).permute(0, 3, 1, 2).contiguous().float().div_(255)
            batches.append((pixels, labels[rows]))
        return batches

    return epoch


def imagefolder_reader(folder):
    data = ImageFolder(folder)

    def epoch(order):
        loader = DataLoader(data, BATCH, sampler=order)
        return [(batch["image"], batch["label"]) for batch in loader]

    return epoch


def hf_reader(folder):
    os.environ["HF_HUB_OFFLINE"] = "1"
    # This script has the name of the library it measures: look for that one elsewhere.
    sys.path[:] = [
        entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent
    ]
    import datasets as hf

    hf.disable_progress_bars()
    data = hf.load_dataset("imagefolder", data_dir=str(folder), split="train", cache_dir=f"{folder}-hf")
    data = data.with_format("torch")

    def epoch(order):
        loader = DataLoader(data, BATCH, sampler=order)
        return [(batch["image"].float().div(255), batch["label"]) for batch in loader]

    return epoch


READERS = {
    "records": records_reader,
    "array": array_reader,
    "imagefolder": imagefolder_reader,
    "hf": hf_reader,
}


def timed(function, *arguments):
    start = time.perf_counter()
    result = function(*arguments)
    return time.perf_counter() - start, result


def summary(values):
    return {
        "median": round(statistics.median(values), 4),
        "min": round(min(values), 4),
        "max": round(max(values), 4),
    }


def measure(folder: Path, n: int, rounds: int) -> dict:
    """Times in seconds: opening plus the first epoch once per reader (ours decodes then), later epochs per
    round.
    """
    # Files are listed in another order by each reader; a common order by file is what makes the epochs
    # comparable.
    ids = datasets.load(folder, "all").ids
    ours = sorted(range(n), key=ids.__getitem__)
    orders = [
        torch.randperm(n, generator=torch.Generator().manual_seed(r)).tolist() for r in range(rounds + 1)
    ]

    def order_for(name, r):
        return [ours[i] for i in orders[r]] if name in ("records", "array") else orders[r]

    warm = folder.with_name("warm")
    write_folder(warm, BATCH)
    first, again, epochs = {}, {}, {}
    for name, reader in READERS.items():
        os.environ["RS_COURSE_CACHE"] = f"{folder}-cache-{name}"  # each of ours starts cold
        _open_and_read(reader, warm, list(range(BATCH)))  # imports and buffers are not what is measured
        first[name], epochs[name] = timed(
            lambda reader=reader, name=name: _open_and_read(reader, folder, order_for(name, 0))
        )
        again[name], _ = timed(reader, folder)
    reference = epochs["imagefolder"](order_for("imagefolder", 0))
    for name, epoch in epochs.items():
        for (pixels, labels), (expected, classes) in zip(epoch(order_for(name, 0)), reference, strict=True):
            assert torch.equal(pixels, expected) and torch.equal(labels, classes), name
    seconds = {name: [] for name in READERS}
    for r in range(1, rounds + 1):
        for name in np.random.default_rng(r).permutation(list(READERS)):
            seconds[name].append(timed(epochs[name], order_for(name, r))[0])
    return {
        "first_epoch_with_opening_s": {name: round(value, 3) for name, value in first.items()},
        "opening_again_s": {name: round(value, 3) for name, value in again.items()},
        "epoch_s": {name: summary(values) for name, values in seconds.items()},
        "images_per_s": {name: round(n / statistics.median(values)) for name, values in seconds.items()},
        "times_faster": {
            f"{name} than {other}": summary(
                [b / a for a, b in zip(seconds[name], seconds[other], strict=True)]
            )
            for name in ("records", "array")
            for other in ("imagefolder", "hf")
        },
    }


def _open_and_read(reader, folder, order):
    epoch = reader(folder)
    epoch(order)
    return epoch


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "datasets.json")
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        tiles = Path(scratch) / "tiles"
        write_folder(tiles, args.images)
        result = measure(tiles, args.images, args.rounds)
    result = {
        "what": "one epoch over 64×64 JPEG tiles in shuffled batches of 64, one thread",
        "images": args.images,
        "rounds": args.rounds,
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs",
        "versions": {"torch": torch.__version__, "pillow": PIL.__version__, "datasets": version("datasets")},
        **result,
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
