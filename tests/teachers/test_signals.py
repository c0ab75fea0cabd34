"""Signals on kept traces by a teacher here and by one behind a server, against the dense distribution."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from distill import prompts
from distill.errors import DistillError, EngineError, InputError
from distill.records import Failure, Trace
from distill.sections import SamplingSection
from distill.signals import Signal, Signals, SignalSettings
from distill.student_sections import Student
from distill.teacher_sections import EndpointTeacher, LocalTeacher
from teachers import forward, signals
from teachers.forward import Forward
from teachers.prompt_logprobs import PromptLogprobs
from teachers.readings import Reader, Reading, Rows, placed
from teachers.signals import Job
from teachers.vocabulary import common

_spec = importlib.util.spec_from_file_location("teachers_reading", Path(__file__).with_name("reading.py"))
reading = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(reading)
one_thread = reading.one_thread

WORDS = 261


@pytest.fixture(scope="module")
def teacher() -> Any:
    return reading.model()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, teacher: Any) -> str:
    return reading.saved(tmp_path_factory.mktemp("teacher"), teacher, reading.tokenizer())


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> str:
    return reading.saved(tmp_path_factory.mktemp("student"), reading.model(288), reading.tokenizer())


def job(base: str, teacher: str, tmp_path: Path, traces: list[Trace], **changes: Any) -> Job:
    section = LocalTeacher(kind="local", model=teacher, batch_size=4)
    return Job(
        **{
            "section": section,
            "student": Student(base=base),
            "kept": reading.kept(tmp_path / "kept", traces),
            "folder": tmp_path / "signals",
            "settings": SignalSettings(k=20, mass=1.0),
        }
        | changes
    )


def readings(traces: list[Trace], words: Any = None, theirs: Any = None, most: int = 4096) -> list[Reading]:
    words, theirs = words or reading.tokenizer(), theirs or reading.tokenizer()
    return list(Reader(theirs, words, common(theirs, words), most).read(traces))


def dense(teacher: Any, trace: Trace) -> torch.Tensor:
    """The plain way: logits of everything, the padding rows cut off, softmax, at the completion's tokens."""
    words = reading.tokenizer()
    prompt = prompts.prompt_ids(words, trace.problem.ask)
    said = prompts.completion_ids(words, trace.problem.ask, trace.completion.reasoning, trace.completion.answer)
    with torch.inference_mode():
        logits = teacher(input_ids=torch.tensor([prompt + said])).logits[0, len(prompt) - 1 : -1]
    return logits[:, :WORDS].log_softmax(-1)


def spread(rows: Rows | Signal, size: int = WORDS) -> np.ndarray:
    """All probabilities, the tail's mass evenly over what is not kept."""
    ids, logprobs, tail = (
        (rows.ids_NK, rows.logprobs_NK, rows.tail_N)
        if isinstance(rows, Signal)
        else (rows.ids_MK, rows.logprobs_MK, rows.tail_M)
    )
    p = np.zeros((len(ids), size))
    for row in range(len(ids)):
        kept = ids[row] >= 0
        p[row] = np.exp(tail[row]) / max(1, size - kept.sum())
        p[row, ids[row][kept]] = np.exp(logprobs[row][kept])
    return p


def test_a_local_teacher_says_what_the_dense_softmax_says(teacher: Any) -> None:
    traces = [reading.trace(at) for at in range(11)]
    vocabulary = common(reading.tokenizer(), reading.tokenizer())
    found = {one.id: rows for one, rows in Forward(teacher, "t", vocabulary, 20, 4).score(readings(traces))}
    assert len(found) == 11
    for trace in traces:
        wanted, rows = dense(teacher, trace), found[trace.id]
        top = wanted.topk(20)
        np.testing.assert_allclose(rows.logprobs_MK, top.values, atol=1e-4)
        assert (rows.ids_MK == top.indices.numpy()).mean() > 0.99 and rows.known_M.all()
        np.testing.assert_allclose(np.exp(rows.tail_M), 1 - top.values.exp().sum(-1), atol=1e-5)


