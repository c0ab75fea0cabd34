"""What was decided about every trace, without its text: decisions in, then the kept and the dropped on disk, and the
counts by reason, source and task.

A row is a trace's place in the order of reading. The traces are read a second time to be written: as columns, which are
cut apart and never become Python objects.
"""

from array import array
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from distill import shards
from distill.curate.decontaminate import Match
from distill.records import REASONS, Dropped, Kept, Ruling

KEPT = -1
_NUMBER = {reason: at for at, reason in enumerate(REASONS)}


class Ledger:
    """Decisions by row. A row is kept until it is dropped, and is dropped once."""

    def __init__(self) -> None:
        self._reasons, self._tokens, self._sources = array("b"), array("i"), array("i")
        self._why: dict[int, tuple[str, str]] = {}
        self._rulings: dict[int, tuple[Ruling, ...]] = {}
        self._source_numbers: dict[str, int] = {}
        self._same: dict[str, str] = {}  # many traces repeat the same: it is held once
        self._by_task: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def __len__(self) -> int:
        return len(self._reasons)

    def add(self, source: str, tokens: int = 0) -> int:
        """Enters a trace; gives its row."""
        self._reasons.append(KEPT)
        self._tokens.append(tokens)
        self._sources.append(self._source_numbers.setdefault(source, len(self._source_numbers)))
        return len(self._reasons) - 1

    def drop(self, row: int, reason: str, detail: str, beside: str = "") -> None:
        """Decides against a row; `beside` is what it repeats, if that is why."""
        self._reasons[row] = _NUMBER[reason]
        self._why[row] = (detail, self._same.setdefault(beside, beside))

    def contaminated(self, row: int, detail: str, match: Match) -> None:
        """Decides against a row for what it shares with a prompt of the gate."""
        self.drop(row, "contaminated", detail, match.theirs)
        self._by_task[match.task][match.stage] += 1

    def rule(self, row: int, *rulings: Ruling) -> None:
        """Adds what was said of a row's answer."""
        self._rulings[row] = self._rulings.get(row, ()) + rulings

    def rulings(self, row: int) -> tuple[Ruling, ...]:
        """What was said of a row's answer so far."""
        return self._rulings.get(row, ())

    def write(self, traces: Path, folder: Path, tell: Callable[[int], None]) -> None:
        """Writes `folder` (kept) and `folder`/dropped from the parts of `traces`; `tell` hears of rows that are done.

        Raises OSError when the disk is full.
        """
        kept, dropped = shards.PartWriter(folder, Kept), shards.PartWriter(folder / "dropped", Dropped)
        at = 0
        for table in shards.read_tables(traces):
            rows = np.arange(at, at + table.num_rows)
            chosen = np.frombuffer(self._reasons, np.int8)[rows] == KEPT
            kept.add_table(self._as_kept(table.filter(pa.array(chosen)), rows[chosen].tolist(), kept.schema))
            dropped.add_table(self._as_dropped(table.filter(pa.array(~chosen)), rows[~chosen].tolist(), dropped.schema))
            at += table.num_rows
            tell(table.num_rows)
        kept.close()
        dropped.close()

    def facts(self) -> dict[str, Any]:
        """The counts for the manifest: by reason, by source and by task."""
        reasons, tokens = np.frombuffer(self._reasons, np.int8), np.frombuffer(self._tokens, np.int32)
        sources = np.frombuffer(self._sources, np.int32)
        names = list(self._source_numbers)
        return {
            "read": len(self),
            "kept": int((reasons == KEPT).sum()),
            "tokens": int(tokens[reasons == KEPT].sum(dtype=np.int64)),
            "dropped": _counted(reasons),
            "by_source": {name: _source_facts(reasons[sources == at]) for at, name in enumerate(names)},
            "by_task": {task: dict(sorted(stages.items())) for task, stages in sorted(self._by_task.items())},
        }

    def _as_kept(self, table: pa.Table, rows: list[int], schema: pa.Schema) -> pa.Table:
        tokens = pa.array([self._tokens[row] for row in rows], schema.field("tokens").type)
        columns = [*table.columns, tokens, self._rulings_of(rows, schema)]
        return pa.Table.from_arrays(columns, schema=schema)

    def _as_dropped(self, table: pa.Table, rows: list[int], schema: pa.Schema) -> pa.Table:
        inner = [column.combine_chunks() for column in table.columns]
        whole = pa.StructArray.from_arrays(inner, fields=list(schema.field("trace").type))
        why = [self._why[row] for row in rows]
        reasons = pa.array([REASONS[self._reasons[row]] for row in rows], pa.string())
        details, beside = (pa.array([one[at] for one in why], pa.string()) for at in (0, 1))
        return pa.Table.from_arrays([whole, reasons, details, beside, self._rulings_of(rows, schema)], schema=schema)

    def _rulings_of(self, rows: list[int], schema: pa.Schema) -> pa.Array:
        told = [[shards.to_row(ruling) for ruling in self.rulings(row)] for row in rows]
        return pa.array(told, schema.field("rulings").type)


def _counted(reasons: Any) -> dict[str, int]:
    counts = np.bincount(reasons[reasons != KEPT], minlength=len(REASONS))
    return {reason: int(counts[at]) for at, reason in enumerate(REASONS) if counts[at]}


def _source_facts(reasons: Any) -> dict[str, Any]:
    return {"read": len(reasons), "kept": int((reasons == KEPT).sum()), "dropped": _counted(reasons)}
