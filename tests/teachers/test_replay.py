"""Trace data sets as teachers."""

import json
from pathlib import Path
from typing import Any

import pytest

import teachers
from distill.errors import InputError
from distill.teacher_sections import ReplayTeacher
from teachers.replay import Replay

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def section(path: Path, columns: dict[str, Any] | None = None, **settings: Any) -> ReplayTeacher:
    columns = columns or {"prompt": "q", "answer": "a", "text": "t"}
    return ReplayTeacher(kind="replay", path=str(path), columns=columns, model="R1", **settings)  # type: ignore[arg-type]


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_rows_become_traces_and_seeds_count_up(tmp_path: Path) -> None:
    row = {"q": "1+1?", "a": "so #### 1,002", "t": "r</think>\n\n\\boxed{1002}"}
    path = write(tmp_path / "t.jsonl", row, {**row, "q": "2+2?"}, {**row, "q": " 1+1? "})
    first, other, again = Replay(section(path)).traces()
    assert (first.problem.answer, first.problem.answer_kind, first.teacher) == ("1002", "math", "R1")
    assert (first.completion.reasoning, first.completion.answer) == ("r", "\\boxed{1002}")
    assert (first.completion.finish, first.completion.completion_tokens) == ("stop", None)
    assert first.problem.id == again.problem.id != other.problem.id
    assert [trace.id for trace in (first, again)] == [f"{first.problem.id}#0", f"{first.problem.id}#1"]


def test_reasoning_and_answer_in_two_columns(tmp_path: Path) -> None:
    columns = {"prompt": "q", "answer": None, "reasoning": "r", "answer_text": "t"}
    rows = [{"q": "x", "r": "<think>\nwhy\n</think>", "t": "4"}, {"q": "y", "r": "why", "t": None}]
    whole, cut = Replay(section(write(tmp_path / "t.jsonl", *rows), columns)).traces()
    assert (whole.completion.reasoning, whole.completion.answer) == ("why", "4") and not whole.completion.unfinished
    assert cut.completion.unfinished and cut.problem.answer == ""


@pytest.mark.parametrize("column", ["q", "a", "t"])
def test_bad_rows_are_named_or_counted(tmp_path: Path, column: str) -> None:
    good = {"q": "x", "a": "4", "t": "r</think>4"}
    path = write(tmp_path / "t.jsonl", good, {**good, column: "  "}, {**good, column: None})
    with pytest.raises(InputError, match=f"line 2: the column '{column}' is empty; write skip_bad_rows"):
        list(Replay(section(path)).traces())
    replay = Replay(section(path, skip_bad_rows=True))
    assert len(list(replay.traces())) == 1 and replay.rows == 3
    assert replay.skipped == {{"q": "prompt", "a": "answer", "t": "text"}[column]: 2}


def test_a_wrong_column_is_an_error_even_when_bad_rows_are_skipped(tmp_path: Path) -> None:
    path = write(tmp_path / "t.jsonl", {"question": "x", "a": "4", "t": "r</think>4"})
    with pytest.raises(InputError, match=r"no column 'q'; the columns are question, a, t"):
        list(Replay(section(path)).traces())
    with pytest.raises(InputError, match="holds no trace in 1 rows: 1 without prompt"):
        list(Replay(section(path, skip_bad_rows=True)).traces())


def test_limit(tmp_path: Path) -> None:
    path = write(tmp_path / "t.jsonl", *({"q": f"{at}", "a": "4", "t": "r</think>4"} for at in range(9)))
    assert len(list(Replay(section(path, limit=3)).traces())) == 3


def test_replay_is_not_asked(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"teachers\.replay"):
        teachers.connect(section(tmp_path / "t.jsonl"), None)


def test_real_r1_traces_without_an_opening_tag() -> None:
    path = DATA / "r1_mip_gsm8k_math" / "gsm8k_normal_deepseekR1.json"
    if not path.is_file():
        pytest.skip(f"{path} is not here")
    columns = {"prompt": "question", "answer": "answer", "text": "deepseek-reasoner (question)"}
    replay = Replay(section(path, columns))
    found = list(replay.traces())
    assert replay.rows == len(found) == 582 and not replay.skipped
    thought = [trace for trace in found if trace.completion.reasoning and trace.completion.answer]
    assert len(thought) == 581 and all(trace.completion.clean for trace in thought)
    [error] = [trace for trace in found if not trace.completion.reasoning]
    assert error.completion.answer.startswith("Error after 6 attempts")
