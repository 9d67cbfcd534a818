"""Disasters on the simulated Earth: pairs of images before and after, with the mask of what changed.

>>> pair = disasters.pair("flood", 3)                 # doctest: +SKIP
>>> pair.before.shape, pair.after.shape, pair.changed.shape
((64, 64, 3), (64, 64, 3), (256, 256))
>>> disasters.write("runs/disaster", per_kind=100)    # class folders for datasets.load  # doctest: +SKIP

The course's disaster protocol has six classes and, like xBD (Gupta et al. 2019, arXiv 1911.09296), few events
per class: all images of one *event* share their kind of land, their region, and their two dates. Class and
place are then entangled, and a classifier may recognise the place. That is intended: the pre-event control is
there to find it out.

What the events do to the ground is stylised; see :mod:`rs_course.datasets.damage`.
"""

from __future__ import annotations

import csv
import datetime
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path

import numpy as np
from PIL import Image

from rs_course import seeds

KINDS = ("earthquake", "flood", "storm", "tsunami", "volcano", "wildfire")
PLACES = ("before", "after", "changed")  # folders of a set of pairs
EVENTS = 4  # per kind, unless told otherwise
# Where each kind strikes: land, and what share of the tile's land cover it needs to leave a trace.
_STRIKES = {
    "earthquake": (("Residential", "Industrial"), {"building": 0.08}),
    "flood": (("River", "AnnualCrop", "Pasture"), {}),
    "storm": (("Forest", "Residential", "PermanentCrop"), {}),
    "tsunami": (("SeaLake", "River"), {"water": 0.12, "land": 0.25}),
    "volcano": (("HerbaceousVegetation", "Pasture", "Forest"), {}),
    "wildfire": (("Forest", "HerbaceousVegetation"), {}),
}
# What a generator is asked for when it edits the image before the event.
PROMPTS = {
    "earthquake": "a satellite image of collapsed buildings after an earthquake",
    "flood": "a satellite image of flooded land after a flood",
    "storm": "a satellite image of damaged roofs and fallen trees after a storm",
    "tsunami": "a satellite image of a coast swept by a tsunami",
    "volcano": "a satellite image of ash and lava after a volcanic eruption",
    "wildfire": "a satellite image of burnt land after a wildfire",
}
# The nearest thing that the course's minis were taught: they have never seen a disaster, and cannot draw one.
NEAREST = {
    "earthquake": "AnnualCrop", "flood": "River", "storm": "HerbaceousVegetation", "tsunami": "SeaLake",
    "volcano": "HerbaceousVegetation", "wildfire": "Forest",
}  # fmt: skip


@dataclass(frozen=True)
class Event:
    """What all scenes of one disaster share.

    Attributes:
        kind: One of :data:`KINDS`.
        name: ``"flood-2"``.
        label: Land of the scenes, a class of the simulated Earth.
        lon, lat: Degrees.
        before, after: The two acquisition dates.
        seed: Seed of its first scene.
    """

    kind: str
    name: str
    label: str
    lon: float
    lat: float
    before: datetime.date
    after: datetime.date
    seed: int


@dataclass(frozen=True, eq=False)
class Pair:
    """One place before and after.

    Attributes:
        event: The :class:`Event`.
        number: Which scene of the kind.
        before, after: uint8 ``[64, 64, 3]`` at 10 m.
        before_hr, after_hr: uint8 ``[256, 256, 3]`` at 2.5 m.
        changed: bool ``[256, 256]``, what the event touched.
        captions: Sentences about the image after.
    """

    event: Event
    number: int
    before: np.ndarray
    after: np.ndarray
    before_hr: np.ndarray
    after_hr: np.ndarray
    changed: np.ndarray
    captions: list[str]


def event(kind: str, number: int, *, seed: int = 0) -> Event:
    """Event ``number`` of a kind in the world ``seed``.

    Raises:
        ValueError: Unknown kind, or a negative number.
    """
    if kind not in KINDS:
        raise ValueError(f"There is no disaster {kind!r}; there are {', '.join(KINDS)}.")
    draw = seeds.generator(seed, 1000 * KINDS.index(kind) + number, stream=911)
    lands = _STRIKES[kind][0]
    first = datetime.date(2016, 1, 1) + datetime.timedelta(days=int(draw.integers(8 * 365)))
    return Event(
        kind=kind,
        name=f"{kind}-{number}",
        label=lands[number % len(lands)],
        lon=round(float(draw.uniform(-180, 180)), 2),
        lat=round(float(draw.uniform(-45, 58)), 2),
        before=first,
        after=first + datetime.timedelta(days=int(draw.integers(3, 25))),
        seed=int(draw.integers(10**9, 10**10)),
    )


