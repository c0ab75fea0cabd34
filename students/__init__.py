"""Students learn: traces in, a checkpoint out. `train` is the door; `merge.merge` makes whole weights of an adapter."""

from collections.abc import Callable, Sequence
from pathlib import Path

from distill.records import Checkpoint, Trace
from distill.sections import Student


def train(section: Student, traces: Sequence[Trace], folder: Path, report: Callable[[str], None]) -> Checkpoint:
    """Trains the section's base on kept traces, from the last complete checkpoint in `folder` if there is one.

    Leaves in `folder`: checkpoints/ (to resume from), metrics.jsonl (a line per step), train.json (facts for the
    manifest) and model/ (adapter or whole weights, with the tokenizer). `report` is told of progress in short lines.
    Raises InputError for a base or tokenizer that cannot be used, DistillError where there is nothing to train on or
    the loss is no number.
    """
    from students.fit import fit

    return fit(section, traces, folder, report)
