"""BIG-Bench Hard's logic and knights and knaves: rows in, `Problem`s out."""

import re
from collections.abc import Iterator
from pathlib import Path

from distill.catalogue import info
from distill.errors import InputError
from distill.records import Problem
from distill.tables import ENDINGS, read_rows
from evals.readers.rows import Rows, files_of, filled, listed, prompt, words

BBH_LOGIC = (
    "boolean_expressions",
    "formal_fallacies",
    "logical_deduction_three_objects",
    "logical_deduction_five_objects",
    "logical_deduction_seven_objects",
    "navigate",
    "temporal_sequences",
    "tracking_shuffled_objects_three_objects",
    "tracking_shuffled_objects_five_objects",
    "tracking_shuffled_objects_seven_objects",
    "web_of_lies",
)
"""The tasks of BIG-Bench Hard (Suzgun et al., 2022, arXiv 2210.09261) that are logic: what follows from statements, and
where things are after stated moves. 250 problems each."""

PEOPLE = (3, 4, 5, 6, 7)
"""Of K-and-K/knights-and-knaves (Xie et al., 2024, arXiv 2410.23123): 100 puzzles for each number of people."""


def bbh_logic(path: str | None) -> Iterator[Problem]:
    """Each task's rows; a local path is a folder of them all, or the file of one."""
    for subtask, rows in _bbh_rows(path):
        for place, row in rows:
            asked, target = prompt(row, ("input",), place), filled(row, ("target",), place)
            letter = re.fullmatch(r"\(?([A-Z])\)?", target)
            answer = f"({letter[1]})" if letter else target
            yield Problem.of(asked, answer, "choice" if letter else "text", f"bbh/{subtask}")


def _bbh_rows(path: str | None) -> Iterator[tuple[str, Rows]]:
    hub = info("distill_bbh_logic").hub
    assert hub is not None
    if path is None:
        yield from ((name, read_rows(hub.path, subset=name, split=hub.split)) for name in BBH_LOGIC)
    elif (local := Path(path).expanduser()).is_dir():
        for name in BBH_LOGIC:
            inner = local / name
            files = files_of(str(inner), ["test"]) if inner.is_dir() else files_of(path, [name])
            yield name, (pair for file in files for pair in read_rows(str(file)))
    else:
        yield local.stem, read_rows(str(local))


def knights_knaves(path: str | None) -> Iterator[Problem]:
    """Puzzles with the one solution in `meta`, name to whether that one is a knight."""
    for place, row in _knights_rows(path):
        names, solution = listed(row, ("names",), place), listed(row, ("solution",), place)
        if len(names) != len(solution) or not all(isinstance(value, bool) for value in solution):
            raise InputError(f"{place}: solution must hold true or false for each of the {len(names)} names")
        people = [words(name, "names", place) for name in names]
        truth = dict(zip(people, solution, strict=True))
        if len({name.casefold() for name in people}) < len(people):
            raise InputError(f"{place}: two of the names are the same: {', '.join(map(str, names))[:80]}")
        answer = filled(row, ("solution_text_format", "solution_text"), place)
        asked = prompt(row, ("quiz",), place)
        yield Problem.of(asked, answer, "rule", "knights_knaves", rule="knights_knaves", solution=truth)


def _knights_rows(path: str | None) -> Rows:
    hub = info("distill_knights_knaves").hub
    assert hub is not None
    if path is None:
        for people in PEOPLE:
            yield from read_rows(hub.path, subset=hub.subset, split=f"{people}ppl")
    elif (local := Path(path).expanduser()).is_dir():
        files = [file for people in PEOPLE if (file := _of_people(local, people)) is not None]
        for file in files or _tests(local):
            yield from read_rows(str(file))
    else:
        yield from read_rows(str(local))


def _of_people(folder: Path, people: int) -> Path | None:
    """The file of so many people's test puzzles, as Logic-RL names it, or as the Hub does; jsonl before parquet."""
    for pattern in (f"*{people}ppl_test", f"test/people{people}_num*", f"people{people}_num*"):
        for ending in (".jsonl", *ENDINGS):
            if found := sorted(folder.glob(pattern + ending)):
                return found[0]
    return None


def _tests(folder: Path) -> list[Path]:
    for ending in (".jsonl", *ENDINGS):
        if files := sorted(folder.glob(f"*test{ending}")):
            return files
    raise InputError(f"{folder}: there is no file that ends with test.jsonl or test.parquet")
