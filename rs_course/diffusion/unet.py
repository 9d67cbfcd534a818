"""A small class-conditional U-Net in pixel space, whole on one page.

    x_t [N,3,32,32] ── fold 2×2 ──► 16×16 ──► 8×8 ──► attention ──► 8×8 ──► 16×16 ── unfold ──► output
    [N,3,32,32]
                                      └──────────────── added ────────────────┘

Folding 2×2 pixels into channels (``pixel_unshuffle``) keeps every value and makes each layer four times
cheaper than at full resolution. The step t and the class enter every block as a scale and a shift per
channel (FiLM).
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from rs_course.files import write_json

WEIGHTS = "diffusion_pytorch_model.safetensors"


def timestep_embedding(t: torch.Tensor, dim: int, max_period: float = 10_000.0) -> torch.Tensor:
    """Sines and cosines of t at geometric frequencies (Vaswani et al. 2017, section 3.5): ``[N, dim]``."""
    frequencies = torch.exp(-math.log(max_period) * torch.arange(dim // 2, device=t.device) / (dim // 2))
    angles = t[:, None].float() * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


class ResidualBlock(nn.Module):
    """x + conv(scale · norm(conv(norm(x))) + shift); scale and shift come from (t, class)."""

    def __init__(self, channels: int, embedding: int, dropout: float):
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(8, channels), nn.GroupNorm(8, channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.modulation = nn.Linear(embedding, 2 * channels)
        self.dropout = nn.Dropout(dropout)
        nn.init.zeros_(self.conv2.weight)  # every block starts as the identity
        nn.init.zeros_(self.conv2.bias)

    def forward(self, x: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:  # [N, C, H, W], [N, E]
        scale, shift = self.modulation(embedding)[:, :, None, None].chunk(2, dim=1)
        h = self.conv1(F.silu(self.norm1(x)))
        h = F.silu(self.norm2(h) * (1 + scale) + shift)
        return x + self.conv2(self.dropout(h))


class Attention(nn.Module):
    """Self-attention over all positions, so that far parts of a tile agree."""

    def __init__(self, channels: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(8, channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # [N, C, H, W]
        n, c, h, w = x.shape
        qkv = self.qkv(self.norm(x)).view(n, 3, self.heads, c // self.heads, h * w)
        q, k, v = qkv.transpose(-1, -2).unbind(1)
        y = F.scaled_dot_product_attention(q, k, v)  # [N, heads, HW, C/heads]
        return x + self.out(y.transpose(-1, -2).reshape(n, c, h, w))


class UNet(nn.Module):
    """Predicts eps, x0 or v from (x_t, t, class).

    Args:
        channels: Width at 1/2 and at 1/4 of the resolution.
        blocks: Residual blocks per level on the way down, in the middle, and on the way up.
        classes: Number of classes, the "no class" entry of classifier-free guidance included.
        dropout: Inside the residual blocks.
    """

    def __init__(self, channels=(64, 128), blocks=(1, 2, 2), classes=11, heads=4, dropout=0.0, fold=2):
        super().__init__()
        self.config = {
            "channels": list(channels), "blocks": list(blocks), "classes": classes, "heads": heads,
            "dropout": dropout, "fold": fold
        }  # fmt: skip
        high, low = channels
        embedding = low
        self.time = nn.Sequential(nn.Linear(high, embedding), nn.SiLU(), nn.Linear(embedding, embedding))
        self.label = nn.Embedding(classes, embedding)

        def stack(count, width):
            return nn.ModuleList(ResidualBlock(width, embedding, dropout) for _ in range(count))

        down, middle, up = blocks
        self.enter = nn.Conv2d(3 * fold**2, high, 3, padding=1)
        self.down_high = stack(down, high)
        self.shrink = nn.Conv2d(4 * high, low, 1)
        self.down_low = stack(middle, low)
        self.attention = Attention(low, heads)
        self.up_low = stack(middle, low)
        self.grow = nn.Conv2d(low, 4 * high, 1)
        self.up_high = stack(up, high)
        self.norm = nn.GroupNorm(8, high)
        self.leave = nn.Conv2d(high, 3 * fold**2, 3, padding=1)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(
        self, x: torch.Tensor, t: int | torch.Tensor, labels: torch.Tensor | None
    ) -> torch.Tensor:  # [N, 3, H, W], [N], [N]
        fold = self.config["fold"]
        time = self.time(timestep_embedding(t, self.time[0].in_features).to(x.dtype))
        embedding = F.silu(time + self.label(labels))
        high = self.enter(F.pixel_unshuffle(x, fold))
        for block in self.down_high:
            high = block(high, embedding)
        low = self.shrink(F.pixel_unshuffle(high, 2))
        for block in self.down_low:
            low = block(low, embedding)
        low = self.attention(low)
        for block in self.up_low:
            low = block(low, embedding)
        high = high + F.pixel_shuffle(self.grow(low), 2)
        for block in self.up_high:
            high = block(high, embedding)
        return F.pixel_shuffle(self.leave(F.silu(self.norm(high))), fold)

    def save(self, folder: str | Path) -> None:
        """Write ``config.json`` and fp16 safetensors into ``folder``, as diffusers lays out a model."""
        from safetensors.torch import save_file

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        weights = {name: value.half().contiguous() for name, value in self.state_dict().items()}
        save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
        write_json(folder / "config.json", {"_class_name": "UNet", **self.config}, indent=2)

    @classmethod
    def load(cls, folder: str | Path) -> UNet:
        """Read what ``save`` wrote; float32, evaluation mode.

        Raises:
            FileNotFoundError: No such model.
            ValueError: The weights do not fit the configuration.
        """
        from safetensors.torch import load_file

        folder = Path(folder)
        for name in ("config.json", WEIGHTS):
            if not (folder / name).is_file():
                raise FileNotFoundError(
                    f"{folder} holds no {name}: give the unet folder of a pixel-space checkpoint."
                )
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        model = cls(**{key: value for key, value in config.items() if not key.startswith("_")})
        try:
            model.load_state_dict(load_file(folder / WEIGHTS))
        except RuntimeError as error:
            raise ValueError(f"The weights in {folder} do not fit its config.json: {error}") from None
        return model.float().eval()
