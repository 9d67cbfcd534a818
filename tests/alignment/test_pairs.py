"""Minimal pairs are true and false by the simulator's facts, and balanced."""

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from rs_course import alignment
from rs_course.alignment.measures import KINDS, MinimalPair
from rs_course.simulated_earth import CLASSES, scene

LABELS = ("River", "Highway", "Pasture", "AnnualCrop")


@pytest.fixture(scope="module")
def scenes():
    return [scene(label, seed) for label in LABELS for seed in range(4)]


@pytest.fixture(scope="module")
def pairs(scenes):
    return alignment.minimal_pairs(scenes)


def test_every_sentence_is_as_often_true_as_false(pairs):
    assert set(KINDS[:1] + KINDS[3:]) <= {pair.kind for pair in pairs}
    for kind in KINDS:
        ours = [pair for pair in pairs if pair.kind == kind]
        assert Counter((p.true, p.false) for p in ours) == Counter((p.false, p.true) for p in ours)


def test_the_sentences_differ_and_the_images_are_the_scenes(pairs):
    for pair in pairs:
        assert pair.true != pair.false and pair.true.endswith(".") and pair.false.endswith(".")
        assert pair.image.dtype == np.uint8 and pair.image.shape == (64, 64, 3)


def made(**facts):
    """A scene with chosen facts and one caption."""
    caption = facts.pop("caption", "")
    defaults = {"river": None, "motorway": None, "villages": [], "ponds": []}
    image = np.random.default_rng(len(str(facts))).integers(0, 256, (64, 64, 3), np.uint8)
    return SimpleNamespace(facts=defaults | facts, captions=[caption], image=image)


def test_rivers_and_roads_come_in_equal_numbers_and_never_both():
    course = {"sides": ["left", "right"]}
    both = made(river=course, motorway=course)
    only = [made(river=course), made(motorway=course), made(river=course, villages=["left"])]
    assert alignment.minimal_pairs([both], ["river/road"]) == []
    first, second = alignment.minimal_pairs([both, *only], ["river/road"])
    assert first.image is only[0].image and first.true == "A river runs through the tile."
    assert second.image is only[1].image and second.true == first.false == "A motorway runs through the tile."


def test_numbers_of_villages_differ_by_one():
    scenes = [made(villages=["left"] * n) for n in (2, 3, 3, 0)]
    first, second = alignment.minimal_pairs(scenes, ["number of villages"])
    assert (first.true, first.false) == ("There are two villages.", "There are three villages.")
    assert first.image is scenes[0].image and second.image is scenes[1].image
    one = alignment.minimal_pairs([made(villages=["left"]), scenes[0]], ["number of villages"])[0]
    assert one.true == "There is one village."


def test_sides_are_mirrored_with_the_image():
    left = made(
        villages=["bottom left", "top"], caption="There are two villages, in the bottom left and at the top."
    )
    first, second = alignment.minimal_pairs([left], ["left/right"])
    assert first.false == "There are two villages, in the bottom right and at the top."
    assert second.true == first.false and np.array_equal(second.image, left.image[:, ::-1])
    symmetric = made(
        villages=["left", "right"], caption="There are two villages, on the left and on the right."
    )
    assert alignment.minimal_pairs([symmetric], ["left/right"]) == []


def test_seasons_and_clouds_are_rendered_again(scenes):
    by_kind = {
        kind: alignment.minimal_pairs(scenes[:4], [kind]) for kind in ("summer/winter", "cloudy/clear")
    }
    for made_pairs in by_kind.values():
        assert len(made_pairs) == 8
        for first, second in zip(made_pairs[::2], made_pairs[1::2], strict=True):
            assert (first.true, first.false) == (second.false, second.true)
            assert not np.array_equal(first.image, second.image)
    clear, cloudy = by_kind["cloudy/clear"][:2]
    m = scenes[0].metadata
    again = scene(
        scenes[0].label, scenes[0].seed, date=(m["year"], m["month"], m["day"]), cloud_cover=0.5
    )  # fmt: skip
    assert np.array_equal(cloudy.image, again.image) and again.facts["cloud_cover"] == 0.5
    assert clear.true == "The sky is clear."


class Oracle:
    """Says what it is told to: a scorer whose image embedding names the true sentence."""

    def __init__(self, pairs, prefer):
        self.texts = sorted({text for pair in pairs for text in pair[1:3]})
        self.wanted = [self.texts.index(prefer(pair)) for pair in pairs]

    def image_embeddings(self, images):
        return torch.eye(len(self.texts))[self.wanted]

    def text_embeddings(self, texts):
        return torch.eye(len(self.texts))[[self.texts.index(text) for text in texts]]


def test_accuracy_of_scorers_whose_answer_is_known(pairs):
    right = alignment.minimal_pair_accuracy(Oracle(pairs, lambda pair: pair.true), pairs)
    assert all(interval.estimate == 1 for interval in right.values())
    assert right["all"].low > right["river/road"].low > 0.5  # more pairs, narrower interval
    # Sees no image, likes one of the two sentences: right on one half of each kind.
    biased = alignment.minimal_pair_accuracy(Oracle(pairs, lambda pair: max(pair.true, pair.false)), pairs)
    assert all(interval.estimate == 0.5 for interval in biased.values())


def test_a_tie_counts_half(clip, images):
    scorer = alignment.load(clip[0], device="cpu", cache=False)
    tie = MinimalPair(np.zeros((32, 32, 3), np.uint8), "a river", "a river", "same")
    assert alignment.minimal_pair_accuracy(scorer, [tie])["same"].estimate == 0.5


def test_mistakes_are_named(scorer):
    with pytest.raises(ValueError, match="no kind 'colour': use river/road"):
        alignment.minimal_pairs([], ["colour"])
    with pytest.raises(ValueError, match="no minimal pairs to judge"):
        alignment.minimal_pair_accuracy(scorer, [])


def test_labels_are_the_simulators():
    assert set(LABELS) <= set(CLASSES)
