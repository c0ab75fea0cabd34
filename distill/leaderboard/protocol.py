"""How scores of one task were drawn: takes the rows, gives for each task the usual protocol, and says of every score
that was drawn in another way how it differs."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from distill.leaderboard.rows import Cell, Row


@dataclass(frozen=True)
class Protocol:
    """k samples for each of the problems, and the sampling (temperature, top_p, token limit), None if unknown."""

    k: int
    problems: frozenset[str]
    sampling: tuple[float, float, int] | None

    @property
    def size(self) -> str:
        """Problems times samples."""
        return f"{len(self.problems):,} × {self.k}"


@dataclass(frozen=True)
class Notes:
    """The usual protocol of each task; the notes; and of each score the numbers of those that hold for it, from 1."""

    usual: Mapping[str, Protocol]
    texts: Sequence[str]
    numbers: Mapping[tuple[str, str], Sequence[int]]


def noted(rows: Sequence[Row], tasks: Sequence[str]) -> Notes:
    """What is to be said of the scores of these tasks."""
    usual = {task: usual_protocol(rows, task) for task in tasks}
    texts: list[str] = []
    numbers: dict[tuple[str, str], list[int]] = {}
    for row in rows:
        for task, cell in row.cells.items():
            for text in differs(cell, usual[task]):
                if text not in texts:
                    texts.append(text)
                numbers.setdefault((row.name, task), []).append(texts.index(text) + 1)
    return Notes(usual, texts, numbers)


def differs(cell: Cell, usual: Protocol) -> list[str]:
    """What is unusual about a score, a sentence for each thing."""
    score, own = cell.score, protocol_of(cell)
    found = []
    if own.k != usual.k:
        found.append(f"k is {own.k}, where others have {usual.k}")
    if own.problems != usual.problems:
        both, of = len(own.problems & usual.problems), len(usual.problems)
        some = f"{both:,} of the others' {of:,} problems"
        found.append(some if both == len(own.problems) else f"{len(own.problems):,} problems, among them {some}")
    if own.sampling != usual.sampling:
        found.append(f"{_drawn(own)}, where others have {_drawn(usual)}: compared with none of these")
    if score.n_problems < score.planned:
        found.append(
            f"ended after {score.n_problems:,} of {score.planned:,} problems, as soon as the gate was decided: its "
            "interval is a little too narrow"
        )
    if score.smoke:
        found.append("a smoke run, on the first problems alone")
    return found


def usual_protocol(rows: Sequence[Row], task: str) -> Protocol:
    """The one that most rows have; of two the one with more problems, then with more samples."""
    counted = Counter(protocol_of(row.cells[task]) for row in rows if task in row.cells)
    return max(counted, key=lambda one: (counted[one], len(one.problems), one.k))


def protocol_of(cell: Cell) -> Protocol:
    """How a score was drawn."""
    return Protocol(cell.score.k_samples, frozenset(cell.score.by_problem), cell.sampling)


def _drawn(protocol: Protocol) -> str:
    if protocol.sampling is None:
        return "sampling that nobody knows"
    temperature, top_p, max_tokens = protocol.sampling
    return f"at most {max_tokens:,} tokens at temperature {temperature:g} and top_p {top_p:g}"
