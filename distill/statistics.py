"""Numbers in, numbers out: means with standard errors clustered by problem, one-sided bounds, paired differences.

A problem is the unit: its k samples are one cluster, and their mean is one observation, so that samples which agree are
not counted k times. Clustering and pairing by problem: Miller, 2024, "Adding Error Bars to Evals" (arXiv 2411.00640).
The bounds are Gaffke's (`distill.bounded`), which for one sample per problem are Clopper and Pearson's exact ones; they
hold where counts are small, and where no error was seen.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev, variance

from distill.bounded import lower_bound
from distill.records import Score


@dataclass(frozen=True)
class Estimate:
    """A mean over problems with its two one-sided bounds, each at the confidence asked for."""

    mean: float
    lower: float
    upper: float


@dataclass(frozen=True)
class Spread:
    """Where the variance of a problem's mean comes from: problems differ (`between`), and samples of one problem do
    (`within`, of a single sample)."""

    between: float
    within: float

    def variance(self, k: int) -> float:
        """Of a problem's mean over k samples."""
        return self.between + self.within / k


@dataclass(frozen=True)
class Difference:
    """a minus b on one task: the mean with a two-sided interval, and whether 0 lies outside of it. `paired` says that
    both answered the same problems."""

    mean: float
    low: float
    high: float
    significant: bool
    paired: bool


def mean_and_stderr(by_problem: Sequence[float]) -> tuple[float, float]:
    """The mean over problems and its standard error sd / sqrt(n), with n - 1 in the sd, clustered by problem: with one
    mean per problem the clusters are the observations (Miller, section 2.2). One problem alone has standard error 0,
    and so have problems that are all alike; the bounds below do not trust it. Raises ValueError for no values."""
    if not by_problem:
        raise ValueError("there is no problem to take the mean over")
    return fmean(by_problem), stdev(by_problem) / math.sqrt(len(by_problem)) if len(by_problem) > 1 else 0.0


def mean_bounds(values: Sequence[float], confidence: float, low: float = 0.0, high: float = 1.0) -> Estimate:
    """The mean of what lies in [low, high], with Gaffke's bounds on both sides, each one-sided at `confidence`. Raises
    ValueError for no values, or for one out of the range (or not a number)."""
    if not values:
        raise ValueError("there is no problem to take the mean over")
    strange = [value for value in values if not low <= value <= high]
    if strange:
        raise ValueError(f"a problem's value is {strange[0]}, and can only be from {low:g} to {high:g}")
    lower = lower_bound(values, confidence, low)
    upper = -lower_bound([-value for value in values], confidence, -high)
    return Estimate(fmean(values), lower, upper)


def share_bounds(by_problem: Sequence[float], confidence: float) -> Estimate:
    """The mean of shares (a problem's samples that are right) with exact bounds; raises as `mean_bounds` does."""
    return mean_bounds(by_problem, confidence)


def paired_drop(base: Mapping[str, float], student: Mapping[str, float], confidence: float) -> Estimate:
    """The mean of base minus student over the same problems (Miller, section 4.1), from -1 to 1, with exact bounds of
    the differences. n equal differences are no certainty: of 100 zeros the upper bound is 1 - 0.05^(1/100) = 0.0295.
    Raises ValueError for no problems, or when the two did not answer the same ones."""
    if base.keys() != student.keys():
        raise ValueError(f"{len(base.keys() ^ student.keys())} problems were answered by only one of the two")
    return mean_bounds([base[name] - student[name] for name in base], confidence, -1.0, 1.0)


def spread(by_problem: Sequence[float], k: int) -> Spread:
    """The variance's two parts, by the analysis of variance of shares: within is k / (k - 1) times the mean of x(1 - x)
    (Donner and Klar, 2000, chapter 1), between is what is left of the problems' variance. Of one sample per problem the
    parts cannot be told apart, and all of it counts as between. Raises ValueError for no values, or k below 1."""
    if not by_problem or k < 1:
        raise ValueError("a spread needs a problem, and a sample of it")
    whole = variance(by_problem) if len(by_problem) > 1 else 0.0
    within = fmean(x * (1 - x) for x in by_problem) * k / (k - 1) if k > 1 else 0.0
    return Spread(max(0.0, whole - within / k), within)


def difference(a: Score, b: Score, confidence: float) -> Difference:
    """a minus b with a two-sided interval at `confidence`.

    Paired by problem where one of them answered all that the other did (over those problems alone: a task that was
    asked in rounds may have ended early); else as two independent groups, by Newcombe's hybrid of the two means' bounds
    (1998, method 10, Statistics in Medicine 17), which is too wide rather than too narrow where problems are shared.
    Raises ValueError for different tasks, or a score without problems.
    """
    if a.task != b.task:
        raise ValueError(f"{a.task} and {b.task} are different tasks")
    one_sided = (1 + confidence) / 2
    shared = a.by_problem.keys() & b.by_problem.keys()
    paired = bool(shared) and len(shared) == min(len(a.by_problem), len(b.by_problem))
    if paired:
        found = mean_bounds([a.by_problem[name] - b.by_problem[name] for name in shared], one_sided, -1.0, 1.0)
        mean, low, high = found.mean, found.lower, found.upper
    else:
        of_a = share_bounds(list(a.by_problem.values()), one_sided)
        of_b = share_bounds(list(b.by_problem.values()), one_sided)
        mean = of_a.mean - of_b.mean
        low = mean - math.hypot(of_a.mean - of_a.lower, of_b.upper - of_b.mean)
        high = mean + math.hypot(of_a.upper - of_a.mean, of_b.mean - of_b.lower)
    return Difference(mean, low, high, not low <= 0 <= high, paired)
