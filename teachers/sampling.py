"""Asking a teacher: takes problems and the traces that are there, gives the missing traces as they arrive."""

import time
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime

from distill.errors import Refused
from distill.records import Completion, Engine, Failure, Judgement, Problem, Request, Trace, Verifier
from distill.teacher_sections import AskedTeacher
from teachers.attempts import Attempts
from teachers.budget import Purse

GATHERED = 500  # answers that may wait for the verifier; then the next ones wait too


class LiveTeacher:
    """A teacher that is asked through an engine. Attempt i at a problem has seed `section.seed` + i.

    `attempts` and `purse` tell how far it is; `stopped` says, after `solve`, why not everything was asked, and is empty
    when everything was; `left_undone` is how many requests the budget did not hold.

    `together` is for engines in this process: a problem's attempts are asked for at once, so that they share the
    reading of its prompt, and nothing hangs on how fast the verifier is, so that the same problems meet in the same
    batches each time.
    """

    def __init__(
        self,
        engine: Engine,
        section: AskedTeacher,
        name: str,
        verifier: Verifier | None = None,
        *,
        purse: Purse | None = None,
        together: bool = False,
    ) -> None:
        if section.keep_per_problem is not None and verifier is None:
            raise ValueError("keep_per_problem counts verified traces and needs a verifier")
        self.engine, self.section, self.name = engine, section, name
        self.purse, self.together = purse or Purse(), together
        self.attempts = Attempts((), section)
        self.stopped, self.left_undone = "", 0
        self._verifier = verifier if section.keep_per_problem is not None else None
        self._stopping = ""
        self._sent: dict[str, tuple[Request, Problem, float]] = {}

    @property
    def in_flight(self) -> int:
        """How many requests the engine has."""
        return len(self._sent)

    def stop(self, why: str) -> None:
        """Sends nothing new from now on; `solve` ends when what is in flight has ended."""
        self._stopping = why

    def solve(self, problems: Iterable[Problem], done: Iterable[Trace]) -> Generator[Trace | Failure, None, None]:
        """Every attempt that is wanted and not in `done`, as it ends; raises EngineError when the engine cannot go on.

        `problems` is iterated over once a round, `done` once: neither needs to be in memory.
        """
        self.stopped, self.left_undone = "", 0
        self.attempts = Attempts(problems, self.section, together=self.together)
        self._sent.clear()
        with ThreadPoolExecutor(1, "verifier") as thread:
            checks = _Checks(self._verifier, self.attempts, thread)
            self._recall(done, checks)
            outcomes = self.engine.complete(self._requests(checks))
            try:
                for request, outcome in outcomes:
                    _, problem, started = self._sent.pop(request.id)
                    cost = self.purse.settle(request, outcome)
                    if isinstance(outcome, Failure):
                        self.attempts.ended(problem.id)
                        yield outcome
                        continue
                    trace = self._trace(request, problem, outcome, cost, time.monotonic() - started)
                    yield trace
                    checks.add(trace)
            except Refused:
                for request, _, _ in self._sent.values():
                    self.purse.settle(request, Failure(request.id, "Refusal", "", 1))
                raise
            finally:
                if isinstance(outcomes, Generator):
                    outcomes.close()

    def _requests(self, checks: "_Checks") -> Iterator[Request | None]:
        """What the rule asks for, as far as the purse holds it; None when something must end first."""
        offers = self.attempts.offers()
        waits: Request | None = None  # could not be paid while others were in flight
        while not self._stopping:
            if self.together:
                checks.finish()
            checks.collect(wait=False)
            if waits is None:
                offer = next(offers, None)
                if offer is None:
                    if self._sent:
                        yield None
                    elif checks.idle:
                        return
                    else:
                        checks.collect(wait=True)
                    continue
                waits = self._request(*offer)
            if self.purse.reserve(waits):
                request, waits = waits, None
                yield request
            elif len(self._sent) > 1:
                yield None
            else:
                self._sent.pop(waits.id)
                self.left_undone = 1 + self.attempts.lacking()
                self.stopped = (
                    f"the budget does not hold one more request: {self.purse.cap()} are spent, and at least "
                    f"{self.left_undone:,} more requests are to be sent; raise it to go on"
                )
                return
        self.stopped = self._stopping

    def _request(self, problem: Problem, number: int) -> Request:
        seed = self.section.seed + number
        request = Request(Trace.name(problem, seed), problem.ask, seed, self.section.sampling.record())
        self._sent[request.id] = (request, problem, time.monotonic())
        return request

    def _recall(self, done: Iterable[Trace], checks: "_Checks") -> None:
        """Counts the attempts that were made before, verified anew where that matters."""
        for trace in done:
            self.attempts.recall(trace.problem.id, trace.seed - self.section.seed)
            checks.add(trace)
        checks.finish()

    def _trace(
        self, request: Request, problem: Problem, completion: Completion, cost: float | None, seconds: float
    ) -> Trace:
        return Trace(
            id=request.id,
            problem=problem,
            completion=completion,
            teacher=self.name,
            seed=request.seed,
            sampling=request.sampling,
            cost_usd=cost,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            seconds=seconds,
        )


class _Checks:
    """Verifies answers beside the asking, many at once: while one lot is in the thread, the next one gathers."""

    def __init__(self, verifier: Verifier | None, attempts: Attempts, thread: ThreadPoolExecutor) -> None:
        self._verifier, self._attempts, self._thread = verifier, attempts, thread
        self._gathered: list[tuple[Problem, str]] = []
        self._at_work: tuple[list[tuple[Problem, str]], Future[list[Judgement]]] | None = None

    @property
    def idle(self) -> bool:
        """Whether every answer is judged and counted."""
        return self._at_work is None and not self._gathered

    def add(self, trace: Trace) -> None:
        """Takes a trace whose attempt ended. One that never came to an answer is not right, whatever its text."""
        if self._verifier is None:
            self._attempts.ended(trace.problem.id)
        elif trace.completion.unfinished or not trace.completion.answer:
            self._attempts.judge(trace.problem.id, False)
        else:
            self._gathered.append((trace.problem, trace.completion.answer))
            self.collect(wait=len(self._gathered) >= GATHERED)

    def finish(self) -> None:
        """Waits until every answer is judged and counted."""
        while not self.idle:
            self.collect(wait=True)

    def collect(self, *, wait: bool) -> None:
        """Counts what is judged, waiting for it if asked, and hands on what has gathered; raises what the verifier
        raised."""
        if self._at_work is not None and (wait or self._at_work[1].done()):
            (answers, future), self._at_work = self._at_work, None
            for (problem, _), judgement in zip(answers, future.result(), strict=True):
                self._attempts.judge(problem.id, judgement.right)
        if self._gathered and self._at_work is None and self._verifier is not None:
            self._at_work = self._gathered, self._thread.submit(self._verifier, self._gathered)
            self._gathered = []
