"""What is answered once is not asked again, by this run or another; and what goes wrong in between loses nothing."""

import importlib.util
import json
import multiprocessing
import os
import resource
import signal
import time
from pathlib import Path

import pytest

from distill.errors import EngineError
from distill.records import Failure
from distill.run import locked
from evals import Subject, evaluate

_spec = importlib.util.spec_from_file_location("evals_measuring", Path(__file__).with_name("measuring.py"))
assert _spec is not None and _spec.loader is not None
measuring = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(measuring)

MATH, LOGIC, Scripted, done = measuring.MATH, measuring.LOGIC, measuring.Scripted, measuring.done
files, gate, measure, right = measuring.files, measuring.gate, measuring.measure, measuring.right


@pytest.fixture
def tasks(tmp_path):
    return files(tmp_path / "data")


@pytest.fixture
def section(tasks):
    return gate(tasks)


def silent():
    return Scripted(lambda request: pytest.fail(f"asked {request.id} again"))


def journal(root, task=MATH, content="m"):
    """The journal of a model's answers to a task."""
    for entry in (root / "store").glob("*/entry.json"):
        about = json.loads(entry.read_text())
        if (about["task"], about["content"]) == (task, content):
            return entry.with_name("answers.jsonl")
    raise AssertionError("there is no such entry")


def kept(root, **about):
    return [json.loads(line)["id"] for line in journal(root, **about).read_text().splitlines()]


def test_what_is_measured_is_measured_once_over_all_runs(section, tmp_path):
    first = measure(Scripted(right(section)), section, tmp_path)
    none = silent()
    assert measure(none, section, tmp_path) == first
    assert measure(none, section, tmp_path, name="base") == first, "another run, or another name for the same weights"
    higher = section.model_copy(update={"tasks": tuple(t.model_copy(update={"min": 0.9}) for t in section.tasks)})
    assert measure(none, higher, tmp_path) == first, "a floor measures nothing again"
    assert not none.loaded
    for name in ("bf16", "base"):
        [results] = (tmp_path / "run" / name / MATH).glob("results_*")
        assert json.loads(results.read_text())["config"]["model"] == name, "the files say who was meant"
    before = sorted(path.read_bytes() for path in (tmp_path / "run/bf16" / MATH).iterdir())
    measuring.evaluate(
        Subject("bf16", "m", none.load), section, pytest.fail, tmp_path / "other", tmp_path / "store", say=print
    )
    assert sorted(path.read_bytes() for path in (tmp_path / "other" / MATH).iterdir()) == before


@pytest.mark.parametrize(
    ("change", "asked"),
    [
        ({"content": "other"}, 8),
        ({"seed": 41}, 4),  # repeats 41 and 42, of which 41 is there
        ({"sampling": {"max_tokens": 78}}, 8),
        ({"sampling": {"max_tokens": 77, "temperature": 0.7}}, 8),
        ({"repeats": 3}, 4),
        ({"limit": 2}, 0),
        ({"repeats": 1}, 0),
    ],
)
def test_only_what_a_sample_depends_on_asks_again(tasks, tmp_path, change, asked):
    section = gate(tasks)
    measure(Scripted(right(section)), section, tmp_path)
    content = change.pop("content", "m")
    engine = Scripted(right(section))
    scores = measure(engine, gate(tasks, **change), tmp_path, content)
    assert len(engine.asked) == asked and scores[0].value == 1
    assert engine.loaded == (asked > 0)


def test_other_data_of_the_same_size_is_asked(tasks, tmp_path):
    section = gate(tasks)
    measure(Scripted(right(section)), section, tmp_path)
    path = Path(tasks[MATH]["path"])
    path.write_text(path.read_text().replace("What is 1 + 1?", "What is one and one?"))
    engine = Scripted(right(section))
    assert measure(engine, section, tmp_path)[0].value == 1
    assert {request.prompt.partition("\n")[0] for request in engine.asked} == {"What is one and one?"}


def test_another_reference_is_judged_again_without_asking(tasks, tmp_path):
    section = gate(tasks)
    measure(Scripted(right(section)), section, tmp_path)
    path = Path(tasks[MATH]["path"])
    path.write_text(path.read_text().replace("#### 2", "#### 3"))
    assert measure(silent(), section, tmp_path)[0].value == pytest.approx(2 / 3)


def test_a_score_that_cannot_be_read_is_worked_out_again(section, tmp_path):
    first = measure(Scripted(right(section)), section, tmp_path)
    for path in (tmp_path / "store").glob("*/scored/*/score.json"):
        path.write_text("{")
    said = []
    assert measure(silent(), section, tmp_path, said=said) == first
    assert any("judged again" in line for line in said)


