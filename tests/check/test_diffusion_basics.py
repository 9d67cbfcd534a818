"""Every exercise of notebook 01: the right answer passes, and each typical mistake is called by its name."""

import pytest
import torch

from rs_course import check, diffusion
from rs_course.check import diffusion_basics as exercises


def forward_noise(
    x0, eps, alpha_bar, t, *, bar=None, signal=torch.sqrt, noise=lambda a: (1 - a).sqrt(), shape=(-1, 1, 1, 1)
):
    a = (alpha_bar[t] if bar is None else bar(alpha_bar, t)).reshape(shape)
    return signal(a) * x0 + noise(a) * eps


def noised(**changes):
    return lambda x0, eps, alpha_bar, t: forward_noise(x0, eps, alpha_bar, t, **changes)


def mixture_score(x, means, weights, variance, *, dim=1, log=torch.log, half=2.0, scale=lambda v: v):
    offset = means - x[:, None]
    r = (log(weights) - offset.square().sum(-1) / (half * variance)).softmax(dim)
    return (r[..., None] * offset).sum(1) / scale(variance)


def scored(**changes):
    return lambda x, means, weights, variance: mixture_score(x, means, weights, variance, **changes)


def nearest(x, means, weights, variance):
    offset = means - x[:, None]
    k = (weights.log() - offset.square().sum(-1) / (2 * variance)).argmax(1)
    return (means[k] - x) / variance


def gradient_of_density(x, means, weights, variance):
    offset = means - x[:, None]
    density = weights * torch.exp(-offset.square().sum(-1) / (2 * variance)) / (2 * torch.pi * variance)
    return (density[..., None] * offset).sum(1) / variance


def ddpm_step(
    xt, eps, z, beta, t, *, under=lambda bar, t: (1 - bar[t]).sqrt(), root=lambda a, bar, t: a[t].sqrt(),
    sigma=torch.sqrt, sign=-1, always=False,
):  # fmt: skip
    alpha = 1 - beta
    bar = alpha.cumprod(0)
    mean = (xt + sign * beta[t] / under(bar, t) * eps) / root(alpha, bar, t)
    return mean + sigma(beta[t]) * z if t > 0 or always else mean


def stepped(**changes):
    return lambda xt, eps, z, beta, t: ddpm_step(xt, eps, z, beta, t, **changes)


def small_variance(xt, eps, z, beta, t):
    bar = (1 - beta).cumprod(0)
    return ddpm_step(xt, eps, z, beta, t, sigma=lambda b: (b * (1 - bar[t - 1]) / (1 - bar[t])).sqrt())


def ddim_step(xt, eps, bar_t, bar_s):
    x0 = (xt - (1 - bar_t).sqrt() * eps) / bar_t.sqrt()
    return bar_s.sqrt() * x0 + (1 - bar_s).sqrt() * eps


RIGHT = {
    "forward_noise": forward_noise,
    "mixture_score": mixture_score,
    "ddpm_step": ddpm_step,
    "x0_from_v": lambda xt, v, bar: bar.sqrt() * xt - (1 - bar).sqrt() * v,
    "ddim_step": ddim_step,
    "guidance_line": lambda cond, uncond, scale: uncond + scale * (cond - uncond),
}

