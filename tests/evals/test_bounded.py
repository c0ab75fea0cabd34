"""Gaffke's bound: exact for shares, right for any values, and finite at the edges."""

import numpy as np
import pytest
from scipy.special import betaincinv

from evals import bounded
from evals.bounded import chance_below, lower_bound


@pytest.mark.parametrize(("n", "wrong"), [(1, 0), (5, 0), (5, 2), (30, 0), (30, 1), (30, 15), (500, 10), (20_000, 3)])
def test_of_right_and_wrong_it_is_clopper_and_pearsons(n, wrong):
    found = lower_bound([1.0] * (n - wrong) + [0.0] * wrong, 0.95)
    assert found == pytest.approx(betaincinv(n - wrong, wrong + 1, 0.05), abs=1e-8)


def test_all_wrong_is_bounded_by_the_worst():
    assert lower_bound([0.0] * 20, 0.95) == 0.0
    assert lower_bound([-1.0] * 20, 0.95, -1.0) == -1.0


def test_of_shares_it_is_the_quantile_of_the_dirichlet_mean():
    values, counts = np.array([0.0, 0.25, 0.5, 0.75, 1.0]), np.array([[2.0, 1.0, 5.0, 4.0, 9.0]])
    draws = np.random.default_rng(0).dirichlet(counts[0], size=200_000) @ values
    for at in (0.5, 0.65, 0.8):
        assert chance_below(values, counts, at)[0] == pytest.approx((draws < at).mean(), abs=4e-3)


def test_a_value_that_was_not_seen_changes_nothing():
    seen = chance_below(np.array([0.0, 0.5, 1.0]), np.array([[1.0, 3.0, 4.0]]), 0.6)
    more = chance_below(np.array([-9.0, 0.0, 0.5, 1.0, 7.0]), np.array([[0.0, 1.0, 3.0, 4.0, 0.0]]), 0.6)
    assert seen == pytest.approx(more, abs=1e-12)


def test_a_finer_integral_is_the_same(monkeypatch):
    values = np.arange(17) / 16
    few_wrong = np.array([[1.0, 1.0, *[0.0] * 14, 1319.0]])
    for n in (1, 2, 5, 30, 400, 1319):
        counts = np.random.default_rng(n).multinomial(n, np.ones(17) / 17, size=20).astype(float)
        counts[:, 0] += 1
        found = [chance_below(values, counts, at) for at in (0.1, 0.45, 0.9)]
        crowded = chance_below(values, few_wrong, 0.996)
        with monkeypatch.context() as finer:
            finer.setattr(bounded, "_STEPS", (0.01, 0.002))
            finer.setattr(bounded, "_REACH", 8.0)
            again = [chance_below(values, counts, at) for at in (0.1, 0.45, 0.9)]
            crowded_again = chance_below(values, few_wrong, 0.996)
        assert np.abs(np.array(found) - np.array(again)).max() < 1e-6
        assert crowded == pytest.approx(crowded_again, rel=1e-5)


def test_the_tails_at_the_edges():
    counts = np.array([[1.0, 9.0]])
    assert chance_below(np.array([0.0, 1.0]), counts, 0.0)[0] == 0.0
    assert chance_below(np.array([0.0, 1.0]), counts, 1.0)[0] == 1.0
    assert chance_below(np.array([0.0, 0.0]), counts, 0.0)[0] == 0.0


@pytest.mark.parametrize("broken", [lambda: lower_bound([], 0.95), lambda: lower_bound([-0.1], 0.95)])
def test_nothing_and_the_impossible_are_errors(broken):
    with pytest.raises(ValueError):
        broken()
