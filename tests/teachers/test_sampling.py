"""Asking teachers: which attempts, how many, what they cost, and when to stop."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pytest

import teachers
from distill.answers import boxed
from distill.engines.scripted import ScriptedEngine
from distill.records import Completion, Failure, Judgement, Problem, Request, Trace
from distill.sections import Budget, EndpointTeacher, ScriptedTeacher
from teachers.budget import Purse
from teachers.sampling import LiveTeacher

PROBLEMS = [Problem.of(f"What is {at}+{at}?", str(2 * at), "math", "test") for at in range(1, 6)]


def verify(answers: Sequence[tuple[Problem, str]]) -> list[Judgement]:
    return [Judgement(boxed(answer)[-1:] == [problem.answer]) for problem, answer in answers]


def scripted(right: float = 1.0, **settings: Any) -> ScriptedTeacher:
    return ScriptedTeacher(kind="scripted", right=right, **settings)


def solve(section: ScriptedTeacher, done: Iterable[Trace] = ()) -> list[Trace]:
    outcomes = teachers.connect(section, verify).solve(PROBLEMS, {trace.id: trace for trace in done})
    return [outcome for outcome in outcomes if isinstance(outcome, Trace)]


def test_every_attempt_once_and_first_attempts_first() -> None:
    found = solve(scripted(max_per_problem=3, seed=10))
    assert [trace.seed for trace in found] == [10] * 5 + [11] * 5 + [12] * 5
    assert len({trace.id for trace in found}) == 15
    one = found[0]
    assert (one.teacher, one.cost_usd, one.id) == ("scripted", None, f"{PROBLEMS[0].id}#10")
    assert one.created.endswith("+00:00") and one.seconds >= 0
    assert all(judgement.right for judgement in verify([(t.problem, t.completion.answer) for t in found]))


def test_what_is_done_is_not_asked_again() -> None:
    section = scripted(max_per_problem=2)
    found = solve(section)
    rest = solve(section, found[:7])
    assert {trace.id for trace in rest} == {trace.id for trace in found[7:]}


def test_the_scripted_share_is_right_and_repeatable() -> None:
    section = scripted(right=0.5, max_per_problem=200)
    found = solve(section)
    right = sum(bool(judgement.right) for judgement in verify([(t.problem, t.completion.answer) for t in found]))
    assert 0.45 < right / len(found) < 0.55
    assert [t.completion for t in found] == [t.completion for t in solve(section)]


def test_asking_stops_once_enough_is_verified() -> None:
    section = scripted(right=0.5, max_per_problem=30, keep_per_problem=3)
    found = solve(section)
    for problem in PROBLEMS:
        mine = [trace for trace in found if trace.problem.id == problem.id]
        judged = [judgement.right for judgement in verify([(t.problem, t.completion.answer) for t in mine])]
        assert sum(map(bool, judged)) == 3 and [trace.seed for trace in mine] == list(range(len(mine)))
    assert solve(section, found) == []
    assert {trace.id for trace in solve(section, found[:8])} == {trace.id for trace in found[8:]}


def test_attempts_run_out() -> None:
    assert len(solve(scripted(right=0.0, max_per_problem=4, keep_per_problem=2))) == 20


def test_keeping_needs_a_verifier() -> None:
    with pytest.raises(ValueError, match="needs a verifier"):
        LiveTeacher(ScriptedEngine(lambda request: ""), scripted(keep_per_problem=1), "x", None)


class Metered:
    """Has `width` requests in flight; says so many tokens were used, or fails."""

    def __init__(self, width: int, tokens: int | None, error: str = "") -> None:
        self.width, self.tokens, self.error = width, tokens, error
        self.sent = 0

    def complete(self, requests: Iterable[Request]) -> Iterator[tuple[Request, Completion | Failure]]:
        waiting: list[Request] = []
        for request in requests:
            self.sent += 1
            waiting.append(request)
            if len(waiting) == self.width:
                yield self._end(waiting.pop(0))
        yield from map(self._end, waiting)

    def _end(self, request: Request) -> tuple[Request, Completion | Failure]:
        if self.error:
            return request, Failure(request.id, self.error, "", 2)
        return request, Completion("r", "\\boxed{2}", "stop", self.tokens, self.tokens, "m")


def endpoint(max_usd: float, attempts: int = 20) -> EndpointTeacher:
    budget = Budget(max_usd=max_usd, usd_per_million_input=0, usd_per_million_output=1000)  # 0.001 a token
    sampling: Any = {"max_tokens": 1000}  # at worst 1 dollar a request
    return EndpointTeacher(
        kind="endpoint", model="m", base_url="http://x", budget=budget, sampling=sampling, max_per_problem=attempts
    )


def ask(engine: Metered, max_usd: float, done: Iterable[Trace] = ()) -> tuple[list[Trace | Failure], LiveTeacher]:
    teacher = LiveTeacher(engine, endpoint(max_usd), "m", None)
    return list(teacher.solve(PROBLEMS, {trace.id: trace for trace in done})), teacher


@pytest.mark.parametrize("width", [1, 3, 50])
def test_the_cap_is_hard_and_used_up(width: int) -> None:
    found, teacher = ask(Metered(width, 100), 3.05)
    spent = sum(trace.cost_usd or 0 for trace in found if isinstance(trace, Trace))
    assert len(found) == 21 and spent == pytest.approx(2.1)
    assert "does not hold one more request" in teacher.stopped and "79 requests" in teacher.stopped


def test_a_cap_that_suffices_is_not_heard_of() -> None:
    found, teacher = ask(Metered(3, 10), 10.0)
    assert len(found) == 100 and teacher.stopped == ""


def test_unknown_costs_count_at_their_worst() -> None:
    found, _ = ask(Metered(1, None), 3.0)
    assert len(found) == 3 and all(isinstance(trace, Trace) and trace.cost_usd is None for trace in found)
    timed_out, _ = ask(Metered(1, 100, "Timeout"), 3.0)
    assert len(timed_out) == 2  # two attempts each: 2 dollars, then 4 at worst
    busy, _ = ask(Metered(1, 100, "HTTP429"), 3.0)
    assert len(busy) == 100


def test_what_was_paid_before_counts() -> None:
    found, _ = ask(Metered(1, 100), 3.0)
    again, teacher = ask(Metered(1, 100), 3.0, [trace for trace in found if isinstance(trace, Trace)])
    assert again == [] and teacher.stopped


def test_prompts_are_estimated_from_their_bytes() -> None:
    purse = Purse(Budget(max_usd=1, usd_per_million_input=1e6, usd_per_million_output=0))
    assert purse.worst("x" * 300, 1) == pytest.approx(132) and purse.worst("\u6570" * 100, 1) == pytest.approx(132)


def test_closing_closes_the_engine() -> None:
    closed = []

    class Watched(Metered):
        def complete(self, requests: Iterable[Request]) -> Iterator[tuple[Request, Completion | Failure]]:
            try:
                yield from super().complete(requests)
            finally:
                closed.append(True)

    stream = LiveTeacher(Watched(2, 100), endpoint(50.0), "m", None).solve(PROBLEMS, {})
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert closed
