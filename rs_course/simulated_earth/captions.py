"""Sentences about a scene, made from its facts and from nothing else."""

from __future__ import annotations

from .deterministic import RandomStream
from .place import CLASSES

_SUBJECT = {
    "AnnualCrop": ("annual crops", "fields of annual crops", "cropland"),
    "Forest": ("forest", "a dense forest", "closed woodland"),
    "HerbaceousVegetation": ("herbaceous vegetation", "open scrub and grass", "natural grassland and shrubs"),
    "Highway": ("a motorway", "a highway and its surroundings", "a wide road"),
    "Industrial": ("an industrial area", "factories and warehouses", "industrial buildings"),
    "Pasture": ("pasture", "meadows and pasture", "grazing land"),
    "PermanentCrop": ("permanent crops", "orchards and vineyards", "a patchwork of orchards"),
    "Residential": ("a residential area", "houses and streets", "a town"),
    "River": ("a river", "a river and its banks", "a stretch of river"),
    "SeaLake": ("open water", "a sea or a lake", "a large body of water"),
}
_OUT_OF_SIGHT = {"River": "river", "Highway": "motorway"}
_VIEW = ("A satellite image of", "A Sentinel-2 view of", "An overhead picture of", "A view from orbit of")
_NUMBER = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_COVER = {
    "water": "water", "trees": "trees", "grassland": "grass", "cropland": "cropland",
    "permanent crop": "orchards and vineyards", "scrub": "scrub", "bare ground": "bare ground",
    "building": "buildings", "paved": "paved ground", "road": "roads", "garden": "gardens",
}  # fmt: skip


def place_phrase(position: str) -> str:
    """ "top left" -> "in the top left"; "centre" -> "in the centre"; "left" -> "on the left"."""
    if position == "everywhere":
        return "throughout"
    if position == "centre" or " " in position:
        return f"in the {position}"
    return f"at the {position}" if position in ("top", "bottom") else f"on the {position}"


def counted(positions: list[str], noun: str) -> str:
    """ "two villages, on the left and in the top right"; "two ponds, both in the centre"."""
    where = [place_phrase(p) for p in positions]
    many = len(where)
    number = _NUMBER[many] if many < len(_NUMBER) else str(many)
    if many == 1:
        return f"{number} {noun}, {where[0]}"
    if len(set(where)) == 1:
        return f"{number} {noun}s, {'both' if many == 2 else 'all'} {where[0]}"
    return f"{number} {noun}s, {', '.join(where[:-1])} and {where[-1]}"


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."


def describe(facts: dict, label: str, seed: int) -> list[str]:
    """At least five sentences; wording varies with (label, seed), truth comes from ``facts``."""
    rng = RandomStream(CLASSES.index(label), seed, "captions")

    def one_of(*options: str) -> str:
        return options[rng.integer(0, len(options) - 1)]

    subject = one_of(*_SUBJECT[label])
    if label in _OUT_OF_SIGHT and facts[_OUT_OF_SIGHT[label]] is None:
        subject = f"land near a {_OUT_OF_SIGHT[label]}"  # a wide bend or a small gsd can leave it outside
    season = one_of(f"in {facts['season']}", f"in {facts['month']}")
    sentences = [_sentence(f"{one_of(*_VIEW)} {subject} {season}")]
    sentences.append(composition(facts, one_of))
    sentences += _lines(facts, one_of)
    sentences += _counts(facts, one_of)
    sentences.append(_sky(facts, one_of))
    sentences.append(_weather(facts, one_of))
    if facts["relief"] > 40:
        sentences.append(_sentence(f"the ground's height varies by about {facts['relief']:.0f} metres"))
    sentences.append(_sentence(f"{one_of('the sun stands', 'the light comes from a sun')} {facts['sun']}"))
    return sentences


def composition(facts: dict, one_of) -> str:
    """ "Water covers most of the tile, with trees on the left.", from ``facts["shares"]`` (largest first) and
    ``facts["positions"]``; ``one_of`` chooses the wording.
    """
    shares = [(name, share) for name, share in facts["shares"].items() if share >= 4]
    first, share = shares[0]
    start = f"{_COVER[first]} {one_of('cover', 'take up', 'fill')} {_amount(share)} of the tile"
    if _COVER[first] in ("water", "cropland", "grass", "scrub", "bare ground", "paved ground"):
        start = start.replace(" cover ", " covers ").replace(" take ", " takes ").replace(" fill ", " fills ")
    others = [f"{_COVER[name]} {place_phrase(facts['positions'][name])}" for name, _ in shares[1:3]]
    return _sentence(
        start
        + (one_of(", with ", "; there are also ", ", next to ") + " and ".join(others) if others else "")
    )


def _amount(share: int) -> str:
    limits = {97: "nearly all", 60: "most", 42: "about half", 28: "about a third"}
    return next((words for limit, words in limits.items() if share >= limit), "a part")


def _course(course: dict, verb: str) -> str:
    edges = course["sides"]
    if len(edges) == 2:
        return f"{verb} from the {edges[0]} edge to the {edges[1]} edge"
    return f"{verb} through the {course['position']} of the tile".replace("the centre", "the middle")


def _lines(facts: dict, one_of) -> list[str]:
    found = []
    fields = {"green": "green fields", "bare": "bare and ripe fields", "mixed": "green and bare fields"}
    land = fields.get(facts["fields"], "")
    if river := facts["river"]:
        verb = one_of("meanders", "bends", "winds") if river["meanders"] else one_of("runs", "flows")
        beside = f" past {land}" if land else ""
        found.append(_sentence(f"a river {_course(river, verb)}{beside}"))
        if river["banks"]:
            found.append(_banks(*river["banks"]))
    if motorway := facts["motorway"]:
        name, verb = one_of("motorway", "highway"), one_of("runs", "cuts", "leads")
        found.append(_sentence(f"a {name} {_course(motorway, verb)}"))
    if not found and land and facts["label"] in ("AnnualCrop", "Pasture", "PermanentCrop"):
        found.append(_sentence(one_of(f"the open land looks {facts['fields']}", f"one sees {land}")))
    return found


def _banks(one: tuple[str, str], other: tuple[str, str]) -> str:
    """ "Cropland on the left and trees on the right border the river."."""
    if one[1] == other[1]:
        return _sentence(f"the land on both banks is mostly under {_COVER[one[1]]}")
    phrases = [f"{_COVER[cover]} {place_phrase(where)}" for where, cover in (one, other)]
    return _sentence(f"the river parts {phrases[0]} from {phrases[1]}")


def _counts(facts: dict, one_of) -> list[str]:
    found = []
    for key in ("villages", "ponds", "bridges"):
        if facts[key]:
            verb = one_of("there is" if len(facts[key]) == 1 else "there are", "one can count")
            found.append(_sentence(f"{verb} {counted(facts[key], key[:-1])}"))
    return found


def _sky(facts: dict, one_of) -> str:
    cover = facts["cloud_cover"]
    if cover == 0:
        return _sentence(one_of("the sky is clear", "there is no cloud", "no cloud hides the ground"))
    if cover >= 0.95:
        return _sentence("clouds hide almost the whole tile")
    share, where = round(100 * cover), place_phrase(facts["clouds_at"])
    return _sentence(f"clouds cover about {share} percent of the tile, mostly {where}")


def _weather(facts: dict, one_of) -> str:
    if facts["snow"]:
        return _sentence(one_of("snow lies on the ground", "the land is white with snow"))
    return _sentence(
        one_of(
            f"it is {facts['season']} and there is no snow",
            f"the picture was taken in {facts['month']}, without snow",
        )
    )
