"""How far a training is: the share of its minutes that has passed, over all resumed runs."""

from __future__ import annotations

import time


class Clock:
    """Counts seconds of wall time; ``share`` runs from 0 to 1.

    Args:
        minutes: Time of the whole training.
    """

    def __init__(self, minutes: float):
        self.limit = 60 * minutes
        self.start = time.monotonic()

    def spent(self, seconds: float) -> None:
        """Count the seconds of an interrupted run too."""
        self.start -= seconds

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.start

    @property
    def share(self) -> float:
        return self.seconds / self.limit
