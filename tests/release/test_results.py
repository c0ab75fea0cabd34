"""Where leaderboards read: boards are looked up and never invented, and the Hub's library reads every entry."""

import math
import time
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
import yaml
from huggingface_hub import HfApi, parse_eval_result_entries
from huggingface_hub.repocard_data import eval_results_to_model_index, model_index_to_eval_results

from distill.catalogue import info
from distill.release.benchmarks import benchmark
from distill.release.results import Board, boards, eval_results_files, in_percent, model_index, task_ids
from distill.tasknames import TASK_DOMAINS
from tests.release import told
from tests.release.board_server import entries, serving

GSM8K = b"name: GSM8K\nevaluation_framework: inspect-ai\ntasks:\n- {id: gsm8k, config: main, split: test}\n"
GPQA = (
    b"tasks:\n- {id: gpqa_main, config: gpqa_main, split: train}\n- {id: diamond, config: gpqa_diamond, split: train}\n"
)
BOARD = Board("distill_gsm8k", "openai/gsm8k", "gsm8k", percent=True)
SOURCE = "https://huggingface.co/datasets/org/student-evals/tree/v1"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is remembered from test to test, and the library does not wait between its tries."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(time, "sleep", lambda seconds: None)


def looked_up(files: dict[str, bytes], found: dict[str, Any], **broken: int) -> tuple[list[Board], list[str]]:
    said: list[str] = []
    with serving(files, found, {key.replace("_", "."): code for key, code in broken.items()}) as address:
        return boards(HfApi(endpoint=address, token=False), said.append), said


def test_boards_are_those_that_the_hub_names_with_its_ids_and_its_scale(tmp_path: Path) -> None:
    files = {"openai/gsm8k": GSM8K, "Idavidrein/gpqa": GPQA, "TIGER-Lab/MMLU-Pro": GSM8K, "cais/hle": GSM8K}
    found, said = looked_up(
        files, {"openai/gsm8k": entries(95.1, 88, 0), "Idavidrein/gpqa": entries(0.41, 0.9), "cais/hle": entries(20.9)}
    )
    assert found == [BOARD, Board("distill_gpqa_diamond", "Idavidrein/gpqa", "diamond", percent=False)]
    assert not said, "the subjects of logic are not MMLU-Pro, and nothing is said of boards that are not ours"


@pytest.mark.parametrize(
    ("text", "board", "says"),
    [
        (GSM8K, None, "the Hub did not tell"),
        (GSM8K, [], "whether its values are percent or fractions"),
        (GSM8K, entries(95.1, 0.9), "whether its values are percent or fractions"),
        (GSM8K, entries("95.1", True, None), "whether its values are percent or fractions"),
        (GSM8K, {"error": "no"}, "the Hub did not tell"),
        (GSM8K, [{"rank": 1}], "the Hub did not tell"),
        (b"tasks:\n- {id: a, split: test}\n- {id: b, split: test}\n", entries(95), "names no task"),
        (b"tasks:\n- {id: a, config: main}\n- {id: b, config: main}\n", entries(95), "several: a, b"),
        (b"tasks:\n- {id: a, config: socratic}\n", entries(95), "names no task"),
        (b"tasks:\n- {id: [1], config: main}\n- 7\n- null\n", entries(95), "names no task"),
        (b"tasks: {a: b}\n", entries(95), "lists no tasks"),
        (b"- 1\n", entries(95), "lists no tasks"),
        (b"[" * 50_000, entries(95), "cannot be read"),
        (b"tasks: !!python/object/apply:os.system [true]\n", entries(95), "cannot be read"),
        (b"\xff\xfe\x00", entries(95), "the Hub did not tell"),
        (b"#" * 200_000, entries(95), "more than 100,000 bytes"),
    ],
)
def test_what_cannot_be_told_is_left_out_and_said(text: bytes, board: Any, says: str) -> None:
    found, said = looked_up({"openai/gsm8k": text}, {} if board is None else {"openai/gsm8k": board})
    assert not found and len(said) == 1 and says in said[0] and said[0].startswith("distill_gsm8k is not reported")


def test_a_gated_or_failing_or_absent_hub_gives_no_board_and_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    found, said = looked_up({"openai/gsm8k": GSM8K}, {}, eval_yaml=403)
    assert not found and len(said) == 1 and "the Hub did not tell" in said[0]
    found, said = looked_up({"openai/gsm8k": GSM8K}, {}, datasets=404)
    assert not found and len(said) == 1 and "could not be looked up" in said[0]
    said.clear()
    assert boards(HfApi(endpoint="http://127.0.0.1:9", token=False), said.append) == [] and len(said) == 1


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([20.9, 3.5], True),
        ([0.2, 1.0, 0], False),
        ([], None),
        ([0], None),
        ([1200.0, 50.0], None),
        ([math.nan, -1], None),
        ([*range(10, 100), 0.5], True),
    ],
)
def test_the_scale_is_read_off_the_entries(values: list[Any], expected: bool | None) -> None:
    assert in_percent(values) is expected


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("tasks: [{id: gpqa_diamond}]", ["gpqa_diamond"]),
        ("tasks: [{id: diamond}, {id: extended}]", ["diamond"]),
        ("tasks: [{id: gpqa}]", []),
        ("tasks: [{id: x, config: gpqa_diamond, split: test}]", []),
    ],
)
def test_a_task_without_configuration_must_be_called_as_ours(text: str, ids: list[str]) -> None:
    assert task_ids(text, benchmark("distill_gpqa_diamond")) == ids


