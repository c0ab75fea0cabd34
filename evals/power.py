"""The chance that a check passes at a given true margin, and how many problems and samples it takes to tell one.

All is put on one scale: a mean of values from 0, the worst, to 1, that is `mean` in truth and must be shown to lie
above `threshold`. A drop d of at most `limit` is such a mean of (1 - d) / 2. The forecast is meant to be kept: it is
that of the shape which passes least often among those with this mean and at most this variance.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from scipy.special import bdtr, betainc, log_ndtr, ndtr

from distill.gate_sections import Gate, GateTask
from evals.sequential import levels, looks
from evals.statistics import Spread

AIM = 0.8
"""The chance to pass that a design is asked for (Cohen, 1988, chapter 1)."""
_RUNS = 2000
"""A forecast stays below the chance that is worked out by 2.5 standard errors of a simulation of so many runs, and by
three runs: so a simulation confirms it."""
_NARROWER = (1.0, 0.9, 0.8, 0.65, 0.5, 0.35, 0.2, 0.1, 0.03)
"""Shares of the standard deviation that are tried: less spread helps most students and hinders those at the edge."""
MOST = 10_000_000
"""Problems: beyond that, a design is called impossible."""
MOST_SAMPLES = 1024


def chance(n: int, mean: float, threshold: float, variance: float, level: float) -> float:
    """The least chance that n problems' mean passes one look at this level, when it is `mean` in truth and problems
    vary by at most `variance`.

    Of all values in [0, 1] with a mean and a variance, those are most treacherous where a share of the problems is
    hopeless and the others are all alike. How many hopeless ones are drawn is binomial, and the bound, Clopper and
    Pearson's on the others' scale: so this chance is exact. It jumps where few are drawn, so that of a normal mean is
    worked out, too, and the smaller one is foretold. Raises ValueError for no problems, or a mean out of [0, 1].
    """
    if n < 1 or not 0 <= mean <= 1:
        raise ValueError(f"{n} problems with a mean of {mean} are no design")
    if threshold <= 0:
        return 1.0
    if mean == 0:
        return 0.0
    bounded = min(variance, mean * (1 - mean))
    found = 1.0
    for narrower in _NARROWER:
        shape = (n, mean, threshold, bounded * narrower**2, level)
        found = min(found, _hopeless(*shape), _normal(*shape))
    return max(0.0, found - 2.5 * math.sqrt(found * (1 - found) / _RUNS) - 3 / _RUNS)


def _hopeless(n: int, mean: float, threshold: float, variance: float, level: float) -> float:
    """Where a share of the problems is 0, and the others are at `height`, with this mean and variance."""
    hopeless = variance / (variance + mean * mean)
    needed = threshold * (1 - hopeless) / mean
    if needed >= 1:
        return 0.0
    few, many = -1, n  # so many hopeless ones pass, and so many do not
    while many - few > 1:
        drawn = (few + many) // 2
        passes = betainc(n - drawn, drawn + 1, needed) <= level
        few, many = (drawn, many) if passes else (few, drawn)
    return float(bdtr(few, n, hopeless)) if few >= 0 else 0.0


def _normal(n: int, mean: float, threshold: float, variance: float, level: float) -> float:
    """Where the mean is normal. Gaffke's bound lies below it by a normal quantity's quantile and an exponential's, the
    weight of the one observation at the worst, of the sum of both."""
    if variance == 0:
        return float(mean * level ** (1 / n) >= threshold)
    wide, pull = math.sqrt(variance / n), mean / n
    low, high = 0.0, 40 * (wide + pull)
    for _ in range(60):
        half = (low + high) / 2
        tail = math.exp(float(log_ndtr(half / wide - wide / pull)) - half / pull + (wide / pull) ** 2 / 2)
        low, high = (half, high) if float(ndtr(-half / wide)) + tail > level else (low, half)
    return float(ndtr((mean - threshold - high) / wide))


@dataclass(frozen=True)
class Design:
    """How a task is asked: n problems, k samples each, at a one-sided confidence, in rounds or not.

    `alike` is the share of a sample's variance that its problem explains (the intraclass correlation), `together` the
    correlation of two models' problems. The defaults are the worst: more samples of a problem say nothing new, and what
    the base can do says nothing of the student.
    """

    problems: int
    samples: int
    confidence: float = 0.95
    rounds: bool = False
    alike: float = 1.0
    together: float = 0.0

    @property
    def level(self) -> float:
        """Of the last look. Who passes there passes in rounds: earlier looks can only add."""
        ends = looks(self.problems) if self.rounds else (self.problems,)
        return levels(ends, self.problems, self.confidence)[-1]

    def spread(self, value: float) -> Spread:
        """Of a model that is right this often."""
        whole = value * (1 - value)
        return Spread(whole * self.alike, whole * (1 - self.alike))


def floor_power(design: Design, floor: float, margin: float) -> float:
    """At least this often does a student pass whose true value is `margin` above the floor; exact, see `chance`.
    Raises ValueError where that is above 1, or nothing is asked."""
    value = floor + margin
    return chance(design.problems, value, floor, design.spread(value).variance(design.samples), design.level)


def drop_power(design: Design, limit: float, margin: float, base: float = 0.5) -> float:
    """At least this often does a student pass whose true drop from a base of this value is `margin` less than allowed;
    see `chance`. Raises ValueError for a student beyond 0 or 1, or where nothing is asked."""
    student = round(base - limit + margin, 12)
    if not 0 <= student <= 1:
        raise ValueError(f"a drop of {limit - margin} from {base} leads to {student}")
    variance = drop_variance(design, base, student)
    return chance(design.problems, (1 - limit + margin) / 2, (1 - limit) / 2, variance / 4, design.level)


def drop_variance(design: Design, base: float, student: float) -> float:
    """Of a problem's difference between two models that are right this often (Miller, 2024, section 4.2: twice the
    covariance is what pairing saves)."""
    of_base, of_student = design.spread(base), design.spread(student)
    shared = design.together * math.sqrt(of_base.between * of_student.between)
    return max(0.0, of_base.variance(design.samples) + of_student.variance(design.samples) - 2 * shared)


def problems_needed(mean: float, threshold: float, variance: float, level: float, aim: float = AIM) -> int | None:
    """How many problems pass with a chance of `aim`; None where ten million do not, or the mean is not above. Raises as
    `chance` does."""
    if mean <= threshold or chance(MOST, mean, threshold, variance, level) < aim:
        return None
    few, enough = 0, MOST
    while enough - few > max(1, enough // 200):
        middle = (few + enough) // 2
        reached = chance(middle, mean, threshold, variance, level) >= aim
        few, enough = (few, middle) if reached else (middle, enough)
    return enough


def samples_needed(n: int, mean: float, threshold: float, spread: Spread, level: float, aim: float = AIM) -> int | None:
    """How many samples of each of n problems pass with a chance of `aim`; None where no number does: what problems
    differ by stays. Raises as `chance` does."""
    if chance(n, mean, threshold, spread.variance(MOST_SAMPLES), level) < aim:
        return None
    few, enough = 0, MOST_SAMPLES
    while enough - few > 1:
        middle = (few + enough) // 2
        reached = chance(n, mean, threshold, spread.variance(middle), level) >= aim
        few, enough = (few, middle) if reached else (middle, enough)
    return enough


@dataclass(frozen=True)
class Forecast:
    """What a floor or a drop of the recipe can show before anything is measured.

    `chance` is the least one that a student `margin` on the right side of the threshold passes with. `problems` is how
    many, at the design's samples each, tell `told` with a chance of 0.8, and `samples` how many of each of the design's
    problems do; None where no number does.
    """

    task: str
    term: str
    threshold: float
    design: Design
    margin: float
    chance: float
    told: float
    problems: int | None
    samples: int | None

    @property
    def line(self) -> str:
        """For people."""
        asked = f"{self.design.problems:,} problems x {self.design.samples}"
        problems = f"about {self.problems:,} problems" if self.problems else "no number of problems"
        also = f", or {self.samples} samples of each," if self.samples else ""
        return (
            f"{self.task}/{self.term} ({self.threshold:g}, {asked}): a student {self.margin * 100:g} points on the "
            f"right side of it passes in at least {self.chance:.0%} of the cases; {problems}{also} would tell "
            f"{self.told * 100:g} points."
        )


def forecast(
    gate: Gate,
    sizes: Mapping[str, int],
    margin: float = 0.03,
    told: float = 0.02,
    alike: float = 1.0,
    together: float = 0.0,
) -> list[Forecast]:
    """For every floor and drop of the gate what it can show, where `sizes` gives a task's number of problems; a task
    that it does not name is left out. `alike` and `together` are those of `Design`. A drop's base is taken for one at
    the floor, or at 0.5, where the spread is widest."""
    found = []
    for task in gate.tasks:
        problems = min(sizes.get(task.task, 0), task.limit or MOST)
        if problems:
            design = Design(problems, task.repeats, gate.confidence, gate.until_decided, alike, together)
            found += _forecasts(design, task, margin, told)
    return found


def _forecasts(design: Design, task: GateTask, margin: float, told: float) -> list[Forecast]:
    found = []
    if task.min is not None:
        right, near = min(margin, 1 - task.min), min(told, 1 - task.min)
        likely = floor_power(design, task.min, right)
        most = _needed(design, task.min + near, task.min, design.spread(task.min + near))
        found.append(Forecast(task.task, "floor", task.min, design, right, likely, near, *most))
    if task.max_drop is not None:
        base = min(max(task.min or 0.5, task.max_drop), 1 - margin)
        likely = drop_power(design, task.max_drop, margin, base)
        one, many = (drop_variance(replace(design, samples=k), base, base) / 4 for k in (1, MOST))
        most = _needed(design, (1 - task.max_drop + told) / 2, (1 - task.max_drop) / 2, Spread(many, one - many))
        found.append(Forecast(task.task, "drop", task.max_drop, design, margin, likely, told, *most))
    return found


def _needed(design: Design, mean: float, threshold: float, spread: Spread) -> tuple[int | None, int | None]:
    """Problems at the design's samples, and samples of the design's problems."""
    problems = problems_needed(mean, threshold, spread.variance(design.samples), design.level)
    return problems, samples_needed(design.problems, mean, threshold, spread, design.level)


def lines(forecasts: Sequence[Forecast]) -> list[str]:
    """One sentence each, and what they rest on."""
    said = [found.line for found in forecasts]
    for design in {(found.design.alike, found.design.together): found.design for found in forecasts}.values():
        said.append(
            f"This holds where {design.alike:.0%} of what samples vary by is their problem's, and two models' problems "
            f"have a correlation of {design.together:g}; 100% and 0 are the worst case."
        )
    return said
