"""Held-out problems: which they are, what is measured on them, and that measuring changes nothing of the training."""

import importlib.util
import json
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from distill import shards
from distill.curate.verify import VerifierPool
from distill.errors import DistillError
from distill.records import Trace
from distill.student_sections import Student
from students.batches import collate
from students.corpus import split
from students.documents import prepare, problem_number
from students.held_out import measured, measuring, problems_of
from students.model import load_model

_spec = importlib.util.spec_from_file_location("students_tiny", Path(__file__).with_name("tiny.py"))
tiny = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tiny)


@pytest.fixture(scope="module")
def verifier() -> Iterator[VerifierPool]:
    with VerifierPool(workers=1) as pool:
        yield pool


def section(base: str, **changes: Any) -> Student:
    settings = {"base": base, "dtype": "float32", "learning_rate": 1e-2, "batch_tokens": 600, "micro_tokens": 300}
    return Student(**(settings | {"max_steps": 8, "save_every_steps": 2, "holdout": 0.3} | changes))


def quiet(line: str) -> None:
    """Says nothing."""


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def figures(folder: Path, kind: str) -> dict[int, float]:
    return {line["step"]: line[kind] for line in lines(folder) if kind in line}


def facts(folder: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((folder / "train.json").read_text())
    return loaded


def constant(count: int) -> list[Trace]:
    """Problems of which every answer is the same, so that a tiny student learns it in a few steps."""
    return [tiny.trace(f"Is {i} {i}?", "Yes.", "\\boxed{2}") for i in range(count)]


def held_out_prompts(rows: list[Trace], folder: Path, share: float) -> set[str]:
    shards.write_parts(folder / "kept", rows, Trace)
    documents = prepare(folder / "kept", tiny.tokenizer(), folder / "cache", quiet)
    parted = split(documents, section("nowhere", holdout=share))
    assert sorted(parted.train + parted.held_out) == list(range(len(rows)))
    train, held_out = ({rows[at].problem.prompt for at in places} for places in (parted.train, parted.held_out))
    assert not train & held_out, "a problem has traces on both sides"
    return held_out


def test_problems_are_held_out_whole_and_by_themselves(tmp_path: Path) -> None:
    rows = [replace(one, id=f"{one.problem.id}#{seed}") for one in tiny.traces(80) for seed in range(2)]
    some = held_out_prompts(rows, tmp_path / "some", 0.2)
    assert 6 < len(some) < 30
    random.Random(0).shuffle(rows)
    assert held_out_prompts(rows, tmp_path / "shuffled", 0.2) == some
    assert some < held_out_prompts(rows, tmp_path / "more", 0.5)
    rows = [one for one in rows if one.problem.prompt not in list(some)[:3]]
    assert held_out_prompts(rows, tmp_path / "fewer", 0.2) == set(list(some)[3:])


def test_a_share_that_holds_nothing_or_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DistillError) as none:
        held_out_prompts(tiny.traces(5), tmp_path / "none", 1e-9)
    assert str(none.value) == "student.holdout: 1e-09 leaves no problem aside of 5; write a larger share"
    with pytest.raises(DistillError, match=r"there is nothing to train on; write a smaller student\.holdout, or keep"):
        held_out_prompts(tiny.traces(5), tmp_path / "all", 0.9999999)


def test_the_same_problems_are_solved_whatever_the_order(tmp_path: Path) -> None:
    rows = tiny.traces(30)
    numbers = frozenset(problem_number(one.problem.id) for one in rows[:10])
    shards.write_parts(tmp_path / "one", rows, Trace)
    shards.write_parts(tmp_path / "other", rows[::-1], Trace)
    found = problems_of(tmp_path / "one", numbers, 4)
    assert len(found) == 4 and found == problems_of(tmp_path / "other", numbers, 4)
    assert {problem.id for problem in found} <= {one.problem.id for one in rows[:10]}
    assert len(problems_of(tmp_path / "one", numbers, 100)) == 10


def test_the_held_out_loss_is_that_of_the_held_out_documents(base: str, tmp_path: Path) -> None:
    """Of the weights that are left; and the last step is measured though no checkpoint falls on it."""
    rows = tiny.traces(24)
    tiny.train(section(base, max_steps=5), rows, tmp_path, quiet)
    documents = prepare(tmp_path / "kept", tiny.tokenizer(), tmp_path / "cache", quiet)
    parted = split(documents, section(base))
    batch = collate(False, [[documents[place] for place in parted.held_out]])
    with torch.no_grad():
        loss = AutoModelForCausalLM.from_pretrained(tmp_path / "model", dtype=torch.float32)(**batch).loss.item()
    seen = figures(tmp_path, "held_out_loss")
    assert list(seen) == [2, 4, 5] and seen[5] == pytest.approx(loss, abs=1e-5)
    assert facts(tmp_path)["held_out"] == len(parted.held_out)
    assert (facts(tmp_path)["chosen_step"], facts(tmp_path)["held_out_loss"]) == (5, seen[5])


