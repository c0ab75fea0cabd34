"""Numbers worked out by hand, or known from the papers."""

import dataclasses
import random

import pytest

from distill.records import Score
from distill.statistics import difference, mean_and_stderr, mean_bounds, paired_drop, share_bounds, spread


def score(by_problem, task="distill_gsm8k"):
    value = sum(by_problem.values()) / max(1, len(by_problem))
    return Score(task, "math", "avg@1", value, 0.0, len(by_problem), 1, 0.0, by_problem, False)


def test_mean_and_stderr_use_n_minus_one():
    mean, stderr = mean_and_stderr([0.0, 1.0, 1.0, 0.0])
    assert mean == 0.5
    assert stderr == pytest.approx((1 / 3) ** 0.5 / 2)


def test_samples_that_agree_are_worth_one():
    once = [1.0, 0.0] * 50
    assert mean_and_stderr(once)[1] == pytest.approx(0.5 / 99**0.5)  # whatever k was: one cluster, one observation


def test_one_problem_has_no_spread_and_a_wide_bound():
    assert mean_and_stderr([1.0]) == (1.0, 0.0)
    assert share_bounds([1.0], 0.95).lower == pytest.approx(0.05)
    assert share_bounds([1.0], 0.95).upper == pytest.approx(1.0)


def test_exact_bounds_of_a_known_case():
    bounds = share_bounds([1.0] * 81 + [0.0] * 182, 0.975)  # Newcombe, 1998, table I, method 5: 81 of 263
    assert bounds.lower == pytest.approx(0.2527, abs=1e-4)
    assert bounds.upper == pytest.approx(0.3676, abs=1e-4)


def test_none_seen_of_ten_thousand_is_the_rule_of_three():
    assert share_bounds([0.0] * 10_000, 0.95).upper == pytest.approx(3 / 10_000, rel=2e-3)


def test_bounds_are_those_of_a_normal_mean_where_there_are_many_problems():
    draw = random.Random(0)
    values = [sum(draw.random() < 0.7 for _ in range(4)) / 4 for _ in range(5000)]
    mean, stderr = mean_and_stderr(values)
    bounds = share_bounds(values, 0.95)
    assert bounds.lower == pytest.approx(mean - 1.6449 * stderr, abs=4e-4)
    assert bounds.upper == pytest.approx(mean + 1.6449 * stderr, abs=4e-4)


def test_independent_samples_narrow_the_bounds_and_equal_ones_do_not():
    alike, apart = [1.0, 0.0] * 50, [0.75, 0.25] * 50
    assert share_bounds(apart, 0.95).lower > share_bounds(alike, 0.95).lower + 0.03


def test_paired_drop_by_hand():
    base = {"a": 1.0, "b": 1.0, "c": 0.0, "d": 1.0}
    student = {"a": 1.0, "b": 0.0, "c": 0.0, "d": 1.0}
    drop = paired_drop(base, student, 0.95)
    assert drop.mean == 0.25
    assert -1 < drop.lower < 0.25 < drop.upper < 1
    turned = paired_drop(student, base, 0.95)
    assert turned.upper == pytest.approx(-drop.lower, abs=1e-9)


def test_equal_differences_are_not_certainty():
    same = {str(at): 1.0 for at in range(100)}
    drop = paired_drop(same, same, 0.95)
    assert drop.mean == 0 and drop.upper == pytest.approx(-drop.lower, abs=1e-9)
    assert drop.upper == pytest.approx(1 - 0.05 ** (1 / 100), abs=1e-8)


@pytest.mark.parametrize(
    "broken",
    [
        lambda: mean_and_stderr([]),
        lambda: share_bounds([], 0.95),
        lambda: share_bounds([1.1], 0.95),
        lambda: share_bounds([float("nan")], 0.95),
        lambda: mean_bounds([-2.0], 0.95, -1.0, 1.0),
        lambda: spread([], 4),
        lambda: spread([1.0], 0),
        lambda: difference(score({"a": 1.0}), score({}), 0.95),
        lambda: difference(score({"a": 1.0}), score({"a": 1.0}, "distill_math500"), 0.95),
    ],
)
def test_nothing_to_measure_is_an_error(broken):
    with pytest.raises(ValueError):
        broken()


def test_other_problems_are_an_error():
    with pytest.raises(ValueError, match="2 problems"):
        paired_drop({"a": 1.0}, {"b": 1.0}, 0.95)
    with pytest.raises(ValueError):
        paired_drop({}, {}, 0.95)


def test_the_spread_is_told_apart_into_problems_and_samples():
    draw = random.Random(1)
    chances = [0.9 if draw.random() < 0.5 else 0.3 for _ in range(20_000)]
    values = [sum(draw.random() < chance for _ in range(4)) / 4 for chance in chances]
    found = spread(values, 4)
    assert found.between == pytest.approx(0.09, abs=4e-3)
    assert found.within == pytest.approx((0.09 + 0.21) / 2, abs=4e-3)
    assert found.variance(16) == pytest.approx(0.09 + 0.15 / 16, abs=4e-3)
    assert spread([1.0, 0.0], 1).within == 0.0


def test_a_difference_is_paired_where_the_problems_are_the_same():
    base = score({str(at): float(at % 2) for at in range(200)})
    better = score({str(at): float(at % 2 or at % 20 == 0) for at in range(200)})
    told = difference(better, base, 0.95)
    assert told.paired and told.mean == pytest.approx(0.05) and told.low < 0.05 < told.high
    assert told.significant == (told.low > 0) and told.significant
    turned = difference(base, better, 0.95)
    assert turned.low == pytest.approx(-told.high, abs=1e-9)
    elsewhere = score({f"x{name}": value for name, value in better.by_problem.items()})
    apart = difference(elsewhere, base, 0.95)
    assert not apart.paired and not apart.significant and apart.high - apart.low > told.high - told.low


def test_a_task_that_ended_early_is_paired_over_what_it_asked():
    base = score({str(at): 1.0 for at in range(100)})
    early = dataclasses.replace(score({str(at): 0.0 for at in range(20)}), looks=(20,), planned=100)
    told = difference(early, base, 0.95)
    assert told.paired and told.mean == -1.0 and told.significant


def test_unpaired_shares_have_newcombes_interval():
    a = score({f"a{at}": float(at < 56) for at in range(70)})
    b = score({f"b{at}": float(at < 48) for at in range(80)})
    told = difference(a, b, 0.95)
    assert told.mean == pytest.approx(0.2)
    # Newcombe, 1998, table II, example a, with Wilson's bounds: 0.0524 to 0.3339. Exact ones are a little wider.
    assert 0.0524 - 0.015 < told.low < 0.0524
    assert 0.3339 < told.high < 0.3339 + 0.015
