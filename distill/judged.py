"""What lies in a run's or a release's folder for those that look at it: a path in, the gate's reports or the recipe as
plain data out; what cannot be read is told in one sentence."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from distill import shards
from distill.errors import ShardError
from distill.records import GateReport


def read_reports(path: Path) -> list[GateReport]:
    """The reports of a gate's reports.json, one of each variant; none where there is no such file.

    Raises ShardError for a file that holds none, or anything else.
    """
    if not path.exists():
        return []
    rows = _json(path)
    try:
        if not (isinstance(rows, list) and rows):
            raise ShardError("it is no list of reports")
        reports = [shards.from_row(GateReport, row) for row in rows]
        for report in reports:
            _refuse_other_kinds(report)
    except (ShardError, ValueError, TypeError, AttributeError) as error:
        raise ShardError(f"{path} holds no reports of a gate ({error}); delete it, and run the gate again") from error
    return reports


def _refuse_other_kinds(report: GateReport) -> None:
    """Raises ShardError where a field that is shown is of another kind than it should be: JSON may hold anything, and
    a release may be anybody's."""
    for score in (*report.scores, *(score for scores in report.baselines.values() for score in scores)):
        texts, counts = (score.task, score.metric), (score.n_problems, score.k_samples, score.planned)
        numbers = (score.value, score.stderr, score.unfinished, score.median_tokens)
        if not (_all(str, texts) and _all(int, counts) and _all(int | float, numbers)):
            raise ShardError(f"a field of a score of {score.task} is of another kind")
        if not all(0 <= value <= 1 for value in score.by_problem.values()):
            raise ShardError("a problem has a score that is not between 0 and 1")
    for check in report.checks:
        figures = (check.measured, check.bound, check.needed, check.low, check.high)
        words = (check.task, check.term, check.why, check.waiver)
        if not (_all(str, words) and _all(int | float, figures) and check.outcome in ("pass", "fail", "undecided")):
            raise ShardError(f"a field of a check of {check.task} is of another kind")


def _all(kind: Any, values: Iterable[Any]) -> bool:
    return all(isinstance(value, kind) for value in values)


def read_recipe(path: Path) -> dict[str, Any]:
    """A recipe.json as plain data, its sections and theirs again; raises ShardError for anything else."""
    recipe = _json(path)
    if not isinstance(recipe, dict) or not all(isinstance(recipe.get(name, {}), dict) for name in _SECTIONS):
        raise ShardError(f"{path} holds no recipe; delete it, and run the recipe again")
    return recipe


_SECTIONS = ("teacher", "student", "gate", "release")


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ShardError(f"{path} is not JSON ({error}); delete it, and run the recipe again") from error
