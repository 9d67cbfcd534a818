"""Exercises on classification: soft targets, the CLIP filter, the paired bootstrap, and splits that leak."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING

import numpy as np
import torch

from rs_course.check.core import Mistake, exercise, match
from rs_course.check.formulas import formula

if TYPE_CHECKING:
    from rs_course.check.core import Draws


def _entropy(p):
    return -(p * p.clamp_min(1e-30).log()).sum(1)


@formula(
    hints=(
        "Two cross-entropies, one with the teacher's distribution as target and one with the label; s weighs "
        "the first.",
        "The teacher's target is softmax(teacher / T). The student's logits are not divided by T, and there "
        "is no factor T².",
        "soft = -((teacher / T).softmax(1) * logits.log_softmax(1)).sum(1).mean(); "
        "return s * soft + (1 - s) * …",
    ),
    takes="logits teacher labels s T",
    right="""
        z = logits; t = teacher; y = labels
        target = (t / T).softmax(1); p = target
        student = z; q = student; log = q.log_softmax(1)
        minus = 0; each = -(p * log).sum(1) - minus; over = each.mean()
        hard = F.cross_entropy(z, y)
        factor = 1; soft = s; label = 1 - s
        answer = soft * factor * over + label * hard
    """,
    slips="""
        student = z / T  # T divides the student's logits too; in He et al. only the teacher is softened
        factor = T * T  # there is no factor T² here: that belongs to distillation where both are softened
        factor = T  # there is no factor T here
        factor = 1 / T**2  # there is no division by T² here
        student = z / T; factor = T * T  # both are softened and multiplied by T²: this is Hinton's
          # distillation, not He et al.'s loss
        student = z / T; factor = T * T; minus = _entropy(p)  # both are softened, T²·KL: this is Hinton's
          # distillation; here the teacher alone is softened, in a cross-entropy without a factor
        student = z / T; minus = _entropy(p)  # both are softened, in a KL divergence; here the teacher alone
          # is softened, in a cross-entropy
        target = t.softmax(1)  # T is not used: the teacher's distribution is too sharp
        target = (t * T).softmax(1)  # you multiplied by T instead of dividing: that sharpens the teacher
        target = t.softmax(1) / T  # T divides the probabilities; it divides the teacher's logits, inside the
          # softmax
        target = t.softmax(1); student = z / T  # T divides the student's logits instead of the teacher's
        target = (t / T).softmax(0)  # the teacher's softmax runs over the images (dim=0); the classes
          # compete, dim=1
        log = q.log_softmax(0)  # the student's log-softmax runs over the images (dim=0); the classes compete,
          # dim=1
        target = (t / T).softmax(0); log = q.log_softmax(0)  # both softmaxes run over the images (dim=0); the
          # classes compete, dim=1
        target = t / T  # the teacher's logits are no target; take their softmax
        target = (t / T).log_softmax(1)  # the teacher's logarithm stands where its probability belongs
        target = F.one_hot(t.argmax(1), t.shape[1]).double()  # only the teacher's favourite class counts; its
          # whole distribution is the target
        log = q.softmax(1)  # the student's probability stands where its logarithm belongs
        log = q  # the student's logits are not made into log-probabilities
        log = q.softmax(1).log_softmax(1)  # the student's softmax is taken twice
        soft = 1 - s; label = s  # s weighs the soft term and 1 − s the label; you exchanged them
        soft = s; label = 0.0  # the label's term is missing
        soft = 0.0; label = 1 - s  # the teacher's term is missing
        soft = 1.0; label = 0.0  # the label's term is missing, and s too
        soft = 0.0; label = 1.0  # this is the plain loss with the label; the teacher's term is missing
        soft = 1.0; label = 1.0  # both terms have weight 1; they are weighed by s and 1 − s
        soft = s; label = 1.0  # the label's term has weight 1; it is 1 − s
        soft = 1.0; label = 1 - s  # the teacher's term has weight 1; it is s
        soft = s; label = s  # both terms are weighed by s; the label's weight is 1 − s
        soft = s; label = s - 1  # the two terms are subtracted; add them
        soft = -s; label = 1 - s  # the minus of the soft term is missing
        soft = 0.5; label = 0.5  # s is fixed at one half; use the argument
        minus = _entropy(p)  # this is the Kullback-Leibler divergence; the cross-entropy keeps the teacher's
          # entropy
        p = z.softmax(1); log = (t / T).log_softmax(1)  # teacher and student are exchanged in the soft term
        p = (z / T).softmax(1); log = t.log_softmax(1); hard = F.cross_entropy(t, y)  # teacher and student
          # are exchanged throughout
        hard = F.cross_entropy(t, y)  # the label's term uses the teacher's logits
        hard = F.cross_entropy(z / T, y)  # the label's term divides the logits by T; it is the plain loss
        hard = F.cross_entropy(z.softmax(1), y)  # the label's term got probabilities; cross_entropy takes the
          # softmax itself
        over = each.sum(); hard = F.cross_entropy(z, y, reduction='sum')  # you summed over the images; take
          # the mean
        over = each.sum()  # the soft term is summed over the images; take the mean
        hard = F.cross_entropy(z, y, reduction='sum')  # the label's term is summed over the images; take the
          # mean
        factor = 1 / z.shape[1]  # the soft term is averaged over the classes as well; sum over the classes,
          # then mean over the images
        minus = _entropy(p); factor = 1 / z.shape[1]  # F.kl_div takes the mean over the classes as well, and
          # drops the teacher's entropy
        answer = s * F.mse_loss(z.softmax(1), (t / T).softmax(1)) + (1 - s) * F.cross_entropy(z, y)  # squared
          # differences of probabilities stand where the cross-entropy belongs
        answer = s * F.mse_loss(z, t) + (1 - s) * F.cross_entropy(z, y)  # squared differences of logits stand
          # where the cross-entropy belongs
    """,
    shapes="""
        (len(z),)  # this has one number per image; the loss is their mean
        tuple(z.shape)  # this has one number per image and class; sum over the classes, then take the mean
    """,
    name="the loss",
    done="the label and the teacher share the say: a wrong synthetic label costs less",
)
def soft_target_loss(random: Draws):
    """``student(logits [N,C], teacher [N,C], labels [N], s, T)`` → He et al.'s loss, a number."""
    n, classes = random.sizes(2, low=4)
    labels = torch.from_numpy(random.rng.integers(0, classes, n))
    s, T = random.cycle((0.3, 2.0), (0.5, 4.0), (0.8, 1.5), (0.25, 0.7))
    return 2 * random.normal(n, classes), 3 * random.normal(n, classes), labels, s, T


