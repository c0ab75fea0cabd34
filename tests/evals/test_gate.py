"""What opens the gate, and what does not."""

import dataclasses

import pytest

from distill.gate_sections import Gate, GateTask
from distill.records import Score
from evals.gate import judge

MATH, LOGIC = "distill_gsm8k", "distill_bbh_logic"


def gate(**math):
    tasks = (GateTask(task=MATH, **(math or {"min": 0.7})), GateTask(task=LOGIC, min=0.1))
    return Gate(tasks=tasks)


def score(task, right, of=400, **changes):
    by_problem = {str(at): 1.0 if at < right else 0.0 for at in range(of)}
    value = right / of if of else 0.0
    domain = "math" if task == MATH else "logic"
    plain = Score(task, domain, "avg@1", value, 0.02, of, 1, 0.0, by_problem, False)
    return dataclasses.replace(plain, **changes)


def report(math, section=None, base=()):
    scores = [math, score(LOGIC, 300)]
    return judge(section or gate(), "ckpt", "bf16", [item for item in scores if item], {"base": list(base)})


def outcome(said, term, task=MATH):
    return next(check.outcome for check in said.checks if check.task == task and check.term == term)


@pytest.mark.parametrize(
    ("right", "expected"), [(280, "undecided"), (360, "pass"), (200, "fail"), (290, "undecided"), (270, "undecided")]
)
def test_floor(right, expected):
    said = report(score(MATH, right))
    assert outcome(said, "floor") == expected
    assert said.passed == (expected == "pass")


@pytest.mark.parametrize("math", [None, score(MATH, 0, of=0)])
def test_a_task_without_a_score_is_undecided(math):
    said = report(math)
    assert outcome(said, "score") == "undecided" and not said.passed


def test_no_scores_at_all_do_not_pass():
    assert not judge(gate(), "ckpt", "bf16", [], {}).passed


def test_smoke_never_passes_and_says_why():
    said = report(score(MATH, 400, smoke=True))
    assert not said.passed and said.smoke
    assert outcome(said, "complete") == "undecided"


def test_without_the_logic_domain_nothing_passes():
    said = judge(gate(), "ckpt", "bf16", [score(MATH, 400)], {})
    assert not said.passed and outcome(said, "score", LOGIC) == "undecided"


@pytest.mark.parametrize(
    ("right", "limit", "expected"),
    [(300, 0.01, "pass"), (299, 0.0, "undecided"), (200, 0.01, "fail"), (290, 0.03, "undecided"), (340, 0.0, "pass")],
)
def test_drop_is_paired(right, limit, expected):
    said = report(score(MATH, right), gate(max_drop=limit), [score(MATH, 300)])
    assert outcome(said, "drop") == expected


@pytest.mark.parametrize("base", [[], [score(MATH, 300, of=399)], [score(MATH, 0, of=0)]])
def test_drop_without_the_same_base_is_undecided(base):
    assert outcome(report(score(MATH, 400), gate(max_drop=0.5), base), "drop") == "undecided"


def test_too_many_unfinished_fail():
    said = report(score(MATH, 400, unfinished=0.051))
    assert outcome(said, "unfinished") == "fail" and not said.passed
    assert report(score(MATH, 400, unfinished=0.05)).passed


def test_a_broken_judge_is_undecided_and_never_the_models_zero():
    said = report(score(MATH, 0, unverified=1.0))
    assert {check.outcome for check in said.checks if check.task == MATH} == {"undecided", "pass"}
    assert outcome(said, "floor") == "undecided" and outcome(said, "unverified") == "undecided"
    broken_base = [score(MATH, 10, unverified=0.9)]
    assert outcome(report(score(MATH, 400), gate(max_drop=0.01), broken_base), "drop") == "undecided"


def test_why_is_a_sentence_with_numbers():
    for check in report(score(MATH, 280)).checks:
        assert check.why.endswith(".") and any(letter.isdigit() for letter in check.why)
