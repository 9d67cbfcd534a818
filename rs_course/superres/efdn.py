"""EFDN, the challenge's baseline: Wang, "Edge-enhanced Feature Distillation Network", CVPRW 2022.

This is the deployed form, in which the edge-enhanced training branches are already folded into ``rep_conv``.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from rs_course.superres.inputs import network_input


class ESA(nn.Module):
    """Enhanced spatial attention: a mask computed on a much smaller image and stretched back over it."""

    def __init__(self, channels: int, hidden: int = 12):
        super().__init__()
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