def _own(values, labels):
    return values[torch.arange(len(labels)), labels]


def _truth(raw, want, args):
    """Numbers that say the right thing are of the wrong kind: they would pick images 0 and 1."""
    given = np.asarray(raw.detach().cpu() if torch.is_tensor(raw) else raw)
    if given.dtype != bool and given.shape == want.shape and np.array_equal(given, want):
        raise Mistake(f"the right images, but as {given.dtype} numbers: return the comparison, true or false")


@formula(
    hints=(
        "How likely does the scorer find the class that the image was made for, among all the classes?",
        "Probabilities are softmax(scale · cosine) over the classes; keep what gives its own class more than "
        "1/C.",
        "p = (scale * similarity).softmax(1); own = p[torch.arange(len(p)), labels]; return own > …",
    ),
    takes="similarity labels scale",
    right="""
        x = similarity; y = labels
        p = (scale * x).softmax(1); own = _own(p, y)
        keep = own > 1 / x.shape[1]; answer = keep
    """,
    slips="""
        answer = torch.ones(len(x))  # every image stays: what you compare is never below its limit
        answer = torch.zeros(len(x))  # no image stays: what you compare is never above its limit
        keep = own  # this is the probability; compare it with the limit and return true or false per image
        answer = (_own((scale * x).softmax(1), y) > 1 / x.shape[1]).nonzero()[:, 0]  # give true or false for
          # every image, not the numbers of those that stay
        p = x.softmax(1)  # multiply the cosines by scale before the softmax: without it nearly everything is
          # 1/C
        p = (x / scale).softmax(1)  # the cosines are divided by scale; multiply
        p = scale * x.softmax(1)  # scale multiplies the probabilities; it multiplies the cosines, inside the
          # softmax
        p = (scale * x).softmax(0)  # the softmax runs over the images (dim=0); the classes compete, so it is
          # dim=1
        p = (scale * x).flatten().softmax(0).view(x.shape)  # the softmax runs over everything; each image's
          # classes compete, dim=1
        p = (scale * x).sigmoid()  # a sigmoid judges each class alone; the classes compete: softmax
        p = (scale * x).exp()  # the exponentials are not divided by their sum over the classes
        p = x / x.sum(1, keepdim=True)  # the cosines are divided by their sum, without exponentials:
          # softmax(scale · cosine)
        p = (scale * x).log_softmax(1)  # these are logarithms of probabilities, which are never above 1/C
        p = x  # the raw cosine is compared with 1/C; turn it into a probability first
        p = scale * x  # scale · cosine is compared with 1/C; turn it into a probability first
        answer = x.argmax(1) == y  # you keep only what is recognised as its class; He et al. are milder and
          # keep p > 1/C
        keep = own > 0.5  # you ask for more than one half; the limit is 1/C
        keep = own > 1 / len(x)  # you used 1/N, the number of images; the limit is one over the number of
          # classes
        keep = own > 0.1  # the limit is 1/10 whatever the number of classes; it is 1/C
        keep = own >= 1 / x.shape[1]  # a probability of exactly 1/C says nothing about the class; keep more
          # than 1/C
        keep = own > 1 / (y.max() + 1)  # C is counted from the largest label, and the last class may have no
          # image; it is the number of columns
        keep = own > 1 / len(y.unique())  # C is counted from the labels, and a class may have no image; it is
          # the number of columns
        keep = own > 0.25  # the limit is 1/4 whatever the number of classes; it is 1/C
        keep = own > 1 - 1 / x.shape[1]  # the limit is 1 − 1/C; it is 1/C
        keep = own > 1 / (x.shape[1] - 1)  # the limit is 1/(C − 1); it is 1/C
        keep = own > 1 / (x.shape[1] + 1)  # the limit is 1/(C + 1); it is 1/C
        keep = own > 2 / x.shape[1]  # the limit is 2/C; it is 1/C
        keep = own > own.mean()  # the limit is the mean of the own probabilities; it is 1/C
        keep = own > own.median()  # the limit is the median of the own probabilities; it is 1/C
        keep = own > x.shape[1]  # the limit is C, a number of classes; it is 1/C
        keep = own <= 1 / x.shape[1]  # this keeps exactly what must go
        keep = own > 0  # everything stays, as if the limit were 0; it is 1/C
        answer = (scale * x).softmax(1).amax(1) > 1 / x.shape[1]  # the largest probability is compared; the
          # image's own class decides
        answer = (scale * x).softmax(1)[:, 0] > 1 / x.shape[1]  # class 0 is compared for every image; its own
          # class decides
        answer = _own(x, y) > x.mean(1)  # an image stays if its own class beats the mean of the cosines;
          # compare its probability with 1/C
        answer = (scale * x).softmax(1) > 1 / x.shape[1]  # each image's probabilities are compared with 1/C;
          # only its own class counts
        answer = x[_own((scale * x).softmax(1), y) > 1 / x.shape[1]]  # these are the images themselves (their
          # rows), not true or false
    """,
    name="the mask",
    done="whatever the scorer finds likelier than chance stays",
    look=_truth,
)
def clip_filter(random: Draws):
    """``student(similarity [N,C], labels [N], scale)`` → bool ``[N]``: which images stay."""
    classes, scale = random.cycle((4, 100.0), (7, 20.0), (3, 50.0), (6, 8.0))
    n = 41 + 6 * random.number
    # In some draws a class has no image, the last one or another: labels do not tell the number of classes.
    present = np.delete(np.arange(classes), random.cycle([], [-1], [], [1]))
    labels = torch.from_numpy(random.rng.permutation(present[np.arange(n) % len(present)]))
    # Spread by the scale, so that every scale decides; images differ in level, so that no fixed limit does.
    similarity = 0.235 + (1.4 * random.normal(n, classes) + random.normal(n)[:, None]) / scale
    similarity[torch.arange(n), labels] += 0.9 / scale
    similarity[:2] = 0.25  # image 0 is a little likelier than 1/C; image 1 has equal cosines
    similarity[0, labels[0]] += math.log((classes - 1) / (classes - 1.5)) / scale
    if classes != 4:  # any other 1/C is rounded, up or down
        similarity[1, labels[1]] -= 1 / scale
    return similarity, labels, scale


