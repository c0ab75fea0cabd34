"""The mean of a bounded quantity: values and how often each was seen in, exact tails and bounds of the mean out.

Gaffke, 2005, "Three test statistics for a nonparametric one-sided hypothesis on the mean of a nonnegative variable"
(Mathematical Methods of Statistics 14); Learned-Miller and Thomas, 2019 (arXiv 1905.06208), for the bound that follows:
weigh the n observations, and one more at the worst possible value, by a Dirichlet(1, …, 1), and take the quantile of
the weighted mean. For values of 0 and 1 this is Clopper and Pearson's exact bound (1934); for many observations it is
the mean's normal bound. It asks nothing of the distribution but its range. That it never errs more often than stated is
proven in special cases and conjectured in all; no exception is known, and our tests look for one. Normal and Student
bounds do err more often where an error is rare, or where a few problems are hopeless and were not drawn.

Shapes: R rows (data sets), V values, Y nodes of the integral.
"""

import math
from collections.abc import Sequence
from functools import cache, lru_cache

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import betaincinv, ndtri

Floats = npt.NDArray[np.float64]

_CLOSE = 1e-12
"""How near the bound is found."""
_CHANCES = (1e-300, 1 - 1e-16)
"""Chances beyond these are taken for these, since their normal quantiles are endless."""
_NEWTONS, _NEAR = 50, 0.1
"""Steps to the saddle point at most, and the length of one that is the last. Three or four are usual."""
_AT_ONCE = 100_000
"""Rows x nodes x values of the integral."""
_REACH, _STEP = 9.0, 0.15
"""How far the integral goes, and its steps, in units that stretch like sinh. With these a tail is right to a part in
100,000, and nearly always to one in ten million; where thousands of values lie a millionth off the mean, to one in
10,000."""
_STRAIGHT = 60.0
"""How many times as far as it is wide at the saddle point the integral's way goes before it no longer bends."""


def chance_below(values_V: Floats, counts_RV: Floats, at: float) -> Floats:
    """For every row, P(weighted mean < at) where the values weigh Dirichlet(counts) in it; counts of 0 are left out.

    The weighted mean is below `at` where Q = sum (value - at) * Gamma(count) is negative. That chance is the integral
    of M(s) / -s upwards through the saddle point, M(s) = prod (1 - s (value - at))^-count (Lugannani and Rice, 1980,
    Advances in Applied Probability 12). Raises nothing.
    """
    away_V = values_V - at
    found_R = np.zeros(len(counts_RV))
    some_RV = counts_RV > 0
    lowest_R = np.where(some_RV, away_V, np.inf).min(axis=1)
    highest_R = np.where(some_RV, away_V, -np.inf).max(axis=1)
    found_R[(lowest_R < 0) & (highest_R <= 0)] = 1.0
    open_R = (lowest_R < 0) & (highest_R > 0)
    below_R = counts_RV @ away_V > 0  # the smaller tail is worked out: that below `at`, or that above
    for below in (True, False):
        rows_R = open_R & (below_R == below)
        if rows_R.any():
            sign = 1.0 if below else -1.0
            edge_R = (lowest_R if below else -highest_R)[rows_R]
            tail_R = _negative(away_V * sign, counts_RV[rows_R], edge_R)
            found_R[rows_R] = tail_R if below else 1 - tail_R
    return found_R


def _negative(away_V: Floats, counts_RV: Floats, lowest_R: Floats) -> Floats:
    """P(sum away * Gamma(count) < 0) where the sum's mean is positive and `lowest_R` is the least `away` seen.

    The way up leaves the saddle point as that of steepest descent does, so that the integrand hardly swings, and ends
    straight up, so that it comes near no singularity; these all lie on the real line.
    """
    away_RV = np.where(counts_RV > 0, away_V, 0.0)
    saddle_R1 = _saddle(away_RV, counts_RV, lowest_R)[:, None]
    turned_RV = 1 - saddle_R1 * away_RV
    scaled_RV = away_RV / turned_RV
    second_R = (counts_RV * scaled_RV**2).sum(axis=1) + saddle_R1[:, 0] ** -2
    third_R = 2 * (counts_RV * scaled_RV**3).sum(axis=1) - 2 * saddle_R1[:, 0] ** -3
    begin_R1 = (counts_RV * np.log(turned_RV)).sum(axis=1)[:, None]
    wide_R1 = (1 / np.sqrt(second_R))[:, None]
    bend_R1 = (third_R / (3 * second_R**2))[:, None]  # at most 2/3 as large as wide
    u_Y = np.arange(0, _REACH, _STEP)
    slowed_Y = np.tanh((np.cosh(u_Y) - 1) / _STRAIGHT)
    side_RY, height_RY = bend_R1 * slowed_Y * _STRAIGHT, wide_R1 * np.sinh(u_Y)
    shrunk_RY, phase_RY = _along(side_RY, height_RY, scaled_RV, counts_RV)
    s_RY = saddle_R1 + side_RY + 1j * height_RY
    ds_RY = bend_R1 * np.sinh(u_Y) * (1 - slowed_Y**2) + 1j * wide_R1 * np.cosh(u_Y)
    whole_RY = np.exp(-begin_R1 - shrunk_RY + 1j * phase_RY) / s_RY * ds_RY * np.where(u_Y == 0, _STEP / 2, _STEP)
    tail_R: Floats = -whole_RY.imag.sum(axis=1) / math.pi
    return np.clip(tail_R, 0.0, 1.0)


