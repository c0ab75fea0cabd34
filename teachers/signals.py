"""The teacher's signals on kept traces: takes a job, gives a sealed cache of its distributions at every token.

A teacher on this machine reads the traces in forward passes, one behind an endpoint tells its prompt logprobs, and what
was captured while sampling needs no teacher at all. What is scored is on disk at once: after a kill only the rest is.
"""

import time
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from distill import shards
from distill.errors import DistillError
from distill.recipe import api_key
from distill.records import Failure, Trace
from distill.signals import Signals, SignalSettings, SignalWriter
from distill.teacher_sections import EndpointTeacher, LocalTeacher
from teachers.readings import Reader, Reading, Rows, placed
from teachers.vocabulary import Vocabulary, common, load_tokenizer

Scored = Generator[tuple[Reading, Rows | Failure | None], None, None]
EVERY_S = 10.0
FEW_KNOWN = 0.9
"""Where less than this share of the tokens has a signal, people are told."""


class Learner(Protocol):
    """Whose tokens the signals are for: the recipe's student."""

    @property
    def base(self) -> str: ...
    @property
    def revision(self) -> str | None: ...
    @property
    def trust_remote_code(self) -> bool: ...
    @property
    def max_tokens(self) -> int: ...


@dataclass(frozen=True)
class Job:
    """What is to be scored. `section` is the teacher; `kept` holds the curated parts, `folder` the signals. `captured`
    is what sampling kept, where that is to be used instead of asking. `tokenizer` names the folder or Hub id with the
    teacher's tokenizer, where its model is neither."""

    section: LocalTeacher | EndpointTeacher
    student: Learner
    kept: Path
    folder: Path
    settings: SignalSettings
    captured: Path | None = None
    tokenizer: str | None = None
    say: Callable[[str], None] = lambda text: None


class Scorer(Protocol):
    """Readings in, the teacher's distributions out, in any order; None where there are none, a Failure where they may
    be had another time."""

    def score(self, readings: Iterable[Reading]) -> Scored: ...


def score(job: Job) -> dict[str, Any]:
    """Scores every kept trace that is not scored yet and seals the folder; gives what its manifest states. Traces that
    are longer than the student's `max_tokens` are left out; one that the server refuses has no known token.

    Raises InputError for tokenizers that have no common vocabulary and for a teacher that cannot be loaded,
    EngineError for a server that cannot do it, and DistillError where traces are left over: they are asked for again by
    the next call.
    """
    if (job.folder / "manifest.json").exists():
        return Signals(job.folder).facts
    teacher, student, vocabulary = agree(job.section, job.student, job.tokenizer)
    reader = Reader(teacher, student, vocabulary, job.student.max_tokens)
    scorer = _scorer(job, vocabulary)
    cache = _Cache(job, vocabulary.size)
    todo = (trace for trace in shards.read_parts(job.kept, Trace) if trace.id not in cache.writer.done)
    with closing(scorer.score(reader.read(todo))) as scored:
        cache.take(scored)
    return cache.seal(reader.too_long)


def agree(
    section: LocalTeacher | EndpointTeacher, student: Learner, tokenizer: str | None = None
) -> tuple[Any, Any, Vocabulary]:
    """The teacher's tokenizer, the student's, and what they share; no weight is loaded.

    Raises InputError where one cannot be loaded, or where they have no common vocabulary.
    """
    ours = load_tokenizer("student.base", student.base, student.revision, student.trust_remote_code)
    theirs = _teacher_tokenizer(section, tokenizer)
    return theirs, ours, common(theirs, ours)


def _teacher_tokenizer(section: LocalTeacher | EndpointTeacher, tokenizer: str | None) -> Any:
    if tokenizer is not None:
        return load_tokenizer("student.objective.teacher_tokenizer", tokenizer)
    if isinstance(section, LocalTeacher):
        return load_tokenizer("teacher.model", section.model, section.revision, section.trust_remote_code)
    return load_tokenizer("write student.objective.teacher_tokenizer: FOLDER OR HUB ID", section.model)


def _scorer(job: Job, vocabulary: Vocabulary) -> Scorer:
    section = job.section
    if job.captured is not None:
        from teachers.captured import CapturedScorer

        return CapturedScorer(job.captured, vocabulary)
    if isinstance(section, EndpointTeacher):
        from teachers.prompt_logprobs import PromptLogprobs

        return PromptLogprobs(section, api_key(section.api_key_env), vocabulary, job.settings.k, say=job.say)
    from distill.engines.local import load_teacher
    from teachers.forward import Forward

    model = load_teacher(section).model
    return Forward(model, section.model, vocabulary, job.settings.k, section.batch_size)


class _Cache:
    """Scored traces on their way to the disk, and what people are told of them."""

    def __init__(self, job: Job, vocabulary: int) -> None:
        section = job.section
        self._facts: dict[str, Any] = {
            "teacher": section.model,
            "kind": "captured" if job.captured else section.kind,
            "too_long": 0,
        }
        self.writer = SignalWriter(job.folder, vocabulary=vocabulary, settings=job.settings, facts=self._facts)
        self.say = job.say
        self.tokens = self.traces = self.refused = 0
        self.failures: list[Failure] = []
        self._began = self._said = time.monotonic()
        if self.writer.done:
            self.say(f"  {len(self.writer.done):,} traces are scored already")

    def take(self, scored: Scored) -> None:
        """Puts each on disk as it comes."""
        for reading, rows in scored:
            if isinstance(rows, Failure):
                if rows.error != "Refusal":
                    self.failures.append(rows)
                    continue
                self.refused += 1
                rows = None
            signal = placed(reading, rows)
            self.writer.add(
                reading.id, signal.targets_N, signal.ids_NK, signal.logprobs_NK, signal.tail_N, signal.known_N
            )
            self.traces, self.tokens = self.traces + 1, self.tokens + len(signal.targets_N)
            if time.monotonic() - self._said >= EVERY_S:
                self._said = time.monotonic()
                self.say(f"  {self._line()}")

    def seal(self, too_long: int) -> dict[str, Any]:
        """The facts; raises DistillError where traces are left over, or there is none."""
        if self.traces:
            self.say(f"  {self._line()}")
        if self.failures:
            first = self.failures[0]
            raise DistillError(
                f"{len(self.failures):,} traces could not be scored; what is scored is kept, and the next run asks for "
                f"the rest. The first one: {first.error}: {first.message}"
            )
        if not self.writer.done and not self.traces:
            raise DistillError(
                f"no trace was scored: {too_long:,} are longer than student.max_tokens"
                if too_long
                else "no trace was scored: curation kept none"
            )
        if self.refused:
            self.say(f"  the server refused {self.refused:,} traces (longer than its context?): they have no signal")
        self._facts["too_long"] = too_long  # known only now; the writer reads its facts when it seals
        facts = self.writer.close()
        if facts["known_tokens"] < FEW_KNOWN * facts["tokens"]:
            share = facts["known_tokens"] / facts["tokens"]
            self.say(f"  only {share:.0%} of the tokens have a signal; the others are trained as in sft")
        return facts

    def _line(self) -> str:
        seconds = max(1e-9, time.monotonic() - self._began)
        return f"{self.traces:,} traces scored, {self.tokens:,} tokens, {self.tokens / seconds:,.0f} tokens/s"
