"""Do the conditional minis obey? Maps, low-resolution tiles and dates against the simulator's truth.

    python benchmarks/conditioning.py [--count 80]

- ``mini-crsdiff``: tiles are generated from the maps of unseen scenes. A small segmentation network, trained
  on simulated tiles alone, reads roads and land cover back out of them. Its reading of the true tiles is the
  ceiling; its reading of tiles of other scenes of the same class is the floor.
- ``mini-controlnet``, shown a coarse tile: PSNR and SSIM of 64×64 tiles from 16×16 ones beside bicubic, the
  distance of textures, and how well the same reader sees land cover in them.
- ``mini-controlnet``, shown a tile of July and asked for another month: greenness over the year is correlated
  with the simulator's, and the edges with those of the shown tile.

Writes ``data/results/conditioning.json``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from rs_course import checkpoints, datasets, metrics, paths, simulated_earth
from rs_course.alignment.atoms import LandcoverReader, greenness
from rs_course.checkpoints import maps as extract
from rs_course.checkpoints.crsdiff import MAPS
from rs_course.checkpoints.maps import SEGMENTATION_COLOURS
from rs_course.metrics.intervals import bootstrap
from rs_course.superres import baselines, degradation
from rs_course.superres.quality import texture_distance
from rs_course.training import landcover, training_sets
from rs_course.training_loop import once

RESULT = Path(__file__).resolve().parents[1] / "data" / "results" / "conditioning.json"
FIRST = 2_200_000_000  # scene seeds of the simulator's test split
SCENES = 3_000  # of the reader
SAMPLER = {"sampler": "sde-dpmsolver++", "steps": 20}  # with the ControlNet; mini-crsdiff's own is the same
NAMES = list(SEGMENTATION_COLOURS)
ROAD = NAMES.index("road")
WITH_ROADS = ("Highway", "Industrial", "Residential")
# As the published model guides: both halves see the maps, so that only the words are strengthened.
WORDS = {"guess_mode": False, "guidance": 2.0, "guidance_interval": (0.0, 1.0)}
ARMS = {  # maps that are given, and settings other than the checkpoint's
    "all maps": (MAPS, {}),
    "all maps, guidance by words alone": (MAPS, WORDS),
    "all maps, DDIM": (MAPS, {"sampler": "ddim"}),
    "segmentation": (("segmentation",), {}),
    "segmentation, guidance by words alone": (("segmentation",), WORDS),
    "road": (("road",), {}),
    "road, guidance by words alone": (("road",), WORDS),
    "sketch": (("sketch",), {}),
    "text only": ((), {}),
}


def train_reader(
    scenes: training_sets.MappedScenes, steps: int, seed: int = 0, batch_size: int = 16
) -> LandcoverReader:
    """The reader, trained on tiles of any date and scale, once; roads count more, because they are rare."""
    kept = paths.cache_dir() / "training" / simulated_earth.VERSION / f"landcover-{steps}-{seed}.pt"

    def train():
        truth = scenes.truth[:, 2, ::2, ::2]
        options = {"steps": steps, "seed": seed, "batch_size": batch_size, "fast": False}
        return landcover.fit(scenes.images, truth, {"road": 3.0}, **options)

    return once(kept, LandcoverReader(), train)


@torch.inference_mode()
def read(reader: LandcoverReader, images: torch.Tensor) -> np.ndarray:
    """Classes ``[N, 64, 64]``."""
    return torch.cat([reader(part).argmax(1) for part in images.split(100)]).numpy()


def road_counts(found: np.ndarray, true: np.ndarray, slack: int = 1) -> np.ndarray:
    """``[N, 4]`` of road masks ``[N, H, W]``: found pixels that are met, found, true that are met, true.

    A pixel is met within ``slack`` pixels (Mnih & Hinton 2010).
    """

    def wider(mask):
        x = torch.from_numpy(mask).float()[:, None]
        return F.max_pool2d(x, 2 * slack + 1, 1, slack)[:, 0].bool().numpy()

    masks = (found & wider(true), found, true & wider(found), true)
    return np.stack([mask.sum((1, 2)) for mask in masks], axis=1)


def f1(counts: np.ndarray) -> float:
    """Harmonic mean of precision and recall over all scenes, from :func:`road_counts`."""
    met, found, hit, true = counts.sum(0)
    precision, recall = met / max(found, 1), hit / max(true, 1)
    return float(2 * precision * recall / max(precision + recall, 1e-9))


def rounded(interval) -> list[float]:
    return [round(float(value), 3) for value in (interval.estimate, interval.low, interval.high)]


class Agreement:
    """Tiles, as the reader sees them ``[N, H, W]``, beside the maps of one place each."""

    def __init__(self, classes, true, roads, has_roads):
        self.per_scene = (classes == true).mean((1, 2))
        self.roads = road_counts(classes[has_roads] == ROAD, roads[has_roads])

    def numbers(self) -> dict:
        """Share of pixels in the right class, with a 95 % interval over scenes, and F1 of the roads."""
        return {
            "pixels": rounded(bootstrap(np.mean, self.per_scene)),
            "road F1": round(f1(self.roads), 3),
        }

    def more_than(self, other: Agreement) -> dict:
        """The differences to another agreement of the same tiles, with 95 % intervals over scenes."""

        def gain(mine, theirs):
            return f1(mine) - f1(theirs)

        return {
            "pixels": rounded(bootstrap(np.mean, self.per_scene - other.per_scene)),
            "road F1": rounded(bootstrap(gain, self.roads, other.roads, paired=True)),
        }


def map_obedience(reader: LandcoverReader, scenes: list, name: str) -> dict:
    """Agreement of generated tiles with the maps that were given, per set of maps."""
    generator = checkpoints.load(name)
    prompts = [datasets.class_prompt(scene.label) for scene in scenes]
    rows = [scene.metadata for scene in scenes]
    given = [{**extract.maps_of_scene(scene, 64), **filtered(scene)} for scene in scenes]
    conditions = {key: torch.cat([row[key] for row in given]) for key in given[0]}
    true = np.stack([extract.classes_of_scene(scene)[2::4, 2::4] for scene in scenes])
    roads = conditions["road"][:, 0].numpy() > 0.3
    has_roads = np.array([scene.label in WITH_ROADS for scene in scenes])
    other = np.array([(k + 10) % len(scenes) for k in range(len(scenes))])  # the next place of the same class
    own, another = (true, roads, has_roads), (true[other], roads[other], has_roads)
    truth = read(reader, pictures([scene.image for scene in scenes]))
    result = {
        "true tiles (ceiling)": Agreement(truth, *own).numbers(),
        "true tiles of other places (floor)": Agreement(truth[other], *own).numbers(),
    }
    for arm, (keys, options) in ARMS.items():
        heard = {key: conditions[key] for key in keys}
        tiles = generator.sample(prompts, metadata=rows, conditions=heard, seed=3, **options)
        classes = read(reader, tiles)
        mine, theirs = Agreement(classes, *own), Agreement(classes, *another)
        result[arm] = mine.numbers()
        result[arm]["maps of other places"] = theirs.numbers()
        result[arm]["more than by those"] = mine.more_than(theirs)
        print(arm, result[arm], flush=True)
    return {"checkpoint": name, "scenes": len(scenes), "settings": generator.defaults, "arms": result}


def filtered(scene) -> dict[str, torch.Tensor]:
    """The maps that scikit-image finds in a scene's tile."""
    filters = {"mlsd": extract.lines, "hed": extract.edges, "sketch": extract.sketch}
    return {key: find(scene.image) for key, find in filters.items()}


