"""Do the generators obey captions? Opposite pairs of statements, the same noise, judged by a reader.

    python benchmarks/caption_obedience.py [--checkpoint mini-diffusionsat …] [--scenes 800]

Every atom of unseen scenes (``rs_course.alignment.atoms``) is asked for together with its opposite, from the
same initial noise, with the checkpoint's own settings; ``mini-landcover``, trained on true simulated tiles,
says which of the two tiles shows more of what was asked. The same test on the true tiles says what the reader
can see at all. Writes ``data/results/caption_obedience.json``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from rs_course import checkpoints, simulated_earth
from rs_course.alignment.atoms import KINDS, atoms, load_reader, obedience, won
from rs_course.checkpoints.images import pixels

RESULT = Path(__file__).resolve().parents[1] / "data" / "results" / "caption_obedience.json"
FIRST = 2_300_000_000  # scene seeds of the simulator's test split
MOST, LEAST = 60, 10  # atoms of each kind; a kind with fewer is left out


def some(scenes) -> list:
    """At most :data:`MOST` atoms of each kind, in the order of the scenes, where there are enough."""
    of_kinds = (atoms(scenes, [kind])[:MOST] for kind in KINDS)
    return [one for of_kind in of_kinds if len(of_kind) >= LEAST for one in of_kind]


def drawn(generator, sentences: list[str], seed: int) -> np.ndarray:
    """Tiles ``[N, 64, 64, 3]``; tile k starts from the same noise for every list of sentences."""
    prefix = "14_GOOGLE_LEVEL_" if generator.family == "text2earth" else ""
    return pixels(generator.sample([prefix + sentence for sentence in sentences], seed=seed))


def table(found, wins) -> dict:
    """Share won, interval and number of pairs, by kind."""
    numbers = obedience(found, wins)
    kinds = [one.kind for one in found]
    return {
        kind: [round(float(x), 3) for x in (one.estimate, one.low, one.high)]
        + [len(kinds) if kind == "all" else kinds.count(kind)]
        for kind, one in numbers.items()
    }


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkpoint", nargs="+", default=["mini-diffusionsat", "mini-text2earth"])
    parser.add_argument("--scenes", type=int, default=800)
    parser.add_argument("--seed", type=int, default=11)
    arguments = parser.parse_args()
    classes = simulated_earth.CLASSES
    scenes = [simulated_earth.scene(classes[k % 10], FIRST + k) for k in range(arguments.scenes)]
    found, reader = some(scenes), load_reader()
    true = won(found, np.stack([a.image for a in found]), np.stack([a.other for a in found]), reader)
    stored = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    stored |= {
        "made by": "python benchmarks/caption_obedience.py",
        "columns": ["share of pairs won", "low", "high", "pairs"],
        "true tiles": table(found, true),
    }
    for name in arguments.checkpoint:
        generator = checkpoints.load(name)
        tiles = [
            drawn(generator, [getattr(one, side) for one in found], arguments.seed)
            for side in ("sentence", "opposite")
        ]
        stored[name] = table(found, won(found, *tiles, reader))
        print(name, json.dumps(stored[name]), flush=True)
    print("true tiles", json.dumps(stored["true tiles"]))
    RESULT.write_text(json.dumps(stored, indent=1) + "\n")


if __name__ == "__main__":
    main()
