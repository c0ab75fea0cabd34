"""Power: known cases, and 2,000 runs each of students 3 points above a threshold, who pass as often as foretold."""

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest
from scipy.special import bdtrc, betainc

from distill.gate_sections import Gate
from distill.statistics import Spread
from evals.power import (
    Design,
    Forecast,
    chance,
    drop_power,
    drop_variance,
    floor_power,
    forecast,
    lines,
    problems_needed,
    samples_needed,
)
from evals.sequential import levels, looks

_spec = importlib.util.spec_from_file_location("evals_simulated", Path(__file__).with_name("simulated.py"))
simulated = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(simulated)

MARGIN = 0.03
LEVEL = 0.04


def test_of_one_sample_each_it_stays_just_below_the_binomials_power():
    n, floor, truth = 500, 0.87, 0.90
    least = next(right for right in range(1, n + 1) if betainc(right, n - right + 1, floor) <= LEVEL)
    exact = float(bdtrc(least - 1, n, truth))
    assert exact - 0.05 < floor_power(Design(n, 1), floor, truth - floor) <= exact


def test_more_problems_samples_and_margin_help_and_rounds_cost_a_little():
    usual = floor_power(Design(1319, 4, alike=0.5), 0.7, MARGIN)
    assert floor_power(Design(2638, 4, alike=0.5), 0.7, MARGIN) > usual
    assert floor_power(Design(1319, 16, alike=0.5), 0.7, MARGIN) > usual
    assert floor_power(Design(1319, 4, alike=0.5), 0.7, 0.05) > usual
    assert floor_power(Design(1319, 4, alike=1.0), 0.7, MARGIN) < usual
    in_rounds = floor_power(Design(1319, 4, alike=0.5, rounds=True), 0.7, MARGIN)
    assert usual - 0.1 < in_rounds < usual
    assert drop_power(Design(1319, 4, together=0.9), 0.01, 0.03, 0.8) > drop_power(Design(1319, 4), 0.01, 0.03, 0.8)


@pytest.mark.parametrize(
    "broken",
    [
        lambda: chance(0, 0.5, 0.4, 0.1, LEVEL),
        lambda: floor_power(Design(100, 1), 0.99, 0.03),
        lambda: drop_power(Design(100, 1), 0.01, 0.03, 0.99),
        lambda: floor_power(Design(0, 1), 0.9, 0.03),
    ],
)
def test_no_design_is_an_error(broken):
    with pytest.raises(ValueError):
        broken()


def test_the_edges():
    assert chance(10, 0.5, 0.0, 0.25, LEVEL) == 1.0
    assert chance(10, 0.0, 0.1, 0.0, LEVEL) == 0.0
    assert chance(10, 0.5, 0.5, 0.25, LEVEL) <= 0.05
    assert chance(30, 1.0, 0.95, 0.0, LEVEL) == 0.0  # 30 of 30 right show no more than 0.898
    assert chance(100, 1.0, 0.95, 0.0, LEVEL) > 0.99


