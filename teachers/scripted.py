"""A teacher without a model, for dry runs of a recipe: takes problems, answers each with its own answer, or wrongly."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence

from distill import think
from distill.engines.scripted import ScriptedEngine
from distill.records import Failure, Problem, Request, Trace, Verifier
from distill.sections import ScriptedTeacher
from teachers.sampling import LiveTeacher


class DryTeacher:
    """Answers a share of `section.right` of the attempts rightly; which ones follows from problem and seed.

    `stopped` is always empty: nothing here costs anything.
    """

    def __init__(self, section: ScriptedTeacher, verifier: Verifier | None) -> None:
        self.section, self.verifier = section, verifier
        self.stopped = ""

    def solve(self, problems: Sequence[Problem], done: Mapping[str, Trace]) -> Iterator[Trace | Failure]:
        """As `LiveTeacher.solve`; raises ValueError for a verifier that is needed and missing."""
        by_id = {problem.id: problem for problem in problems}

        def script(request: Request) -> str:
            return _text(by_id[request.id.rpartition("#")[0]], request.seed, self.section.right)

        return LiveTeacher(ScriptedEngine(script), self.section, "scripted", self.verifier).solve(problems, done)


def _text(problem: Problem, seed: int, right: float) -> str:
    digest = hashlib.sha256(f"{problem.id}#{seed}".encode()).digest()
    chance = int.from_bytes(digest[:8], "big") / 2**64
    answer = problem.answer if chance < right else _wrong(problem)
    reasoning = f"The problem asks for one answer. In attempt {seed}, working through it step by step gives {answer}."
    return think.join(reasoning, f"The final answer is \\boxed{{{answer}}}.")


def _wrong(problem: Problem) -> str:
    """An answer of the same kind that is not the right one."""
    if problem.answer_kind == "choice":
        return "B" if "A" in problem.answer.upper() else "A"
    return "0" if problem.answer.strip(" 0.+-$") else "1"
