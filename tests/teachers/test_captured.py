"""What is captured while sampling: kept beside the traces, aligned with the student's tokens, as if it were scored."""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distill import shards
from distill.engines.capture import Capture, Captured, from_chat
from distill.errors import InputError
from distill.records import Problem, Trace
from distill.sections import SamplingSection
from distill.signals import Signals, SignalSettings
from distill.student_sections import Student
from distill.teacher_sections import EndpointTeacher, LocalTeacher
from teachers import signals, stage
from teachers.captured import CapturedScorer, Sidecar
from teachers.readings import Reader, placed
from teachers.signals import Job
from teachers.vocabulary import common

_spec = importlib.util.spec_from_file_location("teachers_reading", Path(__file__).with_name("reading.py"))
reading = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(reading)
one_thread = reading.one_thread


def problems(folder: Path, count: int) -> Path:
    some = [Problem.of(f"What is {at} + {at + 2}?", str(2 * at + 2), "math", "test") for at in range(1, count + 1)]
    shards.write_parts(folder, some, Problem)
    return folder


def sampled(section: Any, tmp_path: Path, count: int, say: Any = lambda text: None) -> Path:
    """A sampled stage folder."""
    folder = tmp_path / "traces"
    task = stage.Job(section, problems(tmp_path / "problems", count), folder, lambda answers: [], say)
    stage.sample(task)
    return folder


def captured(tmp_path: Path, section: Any, base: str, **more: Any) -> Job:
    folder = tmp_path / "traces"
    settings = SignalSettings(k=20, mass=1.0)
    student = Student(base=base)
    return Job(section, student, folder, tmp_path / "kept", settings, folder / "signals", **more)


def test_what_a_local_teacher_said_while_sampling_is_what_it_says_when_it_reads(tmp_path: Path) -> None:
    section = LocalTeacher(
        kind="local", model="bundled:teacher", batch_size=4, capture_logprobs=20, max_per_problem=2,
        sampling=SamplingSection(max_tokens=300),
    )  # fmt: skip
    folder = sampled(section, tmp_path, 4)
    task = captured(tmp_path, section, "bundled:base")
    facts = signals.score(task)
    traces = [trace for trace in shards.read_parts(folder, Trace) if not trace.completion.unfinished]
    assert traces and facts["kind"] == "captured" and facts["known_tokens"] > 0.9 * facts["tokens"]
    signals.score(Job(section, task.student, folder, tmp_path / "scored", task.settings))
    one, two = Signals(task.folder), Signals(tmp_path / "scored")
    for trace in traces:
        kept, scored = one.read(trace.id), two.read(trace.id)
        assert kept.targets_N.tolist() == scored.targets_N.tolist() and kept.known_N.mean() > 0.9
        both = np.exp([kept.logprobs_NK[:, 0], scored.logprobs_NK[:, 0]])[:, kept.known_N]
        np.testing.assert_allclose(both[0], both[1], atol=0.03)


@pytest.mark.parametrize("stream", [False, True])
def test_a_server_that_tells_ids_is_captured(stream: bool, tmp_path: Path) -> None:
    tokenizer = reading.saved(tmp_path / "tokenizer", reading.model(), reading.tokenizer())
    with reading.Vllm(None) as server:
        section = EndpointTeacher(kind="endpoint", model="r1", base_url=server.url, stream=stream, capture_logprobs=2)
        sampled(section, tmp_path, 3)
        asked = server.calls[0]
        assert asked["logprobs"] is True and asked["top_logprobs"] == 2 and asked["return_tokens_as_token_ids"] is True
        facts = signals.score(captured(tmp_path, section, tokenizer, tokenizer=tokenizer))
    assert facts["traces"] == 3 and len(server.calls) == 3
    made = Signals(tmp_path / "kept")
    [trace, *_] = shards.read_parts(tmp_path / "traces", Trace)
    signal = made.read(trace.id)
    # the line break before </think> was not drawn by this teacher: it alone has no signal
    assert signal.known_N.sum() == len(signal.known_N) - 1 and not signal.known_N[len("One and one.")]
    known = signal.known_N & (signal.targets_N != 3)
    np.testing.assert_allclose(np.exp(signal.logprobs_NK[known, 0]), np.exp(-0.1), atol=0.02)
    assert (signal.ids_NK[known, 0] == signal.targets_N[known]).all()


def test_a_server_that_tells_no_ids_is_said_once_and_cannot_be_used(tmp_path: Path) -> None:
    tokenizer = reading.saved(tmp_path / "tokenizer", reading.model(), reading.tokenizer())
    said: list[str] = []
    with reading.Vllm(None) as server:
        server.tells_ids = False
        section = EndpointTeacher(kind="endpoint", model="r1", base_url=server.url, capture_logprobs=2)
        sampled(section, tmp_path, 3, said.append)
        assert sum("nothing is captured" in line for line in said) == 1
        with pytest.raises(InputError, match="nothing was captured while these traces were sampled; write signals: sc"):
            signals.score(captured(tmp_path, section, tokenizer, tokenizer=tokenizer))


