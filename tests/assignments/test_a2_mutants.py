"""Typical wrong answers to A2: the intended part of the points, and a message that names the mistake."""

from .conftest import mutant_tests, replaced

NAME = "a2_classification"
TAIL = "    return ((features(images) - mean) / spread @ weights).argmax(1)"

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
    "filter_no_scale": (
        "clip_filter",
        replaced(("(scale * similarity)", "similarity")),
        0.5,
        "multiplied by scale",
    ),
    "filter_wrong_axis": (
        "clip_filter",
        replaced(("softmax(dim=1)", "softmax(dim=0)")),
        0.5,
        "over the images",
    ),
    "filter_argmax": (
        "clip_filter",
        replaced(("return own > 1 / similarity.shape[1]", "return similarity.argmax(1) == labels")),
        0,
        "own class wins",
    ),
    "filter_half": ("clip_filter", replaced(("1 / similarity.shape[1]", "0.5")), 0, "one half"),
    "filter_inverted": ("clip_filter", replaced(("own > 1", "own < 1")), 0, "must go"),
    "filter_indices": (
        "clip_filter",
        replaced(
            ("return own > 1 / similarity.shape[1]", "return torch.where(own > 1 / similarity.shape[1])[0]")
        ),
        0,
        "shape",
    ),
    "loss_T_on_both": (
        "soft_target_loss",
        replaced(("logits.log_softmax", "(logits / T).log_softmax")),
        0.5,
        "only",
    ),
    "loss_T_squared": ("soft_target_loss", replaced(("s * soft", "s * T**2 * soft")), 0.5, "no factor T²"),
    "loss_hinton": (
        "soft_target_loss",
        replaced(("logits.log_softmax", "(logits / T).log_softmax"), ("s * soft", "s * T**2 * soft")),
        0.5,
        "and there is no factor",
    ),
    "loss_no_T": ("soft_target_loss", replaced(("(teacher / T)", "teacher")), 0.5, "T was not used"),
    "loss_s_exchanged": (
        "soft_target_loss",
        replaced(("s * soft + (1 - s) *", "(1 - s) * soft + s *")),
        0,
        "1 − s the hard one",
    ),
    "loss_kl": (
        "soft_target_loss",
        replaced(("* logits.log_softmax(dim=1))", "* (logits.log_softmax(dim=1) - target.log()))")),
        0.5,
        "Kullback-Leibler",
    ),
    "loss_roles": (
        "soft_target_loss",
        replaced(("    target =", "    logits, teacher = teacher, logits\n    target =")),
        0,
        "exchanged",
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
    "classifier_constant": (
        "classifier",
        replaced((TAIL, "    return torch.zeros(len(images), dtype=torch.long)")),
        0,
        "same class",
    ),
    "classifier_scores": ("classifier", replaced((".argmax(1)", "")), 0, "not its scores"),
    "classifier_shuffled": (
        "classifier",
        replaced(
            (
                "wanted = torch.cat([labels, labels, synthetic_labels])",
                "wanted = torch.cat([labels, labels, synthetic_labels]).flip(0)",
            )
        ),
        0,
        "same order",
    ),
    "classifier_one_based": ("classifier", replaced((".argmax(1)", ".argmax(1) + 1")), 0, "0 to 4"),
    "classifier_peeks": ("classifier", replaced((TAIL, "    return _truth")), 0, "NameError"),
}

test_there_are_enough, test_mutant = mutant_tests(NAME, MUTANTS)
