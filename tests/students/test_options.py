"""The student's options reach the Trainer, and what is not installed here is told before anything is trained."""

import importlib.util
import json
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from distill.errors import InputError
from distill.student_sections import Student
from students import distributed
from students.arguments import arguments, check
from students.batches import Layout, MicroBatches
from students.documents import Document

_spec = importlib.util.spec_from_file_location("students_tiny", Path(__file__).with_name("tiny.py"))
tiny = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tiny)


def batches(tokens: int = 100, layout: Layout | None = None) -> MicroBatches:
    rows = [Document(torch.arange(tokens, dtype=torch.int32), 1) for _ in range(30)]
    return MicroBatches(rows, range(30), layout or Layout.of(True, 800, 200), seed=0)


def made(folder: Path, **changes: Any) -> Any:
    return arguments(Student(base="bundled:base", **changes), batches(), folder / "4-student", 1e-4)


def test_accumulates_to_the_stated_tokens_however_many_processes_share_them(monkeypatch) -> None:
    assert batches().per_step() == 4
    for count, rounds in ((1, 4), (2, 2), (3, 2), (8, 1)):
        monkeypatch.setenv("WORLD_SIZE", str(count))
        assert distributed.rounds(batches().per_step()) == rounds
    assert batches(layout=Layout.of(True, 10**6, None)).per_step() == 1  # an epoch at most


def test_options_are_the_trainers(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*gradient_checkpointing")
        plain = made(tmp_path, gradient_checkpointing=True, optimizer="paged_adamw_8bit", seed=7)
    assert plain.activation_checkpointing and plain.activation_checkpointing_kwargs == {"use_reentrant": False}
    assert (plain.optim, plain.seed, plain.run_name) == ("paged_adamw_8bit", 7, tmp_path.name)
    assert plain.gradient_accumulation_steps == 4 and not plain.use_liger_kernel and plain.report_to == []


def test_fsdp_is_the_trainers_own(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("FSDP_CPU_RAM_EFFICIENT_LOADING", "")  # so that what transformers sets there is taken back
    sharded = made(tmp_path, distributed={"kind": "fsdp", "offload": True, "reshard": False})
    plugin = sharded.fsdp_plugin_args
    assert (plugin["fsdp_version"], plugin["reshard_after_forward"]) == (2, False)
    assert plugin.get("cpu_offload", False) == torch.cuda.is_available()
    assert plugin["cpu_ram_efficient_loading"] and plugin["state_dict_type"] == "FULL_STATE_DICT"


def _tensors(state: Any) -> list[torch.Tensor]:
    """Of an optimizer's state for one weight, which bitsandbytes nests."""
    if isinstance(state, torch.Tensor):
        return [state]
    return [one for value in state.values() for one in _tensors(value)] if isinstance(state, dict) else []


@pytest.mark.parametrize("optimizer", ["adamw_bnb_8bit", "paged_adamw_8bit"])
def test_optimizers_in_8_bits_learn(base: str, tmp_path: Path, optimizer: str) -> None:
    section = Student(
        base=base, dtype="float32", learning_rate=5e-3, batch_tokens=1024, max_steps=6, optimizer=optimizer
    )
    tiny.train(section, tiny.traces(12), tmp_path, print)
    losses = [json.loads(line)["loss"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert losses[-1] < losses[0] - 0.3
    state = torch.load(tmp_path / "checkpoints" / "checkpoint-6" / "optimizer.pt", weights_only=True)["state"]
    assert torch.uint8 in {value.dtype for one in state.values() for value in _tensors(one)}


@pytest.mark.parametrize("tracker", ["trackio", "wandb", "tensorboard"])
def test_a_tracker_that_is_not_installed_is_told(base: str, tmp_path: Path, monkeypatch, tracker: str) -> None:
    monkeypatch.setitem(sys.modules, tracker, None)
    with pytest.raises(
        InputError, match=rf"student\.report_to: {tracker} is not installed; run `pip install {tracker}`"
    ):
        tiny.train(Student(base=base, report_to=[tracker]), tiny.traces(2), tmp_path, print)
    assert not (tmp_path / "metrics.jsonl").exists()


def test_tensorboard_has_every_step(base: str, tmp_path: Path, monkeypatch) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "4-student" / "tensorboard"))
    section = Student(base=base, dtype="float32", max_steps=2, report_to=["tensorboard"])
    tiny.train(section, tiny.traces(6), tmp_path / "4-student", print)
    events = EventAccumulator(str(tmp_path / "4-student" / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("train/loss")] == [1, 2]


def test_ligers_kernels_need_a_gpu_and_the_package(monkeypatch) -> None:
    check(Student(base="bundled:base"))
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match=r"student\.liger: there is no GPU, or leave"):
            check(Student(base="bundled:base", liger=True))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    if importlib.util.find_spec("liger_kernel") is None:
        with pytest.raises(InputError, match=r"run `pip install liger-kernel`"):
            check(Student(base="bundled:base", liger=True))
