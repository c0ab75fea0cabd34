"""Measures a model on the gate's tasks: a subject, a gate and a verifier in, one `Score` per task out.

lm-eval runs each task (`evals.lm`); its requests are answered by the engine or by what the store holds
(`evals.asking`, `evals.store`); its results and samples are written as its own tools read them (`evals.results`).
"""

import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, median
from typing import Any

import lm_eval

from distill import __version__, shards
from distill.gate_sections import Gate, GateTask
from distill.records import Completion, Judgement, Problem, Request, Score, Verifier
from distill.run import fingerprint, write_json
from distill.statistics import mean_and_stderr
from evals import asking, benchmarks, lm, results, scoring
from evals.metrics import UNFINISHED, Mark
from evals.store import Answered, Entry, Say, opened
from evals.subject import Subject

PROTOCOL = 3
"""Part of every score's key: raise it when what is asked, or how it is scored, changes."""

TASK_NAMES = "distill_*"

Baselines = Mapping[str, Sequence[Score]]


def evaluate(
    subject: Subject,
    gate: Gate,
    verifier: Verifier,
    folder: Path,
    store: Path,
    *,
    baselines: Baselines | None = None,
    say: Callable[[str], None],
) -> list[Score]:
    """One score per task of the gate, in its order; lm-eval's two files and the score are left under `folder`.

    Answers and scores that `store` holds, from whatever run, are used again. Where `baselines` are given and the gate
    says `until_decided`, a task is asked in rounds until its checks are decided (`evals.sequential`); otherwise all of
    it is asked. Unfinished and unverifiable samples count as wrong, and their shares are told apart in the score.
    Raises InputError for data that cannot be read, EngineError when the engine fails or leaves a sample out, and
    OSError for a full disk; what was answered by then is kept.
    """
    lazy = asking.Lazy(subject.load)
    scores = []
    for task in gate.tasks:
        about = {"content": subject.content, "task": task.task, "sampling": gate.sampling.model_dump()}
        problems = benchmarks.problems(task)
        with opened(store, about, subject.name, say) as entry:
            measured = _Task(subject, gate, task, problems, _Judge(verifier), lazy, entry, say)
            in_rounds = baselines is not None and gate.until_decided
            found = measured.rounds(baselines or {}) if in_rounds else measured.of(measured.ids)
            measured.leave(found, folder)
        scores.append(found.score)
    _clear(folder, {task.task for task in gate.tasks})
    return scores


def _clear(folder: Path, tasks: set[str]) -> None:
    """Takes out what an earlier gate left of tasks that are no longer in it: a release takes the folder as evidence."""
    for score in folder.glob(f"{TASK_NAMES}.json"):
        if score.stem not in tasks:
            shutil.rmtree(folder / score.stem, ignore_errors=True)
            score.unlink()


class _Judge:
    """The verifier of one task, which remembers: a round asks it nothing that an earlier one did."""

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier
        self._known: dict[tuple[str, str], Judgement] = {}

    def __call__(self, answers: Sequence[tuple[Problem, str]]) -> list[Judgement]:
        asked = {(problem.id, text): (problem, text) for problem, text in answers}
        new = [key for key in asked if key not in self._known]
        if new:
            judgements = self._verifier([asked[key] for key in new])
            self._known |= dict(zip(new, judgements, strict=True))
        return [self._known[problem.id, text] for problem, text in answers]


@dataclass(frozen=True)
class _Measured:
    """A score, its key in the store, and what writes lm-eval's files; None where the store has it all."""

    key: str
    score: Score
    write: Callable[[Path], None] | None


