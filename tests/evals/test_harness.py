"""Whole evaluations through lm-eval, with a scripted engine, and no model."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from distill.records import DIRECTIVE, Judgement, Score
from evals import benchmarks, scoring

_spec = importlib.util.spec_from_file_location("evals_measuring", Path(__file__).with_name("measuring.py"))
assert _spec is not None and _spec.loader is not None
measuring = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(measuring)
MATH, LOGIC, Scripted, done = measuring.MATH, measuring.LOGIC, measuring.Scripted, measuring.done
files, gate, measure, right, rows = measuring.files, measuring.gate, measuring.measure, measuring.right, measuring.rows


@pytest.fixture
def tasks(tmp_path):
    return files(tmp_path / "data")


def test_every_kind_of_task_is_asked_as_it_is_and_scored(tasks, tmp_path):
    section = gate(tasks, tuple(tasks))
    engine = Scripted(right(section))
    scores = measure(engine, section, tmp_path)
    assert [score.task for score in scores] == list(tasks)
    assert [score.n_problems for score in scores] == [score.planned for score in scores] == [3, 1, 1, 1, 2]
    assert all(score.value == 1 and score.k_samples == 2 and not score.smoke for score in scores)
    assert all(score.pass_at_k == score.cons_at_k == 1 and score.looks == () for score in scores)
    assert all(request.prompt.endswith(DIRECTIVE) for request in engine.asked)
    assert {request.seed for request in engine.asked} == {40, 41}
    assert len({request.id for request in engine.asked}) == len(engine.asked) == 16
    drawn = engine.asked[0].sampling
    assert (drawn.temperature, drawn.top_p, drawn.max_tokens) == (0.6, 0.95, 77)
    assert engine.loaded == 1


def test_unfinished_and_wrong_samples_count_as_wrong(tasks, tmp_path):
    section = gate(tasks)
    answer = right(section)

    def say(request):
        if request.prompt.startswith("What is 0"):
            return done("\\boxed{0}", finish="length", tokens=100)
        if request.prompt.startswith("What is 1"):
            return done("", reasoning="\\boxed{2}")
        return answer(request) if request.seed == 40 else done("four", tokens=6)

    score = measure(Scripted(say), section, tmp_path)[0]
    assert sorted(score.by_problem.values()) == [0, 0, 0.5]
    assert score.unfinished == pytest.approx(2 / 3)
    assert score.value == pytest.approx(1 / 6) and score.stderr == pytest.approx(1 / 6)
    assert score.pass_at_k == pytest.approx(1 / 3)
    assert score.unboxed == 1 / 2  # of the two that finished
    assert score.tokens == 2 * 100 + 2 * 2 + 2 + 6 and score.median_tokens == (2 + 6) / 2


def test_what_the_verifier_cannot_tell_is_told_apart(tasks, tmp_path):
    section = gate(tasks)
    score = measure(Scripted(right(section)), section, tmp_path, judge=lambda a: [Judgement(None)] * len(a))[0]
    assert (score.value, score.unverified, score.unfinished) == (0, 1, 0)
    assert {mark for row in rows(tmp_path) for mark in row["marks"]} == {"unverified"}


def test_answers_in_circles_are_counted(tasks, tmp_path):
    section = gate(tasks)
    score = measure(Scripted(lambda request: done("\\boxed{0}", "wait, no, again. " * 300)), section, tmp_path)[0]
    assert score.repetition == 1 and score.unboxed == 0


def test_a_limit_below_the_task_is_a_smoke_run(tasks, tmp_path):
    section = gate(tasks, limit=1)
    gsm8k, bbh = measure(Scripted(right(section)), section, tmp_path)
    assert gsm8k.smoke and gsm8k.n_problems == gsm8k.planned == 1
    assert not bbh.smoke
    first = benchmarks.problems(section.tasks[0])[0].id
    assert list(gsm8k.by_problem) == [first]


def test_the_same_prompt_in_two_tasks_is_scored_by_each(tmp_path):
    """One task says 4, the other 5: neither may take the other's judgement."""
    tasks = files(tmp_path / "data")
    question = "What is 2 + 2?"
    Path(tasks[MATH]["path"]).write_text(json.dumps({"question": question, "answer": "#### 4"}) + "\n")
    Path(tasks["distill_math500"]["path"]).write_text(json.dumps({"problem": question, "answer": "5"}) + "\n")
    section = gate(tasks, (MATH, "distill_math500", LOGIC))
    scores = measure(Scripted(lambda request: done("\\boxed{4}")), section, tmp_path)
    assert [score.value for score in scores] == [1, 0, 0]


def test_a_question_that_stands_twice_is_asked_twice(tmp_path):
    tasks = files(tmp_path / "data")
    row = json.dumps({"question": "Twice?", "answer": "#### 4"}) + "\n"
    Path(tasks[MATH]["path"]).write_text(row * 2)
    engine = Scripted(lambda request: done("\\boxed{4}" if "-2#" in request.id else "\\boxed{5}"))
    assert sorted(measure(engine, gate(tasks), tmp_path)[0].by_problem.values()) == [0, 1]


