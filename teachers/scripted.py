"""A teacher without a model, for dry runs of a recipe: takes problems, answers each with its own answer, or wrongly."""

import hashlib

from distill import think
from distill.engines.scripted import ScriptedEngine
from distill.records import Problem, Request, Verifier
from distill.teacher_sections import ScriptedTeacher
from teachers.budget import Purse
from teachers.sampling import LiveTeacher


class DryTeacher(LiveTeacher):
    """Answers a share of `section.right` of the attempts rightly; which ones follows from problem and seed."""

    def __init__(self, section: ScriptedTeacher, verifier: Verifier | None, purse: Purse | None = None) -> None:
        super().__init__(ScriptedEngine(self._script), section, "scripted", verifier, purse=purse)
        self._right = section.right

    def _script(self, request: Request) -> str:
        _, problem, _ = self._sent[request.id]
        return _text(problem, request.seed, self._right)


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
