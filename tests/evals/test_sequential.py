"""Looks, their levels, and 2,000 runs each of students exactly on a threshold, who may hardly ever pass."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from scipy.special import betainc, ndtr, ndtri
from scipy.stats import binom

from evals.sequential import FEWEST, POWER, SPENT, Rule, crossings, decide, levels, looks

_spec = importlib.util.spec_from_file_location("evals_simulated", Path(__file__).with_name("simulated.py"))
simulated = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(simulated)

SAMPLES = (1, 4, 16)
ALLOWED = 0.05
"""The share of those exactly on the threshold that may pass at confidence 0.95."""


@pytest.mark.parametrize("n", [1, 5, 10, 11, 30, 99, 1319, 12_000])
def test_looks_are_few_and_end_with_all(n):
    ends = looks(n)
    assert 1 <= len(ends) <= 5 and ends[-1] == n
    assert list(ends) == sorted(set(ends))
    assert all(end >= min(FEWEST, n) for end in ends)


def test_gsm8k_is_looked_at_five_times():
    assert looks(1319) == (132, 264, 462, 792, 1319)


@pytest.mark.parametrize("n", [0, -1])
def test_a_task_without_problems_has_no_looks(n):
    with pytest.raises(ValueError):
        looks(n)


def test_one_look_may_spend_all():
    assert levels((30,), 30, 0.95) == pytest.approx((0.05 * SPENT,), rel=1e-6)


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.999])
def test_no_more_is_spent_than_stated_and_later_looks_change_no_earlier_level(confidence):
    ends = looks(1000)
    found = levels(ends, 1000, confidence)
    steps = np.diff([0, *ends]) / 1000
    draws = np.random.default_rng(3).standard_normal((400_000, len(ends))) * np.sqrt(steps)
    heights = draws.cumsum(axis=1) / np.sqrt(np.cumsum(steps))
    tails = np.array([np.quantile(draws[:, 0] / steps[0] ** 0.5, 1 - level) for level in found])
    crossed = (heights >= tails).any(axis=1).mean()
    assert crossed == pytest.approx((1 - confidence) * SPENT, rel=0.25 if confidence > 0.99 else 0.05)
    for at in range(1, len(ends)):
        assert levels(ends[:at], 1000, confidence) == pytest.approx(found[:at])
    assert found[0] == pytest.approx((1 - confidence) * SPENT * (ends[0] / 1000) ** POWER, rel=1e-6)


def test_crossings_are_lan_and_demets_of_five_equal_looks():
    times = np.arange(1, 6) / 5
    spent = 2 * ndtr(ndtri(0.025 / 2) / np.sqrt(times))  # as O'Brien and Fleming do
    known = [4.8769, 3.3569, 2.6803, 2.2898, 2.0310]  # Reboussin et al., 2000, Controlled Clinical Trials 21, table 1
    assert crossings(times, spent) == pytest.approx(known, abs=2e-3)


@pytest.mark.parametrize("ends", [(), (5, 5), (7, 5), (0, 5), (5, 11)])
def test_looks_that_lead_nowhere_are_an_error(ends):
    with pytest.raises(ValueError):
        levels(ends, 10, 0.95)


@pytest.mark.parametrize(
    ("values", "ends"), [([], ()), ([1.0] * 20, (10,)), ([1.0] * 20, (10, 30)), ([2.0] * 20, ()), ([float("nan")], ())]
)
def test_values_that_do_not_fit_are_an_error(values, ends):
    with pytest.raises(ValueError):
        decide(values, ends, 100, Rule(0.5, 0.95))


def test_the_first_look_that_decides_stays_whatever_came_after():
    values = [1.0] * 50 + [0.0] * 50
    early = decide(values[:50], (20, 50), 100, Rule(0.5, 0.95))
    late = decide(values, (20, 50, 100), 100, Rule(0.5, 0.95))
    assert early.outcome == late.outcome == "pass" and late.problems == 20
    assert decide(values, (), 100, Rule(0.7, 0.95)).outcome == "fail"
    assert decide(values, (), 100, Rule(0.5, 0.95)).outcome == "undecided"


def test_all_right_is_no_certainty_where_few_were_asked():
    assert decide([1.0] * 30, (), 30, Rule(0.95, 0.95)).outcome == "undecided"
    assert decide([1.0], (), 1, Rule(0.5, 0.95)).outcome == "undecided"
    assert decide([1.0] * 3, (), 3, Rule(0.0, 0.95)).outcome == "pass"


def test_more_is_never_worse_and_a_bound_never_contradicts_what_was_measured():
    draw = np.random.default_rng(11)
    rank = {"fail": 0, "undecided": 1, "pass": 2}
    seen = set()
    for _ in range(200):
        n, k = int(draw.choice([1, 2, 3, 10, 11, 30, 64])), int(draw.choice([1, 2, 3, 16, 64]))
        low = float(draw.choice([0.0, -1.0]))
        values = draw.binomial(k, draw.choice([0.0, 0.5, 0.98, 1.0, draw.random()]), size=n) / k
        if low < 0:
            values = values - draw.binomial(k, draw.random(), size=n) / k
        threshold = float(draw.choice([low, 1e-9, 0.5, 0.98, 1.0, low + (1 - low) * draw.random()]))
        rule = Rule(threshold, float(draw.choice([0.5001, 0.8, 0.95, 0.99, 0.9999])), low, 1.0)
        ends = looks(n) if draw.random() < 0.5 else ()
        found = decide(values.tolist(), ends, n, rule)
        estimate = found.estimate
        assert low <= estimate.lower <= estimate.mean <= estimate.upper <= 1.0
        assert found.outcome != "pass" or estimate.mean >= threshold
        assert found.outcome != "fail" or estimate.mean < threshold
        better, at = values.copy(), draw.integers(n)
        better[at] += (1 - better[at]) * draw.random()
        assert rank[decide(better.tolist(), ends, n, rule).outcome] >= rank[found.outcome]
        lower = Rule(threshold - 0.01, rule.confidence, low, 1.0)
        assert rank[decide(values.tolist(), ends, n, lower).outcome] >= rank[found.outcome]
        seen.add(found.outcome)
    assert seen == set(rank)


def test_a_drop_is_the_same_rule_on_what_is_negative():
    equal = [0.0] * 400
    assert decide(equal, (), 400, Rule(-0.01, 0.95, -1.0, 1.0)).outcome == "pass"
    assert decide(equal, (), 400, Rule(-0.005, 0.95, -1.0, 1.0)).outcome == "undecided"
    assert decide([-1.0] * 20 + equal, (), 420, Rule(-0.01, 0.95, -1.0, 1.0)).outcome == "fail"


def test_the_simulation_decides_as_the_gate_does():
    ends, draw = looks(100), np.random.default_rng(5)
    for student in simulated.floor_populations(4, 0.8):
        for threshold in (0.7, 0.8):
            steps = [draw.multinomial(n, student.weights) for n in np.diff([0, *ends])]
            asked = [draw.permutation(np.repeat(student.values, step)) for step in steps]
            found = decide(list(np.concatenate(asked)), ends, 100, Rule(threshold, 0.95))
            seen, allowed = np.cumsum(steps, axis=0), levels(ends, 100, 0.95)
            passes = [
                simulated.decided(student.values, seen[at][None], threshold, allowed[at])[0] for at in range(len(ends))
            ]
            fails = [
                simulated.decided(1 - student.values, seen[at][None], 1 - threshold, allowed[at])[0]
                for at in range(len(ends))
            ]
            first = next((at for at in range(len(ends)) if passes[at] or fails[at]), None)
            outcome = "undecided" if first is None else "pass" if passes[first] else "fail"
            assert found.outcome == outcome
            assert first is None or found.problems == ends[first]


@pytest.mark.parametrize("k", SAMPLES)
@pytest.mark.parametrize("n", [30, 100, 500])
def test_exactly_on_a_floor_hardly_anyone_passes(n, k):
    for mean in (0.5, 0.9, 0.98, 0.998):
        for student in simulated.floor_populations(k, mean):
            said = simulated.run(student, n, student.mean, n + k)
            assert said.fixed <= ALLOWED, (student.name, mean, said)
            assert said.rounds <= ALLOWED, (student.name, mean, said)


@pytest.mark.parametrize("k", SAMPLES)
@pytest.mark.parametrize("n", [30, 100, 500])
def test_exactly_at_a_maximum_drop_hardly_anyone_passes(n, k):
    for base, drop in ((0.5, 0.01), (0.9, 0.03), (0.998, 0.01)):
        for student in simulated.drop_populations(k, base, drop):
            said = simulated.run(student, n, student.mean, n + k)
            assert said.fixed <= ALLOWED, (student.name, base, drop, said)
            assert said.rounds <= ALLOWED, (student.name, base, drop, said)


@pytest.mark.parametrize("confidence", [0.5001, 0.8, 0.95, 0.99])
@pytest.mark.parametrize("n", [1, 10, 11, 12, 15, 30, 100, 198, 500])
def test_of_right_and_wrong_the_rounds_err_no_more_than_is_spent(n, confidence):
    """Without chance: how many are right is binomial, and the bound is Clopper and Pearson's."""
    ends = looks(n)
    for truth in (0.001, 0.116, 0.3, 0.5, 0.7, 0.8, 0.9, 0.98, 0.999):
        weights, before, wrong = np.ones(1), 0, 0.0
        for end, level in zip(ends, levels(ends, n, confidence), strict=True):
            weights = np.convolve(weights, binom.pmf(np.arange(end - before + 1), end - before, truth))
            right = np.arange(end + 1)
            passes = (right > 0) & (betainc(np.maximum(right, 1), end - right + 1, truth) <= level)
            wrong += weights[passes].sum()
            weights, before = np.where(passes, 0.0, weights), end
        assert wrong <= (1 - confidence) * SPENT


def test_rounds_save_samples_where_a_student_is_far_from_its_threshold():
    student = next(simulated.floor_populations(4, 0.8))
    near, far = (simulated.run(student, 1319, floor, 7, runs=500, fails=True) for floor in (0.79, 0.7))
    assert far.rounds > 0.99 and far.asked < 0.35 < near.asked
