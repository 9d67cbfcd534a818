"""Checks of notebook 01, diffusion basics: one function per exercise.

Every check runs the student's function on small tensors made from fixed seeds, where all typical mistakes
give different values, and compares the answer with the package's own (``rs_course.diffusion``).
"""

from __future__ import annotations

import torch

from rs_course import seeds
from rs_course.check.core import Mistake, call, diagnose, exercise
from rs_course.diffusion import gaussian_mixture, guidance, process, samplers, schedules

_SCHEDULE = schedules.linear()
_ALPHA_BAR = _SCHEDULE.alpha_bar
# As many images as pixels in a row: ᾱ[t] of shape [N] then broadcasts along the width without an error,
# and the check, not a traceback, says so.
_SHAPE = (4, 3, 4, 4)


def _normal(seed: int, shape=_SHAPE) -> torch.Tensor:
    return seeds.noise(shape, seed=seed, dtype=torch.float64)


def _same_type(got, want, name: str) -> None:
    if isinstance(got, torch.Tensor) and got.dtype != want.dtype:
        raise Mistake(
            f"{name} is {str(got.dtype)[6:]}, but the inputs are {str(want.dtype)[6:]}: make no new tensors "
            "and call no .float(), and the result follows the inputs"
        )


@exercise(
    hints=(
        "The closed form has two terms, one with x_0 and one with ε. What are their variances, if x_t is to "
        "keep variance 1?",
        "The variances are ᾱ_t and 1 − ᾱ_t, so the factors are their square roots. Every image has its own "
        "t: pick ᾱ with alpha_bar[t] and give it the shape [N, 1, 1, 1].",
        "a = alpha_bar[t].reshape(-1, 1, 1, 1); the answer is a.sqrt() * x0 + (1 - a).sqrt() * …",
    )
)
def forward_noise(student):
    """``student(x0 [N,C,H,W], eps [N,C,H,W], alpha_bar [T], t [N]) -> x_t``."""
    x0, eps, t = _normal(0), _normal(1), torch.tensor([3, 250, 600, 990])
    got = call(student, x0, eps, _ALPHA_BAR, t)

    def mix(signal, noise):
        return signal.reshape(-1, 1, 1, 1) * x0 + noise.reshape(-1, 1, 1, 1) * eps

    bar = _ALPHA_BAR[t]
    a, s = bar.sqrt(), (1 - bar).sqrt()
    one_step = _SCHEDULE.alpha[t]
    before, after = _ALPHA_BAR[t - 1], _ALPHA_BAR[t + 1]
    want = process.add_noise(x0, eps, t, _SCHEDULE)
    mistakes = {
        "you used ᾱ where the formula has √ᾱ, in both terms": mix(bar, 1 - bar),
        "the image is multiplied by ᾱ where the formula has √ᾱ": mix(bar, s),
        "the noise is multiplied by 1 − ᾱ where the formula has √(1 − ᾱ)": mix(a, 1 - bar),
        "the noise is multiplied by 1 − √ᾱ; the formula has √(1 − ᾱ)": mix(a, 1 - a),
        "the two roots are swapped: √ᾱ belongs to the image, √(1 − ᾱ) to the noise": mix(s, a),
        "the noise is subtracted; the formula adds it": mix(a, -s),
        "the noise is not scaled: it needs the factor √(1 − ᾱ)": mix(a, torch.ones(4)),
        "ᾱ is off by one: you took alpha_bar[t - 1]; here index t already means step t": mix(
            before.sqrt(), (1 - before).sqrt()
        ),
        "ᾱ is off by one: you took alpha_bar[t + 1]; here index t already means step t": mix(
            after.sqrt(), (1 - after).sqrt()
        ),
        "you used α_t, a single step; the closed form needs the product of all steps, ᾱ_t": mix(
            one_step.sqrt(), (1 - one_step).sqrt()
        ),
        "all images got the first image's t; alpha_bar[t] has one value per image": mix(
            a[:1].expand(4), s[:1].expand(4)
        ),
        "ᾱ[t] has one value per image, but it was multiplied along the width: reshape it to [N, 1, 1, 1]": (
            a * x0 + s * eps
        ),
        "ᾱ[t] has one value per image, but it was multiplied along the height: reshape it to [N, 1, 1, 1]": (
            a[:, None] * x0 + s[:, None] * eps
        ),
    }
    diagnose(got, want, mistakes, name="x_t")
    _same_type(got, want, "x_t")
    return "x_t has the right signal and the right noise, for every image its own t"


