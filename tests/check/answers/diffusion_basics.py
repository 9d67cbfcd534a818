"""Answers to the exercises of its lesson: right ones, and wrong ones by what their verdict must say."""

import math

import numpy as np
import torch


def noised(x0, eps, bar, t):
    a = bar[t].reshape(-1, 1, 1, 1)
    return a.sqrt() * x0 + (1 - a).sqrt() * eps


def noised_by_loop(x0, eps, bar, t):
    out = torch.zeros(x0.shape)
    for k in range(len(x0)):
        out[k] = math.sqrt(bar[t[k]]) * x0[k] + math.sqrt(1 - bar[t[k]]) * eps[k]
    return out


def with_level(a_of):
    """The closed form at another ᾱ."""

    def answer(x0, eps, bar, t):
        a = a_of(bar, t).reshape(-1, 1, 1, 1)
        return a.sqrt() * x0 + (1 - a).sqrt() * eps

    return answer


def with_factors(signal, noise):
    def answer(x0, eps, bar, t):
        a = bar[t].reshape(-1, 1, 1, 1)
        return signal(a) * x0 + noise(a) * eps

    return answer


def shares(x, m, w, v):
    return (w.log() - torch.cdist(x, m) ** 2 / (2 * v)).softmax(1)


def score(x, m, w, v):
    return (shares(x, m, w, v) @ m - x) / v


def score_by_autograd(x, m, w, v):
    x = x.clone().requires_grad_()
    density = (w * torch.exp(-((x[:, None] - m) ** 2).sum(-1) / (2 * v))).sum(1)
    return torch.autograd.grad(density.log().sum(), x)[0]


def weighed(r, x, m, v):
    return (r[..., None] * (m - x[:, None])).sum(1) / v


def bars(beta):
    return torch.cumprod(1 - beta, 0)


def step(xt, eps, z, beta, t):
    mean = (xt - beta[t] / (1 - bars(beta)[t]).sqrt() * eps) / (1 - beta[t]).sqrt()
    return mean if t == 0 else mean + beta[t].sqrt() * z


def step_over_x0(xt, eps, z, beta, t):
    """By the posterior mean, as the lesson derives it."""
    bar = bars(beta)
    before = bar[t - 1] if t else torch.tensor(1.0)
    x0 = (xt - (1 - bar[t]).sqrt() * eps) / bar[t].sqrt()
    mean = before.sqrt() * beta[t] / (1 - bar[t]) * x0
    mean = mean + (1 - beta[t]).sqrt() * (1 - before) / (1 - bar[t]) * xt
    return mean if t == 0 else mean + beta[t].sqrt() * z


def quiet_until(last):
    return lambda xt, eps, z, beta, t: step(xt, eps, z if t > last else 0 * z, beta, t)


def with_sigma(sigma):
    return lambda xt, eps, z, beta, t: step(xt, eps, 0 * z, beta, t) + (sigma(beta, t) * z if t else 0)


def with_mean(mean):
    return lambda xt, eps, z, beta, t: mean(xt, eps, beta, t) + (beta[t].sqrt() * z if t else 0)


def ddim(xt, eps, t, s):
    x0 = (xt - (1 - t).sqrt() * eps) / t.sqrt()
    return s.sqrt() * x0 + (1 - s).sqrt() * eps


def as_euler(xt, eps, t, s):
    """As an Euler step of the ODE in x / √ᾱ."""
    before, after = ((1 - t) / t) ** 0.5, ((1 - s) / s) ** 0.5
    return s**0.5 * (xt / t**0.5 + (after - before) * eps)


def ddim_by(x0=lambda x, e, t, s: (x - (1 - t).sqrt() * e) / t.sqrt(), back=None):
    back = back or (lambda x0, e, t, s: s.sqrt() * x0 + (1 - s).sqrt() * e)
    return lambda x, e, t, s: back(x0(x, e, t, s), e, t, s)


