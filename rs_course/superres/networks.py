"""The networks: SPAN and DSCF, which are one at two widths, and EFDN, the challenge's baseline.

SPAN is Wan et al., "Swift Parameter-free Attention Network for Efficient Super-Resolution", CVPRW 2024.
DSCF, the winner of the NTIRE 2025 efficiency challenge (Chai et al., arXiv 2504.11271), is SPAN with 26
channels whose weights were tuned with ConvLoRA and distillation and then merged. EFDN is Wang, "Edge-enhanced
Feature Distillation Network", CVPRW 2022, in the deployed form: its edge-enhanced training branches are
folded into ``rep_conv``. Attribute names follow the official files, so that their state dicts load strictly.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


def network_input(images: torch.Tensor, network: nn.Module) -> torch.Tensor:
    """Check rank, channels and size before a forward pass; the range is left to the caller (it costs a
    pass over the data).

    Raises:
        TypeError: Not a float tensor.
        ValueError: Not three channels, or a side below the network's ``min_side``.
    """
    name = type(network).__name__
    if not isinstance(images, torch.Tensor) or not images.is_floating_point():
        kind = images.dtype if isinstance(images, torch.Tensor) else type(images).__name__
        raise TypeError(
            f"{name} takes a float tensor [N, 3, h, w] in [0, 1], not {kind}: divide uint8 by 255."
        )
    if images.ndim != 4 or images.shape[1] != 3:
        hint = ""
        if images.ndim == 4 and images.shape[1] == 4:
            hint = " A fourth band (near infrared, alpha) has no place here: pass images[:, :3]."
        elif images.ndim == 3:
            hint = " For one image, add the batch axis: images[None]."
        raise ValueError(f"{name} takes [N, 3, h, w], not {list(images.shape)}.{hint}")
    if min(images.shape[-2:]) < network.min_side:
        height, width = images.shape[-2:]
        raise ValueError(
            f"{name} needs images of at least {network.min_side}×{network.min_side} pixels, not "
            f"{height}×{width}."
        )
    return images


# Mean colour of the DIV2K training photographs and the factor to 8-bit units; constants of the code, not
# in the files.
RGB_MEAN = (0.4488, 0.4371, 0.4040)
IMAGE_RANGE = 255.0


class Conv3XC(nn.Module):
    """A 3×3 convolution that trains as three convolutions and a shortcut, and infers as one.

    Args:
        channels_in: Input channels.
        channels_out: Output channels.
        branches: Build the training branches 1×1 → 3×3 → 1×1 (twice as wide) and the 1×1
            shortcut; they are linear, so :meth:`merge` folds them into ``eval_conv`` exactly.
    """

    def __init__(self, channels_in: int, channels_out: int, *, branches: bool = False):
        super().__init__()
        self.eval_conv = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        if branches:
            self.eval_conv.requires_grad_(False)
            self.sk = nn.Conv2d(channels_in, channels_out, 1)
            self.conv = nn.Sequential(
                nn.Conv2d(channels_in, 2 * channels_in, 1),
                nn.Conv2d(2 * channels_in, 2 * channels_out, 3),
                nn.Conv2d(2 * channels_out, channels_out, 1),
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if "conv" in self._modules:
            # The input is padded, not the hidden image: the first 1×1 bias then reaches the border too,
            # and merging is exact.
            return self.conv(F.pad(x, (1, 1, 1, 1))) + self.sk(x)
        return self.eval_conv(x)

    @torch.no_grad()
    def merge(self) -> None:
        """Fold the branches into ``eval_conv`` and drop them; does nothing to a merged layer."""
        if "conv" not in self._modules:
            return
        first, middle, last = self.conv
        narrow = last.weight[:, :, 0, 0]
        weight = torch.einsum("po,omuv,mi->piuv", narrow, middle.weight, first.weight[:, :, 0, 0])
        weight[:, :, 1, 1] += self.sk.weight[:, :, 0, 0]
        hidden_bias = middle.bias + torch.einsum("omuv,m->o", middle.weight, first.bias)
        self.eval_conv.weight.copy_(weight)
        self.eval_conv.bias.copy_(last.bias + narrow @ hidden_bias + self.sk.bias)
        self.eval_conv.requires_grad_(True)
        del self.conv, self.sk


class SPAB(nn.Module):
    """Swift parameter-free attention block: three convolutions, gated by an odd function of the last."""

    def __init__(self, channels: int, *, branches: bool = False):
        super().__init__()
        self.c1_r = Conv3XC(channels, channels, branches=branches)
        self.c2_r = Conv3XC(channels, channels, branches=branches)
        self.c3_r = Conv3XC(channels, channels, branches=branches)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """``[N, C, h, w]`` → output of the block and of its three convolutions (the first two after SiLU)."""
        inplace = not torch.is_grad_enabled()
        o1 = F.silu(self.c1_r(x), inplace=inplace)
        o2 = F.silu(self.c2_r(o1), inplace=inplace)
        o3 = self.c3_r(o2)
        if inplace:  # the same product with two buffers fewer: a fifth of the time on a CPU
            return torch.sigmoid(o3).sub_(0.5).mul_(o3 + x), o1, o2, o3
        return (o3 + x) * (torch.sigmoid(o3) - 0.5), o1, o2, o3


class SPAN(nn.Module):
    """Super-resolution network ``[N, 3, h, w]`` in [0, 1] → ``[N, 3, scale·h, scale·w]``, unclamped.

    Args:
        channels: Width C: 26 is DSCF (130,828 parameters at scale 4), 48 is SPAN-S.
        scale: Enlargement.
        branches: Build the re-parameterised training form of every :class:`Conv3XC`.
    """

    min_side = 1
    halo = 21  # low-resolution pixels that one output pixel depends on, to each side: 1 + 6·3 + 1 + 1

    def __init__(self, channels: int = 26, *, scale: int = 4, branches: bool = False):
        super().__init__()
        self.channels, self.scale = channels, scale
        self.conv_1 = Conv3XC(3, channels, branches=branches)
        for i in range(1, 7):
            self.add_module(f"block_{i}", SPAB(channels, branches=branches))
        self.conv_cat = nn.Conv2d(channels * 4, channels, 1)
        self.conv_2 = Conv3XC(channels, channels, branches=branches)
        self.upsampler = nn.Sequential(
            nn.Conv2d(channels, 3 * scale**2, 3, padding=1), nn.PixelShuffle(scale)
        )
        self.register_buffer("mean", torch.tensor(RGB_MEAN).view(1, 3, 1, 1), persistent=False)

    def blocks(self) -> list[SPAB]:
        """The six blocks in order."""
        return [getattr(self, f"block_{i}") for i in range(1, 7)]

    def forward(self, images: torch.Tensor, *, return_features: bool = False):
        """Enlarge a batch.

        Args:
            images: Float tensor ``[N, 3, h, w]`` in [0, 1].
            return_features: Also return the maps that distillation compares (see the second return value).

        Returns:
            ``[N, 3, scale·h, scale·w]``; with ``return_features`` a pair of it and a dict: ``"blocks"``
            has six maps, after each block; ``"convolutions"`` has nine, the three convolutions of blocks 1
            to 3 (the first two after SiLU). Each map is ``[N, C, h, w]``.
        """
        images = network_input(images, self)
        f0 = self.conv_1((images - self.mean) * IMAGE_RANGE)
        first, *others = self.blocks()
        x, *maps = first(f0)
        b1, outputs, inner = x, [x], [maps]
        for block in others:
            x, *maps = block(x)
            if (
                return_features
            ):  # otherwise let them go, so that the next block finds its buffers in the cache
                outputs.append(x)
                inner.append(maps)
        # The fourth branch is the first convolution of block 6 after SiLU, as the official one works in
        # place.
        f = self.conv_cat(torch.cat([f0, self.conv_2(x), b1, maps[0]], dim=1))
        out = self.upsampler(f).contiguous()
        if return_features:
            return out, {"blocks": outputs, "convolutions": [m for maps in inner[:3] for m in maps]}
        return out

    def merge(self) -> SPAN:
        """Fold all training branches into single 3×3 convolutions; returns the network itself."""
        for module in self.modules():
            if isinstance(module, Conv3XC):
                module.merge()
        return self


class ESA(nn.Module):
    """Enhanced spatial attention: a mask computed on a much smaller image and stretched back over it."""

    def __init__(self, channels: int):
        super().__init__()
        hidden = 12
        self.conv1 = nn.Conv2d(channels, hidden, 1)
        self.conv_f = nn.Conv2d(hidden, hidden, 1)
        self.conv2 = nn.Conv2d(hidden, hidden, 3, stride=2)
        self.conv_max = nn.Conv2d(hidden, hidden, 3, padding=1)
        self.conv3 = nn.Conv2d(hidden, hidden, 3, padding=1)
        self.conv3_ = nn.Conv2d(hidden, hidden, 3, padding=1)
        self.conv4 = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        narrow = self.conv1(x)
        coarse = F.max_pool2d(self.conv2(narrow), 7, stride=3)
        coarse = self.conv3_(F.relu(self.conv3(F.relu(self.conv_max(coarse)))))
        coarse = F.interpolate(coarse, x.shape[-2:], mode="bilinear", align_corners=False)
        return x * torch.sigmoid(self.conv4(coarse + self.conv_f(narrow)))


class _PointwiseAct(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.conv1x1 = nn.Conv2d(channels, channels, 1)
        self.act = nn.PReLU(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(self.conv1x1(x))


class _EdgeConvAct(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.rep_conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.act = nn.PReLU(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(self.rep_conv(x))


class Cell(nn.Module):
    """Three convolutions in a row, a narrow branch off each, fused, attended, plus the input."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv1 = _PointwiseAct(channels)
        self.conv2 = _EdgeConvAct(channels)
        self.conv3 = _EdgeConvAct(channels)
        self.branch = nn.ModuleList(nn.Conv2d(channels, channels // 2, 1) for _ in range(4))
        self.fuse = nn.Conv2d(channels * 2, channels, 1)
        self.att = ESA(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a = self.conv1(x)
        b = self.conv2(a)
        c = self.conv3(b)
        narrow = [branch(t) for branch, t in zip(self.branch, (x, a, b, c), strict=True)]
        return self.att(self.fuse(torch.cat(narrow, dim=1))) + x


class EFDN(nn.Module):
    """Super-resolution network ``[N, 3, h, w]`` in [0, 1] → ``[N, 3, scale·h, scale·w]``, clamped to [0, 1].

    Its attention pools over the image, so tiles and whole image differ; ``halo`` is ``None``.
    """

    min_side = 15  # the 7×7 pooling after a stride of 2
    halo = None

    def __init__(self, channels: int = 48, *, scale: int = 4):
        super().__init__()
        self.channels, self.scale = channels, scale
        self.head = nn.Conv2d(3, channels, 3, padding=1)
        self.cells = nn.ModuleList(Cell(channels) for _ in range(4))
        self.local_fuse = nn.ModuleList(nn.Conv2d(channels * 2, channels, 1) for _ in range(3))
        self.tail = nn.Sequential(nn.Conv2d(channels, 3 * scale**2, 3, padding=1), nn.PixelShuffle(scale))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        o0 = self.head(network_input(images, self))
        o1 = self.cells[0](o0)
        o2 = self.cells[1](o1)
        o3 = self.cells[2](self.local_fuse[0](torch.cat([o1, o2], dim=1)))
        o4 = self.cells[3](self.local_fuse[1](torch.cat([o2, o3], dim=1)))
        # The released network fuses o2 here, not o3; its weights were trained so.
        fused = self.local_fuse[2](torch.cat([o2, o4], dim=1))
        return self.tail(fused + o0).clamp(0, 1)
