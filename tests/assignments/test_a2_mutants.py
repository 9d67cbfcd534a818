"""Typical wrong answers to A2: the intended part of the points, and a message that names the mistake."""

from .conftest import mutant_tests, replaced

NAME = "a2_classification"
TAIL = "    return classify(images, state)"

# name: (question, change, points, words of a message)
MUTANTS = {
    "confusion_transposed": (
        "scores",
        replaced(("labels * classes + predicted", "predicted * classes + labels")),
        2,
        "transposed",
    ),
    "confusion_shares": (
        "scores",
        replaced((".reshape(classes, classes)\n", ".reshape(classes, classes) / len(labels)\n")),
        0,
        "not shares of everything",
    ),
    "confusion_too_small": (
        "scores",
        replaced(("minlength=classes**2).reshape(classes, classes)", "minlength=1)")),
        0,
        "shape",
    ),
    "f1_micro": (
        "scores",
        replaced(
            ("(2 * counts.diagonal() / both.clamp(min=1)).mean()", "counts.diagonal().sum() / counts.sum()")
        ),
        1,
        "micro",
    ),
    "f1_weighted": (
        "scores",
        replaced(
            ("both.clamp(min=1)).mean()", "both.clamp(min=1) * counts.sum(1) / counts.sum()).sum()"),
        ),
        1,
        "weighted",
    ),
    "f1_absent_nan": ("scores", replaced((".clamp(min=1)", "")), 2.5, "0/0"),
    "f1_absent_left_out": (
        "scores",
        replaced(
            (
                "(2 * counts.diagonal() / both.clamp(min=1)).mean()",
                "(2 * counts.diagonal() / both)[both > 0].mean()",
            )
        ),
        2.5,
        "left it out",
    ),
    "f1_per_class": (
        "scores",
        replaced(("both.clamp(min=1)).mean()", "both.clamp(min=1))")),
        1,
        "average them",
    ),
    "worth_linear": (
        "worth",
        replaced(
            (
                "np.exp(np.interp(reached, accuracies, budgets.double().log()))",
                "np.interp(reached, accuracies, budgets)",
            )
        ),
        0,
        "straight over the logarithm",
    ),
    "worth_logarithm": ("worth", replaced(("np.exp(np.interp", "(np.interp")), 0, "take exp"),
    "worth_nearest": (
        "worth",
        replaced(
            (
                "np.exp(np.interp(reached, accuracies, budgets.double().log()))",
                "budgets[(accuracies - reached).abs().argmin()]",
            )
        ),
        0,
        "interpolate",
    ),
    "worth_extrapolated": (
        "worth",
        replaced(('return float("nan")', "reached = min(max(reached, accuracies[0]), accuracies[-1])")),
        1.5,
        "return NaN",
    ),
    "interval_unpaired": (
        "paired_interval",
        replaced(("difference.std()", "(a.var() + b.var()).sqrt()")),
        0,
        "paired by seed",
    ),
    "interval_biased": ("paired_interval", replaced((".std()", ".std(correction=0)")), 0, "n − 1"),
    "interval_no_root": ("paired_interval", replaced((" / len(difference) ** 0.5", "")), 0, "√n"),
    "interval_normal": ("paired_interval", replaced(("half = t *", "half = 1.96 *")), 0, "1.96"),
    "interval_half": ("paired_interval", replaced(("half = t *", "half = t / 2 *")), 0, "half of it"),
    "interval_sign": ("paired_interval", replaced(("a - b\n", "b - a\n")), 0, "a − b"),
    "leak_identical_only": (
        "leaked",
        replaced(("for k in range(4)", "for k in range(1)"), ("(turned, turned.flip(3))", "(turned,)")),
        0.5,
        "all turns and mirrors",
    ),
    "leak_no_mirrors": (
        "leaked",
        replaced(("(turned, turned.flip(3))", "(turned,)")),
        0.5,
        "mirrored copies",
    ),
    "leak_no_turns": ("leaked", replaced(("range(4)", "range(1)")), 0.5, "turned copies"),
    "leak_no_tolerance": ("leaked", replaced(("<= tolerance", "<= 1e-6")), 0.5, "use the tolerance"),
    "leak_inverted": ("leaked", replaced(("return found", "return ~found")), 0, "clean images"),
    "verdict_leaks_kept": ("verdict", replaced(("if leaks == 0:", "if True:")), 0.25, "not the expected"),
    "verdict_other_images": (
        "verdict",
        replaced(("found[arm, seed, budget, test]", "found[arm, seed, budget, 0]")),
        0.25,
        "not the expected",
    ),
    "verdict_exchanged": (
        "verdict",
        replaced(("accuracy - found[(worse, *run)]", "found[(worse, *run)] - accuracy")),
        0,
        "better − worse",
    ),
    "verdict_mean_over_seeds": (
        "verdict",
        replaced(
            (
                "return [sum(seeds[seed]) / len(seeds[seed]) for seed in sorted(seeds)]",
                "return sum(map(sum, seeds.values())) / sum(map(len, seeds.values()))",
            )
        ),
        0,
        "one value per seed",
    ),
    "verdict_without_control": (
        "verdict",
        replaced((" and control > 0", "")),
        2.1,
        "copies of the real tiles",
    ),
    "verdict_without_interval": (
        "verdict",
        replaced(
            (
                'return "yes" if low > 0 and control > 0 else "no" if high < 0',
                "low, control = over_real.mean() - 0.015, over_copies.mean() - 0.015\n"
                "    high = low + 0.03\n"
                '    return "yes" if low > 0 and control > 0 else "no" if high < 0',
            )
        ),
        1.25,
        "some verdicts are wrong",
    ),
    "verdict_undecided": (
        "verdict",
        replaced(('return "yes" if low', 'return "not decided" if low')),
        1.5,
        "some verdicts are wrong",
    ),
    "verdict_another_word": (
        "verdict",
        replaced(('return "yes" if', 'return "maybe" if')),
        1.5,
        "one of the texts",
    ),
    "usable_everything": (
        "usable",
        replaced(("return bool(right > 0.35 and copied < 0.5)", "return True")),
        0,
        "same verdict",
    ),
    "usable_labels_only": ("usable", replaced((" and copied < 0.5", "")), 0.625, "are the tiles new"),
    "usable_copies_only": (
        "usable",
        replaced(("right > 0.35 and ", "")),
        0.625,
        "do labels and pictures agree",
    ),
    "usable_inverted": (
        "usable",
        replaced(("return bool(", "return not bool(")),
        0,
        "hardly better than guessed",
    ),
    "usable_peeks": ("usable", replaced(("return bool(", "return bool(_right and ")), 0, "NameError"),
    "classifier_constant": (
        "classifier",
        replaced((TAIL, "    return torch.zeros(len(images), dtype=torch.long)")),
        0,
        "same class",
    ),
    "classifier_cyclic": (
        "classifier",
        replaced((TAIL, "    return torch.arange(len(images)) % 5")),
        0,
        "no better than without",
    ),
    "classifier_every_hand_over": (
        "classifier",
        replaced((" if usable(images, labels, *pair)", "")),
        0,
        "or with all of them",
    ),
    "classifier_no_hand_over": (
        "classifier",
        replaced((" if usable(images, labels, *pair)", " if False")),
        0,
        "without the generated tiles",
    ),
    "classifier_scores": (
        "classifier",
        replaced((TAIL, "    return torch.zeros(len(images), 5)")),
        0,
        "not its scores",
    ),
    "classifier_one_based": ("classifier", replaced((TAIL, TAIL + " + 1")), 0, "0 to 4"),
    "classifier_peeks": ("classifier", replaced((TAIL, "    return _truth")), 0, "NameError"),
}

test_there_are_enough, test_mutant = mutant_tests(NAME, MUTANTS)
