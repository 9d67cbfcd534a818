"""Answers to the exercises on control: right ones, and wrong ones by what their verdict must say."""

import numpy as np
import torch

from rs_course.checkpoints import normalize_metadata


def put(drawn, known, eps, mask, a, level=lambda x, e, a: a**0.5 * x + (1 - a) ** 0.5 * e):
    return mask * drawn + (1 - mask) * level(known, eps, a)


def with_level(level):
    return lambda *args: put(*args, level=level)


def moments(true, drawn):
    a, b = true - true.mean(), drawn - drawn.mean()
    return (a * b).mean(), (a * a).mean(), (b * b).mean()


def of_moments(r, slope):
    """An answer from mean(ab), mean(a²), mean(b²)."""
    return lambda true, drawn: (r(*moments(true, drawn)), slope(*moments(true, drawn)))


def right_r(ab, aa, bb):
    return ab / (aa * bb) ** 0.5


def right_slope(ab, aa, bb):
    return ab / aa


def with_slope(slope):
    """The right r beside another slope, of the two curves."""
    return lambda true, drawn: (right_r(*moments(true, drawn)), slope(true, drawn))


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


RIGHT = {
    "normalise_metadata": [
        row(),
        normalize_metadata,
        lambda *values: torch.tensor(row()(*values)),
        lambda *values: tuple(row()(*values)),
    ],
    "put_back": [
        put,
        lambda d, k, e, m, a: torch.where(m.bool(), d, a**0.5 * k + (1 - a) ** 0.5 * e),
        lambda *args: put(*args).numpy(),
        lambda *args: put(*(x.double() if hasattr(x, "double") else x for x in args)),
    ],
    "response": [
        of_moments(right_r, right_slope),
        lambda t, d: [float(np.corrcoef(t, d)[0, 1]), float(np.polyfit(t.double(), d.double(), 1)[0])],
        lambda t, d: torch.stack(of_moments(right_r, right_slope)(t, d)),
        lambda t, d: tuple(x.item() for x in of_moments(right_r, right_slope)(t, d)),
    ],
}
WRONG = {
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
        "negative numbers became 0": lambda *v: [max(x, 0) for x in row()(*v)],
        "negative numbers became": row(year=lambda x: max(x - 1980, 0) / 120),
        "cut at 1000|above 1000": lambda *v: [min(x, 1000) for x in row()(*v)],
        "lost its sign": row(year=lambda x: abs(x - 1980) / 120),
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
    "put_back": {
        "you put its latents outside": lambda d, k, e, m, a: put(d, k, e, 1 - m, a),
        "put back clean": with_level(lambda x, e, a: x),
        "noise of the known part is missing": with_level(lambda x, e, a: a**0.5 * x),
        "known picture is missing: √": with_level(lambda x, e, a: (1 - a) ** 0.5 * e),
        "there is only noise": with_level(lambda x, e, a: e),
        "known picture is not scaled": with_level(lambda x, e, a: x + (1 - a) ** 0.5 * e),
        "the noise is not scaled": with_level(lambda x, e, a: a**0.5 * x + e),
        "neither the known": with_level(lambda x, e, a: x + e),
        "where the formula has their roots": with_level(lambda x, e, a: a * x + (1 - a) * e),
        "1 − √ᾱ_s where": with_level(lambda x, e, a: a**0.5 * x + (1 - a**0.5) * e),
        "two roots are swapped": with_level(lambda x, e, a: (1 - a) ** 0.5 * x + a**0.5 * e),
        "a / 2, not the root": with_level(lambda x, e, a: a**1 / 2 * x + (1 - a) ** 1 / 2 * e),
        "nothing was put back": lambda d, k, e, m, a: d.clone(),
        "mask was not used": lambda d, k, e, m, a: a**0.5 * k + (1 - a) ** 0.5 * e,
        "noised once more": lambda d, k, e, m, a: put(a**0.5 * d + (1 - a) ** 0.5 * e, k, e, m, a),
        "outside the mask everything is 0": lambda d, k, e, m, a: m * d,
        "averaged everywhere": lambda d, k, e, m, a: (d + a**0.5 * k + (1 - a) ** 0.5 * e) / 2,
        "depends on mask as a whole only": lambda d, k, e, m, a: put(d, k, e, m.mean(), a),
        "does not depend on mask": lambda d, k, e, m, a: put(d, k, e, 0.3, a),
        "noise is subtracted": with_level(lambda x, e, a: a**0.5 * x - (1 - a) ** 0.5 * e),
    },
    "response": {
        "two numbers are swapped": of_moments(right_slope, right_r),
        "means were not taken off": lambda t, d: (
            (t * d).mean() / ((t * t).mean() * (d * d).mean()) ** 0.5,
            (t * d).mean() / (t * t).mean(),
        ),
        "true curve over the drawn one": of_moments(right_r, lambda ab, aa, bb: ab / bb),
        "ratio of spreads": with_slope(lambda t, d: d.std() / t.std()),
        "ratio of variances": with_slope(lambda t, d: d.var() / t.var()),
        "ratio of ranges": with_slope(lambda t, d: (d.max() - d.min()) / (t.max() - t.min())),
        "ratio of means": with_slope(lambda t, d: d.mean() / t.mean()),
        "mean of ratios": with_slope(lambda t, d: (d / t).mean()),
        "not divided by the true curve's variance": of_moments(right_r, lambda ab, aa, bb: ab),
        "divided by the standard deviation": of_moments(right_r, lambda ab, aa, bb: ab / aa**0.5),
        "r stands in the slope's place": of_moments(right_r, right_r),
        "first and last point": with_slope(lambda t, d: (d[-1] - d[0]) / (t[-1] - t[0])),
        "the other by K − 1": with_slope(lambda t, d: moments(t, d)[0] / t.var()),
        "Spearman": lambda t, d: (
            np.corrcoef(t.argsort().argsort(), d.argsort().argsort())[0, 1],
            right_slope(*moments(t, d)),
        ),
        "through the origin": with_slope(lambda t, d: (t * d).mean() / (t * t).mean()),
        "the line's intercept": with_slope(lambda t, d: np.polyfit(t.double(), d.double(), 1)[1]),
        "ratio of variances; it is": with_slope(
            lambda t, d: np.corrcoef(t, d)[0, 1] * d.double().var() / t.double().var()
        ),
        "steps from one point to the next; take it of the points": with_slope(
            lambda t, d: (t.diff() * d.diff()).mean() / t.diff().square().mean()
        ),
        "sign of the slope": with_slope(lambda t, d: abs(right_slope(*moments(t, d)))),
        "in r and slope one mean divides by K, the": lambda t, d: (
            moments(t, d)[0] / (t.std() * d.std()),
            moments(t, d)[0] / t.var(),
        ),
        "in r one mean divides by K, the": lambda t, d: (
            moments(t, d)[0] / (t.std() * d.std()),
            right_slope(*moments(t, d)),
        ),
        "the cosine in r's place": lambda t, d: (
            torch.cosine_similarity(t, d, 0),
            right_slope(*moments(t, d)),
        ),
        "^r is right; slope is .*, expected": with_slope(lambda t, d: d.std() ** 3),
        "not divided by the two standard": of_moments(lambda ab, aa, bb: ab, right_slope),
        "root in r is missing": of_moments(lambda ab, aa, bb: ab / (aa * bb), right_slope),
        "this is r²": of_moments(lambda ab, aa, bb: ab**2 / (aa * bb), right_slope),
        "sign of r is lost": of_moments(lambda ab, aa, bb: abs(ab) / (aa * bb) ** 0.5, right_slope),
        "slope stands in r's place": of_moments(right_slope, right_slope),
        "this is r alone": lambda t, d: right_r(*moments(t, d)),
        "this is the slope alone": lambda t, d: right_slope(*moments(t, d)),
    },
}
