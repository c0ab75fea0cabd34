"""What of the kept traces stands in the gate's tasks after all: their parts and the gate's prompts in, counts out.

Curation drops such traces, so the counts are 0 unless what is on disk is not what curation wrote, or the gate asks
something that it was not told of. This is the gate's own look, at the traces that the student did learn from.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

from distill import shards
from distill.curate.decontaminate import Index
from distill.curate_sections import Decontaminate
from distill.records import Kept

BATCH = 2000
"""Prompts that are looked up together."""


def contaminated(kept: Path, prompts_by_task: Mapping[str, Sequence[str]], section: Decontaminate) -> dict[str, int]:
    """For each task, how many kept traces have a prompt that repeats one of its: by the rules that curation has for
    prompts. A prompt that stands in two tasks counts for both. Raises ShardError for parts that cannot be read."""
    index, prompts = Index(prompts_by_task, section), _prompts(kept)
    found: list[tuple[str, str]] = []
    while batch := list(islice(prompts, BATCH)):
        matches = zip(batch, index.find_prompts(batch), strict=True)
        found += [(prompt, match.task) for prompt, match in matches if match is not None]
    tasks = prompts_by_task if found else ()  # the index names one task alone; these are few, and asked again of each
    return dict.fromkeys(prompts_by_task, 0) | {task: _of(task, prompts_by_task, found, section) for task in tasks}


def _of(task: str, tasks: Mapping[str, Sequence[str]], found: Sequence[tuple[str, str]], section: Decontaminate) -> int:
    """How many of the prompts, each found in a task, stand in this one."""
    matches = Index({task: tasks[task]}, section).find_prompts([prompt for prompt, _ in found])
    return sum(match is not None or named == task for match, (_, named) in zip(matches, found, strict=True))


def _prompts(kept: Path) -> Iterator[str]:
    return (trace.problem.prompt for trace in shards.read_parts(kept, Kept))