def test_without_the_key_nothing_is_asked_for_or_written(tmp_path: Path) -> None:
    with reading.Vllm(None) as server:
        sampled(EndpointTeacher(kind="endpoint", model="r1", base_url=server.url), tmp_path, 1)
        assert "logprobs" not in server.calls[0] and not (tmp_path / "traces" / "signals").exists()


def row(*tops: tuple[str, Any], token: str | None = None) -> dict[str, Any]:
    return {"token": token or tops[0][0], "top_logprobs": [{"token": name, "logprob": p} for name, p in tops]}


@pytest.mark.parametrize(
    "logprobs",
    [
        None,
        [],
        {"content": None},
        {"content": []},
        {"content": ["x"]},
        {"content": [{"token": None}]},
        {"content": [row(("The", -0.1))]},
        {"content": [row(("token_id:-3", -0.1))]},
        {"content": [row(("token_id:9999999", -0.1))]},
        {"content": [row(("token_id:3", "x"))]},
        {"content": [row(("token_id:3", float("nan")))]},
        {"content": [row(("token_id:3", 0.5))]},
        {"content": [row(("token_id:3", -0.1), ("token_id:4", -0.1))]},
        {"content": [{"token": "token_id:3", "top_logprobs": None}]},
    ],
)
def test_log_probabilities_that_make_no_sense_are_none(logprobs: Any) -> None:
    assert from_chat(logprobs) is None


def test_log_probabilities_by_ids() -> None:
    found = from_chat({"content": [row(("token_id:3", -0.1), ("token_id:7", -3.0)), row(token="token_id:5")]})
    assert found is not None and found.targets_N.tolist() == [3, 5]
    assert found.ids_NK.tolist() == [[3, 7], [-1, -1]]
    np.testing.assert_allclose(found.logprobs_NK, [[-0.1, -3.0], [-np.inf, -np.inf]])


def drawn(*targets: int) -> Captured:
    ids = np.array([[token, token + 1] for token in targets], dtype=np.int32)
    return Captured(np.array(targets, dtype=np.int32), ids, np.log(np.full(ids.shape, [0.9, 0.05], dtype=np.float32)))


def test_the_sidecar_goes_on_after_a_seal_and_a_kill_and_takes_shards_over(tmp_path: Path) -> None:
    one, shard = Sidecar(tmp_path / "one"), Sidecar(tmp_path / "shard")
    one.add("a#0", drawn(1, 2))
    one.close()
    one = Sidecar(tmp_path / "one")
    one.add("b#0", drawn(3))
    one.add("a#0", drawn(9, 9))  # is there already
    one.add("c#0", None)
    shard.add("d#0", drawn(4, 5, 6))  # killed before it was sealed
    one.take_over(tmp_path / "shard")
    one.take_over(tmp_path / "nowhere")
    one.close()
    made = Signals(tmp_path / "one")
    assert len(made) == 3 and made.read("a#0").targets_N.tolist() == [1, 2]
    assert made.read("d#0").targets_N.tolist() == [4, 5, 6]


def test_captured_tokens_are_aligned_with_the_students(tmp_path: Path) -> None:
    words = reading.tokenizer()
    trace = reading.trace(1, "One and one.")
    vocabulary = common(words, words)
    [one] = Reader(words, words, vocabulary, 4096).read([trace])
    sidecar = Sidecar(tmp_path / "signals")
    sidecar.add(trace.id, drawn(*[220, *one.completion[:5], 7, *one.completion[6:]]))
    sidecar.close()
    [(read, rows)] = CapturedScorer(tmp_path / "signals", vocabulary).score([one])
    signal = placed(read, rows)
    assert np.flatnonzero(~signal.known_N).tolist() == [5]
    known = signal.known_N
    assert (signal.ids_NK[known, 0] == signal.targets_N[known]).all()
    empty = Captured(np.array(one.completion, dtype=np.int32), np.full((len(one.completion), 1), -1, dtype=np.int32),
                     np.full((len(one.completion), 1), -np.inf, dtype=np.float32))  # fmt: skip
    blank = Sidecar(tmp_path / "blank")
    blank.add(trace.id, empty)
    blank.close()
    [(read, rows)] = CapturedScorer(tmp_path / "blank", vocabulary).score([one])
    assert not placed(read, rows).known_N.any()
    [(_, nothing)] = CapturedScorer(tmp_path / "signals", vocabulary).score(
        Reader(words, words, vocabulary, 4096).read([reading.trace(2)])
    )
    assert nothing is None


def test_captured_rows_are_given_once() -> None:
    capture = Capture(4)
    capture.put("a", drawn(1))
    capture.put("b", None)
    assert capture.take("a") is not None and capture.take("a") is None and capture.take("b") is None
    assert capture.blind == 1
