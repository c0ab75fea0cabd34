"""The gate's problems: a task of the recipe in, its rows as `Problem`s out, from a local path or from the Hub.

The same reading serves the harness, decontamination, and lm-eval's own command by `load_documents`. What the tasks are
is in `catalogue`, how their rows are read in `readers`.
"""

import dataclasses
import functools
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from distill import procedural, shards
from distill.catalogue import catalogue, info
from distill.errors import InputError
from distill.gate_sections import GateTask
from distill.records import Problem
from distill.tasknames import RG_DIFFICULTY, RG_PREFIX
from evals.readers import choices, logic, mathematics

__all__ = ["catalogue", "document", "load_documents", "problems", "questions"]

_READERS: dict[str, Callable[[str | None], Iterator[Problem]]] = {
    "distill_gsm8k": mathematics.gsm8k,
    "distill_math500": mathematics.math500,
    "distill_aime24": functools.partial(mathematics.aime, 2024),
    "distill_aime25": functools.partial(mathematics.aime, 2025),
    "distill_amc23": mathematics.amc23,
    "distill_bbh_logic": logic.bbh_logic,
    "distill_knights_knaves": logic.knights_knaves,
    "distill_gpqa_diamond": choices.gpqa_diamond,
    "distill_mmlu_pro_logic": choices.mmlu_pro_logic,
    "distill_logiqa2": choices.logiqa2,
}


def problems(task: GateTask) -> list[Problem]:
    """Every problem of a task, its limit aside, in the order of its rows; ids are distinct.

    Raises InputError for a file, a column or an answer that is not there.
    """
    if task.path is not None and task.task.startswith(RG_PREFIX):
        raise InputError(
            f"{task.task}: its problems are made, not read; take path: {task.path} out, or name another task"
        )
    if task.path is not None and not Path(task.path).expanduser().exists():
        raise InputError(f"{task.task}: {task.path}: there is no such file or folder; `path` is a local one")
    found = _numbered(_read(task))
    if not found:
        raise InputError(f"{task.task}: {task.path or 'its data set'} holds no problem")
    return found


def questions(tasks: Sequence[GateTask]) -> dict[str, list[str]]:
    """Each task's prompts, for decontamination; raises what `problems` raises."""
    return {task.task: [problem.prompt for problem in problems(task)] for task in tasks}


def sizes(tasks: Sequence[GateTask]) -> dict[str, int]:
    """Each task's number of problems, its limit aside: a local file is counted, and the catalogue knows the Hub's data
    sets. Raises what `problems` raises."""

    def size(task: GateTask) -> int:
        if task.path is not None:
            return len(problems(task))
        return task.size if task.task.startswith(RG_PREFIX) else info(task.task).size

    return {task.task: size(task) for task in tasks}


def document(problem: Problem) -> dict[str, str]:
    """A problem as lm-eval's document: what is asked, the answer for people, and the whole problem as JSON."""
    row = json.dumps(shards.to_row(problem), ensure_ascii=False)
    return {"id": problem.id, "ask": problem.ask, "answer": problem.answer, "problem": row}


def load_documents(task: str = "", **settings: Any) -> dict[str, Any]:
    """The `custom_dataset` of the YAML tasks: a task's name and settings in, {"test": data set} out.

    lm-eval's `--metadata` sets them: `path`, or `paths` with a path by task for several tasks at once; `opened: true`
    where the chat template ends the prompt with `<think>`; and for procedural tasks `family`, `size`, `config` and
    `first_seed`. lm-eval mixes the model's own arguments in, such as vLLM's `seed`, which are left alone. Raises
    InputError for what cannot be read.
    """
    import datasets

    name = RG_PREFIX + str(settings["family"]) if task == RG_PREFIX.rstrip("_") and "family" in settings else task
    known: dict[str, Any] = {key: settings[key] for key in ("path", "size", "config") if key in settings}
    if "first_seed" in settings:
        known["seed"] = settings["first_seed"]
    if name in settings.get("paths", {}):
        known["path"] = settings["paths"][name]
    opened = bool(settings.get("opened", False))
    rows = [{**document(problem), "opened": opened} for problem in problems(GateTask(task=name, min=0, **known))]
    return {"test": datasets.Dataset.from_list(rows)}


def _read(task: GateTask) -> Iterable[Problem]:
    if task.task.startswith(RG_PREFIX):
        family = task.task.removeprefix(RG_PREFIX)
        config = {**RG_DIFFICULTY.get(family, {}), **task.config}
        return _made(family, task.size, task.seed, json.dumps(config, sort_keys=True))
    return _READERS[task.task](task.path) if task.path is not None else _from_hub(task.task)


@functools.lru_cache(maxsize=8)
def _made(family: str, size: int, seed: int, config: str) -> tuple[Problem, ...]:
    """Procedural problems, kept: 500 zebra puzzles take half a minute to make."""
    return tuple(procedural.generate(family, size, seed, json.loads(config)))


def _from_hub(task: str) -> Iterator[Problem]:
    """The task's Hub data set; one that cannot be had is told with what to do about it."""
    hub = info(task).hub
    assert hub is not None, f"{task} is made, not read"
    try:
        yield from _READERS[task](None)
    except InputError as error:
        if error.__cause__ is None:  # a row of it is unreadable
            raise
        terms = f"accept the terms on https://huggingface.co/datasets/{hub.path} and set HF_TOKEN, or "
        raise InputError(f"{task}: {terms if hub.gated else ''}write path: with a local copy, for {error}") from error


def _numbered(found: Iterable[Problem]) -> list[Problem]:
    """A question that stands twice in a benchmark keeps both rows: the second's id ends with -2."""
    seen: Counter[str] = Counter()
    numbered = []
    for problem in found:
        seen[problem.id] += 1
        again = seen[problem.id]
        numbered.append(problem if again == 1 else dataclasses.replace(problem, id=f"{problem.id}-{again}"))
    return numbered
