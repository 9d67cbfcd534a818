"""Answers to the exercises of its lesson: right ones, and wrong ones by what their verdict must say."""

import numpy as np
import torch


def tensor(images):
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255


def each_by_itself(images):
    return torch.stack([torch.tensor(image / 255).permute(2, 0, 1) for image in images])


def chance(labels):
    return np.bincount(labels).max() / len(labels)


def counted(labels):
    best = 0
    for k in set(labels.tolist()):
        best = max(best, sum(1 for label in labels if label == k))
    return best / len(labels)


def subset(labels, size, seed):
    rng, n = np.random.default_rng(seed), labels.max() + 1
    return np.concatenate([rng.permutation(np.flatnonzero(labels == k))[: size // n] for k in range(n)])


def unseeded(labels, size, seed, rng=np.random.default_rng()):  # noqa: B008
    return subset(labels, size, rng.integers(1 << 30))


def chosen(labels, size, seed):
    rng, n = np.random.default_rng(seed), labels.max() + 1
    return np.concatenate(
        [rng.choice(np.flatnonzero(labels == k), size // n, replace=False) for k in range(n)]
    )


def in_order(order):
    """Each class by itself: (its indices, seed, number) -> the chosen ones."""

    def answer(labels, size, seed):
        classes = labels.max() + 1
        indices = [np.flatnonzero(labels == k) for k in range(classes)]
        return np.concatenate([order(of_class, seed, size // classes) for of_class in indices])

    return answer


def within_class(labels, size, seed):
    rng, n = np.random.default_rng(seed), labels.max() + 1
    return np.concatenate([rng.permutation((labels == k).sum())[: size // n] for k in range(n)])


def of_four(labels, size, seed):
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.permutation(np.flatnonzero(labels == k))[: size // 4] for k in range(4)])


RIGHT = {
    "to_tensor": [tensor, each_by_itself, lambda x: torch.tensor(x.transpose(0, 3, 1, 2) / 255.0)],
    "chance_level": [
        chance,
        counted,
        lambda y: max((y == k).mean() for k in np.unique(y)),
        lambda y: torch.from_numpy(y).bincount().max() / len(y),
        lambda y: float(chance(y)),
    ],
    "nested_subset": [
        subset,
        lambda *a: subset(*a).tolist(),
        lambda *a: torch.from_numpy(subset(*a)),
        lambda y, n, s: np.sort(subset(y, n, s)),
        in_order(lambda i, seed, m: np.random.RandomState(seed).permutation(i)[:m]),
        in_order(lambda i, seed, m: i[np.random.default_rng(seed).random(len(i)).argsort()][:m]),
    ],
}
WRONG = {
    "to_tensor": {
        "should be a torch tensor, not a ndarray": lambda x: x,
        "torch tensor, not a list": lambda x: list(tensor(x)),
        "channels are still last": lambda x: torch.from_numpy(x).float() / 255,
        "still torch.uint8": lambda x: torch.from_numpy(x).permute(0, 3, 1, 2),
        "0 to 255: divide by 255": lambda x: torch.from_numpy(x).permute(0, 3, 1, 2).float(),
        "scrambles the picture": lambda x: torch.from_numpy(x).reshape(len(x), 3, *x.shape[1:3]) / 255,
        "scrambles the picture; permute": lambda x: (torch.from_numpy(x) / 255).view(
            len(x), 3, *x.shape[1:3]
        ),
        "height and width are swapped": lambda x: torch.from_numpy(x).permute(0, 3, 2, 1) / 255,
        "height and width are swapped: ": lambda x: torch.from_numpy(x).transpose(1, 3) / 255,
        "channels are in front of the images": lambda x: torch.from_numpy(x).permute(3, 0, 1, 2) / 255,
        "divided by 256": lambda x: tensor(x) * 255 / 256,
        r"lie in \[-1, 1\]; this": lambda x: 2 * tensor(x) - 1,
        "red and blue": lambda x: tensor(x).flip(1),
        "largest value that occurs": lambda x: tensor(x) / tensor(x).max(),
        "divided by 255 twice": lambda x: tensor(x) / 255,
        "whole numbers": lambda x: (torch.from_numpy(x) // 255).permute(0, 3, 1, 2).float(),
        "clipped to": lambda x: torch.from_numpy(x).permute(0, 3, 1, 2).float().clamp(0, 1),
        "only one image|only the first": lambda x: tensor(x)[0],
        "standardised": lambda x: (tensor(x) - tensor(x).mean()) / tensor(x).std(),
        "low precision": lambda x: tensor(x).half(),
        "your function returned None": lambda x: print(end=str(tensor(x))[:0]),
        "stopped in line .*, with RuntimeError": lambda x: torch.from_numpy(x).permute(0, 3, 1).float() / 255,
        "called with 1 arguments, but takes": lambda x, y: tensor(x),
    },
    "chance_level": {
        "equally common": lambda y: 1 / len(np.unique(y)),
        "never occurs, as well": lambda y: 1 / (y.max() + 1),
        "in proportion": lambda y: ((np.bincount(y) / len(y)) ** 2).sum(),
        "number of images; divide it": lambda y: np.bincount(y).max(),
        "in percent": lambda y: 100 * chance(y),
        "not how often": lambda y: np.bincount(y).argmax(),
        "rarest class": lambda y: min((y == k).mean() for k in np.unique(y)),
        "smallest count, 0": lambda y: np.bincount(y).min() / len(y),
        "is the same, 0.5, whatever": lambda y: 0.5,
        "a tenth": lambda y: 0.1,
        "how common class 0 is": lambda y: (y == 0).mean(),
        "how common class 1 is": lambda y: (y == 1).mean(),
        "class of the first image": lambda y: (y == y[0]).mean(),
        "divided by the number of classes": lambda y: np.bincount(y).max() / len(np.unique(y)),
        "error of the best": lambda y: 1 - chance(y),
        "mean of the labels": lambda y: y.mean(),
        "second most common": lambda y: np.sort(np.bincount(y))[-2] / len(y),
        "is 1.0001 times": lambda y: 1.0001 * chance(y),
        "square of the right": lambda y: chance(y) ** 2,
        "has shape": lambda y: np.bincount(y) / len(y),
    },
    "nested_subset": {
        "the classes get": lambda y, n, s: np.random.default_rng(s).permutation(len(y))[:n],
        "are not among the": lambda y, n, s: subset(y, n, s + n),
        "not among the 40: with new": chosen,
        "seeds 0 and 1 give the same": lambda y, n, s: subset(y, n, 0),
        "give the same images: without": lambda y, n, s: np.concatenate(
            [np.flatnonzero(y == k)[: n // (y.max() + 1)] for k in range(y.max() + 1)]
        ),
        "seeds 0 and 1 share 36 of 40 images": in_order(lambda i, seed, m: np.roll(i, -seed)[:m]),
        "seeds 0 and 1 share .* images": in_order(
            lambda i, seed, m: np.roll(np.random.default_rng(0).permutation(i), seed)[:m]
        ),
        "seeds 0 and 2 give": in_order(lambda i, s, m: np.random.default_rng(s % 2).permutation(i)[:m]),
        "seeds 0 and 2 give the": in_order(lambda i, seed, m: i[:: -1 if seed % 2 else 1][:m]),
        "in equal steps": in_order(lambda i, seed, m: np.roll(i, -7 * seed)[:m]),
        "two calls with the same seed differ": unseeded,
        "an image occurs twice; draw": within_class,
        "draw without replacement": lambda y, n, s: np.random.default_rng(s).choice(
            np.flatnonzero(y == 0), n, replace=True
        ),
        "these are labels": lambda y, n, s: y[subset(y, n, s)],
        "true or false for every image": lambda y, n, s: np.isin(np.arange(len(y)), subset(y, n, s)),
        "indices came back for size": lambda y, n, s: subset(y, n - 4, s),
        "size counts all classes together": lambda y, n, s: np.concatenate(
            [np.random.default_rng(s).choice(np.flatnonzero(y == k), n) for k in range(y.max() + 1)]
        ),
        r"integers, not float64 \[20\]": lambda y, n, s: subset(y, n, s) / 1,
        "integers, not int64 .4, 5": lambda y, n, s: subset(y, n, s).reshape(y.max() + 1, -1),
        "outside 0 to": lambda y, n, s: np.arange(n) + len(y),
        "for 3 classes, size = 9": of_four,
        "your function returned None": lambda y, n, s: subset(y, n, s).sort(),
    },
}
