"""When something was handed in, as learning systems and exchange folders write it."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

# Hours ahead of UTC. What names several zones (CST, IST, BST, ...) is left out: it would be a guess.
_ZONES = {
    **dict.fromkeys(("UTC", "GMT", "Z", "WET"), 0.0),
    **dict.fromkeys(("CET", "MET", "WEST"), 1.0),
    **dict.fromkeys(("CEST", "MEST", "EET", "SAST"), 2.0),
    **dict.fromkeys(("EEST", "MSK"), 3.0),
    **{"PKT": 5.0, "HKT": 8.0, "JST": 9.0, "KST": 9.0, "ACST": 9.5, "AEST": 10.0, "AEDT": 11.0},
    **{"AWST": 8.0, "NZST": 12.0, "NZDT": 13.0, "NST": -3.5, "NDT": -2.5, "EST": -5.0, "EDT": -4.0},
    **{"CDT": -5.0, "MDT": -6.0, "PST": -8.0, "PDT": -7.0, "AKST": -9.0, "AKDT": -8.0, "HST": -10.0},
}
_LOCAL = (
    "%Y-%m-%d-%H-%M-%S",
    "%b %d, %Y %I%M %p",
    "%B %d, %Y %I%M %p",
    "%d %B, %Y %I%M %p",
    "%d %b, %Y %I%M %p",
)


def parse(text: str) -> datetime:
    """A moment such as ``2026-12-05 10:00:00.123456 CET``, ``… +0100``, ``… Europe/Berlin`` or ``…Z``.

    Without a zone it is UTC, as nbgrader writes it.

    Raises:
        ValueError: It is no date, or its zone is unknown or ambiguous.
    """
    text = text.strip()
    found = re.fullmatch(r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?)\s*(.*)", text)
    if not found:
        raise ValueError(f"{text[:60]!r} is not a time like 2026-12-01 23:59:00 UTC")
    moment = datetime.fromisoformat(found[1].replace(",", "."))
    try:
        return moment.replace(tzinfo=zone(found[2] or "UTC")).astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{text[:60]!r} is outside the calendar") from None


def zone(name: str) -> tzinfo:
    """A time zone by offset (``+01:00``), unambiguous abbreviation (``CET``) or name (``Europe/Berlin``).

    Raises:
        ValueError: There is no such zone, or it has several meanings.
    """
    if found := re.fullmatch(r"(?:UTC|GMT)?([+-])(\d\d?):?(\d\d)?", name):
        offset = timedelta(hours=int(found[2]), minutes=int(found[3] or 0))
        if offset < timedelta(hours=24):
            return timezone(-offset if found[1] == "-" else offset)
    if (hours := _ZONES.get(name.upper())) is not None:
        return timezone(timedelta(hours=hours), name.upper())
    try:
        if "/" in name:
            return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        pass
    raise ValueError(f"the time zone {name[:40]!r} is unknown, or several are called so")


def local(text: str) -> datetime | None:
    """The time without a zone that Blackboard or D2L puts into a name, or ``None`` if it cannot be read."""
    for form in _LOCAL:
        try:
            return datetime.strptime(text.strip(), form)
        except ValueError:
            continue
    return None
