"""CRS-Diff's own parts: the map encoder, the content tokens and the metadata vector.

Tang et al. 2024, "CRS-Diff: Controllable Remote Sensing Image Generation With Diffusion Model", arXiv
2403.11614; the adapters follow Uni-ControlNet (Zhao et al. 2023, arXiv 2305.16322). Attribute names are the
keys of the published file.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import Transformer2DModel
from diffusers.models.attention import FeedForward
from diffusers.models.embeddings import get_timestep_embedding
from torch import nn

# The order of the maps in the 18 channels.
MAPS = ("mlsd", "hed", "sketch", "road", "depth", "segmentation")
GROUPS = 32


class MetadataVector(nn.Module):
    """Seven normalised numbers ``[B, 7]`` to the vector ``[B, 4 E]`` that is added to the UNet's time
    embedding.

    Sine and cosine alternate here, other than in the timestep's embedding: ``[2i] = sin(k ω_i)``,
    ``[2i + 1] = cos(k ω_i)`` with ``k = 1000 v`` and ``ω_i = 10000^(-2i/E)``.
    """

    def __init__(self, embedding_dim: int = 320, metadata_dim: int = 7, max_value: float = 1000):
        super().__init__()
        self.config = {"embedding_dim": embedding_dim, "metadata_dim": metadata_dim, "max_value": max_value}
        self.embedding_dim, self.max_value = embedding_dim, max_value
        self.mlp_models = nn.ModuleList(
            nn.ModuleDict({"fc1": nn.Linear(embedding_dim, 4 * embedding_dim)}) for _ in range(metadata_dim)
        )

    def sinusoid(self, metadata: torch.Tensor) -> torch.Tensor:
        """``[B, 7]`` to ``[B, 7, E]``, in float32."""
        steps = torch.arange(0, self.embedding_dim, 2, device=metadata.device, dtype=torch.float32)
        omega = torch.exp(steps * (-math.log(10000.0) / self.embedding_dim))
        angle = metadata.float()[..., None] * self.max_value * omega
        return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(-2)

    def forward(self, metadata: torch.Tensor) -> torch.Tensor:
        fields = self.sinusoid(metadata).to(self.mlp_models[0]["fc1"].weight.dtype).unbind(dim=1)
        return sum(mlp["fc1"](field) for mlp, field in zip(self.mlp_models, fields, strict=True))


class ContentAdapter(nn.Module):
    """A CLIP image feature ``[B, D]`` to context tokens ``[B, 4, D]``. Zeros give tokens too: absence is
    learned.
    """

    def __init__(self, in_dim: int = 768, channel_mult: tuple[int, int] = (2, 4)):
        super().__init__()
        self.config = {"in_dim": in_dim, "channel_mult": list(channel_mult)}
        first, second = channel_mult
        self.in_dim, self.tokens = in_dim, second
        self.norm1 = nn.LayerNorm(in_dim)
        self.ff1 = FeedForward(in_dim, in_dim * first, mult=2 * first, activation_fn="geglu")
        self.norm2 = nn.LayerNorm(in_dim * first)
        self.ff2 = FeedForward(
            in_dim * first, in_dim * second, mult=2 * second // first, activation_fn="geglu"
        )

    def forward(self, content: torch.Tensor) -> torch.Tensor:
        x = self.ff2(self.norm2(self.ff1(self.norm1(content))))
        return x.unflatten(-1, (self.tokens, self.in_dim))


class FeatureExtractor(nn.Module):
    """The 18 map channels ``[B, 18, H, W]`` to features at strides 8, 16, 32 and 64."""

    def __init__(self, channels: int, inject_channels: list[int]):
        super().__init__()

        def conv(inputs, outputs, stride):
            return nn.Conv2d(inputs, outputs, 3, stride, padding=1), nn.SiLU()

        self.pre_extractor = nn.Sequential(
            *conv(channels, 32, 1), *conv(32, 64, 2), *conv(64, 64, 1), *conv(64, 128, 2), *conv(128, 128, 1)
        )
        widths = [128, *inject_channels]
        pairs = list(pairwise(widths))
        self.extractors = nn.ModuleList(nn.Sequential(*conv(a, b, 2)) for a, b in pairs)
        self.zero_convs = nn.ModuleList(nn.Conv2d(b, b, 3, padding=1) for _, b in pairs)

    def forward(self, maps: torch.Tensor) -> list[torch.Tensor]:
        x = self.pre_extractor(maps)
        features = []
        for extract, zero_conv in zip(self.extractors, self.zero_convs, strict=True):
            x = extract(x)
            features.append(zero_conv(x))
        return features


class SpatialAttention(nn.Module):
    """Single-head self-attention over pixels with residual; the scores are not scaled."""

    def __init__(self, channels: int):
        super().__init__()
        self.query_conv = nn.Conv2d(channels, channels // 8, 1)
        self.key_conv = nn.Conv2d(channels, channels // 8, 1)
        self.value_conv = nn.Conv2d(channels, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (
            conv(x).flatten(2).transpose(1, 2) for conv in (self.query_conv, self.key_conv, self.value_conv)
        )
        attended = F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None], scale=1.0)[:, 0]
        return x + attended.transpose(1, 2).reshape(x.shape)


class FeatureNorm(nn.Module):
    """Feature denormalisation: a map feature gives scale and shift of a group norm without weights of its
    own.
    """

    def __init__(self, channels: int, feature_channels: int, groups: int = GROUPS):
        super().__init__()
        self.groups = groups
        self.conv_gamma = nn.Conv2d(feature_channels, channels, 3, padding=1)
        self.conv_beta = nn.Conv2d(feature_channels, channels, 3, padding=1)

    def forward(self, x: torch.Tensor, feature: torch.Tensor) -> torch.Tensor:
        normal = F.group_norm(x, self.groups, eps=1e-5)
        return normal * (1 + self.conv_gamma(feature)) + self.conv_beta(feature)


class AttentiveFeatureNorm(nn.Module):
    """Attention over pixels, then :class:`FeatureNorm`."""

    def __init__(self, channels: int, feature_channels: int, groups: int = GROUPS):
        super().__init__()
        self.attention = SpatialAttention(channels)
        self.fdn = FeatureNorm(channels, feature_channels, groups)

    def forward(self, x: torch.Tensor, feature: torch.Tensor) -> torch.Tensor:
        return self.fdn(self.attention(x), feature)


class ResBlock(nn.Module):
    """Residual block with time embedding; with ``feature_channels`` its norms listen to a map feature."""

    def __init__(
        self, channels: int, out_channels: int, emb_channels: int, feature_channels: int | None = None,
        groups: int = GROUPS,
    ):  # fmt: skip
        super().__init__()
        self.local = local = feature_channels is not None
        if feature_channels is not None:  # they stand before in_layers and out_layers instead of in them
            self.norm_in = AttentiveFeatureNorm(channels, feature_channels, groups)
            self.norm_out = AttentiveFeatureNorm(out_channels, feature_channels, groups)
        widths = (channels, out_channels)
        norms = [nn.Identity() if local else nn.GroupNorm(groups, width) for width in widths]
        convs = [nn.Conv2d(width, out_channels, 3, padding=1) for width in widths]
        self.in_layers = nn.Sequential(norms[0], nn.SiLU(), convs[0])
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(emb_channels, out_channels))
        # The third place was dropout; the key of the convolution counts it.
        self.out_layers = nn.Sequential(norms[1], nn.SiLU(), nn.Identity(), convs[1])
        same = channels == out_channels
        self.skip_connection = nn.Identity() if same else nn.Conv2d(channels, out_channels, 1)

    def forward(self, x: torch.Tensor, emb: torch.Tensor, feature: torch.Tensor = None) -> torch.Tensor:
        h = self.in_layers(self.norm_in(x, feature) if self.local else x)
        h = h + self.emb_layers(emb)[:, :, None, None]
        h = self.out_layers(self.norm_out(h, feature) if self.local else h)
        return self.skip_connection(x) + h


class Downsample(nn.Module):
    """Halves the resolution."""

    def __init__(self, channels: int):
        super().__init__()
        self.op = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.op(x)


class LocalAdapter(nn.Module):
    """A copy of the UNet's encoder that reads the maps and returns one residual per skip tensor and one for
    the middle.

    Args:
        model_channels: Width of the first level.
        channel_mult: Width of each level over the first; a fraction may be one of them.
        inject_channels: Widths of the map features, one per level; level i's first block listens to feature
            i.
        context_dim: Width of the text states.
        num_heads: Attention heads, one number or one per level (the middle has the last level's).
        attention_levels: Levels with cross-attention.
        local_channels: Channels of the maps.
        num_res_blocks: Blocks per level.
        in_channels: Channels of the latents.
        norm_groups: Groups of all group norms; the published model has 32 everywhere.
    """

    stride = 8  # map pixels per latent pixel

    def __init__(
        self,
        model_channels: int = 320,
        channel_mult: tuple[float, ...] = (1, 2, 4, 4),
        inject_channels: tuple[int, ...] = (192, 256, 384, 512),
        context_dim: int = 768,
        num_heads: int | list[int] = 8,
        attention_levels: tuple[int, ...] = (0, 1, 2),
        local_channels: int = 18,
        num_res_blocks: int = 2,
        in_channels: int = 4,
        norm_groups: int = GROUPS,
    ):
        super().__init__()
        self.config = {
            "model_channels": model_channels, "channel_mult": list(channel_mult),
            "inject_channels": list(inject_channels), "context_dim": context_dim,
            "num_heads": num_heads if isinstance(num_heads, int) else list(num_heads),
            "attention_levels": list(attention_levels), "local_channels": local_channels,
            "num_res_blocks": num_res_blocks, "in_channels": in_channels, "norm_groups": norm_groups,
        }  # fmt: skip
        self.model_channels = model_channels
        emb_channels = 4 * model_channels
        self.time_embed = nn.Sequential(
            nn.Linear(model_channels, emb_channels), nn.SiLU(), nn.Linear(emb_channels, emb_channels)
        )
        self.feature_extractor = FeatureExtractor(local_channels, list(inject_channels))

        heads = [num_heads] * len(channel_mult) if isinstance(num_heads, int) else num_heads

        def attention(width, level):
            sizes = (heads[level], width // heads[level], width)
            return Transformer2DModel(*sizes, cross_attention_dim=context_dim, norm_num_groups=norm_groups)

        def residual(inputs, outputs, feature=None):
            return ResBlock(inputs, outputs, emb_channels, feature, norm_groups)

        width = model_channels
        self.input_blocks = nn.ModuleList([nn.ModuleList([nn.Conv2d(in_channels, width, 3, padding=1)])])
        widths = [width]
        for level, mult in enumerate(channel_mult):
            for block in range(num_res_blocks):
                feature = inject_channels[level] if block == 0 else None
                layers = [residual(width, round(mult * model_channels), feature)]
                width = round(mult * model_channels)
                if level in attention_levels:
                    layers.append(attention(width, level))
                self.input_blocks.append(nn.ModuleList(layers))
                widths.append(width)
            if level < len(channel_mult) - 1:
                self.input_blocks.append(nn.ModuleList([Downsample(width)]))
                widths.append(width)
        middle = [residual(width, width), attention(width, -1), residual(width, width)]
        self.middle_block = nn.ModuleList(middle)
        self.zero_convs = nn.ModuleList(nn.Sequential(nn.Conv2d(c, c, 1)) for c in widths)
        self.middle_block_out = nn.Sequential(nn.Conv2d(width, width, 1))

    def features(self, maps: torch.Tensor) -> list[torch.Tensor]:
        """The maps' features; they depend on neither time nor latents."""
        return self.feature_extractor(maps)

    def forward(
        self,
        x: torch.Tensor,
        timestep: torch.Tensor | float,
        context: torch.Tensor,
        maps: torch.Tensor | None = None,
        *,
        features: Any = None,
    ) -> list[torch.Tensor]:
        """Residuals, one per encoder block and the last for the middle.

        Args:
            x: Latents ``[B, 4, h, w]``.
            timestep: Number or ``[B]``.
            context: Text states and content tokens ``[B, 81, D]``.
            maps: ``[B, 18, 8h, 8w]`` in [0, 1].
            features: What :meth:`features` made of them, instead of ``maps``.
        """
        pending = list(self.features(maps) if features is None else features)
        timestep = torch.as_tensor(timestep, device=x.device).expand(x.shape[0])
        sinusoid = get_timestep_embedding(
            timestep, self.model_channels, flip_sin_to_cos=True, downscale_freq_shift=0
        )
        emb = self.time_embed(sinusoid.to(x.dtype))
        residuals = []
        for layers, zero_conv in zip(self.input_blocks, self.zero_convs, strict=True):
            for layer in layers:
                feature = pending.pop(0) if getattr(layer, "local", False) else None
                x = self._through(layer, x, emb, context, feature)
            residuals.append(zero_conv(x))
        for layer in self.middle_block:
            x = self._through(layer, x, emb, context)
        return [*residuals, self.middle_block_out(x)]

    @staticmethod
    def _through(layer, x, emb, context, feature=None):
        if isinstance(layer, ResBlock):
            return layer(x, emb, feature)
        if isinstance(layer, Transformer2DModel):
            return layer(x, encoder_hidden_states=context, return_dict=False)[0]
        return layer(x)
