"""The prompt that stands for a class: the sentence the mini models were trained to answer.

One table of phrases serves both collections, because the simulator has EuroSAT's ten classes. For EuroSAT the
prompt carries Text2Earth's resolution token: ``L_GOOGLE_LEVEL_`` means a ground resolution of 2^(17 - L)
metres per pixel (README of Chen-Yang-Liu/Text2Earth), so L = 14, 8 m, is the level nearest to Sentinel-2's 10
m.
"""

from __future__ import annotations

PHRASES = {
    "AnnualCrop": "annual crop fields",
    "Forest": "a forest",
    "HerbaceousVegetation": "herbaceous vegetation",
    "Highway": "a highway",
    "Industrial": "industrial buildings",
    "Pasture": "pasture",
    "PermanentCrop": "permanent crops such as orchards or vineyards",
    "Residential": "a residential area",
    "River": "a river",
    "SeaLake": "a sea or lake",
}

_TEMPLATES = {
    "simulated": "a satellite image of {phrase}",
    "eurosat": "14_GOOGLE_LEVEL_a Sentinel-2 image of {phrase}",
}


def class_prompt(label: str | int, dataset: str = "simulated") -> str:
    """Prompt for a class.

    Args:
        label: Class name (``"River"``) or index into the alphabetical list (8).
        dataset: ``"simulated"`` or ``"eurosat"``.

    Returns:
        For example "a satellite image of a river".

    Raises:
        ValueError: Unknown class or data set.
    """
    if dataset not in _TEMPLATES:
        raise ValueError(
            f"There is no prompt table for {dataset!r}: use {' or '.join(map(repr, _TEMPLATES))}."
        )
    names = list(PHRASES)
    name = label if isinstance(label, str) else dict(enumerate(names)).get(int(label), "")
    if name not in PHRASES:
        raise ValueError(f"Unknown class {label!r}: use 0 to {len(names) - 1} or one of {', '.join(names)}.")
    return _TEMPLATES[dataset].format(phrase=PHRASES[name])
