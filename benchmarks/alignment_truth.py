"""Metrics judged against the truth: what each scorer knows, what each metric misses, what guidance buys.

    python benchmarks/alignment_truth.py scorers  [--eurosat PATH]
    python benchmarks/alignment_truth.py changes
    python benchmarks/alignment_truth.py ucmerced --ucmerced PATH
    python benchmarks/alignment_truth.py guidance [--count 80]

Each part writes its own key of ``data/results/alignment_truth.json``, which its lesson reads. The truth
comes from the simulator, which knows what is in a scene; ``scorers`` and ``ucmerced`` add real tiles (the
test splits of EuroSAT and UC Merced).
"""

from __future__ import annotations

import argparse
import json
import time
from importlib.metadata import version

import numpy as np
import torch

from rs_course import alignment, checkpoints, datasets, metrics, simulated_earth
from rs_course.alignment import corruptions
from rs_course.datasets import class_prompt
from rs_course.paths import data_dir

RESULTS = data_dir() / "results" / "alignment_truth.json"
JUDGES = ("mini-clip", "mini-clip-b")
GENERATORS = ("mini-diffusionsat", "mini-text2earth")
GRADES = {
    "blur": (0, 0.5, 1, 2, 4),  # pixels
    "noise": (0, 0.02, 0.05, 0.1, 0.2),  # of the whole range
    "jpeg": (0, 25, 50, 75, 90),  # 100 - quality
    "mirror": (0, 0.25, 0.5, 0.75, 1),  # shares of the set, here and below
    "captions swapped": (0, 0.05, 0.1, 0.25, 0.5),
    "collapse": (0, 0.25, 0.5, 0.75, 0.95),
    "one class": (0, 0.05, 0.1, 0.25, 0.5),
    "copied truth": (0, 0.05, 0.1, 0.25, 0.5),
}


def judges() -> dict[str, alignment.Scorer]:
    return {name: alignment.load(name, long_captions="cut") for name in JUDGES}


def share(hits) -> dict:
    """A proportion in per cent with Wilson's 95 % interval."""
    hits = np.asarray(hits, float)
    found = metrics.wilson(hits.sum(), len(hits))
    return {"percent": _1(100 * found.estimate), "low": _1(100 * found.low), "high": _1(100 * found.high)}


def mean(values) -> dict:
    found = metrics.bootstrap(np.mean, np.asarray(values, float), resamples=1000)
    return {"mean": round(found.estimate, 2), "low": round(found.low, 2), "high": round(found.high, 2)}


def _1(value: float) -> float:
    return round(float(value), 1)


def recalls(found) -> dict:
    pairs = {"image to text": found.image_to_text, "text to image": found.text_to_image}
    return {way: {f"R@{k}": _1(100 * value) for k, value in row.items()} for way, row in pairs.items()}


def recognised(judge, images, labels, prompts) -> dict:
    return share(alignment.zero_shot(judge, images, prompts).argmax(1).numpy() == labels)


def scorers(args) -> dict:
    """Retrieval, recognition, minimal pairs and swapped captions, for each judge."""
    from rs_course.training.training_sets import real_captions

    test = datasets.load("simulated", "test", size=1000)
    images, labels = np.asarray(test.images), test.labels
    captions = [" ".join(own[:2]) for own in test.captions]
    classes = range(len(test.classes))
    scenes = [
        simulated_earth.scene(label, 2_500_000_000 + k)
        for label in simulated_earth.CLASSES
        for k in range(40)
    ]
    # Seasons and clouds are rendered again, and so plentiful that a quarter of the places is enough.
    pairs = alignment.minimal_pairs(scenes, ["river/road", "number of villages", "left/right"])
    pairs += alignment.minimal_pairs(scenes[::4], ["summer/winter", "cloudy/clear"])
    result = {"test": {"simulated": test.provenance, "tiles": len(test), "pairs": len(pairs)}}
    for name, judge in judges().items():
        similarity = judge.similarity(images[:500], captions[:500])
        own = similarity.diagonal()
        rows = torch.arange(500)
        others = {"of another class": rows.roll(1), "of the same class": rows.roll(10)}
        row = {
            "parameters": sum(p.numel() for p in judge.model.parameters()),
            "retrieval of 500": recalls(alignment.retrieval(similarity)),
            "zero-shot, simulated": recognised(judge, images, labels, [[class_prompt(c)] for c in classes]),
            "own caption beats one": {
                other: share((own > similarity[rows, moved]).double() + (own == similarity[rows, moved]) / 2)
                for other, moved in others.items()
            },
            "minimal pairs": {
                kind: {"percent": _1(100 * v.estimate), "low": _1(100 * v.low), "high": _1(100 * v.high)}
                for kind, v in alignment.minimal_pair_accuracy(judge, pairs).items()
            },
            "pairs of each kind": {
                kind: sum(pair.kind == kind for pair in pairs)
                for kind in dict.fromkeys(p.kind for p in pairs)
            },
        }
        if args.eurosat:
            real = datasets.load(args.eurosat, "test")
            order = [simulated_earth.CLASSES.index(name) for name in real.classes]
            prompts = [real_captions(k) for k in order]
            row["zero-shot, EuroSAT test"] = recognised(judge, np.asarray(real.images), real.labels, prompts)
            row["EuroSAT test tiles"] = len(real)
        result[name] = row
    return result


