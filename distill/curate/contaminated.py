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
    prompts. Raises ShardError for parts that cannot be read."""
    counts = dict.fromkeys(prompts_by_task, 0)
    index, prompts = Index(prompts_by_task, section), _prompts(kept)
    while batch := list(islice(prompts, BATCH)):
        for match in index.find_prompts(batch):
            if match is not None:
                counts[match.task] += 1
    return counts


def _prompts(kept: Path) -> Iterator[str]:
    return (trace.problem.prompt for trace in shards.read_parts(kept, Kept))
