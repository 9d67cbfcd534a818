"""Answers to the exercises of its lesson: right ones, and wrong ones by what their verdict must say."""

import numpy as np
import torch
import torch.nn.functional as F


def soft(*, target=lambda t, T: (t / T).softmax(1), log=lambda z, T: z.log_softmax(1), factor=lambda T: 1,
         kl=0.0, over=lambda each: each.mean(), weights=lambda s: (s, 1 - s), hard=None):  # fmt: skip
    def answer(z, t, y, s, T):
        p = target(t, T)
        each = -(p * log(z, T)).sum(1) + (kl * (p * p.log()).sum(1) if kl else 0)
        label = F.cross_entropy(z, y) if hard is None else hard(z, t, y, T)
        return weights(s)[0] * factor(T) * over(each) + weights(s)[1] * label

    return answer


def by_mixed_target(z, t, y, s, T):
    """Cross-entropy is linear in its target."""
    target = s * (t / T).softmax(1) + (1 - s) * F.one_hot(y, z.shape[1])
    return F.cross_entropy(z, target).item()


def own(similarity, labels, scale, dim=1):
    return (scale * similarity).softmax(dim)[torch.arange(len(labels)), labels]


def keep(similarity, labels, scale):
    return own(similarity, labels, scale) > 1 / similarity.shape[1]


def interval(d, level=0.95):
    return torch.stack([d.quantile((1 - level) / 2), d.quantile((1 + level) / 2)])


def differences(a, b, draws):
    return (a.double() - b.double())[draws].mean(1)


def cut(of):
    return lambda a, b, draws: of(differences(a, b, draws))


def around(middle, half):
    return torch.stack([middle - half, middle + half])


