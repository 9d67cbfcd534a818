"""Exercises that are answered with a dictionary: what they show, and how each answer is judged."""

import numpy as np
import pytest

from rs_course import classification
from rs_course.check import alignment, is_it_ready, superres
from rs_course.check import classification as check

_PUZZLES = {
    alignment.blind_spot: ({"A": "swap", "B": "blur", "C": "mirror", "D": "collapse"}, alignment.CHANGES),
    check.leaks: ({"A": "turned", "B": "clean", "C": "same place", "D": "identical"}, check.LEAKS),
    superres.wrong_metric: (
        {"A": "data range", "B": "wrap-around", "C": "luma", "D": "aliased"}, superres.CAUSES,
    ),
    is_it_ready.controls: (
        {"compute": "equal updates", "labels": "shuffled", "memory": "adapted", "decoder": "round trip",
         "archive": "retrieval", "place": "pre-event"}, is_it_ready.CONTROLS,
    ),
}  # fmt: skip
_each_puzzle = pytest.mark.parametrize("puzzle", _PUZZLES, ids=lambda puzzle: puzzle.name)


@_each_puzzle
def test_the_right_dictionary_passes_and_every_other_choice_is_objected_to(puzzle):
    right, options = _PUZZLES[puzzle]
    assert puzzle.judge(right)
    assert len(puzzle.hints) == 3
    for key in right:
        for other in set(options) - {right[key]}:
            verdict = puzzle.judge({**right, key: other})
            assert verdict.status == "wrong"
            assert key in verdict.message


@pytest.mark.parametrize(
    ("puzzle", "key", "choice", "message"),
    [
        (alignment.blind_spot, "B", "collapse", "lose recall and keep both precision and the score"),
        (alignment.blind_spot, "A", "mirror", "none of the four moves much"),
        (check.leaks, "B", "same place", "split B: it shares no place with training"),
        (check.leaks, "D", "clean", "it shares something with training"),
        (check.leaks, "A", "same place", "some test tiles do come back in training"),
    ],
)
def test_an_objection_holds_of_the_very_report_or_split(puzzle, key, choice, message):
    verdict = puzzle.judge({**_PUZZLES[puzzle][0], key: choice})
    assert message in verdict.message


@_each_puzzle
def test_a_part_of_the_answer_is_judged_and_the_rest_is_still_open(puzzle):
    right, _ = _PUZZLES[puzzle]
    first, *rest = right
    half = puzzle.judge({**dict.fromkeys(right), first: right[first]})
    assert half.status == "not done"
    assert half.message == f"right so far ({first}); still open: {', '.join(rest)}"
    wrong = puzzle.judge({**dict.fromkeys(right, ...), first: right[rest[0]]})
    assert wrong.status == "wrong"
    assert puzzle.judge(dict.fromkeys(right)).status == "not done"


@_each_puzzle
def test_other_keys_and_values_are_named(puzzle):
    right, options = _PUZZLES[puzzle]
    first = next(iter(right))
    assert "give a dictionary with the keys" in puzzle.judge({first: right[first]}).message
    assert "give a dictionary with the keys" in puzzle.judge("A").message
    for value in ("magic", 3, ["swap"]):
        message = puzzle.judge({**right, first: value}).message
        assert "is not on the list; choose from" in message
        assert all(repr(option) in message for option in options)


@pytest.mark.slow
def test_the_four_reports_differ_as_the_hints_say():
    values = dict(alignment.reports())
    same = values.pop("unchanged")
    swap, blur, mirror, collapse = values.values()
    for metric in ("FID", "precision", "recall"):
        assert swap[metric] == same[metric]
    assert swap["CLIP score"] < same["CLIP score"] - 3
    assert blur["precision"] < same["precision"] - 0.2 and blur["FID"] > 3 * same["FID"]
    assert collapse["recall"] < same["recall"] / 2 and collapse["precision"] > same["precision"] - 0.2
    assert abs(mirror["CLIP score"] - same["CLIP score"]) < 2
    assert mirror["recall"] > same["recall"] - 0.15 and mirror["precision"] > same["precision"] - 0.15


def test_the_splits_leak_as_they_say_and_the_course_finds_it():
    counts = {}
    for letter, split in check.splits().items():
        leak = classification.leakage(split["train"], split["test"])
        places = set(split["train_places"]) & set(split["test_places"])
        counts[letter] = (len(leak.identical), len(leak.near), len(places))
    assert counts == {"A": (0, 4, 4), "B": (0, 0, 0), "C": (0, 0, 4), "D": (4, 4, 4)}


def test_the_reports_of_laboratories_differ_as_the_hints_say():
    values = superres.reports()
    assert values["A"] - values["honest"] == pytest.approx(48.13, abs=0.011)
    assert values["B"] < 15 < values["D"] < values["honest"] < values["C"] < values["honest"] + 4


def test_an_accuracy_off_the_curve_has_no_worth():
    from rs_course.study import comparisons

    assert np.isnan(comparisons.worth([1, 10], [0.4, 0.8], 0.9))
    assert comparisons.worth([1, 100], [0.4, 0.8], 0.6) == pytest.approx(10)
