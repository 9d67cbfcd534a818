"""Prompts: the level token of Text2Earth, and the way from a sentence to CLIP states."""

from __future__ import annotations

import math
import re
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

LEVEL_TOKEN = "_GOOGLE_LEVEL_"


def parse_level(prompt: str) -> tuple[int, str]:
    """Split ``"16_GOOGLE_LEVEL_a harbour"`` into ``(16, "a harbour")``; level 0 means that none was given.

    As in the published pipeline: the number stands before the first token, the text after the last.

    Raises:
        ValueError: What stands before the token is not a whole number.
    """
    if LEVEL_TOKEN not in prompt:
        return 0, prompt
    pieces = prompt.split(LEVEL_TOKEN)
    try:
        return int(pieces[0]), pieces[-1]
    except ValueError:
        raise ValueError(
            f"{pieces[0]!r} before {LEVEL_TOKEN} is not a whole number: write a Google Maps level such as "
            f"16{LEVEL_TOKEN}… (level L shows 2^(17-L) metres per pixel)."
        ) from None


def level_of_gsd(gsd: float) -> int:
    """Google Maps level with the nearest ground resolution, ``2^(17 - level)`` metres per pixel, within
    10..18.
    """
    return min(max(round(17 - math.log2(gsd)), 10), 18)


def encode(tokenizer: Any, text_encoder: Any, prompts: list[str]) -> torch.Tensor:
    """Last hidden states ``[N, 77, D]`` after the final layer norm, without attention mask, as Stable
    Diffusion does.

    Warns with the words that are lost where a prompt is longer than the encoder's 77 tokens.
    """
    import torch

    length = text_encoder.config.max_position_embeddings
    different = list(dict.fromkeys(prompts))
    warn_if_cut(tokenizer, text_encoder, different)
    ids = tokenizer(
        different, padding="max_length", max_length=length, truncation=True, return_tensors="pt"
    ).input_ids
    states = text_encoder(ids.to(text_encoder.device))[0]
    rows = [different.index(prompt) for prompt in prompts] if len(different) < len(prompts) else slice(None)
    return states[torch.as_tensor(rows)] if isinstance(rows, list) else states


def warn_if_cut(tokenizer: Any, text_encoder: Any, prompts: list[str]) -> None:
    """Warn with the words that are lost of each prompt that is longer than the text encoder reads."""
    length = text_encoder.config.max_position_embeddings
    for prompt in dict.fromkeys(prompts):
        if len(prompt) < length:  # a token covers at least one character
            continue
        ids = tokenizer(prompt).input_ids
        if len(ids) > length:
            lost = re.sub(r"\s+", " ", tokenizer.decode(ids[length - 1 : -1])).strip()
            warnings.warn(
                f"The prompt has {len(ids)} tokens, the text encoder reads {length}: it does not see "
                f"{lost!r}.",
                stacklevel=3,
            )
