"""What differs by more than chance: takes the rows, gives every comparison that is drawn on the board.

Two scores are compared by problem where one model answered all problems that the other did, else as two samples
(`distill.statistics.difference`). Chances add up over many comparisons, so each family of them is corrected by Holm's
method (Holm, 1979, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of Statistics 6):
the chance that any mark of the family is wrong stays below one minus the confidence. Where the reference is the best of
a task, it was chosen by the same figures, and any pair of the task's rows could have been the one: all are counted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import comb

from distill.leaderboard.protocol import protocol_of, usual_protocol
from distill.leaderboard.rows import Row
from distill.statistics import Difference, difference, share_bounds


@dataclass(frozen=True)
class Pair:
    """A row's score on a task, held against another row's."""

    row: str
    other: str
    task: str


@dataclass(frozen=True)
class Compared:
    """`difference` has the interval of this one comparison, uncorrected; `significant` holds within its family."""

    pair: Pair
    difference: Difference
    significant: bool


@dataclass(frozen=True)
class Comparisons:
    """By (row, task): against the reference and, for students, against the base; and the families' sizes. `references`
    names the row that is the reference of each task."""

    to_reference: dict[tuple[str, str], Compared]
    to_base: dict[tuple[str, str], Compared]
    references: dict[str, str]
    n_reference: int
    n_base: int


def compared(rows: Sequence[Row], confidence: float, reference: str | None) -> Comparisons:
    """All comparisons of the board, each family corrected on its own."""
    by_name = {row.name: row for row in rows}
    references = {task: name for task in tasks(rows) if (name := _reference(rows, task, reference))}
    to_reference = [Pair(row.name, name, task) for task, name in references.items() for row in rows if row.name != name]
    to_base = [Pair(row.name, row.base, task) for row in rows if row.base is not None for task in row.cells]
    to_reference, to_base = ([one for one in pairs if _fair(by_name, one)] for pairs in (to_reference, to_base))
    counted = len(to_reference)
    if reference is None:
        counted = sum(comb(sum(task in row.cells for row in rows), 2) for task in references)
    return Comparisons(
        _corrected(by_name, to_reference, confidence, counted),
        _corrected(by_name, to_base, confidence, len(to_base)),
        references,
        counted,
        len(to_base),
    )


def intervals(rows: Sequence[Row], confidence: float) -> dict[tuple[str, str], tuple[float, float]]:
    """The two-sided interval of every score of which problems are known, by (row, task)."""
    found = {}
    for row in rows:
        for task, cell in row.cells.items():
            if cell.score.by_problem:
                bounds = share_bounds(list(cell.score.by_problem.values()), (1 + confidence) / 2)
                found[row.name, task] = (bounds.lower, bounds.upper)
    return found


def tasks(rows: Sequence[Row]) -> list[str]:
    """Every task of the board, in the order in which they were first measured."""
    return list(dict.fromkeys(task for row in rows for task in row.cells))


def _reference(rows: Sequence[Row], task: str, wanted: str | None) -> str | None:
    """The row that the others are held against: the wanted one, or the best of those under the task's usual protocol;
    None where there is none. Of equal ones it is the first."""
    having = [row for row in rows if task in row.cells and wanted in (None, row.name)]
    if wanted is None:
        usual = usual_protocol(rows, task)
        having = [row for row in having if protocol_of(row.cells[task]) == usual]
    return max(having, key=lambda row: row.cells[task].score.value).name if having else None


def _fair(by_name: Mapping[str, Row], pair: Pair) -> bool:
    """Whether both were measured, and drawn in the same way. Of one run that is so even where nobody knows how."""
    one, other = by_name[pair.row], by_name[pair.other]
    if pair.task not in one.cells or pair.task not in other.cells:
        return False
    first, second = one.cells[pair.task], other.cells[pair.task]
    known = first.sampling is not None or set(one.origins) & set(other.origins)
    return bool(first.score.by_problem and second.score.by_problem and known and first.sampling == second.sampling)


def _corrected(
    by_name: Mapping[str, Row], pairs: Sequence[Pair], confidence: float, counted: int
) -> dict[tuple[str, str], Compared]:
    """Holm's method without p-values: what is significant at level / (counted - rejected so far) is rejected, until
    nothing more is. `counted` is at least the number of pairs."""

    def differs(pair: Pair, confidence: float) -> Difference:
        one, other = (by_name[name].cells[pair.task].score for name in (pair.row, pair.other))
        return difference(one, other, confidence)

    alone = {pair: differs(pair, confidence) for pair in pairs}
    open_ = [pair for pair in pairs if alone[pair].significant]  # no other is significant at a stricter level
    rejected: set[Pair] = set()
    while open_:
        level = (1 - confidence) / (counted - len(rejected))
        found = {pair for pair in open_ if differs(pair, 1 - level).significant}
        if not found:
            break
        rejected |= found
        open_ = [pair for pair in open_ if pair not in found]
    return {(pair.row, pair.task): Compared(pair, alone[pair], pair in rejected) for pair in pairs}