def measured(both, reference, images, captions) -> dict[str, float]:
    """Every metric of one set; distances are taken in the first judge's features, FID in both."""
    first = next(iter(both))
    features = {name: judge.image_embeddings(images) for name, judge in both.items()}
    text = {name: judge.text_embeddings(captions) for name, judge in both.items()}
    scores = {
        f"CLIP score, {name}": 100 * (features[name] * text[name]).sum(1).mean().item() for name in both
    }
    distances = {f"FID, {name}": metrics.fid(reference[name], features[name]) for name in both}
    near = metrics.precision_recall(reference[first], features[first])
    return scores | distances | {
        "KID": float(metrics.kid(reference[first], features[first])),
        "CMMD": metrics.cmmd(reference[first], features[first]),
        **near._asdict(),
    }  # fmt: skip


def changed(kind, grade, images, captions, labels, reference):
    """A set with one change of one grade: tiles and captions."""
    if kind == "captions swapped":
        return images, corruptions.swap(captions, grade)
    count = round(grade * len(images))
    if kind == "collapse":
        rows = corruptions.collapse(range(len(images)), grade)
    elif kind == "one class":  # with their own, true captions
        rows = [*np.resize(np.flatnonzero(labels == labels[0]), count), *range(count, len(images))]
    elif kind == "copied truth":
        return np.concatenate([reference[0][:count], images[count:]]), [
            *reference[1][:count],
            *captions[count:],
        ]
    else:
        return getattr(corruptions, kind)(images, grade), captions
    return images[np.array(rows)], [captions[i] for i in rows]


def grade_changes(args) -> dict:
    """Every metric at every grade, against its spread over unchanged sets of the same size."""
    size, spread = 300, 16
    test = datasets.load("simulated", "test", size=1000)
    images, captions, labels = np.asarray(test.images), [own[0] for own in test.captions], test.labels
    both = judges()
    reference = {name: judge.image_embeddings(images[:400]) for name, judge in both.items()}
    draws = [400 + np.random.default_rng(k).permutation(600)[:size] for k in range(spread)]
    unchanged = [measured(both, reference, images[rows], [captions[i] for i in rows]) for rows in draws]
    names = list(unchanged[0])
    centre = {name: float(np.mean([row[name] for row in unchanged])) for name in names}
    # Draws from one pool overlap and so scatter too little: the correction for a finite population.
    wider = (1 - size / 600) ** -0.5
    width = {name: wider * float(np.std([row[name] for row in unchanged], ddof=1)) for name in names}
    rows = draws[0]
    truth = images[:400], captions[:400]
    values = {}
    for kind, grades in GRADES.items():
        values[kind] = {}
        for grade in grades[1:]:
            made = changed(kind, grade, images[rows], [captions[i] for i in rows], labels[rows], truth)
            found = measured(both, reference, *made)
            # Against the same tiles unchanged: what is left is the change's doing.
            values[kind][str(grade)] = {
                name: {
                    "value": float(f"{found[name]:.4g}"),
                    "z": _1((found[name] - unchanged[0][name]) / width[name]),
                }
                for name in names
            }
    return {
        "reference": 400,
        "tiles": size,
        "unchanged": {
            name: {"mean": float(f"{centre[name]:.4g}"), "sd": float(f"{width[name]:.2g}")} for name in names
        },
        "grades": {kind: list(grades[1:]) for kind, grades in GRADES.items()},
        "values": values,
    }