@dataclass(frozen=True)
class _Task:
    """One model on one task, while its entry of the store is held."""

    subject: Subject
    gate: Gate
    task: GateTask
    problems: Sequence[Problem]
    judge: _Judge
    lazy: asking.Lazy
    entry: Entry
    tell: Say

    @property
    def ids(self) -> list[str]:
        """The problems that there are to ask, in the order of the rows: all, or the first so many."""
        return [problem.id for problem in self.problems[: self.task.limit]]

    def rounds(self, baselines: Baselines) -> _Measured:
        """As many problems as it takes to decide the task's checks, or all."""
        from evals.gate import decided
        from evals.sequential import looks

        order = Score.order(self.ids)
        sizes = looks(len(order))
        for at, size in enumerate(sizes, 1):
            found = self.of(order[:size])
            found = replace(found, score=replace(found.score, looks=tuple(sizes[:at])))
            if size == len(order) or decided(self.gate, self.task, found.score, baselines):
                break
            self.say(f"{size:,} of {len(order):,} problems decide nothing yet")
        return found

    def say(self, line: str) -> None:
        """A line for people, about this task."""
        self.tell(f"{self.task.task}: {line}")

    def of(self, ids: Sequence[str]) -> _Measured:
        """These problems' score: out of the store, or measured now."""
        data = self._data(ids)
        key = self._key(data)
        stored = self.entry.score(key)
        if stored is not None:
            return _Measured(key, stored, None)
        began = time.time()
        found, answers = self._run(ids)
        evidence = results.Evidence(self.subject, self.task, PROTOCOL, data, answers, began)
        score = self._worked_out(found["samples"][self.task.task])
        return _Measured(key, score, lambda folder: results.write(folder, evidence, self.gate, found))

    def _run(self, ids: Sequence[str]) -> tuple[dict[str, Any], list[Answered]]:
        """lm-eval's results over these problems, and the samples that it was given."""
        came: list[Answered] = []

        def ask(requests: Sequence[Request]) -> dict[str, Completion]:
            found = asking.answers(self.lazy, self.entry, requests, self.say)
            came.extend(found.values())
            return {name: answered.completion for name, answered in found.items()}

        wanted = set(ids)
        places = [at for at, problem in enumerate(self.problems) if problem.id in wanted]
        config = lm.config(self.task, self.gate, self.judge, self.problems)
        return lm.run(lm.EngineLM(ask, self.subject.name, self.gate.seed), config, places), came

    def _worked_out(self, samples: results.Samples) -> Score:
        by_problem = {str(sample["doc"]["id"]): float(sample["avg_at_k"]) for sample in samples}
        value, stderr = mean_and_stderr(list(by_problem.values()))
        tokens = [scoring.unpack(text).probable_tokens for sample in samples for text in sample["resps"][0]]
        marks = [Mark.load(text) for sample in samples for text in sample["filtered_resps"][0]]
        finished = [mark for mark in marks if mark.mark != UNFINISHED]

        def mean(metric: str) -> float:
            return fmean(sample[metric] for sample in samples)

        return Score(
            task=self.task.task,
            domain=self.task.domain,
            metric=f"avg@{self.task.repeats}",
            value=value,
            stderr=stderr,
            n_problems=len(by_problem),
            k_samples=self.task.repeats,
            unfinished=mean("unfinished"),
            by_problem=by_problem,
            smoke=len(self.ids) < len(self.problems),
            unverified=mean("unverified"),
            repetition=mean("repetition"),
            unboxed=fmean(mark.unboxed for mark in finished) if finished else 0.0,
            pass_at_k=mean("pass_at_k"),
            cons_at_k=mean("cons_at_k"),
            tokens=sum(tokens),
            median_tokens=float(median(tokens)),
            planned=len(self.ids),
        )

    def leave(self, found: _Measured, folder: Path) -> None:
        """Keeps a score in the store, and puts lm-eval's two files, of it and of no other, and then the score into the
        run's folder."""
        if found.write is not None:
            self.entry.put(found.key, replace(found.score, looks=()), found.write)
        inside = folder / self.task.task
        inside.mkdir(parents=True, exist_ok=True)
        kept = self.entry.files(found.key)
        for path in kept:
            _copy(path, inside / path.name)
        for path in inside.iterdir():
            if path.name not in {path.name for path in kept}:
                path.unlink()
        write_json(folder / f"{self.task.task}.json", {"key": found.key, "score": shards.to_row(found.score)})

    def _key(self, data: str) -> str:
        """All that a score and its files depend on, beside the entry that they are in: also what the model is called,
        which the files say. Thresholds are not in it: moving a floor measures nothing again."""
        versions = (PROTOCOL, __version__, lm_eval.__version__)
        sizes = (self.task.repeats, len(self.ids), len(self.problems))
        return fingerprint(self.subject.name, *versions, data, *sizes, self.gate.seed)

    def _data(self, ids: Sequence[str]) -> str:
        wanted = set(ids)
        asked = [benchmarks.document(problem) for problem in self.problems if problem.id in wanted]
        return fingerprint(json.dumps(asked, sort_keys=True))


def _copy(source: Path, target: Path) -> None:
    """A copy under a temporary name, then renamed. What lies in a run can be changed without harm to the store."""
    partial = target.with_name(target.name + ".partial")
    try:
        shutil.copyfile(source, partial)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    partial.replace(target)
