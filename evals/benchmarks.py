"""The gate's problems: a task of the recipe in, its rows as `Problem`s out, from a local path or from the Hub.

The same reading serves the harness, decontamination, and lm-eval's own command by `load_documents`.
"""

import dataclasses
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from distill import procedural, shards
from distill.answers import reference_answer
from distill.errors import InputError
from distill.gate_sections import GateTask
from distill.records import Problem
from distill.tables import ENDINGS, Row, read_rows, text_of
from distill.tasknames import RG_PREFIX

Rows = Iterator[tuple[str, Row]]

BBH_LOGIC = (
    "boolean_expressions",
    "formal_fallacies",
    "logical_deduction_three_objects",
    "logical_deduction_five_objects",
    "logical_deduction_seven_objects",
    "temporal_sequences",
    "web_of_lies",
)
"""The tasks of BIG-Bench Hard (Suzgun et al., 2022, arXiv 2210.09261) that are logic."""

KNIGHTS_SPLITS = ("3ppl", "4ppl", "5ppl", "6ppl", "7ppl")
"""Of K-and-K/knights-and-knaves (Xie et al., 2024, arXiv 2410.23123): 100 puzzles for each number of people."""


def problems(task: GateTask) -> list[Problem]:
    """Every problem of a task, its limit aside, in the order of its rows; ids are distinct.

    Raises InputError for a file, a column or an answer that is not there.
    """
    if task.path is not None and not Path(task.path).expanduser().exists():
        raise InputError(f"{task.task}: {task.path}: there is no such file or folder; `path` is a local one")
    found = _numbered(_read(task))
    if not found:
        raise InputError(f"{task.task}: {task.path or 'its data set'} holds no problem")
    return found


def questions(tasks: Sequence[GateTask]) -> dict[str, list[str]]:
    """Each task's prompts, for decontamination; raises what `problems` raises."""
    return {task.task: [problem.prompt for problem in problems(task)] for task in tasks}


def document(problem: Problem) -> dict[str, str]:
    """A problem as lm-eval's document: what is asked, the answer for people, and the whole problem as JSON."""
    row = json.dumps(shards.to_row(problem), ensure_ascii=False)
    return {"id": problem.id, "ask": problem.ask, "answer": problem.answer, "problem": row}


def load_documents(task: str = "", **settings: Any) -> dict[str, Any]:
    """The `custom_dataset` of the YAML tasks: a task's name and settings in, {"test": data set} out.

    `settings` takes path, size, seed, config and family (for distill_rg), so that lm-eval's `--metadata` can set them.
    Raises InputError for what cannot be read.
    """
    import datasets

    name = RG_PREFIX + str(settings["family"]) if "family" in settings else task
    known = {key: settings[key] for key in ("path", "size", "seed", "config") if key in settings}
    rows = [document(problem) for problem in problems(GateTask(task=name, min=0, **known))]
    return {"test": datasets.Dataset.from_list(rows)}


def _read(task: GateTask) -> Iterable[Problem]:
    if task.task.startswith(RG_PREFIX):
        return procedural.generate(task.task.removeprefix(RG_PREFIX), task.size, task.seed, task.config)
    readers: dict[str, Callable[[str | None], Iterator[Problem]]] = {
        "distill_gsm8k": _gsm8k,
        "distill_math500": _math500,
        "distill_bbh_logic": _bbh_logic,
        "distill_knights_knaves": _knights_knaves,
    }
    return readers[task.task](task.path)


def _numbered(found: Iterable[Problem]) -> list[Problem]:
    """A question that stands twice in a benchmark keeps both rows: the second's id ends with -2."""
    seen: Counter[str] = Counter()
    numbered = []
    for problem in found:
        seen[problem.id] += 1
        again = seen[problem.id]
        numbered.append(problem if again == 1 else dataclasses.replace(problem, id=f"{problem.id}-{again}"))
    return numbered


def _gsm8k(path: str | None) -> Iterator[Problem]:
    rows = read_rows(_test_file(path)) if path else read_rows("openai/gsm8k", subset="main", split="test")
    for place, row in rows:
        answer = reference_answer(_filled(row, "answer", place))
        yield Problem.of(_filled(row, "question", place), answer, "math", "gsm8k")


def _math500(path: str | None) -> Iterator[Problem]:
    rows = read_rows(_test_file(path)) if path else read_rows("HuggingFaceH4/MATH-500", split="test")
    for place, row in rows:
        yield Problem.of(_filled(row, "problem", place), _filled(row, "answer", place), "math", "math500")


def _bbh_logic(path: str | None) -> Iterator[Problem]:
    for subtask, rows in _bbh_rows(path):
        for place, row in rows:
            prompt, target = _filled(row, "input", place), _filled(row, "target", place)
            kind = target.startswith("(") and target.endswith(")") and len(target) == 3
            yield Problem.of(prompt, target, "choice" if kind else "text", f"bbh/{subtask}")


def _bbh_rows(path: str | None) -> Iterator[tuple[str, Rows]]:
    """Each subtask with its rows; a local path is a folder of them all, or one file."""
    if path is None:
        yield from ((name, read_rows("SaylorTwift/bbh", subset=name, split="test")) for name in BBH_LOGIC)
    elif (local := Path(path).expanduser()).is_dir():
        for name in BBH_LOGIC:
            yield name, read_rows(str(local / f"{name}.json"))
    else:
        yield local.stem, read_rows(str(local))


def _knights_knaves(path: str | None) -> Iterator[Problem]:
    for place, row in _knights_rows(path):
        names, solution = _listed(row, "names", place), _listed(row, "solution", place)
        if len(names) != len(solution) or not all(isinstance(value, bool) for value in solution):
            raise InputError(f"{place}: solution must hold true or false for each of the {len(names)} names")
        truth = {str(name): value for name, value in zip(names, solution, strict=True)}
        answer = _filled(row, "solution_text_format", place)
        prompt = _filled(row, "quiz", place)
        yield Problem.of(prompt, answer, "rule", "knights_knaves", rule="knights_knaves", solution=truth)


def _knights_rows(path: str | None) -> Rows:
    if path is None:
        for split in KNIGHTS_SPLITS:
            yield from read_rows("K-and-K/knights-and-knaves", subset="test", split=split)
    elif (local := Path(path).expanduser()).is_dir():
        kinds = (sorted(local.glob(f"*test{ending}")) for ending in (".jsonl", ".parquet"))
        files = next((files for files in kinds if files), None)
        if files is None:
            raise InputError(f"{local}: there is no file that ends with test.jsonl or test.parquet")
        for file in files:
            yield from read_rows(str(file))
    else:
        yield from read_rows(str(local))


def _test_file(path: str) -> str:
    """The file itself, or a folder's test.<ending>."""
    local = Path(path).expanduser()
    if not local.is_dir():
        return str(local)
    for ending in ENDINGS:
        if (local / f"test{ending}").is_file():
            return str(local / f"test{ending}")
    raise InputError(f"{local}: there is no test file; write the file's own path, or put a test.jsonl there")


def _filled(row: Row, column: str, place: str) -> str:
    text = text_of(row, column, place).strip()
    if not text:
        raise InputError(f"{place}: the column {column!r} is empty")
    return text


def _listed(row: Row, column: str, place: str) -> list[Any]:
    value = row.get(column)
    if not isinstance(value, list) or not value:
        raise InputError(f"{place}: there is no list in the column {column!r}; the columns are {', '.join(row)}")
    return value
