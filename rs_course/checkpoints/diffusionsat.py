"""DiffusionSat's networks: a Stable Diffusion UNet that is told seven numbers beside the text, and
ControlNets.

Each normalised number goes through the timestep's own sinusoid and through its own two-layer perceptron; the
sum of the seven vectors is added to the time embedding (Khanna et al. 2024, arXiv 2312.03606).

``SatControlNet`` sees one image, or several stacked in the channels. ``SatControlNet3D`` sees a sequence and
mixes its frames with temporal transformers. ``SatMultiControlNet`` adds the residuals of several nets.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import ControlNetModel, TransformerTemporalModel, UNet2DConditionModel
from diffusers.models.controlnets.controlnet import ControlNetOutput
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
        self, sample: torch.Tensor, timestep: torch.Tensor | float, encoder_hidden_states: torch.Tensor,
        metadata: torch.Tensor | None = None, class_labels: torch.Tensor | None = None, **kwargs,
    ) -> Any:  # fmt: skip
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


class ConditionEmbedding(nn.Module):
    """Brings a condition image to the latent's size and width (keys ``conv_in``, ``blocks.0`` … ``.5``,
    ``conv_out``).

    Args:
        channels: Of the condition.
        widths: Of the stages, e.g. ``[16, 32, 96, 256]``.
        out_channels: Width of the UNet's first level.
        scale: Output resolution over condition resolution (1, 2, 4 or 8); a smaller condition is halved fewer
            times.
        frames: ``True`` for a sequence ``[B, C, T, H, W]``: three-dimensional kernels that keep T.
    """

    def __init__(self, channels, widths, out_channels, scale: int = 1, frames: bool = False):
        super().__init__()
        conv = nn.Conv3d if frames else nn.Conv2d

        def across(length, kernel):
            """Of a three-dimensional kernel only height and width, so that every frame is kept."""
            return (length, kernel, kernel) if frames else kernel

        def plain(channels, width):
            return conv(channels, width, 3, padding=1)

        def halve(channels, width, stride):
            return conv(channels, width, across(1, 3), across(1, stride), across(0, 1))

        self.stride = 1  # condition pixels per latent pixel
        self.conv_in = plain(channels, widths[0])
        self.blocks = nn.ModuleList()
        for width, next_width in pairwise(widths):
            self.blocks.append(plain(width, width))
            stride = 2 if scale < 8 else 1
            self.blocks.append(halve(width, next_width, stride))
            self.stride *= stride
            scale *= 2
        self.conv_out = plain(widths[-1], out_channels)

    def forward(self, x: torch.Tensor) -> Any:
        x = F.silu(self.conv_in(x))
        for block in self.blocks:
            x = F.silu(block(x))
        return self.conv_out(x)


class SatControlNet(ControlNetModel):
    """``ControlNetModel`` that embeds the metadata of the target and of the condition image with the same
    seven modules.

    Args:
        conditioning_in_channels: Channels of the condition (diffusers' own name is
            ``conditioning_channels``).
        conditioning_scale: Output resolution over condition resolution.
        use_metadata: Whether it has a ``metadata_embedding``.
        num_metadata: How many numbers.
        controlnet: The arguments of ``ControlNetModel``.
    """

    temporal = False

    @property
    def stride(self) -> int:
        """Condition pixels per latent pixel, along each side."""
        return self.controlnet_cond_embedding.stride

    @extends(ControlNetModel)
    def __init__(
        self,
        conditioning_in_channels=3,
        conditioning_scale=1,
        use_metadata=True,
        num_metadata=7,
        **controlnet,
    ):
        super().__init__(**controlnet)
        self.register_to_config(
            conditioning_in_channels=conditioning_in_channels, conditioning_scale=conditioning_scale,
            use_metadata=use_metadata, num_metadata=num_metadata,
        )  # fmt: skip
        config = self.config
        self.controlnet_cond_embedding = ConditionEmbedding(
            conditioning_in_channels,
            config.conditioning_embedding_out_channels,
            config.block_out_channels[0],
            scale=conditioning_scale,
            frames=self.temporal,
        )
        if use_metadata:
            self.metadata_embedding = MetadataEmbedding(num_metadata, config.block_out_channels[0])
            self.class_embedding = nn.Identity()  # as in SatUNet: the way in for the metadata vector

    def metadata_vector(
        self, metadata: torch.Tensor | None, cond_metadata: torch.Tensor | None, sample: torch.Tensor
    ) -> torch.Tensor:
        """``[B, 4 C]``: the target's metadata plus the condition's, summed over the condition's images.

        ``cond_metadata`` is ``[B, 7]``, ``[B, 7, T]`` or ``None``, which leaves its term out (it is not
        zeros).
        """

        def embed(rows):
            rows = rows.to(sample.device).expand(sample.shape[0], -1)
            return self.metadata_embedding.vector(rows, self.time_proj, sample.dtype)

        if metadata is None:
            metadata = sample.new_zeros(1, self.config.num_metadata)
        vector = embed(metadata)
        if cond_metadata is not None:
            images = cond_metadata[..., None] if cond_metadata.ndim == 2 else cond_metadata
            vector = vector + sum(embed(rows) for rows in images.unbind(dim=-1))
        return vector

    def forward(
        self, sample: torch.Tensor, timestep: torch.Tensor | float, encoder_hidden_states: torch.Tensor,
        controlnet_cond: Any, metadata: torch.Tensor | None = None,
        cond_metadata: torch.Tensor | None = None, **kwargs,
    ) -> Any:  # fmt: skip
        """Residuals for the UNet's skip tensors and middle.

        Args:
            sample: ``[B, 4, h, w]``.
            timestep: Number or ``[B]``.
            encoder_hidden_states: Text states ``[B, 77, D]``.
            controlnet_cond: ``[B, C, H, W]`` in [0, 1].
            metadata: Normalised ``[B, 7]`` of the image to make; ``None`` is all unknown.
            cond_metadata: Normalised ``[B, 7]`` or ``[B, 7, T]`` of the condition; ``None`` leaves it out.
            kwargs: ``conditioning_scale``, ``guess_mode`` and the rest of ``ControlNetModel.forward``.
        """
        if self.config.use_metadata:
            kwargs["class_labels"] = self.metadata_vector(metadata, cond_metadata, sample)
        return super().forward(sample, timestep, encoder_hidden_states, controlnet_cond, **kwargs)


class SatControlNet3D(SatControlNet):
    """ControlNet over a sequence ``[B, C, T, H, W]``; every frame passes the encoder, the residuals are
    summed over T.

    Args:
        use_temporal_transformer: Adds self-attention over time at the first output and after each
            down-sampler, mixed in by a learned weight in [0, 1].
        controlnet: The arguments of ``SatControlNet``; the condition is always eight times the latent's size.
    """

    temporal = True

    @extends(SatControlNet)
    def __init__(self, use_temporal_transformer: bool = False, **controlnet):
        super().__init__(**controlnet)
        self.register_to_config(use_temporal_transformer=use_temporal_transformer)
        config = self.config
        self.controlnet_down_blocks: nn.ModuleList = nn.ModuleList(
            _pointwise(conv) for conv in self.controlnet_down_blocks
        )
        self.controlnet_mid_block: nn.Module = _pointwise(self.controlnet_mid_block)
        if not use_temporal_transformer:
            return
        heads = config.attention_head_dim
        heads = [heads] * len(config.block_out_channels) if isinstance(heads, int) else heads
        # The first slot has 8 heads of 64 and 32 norm groups in every published model. At level i the
        # config's attention_head_dim, which counts heads elsewhere, is the width of a head.
        self.temporal_blocks = nn.ModuleList([_temporal(config.block_out_channels[0], 8, 64, 32)])
        for level, (width, size) in enumerate(zip(config.block_out_channels, heads, strict=True)):
            self.temporal_blocks.extend(nn.Identity() for _ in range(config.layers_per_block))
            if level < len(config.block_out_channels) - 1:
                self.temporal_blocks.append(_temporal(width, width // size, size, config.norm_num_groups))
        self.mixing_attns = nn.ParameterList(nn.Parameter(torch.zeros(())) for _ in self.temporal_blocks)

    def _mixed(self, slot: int, frames: torch.Tensor) -> torch.Tensor:
        """Temporal transformer ``slot`` on ``[B, C, T, h, w]``, mixed with its input."""
        block = self.temporal_blocks[slot]
        if isinstance(block, nn.Identity):
            return frames
        batch, _, count = frames.shape[:3]
        flat = frames.transpose(1, 2).flatten(0, 1)
        attended = block(flat, num_frames=count, return_dict=False)[0]
        attended = attended.unflatten(0, (batch, count)).transpose(1, 2)
        weight = self.mixing_attns[slot].clamp(0, 1)
        return weight * attended + (1 - weight) * frames

    def forward(  # type: ignore[override]
        self, sample: torch.Tensor, timestep: torch.Tensor | float, encoder_hidden_states: torch.Tensor,
        controlnet_cond: Any, metadata: torch.Tensor | None = None,
        cond_metadata: torch.Tensor | None = None, conditioning_scale: Any = 1.0, guess_mode: bool = False,
        return_dict: bool = True,
    ) -> Any:  # fmt: skip
        """As ``SatControlNet.forward`` with ``controlnet_cond`` ``[B, C, T, H, W]``.

        ``cond_metadata`` ``[B, 7, T]`` gives each frame its own, ``[B, 7]`` all frames the same.
        """
        batch, count = sample.shape[0], controlnet_cond.shape[2]

        def per_frame(x):  # [B, ...] to [B T, ...]
            return x.repeat_interleave(count, dim=0)

        condition = self.controlnet_cond_embedding(controlnet_cond).transpose(1, 2).flatten(0, 1)
        x = per_frame(self.conv_in(sample)) + condition
        text = per_frame(encoder_hidden_states)
        timestep = torch.as_tensor(timestep, device=sample.device).expand(batch)
        emb = per_frame(self.time_embedding(self.time_proj(timestep).to(sample.dtype)))
        if self.config.use_metadata:
            if metadata is not None:
                metadata = per_frame(metadata.expand(batch, -1))
            if cond_metadata is not None and cond_metadata.ndim == 3:
                cond_metadata = cond_metadata.expand(batch, -1, -1).transpose(1, 2).flatten(0, 1)
            elif cond_metadata is not None:
                cond_metadata = per_frame(cond_metadata.expand(batch, -1))
            emb = emb + self.metadata_vector(metadata, cond_metadata, x)

        outputs = [x]
        for block in self.down_blocks:
            context = {"encoder_hidden_states": text} if getattr(block, "has_cross_attention", False) else {}
            x, levels = block(hidden_states=x, temb=emb, **context)
            outputs.extend(levels)
        outputs.append(self.mid_block(x, emb, encoder_hidden_states=text))

        convs = [*self.controlnet_down_blocks, self.controlnet_mid_block]
        residuals = []
        for slot, (output, conv) in enumerate(zip(outputs, convs, strict=True)):
            frames = conv(output.unflatten(0, (batch, count)).transpose(1, 2))
            if self.config.use_temporal_transformer and slot < len(self.temporal_blocks):
                frames = self._mixed(slot, frames)
            residuals.append(frames.sum(dim=2))
        scales = torch.logspace(-1, 0, len(residuals)).tolist() if guess_mode else [1.0] * len(residuals)
        residuals = [r * (s * conditioning_scale) for r, s in zip(residuals, scales, strict=True)]
        if not return_dict:
            return residuals[:-1], residuals[-1]
        return ControlNetOutput(down_block_res_samples=residuals[:-1], mid_block_res_sample=residuals[-1])


def _pointwise(conv: nn.Conv2d) -> nn.Conv3d:
    return nn.Conv3d(conv.in_channels, conv.out_channels, 1)


def _temporal(channels: int, heads: int, head_width: int, groups: int) -> TransformerTemporalModel:
    return TransformerTemporalModel(heads, head_width, in_channels=channels, norm_num_groups=groups)


class SatMultiControlNet(nn.Module):
    """Several ControlNets, one condition each; their residuals are added.

    Args:
        nets: The ControlNets, in the order of the conditions.
    """

    def __init__(self, nets: list[SatControlNet]):
        super().__init__()
        self.nets = nn.ModuleList(nets)

    @property
    def dtype(self) -> torch.dtype:
        """Number type of the weights."""
        return next(self.parameters()).dtype

    def forward(
        self, sample: torch.Tensor, timestep: torch.Tensor | float, encoder_hidden_states: torch.Tensor,
        controlnet_cond: Any, metadata: torch.Tensor | None = None,
        cond_metadata: torch.Tensor | None = None, conditioning_scale: Any = 1.0, guess_mode: bool = False,
        return_dict: bool = True,
    ) -> Any:  # fmt: skip
        """``controlnet_cond`` is a list of one tensor per net, ``cond_metadata`` ``[B, 7, nets]``,
        ``conditioning_scale`` a number or one per net."""
        scales = conditioning_scale
        if not isinstance(scales, list | tuple):
            scales = [scales] * len(self.nets)
        total: list[torch.Tensor] = []
        for k, (net, condition, scale) in enumerate(zip(self.nets, controlnet_cond, scales, strict=True)):
            own = None if cond_metadata is None else cond_metadata[:, :, k]
            given = (sample, timestep, encoder_hidden_states, condition, metadata, own)
            down, mid = net(*given, conditioning_scale=scale, guess_mode=guess_mode, return_dict=False)
            new = [*down, mid]
            total = new if not total else [a + b for a, b in zip(total, new, strict=True)]
        if not return_dict:
            return total[:-1], total[-1]
        return ControlNetOutput(down_block_res_samples=total[:-1], mid_block_res_sample=total[-1])
