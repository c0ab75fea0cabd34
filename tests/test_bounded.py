"""Gaffke's bound: exact for shares, right for any values, and finite at the edges."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import betainc, betaincinv
from scipy.stats import beta, multinomial

from distill import bounded
from distill.bounded import chance_below, lower_bound


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


@pytest.mark.parametrize(("n", "wrong"), [(1, 0), (2, 1), (30, 0), (30, 15), (1319, 4), (20_000, 0), (20_000, 9000)])
@pytest.mark.parametrize("level", [1e-6, 0.04, 0.4, 0.9])
def test_of_two_values_the_tail_is_the_betas(n, wrong, level):
    counts = np.array([[wrong + 1.0, n - wrong]])
    at = float(betaincinv(n - wrong, wrong + 1, level))
    assert chance_below(np.array([0.0, 1.0]), counts, at)[0] == pytest.approx(level, rel=1e-5)


@pytest.mark.parametrize("middle", [0.02, 0.5, 0.98])
@pytest.mark.parametrize("counts", [(1, 1, 1), (1, 2, 27), (3, 400, 20), (1, 1, 1319), (1, 1319, 1), (900, 30, 70)])
def test_of_three_values_the_tail_is_an_integral_of_betas(counts, middle):
    few, some, many = counts
    values = np.array([0.0, middle, 1.0])
    mean = float(values @ counts) / sum(counts)
    for at in (mean * 0.98, mean, mean + (1 - mean) * 0.02):

        def below(lost, at=at):  # the weight of the 0 is given: the others' mean must be below at / (1 - lost)
            share = np.clip((at / (1 - lost) - middle) / (1 - middle), 0, 1)
            return betainc(many, some, share) * beta.pdf(lost, few, some + many)

        edges = beta.ppf([1e-12, 0.01, 0.1, 0.5, 0.9, 0.99, 1 - 1e-12], few, some + many)
        kinks = np.clip([1 - at / middle, 1 - at], edges[0], edges[-1])
        points = np.unique([0.0, *edges, *kinks])
        expected = sum(quad(below, *ends, epsabs=1e-13)[0] for ends in pairwise(points))
        assert chance_below(values, np.array([counts], float), at)[0] == pytest.approx(expected, rel=1e-5, abs=1e-10)


def test_a_finer_integral_is_the_same_however_the_values_lie(monkeypatch):
    draw = np.random.default_rng(4)
    shapes = []
    for at in range(150):
        size = draw.integers(2, 7)
        far = [draw.random(size), 10 ** -(6 * draw.random(size)), 1 - 10 ** -(5 * draw.random(size))][at % 3]
        counts = np.ceil(10 ** (4 * draw.random(size + 2) * draw.random()))
        shapes.append((np.array([0.0, *np.sort(far), 1.0]), np.array([1.0, *counts[1:]])))
    shapes.append((np.array([0.0, 1e-6, 1.0]), np.array([1.0, 1319.0, 1.0])))  # many just below, and far from all else
    levels = 10 ** -(6 * draw.random(len(shapes)))
    bounds = [bounded._quantile(tuple(v), tuple(c), level) for (v, c), level in zip(shapes, levels, strict=True)]
    found = [chance_below(v, c[None], at)[0] for (v, c), at in zip(shapes, bounds, strict=True)]
    assert found == pytest.approx(levels, rel=1e-4), "the bound is where the tail has the level"
    for name, finer in {"_STEP": 0.02, "_REACH": 14.0, "_STRAIGHT": 20.0}.items():
        monkeypatch.setattr(bounded, name, finer)
    again = [chance_below(v, c[None], at)[0] for (v, c), at in zip(shapes, bounds, strict=True)]
    assert found == pytest.approx(again, rel=2e-5)


@pytest.mark.parametrize("n", [1, 2, 3, 6, 9])
def test_no_population_of_three_values_is_bounded_above_its_mean_more_often_than_stated(n):
    counts = np.array([(a, b, n - a - b) for a in range(n + 1) for b in range(n + 1 - a)])
    with_worst = np.concatenate([np.ones((len(counts), 1)), counts], axis=1)
    for values in ([0.0, 0.5, 1.0], [0.0, 0.9, 1.0], [0.2, 0.3, 1.0], [0.0, 0.99, 1.0]):
        for weights in ((0.01, 0.01, 0.98), (0.3, 0.4, 0.3), (0.05, 0.9, 0.05), (0.5, 0.01, 0.49), (0.9, 0.09, 0.01)):
            mean = float(np.dot(values, weights))
            tails = chance_below(np.array([0.0, *values]), with_worst, mean)
            chances = multinomial.pmf(counts, n, weights)
            for level in (0.001, 0.04, 0.2, 0.4):  # the bound is above the mean where the tail is below the level
                assert chances[tails <= level].sum() <= level


def test_rows_do_not_know_of_each_other():
    draw = np.random.default_rng(8)
    values, counts = np.arange(65) / 64, draw.multinomial(30, np.ones(65) / 65, size=300).astype(float)
    counts[:, 0] += 1
    together = chance_below(values, counts, 0.4)
    alone = [chance_below(values, row[None], 0.4)[0] for row in counts]
    assert together == pytest.approx(alone, rel=1e-6)


def test_an_error_of_nothing_leaves_only_the_worst():
    assert lower_bound([0.2, 0.5, 1.0], 1.0) == 0.0
    assert lower_bound([0.2, 0.5, 1.0], 1 - 1e-15, -1.0) == pytest.approx(-1.0, abs=1e-4)


def test_the_tails_at_the_edges():
    counts = np.array([[1.0, 9.0]])
    assert chance_below(np.array([0.0, 1.0]), counts, 0.0)[0] == 0.0
    assert chance_below(np.array([0.0, 1.0]), counts, 1.0)[0] == 1.0
    assert chance_below(np.array([0.0, 0.0]), counts, 0.0)[0] == 0.0


@pytest.mark.parametrize("broken", [lambda: lower_bound([], 0.95), lambda: lower_bound([-0.1], 0.95)])
def test_nothing_and_the_impossible_are_errors(broken):
    with pytest.raises(ValueError):
        broken()
