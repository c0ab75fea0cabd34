"""The chance that a check passes at a given true margin, and how many problems and samples it takes to tell one.

All is put on one scale: a mean of values from 0, the worst, to 1, that is `mean` in truth and must be shown to lie
above `threshold`. A drop d of at most `limit` is such a mean of (1 - d) / 2. The forecast is meant to be kept: it is
that of the shape which passes least often of several with this mean and at most this variance.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from textwrap import wrap

import numpy as np
from scipy.special import bdtr, betainc, betaincinv, log_ndtr, ndtr

from distill.bounded import chance_below
from distill.gate_sections import Gate, GateTask
from distill.statistics import Spread
from evals.sequential import levels, looks

AIM = 0.8
"""The chance to pass that a design is asked for (Cohen, 1988, chapter 1)."""
_RUNS = 2000
"""A forecast stays below the chance that is worked out by 2.5 standard errors of a simulation of so many runs, and by
three runs: so a simulation confirms it."""
_NARROWER = (1.0, 0.9, 0.8, 0.65, 0.5, 0.35, 0.2, 0.1, 0.03)
"""Shares of the standard deviation that are tried: less spread helps most students and hinders those at the edge."""
_NOISES = (0.1, 0.3, 0.6)
"""Shares of the variance that lie in those that are not hopeless."""
MOST = 10_000_000
"""Problems: beyond that, a design is called impossible."""
MOST_SAMPLES = 1024
_FEW = 500
"""Problems, up to which it is worked out what a few that lapse do; of more, their mean is normal."""
_WIDTH = 110
"""Of what is printed, in characters."""


def chance(n: int, mean: float, threshold: float, variance: float, level: float) -> float:
    """The least chance that n problems' mean passes one look at this level, when it is `mean` in truth and problems
    vary by at most `variance`.

    Which values in [0, 1] with a mean and a variance pass least often is not known; so several are worked out, and the
    smallest chance is foretold. Most treacherous is, as a rule, a share of the problems that is hopeless where the
    others are all alike, or scatter a little: how many hopeless ones are drawn is binomial, and the bound, Clopper and
    Pearson's on the others' scale. It may also be a share that lapses where the others are always right. These chances
    jump where few are drawn, so that of a normal mean is worked out, too. Simulated students of 52 shapes passed as
    often, but for what a simulation varies by. Raises ValueError for no problems, or a mean out of [0, 1].
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
        if n <= _FEW:
            found = min(found, _lapsing(*shape), *(_scattered(*shape, noise) for noise in _NOISES))
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


def _lapsing(n: int, mean: float, threshold: float, variance: float, level: float) -> float:
    """Where a share of the problems is at `lower`, and the others are 1, with this mean and variance."""
    lost = 1 - mean
    if lost <= 0 or variance <= 0:
        return 1.0
    lapses = lost * lost / (variance + lost * lost)
    values = np.array([0.0, max(0.0, 1 - lost / lapses), 1.0])
    few, many = -1, n + 1  # so many that lapse pass, and so many do not
    while many - few > 1:
        drawn = (few + many) // 2
        passes = chance_below(values, np.array([[1.0, drawn, n - drawn]]), threshold)[0] <= level
        few, many = (drawn, many) if passes else (few, drawn)
    return float(bdtr(few, n, lapses)) if few >= 0 else 0.0


def _scattered(n: int, mean: float, threshold: float, variance: float, level: float, noise: float) -> float:
    """Where a share of the problems is 0, and the others are normal and have this share of the variance. That they
    scatter is taken to lower their own mean, and not to widen the bound."""
    hopeless = variance * (1 - noise) / (variance * (1 - noise) + mean * mean)
    drawn = np.arange(n)
    needed = threshold / betaincinv(n - drawn, drawn + 1.0, level)
    wide = np.sqrt(variance * noise / (1 - hopeless) / (n - drawn)) + 1e-12
    return float(np.diff(bdtr(drawn, n, hopeless), prepend=0.0) @ ndtr((mean / (1 - hopeless) - needed) / wide))


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
    """At least this often does a student pass whose true value is `margin` above the floor; see `chance`.
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


_HEADS = ("task", "check", "threshold", "problems x k", "chance to pass", "problems needed", "samples")


def lines(forecasts: Sequence[Forecast]) -> list[str]:
    """A table for people, and below it what it says and rests on; nothing for no forecasts. It is at most 110 wide
    where no task's name is longer than 30 characters and none has a million problems."""
    if not forecasts:
        return []
    rows = [_HEADS, *(_row(found) for found in forecasts)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    said = []
    for row in rows:
        task, check, *figures = (cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        said.append("  ".join([task.strip().ljust(widths[0]), check.strip().ljust(widths[1]), *figures]))
    designs = {(one.design.confidence, one.design.alike, one.design.together) for one in forecasts}
    return [*said, "", *(line for design in sorted(designs) for line in wrap(_rests_on(*design), _WIDTH))]


def _row(found: Forecast) -> tuple[str, ...]:
    points = f"{found.told * 100:.3g}"
    return (
        found.task,
        found.term,
        f"{found.threshold:g}",
        f"{found.design.problems:,} x {found.design.samples}",
        f"{found.chance:.0%} at {found.margin * 100:+.3g}",
        f"{found.problems:,} to tell {points}" if found.problems else f"none tells {points}",
        f"{found.samples:,}" if found.samples else "none",
    )


def _rests_on(confidence: float, alike: float, together: float) -> str:
    """The figures' meaning, and what they take for granted."""
    return (
        f"A student that is truly so many points on the right side of the threshold passes with at least this chance "
        f"(at {100 * confidence:g}% confidence); so many problems of k samples each, or so many samples of each of the "
        f"given problems, would pass one at the points to tell with a chance of {AIM:.0%}. Taken for granted is that "
        f"{alike:.0%} of what samples vary by is their problem's, and that two models' problems have a correlation of "
        f"{together:g}; 100% and 0 are the worst case."
    )