@exercise(
    hints=(
        "The score of one Gaussian is (mean − x) / variance: it points home. A mixture averages these "
        "arrows, weighted by how likely each component is, given x.",
        "Responsibilities: softmax over the components (dim=1) of log π_k − ‖x − μ_k‖² / (2 variance). All "
        "components have the same variance, so the other constants cancel.",
        "offset = means - x[:, None] has shape [N, K, 2]; r = (weights.log() - offset.square().sum(-1) / "
        "(2 * variance)).softmax(1); the answer is (r[..., None] * offset).sum(1) / …",
    )
)
def mixture_score(student):
    """``student(x [N,2], means [K,2], weights [K], variance) -> score [N,2]``."""
    x, variance = _normal(2, (6, 2)), 0.36
    means = torch.tensor([[-1.2, 0.3], [0.4, 1.0], [0.9, -0.8]], dtype=torch.float64)
    weights = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
    got = call(student, x, means, weights, variance)
    mixture = gaussian_mixture.GaussianMixture(
        weights, means, variance * torch.eye(2, dtype=torch.float64).repeat(3, 1, 1)
    )
    want = mixture.score(x)
    offset = means - x[:, None]
    distance = offset.square().sum(-1)
    logits = weights.log() - distance / (2 * variance)

    def average(r, scale=variance):
        return (r[..., None] * offset).sum(1) / scale

    hard = torch.nn.functional.one_hot(logits.argmax(1), 3).double()
    density = logits.exp() / (2 * torch.pi * variance)
    mistakes = {
        "the arrows point away from the means: the score goes uphill, so it is means − x": -want,
        "the division by the variance is missing": average(logits.softmax(1), 1.0),
        "you divided by the standard deviation; the score of a Gaussian divides by the variance": average(
            logits.softmax(1), variance**0.5
        ),
        "the mixture's weights π_k are missing in the responsibilities": average(
            (-distance / (2 * variance)).softmax(1)
        ),
        "π_k stands in the softmax where log π_k belongs": average(
            (weights - distance / (2 * variance)).softmax(1)
        ),
        "the factor 1/2 in the exponent −‖x − μ‖² / (2 variance) is missing": average(
            (weights.log() - distance / variance).softmax(1)
        ),
        "the softmax runs over the points (dim=0); it belongs over the components (dim=1)": average(
            logits.softmax(0)
        ),
        "every component has the same share; each arrow needs its responsibility p(k | x)": average(
            torch.full_like(logits, 1 / 3)
        ),
        "you used the prior weights π_k; the responsibilities p(k | x) depend on x": average(
            weights.expand(6, 3)
        ),
        "only the most likely component counts; average over all with their responsibilities": average(hard),
        "this is the gradient of q(x); the score is the gradient of log q(x), so divide by q(x)": average(
            density
        ),
    }
    diagnose(got, want, mistakes, name="the score")
    _same_type(got, want, "the score")
    return "this is the gradient of log q(x), at every point"


