"""Answers to the exercises about a checkpoint: right ones, and wrong ones by what their verdict must say."""

import torch
from answers.diffusion_basics import GUIDED


def halves(output, scale):
    uncond, cond = output.chunk(2)
    return uncond + scale * (cond - uncond)


def by_loop(output, scale):
    n = len(output) // 2
    return torch.stack([output[k] + scale * (output[n + k] - output[k]) for k in range(n)])


def on_halves(line):
    """A wrong guidance line, on the two halves."""
    return lambda output, scale: line(*output.chunk(2)[::-1], scale)


def step(x0=lambda x, v, a, n: a * x - n * v, eps=lambda x, v, a, n: n * x + a * v, back=None):
    back = back or (lambda x0, e, t, s: s.sqrt() * x0 + (1 - s).sqrt() * e)

    def answer(x, v, t, s):
        a, n = t.sqrt(), (1 - t).sqrt()
        return back(x0(x, v, a, n), eps(x, v, a, n), t, s)

    return answer


ddim = step()


def by_angle(x, v, t, s):
    """The step is a turn by the difference of two angles."""
    turn = torch.acos(t.sqrt()) - torch.acos(s.sqrt())
    return torch.cos(turn) * x - torch.sin(turn) * v


def heun(x, t, s, slope, ends=lambda here, there: (here + there) / 2):
    here = slope(x, t)
    return x + (s - t) * ends(here, slope(x + (s - t) * here, s))


def heun_from(step):
    """A wrong step, of (x, t, s, slope, here, trial)."""

    def answer(x, t, s, slope):
        here = slope(x, t)
        return step(x, t, s, slope, here, x + (s - t) * here)

    return answer


