"""The board itself: takes rows and comparisons, gives them as text for a terminal, as JSON, and as a page."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TextIO

from distill import pages
from distill.leaderboard.compare import Compared, Comparisons, tasks
from distill.leaderboard.protocol import Notes, noted
from distill.leaderboard.rows import Row, shared
from distill.pages import Column, Content, element
from distill.records import printable

WIDTH = 100
"""Columns of the text, where it is not written to a terminal."""
NAME = 32
"""The most columns of a model's name."""
LOOKS = {">": "good", "<": "bad"}


@dataclass(frozen=True)
class Board:
    """All rows, the best first. `reference` names the row that the others are held against, None for the best of each
    task; `intervals` holds those of the scores, by row and task."""

    rows: Sequence[Row]
    confidence: float
    reference: str | None
    comparisons: Comparisons
    intervals: Mapping[tuple[str, str], tuple[float, float]]

    @property
    def notes(self) -> Notes:
        """What is unusual about how some scores were drawn."""
        return noted(self.rows, tasks(self.rows))

    def text(self, stream: TextIO) -> None:
        """Writes tables of as many tasks as fit beside each other, and what their marks mean."""
        from rich.console import Console

        console = Console(file=stream, width=None if stream.isatty() else WIDTH, highlight=False)
        notes = self.notes
        for some in _fitting(self, notes, console.width):
            console.print(_rich(self, notes, some))
        for line in self.legend(notes):
            console.print(printable(line), markup=False, soft_wrap=not stream.isatty())

    def json(self) -> dict[str, Any]:
        """Everything as plain data; scores and differences are shares from 0 to 1."""
        notes, compared = self.notes, self.comparisons
        return {
            "confidence": self.confidence,
            "reference": self.reference or "the best of each task",
            "correction": {
                "method": "Holm",
                "comparisons_with_reference": compared.n_reference,
                "comparisons_with_base": compared.n_base,
            },
            "tasks": {
                task: {"problems": len(usual.problems), "k": usual.k, "reference": compared.references.get(task)}
                for task, usual in notes.usual.items()
            },
            "rows": [_row(self, notes, row) for row in self.rows],
            "legend": self.legend(notes),
        }

    def html(self) -> str:
        """One page that loads nothing and runs nothing."""
        notes = self.notes
        columns = [
            Column("model", False, roomy=True),
            *(Column(f"{short(task)}, {one.size}") for task, one in notes.usual.items()),
        ]
        rows = [[_name(row), *(_cell(self, notes, row, task) for task in notes.usual)] for row in self.rows]
        caption = f"avg@k in %, with {self.confidence:.0%} intervals; problems × samples stand beside each task"
        legend = element("ul", *(element("li", line) for line in self.legend(notes)))
        head = element("h1", "Leaderboard")
        return pages.page("Leaderboard", [head, pages.table(caption, columns, rows), element("h2", "Legend"), legend])

    def legend(self, notes: Notes) -> list[str]:
        """What is on the board, and what its marks mean, in sentences."""
        compared, other = (
            self.comparisons,
            self.reference or "the best of each task among those under its usual protocol",
        )
        word = _word(self)
        means = "the tasks that all rows have" if shared(self.rows) else "each row's own tasks, since none is in all"
        corrected = (
            f"corrected by Holm's method for {compared.n_reference:,} comparisons"
            + ("" if self.reference else " (all pairs of rows of a task, since the best was chosen by these figures)")
            + f" and {compared.n_base:,} with a base"
        )
        return [
            f"avg@k in %, under it the {self.confidence:.0%} interval, clustered by problem; sorted by the mean over "
            f"{means}.",
            f"{word}: {other}, which the others are held against; <{word} and >{word}: significantly below, above it.",
            "<base and >base: a student that is significantly below or above its own base.",
            f"Significant at {self.confidence:.0%}, paired by problem where the problems are the same, {corrected}. "
            "No mark says that two could not be told apart, not that they are equal.",
            *(f"[{number}] {text}." for number, text in enumerate(notes.texts, 1)),
        ]


def short(task: str) -> str:
    """A task's name without what all of them begin with."""
    return task.removeprefix("distill_")


