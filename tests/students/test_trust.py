"""What may happen to a training: killed at any moment, a full disk, too little memory, numbers that end, a checkpoint
that somebody made. Nothing is lost, nothing torn is taken, and one sentence says what to do."""

import importlib.util
import json
import os
import pickle
import random
import re
import resource
import shutil
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import load_file

import students
from distill import shards
from distill.errors import DistillError, EngineError
from distill.records import Trace
from distill.student_sections import Student
from students.checkpoints import last_whole
from students.losses import chunked_cross_entropy
from students.trouble import told

_spec = importlib.util.spec_from_file_location("students_tiny", Path(__file__).with_name("tiny.py"))
tiny = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tiny)

DROPOUT = {"rank": 8, "dropout": 0.3}


def section(base: str, **changes: Any) -> Student:
    settings = {"base": base, "dtype": "float32", "learning_rate": 1e-2, "batch_tokens": 600, "micro_tokens": 300}
    return Student(**(settings | {"max_steps": 7, "save_every_steps": 2, "seed": 3} | changes))


def quiet(line: str) -> None:
    """Says nothing."""


def train(settings: Student, folder: Path) -> Any:
    return tiny.train(settings, tiny.traces(24), folder, quiet)


def curve(folder: Path) -> list[tuple[int, str, float]]:
    """Each step's loss and each measurement, in order."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [(line["step"], kind, line[kind]) for line in lines for kind in ("loss", "held_out_loss") if kind in line]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    (file,) = folder.glob("*model.safetensors")
    loaded: dict[str, torch.Tensor] = load_file(file)
    return loaded


def assert_same(one: Path, other: Path) -> None:
    assert [point[:2] for point in curve(one)] == [point[:2] for point in curve(other)]
    assert [point[2] for point in curve(one)] == pytest.approx([point[2] for point in curve(other)], abs=1e-6)
    for name, tensor in weights(one / "model").items():
        torch.testing.assert_close(weights(other / "model")[name], tensor, atol=1e-6, rtol=0)


def killed_when(process: Any, ready: Callable[[], bool]) -> bool:
    """Kills it with SIGKILL as soon as it is ready to be; whether it still lived."""
    process.start()
    end = time.monotonic() + 300
    while process.is_alive() and not ready():
        assert time.monotonic() < end
        time.sleep(0.001)
    alive = process.is_alive()
    process.kill()
    process.join()
    return alive


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{}, {"lora": DROPOUT, "quantization": "nf4"}], ids=str)
def test_killed_at_any_moment_it_learns_the_same(base: str, tmp_path: Path, processes: Any, changes: Any) -> None:
    settings = section(base, holdout=0.2, best_by="loss", **changes)
    train(settings, tmp_path / "whole")
    folder = tmp_path / "cut"
    shards.write_parts(folder / "kept", tiny.traces(24), Trace)
    job = students.Job(settings, folder / "kept", folder, folder / "cache", quiet)
    checkpoints, metrics = folder / "checkpoints", folder / "metrics.jsonl"
    chance = random.Random(0)

    def steps(count: int) -> bool:
        return metrics.exists() and len(curve(folder)) >= count

    moments: list[Callable[[], bool]] = [
        lambda: any((folder / "cache").glob("*.partial")),
        lambda: steps(1),
        lambda: (checkpoints / "checkpoint-2").exists(),
        lambda: (checkpoints / "checkpoint-4" / "optimizer.pt").exists(),
        lambda: steps(7) and chance.random() < 0.05,
        lambda: (checkpoints / "checkpoint-7" / "trainer_state.json").exists(),
    ]
    lived = [killed_when(processes.Process(target=students.train, args=(job,)), moment) for moment in moments]
    assert sum(lived) >= 4
    last = processes.Process(target=students.train, args=(job,))
    last.start()
    last.join()
    assert last.exitcode == 0
    assert_same(tmp_path / "whole", folder)
    facts = [json.loads((one / "train.json").read_text()) for one in (tmp_path / "whole", folder)]
    timing = {"tokens_per_s", "peak_memory_gib"}
    assert facts[0].keys() == facts[1].keys()
    assert all(facts[0][name] == facts[1][name] for name in facts[0].keys() - timing)


@pytest.fixture(scope="module")
def trained(base: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished training, with its checkpoints: of steps 6 and 7, and of the best."""
    folder, before = tmp_path_factory.mktemp("trained"), torch.get_num_threads()
    torch.set_num_threads(1)
    train(section(base), folder)
    torch.set_num_threads(before)
    return folder


