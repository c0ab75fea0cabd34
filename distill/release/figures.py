"""The intervals and differences that a release prints beside its scores: scores in, plain numbers out. Pure.

The gate decides by its own one-sided bounds, which stand on the card as well; these are two-sided, for people.
"""

from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

from distill.records import Score

LEVEL = 0.95
"""Of every interval here."""
ALIKE = 1e-9
"""Means this near to each other are equal, but for rounding."""


@dataclass(frozen=True)
class Difference:
    """What a score is above another one, paired by problem, with its interval; `problems` is how many both answered."""

    mean: float
    low: float
    high: float
    problems: int

    @property
    def clear(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0


def interval(score: Score) -> tuple[float, float]:
    """A share's two-sided 95 % interval, problems being the sample (Miller, 2024, arXiv 2411.00640, section 2).

    Student's t on the standard error clustered by problem. Where the problems' means are all alike it is 0, and says
    nothing: then Wilson's score interval (Wilson, 1927) for as many problems.
    """
    n = score.n_problems
    if n < 1:
        return 0.0, 1.0
    if n == 1 or score.stderr <= 0:
        return _wilson(score.value, n)
    reach = _t(n - 1) * score.stderr
    return max(0.0, score.value - reach), min(1.0, score.value + reach)


def difference(ours: Score, theirs: Score) -> Difference | None:
    """Ours less theirs on the problems that both answered (Miller, 2024, section 4.2); None for fewer than two.

    Where all problems differ alike, Student's t says nothing: then the exact bound (Clopper and Pearson, 1934) on how
    many others may differ otherwise, and those by as much as can be.
    """
    both = sorted(set(ours.by_problem) & set(theirs.by_problem))
    if len(both) < 2:
        return None
    gaps = [ours.by_problem[problem] - theirs.by_problem[problem] for problem in both]
    mean = sum(gaps) / len(gaps)
    if max(gaps) - min(gaps) < ALIKE:
        reach = (1 + abs(mean)) * (1 - ((1 - LEVEL) / 2) ** (1 / len(gaps)))
    else:
        variance = sum((gap - mean) ** 2 for gap in gaps) / (len(gaps) - 1)
        reach = _t(len(gaps) - 1) * sqrt(variance / len(gaps))
    return Difference(mean, max(-1.0, mean - reach), min(1.0, mean + reach), len(both))


def _wilson(share: float, n: int) -> tuple[float, float]:
    z = NormalDist().inv_cdf((1 + LEVEL) / 2)
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    reach = z / (1 + z * z / n) * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, middle - reach), min(1.0, middle + reach)


def _t(degrees: int) -> float:
    from scipy.stats import t

    return float(t.ppf((1 + LEVEL) / 2, degrees))
