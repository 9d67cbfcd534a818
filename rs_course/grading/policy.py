"""Due dates and late penalties."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta


@dataclass(frozen=True)
class LatePolicy:
    """How much a late submission loses.

    Attributes:
        due: When it was due, or ``None`` for no penalty.
        per_day: Fraction of the *reached* score that each begun day costs.
        grace: Time after ``due`` that costs nothing.
        most: Largest fraction that can be lost.
    """

    due: datetime | None = None
    per_day: float = 0.0
    grace: timedelta = timedelta(0)
    most: float = 1.0

    @classmethod
    def parse(cls, due: str | None, late: str | None, grace_minutes: float = 0.0) -> LatePolicy:
        """From the command line: ``due`` as ``2026-12-01T23:59+01:00``, ``late`` as ``10%/day`` or
        ``10%/day,50%``.

        Raises:
            ValueError: Either cannot be read.
        """
        moment = None
        if due:
            try:
                moment = datetime.fromisoformat(due)
            except ValueError:
                raise ValueError(f"The due date {due!r} is not like 2026-12-01T23:59+01:00.") from None
            moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        if not late:
            return cls(moment, 0.0, timedelta(minutes=grace_minutes))
        found = re.fullmatch(r"\s*([\d.]+)\s*%\s*/\s*day\s*(?:,\s*([\d.]+)\s*%\s*)?", late)
        if not found:
            raise ValueError(
                f"The late policy {late!r} is not like 10%/day or 10%/day,50% (at most half is lost)."
            )
        if moment is None:
            raise ValueError("A late policy needs --due.")
        most = float(found.group(2) or 100) / 100
        return cls(moment, float(found.group(1)) / 100, timedelta(minutes=grace_minutes), most)

    def penalty(self, score: float, handed_in: datetime | None, marked_late: bool = False) -> float:
        """Points that are lost; ``marked_late`` (by the LMS) counts as one day where the time is unknown."""
        if self.due is None or not self.per_day:
            return 0.0
        if handed_in is None:
            days = 1 if marked_late else 0
        else:
            over = handed_in - self.due - self.grace
            # A part of a day counts as a day; the division of timedeltas is exact.
            days = max(0, -(-over // timedelta(days=1)))
        return round(score * min(self.per_day * days, self.most), 6)
