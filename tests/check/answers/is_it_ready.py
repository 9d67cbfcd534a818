"""Answers to the exercises of its lesson: right ones, and wrong ones by what their verdict must say."""

import math

import numpy as np


def verdict(low, high):
    return "shown" if low > 0 else "contradicted" if high < 0 else "not shown"


def without_third(low, high):
    if low > 0:
        return "shown"
    if high < 0:
        return "contradicted"


def worth(images, accuracies, accuracy):
    return np.exp(np.interp(accuracy, accuracies, np.log(images)))


def by_hand(images, accuracies, accuracy):
    for k in range(len(images) - 1):
        if accuracies[k] <= accuracy <= accuracies[k + 1]:
            part = (accuracy - accuracies[k]) / (accuracies[k + 1] - accuracies[k])
            return images[k] * (images[k + 1] / images[k]) ** part


RIGHT = {
    "verdict": [verdict, lambda a, b: "not shown" if a <= 0 <= b else "shown" if a > 0 else "contradicted"],
    "worth": [
        worth,
        by_hand,
        lambda n, y, a: 10 ** np.interp(a, y, np.log10(n)),
        lambda n, y, a: math.exp(np.interp(a, list(y), [math.log(x) for x in n])),
        lambda n, y, a: worth(n, y, a).item(),
    ],
}
WRONG = {
    "verdict": {
        "the middle alone does not decide": lambda a, b: "shown" if a + b > 0 else "contradicted",
        r"zero lies on the edge of \[0, x\]": lambda a, b: "shown" if a >= 0 else verdict(a, b),
        r"zero lies on the edge of \[x, 0\]": lambda a, b: (
            "shown" if a > 0 else "contradicted" if b <= 0 else "not shown"
        ),
        "zero lies on the edge, so": lambda a, b: (
            "shown" if a >= 0 else "contradicted" if b <= 0 else "not shown"
        ),
        "zero is excluded, so": lambda a, b: "not shown",
        "the other way round": lambda a, b: verdict(-b, -a),
        'return "shown", "not shown" or "contradicted", not True': lambda a, b: a > 0,
        "not 'Shown'": lambda a, b: verdict(a, b).capitalize(),
        "for low = -0.02, high = 0.03: your function returned None": without_third,
        "upper end alone|lower end": lambda a, b: "shown" if b > 0 else verdict(a, b),
        "lower end alone": lambda a, b: "shown" if a > 0 else "contradicted" if a < 0 else "not shown",
        "however near": lambda a, b: "shown" if a > 0.005 else "contradicted" if b < -0.005 else "not shown",
        "for low = 0.0001, high = 0.01": lambda a, b: (
            "shown" if a > 0.005 else "contradicted" if b < 0 else "not shown"
        ),
        "not on which side$": lambda a, b: "shown" if a * b > 0 else "not shown",
        "not on which side;": lambda a, b: "shown" if a * b > 0 else "contradicted",
        "shows nothing": lambda a, b: "contradicted" if b < 0 else "shown",
        "is not contradicted": lambda a, b: "shown" if a > 0 else "contradicted",
        "a difference that must be negative": lambda a, b: "shown" if a > 0 else "not shown",
        "a difference that must be positive": lambda a, b: "contradicted" if b < 0 else "not shown",
        "shown and not shown are exchanged": lambda a, b: {"shown": "not shown", "not shown": "shown"}.get(
            verdict(a, b), "contradicted"
        ),
        "narrow": lambda a, b: "shown" if b - a < 0.05 else "not shown",
        "for low = 0.01.*zero is excluded": lambda a, b: verdict(a - 0.05, b),
        "called with 2 arguments": lambda interval: verdict(*interval),
    },
    "worth": {
        "straight over its logarithm": lambda n, y, a: np.interp(a, y, n),
        "this is the logarithm; take exp": lambda n, y, a: np.interp(a, y, np.log(n)),
        "logarithm to base 10; take": lambda n, y, a: np.interp(a, y, np.log10(n)),
        "log10 and then exp: use the same base": lambda n, y, a: np.exp(np.interp(a, y, np.log10(n))),
        "natural logarithm and then 10": lambda n, y, a: 10 ** np.interp(a, y, np.log(n)),
        "natural logarithm and then 2": lambda n, y, a: 2 ** np.interp(a, y, np.log(n)),
        "log2 and then exp": lambda n, y, a: np.exp(np.interp(a, y, np.log2(n))),
        "with accuracy as x": lambda n, y, a: np.exp(np.interp(a, np.log(n), y)),
        "next larger budget": lambda n, y, a: n[np.searchsorted(y, a)],
        "next smaller budget": lambda n, y, a: n[np.searchsorted(y, a) - 1],
        "is nearest": lambda n, y, a: n[np.abs(y - a).argmin()],
        "fitted through the whole curve; read": lambda n, y, a: np.exp(
            np.polyval(np.polyfit(y, np.log(n), 1), a)
        ),
        "over the root": lambda n, y, a: np.interp(a, y, n**0.5) ** 2,
        "without a logarithm before": lambda n, y, a: np.exp(np.interp(a, y, n)),
        "counts one image too many": lambda n, y, a: np.exp(np.interp(a, y, np.log(n + 1))),
        "only the number of images gets a logarithm": lambda n, y, a: np.exp(
            np.interp(np.log(a), np.log(y), np.log(n))
        ),
        "mean of the two neighbouring": lambda n, y, a: (
            (n[np.searchsorted(y, a)] + n[np.searchsorted(y, a) - 1]) / 2
        ),
        "rounded": lambda n, y, a: round(worth(n, y, a)),
        "100 times": lambda n, y, a: 100 * worth(n, y, a),
        "is the same, 38": lambda n, y, a: 38.0,
        "stopped in line .* NameError": lambda n, y, a: np.exp(np.interp(acuracy, y, n)),  # noqa: F821
    },
}