@exercise(
    hints=(
        "x_t = √ᾱ_t · x_0 + √β_t-like noise; Algorithm 2 undoes the predicted part of the noise, then adds a "
        "little new noise.",
        "Mean: (x_t − β_t / √(1 − ᾱ_t) · ε) / √α_t with α_t = 1 − β_t. Noise: σ_t z with σ_t = √β_t, but "
        "none in the last step, t = 0.",
        "alpha = 1 - beta; alpha_bar = alpha.cumprod(0); mean = (xt - beta[t] / (1 - alpha_bar[t]).sqrt() * "
        "eps) / alpha[t].sqrt(); return mean if t == 0 else mean + …",
    )
)
def ddpm_step(student):
    """``student(xt [N,C,H,W], eps [N,C,H,W], z [N,C,H,W], beta [T], t) -> x_{t-1}``, with σ_t² = β_t."""
    xt, eps, z = _normal(0), _normal(1), _normal(2)
    beta, alpha, bar = _SCHEDULE.beta, _SCHEDULE.alpha, _ALPHA_BAR
    t = 20

    def mean(coefficient, root=True, sign=-1.0):
        value = xt + sign * coefficient * eps
        return value / alpha[t].sqrt() if root else value

    right = beta[t] / (1 - bar[t]).sqrt()
    sigma = beta[t].sqrt()
    got = call(student, xt, eps, z, beta, t)
    x0 = (xt - (1 - bar[t]).sqrt() * eps) / bar[t].sqrt()
    want = process.posterior(x0, xt, t, t - 1, _SCHEDULE)[0] + sigma * z
    small = process.posterior(x0, xt, t, t - 1, _SCHEDULE)[1] ** 0.5
    mistakes = {
        "the new noise is multiplied by β_t, a variance; σ_t is its square root": mean(right) + beta[t] * z,
        "the new noise σ_t z is missing: without it this is not Algorithm 2": mean(right),
        "the new noise has factor 1; it needs σ_t = √β_t": mean(right) + z,
        "you used σ_t² = β̃_t, which is Algorithm 2 too; the exercise asks for the other choice, σ_t² = β_t": (
            mean(right) + small * z
        ),
        "ε is divided by 1 − ᾱ_t; the formula has √(1 − ᾱ_t)": mean(beta[t] / (1 - bar[t])) + sigma * z,
        "ε is divided by √ᾱ_t; the formula has √(1 − ᾱ_t)": mean(beta[t] / bar[t].sqrt()) + sigma * z,
        "the predicted noise is added; it must be subtracted": mean(right, sign=1.0) + sigma * z,
        "the division by √α_t is missing": mean(right, root=False) + sigma * z,
        "you divided by √ᾱ_t, which leads to x_0 at once; one step back divides by √α_t": (
            (xt - right * eps) / bar[t].sqrt() + sigma * z
        ),
        "you divided by α_t; the formula has √α_t": (xt - right * eps) / alpha[t] + sigma * z,
        "ᾱ is off by one: alpha_bar[t - 1] instead of alpha_bar[t]": (
            mean(beta[t] / (1 - bar[t - 1]).sqrt()) + sigma * z
        ),
        "all of the predicted noise is removed; one step removes the share β_t / √(1 − ᾱ_t)": (
            mean((1 - bar[t]).sqrt()) + sigma * z
        ),
    }
    diagnose(got, want, mistakes, name="x_{t−1}", tol=1e-7)
    _same_type(got, want, "x_{t−1}")
    last = call(student, xt, eps, z, beta, 0)
    clean = (xt - beta[0].sqrt() * eps) / alpha[0].sqrt()
    diagnose(
        last,
        clean,
        {
            "the last step (t = 0) adds noise to the finished image; Algorithm 2 has z = 0 there": (
                clean + beta[0].sqrt() * z
            )
        },
        name="the last step, t = 0,",
    )
    return "one step of Algorithm 2, and no noise in the last one"


@exercise(
    hints=(
        "x_t and v are x_0 and ε turned by one angle φ with cos φ = √ᾱ_t. To get x_0 back, turn by −φ.",
        "x_t = cos φ · x_0 + sin φ · ε and v = cos φ · ε − sin φ · x_0. Which combination is free of ε?",
        "x_0 = √ᾱ_t · x_t − √(1 − ᾱ_t) · …",
    )
)
def x0_from_v(student):
    """``student(xt, v, alpha_bar_t) -> x0``, with a number ᾱ_t."""
    x0, eps, t = _normal(0), _normal(1), 350
    bar = _ALPHA_BAR[t]
    a, s = bar.sqrt(), (1 - bar).sqrt()
    xt, v = process.add_noise(x0, eps, t, _SCHEDULE), process.target(x0, eps, t, _SCHEDULE, "v")
    got = call(student, xt, v, bar)
    mistakes = {
        "you used ᾱ and 1 − ᾱ where the formula has their roots": bar * xt - (1 - bar) * v,
        "this is ε: x_0 is the other combination of x_t and v": eps,
        "the sign of v's term is wrong: x_0 = √ᾱ x_t − √(1 − ᾱ) v": a * xt + s * v,
        "the two roots are swapped": s * xt - a * v,
        "you treated v as if it were ε: (x_t − √(1 − ᾱ) v) / √ᾱ": (xt - s * v) / a,
        "this is v − x_t combined the other way round: the sign of the whole is wrong": -x0,
    }
    diagnose(got, x0, mistakes, name="x_0")
    _same_type(got, x0, "x_0")
    return "v and x_t together give the clean image back"


