"""A progress bar that counts images, with images per second and the time left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar(count: int, steps: int, shown: bool) -> Iterator[Callable[[int], None]]:
    """Yields ``advance(batch)``, to be called after each step of a batch."""
    if not shown:
        yield lambda batch: None
        return
    from tqdm.auto import tqdm

    form = "{desc}{percentage:3.0f}%|{bar}| {n:.0f}/{total} images [{rate_fmt}, {remaining} left]"
    # The caller asked for it, so TQDM_DISABLE, which silences the bars of libraries, does not count here.
    with tqdm(total=count, unit="image", bar_format=form, disable=False) as bar:
        yield lambda batch: bar.update(batch / steps)
