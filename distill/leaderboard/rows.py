"""The rows of the leaderboard: takes run and release folders, gives every model that was measured, each once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from distill.errors import InputError, ShardError
from distill.judged import read_recipe, read_reports
from distill.records import GateReport, Score
from distill.run import STAGES

Kind = Literal["student", "base", "previous", "teacher"]
REPORTS = (Path(STAGES["gate"], "reports.json"), Path("lineage", STAGES["gate"], "reports.json"))
"""Where a run, and where a release folder, keeps its gate's reports."""


@dataclass(frozen=True)
class Cell:
    """A score, with how its answers were drawn: temperature, top_p and the token limit; None where nobody knows."""

    score: Score
    sampling: tuple[float, float, int] | None


@dataclass(frozen=True)
class Row:
    """One model. `origins` are the runs that it was measured in, `base` the name of the row of a student's base, and
    `passed` says of a student whether the gate let it through, and `waived` whether somebody answered for a check."""

    name: str
    kind: Kind
    origins: tuple[str, ...]
    cells: Mapping[str, Cell]
    base: str | None = None
    passed: bool | None = None
    waived: bool = False


@dataclass(frozen=True)
class Source:
    """One run or release: its name, its reports, and from its recipe how it sampled and what its baselines are."""

    name: str
    folder: Path
    reports: Sequence[GateReport]
    sampling: tuple[float, float, int] | None = None
    baselines: Mapping[str, str] = field(default_factory=dict)


def read(folder: Path) -> Source:
    """What a run's or a release's folder tells. Raises InputError where it has no reports of a gate, and ShardError
    where they cannot be read."""
    path = next((folder / place for place in REPORTS if (folder / place).exists()), None)
    if path is None:
        raise InputError(
            f"{folder} has no gate's reports, neither {REPORTS[0]} as a run nor {REPORTS[1]} as a release; "
            "`distill gate RECIPE` makes them"
        )
    reports, recipe = read_reports(path), _recipe(folder)
    named = {
        "base": recipe.get("student", {}).get("base"),
        "previous": recipe.get("gate", {}).get("previous"),
        "teacher": recipe.get("teacher", {}).get("model"),
    }
    baselines = {kind: _called(str(name)) for kind, name in named.items() if name}
    return Source(str(recipe.get("name", folder.resolve().name)), folder, reports, _drawn(folder, recipe), baselines)


def rows(sources: Sequence[Source]) -> list[Row]:
    """All models, the best first: by the mean over the tasks that all have, or, where there is none, over their own.

    A baseline of several runs is one row where it has one name in all and the same results on every task that it has
    in several (and in one of them at least); otherwise each is a row of its own, called after its run. The same goes
    for a run and its own release.
    """
    found: list[Row] = []
    for source in sources:
        bases = {name: _enter(found, row) for name, row in _baselines(source).items()}
        for report in source.reports:
            cells = {score.task: Cell(score, source.sampling) for score in report.scores}
            base = bases.get("base")
            waived = any(check.waiver and check.outcome != "pass" for check in report.checks)
            name = f"{source.name} {report.variant}"
            row = Row(name, "student", (source.name,), cells, base, report.passed, waived)
            _enter(found, row)
    common = shared(found)
    return sorted(found, key=lambda row: (-_mean(row, common), row.name))


def shared(rows: Sequence[Row]) -> set[str]:
    """The tasks that all rows have."""
    return set.intersection(*(set(row.cells) for row in rows))


def _drawn(folder: Path, recipe: Mapping[str, Any]) -> tuple[float, float, int] | None:
    sampling = recipe.get("gate", {}).get("sampling")
    if sampling is None:
        return None
    try:
        return float(sampling["temperature"]), float(sampling["top_p"]), int(sampling["max_tokens"])
    except (TypeError, KeyError, ValueError) as error:
        raise ShardError(f"{folder}: its recipe.json has no gate.sampling that can be read ({error})") from error


def _called(model: str) -> str:
    """A model's name: of a path of this machine the last part."""
    return Path(model).name if model.startswith(("/", ".", "~")) else model


def _recipe(folder: Path) -> dict[str, Any]:
    """The recipe of a run, or the one that lies in a release's lineage; empty where there is none."""
    there = [folder / "recipe.json", *sorted(folder.glob("lineage/*/recipe.json")), folder / "lineage" / "recipe.json"]
    path = next((path for path in there if path.is_file()), None)
    return {} if path is None else read_recipe(path)


def _baselines(source: Source) -> dict[str, Row]:
    """Every baseline of the reports once. The 16-bit model, which quantized variants are held against, is none."""
    made: dict[str, Row] = {}
    kinds: tuple[Kind, ...] = ("base", "previous", "teacher")
    for report in source.reports:
        for kind in kinds:
            if kind in report.baselines and kind not in made:
                cells = {score.task: Cell(score, source.sampling) for score in report.baselines[kind]}
                name = source.baselines.get(kind, f"{kind} of {source.name}")
                made[kind] = Row(name, kind, (source.name,), cells)
    return made


def _enter(found: list[Row], row: Row) -> str:
    """Adds a row, or adds to the one that is the same model; gives its name."""
    for at, other in enumerate(found):
        if other.kind == row.kind and _stem(other) == _stem(row) and _same(other, row):
            origins = tuple(dict.fromkeys([*other.origins, *row.origins]))
            found[at] = replace(other, origins=origins, cells={**row.cells, **other.cells})
            return other.name
    name, count = row.name, 1
    while any(other.name == name for other in found):
        count += 1
        name = f"{row.name} ({row.origins[0]})" if count == 2 else f"{row.name} ({row.origins[0]}, {count - 1})"
    found.append(replace(row, name=name))
    return name


def _stem(row: Row) -> str:
    return row.name.partition(" (")[0]


def _same(one: Row, other: Row) -> bool:
    both = one.cells.keys() & other.cells.keys()
    return bool(both) and all(one.cells[task] == other.cells[task] for task in both)


def _mean(row: Row, common: set[str]) -> float:
    values = [cell.score.value for task, cell in row.cells.items() if task in common or not common]
    return fmean(values) if values else 0.0