def test_chunks_and_batches_change_nothing(teacher: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    some, vocabulary = readings([reading.trace(at) for at in range(7)]), common(*[reading.tokenizer()] * 2)
    one = {one.id: rows for one, rows in Forward(teacher, "t", vocabulary, 8, 64).score(some)}
    monkeypatch.setattr(forward, "CHUNK_LOGITS", 272 * 7)
    monkeypatch.setattr(forward, "BATCH_TOKENS", 500)
    other = {one.id: rows for one, rows in Forward(teacher, "t", vocabulary, 8, 3).score(some[::-1])}
    assert one.keys() == other.keys() and len(one) == 7
    for name in one:
        np.testing.assert_allclose(one[name].logprobs_MK, other[name].logprobs_MK, atol=1e-4)
        np.testing.assert_allclose(one[name].tail_M, other[name].tail_M, atol=1e-3)


def test_all_tokens_kept_leave_no_tail(teacher: Any) -> None:
    vocabulary = common(*[reading.tokenizer()] * 2)
    [(_, rows)] = Forward(teacher, "t", vocabulary, 10_000, 4).score(readings([reading.trace(1)]))
    assert rows.ids_MK.shape[1] == WORDS and np.isneginf(rows.tail_M).all()
    np.testing.assert_allclose(spread(rows), dense(teacher, reading.trace(1)).exp(), atol=1e-6)


def test_the_cache_holds_it_for_differently_padded_models(
    teacher: Any, folder: str, student: str, tmp_path: Path
) -> None:
    traces = [reading.trace(at) for at in range(9)]
    facts = signals.score(job(student, folder, tmp_path, traces, settings=SignalSettings(k=WORDS, mass=1.0)))
    made = Signals(tmp_path / "signals")
    assert facts["traces"] == 9 == len(made) and made.vocabulary == WORDS
    for trace in traces:
        signal, wanted = made.read(trace.id), dense(teacher, trace).exp().numpy()
        said = prompts.completion_ids(
            reading.tokenizer(), trace.problem.ask, trace.completion.reasoning, trace.completion.answer
        )
        assert signal.targets_N.tolist() == said and signal.known_N.all()
        assert (wanted * np.log(wanted / spread(signal))).sum(axis=1).mean() < 2e-3
        assert (signal.ids_NK[:, 0] == wanted.argmax(-1)).mean() > 0.95


def test_a_cut_run_goes_on_and_a_sealed_one_is_left_alone(
    folder: str, student: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    traces, said = [reading.trace(at) for at in range(10)], []
    task = job(student, folder, tmp_path, traces, say=said.append)
    whole, score = Forward.score, Forward.score

    def cut(self: Forward, some: Any) -> Any:
        for at, one in enumerate(whole(self, some)):
            if at == 4:
                raise KeyboardInterrupt
            yield one

    monkeypatch.setattr(Forward, "score", cut)
    with pytest.raises(KeyboardInterrupt):
        signals.score(task)
    read: list[str] = []
    monkeypatch.setattr(Forward, "score", lambda self, some: score(self, (read.append(one.id) or one for one in some)))
    facts = signals.score(task)
    assert len(read) == 6 and facts["traces"] == 10 and "4 traces are scored already" in said[0]
    assert signals.score(task) == facts and len(read) == 6
    other = job(student, folder, tmp_path / "whole", traces)
    monkeypatch.undo()
    signals.score(other)
    for trace in traces:
        one, two = (Signals(path).read(trace.id) for path in (task.folder, other.folder))
        np.testing.assert_allclose(spread(one), spread(two), atol=2e-2)


def test_what_the_student_does_not_read_is_not_scored(folder: str, student: str, tmp_path: Path) -> None:
    traces = [reading.trace(1), reading.trace(2, "long " * 500)]
    facts = signals.score(job(student, folder, tmp_path, traces, student=Student(base=student, max_tokens=400)))
    assert facts["traces"] == 1 and traces[1].id not in Signals(tmp_path / "signals")
    with pytest.raises(DistillError, match=r"1 are longer than student\.max_tokens"):
        signals.score(job(student, folder, tmp_path / "x", traces[1:], student=Student(base=student, max_tokens=400)))


def test_beyond_the_teachers_context_nothing_is_known() -> None:
    short = reading.model(context=200)
    [one] = readings([reading.trace(1, "long " * 50)])
    vocabulary = common(*[reading.tokenizer()] * 2)
    [(_, rows)] = Forward(short, "t", vocabulary, 4, 4).score([one])
    signal = placed(one, rows)
    inside = 200 - len(one.prompt) + 1
    assert signal.known_N.tolist() == [at < inside for at in range(len(one.completion))]


def test_added_tokens_of_the_teacher_alone_get_no_mass(teacher: Any) -> None:
    theirs, ours = reading.tokenizer(reading.R1, reading.R1[0]), reading.tokenizer(reading.QWEN, "<|im_end|>")
    vocabulary, trace = common(theirs, ours), reading.trace(3)
    [one] = readings([trace], ours, theirs)
    tag = len("</think>")
    assert len(one.targets_N) == len(one.completion) + tag - 1 and one.completion[-1] == 256
    [(_, rows)] = Forward(teacher, "t", vocabulary, 20, 4).score([one])
    signal = placed(one, rows)
    start = len(trace.completion.reasoning) + 1
    assert not signal.known_N[start : start + tag].any() and signal.targets_N[-1] == 258
    with torch.inference_mode():
        logits = teacher(input_ids=torch.tensor([one.ids])).logits[0, len(one.prompt) - 1 : -1, :WORDS]
    p = logits.softmax(-1).numpy()
    shared = [*range(256), 256]
    last = p[-1, shared] / p[-1, shared].sum()
    assert rows.known_M[-1] and signal.known_N[-1]
    order = np.argsort(-last)[:20]
    names = np.where(order == 256, 258, order)
    np.testing.assert_allclose(np.exp(signal.logprobs_NK[-1]), last[order], atol=1e-5)
    assert set(signal.ids_NK[-1].tolist()) == set(names.tolist())
    assert rows.known_M.tolist() == (p[:, shared].sum(-1) >= 0.5).tolist()


def test_a_model_that_caps_its_logits_or_gives_none_is_refused() -> None:
    vocabulary = common(*[reading.tokenizer()] * 2)
    capped, plain = reading.model(), reading.model()
    forward_of = capped.forward
    capped.forward = lambda **given: _scaled(forward_of(**given))
    with pytest.raises(InputError, match="changes its logits after its head"):
        Forward(capped, "capped", vocabulary, 4, 4)
    made = Forward(plain, "broken", vocabulary, 4, 4)
    torch.nn.init.constant_(plain.model.norm.weight, float("nan"))
    with pytest.raises(DistillError, match="broken gives no numbers"):
        list(made.score(readings([reading.trace(1)])))


def _scaled(out: Any) -> Any:
    out.logits = out.logits * 0.5
    return out


def test_memory_that_does_not_suffice_names_the_key(teacher: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Forward(teacher, "big", common(*[reading.tokenizer()] * 2), 4, 8)

    def full(ids: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(made, "_hidden", full)
    with pytest.raises(DistillError, match=r"big runs out of memory .* a smaller teacher\.batch_size than 8"):
        list(made.score(readings([reading.trace(1)])))


# Behind a server.


def behind(url: str, **settings: Any) -> EndpointTeacher:
    settings = {"model": "served", "base_url": url, "max_retries": 2, "timeout_s": 60} | settings
    return EndpointTeacher(kind="endpoint", sampling=SamplingSection(), **settings)


def asker(server: Any, k: int = 20, **settings: Any) -> PromptLogprobs:
    vocabulary = common(*[reading.tokenizer()] * 2)
    return PromptLogprobs(behind(server.url, **settings), None, vocabulary, k, first_pause_s=1e-4)


def test_a_server_says_what_the_same_model_says_here(teacher: Any, student: str, folder: str, tmp_path: Path) -> None:
    traces = [reading.trace(at) for at in range(5)]
    exact = reading.model(WORDS)
    exact.load_state_dict(
        {name: value[:WORDS] if value.shape[0] == 272 else value for name, value in teacher.state_dict().items()}
    )
    with reading.Vllm(exact) as server:
        task = job(student, "", tmp_path, traces, section=behind(server.url), tokenizer=folder)
        facts = signals.score(task)
        assert len(server.calls) == 5 and facts["traces"] == 5
        body = server.calls[0]
        assert body["max_tokens"] == 1 and body["prompt_logprobs"] == 20 and isinstance(body["prompt"][0], int)
    here = job(student, folder, tmp_path / "here", traces)
    signals.score(here)
    for trace in traces:
        one, two = (Signals(path).read(trace.id) for path in (task.folder, here.folder))
        assert one.targets_N.tolist() == two.targets_N.tolist() and one.known_N.all()
        np.testing.assert_allclose(spread(one), spread(two), atol=2e-2)


def test_tokens_that_the_student_has_not_get_no_mass_from_a_server(teacher: Any) -> None:
    theirs, ours = reading.tokenizer(reading.R1, reading.R1[0]), reading.tokenizer(reading.QWEN, "<|im_end|>")
    vocabulary, some = common(theirs, ours), readings([reading.trace(3)], ours, theirs)
    exact = reading.model(WORDS)
    with reading.Vllm(exact, most=WORDS) as server:
        [(_, one)] = PromptLogprobs(behind(server.url), None, vocabulary, WORDS, first_pause_s=0.01).score(some)
    [(_, two)] = Forward(exact, "t", vocabulary, WORDS, 4).score(some)
    assert not isinstance(one, Failure) and one.known_M.tolist() == two.known_M.tolist()
    np.testing.assert_allclose(spread(one)[one.known_M], spread(two)[two.known_M], atol=1e-5)


def test_too_few_logprobs_and_none_at_all_are_told_with_what_to_do(teacher: Any) -> None:
    some = readings([reading.trace(1), reading.trace(2)])
    with reading.Vllm(teacher, most=5) as server:
        with pytest.raises(EngineError, match=r"--max-logprobs 20, or write a smaller k .*max allowed: 5"):
            list(asker(server).score(some))
        server.script = lambda body, n: {"model": "served", "choices": [{"index": 0, "text": "x"}]}
        with pytest.raises(EngineError, match=r"gives no prompt_logprobs; serve the teacher by vLLM, write teacher: "):
            list(asker(server).score(some))
        server.script = lambda body, n: {"model": "other", "choices": [{"index": 0, "text": "x"}]}
        with pytest.raises(EngineError, match="answered with 'other'"):
            list(asker(server).score(some))


def failing(server: Any, *answers: Any) -> None:
    """The first calls are answered so, the others as they should be."""
    server.script = lambda body, n: answers[n - 1] if n <= len(answers) else None


def hostile(entry: Any) -> dict[str, Any]:
    return {"choices": [{"prompt_logprobs": entry}]}


def test_passing_troubles_are_tried_again(teacher: Any) -> None:
    from aiohttp import web

    [one] = readings([reading.trace(1)])
    size = len(one.ids)
    bad = [
        web.json_response({"error": "slow down"}, status=429, headers={"Retry-After": "0"}),
        web.Response(text='{"choices": [{"prompt_logpro', content_type="application/json"),
        hostile([None] * 3),
        hostile([None] * size),
        hostile([None] + [{"5": {"logprob": 2.0}}] * (size - 1)),
        hostile([None] + [{"5": {"logprob": "x"}}] * (size - 1)),
        hostile([None] + [{"-5": {"logprob": -1.0}}] * (size - 1)),
        hostile([None] + [{"5": {"logprob": -0.1}, "05": {"logprob": -3.0}}] * (size - 1)),
        hostile([None] + [{"5": {"logprob": -0.1}, "6": {"logprob": -0.1}}] * (size - 1)),
        hostile([None] + [{"5": -1.0}] * (size - 1)),
        hostile([None] + [{str(at): {"logprob": -9.0} for at in range(99)}] * (size - 1)),
        hostile({"0": 1}),
    ]
    with reading.Vllm(teacher) as server:
        failing(server, *bad)
        [(_, rows)] = asker(server, max_retries=len(bad)).score([one])
        assert isinstance(rows, Rows) and len(server.calls) == len(bad) + 1
        server.calls.clear()
        failing(server, *[hostile("?")] * 9)
        [(_, rows)] = asker(server).score([one])
        assert isinstance(rows, Failure) and rows.error == "BadBody" and rows.attempts == 3


def test_what_could_not_be_scored_is_asked_for_by_the_next_run(
    teacher: Any, student: str, folder: str, tmp_path: Path
) -> None:
    from aiohttp import web

    traces = [reading.trace(at) for at in range(4)]
    said: list[str] = []
    with reading.Vllm(teacher) as server:
        section = behind(server.url, max_retries=0, concurrency=1)
        task = job(student, "", tmp_path, traces, section=section, tokenizer=folder, say=said.append)
        refused = web.json_response({"error": {"message": "maximum context length"}}, status=400)
        failing(server, None, {"choices": []}, refused)
        with pytest.raises(DistillError, match=r"1 traces could not be scored.* NoChoices"):
            signals.score(task)
        server.calls.clear()
        server.script = lambda body, n: None
        facts = signals.score(task)
        assert len(server.calls) == 1 and facts["traces"] == 4
    made = Signals(task.folder)
    assert sum(not made.read(trace.id).known_N.any() for trace in traces) == 1


def test_a_heavy_answer_is_waited_for_alone(teacher: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    some = readings([reading.trace(at) for at in range(6)])
    with reading.Vllm(teacher) as server:
        monkeypatch.setattr("teachers.prompt_logprobs.ENTRIES", 1)
        made, most = asker(server), []
        server.script = lambda body, n: most.append(made.pace.on_wire)
        assert len(list(made.score(some))) == 6 and set(most) == {1}


def test_an_answer_that_cannot_be_held_is_not_asked_for(teacher: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    [one] = readings([reading.trace(1)])
    monkeypatch.setattr("distill.engines.connection.LONGEST_BODY", 60 * len(one.ids) * 8)
    with reading.Vllm(teacher) as server:
        with pytest.raises(EngineError, match=r"write student\.objective\.k: 7, or a smaller student\.max_tokens"):
            list(asker(server).score([one]))
        assert not server.calls


def test_an_endpoint_whose_name_is_no_tokenizer_says_what_to_write(student: str, tmp_path: Path) -> None:
    section = behind("http://127.0.0.1:9/v1", model="./no/such/tokenizer")
    with pytest.raises(InputError, match=r"student\.objective\.teacher_tokenizer"):
        signals.score(job(student, "", tmp_path, [reading.trace(1)], section=section))


def test_tokenizers_that_do_not_agree_are_refused_before_any_weight_is_loaded(student: str, tmp_path: Path) -> None:
    words = reading.tokenizer(swap=True)
    words.save_pretrained(tmp_path / "other")
    (tmp_path / "other" / "config.json").write_text("{}")
    section = LocalTeacher(kind="local", model=str(tmp_path / "other"))
    with pytest.raises(InputError, match=r"'g' has the id 71 in the teacher's .* write objective: \{kind: sft\}"):
        signals.agree(section, Student(base=student))
    with pytest.raises(InputError, match="take a teacher with the student's own tokenizer"):
        signals.score(job(student, section.model, tmp_path, [reading.trace(1)]))
    _, _, vocabulary = signals.agree(section, Student(base=student), student)
    assert vocabulary.same


def test_json_is_what_the_facts_are(folder: str, student: str, tmp_path: Path) -> None:
    facts = signals.score(job(student, folder, tmp_path, [reading.trace(1)]))
    assert json.loads(json.dumps(facts)) == facts and facts["teacher"] == folder and facts["kind"] == "local"