def ucmerced(args) -> dict:
    """Aerial photographs of 0.3 m with five captions each, which no mini has seen."""
    data = datasets.load(args.ucmerced, "test", image_size=256)
    images, captions = np.asarray(data.images), data.captions
    owner = [i for i, own in enumerate(captions) for _ in own]
    result = {
        "images": len(data),
        "captions": len(owner),
        "different captions": len({caption for own in captions for caption in own}),
        "chance of R@10": _1(100 * 10 / len(data)),  # text to image
    }
    labels = torch.as_tensor(data.labels)
    for name, judge in judges().items():
        similarity = judge.similarity(images, [caption for own in captions for caption in own])
        per_image = torch.stack(
            [similarity[:, torch.tensor(owner) == i].mean(1) for i in range(len(data))], 1
        )
        wins = [
            (per_image[i, i] > per_image[i][labels != labels[i]]).double().mean() for i in range(len(data))
        ]
        prompts = [[f"a satellite image of {label}"] for label in data.classes]
        result[name] = {
            "retrieval": recalls(alignment.retrieval(similarity, owner)),
            "own captions beat another class's": mean(100 * np.array(wins)),
            "zero-shot": recognised(judge, images, data.labels, prompts),
        }
    return result


def guidance(args) -> dict:
    """Agreement, distance and variety of generated tiles by guidance scale, and of true tiles beside them."""
    count, scales = args.count, (0, 1, 2, 4, 8)
    test = datasets.load("simulated", "test", size=500 + count)
    images = np.asarray(test.images)
    both = judges()
    reference = {name: judge.image_embeddings(images[:500]) for name, judge in both.items()}
    labels = [k % 10 for k in range(count)]
    texts = [class_prompt(k) for k in labels]
    result = {"tiles": count, "reference": 500, "seed": 0, "true tiles": None}

    def row(tiles):
        found = measured(both, reference, tiles, texts)
        for name, judge in both.items():
            found[f"CLIP score, {name}"] = mean(judge.clip_score_percent(tiles, texts).numpy())
            prompts = [[class_prompt(k)] for k in range(10)]
            found[f"recognised, {name}"] = recognised(judge, tiles, np.array(labels), prompts)
        return {
            key: value if isinstance(value, dict) else float(f"{value:.4g}") for key, value in found.items()
        }

    result["true tiles"] = row(images[500:])
    for name in GENERATORS:
        generator = checkpoints.load(name)
        level = "14_GOOGLE_LEVEL_" if generator.family == "text2earth" else ""
        prompts = [level + text for text in texts]
        result[name] = {"steps": generator.defaults["steps"], "by guidance": {}}
        for scale in scales:
            asked = prompts if scale else [""] * count  # 0: no text at all
            tiles = generator.sample(asked, guidance=max(1, scale), seed=0, batch_size=20)
            result[name]["by guidance"][str(scale)] = row(tiles)
    return result


PARTS = {"scorers": scorers, "changes": grade_changes, "ucmerced": ucmerced, "guidance": guidance}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--eurosat", help="EuroSAT's archive, folder or name")
    parser.add_argument("--ucmerced", help="UC Merced with captions: archive, folder or name")
    parser.add_argument("--count", type=int, default=80, help="generated tiles for each scale")
    args = parser.parse_args()
    if args.part == "ucmerced" and not args.ucmerced:
        parser.error("ucmerced needs --ucmerced PATH.")
    start = time.monotonic()
    made = PARTS[args.part](args)
    made |= {
        "made by": f"benchmarks/alignment_truth.py {args.part}",
        "simulator": simulated_earth.VERSION,
        "torch": version("torch"),
        "seconds": round(time.monotonic() - start),
    }
    stored = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    RESULTS.write_text(json.dumps(stored | {args.part: made}, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(made, indent=1))


if __name__ == "__main__":
    main()
