"""Every exercise of notebook 02: the right answer passes, and each typical mistake is called by its name."""

import pytest
import torch

from rs_course import check, checkpoints
from rs_course.check import checkpoint_sampling as exercises


def halves(output, scale):
    uncond, cond = output.chunk(2)
    return uncond + scale * (cond - uncond)


def ddim(xt, v, t, s, *, x0=(1, -1), eps=(1, 1), root=0.5, root_s=0.5, keep=None):
    a, n, A, N = t**root, (1 - t) ** root, s**root_s, (1 - s) ** root_s
    clean, noise = x0[0] * a * xt + x0[1] * n * v, eps[0] * n * xt + eps[1] * a * v
    return keep(clean, noise, A, N) if keep else A * clean + N * noise


def step(**changes):
    return lambda *arguments: ddim(*arguments, **changes)


def row(*values, times=1000, **changed):
    known = {
        "lon": lambda x: (x + 180) / 360,
        "lat": lambda x: (x + 90) / 180,
        "gsd": lambda x: x,
        "cloud_cover": lambda x: x,
        "year": lambda x: (x - 1980) / 120,
        "month": lambda x: x / 12,
        "day": lambda x: x / 31,
    } | changed
    pairs = zip(known.values(), values, strict=True)
    return [0.0 if x is None else times * scale(x) for scale, x in pairs]


def scaled(**changed):
    return lambda *values: row(*values, **changed)


def best(draw, recognise, labels, scales, *, key=lambda scale, right: (right, -scale), back=None):
    right = {scale: (recognise(draw(scale)) == labels).float().mean().item() for scale in scales}
    chosen = max(scales, key=lambda scale: key(scale, right[scale]))
    return right[chosen] if back else chosen


def chosen(**changes):
    return lambda *arguments: best(*arguments, **changes)


def hill_climb(draw, recognise, labels, scales):
    accuracy = lambda s: (recognise(draw(s)) == labels).sum()  # noqa: E731
    return 3.0 if accuracy(3.0) > accuracy(2.0) else 2.0


