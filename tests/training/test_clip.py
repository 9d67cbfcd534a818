"""The trainings of mini-clip and of the second judge: on a few tiles, the tokenizer, the second wording."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import CLIPModel, CLIPTokenizer

from rs_course import simulated_earth
from rs_course.training import clip
from rs_course.training.training_sets import Tiles
from rs_course.training_loop import Budget

TINY = {
    "text": {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1},
    "vision": {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "patch_size": 16},
    "heads": 2,
}


@pytest.fixture(scope="module")
def tiles():
    scenes = [simulated_earth.scene(label, 3) for label in simulated_earth.CLASSES]
    return Tiles(
        np.stack([s.image for s in scenes]),
        np.arange(10),
        [s.captions for s in scenes],
        [s.metadata for s in scenes],
    )


def test_training_writes_a_scorer_that_loads_and_prefers_its_own_captions(tmp_path, tiles, monkeypatch):
    from rs_course import alignment

    monkeypatch.setitem(clip.ARCHITECTURES, "tiny", TINY)
    recipe = replace(clip.RECIPE, lr=1e-2)
    options = {"architecture": "tiny", "batch_size": 10, "recipe": recipe}
    clip.fit(tmp_path, tiles, budget=Budget(steps=300), **options)
    scorer = alignment.load(tmp_path, cache=False)
    first = [captions[0] for captions in tiles.captions]
    similarity = scorer.similarity(tiles.images, first)
    assert (similarity.argmax(1) == torch.arange(10)).float().mean() >= 0.5  # chance is 0.1
    assert CLIPModel.from_pretrained(tmp_path).dtype == torch.float16


def test_the_tokenizer_reads_the_same_from_either_of_its_files(tmp_path, tiles):
    learned = clip.learn_tokenizer((s for own in tiles.captions for s in own), tmp_path)
    again = CLIPTokenizer.from_pretrained(tmp_path)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / file).unlink()
    bare = CLIPTokenizer.from_pretrained(tmp_path)
    for sentence in (tiles.captions[0][0], "Ein Hafen, naïve 123!"):
        ids = learned(sentence).input_ids
        assert ids == again(sentence).input_ids == bare(sentence).input_ids
        assert learned.convert_tokens_to_ids("<|endoftext|>") == ids[-1]


def test_equal_sentences_are_positives_of_each_other(tmp_path, tiles, monkeypatch):
    monkeypatch.setitem(clip.ARCHITECTURES, "tiny", TINY)
    tokenizer = clip.learn_tokenizer((s for own in tiles.captions for s in own), tmp_path)
    torch.manual_seed(0)
    model = clip.build("tiny", tokenizer)
    pixels = torch.rand(4, 3, 64, 64)
    sentences = ["A river.", "A forest.", "A river.", "A town."]
    loss = clip.pair_loss(model, tokenizer, pixels, sentences)

    ids = tokenizer(sentences, padding=True, return_tensors="pt").input_ids
    out = model(input_ids=ids, pixel_values=pixels)
    logits = out.logits_per_image[:, [0, 1, 3]]  # three different sentences
    by_image = torch.nn.functional.cross_entropy(logits, torch.tensor([0, 1, 0, 2]))
    log_p = logits.T.log_softmax(1)
    by_text = -(((log_p[0, 0] + log_p[0, 2]) / 2) + log_p[1, 1] + log_p[2, 3]) / 3
    assert loss.item() == pytest.approx(((by_image + by_text) / 2).item(), rel=1e-5)


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
    assert clip.reworded(sentence) == other


def test_numbers_sides_and_months_survive_the_rewording():
    scenes = [simulated_earth.scene(label, 5) for label in simulated_earth.CLASSES]
    facts = {"left", "right", "top", "bottom", "one", "two", "three", *months()}
    for scene in scenes:
        for caption in scene.captions:
            kept = [word.strip(".,:;") for word in clip.reworded(caption).split()]
            for word in caption.split():
                assert word.strip(".,") not in facts or word.strip(".,") in kept, caption


def months():
    from rs_course.simulated_earth.captions import MONTHS

    return MONTHS


def test_every_simulated_tile_has_its_class_prompt_and_both_wordings(monkeypatch):
    scenes = [simulated_earth.scene(label, 3) for label in simulated_earth.CLASSES]
    images = np.stack([scene.image for scene in scenes])
    drawn = Tiles(images, np.arange(10), [scene.captions for scene in scenes], [{}] * 10)
    real = Tiles(images[:2], np.arange(2), [["a Sentinel-2 image of a forest"]] * 2, [{}] * 2)
    monkeypatch.setattr(clip, "varied", lambda count, draw: drawn)
    monkeypatch.setattr(clip, "eurosat_tiles", lambda data: real)
    tiles = clip.tiles_b("eurosat", 10)
    assert len(tiles.images) == len(tiles.captions) == 12
    assert tiles.captions[8][0] == "a satellite image of a river"
    assert "an aerial photograph of a river" in tiles.captions[8]
    assert tiles.captions[11] == ["a Sentinel-2 image of a forest", "an aerial photograph of a forest"]


def test_its_towers_are_other_ones_and_small(tmp_path):
    tokenizer = clip.learn_tokenizer(simulated_earth.scene("River", 1).captions, tmp_path)
    first, second = (clip.build(name, tokenizer) for name in ("mini-clip", "mini-clip-b"))
    assert second.config.vision_config.patch_size == 2 * first.config.vision_config.patch_size
    assert sum(p.numel() for p in second.parameters()) < 1_300_000
