"""Records survive the disk; what is torn or of another version is said, never guessed."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from distill import shards
from distill.errors import ShardError
from distill.journal import Journal
from distill.records import Check, Completion, GateReport, Problem, Sampling, Score, Trace
from distill.run import Run


def trace(number: int) -> Trace:
    problem = Problem.of(f"What is {number} + ½?", "{", "rule", "here", nested={"a": [1, None]}, rule="x")
    said = Completion("because", "\\boxed{1}", "stop", None, 7, "served")
    return Trace(Trace.name(problem, 0), problem, said, "asked", 0, Sampling(), None, "2026-11-24", 0.5)


def score() -> Score:
    return Score("t", "math", "avg@4", 0.5, 0.1, 2, 4, 0.0, {"a": 0.25, "b": 0.75}, False)


def test_traces_come_back_as_they_were(tmp_path: Path) -> None:
    traces = [trace(number) for number in range(5)]
    assert shards.write_parts(tmp_path, traces, Trace) == 5
    assert list(shards.read_parts(tmp_path, Trace)) == traces
    assert not list(tmp_path.glob("*.partial"))


def test_parts_are_split_and_read_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "ROWS_PER_PART", 2)
    traces = [trace(number) for number in range(5)]
    shards.write_parts(tmp_path, traces, Trace)
    assert len(list(tmp_path.glob("part-*.parquet"))) == 3
    assert list(shards.read_parts(tmp_path, Trace)) == traces


def test_a_shorter_stream_leaves_no_part_of_a_longer_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "ROWS_PER_PART", 2)
    traces = [trace(number) for number in range(5)]
    shards.write_parts(tmp_path, traces, Trace)
    shards.write_parts(tmp_path, traces[3:], Trace)
    assert list(shards.read_parts(tmp_path, Trace)) == traces[3:]


def test_nothing_is_a_stage_too(tmp_path: Path) -> None:
    assert shards.write_parts(tmp_path, [], Trace) == 0
    assert list(shards.read_parts(tmp_path, Trace)) == []


def test_a_report_with_records_in_dicts_and_tuples_comes_back(tmp_path: Path) -> None:
    check = Check("t", "floor", 0.5, 0.4, 0.3, "pass", "fine")
    report = GateReport("path", "bf16", (score(),), {"base": (score(),)}, (check,), 0.95)
    assert shards.from_row(GateReport, shards.to_row(report)) == report


def test_another_version_is_refused(tmp_path: Path) -> None:
    shards.write_parts(tmp_path, [trace(1)], Trace)
    part = tmp_path / "part-00000.parquet"
    table = pq.read_table(part).replace_schema_metadata({"records_version": "0"})
    pq.write_table(table, part)
    with pytest.raises(ShardError, match="records version 0"):
        list(shards.read_parts(tmp_path, Trace))


def test_a_broken_part_is_named(tmp_path: Path) -> None:
    (tmp_path / "part-00000.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(ShardError, match=r"part-00000\.parquet is not a readable parquet file"):
        list(shards.read_parts(tmp_path, Trace))


def test_the_journal_cuts_a_torn_line_off_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal(path, Trace)
    journal.append(trace(1))
    journal.append(trace(2))
    journal.close()
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    again = Journal(path, Trace)
    assert again.torn > 0
    again.append(trace(3))
    assert [item.problem.prompt for item in again.read()] == [trace(1).problem.prompt, trace(3).problem.prompt]
    again.close()


def test_the_same_prompt_is_the_same_problem_whatever_its_white_space() -> None:
    assert Problem.of("a  b\n", "1", "math", "x").id == Problem.of("a b", "2", "text", "y").id


def test_a_stage_begins_afresh_for_another_fingerprint_but_keeps_what_was_paid_for(tmp_path: Path) -> None:
    run = Run(tmp_path)
    (run.begin("sample", "one", keep="teacher") / "journal.jsonl").write_text("paid")
    (run.begin("train", "one") / "checkpoint").write_text("x")
    assert (run.begin("sample", "two", keep="teacher") / "journal.jsonl").read_text() == "paid"
    assert not (tmp_path / "4-student").exists()
    assert not (run.begin("sample", "three", keep="other teacher") / "journal.jsonl").exists()
    assert [path.read_text() for path in tmp_path.glob("2-traces.before-*/journal.jsonl")] == ["paid"]
    run.seal("sample", "three", {"traces": 0})
    assert run.done("sample", "three") and not run.done("sample", "four")
    (run.folder("sample") / "manifest.json").write_text("{torn")
    with pytest.raises(ShardError, match="is not JSON"):
        run.manifest("sample")
