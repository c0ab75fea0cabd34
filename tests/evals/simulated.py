"""Students that are known in truth, and what the gate's rules say of many draws of them.

A `Population` says how often a problem's value comes, on the scale on which the rules decide: 0 is the worst, 1 the
best. For a floor the value is the share of k samples that is right, for a drop it is (1 + student - base) / 2. `run`
draws whole evaluations and applies the very levels and tails that `evals.sequential.decide` does (a test holds it
against that), all at once.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import betabinom, binom

from distill.bounded import chance_below
from evals.sequential import levels, looks

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Population:
    """The values that a problem may have, and how often each comes."""

    name: str
    values: Floats
    weights: Floats

    @property
    def mean(self) -> float:
        return float(self.values @ self.weights)

    @property
    def variance(self) -> float:
        return float(self.values**2 @ self.weights) - self.mean**2


@dataclass(frozen=True)
class Outcomes:
    """Shares of the runs that pass, by one look and in rounds, and the mean share of the problems that rounds asked."""

    fixed: float
    rounds: float
    asked: float


def right(k: int, share: float) -> Floats:
    """How many of k samples are right, for a problem that is answered rightly so often."""
    return binom.pmf(np.arange(k + 1), k, share)


def floor_populations(k: int, mean: float) -> Iterator[Population]:
    """Students of this accuracy, whose problems are of very different kinds."""
    values = np.arange(k + 1) / k
    hopeless = np.eye(k + 1)[0]
    yield Population("alike", values, right(k, mean))
    yield Population("known or not", values, mean * np.eye(k + 1)[k] + (1 - mean) * hopeless)
    yield Population("beta", values, betabinom.pmf(np.arange(k + 1), k, 2 * mean, 2 * (1 - mean)))
    lost = (1 - mean) / 3  # a third of the errors are in few problems that are hopeless
    yield Population("rarely hopeless", values, (1 - lost) * right(k, mean / (1 - lost)) + lost * hopeless)


def drop_populations(k: int, base: float, drop: float) -> Iterator[Population]:
    """Students that are this much behind a base of this accuracy."""
    student = base - drop
    values = (1 + np.arange(-k, k + 1) / k) / 2

    def of(*kinds: tuple[float, float, float]) -> Floats:
        """(share of the problems, the base's and the student's chance in them) to the weights of the differences."""
        return sum(share * np.convolve(right(k, learnt), right(k, before)[::-1]) for share, before, learnt in kinds)

    yield Population("alike", values, of((1.0, base, student)))
    same = ((student, 1.0, 1.0), (drop, 1.0, 0.0), (1 - base, 0.0, 0.0))
    yield Population("known or not, together", values, of(*same))
    apart = tuple(
        (one * other, b, s)
        for one, b in ((base, 1.0), (1 - base, 0.0))
        for other, s in ((student, 1.0), (1 - student, 0.0))
    )
    yield Population("known or not, apart", values, of(*apart))
    half = min(base / 2, (1 - base) / 2, base / student - base)
    together = tuple((0.5, base + side, (base + side) * student / base) for side in (-half, half))
    yield Population("hard and easy, together", values, of(*together))
    yield Population("a few forgotten", values, of((drop / base, base, 0.0), (1 - drop / base, base, base)))


def run(student: Population, n: int, threshold: float, seed: int, *, runs: int = 2000, fails: bool = False) -> Outcomes:
    """Of so many evaluations with n problems each: who passes. Without `fails` no round ends because a check failed,
    which lets more pass."""
    ends = looks(n)
    draw = np.random.default_rng(seed)
    steps = [
        draw.multinomial(end - begun, student.weights / student.weights.sum(), size=runs)
        for begun, end in zip((0, *ends), ends, strict=False)
    ]
    passed, open_still, asked = np.zeros(runs, bool), np.ones(runs, bool), np.full(runs, float(n))
    seen = np.zeros_like(steps[0])
    for end, step, level in zip(ends, steps, levels(ends, n, 0.95), strict=True):
        seen = seen + step
        passes = open_still & decided(student.values, seen, threshold, level)
        stops = passes.copy()
        if fails:
            stops |= open_still & decided(1 - student.values, seen, 1 - threshold, level)
        passed |= passes
        asked[stops] = end
        open_still &= ~stops
    alone = decided(student.values, seen, threshold, levels((n,), n, 0.95)[0])
    return Outcomes(float(alone.mean()), float(passed.mean()), float(asked.mean() / n))


def decided(values: Floats, counts: npt.NDArray[np.int64], threshold: float, level: float) -> npt.NDArray[np.bool_]:
    """Whose lower bound is at the threshold or above. A mean below the threshold needs no tail: it is too large."""
    rows, back = np.unique(counts, axis=0, return_inverse=True)
    with_worst = np.concatenate([np.ones((len(rows), 1)), rows], axis=1)
    all_values = np.concatenate([[0.0], values])
    near = with_worst @ (all_values - threshold) > 0
    found = np.zeros(len(rows), bool)
    if near.any():
        found[near] = chance_below(all_values, with_worst[near], threshold) <= level
    return found[back.ravel()]
