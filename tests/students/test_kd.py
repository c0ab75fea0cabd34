"""kd from stored signals: the loss is the dense one, it falls under every way of training, and mix-ups are refused."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from distill.errors import DistillError, ShardError
from distill.signals import SignalSettings
from distill.student_sections import Student

_spec = importlib.util.spec_from_file_location("students_tiny", Path(__file__).with_name("tiny.py"))
tiny = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tiny)


@pytest.fixture(scope="module")
def teacher() -> Any:
    return tiny.teacher()


def section(base: str, objective: dict[str, Any], **changes: Any) -> Student:
    settings = {"base": base, "dtype": "float32", "learning_rate": 5e-3, "batch_tokens": 1024, "max_steps": 8}
    return Student(**(settings | {"objective": {"kind": "kd", **objective}} | changes))


def losses(folder: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_the_first_loss_is_the_dense_mixture(base: str, teacher: Any, tmp_path: Path) -> None:
    rows = tiny.traces(5)
    objective = {"cross_entropy": 0.25}
    asked = section(base, objective, batch_tokens=10_000, max_steps=1)
    tiny.train(asked, rows, tmp_path, print, signals=tiny.signals(tmp_path / "signals", teacher, rows))
    total, count = 0.0, 0
    for trace in rows:
        targets, logp = tiny.dense(teacher, trace)
        _, logq = tiny.dense(tiny.model().eval(), trace)
        cross_entropy = -logq.gather(1, targets[:, None]).sum()
        total += float(0.25 * cross_entropy + 0.75 * (logp.exp() * (logp - logq)).sum())
        count += len(targets)
    assert losses(tmp_path)[0] == pytest.approx(total / count, abs=2e-3)  # what rounding in the cache leaves


def test_a_student_that_is_its_teacher_has_nothing_to_learn(base: str, tmp_path: Path) -> None:
    rows = tiny.traces(4)
    folder = tiny.signals(tmp_path / "signals", tiny.model().eval(), rows)
    tiny.train(section(base, {"cross_entropy": 0.0}, max_steps=1), rows, tmp_path, print, signals=folder)
    assert 0 <= losses(tmp_path)[0] < 1e-3  # what the cache lets its rounding cost


LORA = {"lora": {"rank": 16}, "learning_rate": 2e-2, "max_steps": 20}


@pytest.mark.parametrize(
    ("objective", "changes"),
    [
        ({"temperature": 2.0}, {}),
        ({"divergence": "jsd"}, {}),
        ({"temperature": 2.0}, LORA),
        ({"divergence": "jsd"}, LORA | {"quantization": "nf4", "dtype": "bfloat16"}),
    ],
    ids=["full", "full-jsd", "lora", "qlora-jsd"],
)
def test_the_divergence_falls(base: str, teacher: Any, tmp_path: Path, changes: Any, objective: Any) -> None:
    rows = tiny.traces(12)
    folder = tiny.signals(tmp_path / "signals", teacher, rows, settings=SignalSettings(k=64))
    tiny.train(section(base, {"cross_entropy": 0.0, **objective}, **changes), rows, tmp_path, print, signals=folder)
    seen = losses(tmp_path)
    assert seen[-1] < 0.8 * seen[0], seen


def test_a_trace_without_signals_is_trained_as_in_sft(base: str, teacher: Any, tmp_path: Path) -> None:
    rows = tiny.traces(4)
    nothing = tiny.signals(tmp_path / "signals", teacher, [tiny.trace("another?")])
    tiny.train(section(base, {"cross_entropy": 0.0}, max_steps=1), rows, tmp_path / "kd", print, signals=nothing)
    plain = Student(base=base, dtype="float32", learning_rate=5e-3, batch_tokens=1024, max_steps=1)
    tiny.train(plain, rows, tmp_path / "sft", print)
    assert losses(tmp_path / "kd") == pytest.approx(losses(tmp_path / "sft"), abs=1e-6)


def test_signals_of_other_tokens_and_torn_ones_are_refused(base: str, teacher: Any, tmp_path: Path) -> None:
    rows = tiny.traces(3)
    other = tiny.signals(tmp_path / "other", teacher, rows, shift=-1)
    with pytest.raises(DistillError, match="are of other tokens than are trained; delete the run's folder `signals`"):
        tiny.train(section(base, {}), rows, tmp_path, print, signals=other)
    (other / "manifest.json").unlink()
    with pytest.raises(ShardError):
        tiny.train(section(base, {}), rows, tmp_path, print, signals=other)
