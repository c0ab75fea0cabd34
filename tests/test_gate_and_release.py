"""The gate and the release by the command, on a student that learnt next to nothing: what is measured once, what opens
a closed gate, and what reaches the Hub."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from distill.run import STAGES
from tests.release.hub_server import HubServer

ROOT = Path(__file__).resolve().parents[1]
RECIPE = """
name: dry
problems: [{kind: reasoning_gym, task: basic_arithmetic, size: 30}]
teacher: {kind: scripted, right: 0.9, max_per_problem: 1}
student: {base: "bundled:base", dtype: float32, lora: {rank: 4}, batch_tokens: 500, max_steps: 2}
gate:
  sampling: {max_tokens: 16}
  max_unfinished: 1
  max_unboxed: 1
  max_repetition: 1
  tasks:
    - {task: distill_rg_chain_sum, size: 12, repeats: 2, min: 0, max_drop: 1}
    - {task: distill_rg_aiw, size: 12, repeats: 2, min: 0, max_drop: 1}
"""


def distill(cwd: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "distill.cli", *arguments],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run that was released to a folder."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "dry.yaml").write_text(RECIPE)
    done = distill(folder, "run", "dry.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "report: runs/dry/report.html" in done.stdout and "gate passed" in done.stdout
    return folder


def copied(home: Path, tmp_path: Path) -> Path:
    shutil.copytree(home, tmp_path / "home")
    return tmp_path / "home"


def answers(home: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted((home / "runs" / ".scores").glob("*/answers.jsonl"))}


@pytest.mark.slow
def test_the_run_is_told_to_people_and_to_programs(home: Path) -> None:
    assert (home / "runs" / "dry" / "report.html").read_text().startswith("<!DOCTYPE html>")
    board = distill(home, "leaderboard", "--json")
    rows = json.loads(board.stdout)
    assert "dry bf16" in json.dumps(rows) and "bundled:base" in json.dumps(rows)
    assert distill(home, "report", "dry").stdout.strip() == "runs/dry/report.html"
    page = distill(home, "leaderboard", "dry", "--html", "board.html")
    assert page.returncode == 0 and "<table" in (home / "board.html").read_text()
    nothing = distill(home, "leaderboard", "nowhere")
    assert nothing.returncode == 2 and "nowhere" in nothing.stderr
    listed = json.loads(distill(home, "tasks", "--json").stdout)
    assert {"distill_gsm8k", "distill_bbh_logic"} <= {task["name"] for task in listed}
    told = json.loads(distill(home, "power", "dry.yaml", "--json").stdout)
    assert {one["term"] for one in told} == {"floor", "drop"} and all(0 <= one["chance"] <= 1 for one in told)


@pytest.mark.slow
def test_other_bounds_measure_and_merge_nothing_again_and_a_waiver_opens_the_gate(home: Path, tmp_path: Path) -> None:
    here = copied(home, tmp_path)
    run = here / "runs" / "dry"
    before, merged = answers(here), (run / "5-gate" / "merged" / "model.safetensors").stat().st_mtime_ns
    higher = ("--set", "gate.tasks.0.min=0.5")
    closed = distill(here, "run", "dry.yaml", *higher)
    assert closed.returncode == 1 and "distill_rg_chain_sum scored" in closed.stderr
    assert "samples to ask" not in closed.stdout and answers(here) == before
    assert (run / "5-gate" / "merged" / "model.safetensors").stat().st_mtime_ns == merged
    assert not (run / "6-release").exists()
    reason = "it is a toy, and its sums do not matter"
    waive = f"gate.waive=[{{check: distill_rg_chain_sum/floor, reason: {reason!r}, by: A. Person}}]"
    opened = distill(here, "run", "dry.yaml", *higher, "--set", waive)
    assert opened.returncode == 0, opened.stdout + opened.stderr
    assert "fail, waived" in opened.stdout and reason in opened.stdout
    card = (run / "6-release" / "dry" / "README.md").read_text()
    assert reason in card and "A. Person" in card
    assert reason in (run / "report.html").read_text()


@pytest.mark.slow
def test_a_base_is_measured_once_over_all_runs_and_the_release_before_by_its_own_files(
    home: Path, tmp_path: Path
) -> None:
    here = copied(home, tmp_path)
    before = answers(here)
    again = ("--set", "name=again", "--set", "student.seed=1", "--set", "gate.baselines=[base, previous]")
    done = distill(here, "run", "dry.yaml", *again, "--set", "gate.previous=runs/dry/6-release/dry")
    assert done.returncode == 0, done.stdout + done.stderr
    base, rest = done.stdout.split("measuring previous")
    assert "measuring base" in base and "samples to ask" not in base
    previous, student = rest.split("measuring bf16")
    assert "samples to ask" not in previous and student.count("samples to ask") == 2
    assert {path: answers(here)[path] for path in before} == before
    reports = json.loads((here / "runs" / "again" / "5-gate" / "reports.json").read_text())
    assert {check["term"] for check in reports[0]["checks"]} >= {"drop", "drop_previous", "contamination"}
    nowhere = distill(here, "run", "dry.yaml", *again, "--set", "gate.previous=./nowhere")
    assert nowhere.returncode == 2 and "gate.previous" in nowhere.stderr


@pytest.mark.slow
def test_a_release_goes_to_the_hub_and_never_over_what_is_somebody_elses(home: Path, tmp_path: Path) -> None:
    here = copied(home, tmp_path)
    with HubServer() as hub:
        hub.add("org/taken", {"README.md": b"mine"})
        to = ("--set", "release.to=hub", "--set", "release.repo=org/dry", "--set", "release.traces=true")
        online: dict[str, Any] = {
            "HF_ENDPOINT": hub.url,
            "HF_TOKEN": "hf_writer",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HOME": str(tmp_path / "hf"),
        }
        offline = {**online, "HF_TOKEN": "", "HF_TOKEN_PATH": str(tmp_path / "none")}
        refused = distill(here, "release", "dry.yaml", *to, **offline)
        assert refused.returncode == 2 and "HF_TOKEN" in refused.stderr
        pushed = distill(here, "release", "dry.yaml", *to, **online)
        assert pushed.returncode == 0, pushed.stdout + pushed.stderr
        assert f"{hub.url}/org/dry" in pushed.stdout
        assert set(hub.mains()) == {"org/taken", "org/dry", "org/dry-evals", "org/dry-traces"}
        assert {"README.md", "model.safetensors", "config.json", "hashes.json"} <= set(hub.mains()["org/dry"])
        assert hub.repo("org/dry").private
        again = distill(here, "release", "dry.yaml", *to, **online)
        assert again.returncode == 0 and again.stdout.count("already done") == len(STAGES)
        taken = distill(here, "release", "dry.yaml", *to, "--set", "release.repo=org/taken", **online)
        assert taken.returncode == 2 and "--adopt" in taken.stderr
        assert set(hub.mains()["org/taken"]) == {".gitattributes", "README.md"}
        adopted = distill(here, "release", "dry.yaml", *to, "--set", "release.repo=org/taken", "--adopt", **online)
        assert adopted.returncode == 0, adopted.stdout + adopted.stderr
        assert "model.safetensors" in hub.mains()["org/taken"]
    files = [path for path in here.rglob("*") if path.is_file()]
    assert not [path for path in files if b"hf_writer" in path.read_bytes()], "a token was written"
