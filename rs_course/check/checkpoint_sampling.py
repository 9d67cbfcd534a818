"""Checks of notebook 02, checkpoint sampling: one function per exercise.

The first two ask for the two lines of a latent sampler as a checkpoint needs them (guidance on a stacked
batch, a DDIM step from a velocity); notebook 01 asks for their plain forms.
"""

from __future__ import annotations

import torch

from rs_course import seeds
from rs_course.check.core import Mistake, NotDone, call, diagnose, exercise
from rs_course.checkpoints import normalize_metadata
from rs_course.diffusion import guide, process, schedules

_SCHEDULE = schedules.linear()
_SHAPE = (3, 4, 5, 6)  # no two axes alike: a wrong axis cannot pass by broadcasting


def _normal(seed: int, shape=_SHAPE) -> torch.Tensor:
    return seeds.noise(shape, seed=seed, dtype=torch.float64)


@exercise(
    hints=(
        "The UNet answered for 2N images at once. Which half was asked without the prompt?",
        "uncond, cond = output.chunk(2): as in the published pipelines, the unconditional half comes first.",
        "uncond + scale * (…), where scale 1 must give cond",
    )
)
def guide_halves(student):
    """``student(output [2N,C,h,w], scale) -> [N,C,h,w]``; the unconditional half comes first."""
    uncond, cond, scale = _normal(0), _normal(1), 3.0
    output = torch.cat([uncond, cond])
    got = call(student, output, scale)
    if getattr(got, "shape", None) == output.shape:
        raise Mistake("2N answers came back; guidance makes one of each pair: split the batch with chunk(2)")
    interleaved = output[::2], output[1::2]
    mistakes = {
        "the halves are swapped: the unconditional answers come first": guide(uncond, cond, scale),
        "neighbours were paired (output[::2], output[1::2]); the batch is two blocks: chunk(2)": guide(
            interleaved[1], interleaved[0], scale
        ),
        "at scale 1 the result must be cond: start at uncond (Ho & Salimans' (1 + w) cond − w uncond has "
        "w = scale − 1)": guide(cond, uncond, scale + 1),
        "the sign is wrong: walk from uncond towards cond": guide(cond, uncond, -scale),
        "only the direction is left; it starts at uncond": scale * (cond - uncond),
        "uncond is forgotten": scale * cond,
        "this is plain cond, whatever the scale": cond,
    }
    diagnose(got, guide(cond, uncond, scale), mistakes, name="the guided answer")
    return "two answers become one, and scale 1 is the plain conditional model"


@exercise(
    hints=(
        "Two moves: what are x_0 and ε, given x_t and v? Then noise x_0 again, less.",
        "x_0 = √ᾱ_t x_t − √(1 − ᾱ_t) v and ε = √(1 − ᾱ_t) x_t + √ᾱ_t v. Then x_s is the closed form with "
        "ᾱ_s.",
        "a, s = bar_t ** 0.5, (1 - bar_t) ** 0.5; x0, eps = a * xt - s * v, …; bar_s ** 0.5 * x0 + …",
    )
)
def ddim_step(student):
    """``student(xt, v, alpha_bar_t, alpha_bar_s) -> x_s``: one deterministic step of a v-model."""
    x0, eps, (t, s) = _normal(0), _normal(1), (600, 450)
    bar_t, bar_s = (_SCHEDULE.alpha_bar[k].item() for k in (t, s))
    xt, v = process.add_noise(x0, eps, t, _SCHEDULE), process.target(x0, eps, t, _SCHEDULE, "v")
    got = call(student, xt, v, bar_t, bar_s)
    a, n = bar_t**0.5, (1 - bar_t) ** 0.5
    A, N = bar_s**0.5, (1 - bar_s) ** 0.5  # signal and noise at level s
    as_eps = (xt - n * v) / a
    mistakes = {
        "v was treated as if it were ε; this checkpoint predicts velocity": A * as_eps + N * v,
        "this is the predicted x_0; go back to level s with √ᾱ_s x_0 + √(1 − ᾱ_s) ε": x0,
        "the noise term √(1 − ᾱ_s) ε is missing": A * x0,
        "you went back to level t, so nothing has changed; level s needs ᾱ_s": xt,
        "v came back in ε's place: ε = √(1 − ᾱ_t) x_t + √ᾱ_t v": A * x0 + N * v,
        "you used ᾱ and 1 − ᾱ where the formula has their roots": (
            bar_s * (bar_t * xt - (1 - bar_t) * v) + (1 - bar_s) * ((1 - bar_t) * xt + bar_t * v)
        ),
        "the roots go with x_0 and ε at level s; you used ᾱ_s and 1 − ᾱ_s themselves": bar_s * x0
        + (1 - bar_s) * eps,
        "the sign of v's term in x_0 is wrong: x_0 = √ᾱ_t x_t − √(1 − ᾱ_t) v": A * (a * xt + n * v) + N * eps,
        "the sign of v's term in ε is wrong: ε = √(1 − ᾱ_t) x_t + √ᾱ_t v": A * x0 + N * (n * xt - a * v),
        "x_0 and ε are swapped: signal gets √ᾱ_s, noise √(1 − ᾱ_s)": A * eps + N * x0,
        "the noise at level s is subtracted; both terms are added": A * x0 - N * eps,
        "t and s are swapped": a * (A * xt - N * v) + n * (N * xt + A * v),
    }
    diagnose(got, A * x0 + N * eps, mistakes, name="x_s")
    return "from velocity to x_0 and ε, and on to the less noisy level s"


_PLACE = {"lon": 8.4, "lat": -27.5, "gsd": 0.5, "cloud_cover": 0.2, "year": 2021, "month": 3, "day": 17}


