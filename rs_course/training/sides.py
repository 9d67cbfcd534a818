"""Words for the sides of a tile, and what becomes of them when the tile is mirrored or turned."""

from __future__ import annotations

import re

# Words for a side: clockwise, as captions name the edges that a river touches; north is up.
_EDGES = ("left", "top", "right", "bottom")
_COMPASS = {"north": "top", "south": "bottom", "west": "left", "east": "right"}
_POINTS = {side: point for point, side in _COMPASS.items()}
_MIRRORED = {"left": "right", "right": "left"}
_TURNED = {"top": "left", "left": "bottom", "bottom": "right", "right": "top"}  # against the clock
_ONE = rf"({'|'.join(_EDGES)})"
_SUN = re.compile(r"\b(north|south)-(east|west)\b")
COURSE = re.compile(rf"\bfrom the {_ONE} edge to the {_ONE} edge\b")
_CORNER = re.compile(r"\b(top|bottom) (left|right)\b")
_AT = re.compile(rf"\b(?:on|at) the {_ONE}\b")
SIDE = re.compile(rf"\b{_ONE}\b")
_PLACE = re.compile("|".join(pattern.pattern for pattern in (_SUN, COURSE, _CORNER, _AT, SIDE)))


def turned(sentence: str, view: int) -> str:
    """What is true of a view of a tile, numbered as by ``latent.in_views``, of which ``sentence`` is true."""

    def side(name):
        name = _MIRRORED.get(name, name) if view % 2 else name
        return _TURNED[name] if view >= 2 else name

    def corner(*names):
        return sorted((side(name) for name in names), key=("top", "bottom", "left", "right").index)

    def anew(found):
        words = found[0]
        if sun := _SUN.fullmatch(words):
            return "-".join(_POINTS[name] for name in corner(*(_COMPASS[name] for name in sun.groups())))
        if course := COURSE.fullmatch(words):
            start, end = sorted((side(name) for name in course.groups()), key=_EDGES.index)
            return f"from the {start} edge to the {end} edge"
        if two := _CORNER.fullmatch(words):
            return " ".join(corner(*two.groups()))
        if one := _AT.fullmatch(words):
            now = side(one[1])
            return f"{'at' if now in ('top', 'bottom') else 'on'} the {now}"
        return side(words)

    return _PLACE.sub(anew, sentence)
