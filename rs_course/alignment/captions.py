"""From captions to token ids, and what to say when a caption is longer than the scorer can read."""

from __future__ import annotations

import json
import string
import warnings
from pathlib import Path

LONG = ("warn", "raise", "cut")


def read_tokenizer(folder: Path, *, lower_case: bool = False):
    """The fast tokenizer of a scorer's folder.

    Args:
        folder: Where its files lie.
        lower_case: Lower the text first, whatever its files say. SigLIP 2 was trained so, with Gemma's
            tokenizer, which keeps capitals.

    Raises:
        FileNotFoundError: No tokenizer files.
        ValueError: Files that make no tokenizer.
    """
    from transformers import AutoTokenizer, CLIPTokenizer, PreTrainedTokenizerFast

    fast = (folder / "tokenizer.json").is_file()
    if not fast and not ((folder / "vocab.json").is_file() and (folder / "merges.txt").is_file()):
        alone = " (spiece.model alone is not read here)" if (folder / "spiece.model").is_file() else ""
        raise FileNotFoundError(
            f"{folder} has no tokenizer.json, nor vocab.json with merges.txt{alone}: fetch them too."
        )
    settings = folder / "tokenizer_config.json"
    try:
        named = json.loads(settings.read_text("utf-8")).get("tokenizer_class") if settings.is_file() else None
        if fast and named == "SiglipTokenizer":
            # That class needs sentencepiece; the same vocabulary lies in tokenizer.json.
            tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
            return _canonical(tokenizer)
        kind = AutoTokenizer if named else CLIPTokenizer  # beside OpenCLIP weights lies the bare vocabulary
        tokenizer = kind.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # the tokenizers package raises bare Exceptions
        raise ValueError(
            f"The tokenizer in {folder} cannot be read ({str(error).splitlines()[0]}): fetch it again."
        ) from None
    return _lowered(tokenizer) if lower_case else tokenizer


def _lowered(tokenizer):
    from tokenizers import normalizers

    own = tokenizer.backend_tokenizer.normalizer
    rules = [normalizers.Lowercase(), *([own] if own else [])]
    tokenizer.backend_tokenizer.normalizer = normalizers.Sequence(rules)
    return tokenizer


def _canonical(tokenizer):
    """SigLIP's canonical text: lower case, no ASCII punctuation, single spaces (big_vision; idempotent)."""
    from tokenizers import Regex, normalizers

    punctuation = "".join("\\" + mark for mark in string.punctuation)
    rules = [
        normalizers.Lowercase(),
        normalizers.Replace(Regex(f"[{punctuation}]"), ""),
        normalizers.Replace(Regex(r"\s+"), " "),
        normalizers.Strip(),
    ]
    if own := tokenizer.backend_tokenizer.normalizer:
        rules.append(own)
    tokenizer.backend_tokenizer.normalizer = normalizers.Sequence(rules)
    return tokenizer


def caption_list(texts) -> list[str]:
    """One caption or a sequence of captions as a list.

    Raises:
        TypeError: Something in it is not a string.
        ValueError: It is empty.
    """
    texts = [texts] if isinstance(texts, str) else list(texts)
    if not texts:
        raise ValueError("texts is empty: there is nothing to score.")
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"texts[{i}] is {type(text).__name__}, not a caption (str).")
    return texts


def tokenize(tokenizer, texts: list[str], *, length: int, pad_to_length: bool, long: str):
    """Token ids and attention mask of captions, at most ``length`` tokens each.

    Args:
        tokenizer: A fast tokenizer of ``transformers``.
        texts: Captions.
        length: Context length of the text tower, its special tokens included.
        pad_to_length: Pad all to ``length``, as SigLIP was trained, instead of to the longest.
        long: What to do with a longer caption: ``"warn"``, ``"raise"`` or silently ``"cut"``.

    Raises:
        ValueError: A caption is too long and ``long`` is ``"raise"``.
    """
    encoded = tokenizer(texts, return_attention_mask=True, verbose=False)
    if too_long := [i for i, ids in enumerate(encoded["input_ids"]) if len(ids) > length]:
        if long != "cut":
            _report_cut(tokenizer, texts, too_long, length, long)
        encoded = tokenizer(texts, max_length=length, truncation=True, return_attention_mask=True)
    return tokenizer.pad(
        encoded,
        padding="max_length" if pad_to_length else True,
        max_length=length if pad_to_length else None,
        return_tensors="pt",
        verbose=False,
    )


def _report_cut(tokenizer, texts, too_long, length, long):
    first = too_long[0]
    count = len(tokenizer(texts[first], verbose=False)["input_ids"])
    spans = tokenizer(texts[first], max_length=length, truncation=True, return_offsets_mapping=True)
    lost = texts[first][max(end for _, end in spans["offset_mapping"]) :].strip()
    others = "" if len(too_long) == 1 else f" (and {len(too_long) - 1} more captions)"
    sentence = (
        f"Caption {first} has {count} tokens and this scorer reads {length}, so its end is not "
        f"judged: “{lost if len(lost) <= 80 else lost[:77] + '…'}”{others}."
    )
    if long == "raise":
        raise ValueError(sentence + " Shorten it, or load the scorer with long_captions='warn'.")
    warnings.warn(sentence, stacklevel=5)
