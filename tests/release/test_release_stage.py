"""The stage that releases: from a run's folder, as the gate sealed it, and no other."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from distill import release_stage, shards
from distill.errors import DistillError, GateClosed
from distill.records import GateReport
from distill.road import Facts, Road
from distill.run import Run, write_json
from tests.release import made


def gated(root: Path, reports: list[GateReport]) -> Road:
    """A run up to its sealed gate."""
    run, told = Run(root), made.story(reports, to="folder", repo=None)
    gate = run.folder("gate")
    made.run(root, ("bf16",))
    (root / "variants").rename(gate / "variants")
    (root / "scores").rename(gate / "scores")
    for report in reports:
        for score in report.scores:
            record = {"key": "k", "score": shards.to_row(score)}
            write_json(gate / "scores" / report.variant / f"{score.task}.json", record)
    write_json(gate / "reports.json", [shards.to_row(report) for report in reports])
    write_json(root / "recipe.json", told.recipe.model_dump(mode="json"))
    (run.folder("train") / "metrics.jsonl").write_text("{}\n")
    for stage, manifest in told.manifests.items():
        facts = {key: value for key, value in manifest.items() if key not in ("stage", "fingerprint", "sealed")}
        if stage == "gate":
            waived = [{"waiver": check.waiver} for report in reports for check in report.checks if check.waiver]
            facts |= {"variants": {report.variant: report.passed for report in reports}, "waived": waived}
        run.seal(stage, "f1", facts)
    return Road(told.recipe, run, made.quiet)


def test_what_the_gate_sealed_is_released(tmp_path: Path) -> None:
    facts = release_stage.release(gated(tmp_path, [made.report("bf16", "fail", waiver="known (A. Person)")]))
    card = (tmp_path / facts["path"] / "README.md").read_text()
    assert "known (A. Person)" in card and "0.750" in card


def test_a_closed_gate_releases_nothing(tmp_path: Path) -> None:
    with pytest.raises(GateClosed, match="bf16"):
        release_stage.release(gated(tmp_path, [made.report("bf16", "fail")]))


def _opened(rows: list[Facts]) -> None:
    rows[0]["checks"][0]["outcome"] = "pass"


def _closed(rows: list[Facts]) -> None:
    rows[0]["checks"][0]["outcome"] = "undecided"


def _waived(rows: list[Facts]) -> None:
    rows[0]["checks"][0]["waiver"] = "nobody asked"


def _better(rows: list[Facts]) -> None:
    rows[0]["scores"][0]["value"] = 0.95


@pytest.mark.parametrize(
    ("outcome", "edit"), [("fail", _opened), ("pass", _closed), ("fail", _waived), ("pass", _waived), ("pass", _better)]
)
def test_reports_that_were_edited_after_the_gate_release_nothing(
    tmp_path: Path, outcome: Any, edit: Callable[[list[Facts]], None]
) -> None:
    road = gated(tmp_path, [made.report("bf16", outcome)])
    path = road.run.folder("gate") / "reports.json"
    rows = json.loads(path.read_text())
    edit(rows)
    write_json(path, rows)
    with pytest.raises(DistillError, match=r"reports.json was changed after the gate; delete .*manifest.json"):
        release_stage.release(road)
    assert not list(road.run.folder("release").iterdir())