def test_files_that_went_missing_beside_a_score_are_written_again(section, tmp_path):
    first = measure(Scripted(right(section)), section, tmp_path)
    for path in (tmp_path / "store").glob("*/scored/*/samples_*"):
        path.unlink()
    assert measure(silent(), section, tmp_path) == first
    assert len(measuring.rows(tmp_path)) == 3


def test_failures_fail_once_the_rest_has_come_in(section, tmp_path):
    answer = right(section)

    def say(request):
        bad = request.prompt.startswith("What is 1") and request.seed == 41
        return Failure(request.id, "Timeout", "too slow", 3) if bad else answer(request)

    with pytest.raises(EngineError, match=r"1 of 6 samples failed.*too slow"):
        measure(Scripted(say), section, tmp_path)
    assert len(kept(tmp_path)) == 5 and not list((tmp_path / "run").glob("*/*.json"))
    engine = Scripted(answer)
    assert measure(engine, section, tmp_path)[0].value == 1
    assert [request.seed for request in engine.asked if request.prompt.startswith("What is")] == [41]


def test_after_a_failure_nothing_more_is_asked(tmp_path):
    section = gate(files(tmp_path / "data", sums=40))

    class OneByOne(Scripted):
        def complete(self, requests):
            for request in requests:
                self.asked.append(request)
                yield request, self.say(request)

    answer = right(section)
    engine = OneByOne(lambda request: Failure(request.id, "E", "m", 1) if len(engine.asked) == 5 else answer(request))
    with pytest.raises(EngineError, match="1 of 80 samples failed"):
        measure(engine, section, tmp_path)
    assert len(engine.asked) == 5 and len(kept(tmp_path)) == 4


def test_how_far_it_has_come_is_told_now_and_then(tmp_path, monkeypatch):
    section, said = gate(files(tmp_path / "data", sums=60)), []
    clock = iter(range(0, 10**6, 3))  # three seconds for every sample
    monkeypatch.setattr("evals.asking.time.monotonic", lambda: float(next(clock)))
    measure(Scripted(right(section)), section, tmp_path, said=said)
    assert said[0] == "distill_gsm8k: 120 samples to ask"
    assert said[1] == "distill_gsm8k: 4 of 120 samples, about 348 s left"
    first = [line for line in said if line.startswith("distill_gsm8k")]
    assert len(first) == 1 + 29, "every fourth sample but the last"


class Wrong(Scripted):
    """Goes wrong with its outcomes as `how` says."""

    def __init__(self, say, how):
        super().__init__(say)
        self.how = how

    def complete(self, requests):
        yield from self.how(list(super().complete(requests)))


def stranger(outcomes):
    request, outcome = outcomes[0]
    yield outcomes[1]
    yield type(request)("who#1", request.prompt, 1, request.sampling), outcome


@pytest.mark.parametrize(
    ("how", "says", "there"),
    [
        (lambda outcomes: iter(()), "left 6 of 6", 0),
        (lambda outcomes: outcomes[:-1], "left 1 of 6", 5),
        (stranger, "who#1, which it was not asked", 1),
        (lambda outcomes: [outcomes[0], outcomes[0]], "twice", 1),
    ],
)
def test_engines_that_mix_up_or_leave_out_are_told(section, tmp_path, how, says, there):
    with pytest.raises(EngineError, match=says):
        measure(Wrong(right(section), how), section, tmp_path)
    assert len(kept(tmp_path)) == there and not list((tmp_path / "run").glob("*/*.json"))


def test_a_killed_evaluation_goes_on_with_the_sample_it_was_at(section, tmp_path):
    def killed(outcomes):
        yield from outcomes[:4]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure(Wrong(right(section), killed), section, tmp_path)
    assert len(kept(tmp_path)) == 4
    engine = Scripted(right(section))
    measure(engine, section, tmp_path)
    assert len(engine.asked) == 2 + 2


def test_a_process_that_is_killed_leaves_every_sample_that_had_come(section, tmp_path):
    def killed(outcomes):
        yield from outcomes[:3]
        os.kill(os.getpid(), signal.SIGKILL)

    engine = Wrong(right(section), killed)
    victim = multiprocessing.get_context("fork").Process(target=measure, args=(engine, section, tmp_path))
    victim.start()
    victim.join()
    assert victim.exitcode == -signal.SIGKILL and len(kept(tmp_path)) == 3
    after = Scripted(right(section))
    assert measure(after, section, tmp_path)[0].value == 1 and len(after.asked) == 3 + 2


def test_a_torn_last_line_is_cut_off_and_asked_again(section, tmp_path):
    measure(Scripted(right(section)), section, tmp_path)
    path = journal(tmp_path)
    path.write_bytes(path.read_bytes()[:-20])
    for score in (tmp_path / "store").glob("*/scored/*/score.json"):
        score.unlink()
    engine = Scripted(right(section))
    assert measure(engine, section, tmp_path)[0].value == 1
    assert len(engine.asked) == 1 and len(kept(tmp_path)) == 6


