"""mini-clip: image and text towers trained to agree; its text tower conditions the mini generators.

    rs-course train mini-clip
    rs-course train mini-clip-b

The contrastive objective of CLIP (Radford et al. 2021, arXiv 2103.00020, figure 3), with one change: many
tiles share a caption word for word ("A satellite image of a river"), so all pairs with the same caption are
positives of each other (Yang et al. 2022, UniCL, arXiv 2204.03610, equation 3).

A generator that was conditioned by mini-clip's text tower may please mini-clip for reasons that have nothing
to do with the picture. mini-clip-b is a second judge that can catch that, with other weights, other patches,
another vocabulary and other lessons: other simulated places, each sentence in two wordings.
"""

from __future__ import annotations

import copy
import json
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from rs_course import precision, seeds, training_loop
from rs_course.datasets import class_prompt
from rs_course.diffusion.pixel import from_pixels
from rs_course.files import write_json, write_text
from rs_course.training_loop import EMA, Budget, Recipe, by_step, cosine_decay

from .training_sets import Tiles, clip_tiles, eurosat_tiles, joined, some_sentences, varied

ARCHITECTURES = {
    "mini-clip": {
        "text": {"hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 3},
        "vision": {"hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 4, "patch_size": 8},
        "heads": 4,
    },
    "mini-clip-b": {
        "text": {"hidden_size": 96, "intermediate_size": 384, "num_hidden_layers": 2},
        "vision": {"hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 4, "patch_size": 16},
        "heads": 4,
    },
}
WIDTH = 128  # of the joint space
CONTEXT = 77  # tokens, as every Stable Diffusion text tower reads
VOCABULARY = 1024
PREPARATION = {
    "image_processor_type": "CLIPImageProcessor", "do_resize": True, "size": {"shortest_edge": 64},
    "resample": 3, "do_center_crop": True, "crop_size": {"height": 64, "width": 64}, "do_rescale": True,
    "rescale_factor": 1 / 255, "do_normalize": True, "image_mean": [0.5] * 3, "image_std": [0.5] * 3
}  # fmt: skip
RECIPE = Recipe(
    lr=1.5e-3, decay=cosine_decay(0.01), warmup=100, betas=(0.9, 0.98), weight_decay=0.1, log_every=100
)
PLACES_B = 2  # the draw of simulated places of mini-clip-b; mini-clip and the generators see others

# What a sentence of the simulator, or a class prompt, is called in the second wording.
_VIEW = "A satellite image|A Sentinel-2 view|An overhead picture|A view from orbit"
_REAL = "[Aa] Sentinel-2 image|[Aa] real Sentinel-2 tile|[Aa] satellite image"
_SKY = r"^Clouds cover about (\d+) percent of the tile, (.+)$"
_OTHER_WORDING = {
    rf"^(?:{_VIEW}) of (.+) in (\w+)\.$": r"Seen from above in \2: \1.",
    rf"^(?:{_REAL}) (?:of|with) (.+)$": r"an aerial photograph of \1",
    r"^(?:The sky is clear|There is no cloud|No cloud hides the ground)\.$": "The view is free of clouds.",
    _SKY: r"About \1 percent of the ground lies under clouds, \2",
    r"^(?:There (?:is|are)|One can count) ": "The picture shows ",
    r"^A (?:motorway|highway) (?:runs|cuts|leads) ": "A main road goes ",
    r"^A river (?:meanders|bends|winds|runs|flows) ": "A stream of water goes ",
    r"^([\w ]+?) (?:covers?|takes? up|fills?) (.+?) of the tile": r"\2 of the area is under \1",
    r"^It is (\w+) and there is no snow\.$": r"The season is \1, without snow.",
    r"^The picture was taken in (\w+), without snow\.$": r"The month is \1, and no snow lies.",
    r"^(?:Snow lies on the ground|The land is white with snow)\.$": "The ground is covered with snow.",
}


def train(
    out: str | Path,
    *,
    minutes: float | None = 15,
    seed: int = 0,
    resume: bool = True,
    data: Any = "eurosat",
    simulated: int = 6_000,
    scenes: int = 6_000,
):
    """Train on EuroSAT's training split and on simulated scenes; arguments as of every mini."""
    tiles = clip_tiles(data, simulated, scenes)
    return fit(out, tiles, budget=Budget(minutes), seed=seed, resume=resume)


def train_b(
    out: str | Path,
    *,
    minutes: float | None = 15,
    seed: int = 1,
    resume: bool = True,
    data: Any = "eurosat",
    scenes: int = 8_000,
):
    """Train mini-clip-b on EuroSAT's training split and on simulated places that mini-clip has not seen."""
    tiles = tiles_b(data, scenes)
    return fit(out, tiles, budget=Budget(minutes), seed=seed, resume=resume, architecture="mini-clip-b")


def tiles_b(data: Any, scenes: int) -> Tiles:
    """Real and simulated tiles, each sentence in two wordings."""
    drawn, real = varied(scenes, draw=PLACES_B), eurosat_tiles(data)
    prompts = [[class_prompt(label)] for label in drawn.labels] + [[] for _ in real.labels]
    tiles = joined(drawn, real)
    sentences = [first + list(own) for first, own in zip(prompts, tiles.captions, strict=True)]
    both = [list(dict.fromkeys(own + [reworded(one) for one in own])) for own in sentences]
    return tiles._replace(captions=both)


def reworded(sentence: str) -> str:
    """The sentence in other words, or as it is where no other wording is known."""
    for pattern, other in _OTHER_WORDING.items():
        changed, count = re.subn(pattern, other, sentence)
        if count:
            return changed[0].upper() + changed[1:] if sentence[0].isupper() else changed
    return sentence


def fit(
    out: str | Path,
    tiles: Tiles,
    *,
    budget: Budget,
    seed: int = 0,
    resume: bool = True,
    architecture: str = "mini-clip",
    batch_size: int = 128,
    recipe: Recipe = RECIPE,
):
    """Train on tiles and captions and write the averaged weights, in half precision.

    Args:
        out, seed, resume: See :func:`train`.
        tiles: Tiles with at least one caption each; a step takes one or two sentences of each tile.
        budget: Length of the whole training.
        architecture: Name in :data:`ARCHITECTURES`.
        batch_size: Pairs a step.
        recipe: How it is trained.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = learn_tokenizer((s for sentences in tiles.captions for s in sentences), out)
    with seeds.initial_weights(seed):
        model = build(architecture, tokenizer)
    ema = EMA(model, 0.998)
    groups = [
        {"params": [p for p in model.parameters() if (p.ndim > 1) == matrix], "weight_decay": decay}
        for matrix, decay in ((True, recipe.weight_decay), (False, 0.0))
    ]
    optimizer = torch.optim.AdamW(groups, betas=recipe.betas)
    # As CLIP does: logits at most 100.
    optimizer.register_step_post_hook(lambda *_: model.logit_scale.data.clamp_(max=math.log(100)))

    def batch(draw):
        return draw_pairs(tiles, batch_size, draw)

    def loss(batch, _):
        with precision.fast():
            return pair_loss(model, tokenizer, *batch)

    def save(_):
        copy.deepcopy(ema.module).half().save_pretrained(out)
        tokenizer.save_pretrained(out)
        write_json(out / "preprocessor_config.json", PREPARATION, indent=2)

    options = {"ema": ema, "optimizer": optimizer, "out": out, "resume": resume, "save": save}
    training_loop.run(training_loop.fit(model, by_step(batch, seed), loss, recipe, budget, **options))
    return ema.module


def build(architecture: str, tokenizer: Any):
    """A fresh ``CLIPModel`` for tiles of 64×64 pixels."""
    from transformers import CLIPConfig, CLIPModel

    plan = ARCHITECTURES[architecture]
    shared = {"num_attention_heads": plan["heads"], "hidden_act": "gelu", "projection_dim": WIDTH}
    text = {"vocab_size": len(tokenizer), "max_position_embeddings": CONTEXT}
    text |= {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    towers = {
        "text_config": {**plan["text"], **shared, **text},
        "vision_config": {**plan["vision"], **shared, "image_size": 64},
    }
    return CLIPModel(CLIPConfig(**towers, projection_dim=WIDTH))


def pair_loss(
    model: torch.nn.Module, tokenizer: Any, pixels: torch.Tensor, sentences: list[str]
) -> torch.Tensor:
    """Symmetric InfoNCE over images ``[N, 3, 64, 64]`` and sentences; equal sentences are all positives."""
    different = list(dict.fromkeys(sentences))
    column = torch.tensor([different.index(s) for s in sentences])
    ids = tokenizer(
        different, padding="longest", max_length=CONTEXT, truncation=True, return_tensors="pt"
    ).input_ids
    text = F.normalize(model.text_projection(model.text_model(ids).pooler_output).float(), dim=1)
    pooled = model.vision_model(pixels).pooler_output
    image = F.normalize(model.visual_projection(pooled).float(), dim=1)
    logits = model.logit_scale.exp() * image @ text.T
    positive = F.one_hot(column, len(different)).float()  # [N, M], one sentence per image
    per_sentence = positive.T / positive.sum(0)[:, None]
    return (F.cross_entropy(logits, column) + F.cross_entropy(logits.T, per_sentence)) / 2


def draw_pairs(tiles: Tiles, count: int, draw: np.random.Generator) -> tuple[torch.Tensor, list[str]]:
    """Images ``[count, 3, 64, 64]`` in [-1, 1] with one or two sentences each.

    No tile is turned or mirrored: "on the left" must stay true.
    """
    chosen = draw.choice(len(tiles.images), count)
    return from_pixels(tiles.images[chosen]), [some_sentences(tiles.captions[i], draw) for i in chosen]


def learn_tokenizer(sentences: Iterable[str], out: Path):
    """Byte-pair merges of the captions, as a ``CLIPTokenizer`` (vocabulary and merges in CLIP's order)."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
    from transformers import CLIPTokenizer

    bytes_ = sorted(pre_tokenizers.ByteLevel.alphabet())
    machine = Tokenizer(models.BPE(continuing_subword_prefix="", end_of_word_suffix="</w>"))
    machine.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    words = Regex(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+")
    split = pre_tokenizers.Split(words, "removed", invert=True)
    as_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    machine.pre_tokenizer = pre_tokenizers.Sequence([split, as_bytes])
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, initial_alphabet=bytes_, end_of_word_suffix="</w>", show_progress=False
    )
    machine.train_from_iterator(sorted(set(sentences)), trainer)
    learned = json.loads(machine.to_str())["model"]["merges"]
    merges = [tuple(pair) if isinstance(pair, list) else tuple(pair.split(" ")) for pair in learned]
    tokens = [*bytes_, *(b + "</w>" for b in bytes_), *dict.fromkeys("".join(pair) for pair in merges)]
    tokens = [*dict.fromkeys(tokens), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: k for k, token in enumerate(tokens)}
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=CONTEXT)
    tokenizer.save_pretrained(out)
    write_json(out / "vocab.json", vocabulary, indent=None, ensure_ascii=False)
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    write_text(out / "merges.txt", "\n".join(lines) + "\n")
    return tokenizer
