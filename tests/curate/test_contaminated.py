"""The gate's own look at what was trained on, for questions of its tasks."""

from pathlib import Path

import pytest

from distill import shards
from distill.curate.contaminated import contaminated
from distill.curate_sections import Decontaminate
from distill.errors import ShardError
from distill.records import Completion, Kept, Problem, Sampling

FIRST = "A farmer has 17 sheep, sells 5 of them at the market and then buys 9 more from a neighbour; how many are left?"
SECOND = "Which of the seven books on the shelf stands to the right of the green one and left of the red one today?"
OWN = "What is the sum of the first forty odd numbers, divided by the number of letters in the word mathematics?"


def kept(folder: Path, *prompts: str) -> Path:
    completion = Completion("r", "\\boxed{1}", "stop", 1, 2, "m")
    traces = [
        Kept(f"{at}#0", Problem.of(prompt, "1", "math", "t"), completion, "m", 0, Sampling(), None, "", 0.1, 2, ())
        for at, prompt in enumerate(prompts)
    ]
    shards.write_parts(folder, traces, Kept)
    return folder


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    (folder := tmp_path / "3-kept").mkdir()
    return folder


def test_kept_traces_are_counted_for_each_task_that_asks_them(parts: Path) -> None:
    tasks = {"a": [FIRST], "b": [SECOND], "c": ["What is 1 + 1?"]}
    found = contaminated(kept(parts, FIRST, OWN, FIRST.upper(), SECOND), tasks, Decontaminate())
    assert found == {"a": 2, "b": 1, "c": 0}


def test_a_prompt_of_two_tasks_counts_for_both(parts: Path) -> None:
    """A waiver for one of them may not hide it from the other."""
    tasks = {"a": [FIRST, SECOND], "b": [FIRST]}
    assert contaminated(kept(parts, FIRST), tasks, Decontaminate()) == {"a": 1, "b": 1}


def test_what_is_clean_counts_nothing_and_what_is_broken_is_an_error(parts: Path) -> None:
    assert contaminated(kept(parts, OWN), {"a": [FIRST]}, Decontaminate()) == {"a": 0}
    [part] = parts.glob("*.parquet")
    part.write_bytes(b"no parquet")
    with pytest.raises(ShardError):
        contaminated(parts, {"a": [FIRST]}, Decontaminate())
