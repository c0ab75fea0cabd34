"""Numbers in, numbers out: means with standard errors clustered by problem, one-sided bounds, paired drops.

Clustering and pairing by problem: Miller, 2024, "Adding Error Bars to Evals" (arXiv 2411.00640). Bounds of a share:
Wilson, 1927, "Probable Inference, the Law of Succession, and Statistical Inference" (JASA 22).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, stdev


@dataclass(frozen=True)
class Bounds:
    """Two one-sided bounds, each at the confidence asked for."""

    lower: float
    upper: float


@dataclass(frozen=True)
class Drop:
    """By how much the student is behind its base: base minus student, in the mean over problems."""

    mean: float
    lower: float
    upper: float


def mean_and_stderr(values: Sequence[float]) -> tuple[float, float]:
    """The mean over problems and its standard error sd / sqrt(n), with n - 1 in the sd (Miller, section 2.2: with one
    mean per problem the clusters are the observations). One problem alone has standard error 0, which the bounds
    below do not trust. Raises ValueError for no values."""
    if not values:
        raise ValueError("there is no problem to take the mean over")
    return fmean(values), stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0


def share_bounds(by_problem: Sequence[float], k: int, confidence: float) -> Bounds:
    """Wilson's score bounds of a mean of shares, with the effective number of draws p(1 - p) / se².

    k samples of one problem are worth between one draw (all alike) and k (independent), so the number is held between
    the problems and k times the problems. Where se is 0, or p is 0 or 1, it is the problems. Raises ValueError for no
    problems, or k below 1.
    """
    if k < 1:
        raise ValueError(f"k is {k}; there is at least one sample per problem")
    p, se = mean_and_stderr(by_problem)
    n: float = len(by_problem)
    if se > 0 and 0 < p < 1:
        n = min(max(p * (1 - p) / se**2, n), n * k)
    z = _z(confidence)
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(max(p * (1 - p), 0.0) / n + z * z / (4 * n * n))
    return Bounds(max(0.0, middle - half), min(1.0, middle + half))


def paired_drop(base: Mapping[str, float], student: Mapping[str, float], confidence: float) -> Drop:
    """The mean of base minus student over the same problems, with one-sided bounds.

    Normal bounds of the paired differences (Miller, section 4.1), never narrower than z² / (n + z²): that is Wilson's
    upper bound of a share of which nothing was seen, and it keeps n equal differences (se = 0) from passing for
    certainty. Raises ValueError for no problems, or when the two did not answer the same ones.
    """
    if base.keys() != student.keys():
        raise ValueError(f"{len(base.keys() ^ student.keys())} problems were answered by only one of the two")
    mean, se = mean_and_stderr([base[name] - student[name] for name in base])
    z = _z(confidence)
    half = max(z * se, z * z / (len(base) + z * z))
    return Drop(mean, max(-1.0, mean - half), min(1.0, mean + half))


def _z(confidence: float) -> float:
    return NormalDist().inv_cdf(confidence)