def superres_quality(reader: LandcoverReader, scenes: list, base: str, name: str) -> dict:
    """The ControlNet beside bicubic: distortion, texture, and what the reader sees."""
    generator = checkpoints.load(base, controlnet=name)
    high = pictures([scene.image for scene in scenes])
    low = degradation.bicubic(high)
    true = np.stack([extract.classes_of_scene(scene)[2::4, 2::4] for scene in scenes])
    rows = [scene.metadata for scene in scenes]
    coarse = [{**row, "gsd": 4 * row["gsd"]} for row in rows]
    options = {"metadata": rows, "image": low, "cond_metadata": coarse, "size": (64, 64), **SAMPLER}
    decoded = generator.vae
    with torch.inference_mode():
        through = decoded.decode(decoded.encode(2 * high - 1).latent_dist.mode()).sample / 2 + 0.5
    forms = {
        "true tile": high,
        "through the autoencoder": through.clamp(0, 1),
        "bicubic": baselines.bicubic(low),
    }
    draws = [generator.sample([""] * len(high), guidance=1, seed=seed, **options) for seed in range(4)]
    forms |= {"ControlNet": draws[0], "ControlNet, mean of 4 draws": torch.stack(draws).mean(0)}
    result = {}
    for form, images in forms.items():
        convention = {"crop": 4, **metrics.CONVENTIONS["basicsr_y"]}
        pair = (degradation.round8(images), high)
        scores = {key: getattr(metrics, key)(*pair, **convention) for key in ("psnr", "ssim")}
        interval = bootstrap(np.mean, scores["psnr"].numpy())
        result[form] = {
            "psnr": [round(float(v), 2) for v in (scores["psnr"].mean(), interval.low, interval.high)],
            "ssim": round(float(scores["ssim"].mean()), 3),
            "texture distance": round(texture_distance(*pair), 2),
            "pixels read right": round(float((read(reader, images) == true).mean()), 3),
        }
        if form == "true tile":
            del result[form]["psnr"], result[form]["ssim"], result[form]["texture distance"]
        print(form, result[form], flush=True)
    return {
        "checkpoint": name,
        "base": base,
        "scenes": len(scenes),
        "settings": {"guidance": 1, **SAMPLER},
        "forms": result,
    }


