"""He et al.'s recipes: the published rules, and what they refuse."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from alignment.conftest import build_clip
from checkpoints.tiny import write_checkpoint

from classification.conftest import NAMES, coloured
from rs_course import alignment, checkpoints, datasets, generation
from rs_course.classification import recipes, training


@pytest.fixture(scope="module")
def scorer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    build_clip(folder)
    return alignment.load(folder, cache=False, long_captions="cut")


def test_the_cross_entropy_with_a_soft_target_is_the_published_loss():
    generator = torch.Generator().manual_seed(0)
    logits, teacher = (torch.randn(16, 5, generator=generator, dtype=torch.float64) for _ in range(2))
    labels = torch.arange(16) % 5
    for share in (0.0, 0.3, 0.5, 1.0):
        target = torch.from_numpy(
            recipes.soft_targets(teacher, labels, share=share, temperature=2.0)
        ).double()
        mine = F.cross_entropy(logits, target)
        # share · CE with softmax(teacher / T) + (1 - share) · CE with the label (He et al. 2023)
        soft = -((teacher / 2.0).softmax(1) * logits.log_softmax(1)).sum(1).mean()
        published = share * soft + (1 - share) * F.cross_entropy(logits, labels)
        assert mine.item() == pytest.approx(published.item(), rel=1e-6)


def test_the_filter_keeps_what_beats_chance():
    rng = np.random.default_rng(0)
    cosine, labels = (
        torch.from_numpy(rng.normal(0.2, 0.02, (50, 6))),
        torch.from_numpy(rng.integers(6, size=50)),
    )
    kept = recipes.clip_filter((100 * cosine).softmax(1), labels)
    assert 0 < kept.sum() < 50
    own = [100 * row[k] - (100 * row).logsumexp(0) for row, k in zip(cosine, labels, strict=True)]
    assert np.array_equal(kept, [value.item() > -np.log(6) for value in own])


def test_a_class_with_too_few_recognised_images_gets_its_most_probable_ones():
    p = np.full((12, 2), 0.5)
    labels = np.arange(12) % 2
    p[labels == 0, 0] = [0.9, 0.8, 0.7, 0.6, 0.55, 0.2]  # five pass
    p[labels == 1, 1] = [0.1, 0.2, 0.6, 0.3, 0.45, 0.4]  # one passes
    rows = recipes.best_of_each(p, labels, 3)
    assert labels[rows].tolist() == [0, 1, 0, 1, 0, 1]
    assert set(rows[::2]) < {0, 2, 4, 6, 8}
    assert set(rows[1::2]) == {5, 9, 11}
    with pytest.raises(ValueError, match="has 6 synthetic images, so 7 cannot be kept"):
        recipes.best_of_each(p, labels, 7)


def test_a_class_that_is_filtered_away_is_said():
    tiles, p = coloured(3), np.full((9, 3), 0.1)
    p[:, 0] = 0.8
    with pytest.raises(ValueError, match="leaves no image of the class green"):
        recipes.filtered(tiles, p)


def test_strength_of_real_guidance_is_that_of_the_paper():
    assert [recipes.guidance_strength(n) for n in (1, 2, 4, 8, 16)] == [0.5, 0.4, 0.35, 0.2, 0.15]
    assert recipes.guidance_strength(5) == 0.35 and recipes.guidance_strength(1000) == 0.15
    with pytest.raises(ValueError, match="starts from real images"):
        recipes.guidance_strength(0)


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("CLIP", "no recipe 'CLIP'"),
        ("basic+real-guidance", "contradicts"),
        ("paired+pretrain", "contradicts"),
    ],
)
def test_recipes_that_do_not_exist(recipe, message):
    with pytest.raises(ValueError, match=message):
        recipes.parse(recipe)


def test_a_recipe_is_its_steps():
    assert recipes.parse("real-guidance+soft-targets+paired") == ("real-guidance", {"soft-targets", "paired"})
    assert recipes.parse("clip-filter") == ("basic", {"clip-filter"})


def test_enhanced_prompts_are_many_and_begin_with_the_template():
    classes = ("Forest", "River")
    plain = recipes.class_prompts("basic", classes)
    many = recipes.class_prompts("language-enhancement", classes, count=40)
    assert plain["River"] == [datasets.class_prompt("River", "eurosat")]
    for name, own in many.items():
        assert len(set(own)) == 40 and own[0] == plain[name][0]
        assert all(prompt.startswith("14_GOOGLE_LEVEL_a ") for prompt in own)
    assert many == recipes.class_prompts("language-enhancement", classes, count=40)
    assert many != recipes.class_prompts("language-enhancement", classes, count=40, seed=1)
    assert many["River"][:10] == recipes.class_prompts("language-enhancement", ["River"], count=10)["River"]
    with pytest.raises(ValueError, match="makes no prompts"):
        recipes.class_prompts("paired", classes)


def test_a_missing_t5_is_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(FileNotFoundError, match="use the grammar"):
        recipes.t5_sentences("a river", model=str(tmp_path))


def test_a_t5_draws_different_sentences_by_the_seed_alone(tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

    words = ["<pad>", "</s>", "<unk>", "a", "river", "winds", "through", "green", "fields", "past", "town"]
    plain = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, "<unk>"))
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    special = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=plain, **special).save_pretrained(tmp_path)
    shape = {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2}
    config = T5Config(vocab_size=len(words), decoder_start_token_id=0, **shape)
    torch.manual_seed(0)
    T5ForConditionalGeneration(config).save_pretrained(tmp_path)
    state = torch.random.get_rng_state()
    drawn = [recipes.t5_sentences("a river", 20, model=str(tmp_path), seed=seed) for seed in (0, 0, 1)]
    assert torch.equal(torch.random.get_rng_state(), state)
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(drawn[0]) == len(set(drawn[0])) == 20
    assert {word for sentence in drawn[0] for word in sentence.split()} <= set(words[3:])


def test_tuning_starts_as_the_zero_shot_classifier(scorer):
    tiles, sentences = coloured(4), [f"a {name} tile" for name in NAMES]
    features = scorer.image_embeddings(tiles.images)
    start = recipes.text_head(scorer, sentences)
    zero_shot = alignment.zero_shot(scorer, tiles.images, [[sentence] for sentence in sentences])
    assert torch.allclose((features @ start.T).softmax(1), zero_shot, atol=1e-6)
    logits = recipes.zero_shot_logits(scorer, tiles.images, sentences)
    assert np.allclose(recipes.softmax(logits), zero_shot, atol=1e-5)
    head = training.tune([(features, tiles.labels)], 3, start=start, steps=1, lr=1e-12)
    assert torch.allclose(training.probabilities(head, features), zero_shot, atol=1e-4)


@pytest.mark.parametrize("tuned", [True, False])
def test_tuning_and_probing_learn(scorer, tuned):
    train, test = coloured(20), coloured(10, seed=5)
    start = recipes.text_head(scorer, [f"a {name} tile" for name in NAMES]) if tuned else None
    features = scorer.image_embeddings(train.images)
    head = training.tune([(features, train.labels)], 3, start=start, steps=300, lr=5e-1 if tuned else 2e-2)
    p = training.probabilities(head, scorer.image_embeddings(test.images))
    assert (p.argmax(1).numpy() == test.labels).mean() > 0.8
    with pytest.raises(ValueError, match="start has shape"):
        training.tune([(features, train.labels)], 4, start=torch.zeros(3, 8))


def test_real_guidance_starts_from_the_shots(tmp_path):
    folder = write_checkpoint(tmp_path / "tiny", "stable-diffusion")
    shots = coloured(2, names=("Forest", "River"), side=16)
    own = recipes.class_prompts("real-guidance", shots.classes, dataset="simulated")
    specs = generation.class_specs(own, 4, shots=shots)
    assert [spec.label for spec in specs] == ["Forest", "River"] * 4
    how = {"steps": 10, "size": (16, 16), "strength": recipes.guidance_strength(2)}
    made = generation.generate(specs, checkpoint=folder, out=tmp_path / "rg", **how)
    rows = [0, 1, 2, 3, 0, 1, 2, 3]
    close = checkpoints.load(folder).sample(
        [spec.text for spec in specs],
        image=torch.from_numpy(shots.images[rows]).permute(0, 3, 1, 2).float() / 255,
        **how,
    )
    assert np.abs(made.images / 255 - close.permute(0, 2, 3, 1).numpy()).max() < 2 / 255
    again = coloured(2, seed=1, names=("Forest", "River"), side=16)
    with pytest.raises(ValueError, match="with other prompts"):  # other shots are another set
        generation.generate(
            generation.class_specs(own, 4, shots=again), checkpoint=folder, out=tmp_path / "rg", **how
        )


def test_sets_that_cannot_be_made():
    shots = coloured(1, names=("Forest", "River"))
    with pytest.raises(ValueError, match="class River has no prompt"):
        generation.class_specs({"Forest": ["a forest"], "River": []}, 2)
    with pytest.raises(ValueError, match="both need the same"):
        generation.class_specs({"Forest": ["a forest"]}, 2, shots=shots)
    with pytest.raises(ValueError, match="no real image of the class River"):
        generation.class_specs({"Forest": ["f"], "River": ["r"]}, 2, shots=shots.take(shots.labels == 0))


def test_retrieval_takes_the_likest_of_each_class_and_says_where_there_are_too_few():
    tiles = coloured(4)
    p = np.full((12, 3), 0.2)
    p[np.arange(12), tiles.labels] = np.linspace(0.5, 0.9, 12)
    found = recipes.retrieved(tiles, p, 2)
    assert found.labels.tolist() == [0, 1, 2, 0, 1, 2]
    best = [
        rows[np.argsort(-p[rows, k])][:2] for k in range(3) for rows in [np.flatnonzero(tiles.labels == k)]
    ]
    assert np.array_equal(found.images, tiles.images[np.stack(best, 1).ravel()])
    with pytest.raises(ValueError, match="finds 4 images for the class blue, and 5 are wanted"):
        recipes.retrieved(tiles, p, 5)
