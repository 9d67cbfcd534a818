"""Exercises of the lesson on diffusion: six formulas. What all of them share stands first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from rs_course.check.formulas import formula

if TYPE_CHECKING:
    from rs_course.check.core import Draws


def schedule(random: Draws, steps: int):
    """A fresh ``beta [T]`` whose steps differ strongly, so that every off-by-one shows."""
    return random.uniform(0.04, 0.35, steps)


@formula(
    hints=(
        "The closed form has two terms, one with x_0 and one with ε. What are their variances, if x_t is to "
        "keep variance 1?",
        "The variances are ᾱ_t and 1 − ᾱ_t, so the factors are their square roots. Every image has its own "
        "t: pick ᾱ with alpha_bar[t] and give it the shape [N, 1, 1, 1].",
        "a = alpha_bar[t].reshape(-1, 1, 1, 1); the answer is a.sqrt() * x0 + (1 - a).sqrt() * …",
    ),
    takes="x0 eps alpha_bar t",
    right="""
        bar = alpha_bar; pick = bar[t]
        shape = (-1, 1, 1, 1); a = pick.reshape(shape)
        signal = a**0.5; noise = (1 - a)**0.5
        answer = signal * x0 + noise * eps
    """,
    slips="""
        signal = a; noise = 1 - a  # you used ᾱ where the formula has √ᾱ, in both terms
        signal = a  # the image is multiplied by ᾱ where the formula has √ᾱ
        noise = 1 - a  # the noise is multiplied by 1 − ᾱ where the formula has √(1 − ᾱ)
        noise = 1 - a**0.5  # the noise is multiplied by 1 − √ᾱ; the formula has √(1 − ᾱ)
        noise = (1 - a**0.5)**0.5  # √(1 − √ᾱ) has a root too many; the formula has √(1 − ᾱ)
        signal = a**0.25; noise = (1 - a**0.5)**0.5  # √ᾱ stands for ᾱ in both terms: a root too many
        signal = (1 - a)**0.5; noise = a**0.5  # the two roots are swapped: √ᾱ belongs to the image
        signal = 1 - a; noise = a  # ᾱ and 1 − ᾱ are swapped, and their roots are missing
        noise = -(1 - a)**0.5  # the noise is subtracted; the formula adds it
        noise = torch.ones_like(a)  # the noise is not scaled: it needs the factor √(1 − ᾱ)
        signal = torch.ones_like(a)  # the image is not scaled: it needs the factor √ᾱ, or the variance grows
        signal = torch.ones_like(a); noise = torch.ones_like(a)  # neither term is scaled
        noise = torch.zeros_like(a)  # the noise is missing: √(1 − ᾱ) ε
        signal = torch.zeros_like(a)  # the image is missing: √ᾱ x_0
        noise = a**0.5  # the noise has the image's factor √ᾱ; it needs √(1 − ᾱ)
        signal = (1 - a)**0.5  # the image has the noise's factor √(1 − ᾱ); it needs √ᾱ
        noise = a  # the noise has ᾱ where √(1 − ᾱ) belongs
        noise = (1 + a)**0.5  # 1 + ᾱ stands where 1 − ᾱ belongs
        signal = a / 2; noise = (1 - a) / 2  # √ᾱ and √(1 − ᾱ) are halves (a ** 1 / 2): write a ** 0.5
        signal = 1 / a**0.5  # you divided by √ᾱ; the image is multiplied by it
        signal = torch.square(a)  # ᾱ was squared; the formula has its root
        signal = torch.ones_like(a); noise = ((1 - a) / a)**0.5  # this is the form whose variance explodes,
          # x_0 + σ ε; the exercise asks for the one that keeps it
        pick = bar[t - 1]  # ᾱ is off by one: you took alpha_bar[t - 1]; here index t already means step t
        pick = bar[t + 1]  # ᾱ is off by one: you took alpha_bar[t + 1]; here index t already means step t
        pick = bar[t] / bar[t - 1]  # you used α_t, a single step; the closed form has ᾱ_t, the product of all
        pick = bar.cumprod(0)[t]  # alpha_bar already is the product of all steps; do not multiply again
        pick = bar[t[0]].expand(len(t))  # all images got the first image's t; every image has its own
        pick = bar[t[-1]].expand(len(t))  # all images got the last image's t; every image has its own
        pick = bar[t].mean().expand(len(t))  # all images got the mean of ᾱ; every image has its own
        pick = bar[-1].expand(len(t))  # you used the last step's ᾱ for every image; pick alpha_bar[t]
        pick = bar[:len(t)]  # image k got alpha_bar[k]; it needs alpha_bar[t[k]]
        pick = t / len(bar)  # t / T stands where alpha_bar[t] belongs
        pick = 1 - t / len(bar)  # 1 − t / T stands where alpha_bar[t] belongs
        pick = 1 - bar[t]  # 1 − alpha_bar[t] stands where alpha_bar[t] belongs
        shape = (-1,)  # ᾱ[t], one per image, was multiplied along the width: reshape it to [N, 1, 1, 1]
        shape = (-1, 1)  # ᾱ[t], one per image, was multiplied along the height: reshape it to [N, 1, 1, 1]
        shape = (-1, 1, 1)  # ᾱ[t], one per image, was multiplied along the channels: reshape to [N, 1, 1, 1]
    """,
    name="x_t",
    done="x_t has the right signal and the right noise, for every image its own t",
)
def forward_noise(random: Draws):
    """``student(x0 [N,C,H,W], eps [N,C,H,W], alpha_bar [T], t [N]) -> x_t``."""
    n, channels, height, width, steps = random.sizes(5)
    bar = (1 - schedule(random, steps + 6)).cumprod(0)
    t = torch.from_numpy(random.rng.integers(1, steps + 5, n))
    return random.normal(n, channels, height, width), random.normal(n, channels, height, width), bar, t


@formula(
    hints=(
        "The score of one Gaussian is (mean − x) / variance: it points home. A mixture averages these "
        "arrows, weighted by how likely each component is, given x.",
        "Responsibilities: softmax over the components (dim=1) of log π_k − ‖x − μ_k‖² / (2 variance). All "
        "components have the same variance, so the other constants cancel.",
        "offset = means - x[:, None] has shape [N, K, 2]; r = (weights.log() - offset.square().sum(-1) / "
        "(2 * variance)).softmax(1); the answer is (r[..., None] * offset).sum(1) / …",
    ),
    takes="x means weights variance",
    right="""
        m = means; w = weights; v = variance
        d = m - x[:, None]; far = d.square().sum(-1)
        prior = w.log(); half = 2; spread = v
        logits = prior - far / (half * spread); share = logits.softmax(1)
        over = v; answer = (share[..., None] * d).sum(1) / over
    """,
    slips="""
        over = -v  # the arrows point away from the means: the score goes uphill, so it is means − x
        over = 1  # the division by the variance is missing
        over = v**0.5  # you divided by the standard deviation; the score divides by the variance
        over = 1 / v  # you multiplied by the variance; the score divides by it
        over = 2 * v  # you divided by 2 variance; the derivative of ‖x‖² / 2 has no 2 left
        over = v**2  # you divided by the variance squared
        prior = torch.zeros_like(w)  # the mixture's weights π_k are missing in the responsibilities
        prior = w  # π_k stands in the softmax where log π_k belongs
        prior = -w.log()  # log π_k is subtracted; a common component must count more
        half = 1.0  # the factor 1/2 in the exponent −‖x − μ‖² / (2 variance) is missing
        half = 4.0  # the exponent has 4 variance; it is −‖x − μ‖² / (2 variance)
        spread = 1.0  # the variance is missing in the exponent −‖x − μ‖² / (2 variance)
        spread = v**0.5  # the exponent has the standard deviation; it is −‖x − μ‖² / (2 variance)
        spread = v**2  # the exponent has the variance squared; it is −‖x − μ‖² / (2 variance)
        half = -2.0  # the exponent has the wrong sign: far components count most
        far = d.norm(dim=-1)  # the exponent has the distance; it needs its square
        far = d.abs().sum(-1)  # the exponent has the sum of absolute differences; it needs squares
        far = d.square().mean(-1)  # the exponent averages the squares of the two coordinates; it is their sum
        share = logits.softmax(0)  # the softmax runs over the points (dim=0); it belongs over dim=1
        share = logits.exp()  # the responsibilities are not normalised: those of a point sum to one
        share = logits.exp() / logits.exp().sum(0)  # the sum runs over the points; it is over the components
        share = logits.exp() / logits.exp().sum()  # the sum runs over everything; it is over the components
        share = torch.full_like(logits, 1 / logits.shape[1])  # all have the same share; it must be p(k | x)
        share = torch.ones_like(logits)  # the arrows are added without their responsibilities p(k | x)
        share = logits.softmax(1).softmax(1)  # the softmax was taken twice
        share = logits.log_softmax(1)  # these are logarithms of responsibilities: take the softmax itself
        share = torch.nn.functional.one_hot(logits.argmax(1), logits.shape[1]).double()  # only the most
          # likely component counts; average over all with their responsibilities
        share = logits.softmax(1) / logits.shape[1]  # the shares already sum to one: sum, do not average
        answer = (w[:, None] * d).sum(1) / v  # you used the prior weights π_k; responsibilities depend on x
        share = logits.exp() / (2 * torch.pi * v)  # this is the gradient of q(x); the score is the gradient
          # of log q(x), so divide by q(x)
        answer = (share[..., None] * m).sum(1)  # this is E[μ | x]; the score is (E[μ | x] − x) / variance
        answer = (share[..., None] * m).sum(1) / v  # x is missing: the score is (E[μ | x] − x) / variance
        answer = (m.mean(0) - x) / v  # this is the score of one Gaussian at the mean of the means
    """,
    shapes="""
        (len(x), len(m))  # this has one number per point and component; average over the components
        (len(x), len(m), 2)  # this has one arrow per point and component; average over the components
        (len(x),)  # this has one number per point, a density perhaps; the score has two, its gradient
        tuple(m.shape)  # this has one arrow per component; asked is one per point
    """,
    name="the score",
    done="this is the gradient of log q(x), at every point",
)
def mixture_score(random: Draws):
    """``student(x [N,2], means [K,2], weights [K], variance) -> score [N,2]``."""
    n, components = random.sizes(2)
    weights = random.uniform(0.2, 1, components)
    x, means = 1.2 * random.normal(n, 2), random.normal(components, 2)
    return x, means, weights / weights.sum(), random.uniform(0.3, 1.4)


@formula(
    hints=(
        "x_t holds the noise √(1 − ᾱ_t) ε. Algorithm 2 removes a small share of it, rescales, and adds a "
        "little new noise.",
        "Mean: (x_t − β_t / √(1 − ᾱ_t) · ε) / √α_t with α_t = 1 − β_t. Noise: σ_t z with σ_t = √β_t, but "
        "none in the last step, t = 0.",
        "alpha = 1 - beta; alpha_bar = alpha.cumprod(0); mean = (xt - beta[t] / (1 - alpha_bar[t]).sqrt() * "
        "eps) / alpha[t].sqrt(); return mean if t == 0 else mean + …",
    ),
    takes="xt eps z beta t",
    right="""
        b = beta; a = 1 - b; bar = a.cumprod(0); steps = len(b)
        share = b[t]; under = (1 - bar[t])**0.5; scale = a[t]**0.5
        sigma = b[t]**0.5; quiet = t == 0
        mean = (xt - share / under * eps) / scale
        answer = mean if quiet else mean + sigma * z
    """,
    slips="""
        sigma = 0 * b[t]  # the new noise σ_t z is missing: without it this is not Algorithm 2
        quiet = False  # the last step (t = 0) adds noise to the finished image; Algorithm 2 has z = 0 there
        quiet = t <= 1  # step 1 is quiet as well; in code t counts from 0, and only t == 0 adds no noise
        quiet = t != 0  # noise is added in the last step only; it is the other way round
        quiet = t == steps - 1  # the first step, t = T − 1, is quiet; it must be the last, t = 0
        sigma = b[t]  # the new noise is multiplied by β_t, a variance; σ_t is its square root
        sigma = 1.0  # the new noise has factor 1; it needs σ_t = √β_t
        sigma = (b[t] * (1 - bar[t - 1]) / (1 - bar[t]))**0.5 if t else 0.0  # you used σ_t² = β̃_t, which is
          # Algorithm 2 too; the exercise asks for the other choice, σ_t² = β_t
        sigma = b[t] * (1 - bar[t - 1]) / (1 - bar[t]) if t else 0.0  # you used β̃_t, which is a variance,
          # and the other choice; here σ_t = √β_t
        sigma = a[t]**0.5  # the new noise is multiplied by √α_t; σ_t = √β_t
        sigma = (1 - bar[t])**0.5  # the new noise is multiplied by √(1 − ᾱ_t), that of all steps; σ_t = √β_t
        sigma = -b[t]**0.5  # the new noise is subtracted; Algorithm 2 adds σ_t z
        sigma = b[t] / 2  # σ_t is β_t / 2 (b ** 1 / 2 is b / 2): write b ** 0.5
        sigma = b[t - 1]**0.5  # σ is off by one: √β of step t − 1
        sigma = (b[t] / a[t])**0.5  # the new noise is divided by √α_t as well; it is added after the division
        under = 1 - bar[t]  # ε is divided by 1 − ᾱ_t; the formula has √(1 − ᾱ_t)
        under = bar[t]**0.5  # ε is divided by √ᾱ_t; the formula has √(1 − ᾱ_t)
        under = bar[t]  # ε is divided by ᾱ_t; the formula has √(1 − ᾱ_t)
        under = 1 - bar[t]**0.5  # ε is divided by 1 − √ᾱ_t; the formula has √(1 − ᾱ_t)
        under = (1 - a[t])**0.5  # α_t stands where ᾱ_t belongs: √(1 − α_t) is the noise of one step only
        under = (1 - bar[t - 1])**0.5  # ᾱ is off by one: alpha_bar[t - 1] instead of alpha_bar[t]
        under = (1 - b.cumprod(0)[t])**0.5  # ᾱ is the product of 1 − β; you multiplied the β
        under = (1 - bar[-1])**0.5  # ᾱ_t is the product up to step t; you multiplied all steps
        under = (1 - a.cumsum(0)[t])**0.5  # ᾱ is a running product; you added (cumsum)
        under = 1.0  # β_t is not divided by √(1 − ᾱ_t)
        under = 1 / (1 - bar[t])**0.5  # you multiplied by √(1 − ᾱ_t); β_t is divided by it
        share = 1 - bar[t]  # all predicted noise is removed; one step removes the share β_t / √(1 − ᾱ_t)
        share = b[t]**0.5  # √β_t stands where β_t belongs in the mean
        share = a[t]  # α_t stands where β_t = 1 − α_t belongs in the mean
        share = (1 - bar[t])**0.5  # ε is not scaled: one step removes the share β_t / √(1 − ᾱ_t)
        share = b[t - 1]  # β is off by one: that of step t − 1
        share = -b[t]  # the predicted noise is added; it must be subtracted
        share = 0.0  # the predicted noise is not removed
        scale = 1.0  # the division by √α_t is missing
        scale = 1 / a[t]**0.5  # you multiplied by √α_t; divide by it
        scale = bar[t]**0.5  # you divided by √ᾱ_t, which leads to x_0 at once; one step back divides by √α_t
        scale = a[t]  # you divided by α_t; the formula has √α_t
        scale = b[t]**0.5  # you divided by √β_t; the formula has √α_t
        scale = a[t - 1]**0.5  # you divided by √α of step t − 1
        mean = xt / scale - share / under * eps  # brackets: the whole difference is divided by √α_t
        answer = (xt - (1 - bar[t])**0.5 * eps) / bar[t]**0.5  # this is the predicted x_0; one step only goes
          # to t − 1
        answer = (1 - b[t])**0.5 * xt + b[t]**0.5 * z  # this noises x_t further; a step back removes noise
    """,
    name="x_{t−1}",
    done="one step of Algorithm 2, and no noise in the last one",
    trials=6,
)
def ddpm_step(random: Draws):
    """``student(xt [N,C,H,W], eps [N,C,H,W], z [N,C,H,W], beta [T], t) -> x_{t-1}``, with σ_t² = β_t."""
    shape, steps = random.sizes(4), 14 + random.number
    t = random.cycle(0, 1, 2, 5, 9, steps - 1)
    return *(random.normal(*shape) for _ in range(3)), schedule(random, steps), t


def level(random: Draws, low: float = 0.1, high: float = 0.9):
    """ᾱ of some step, as a tensor without axes, which takes ``.sqrt()`` and ``** 0.5``."""
    return torch.tensor(random.uniform(low, high))


def two_levels(random: Draws):
    """Two images, and ᾱ of a noisy and of a less noisy step."""
    shape = random.sizes(4)
    return random.normal(*shape), random.normal(*shape), level(random, 0.1, 0.5), level(random, 0.6, 0.95)


@formula(
    hints=(
        "x_t and v are x_0 and ε turned by one angle φ with cos φ = √ᾱ_t. To get x_0 back, turn by −φ.",
        "x_t = cos φ · x_0 + sin φ · ε and v = cos φ · ε − sin φ · x_0. Which combination is free of ε?",
        "x_0 = √ᾱ_t · x_t − √(1 − ᾱ_t) · …",
    ),
    takes="xt v alpha_bar_t",
    right="""
        a = alpha_bar_t; signal = a**0.5; noise = (1 - a)**0.5
        answer = signal * xt - noise * v
    """,
    slips="""
        signal = a; noise = 1 - a  # you used ᾱ and 1 − ᾱ where the formula has their roots
        signal = a  # x_t has ᾱ where the formula has √ᾱ
        noise = 1 - a  # v has 1 − ᾱ where the formula has √(1 − ᾱ)
        noise = 1 - a**0.5  # v has 1 − √ᾱ; the formula has √(1 − ᾱ)
        noise = (1 - a**0.5)**0.5  # v has √(1 − √ᾱ), a root too many
        signal = a / 2; noise = (1 - a) / 2  # a ** 1 / 2 is a / 2, not the root: write a ** 0.5
        signal = a / 2  # in x_t's factor, a ** 1 / 2 is a / 2, not the root: write a ** 0.5
        noise = (1 - a) / 2  # in v's factor, a ** 1 / 2 is a / 2, not the root: write a ** 0.5
        signal = (1 - a)**0.5; noise = -a**0.5  # this is ε: x_0 is the other combination of x_t and v
        noise = -(1 - a)**0.5  # the sign of v's term is wrong: x_0 = √ᾱ x_t − √(1 − ᾱ) v
        signal = (1 - a)**0.5; noise = a**0.5  # the two roots are swapped
        answer = a**0.5 * v - (1 - a)**0.5 * xt  # x_t and v are swapped: x_0 = √ᾱ x_t − √(1 − ᾱ) v
        answer = a**0.5 * v + (1 - a)**0.5 * xt  # x_t and v are swapped, and v's sign is wrong
        answer = (xt - noise * v) / signal  # you treated v as if it were ε: (x_t − √(1 − ᾱ) v) / √ᾱ
        answer = (xt + noise * v) / signal  # v treated as ε, with signs exchanged: (x_t + √(1 − ᾱ) v) / √ᾱ
        signal = -a**0.5; noise = -(1 - a)**0.5  # the sign of the whole is wrong
        noise = 0.0  # v's term is missing
        signal = 0.0  # x_t's term is missing
        signal = 1.0  # x_t is not scaled: it needs √ᾱ
        noise = 1.0  # v is not scaled: it needs √(1 − ᾱ)
        signal = 1.0; noise = 1.0  # neither term is scaled
        noise = a**0.5  # both terms have √ᾱ; v needs √(1 − ᾱ)
        signal = (1 - a)**0.5  # both terms have √(1 − ᾱ); x_t needs √ᾱ
        answer = (a**0.5 * xt - (1 - a)**0.5 * v) / a**0.5  # you divided by √ᾱ; a turn needs no division
        signal = 1 / a**0.5  # x_t is divided by √ᾱ; it is multiplied
        noise = (1 + a)**0.5  # 1 + ᾱ stands where 1 − ᾱ belongs
        answer = v  # this is v itself
        answer = xt  # this is x_t itself
    """,
    name="x_0",
    done="v and x_t together give the clean image back",
)
def x0_from_v(random: Draws):
    """``student(xt, v, alpha_bar_t) -> x0``, with a number ᾱ_t."""
    shape = random.sizes(4)
    return random.normal(*shape), random.normal(*shape), level(random)


@formula(
    hints=(
        "Two moves: from x_t to the predicted x_0, then back to the less noisy level s with the same ε.",
        "x_0 = (x_t − √(1 − ᾱ_t) ε) / √ᾱ_t. Going back is the closed form again, now with ᾱ_s.",
        "x0 = (xt - (1 - bar_t).sqrt() * eps) / bar_t.sqrt(); return bar_s.sqrt() * x0 + …",
    ),
    takes="xt eps alpha_bar_t alpha_bar_s",
    right="""
        e = eps; t = alpha_bar_t; s = alpha_bar_s
        removed = (1 - t)**0.5; over = t**0.5; x0 = (xt - removed * e) / over
        signal = s**0.5; noise = (1 - s)**0.5; answer = signal * x0 + noise * e
    """,
    slips="""
        signal = 1.0; noise = 0.0  # this is the predicted x_0; at level s it is √ᾱ_s x_0 + √(1 − ᾱ_s) ε
        noise = 0.0  # the noise term is missing: √(1 − ᾱ_s) ε
        signal = 0.0  # the signal is missing: √ᾱ_s x_0
        noise = (1 - t)**0.5  # the noise comes back with √(1 − ᾱ_t); at level s it is √(1 − ᾱ_s)
        signal = t**0.5  # √ᾱ of one level stands in both places: divide by √ᾱ_t, then multiply by √ᾱ_s
        answer = xt  # you went back with ᾱ_t, so nothing has changed; level s needs ᾱ_s
        answer = over * (xt - noise * e) / signal + removed * e  # t and s are swapped: x_0 has ᾱ_t, x_s ᾱ_s
        removed = (1 - s)**0.5; over = s**0.5  # x_0 is predicted with ᾱ_s; x_t is at level t
        removed = (1 - s)**0.5  # x_0 takes its noise from level s: √(1 − ᾱ_t) ε is what x_t holds
        over = 1.0  # the division by √ᾱ_t is missing in x_0
        over = t  # x_0 is divided by ᾱ_t; the formula has √ᾱ_t
        over = 1 / t**0.5  # x_0 is multiplied by √ᾱ_t; divide by it
        over = (1 - t)**0.5  # x_0 is divided by √(1 − ᾱ_t); the formula has √ᾱ_t
        removed = 1 - t; over = t; signal = s; noise = 1 - s  # you used ᾱ and 1 − ᾱ where the formula has
          # their roots
        removed = 1 - t  # x_0 is predicted with 1 − ᾱ_t where the formula has √(1 − ᾱ_t)
        removed = 1 - t; over = t  # x_0 is predicted with ᾱ_t and 1 − ᾱ_t where the formula has their roots
        removed = t**0.5  # x_0 is predicted with √ᾱ_t ε where √(1 − ᾱ_t) ε belongs
        removed = 1 - t**0.5  # x_0 is predicted with 1 − √ᾱ_t; the formula has √(1 − ᾱ_t)
        removed = 1.0  # ε is not scaled in x_0: it needs √(1 − ᾱ_t)
        removed = 0.0  # the predicted noise is not removed from x_t
        signal = s  # x_0 is multiplied by ᾱ_s; the formula has √ᾱ_s
        signal = 1.0  # x_0 comes back unscaled; at level s it is √ᾱ_s x_0
        noise = 1 - s  # the noise is multiplied by 1 − ᾱ_s; the formula has √(1 − ᾱ_s)
        noise = 1 - s**0.5  # the noise is multiplied by 1 − √ᾱ_s; the formula has √(1 − ᾱ_s)
        signal = s; noise = 1 - s  # at level s, ᾱ_s and 1 − ᾱ_s stand where their roots belong
        noise = 1.0  # the noise comes back unscaled; at level s it is √(1 − ᾱ_s) ε
        signal = (1 - s)**0.5; noise = s**0.5  # the two roots at level s are swapped
        noise = -(1 - s)**0.5  # the noise at level s is subtracted; both terms are added
        removed = -(1 - t)**0.5  # in x_0 the noise √(1 − ᾱ_t) ε is added; it must be subtracted
        removed = (1 - t) / 2; over = t / 2; signal = s / 2; noise = (1 - s) / 2  # a ** 1 / 2 is a / 2, not
          # the root: write a ** 0.5
        answer = s**0.5 * xt + (1 - s)**0.5 * e  # x_t stands where the predicted x_0 belongs
        answer = signal * (xt - removed * e / over) + noise * e  # brackets: √ᾱ_t divides the whole difference
        answer = signal * x0.clamp(-1, 1) + noise * e  # x_0 was clipped to [-1, 1]; this step clips nothing
    """,
    name="x_s",
    done="one DDIM step: to x_0, and back to level s",
)
def ddim_step(random: Draws):
    """``student(xt, eps, alpha_bar_t, alpha_bar_s) -> x_s``, deterministic (η = 0)."""
    return two_levels(random)


SCALES = (3.0, 1.5, 0.0, 7.5, 1.0)

GUIDANCE = """
    of_cond = 1 + w; of_uncond = -w  # this is (1 + w) cond − w uncond with w = scale, the convention of Ho &
      # Salimans; here scale = 1 + w, and scale 1 is the plain conditional answer
    of_cond = w - 1; of_uncond = 2 - w  # you walked scale − 1 of the way; at scale 1 the result must be cond
    of_cond = 1 - w; of_uncond = w  # cond and uncond are swapped
    of_cond = -w; of_uncond = 1 + w  # the sign is wrong: walk from uncond towards cond
    of_cond = w; of_uncond = -w  # only the direction is left; it starts at uncond
    of_cond = -w; of_uncond = w  # only the direction is left, with the wrong sign
    of_cond = 1; of_uncond = -1  # this is the difference alone, without scale and start
    of_cond = w; of_uncond = 0  # uncond is forgotten: the result is scale times cond
    of_cond = 1; of_uncond = 0  # this is plain cond, whatever the scale
    of_cond = 0; of_uncond = 1  # this is plain uncond, whatever the scale
    of_cond = 1 / (1 + w); of_uncond = w / (1 + w)  # this is a mean of the two, which weakens the class
    of_cond = w / (1 + w); of_uncond = 1 / (1 + w)  # this is a mean: it never goes beyond cond
    of_cond = 0.5; of_uncond = 0.5  # this is the plain mean of the two, whatever the scale
    of_cond = w; of_uncond = 1 + w  # the two are added; the direction is cond − uncond
    of_cond = w; of_uncond = 1  # scale times cond is added to uncond; the direction is cond − uncond
    of_cond = 1; of_uncond = -w  # scale multiplies uncond only; brackets: uncond + scale · (cond − uncond)
    of_cond = w; of_uncond = -1  # scale multiplies cond only; brackets: uncond + scale · (cond − uncond)
    of_cond = w; of_uncond = w  # the sum is multiplied by scale
    of_cond = w * w; of_uncond = 1 - w * w  # scale is squared
    of_cond = w / 2; of_uncond = 1 - w / 2  # scale is halved
    of_cond = 1 / w; of_uncond = 1 - 1 / w  # the direction is divided by scale; multiply
    of_cond = min(w, 1); of_uncond = 1 - min(w, 1)  # scale was cut to 1, so that it never goes beyond cond
    of_cond = max(w, 1); of_uncond = 1 - max(w, 1)  # scale is never taken below 1; scale 0 must give uncond
"""


@formula(
    hints=(
        "Guidance starts at the answer without the class and walks towards the answer with it, and beyond.",
        "The step is cond − uncond; scale says how far. Scale 0 gives uncond, scale 1 gives cond.",
        "uncond + scale * (…)",
    ),
    takes="cond uncond scale",
    right="""
        w = scale; of_cond = w; of_uncond = 1 - w
        answer = of_cond * cond + of_uncond * uncond
    """,
    slips=GUIDANCE,
    name="the guided answer",
    done="scale 0 ignores the class, 1 is the plain answer, more exaggerates it",
    trials=len(SCALES),
)
def guidance_line(random: Draws):
    """``student(cond, uncond, scale) -> guided``; at scale 1 it is ``cond``."""
    shape = random.sizes(4)
    return random.normal(*shape), random.normal(*shape), random.cycle(*SCALES)