def damage_nothing(path: Path) -> None:
    """Whole as it is."""


def drop(name: str) -> Callable[[Path], None]:
    return lambda path: (path / name).unlink()


def cut(name: str) -> Callable[[Path], None]:
    return lambda path: os.truncate(path / name, (path / name).stat().st_size - 20)


@pytest.mark.parametrize(
    ("damage", "step"),
    [
        (damage_nothing, 7),
        (drop("trainer_state.json"), 6),
        (drop("optimizer.pt"), 6),
        (drop("scheduler.pt"), 6),
        (drop("rng_state.pth"), 6),
        (drop("model.safetensors"), 6),
        (cut("trainer_state.json"), 6),
        (cut("optimizer.pt"), 6),
        (cut("rng_state.pth"), 6),
        (cut("model.safetensors"), 6),
        (lambda path: (path / "trainer_state.json").write_text("[]"), 6),
        (lambda path: (path / "model.safetensors").write_bytes(b""), 6),
        (lambda path: (path / "model.safetensors").write_bytes(b"\xff" * 64), 6),
    ],
)
def test_a_damaged_checkpoint_is_not_taken(trained: Path, tmp_path: Path, damage: Any, step: int) -> None:
    folder = shutil.copytree(trained / "checkpoints", tmp_path / "checkpoints")
    damage(folder / "checkpoint-7")
    found = last_whole(folder)
    assert found == folder / f"checkpoint-{step}"
    assert (folder / "checkpoint-7").exists() == (step == 7)


def test_without_any_whole_checkpoint_there_is_none(trained: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(trained / "checkpoints", tmp_path / "checkpoints")
    for path in folder.iterdir():
        cut("optimizer.pt")(path)
    assert last_whole(folder) is None and not list(folder.iterdir())
    assert last_whole(tmp_path / "nowhere") is None


def test_a_checkpoint_whose_best_is_gone_is_not_taken(trained: Path, tmp_path: Path) -> None:
    """The Trainer would go on, and keep the last weights in the place of the best without a word."""
    folder = shutil.copytree(trained / "checkpoints", tmp_path / "checkpoints")
    state = json.loads((folder / "checkpoint-7" / "trainer_state.json").read_text())
    (folder / "checkpoint-7" / "trainer_state.json").write_text(json.dumps(state | {"best_global_step": 2}))
    assert last_whole(folder) == folder / "checkpoint-6"


def test_a_damaged_checkpoint_costs_its_steps_and_nothing_else(trained: Path, tmp_path: Path, base: str) -> None:
    folder = shutil.copytree(trained, tmp_path / "run")
    shutil.rmtree(folder / "model")
    drop("optimizer.pt")(folder / "checkpoints" / "checkpoint-7")
    train(section(base), folder)
    assert_same(trained, folder)


def test_killed_after_its_last_checkpoint_it_trains_no_step_more(base: str, tmp_path: Path) -> None:
    """The last step is in an epoch's middle, where the Trainer itself would take one more; and the folder has moved."""
    settings = section(base, holdout=0.3, best_by="loss", learning_rate=1.0)
    train(settings, tmp_path / "whole")
    chosen = json.loads((tmp_path / "whole" / "train.json").read_text())["chosen_step"]
    assert chosen < 7
    folder = tmp_path / "moved"
    (tmp_path / "whole").rename(folder)
    kept = shutil.copytree(folder / "model", tmp_path / "kept")
    before = curve(folder)
    shutil.rmtree(folder / "model")
    again = train(settings, folder)
    assert again.step == 7 and curve(folder) == before
    assert json.loads((folder / "train.json").read_text())["chosen_step"] == chosen
    for name, tensor in weights(kept).items():
        assert torch.equal(weights(folder / "model")[name], tensor)


def test_killed_after_its_end_it_trains_nothing(trained: Path, base: str, tmp_path: Path) -> None:
    """Even where the checkpoints are gone."""
    folder = shutil.copytree(trained, tmp_path / "run")
    shutil.rmtree(folder / "checkpoints")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    made = students.train(students.Job(section(base), folder / "kept", folder, folder / "cache", quiet))
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()} == before
    facts = json.loads((folder / "train.json").read_text())
    assert (made.step, made.tokens, made.loss_tokens) == (7, facts["tokens"], facts["loss_tokens"])
    assert (made.path, made.base, made.adapter) == (str(folder / "model"), base, False)