def _quantiles(d, tail=0.025):
    return torch.stack([d.quantile(tail), d.quantile(1 - tail)])


def _around(middle, half):
    return torch.stack([middle - half, middle + half])


@formula(
    hints=(
        "Which images were in the test is chance. Ask what the difference would have been on other draws.",
        "For every row of draws: the mean of a minus the mean of b on *the same* images. Then two quantiles.",
        "d = (a.double() - b.double())[draws].mean(1); return torch.stack([d.quantile(0.025), …])",
    ),
    takes="a b draws",
    right="""
        a = a.double(); b = b.double(); difference = a - b
        drawn = difference[draws]; mean = drawn.mean(1)
        d = mean; cut = _quantiles(d); answer = cut
    """,
    slips="""
        difference = (a - b).abs()  # (a ^ b), or |a − b|, only says where they differ; the sign says who was
          # right: a − b
        difference = a * b  # a and b, both right, was counted; the difference is a − b
        difference = a * (1 - b)  # only where a is right and b wrong was counted; the difference is a − b
        difference = a + b  # a and b are added; bootstrap their difference
        difference = b - a  # this is b − a
        difference = a  # this is the interval of a alone; bootstrap the difference
        difference = b  # this is the interval of b alone; bootstrap the difference
        answer = _quantiles(a.double()[draws].mean(1) - b.double()[draws.roll(1, 0)].mean(1))  # a and b are
          # drawn separately, so the interval is too wide; both see the same images
        answer = _quantiles(a.double()[draws].mean(1)) - _quantiles(b.double()[draws].mean(1))  # two
          # intervals were subtracted; take the quantiles of the difference
        answer = _quantiles(a.double()[draws].mean(1)) - _quantiles(b.double()[draws].mean(1)).flip(0)  # two
          # intervals were subtracted crosswise; take the quantiles of the difference
        mean = drawn.mean(0)  # the mean runs over the resamples (dim=0); each resample, a row, has its own
          # mean (dim=1)
        mean = drawn.flatten()  # these are quantiles of single images; take each resample's mean first
        mean = drawn.sum(1)  # each resample is summed; take its mean
        mean = drawn.median(1).values  # each resample's median is taken; take its mean
        answer = _quantiles((a.double() - b.double())[draws[0]])  # only the first resample was used
        answer = _quantiles(a.double() - b.double())  # the draws are not used: these are quantiles over the
          # images
        answer = (a.double() - b.double()).mean().expand(2)  # the draws are not used, so this is one number
          # twice
        cut = _quantiles(d).flip(0)  # low and high are exchanged
        cut = _quantiles(d, 0.05)  # this is a 90 % interval: 5 % are left out on each side
        cut = _quantiles(d, 0.005)  # this is a 99 % interval: 0.5 % are left out on each side
        cut = _quantiles(d, 0.1)  # this is an 80 % interval: 10 % are left out on each side
        cut = _quantiles(d, 0.25)  # this is a 50 % interval: a quarter is left out on each side
        cut = _quantiles(d, 0.0025)  # 0.25 % are left out on each side; it is 2.5 %, 0.025
        cut = torch.stack([d.quantile(0.025), d.quantile(0.95)])  # the upper quantile is 95 %; a 95 %
          # interval leaves out 2.5 % on each side
        cut = torch.stack([d.quantile(0.05), d.quantile(0.975)])  # the lower quantile is 5 %; a 95 % interval
          # leaves out 2.5 % on each side
        cut = torch.stack([d.quantile(0.05), d.max()])  # the interval is one-sided: it leaves out 2.5 % on
          # each side
        cut = torch.stack([d.min(), d.max()])  # these are the extremes of all resamples; leave out 2.5 % on
          # each side
        cut = _around(d.mean(), d.std())  # this is mean ± one standard error; a 95 % interval is about twice
          # as wide
        cut = _around(d.mean(), 1.96 * d.std())  # this is mean ± 1.96 standard errors, a normal
          # approximation; take two quantiles
        cut = _around(d.mean(), 2 * d.std())  # this is mean ± 2 standard errors, a normal approximation; take
          # two quantiles
        cut = _around(d.mean(), 1.96 * d.std() / len(d)**0.5)  # the spread of the resamples already is the
          # standard error: do not divide it by √B
        answer = _around((a.double() - b.double()).mean(), (a.double() - b.double())[draws].mean(1).std())  #
          # this is mean ± one standard error of the observed difference; a 95 % interval is about twice as
          # wide
        cut = (_quantiles(d)[1] - _quantiles(d)[0]) / 2  # this is a half-width, not [low, high]
        cut = torch.stack([d.mean(), d.std()])  # this is the mean and its spread; give [low, high]
        answer = (a.double() - b.double()).mean()  # this is the difference alone; give [low, high]
        cut = d.mean()  # this is the mean of the resamples alone; give [low, high]
        cut = d  # these are the differences of all resamples; return two of their quantiles
    """,
    shapes="""
        (len(draws),)  # these are one number per resample; return two quantiles of them
        (len(a),)  # these are one number per image; draw, average, and return two quantiles
    """,
    name="[low, high]",
    done="paired by image: what is hard for both does not widen the interval",
)
def paired_bootstrap(random: Draws):
    """``student(a [T], b [T], draws [B,T])`` → ``[low, high]``, the 95 % interval of mean(a) − mean(b).

    a and b say which test images two classifiers named rightly; row k of ``draws`` holds resample k.
    """
    # So many resamples that 2.5 % falls on one of them: every way to interpolate quantiles agrees.
    tests, count = 60 + 7 * random.number, 121 + 40 * random.number
    hard = random.rng.uniform(size=tests)
    # Each is right where the other is wrong now and then, or |a − b| would be as good as a − b.
    a = hard + 0.15 * random.rng.normal(size=tests) < random.cycle(0.7, 0.4, 0.75, 0.55)
    b = hard + 0.15 * random.rng.normal(size=tests) < random.cycle(0.6, 0.5, 0.5, 0.55)
    draws = random.rng.integers(0, tests, (count, tests))
    return torch.from_numpy(a), torch.from_numpy(b), torch.from_numpy(draws)


