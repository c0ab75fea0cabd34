"""Scores where leaderboards read them: a story in, the card's `model-index` and `.eval_results/*.yaml` out.

A board is only reported to when the Hub itself named it: `boards` looks up the official benchmarks, the task ids in
their `eval.yaml`, and on which scale their entries are (Hub documentation, "Evaluation Results"). What cannot be told
for sure is left out, and said.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import yaml
from huggingface_hub import EvalResult, EvalResultEntry, HfApi, eval_result_entries_to_yaml

from distill.gate_sections import GateTask
from distill.records import GateReport, Score
from distill.release.benchmarks import PROCEDURAL, Benchmark, benchmark
from distill.release.markdown import line
from distill.release.story import Story
from distill.tasknames import TASK_DOMAINS

MAX_EVAL_YAML_BYTES = 100_000
"""Real ones have some thousand; a longer one is not read."""
AGREEING = 0.9
"""So much of a board's entries must be on one scale."""
SOURCE = "lm-eval results and samples"

Say = Callable[[str], None]


@dataclass(frozen=True)
class Board:
    """A leaderboard of the Hub for one of the gate's tasks: the data set that holds it, the task's id there, and
    whether its values are percent or fractions."""

    task: str
    dataset: str
    task_id: str
    percent: bool


def _silent(sentence: str) -> None:
    """Nobody is told."""