GUIDED = {
    "scale = 1 . w": lambda c, u, w: (1 + w) * c - w * u,
    "at scale 1 the result must be cond": lambda c, u, w: u + (w - 1) * (c - u),
    "swapped": lambda c, u, w: c + w * (u - c),
    "sign is wrong": lambda c, u, w: u - w * (c - u),
    "only the direction is left; it": lambda c, u, w: w * (c - u),
    "difference alone": lambda c, u, w: c - u,
    "uncond is forgotten": lambda c, u, w: w * c,
    "plain cond, whatever": lambda c, u, w: c.clone(),
    "plain uncond, whatever": lambda c, u, w: u + 0,
    "weakens the class": lambda c, u, w: (c + w * u) / (1 + w),
    "plain mean": lambda c, u, w: (c + u) / 2,
    "direction is cond − uncond": lambda c, u, w: u + w * (c + u),
    "added to uncond": lambda c, u, w: u + w * c,
    "multiplies uncond only": lambda c, u, w: c - w * u,
    "multiplies cond only": lambda c, u, w: w * c - u,
    "sum is multiplied": lambda c, u, w: w * (c + u),
    "scale is squared": lambda c, u, w: u + w**2 * (c - u),
    "does not depend on scale": lambda c, u, w: u + 3 * (c - u),
    "cut to 1": lambda c, u, w: u + min(w, 1) * (c - u),
    "2 times the right value": lambda c, u, w: 2 * (u + w * (c - u)),
    "only the first": lambda c, u, w: (u + w * (c - u))[0],
    "changes its argument 2 in place": lambda c, u, w: u.add_(w * (c - u)),
    "your function returned None": lambda c, u, w: print(end=""),
}

RIGHT = {
    "forward_noise": [
        noised,
        noised_by_loop,
        lambda *a: noised(*a).double(),
        lambda *a: noised(*a).numpy(),
        lambda x0, eps, bar, t: (
            torch.einsum("n,nchw->nchw", bar[t] ** 0.5, x0)
            + torch.einsum("n,nchw->nchw", (1 - bar[t]) ** 0.5, eps)
        ),
    ],
    "mixture_score": [score, score_by_autograd, lambda *a: score(*a).tolist()],
    "ddpm_step": [step, step_over_x0, lambda *a: step(*a).numpy().astype(float)],
    "x0_from_v": [
        lambda x, v, a: a.sqrt() * x - (1 - a).sqrt() * v,
        lambda x, v, a: np.sqrt(a.item()) * x.numpy() - np.sqrt(1 - a.item()) * v.numpy(),
        lambda x, v, a: torch.cos(torch.acos(a.sqrt())) * x - torch.sin(torch.acos(a.sqrt())) * v,
    ],
    "ddim_step": [ddim, as_euler, lambda *a: ddim(*a).tolist()],
    "guidance_line": [
        lambda c, u, w: u + w * (c - u),
        lambda c, u, w: c + (w - 1) * (c - u),
        lambda c, u, w: torch.lerp(u, c, w),
        lambda c, u, w: (w * c + (1 - w) * u).numpy(),
    ],
}