LEAKS = {
    "clean": "training and test share nothing",
    "identical": "some test tiles are training tiles, byte for byte",
    "turned": "some test tiles are training tiles turned or mirrored, with a little noise",
    "same place": "no tile is repeated, but test places were photographed for training on another date",
}


_LEAK_OF = {"A": "turned", "B": "clean", "C": "same place", "D": "identical"}


@functools.cache
def splits() -> dict[str, dict]:
    """Four splits of simulated tiles, each with one of :data:`LEAKS`.

    Returns:
        By letter: ``train`` and ``test`` (:class:`rs_course.classification.Tiles`), and ``train_places``,
        ``test_places``: (class, seed of the place) of every tile.
    """
    from rs_course import simulated_earth
    from rs_course.classification import Tiles

    names = ("Residential", "River", "Industrial", "PermanentCrop")
    rng, found = np.random.default_rng(0), {}
    for number, (letter, leak) in enumerate(_LEAK_OF.items()):
        first = 500_000_000 + 1000 * number  # places that no data set of the course uses
        labels, seeds = np.arange(24) % 4, first + np.arange(24) // 4
        places = [(names[k], int(seed)) for k, seed in zip(labels, seeds, strict=True)]
        images = np.stack([simulated_earth.scene(*place).image for place in places])
        train, test = np.arange(16), np.arange(16, 24)
        kept = Tiles(images[test].copy(), labels[test], names)
        test_places = [places[i] for i in test]
        if leak in ("identical", "turned"):
            kept.images[:4] = images[:4]
            test_places[:4] = places[:4]
        if leak == "turned":
            for i in range(4):
                turned = np.rot90(kept.images[i], i % 3 + 1).astype(int)[:, :: 1 - 2 * (i % 2)]
                kept.images[i] = np.clip(turned + rng.integers(-2, 3, turned.shape), 0, 255)
        if leak == "same place":
            for i in range(4):
                kept.images[i] = simulated_earth.scene(*places[i], date="2020-10-20").image
            test_places[:4] = places[:4]
        found[letter] = {
            "train": Tiles(images[train], labels[train], names), "test": kept,
            "train_places": [places[i] for i in train], "test_places": test_places,
        }  # fmt: skip
    return found


