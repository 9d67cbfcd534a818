"""A reader of land cover, trained on the simulated Earth, and the sentences it can write about real tiles.

Nobody has written captions for EuroSAT's tiles; all that is known about one is its class. A small
segmentation network that learnt from simulated tiles, whose land cover is known, reads where water, trees or
buildings are. What it finds is said in the simulator's own words, so that "water on the left" means the same
for a real look. It is not always right, so each class has a list of what may be said about it.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from rs_course import paths, precision
from rs_course.checkpoints.maps import SEGMENTATION_COLOURS, classes_of_scene
from rs_course.simulated_earth.captions import composition
from rs_course.simulated_earth.facts import extent

from .scenes import conditions, place

NAMES = tuple(SEGMENTATION_COLOURS)
ROAD = NAMES.index("road")
# Words of the captions for what the reader tells apart; the background (grass, scrub, gardens) is not named.
WORDS = {
    "building": "building", "road": "road", "water": "water", "barren": "bare ground",
    "forest": "trees", "agriculture": "cropland",
}  # fmt: skip
# What may be said about a real tile of a class: what belongs there, and is not easily taken for another.
SAYABLE = {
    "AnnualCrop": ("forest", "barren"),
    "Forest": (),
    "HerbaceousVegetation": ("forest", "barren"),
    "Highway": ("forest", "road", "building"),
    "Industrial": ("building", "forest", "agriculture"),
    "Pasture": ("forest",),
    "PermanentCrop": ("forest",),
    "Residential": ("building", "forest", "agriculture"),
    "River": ("water", "forest", "agriculture"),
    "SeaLake": ("water", "forest", "barren"),
}
LEAST = 6  # percent of the tile from which on land cover is named


class LandcoverReader(nn.Module):
    """Tile ``[N, 3, 64, 64]`` in [0, 1] to scores of :data:`NAMES` ``[N, 7, 64, 64]``."""

    def __init__(self, width: int = 32):
        super().__init__()

        def conv(inside, outside, stride=1, dilation=1):
            layer = nn.Conv2d(inside, outside, 3, stride, padding=dilation, dilation=dilation, bias=False)
            return nn.Sequential(layer, nn.BatchNorm2d(outside), nn.ReLU())

        self.fine = conv(3, width // 2)
        self.coarse = nn.Sequential(
            conv(width // 2, width, 2),
            *(conv(width, width, dilation=d) for d in (1, 2, 4, 8)),
        )
        self.head = nn.Sequential(conv(width // 2 + width, width), nn.Conv2d(width, len(NAMES), 1))

    def forward(self, x):
        fine = self.fine(2 * x - 1)
        coarse = F.interpolate(self.coarse(fine), scale_factor=2, mode="bilinear")
        return self.head(torch.cat([fine, coarse], dim=1))


def train_reader(
    scenes: int = 2_000, steps: int = 3_000, *, draw: int = 5, seed: int = 0, batch: int = 16
) -> LandcoverReader:
    """A reader for tiles of any date and scale, from the cache where it has been trained before.

    Args:
        scenes: Simulated scenes under :func:`rs_course.training.scenes.conditions`.
        steps: Gradient steps. Colours are changed at random, because real ones differ from the simulator's.
        draw: Which places of the simulator's training split.
        seed: Of weights, order and colours.
        batch: Tiles a step.
    """
    from rs_course import simulated_earth

    folder = paths.cache_dir() / "training" / simulated_earth.VERSION
    kept = folder / f"landcover-{scenes}-{steps}-{draw}-{seed}.pt"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        reader = LandcoverReader()
    if kept.exists():
        reader.load_state_dict(torch.load(kept, weights_only=True))
        return reader.eval()
    images, truth = _known(scenes, draw, folder)
    optimizer = torch.optim.AdamW(reader.parameters(), lr=4e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    weight = torch.ones(len(NAMES)).index_fill_(0, torch.tensor(ROAD), 2.0)  # roads are rare
    for step in range(steps):
        rng = np.random.default_rng([seed, step])
        chosen = rng.integers(len(images), size=batch)
        x = torch.from_numpy(images[chosen]).permute(0, 3, 1, 2) / 255
        gain, shift = rng.uniform(0.85, 1.15, (batch, 3, 1, 1)), rng.uniform(-0.05, 0.05, (batch, 3, 1, 1))
        x = (x * torch.from_numpy(gain).float() + torch.from_numpy(shift).float()).clamp(0, 1)
        turns = int(rng.integers(4))
        with precision.fast():
            scores = reader(x.rot90(turns, (2, 3)))
        loss = F.cross_entropy(
            scores.float(), torch.from_numpy(truth[chosen]).long().rot90(turns, (1, 2)), weight
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    torch.save(reader.state_dict(), kept)
    return reader.eval()


def _known(count: int, draw: int, folder) -> tuple[np.ndarray, np.ndarray]:
    """Tiles ``[N, 64, 64, 3]`` and their classes ``[N, 64, 64]``, rendered once."""
    from rs_course.simulated_earth import scene

    file = folder / f"landcover-{count}-{draw}.npz"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        scenes = (scene(*place(k, draw), **conditions(k, draw)) for k in range(count))
        images, truth = zip(*((one.image, classes_of_scene(one)[2::4, 2::4]) for one in scenes), strict=True)
        part = file.with_suffix(".part.npz")
        np.savez(part, images=np.stack(images), truth=np.stack(truth))
        part.replace(file)
    with np.load(file) as stored:
        return stored["images"], stored["truth"]


@torch.inference_mode()
def read(reader: LandcoverReader, images: np.ndarray, batch: int = 100) -> np.ndarray:
    """Places in :data:`NAMES` for uint8 tiles ``[N, 64, 64, 3]``: uint8 ``[N, 64, 64]``."""
    found = []
    for start in range(0, len(images), batch):
        x = torch.from_numpy(np.array(images[start : start + batch])).permute(0, 3, 1, 2) / 255
        found.append(reader(x).argmax(1).byte().numpy())
    return np.concatenate(found)


def sentence_of(classes: np.ndarray, label: str, rng) -> str | None:
    """What may be said about one tile, in the simulator's words; ``None`` where there is nothing.

    Args:
        classes: Places in :data:`NAMES`, ``[64, 64]``.
        label: EuroSAT's class.
        rng: Chooses the wording.
    """
    counts = np.bincount(classes.ravel(), minlength=len(NAMES))
    said = [(int(counts[NAMES.index(name)]), name) for name in SAYABLE[label]]
    said = sorted(((n, name) for n, name in said if 100 * n >= LEAST * classes.size), reverse=True)
    if not said:
        return None
    shares = {WORDS[name]: round(100 * n / classes.size) for n, name in said}
    places = {WORDS[name]: extent(classes == NAMES.index(name)) for _, name in said}
    return composition(
        {"shares": shares, "positions": places}, lambda *options: options[rng.integers(len(options))]
    )


def sentences_of(maps: np.ndarray, labels, names, seed: int = 0) -> list[str | None]:
    """:func:`sentence_of` for maps ``[N, 64, 64]`` and class numbers that index ``names``."""
    rng = np.random.default_rng(seed)
    return [sentence_of(one, names[k], rng) for one, k in zip(maps, labels, strict=True)]