def marks(board: Board, notes: Notes, row: Row, task: str) -> list[str]:
    """What stands beside a score."""
    compared, word = board.comparisons, _word(board)
    found = [word] if compared.references.get(task) == row.name else []
    found += _sign(compared.to_reference.get((row.name, task)), word)
    found += _sign(compared.to_base.get((row.name, task)), "base")
    return [*found, *(f"[{number}]" for number in notes.numbers.get((row.name, task), ()))]


def _word(board: Board) -> str:
    return "ref" if board.reference else "best"


def _sign(compared: Compared | None, word: str) -> list[str]:
    if compared is None or not compared.significant:
        return []
    return [f"{'>' if compared.difference.mean > 0 else '<'}{word}"]


def _kind(row: Row) -> str:
    if row.kind != "student":
        return f"{row.kind} of {', '.join(row.origins)}"
    passed = "passed the gate" if row.passed else "did not pass the gate"
    return f"{passed}, with waivers" if row.waived else passed


def _written(board: Board, row: Row, task: str) -> tuple[str, str]:
    """A score and its interval in %."""
    if task not in row.cells:
        return "–", ""
    score, found = row.cells[task].score, board.intervals.get((row.name, task))
    return f"{100 * score.value:.1f}", f"{100 * found[0]:.1f} to {100 * found[1]:.1f}" if found else "no interval"


def _name(row: Row) -> Content:
    return pages.joined([row.name, element("small", f" {_kind(row)}", class_="soft")])


def _cell(board: Board, notes: Notes, row: Row, task: str) -> Content:
    value, bounds = _written(board, row, task)
    said = marks(board, notes, row, task)
    best = element("b", value) if _word(board) in said else value
    spans = [element("span", one, class_=LOOKS.get(one[0], "soft")) for one in said]
    return pages.joined([best, element("small", bounds), element("small", *_apart(spans))])


def _apart(parts: Sequence[Content]) -> Iterator[Content]:
    for part in parts:
        yield part
        yield " "


def _row(board: Board, notes: Notes, row: Row) -> dict[str, Any]:
    scores = {}
    for task, cell in row.cells.items():
        key = (row.name, task)
        found = board.intervals.get(key)
        plain = {name: value for name, value in asdict(cell.score).items() if name not in ("task", "by_problem")}
        scores[task] = {
            **plain,
            "low": found[0] if found else None,
            "high": found[1] if found else None,
            "sampling": cell.sampling,
            "is_reference": board.comparisons.references.get(task) == row.name,
            "against_reference": _compared(board.comparisons.to_reference.get(key)),
            "against_base": _compared(board.comparisons.to_base.get(key)),
            "notes": [notes.texts[number - 1] for number in notes.numbers.get(key, ())],
        }
    return {
        "name": row.name,
        "kind": row.kind,
        "base": row.base,
        "passed": row.passed,
        "waived": row.waived,
        "runs": row.origins,
        "scores": scores,
    }


def _compared(compared: Compared | None) -> dict[str, Any] | None:
    if compared is None:
        return None
    return {"with": compared.pair.other, **asdict(compared.difference), "significant": compared.significant}


def _lines(board: Board, notes: Notes, row: Row, task: str) -> str:
    value, bounds = _written(board, row, task)
    return f"{value} {' '.join(marks(board, notes, row, task))}".rstrip() + f"\n{bounds}"


def _fitting(board: Board, notes: Notes, width: int) -> Iterator[list[str]]:
    """The tasks, in groups that fit beside the names."""
    left = width - min(NAME, max(len(row.name) for row in board.rows)) - 4
    group: list[str] = []
    used = 0
    for task in notes.usual:
        cells = [_lines(board, notes, row, task) for row in board.rows]
        wide = 3 + max(len(line) for cell in [*cells, _head(notes, task)] for line in cell.splitlines())
        if group and used + wide > left:
            yield group
            group, used = [], 0
        group.append(task)
        used += wide
    if group:
        yield group


def _head(notes: Notes, task: str) -> str:
    return f"{printable(short(task), '')[:24]}\n{notes.usual[task].size}"


def _rich(board: Board, notes: Notes, some: Sequence[str]) -> Any:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("model\n", max_width=NAME, overflow="fold")
    for task in some:
        table.add_column(Text(_head(notes, task)), justify="right", no_wrap=True)
    for row in board.rows:
        name = Text(f"{printable(row.name, '')}\n{printable(_kind(row), '')}")
        table.add_row(name, *(Text(_lines(board, notes, row, task)) for task in some))
    return table
