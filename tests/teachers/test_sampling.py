"""Asking teachers: which attempts, how many, what they cost, and when to stop."""

import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import teachers
from distill.answers import boxed
from distill.engines.scripted import ScriptedEngine
from distill.errors import EngineError, Refused
from distill.journal import Journal
from distill.records import Completion, Expense, Failure, Judgement, Problem, Request, Sampling, Trace
from distill.sections import SamplingSection
from distill.teacher_sections import Budget, EndpointTeacher, ScriptedTeacher
from teachers.budget import Purse, worst
from teachers.sampling import LiveTeacher

PROBLEMS = [Problem.of(f"What is {at}+{at}?", str(2 * at), "math", "test") for at in range(1, 6)]


def verify(answers: Sequence[tuple[Problem, str]]) -> list[Judgement]:
    return [Judgement(boxed(answer)[-1:] == [problem.answer]) for problem, answer in answers]


def scripted(right: float = 1.0, **settings: Any) -> ScriptedTeacher:
    return ScriptedTeacher(kind="scripted", right=right, **settings)


def solve(section: ScriptedTeacher, done: Iterable[Trace] = ()) -> list[Trace]:
    outcomes = teachers.connect(section, verify).solve(PROBLEMS, done)
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

    def complete(self, requests: Iterable[Request | None]) -> Iterator[tuple[Request, Completion | Failure]]:
        waiting: list[Request] = []
        for request in requests:
            if request is not None:
                self.sent += 1
                waiting.append(request)
            if request is None or len(waiting) == self.width:
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


def ask(
    engine: Metered, max_usd: float, done: Iterable[Trace] = (), earlier: Iterable[Expense] = ()
) -> tuple[list[Trace | Failure], LiveTeacher]:
    teacher = LiveTeacher(engine, endpoint(max_usd), "m", purse=Purse(endpoint(max_usd).budget, None, earlier))
    return list(teacher.solve(PROBLEMS, done)), teacher


@pytest.mark.parametrize("width", [1, 3, 50])
def test_the_cap_is_hard_and_used_up(width: int) -> None:
    found, teacher = ask(Metered(width, 100), 3.05)
    spent = sum(trace.cost_usd or 0 for trace in found if isinstance(trace, Trace))
    assert len(found) == 21 and spent == pytest.approx(2.1)
    assert "does not hold one more request" in teacher.stopped and "79 more requests" in teacher.stopped


def test_a_cap_that_suffices_is_not_heard_of() -> None:
    found, teacher = ask(Metered(3, 10), 10.0)
    assert len(found) == 100 and teacher.stopped == ""


def test_unknown_costs_count_at_their_worst() -> None:
    found, _ = ask(Metered(1, None), 3.0)
    assert len(found) == 3 and all(isinstance(trace, Trace) and trace.cost_usd is None for trace in found)
    timed_out, _ = ask(Metered(1, 100, "Timeout"), 3.0)
    assert len(timed_out) == 3  # its last try each; the tries before that are asked for by `may_retry`
    busy, _ = ask(Metered(1, 100, "HTTP429"), 3.0)
    assert len(busy) == 100


def test_what_was_paid_before_counts(tmp_path: Path) -> None:
    ledger = Journal(tmp_path / "spend.jsonl", Expense)
    teacher = LiveTeacher(Metered(1, 100), endpoint(3.0), "m", purse=Purse(endpoint(3.0).budget, ledger))
    found = [item for item in teacher.solve(PROBLEMS, ()) if isinstance(item, Trace)]
    teacher.purse.close()
    assert len(found) == 21 and teacher.purse.usd == pytest.approx(2.1)
    again, stopped = ask(Metered(1, 100), 3.0, found, ledger.read())
    assert again == [] and "budget does not hold one more request: $2.1000 of max_usd: 3" in stopped.stopped
    more, _ = ask(Metered(1, 100), 3.25, found, ledger.read())
    assert len(more) == 2 and not {item.id for item in more} & {trace.id for trace in found}


