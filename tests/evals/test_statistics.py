"""Numbers worked out by hand, or known from the papers."""

import pytest

from evals.statistics import mean_and_stderr, paired_drop, share_bounds


def test_mean_and_stderr_use_n_minus_one():
    mean, stderr = mean_and_stderr([0.0, 1.0, 1.0, 0.0])
    assert mean == 0.5
    assert stderr == pytest.approx((1 / 3) ** 0.5 / 2)


def test_one_problem_has_no_spread_and_a_wide_bound():
    assert mean_and_stderr([1.0]) == (1.0, 0.0)
    assert share_bounds([1.0], 4, 0.95).lower == pytest.approx(1 / (1 + 1.6448536**2), abs=1e-6)


def test_wilson_bound_of_a_known_case():
    bounds = share_bounds([1.0] * 81 + [0.0] * 182, 1, 0.975)  # Newcombe, 1998, table I: 81 of 263
    assert bounds.lower == pytest.approx(0.2553, abs=2e-4)
    assert bounds.upper == pytest.approx(0.3662, abs=2e-4)


def test_all_right_is_bounded_by_the_problems_and_not_by_the_samples():
    assert share_bounds([1.0] * 100, 8, 0.95).lower == pytest.approx(100 / (100 + 1.6448536**2), abs=1e-6)


def test_samples_that_agree_are_worth_one_and_independent_ones_at_most_k():
    alike, apart = [1.0, 0.0] * 50, [0.75, 0.25] * 50
    assert share_bounds(alike, 4, 0.95) == share_bounds(alike, 1, 0.95)
    assert share_bounds(apart, 4, 0.95).lower > share_bounds(alike, 4, 0.95).lower
    assert share_bounds([0.5, 0.5, 0.5, 0.51] * 25, 4, 0.95).lower == pytest.approx(
        share_bounds([1.0, 0.0] * 200, 1, 0.95).lower, abs=5e-3
    )


def test_paired_drop_by_hand():
    base = {"a": 1.0, "b": 1.0, "c": 0.0, "d": 1.0}
    student = {"a": 1.0, "b": 0.0, "c": 0.0, "d": 1.0}
    drop = paired_drop(base, student, 0.95)
    assert drop.mean == 0.25
    assert drop.upper == pytest.approx(0.25 + max(1.6448536 * 0.25, 1.6448536**2 / (4 + 1.6448536**2)))


def test_equal_differences_are_not_certainty():
    same = {str(at): 1.0 for at in range(100)}
    drop = paired_drop(same, same, 0.95)
    assert drop.mean == 0 and drop.upper == -drop.lower
    assert drop.upper == pytest.approx(0.02634, abs=1e-4)


@pytest.mark.parametrize("broken", [lambda: mean_and_stderr([]), lambda: share_bounds([1.0], 0, 0.95)])
def test_nothing_to_measure_is_an_error(broken):
    with pytest.raises(ValueError):
        broken()


def test_other_problems_are_an_error():
    with pytest.raises(ValueError, match="2 problems"):
        paired_drop({"a": 1.0}, {"b": 1.0}, 0.95)
    with pytest.raises(ValueError):
        paired_drop({}, {}, 0.95)
