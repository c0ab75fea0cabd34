"""The whole road on the bundled models, as a user walks it: once, again, after a kill, and into a full disk."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from distill import shards
from distill.records import Trace
from distill.run import STAGES, hash_file

ROOT = Path(__file__).resolve().parents[1]
SCRIPTED = """
name: dry
problems: [{kind: reasoning_gym, task: basic_arithmetic, size: 30}]
teacher: {kind: scripted, right: 0.7, max_per_problem: 2}
student: {base: "bundled:base", lora: {rank: 4}}
gate: {tasks: [{task: distill_rg_chain_sum, size: 5, min: 0.1}, {task: distill_rg_aiw, size: 5, min: 0.1}]}
"""


def distill(*arguments: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "distill.cli", *map(str, arguments)],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        timeout=900,
    )


def trace_ids(run: Path) -> list[str]:
    return [trace.id for trace in shards.read_parts(run / "2-traces", Trace)]


@pytest.mark.slow
def test_the_quickstart_small_from_problems_to_a_release(tmp_path: Path, small_quickstart: Path) -> None:
    first = distill("run", small_quickstart, cwd=tmp_path)
    assert first.returncode == 0, first.stdout + first.stderr
    run = tmp_path / "runs" / "small"
    manifests: dict[str, Any] = {
        stage: json.loads((run / folder / "manifest.json").read_text()) for stage, folder in STAGES.items()
    }
    assert (
        manifests["problems"]["problems"] <= 350 and manifests["sample"]["traces"] == manifests["problems"]["problems"]
    )
    assert manifests["curate"]["kept"] > 100
    assert manifests["gate"]["passed"] and manifests["gate"]["variants"] == {"bf16": True, "nf4": True}
    reports = json.loads((run / "5-gate" / "reports.json").read_text())
    logic = {score["task"]: score["value"] for score in reports[0]["scores"]}["distill_rg_aiw"]
    assert logic > 0.3, "the student learnt nothing; its base scores nothing there"
    released = run / "6-release" / "small"
    hashes = json.loads((released / "hashes.json").read_text())
    assert {"README.md", "bf16/model.safetensors", "nf4/model.safetensors"} <= set(hashes)
    assert all(hash_file(released / name) == digest for name, digest in hashes.items())
    assert f"{reports[0]['scores'][0]['value']:.3f}" in (released / "README.md").read_text()
    _loads_with_plain_transformers(released)

    second = distill("run", small_quickstart, cwd=tmp_path)
    assert second.returncode == 0 and second.stdout.count("already done") == len(STAGES)

    (run / "3-kept" / "manifest.json").unlink()
    third = distill("run", small_quickstart, cwd=tmp_path)
    assert third.returncode == 0 and third.stdout.count("already done") == 2
    for stage in ("curate", "train", "gate", "release"):
        assert f"{STAGES[stage]}: begins" in third.stdout


def _loads_with_plain_transformers(released: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    for variant in ("bf16", "nf4"):
        model = AutoModelForCausalLM.from_pretrained(released / variant)
        tokenizer = AutoTokenizer.from_pretrained(released / variant)
        assert model.generation_config.temperature == 0.6 and model.generation_config.top_p == 0.95
        prompt = tokenizer.apply_chat_template(
            [{"role": "user", "content": "hi"}], add_generation_prompt=True, tokenize=False
        )
        assert prompt.endswith("<think>\n")
        ids = tokenizer(prompt, add_special_tokens=False, return_tensors="pt").input_ids
        assert model.generate(ids, max_new_tokens=3).shape[1] > ids.shape[1]


def killed_when(path: Path, ready: Any, arguments: list[str], cwd: Path) -> None:
    """Starts the command, and kills it with SIGKILL as soon as `ready` says so of `path`."""
    process = subprocess.Popen(
        [sys.executable, "-m", "distill.cli", *arguments],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    end = time.monotonic() + 600
    while not ready(path):
        assert process.poll() is None, "the command ended before it could be killed"
        assert time.monotonic() < end, "the moment to kill never came"
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.slow
def test_a_kill_in_sampling_and_in_training_loses_and_doubles_nothing(tmp_path: Path, small_quickstart: Path) -> None:
    fewer = ["--set", "teacher.batch_size=16", "--set", "problems.1.size=60"]
    arguments = ["run", str(small_quickstart), "--until", "train", *fewer]
    run = tmp_path / "runs" / "small"

    def some_lines(path: Path) -> bool:
        return path.exists() and path.read_bytes().count(b"\n") >= 20

    killed_when(run / "2-traces" / "journal.jsonl", some_lines, arguments, tmp_path)
    paid = (run / "2-traces" / "journal.jsonl").read_bytes().count(b"\n")
    saved = [*arguments, "--set", "student.save_every_steps=2", "--set", "student.max_steps=8"]
    killed_when(
        run / "4-student" / "checkpoints",
        lambda path: any(path.glob("checkpoint-*/trainer_state.json")),
        saved,
        tmp_path,
    )
    ids = trace_ids(run)
    assert len(ids) >= paid and len(set(ids)) == len(ids)
    finished = distill(*saved, cwd=tmp_path)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "2-traces: already done" in finished.stdout
    whole = distill("run", small_quickstart, "--until", "sample", "--runs", "other", *fewer, cwd=tmp_path)
    assert whole.returncode == 0, whole.stderr
    assert trace_ids(tmp_path / "other" / "small") == trace_ids(run)


def test_more_attempts_keep_the_old_ones_and_a_stage_without_records_says_so(tmp_path: Path) -> None:
    (tmp_path / "dry.yaml").write_text(SCRIPTED)
    assert distill("problems", "dry.yaml", cwd=tmp_path).returncode == 0
    early = distill("peek", "dry", "kept", cwd=tmp_path)
    assert early.returncode == 2 and "has no kept yet; `distill curate RECIPE`" in early.stderr
    assert not (tmp_path / "runs" / "dry" / "3-kept").exists()
    assert distill("sample", "dry.yaml", cwd=tmp_path).returncode == 0
    before = list(shards.read_parts(tmp_path / "runs" / "dry" / "2-traces", Trace))
    more = distill("sample", "dry.yaml", "--set", "teacher.max_per_problem=3", cwd=tmp_path)
    assert more.returncode == 0 and "60 traces are there already" in more.stdout
    after = list(shards.read_parts(tmp_path / "runs" / "dry" / "2-traces", Trace))
    assert len(after) == 90 and all(trace in after for trace in before)


def test_ctrl_c_says_how_to_go_on_and_loses_nothing(tmp_path: Path, small_quickstart: Path) -> None:
    journal = tmp_path / "runs" / "small" / "2-traces" / "journal.jsonl"
    process = subprocess.Popen(
        [sys.executable, "-m", "distill.cli", "sample", str(small_quickstart), "--set", "teacher.batch_size=16"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # what runs in the background ignores it
    )
    while not (journal.exists() and journal.read_bytes().count(b"\n") >= 16):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=240)
    assert process.returncode == 130 and "the same command goes on" in said
    assert "Traceback" not in said and journal.read_bytes().endswith(b"\n")


def test_a_dry_run_with_a_scripted_teacher_curates_by_the_answer(tmp_path: Path) -> None:
    (tmp_path / "dry.yaml").write_text(SCRIPTED)
    done = distill("curate", "dry.yaml", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    curated = json.loads(done.stdout)["stages"]["curate"]
    assert curated["read"] == 60
    assert 0 < curated["dropped"]["wrong_answer"] < 40
    peeked = distill("peek", "dry", "dropped", "--reason", "wrong_answer", "-n", "1", cwd=tmp_path)
    assert "dropped: wrong_answer" in peeked.stdout
    unknown = distill("peek", "dry", "dropped", "--reason", "wrong", cwd=tmp_path)
    assert unknown.returncode == 2 and "--reason 'wrong' is no reason; write one of unfinished, " in unknown.stderr
    elsewhere = distill("peek", "dry", "kept", "--reason", "wrong_answer", cwd=tmp_path)
    assert elsewhere.returncode == 2 and "dry dropped --reason wrong_answer`" in elsewhere.stderr
    assert "3-kept      done" in distill("status", "dry", cwd=tmp_path).stdout


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["run", "nowhere.yaml"], 2, "no recipe 'nowhere.yaml'"),
        (["run", "dry.yaml", "--set", "studnet.seed=1"], 2, "studnet: there is no such key"),
        (["run", "dry.yaml", "--set", "student.base=./nothing"], 2, "there is no model folder ./nothing"),
        (["run", "dry.yaml", "--until", "trian"], 2, "is no stage"),
        (
            ["problems", "dry.yaml", "--set", "problems=[{kind: dataset, path: bad.jsonl}]"],
            2,
            "bad.jsonl, line 1: not JSON",
        ),
        (["problems", "dry.yaml", "--set", "problems=[{kind: dataset, path: torn.jsonl}]"], 2, "the last line is torn"),
        (["problems", "dry.yaml", "--set", "problems=[{kind: dataset, path: none.jsonl}]"], 2, "there is no such file"),
        (["status", "nothing"], 2, "there is no run 'nothing'"),
        (["new", "x", "--from", "y"], 2, "is no shipped recipe"),
        (["frobnicate"], 2, "No such command"),
    ],
)
def test_bad_input_gets_one_clear_sentence(tmp_path: Path, arguments: list[str], code: int, says: str) -> None:
    (tmp_path / "dry.yaml").write_text(SCRIPTED)
    (tmp_path / "bad.jsonl").write_text("problem: 1\n")
    (tmp_path / "torn.jsonl").write_text('{"problem": "a", "answer": "1"}\n{"problem": "b", "ans')
    done = distill(*arguments, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert says in done.stderr and "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("manifest.json")) and not list(tmp_path.rglob("*.partial"))


def test_a_missing_key_variable_is_named(tmp_path: Path) -> None:
    (tmp_path / "dry.yaml").write_text(SCRIPTED)
    teacher = "teacher={kind: endpoint, model: m, base_url: 'http://127.0.0.1:9/v1', api_key_env: NO_SUCH_KEY}"
    done = distill("sample", "dry.yaml", "--set", teacher, cwd=tmp_path)
    assert done.returncode == 2 and "NO_SUCH_KEY is not set" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_a_full_disk_is_said_and_nothing_is_half_written(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48k", "tmpfs", disk], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"a small tmpfs cannot be mounted here: {mounted.stderr.strip()}")
    try:
        (tmp_path / "dry.yaml").write_text(SCRIPTED)
        done = distill("sample", "dry.yaml", "--set", "problems.0.size=2000", "--runs", disk, cwd=tmp_path)
        assert done.returncode == 3, done.stderr
        assert "No space left on device" in done.stderr and "Traceback" not in done.stderr
        assert not (disk / "dry" / "2-traces" / "manifest.json").exists()
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_new_recipe_is_written_once(tmp_path: Path) -> None:
    assert distill("new", "mine", cwd=tmp_path).returncode == 0
    assert distill("show", "mine.yaml", "--explain", cwd=tmp_path).stdout.startswith('name: "mine"  [recipe]')
    again = distill("new", "mine", cwd=tmp_path)
    assert again.returncode == 2 and "is there already" in again.stderr
