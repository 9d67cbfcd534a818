"""Sums of ``xᵀx``, of which one triangle is enough: the costly part of a covariance in float64.

A product computes both triangles. BLAS has a routine for one (``dsyrk``), which SciPy exposes and torch does
not; torch's own products of panels are the other way. They come from two BLAS libraries, and which is faster
differs by processor (on one Xeon the panels took a quarter less), so it is measured, once.
"""

from __future__ import annotations

import functools
import time

import torch

_PANELS = 8  # (1 + 1/8) / 2 of a whole product's arithmetic; narrower panels lose more than they save


def add_gram(total: torch.Tensor, x: torch.Tensor) -> None:
    """Add the lower triangle of ``xᵀx`` to ``total``; what lies above the diagonal has no meaning.

    Args:
        total: float64 ``[D, D]``, row-major; changed in place.
        x: float64 ``[N, D]``, row-major, on the same device.
    """
    if total.device.type == "cpu":
        _fastest()(total, x)
    else:
        total.addmm_(x.T, x)


def by_blas(total: torch.Tensor, x: torch.Tensor) -> None:
    """BLAS's symmetric rank-k update. Row-major lower is column-major upper, so nothing is copied."""
    from scipy.linalg.blas import dsyrk

    dsyrk(1.0, x.numpy().T, beta=1.0, c=total.numpy().T, overwrite_c=1)


def by_panels(total: torch.Tensor, x: torch.Tensor) -> None:
    """Products of a panel of columns with all columns up to its own."""
    width = x.shape[1]
    stops = [width * (i + 1) // _PANELS for i in range(_PANELS)]
    for start, stop in zip([0, *stops], stops, strict=False):
        total[start:stop, :stop].addmm_(x[:, start:stop].T, x[:, :stop])


@functools.cache
def _fastest():
    x = torch.ones(512, 512, dtype=torch.float64)
    total, seconds = torch.zeros_like(x), {by_blas: [], by_panels: []}
    for _ in range(5):  # in turns, so that whatever else runs here slows both
        for add, taken in seconds.items():
            start = time.perf_counter()
            add(total, x)
            taken.append(time.perf_counter() - start)
    return min(seconds, key=lambda add: min(seconds[add]))
