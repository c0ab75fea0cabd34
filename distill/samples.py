"""The answers that a gate was decided by: a model's scores folder and a task in, one `Sample` per answer out.

Reads the samples file that the harness leaves beside each score, which is lm-eval's own form with the completion whole.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill import shards
from distill.errors import ShardError
from distill.records import Completion


@dataclass(frozen=True)
class Sample:
    """One answer of a model to a problem of a task. `prompt` is the user's turn as it was asked, `target` the right
    answer, and `mark` is right, wrong, unfinished, or unverified where the verifier could not tell."""

    task: str
    problem_id: str
    prompt: str
    target: str
    seed: int
    completion: Completion
    mark: str


def samples_file(folder: Path, task: str) -> Path | None:
    """The newest samples file of a task under a model's scores folder; None where there is none."""
    prefix, ending = f"samples_{task}_", ".jsonl"
    inside = folder / task
    found = [path for path in inside.iterdir() if path.name.startswith(prefix)] if inside.is_dir() else []
    return max((path for path in found if path.name.endswith(ending)), key=lambda path: path.name, default=None)


def read_samples(folder: Path, task: str) -> Iterator[Sample]:
    """Every sample of a task, streamed: problem by problem, and by seed; none where the task was not measured.

    `folder` is that of one model's scores, such as 5-gate/scores/bf16. Raises ShardError for a file that is no such
    file.
    """
    path = samples_file(folder, task)
    if path is None:
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                samples = list(_samples(task, json.loads(line)))
            except (ValueError, TypeError, KeyError, IndexError, RecursionError, ShardError) as error:
                raise ShardError(
                    f"{path}, line {number}: this is no line of samples ({type(error).__name__}: {error}); delete the "
                    "gate's reports.json and run the recipe again"
                ) from error
            yield from samples


def is_whole(completion: object) -> bool:
    """Whether what was read as a completion has its fields' types: JSON may hold anything."""
    return (
        isinstance(completion, Completion)
        and all(isinstance(text, str) for text in (completion.reasoning, completion.answer, completion.model))
        and all(isinstance(count, int | None) for count in (completion.prompt_tokens, completion.completion_tokens))
        and completion.finish in ("stop", "length")
        and isinstance(completion.provider, str)
    )


def _samples(task: str, row: dict[str, Any]) -> Iterator[Sample]:
    [texts] = row["resps"]
    document = row["doc"]
    for text, seed, mark in zip(texts, row["seeds"], row["marks"], strict=True):
        completion = shards.from_row(Completion, json.loads(text))
        if not (is_whole(completion) and isinstance(seed, int) and isinstance(mark, str)):
            raise ValueError("a field is of another kind")
        yield Sample(task, str(document["id"]), str(document["ask"]), str(document["answer"]), seed, completion, mark)
