"""What a whole recipe will cost: takes the traces of a few of its problems, gives tokens and dollars in intervals."""

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from statistics import fmean, stdev
from typing import Any

from distill.records import Trace, estimated_tokens
from distill.teacher_sections import Budget

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A total over all problems: what is spent on those asked, what is expected, and between which bounds.

    `high` is None where one problem alone was asked, which bounds nothing.
    """

    spent: float
    expected: float
    low: float
    high: float | None


@dataclass(frozen=True)
class Estimate:
    """`asked` of `problems` problems were asked, which gave `traces` traces, `right` of them verified.

    `estimated` of the traces came without a count of tokens, and theirs is taken from the text.
    """

    problems: int
    asked: int
    traces: int
    right: int
    estimated: int
    tokens: Interval
    usd: Interval | None
    cap_usd: float | None

    def facts(self) -> dict[str, Any]:
        """The same as plain data."""
        return asdict(self)

    def lines(self) -> list[str]:
        """The same for people."""
        came = f"{self.traces:,} traces, {self.right:,} verified"
        said = [
            f"estimate from {self.asked:,} of {self.problems:,} problems: {came}",
            f"          {'spent so far':>16}{'whole recipe':>16}   {CONFIDENCE:.0%} interval",
            f"  tokens  {self.tokens.spent:>16,.0f}{self.tokens.expected:>16,.0f}   {_bounds(self.tokens, 0)}",
        ]
        if self.usd is not None:
            said.append(f"  dollars {self.usd.spent:>16,.4f}{self.usd.expected:>16,.2f}   {_bounds(self.usd, 2)}")
        if self.right:
            each = f"  a verified trace takes {self.tokens.spent / self.right:,.0f} tokens"
            said.append(each + (f" and ${self.usd.spent / self.right:.4f}" if self.usd is not None else ""))
        if self.estimated:
            said.append(f"  {self.estimated:,} traces came without a count of tokens: theirs is taken from the text")
        if self.usd is not None and self.cap_usd is not None and self.usd.expected > self.cap_usd:
            enough = int(self.problems * self.cap_usd / self.usd.expected)
            said.append(f"  max_usd: {self.cap_usd:g} is enough for about {enough:,} of the {self.problems:,} problems")
        return said


def _bounds(found: Interval, digits: int) -> str:
    high = "unknown; ask for two problems or more" if found.high is None else f"{found.high:,.{digits}f}"
    return f"{found.low:,.{digits}f} to {high}"


def estimate(traces: Iterable[Trace], right: int, asked: int, problems: int, budget: Budget | None) -> Estimate:
    """The totals over `problems` problems, when `asked` of them, picked at random, cost what these traces did.

    `right` of the traces are verified. A problem without a trace counts as nothing spent.
    """
    tokens: dict[str, int] = {}
    usd: dict[str, float] = {}
    count = estimated = 0
    for trace in traces:
        said, name = trace.completion, trace.problem.id
        prompt, answer = said.prompt_tokens or estimated_tokens(trace.problem.ask), said.probable_tokens
        tokens[name] = tokens.get(name, 0) + prompt + answer
        if budget is not None and budget.priced:
            usd[name] = usd.get(name, 0.0) + (budget.usd(prompt, answer) or 0.0)
        count += 1
        estimated += said.completion_tokens is None
    rest = [0.0] * (asked - len(tokens))
    priced = budget is not None and budget.priced
    return Estimate(
        problems=problems,
        asked=asked,
        traces=count,
        right=right,
        estimated=estimated,
        tokens=interval([*map(float, tokens.values()), *rest], problems),
        usd=interval([*usd.values(), *rest], problems) if priced else None,
        cap_usd=budget.max_usd if budget is not None else None,
    )


def interval(values: list[float], of: int, confidence: float = CONFIDENCE) -> Interval:
    """The total of `of` values of which these are a simple random sample: Student's t with the correction for a finite
    population (Cochran, Sampling Techniques, 3rd edition, sections 2.6 to 2.8); never less than what is spent.

    One value alone has no upper bound, unless it is all there is.
    """
    from scipy.stats import t

    count, spent = len(values), sum(values)
    if count >= of:
        return Interval(spent, spent, spent, spent)
    if count < 2:
        return Interval(spent, spent * of / max(1, count), spent, None)
    error = stdev(values) / math.sqrt(count) * math.sqrt(1 - count / of) * of
    reach = float(t.ppf((1 + confidence) / 2, count - 1)) * error
    expected = fmean(values) * of
    return Interval(spent, expected, max(spent, expected - reach), expected + reach)