def test_entries_hold_value_scale_source_and_notes_and_are_read_by_the_hubs_library() -> None:
    files = eval_results_files(told.story(), [BOARD], SOURCE)
    assert list(files) == [".eval_results/gsm8k.yaml"]
    (entry,) = parse_eval_result_entries(yaml.safe_load(files[".eval_results/gsm8k.yaml"]))
    assert (entry.dataset_id, entry.task_id, entry.value) == ("openai/gsm8k", "gsm8k", 75.0)
    assert entry.date == "2026-11-20T10:00:00Z" and entry.source_url == SOURCE and entry.source_name
    for part in ("avg@4", "1,319 problems", "standard error 0.0120", "at most 32,768 tokens", "bf16 weights"):
        assert part in str(entry.notes)
    assert "waived" not in str(entry.notes) and "local copy" not in str(entry.notes)
    as_fraction = eval_results_files(told.story(), [Board("distill_gsm8k", "openai/gsm8k", "g", False)], "")
    (entry,) = parse_eval_result_entries(yaml.safe_load(as_fraction[".eval_results/gsm8k.yaml"]))
    assert entry.value == 0.75 and entry.source_url is None


def test_nothing_is_reported_without_a_board_for_a_part_or_for_a_closed_gate() -> None:
    passed = told.story()
    assert eval_results_files(passed, [], SOURCE) == {}
    assert eval_results_files(passed, [Board("distill_math500", "HuggingFaceH4/MATH-500", "m", True)], SOURCE) == {}
    subset = Board("distill_mmlu_pro_logic", "TIGER-Lab/MMLU-Pro", "mmlu_pro", True)
    assert eval_results_files(passed, [subset], SOURCE) == {}
    for reports in (
        [told.report(smoke=True)],
        [told.report(outcome="fail")],
        [told.report(planned=5000)],
    ):
        assert eval_results_files(told.story(reports=reports), [BOARD], SOURCE) == {}


def test_a_waiver_stands_in_the_notes_whatever_it_says() -> None:
    reports = [told.report(outcome="fail", waiver=f"{told.HOSTILE} (me)")]
    files = eval_results_files(told.story(reports=reports), [BOARD], SOURCE)
    (row,) = yaml.safe_load(files[".eval_results/gsm8k.yaml"])
    assert set(row) == {"dataset", "value", "date", "source", "notes"}
    assert "waived check floor (fail): R1`|" in row["notes"] and "\n" not in row["notes"]


def test_a_local_copy_of_the_problems_is_said() -> None:
    gate = {
        "tasks": [{"task": "distill_gsm8k", "min": 0.5, "path": "test.jsonl"}, {"task": "distill_bbh_logic", "min": 0}]
    }
    files = eval_results_files(told.story(told.recipe(gate=gate)), [BOARD], SOURCE)
    assert "from a local copy of the problems" in files[".eval_results/gsm8k.yaml"]


def test_the_model_index_has_every_task_and_round_trips() -> None:
    results = model_index(told.story(), "nf4", SOURCE)
    assert {result.task_name for result in results} == {
        "distill_gsm8k",
        "distill_mmlu_pro_logic",
        "distill_rg_zebra_puzzles",
    }
    name, back = model_index_to_eval_results(eval_results_to_model_index("student", results))
    assert name == "student" and len(back) == len(results) == 7, "k = 1 has no pass@k of its own"
    first = next(result for result in back if result.task_name == "distill_gsm8k")
    assert (first.dataset_type, first.dataset_config, first.metric_value) == ("openai/gsm8k", "main", 0.75)
    assert first.metric_args["k"] == 4 and first.metric_args["problems"] == 1319 and first.source_url == SOURCE
    assert model_index(told.story(), None, None)[0].source_url is None


@pytest.mark.parametrize("task", TASK_DOMAINS)
def test_benchmarks_are_those_that_the_gate_reads(task: str) -> None:
    ours, theirs = benchmark(task), info(task)
    assert theirs.hub is not None
    assert (ours.dataset, ours.size) == (theirs.hub.path, theirs.size)
    if ours.whole:
        assert (ours.config, ours.split) == (theirs.hub.subset, theirs.hub.split)