RIGHT = {"guide_halves": halves, "ddim_step": ddim, "normalise_metadata": row, "best_guidance": best}
MUTANTS = [
    ("guide_halves", lambda o, w: halves(o.flip(0), w).flip(0), "halves are swapped"),
    ("guide_halves", lambda o, w: o[::2] + w * (o[1::2] - o[::2]), "neighbours were paired"),
    ("guide_halves", lambda o, w: o, "2N answers came back"),
    ("guide_halves", lambda o, w: halves(o, w + 1), "w = scale − 1"),
    ("guide_halves", lambda o, w: halves(o, -w), "sign is wrong"),
    ("guide_halves", lambda o, w: w * (o[3:] - o[:3]), "only the direction"),
    ("guide_halves", lambda o, w: w * o[3:], "uncond is forgotten"),
    ("guide_halves", lambda o, w: o[3:], "whatever the scale"),
    ("guide_halves", lambda o, w: o.sub_(1), "in place"),
    (
        "ddim_step",
        lambda xt, v, t, s: s**0.5 * (xt - (1 - t) ** 0.5 * v) / t**0.5 + (1 - s) ** 0.5 * v,
        "as if it were ε",
    ),
    ("ddim_step", step(keep=lambda clean, noise, A, N: clean), "this is the predicted x_0"),
    ("ddim_step", step(keep=lambda clean, noise, A, N: A * clean), "noise term √(1 − ᾱ_s) ε is missing"),
    ("ddim_step", lambda xt, v, t, s: ddim(xt, v, t, t), "nothing has changed"),
    ("ddim_step", lambda xt, v, t, s: ddim(xt, v, t, s, eps=(0, 1 / t**0.5)), "v came back in ε's place"),
    ("ddim_step", step(root=1, root_s=1), "where the formula has their roots"),
    ("ddim_step", step(root_s=1), "ᾱ_s and 1 − ᾱ_s themselves"),
    ("ddim_step", step(x0=(1, 1)), "sign of v's term in x_0"),
    ("ddim_step", step(eps=(1, -1)), "sign of v's term in ε"),
    ("ddim_step", step(keep=lambda clean, noise, A, N: A * noise + N * clean), "x_0 and ε are swapped"),
    ("ddim_step", step(keep=lambda clean, noise, A, N: A * clean - N * noise), "both terms are added"),
    ("ddim_step", lambda xt, v, t, s: ddim(xt, v, s, t), "t and s are swapped"),
    ("normalise_metadata", scaled(times=1), "0 to 1000"),
    (
        "normalise_metadata",
        scaled(lon=lambda x: x / 360, lat=lambda x: x / 180, year=lambda x: x / 120),
        "offsets are missing",
    ),
    ("normalise_metadata", scaled(lon=lambda x: x / 360), "longitude's offset"),
    ("normalise_metadata", scaled(lat=lambda x: x / 180), "latitude's offset"),
    ("normalise_metadata", scaled(year=lambda x: x / 120), "counts from 1980"),
    ("normalise_metadata", scaled(year=lambda x: x - 1980), "not divided by its span"),
    ("normalise_metadata", scaled(year=lambda x: (x - 1980) / 44), "that is 120 years"),
    (
        "normalise_metadata",
        lambda lon, lat, *rest: [row(lon, lat, *rest)[k] for k in (1, 0, 2, 3, 4, 5, 6)],
        "swapped",
    ),
    ("normalise_metadata", scaled(lat=lambda x: (x + 90) / 360), "latitude 180"),
    ("normalise_metadata", scaled(cloud_cover=lambda x: x / 100), "already a fraction"),
    ("normalise_metadata", scaled(month=lambda x: (x - 1) / 12), "months count from 1"),
    ("normalise_metadata", scaled(day=lambda x: (x - 1) / 31), "days count from 1"),
    ("normalise_metadata", scaled(day=lambda x: x / 30), "divided by 31"),
    ("normalise_metadata", scaled(gsd=lambda x: x / 5), "without an upper bound"),
    ("normalise_metadata", scaled(gsd=lambda x: min(x, 1)), "nothing is clipped"),
    (
        "normalise_metadata",
        lambda *values: row(*[0 if value is None else value for value in values]),
        "after normalisation, not before",
    ),
    ("normalise_metadata", lambda *values: row(*values)[:6], "seven numbers are needed"),
    ("best_guidance", lambda *a: 3.0, "has to be measured"),
    ("best_guidance", chosen(back="accuracy"), "this is the best accuracy"),
    ("best_guidance", chosen(key=lambda scale, right: (right, scale)), "take the smaller"),
    ("best_guidance", chosen(key=lambda scale, right: -right), "least accurate"),
    ("best_guidance", chosen(key=lambda scale, right: scale), "first scale of the list"),
    ("best_guidance", lambda draw, *rest: draw(2.5), "not one of scales"),
    ("best_guidance", hill_climb, "was never tried"),
    ("best_guidance", chosen(key=lambda scale, right: scale == 2), "scale 2 is not the most accurate"),
]


@pytest.mark.parametrize("name", RIGHT)
def test_right_answer_passes(name):
    verdict = getattr(exercises, name).judge(RIGHT[name])
    assert verdict, verdict


@pytest.mark.parametrize(
    ("name", "mutant", "message"), MUTANTS, ids=lambda value: value if isinstance(value, str) else ""
)
def test_mistake_is_named(name, mutant, message):
    verdict = getattr(exercises, name).judge(mutant)
    assert verdict.status == "wrong"
    assert message in verdict.message, verdict


@pytest.mark.parametrize("name", RIGHT)
def test_stub_is_not_done_and_has_three_hints(name, capsys):
    assert getattr(exercises, name).judge(lambda *arguments: ...).status == "not done"
    for level in (1, 2, 3):
        check.hint(f"checkpoint_sampling.{name}", level)
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_the_package_itself_passes():
    verdict = exercises.normalise_metadata.judge(checkpoints.normalize_metadata)
    assert verdict, verdict
    assert torch.equal(torch.tensor(row(8.4, 49.0, 10, 0, 2020, 7, 1))[2:4], torch.tensor([10_000.0, 0.0]))