def test_two_points_take_thousands_of_problems_and_the_number_found_tells_them():
    spread = Spread(0.2, 0.0)
    needed = problems_needed(0.72, 0.7, spread.variance(1), LEVEL)
    assert (
        needed is not None and 3000 < needed < 5000
    )  # (1.75 + 0.84)^2 * 0.2 / 0.02^2 = 3,354, and what it is cautious by
    assert chance(needed, 0.72, 0.7, 0.2, LEVEL) >= 0.8 > chance(needed * 9 // 10, 0.72, 0.7, 0.2, LEVEL)
    assert problems_needed(0.7, 0.7, 0.2, LEVEL) is None
    assert problems_needed(0.5, 0.7, 0.2, LEVEL) is None


def test_samples_help_only_against_what_samples_vary_by():
    enough = samples_needed(1000, 0.73, 0.7, Spread(0.05, 0.15), LEVEL)
    assert enough is not None and enough > 1
    assert chance(1000, 0.73, 0.7, Spread(0.05, 0.15).variance(enough), LEVEL) >= 0.8
    assert chance(1000, 0.73, 0.7, Spread(0.05, 0.15).variance(enough - 1), LEVEL) < 0.8
    assert samples_needed(1000, 0.73, 0.7, Spread(0.2, 0.0), LEVEL) is None


def test_pairing_saves_twice_the_covariance():
    design = Design(100, 4, alike=0.6, together=0.5)
    each = 0.16 * (0.6 + 0.4 / 4)
    assert drop_variance(design, 0.8, 0.8) == pytest.approx(2 * each - 2 * 0.5 * 0.16 * 0.6)


@pytest.mark.parametrize("k", [1, 4, 16])
@pytest.mark.parametrize("n", [100, 1319])
def test_three_points_above_a_floor_pass_as_often_as_foretold(n, k):
    last = levels(looks(n), n, 0.95)[-1]
    for floor in (0.5, 0.9):
        for student in simulated.floor_populations(k, floor + MARGIN):
            said = simulated.run(student, n, floor, n + k, fails=True)
            assert said.fixed >= chance(n, student.mean, floor, student.variance, LEVEL), (student.name, floor)
            assert said.rounds >= chance(n, student.mean, floor, student.variance, last), (student.name, floor)
            assert said.fixed >= floor_power(Design(n, k), floor, MARGIN)
            assert said.rounds >= floor_power(Design(n, k, rounds=True), floor, MARGIN)


@pytest.mark.parametrize("k", [1, 4, 16])
@pytest.mark.parametrize("n", [100, 1319])
def test_three_points_within_a_maximum_drop_pass_as_often_as_foretold(n, k):
    last = levels(looks(n), n, 0.95)[-1]
    for base, drop in ((0.6, 0.01), (0.95, 0.005)):
        for student in simulated.drop_populations(k, base, drop):
            limit = student.mean - MARGIN / 2
            said = simulated.run(student, n, limit, n + k, fails=True)
            assert said.fixed >= chance(n, student.mean, limit, student.variance, LEVEL), (student.name, base)
            assert said.rounds >= chance(n, student.mean, limit, student.variance, last), (student.name, base)
            assert said.fixed >= drop_power(Design(n, k), drop + MARGIN, MARGIN, base), (student.name, base)


@pytest.mark.parametrize(("ends", "k", "margin"), [((100,), 4, 0.03), (looks(30), 16, 0.1), (looks(30), 64, 0.1)])
def test_shapes_that_few_errors_make_pass_as_often_as_foretold_where_little_confidence_is_asked_for(ends, k, margin):
    n, level = ends[-1], levels(ends, ends[-1], 0.8)[-1]
    values, all_right, none_right = np.arange(k + 1) / k, np.eye(k + 1)[k], np.eye(k + 1)[0]
    lapses = 0.98 * all_right + 0.02 * simulated.right(k, 0.5)
    scattered = 0.995 * simulated.right(k, 0.9) + 0.005 * none_right
    for weights in (lapses, scattered):
        student = simulated.Population("", values, weights)
        counts = np.random.default_rng(n + k).multinomial(n, weights / weights.sum(), size=4000)
        passed = simulated.decided(values, counts, student.mean - margin, level).mean()
        assert passed >= chance(n, student.mean, student.mean - margin, student.variance, level)


def test_a_recipe_is_told_what_its_checks_can_show():
    gate = Gate.model_validate(
        {
            "tasks": [
                {"task": "distill_gsm8k", "min": 0.7, "max_drop": 0.01},
                {"task": "distill_bbh_logic", "min": 0.99, "limit": 20},
                {"task": "distill_aime24", "max_drop": 0.0},
            ]
        }
    )
    found = forecast(gate, {"distill_gsm8k": 1319, "distill_bbh_logic": 3000})
    assert [(one.task, one.term) for one in found] == [
        ("distill_gsm8k", "floor"),
        ("distill_gsm8k", "drop"),
        ("distill_bbh_logic", "floor"),
    ]
    assert found[0].design.problems == 1319 and found[2].design.problems == 20
    assert 0.5 < found[0].chance < 1 and found[2].chance == 0.0 and found[2].margin == pytest.approx(0.01)
    assert found[0].problems is not None and found[0].problems > 1319
    assert found[0].samples is None, "at worst, more samples say nothing new"
    known = forecast(gate, {"distill_gsm8k": 1319}, alike=0.1, together=0.9)
    assert all(now.chance > before.chance for now, before in zip(known, found, strict=False))
    assert known[0].samples is not None and known[1].samples is not None


def test_a_forecast_is_a_table_that_fits():
    name = "distill_" + "x" * 22
    design = Design(12_000, 64, rounds=True)
    rows = [
        Forecast("distill_gsm8k", "floor", 0.7, Design(1319, 4), 0.03, 0.714, 0.02, 3784, None),
        Forecast(name, "drop", 0.0125, design, 0.03, 1.0, 0.02, 1_234_567, 1024),
        Forecast(name, "floor", 0.999, design, 0.001, 0.0, 0.001, None, None),
    ]
    said = lines(rows)
    heads, *table = (re.split("  +", line) for line in said[:4])
    assert heads == ["task", "check", "threshold", "problems x k", "chance to pass", "problems needed", "samples"]
    assert table[0] == ["distill_gsm8k", "floor", "0.7", "1,319 x 4", "71% at +3", "3,784 to tell 2", "none"]
    assert table[1] == [name, "drop", "0.0125", "12,000 x 64", "100% at +3", "1,234,567 to tell 2", "1,024"]
    assert table[2][4:] == ["0% at +0.1", "none tells 0.1", "none"]
    assert len({len(line) for line in said[:4]}) == 1 and all(len(line) <= 110 for line in said)
    below = " ".join(said[5:])
    assert "at 95% confidence" in below and "100% of what samples vary by" in below and "correlation of 0;" in below
    assert lines([]) == []


@pytest.mark.parametrize("settings", [{"min": 1.0}, {"min": 0.0, "max_drop": 1.0}, {"max_drop": 0.0}, {"min": 0.999}])
def test_a_recipe_at_the_edges_is_told_something(settings):
    tasks = [{"task": "distill_gsm8k", **settings}, {"task": "distill_bbh_logic", "min": 0.5}]
    gate = Gate.model_validate({"tasks": tasks, "until_decided": True})
    for found in forecast(gate, {"distill_gsm8k": 1, "distill_bbh_logic": 3000}):
        assert 0 <= found.chance <= 1 and len(lines([found])[0]) <= 110
