"""Rows to problems: the real benchmarks where they lie beside the checkout, and what broken files say."""

import json
from pathlib import Path

import pytest

from distill.errors import InputError
from distill.gate_sections import GateTask
from evals import benchmarks, questions

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"


@pytest.mark.parametrize(
    ("task", "place", "count", "kinds"),
    [
        ("distill_gsm8k", "gsm8k/test.jsonl", 1319, {"math"}),
        ("distill_gsm8k", "gsm8k", 1319, {"math"}),
        ("distill_math500", "math500/test.jsonl", 500, {"math"}),
        ("distill_bbh_logic", "bbh", 1750, {"choice", "text"}),
        ("distill_knights_knaves", "knights_knaves", 500, {"rule"}),
    ],
)
def test_real_benchmarks_are_read_whole(task, place, count, kinds):
    if not (DATA / place).exists():
        pytest.skip(f"{DATA / place} is not here")
    found = benchmarks.problems(GateTask(task=task, min=0.5, path=str(DATA / place)))
    assert len(found) == len({problem.id for problem in found}) == count
    assert {problem.answer_kind for problem in found} == kinds
    assert all(problem.prompt and problem.answer for problem in found)


def test_knights_carry_their_solution(tmp_path):
    row = {"quiz": "Who?", "names": ["Al", "Bo"], "solution": [True, False], "solution_text_format": "(1) Al is …"}
    for name in ("kk_2ppl_test.jsonl", "kk_2ppl_train.jsonl"):
        (tmp_path / name).write_text(json.dumps(row) + "\n")
    (found,) = benchmarks.problems(GateTask(task="distill_knights_knaves", min=0, path=str(tmp_path)))
    assert found.meta == {"rule": "knights_knaves", "solution": {"Al": True, "Bo": False}}


def test_a_question_that_stands_twice_keeps_both_rows(tmp_path):
    path = tmp_path / "bbh.json"
    path.write_text(json.dumps({"canary": "c", "examples": [{"input": "not True is", "target": "False"}] * 2}))
    found = benchmarks.problems(GateTask(task="distill_bbh_logic", min=0, path=str(path)))
    assert [problem.id.partition("-")[2] for problem in found] == ["", "2"]


def test_procedural_tasks_and_questions():
    task = GateTask(task="distill_rg_chain_sum", min=0, size=3, seed=7)
    assert len(questions([task])["distill_rg_chain_sum"]) == 3


@pytest.mark.parametrize(
    ("task", "name", "text", "says"),
    [
        ("distill_gsm8k", "a.jsonl", '{"question": "q"}', "no column 'answer'"),
        ("distill_gsm8k", "a.jsonl", '{"question": "q", "answer": ""}', "is empty"),
        ("distill_gsm8k", "a.jsonl", "", "no problem"),
        ("distill_knights_knaves", "a.jsonl", '{"quiz": "q", "names": "Al"}', "no list in the column 'names'"),
        (
            "distill_knights_knaves",
            "a.jsonl",
            '{"quiz": "q", "names": ["Al"], "solution": ["true"], "solution_text_format": "x"}',
            "true or false",
        ),
    ],
)
def test_broken_files_are_told_in_a_sentence(tmp_path, task, name, text, says):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=says):
        benchmarks.problems(GateTask(task=task, min=0, path=str(tmp_path / name)))


@pytest.mark.parametrize("task", ["distill_gsm8k", "distill_math500", "distill_bbh_logic", "distill_knights_knaves"])
def test_folders_without_the_files_are_told(tmp_path, task):
    with pytest.raises(InputError, match="there is no"):
        benchmarks.problems(GateTask(task=task, min=0, path=str(tmp_path)))
    for path in (str(tmp_path / "none.jsonl"), "openai/gsm8k"):  # a Hub id would be read in its training split
        with pytest.raises(InputError, match="there is no such file"):
            benchmarks.problems(GateTask(task=task, min=0, path=path))
