"""Students learn: traces in, a checkpoint out. `train` is the door; `merge.merge` makes whole weights of an adapter."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from distill.records import Checkpoint, Verifier
from distill.student_sections import Student


@dataclass(frozen=True)
class Job:
    """What is to be trained. `kept` holds the parts of the kept traces, `folder` is the stage's own, `cache` outlives a
    changed recipe; `signals` is the teacher's sealed cache for kd, `verifier` judges held-out answers for accuracy."""

    section: Student
    kept: Path
    folder: Path
    cache: Path
    say: Callable[[str], None]
    signals: Path | None = None
    verifier: Verifier | None = None


def train(job: Job) -> Checkpoint:
    """Trains the section's base on kept traces, from the last complete checkpoint in the folder if there is one. What
    is trained to its end already is left as it is.

    Leaves in `folder`: checkpoints/ (to resume from), metrics.jsonl (a line per step), loss.svg, train.json (facts for
    the manifest) and model/ (adapter or whole weights, with the tokenizer). Raises InputError for a base or tokenizer
    that cannot be used, DistillError where there is nothing to train on, the loss is no number, or memory or disk is
    short.
    """
    from students import arguments, distributed
    from students.fit import fit

    arguments.check(job.section)
    with distributed.together(job.section, str(job.folder)):
        return fit(job)