MUTANTS = [
    ("forward_noise", noised(signal=lambda a: a, noise=lambda a: 1 - a), "√ᾱ, in both terms"),
    ("forward_noise", noised(signal=lambda a: a), "image is multiplied by ᾱ"),
    ("forward_noise", noised(noise=lambda a: 1 - a), "noise is multiplied by 1 − ᾱ where"),
    ("forward_noise", noised(noise=lambda a: 1 - a.sqrt()), "1 − √ᾱ"),
    ("forward_noise", noised(signal=lambda a: (1 - a).sqrt(), noise=torch.sqrt), "swapped"),
    ("forward_noise", noised(noise=lambda a: -((1 - a).sqrt())), "subtracted"),
    ("forward_noise", noised(noise=lambda a: 1.0), "not scaled"),
    ("forward_noise", noised(bar=lambda b, t: b[t - 1]), "off by one: you took alpha_bar[t - 1]"),
    ("forward_noise", noised(bar=lambda b, t: b[t + 1]), "off by one: you took alpha_bar[t + 1]"),
    ("forward_noise", noised(bar=lambda b, t: b[t] / b[t - 1]), "you used α_t, a single step"),
    ("forward_noise", noised(bar=lambda b, t: b[t[0]]), "first image's t"),
    ("forward_noise", noised(shape=(-1,)), "along the width"),
    ("forward_noise", noised(shape=(-1, 1)), "along the height"),
    ("forward_noise", lambda *a: forward_noise(*a).float(), "float32, but the inputs are float64"),
    ("forward_noise", lambda *a: forward_noise(*a).numpy(), "should be a torch tensor"),
    ("forward_noise", lambda *a: forward_noise(*a).to("meta"), "lies on meta, but its inputs lie on cpu"),
    ("forward_noise", lambda x0, eps, b, t: x0.mul_(2), "in place"),
    ("mixture_score", lambda *a: -mixture_score(*a), "point away from the means"),
    ("mixture_score", scored(scale=lambda v: 1), "division by the variance is missing"),
    ("mixture_score", scored(scale=lambda v: v**0.5), "standard deviation"),
    ("mixture_score", scored(log=lambda w: 0 * w), "weights π_k are missing"),
    ("mixture_score", scored(log=lambda w: w), "log π_k belongs"),
    ("mixture_score", scored(half=1), "factor 1/2"),
    ("mixture_score", scored(dim=0), "over the points (dim=0)"),
    ("mixture_score", lambda x, m, w, v: (m - x[:, None]).mean(1) / v, "same share"),
    ("mixture_score", lambda x, m, w, v: (w[:, None] * (m - x[:, None])).sum(1) / v, "prior weights"),
    ("mixture_score", nearest, "only the most likely component"),
    ("mixture_score", gradient_of_density, "gradient of log q(x)"),
    ("mixture_score", lambda *a: mixture_score(*a).T, "transposed"),
    ("ddpm_step", stepped(sigma=lambda b: b), "β_t, a variance"),
    ("ddpm_step", stepped(sigma=lambda b: 0), "σ_t z is missing"),
    ("ddpm_step", stepped(sigma=lambda b: 1), "has factor 1"),
    ("ddpm_step", small_variance, "the other choice"),
    ("ddpm_step", stepped(under=lambda bar, t: 1 - bar[t]), "divided by 1 − ᾱ_t"),
    ("ddpm_step", stepped(under=lambda bar, t: bar[t].sqrt()), "ε is divided by √ᾱ_t"),
    ("ddpm_step", stepped(sign=1), "must be subtracted"),
    ("ddpm_step", stepped(root=lambda a, bar, t: 1), "division by √α_t is missing"),
    ("ddpm_step", stepped(root=lambda a, bar, t: bar[t].sqrt()), "leads to x_0 at once"),
    ("ddpm_step", stepped(root=lambda a, bar, t: a[t]), "divided by α_t"),
    ("ddpm_step", stepped(under=lambda bar, t: (1 - bar[t - 1]).sqrt()), "off by one"),
    ("ddpm_step", stepped(always=True), "adds noise to the finished image"),
    (
        "ddpm_step",
        lambda xt, eps, z, beta, t: (
            (xt - (1 - (1 - beta).cumprod(0)[t]).sqrt() * eps) / (1 - beta[t]).sqrt() + beta[t].sqrt() * z
        ),
        "one step removes the share",
    ),
    ("x0_from_v", lambda xt, v, b: b * xt - (1 - b) * v, "their roots"),
    ("x0_from_v", lambda xt, v, b: (1 - b).sqrt() * xt + b.sqrt() * v, "this is ε"),
    ("x0_from_v", lambda xt, v, b: b.sqrt() * xt + (1 - b).sqrt() * v, "sign of v's term"),
    ("x0_from_v", lambda xt, v, b: (1 - b).sqrt() * xt - b.sqrt() * v, "swapped"),
    ("x0_from_v", lambda xt, v, b: (xt - (1 - b).sqrt() * v) / b.sqrt(), "as if it were ε"),
    ("x0_from_v", lambda xt, v, b: (1 - b).sqrt() * v - b.sqrt() * xt, "sign of the whole"),
    ("ddim_step", lambda xt, e, t, s: (xt - (1 - t).sqrt() * e) / t.sqrt(), "this is the predicted x_0"),
    (
        "ddim_step",
        lambda xt, e, t, s: s.sqrt() * (xt - (1 - t).sqrt() * e) / t.sqrt(),
        "noise term is missing",
    ),
    (
        "ddim_step",
        lambda xt, e, t, s: ddim_step(xt, e, t, s) + ((1 - t).sqrt() - (1 - s).sqrt()) * e,
        "comes back with √(1 − ᾱ_t)",
    ),
    ("ddim_step", lambda xt, e, t, s: ddim_step(xt, e, t, t), "nothing has changed"),
    ("ddim_step", lambda xt, e, t, s: ddim_step(xt, e, s, t), "t and s are swapped"),
    (
        "ddim_step",
        lambda xt, e, t, s: s.sqrt() * (xt - (1 - t).sqrt() * e) + (1 - s).sqrt() * e,
        "division by √ᾱ_t is missing",
    ),
    (
        "ddim_step",
        lambda xt, e, t, s: s.sqrt() * (xt - (1 - t).sqrt() * e) / t + (1 - s).sqrt() * e,
        "divided by ᾱ_t",
    ),
    ("ddim_step", lambda xt, e, t, s: s * (xt - (1 - t) * e) / t + (1 - s) * e, "their roots"),
    (
        "ddim_step",
        lambda xt, e, t, s: s.sqrt() * (xt - (1 - t) * e) / t.sqrt() + (1 - s).sqrt() * e,
        "predicted with 1 − ᾱ_t",
    ),
    (
        "ddim_step",
        lambda xt, e, t, s: s * (xt - (1 - t).sqrt() * e) / t.sqrt() + (1 - s).sqrt() * e,
        "multiplied by ᾱ_s",
    ),
    (
        "ddim_step",
        lambda xt, e, t, s: s.sqrt() * (xt - (1 - t).sqrt() * e) / t.sqrt() + (1 - s) * e,
        "multiplied by 1 − ᾱ_s",
    ),
    (
        "ddim_step",
        lambda xt, e, t, s: s.sqrt() * (xt - (1 - t).sqrt() * e) / t.sqrt() - (1 - s).sqrt() * e,
        "both terms are added",
    ),
    (
        "ddim_step",
        lambda xt, e, t, s: s.sqrt() * (xt + (1 - t).sqrt() * e) / t.sqrt() + (1 - s).sqrt() * e,
        "it must be subtracted",
    ),
    ("guidance_line", lambda c, u, w: (1 + w) * c - w * u, "scale = 1 + w"),
    ("guidance_line", lambda c, u, w: c + w * (u - c), "swapped"),
    ("guidance_line", lambda c, u, w: u - w * (c - u), "sign is wrong"),
    ("guidance_line", lambda c, u, w: w * (c - u), "only the direction"),
    ("guidance_line", lambda c, u, w: w * c, "uncond is forgotten"),
    ("guidance_line", lambda c, u, w: c, "whatever the scale"),
    ("guidance_line", lambda c, u, w: (c + w * u) / (1 + w), "weakens the class"),
]


@pytest.mark.parametrize("name", list(RIGHT))
def test_right_answer_passes(name):
    assert getattr(exercises, name).judge(RIGHT[name]).status == "passed"


@pytest.mark.parametrize(
    ("name", "mutant", "message"), MUTANTS, ids=lambda v: v if isinstance(v, str) else ""
)
def test_mistake_is_named(name, mutant, message):
    verdict = getattr(exercises, name).judge(mutant)
    assert verdict.status == "wrong"
    assert message in verdict.message


@pytest.mark.parametrize("name", list(RIGHT))
def test_stub_is_not_done(name, capsys):
    assert not getattr(exercises, name)(lambda *arguments: ...)
    assert "not done yet" in capsys.readouterr().out


@pytest.mark.parametrize("name", list(RIGHT))
def test_three_hints(name, capsys):
    for level in (1, 2, 3):
        check.hint(f"diffusion_basics.{name}", level)
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_the_package_itself_passes():
    schedule = diffusion.linear()
    assert exercises.forward_noise.judge(lambda x0, eps, bar, t: diffusion.add_noise(x0, eps, t, schedule))
    assert exercises.guidance_line.judge(diffusion.guide)