@exercise(
    hints=(
        "Three questions for every split: are pixels equal? Are thumbnails nearly equal in some of the eight "
        "symmetries? Is a place on both sides?",
        "classification.leakage(train, test) answers the first two (.identical and .near); for the third, "
        "compare train_places with test_places, but only where no pixel is repeated.",
        "len(leak.identical), len(leak.near) and len(set(train_places) & set(test_places)): one split has "
        "4, 4, 4, one 0, 4, 4, one 0, 0, 4, and one has nothing.",
    )
)
def leaks(answers: dict):
    """``answers``: dict from split letter "A" … "D" to a key of :data:`LEAKS`."""
    match(answers, _LEAK_OF, LEAKS, lambda letter, leak: f"split {letter}: {_objection(letter, leak)}")
    return "a test set is clean only after all three questions"


def _objection(letter: str, answer: str) -> str:
    truth = _LEAK_OF[letter]
    if answer == "clean":
        return "it shares something with training; ask all three questions"
    if answer == "identical":
        return "no test tile has exactly the pixels of a training tile"
    if truth == "identical":
        return "there is something simpler: compare the pixels themselves"
    if answer == "turned":
        return "no test tile is a training tile turned or mirrored; beware of tiles that only look alike"
    if truth == "clean":
        return "it shares no place with training"
    return "some test tiles do come back in training; look at .near in eight symmetries"