@exercise(
    hints=(
        "Every field becomes a number of the timestep's range, 0 to 1000. Which fields do not start at 0?",
        "Longitude starts at −180, latitude at −90, the year at 1980; they span 360, 180 and 120. A month is "
        "out of 12, a day out of 31; gsd and cloud cover are multiplied by 1000 as they are.",
        "[(lon + 180) / 360, (lat + 90) / 180, gsd, cloud_cover, (year - 1980) / 120, …], times 1000, and 0 "
        "for None",
    )
)
def normalise_metadata(student):
    """``student(lon, lat, gsd, cloud_cover, year, month, day) -> seven numbers``; ``None`` becomes 0."""
    got = _row(call(student, *_PLACE.values()))
    want = normalize_metadata(**_PLACE).double()

    def changed(index, value):
        return torch.where(torch.arange(7) == index, torch.as_tensor(value, dtype=torch.float64), want)

    no_offset = changed(0, 8.4 / 360 * 1000)
    no_offset[1], no_offset[4] = -27.5 / 180 * 1000, 2021 / 120 * 1000
    both = want.clone()
    both[:2] = want[[1, 0]]
    mistakes = {
        "the numbers run from 0 to 1; the sinusoid that embeds them is the timestep's, 0 to 1000": want
        / 1000,
        "the offsets are missing: longitude starts at −180, latitude at −90, the year at 1980": no_offset,
        "longitude's offset is missing: it starts at −180": changed(0, 8.4 / 360 * 1000),
        "latitude's offset is missing: it starts at −90": changed(1, -27.5 / 180 * 1000),
        "the year is counted from 0; the model counts from 1980": changed(4, 2021 / 120 * 1000),
        "the year is not divided by its span, 2100 − 1980 = 120": changed(4, 41 * 1000),
        "the year's span is 1980 to 2100, that is 120 years": changed(4, 41 / 44 * 1000),
        "longitude and latitude are swapped": both,
        "longitude spans 360 degrees, latitude 180": changed(1, (90 - 27.5) / 360 * 1000),
        "the cloud cover is already a fraction; do not divide it by 100": changed(3, 0.2 / 100 * 1000),
        "months count from 1 and are divided by 12 as they are": changed(5, 2 / 12 * 1000),
        "days count from 1 and are divided by 31 as they are": changed(6, 16 / 31 * 1000),
        "a day is divided by 31 whatever the month": changed(6, 17 / 30 * 1000),
        "metres per pixel are multiplied by 1000, without an upper bound": changed(2, 0.5 / 5 * 1000),
    }
    diagnose(got, want, mistakes, name="the row of seven numbers", tol=1e-4)
    coarse = _row(call(student, *{**_PLACE, "gsd": 10.0}.values()))
    if coarse[2] != 10_000:
        raise Mistake(
            f"10 m per pixel gave {coarse[2]:g} instead of 10000: nothing is clipped, even above 1000"
        )
    unknown = _row(call(student, *{**_PLACE, "year": None}.values()))
    diagnose(
        unknown,
        changed(4, 0.0),
        {"an unknown field must become 0 after normalisation, not before": changed(4, -1980 / 120 * 1000)},
        name="the row with an unknown year",
        tol=1e-4,
    )
    return "seven numbers as DiffusionSat reads them, unknown fields at 0"


def _row(values) -> torch.Tensor:
    row = torch.as_tensor(values, dtype=torch.float64)
    if row.shape != (7,):
        raise Mistake(f"seven numbers are needed, one per field; {list(row.shape)} came back")
    return row


@exercise(
    hints=(
        "For each scale: draw images, let the recogniser name them, and count how often it says their label.",
        "accuracy[s] = (recognise(draw(s)) == labels).float().mean(). Several scales may tie: which costs "
        "least?",
        "max(scales, key=lambda s: (accuracy[s], -s)) prefers the smaller scale among equals",
    )
)
def best_guidance(student):
    """``student(draw, recognise, labels, scales) -> scale``: the smallest of the most accurate scales.

    ``draw(scale)`` gives images ``[N, 3, h, w]``, ``recognise(images)`` their classes ``[N]``.
    """
    labels, scales = torch.arange(40) % 4, [8.0, 1.0, 3.0, 2.0, 5.0]
    right = {1.0: 20, 2.0: 32, 3.0: 37, 5.0: 37, 8.0: 29}
    drawn = []

    def draw(scale):
        if scale not in right:
            raise Mistake(f"draw was asked for scale {scale!r}, which is not one of scales")
        drawn.append(scale)
        said = torch.where(torch.arange(40) < right[scale], labels, (labels + 1) % 4)
        return said.reshape(-1, 1, 1, 1).expand(-1, 3, 2, 2) / 4 + 0.01

    def recognise(images):
        return ((images[:, 0, 0, 0] - 0.01) * 4).round().long()

    got = student(draw, recognise, labels, list(scales))
    if got is None or got is Ellipsis:
        raise NotDone
    if not drawn:
        raise Mistake("draw was never called: the best scale has to be measured")
    got = round(float(got), 4)  # an accuracy may come in float32
    mistakes = {
        37 / 40: "this is the best accuracy; return the scale that reaches it",
        37.0: "this is the number of right answers; return the scale that reaches it",
        5.0: "scales 3 and 5 tie; take the smaller, which leaves more variety",
        1.0: "this is the least accurate scale: take the maximum",
        8.0: "this is the first scale of the list, not the most accurate",
    }
    if got != 3.0:
        raise Mistake(mistakes.get(got, f"scale {got:g} is not the most accurate one"))
    if missed := sorted(set(scales) - set(drawn)):
        raise Mistake(f"scale {missed[0]:g} was never tried: accuracy may fall and rise again")
    return "the most accurate scale, and the smaller of two that tie"