class Payload:
    """Makes a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.file,)


@pytest.mark.parametrize("name", ["optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin"])
def test_no_code_in_a_checkpoint_is_run(trained: Path, tmp_path: Path, base: str, name: str) -> None:
    folder, mark = shutil.copytree(trained, tmp_path / "run"), tmp_path / "run-by-pickle"
    shutil.rmtree(folder / "checkpoints" / "checkpoint-7")
    shutil.rmtree(folder / "model")
    torch.save({"state": Payload(mark)}, folder / "checkpoints" / "checkpoint-6" / name)
    assert pickle.loads(pickle.dumps(Payload(mark))) is None and mark.exists()
    mark.unlink()
    if name == "training_args.bin":
        train(section(base), folder)
    else:
        with pytest.raises(DistillError, match="holds what no training writes, and it was not read; delete the folder"):
            train(section(base), folder)
    assert not mark.exists()


@pytest.mark.parametrize("changes", [{}, {"lora": DROPOUT}], ids=str)
def test_the_same_seed_gives_the_same_weights(base: str, tmp_path: Path, changes: Any) -> None:
    for name, seed in (("one", 1), ("again", 1), ("other", 2)):
        train(section(base, max_steps=3, **changes).model_copy(update={"seed": seed}), tmp_path / name)
    one, again, other = (weights(tmp_path / name / "model") for name in ("one", "again", "other"))
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_weights_that_are_no_numbers_are_never_saved(base: str, tmp_path: Path) -> None:
    with pytest.raises(
        DistillError, match=r"largest weight is nan at step 1; write a smaller student.learning_rate than 1e\+39, or"
    ):
        train(section(base, learning_rate=1e39, save_every_steps=1, warmup=0), tmp_path)
    assert sorted(path.name for path in (tmp_path / "checkpoints").glob("*")) == []


@pytest.mark.parametrize(("save_every_steps", "what"), [(1, "largest weight"), (3, "gradient's norm")])
def test_a_gradient_that_is_no_number_ends_the_training(
    base: str, tmp_path: Path, monkeypatch: Any, save_every_steps: int, what: str
) -> None:
    calls = []

    def spoiled(hidden: Any, head: Any, targets: Any) -> Any:
        calls.append(1)
        loss = chunked_cross_entropy(hidden, head, targets)
        return loss if len(calls) < 9 else loss + (hidden.sum() * 0).sqrt()  # its slope at nothing is infinite

    monkeypatch.setattr("students.trainer.chunked_cross_entropy", spoiled)
    settings = section(base, save_every_steps=save_every_steps)
    with pytest.raises(DistillError, match=rf"the {what} is nan at step \d; write a smaller"):
        train(settings, tmp_path)
    whole = last_whole(tmp_path / "checkpoints")
    assert whole is not None and all(tensor.isfinite().all() for tensor in weights(whole).values())
    monkeypatch.undo()
    train(settings, tmp_path)


@pytest.mark.parametrize("kilobytes", [400, 1500, 2600, 3000])
def test_a_full_disk_leaves_the_last_whole_checkpoint(trained: Path, base: str, tmp_path: Path, kilobytes: int) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(disk)]
    mounted = subprocess.run(command, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"a small tmpfs cannot be mounted here: {mounted.stderr.strip()}")
    try:
        shards.write_parts(tmp_path / "kept", tiny.traces(24), Trace)
        job = students.Job(section(base), tmp_path / "kept", disk / "run", tmp_path / "cache", quiet)
        with pytest.raises(DistillError) as raised:
            students.train(job)
        whole = sorted(path.name for path in (disk / "run" / "checkpoints").iterdir())
        assert whole == {400: [], 1500: ["checkpoint-2"]}.get(kilobytes, ["checkpoint-2", "checkpoint-4"])
        goes_on = f"goes on from {whole[-1]}, which is whole" if whole else "trains from the first step"
        where = re.escape(str(disk / "run" / "checkpoints"))
        assert re.fullmatch(
            rf"(the disk of {where} is full|a file in {where} could not be written, most likely since the disk is "
            rf"full); free some space, and the same command {goes_on}",
            str(raised.value),
        )
        subprocess.run(["mount", "-o", "remount,size=32m", disk], check=True)
        students.train(job)
        assert_same(trained, disk / "run")
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


@pytest.mark.slow
def test_too_little_memory_says_what_to_write(base: str, tmp_path: Path, processes: Any) -> None:
    """Each trace has 30,000 tokens, and the process may take 100 MiB more than it has once it has trained: starting
    threads and loading libraries must not be what the memory does not suffice for."""

    def job(name: str, words: int) -> students.Job:
        rows = [tiny.trace(reasoning="word " * words + str(i)) for i in range(2)]
        shards.write_parts(tmp_path / name / "kept", rows, Trace)
        settings = section(base, batch_tokens=32768, micro_tokens=None)
        folder = tmp_path / name
        return students.Job(settings, folder / "kept", folder, folder / "cache", quiet)

    with ProcessPoolExecutor(1, mp_context=processes) as pool:
        pool.submit(students.train, job("short", 10)).result()
        process = psutil.Process(pool.submit(os.getpid).result())
        limit = process.memory_info().vms + 100 * 2**20
        resource.prlimit(process.pid, resource.RLIMIT_AS, (limit, limit))
        error = pool.submit(students.train, job("long", 6000)).exception()
    assert isinstance(error, DistillError)
    assert str(error) == (
        "the memory does not suffice for this training; write student.micro_tokens: 2048, "
        "student.gradient_checkpointing: true, student.lora: {rank: 64}, student.optimizer: adamw_bnb_8bit or "
        "student.max_tokens: 16384"
    )


@pytest.mark.parametrize(
    ("changes", "less"),
    [
        ({"micro_tokens": 1, "optimizer": "paged_adamw_8bit"}, "student.gradient_checkpointing: true, student.lora:"),
        ({"lora": DROPOUT, "gradient_checkpointing": True}, "student.micro_tokens: 150, student.quantization: nf4 or"),
        ({"lora": DROPOUT, "quantization": "nf4", "gradient_checkpointing": True}, "student.micro_tokens: 150 or"),
    ],
)
def test_less_memory_is_not_what_is_written_already(base: str, tmp_path: Path, changes: Any, less: str) -> None:
    said = f"memory does not suffice for this training; write {less}"
    with pytest.raises(DistillError, match=said), told(section(base, **changes), tmp_path):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def test_other_errors_stay_what_they_are(base: str, tmp_path: Path) -> None:
    for error in (RuntimeError("shapes do not match"), FileNotFoundError(2, "No such file"), EngineError("no numbers")):
        with pytest.raises(type(error)) as raised, told(section(base), tmp_path):
            raise error
        assert raised.value is error
    said = r"to solve held-out problems; write student\.best_by: loss, or a smaller"
    with pytest.raises(DistillError, match=said), told(section(base), tmp_path):
        raise EngineError("student runs out of memory") from torch.OutOfMemoryError("CUDA out of memory")
