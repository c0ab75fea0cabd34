"""Which attempt comes next: the rule, whatever the order in which answers come."""

import random
from collections import Counter
from typing import Any

import pytest

from distill.records import Problem
from distill.teacher_sections import ScriptedTeacher
from teachers.attempts import Attempts

PROBLEMS = [Problem.of(f"What is {at}?", str(at), "math", "test") for at in range(40)]
CHANCES = {problem.id: (0.0, 0.2, 0.6, 1.0)[at % 4] for at, problem in enumerate(PROBLEMS)}


def rule(**settings: Any) -> ScriptedTeacher:
    return ScriptedTeacher(kind="scripted", **settings)


def right(problem_id: str, number: int) -> bool:
    return random.Random(f"{problem_id}{number}").random() < CHANCES[problem_id]


def play(attempts: Attempts, width: int, seed: int) -> list[tuple[str, int]]:
    """Makes every attempt that is offered, `width` at a time, which end in an order of their own."""
    order, open_, made = random.Random(seed), [], []
    offers = attempts.offers()
    while True:
        offer = next(offers, None) if len(open_) < width else None
        if offer is not None:
            problem, number = offer
            open_.append((problem.id, number))
            made.append((problem.id, number))
        elif open_:
            problem_id, number = open_.pop(order.randrange(len(open_)))
            attempts.judge(problem_id, right(problem_id, number))
        else:
            return made


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize(("keep", "most", "patience"), [(1, 1, None), (1, 8, None), (2, 8, 3), (3, 5, None), (4, 4, 1)])
def test_the_rule_holds_whatever_the_order(keep: int, most: int, patience: int | None, together: bool) -> None:
    section = rule(keep_per_problem=keep, max_per_problem=most, give_up_after=patience)
    runs = []
    for width, seed in ((1, 0), (7, 1), (200, 2), (64, 3)):
        attempts = Attempts(PROBLEMS, section, together=together)
        made = play(attempts, width, seed)
        assert len(made) == len(set(made)) and attempts.done == len(PROBLEMS) and attempts.lacking() == 0
        runs.append(set(made))
    assert all(made == runs[0] for made in runs), "what is asked hangs on which answer came first"
    for problem in PROBLEMS:
        numbers = sorted(number for problem_id, number in runs[0] if problem_id == problem.id)
        assert numbers == list(range(len(numbers))) and len(numbers) <= most
        verified = [right(problem.id, number) for number in numbers]
        if sum(verified) >= keep:
            assert sum(verified) == keep and verified[-1]
        elif any(verified):
            assert len(numbers) == most
        else:
            assert len(numbers) == min(most, section.patience)


def test_without_keep_every_attempt_is_made_firsts_first() -> None:
    made = play(Attempts(PROBLEMS, rule(max_per_problem=3)), 5, 0)
    assert [number for _, number in made] == [0] * 40 + [1] * 40 + [2] * 40
    together = play(Attempts(PROBLEMS, rule(max_per_problem=3), together=True), 5, 0)
    assert [number for _, number in together] == [0, 1, 2] * 40


def test_first_attempts_come_before_the_second_of_those_that_failed() -> None:
    made = play(Attempts(PROBLEMS, rule(max_per_problem=4, keep_per_problem=1)), 4, 0)
    assert len({problem_id for problem_id, _ in made[:40]}) == 40


def test_what_was_made_before_is_not_made_again() -> None:
    section = rule(keep_per_problem=2, max_per_problem=8)
    whole = play(Attempts(PROBLEMS, section), 9, 0)
    again = Attempts(PROBLEMS, section)
    for problem_id, number in whole[:50]:
        again.recall(problem_id, number)
    for problem_id, number in whole[:50]:
        again.judge(problem_id, right(problem_id, number))
    rest = play(again, 9, 1)
    assert Counter(rest) == Counter(whole) - Counter(whole[:50]) and again.done == len(PROBLEMS)


def test_a_failure_is_no_sign_of_a_hard_problem() -> None:
    attempts = Attempts(PROBLEMS[:1], rule(keep_per_problem=1, max_per_problem=9, give_up_after=2))
    asked = []
    for offer in attempts.offers():
        assert offer is not None
        asked.append(offer[1])
        if offer[1] < 5:
            attempts.ended(offer[0].id)
        else:
            attempts.judge(offer[0].id, False)
    assert asked == list(range(7))


def test_nothing_can_be_said_while_an_answer_is_open() -> None:
    attempts = Attempts(PROBLEMS[:1], rule(keep_per_problem=1, max_per_problem=2))
    offers = attempts.offers()
    assert next(offers) == (PROBLEMS[0], 0) and next(offers) is None and next(offers) is None
    attempts.judge(PROBLEMS[0].id, False)
    assert next(offers) == (PROBLEMS[0], 1) and next(offers) is None
    attempts.judge(PROBLEMS[0].id, None)
    assert next(offers, "end") == "end"


def test_only_what_waits_is_held() -> None:
    attempts = Attempts(PROBLEMS, rule(keep_per_problem=1, max_per_problem=3))
    offers, open_ = attempts.offers(), []
    for _ in range(400):
        offer = next(offers, None)
        if offer is not None and len(open_) < 6:
            open_.append(offer[0].id)
        while len(open_) > 5 or (offer is None and open_):
            attempts.judge(open_.pop(0), False)
        assert len(attempts._held) <= 6
