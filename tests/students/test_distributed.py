"""Two processes over gloo, on a CPU, train as one does: the same losses, and what they leave loads plainly."""

import importlib.util
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from distill import shards
from distill.errors import InputError
from distill.records import Trace
from distill.student_sections import Student
from students.batches import Layout, MicroBatches
from students.distributed import Turns
from students.documents import Document
from students.model import load_base
from tests.students import together

_spec = importlib.util.spec_from_file_location("students_tiny", Path(__file__).with_name("tiny.py"))
tiny = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tiny)

FSDP = {"kind": "fsdp"}
QLORA = {"lora": {"rank": 8}, "quantization": "nf4", "learning_rate": 1e-2}
KD = {"objective": {"kind": "kd", "cross_entropy": 0.3, "temperature": 2.0}}
CHOSEN = {"holdout": 0.3, "best_by": "loss", "save_every_steps": 2}
TRAININGS = {
    "ddp": ({}, {}, 0),
    "ddp_kd": (KD, {}, 0),
    "fsdp_kd": (KD, {"distributed": FSDP}, 0),
    "fsdp": ({"gradient_checkpointing": True}, {"distributed": FSDP}, 0),
    "fsdp_qlora": (QLORA | CHOSEN, {"distributed": FSDP | {"reshard": False}}, 3),
}
"""Name -> (the section, what two processes have besides, the step at which those are interrupted once)."""