RIGHT = {
    "soft_target_loss": [
        soft(),
        by_mixed_target,
        lambda z, t, y, s, T: s * F.cross_entropy(z, (t / T).softmax(1)) + (1 - s) * F.cross_entropy(z, y),
        lambda *a: float(soft()(*a)),
    ],
    "clip_filter": [
        keep,
        lambda *a: keep(*a).numpy(),
        lambda *a: keep(*a).tolist(),
        lambda x, y, scale: (scale * x).log_softmax(1)[range(len(y)), y] > -np.log(x.shape[1]),
        lambda x, y, scale: [p > 1 / x.shape[1] for p in own(x, y, scale).tolist()],
        lambda x, y, scale: own(x.double(), y, scale).numpy() > 1 / x.shape[1],
        lambda x, y, scale: torch.tensor(
            [bool((scale * row).softmax(0)[k] > 1 / len(row)) for row, k in zip(x, y, strict=True)]
        ),
    ],
    "paired_bootstrap": [
        cut(interval),
        lambda *x: interval(differences(*x)).tolist(),
        lambda *x: tuple(interval(differences(*x))),
        lambda *x: [differences(*x).sort().values[int(share * len(x[2]))] for share in (0.025, 0.975)],
        lambda a, b, draws: np.quantile((a.numpy().astype(int) - b.numpy())[draws].mean(1), [0.025, 0.975]),
        lambda a, b, draws: np.percentile(
            [a[d].float().mean() - b[d].float().mean() for d in draws], [2.5, 97.5]
        ),
    ],
}
WRONG = {
    "soft_target_loss": {
        "T divides the student's logits too": soft(log=lambda z, T: (z / T).log_softmax(1)),
        "no factor T²": soft(factor=lambda T: T**2),
        "Hinton's distillation, not": soft(log=lambda z, T: (z / T).log_softmax(1), factor=lambda T: T**2),
        "T²·KL": soft(log=lambda z, T: (z / T).log_softmax(1), factor=lambda T: T**2, kl=1),
        "T is not used": soft(target=lambda t, T: t.softmax(1)),
        "sharpens the teacher": soft(target=lambda t, T: (t * T).softmax(1)),
        "you exchanged them": soft(weights=lambda s: (1 - s, s)),
        "Kullback-Leibler divergence; the": soft(kl=1),
        "exchanged in the soft term": lambda z, t, y, s, T: (
            -s * (z.softmax(1) * (t / T).log_softmax(1)).sum(1).mean() + (1 - s) * F.cross_entropy(z, y)
        ),
        "label's term is missing": soft(weights=lambda s: (s, 0)),
        "teacher's term is missing": soft(weights=lambda s: (0, 1 - s)),
        "both terms have weight 1": soft(weights=lambda s: (1, 1)),
        "both terms are weighed by s": soft(weights=lambda s: (s, s)),
        "you summed over the images": soft(
            over=lambda each: each.sum(), hard=lambda z, t, y, T: F.cross_entropy(z, y, reduction="sum")
        ),
        "soft term is summed": soft(over=lambda each: each.sum()),
        "averaged over the classes": lambda z, t, y, s, T: (
            -s * ((t / T).softmax(1) * z.log_softmax(1)).mean() + (1 - s) * F.cross_entropy(z, y)
        ),
        "minus of the soft term": soft(weights=lambda s: (-s, 1 - s)),
        "softmax runs over the images": soft(target=lambda t, T: (t / T).softmax(0)),
        "teacher's logits are no target": soft(target=lambda t, T: t / T),
        "favourite class": soft(target=lambda t, T: F.one_hot(t.argmax(1), t.shape[1]).float()),
        "where its logarithm belongs": soft(log=lambda z, T: z.softmax(1)),
        "s is fixed at one half": soft(weights=lambda s: (0.5, 0.5)),
        "does not depend on T": soft(target=lambda t, T: (t / 2).softmax(1)),
        "got probabilities": soft(hard=lambda z, t, y, T: F.cross_entropy(z.softmax(1), y)),
        "F.kl_div": lambda z, t, y, s, T: (
            s * F.kl_div(z.log_softmax(1), (t / T).softmax(1), reduction="mean")
            + (1 - s) * F.cross_entropy(z, y)
        ),
    },
    "clip_filter": {
        "multiply the cosines by scale": lambda x, y, scale: own(x, y, 1.0) > 1 / x.shape[1],
        "softmax runs over the images": lambda x, y, scale: own(x, y, scale, 0) > 1 / x.shape[1],
        "He et al. are milder": lambda x, y, scale: x.argmax(1) == y,
        "more than one half": lambda x, y, scale: own(x, y, scale) > 0.5,
        "1/N": lambda x, y, scale: own(x, y, scale) > 1 / len(y),
        "raw cosine": lambda x, y, scale: x[torch.arange(len(y)), y] > 1 / x.shape[1],
        "exactly what must go": lambda *a: ~keep(*a),
        "this is the probability": own,
        "not the numbers of those": lambda *a: keep(*a).nonzero()[:, 0],
        "as float32 numbers": lambda *a: keep(*a).float(),
        "as int64 numbers": lambda *a: keep(*a).long(),
        "does not depend on scale": lambda x, y, scale: keep(x, y, 100.0),
        "limit is 1/10": lambda x, y, scale: own(x, y, scale) > 0.1,
        "limit is 1/4": lambda x, y, scale: own(x, y, scale) > 0.25,
        "limit is 2/C": lambda x, y, scale: own(x, y, scale) > 2 / x.shape[1],
        "exactly 1/C says nothing": lambda x, y, scale: own(x, y, scale) >= 1 / x.shape[1],
        "counted from the largest label": lambda x, y, scale: own(x, y, scale) > 1 / (y.max() + 1),
        "counted from the labels": lambda x, y, scale: own(x, y, scale) > 1 / len(y.unique()),
        "mean of the own": lambda x, y, scale: own(x, y, scale) > own(x, y, scale).mean(),
        "every image stays|largest": lambda x, y, scale: (scale * x).softmax(1).amax(1) > 1 / x.shape[1],
        "only its own class counts": lambda x, y, scale: (scale * x).softmax(1) > 1 / x.shape[1],
        "class 0 is compared": lambda x, y, scale: (scale * x).softmax(1)[:, 0] > 1 / x.shape[1],
        "divided by scale|nearly everything is 1/C": lambda x, y, scale: (
            own(x, y, 1 / scale) > 1 / x.shape[1]
        ),
        "every image stays: what": lambda x, y, scale: own(x, y, scale) > 0,
    },
    "paired_bootstrap": {
        "only says where they differ": lambda a, b, draws: interval((a ^ b).double()[draws].mean(1)),
        "drawn separately": lambda a, b, draws: interval(
            a.double()[draws].mean(1) - b.double()[draws.roll(1, 0)].mean(1)
        ),
        "this is b − a": lambda a, b, draws: interval(differences(b, a, draws)),
        "low and high are exchanged": cut(lambda d: interval(d).flip(0)),
        "90 % interval": cut(lambda d: interval(d, 0.9)),
        "99 % interval": cut(lambda d: interval(d, 0.99)),
        "extremes of all resamples": cut(lambda d: torch.stack(d.aminmax())),
        "one standard error; a": cut(lambda d: around(d.mean(), d.std())),
        "normal approximation": cut(lambda d: around(d.mean(), 1.96 * d.std())),
        "do not divide it by √B": cut(lambda d: around(d.mean(), 1.96 * d.std() / len(d) ** 0.5)),
        "of a alone": lambda a, b, draws: interval(a.double()[draws].mean(1)),
        "one number twice": lambda a, b, draws: (a.double() - b.double()).mean().expand(2),
        "return two of their quantiles": differences,
        "its own mean .dim=1": lambda a, b, draws: interval((a.double() - b.double())[draws].mean(0)),
        "two intervals were subtracted; ": lambda a, b, draws: (
            interval(a.double()[draws].mean(1)) - interval(b.double()[draws].mean(1))
        ),
        "quantiles of single images": lambda a, b, draws: interval(
            (a.double() - b.double())[draws].flatten()
        ),
        "mean and its spread": cut(lambda d: torch.stack([d.mean(), d.std()])),
        "difference alone": lambda a, b, draws: (a.double() - b.double()).mean(),
        "upper quantile is 95": cut(lambda d: torch.stack([d.quantile(0.025), d.quantile(0.95)])),
        "depends on b as a whole only": lambda a, b, draws: interval(
            (a.double() - b.double().mean())[draws].mean(1)
        ),
        r"^low is right; high is .*, expected": cut(
            lambda d: torch.stack([d.quantile(0.025), d.quantile(0.8)])
        ),
        "100 times": cut(lambda d: 100 * interval(d)),
        "stopped in line .* RuntimeError": lambda a, b, draws: interval((a - b)[draws].mean(1)),
    },
}
