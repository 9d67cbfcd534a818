"""``Scorer``: how well images and texts agree, by a CLIP or SigLIP model; and embeddings kept on disk.

The key of an embedding is the content: the image's bytes or the caption's text, and a fingerprint of the
scorer's weights and settings. Never the name of a data set, under which a second set would silently receive
the first one's features.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import warnings
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from .preparation import LONG_CAPTIONS, Preparation, caption_list, to_uint8, tokenize

# Raised when preparation or tokenization changes, so that older embeddings are not found any more.
_VERSION = 1


def digest(*parts: bytes) -> bytes:
    """Hash of a sequence of byte strings, in which their boundaries count."""
    state = hashlib.blake2b(digest_size=20)
    for part in parts:
        state.update(len(part).to_bytes(8, "little"))
        state.update(part)
    return state.digest()


def fingerprint(model: torch.nn.Module, *settings: str) -> bytes:
    """Hash of a model's weights (names, shapes, values) and of the settings that shape its inputs."""
    state = hashlib.blake2b(digest_size=20)
    for name, tensor in sorted(model.state_dict().items()):
        state.update(f"{name} {list(tensor.shape)} {tensor.dtype}".encode())
        state.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest(str(_VERSION).encode(), state.digest(), *(s.encode() for s in settings))


class EmbeddingCache:
    """A file of embeddings; several processes may read and write it at once, and it may be deleted any time.

    Args:
        file: SQLite file, made on first use.
    """

    def __init__(self, file: str | Path):
        self.file = Path(file)
        self._usable = True

    def get(self, keys: list[bytes]) -> dict[bytes, np.ndarray]:
        """Those of the embeddings (float32 ``[D]``) that are there."""

        def read(connection):
            found = {}
            for start in range(0, len(keys), 500):  # SQLite limits the variables of one statement
                some = keys[start : start + 500]
                query = f"SELECT key, value FROM embeddings WHERE key IN ({','.join('?' * len(some))})"
                rows = connection.execute(query, some)
                found |= {key: np.frombuffer(value, np.float32) for key, value in rows}
            return found

        return (self.file.exists() and self._use(read)) or {}

    def put(self, keys: list[bytes], embeddings: np.ndarray) -> None:
        """Store embeddings, float32 ``[N, D]``."""
        rows = [(key, row.tobytes()) for key, row in zip(keys, embeddings, strict=True)]
        self._use(
            lambda connection: connection.executemany("INSERT OR IGNORE INTO embeddings VALUES (?, ?)", rows)
        )

    def _use(self, work):
        """Result of ``work(connection)``; a disk that cannot be used is said once and then left alone."""
        if not self._usable:
            return None
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self.file, timeout=60)) as connection, connection:
                connection.execute("CREATE TABLE IF NOT EXISTS embeddings (key BLOB PRIMARY KEY, value BLOB)")
                return work(connection)
        except (OSError, sqlite3.Error) as error:
            self._usable = False
            warnings.warn(
                f"Embeddings are not kept on disk: {self.file} cannot be used ({error}).", stacklevel=2
            )
            return None


