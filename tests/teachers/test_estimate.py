"""What a pilot says of the whole: the interval covers the truth as often as it says, and its edges make sense."""

import random
from typing import Any

import pytest

from distill.records import Completion, Problem, Sampling, Trace
from distill.teacher_sections import Budget
from teachers.estimate import Interval, estimate, interval

PRICES = Budget(usd_per_million_input=1.0, usd_per_million_output=10.0, max_usd=3.0)


def trace(number: int, tokens: int | None, seed: int = 0) -> Trace:
    problem = Problem.of(f"What is {number}?", "1", "math", "test")
    said = Completion("x" * 300, "y" * 30, "stop", 100, tokens, "r1")
    return Trace(Trace.name(problem, seed), problem, said, "r1", seed, Sampling(), None, "", 0.0)


@pytest.mark.parametrize(("count", "of"), [(10, 1000), (40, 200), (150, 160)])
def test_the_interval_covers_the_truth(count: int, of: int) -> None:
    drawn, covered = random.Random(count), 0
    for _ in range(400):
        everyone = [drawn.lognormvariate(9, 0.6) for _ in range(of)]
        found = interval(drawn.sample(everyone, count), of)
        assert found.high is not None and found.spent <= found.low <= found.expected <= found.high
        covered += found.low <= sum(everyone) <= found.high
    assert 0.88 < covered / 400 <= 1.0  # 95 % for a normal spread; lengths are skewed, and ten of them are few


def test_edges() -> None:
    assert interval([1.0, 3.0], 2) == Interval(4.0, 4.0, 4.0, 4.0)
    assert interval([5.0], 10) == Interval(5.0, 50.0, 5.0, None)
    assert interval([2.0, 2.0, 2.0], 30) == Interval(6.0, 60.0, 60.0, 60.0)


def test_tokens_and_dollars_of_the_whole() -> None:
    found = estimate([trace(1, 900), trace(1, 1100, 1), trace(2, 2000)], 2, 2, 200, PRICES)
    assert (found.asked, found.problems, found.traces, found.right, found.estimated) == (2, 200, 3, 2, 0)
    assert found.tokens.spent == 4300 and found.tokens.expected == 430_000
    assert found.usd is not None and found.usd.spent == pytest.approx(0.0403)
    said = "\n".join(found.lines())
    assert "estimate from 2 of 200 problems: 3 traces, 2 verified" in said
    assert "a verified trace takes 2,150 tokens and $0.0202" in said
    assert "max_usd: 3 is enough for about 148 of the 200 problems" in said


def test_a_problem_without_a_trace_counts_as_nothing() -> None:
    assert estimate([trace(1, 900)], 1, 2, 4, None).tokens.expected == 2000


def test_counts_that_were_not_stated_are_taken_from_the_text_and_said() -> None:
    found = estimate([trace(1, None), trace(2, None)], 0, 2, 2, None)
    assert found.estimated == 2 and found.tokens.spent == 2 * (100 + 100 + 10) and found.usd is None
    assert "taken from the text" in found.lines()[-1]


def test_one_problem_alone_bounds_nothing() -> None:
    facts: dict[str, Any] = estimate([trace(1, 900)], 1, 1, 5, PRICES).facts()
    assert facts["tokens"]["high"] is None
    assert "unknown; ask for two problems or more" in "\n".join(estimate([trace(1, 900)], 1, 1, 5, PRICES).lines())
