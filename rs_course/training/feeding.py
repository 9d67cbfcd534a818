"""Batches on their way to the device that trains."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from queue import Queue

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

    Whatever the thread raises is raised here, in its place.
    """
    ready: Queue = Queue(count)

    def work():
        try:
            for item in items:
                ready.put((item, None))
            ready.put((None, StopIteration()))
        except BaseException as error:  # handed over, not lost in the thread
            ready.put((None, error))

    threading.Thread(target=work, daemon=True).start()
    while True:
        item, error = ready.get()
        if isinstance(error, StopIteration):
            return
        if error is not None:
            raise error
        yield item
