"""Answers to the exercises of notebook 02: right ones, and wrong ones by what their verdict must say."""

import torch
from answers.diffusion_basics import GUIDED

from rs_course.checkpoints import normalize_metadata


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


FIELDS = {
    "lon": lambda x: (x + 180) / 360,
    "lat": lambda x: (x + 90) / 180,
    "gsd": lambda x: x,
    "cloud": lambda x: x,
    "year": lambda x: (x - 1980) / 120,
    "month": lambda x: x / 12,
    "day": lambda x: x / 31,
}


def row(times=1000, gap=0.0, unknown=lambda x: x is None, **changed):
    scales = (FIELDS | changed).values()
    return lambda *values: [
        gap if unknown(x) else times * scale(x) for scale, x in zip(scales, values, strict=True)
    ]


def best(key=lambda accuracy, s: (accuracy, -s), back=lambda scales, accuracy, s: s):
    def answer(draw, recognise, labels, scales):
        accuracy = {s: (recognise(draw(s)) == labels).float().mean().item() for s in scales}
        return back(scales, accuracy, max(scales, key=lambda s: key(accuracy[s], s)))

    return answer


def best_by_loop(draw, recognise, labels, scales):
    found, most = None, -1
    for scale in sorted(scales):
        right = sum(a == b for a, b in zip(recognise(draw(scale)).tolist(), labels.tolist(), strict=True))
        if right > most:
            found, most = scale, right
    return found


def hill_climb(draw, recognise, labels, scales):
    first, second = scales[:2]
    right = {s: (recognise(draw(s)) == labels).sum() for s in (first, second)}
    return max(right, key=right.get)


RIGHT = {
    "guide_halves": [
        halves,
        by_loop,
        lambda o, w: halves(o, w).numpy(),
        lambda o, w: torch.lerp(*o.chunk(2), w),
    ],
    "ddim_step": [ddim, by_angle, lambda *a: ddim(*a).double()],
    "normalise_metadata": [
        row(),
        normalize_metadata,
        lambda *values: torch.tensor(row()(*values)),
        lambda *values: tuple(row()(*values)),
    ],
    "best_guidance": [best(), best_by_loop, lambda *a: torch.tensor(best()(*a))],
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
        "x_t's term in ε is missing": step(eps=lambda x, v, a, n: a * v),
        "neither term is scaled": step(back=lambda x0, e, t, s: x0 + e),
        "clipped": step(lambda x, v, a, n: (a * x - n * v).clamp(-1, 1)),
        "this is v itself": lambda x, v, t, s: v.clone(),
        "two slips at once": step(
            lambda x, v, a, n: a * x, back=lambda x0, e, t, s: s * x0 + (1 - s).sqrt() * e
        ),
    },
    "normalise_metadata": {
        "numbers run from 0 to 1;": row(times=1),
        "the offsets are missing": row(lon=lambda x: x / 360, lat=lambda x: x / 180, year=lambda x: x / 120),
        "longitude's offset is missing": row(lon=lambda x: x / 360),
        "latitude's offset is missing": row(lat=lambda x: x / 180),
        "longitude's offset has the wrong sign": row(lon=lambda x: (x - 180) / 360),
        "model counts from 1980": row(year=lambda x: x / 120),
        "not divided by its span": row(year=lambda x: x - 1980),
        "you took 44": row(year=lambda x: (x - 1980) / 44),
        "longitude and latitude are swapped": lambda a, b, *rest: row()(b, a, *rest),
        "longitude spans 360 degrees, latitude 180": row(lat=lambda x: (x + 90) / 360),
        "do not divide it by 100": row(cloud=lambda x: x / 100),
        "months count from 1": row(month=lambda x: (x - 1) / 12),
        "days count from 1": row(day=lambda x: (x - 1) / 31),
        "whatever the month": row(day=lambda x: x / 30),
        "Months count .* Days count|two slips": row(month=lambda x: (x - 1) / 12, day=lambda x: (x - 1) / 31),
        "nothing is clipped": row(gsd=lambda x: min(x, 1)),
        "you divided by 10$": row(gsd=lambda x: x / 10),
        "after normalisation, not before": lambda *v: row()(*[0 if x is None else x for x in v]),
        "ask `is None`": row(unknown=lambda x: not x),
        "not −1": row(gap=-1.0),
        "seven numbers are needed, one per field; 6": lambda *v: row()(*v)[:6],
        "an unknown field becomes 0": row(gap=None),
        "a dict did": lambda *v: dict(zip(FIELDS, row()(*v), strict=True)),
        "stopped in line .* TypeError: unsupported operand": lambda lon, lat, *rest: (
            [1000 * (lon + 180) / 360] * 7
        ),
    },
    "best_guidance": {
        "has to be measured": lambda *a: 3.0,
        "this is the best accuracy; ": best(back=lambda scales, accuracy, s: accuracy[s]),
        "which leaves more variety": best(lambda accuracy, s: (accuracy, s)),
        "you took the first of the tied": best(lambda accuracy, s: accuracy),
        "least accurate scale: take": best(lambda accuracy, s: (-accuracy, -s)),
        "largest scale": best(lambda accuracy, s: s),
        "smallest scale": best(lambda accuracy, s: -s),
        "its place in the list": best(back=lambda scales, accuracy, s: scales.index(s)),
        "place in the sorted list": best(back=lambda scales, accuracy, s: sorted(scales).index(s)),
        "first scale of the list": best(back=lambda scales, accuracy, s: scales[0]),
        "last scale of the list": best(back=lambda scales, accuracy, s: scales[-1]),
        "not one of scales": lambda draw, *rest: draw(2.25),
        "was never tried": hill_climb,
        "scale and its accuracy": best(back=lambda scales, accuracy, s: (s, accuracy[s])),
        "these are all accuracies": best(back=lambda scales, accuracy, s: list(accuracy.values())),
        "mean of the scales": best(back=lambda scales, accuracy, s: sum(scales) / len(scales)),
        "second best": best(
            back=lambda scales, accuracy, s: sorted(scales, key=lambda s: (accuracy[s], -s))[-2]
        ),
        "divided by the scale": best(lambda accuracy, s: accuracy / s),
        "draw was asked for scale .8.0": lambda draw, recognise, labels, scales: recognise(draw(scales)),
    },
}
