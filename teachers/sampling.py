"""Asking a teacher: takes problems and the traces that are there, gives the missing traces as they arrive."""

import time
from collections import Counter, deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from datetime import UTC, datetime

from distill.records import Completion, Engine, Failure, Problem, Request, Trace, Verifier
from distill.sections import EndpointTeacher
from distill.sections import LiveTeacher as Section
from teachers.budget import Purse


class LiveTeacher:
    """A teacher that is asked through an engine. Attempt i at a problem has seed `section.seed` + i.

    `stopped` says, after `solve`, why not everything was asked; it is empty when everything was.
    """

    def __init__(self, engine: Engine, section: Section, name: str, verifier: Verifier | None) -> None:
        if section.keep_per_problem is not None and verifier is None:
            raise ValueError("keep_per_problem counts verified traces and needs a verifier")
        self.engine, self.section, self.name, self.verifier = engine, section, name, verifier
        self.stopped = ""

    def solve(self, problems: Sequence[Problem], done: Mapping[str, Trace]) -> Iterator[Trace | Failure]:
        """Every attempt that is not in `done`, as it ends; raises EngineError when the engine cannot go on.

        With `keep_per_problem`, problems are asked in rounds, each for as many traces as still lack.
        """
        self.stopped = ""
        purse = Purse(self.section.budget if isinstance(self.section, EndpointTeacher) else None, done.values())
        ours = {problem.id for problem in problems}
        kept = self._verified([trace for trace in done.values() if trace.problem.id in ours])
        seeds = range(self.section.seed, self.section.seed + self.section.max_per_problem)
        left = {
            problem.id: deque(seed for seed in seeds if Trace.name(problem, seed) not in done) for problem in problems
        }
        while not self.stopped and (asked := self._round(problems, left, kept)):
            new: list[Trace] = []
            for outcome in self._ask(asked, purse):
                if self.section.keep_per_problem is not None and isinstance(outcome, Trace):
                    new.append(outcome)
                yield outcome
            kept.update(self._verified(new))

    def _round(
        self, problems: Sequence[Problem], left: Mapping[str, deque[int]], kept: Counter[str]
    ) -> list[tuple[Problem, int]]:
        """The next attempts, every problem's first before any problem's second; takes them out of `left`."""
        keep = self.section.keep_per_problem
        asked: list[tuple[int, int, Problem, int]] = []
        for at, problem in enumerate(problems):
            open_seeds = left[problem.id]
            lacking = len(open_seeds) if keep is None else min(len(open_seeds), keep - kept[problem.id])
            asked += [(nth, at, problem, open_seeds.popleft()) for nth in range(lacking)]
        asked.sort(key=lambda attempt: attempt[:2])
        return [(problem, seed) for _, _, problem, seed in asked]

    def _ask(self, attempts: list[tuple[Problem, int]], purse: Purse) -> Iterator[Trace | Failure]:
        """The attempts' outcomes. When the cap is reached by what is in flight, that is waited for, and what it left
        over is spent on; `stopped` is set when not one more request can be paid."""
        waiting = deque(attempts)
        while waiting:
            before = len(waiting)
            yield from self._stream(waiting, purse)
            if len(waiting) == before:
                self.stopped = (
                    f"the budget of ${self._cap(purse):g} does not hold one more request: ${purse.spent:.4f} are "
                    f"spent, and {len(waiting)} requests are not sent"
                )
                return

    def _stream(self, waiting: deque[tuple[Problem, int]], purse: Purse) -> Iterator[Trace | Failure]:
        sent: dict[str, tuple[Problem, float]] = {}

        def requests() -> Iterator[Request]:
            while waiting:
                problem, seed = waiting[0]
                request = Request(Trace.name(problem, seed), problem.ask, seed, self.section.sampling.record())
                if not purse.reserve(request):
                    return
                waiting.popleft()
                sent[request.id] = (problem, time.monotonic())
                yield request

        outcomes = self.engine.complete(requests())
        try:
            for request, outcome in outcomes:
                problem, started = sent.pop(request.id)
                cost = purse.settle(request, outcome)
                if isinstance(outcome, Failure):
                    yield outcome
                else:
                    yield self._trace(request, problem, outcome, cost, time.monotonic() - started)
        finally:
            if isinstance(outcomes, Generator):
                outcomes.close()

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

    def _verified(self, traces: Sequence[Trace]) -> Counter[str]:
        """How many right and finished traces each problem has; nothing is counted where nothing is asked for."""
        finished = [trace for trace in traces if not trace.completion.unfinished and trace.completion.answer]
        if self.section.keep_per_problem is None or self.verifier is None or not finished:
            return Counter()
        judgements = self.verifier([(trace.problem, trace.completion.answer) for trace in finished])
        pairs = zip(finished, judgements, strict=True)
        return Counter(trace.problem.id for trace, judgement in pairs if judgement.right)

    @staticmethod
    def _cap(purse: Purse) -> float:
        return purse.budget.max_usd if purse.budget else 0.0
