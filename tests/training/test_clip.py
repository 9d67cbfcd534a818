"""mini-clip's training on a few tiles, and the tokenizer it learns."""

import numpy as np
import pytest
import torch
from transformers import CLIPModel, CLIPTokenizer

from rs_course import simulated_earth
from rs_course.training import clip
from rs_course.training.clock import Clock
from rs_course.training.scenes import Tiles

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


class CountedClock(Clock):
    """A clock that moves on by one each time it is read, so that the training has a fixed length."""

    @property
    def seconds(self):
        self.reads = getattr(self, "reads", 0) + 1
        return self.reads


def test_training_writes_a_scorer_that_loads_and_prefers_its_own_captions(tmp_path, tiles, monkeypatch):
    from rs_course import alignment

    monkeypatch.setitem(clip.ARCHITECTURES, "tiny", TINY)
    monkeypatch.setattr(clip, "Clock", CountedClock)
    clip.fit(tmp_path, tiles, minutes=10, architecture="tiny", batch=10, lr=1e-2, log_every=50)
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
