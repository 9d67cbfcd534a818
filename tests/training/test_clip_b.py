"""The second judge's wording says the same in other words, and its towers fit beside the first."""

import numpy as np
import pytest

from rs_course import simulated_earth
from rs_course.training import clip, clip_b
from rs_course.training.scenes import Tiles


@pytest.mark.parametrize(
    ("sentence", "other"),
    [
        ("A view from orbit of closed woodland in May.", "Seen from above in May: closed woodland."),
        ("a satellite image of a river", "an aerial photograph of a river"),
        ("a real Sentinel-2 tile with pasture", "an aerial photograph of pasture"),
        ("No cloud hides the ground.", "The view is free of clouds."),
        (
            "Clouds cover about 30 percent of the tile, mostly on the left.",
            "About 30 percent of the ground lies under clouds, mostly on the left.",
        ),
        ("There are two villages, both at the top.", "The picture shows two villages, both at the top."),
        ("A highway cuts through the left of the tile.", "A main road goes through the left of the tile."),
        (
            "Trees fill most of the tile, with grass on the left.",
            "Most of the area is under Trees, with grass on the left.",
        ),
        ("The picture was taken in June, without snow.", "The month is June, and no snow lies."),
        ("The open land looks green.", "The open land looks green."),
    ],
)
def test_the_second_wording(sentence, other):
    assert clip_b.reworded(sentence) == other


def test_numbers_sides_and_months_survive_the_rewording():
    scenes = [simulated_earth.scene(label, 5) for label in simulated_earth.CLASSES]
    facts = {"left", "right", "top", "bottom", "one", "two", "three", *months()}
    for scene in scenes:
        for caption in scene.captions:
            kept = [word.strip(".,:;") for word in clip_b.reworded(caption).split()]
            for word in caption.split():
                assert word.strip(".,") not in facts or word.strip(".,") in kept, caption


def months():
    from rs_course.alignment.pairs import _MONTHS

    return _MONTHS


def test_every_simulated_tile_has_its_class_prompt_and_both_wordings(monkeypatch):
    scenes = [simulated_earth.scene(label, 3) for label in simulated_earth.CLASSES]
    images = np.stack([scene.image for scene in scenes])
    drawn = Tiles(images, np.arange(10), [scene.captions for scene in scenes], [{}] * 10)
    real = Tiles(images[:2], np.arange(2), [["a Sentinel-2 image of a forest"]] * 2, [{}] * 2)
    monkeypatch.setattr(clip_b, "varied", lambda count, draw: drawn)
    monkeypatch.setattr(clip_b, "eurosat_tiles", lambda data: real)
    tiles = clip_b.tiles("eurosat", 10)
    assert len(tiles.images) == len(tiles.captions) == 12
    assert tiles.captions[8][0] == "a satellite image of a river"
    assert "an aerial photograph of a river" in tiles.captions[8]
    assert tiles.captions[11] == ["a Sentinel-2 image of a forest", "an aerial photograph of a forest"]


def test_its_towers_are_other_ones_and_small(tmp_path):
    tokenizer = clip.learn_tokenizer(simulated_earth.scene("River", 1).captions, tmp_path)
    first, second = (clip.build(name, tokenizer) for name in ("mini-clip", "mini-clip-b"))
    assert second.config.vision_config.patch_size == 2 * first.config.vision_config.patch_size
    assert sum(p.numel() for p in second.parameters()) < 1_300_000
