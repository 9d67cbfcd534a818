"""Typical wrong answers to A1: the intended part of the points, and a message that names the mistake."""

from .conftest import mutant_tests, replaced

NAME = "a1_alignment"
COSINE = "return F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T"
TAIL = "    return expected @ F.normalize(bag(captions, words) - usual, dim=1).T"

# name: (question, change, points, words of a message)
MUTANTS = {
    "cosine_plain_product": ("similarity", replaced((COSINE, "return images @ texts.T")), 0, "both sides"),
    "cosine_texts_raw": (
        "similarity",
        replaced(("F.normalize(texts, dim=1)", "texts")),
        0,
        "texts must be divided",
    ),
    "cosine_images_raw": (
        "similarity",
        replaced(("F.normalize(images, dim=1)", "images")),
        0,
        "images must be divided",
    ),
    "cosine_transposed": (
        "similarity",
        replaced((COSINE, COSINE.replace("return ", "return (") + ").T")),
        0,
        "transposed",
    ),
    "cosine_over_batch": ("similarity", replaced(("dim=1", "dim=0")), 0, "over the batch"),
    "cosine_diagonal": (
        "similarity",
        lambda text: (
            "def similarity(images, texts):\n    return F.cosine_similarity(images, texts[: len(images)])"
        ),
        0,
        "shape",
    ),
    "recall_directions": (
        "recall_at",
        replaced(("(better_texts, better_images)", "(better_images, better_texts)")),
        0.5,
        "exchanged",
    ),
    "recall_off_by_one": ("recall_at", replaced(("better < k", "better <= k")), 0, "k + 1"),
    "recall_one_less": ("recall_at", replaced(("better < k", "better < k - 1")), 0, "k − 1"),
    "recall_ignores_k": ("recall_at", replaced(("better < k", "better < 1")), 0.5, "k was ignored"),
    "recall_ascending": ("recall_at", replaced(("similarity > own", "similarity < own")), 0, "other way"),
    "recall_one_direction": (
        "recall_at",
        replaced(("(better_texts, better_images)", "(better_texts, better_texts)")),
        0.5,
        "both directions",
    ),
    "recall_counts": ("recall_at", replaced((".double().mean()", ".double().sum()")), 0, "not counts"),
    "loss_rows_only": (
        "contrastive_loss",
        replaced(("F.cross_entropy(logits.T, right)", "F.cross_entropy(logits, right)")),
        0,
        "only the rows",
    ),
    "loss_columns_only": (
        "contrastive_loss",
        replaced(("F.cross_entropy(logits, right)", "F.cross_entropy(logits.T, right)")),
        0,
        "only the columns",
    ),
    "loss_added": ("contrastive_loss", replaced((" / 2", "")), 0, "averaged, you added"),
    "loss_lengths": (
        "contrastive_loss",
        replaced(("F.normalize(image, dim=1) @ F.normalize(text, dim=1)", "image @ text")),
        0,
        "divided by their lengths",
    ),
    "loss_no_scale": ("contrastive_loss", replaced(("scale * ", "")), 0, "scale was not used"),
    "loss_exp_scale": (
        "contrastive_loss",
        replaced(("logits = scale *", "logits = torch.tensor(scale).double().exp() *")),
        0,
        "without exp",
    ),
    "loss_sum": ("contrastive_loss", replaced((", right)", ', right, reduction="sum")')), 0, "took the sum"),
    "zero_shot_raw_prompts": (
        "zero_shot",
        replaced(("F.normalize(prompts, dim=2).mean", "prompts.mean")),
        0.5,
        "before the mean",
    ),
    "zero_shot_not_again": (
        "zero_shot",
        replaced(
            (
                "F.normalize(F.normalize(prompts, dim=2).mean(dim=1), dim=1)",
                "F.normalize(prompts, dim=2).mean(dim=1)",
            )
        ),
        0.5,
        "length again",
    ),
    "zero_shot_no_scale": ("zero_shot", replaced(("scale * ", "")), 0, "scale multiplies"),
    "zero_shot_first_template": ("zero_shot", replaced((".mean(dim=1)", "[:, 0]")), 0.5, "first template"),
    "zero_shot_wrong_softmax": (
        "zero_shot",
        replaced(("softmax(dim=1)", "softmax(dim=0)")),
        0,
        "over the classes",
    ),
    "zero_shot_similarities": (
        "zero_shot",
        replaced(("(scale * ", "("), (".softmax(dim=1)", "")),
        0,
        "these are similarities",
    ),
    "pairs_ties_count": (
        "pair_accuracy",
        replaced(("right > wrong", "right >= wrong")),
        0.5,
        "tie is no success",
    ),
    "pairs_wald": (
        "pair_accuracy",
        lambda text: (
            "def pair_accuracy(right, wrong, z):\n    p = (right > wrong).double().mean().item()\n"
            "    half = z * (p * (1 - p) / len(right)) ** 0.5\n    return p, p - half, p + half"
        ),
        0,
        "Wilson's is wanted",
    ),
    "pairs_exchanged": ("pair_accuracy", replaced(("right > wrong", "wrong > right")), 0, "exchanged"),
    "pairs_centre": (
        "pair_accuracy",
        replaced(("return share,", "return centre / (1 + z**2 / n),")),
        0,
        "not the middle",
    ),
    "words_counted": ("words", replaced(("float(word in one)", "float(one.count(word))")), 0, "counts once"),
    "words_capitals": ("words", replaced((".lower()", "")), 0, "capital letters"),
    "words_full_stops": (
        "words",
        replaced(('.replace(",", " ").replace(".", " ")', "")),
        0,
        "no part of a word",
    ),
    "words_parts": ("words", replaced((".split()", "")), 0, "whole words"),
    "words_transposed": ("words", replaced(("for one in said])", "for one in said]).T")), 0, "transposed"),
    "aligner_identity": (
        "aligner",
        replaced((TAIL, "    return torch.eye(len(images), len(captions))")),
        0,
        "no better than chance",
    ),
    "aligner_constant": (
        "aligner",
        replaced((TAIL, "    return torch.zeros(len(images), len(captions))")),
        0,
        "no better than chance",
    ),
    "aligner_transposed_word_order": (
        "aligner",
        replaced((TAIL, TAIL.replace("bag(captions, words)", "bag(captions[::-1], words)"))),
        0,
        "no better than chance",
    ),
    "aligner_one_score": (
        "aligner",
        replaced((TAIL, TAIL.replace("    return ", "    return (") + ").diagonal()")),
        0,
        "images by captions",
    ),
    "aligner_nan": ("aligner", replaced((TAIL, TAIL + " / 0 * 0")), 0, "NaN"),
    "aligner_peeks": ("aligner", replaced((TAIL, "    return _classes")), 0, "NameError"),
}

test_there_are_enough, test_mutant = mutant_tests(NAME, MUTANTS)
