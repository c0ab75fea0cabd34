"""Which attempt is made next: takes problems and what became of earlier attempts, gives (problem, number) one by one.

The rule: a problem is asked until `keep_per_problem` of its answers are verified, counting those under way as if they
would be; at most `max_per_problem` times; and no longer once `patience` answers came and none was right. Without
`keep_per_problem` every attempt is made. Every problem's first attempt comes before any problem's second, so that a
budget that ends early has bought as many different problems as it could; `together` asks for all that a problem may
need at once, for an engine that reads a shared prompt once.
"""

from collections import deque
from collections.abc import Iterable, Iterator

from distill.records import Problem
from distill.teacher_sections import AskedTeacher


class _Tally:
    """One problem's attempts: the numbers that were made as bits, and how many are open, judged, and right."""

    __slots__ = ("done", "judged", "made", "open", "right")

    def __init__(self) -> None:
        self.made = self.open = self.judged = self.right = 0
        self.done = False


class Attempts:
    """The attempts at a list of problems, which is read anew from disk for every round. `done` counts the problems that
    need no more, `right` and `judged` the answers."""

    def __init__(self, problems: Iterable[Problem], section: AskedTeacher, *, together: bool = False) -> None:
        self.problems, self.together = problems, together
        self.keep, self.most, self.patience = section.keep_per_problem, section.max_per_problem, section.patience
        self.done = self.right = self.judged = 0
        self._tallies: dict[str, _Tally] = {}
        self._held: dict[str, Problem] = {}  # wait for an open attempt to say whether they need another
        self._ready: deque[Problem] = deque()
        self._last_round = False

    def recall(self, problem_id: str, number: int) -> None:
        """An attempt that was made before, as if it had just been asked for; `ended` or `judge` is to follow."""
        self._open(self._tally(problem_id), number)

    def offers(self) -> Iterator[tuple[Problem, int] | None]:
        """Problems and attempt numbers; None when none can be said before something ends."""
        for at in range(self.most):
            self._last_round = at == self.most - 1
            for problem in self.problems:
                yield from self._offer(problem)
                while self._ready:
                    yield from self._offer(self._ready.popleft())
        while self._held or self._ready:
            while self._ready:
                yield from self._offer(self._ready.popleft())
            if self._held:
                yield None

    def judge(self, problem_id: str, right: bool | None) -> None:
        """What became of an answer; None where it was not looked at, or the verifier could not tell."""
        tally = self._tally(problem_id)
        tally.judged += 1
        tally.right += bool(right)
        self.judged += 1
        self.right += bool(right)
        self.ended(problem_id)

    def ended(self, problem_id: str) -> None:
        """An attempt ended, without an answer where `judge` does not say so; that is no sign of a hard problem."""
        tally = self._tally(problem_id)
        tally.open -= 1
        if not tally.done and not tally.open and not self._wanted(tally):
            tally.done = True
            self.done += 1
        if (problem := self._held.pop(problem_id, None)) is not None:
            self._ready.append(problem)

    def lacking(self) -> int:
        """How many attempts the rule would make at once now; reads all problems."""
        return sum(self._wanted(self._tallies.get(problem.id) or _Tally()) for problem in self.problems)

    def _offer(self, problem: Problem) -> Iterator[tuple[Problem, int]]:
        tally, offered = self._tally(problem.id), False
        while self._wanted(tally) and (self.together or not offered):
            offered = True
            number = (~tally.made & (tally.made + 1)).bit_length() - 1  # the lowest that was not made
            self._open(tally, number)
            yield problem, number
        if tally.open and self.keep is not None and (self._last_round or not offered):
            self._held[problem.id] = problem

    def _wanted(self, tally: _Tally) -> int:
        """How many more attempts are wanted of a problem now: only such as will be needed whatever the open ones bring,
        so that which attempts are made does not hang on which answer came first."""
        left = (~tally.made & ((1 << self.most) - 1)).bit_count()
        if self.keep is None:
            return left
        if not tally.right:
            left = min(left, self.patience - tally.judged - tally.open)
        return max(0, min(left, self.keep - tally.right - tally.open))

    def _open(self, tally: _Tally, number: int) -> None:
        if number >= 0:  # an earlier run may have begun with a lower seed
            tally.made |= 1 << number
        tally.open += 1

    def _tally(self, problem_id: str) -> _Tally:
        tally = self._tallies.get(problem_id)
        if tally is None:
            tally = self._tallies[problem_id] = _Tally()
        return tally
