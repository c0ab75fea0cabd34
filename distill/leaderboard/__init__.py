"""The leaderboard: takes runs and release folders, gives one table of their students and baselines over all tasks, with
intervals, and with marks where two differ by more than chance.

A score is held against another only where both were drawn in the same way. Of scores of the same task under another
protocol each is shown with a mark that says how it differs.
"""

from collections.abc import Sequence
from pathlib import Path

from distill.errors import InputError
from distill.leaderboard.compare import compared, intervals
from distill.leaderboard.rows import REPORTS, read, rows
from distill.leaderboard.table import Board

__all__ = ["Board", "board", "found", "gated"]


def gated(runs: Path) -> list[Path]:
    """The runs of a folder that have a gate's reports, by name; none where there is no such folder."""
    return sorted(path.parents[1] for path in runs.glob("*/5-gate/reports.json"))


def found(place: Path) -> list[Path]:
    """A run's or a release's folder itself, or all of those in it; itself, too, where there is none."""
    if any((place / reports).exists() for reports in REPORTS):
        return [place]
    inside = {path.parents[len(reports.parts) - 1] for reports in REPORTS for path in place.glob(f"*/{reports}")}
    return sorted(inside) or [place]


def board(sources: Sequence[Path], confidence: float, reference: str | None = None) -> Board:
    """The board of all these runs' and release folders' models.

    Scores are compared with those of the row `reference`, or, where none is named, with the best of each task; students
    also with their base. Intervals and comparisons are two-sided at `confidence`. Raises InputError where there is no
    source, where one has no gate's reports, and where no row has the reference's name; ShardError for broken files.
    """
    if not sources:
        raise InputError("there is no run whose gate has judged; write a run's or a release's folder, or run a recipe")
    if not 0.5 <= confidence < 1:
        raise InputError(f"--confidence {confidence} is none; write a number from 0.5 to below 1, such as 0.95")
    once: dict[Path, Path] = {}
    for path in sources:
        once.setdefault(path.resolve(), path)
    all_rows = rows([read(path) for path in once.values()])
    names = [row.name for row in all_rows]
    if reference is not None and reference not in names:
        raise InputError(f"--reference {reference!r} is no row of the board; write one of {', '.join(names)}")
    compared_rows = compared(all_rows, confidence, reference)
    return Board(all_rows, confidence, reference, compared_rows, intervals(all_rows, confidence))
