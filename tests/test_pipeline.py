"""The journey before its stages: what would stop one is told before any work; what was deleted is made anew."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from distill import pipeline, plan, recipe
from distill.errors import GateClosed, InputError
from distill.gate_sections import GateTask
from distill.recipe import Recipe
from distill.run import STAGES, Run, write_json
from tests.test_recipes import GOOD, write

BOUNDS: dict[str, Any] = {
    "tasks": [{"task": "distill_rg_gcd", "min": 0, "size": 3}, {"task": "distill_rg_aiw", "min": 0, "size": 3}]
}


def load(folder: Path, **gate: Any) -> Recipe:
    return recipe.load(write(folder, GOOD | {"gate": BOUNDS | gate}))


def travelled(run: Run, asked: Recipe, *, passed: bool = True) -> Run:
    """Every stage sealed, with the files that the gate and the release leave."""
    gate = run.folder("gate")
    for inner in ("variants", "scores"):
        (gate / inner / "bf16").mkdir(parents=True)
    write_json(gate / "reports.json", [])
    (run.folder("release") / "good").mkdir()
    facts: dict[str, Any] = {"path": "6-release/good", "passed": passed, "closed_because": "it fell.\nit rose."}
    for stage, print_ in plan.fingerprints(asked).items():
        run.seal(stage, print_, facts)
    return run


def nothing(line: str) -> None:
    """Says nothing."""


@pytest.mark.parametrize(
    ("gone", "until", "first"),
    [
        (None, None, None),
        ("6-release/good", None, "release"),
        ("6-release/good", "gate", None),
        ("5-gate/reports.json", "gate", "gate"),
    ],
)
def test_what_was_deleted_is_made_anew(tmp_path: Path, gone: str | None, until: str | None, first: str | None) -> None:
    asked = load(tmp_path)
    run = travelled(Run(tmp_path / "runs" / "good"), asked)
    if gone is not None:
        path = run.root / gone
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    stages = plan.stages_until(until)
    done = pipeline._done(asked, run, stages, plan.fingerprints(asked))
    assert done == (stages if first is None else stages[: stages.index(first)])


@pytest.mark.parametrize("gone", ["reports.json", "variants/bf16", "scores/bf16"])
def test_a_release_is_made_of_a_whole_gate(tmp_path: Path, gone: str) -> None:
    asked = load(tmp_path)
    run = travelled(Run(tmp_path / "runs" / "good"), asked)
    shutil.rmtree(run.root / STAGES["release"])
    prints = plan.fingerprints(asked)
    assert pipeline._done(asked, run, list(STAGES), prints)[-1] == "gate"
    path = run.root / STAGES["gate"] / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert pipeline._done(asked, run, list(STAGES), prints)[-1] == "train"


def test_a_closed_gate_tells_every_reason_on_a_line(tmp_path: Path) -> None:
    asked = load(tmp_path)
    run = travelled(Run(tmp_path / "runs" / "good"), asked, passed=False)
    shutil.rmtree(run.root / STAGES["release"])
    with pytest.raises(GateClosed) as closed:
        pipeline.travel(asked, run, "gate", nothing)
    assert str(closed.value) == "the gate is closed, and nothing is released:\n  it fell.\n  it rose."


@pytest.mark.parametrize(
    ("task", "says"),
    [
        ({"task": "distill_gsm8k", "path": "empty.jsonl"}, "gate.tasks, distill_gsm8k: .*empty.jsonl holds no problem"),
        ({"task": "distill_gsm8k", "path": "."}, "gate.tasks, distill_gsm8k: .*there is no file"),
        ({"task": "distill_gsm8k", "path": "broken.parquet"}, "gate.tasks, distill_gsm8k: .*is not parquet"),
        ({"task": "distill_rg_nosuch"}, "gate.tasks, distill_rg_nosuch: "),
        ({"task": "distill_rg_lcm", "config": {"nosuch": 1}}, "gate.tasks, distill_rg_lcm: .*nosuch"),
    ],
)
def test_a_task_that_cannot_be_asked_is_told_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: dict[str, Any], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "broken.parquet").write_text("broken")
    with pytest.raises(InputError, match=says):
        pipeline.check_tasks([GateTask(min=0, **task)])
    asked = load(tmp_path, tasks=[*BOUNDS["tasks"], {"min": 0, **task}])
    run = Run(tmp_path / "runs" / "good")
    with pytest.raises(InputError, match=says):
        pipeline.travel(asked, run, None, nothing)
    assert not run.root.exists()


def test_a_previous_release_in_the_runs_own_folder_is_left_where_it_is(tmp_path: Path) -> None:
    run = travelled(Run(tmp_path / "runs" / "good"), load(tmp_path))
    own = run.root / STAGES["release"] / "good"
    for where, says in ((own, "lies in this very run"), (tmp_path / "runs", "is no release folder")):
        with pytest.raises(InputError, match=says):
            pipeline.travel(load(tmp_path, baselines=["base", "previous"], previous=str(where)), run, None, nothing)
        assert own.is_dir() and run.manifest("gate") is not None