@exercise(
    hints=(
        "Two moves: from x_t to the predicted x_0, then back to the less noisy level s with the same ε.",
        "x_0 = (x_t − √(1 − ᾱ_t) ε) / √ᾱ_t. Going back is the closed form again, now with ᾱ_s.",
        "x0 = (xt - (1 - bar_t).sqrt() * eps) / bar_t.sqrt(); return bar_s.sqrt() * x0 + …",
    )
)
def ddim_step(student):
    """``student(xt, eps, alpha_bar_t, alpha_bar_s) -> x_s``, deterministic (η = 0)."""
    xt, eps, t, s = _normal(0), _normal(1), 500, 400
    bar_t, bar_s = _ALPHA_BAR[t], _ALPHA_BAR[s]
    got = call(student, xt, eps, bar_t, bar_s)
    root_t, root_s, noise_t, noise_s = bar_t.sqrt(), bar_s.sqrt(), (1 - bar_t).sqrt(), (1 - bar_s).sqrt()
    x0 = (xt - noise_t * eps) / root_t
    steps = samplers.ddim(lambda x, _: (x0, eps), xt, _SCHEDULE, timesteps=[t, s])
    mistakes = {
        "this is the predicted x_0; go back to level s with √ᾱ_s x_0 + √(1 − ᾱ_s) ε": x0,
        "the noise term is missing: √(1 − ᾱ_s) ε": root_s * x0,
        "the noise comes back with √(1 − ᾱ_t); at level s it is √(1 − ᾱ_s)": root_s * x0 + noise_t * eps,
        "you went back with ᾱ_t, so nothing has changed; level s needs ᾱ_s": xt,
        "t and s are swapped: x_0 is predicted with ᾱ_t, and x_s is made with ᾱ_s": (
            root_t * (xt - noise_s * eps) / root_s + noise_t * eps
        ),
        "the division by √ᾱ_t is missing in x_0": root_s * (xt - noise_t * eps) + noise_s * eps,
        "x_0 is divided by ᾱ_t; the formula has √ᾱ_t": root_s * (xt - noise_t * eps) / bar_t + noise_s * eps,
        "you used ᾱ and 1 − ᾱ where the formula has their roots": (
            bar_s * (xt - (1 - bar_t) * eps) / bar_t + (1 - bar_s) * eps
        ),
        "x_0 is predicted with 1 − ᾱ_t where the formula has √(1 − ᾱ_t)": (
            root_s * (xt - (1 - bar_t) * eps) / root_t + noise_s * eps
        ),
        "x_0 is multiplied by ᾱ_s; the formula has √ᾱ_s": bar_s * x0 + noise_s * eps,
        "the noise is multiplied by 1 − ᾱ_s; the formula has √(1 − ᾱ_s)": root_s * x0 + (1 - bar_s) * eps,
        "the noise at level s is subtracted; both terms are added": root_s * x0 - noise_s * eps,
        "the noise is added in x_0 = (x_t − √(1 − ᾱ_t) ε) / √ᾱ_t; it must be subtracted": (
            root_s * (xt + noise_t * eps) / root_t + noise_s * eps
        ),
    }
    want = samplers.final(steps)
    diagnose(got, want, mistakes, name="x_s")
    _same_type(got, want, "x_s")
    return "one DDIM step: to x_0, and back to level s"


@exercise(
    hints=(
        "Guidance starts at the answer without the class and walks towards the answer with it, and beyond.",
        "The step is cond − uncond; scale says how far. Scale 0 gives uncond, scale 1 gives cond.",
        "uncond + scale * (…)",
    )
)
def guidance_line(student):
    """``student(cond, uncond, scale) -> guided``; at scale 1 it is ``cond``."""
    cond, uncond, scale = _normal(0), _normal(1), 3.0
    got = call(student, cond, uncond, scale)
    want = guidance.guide(cond, uncond, scale)
    mistakes = {
        "this is (1 + w) cond − w uncond with w = scale, the convention of Ho & Salimans; here scale = 1 + "
        "w, and scale 1 is the plain conditional answer": (1 + scale) * cond - scale * uncond,
        "you started at cond: at scale 1 the result must be cond, so start at uncond": cond
        + scale * (cond - uncond),
        "cond and uncond are swapped": cond + scale * (uncond - cond),
        "the sign is wrong: walk from uncond towards cond": uncond - scale * (cond - uncond),
        "only the direction is left; it starts at uncond": scale * (cond - uncond),
        "uncond is forgotten: the result is scale times cond": scale * cond,
        "this is plain cond, whatever the scale": cond,
        "this is a mean of the two, which weakens the class": (cond + scale * uncond) / (1 + scale),
    }
    diagnose(got, want, mistakes, name="the guided answer")
    _same_type(got, want, "the guided answer")
    return "scale 0 ignores the class, 1 is the plain answer, more exaggerates it"