class Scorer:
    """Image-text agreement by one pair of towers. Made by :func:`rs_course.alignment.load`.

    Images are a float tensor ``[N, 3, H, W]`` in [0, 1] (or a uint8 array ``[N, H, W, 3]``), texts a list of
    captions. Embeddings have length one; each distinct caption is embedded once.

    Args:
        model: A ``CLIPModel``, ``SiglipModel`` or ``Siglip2Model`` of ``transformers``.
        tokenizer: Its fast tokenizer.
        preparation: What its vision tower wants.
        name: For messages and tables.
        cache: Where embeddings are kept, or ``None``.
        batch_size: Images (and captions) per forward pass.
        long_captions: ``"warn"``, ``"raise"`` or ``"cut"`` when a caption exceeds the context length.
    """

    def __init__(
        self,
        model,
        tokenizer,
        preparation: Preparation,
        *,
        name: str = "scorer",
        cache: EmbeddingCache | None = None,
        batch_size: int = 32,
        long_captions: str = "warn",
    ):
        if long_captions not in LONG_CAPTIONS:
            raise ValueError(f"long_captions={long_captions!r}: choose one of {', '.join(LONG_CAPTIONS)}.")
        if batch_size < 1:
            raise ValueError(f"batch_size={batch_size} must be at least 1.")
        self.model = model.eval().requires_grad_(False)
        self.tokenizer, self.preparation, self.name = tokenizer, preparation, name
        self.cache, self.batch_size, self.long_captions = cache, batch_size, long_captions
        self._fingerprint = None

    def __repr__(self) -> str:
        kind = "SigLIP" if self.sigmoid else "CLIP"
        return f"Scorer({self.name!r}, {kind}, context {self.context_length}, {self.device})"

    @property
    def device(self) -> torch.device:
        """Where the towers are."""
        return next(self.model.parameters()).device

    @property
    def sigmoid(self) -> bool:
        """Whether it was trained pair by pair (SigLIP, with a bias) instead of with a softmax (CLIP)."""
        return hasattr(self.model, "logit_bias")

    @property
    def context_length(self) -> int:
        """Tokens of a caption that are read, special tokens included."""
        return self.model.config.text_config.max_position_embeddings

    def image_embeddings(self, images: np.ndarray | torch.Tensor) -> torch.Tensor:
        """Embeddings ``[N, D]`` of length one, float32, on the images' device.

        These are the features of :func:`rs_course.metrics.cmmd`, and serve the other distribution metrics.

        Raises:
            TypeError: Images of another type.
            ValueError: No images, wrong channels, NaN, or values outside [0, 1].
        """
        batch = to_uint8(images)

        def embed(rows):
            inputs = {name: value.to(self.device) for name, value in self.preparation(batch[rows]).items()}
            return self.model.get_image_features(**inputs).pooler_output

        def content():
            return [str(list(x.shape)).encode() + x.numpy().tobytes() for x in batch.cpu()]

        return self._embedded(b"image", len(batch), content, embed).to(batch.device)

    def text_embeddings(self, texts: str | Sequence[str]) -> torch.Tensor:
        """Embeddings ``[M, D]`` of length one, float32, on the CPU.

        Raises:
            TypeError: Something other than strings.
            ValueError: No text, or one that is too long where ``long_captions="raise"``.
        """
        texts = caption_list(texts)
        distinct = list(dict.fromkeys(texts))
        options = {"length": self.context_length, "pad_to_length": self.sigmoid, "long": self.long_captions}
        tokens = tokenize(self.tokenizer, distinct, **options)

        def embed(rows):
            inputs = {"input_ids": tokens["input_ids"][rows].to(self.device)}
            if not self.sigmoid:  # SigLIP was trained to attend to its padding
                inputs["attention_mask"] = tokens["attention_mask"][rows].to(self.device)
            return self.model.get_text_features(**inputs).pooler_output

        found = self._embedded(b"text", len(distinct), lambda: [text.encode() for text in distinct], embed)
        place = {text: i for i, text in enumerate(distinct)}
        return found[[place[text] for text in texts]]

    def _embedded(self, kind: bytes, count: int, content, embed) -> torch.Tensor:
        """Unit embeddings of ``content()``, a list of bytes, from the cache where it has them; CPU."""
        keys, found = [], {}
        if self.cache is not None:
            if self._fingerprint is None:
                self._fingerprint = fingerprint(self.model, repr(self.preparation), self._reading())
            keys = [digest(self._fingerprint, kind, item) for item in content()]
            found = self.cache.get(keys)
        wanted = [i for i in range(count) if not keys or keys[i] not in found]
        fresh = []
        with torch.inference_mode():
            for start in range(0, len(wanted), self.batch_size):
                rows = torch.tensor(wanted[start : start + self.batch_size])
                fresh.append(F.normalize(embed(rows).float(), dim=1).cpu())
        if not found:
            result = torch.cat(fresh)
        else:
            result = torch.empty(count, len(next(iter(found.values()))))
            for i, key in enumerate(keys):
                if key in found:
                    result[i] = torch.from_numpy(found[key].copy())
            if fresh:
                result[wanted] = torch.cat(fresh)
        if keys and wanted:
            self.cache.put([keys[i] for i in wanted], result[wanted].numpy().astype(np.float32))
        return result.clone()  # an inference tensor could not be used in training later

    def _reading(self) -> str:
        """All that decides which tokens a caption becomes."""
        rules = json.loads(self.tokenizer.backend_tokenizer.to_str())
        rules.pop("truncation"), rules.pop("padding")  # traces of the last call
        return json.dumps([rules, self.context_length])

    def similarity(self, images: np.ndarray | torch.Tensor, texts: str | Sequence[str]) -> torch.Tensor:
        """Cosine of every image with every text ``[N, M]``.

        Raises:
            TypeError, ValueError: As :meth:`image_embeddings` and :meth:`text_embeddings`.
        """
        image = self.image_embeddings(images)
        return image @ self.text_embeddings(texts).to(image.device).T

    def score(
        self, images: np.ndarray | torch.Tensor, texts: str | Sequence[str], *, captions: str = "max"
    ) -> torch.Tensor:
        """Cosine of each image with its own text ``[N]``.

        Args:
            images: N images.
            texts: N captions, or N lists of captions of the same image.
            captions: How several captions of an image are combined: ``"max"``, as Hessel et al. 2021 do with
                references, or ``"mean"``, the average over image-caption pairs.

        Raises:
            TypeError, ValueError: As :meth:`similarity`; or the numbers of images and texts differ.
        """
        if captions not in ("max", "mean"):
            raise ValueError(f"captions={captions!r}: several captions are combined by 'max' or 'mean'.")
        image = self.image_embeddings(images)
        texts = [texts] if isinstance(texts, str) else list(texts)
        if len(texts) != len(image):
            raise ValueError(
                f"{len(image)} images and {len(texts)} texts: score takes one text (or list of captions) per "
                "image; similarity compares every image with every text."
            )
        groups = [caption_list(text) for text in texts]
        owner = torch.repeat_interleave(torch.tensor([len(group) for group in groups])).to(image.device)
        text = self.text_embeddings([caption for group in groups for caption in group]).to(image.device)
        cosines = (image[owner] * text).sum(dim=1)
        return image.new_empty(len(image)).scatter_reduce_(
            0, owner, cosines, "amax" if captions == "max" else "mean", include_self=False
        )

    def clip_score(
        self, images: np.ndarray | torch.Tensor, texts: str | Sequence[str], *, captions: str = "max"
    ) -> torch.Tensor:
        """CLIPScore 2.5 · max(cos, 0) ``[N]`` (Hessel et al. 2021). Arguments as :meth:`score`."""
        return 2.5 * self.score(images, texts, captions=captions).clamp(min=0)

    def clip_score_percent(
        self, images: np.ndarray | torch.Tensor, texts: str | Sequence[str], *, captions: str = "max"
    ) -> torch.Tensor:
        """100 · cos ``[N]``, which remote-sensing papers (and torchmetrics) print as "CLIP score".

        It is 40 times :meth:`clip_score` where the cosine is positive. Arguments as :meth:`score`.
        """
        return 100 * self.score(images, texts, captions=captions)

    def logits(self, images: np.ndarray | torch.Tensor, texts: str | Sequence[str]) -> torch.Tensor:
        """exp(scale) · cos ``[N, M]``, plus SigLIP's bias: what the model was trained on."""
        logits = self.similarity(images, texts) * self.model.logit_scale.exp().item()
        return logits + self.model.logit_bias.item() if self.sigmoid else logits

    def probability(self, images: np.ndarray | torch.Tensor, texts: str | Sequence[str]) -> torch.Tensor:
        """Probability ``[N, M]`` that text j belongs to image i.

        SigLIP answers pair by pair: sigmoid(exp(scale) · cos + bias), whatever the other texts are (Zhai et
        al. 2023). CLIP can only choose among the given texts: softmax over them, rows sum to one.
        """
        logits = self.logits(images, texts)
        return logits.sigmoid() if self.sigmoid else logits.softmax(dim=1)
