"""The answers that the gate measured: takes a run's state, gives per task how long they were, and the few problems
whose answers are worth looking at.

Samples are read twice and never held: once for their marks and lengths, once for the texts that are shown.
"""

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from distill.records import Score
from distill.report.state import State
from distill.samples import Sample, read_samples

TASKS = 24
"""Tasks whose answers are looked at; the others are named."""
MODELS = 6
"""Models side by side: those that come first, baselines among them."""
RIGHT, UNFINISHED = "right", "unfinished"

GAINED = "right, where the base is wrong"
LOST = "wrong, where the base is right"
CUT = "did not come to an end"
WRONG = "wrong, as the base is"
BOTH = "right, as the base is"
KINDS = (GAINED, LOST, CUT, WRONG, BOTH)


@dataclass(frozen=True)
class Shown:
    """One model's answer, one of `asked` to the problem, of which `right` were right."""

    model: str
    right: int
    asked: int
    sample: Sample


@dataclass(frozen=True)
class Case:
    """One problem with an answer of each model; `kind` says what the student's is."""

    kind: str
    answers: Sequence[Shown]


@dataclass(frozen=True)
class Survey:
    """One task: the lengths of all answers in tokens by model, and the cases."""

    task: str
    lengths: Mapping[str, "array[int]"]
    cases: Sequence[Case]


@dataclass(frozen=True)
class _Draw:
    """An answer without its text."""

    seed: int
    mark: str


Marks = dict[str, list[_Draw]]  # by problem


def tasks(state: State) -> list[str]:
    """Every task that was measured or has answers, the report's order first."""
    judged = [score.task for report in state.reports for score in report.scores]
    there = [path.name for folder in _folders(state).values() for path in sorted(folder.glob("*")) if path.is_dir()]
    return list(dict.fromkeys([*judged, *there]))


def survey(state: State) -> list[Survey]:
    """The first `TASKS` tasks that have answers; raises ShardError for samples that cannot be read."""
    return list(islice((one for task in tasks(state) if (one := _survey(state, task)) is not None), TASKS))


def _folders(state: State) -> dict[str, Path]:
    scores = state.folder("gate") / "scores"
    there = {path.name: path for path in scores.glob("*") if path.is_dir()}
    return {model: there[model] for model in state.models if model in there}


def _survey(state: State, task: str) -> Survey | None:
    found: dict[str, Marks] = {}
    lengths: dict[str, array[int]] = {}
    folders = dict(islice(_with_task(_folders(state), task), MODELS))
    for model, folder in folders.items():
        marks, tokens = found.setdefault(model, {}), lengths.setdefault(model, array("q"))
        for sample in read_samples(folder, task):
            marks.setdefault(sample.problem_id, []).append(_Draw(sample.seed, sample.mark))
            tokens.append(sample.completion.probable_tokens)
    if not any(found.values()):
        return None
    student = next((name for name in state.students if name in found), None)
    chosen = _chosen(found, student) if student is not None else {}
    return Survey(task, lengths, _cases(folders, task, found, chosen))


def _with_task(folders: Mapping[str, Path], task: str) -> Iterator[tuple[str, Path]]:
    """Only folders in which the task is a folder of its own, whatever its name would lead to."""
    for model, folder in folders.items():
        if any(path.name == task and path.is_dir() for path in folder.iterdir()):
            yield model, folder


def _chosen(found: Mapping[str, Marks], student: str) -> dict[str, str]:
    """A problem's id for each kind of case that there is: the first by a hash that knows nothing of the answers."""
    base = found.get("base", {})
    chosen: dict[str, str] = {}
    for problem in Score.order(found[student]):
        kind = _kind(found[student][problem], base.get(problem, []))
        chosen.setdefault(kind, problem)
    return {kind: chosen[kind] for kind in KINDS if kind in chosen}


def _kind(student: Sequence[_Draw], base: Sequence[_Draw]) -> str:
    if _mostly_right(student):
        return BOTH if _mostly_right(base) else GAINED
    if _mostly_right(base):
        return LOST
    return CUT if any(draw.mark == UNFINISHED for draw in student) else WRONG


def _mostly_right(draws: Sequence[_Draw]) -> bool:
    return bool(draws) and 2 * _right(draws) >= len(draws)


def _right(draws: Iterable[_Draw]) -> int:
    return sum(draw.mark == RIGHT for draw in draws)


def _typical(kind: str, draws: Sequence[_Draw]) -> _Draw:
    """The first answer that is as most of them are; of a case that did not end, one that did not."""
    if kind == CUT and (cut := [draw for draw in draws if draw.mark == UNFINISHED]):
        return cut[0]
    right = _mostly_right(draws)
    return next(draw for draw in draws if (draw.mark == RIGHT) == right)


def _cases(folders: Mapping[str, Path], task: str, found: Mapping[str, Marks], chosen: Mapping[str, str]) -> list[Case]:
    kinds = {problem: kind for kind, problem in chosen.items()}
    shown: dict[str, list[Shown]] = {problem: [] for problem in kinds}
    for model, folder in folders.items() if kinds else ():
        draws = {problem: found[model][problem] for problem in kinds if problem in found[model]}
        wanted = {problem: _typical(kinds[problem], those) for problem, those in draws.items()}
        for sample in read_samples(folder, task):
            if not wanted:
                break
            problem = sample.problem_id
            if problem in wanted and sample.seed == wanted[problem].seed:
                shown[problem].append(Shown(model, _right(draws[problem]), len(draws[problem]), sample))
                del wanted[problem]
    return [Case(kinds[problem], answers) for problem, answers in shown.items()]
