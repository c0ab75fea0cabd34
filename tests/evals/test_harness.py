"""Whole evaluations through lm-eval, with a scripted engine, and no model."""

import json

import pytest

from distill.answers import boxed
from distill.errors import EngineError
from distill.gate_sections import Gate, GateTask
from distill.records import DIRECTIVE, Completion, Failure, Judgement
from evals import benchmarks, evaluate, scoring
from evals.harness import _tasks_folder


class Scripted:
    """Answers by a function of the request; remembers what it was asked. Yields in reverse, as a real one may."""

    def __init__(self, say):
        self.say, self.asked = say, []

    def complete(self, requests):
        requests = list(requests)
        self.asked += requests
        for request in reversed(requests):
            yield request, self.say(request)


def done(answer, reasoning="hm", finish="stop"):
    return Completion(reasoning, answer, finish, 1, 2, "scripted")


def verifier(answers):
    return [Judgement((boxed(text) or [""])[-1] == problem.answer) for problem, text in answers]


def lines(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.fixture
def tasks(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    gsm8k = [{"question": f"What is {at} + {at}?", "answer": f"so\n#### {2 * at}"} for at in range(3)]
    knights = {"quiz": "Who?", "names": ["Al"], "solution": [True], "solution_text_format": "(1) Al is a knight"}
    (data / "b.json").write_text(json.dumps({"canary": "c", "examples": [{"input": "Which?\n(A) a", "target": "(A)"}]}))
    return {
        "distill_gsm8k": {"path": lines(data / "g.jsonl", *gsm8k)},
        "distill_math500": {"path": lines(data / "m.jsonl", {"problem": "{{1}}?", "answer": "[1, 2]"})},
        "distill_bbh_logic": {"path": str(data / "b.json")},
        "distill_knights_knaves": {"path": lines(data / "k_test.jsonl", knights)},
        "distill_rg_chain_sum": {"size": 2, "seed": 5},
    }


def gate(tasks, names=("distill_gsm8k", "distill_bbh_logic"), **changes):
    chosen = [GateTask(task=name, min=0.5, **{"repeats": 2, **tasks[name], **changes}) for name in names]
    return Gate(tasks=tuple(chosen), seed=40, sampling={"max_tokens": 77})


def right_answers(section):
    known = {problem.ask: problem.answer for task in section.tasks for problem in benchmarks.problems(task)}
    return lambda request: done(f"\\boxed{{{known[request.prompt]}}}")


def test_every_kind_of_task_is_asked_as_it_is_and_scored(tasks, tmp_path):
    section = gate(tasks, tuple(tasks))
    engine = Scripted(right_answers(section))
    scores = evaluate(engine, "m", section, verifier, tmp_path / "out")
    assert [score.task for score in scores] == list(tasks)
    assert [score.n_problems for score in scores] == [3, 1, 1, 1, 2]
    assert all(score.value == 1 and score.k_samples == 2 and not score.smoke for score in scores)
    assert all(request.prompt.endswith(DIRECTIVE) for request in engine.asked)
    assert {request.seed for request in engine.asked} == {40, 41}
    assert len({request.id for request in engine.asked}) == len(engine.asked) == 16
    drawn = engine.asked[0].sampling
    assert (drawn.temperature, drawn.top_p, drawn.max_tokens) == (0.6, 0.95, 77)
    samples = (tmp_path / "out/distill_gsm8k/samples.jsonl").read_text().splitlines()
    assert scoring.unpack(json.loads(samples[0])["resps"][0][0]).reasoning == "hm"
    assert json.loads((tmp_path / "out/distill_gsm8k/results.json").read_text())["results"]


def test_unfinished_and_wrong_samples_count_as_wrong(tasks, tmp_path):
    section = gate(tasks)
    right = right_answers(section)

    def say(request):
        if request.prompt.startswith("What is 0"):
            return done("\\boxed{0}", finish="length")
        if request.prompt.startswith("What is 1"):
            return done("", reasoning="\\boxed{2}")
        return right(request) if request.seed == 40 else done("\\boxed{no}")

    score = evaluate(Scripted(say), "m", section, verifier, tmp_path / "out")[0]
    assert sorted(score.by_problem.values()) == [0, 0, 0.5]
    assert score.unfinished == pytest.approx(2 / 3)
    assert score.value == pytest.approx(1 / 6) and score.stderr == pytest.approx(1 / 6)


def test_what_the_verifier_cannot_tell_is_told_apart(tasks, tmp_path):
    section = gate(tasks)
    score = evaluate(
        Scripted(right_answers(section)), "m", section, lambda a: [Judgement(None)] * len(a), tmp_path / "out"
    )[0]
    assert (score.value, score.unverified, score.unfinished) == (0, 1, 0)


def test_resume_asks_only_what_is_missing(tasks, tmp_path):
    section = gate(tasks)
    first = evaluate(Scripted(right_answers(section)), "m", section, verifier, tmp_path)
    silent = Scripted(lambda request: pytest.fail("asked again"))
    assert evaluate(silent, "m", section, verifier, tmp_path) == first
    higher = section.model_copy(update={"tasks": tuple(t.model_copy(update={"min": 0.9}) for t in section.tasks)})
    assert evaluate(silent, "m", higher, verifier, tmp_path) == first
    (tmp_path / "distill_gsm8k.json").write_text("{")
    engine = Scripted(right_answers(section))
    assert evaluate(engine, "m", section, verifier, tmp_path) == first
    assert len(engine.asked) == 6
    other = Scripted(right_answers(section))
    evaluate(other, "another model", section, verifier, tmp_path)
    assert len(other.asked) == 8


def test_a_limit_below_the_task_is_a_smoke_run(tasks, tmp_path):
    section = gate(tasks, limit=1)
    gsm8k, bbh = evaluate(Scripted(right_answers(section)), "m", section, verifier, tmp_path)
    assert gsm8k.smoke and gsm8k.n_problems == 1
    assert not bbh.smoke


def test_holes_stop_the_evaluation_and_leave_no_score(tasks, tmp_path):
    section = gate(tasks)
    failing = Scripted(lambda request: Failure(request.id, "Timeout", "too slow", 3))
    with pytest.raises(EngineError, match="too slow"):
        evaluate(failing, "m", section, verifier, tmp_path)
    failing.complete = lambda requests: iter(())
    with pytest.raises(EngineError, match="left 6 of 6"):
        evaluate(failing, "m", section, verifier, tmp_path)
    assert not (tmp_path / "distill_gsm8k.json").exists()


def test_the_yaml_tasks_load_in_lm_eval_on_their_own(tasks):
    from lm_eval.tasks import TaskManager

    settings = {"path": tasks["distill_gsm8k"]["path"]}
    manager = TaskManager(include_path=_tasks_folder(), include_defaults=False, metadata=settings)
    assert set(manager.all_tasks) == {*list(tasks)[:4], "distill_rg"}
    task = manager.load(["distill_gsm8k"])["tasks"]["distill_gsm8k"]
    doc = task.test_docs()[1]
    assert task.doc_to_text(doc).endswith(DIRECTIVE)
    texts = ["<think>2</think>\\boxed{2}", "<think>\\boxed{2}", "x</think>\\boxed{3}", "x</think> 2"]
    assert task.process_results(doc, [texts]) == {
        "avg_at_k": 0.5,
        "pass_at_k": 1.0,
        "unfinished": 0.25,
        "unverified": 0.0,
    }