WRONG = {
    "forward_noise": {
        "√ᾱ, in both terms": with_factors(lambda a: a, lambda a: 1 - a),
        "image is multiplied by ᾱ": with_factors(lambda a: a, lambda a: (1 - a).sqrt()),
        "noise is multiplied by 1 − ᾱ where": with_factors(torch.sqrt, lambda a: 1 - a),
        "1 − √ᾱ; the formula": with_factors(torch.sqrt, lambda a: 1 - a.sqrt()),
        "a root too many; the formula": with_factors(torch.sqrt, lambda a: (1 - a.sqrt()).sqrt()),
        "roots are swapped": with_factors(lambda a: (1 - a).sqrt(), torch.sqrt),
        "subtracted": with_factors(torch.sqrt, lambda a: -((1 - a).sqrt())),
        "noise is not scaled": with_factors(torch.sqrt, lambda a: 1),
        "image is not scaled": with_factors(lambda a: 1, lambda a: (1 - a).sqrt()),
        "neither term": lambda x0, eps, bar, t: x0 + eps,
        "are halves": with_factors(lambda a: a**1 / 2, lambda a: (1 - a) ** 1 / 2),
        r"you took alpha_bar\[t - 1\]": with_level(lambda bar, t: bar[t - 1]),
        r"you took alpha_bar\[t \+ 1\]": with_level(lambda bar, t: bar[t + 1]),
        "you used α_t, a single step": with_level(lambda bar, t: bar[t] / bar[t - 1]),
        "first image's t": with_level(lambda bar, t: bar[t[0]].repeat(len(t))),
        "last step's ᾱ": with_level(lambda bar, t: bar[-1].repeat(len(t))),
        "already is the product": with_level(lambda bar, t: bar.cumprod(0)[t]),
        "mean of ᾱ": with_level(lambda bar, t: bar[t].mean().repeat(len(t))),
        "along the width": lambda x0, eps, bar, t: bar[t].sqrt() * x0 + (1 - bar[t]).sqrt() * eps,
        "along the height": lambda x0, eps, bar, t: (
            bar[t][:, None].sqrt() * x0 + (1 - bar[t][:, None]).sqrt() * eps
        ),
        "stopped in line .*, with IndexError": lambda x0, eps, bar, t: noised(x0, eps, bar, t + 50),
        "lies on meta, but its inputs lie on cpu": lambda *a: noised(*a).to("meta"),
        "changes its argument 1 in place": lambda x0, eps, bar, t: x0.mul_(2),
        "Two slips|two slips": with_factors(lambda a: a, lambda a: 1 - a.sqrt()),
        "variance explodes": with_factors(lambda a: 1, lambda a: ((1 - a) / a).sqrt()),
    },
    "mixture_score": {
        "point away from the means": lambda *a: -score(*a),
        "division by the variance is missing": lambda x, m, w, v: shares(x, m, w, v) @ m - x,
        "standard deviation; the score": lambda x, m, w, v: (shares(x, m, w, v) @ m - x) / v**0.5,
        "weights π_k are missing": lambda x, m, w, v: score(x, m, torch.ones_like(w), v),
        "log π_k belongs": lambda x, m, w, v: score(x, m, w.exp(), v),
        "factor 1/2": lambda x, m, w, v: weighed((w.log() - torch.cdist(x, m) ** 2 / v).softmax(1), x, m, v),
        "over the points .dim=0.; it": lambda x, m, w, v: weighed(
            (w.log() - torch.cdist(x, m) ** 2 / (2 * v)).softmax(0), x, m, v
        ),
        "same share": lambda x, m, w, v: (m - x[:, None]).mean(1) / v,
        "without their responsibilities": lambda x, m, w, v: (m - x[:, None]).sum(1) / v,
        "prior weights": lambda x, m, w, v: (w[:, None] * (m - x[:, None])).sum(1) / v,
        "only the most likely component": lambda x, m, w, v: (m[shares(x, m, w, v).argmax(1)] - x) / v,
        "gradient of log q.x., so": lambda x, m, w, v: weighed(
            w * torch.exp(-(torch.cdist(x, m) ** 2) / (2 * v)) / (2 * torch.pi * v), x, m, v
        ),
        "not normalised": lambda x, m, w, v: weighed(
            w * torch.exp(-(torch.cdist(x, m) ** 2) / (2 * v)), x, m, v
        ),
        "it needs its square": lambda x, m, w, v: weighed(
            (w.log() - torch.cdist(x, m) / (2 * v)).softmax(1), x, m, v
        ),
        r"E\[μ . x\]; the score": lambda x, m, w, v: shares(x, m, w, v) @ m,
        "already sum to one": lambda x, m, w, v: score(x, m, w, v) / len(m),
        "one Gaussian at the mean of the means|same share": lambda x, m, w, v: (m.mean(0) - x) / v,
        "it is transposed": lambda *a: score(*a).T,
        "one arrow per point and component": lambda x, m, w, v: (m - x[:, None]) / v,
        "one number per point, a density": lambda x, m, w, v: torch.cdist(x, m).mean(1),
        "does not depend on variance": lambda x, m, w, v: score(x, m, w, 0.36),
        "does not depend on weights": lambda x, m, w, v: score(x, m, torch.linspace(1, 2, len(w)), v),
    },
    "ddpm_step": {
        "adds noise to the finished image": lambda x, e, z, b, t: step(x, e, 0 * z, b, t) + b[t].sqrt() * z,
        "step 1 is quiet": quiet_until(1),
        r"for t = 2: .*σ_t z is missing|for t = 1: .*σ_t z is missing": quiet_until(6),
        "σ_t z is missing": quiet_until(99),
        "a variance; σ_t is its square root": with_sigma(lambda b, t: b[t]),
        "has factor 1": with_sigma(lambda b, t: 1),
        "the other choice, σ": with_sigma(
            lambda b, t: (b[t] * (1 - bars(b)[t - 1]) / (1 - bars(b)[t])).sqrt()
        ),
        "√.1 − ᾱ_t., that of all steps": with_sigma(lambda b, t: (1 - bars(b)[t]).sqrt()),
        "new noise is subtracted": with_sigma(lambda b, t: -(b[t].sqrt())),
        "divided by 1 − ᾱ_t; ": with_mean(
            lambda x, e, b, t: (x - b[t] / (1 - bars(b)[t]) * e) / (1 - b[t]).sqrt()
        ),
        "divided by √ᾱ_t; the": with_mean(
            lambda x, e, b, t: (x - b[t] / bars(b)[t].sqrt() * e) / (1 - b[t]).sqrt()
        ),
        "α_t stands where ᾱ_t belongs": with_mean(
            lambda x, e, b, t: (x - b[t] / b[t].sqrt() * e) / (1 - b[t]).sqrt()
        ),
        "must be subtracted": with_mean(
            lambda x, e, b, t: (x + b[t] / (1 - bars(b)[t]).sqrt() * e) / (1 - b[t]).sqrt()
        ),
        "division by √α_t is missing": with_mean(lambda x, e, b, t: x - b[t] / (1 - bars(b)[t]).sqrt() * e),
        "leads to x_0 at once": with_mean(
            lambda x, e, b, t: (x - b[t] / (1 - bars(b)[t]).sqrt() * e) / bars(b)[t].sqrt()
        ),
        "divided by α_t": with_mean(lambda x, e, b, t: (x - b[t] / (1 - bars(b)[t]).sqrt() * e) / (1 - b[t])),
        "off by one: alpha_bar": with_mean(
            lambda x, e, b, t: (x - b[t] / (1 - bars(b)[t - 1]).sqrt() * e) / (1 - b[t]).sqrt()
        ),
        "one step removes the share": with_mean(
            lambda x, e, b, t: (x - (1 - bars(b)[t]).sqrt() * e) / (1 - b[t]).sqrt()
        ),
        "brackets: the whole": with_mean(
            lambda x, e, b, t: x / (1 - b[t]).sqrt() - b[t] / (1 - bars(b)[t]).sqrt() * e
        ),
        "you multiplied the β": with_mean(
            lambda x, e, b, t: (x - b[t] / (1 - torch.cumprod(b, 0)[t]).sqrt() * e) / (1 - b[t]).sqrt()
        ),
        "two calls with the same arguments differ": lambda x, e, z, b, t: step(
            x, e, torch.randn_like(x), b, t
        ),
        "predicted x_0; one step": lambda x, e, z, b, t: (
            (x - (1 - bars(b)[t]).sqrt() * e) / bars(b)[t].sqrt()
        ),
        "noises x_t further": lambda x, e, z, b, t: (1 - b[t]).sqrt() * x + b[t].sqrt() * z,
    },
    "x0_from_v": {
        "their roots": lambda x, v, a: a * x - (1 - a) * v,
        "this is ε": lambda x, v, a: (1 - a).sqrt() * x + a.sqrt() * v,
        "sign of v's term": lambda x, v, a: a.sqrt() * x + (1 - a).sqrt() * v,
        "two roots are swapped": lambda x, v, a: (1 - a).sqrt() * x - a.sqrt() * v,
        "as if it were ε: ": lambda x, v, a: (x - (1 - a).sqrt() * v) / a.sqrt(),
        "sign of the whole": lambda x, v, a: (1 - a).sqrt() * v - a.sqrt() * x,
        "a / 2, not the root": lambda x, v, a: a**1 / 2 * x - (1 - a) ** 1 / 2 * v,
        "in x_t's factor, ": lambda x, v, a: a**1 / 2 * x - (1 - a).sqrt() * v,
        "x_t and v are swapped: ": lambda x, v, a: a.sqrt() * v - (1 - a).sqrt() * x,
        "1 − √ᾱ": lambda x, v, a: a.sqrt() * x - (1 - a.sqrt()) * v,
        "v is not scaled": lambda x, v, a: a.sqrt() * x - v,
        "x_t is not scaled": lambda x, v, a: x - (1 - a).sqrt() * v,
        "neither term is scaled": lambda x, v, a: x - v,
        "v's term is missing": lambda x, v, a: a.sqrt() * x,
        "x_t has ᾱ": lambda x, v, a: a * x - (1 - a).sqrt() * v,
        "v has 1 − ᾱ": lambda x, v, a: a.sqrt() * x - (1 - a) * v,
        "this is v itself": lambda x, v, a: v.clone(),
        "needs no division": lambda x, v, a: (a.sqrt() * x - (1 - a).sqrt() * v) / a.sqrt(),
        "does not depend on alpha_bar_t": lambda x, v, a: 0.8 * x - 0.6 * v,
        "stopped in line .* AttributeError": lambda x, v, a: a.root() * x - v,
    },
    "ddim_step": {
        "this is the predicted x_0": ddim_by(back=lambda x0, e, t, s: x0),
        "noise term is missing": ddim_by(back=lambda x0, e, t, s: s.sqrt() * x0),
        "comes back with √.1 − ᾱ_t": ddim_by(back=lambda x0, e, t, s: s.sqrt() * x0 + (1 - t).sqrt() * e),
        "nothing has changed": lambda x, e, t, s: ddim(x, e, t, t),
        "t and s are swapped": lambda x, e, t, s: ddim(x, e, s, t),
        "division by √ᾱ_t is missing": ddim_by(lambda x, e, t, s: x - (1 - t).sqrt() * e),
        "divided by ᾱ_t": ddim_by(lambda x, e, t, s: (x - (1 - t).sqrt() * e) / t),
        "where the formula has their roots": lambda x, e, t, s: s * (x - (1 - t) * e) / t + (1 - s) * e,
        "predicted with 1 − ᾱ_t where": ddim_by(lambda x, e, t, s: (x - (1 - t) * e) / t.sqrt()),
        "multiplied by ᾱ_s": ddim_by(back=lambda x0, e, t, s: s * x0 + (1 - s).sqrt() * e),
        "multiplied by 1 − ᾱ_s": ddim_by(back=lambda x0, e, t, s: s.sqrt() * x0 + (1 - s) * e),
        "both terms are added": ddim_by(back=lambda x0, e, t, s: s.sqrt() * x0 - (1 - s).sqrt() * e),
        "must be subtracted": ddim_by(lambda x, e, t, s: (x + (1 - t).sqrt() * e) / t.sqrt()),
        "x_t stands where the predicted x_0": lambda x, e, t, s: s.sqrt() * x + (1 - s).sqrt() * e,
        "unscaled; at level s it is √ᾱ_s": ddim_by(back=lambda x0, e, t, s: x0 + (1 - s).sqrt() * e),
        "unscaled; at level s it is √.1": ddim_by(back=lambda x0, e, t, s: s.sqrt() * x0 + e),
        "clipped": ddim_by(lambda x, e, t, s: ((x - (1 - t).sqrt() * e) / t.sqrt()).clip(-1, 1)),
        "brackets": ddim_by(lambda x, e, t, s: x - (1 - t).sqrt() * e / t.sqrt()),
        "a / 2, not the root": lambda x, e, t, s: (
            s**1 / 2 * (x - (1 - t) ** 1 / 2 * e) / (t**1 / 2) + (1 - s) ** 1 / 2 * e
        ),
        "one level stands in both places": ddim_by(lambda x, e, t, s: (x - (1 - t).sqrt() * e) / s.sqrt()),
        "roots at level s are swapped": ddim_by(back=lambda x0, e, t, s: (1 - s).sqrt() * x0 + s.sqrt() * e),
    },
    "guidance_line": GUIDED,
}
