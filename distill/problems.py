"""The problems of a run: the recipe's `problems` in, one list of distinct `Problem`s and their counts out."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from distill import procedural
from distill.answers import reference_answer
from distill.errors import InputError
from distill.records import Problem
from distill.sections import DatasetProblems, ReasoningGymProblems
from distill.tables import Row, read_rows, text_of


@dataclass(frozen=True)
class Loaded:
    """`counts` has `rows` (read), `problems` (kept), and what lies between: `duplicates`, `skipped_<why>`."""

    problems: tuple[Problem, ...]
    counts: dict[str, int]


def load(sections: Sequence[DatasetProblems | ReasoningGymProblems]) -> Loaded:
    """Reads every section in order. The same prompt twice is one problem: the first stays.

    Raises InputError for a file that cannot be read, a missing column, an empty prompt or answer (naming file, row
    and column), or an unknown reasoning-gym family.
    """
    found: dict[str, Problem] = {}
    counts: Counter[str] = Counter(rows=0, duplicates=0)
    for section in sections:
        for problem in _problems(section, counts):
            if problem.id in found:
                counts["duplicates"] += 1
            else:
                found[problem.id] = problem
    return Loaded(tuple(found.values()), {**counts, "problems": len(found)})


def _problems(section: DatasetProblems | ReasoningGymProblems, counts: Counter[str]) -> Iterator[Problem]:
    if isinstance(section, ReasoningGymProblems):
        for problem in procedural.generate(section.task, section.size, section.seed, section.config):
            counts["rows"] += 1
            yield problem
        return
    rows = read_rows(section.path, subset=section.subset, split=section.split, revision=section.revision)
    for place, row in islice(rows, section.limit):
        counts["rows"] += 1
        problem_or_why = _from_row(section, row, place)
        if isinstance(problem_or_why, Problem):
            yield problem_or_why
        else:
            counts[problem_or_why] += 1


def _from_row(section: DatasetProblems, row: Row, place: str) -> Problem | str:
    """The row's problem, or the count under which it is skipped; raises InputError where it may not be skipped."""
    prompt = text_of(row, section.columns.prompt, place).strip()
    answer = reference_answer(text_of(row, section.columns.answer, place))
    for name, text, column in (("prompt", prompt, section.columns.prompt), ("answer", answer, section.columns.answer)):
        if not text:
            if section.skip_bad_rows:
                return f"skipped_empty_{name}"
            raise InputError(
                f"{place}: the {name} in column {column!r} is empty; fill it in, or write skip_bad_rows: true"
            )
    return Problem.of(prompt, answer, section.answer_kind, section.path)