@pytest.mark.parametrize(
    "line",
    [
        *(b"garbage", b"", b"null", b"[1, 2]", b"{}", b'{"id": "x"}', b"\xff\xfe", b"\0\0"),
        b'{"id": "x#1", "prompt": "p", "seed": 1, "engine": "e", "completion": null}',
        b'{"id": "x", "prompt": "p", "seed": 1, "engine": "e", "completion": {"reasoning": "r", "answer": "a", '
        b'"finish": "stop", "prompt_tokens": "1", "completion_tokens": 2, "model": "m", '
        b'"clean": true, "provider": ""}}',
        b'{"id": ["x"], "prompt": "p", "seed": 1, "engine": "e", "completion": {"reasoning": 1}}',
    ],
)
def test_a_broken_line_in_the_middle_is_said_and_asked_again(section, tmp_path, line):
    measure(Scripted(right(section)), section, tmp_path)
    path = journal(tmp_path)
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([lines[0], line, *lines[2:]]) + b"\n")
    for score in (tmp_path / "store").glob("*/scored/*/score.json"):
        score.unlink()
    engine, said = Scripted(right(section)), []
    assert measure(engine, section, tmp_path, said=said)[0].value == 1
    assert [request.id for request in engine.asked] == [json.loads(lines[1])["id"]]
    assert any("1 lines of" in text and "asked again" in text for text in said)


def test_a_full_disk_passes_up_and_leaves_nothing_half_written(section, tmp_path):
    answer = right(section)
    measure(Scripted(lambda request: answer(request)), gate_of_one(section), tmp_path)
    size = journal(tmp_path).stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    engine = Scripted(lambda request: done("x" * size))
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 500, hard))
    try:
        with pytest.raises(OSError):
            measure(engine, section, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert len(kept(tmp_path)) == 2, "what was there before is there, whole"
    again = Scripted(answer)
    assert measure(again, section, tmp_path)[0].value == 1 and len(again.asked) == 4 + 2 - 2


def gate_of_one(section):
    return section.model_copy(update={"tasks": tuple(t.model_copy(update={"limit": 1}) for t in section.tasks)})


def test_a_disk_that_fills_while_results_are_written_leaves_no_part_of_them(section, tmp_path, monkeypatch):
    from evals import results

    def full(path, lines):
        path.write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(results, "write_lines", full)
    with pytest.raises(OSError):
        measure(Scripted(right(section)), section, tmp_path)
    assert not list((tmp_path / "store").glob("*/scored/*")) and not list((tmp_path / "run").rglob("*.json*"))
    monkeypatch.undo()
    assert measure(silent_but(section, LOGIC), section, tmp_path)[0].value == 1


def silent_but(section, task):
    """Answers this task alone."""
    known = right(section.model_copy(update={"tasks": tuple(t for t in section.tasks if t.task == task)}))
    return Scripted(known)


def test_another_process_on_the_same_entry_is_waited_for(section, tmp_path):
    measure(Scripted(right(section)), section, tmp_path)
    lock = journal(tmp_path).with_name(".lock")
    here, there = multiprocessing.Pipe()
    holder = multiprocessing.get_context("fork").Process(target=hold, args=(lock, there))
    holder.start()
    assert here.recv() == "held"
    said = []
    try:
        measure(silent(), section, tmp_path, said=said)
    finally:
        holder.join()
    assert any("another distill is measuring bf16 on distill_gsm8k" in line for line in said)


def hold(lock, there):
    with locked(lock, "held"):
        there.send("held")
        time.sleep(0.3)


def test_the_engine_is_loaded_once_for_all_tasks_and_not_before_it_is_needed(tasks, tmp_path):
    section = gate(tasks, tuple(tasks))
    engine = Scripted(right(section))
    measure(engine, section, tmp_path)
    assert engine.loaded == 1

    def fails():
        raise EngineError("no such server")

    subject = Subject("base", "new", fails)
    with pytest.raises(EngineError, match="no such server"):
        evaluate(subject, section, measuring.verifier, tmp_path / "x", tmp_path / "store", say=lambda line: None)


def test_paths_of_this_machine_and_half_characters_are_not_kept(section, tmp_path):
    import dataclasses

    odd = dataclasses.replace(done("\\boxed{0} \ud83d"), model="/home/me/runs/x/variants/bf16")
    measure(Scripted(lambda request: odd), section, tmp_path)
    for path in [*(tmp_path / "store").rglob("*.json*"), *(tmp_path / "run").rglob("*.json*")]:
        assert "/home/me" not in path.read_text(encoding="utf-8")
    assert measuring.rows(tmp_path)[0]["resps"][0][0].count('"bf16"') == 1
