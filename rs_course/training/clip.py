"""mini-clip: image and text towers trained to agree; its text tower conditions the mini generators.

    rs-course train mini-clip

The contrastive objective of CLIP (Radford et al. 2021, arXiv 2103.00020, figure 3), with one change: many
tiles share a caption word for word ("A satellite image of a river"), so all pairs with the same caption are
positives of each other (Yang et al. 2022, UniCL, arXiv 2204.03610, equation 3).
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from rs_course import precision
from rs_course.diffusion.learning import EMA
from rs_course.diffusion.pixel import from_pixels

from .clock import Clock
from .mixture import clip_tiles, some_sentences
from .scenes import Tiles
from .state import restore_state, save_state

ARCHITECTURES = {
    "mini-clip": {
        "text": {"hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 3},
        "vision": {"hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 4, "patch_size": 8},
        "heads": 4,
    },
    # The second judge (rs_course.training.clip_b): other patches, a smaller reader.
    "mini-clip-b": {
        "text": {"hidden_size": 96, "intermediate_size": 384, "num_hidden_layers": 2},
        "vision": {"hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 4, "patch_size": 16},
        "heads": 4,
    },
}
WIDTH = 128  # of the joint space
CONTEXT = 77  # tokens, as every Stable Diffusion text tower reads
VOCABULARY = 1024
MEAN_STD = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}


def train(out, *, minutes=15, seed=0, resume=True, data="eurosat", simulated=6_000, scenes=6_000):
    """Train on EuroSAT's training split and on simulated scenes.

    Args:
        out: Folder of the model, in the layout of ``transformers``; the training state lies there too.
        minutes: Time for the whole training, over all resumed runs.
        seed: Of weights and batches.
        resume: Go on where an interrupted training stopped.
        data: EuroSAT, as a name or path that ``rs_course.datasets.load`` takes.
        simulated: Number of tiles of the simulator's own choice.
        scenes: Number of scenes under many conditions (:func:`rs_course.training.scenes.varied`).
    """
    tiles = clip_tiles(data, simulated, scenes)
    return fit(out, tiles, minutes=minutes, seed=seed, resume=resume)


def fit(
    out,
    tiles: Tiles,
    *,
    minutes: float,
    seed: int = 0,
    resume: bool = True,
    architecture: str = "mini-clip",
    batch: int = 128,
    lr: float = 1.5e-3,
    log_every: int = 100,
):
    """Train on tiles and captions and write the averaged weights, in half precision.

    Args:
        out, minutes, seed, resume: See :func:`train`.
        tiles: Tiles with at least one caption each; a step takes one or two sentences of each tile.
        architecture: Name in :data:`ARCHITECTURES`.
        batch, lr: Pairs a step, and the largest learning rate.
        log_every: Steps between two lines of the log, at which the state is saved.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = learn_tokenizer((s for sentences in tiles.captions for s in sentences), out)
    torch.manual_seed(seed)  # the initial weights; every later draw has its own generator
    model = build(architecture, tokenizer)
    ema = EMA(model, 0.998)
    decayed = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}], betas=(0.9, 0.98)
    )
    clock = Clock(minutes)
    step = 0
    if resume and (left := restore_state(out, model, ema, optimizer)):
        step = ema.updates = left["step"]
        clock.spent(left["seconds"])

    while clock.share < 1:
        rate = lr * min(1, (step + 1) / 100) * max(0.01, 0.5 * (1 + math.cos(math.pi * clock.share)))
        for group in optimizer.param_groups:
            group["lr"] = rate
        pixels, sentences = draw_pairs(tiles, batch, seed, step)
        with precision.fast():
            loss = pair_loss(model, tokenizer, pixels, sentences)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(max=math.log(100))  # as CLIP does: logits at most 100
        ema.update(model)
        step += 1
        if step % log_every == 0 or clock.share >= 1:
            line = {"step": step, "seconds": round(clock.seconds), "loss": round(loss.item(), 4)}
            with (out / "log.jsonl").open("a") as log:
                log.write(json.dumps(line) + "\n")
            save_state(out, model, ema, optimizer, step=step, seconds=clock.seconds)
    ema.model.half().save_pretrained(out)
    tokenizer.save_pretrained(out)
    preparation = {
        "image_processor_type": "CLIPImageProcessor",
        "do_resize": True,
        "size": {"shortest_edge": 64},
        "resample": 3,
        "do_center_crop": True,
        "crop_size": {"height": 64, "width": 64},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        **MEAN_STD,
    }
    (out / "preprocessor_config.json").write_text(json.dumps(preparation, indent=2) + "\n")
    return ema.model.float()


def build(architecture: str, tokenizer):
    """A fresh ``CLIPModel`` for tiles of 64×64 pixels."""
    from transformers import CLIPConfig, CLIPModel

    plan = ARCHITECTURES[architecture]
    shared = {"num_attention_heads": plan["heads"], "hidden_act": "gelu", "projection_dim": WIDTH}
    text = {
        "vocab_size": len(tokenizer),
        "max_position_embeddings": CONTEXT,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    return CLIPModel(
        CLIPConfig(
            text_config={**plan["text"], **shared, **text},
            vision_config={**plan["vision"], **shared, "image_size": 64},
            projection_dim=WIDTH,
        )
    )


def pair_loss(model, tokenizer, pixels: torch.Tensor, sentences: list[str]) -> torch.Tensor:
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


def draw_pairs(tiles: Tiles, count: int, seed: int, step: int) -> tuple[torch.Tensor, list[str]]:
    """Images ``[count, 3, 64, 64]`` in [-1, 1] with one or two sentences; a function of (seed, step).

    No tile is turned or mirrored: "on the left" must stay true.
    """
    draw = np.random.default_rng([seed, step])
    chosen = draw.choice(len(tiles.images), count)
    return from_pixels(tiles.images[chosen]), [some_sentences(tiles.captions[i], draw) for i in chosen]


def learn_tokenizer(sentences, out: Path):
    """Byte-pair merges of the captions, as a ``CLIPTokenizer`` (vocabulary and merges in CLIP's order)."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
    from transformers import CLIPTokenizer

    bytes_ = sorted(pre_tokenizers.ByteLevel.alphabet())
    machine = Tokenizer(models.BPE(continuing_subword_prefix="", end_of_word_suffix="</w>"))
    machine.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    words = Regex(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+")
    machine.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(words, "removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
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
    (out / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False) + "\n")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (out / "merges.txt").write_text("\n".join(lines) + "\n")
    return tokenizer