def test_what_an_earlier_gate_asked_is_no_evidence_of_this_one(tasks, tmp_path):
    section = gate(tasks, tuple(tasks))
    measure(Scripted(right(section)), section, tmp_path)
    fewer = gate(tasks)
    (tmp_path / "run/bf16/notes.txt").write_text("mine")
    measure(Scripted(right(fewer)), fewer, tmp_path)
    left = {path.name for path in (tmp_path / "run/bf16").iterdir()}
    assert left == {MATH, f"{MATH}.json", LOGIC, f"{LOGIC}.json", "notes.txt"}


def rounds(monkeypatch, sizes, decides):
    """Rounds of these sizes, decided where `decides` says so of a score; gives the scores that were looked at."""
    seen = []

    def decided(gate, task, score, baselines):
        seen.append(score)
        return decides(score)

    import evals.gate

    monkeypatch.setattr(evals.gate, "decided", decided, raising=False)
    module = type(sys)("evals.sequential")
    module.looks = lambda count: tuple(min(size, count) for size in sizes if size <= count) or (count,)
    monkeypatch.setitem(sys.modules, "evals.sequential", module)
    return seen


def test_rounds_end_as_soon_as_the_task_is_decided(tmp_path, monkeypatch):
    tasks = files(tmp_path / "data", sums=9)
    section = gate(tasks, until_decided=True)
    seen = rounds(monkeypatch, (2, 5, 9), lambda score: score.n_problems >= 5)
    engine, judged = Scripted(right(section)), []

    def judge(answers):
        judged.extend(answers)
        return measuring.verifier(answers)

    score = measure(engine, section, tmp_path, baselines={"base": []}, judge=judge)[0]
    assert (score.n_problems, score.looks, score.planned, score.smoke) == (5, (2, 5), 9, False)
    assert [(one.n_problems, one.looks) for one in seen if one.task == MATH] == [(2, (2,)), (5, (2, 5))]
    order = Score.order(problem.id for problem in benchmarks.problems(section.tasks[0]))
    assert set(score.by_problem) == set(order[:5]) and set(seen[0].by_problem) == set(order[:2])
    asked = [request.id for request in engine.asked if "What is" in request.prompt]
    assert len(asked) == len(set(asked)) == 10, "no sample is asked in two rounds"
    assert len(judged) == 6, "no answer is judged twice, in two rounds or for two repeats"
    assert len(rows(tmp_path)) == 5
    results = json.loads(next((tmp_path / "run/bf16" / MATH).glob("results_*")).read_text())
    assert results["n-samples"] == {MATH: {"original": 9, "effective": 5}}


def test_rounds_by_the_real_rule_save_what_need_not_be_asked(tmp_path):
    """All right against a floor of a half is decided at the first look, and the judge says the same of what is left."""
    from evals import judge
    from evals.sequential import looks

    tasks = files(tmp_path / "data", sums=60)
    section = gate(tasks, until_decided=True)
    engine = Scripted(right(section))
    scores = measure(engine, section, tmp_path, baselines={})
    first = looks(60)[0]
    assert scores[0].looks == (first,) and scores[0].n_problems == first < scores[0].planned == 60
    assert len(engine.asked) == 2 * first + 2
    floor = next(check for check in judge(section, "c", "bf16", scores, {}).checks if check.task == MATH)
    assert (floor.term, floor.outcome) == ("floor", "pass")
    wrong = Scripted(lambda request: done("\\boxed{no}"))
    assert measure(wrong, section, tmp_path, "worse", baselines={})[0].n_problems < 60
    halves = Scripted(lambda request: right(section)(request) if request.seed == 40 else done("\\boxed{no}"))
    assert measure(halves, section, tmp_path, "at the floor", baselines={})[0].looks == looks(60)


def test_rounds_that_decide_nothing_ask_everything_and_come_out_as_the_whole(tmp_path, monkeypatch):
    tasks = files(tmp_path / "data", sums=6)
    section = gate(tasks, until_decided=True)
    rounds(monkeypatch, (2, 6), lambda score: False)
    engine = Scripted(right(section))
    score = measure(engine, section, tmp_path, baselines={})[0]
    assert score.looks == (2, 6) and score.n_problems == 6
    silent = Scripted(lambda request: pytest.fail("asked again"))
    whole = measure(silent, section, tmp_path)[0]
    assert whole.looks == () and whole.by_problem == score.by_problem and not silent.loaded


def test_without_baselines_or_without_until_decided_everything_is_asked(tmp_path, monkeypatch):
    tasks = files(tmp_path / "data", sums=6)
    rounds(monkeypatch, (2, 6), lambda score: True)
    whole = measure(Scripted(right(gate(tasks))), gate(tasks, until_decided=True), tmp_path / "a")[0]
    fixed = measure(Scripted(right(gate(tasks))), gate(tasks), tmp_path / "b", baselines={"base": []})[0]
    assert whole.n_problems == fixed.n_problems == 6 and whole.looks == fixed.looks == ()


def test_a_packed_completion_comes_back_whole():
    completion = done("an\nswer \u2028 \\boxed{1}", "reasoning </think> x")
    assert scoring.unpack(scoring.pack(completion)) == completion