def boards(api: HfApi, say: Say = _silent) -> list[Board]:
    """The boards that the Hub has for the gate's tasks; none, with a sentence for people, where it cannot be asked.

    Never raises for what the Hub answers: a board is an addition to a release.
    """
    wanted = {task: bench for task in TASK_DOMAINS if (bench := benchmark(task)).whole}
    try:
        official = {str(found.id) for found in api.list_datasets(benchmark="official")}
    except (httpx2.HTTPError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        say(f"the Hub's benchmarks could not be looked up ({_short(error)}), so no result is reported to a board")
        return []
    found = []
    for task, bench in wanted.items():
        if bench.dataset not in official:
            continue
        board = _board(api, task, bench)
        if isinstance(board, Board):
            found.append(board)
        else:
            say(f"{task} is not reported to the board of {bench.dataset}: {board}")
    return found


def eval_results_files(
    story: Story, boards: Sequence[Board], source_url: str, variant: str | None = None
) -> dict[str, str]:
    """`.eval_results/<benchmark>.yaml` for each board that the variant (the main one) has a whole score for.

    Nothing for a report that did not pass, a task that was asked in part, or on other problems than the board's. What
    was waived stands in the notes.
    """
    report = story.report(variant)
    tasks = {task.task: task for task in story.recipe.gate.tasks}
    files = {}
    for board in boards:
        score = next((score for score in report.scores if score.task == board.task), None)
        if score is None or not report.passed or not _reportable(score, benchmark(board.task)):
            continue
        entry = EvalResultEntry(
            dataset_id=board.dataset,
            task_id=board.task_id,
            value=round(100 * score.value, 2) if board.percent else round(score.value, 4),
            date=story.manifests.get("gate", {}).get("sealed"),
            source_url=source_url or None,
            source_name=SOURCE if source_url else None,
            notes=_notes(story, report, score, tasks.get(board.task)),
        )
        rows = eval_result_entries_to_yaml([entry])
        files[f".eval_results/{board.task.removeprefix('distill_')}.yaml"] = yaml.safe_dump(
            rows, sort_keys=False, allow_unicode=True, width=1000
        )
    return files


def model_index(story: Story, variant: str | None, source_url: str | None) -> list[EvalResult]:
    """Every score of a variant (None: the main one), a card's `model-index`: avg@k, and pass@k and cons@k where they
    were worked out, with their settings."""
    report = story.report(variant)
    tasks = {task.task: task for task in story.recipe.gate.tasks}
    return [
        result
        for score in report.scores
        for result in _results(story, score, tasks.get(score.task), source_url or None)
    ]


def _results(story: Story, score: Score, task: GateTask | None, source_url: str | None) -> Iterable[EvalResult]:
    bench, sampling = benchmark(score.task), story.recipe.gate.sampling
    settings = {
        "k": score.k_samples,
        "problems": score.n_problems,
        "standard_error": round(score.stderr, 6),
        "unfinished": round(score.unfinished, 6),
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
    }
    args = None
    if bench.dataset == PROCEDURAL and task is not None:
        args = {"size": task.size, "seed": task.seed, **{line(key): value for key, value in task.config.items()}}
    metrics = (
        ("accuracy", f"avg@{score.k_samples}", score.value),
        (f"pass@{score.k_samples}", f"pass@{score.k_samples}", score.pass_at_k),
        (f"cons@{score.k_samples}", f"cons@{score.k_samples}", score.cons_at_k),
    )
    for kind, name, value in metrics:
        if value is not None and math.isfinite(value) and (kind == "accuracy" or score.k_samples > 1):
            yield EvalResult(
                task_type="text-generation",
                task_name=score.task,
                dataset_type=bench.dataset,
                dataset_name=bench.name,
                dataset_config=bench.config,
                dataset_split=bench.split,
                dataset_args=args,
                metric_type=kind,
                metric_name=name,
                metric_value=round(value, 6),
                metric_args=settings if kind == "accuracy" else None,
                source_name=SOURCE if source_url else None,
                source_url=source_url,
            )


def _reportable(score: Score, bench: Benchmark) -> bool:
    """Whether a score is one on the whole benchmark: every problem, and no other."""
    asked_all = not score.smoke and score.n_problems == bench.size and score.planned in (0, bench.size)
    return bench.whole and asked_all and math.isfinite(score.value)


def _notes(story: Story, report: GateReport, score: Score, task: GateTask | None) -> str:
    sampling = story.recipe.gate.sampling
    said = [
        f"avg@{score.k_samples} (pass@1 as the mean over {score.k_samples} samples) on {score.n_problems:,} problems",
        f"standard error {score.stderr:.4f} (a fraction, clustered by problem)",
        f"zero-shot, temperature {sampling.temperature:g}, top-p {sampling.top_p:g}, "
        f"at most {sampling.max_tokens:,} tokens",
        f"unfinished {score.unfinished:.2%}, counted as wrong",
        f"lm-eval, task {score.task}",
        f"{report.variant} weights",
    ]
    if task is not None and task.path is not None:
        said.append("from a local copy of the problems")
    said += [
        f"waived check {check.term} ({check.outcome}): {line(check.waiver)}"
        for check in report.checks
        if check.waiver and check.task == score.task
    ]
    return "; ".join(said)


def _board(api: HfApi, task: str, bench: Benchmark) -> Board | str:
    """The board, or why it cannot be told."""
    try:
        path = Path(api.hf_hub_download(bench.dataset, "eval.yaml", repo_type="dataset"))
        if path.stat().st_size > MAX_EVAL_YAML_BYTES:
            return f"its eval.yaml has more than {MAX_EVAL_YAML_BYTES:,} bytes"
        ids = task_ids(path.read_text(encoding="utf-8"), bench)
        if len(ids) != 1:
            return "its eval.yaml names no task that is this one" if not ids else f"it has several: {', '.join(ids)}"
        entries = api.get_dataset_leaderboard(bench.dataset, base_model_only=False)
        percent = in_percent([entry.value for entry in entries])
    except (httpx2.HTTPError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"the Hub did not tell ({_short(error)})"
    if percent is None:
        return "its entries do not tell whether its values are percent or fractions"
    return Board(task, bench.dataset, ids[0], percent)


def task_ids(text: str, bench: Benchmark) -> list[str]:
    """The ids of the tasks in an `eval.yaml` that are this benchmark: its configuration and split, or, where those
    are left out, the only task there, or one that is called as the configuration is. Raises ValueError for what is no
    such file."""
    try:
        data = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"eval.yaml cannot be read: {_short(error)}") from error
    tasks = data.get("tasks") if isinstance(data, dict) else None
    if not isinstance(tasks, list):
        raise ValueError("eval.yaml lists no tasks")
    rows = [row for row in tasks if isinstance(row, dict) and isinstance(row.get("id"), str)]
    return [line(row["id"]) for row in rows if _is_ours(row, bench, len(rows) == 1)]


def _is_ours(row: dict[str, Any], bench: Benchmark, alone: bool) -> bool:
    config, split = row.get("config"), row.get("split")
    if split not in (None, bench.split):
        return False
    if config is None or (config == "default" and bench.config is None):
        named = bench.config is not None and row["id"] in (bench.config, bench.config.rpartition("_")[2])
        return named or (alone and bench.config in (None, "main"))
    return bool(config == bench.config)


def in_percent(values: Sequence[object]) -> bool | None:
    """Whether a board's values are percent: nine in ten must be above 1, or at most 1; 0 tells nothing, and None says
    that they do not tell."""
    numbers = [float(value) for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    told = [number for number in numbers if number > 0]
    needed = AGREEING * len(told)
    if told and sum(1 < number <= 100 for number in told) >= needed:
        return True
    return False if told and sum(number <= 1 for number in told) >= needed else None


def _short(error: BaseException) -> str:
    return line(error)[:160] or type(error).__name__
