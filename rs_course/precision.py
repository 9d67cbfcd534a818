"""Which number type a device multiplies fastest: bfloat16 or float32.

A GPU gains from bfloat16. Processors differ: those with matrix units (AMX) gain much; others know its
instructions and are still slower with them than in float32, or have to emulate it. So it is measured, once.
"""

from __future__ import annotations

import contextlib
import functools
import time

import torch


@functools.cache
def autocast(device: str = "cpu") -> torch.dtype | None:
    """bfloat16 where it is the faster type on this device, else ``None``; what ``torch.autocast`` should get.

    Args:
        device: Device type, ``"cpu"`` or ``"cuda"``.
    """
    if device != "cpu":
        return torch.bfloat16 if device == "cuda" else None
    if not torch.cpu._is_avx512_bf16_supported():
        return None
    seconds: dict[torch.dtype, list[float]] = {torch.float32: [], torch.bfloat16: []}
    with torch.inference_mode():
        for _ in range(7):  # in turns, so that whatever else runs here slows both
            for dtype, taken in seconds.items():
                a, b = (torch.ones(512, 512, dtype=dtype) for _ in range(2))
                start = time.perf_counter()
                a @ b
                taken.append(time.perf_counter() - start)
    return torch.bfloat16 if min(seconds[torch.bfloat16]) < 0.8 * min(seconds[torch.float32]) else None


def fast(device: str = "cpu") -> contextlib.AbstractContextManager:
    """Context in which networks on this device compute in their fastest type."""
    dtype = autocast(device)
    return torch.autocast(device, dtype) if dtype else contextlib.nullcontext()


def repeatable(device: str = "cpu") -> contextlib.AbstractContextManager:
    """As :func:`fast`, but always float32 on a processor.

    What was measured as faster there may turn out differently on a busy day, and a training that goes on from
    other roundings ends with other numbers.
    """
    return contextlib.nullcontext() if device == "cpu" else fast(device)
