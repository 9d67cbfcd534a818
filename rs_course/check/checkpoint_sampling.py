"""Exercises about a checkpoint's sampler.

Two ask for the lines of a latent sampler as a checkpoint needs them (guidance on a stacked batch, a DDIM step
from a velocity); the lesson on diffusion asks for their plain forms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rs_course.check.diffusion_basics import GUIDANCE, SCALES, two_levels
from rs_course.check.formulas import formula

if TYPE_CHECKING:
    from rs_course.check.core import Draws


@formula(
    hints=(
        "The UNet answered for 2N images at once. Which half was asked without the prompt?",
        "uncond, cond = output.chunk(2): as in the published pipelines, the unconditional half comes first.",
        "uncond + scale * (…), where scale 1 must give cond",
    ),
    takes="output scale",
    right="""
        o = output
        w = scale
        halves = o.chunk(2)[::-1]
        of_cond = w
        of_uncond = 1 - w
        answer = of_cond * halves[0] + of_uncond * halves[1]
    """,
    slips="""
        halves = o.chunk(2)  # the halves are swapped: the unconditional answers come first
        halves = (o[1::2], o[::2])  # neighbours were paired (output[::2], output[1::2]); the batch is two
          # blocks: chunk(2)
        halves = (o[::2], o[1::2])  # neighbours were paired, and swapped; the batch is two blocks, uncond
          # first: chunk(2)
        halves = (o.chunk(2)[1].flip(0), o.chunk(2)[0])  # the second half is in reverse order
        halves = o.chunk(2, dim=1)[::-1]  # the channels were split (dim=1); the two halves are halves of the
          # batch
        halves = (o[len(o) // 2:][:1], o[:1])  # only the first pair was used
        answer = o  # 2N answers came back; guidance makes one of each pair: split the batch with chunk(2)
    """
    + GUIDANCE,
    shapes="""
        o.shape  # 2N answers came back; guidance makes one of each pair: split the batch with chunk(2)
        o.shape[1:]  # this is a mean over the images; guidance makes one answer of each pair
    """,
    name="the guided answer",
    done="two answers become one, and scale 1 is the plain conditional model",
    trials=len(SCALES),
)
def guide_halves(random: Draws):
    """``student(output [2N,C,h,w], scale) -> [N,C,h,w]``; the unconditional half comes first."""
    n, *shape = random.sizes(4)
    return random.normal(2 * n, *shape), random.cycle(*SCALES)


@formula(
    hints=(
        "Two moves: what are x_0 and ε, given x_t and v? Then noise x_0 again, less.",
        "x_0 = √ᾱ_t x_t − √(1 − ᾱ_t) v and ε = √(1 − ᾱ_t) x_t + √ᾱ_t v. Then x_s is the closed form with "
        "ᾱ_s.",
        "a, s = bar_t ** 0.5, (1 - bar_t) ** 0.5; x0, eps = a * xt - s * v, …; bar_s ** 0.5 * x0 + …",
    ),
    takes="xt v alpha_bar_t alpha_bar_s",
    right="""
        x = xt
        t = alpha_bar_t
        s = alpha_bar_s
        a = t**0.5
        n = (1 - t)**0.5
        clean = a * x - n * v
        noise = n * x + a * v
        x0 = clean
        e = noise
        back = s**0.5 * x0 + (1 - s)**0.5 * e
        answer = back
    """,
    slips="""
        clean = (x - n * v) / a; noise = v  # v was treated as if it were ε; this checkpoint predicts velocity
        back = x0  # this is the predicted x_0; go back to level s with √ᾱ_s x_0 + √(1 − ᾱ_s) ε
        back = e  # this is the predicted noise ε; x_s is made of both
        back = s**0.5 * x0  # the noise term √(1 − ᾱ_s) ε is missing
        back = (1 - s)**0.5 * e  # the signal √ᾱ_s x_0 is missing
        back = t**0.5 * x0 + (1 - t)**0.5 * e  # you went back to level t, so nothing has changed; level s
          # needs ᾱ_s
        back = s**0.5 * x0 + (1 - t)**0.5 * e  # the noise comes back with √(1 − ᾱ_t); at level s it is √(1 −
          # ᾱ_s)
        back = t**0.5 * x0 + (1 - s)**0.5 * e  # x_0 comes back with √ᾱ_t; at level s it is √ᾱ_s
        noise = v  # v came back in ε's place: ε = √(1 − ᾱ_t) x_t + √ᾱ_t v
        clean = x  # x_t stands where the predicted x_0 belongs
        noise = x  # x_t came back in ε's place: ε = √(1 − ᾱ_t) x_t + √ᾱ_t v
        a = t; n = 1 - t; back = s * x0 + (1 - s) * e  # you used ᾱ and 1 − ᾱ where the formula has their
          # roots
        a = t; n = 1 - t  # x_0 and ε were made with ᾱ_t and 1 − ᾱ_t where their roots belong
        back = s * x0 + (1 - s) * e  # the roots go with x_0 and ε at level s; you used ᾱ_s and 1 − ᾱ_s
          # themselves
        a = t / 2; n = (1 - t) / 2; back = s / 2 * x0 + (1 - s) / 2 * e  # a ** 1 / 2 is a / 2, not the root:
          # write a ** 0.5
        n = 1 - t**0.5  # 1 − √ᾱ_t stands where √(1 − ᾱ_t) belongs
        back = s**0.5 * x0 + (1 - s**0.5) * e  # 1 − √ᾱ_s stands where √(1 − ᾱ_s) belongs
        back = s**0.5 * x0 + (1 - s) * e  # at level s the noise has 1 − ᾱ_s where √(1 − ᾱ_s) belongs
        back = s * x0 + (1 - s)**0.5 * e  # at level s the signal has ᾱ_s where √ᾱ_s belongs
        back = x0 + e  # neither term is scaled at level s
        back = s**0.5 * x0 + e  # the noise comes back unscaled; at level s it is √(1 − ᾱ_s) ε
        back = x0 + (1 - s)**0.5 * e  # x_0 comes back unscaled; at level s it is √ᾱ_s x_0
        clean = a * x + n * v  # the sign of v's term in x_0 is wrong: x_0 = √ᾱ_t x_t − √(1 − ᾱ_t) v
        noise = n * x - a * v  # the sign of v's term in ε is wrong: ε = √(1 − ᾱ_t) x_t + √ᾱ_t v
        noise = a * v - n * x  # the sign of x_t's term in ε is wrong: ε = √(1 − ᾱ_t) x_t + √ᾱ_t v
        clean = a * x + n * v; noise = n * x - a * v  # you turned the wrong way: t and s are swapped, or v's
          # sign is wrong in both x_0 and ε
        clean = n * x - a * v  # in x_0 the two roots are swapped
        noise = a * x + n * v  # in ε the two roots are swapped
        clean = (a * x - n * v) / a  # x_0 was divided by √ᾱ_t; a turn needs no division
        clean = a * x  # v's term in x_0 is missing
        noise = n * x  # v's term in ε is missing
        noise = a * v  # x_t's term in ε is missing
        clean = (x - n * v) / a  # x_0 is predicted as from ε, (x_t − √(1 − ᾱ_t) v) / √ᾱ_t; this network
          # answers with v
        back = s**0.5 * e + (1 - s)**0.5 * x0  # x_0 and ε are swapped: signal gets √ᾱ_s, noise √(1 − ᾱ_s)
        back = s**0.5 * x0 - (1 - s)**0.5 * e  # the noise at level s is subtracted; both terms are added
        answer = x  # x_0 and ε were made with ᾱ_s; x_t and v are at level t
        answer = v  # this is v itself
        answer = s**0.5 * v + (1 - s)**0.5 * x  # v was noised like an image
        clean = (a * x - n * v).clamp(-1, 1)  # the predicted x_0 was clipped to [-1, 1]; latents go beyond
    """,
    name="x_s",
    done="from velocity to x_0 and ε, and on to the less noisy level s",
)
def ddim_step(random: Draws):
    """``student(xt, v, alpha_bar_t, alpha_bar_s) -> x_s``: one deterministic step of a v-model."""
    return two_levels(random)


def _four_slopes(x, t, s, slope):
    h = s - t
    a = slope(x, t)
    b = slope(x + h * a / 2, t + h / 2)
    c = slope(x + h * b / 2, t + h / 2)
    return (a + 2 * b + 2 * c + slope(x + h * c, s)) / 6


@formula(
    hints=(
        "Try Euler's step first, and ask for the slope where it lands.",
        "Euler's point is x + (s − t) slope(x, t). Heun's step starts at x again, with the mean of both "
        "slopes.",
        "here = slope(x, t); there = slope(x + (s - t) * here, s); x + (s - t) * …",
    ),
    takes="x t s slope",
    right="""
        h = s - t
        here = slope(x, t)
        length = h
        trial = x + length * here
        there = slope(trial, s)
        mean = (here + there) / 2
        answer = x + h * mean
    """,
    slips="""
        mean = here  # this is Euler's step: the slope at its end was not asked
        mean = there  # only the slope at the end is used; Heun takes the mean of both
        mean = here + there  # the two slopes were added; take their mean
        mean = (here - there) / 2  # the slopes were subtracted; take their mean
        mean = (3 * here - there) / 2  # the end's slope has the wrong sign: take the mean of both
        mean = slope(x + h * here / 2, (t + s) / 2)  # this is the midpoint method: one slope, half way
        mean = (here + 2 * there) / 3  # the end's slope has weight 2/3; both have one half
        mean = (2 * here + there) / 3  # the first slope has weight 2/3; both have one half
        mean = here + there / 2  # brackets: the sum of both slopes is halved, (here + there) / 2
        mean = here / 2 + there  # only the first slope is halved; take the mean of both
        mean = (here * there).abs().sqrt()  # this is a geometric mean; add the slopes and halve
        mean = (here + slope(x + h * here / 2, (t + s) / 2)) / 2  # the second slope was asked half way; ask
          # it where Euler's step lands, at s
        mean = here / 4 + 3 * slope(x + 2 * h * here / 3, t + 2 * h / 3) / 4  # this is Ralston's method,
          # which asks at two thirds of the way; Heun's asks at the end
        mean = _four_slopes(x, t, s, slope)  # this is the Runge-Kutta method with four slopes; Heun's has two
        mean = (here + slope(x + h * (here + there) / 2, s)) / 2  # the slope at the end was asked a second
          # time, from the corrected point; Heun asks it once
        here = slope(x, s)  # the first slope was asked at time s; x is at time t
        here = slope(x, s); there = slope(trial, t)  # the two times are exchanged: the first slope is at t,
          # the second at s
        there = slope(trial, (t + s) / 2)  # the second slope was asked at the middle time; Euler's point is
          # at time s
        there = slope(trial, s - t)  # the second slope was asked at time s − t; Euler's point is at time s
        there = slope(trial, t + s)  # the second slope was asked at time t + s; Euler's point is at time s
        there = slope(here, s)  # the second slope was asked at the first slope; ask at a point, Euler's
        there = slope(length * here, s)  # x is missing in Euler's trial step; it is x + (s − t) slope
        there = slope(x, s)  # the second slope was asked at x; ask where Euler's step lands
        there = slope(trial, t)  # the second slope was asked at time t; Euler's point is at time s
        length = t - s  # Euler's trial step went the wrong way: it is x + (s − t) slope
        length = s  # Euler's trial step has the length s; it is s − t
        length = t  # Euler's trial step has the length t; it is s − t
        length = abs(h)  # Euler's trial step has lost its sign: it is s − t, whichever is larger
        length = 1  # Euler's trial step has the length 1; it is s − t
        length = h / 2  # Euler's trial step went half of the way; it is s − t long
        h = t - s  # the step goes the wrong way: its length is s − t
        h = abs(s - t)  # the step has lost its sign: it is s − t, whichever is larger
        h = s  # the step has the length s; it is s − t
        h = t  # the step has the length t; it is s − t
        h = (s - t) / 2  # both steps have half of the length s − t
        answer = x + h * here + h**2 * there / 2  # the slope at the end is no second derivative; take the
          # mean of both slopes
        answer = x + (here + h * there) / 2  # only the second slope is multiplied by s − t
        answer = x + (h * here + there) / 2  # only the first slope is multiplied by s − t
        answer = x + h * here + there / 2  # brackets: s − t multiplies the mean of both slopes
        answer = (trial + there) / 2  # a point and a slope are averaged; take the mean of two slopes
        answer = (x + h * mean) / 2  # the whole is halved; only the sum of the slopes is
        answer = x + mean  # the mean slope is not multiplied by s − t
        answer = x - h * mean  # the step is subtracted; it is added, with s − t
        answer = trial + h * mean  # the step starts at Euler's point; it starts at x
        answer = trial  # this is Euler's step: the slope at its end was not asked
        answer = h * mean  # x itself is missing
        answer = mean  # this is the mean slope; x_s is x plus s − t times it
        answer = x + h * mean / 2  # the slopes were halved twice
        answer = (x + trial) / 2  # this is half of Euler's step
    """,
    name="x at s",
    done="two slopes for one step, and an error that falls with the square of the step",
)
def heun_step(random: Draws):
    """``student(x [N, D], t, s, slope) -> x at s``, where ``slope(x, t)`` is dx/dt."""
    turn, pull = random.uniform(0.5, 1.5), random.uniform(0.2, 0.9)

    def slope(x, t):
        return pull * x.sin() * (1 + t) - turn * t**2 * x.flip(-1)

    t, s = random.cycle((0.9, 0.4), (0.2, 0.7), (1.3, 1.0), (0.6, 0.1))
    return random.normal(*random.sizes(2)), t, s, slope
