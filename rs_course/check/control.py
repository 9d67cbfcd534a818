"""Exercises of the lesson on control: DiffusionSat's numbers, putting back, and the size of a response."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from rs_course.check.core import Mistake
from rs_course.check.formulas import formula

if TYPE_CHECKING:
    from rs_course.check.core import Draws


_PLACES = (
    (8.4, -27.5, 0.5, 0.2, 2021, 3, 17),
    (-122.3, 47.6, 10.0, 0.75, 1994, 11, 30),
    (0.0, 51.5, 1.2, 0.0, 2016, 7, 1),  # on the Greenwich meridian, and without a cloud
    (36.8, 0.0, 30.0, 1.0, 1980, 12, 31),
    (139.7, 35.7, None, 0.4, None, 5, 8),
    (None, None, 3.7, None, 2040, None, None),
    (-60.0, -3.1, 80.0, 0.1, 1973, 8, 9),  # a year before the first
)


def _seven(raw, want, place):
    got = raw.tolist() if hasattr(raw, "tolist") else raw
    if not isinstance(got, list | tuple) or len(got) != 7:
        count = f"{len(got)} came back" if isinstance(got, list | tuple) else f"a {type(got).__name__} did"
        raise Mistake(f"seven numbers are needed, one per field; {count}")
    if open_fields := [k for k, number in enumerate(got) if number is None]:
        raise Mistake(f"number {open_fields[0] + 1} is None: an unknown field becomes 0")


@formula(
    hints=(
        "Every field becomes a number of the timestep's range, 0 to 1000. Which fields do not start at 0?",
        "Longitude starts at −180, latitude at −90, the year at 1980; they span 360, 180 and 120. A month is "
        "out of 12, a day out of 31; gsd and cloud cover are multiplied by 1000 as they are.",
        "[(lon + 180) / 360, (lat + 90) / 180, gsd, cloud_cover, (year - 1980) / 120, …], times 1000, and 0 "
        "for None",
    ),
    takes="lon lat gsd cloud_cover year month day",
    right="""
        cloud = cloud_cover
        given = [lon, lat, gsd, cloud_cover, year, month, day]
        unknown = [x is None for x in given]
        filled = [x or 0 for x in given]
        lon = filled[0]
        lat = filled[1]
        gsd = filled[2]
        cloud = filled[3]
        year = filled[4]
        month = filled[5]
        day = filled[6]
        of_lon = (lon + 180) / 360
        of_lat = (lat + 90) / 180
        of_gsd = gsd
        of_cloud = cloud
        of_year = (year - 1980) / 120
        of_month = month / 12
        of_day = day / 31
        times = 1000
        gap = 0
        parts = [of_lon, of_lat, of_gsd, of_cloud, of_year, of_month, of_day]
        row = [gap if unknown[k] else times * parts[k] for k in range(7)]
        after = row
        order = range(7)
        answer = [after[k] for k in order]
    """,
    slips="""
        times = 1  # the numbers run from 0 to 1; the sinusoid that embeds them is the timestep's, 0 to 1000
        times = 100  # the numbers run from 0 to 100; the sinusoid that embeds them is the timestep's, 0 to
          # 1000
        of_lon = lon / 360; of_lat = lat / 180; of_year = year / 120  # the offsets are missing: longitude
          # starts at −180, latitude at −90, the year at 1980
        of_lon = lon / 360  # longitude's offset is missing: it starts at −180
        of_lat = lat / 180  # latitude's offset is missing: it starts at −90
        of_lon = lon / 360; of_lat = lat / 180  # both offsets are missing: longitude starts at −180, latitude
          # at −90
        of_lon = (lon - 180) / 360  # longitude's offset has the wrong sign: add 180
        of_lat = (lat - 90) / 180  # latitude's offset has the wrong sign: add 90
        of_lon = (lon - 180) / 360; of_lat = (lat - 90) / 180  # both offsets have the wrong sign: add 180 to
          # the longitude and 90 to the latitude
        of_lon = (180 - lon) / 360  # longitude runs the wrong way: west is −180 and becomes 0
        of_lat = (90 - lat) / 180  # latitude runs the wrong way: the South Pole is −90 and becomes 0
        of_lon = (lon + 180) / 180  # longitude is divided by 180; it spans 360 degrees
        of_lat = (lat + 90) / 360  # longitude spans 360 degrees, latitude 180
        of_lat = (lat + 90) / 90  # latitude is divided by 90; it spans 180 degrees
        of_lat = (lat + 180) / 180  # latitude's offset is 90, not 180
        of_lat = (lat + 180) / 360  # latitude was treated like longitude: it starts at −90 and spans 180
        order = (1, 0, 2, 3, 4, 5, 6)  # longitude and latitude are swapped
        lon = filled[1]; lat = filled[0]  # longitude and latitude are swapped: each is scaled as the other
        order = (0, 1, 3, 2, 4, 5, 6)  # cloud cover and gsd are swapped
        order = (0, 1, 2, 3, 4, 6, 5)  # month and day are swapped
        order = (0, 1, 2, 3, 6, 5, 4)  # year and day are swapped
        of_year = year / 120  # the year is counted from 0; the model counts from 1980
        of_year = year / 2100  # the year is divided by 2100; it is (year − 1980) / 120
        of_year = year - 1980  # the year is not divided by its span, 2100 − 1980 = 120
        of_year = (year - 1980) / 100  # the year's span is 1980 to 2100, that is 120 years; you took 100
        of_year = (year - 1980) / 44  # the year's span is 1980 to 2100, that is 120 years; you took 44
        of_year = (year - 2000) / 120  # the year is counted from 2000; the model counts from 1980
        of_year = (year - 1970) / 120  # the year is counted from 1970; the model counts from 1980
        of_year = (year + 1980) / 120  # the year's offset has the wrong sign: subtract 1980
        of_cloud = cloud / 100  # the cloud cover is already a fraction; do not divide it by 100
        of_cloud = 100 * cloud  # the cloud cover is already a fraction; do not multiply it by 100
        of_cloud = 1 - cloud  # this is the clear share; the model takes the cloudy one
        of_month = (month - 1) / 12  # months count from 1 and are divided by 12 as they are
        of_month = (month - 1) / 11  # months count from 1 and are divided by 12; you took (month − 1) / 11
        of_month = month  # the month is not divided by 12
        of_month = month / 31  # the month is divided by 31; that is for days
        of_day = (day - 1) / 31  # days count from 1 and are divided by 31 as they are
        of_day = (day - 1) / 30  # days count from 1 and are divided by 31; you took (day − 1) / 30
        of_day = day / 30  # a day is divided by 31 whatever the month
        of_day = day / 365  # a day of the month is divided by 31, not by 365
        of_day = day  # the day is not divided by 31
        of_day = day / 12  # the day is divided by 12; that is for months
        of_gsd = gsd / 5  # metres per pixel are multiplied by 1000 as they are; you divided by 5
        of_gsd = gsd / 10  # metres per pixel are multiplied by 1000 as they are; you divided by 10
        of_gsd = gsd / 100  # metres per pixel are multiplied by 1000 as they are; you divided by 100
        of_gsd = min(gsd, 1)  # nothing is clipped, even above 1000: 10 m per pixel are 10,000
        of_gsd = 1 / (gsd or 1)  # metres per pixel go in as they are; you took their reciprocal
        of_gsd = gsd / 1000  # metres per pixel are multiplied by 1000 like the others
        after = [min(max(x, 0), 1000) for x in row]  # everything is clipped to 0 … 1000; nothing may be: 10 m
          # per pixel are 10,000
        after = [max(x, 0) for x in row]  # negative numbers became 0; nothing may be clipped: a year before
          # 1980 is negative
        after = [min(x, 1000) for x in row]  # the numbers are cut at 1000; nothing may be clipped: 10 m per
          # pixel are 10,000
        of_year = abs(year - 1980) / 120  # the year has lost its sign: one before 1980 is negative
        unknown = [x is None or k == 4 and x < 1980 for k, x in enumerate(given)]  # a year before 1980 became
          # 0; it is known, and negative
        after = [round(x) for x in row]  # the numbers are rounded; they are real numbers
        after = [int(x) for x in row]  # the decimals are cut off; they are real numbers
        unknown = 7 * [False]  # an unknown field must become 0 after normalisation, not before
        unknown = [not x for x in given]  # a value of 0 is not unknown: ask `is None`, not `not x`
        gap = -1.0  # an unknown field must become 0, not −1
        gap = 500.0  # an unknown field must become 0, not the middle of the range
        gap = 1000.0  # an unknown field must become 0, not 1000
        gap = float('nan')  # an unknown field must become 0, not NaN
    """,
    name="the row of seven numbers",
    done="seven numbers as DiffusionSat reads them, unknown fields at 0",
    trials=len(_PLACES),
    tol=1e-06,
    look=_seven,
)
def normalise_metadata(random: Draws):
    """``student(lon, lat, gsd, cloud_cover, year, month, day) -> seven numbers``; ``None`` becomes 0."""
    return random.cycle(*_PLACES)


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


def _rank_correlation(one, other):
    ranks = torch.stack([x.argsort().argsort().double() for x in (one, other)])
    return torch.corrcoef(ranks)[0, 1]


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
        n = len(true)
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
        slope = (true * drawn).mean() / (true * true).mean()  # the straight line was forced through the
          # origin; take the means off first
        slope = drawn.mean() - both / of_true * true.mean()  # this is the line's intercept in the slope's
          # place
        slope = r * of_drawn / of_true  # r was multiplied by the ratio of variances; it is that of the
          # standard deviations, drawn over true
        slope = both / (of_true * of_drawn)  # the slope was divided by both variances; divide by the true
          # curve's
        slope = abs(both) / of_true  # the sign of the slope is lost
        slope = torch.atan(both / of_true)  # this is the angle of the line; the slope is its tangent
        slope = 1 - both / of_true  # this is one minus the slope
        slope = both / of_true - 1  # this is the slope minus one
        slope = both / b.abs().mean()  # the slope was divided by a mean absolute deviation; divide by the
          # true curve's variance
        slope = (b.diff() * a.diff()).mean() / a.diff().square().mean()  # the slope was taken of the steps
          # from one point to the next; take it of the points
        slope = (b.diff() / a.diff()).mean()  # the mean of the steepness between neighbours; noise decides
          # it, so use the straight line through all points
        slope = (b.diff() / a.diff()).median()  # the median of the steepness between neighbours; use the
          # straight line through all points
        slope = both / of_true * n  # a sum was divided by a mean in the slope
        slope = both / of_true / n  # a mean was divided by a sum in the slope
        slope = both / of_true * n / (n - 1)  # one mean divides by K, the other by K − 1; use one
        r = both / (of_true * of_drawn)**0.5 * (n - 1) / n; slope = both / of_true * (n - 1) / n  # in r and
          # slope one mean divides by K, the other by K − 1; use one
        r = both / (of_true * of_drawn)**0.5 * n / (n - 1); slope = both / of_true * n / (n - 1)  # in r and
          # slope one mean divides by K − 1, the other by K; use one
        r = both / (of_true * of_drawn)**0.5 * (n - 1) / n  # in r one mean divides by K, the standard
          # deviations by K − 1; use one
        r = both / (of_true * of_drawn)**0.5 * n / (n - 1)  # in r the mean divides by K − 1, the
          # standard deviations by K; use one
        r = both / (of_true * of_drawn)**0.5 * n  # a sum was divided by means in r
        r = both / (of_true * of_drawn)**0.5 / n  # a mean was divided by sums in r
        r = _rank_correlation(true, drawn)  # r was computed from ranks (Spearman); use the values (Pearson)
        r = (true * drawn).mean() / ((true * true).mean() * (drawn * drawn).mean())**0.5  # this is the cosine
          # in r's place; take the means off first
        r = both / (of_true + of_drawn) * 2  # r was divided by the mean of the variances; take the root of
          # their product
        r = both / max(of_true, of_drawn)  # r was divided by the larger variance; take the root of the
          # product of both
        r = (a.diff() * b.diff()).mean() / (a.diff().square().mean() * b.diff().square().mean())**0.5  # r was
          # taken of the steps from one point to the next; take it of the points
        r = 1 - both / (of_true * of_drawn)**0.5  # this is one minus r
        slope = r  # r stands in the slope's place; r has no size
        slope = ((drawn[-1] - drawn[0]) / (true[-1] - true[0]))  # only the first and last point were used
        slope = both / of_true * (n - 1) / n  # one mean divides by K, the other by K − 1; use one
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
