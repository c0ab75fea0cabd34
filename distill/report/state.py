"""What a run has come to: takes its folder, gives the facts that are there, sealed or not."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill.errors import InputError
from distill.judged import read_recipe, read_reports
from distill.records import GateReport
from distill.run import STAGES, Run

BASELINES = ("base", "previous", "teacher")


@dataclass(frozen=True)
class State:
    """One run. `manifests` holds those of the sealed stages, `reports` is empty before the gate judged, and `models`
    names what was measured, baselines first."""

    root: Path
    name: str
    recipe: Mapping[str, Any]
    manifests: Mapping[str, Mapping[str, Any]]
    reports: Sequence[GateReport]
    models: Sequence[str]

    def folder(self, stage: str) -> Path:
        """Where a stage has its files; nothing is made."""
        return self.root / STAGES[stage]

    @property
    def confidence(self) -> float:
        """The gate's, one-sided."""
        return self.reports[0].confidence if self.reports else 0.95

    @property
    def students(self) -> list[str]:
        """The variants that were measured."""
        return [name for name in self.models if name not in BASELINES]

    def metrics(self) -> Iterator[dict[str, Any]]:
        """The lines of the training's metrics; one that a kill left torn is none."""
        path = self.folder("train") / "metrics.jsonl"
        for line in path.read_bytes().splitlines() if path.exists() else ():
            try:
                found = json.loads(line)
            except ValueError:
                continue
            if isinstance(found, dict) and isinstance(found.get("step"), int):
                yield found


def read(run: Run) -> State:
    """The run as it is now. Raises InputError for a folder without recipe.json, and ShardError for broken files."""
    path = run.root / "recipe.json"
    if not path.exists():
        raise InputError(f"{run.root} holds no run (there is no recipe.json in it); write a run's folder")
    recipe, reports = read_recipe(path), read_reports(run.root / STAGES["gate"] / "reports.json")
    manifests = {stage: manifest for stage in STAGES if (manifest := run.manifest(stage)) is not None}
    name = str(recipe.get("name", run.root.name))
    return State(run.root, name, recipe, manifests, reports, _models(run.root / STAGES["gate"] / "scores", reports))


def _models(scores: Path, reports: Sequence[GateReport]) -> list[str]:
    """Baselines in their order, then the variants as they were judged, then what else has a folder of answers."""
    judged = [name for report in reports for name in report.baselines if name in BASELINES]
    there = [path.name for path in sorted(scores.glob("*")) if path.is_dir()]
    baselines = [name for name in BASELINES if name in judged or name in there]
    return list(dict.fromkeys([*baselines, *(report.variant for report in reports), *there]))
