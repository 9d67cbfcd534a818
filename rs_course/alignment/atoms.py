"""Ask, and check atom by atom: does a generator obey one statement at a time?

An atom is one statement of the simulator's grammar that a reader of land cover can check (the idea of
Soft-TIFA in GenEval 2: one atom, one question). Each comes as an opposite pair, drawn from the same noise: "…
trees on the left" and "… trees on the right". The pair is won if the measure is larger on the tile that was
asked for it. A generator that does not listen wins half of the pairs, whatever it likes to draw; and what the
reader can see at all is told by the same test on true tiles. The reader is a segmentation network, because
class labels and CLIP scores saturate: they cannot tell whether the water lies on the left.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import label as components
from torch import nn

from rs_course.checkpoints.maps import SEGMENTATION_COLOURS, classes_of_scene
from rs_course.metrics.intervals import Interval

from .measures import made_of, rerender, won_by_kind

Measure = Callable[[np.ndarray, np.ndarray], float]  # (tile uint8 [H, W, 3], classes [H, W]) -> number
READABLE = {
    "water": "water", "trees": "forest", "cropland": "agriculture", "bare ground": "barren",
    "buildings": "building",
}  # fmt: skip
_COVER = "|".join(READABLE)
_AMOUNT = re.compile(rf"^({_COVER})\b.* (nearly all|most|about a third|a part) of the tile", re.IGNORECASE)
_LESS_OR_MORE = {
    "nearly all": "a part", "most": "a part", "about a third": "nearly all", "a part": "nearly all"
}  # fmt: skip
_PLACED = re.compile(rf"\b({_COVER}) (?:on|at) the (left|right|top|bottom)\b", re.IGNORECASE)
_ACROSS = {"left": "right", "right": "left", "top": "bottom", "bottom": "top", "east": "west", "west": "east"}
_SIDES = ("left", "top", "right", "bottom")  # clockwise, as captions name them
_COURSE = re.compile(r"^A (river|motorway|highway)\b.* from the (\w+) edge to the (\w+) edge")
_NORTH = 30  # degrees of latitude from which on summer is green in July
_GREEN = ("AnnualCrop", "Forest", "HerbaceousVegetation", "Pasture", "PermanentCrop")
_CLOUDS = 0.6
# Least that the true land cover must show: pixels from the centre, and difference of shares along edges.
_ASIDE, _ALONG = 6.0, 0.1
_RIM = 5  # pixels along an edge in which a road or river is looked for


class Atom(NamedTuple):
    """A statement and its opposite, a true tile of each, and how to tell them apart.

    Attributes:
        kind: One of :data:`KINDS`.
        sentence, opposite: What is asked for.
        image, other: True tiles, uint8 ``[64, 64, 3]``: of the sentence, of its opposite.
        measure: Larger on tiles of which the sentence is true.
    """

    kind: str
    sentence: str
    opposite: str
    image: np.ndarray
    other: np.ndarray
    measure: Measure


def atoms(scenes: Iterable, kinds: Iterable[str] | None = None) -> list[Atom]:
    """Atoms about scenes of :func:`rs_course.simulated_earth.scene`, from their own captions.

    Args:
        scenes: Simulated scenes; a few hundred give dozens of each kind.
        kinds: Which of :data:`KINDS`; all by default. A kind for which the scenes give nothing is absent.

    Raises:
        ValueError: An unknown kind.
    """
    return [Atom(kind, *made) for kind, made in made_of(scenes, kinds, _MAKERS)]


def won(atoms: list[Atom], asked: np.ndarray, opposite: np.ndarray, reader: LandcoverReader) -> np.ndarray:
    """Which pairs are won: 1, or a half for a tie, or 0: ``[N]``.

    Args:
        atoms: N atoms.
        asked, opposite: uint8 ``[N, 64, 64, 3]``: drawn for ``sentence`` and for ``opposite``.
        reader: From :func:`rs_course.alignment.atoms.load_reader`.
    """
    both = [(images, read_landcover(reader, images)) for images in (np.asarray(asked), np.asarray(opposite))]
    values = np.array(
        [[one.measure(images[k], maps[k]) for images, maps in both] for k, one in enumerate(atoms)]
    )
    return np.where(values[:, 0] == values[:, 1], 0.5, values[:, 0] > values[:, 1])


def obedience(atoms: list[Atom], wins: np.ndarray) -> dict[str, Interval]:
    """Share of pairs won, by kind and over ``"all"``, with Wilson's interval; chance is 0.5.

    Raises:
        ValueError: No atoms.
    """
    if not atoms:
        raise ValueError("There are no atoms to judge: give more scenes or other kinds.")
    return won_by_kind([one.kind for one in atoms], wins)


def _is(cover: str) -> int:
    return NAMES.index(READABLE[cover.lower()])


def _caption(scene, pattern: re.Pattern):
    return next(((c, found) for c in scene.captions if (found := pattern.search(c))), (None, None))


def _amount(scenes):
    """Two places: one that is mostly covered by it, one that is not."""
    found = [(scene, *parts) for scene in scenes if (parts := _caption(scene, _AMOUNT))[1]]
    for cover in READABLE:
        named = [(s, c, m) for s, c, m in found if m[1].lower() == cover]
        full = [(s, c) for s, c, m in named if m[2] in ("nearly all", "most")]
        name = "building" if cover == "buildings" else cover
        rest = [scene for scene in scenes if scene.facts["shares"].get(name, 0) < 30]
        for (scene, caption), other in zip(full, rest, strict=False):
            amount = _AMOUNT.search(caption)[2]
            asked = caption[: caption.index(amount)] + amount + " of the tile."
            less = asked.replace(amount, _LESS_OR_MORE[amount])
            yield asked, less, scene.image, other.image, _share_of(cover)


def _side(scenes):
    """A place and its mirror image."""
    for scene in scenes:
        caption, match = _caption(scene, _PLACED)
        if match is None:
            continue
        across = match[2] in ("left", "right")
        words = r"\b(left|right|east|west)\b" if across else r"\b(top|bottom)\b"
        other = re.sub(words, lambda found: _ACROSS[found[0]], caption)
        axis = 1 if across else 0
        measure = _nearer_to(match[2], match[1])
        if measure(scene.image, _truth(scene)) >= _ASIDE:
            yield caption, other, scene.image, np.ascontiguousarray(np.flip(scene.image, axis)), measure


def _course(scenes):
    """A place, and the same turned clockwise by a quarter."""
    for scene in scenes:
        caption, match = _caption(scene, _COURSE)
        if match is None:
            continue
        own = {match[2], match[3]}
        turned = [_SIDES[(_SIDES.index(side) + 1) % 4] for side in own]
        turned.sort(key=_SIDES.index)
        start, end = match.span(2)[0], match.span(3)[1]
        other = f"{caption[:start]}{turned[0]} edge to the {turned[1]}{caption[end:]}"
        name = "water" if match[1] == "river" else "road"

        measure = _touching(own, set(turned), name)
        if measure(scene.image, _truth(scene)) >= _ALONG:
            yield caption, other, scene.image, np.ascontiguousarray(np.rot90(scene.image, -1)), measure


def _truth(scene) -> np.ndarray:
    """The land cover of the tile: what is asked about is there, and not where it is not."""
    return shrunk(classes_of_scene(scene))


def _share_of(cover: str) -> Measure:
    return lambda _, classes: float((classes == _is(cover)).mean())


def _nearer_to(side: str, cover: str) -> Measure:
    """How far the middle of a land cover lies towards a side, in pixels from the centre."""
    axis, sign = int(side in ("left", "right")), -1.0 if side in ("left", "top") else 1.0

    def measure(_, classes):
        where = np.nonzero(classes == _is(cover))[axis]
        return sign * (float(where.mean()) - (classes.shape[axis] - 1) / 2) if len(where) else 0.0

    return measure


def _touching(sides: set[str], others: set[str], name: str) -> Measure:
    """Share of land cover along some edges, minus the share along others; edges in both say nothing."""

    def measure(_, classes):
        rims = classes[:, :_RIM], classes[:_RIM], classes[:, -_RIM:], classes[-_RIM:]
        found = {side: (rim == NAMES.index(name)).mean() for side, rim in zip(_SIDES, rims, strict=True)}
        return float(sum(found[s] for s in sides - others) - sum(found[s] for s in others - sides))

    return measure


def _sky(scenes):
    """A place without clouds and under them."""
    for scene in scenes:
        clear, cloudy = rerender(scene, cloud_cover=0.0), rerender(scene, cloud_cover=_CLOUDS)
        sentences = [_caption(one, re.compile(r"\b(sky|cloud)", re.IGNORECASE))[0] for one in (clear, cloudy)]
        yield *sentences, clear.image, cloudy.image, lambda image, _: -brightness(image)


def _season(scenes):
    """A place in July and in January, north of the tropics; told by its greenness."""
    for scene in scenes:
        if scene.label not in _GREEN or scene.metadata["lat"] < _NORTH:
            continue
        year = scene.metadata["year"]
        july, january = (rerender(scene, date=(year, month, 15), cloud_cover=0.0) for month in (7, 1))
        asked = re.sub(r" in \w+\.$", " in July.", july.captions[0])
        other = asked.replace("July", "January")
        yield asked, other, july.image, january.image, lambda image, _: greenness(image)


def greenness(images: np.ndarray) -> float:
    """Mean of 2g - r - b, chromatic coordinates (Woebbecke et al. 1995: the excess green index)."""
    r, g, b = np.moveaxis(images / np.maximum(images.sum(-1, keepdims=True), 1), -1, 0)
    return float((2 * g - r - b).mean())


def brightness(images: np.ndarray) -> float:
    """Share of pixels whose darkest channel is above 150: cloud and snow."""
    return float((images.min(-1) > 150).mean())


def _count(scenes):
    """A place with one pond and another with several; told by the number of waters."""
    one = [scene for scene in scenes if len(scene.facts["ponds"]) == 1 and not scene.facts["river"]]
    more = [scene for scene in scenes if len(scene.facts["ponds"]) > 1 and not scene.facts["river"]]
    pattern = re.compile(r"\bponds?\b")
    for few, many in zip(one, more, strict=False):
        asked, opposite = _caption(many, pattern)[0], _caption(few, pattern)[0]
        yield asked, opposite, many.image, few.image, _waters


def _waters(_, classes):
    numbered, count = components(classes == NAMES.index("water"))
    return float(sum(np.count_nonzero(numbered == k) >= 4 for k in range(1, count + 1)))


_MAKERS = {
    "amount": _amount, "side": _side, "course": _course, "count": _count, "sky": _sky, "season": _season,
}  # fmt: skip
KINDS = tuple(_MAKERS)


NAMES = tuple(SEGMENTATION_COLOURS)


_WIDTHS = 16, 32, 64, 96  # channels of the reader, from the tile's own pixels to an eighth of them


class LandcoverReader(nn.Module):
    """Tile ``[N, 3, 64, 64]`` in [0, 1] to scores of :data:`NAMES` ``[N, 7, 64, 64]``.

    Down three levels and up again with skips (Ronneberger et al. 2015: U-Net): a river is a river by its
    course, because its colour may be that of the wood beside it.
    """

    def __init__(self):
        super().__init__()

        def conv(inside, outside, stride=1):
            layer = nn.Conv2d(inside, outside, 3, stride, padding=1, bias=False)
            return nn.Sequential(layer, nn.BatchNorm2d(outside), nn.ReLU())

        levels = list(itertools.pairwise(_WIDTHS))
        self.first = conv(3, _WIDTHS[0])
        self.down = nn.ModuleList(nn.Sequential(conv(a, b, 2), conv(b, b)) for a, b in levels)
        self.up = nn.ModuleList(conv(a + b, a) for a, b in reversed(levels))
        self.head = nn.Conv2d(_WIDTHS[0], len(NAMES), 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        seen = [self.first(2 * x - 1)]
        for down in self.down:
            seen.append(down(seen[-1]))
        x = seen.pop()
        for up in self.up:
            x = up(torch.cat([seen.pop(), F.interpolate(x, scale_factor=2, mode="bilinear")], dim=1))
        return self.head(x)


def load_reader(name_or_folder: str | Path = "mini-landcover") -> LandcoverReader:
    """The reader from its folder: ``model.safetensors`` of :class:`LandcoverReader`.

    Raises:
        FileNotFoundError, ValueError: No such folder, or another network's weights.
    """
    from rs_course.checkpoints.loading import locate
    from rs_course.checkpoints.weights import read_state_dict

    reader = LandcoverReader()
    state = read_state_dict(locate(name_or_folder) / "model.safetensors")
    if state.keys() != reader.state_dict().keys():
        raise ValueError(f"{name_or_folder} holds the weights of another network: give a land-cover reader.")
    reader.load_state_dict(state)
    return reader.eval()


@torch.inference_mode()
def read_landcover(reader: LandcoverReader, images: np.ndarray) -> np.ndarray:
    """Places in :data:`NAMES` for uint8 tiles ``[N, 64, 64, 3]``: uint8 ``[N, 64, 64]``."""
    found = []
    for start in range(0, len(images), 100):
        x = torch.from_numpy(np.array(images[start : start + 100])).permute(0, 3, 1, 2) / 255
        found.append(reader(x).argmax(1).byte().numpy())
    return np.concatenate(found)


def shrunk(classes: np.ndarray) -> np.ndarray:
    """A map ``[256, 256]`` on the tile's pixels ``[64, 64]``: every fourth, and a road where it takes three
    tenths of one.
    """
    road = (classes == NAMES.index("road")).reshape(64, 4, 64, 4).mean((1, 3)) >= 0.3
    return np.where(road, NAMES.index("road"), classes[2::4, 2::4]).astype(np.uint8)
