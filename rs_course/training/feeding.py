"""Batches on their way to the device that trains."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from queue import Full, Queue

import torch

AHEAD = 2  # batches that lie ready for a GPU


def feed(batches: Iterable[tuple], device: torch.device) -> Iterator[tuple]:
    """The batches on the device. For a GPU a thread makes them ahead, while the step before is computed.

    Args:
        batches: Tuples of tensors.
        device: Where they are wanted.
    """
    moved = (tuple(part.to(device, non_blocking=True) for part in batch) for batch in batches)
    return moved if device.type == "cpu" else ahead(moved)


def ahead(items: Iterable, count: int = AHEAD) -> Iterator:
    """The same items in the same order, ``count`` of them made early by a thread.

    Whatever the thread raises is raised here, in its place. The thread ends with this iterator, also where
    that is closed or forgotten before its end.
    """
    ready: Queue = Queue(count)
    abandoned = threading.Event()

    def hand_over(item, error=None):
        while not abandoned.is_set():
            try:
                return ready.put((item, error), timeout=0.1)
            except Full:
                continue

    def work():
        try:
            for item in items:
                hand_over(item)
                if abandoned.is_set():
                    return
            hand_over(None, StopIteration())
        except BaseException as error:  # handed over, not lost in the thread
            hand_over(None, error)

    threading.Thread(target=work, daemon=True).start()
    try:
        while True:
            item, error = ready.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item
    finally:
        abandoned.set()
