"""Exercises of the lesson on control: inpainting by putting back, and the size of a response."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rs_course.check.formulas import formula

if TYPE_CHECKING:
    from rs_course.check.core import Draws


@formula(
    hints=(
        "Inside the mask the drawn latents stay. Outside it the known one comes back: how noisy?",
        "Both parts of x_s must be as noisy as level s: the known part is √ᾱ_s x_0 + √(1 − ᾱ_s) ε.",
        "mask * drawn + (1 - mask) * (alpha_bar_s ** 0.5 * known + …)",
    ),
    takes="drawn known eps mask alpha_bar_s",
    right="""
        m = mask
        a = alpha_bar_s
        signal = a**0.5
        noise = (1 - a)**0.5
        level = signal * known + noise * eps
        inside = drawn
        answer = m * inside + (1 - m) * level
    """,
    slips="""
        m = 1 - mask  # mask is 1 where the generator draws; you put its latents outside and the known picture
          # inside
        level = known  # the known picture is put back clean; at level s it needs the noise of level s
        level = signal * known  # the noise of the known part is missing: √(1 − ᾱ_s) ε
        level = noise * eps  # the known picture is missing: √ᾱ_s x_0
        level = eps  # outside the mask there is only noise; the known picture is missing
        level = known + noise * eps  # the known picture is not scaled: it needs √ᾱ_s
        level = signal * known + eps  # the noise is not scaled: it needs √(1 − ᾱ_s)
        level = known + eps  # neither the known picture nor the noise is scaled to level s
        signal = a; noise = 1 - a  # you used ᾱ_s and 1 − ᾱ_s where the formula has their roots
        signal = a  # the known picture is multiplied by ᾱ_s where the formula has √ᾱ_s
        noise = 1 - a  # the noise is multiplied by 1 − ᾱ_s where the formula has √(1 − ᾱ_s)
        noise = 1 - a**0.5  # the noise is multiplied by 1 − √ᾱ_s where the formula has √(1 − ᾱ_s)
        signal = (1 - a)**0.5; noise = a**0.5  # the two roots are swapped
        signal = a / 2; noise = (1 - a) / 2  # a ** 1 / 2 is a / 2, not the root: write a ** 0.5
        noise = -(1 - a)**0.5  # the noise is subtracted; the formula adds it
        inside = signal * drawn + noise * eps  # the drawn latents were noised once more; they are at level s
          # already
        inside = signal * drawn  # the drawn latents were scaled; they are at level s already
        answer = drawn  # nothing was put back: these are the drawn latents
        answer = level  # the mask was not used: this is the known picture everywhere
        answer = drawn + (1 - m) * level  # outside the mask the drawn latents are still there, below what you
          # put back
        answer = m * drawn + level  # inside the mask the known picture is there too
        answer = m * drawn  # outside the mask everything is 0; the known picture is missing
        answer = (1 - m) * level  # inside the mask everything is 0; the drawn latents are missing
        answer = (drawn + level) / 2  # the two were averaged everywhere; the mask decides, pixel by pixel
    """,
    name="x_s",
    done="inside the mask what was drawn, outside it the known picture, both at level s",
)
def put_back(random: Draws):
    """``student(drawn, known [N,C,h,w], eps, mask [N,1,h,w], alpha_bar_s) -> x_s``; the mask is 0 or 1."""
    n, *shape = random.sizes(4)
    drawn, known, eps = (random.normal(n, *shape) for _ in range(3))
    mask = (random.uniform(0, 1, n, 1, *shape[1:]) > random.uniform(0.3, 0.7)).float()
    return drawn, known, eps, mask, random.uniform(0.1, 0.9)


@formula(
    hints=(
        "Two questions: do the curves go up and down together, and how far does the second go when the first "
        "goes by 1?",
        "With a and b, the curves minus their means: r = mean(ab) / √(mean(a²) mean(b²)); the slope of the "
        "straight line through the points (true, drawn) is mean(ab) / mean(a²).",
        "a, b = true - true.mean(), drawn - drawn.mean(); return (a * b).mean() / …, (a * b).mean() / …",
    ),
    takes="true drawn",
    right="""
        a = true - true.mean()
        b = drawn - drawn.mean()
        both = (a * b).mean()
        of_true = (a * a).mean()
        of_drawn = (b * b).mean()
        r = both / (of_true * of_drawn)**0.5
        slope = both / of_true
        answer = torch.stack([r, slope])
    """,
    slips="""
        answer = torch.stack([slope, r])  # the two numbers are swapped: r first, then the slope
        a = true; b = drawn  # the means were not taken off; both measures are about changes
        a = true  # the mean of the true curve was not taken off everywhere
        slope = both / of_drawn  # this is the slope of the true curve over the drawn one; divide by the true
          # curve's variance
        slope = (of_drawn / of_true)**0.5  # a ratio of spreads: noise alone has a spread too; the slope
          # asks how much of it follows the true curve
        slope = of_drawn / of_true  # a ratio of variances; the slope is mean(ab) / mean(a²)
        slope = (drawn.max() - drawn.min()) / (true.max() - true.min())  # a ratio of ranges: two noisy
          # extremes decide it; use the slope, which asks every point
        slope = drawn.mean() / true.mean()  # a ratio of means says nothing about change
        slope = (drawn / true).mean()  # a mean of ratios says nothing about change
        slope = both  # the slope is not divided by the true curve's variance
        slope = both / of_true**0.5  # the slope was divided by the standard deviation; divide by the variance
        slope = r  # r stands in the slope's place; r has no size
        slope = ((drawn[-1] - drawn[0]) / (true[-1] - true[0]))  # only the first and last point were used
        slope = both / of_true * (len(a) - 1) / len(a)  # one mean divides by K, the other by K − 1; use one
        r = both  # r is not divided by the two standard deviations
        r = both / (of_true * of_drawn)  # the root in r is missing: divide by √(mean(a²) mean(b²))
        r = both**2 / (of_true * of_drawn)  # this is r²
        r = abs(both) / (of_true * of_drawn)**0.5  # the sign of r is lost
        r = both / of_true  # the slope stands in r's place
        r = torch.sign(a * b).mean()  # r is not how often the signs agree
        answer = r  # this is r alone; return the slope as well
        answer = slope  # this is the slope alone; return r as well
    """,
    name="(r, slope)",
    done="r says whether the curves agree in shape, the slope how much of the true change is there",
)
def response(random: Draws):
    """``student(true [K], drawn [K]) -> (r, slope)``: correlation, and drawn change per true change."""
    (count,) = random.sizes(1, low=5)
    true = random.normal(count) + 2
    sign = random.cycle(0.4, -0.9, 1.3, -0.5)
    return true, sign * true + 0.2 * random.normal(count) + 1
