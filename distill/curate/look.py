"""What one process finds out about traces: a row group of a part in, small results without texts out.

A look takes everything that needs the text of one trace and nothing else: its form, its language, its tokens, what it
shares with the gate's prompts, and the features by which duplicates are found. What is judged elsewhere (the answer)
is handed on.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.parquet as pq

from distill import think
from distill.curate import quality, signatures
from distill.curate.decontaminate import Index, Match
from distill.curate.student import TokenCounter
from distill.curate_sections import Curate
from distill.records import Problem, Trace, Verdict
from distill.shards import from_row, opened

AT_ONCE = 128
"""Traces whose texts are in memory at once."""


@dataclass(frozen=True)
class Setup:
    """What every look needs. `prompts` are the gate's, by task."""

    section: Curate
    prompts: Mapping[str, Sequence[str]]
    tokenizer: Path


@dataclass(frozen=True)
class Place:
    """A row group of a part."""

    path: Path
    group: int


@dataclass(frozen=True)
class Look:
    """What was seen of one trace. `verdict` is None where nothing is wrong so far; then `features` and what is to be
    judged, `answer`, are there."""

    id: str
    problem_id: str
    source: str
    verdict: Verdict | None
    match: Match | None = None
    problem: Problem | None = None
    answer: str = ""
    features: signatures.Features | None = None


@dataclass
class Looker:
    """Looks at row groups, one after the other. Everything that it holds is made once a process."""

    setup: Setup
    _index: Index = field(init=False)
    _counter: TokenCounter = field(init=False)

    def __post_init__(self) -> None:
        self._index = Index(self.setup.prompts, self.setup.section.decontaminate)
        self._counter = TokenCounter(self.setup.tokenizer)

    def __call__(self, place: Place) -> list[Look]:
        """A look at every trace of the row group, in order; raises OSError where it cannot be read."""
        return [look for traces in _batches(place) for look in self._look(traces)]

    def _look(self, traces: list[Trace]) -> list[Look]:
        section = self.setup.section
        verdicts = [quality.form(trace, section.quality, self._counter.controls) for trace in traces]
        alive = [at for at, verdict in enumerate(verdicts) if verdict is None]
        tokens = dict(zip(alive, self._counter.count([traces[at].completion for at in alive]), strict=True))
        for at in alive:
            verdicts[at] = _by_length(tokens[at], section)
        matches = self._matches(traces, [at for at in alive if verdicts[at] is None])
        for at, match in matches.items():
            verdicts[at] = Verdict(False, "contaminated", f"{match.task}, {match.stage}: {match.ours}")
        clean = [at for at, verdict in enumerate(verdicts) if verdict is None]
        features = dict(zip(clean, signatures.features([traces[at] for at in clean]), strict=True))
        return [
            Look(trace.id, trace.problem.id, trace.problem.source, verdict, matches.get(at))
            if verdict is not None
            else Look(
                *(trace.id, trace.problem.id, trace.problem.source, None),
                problem=trace.problem,
                answer=trace.completion.answer,
                features=signatures.with_tokens(features[at], tokens[at]),
            )
            for at, (trace, verdict) in enumerate(zip(traces, verdicts, strict=True))
        ]

    def _matches(self, traces: list[Trace], alive: list[int]) -> dict[int, Match]:
        """What the traces share with the gate's prompts: first by their own prompts, then by what was said."""
        prompts = self._index.find_prompts([traces[at].problem.prompt for at in alive])
        found = {at: match for at, match in zip(alive, prompts, strict=True) if match is not None}
        if self.setup.section.decontaminate.reasoning:
            rest = [at for at in alive if at not in found]
            said = [traces[at].completion for at in rest]
            texts = self._index.find_texts([think.join(one.reasoning, one.answer) for one in said])
            found |= {at: match for at, match in zip(rest, texts, strict=True) if match is not None}
        return found


def places(folder: Path) -> list[Place]:
    """Every row group of a stage's parts, in order; raises ShardError for a broken part or another version's."""
    parts = sorted(folder.glob("part-*.parquet"))
    return [Place(path, group) for path in parts for group in range(opened(path).num_row_groups)]


def _by_length(tokens: int, section: Curate) -> Verdict | None:
    short = quality.too_short(tokens, section.min_tokens)
    if short is not None:
        return Verdict(False, "too_short", short)
    long = quality.too_long(tokens, section.max_tokens)
    return None if long is None else Verdict(False, "too_long", long)


def _batches(place: Place) -> Iterator[list[Trace]]:
    with pq.ParquetFile(place.path) as file:
        for batch in file.iter_batches(batch_size=AT_ONCE, row_groups=[place.group]):
            yield [from_row(Trace, row) for row in batch.to_pylist()]