RIGHT = {
    "guide_halves": [
        halves,
        by_loop,
        lambda o, w: halves(o, w).numpy(),
        lambda o, w: torch.lerp(*o.chunk(2), w),
    ],
    "ddim_step": [ddim, by_angle, lambda *a: ddim(*a).double()],
    "heun_step": [
        heun,
        lambda *a: heun(*a).numpy(),
        lambda x, t, s, slope: (
            (x + x + (s - t) * slope(x, t) + (s - t) * slope(x + (s - t) * slope(x, t), s)) / 2
        ),
    ],
}
WRONG = {
    "guide_halves": {text: on_halves(line) for text, line in GUIDED.items() if "argument 2" not in text}
    | {
        "halves are swapped": lambda o, w: halves(o.roll(len(o) // 2, 0), w),
        "neighbours were paired .output": lambda o, w: o[::2] + w * (o[1::2] - o[::2]),
        "2N answers came back": lambda o, w: o.clone(),
        "one of each pair": lambda o, w: w * o,
        "channels were split|stopped in": lambda o, w: halves(o.transpose(0, 1), w).transpose(0, 1),
        "changes its argument 1 in place": lambda o, w: o.sub_(1),
    },
    "ddim_step": {
        "as if it were ε; this": step(lambda x, v, a, n: (x - n * v) / a, lambda x, v, a, n: v),
        "this is the predicted x_0": step(back=lambda x0, e, t, s: x0),
        "noise term √.1 − ᾱ_s. ε is missing": step(back=lambda x0, e, t, s: s.sqrt() * x0),
        "nothing has changed": lambda x, v, t, s: ddim(x, v, t, t),
        "v came back in ε's place": step(eps=lambda x, v, a, n: v),
        "where the formula has their roots": lambda x, v, t, s: (
            s * (t * x - (1 - t) * v) + (1 - s) * ((1 - t) * x + t * v)
        ),
        "ᾱ_s and 1 − ᾱ_s themselves": step(back=lambda x0, e, t, s: s * x0 + (1 - s) * e),
        "sign of v's term in x_0": step(lambda x, v, a, n: a * x + n * v),
        "sign of v's term in ε": step(eps=lambda x, v, a, n: n * x - a * v),
        "x_0 and ε are swapped": step(back=lambda x0, e, t, s: s.sqrt() * e + (1 - s).sqrt() * x0),
        "both terms are added": step(back=lambda x0, e, t, s: s.sqrt() * x0 - (1 - s).sqrt() * e),
        "you turned the wrong way": lambda x, v, t, s: ddim(x, v, s, t),
        "x_t stands where the predicted": step(lambda x, v, a, n: x),
        "a / 2, not the root": lambda x, v, t, s: (
            s**1 / 2 * (t**1 / 2 * x - (1 - t) ** 1 / 2 * v)
            + (1 - s) ** 1 / 2 * ((1 - t) ** 1 / 2 * x + t**1 / 2 * v)
        ),
        "roots are swapped": step(eps=lambda x, v, a, n: a * x + n * v),
        "x_s is not right: the largest error is [^;]*$": step(
            lambda x, v, a, n: (a * x - n * v) / (a * x - n * v).std()
        ),
        "x_t's term in ε is missing": step(eps=lambda x, v, a, n: a * v),
        "neither term is scaled": step(back=lambda x0, e, t, s: x0 + e),
        "clipped": step(lambda x, v, a, n: (a * x - n * v).clamp(-1, 1)),
        "this is v itself": lambda x, v, t, s: v.clone(),
        "two slips at once": step(
            lambda x, v, a, n: a * x, back=lambda x0, e, t, s: s * x0 + (1 - s).sqrt() * e
        ),
    },
    "heun_step": {
        "this is Euler's step": heun_from(lambda x, t, s, slope, here, trial: trial),
        "only the slope at the end": lambda *a: heun(*a, ends=lambda here, there: there),
        "slopes were added": lambda *a: heun(*a, ends=lambda here, there: here + there),
        "slopes were subtracted": lambda *a: heun(*a, ends=lambda here, there: (here - there) / 2),
        "this is the midpoint method": heun_from(
            lambda x, t, s, slope, here, trial: x + (s - t) * slope((x + trial) / 2, (t + s) / 2)
        ),
        "asked at x; ask where": heun_from(
            lambda x, t, s, slope, here, trial: x + (s - t) * (here + slope(x, s)) / 2
        ),
        "asked at time t": heun_from(
            lambda x, t, s, slope, here, trial: x + (s - t) * (here + slope(trial, t)) / 2
        ),
        "trial step went the wrong way": heun_from(
            lambda x, t, s, slope, here, trial: x + (s - t) * (here + slope(2 * x - trial, s)) / 2
        ),
        "trial step has the length 1": heun_from(
            lambda x, t, s, slope, here, trial: x + (s - t) * (here + slope(x + here, s)) / 2
        ),
        "step goes the wrong way": heun_from(
            lambda x, t, s, slope, here, trial: x + (t - s) * (here + slope(x + (t - s) * here, s)) / 2
        ),
        "not multiplied by s − t": heun_from(
            lambda x, t, s, slope, here, trial: x + (here + slope(trial, s)) / 2
        ),
        "step is subtracted": heun_from(lambda x, t, s, slope, here, trial: 2 * x - heun(x, t, s, slope)),
        "starts at Euler's point": heun_from(
            lambda x, t, s, slope, here, trial: trial + heun(x, t, s, slope) - x
        ),
        "x itself is missing": lambda x, *rest: heun(x, *rest) - x,
        "this is the mean slope": heun_from(lambda x, t, s, slope, here, trial: (here + slope(trial, s)) / 2),
        "Ralston's": heun_from(
            lambda x, t, s, slope, here, trial: (
                x + (s - t) * (here + 3 * slope(x + (trial - x) * 2 / 3, t + (s - t) * 2 / 3)) / 4
            )
        ),
        "first slope has weight 2/3": lambda *a: heun(*a, ends=lambda here, there: (2 * here + there) / 3),
        "end's slope has weight 2/3": lambda *a: heun(*a, ends=lambda here, there: (here + 2 * there) / 3),
        "brackets: the sum of both": lambda *a: heun(*a, ends=lambda here, there: here + there / 2),
        "asked half way": heun_from(
            lambda x, t, s, slope, here, trial: x + (s - t) * (here + slope((x + trial) / 2, (t + s) / 2)) / 2
        ),
        "at the middle time": heun_from(
            lambda x, t, s, slope, here, trial: x + (s - t) * (here + slope(trial, (t + s) / 2)) / 2
        ),
        "at time s − t": heun_from(
            lambda x, t, s, slope, here, trial: x + (s - t) * (here + slope(trial, s - t)) / 2
        ),
        "asked at the first slope": heun_from(
            lambda x, t, s, slope, here, trial: x + (s - t) * (here + slope(here, s)) / 2
        ),
        "x is missing in Euler's": heun_from(
            lambda x, t, s, slope, here, trial: x + (s - t) * (here + slope(trial - x, s)) / 2
        ),
        "asked a second time": heun_from(
            lambda x, t, s, slope, here, trial: x + (s - t) * (here + slope(heun(x, t, s, slope), s)) / 2
        ),
        "only the second slope is multiplied": heun_from(
            lambda x, t, s, slope, here, trial: x + (here + (s - t) * slope(trial, s)) / 2
        ),
        "first slope was asked at time s": heun_from(
            lambda x, t, s, slope, here, trial: (
                x + (s - t) * (slope(x, s) + slope(x + (s - t) * slope(x, s), s)) / 2
            )
        ),
        "halved twice": lambda x, *rest: (x + heun(x, *rest)) / 2,
        "half of Euler's step": heun_from(lambda x, t, s, slope, here, trial: (x + trial) / 2),
        "stopped in line": lambda x, t, s, slope: slope(x),
    },
}