def torchrun(*command: str) -> str:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run([*start, *command], env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def together_train(processes: Any, root: Path, asked: str) -> None:
    """Two processes of their own for what is asked, as after any real interruption; torchrun would import all anew."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    both = [processes.Process(target=together.run, args=(rank, port, root, asked)) for rank in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(300)
        process.kill()  # nothing where it has ended
        process.join()
    troubles = [path.read_text()[-4000:] for path in root.glob("trouble-*.txt")]
    assert [process.exitcode for process in both] == [0, 0], troubles


def metrics(folder: Path, name: str) -> list[float]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line[name] for line in lines if name in line]


@pytest.fixture(scope="module")
def trained(tmp_path_factory, processes) -> Path:
    """A folder with every training by two processes, and in `alone` by one."""
    root = tmp_path_factory.mktemp("together")
    settings = {
        "base": tiny.base(root / "base"),
        "dtype": "float32",
        "learning_rate": 5e-3,
        "batch_tokens": 1000,  # seven micro-batches, which two processes cannot share evenly
        "micro_tokens": 256,
        "max_steps": 4,
    }
    rows = tiny.traces(18)
    shards.write_parts(root / "kept", rows, Trace)
    signals = tiny.signals(root / "signals", tiny.teacher(), rows)
    sections = {name: (die_at, settings | own | more) for name, (own, more, die_at) in TRAININGS.items()}
    (root / "first.json").write_text(json.dumps(sections))
    again = {name: (0, section) for name, (die_at, section) in sections.items() if die_at}
    (root / "again.json").write_text(json.dumps(again))
    for asked in ("first.json", "again.json"):
        together_train(processes, root, asked)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as the two processes have; this is set up before the tests' own such setting
    for name, (own, _, _) in TRAININGS.items():
        tiny.train(Student(**settings | own), rows, root / "alone" / name, print, signals=signals)
    torch.set_num_threads(threads)
    return root


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAININGS)
def test_two_processes_learn_what_one_does(trained: Path, name: str) -> None:
    here, alone = trained / name, trained / "alone" / name
    assert len(metrics(here, "loss")) == 4
    for figure in ("loss", "held_out_loss"):
        assert metrics(here, figure) == pytest.approx(metrics(alone, figure), abs=1e-5)
    for figure in ("tokens", "loss_tokens"):
        assert metrics(here, figure) == metrics(alone, figure)
    facts, others = (json.loads((folder / "train.json").read_text()) for folder in (here, alone))
    for fact in ("trainable_parameters", "parameters", "chosen_step", "held_out"):
        assert facts[fact] == others[fact]
    sharded = (here / "checkpoints" / "checkpoint-4" / "pytorch_model_fsdp.bin").exists()
    assert sharded == name.startswith("fsdp")
    weights = "adapter_model.safetensors" if "lora" in name else "model.safetensors"
    ours, theirs = (load_file(folder / "model" / weights) for folder in (here, alone))
    assert ours.keys() == theirs.keys()
    for key, weight in ours.items():
        torch.testing.assert_close(weight, theirs[key], atol=1e-4, rtol=0)


@pytest.mark.slow
def test_what_was_sharded_loads_plainly(trained: Path) -> None:
    from peft import PeftModel

    ids = torch.tensor([[1, 2, 3]])
    with torch.no_grad():
        whole = AutoModelForCausalLM.from_pretrained(trained / "fsdp" / "model", dtype=torch.float32)(ids).logits
        base = load_base(str(trained / "base"), None, "nf4", "float32", False)
        before = base(ids).logits
        adapted = PeftModel.from_pretrained(base, str(trained / "fsdp_qlora" / "model"))(ids).logits
    assert whole.isfinite().all() and (adapted - before).abs().max() > 0.1


RECIPE = """
name: dry
problems: [{kind: reasoning_gym, task: basic_arithmetic, size: 20}]
teacher: {kind: scripted, right: 1.0, max_per_problem: 1}
student: {base: "bundled:base", lora: {rank: 4}, batch_tokens: 500, max_steps: 2, distributed: {kind: fsdp}}
gate: {tasks: [{task: distill_rg_chain_sum, size: 5, min: 0.1}, {task: distill_rg_aiw, size: 5, min: 0.1}]}
"""


@pytest.mark.slow
def test_the_first_process_does_the_stages_and_the_others_join_in_training(tmp_path: Path) -> None:
    (tmp_path / "dry.yaml").write_text(RECIPE)
    said = torchrun("-m", "distill.cli", "train", str(tmp_path / "dry.yaml"), "--runs", str(tmp_path))
    for stage in ("1-problems", "2-traces", "3-kept", "4-student"):
        assert said.count(f"{stage}: begins") == said.count(f"{stage}: done") == 1
    assert len(metrics(tmp_path / "dry" / "4-student", "loss")) == 2
    assert (tmp_path / "dry" / "4-student" / "model" / "adapter_model.safetensors").exists()


def documents(lengths: list[int]) -> list[Document]:
    return [Document(torch.arange(length, dtype=torch.int32), 1) for length in lengths]


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_every_step_has_the_same_documents_for_any_number_of_processes(monkeypatch, packed: bool, count: int) -> None:
    lengths = [10 + 7 * place % 41 for place in range(50)]
    batches = MicroBatches(documents(lengths), range(50), Layout.of(packed, 400, 100), seed=1)
    each = batches.per_step()

    def steps() -> list[list[tuple[int, ...]]]:
        turns = list(Turns(batches, 1, lambda: 0))
        assert len(turns) == len(Turns(batches, 1, lambda: 0))
        size = -(-each // processes) * processes
        return [turns[start : start + size] for start in range(0, len(turns), size)]

    processes = 1
    alone = steps()
    monkeypatch.setenv("WORLD_SIZE", str(processes := count))
    shared = steps()
    assert sorted(place for step in shared for row in step for place in row) == list(range(50))
    for one, other in zip(alone, shared, strict=True):
        assert len(other) % count == 0
        assert sorted(place for row in one for place in row) == sorted(place for row in other for place in row)
        assert all(sum(lengths[place] for place in row) <= 100 for row in other)
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert list(Turns(batches, 1, lambda: len(alone))) != list(Turns(batches, 1, lambda: 0))


def test_rows_are_even_and_a_blank_trains_nothing() -> None:
    batches = MicroBatches(documents([60, 40, 50, 50, 30, 30, 40]), range(7), Layout.of(True, 300, 100), seed=0)
    rows = batches.spread(range(3), 4)
    tokens = [sum(document.tokens for document in batches[row]) for row in rows]
    assert len(rows) == 4 and max(tokens) <= 90 and sum(tokens) == 300
    (blank,) = batches[()]
    assert blank.tokens == blank.prompt_tokens == 2


def test_sharding_that_cannot_be_is_told(monkeypatch, tmp_path: Path) -> None:
    section = {"base": "bundled:base", "distributed": FSDP}
    with pytest.raises(InputError, match="this is one; start it with `torchrun --nproc-per-node 8"):
        tiny.train(Student(**section), tiny.traces(2), tmp_path, print)
    monkeypatch.setenv("WORLD_SIZE", "2")
    for more, match in (
        ({"best_by": "accuracy", "holdout": 0.1}, "write best_by: loss"),
        ({"quantization": "int8", "lora": {}}, "write nf4"),
        ({"optimizer": "adamw_bnb_8bit"}, "write adamw_torch_fused"),
    ):
        with pytest.raises(InputError, match=match):
            tiny.train(Student(**section | more), tiny.traces(2), tmp_path, print)