def pair(kind: str, number: int, *, events: int = EVENTS, seed: int = 0) -> Pair:
    """Scene ``number`` of a kind; scenes take turns over its events.

    Args:
        kind: One of :data:`KINDS`.
        number: 0, 1, …
        events: Events per kind; with 1, class and place are the same thing.
        seed: Which world.

    Raises:
        ValueError: Unknown kind, or fewer than one event.
    """
    from rs_course.datasets import damage
    from rs_course.simulated_earth.atmosphere import expose
    from rs_course.simulated_earth.deterministic import RandomStream, mix_key
    from rs_course.simulated_earth.view import View

    if events < 1:
        raise ValueError(f"events={events}: a kind of disaster needs at least one event.")
    struck = event(kind, number % events, seed=seed)
    before = _scene(struck, number // events, struck.before)
    after = _scene(struck, number // events, struck.after)
    key = mix_key(before.seed & 0xFFFFFFFF, KINDS.index(kind) + 1)
    rgb, view = after.image_hr.astype(np.float32), View(after.metadata["gsd"] / 4)
    ground = damage.Ground(rgb=rgb, cover=after.landcover, height=after.elevation, view=view, key=key)
    changed = damage.DISASTERS[kind](ground)
    after_hr = np.clip(np.floor(ground.rgb + np.float32(0.5)), 0, 255).astype(np.uint8)
    noise = RandomStream(KINDS.index(kind), key, "event")
    return Pair(
        event=struck, number=number, before=before.image, before_hr=before.image_hr,
        after=expose(np.ascontiguousarray(after_hr.transpose(2, 0, 1)), 1.0, noise), after_hr=after_hr,
        changed=changed, captions=[PROMPTS[kind], f"{after.captions[0]} A {kind} has just struck."],
    )  # fmt: skip


def write(
    folder: str | Path,
    *,
    per_kind: int = 100,
    test_per_kind: int = 50,
    events: int = EVENTS,
    split: str = "event",
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write class folders ``before/``, ``after/`` and ``changed/`` (masks), each with a ``metadata.csv``.

    ``datasets.load(folder / "after", "train", origin="simulated")`` reads them; the column ``event`` is the
    group.

    Args:
        folder: Where to write; what is complete there is kept.
        per_kind, test_per_kind: Pairs per class for training and for the test.
        events: Events per kind.
        split: ``"event"`` keeps the last events of each kind for the test; ``"random"`` lets both parts have
            scenes of every event, as published protocols do.
        seed: Which world.
        progress: Called with (pairs done, pairs in all).

    Returns:
        The folder.

    Raises:
        ValueError: An unknown split, or too few events to part.
    """
    if split not in ("event", "random"):
        raise ValueError(f"split={split!r}: use 'event' (honest) or 'random' (as published protocols do).")
    if split == "event" and events < 2:
        raise ValueError(
            "A split by event needs at least two events per kind; with one, class and place are the same."
        )
    folder = Path(folder)
    plan = _numbers(per_kind, test_per_kind, events, split)
    rows = []
    for done, (kind, number, part) in enumerate((k, n, p) for k in KINDS for n, p in plan):
        name = f"{kind}/{number:05d}.png"
        struck = event(kind, number % events, seed=seed)
        rows.append({"file": name, "split": part, "event": struck.name, "lon": struck.lon, "lat": struck.lat})
        if not (folder / "changed" / name).exists():  # written last
            one = pair(kind, number, events=events, seed=seed)
            mask = one.changed.reshape(64, 4, 64, 4).mean((1, 3)) > 0.5
            images = (one.before, one.after, mask * np.uint8(255))
            save_images(folder, name, [Image.fromarray(pixels) for pixels in images])
        if progress:
            progress(done + 1, len(KINDS) * len(plan))
    write_tables(folder, rows)
    return folder


def save_images(folder: Path, name: str, images: list[Image.Image]) -> None:
    """Save the images before and after and the mask of one pair under the same name."""
    for place, image in zip(PLACES, images, strict=True):
        path = folder / place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)


def write_tables(folder: Path, rows: list[dict]) -> None:
    """Write the same ``metadata.csv`` beside the images before, those after, and the masks."""
    for place in PLACES:
        with open(folder / place / "metadata.csv", "w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, rows[0])
            table.writeheader()
            table.writerows(rows)


def _numbers(per_kind: int, test_per_kind: int, events: int, split: str) -> list[tuple[int, str]]:
    """Scene numbers and their part, the same for every kind."""
    if split == "random":
        test = np.random.default_rng(0).permutation(per_kind + test_per_kind)[:test_per_kind]
        return [(n, "test" if n in test else "train") for n in range(per_kind + test_per_kind)]
    kept_for_test = max(1, events // 4)
    train = (n for n in count() if n % events < events - kept_for_test)
    kept = (n for n in count() if n % events >= events - kept_for_test)
    parts = (("train", islice(train, per_kind)), ("test", islice(kept, test_per_kind)))
    return [(n, part) for part, numbers in parts for n in numbers]


def _scene(struck: Event, number: int, date):
    """The event's ``number``-th scene that has what the event needs to be seen, at a date."""
    from rs_course import simulated_earth

    needs = _STRIKES[struck.kind][1]
    for attempt in range(200):
        seed = struck.seed + 1000 * number + attempt
        scene = simulated_earth.scene(
            struck.label, seed, date=date, cloud_cover=0.0, lon=struck.lon, lat=struck.lat
        )
        if all(_share(scene.landcover, what) >= least for what, least in needs.items()):
            return scene
    raise RuntimeError(f"no scene of {struck.label} near seed {struck.seed} suits a {struck.kind}.")


def _share(cover: np.ndarray, what: str) -> float:
    from rs_course.simulated_earth import LANDCOVER

    if what == "land":
        return 1 - _share(cover, "water")
    return float((cover == LANDCOVER[what][0]).mean())
