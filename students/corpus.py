"""Which documents are trained on, and which are held out: takes all documents and the section, gives their places."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from distill.errors import DistillError
from distill.student_sections import Student
from students.documents import Documents


@dataclass(frozen=True)
class Split:
    """Places of documents; `too_long` counts those that are left out, `too_long_tokens` what they have."""

    train: list[int]
    held_out: list[int]
    too_long: int
    too_long_tokens: int

    def told(self, section: Student) -> list[str]:
        """What a person should know of it."""
        lines = []
        if self.too_long:
            of = self.too_long + len(self.train) + len(self.held_out)
            lines.append(
                f"{self.too_long:,} of {of:,} traces are longer than {section.max_tokens:,} tokens and left out"
            )
        if self.held_out:
            lines.append(f"{len(self.held_out):,} traces are held out")
        return lines


def split(documents: Documents, section: Student) -> Split:
    """Traces of at most `max_tokens` tokens, whole; all of a problem's are held out or none, by the problem's id alone.

    Raises DistillError where nothing is left, or more than `max_too_long` of them are too long.
    """
    short = documents.tokens <= section.max_tokens
    too_long = int((~short).sum())
    lost = too_long / max(len(documents), 1)
    if too_long and (lost > section.max_too_long or too_long == len(documents)):
        which = f"all {too_long:,}" if too_long == len(documents) else f"{too_long:,} of {len(documents):,}"
        raise DistillError(
            f"{which} traces ({lost:.0%}) are longer than student.max_tokens: {section.max_tokens}, and none is ever "
            f"cut; write student.max_tokens: {int(np.quantile(documents.tokens, 0.99))} for 99 % of them, or a "
            "larger student.max_too_long"
        )
    held = _held_out(documents.problems, section.holdout)
    train, aside = np.flatnonzero(short & ~held), np.flatnonzero(short & held)
    if section.holdout and not len(aside):
        raise DistillError(
            f"student.holdout: {section.holdout} leaves no problem aside of {len(np.unique(documents.problems)):,}; "
            "write a larger share"
        )
    if not len(train):
        raise DistillError("there is nothing to train on; write a smaller student.holdout, or keep more traces")
    return Split(train.tolist(), aside.tolist(), too_long, int(documents.tokens[~short].sum()))


def _held_out(problems_N: Any, share: float) -> Any:
    """Which of the documents' problems are held out: a problem's number is a hash of its content."""
    return problems_N < np.uint64(min(int(share * 2.0**64), 2**64 - 1))
