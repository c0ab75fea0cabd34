"""The problems of a run, and what is said of bad input."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from distill.errors import InputError
from distill.problems import load
from distill.sections import DatasetProblems, ReasoningGymProblems


def section(path: Path, **more: Any) -> DatasetProblems:
    return DatasetProblems(kind="dataset", path=str(path), **more)


def written(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_answers_are_read_and_duplicates_counted(tmp_path: Path) -> None:
    rows = [
        {"problem": "How many?", "answer": "2*500 = <<2*500=1000>>1000\n#### 1,000"},
        {"problem": "How  many?\n", "answer": "7"},
        {"problem": "What?", "answer": "So \\boxed{3} or rather \\boxed{\\frac{1}{2}}."},
    ]
    loaded = load([section(written(tmp_path / "a.jsonl", rows))])
    assert [problem.answer for problem in loaded.problems] == ["1000", "\\frac{1}{2}"]
    assert loaded.counts == {"rows": 3, "duplicates": 1, "problems": 2}


def test_limit_stops_reading(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", [{"problem": f"{at}?", "answer": "1"} for at in range(3)])
    path.write_text(path.read_text() + "this is never read")
    assert load([section(path, limit=3)]).counts["problems"] == 3


@pytest.mark.parametrize("row", [{"problem": " ", "answer": "1"}, {"problem": None, "answer": "1"}])
def test_an_empty_prompt_is_named(tmp_path: Path, row: dict[str, Any]) -> None:
    path = written(tmp_path / "a.jsonl", [{"problem": "?", "answer": "1"}, row])
    with pytest.raises(InputError, match=r"a\.jsonl, line 2: the prompt in column 'problem' is empty"):
        load([section(path)])


def test_an_empty_answer_is_named_or_counted(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", [{"problem": "?", "answer": None}, {"problem": "", "answer": "1"}])
    with pytest.raises(InputError, match=r"a\.jsonl, line 1: the answer in column 'answer' is empty"):
        load([section(path)])
    counts = load([section(path, skip_bad_rows=True)]).counts
    assert counts == {
        "rows": 2, "duplicates": 0, "skipped_empty_answer": 1, "skipped_empty_prompt": 1, "problems": 0
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", "[{]", "line 1: not JSON"),
        ("a.jsonl", '{"problem": "?", "answer": "1"}\n{"problem": "?", "ans', "line 2: not JSON .* torn"),
        ("a.jsonl", '{"question": "?", "answer": "1"}\n', "line 1: there is no column 'problem'; the columns are"),
        ("a.csv", "problem,answer\n,1\n", "row 1: the prompt in column 'problem' is empty"),
    ],
)
def test_bad_files_are_told_by_file_and_row(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=re.escape(name) + ", " + message):
        load([section(tmp_path / name)])


def test_reasoning_gym_families_are_drawn_and_deduplicated() -> None:
    family = ReasoningGymProblems(kind="reasoning_gym", task="knights_knaves", size=5, seed=3)
    loaded = load([family, family])
    assert loaded.counts == {"rows": 10, "duplicates": 5, "problems": 5}
    assert loaded.problems[2].meta["seed"] == 5
    with pytest.raises(InputError, match="no_such_family"):
        load([ReasoningGymProblems(kind="reasoning_gym", task="no_such_family", size=1)])
