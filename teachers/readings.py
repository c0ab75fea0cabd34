"""What a teacher reads of a kept trace, and what it says to it: takes traces, gives token ids; takes distributions over
what the teacher read, gives them at the places of the student's tokens.

The teacher reads its own prompt and its own rendering of the completion, as it would have written it; where its tokens
are the student's, its distributions are of use. With one tokenizer and one template that is everywhere.
Legend: N the student's completion tokens (its end of the sequence included), M the teacher's, K columns.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill import prompts
from distill.records import Trace
from distill.signals import Signal
from teachers.vocabulary import NONE, Ids, Vocabulary, align

LOST = 0.5
"""The share of its mass that a distribution may lose, on tokens that the student has not, and still be of use."""
ROUNDING = 1e-6
"""What is missing to 1 by so little is float32's rounding, and no tail."""


@dataclass(frozen=True)
class Reading:
    """A trace as token ids: the teacher's of prompt and completion, the student's of the completion (`targets_N`), and
    the places at which the two completions have the same token."""

    id: str
    prompt: tuple[int, ...]
    completion: tuple[int, ...]
    targets_N: Ids
    ours: Ids
    theirs: Ids

    @property
    def ids(self) -> tuple[int, ...]:
        """All that the teacher reads."""
        return self.prompt + self.completion


@dataclass(frozen=True)
class Rows:
    """A teacher's distributions at its own completion tokens, over the student's ids (-1 where padded): natural
    logarithms, `tail_M` that of the mass on all other tokens; `known_M` is False where most of the mass was on tokens
    that the student has not."""

    ids_MK: Ids
    logprobs_MK: NDArray[np.float32]
    tail_M: NDArray[np.float32]
    known_M: NDArray[np.bool_]


class Reader:
    """Makes readings. `too_long` counts traces that are longer than the student reads; they are left out."""

    def __init__(self, teacher: Any, student: Any, vocabulary: Vocabulary, max_tokens: int) -> None:
        self.teacher, self.student, self.max_tokens = teacher, student, max_tokens
        self.too_long = 0
        self._to_teacher = vocabulary.to_teacher()

    def read(self, traces: Iterable[Trace]) -> Iterator[Reading]:
        """A reading for each trace that is not too long for the student, prompt and completion together."""
        for trace in traces:
            ask, said = trace.problem.ask, trace.completion
            targets = prompts.completion_ids(self.student, ask, said.reasoning, said.answer)
            if len(prompts.prompt_ids(self.student, ask)) + len(targets) > self.max_tokens:
                self.too_long += 1
                continue
            prompt = prompts.prompt_ids(self.teacher, ask)
            completion = prompts.completion_ids(self.teacher, ask, said.reasoning, said.answer)
            targets_N = np.array(targets, dtype=np.int32)
            ours, theirs = align(self._to_teacher[targets_N], np.array(completion, dtype=np.int32))
            yield Reading(trace.id, tuple(prompt), tuple(completion), targets_N, ours, theirs)


def shared_rows(ids_MK: NDArray[Any], logprobs_MK: NDArray[Any], to_student: Ids) -> Rows:
    """A teacher's likeliest tokens, by its own ids (-1 where padded), as rows of the student's: without those that the
    student has not, whose mass is shared out among all others. What is missing to 1 is the tail."""
    p_MK = np.exp(logprobs_MK.astype(np.float64))
    there_MK = (ids_MK >= 0) & (ids_MK < len(to_student))
    names_MK = np.where(there_MK, to_student[np.where(there_MK, ids_MK, 0)], NONE)
    left_M = 1.0 - np.where(names_MK == NONE, p_MK, 0.0).sum(axis=1)
    known_M = (left_M >= 1 - LOST) & (names_MK != NONE).any(axis=1)
    left_M = np.where(known_M, left_M, 1.0)
    kept_MK = (names_MK != NONE) & known_M[:, None]
    tail_M = 1.0 - np.where(kept_MK, p_MK, 0.0).sum(axis=1) / left_M
    with np.errstate(divide="ignore"):
        log_tail_M = np.log(np.where(known_M & (tail_M > ROUNDING), tail_M, 0.0))
    logprobs_MK = np.where(kept_MK, np.minimum(logprobs_MK - np.log(left_M)[:, None], 0.0), -np.inf)
    ids_MK = np.where(kept_MK, names_MK, NONE).astype(np.int32)
    return Rows(ids_MK, logprobs_MK.astype(np.float32), log_tail_M.astype(np.float32), known_M)


def placed(reading: Reading, rows: Rows | None) -> Signal:
    """A teacher's distributions at the places of the student's tokens; nothing is known at the others, nor without
    `rows`. Rows may be fewer than the teacher's tokens, where its context ended."""
    count = len(reading.targets_N)
    columns = 1 if rows is None else rows.ids_MK.shape[1]
    ids_NK = np.full((count, columns), NONE, dtype=np.int32)
    logprobs_NK = np.full((count, columns), -np.inf, dtype=np.float32)
    tail_N = np.full(count, -np.inf, dtype=np.float32)
    known_N = np.zeros(count, dtype=np.bool_)
    if rows is not None:
        there = reading.theirs < len(rows.tail_M)
        ours, theirs = reading.ours[there], reading.theirs[there]
        ids_NK[ours], logprobs_NK[ours] = rows.ids_MK[theirs], rows.logprobs_MK[theirs]
        tail_N[ours], known_N[ours] = rows.tail_M[theirs], rows.known_M[theirs]
    return Signal(reading.targets_N, ids_NK, logprobs_NK, tail_N, known_N)
