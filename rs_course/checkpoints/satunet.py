"""SatUNet: the Stable Diffusion UNet of DiffusionSat, told seven numbers beside the text.

Each normalised number goes through the timestep's own sinusoid and through its own two-layer perceptron; the
sum of the seven vectors is added to the time embedding (Khanna et al. 2024, arXiv 2312.03606).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.embeddings import TimestepEmbedding
from torch import nn


def extends(parent: type) -> Callable:
    """Decorator of an ``__init__(self, new…, **parent_arguments)``: its signature also lists the parent's
    arguments.

    diffusers reads a model's config through the signature of its ``__init__``, so a bare ``**kwargs`` would
    lose every key that the parent knows.
    """

    def decorate(init):
        own = [p for p in inspect.signature(init).parameters.values() if p.kind is not p.VAR_KEYWORD]
        inherited = list(inspect.signature(parent.__init__).parameters.values())[1:]
        inherited = [p.replace(kind=p.KEYWORD_ONLY) for p in inherited if p.name not in {q.name for q in own}]
        init.__signature__ = inspect.Signature([*own, *inherited])
        return init

    return decorate


class MetadataEmbedding(nn.ModuleList):
    """One perceptron per number: ``metadata_embedding.0`` … ``.6`` of the published state dicts."""

    def __init__(self, count: int, channels: int):
        super().__init__(TimestepEmbedding(channels, 4 * channels) for _ in range(count))

    def vector(self, metadata: torch.Tensor, time_proj: nn.Module, dtype: torch.dtype) -> torch.Tensor:
        """Sum of the embedded numbers: ``[B, 7]`` to ``[B, 4 C]``.

        The sinusoid is computed in float32 whatever the model's type: in half precision 925.88 would become
        926.0.
        """
        columns = metadata.float().unbind(dim=1)
        return sum(embed(time_proj(column).to(dtype)) for embed, column in zip(self, columns, strict=True))


class SatUNet(UNet2DConditionModel):
    """``UNet2DConditionModel`` with ``metadata_embedding``; two more keys in its config.

    Args:
        use_metadata: ``False`` leaves the embedding out: plain Stable Diffusion 2.1.
        num_metadata: How many numbers.
        unet: The arguments of ``UNet2DConditionModel``.
    """

    @extends(UNet2DConditionModel)
    def __init__(self, use_metadata: bool = True, num_metadata: int = 7, **unet):
        super().__init__(**unet)
        self.register_to_config(use_metadata=use_metadata, num_metadata=num_metadata)
        if use_metadata:
            self.metadata_embedding = MetadataEmbedding(num_metadata, self.config.block_out_channels[0])
            # diffusers adds class_embedding(class_labels) to the time embedding; the metadata vector enters
            # there.
            self.class_embedding = nn.Identity()

    def forward(
        self,
        sample: torch.Tensor,
        timestep: torch.Tensor | float,
        encoder_hidden_states: torch.Tensor,
        metadata: torch.Tensor | None = None,
        class_labels: torch.Tensor | None = None,
        **kwargs,
    ) -> Any:
        """Predict the noise (or velocity).

        Args:
            sample: ``[B, 4, h, w]``.
            timestep: Number or ``[B]``.
            encoder_hidden_states: Text states ``[B, 77, D]``.
            metadata: Normalised ``[B, 7]``; ``None`` means all unknown, which is zeros.
            class_labels: A vector ``[B, 4 C]`` that is added to the metadata's: mini-crsdiff, whose own
                metadata enters so, stands on this UNet.
            kwargs: As in ``UNet2DConditionModel.forward``.
        """
        if self.config.use_metadata:
            if metadata is None:
                metadata = sample.new_zeros(1, self.config.num_metadata)
            metadata = metadata.to(sample.device).expand(sample.shape[0], -1)
            vector = self.metadata_embedding.vector(metadata, self.time_proj, sample.dtype)
            class_labels = vector if class_labels is None else vector + class_labels
        return super().forward(sample, timestep, encoder_hidden_states, class_labels, **kwargs)
