"""Reports whose numbers do not agree with each other."""

import pytest

from .conftest import replaced

METHOD = '"method": [0.66, 0.67, 0.62, 0.70, 0.66]'
INTERVAL = '"interval": [0.019843, 0.048157]'

# name: (change, points, words of a message)
MUTANTS = {
    "key_missing": (replaced(('        "leaked_images": 0,\n', "")), 0, "lacks leaked_images"),
    "no_question": (replaced(("real ones per class?", "real ones per class.")), 5, "question mark"),
    "nothing": (lambda text: "def evidence():\n    return {}", 0, "must return the dict"),
    "unpaired_lists": (replaced((METHOD, '"method": [0.66, 0.67]')), 0, "paired by seed"),
    "seed_twice": (replaced(("[0, 1, 2, 3, 4]", "[0, 1, 2, 3, 3]")), 0, "occurs twice"),
    "text_for_numbers": (replaced((METHOD, '"method": ["good"] * 5')), 0, "must be numbers"),
    "nan": (replaced((METHOD, '"method": [float("nan")] * 5')), 0, "NaN"),
    "sign": (replaced(('"difference": 0.034', '"difference": -0.034')), 5, "method − baseline"),
    "best_seed_only": (replaced(('"difference": 0.034', '"difference": 0.05')), 5, "mean of method"),
    "normal_quantile": (replaced((INTERVAL, '"interval": [0.024006, 0.043994]')), 3, "1.96 is for many runs"),
    "biased_spread": (replaced((INTERVAL, '"interval": [0.021337, 0.046663]')), 3, "n − 1 in the variance"),
    "no_interval": (replaced((INTERVAL, '"interval": 0.014')), 3, "[low, high]"),
    "invented_interval": (replaced((INTERVAL, '"interval": [0.03, 0.04]')), 3, "not the paired"),
    "overclaimed": (
        replaced(
            (METHOD, '"method": [0.66, 0.60, 0.62, 0.70, 0.60]'),
            ('"difference": 0.034', '"difference": 0.008'),
            (INTERVAL, '"interval": [-0.042741, 0.058741]'),
        ),
        5,
        "contains 0",
    ),
    "underclaimed": (replaced(('"conclusion": "better"', '"conclusion": "not decided"')), 5, "excludes 0"),
    "vague": (replaced(('"conclusion": "better"', '"conclusion": "promising"')), 5, "is one of"),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant(name, grade_mutant):
    change, points, words = MUTANTS[name]
    score, said, _ = grade_mutant("final_project", "evidence", change)
    assert score == points, said
    assert words in said