def test_the_best_checkpoint_is_kept_and_becomes_the_student(base: str, tmp_path: Path) -> None:
    """Few traces by heart: the loss on the others falls at first, and then rises."""
    rows = [tiny.trace(f"{i}?", f"{random.Random(i).random()}", f"\\boxed{{{i}}}") for i in range(12)]
    settings = section(base, max_steps=28, save_every_steps=4, learning_rate=2e-2, best_by="loss", holdout=0.5)
    made = tiny.train(settings, rows, tmp_path, quiet)
    seen, told = figures(tmp_path, "held_out_loss"), facts(tmp_path)
    best = min(seen, key=lambda step: seen[step])
    assert 4 < best < 24, "the best should be neither the first nor among the last two"
    assert made.step == 28 and (told["chosen_step"], told["held_out_loss"]) == (best, seen[best])
    saved = load_file(tmp_path / "model" / "model.safetensors")
    for name, tensor in load_file(tmp_path / "checkpoints" / f"checkpoint-{best}" / "model.safetensors").items():
        assert torch.equal(saved[name], tensor)


@pytest.mark.slow
def test_the_student_that_solves_the_most_is_chosen(base: str, tmp_path: Path, verifier: VerifierPool) -> None:
    settings = section(base, max_steps=40, save_every_steps=10, best_by="accuracy", accuracy_problems=6)
    tiny.train(settings, constant(24), tmp_path, quiet, verifier=verifier)
    right, lost, told = figures(tmp_path, "held_out_accuracy"), figures(tmp_path, "held_out_loss"), facts(tmp_path)
    assert list(right) == [10, 20, 30, 40] and right[10] < max(right.values()) and right[40] >= 0.5
    most = [step for step in right if right[step] == max(right.values())]
    assert told["chosen_step"] == min(most, key=lambda step: lost[step])
    assert told["held_out_accuracy"] == max(right.values())
    assert told["held_out_loss"] == lost[told["chosen_step"]]


def test_of_equal_accuracies_the_lesser_loss_is_chosen(base: str, tmp_path: Path, verifier: VerifierPool) -> None:
    """Six steps solve nothing: the Trainer itself would keep the first checkpoint."""
    settings = section(base, max_steps=6, best_by="accuracy", accuracy_problems=2)
    tiny.train(settings, tiny.traces(24), tmp_path, quiet, verifier=verifier)
    lost = figures(tmp_path, "held_out_loss")
    assert set(figures(tmp_path, "held_out_accuracy").values()) == {0.0}
    assert facts(tmp_path)["chosen_step"] == min(lost, key=lambda step: lost[step]) > 2


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"dtype": "bfloat16", "gradient_checkpointing": True}, marks=pytest.mark.slow),
        pytest.param({"lora": {"rank": 8, "dropout": 0.3}}, marks=pytest.mark.slow),
        {"lora": {"rank": 8, "dropout": 0.3}, "quantization": "nf4"},
        pytest.param({"lora": {"rank": 8, "dropout": 0.3}, "quantization": "int8"}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_measuring_changes_no_loss(base: str, tmp_path: Path, verifier: VerifierPool, changes: Any) -> None:
    settings = section(base, max_steps=3, accuracy_problems=1, **changes)
    solving = settings.model_copy(update={"best_by": "accuracy"})
    tiny.train(settings, tiny.traces(12), tmp_path / "plain", quiet)
    tiny.train(solving, tiny.traces(12), tmp_path / "solving", quiet, verifier=verifier)
    assert figures(tmp_path / "solving", "loss") == figures(tmp_path / "plain", "loss")
    assert figures(tmp_path / "solving", "held_out_loss") == figures(tmp_path / "plain", "held_out_loss")


def test_4_bit_layers_are_not_repacked_by_measuring(base: str, monkeypatch: Any) -> None:
    """bitsandbytes does it where the CPU has bfloat16 products, and cannot train against them afterwards."""
    repacked = []
    monkeypatch.setattr("bitsandbytes.nn.modules.has_avx512bf16", lambda: True)
    monkeypatch.setattr(
        "bitsandbytes.nn.modules._convert_weight_packed_for_cpu",
        lambda weight, state: repacked.append(1) or (weight, state),
    )
    settings = section(base, lora={"rank": 8, "dropout": 0.9}, quantization="nf4")
    model = load_model(settings, tiny.tokenizer()).train()
    ids = torch.arange(20)[None]
    with torch.no_grad(), measuring(model):
        one, other = model(ids).logits, model(ids).logits
    assert not repacked and torch.equal(one, other) and model.training
    with torch.no_grad():
        model.eval()(ids)
    assert repacked


def test_what_was_measured_is_found_by_its_step() -> None:
    history = [
        {"step": 2, "loss": 1.0},
        {"step": 2, "eval_loss": 3.0, "eval_accuracy": 0.5},
        {"step": 4, "eval_loss": 2.0},
    ]
    state = SimpleNamespace(log_history=history)
    assert measured(state, 2) == {"held_out_loss": 3.0, "held_out_accuracy": 0.5}
    assert measured(state, 4) == {"held_out_loss": 2.0}
    assert measured(state, 3) == {}
