"""Reports whose numbers do not agree with each other."""

from .conftest import mutant_tests, replaced

METHOD = '"method": [0.66, 0.67, 0.62, 0.70, 0.66]'
INTERVAL = '"interval": [0.019843, 0.048157]'


def runs(count, difference, interval):
    """A report on the first ``count`` seeds only, whose other numbers agree with them."""
    baseline, method = ([0.61, 0.64, 0.60][:count], [0.66, 0.67, 0.62][:count])
    return replaced(
        ("[0, 1, 2, 3, 4]", str(list(range(count)))),
        ('"baseline": [0.61, 0.64, 0.60, 0.66, 0.63]', f'"baseline": {baseline}'),
        (METHOD, f'"method": {method}'),
        ('"difference": 0.034', f'"difference": {difference}'),
        (INTERVAL, f'"interval": {interval}'),
        ('"conclusion": "better"', '"conclusion": "not decided"'),
    )


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
    "worse": (replaced(('"conclusion": "better"', '"conclusion": "worse"')), 5, "excludes 0"),
    "empty_function": (lambda text: "def evidence():\n    pass", 0, "must return the dict"),
    "means_only": (replaced((METHOD, '"method": 0.662')), 0, "lists with one entry per run"),
    "tuple_of_seeds": (replaced(("[0, 1, 2, 3, 4]", "(0, 1, 2, 3, 4)")), 0, "lists with one entry per run"),
    "infinite": (replaced((METHOD, '"method": [float("inf")] * 5')), 0, "NaN or infinite"),
    "leak_not_counted": (
        replaced(('"leaked_images": 0', '"leaked_images": None')),
        5,
        "how many test images",
    ),
    "leak_negative": (replaced(('"leaked_images": 0', '"leaked_images": -1')), 5, "0 or more"),
    "leak_yes": (replaced(('"leaked_images": 0', '"leaked_images": True')), 5, "how many test images"),
    "percentage_points": (replaced(('"difference": 0.034', '"difference": 3.4')), 5, "mean of method"),
    "difference_as_text": (replaced(('"difference": 0.034', '"difference": "0.034"')), 5, "must be a number"),
    "unpaired_spread": (replaced((INTERVAL, '"interval": [-0.012293, 0.080293]')), 3, "the runs are paired"),
    "standard_error": (replaced((INTERVAL, '"interval": [0.028901, 0.039099]')), 3, "not the paired"),
    "interval_reversed": (replaced((INTERVAL, '"interval": [0.048157, 0.019843]')), 3, "not the paired"),
    "interval_as_text": (replaced((INTERVAL, '"interval": ["0.02", "0.05"]')), 3, "[low, high]"),
    "three_seeds": (runs(3, 0.033333, [-0.004613, 0.071279]), 5.5, "3 seeds are too few"),
    "two_seeds": (runs(2, 0.04, [-0.087062, 0.167062]), 5, "2 seeds are too few"),
    "one_seed": (runs(1, 0.05, [0.05, 0.05]), 2, "one run has no interval"),
    "no_runs": (runs(0, 0.0, [0.0, 0.0]), 1, "0 seeds are too few"),
}

test_there_are_enough, test_mutant = mutant_tests(
    "final_project", {name: ("evidence", *mutant) for name, mutant in MUTANTS.items()}
)