def test_what_was_in_flight_when_a_process_died_counts_at_its_worst(tmp_path: Path) -> None:
    ledger = Journal(tmp_path / "spend.jsonl", Expense)
    teacher = LiveTeacher(Metered(2, 100), endpoint(3.0), "m", purse=Purse(endpoint(3.0).budget, ledger))
    stream = teacher.solve(PROBLEMS, ())
    assert isinstance(next(stream), Trace)
    stream.close()
    teacher.purse.close()  # one answer for 0.1 dollars came in, one request for at most 1 dollar is lost
    assert Purse(endpoint(3.0).budget, ledger, ledger.read()).usd == pytest.approx(1.1)


def test_a_prompt_has_at_most_a_token_for_every_byte() -> None:
    request = Request("x", "\u6570" * 100, 0, Sampling(max_tokens=7))
    assert worst(request) == (364, 7)


def test_a_cap_in_tokens_needs_no_prices() -> None:
    section = EndpointTeacher(
        kind="endpoint", model="m", base_url="http://x", budget=Budget(max_tokens=5000), max_per_problem=20,
        sampling=SamplingSection(max_tokens=1000),
    )  # fmt: skip
    teacher = LiveTeacher(Metered(3, 100), section, "m", purse=Purse(section.budget))
    found = list(teacher.solve(PROBLEMS, ()))
    spent = teacher.purse.prompt_tokens + teacher.purse.completion_tokens
    assert spent == 200 * len(found) and 3800 < spent <= 5000 and "of max_tokens: 5,000" in teacher.stopped


def test_a_try_that_may_have_been_billed_is_paid_for_before_the_next_one() -> None:
    purse = Purse(endpoint(2.5).budget)
    request = Request("x", "p", 0, Sampling(max_tokens=1000))
    assert purse.reserve(request) and purse.may_retry(request, "HTTP429") and purse.usd == pytest.approx(1)
    assert purse.may_retry(request, "Timeout") and purse.usd == pytest.approx(2)
    assert not purse.may_retry(request, "Timeout")
    purse.settle(request, Failure("x", "Timeout", "", 2))
    assert purse.usd == pytest.approx(2)


def test_closing_closes_the_engine() -> None:
    closed = []

    class Watched(Metered):
        def complete(self, requests: Iterable[Request | None]) -> Iterator[tuple[Request, Completion | Failure]]:
            try:
                yield from super().complete(requests)
            finally:
                closed.append(True)

    stream = LiveTeacher(Watched(2, 100), endpoint(50.0), "m").solve(PROBLEMS, ())
    next(stream)
    stream.close()
    assert closed


@pytest.mark.parametrize(("error", "spent"), [(Refused("no such key"), 0.1), (EngineError("lost"), 2.1)])
def test_a_server_that_takes_nobodys_request_bills_nobody(error: EngineError, spent: float) -> None:
    class Refusing(Metered):
        def complete(self, requests: Iterable[Request | None]) -> Iterator[tuple[Request, Completion | Failure]]:
            taken = iter(requests)
            asked = [next(taken) for _ in range(3)]
            assert asked[0] is not None
            yield self._end(asked[0])
            raise error

    teacher = LiveTeacher(Refusing(1, 100), endpoint(5.0), "m", purse=Purse(endpoint(5.0).budget))
    with pytest.raises(EngineError, match=str(error)):
        list(teacher.solve(PROBLEMS, ()))
    assert teacher.purse.usd == pytest.approx(spent)


def test_answers_are_verified_beside_the_asking_and_never_pile_up() -> None:
    waiting = []

    def slowly(answers: Sequence[tuple[Problem, str]]) -> list[Judgement]:
        time.sleep(0.01)
        waiting.append(len(answers))
        return verify(answers)

    problems = [Problem.of(f"What is {at}?", str(at), "math", "test") for at in range(1500)]
    section = scripted(max_per_problem=2, keep_per_problem=1)
    found = list(teachers.connect(section, slowly).solve(problems, ()))
    assert len(found) == 1500 == sum(waiting) and max(waiting) <= 501