def _along(side_RY: Floats, height_RY: Floats, scaled_RV: Floats, counts_RV: Floats) -> tuple[Floats, Floats]:
    """How much smaller M is there than at the saddle point, as a logarithm, and its phase: of sum count * log(1 - (side
    + i height) * scaled) the real part and the negative imaginary one. A few rows at a time, to stay in the cache."""
    shrunk_RY, phase_RY = np.empty_like(height_RY), np.empty_like(height_RY)
    rows = max(1, _AT_ONCE // (height_RY.shape[1] * scaled_RV.shape[1]))
    for at in range(0, len(height_RY), rows):
        few = slice(at, at + rows)
        real_RYV = 1 - side_RY[few, :, None] * scaled_RV[few, None, :]
        imag_RYV = height_RY[few, :, None] * scaled_RV[few, None, :]
        counts_RV1 = counts_RV[few, :, None]
        shrunk_RY[few] = (np.log(real_RYV**2 + imag_RYV**2) @ counts_RV1)[..., 0] / 2
        phase_RY[few] = (np.arctan2(imag_RYV, real_RYV) @ counts_RV1)[..., 0]
    return shrunk_RY, phase_RY


def _saddle(away_RV: Floats, counts_RV: Floats, lowest_R: Floats) -> Floats:
    """Where log M(s) - log |s| is least between 1 / lowest and 0; near enough is enough.

    That function is self-concordant for counts of 1 or more, so that Newton's steps, each divided by one more than its
    length, never leave the range (Nesterov and Nemirovskii, 1994, section 2.2). They begin where the least would be of
    a normal quantity.
    """
    mean_R, variance_R = (counts_RV * away_RV).sum(axis=1), (counts_RV * away_RV**2).sum(axis=1)
    saddle_R: Floats = -(mean_R + np.sqrt(mean_R**2 + 4 * variance_R)) / (2 * variance_R)
    saddle_R = np.maximum(saddle_R, 0.9 / lowest_R)
    for _ in range(_NEWTONS):
        scaled_RV = away_RV / (1 - saddle_R[:, None] * away_RV)
        weighed_RV = counts_RV * scaled_RV
        slope_R = weighed_RV.sum(axis=1) - 1 / saddle_R
        bend_R = (weighed_RV * scaled_RV).sum(axis=1) + saddle_R**-2
        length_R = np.abs(slope_R) / np.sqrt(bend_R)
        saddle_R = saddle_R - slope_R / bend_R / (1 + length_R)
        if (length_R < _NEAR).all():
            break
    return saddle_R


def lower_bound(observed: Sequence[float], confidence: float, worst: float = 0.0) -> float:
    """The one-sided lower bound of the mean of what is never below `worst`, at this confidence (above 0, at most 1). An
    upper bound is that of the negatives. Raises ValueError for nothing observed, or for a value below `worst`."""
    if not observed:
        raise ValueError("there is no problem to take the mean over")
    if min(observed) < worst:
        raise ValueError(f"{min(observed)} was observed, which is below the least possible value {worst}")
    values_V, counts_V = np.unique(np.array([worst, *observed], dtype=np.float64), return_counts=True)
    return _quantile(tuple(values_V.tolist()), tuple(counts_V.tolist()), 1 - confidence)


@lru_cache(maxsize=256)
def _quantile(values: tuple[float, ...], counts: tuple[int, ...], level: float) -> float:
    """Where the weighted mean is below with a chance of `level`; the values increase. Kept, since rounds, reports and
    boards ask again for what they asked."""
    if len(values) == 1 or level < _CHANCES[0]:
        return values[0]
    if len(values) == 2:  # the weight of the higher is beta
        return values[0] + (values[1] - values[0]) * float(betaincinv(counts[1], counts[0], level))
    values_V, counts_RV = np.array(values), np.array([counts], dtype=np.float64)
    total = sum(counts)
    mean = float(counts_RV[0] @ values_V) / total
    spread = math.sqrt(float(counts_RV[0] @ (values_V - mean) ** 2) / total / (total + 1))
    wanted = float(ndtri(level))

    @cache
    def above(at: float) -> float:
        """On the normal scale, where the chance is nearly a line."""
        return float(ndtri(np.clip(chance_below(values_V, counts_RV, at)[0], *_CHANCES))) - wanted

    reach = spread / 8
    low = high = min(max(mean + wanted * spread, values[0]), values[-1])
    while low > values[0] and above(low) > 0:
        low, reach = max(low - reach, values[0]), 2 * reach
    reach = spread / 8
    while high < values[-1] and above(high) <= 0:
        high, reach = min(high + reach, values[-1]), 2 * reach
    return float(brentq(above, low, high, xtol=_CLOSE))