def date_obedience(base: str, name: str, count: int) -> dict:
    """Greenness over the year, and edges, of tiles asked for another month than the shown one."""
    generator = checkpoints.load(base, controlnet=name)
    classes, months = ("AnnualCrop", "Forest", "Pasture"), range(1, 13)
    places = [(label, FIRST + 500 + k) for label in classes for k in range(count)]

    def rendered(month):
        options = {"cloud_cover": 0.0, "lat": 48.0}
        return [simulated_earth.scene(*place, date=(2021, month, 15), **options) for place in places]

    shown = rendered(7)
    picture = pictures([scene.image for scene in shown])
    prompts = [datasets.class_prompt(scene.label) for scene in shown]
    curves, edges = {"simulator": [], "generated": []}, {"generated": [], "simulator": [], "other place": []}
    for month in months:
        scenes = rendered(month)
        tiles = generator.sample(
            prompts,
            metadata=[scene.metadata for scene in scenes],
            image=picture,
            cond_metadata=[scene.metadata for scene in shown],
            seed=5,
            **SAMPLER,
        )
        true = pictures([scene.image for scene in scenes])
        for who, images in (("simulator", true), ("generated", tiles)):
            curves[who].append(greenness(images.permute(0, 2, 3, 1).mul(255).round().numpy()))
        edges["generated"].append(edge_correlation(tiles, picture))
        edges["simulator"].append(edge_correlation(true, picture))
        edges["other place"].append(edge_correlation(tiles, picture.roll(1, 0)))
    return {
        "checkpoint": name,
        "base": base,
        "settings": SAMPLER,
        "shown": "15 July 2021, no clouds, latitude 48",
        "tiles per month": len(places),
        "greenness": {who: [round(v, 4) for v in curve] for who, curve in curves.items()},
        "greenness correlation": round(float(np.corrcoef(*curves.values())[0, 1]), 3),
        "edge correlation with the shown tile": {
            who: round(float(np.mean(values)), 3) for who, values in edges.items()
        },
    }


def edge_correlation(images: torch.Tensor, others: torch.Tensor) -> float:
    """Mean correlation of the edge maps of pairs of tiles."""
    maps = [extract.edges(batch)[:, 0].flatten(1).numpy() for batch in (images, others)]
    return float(np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(*maps, strict=True)]))


def pictures(images: list[np.ndarray]) -> torch.Tensor:
    """uint8 tiles to ``[N, 3, 64, 64]`` in [0, 1]."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2) / 255


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=80, help="scenes for the maps and super-resolution")
    parser.add_argument("--places", type=int, default=6, help="places per class for the dates")
    parser.add_argument("--steps", type=int, default=1500, help="training steps of the reader")
    parser.add_argument("--only", choices=("maps", "superres", "date"), help="renew one part of the file")
    parser.add_argument("--base", default="mini-diffusionsat")
    parser.add_argument("--crsdiff", default="mini-crsdiff")
    parser.add_argument("--controlnet", default="mini-controlnet")
    arguments = parser.parse_args()
    labels = simulated_earth.CLASSES
    scenes = [
        simulated_earth.scene(labels[k % 10], FIRST + k // 10, cloud_cover=0.0)
        for k in range(arguments.count)
    ]
    numbers = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    numbers["made by"] = "python benchmarks/conditioning.py"
    numbers["simulator"] = simulated_earth.VERSION
    if arguments.only != "date":
        reader = train_reader(training_sets.mapped_scenes(SCENES), arguments.steps)
        numbers["reader"] = {
            "trained on": f"{SCENES} simulated scenes (training places, draw 3)",
            "steps": arguments.steps,
            "parameters": sum(p.numel() for p in reader.parameters()),
        }
    if arguments.only in (None, "maps"):
        numbers["maps"] = map_obedience(reader, scenes, arguments.crsdiff)
    if arguments.only in (None, "superres"):
        numbers["superres"] = superres_quality(reader, scenes, arguments.base, arguments.controlnet)
    if arguments.only in (None, "date"):
        numbers["date"] = date_obedience(arguments.base, arguments.controlnet, arguments.places)
    RESULT.write_text(json.dumps(numbers, indent=1) + "\n")


if __name__ == "__main__":
    main()
