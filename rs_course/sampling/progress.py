"""A progress bar that counts images, with images per second and the time left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar(
    count: int, steps: int, shown: bool | Callable[[float], None]
) -> Iterator[Callable[[int], None]]:
    """Yields ``advance(batch)``, to be called after each step of a batch.

    Args:
        count: Images in all.
        steps: Steps of each.
        shown: Whether to show a bar; or a function that is told how many images were made since its last
            call, in fractions.
    """
    if callable(shown):
        yield lambda batch: shown(batch / steps)
    elif shown:
        with image_bar(count) as advance:
            yield lambda batch: advance(batch / steps)
    else:
        yield lambda batch: None


@contextmanager
def image_bar(total: int, done: int = 0) -> Iterator[Callable[[float], None]]:
    """A bar over ``total`` images, of which some are there already; yields ``advance(images)``."""
    from tqdm.auto import tqdm

    form = "{desc}{percentage:3.0f}%|{bar}| {n:.0f}/{total} images [{rate_fmt}, {remaining} left]"
    # The caller asked for it, so TQDM_DISABLE, which silences the bars of libraries, does not count here.
    with tqdm(total=total, initial=done, unit="image", bar_format=form, disable=False) as bar:
        # Fractions of images may add up to a little more than the total.
        yield lambda images: bar.update(min(images, total - bar.n))
