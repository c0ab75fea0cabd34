"""What would decide a check that is undecided: its values, how they were asked and the rule in, a sentence out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, variance

from distill.statistics import Spread
from evals.power import problems_needed, samples_needed
from evals.sequential import Rule, levels


@dataclass(frozen=True)
class Asked:
    """What a check rests on: the problems' values, their spread over problems and samples, the k samples of each, and
    the looks made of how many problems were planned."""

    values: Sequence[float]
    spread: Spread
    samples: int
    looks: Sequence[int] = ()
    planned: int = 0


def what_decides(asked: Asked, rule: Rule) -> str:
    """How many problems, or samples of each, would decide it, if all stays as measured: with a chance of 0.8."""
    n = len(asked.values)
    if asked.looks and n < asked.planned:
        return (
            f"The other {asked.planned - n} of its {asked.planned} problems would tell more; go on with the evaluation."
        )
    span = rule.high - rule.low
    mean, threshold = (fmean(asked.values) - rule.low) / span, (rule.threshold - rule.low) / span
    if mean < threshold:
        mean, threshold = 1 - mean, 1 - threshold
    scaled = Spread(asked.spread.between / span**2, asked.spread.within / span**2)
    level = levels((n,), n, rule.confidence)[0]
    problems = problems_needed(mean, threshold, scaled.variance(asked.samples), level)
    samples = samples_needed(n, mean, threshold, scaled, level)
    if problems is None:
        return "It lies on the threshold, as far as can be told: no number of problems or samples would decide it."
    about = f"About {max(problems, n + 1):,} problems (it has {n:,})"
    if asked.samples == 1:
        return f"{about} would decide it, if it stays as measured; one sample of each does not show what more would do."
    if samples is None or samples <= asked.samples:
        return f"{about} would decide it, if it stays as measured; no number of samples of these problems does."
    return f"{about}, or {samples} samples of each (it has {asked.samples}), would decide it, if it stays as measured."


def spread_of_differences(values: Sequence[float], parts: Sequence[tuple[Spread, int]]) -> Spread:
    """That of the differences of two models, given each one's own spread and its samples per problem."""
    whole = variance(values) if len(values) > 1 else 0.0
    drawn = sum(part.within / k for part, k in parts)
    return Spread(max(0.0, whole - drawn), sum(part.within for part, _ in parts))


def shared_order(order: Sequence[str], base: Mapping[str, float]) -> int:
    """How many of the problems, in the order in which they were asked, the base answered before the first that it did
    not."""
    return next((at for at, name in enumerate(order) if name not in base), len(order))
