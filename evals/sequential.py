"""When to look at a task that is asked in rounds, how much error each look may spend, and what the looks decide.

A task is asked in few rounds of whole problems. After each, the checks are tried at a stricter level, such that all
looks together err no more often than one look at the end would (Lan and DeMets, 1983, Biometrika 70: an error that is
spent as the problems come in). What is spent after the share t of the problems is t^1.5 of it (Kim and DeMets, 1987,
Biometrika 74). Of three spendings (`tests/bench/bench_gate.py` prints the comparison), this one asks for 0.40 of the
problems where the margin is 5 standard errors, O'Brien and Fleming's for 0.53 and Pocock's for 0.34; where it is 2.5,
and one look passes 77 % of the students, it passes 75 %, O'Brien and Fleming's 77 % and Pocock's 70 %.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.special import ndtr

from distill.records import Outcome
from distill.statistics import Estimate, mean_bounds

SHARES = (0.1, 0.2, 0.35, 0.6, 1.0)
"""Of a task's problems, answered at the end of each round: a student far from its threshold is seen through early."""
FEWEST = 10
"""Problems at the first look: of fewer, no bound says anything worth a round."""
POWER = 1.5
"""Of the spending, see above."""
SPENT = 0.8
"""The share of the stated error that is spent. The rest is kept for what no formula covers: the levels are those of
normal means, Gaffke's bound is proven in special cases only, and a benchmark's problems are no random draw. So the
error stays under the stated one and not on it, where every second simulation would find it above."""

_GRID = 801


def looks(n_problems: int) -> tuple[int, ...]:
    """How many problems are answered at the end of each round; the last is all. Raises ValueError for none."""
    if n_problems < 1:
        raise ValueError("a task without problems cannot be asked")
    ends = sorted({math.ceil(n_problems * share - 1e-9) for share in SHARES})
    return tuple(end for end in ends if end >= FEWEST or end == n_problems)


@lru_cache(maxsize=256)
def levels(ends: tuple[int, ...], planned: int, confidence: float) -> tuple[float, ...]:
    """The one-sided error that a check may have at each look, given that it was undecided at those before.

    The looks' statistics are taken for a Brownian motion seen at ends / planned, and the levels are worked out one
    after the other by integrating over where it may have been (Armitage, McPherson and Rowe, 1969, JRSS A 132): a
    look's level never depends on later looks. One look at everything has all that may be spent. Raises ValueError for
    looks that do not increase, or that go beyond what was planned.
    """
    increasing = all(before < after for before, after in zip((0, *ends), ends, strict=False))
    if not ends or not increasing or ends[-1] > planned:
        raise ValueError(f"looks {list(ends)} do not lead through {planned} problems")
    times = [end / planned for end in ends]
    error = (1 - confidence) * SPENT
    heights = crossings(times, [error * now**POWER for now in times])
    return tuple(float(ndtr(-height)) for height in heights)


def crossings(times: Sequence[float], spent: Sequence[float]) -> list[float]:
    """The heights, in standard deviations, that a Brownian motion first rises above at one of these times with these
    chances, each counting those before it, too. Times increase and are above 0, and so are the chances."""
    places, weights, before, gone = np.zeros(1), np.ones(1), 0.0, 0.0
    found = []
    for now, by_now in zip(times, spent, strict=True):
        step, root = math.sqrt(now - before), math.sqrt(now)
        height = _crossing(places, weights, step, by_now - gone) / root
        found.append(height)
        grid = np.linspace(-8 * root, height * root, _GRID)
        width = np.full(_GRID, grid[1] - grid[0])
        width[[0, -1]] /= 2
        arrived = np.exp(-(((grid[:, None] - places) / step) ** 2) / 2) @ weights
        places, weights, before, gone = grid, arrived * width / (step * math.sqrt(2 * math.pi)), now, by_now
    return found


def _crossing(places: np.ndarray, weights: np.ndarray, step: float, error: float) -> float:
    """The height that a motion which is at `places` with `weights` rises above, in one step, with this chance."""
    low, high = -1.0, 12.0
    for _ in range(60):
        middle = (low + high) / 2
        above = float((weights * ndtr((places - middle) / step)).sum())
        low, high = (middle, high) if above > error else (low, middle)
    return high


@dataclass(frozen=True)
class Decision:
    """What the looks said of one mean: `estimate` over the first `problems`, its bounds at one minus `level`, at the
    look that decided, or at the last one made."""

    outcome: Outcome
    estimate: Estimate
    problems: int
    level: float


@dataclass(frozen=True)
class Rule:
    """What is decided: a mean of values within [low, high] passes when it is at least `threshold`, with confidence."""

    threshold: float
    confidence: float
    low: float = 0.0
    high: float = 1.0


def decide(values: Sequence[float], ends: Sequence[int], planned: int, rule: Rule) -> Decision:
    """The first look at which a bound is on one side of the threshold decides, whatever came after.

    `values` are the problems' in the order in which they were asked; no `ends` is one look at all of them. Raises
    ValueError for no values, values out of range, or looks that do not fit them.
    """
    made = tuple(ends) or (len(values),)
    if not values:
        raise ValueError("there is no problem to decide by")
    if made[-1] != len(values):
        raise ValueError(f"looks {list(made)} do not fit {len(values)} problems")
    allowed = levels(made, planned if ends else len(values), rule.confidence)
    decision = None
    for end, level in zip(made, allowed, strict=True):
        estimate = mean_bounds(values[:end], 1 - level, rule.low, rule.high)
        passes, fails = estimate.lower >= rule.threshold, estimate.upper < rule.threshold
        outcome: Outcome = "pass" if passes else "fail" if fails else "undecided"
        decision = Decision(outcome, estimate, end, level)
        if outcome != "undecided":
            break
    assert decision is not None
    return decision
