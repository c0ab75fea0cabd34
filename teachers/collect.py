"""The traces of a stage on their way to disk: takes traces and failures as they arrive, gives sealed parts.

While it is sampled, the folder holds `journal.jsonl` and `failed/journal.jsonl`, where an answer stands before it
counts, and `spend*.jsonl`, the ledger. Only ids and places are in memory, never the answers.
"""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from distill import shards
from distill.engines.capture import Capture
from distill.errors import DistillError
from distill.journal import Journal, scan
from distill.records import Expense, Failure, Trace
from distill.run import locked
from teachers.captured import Sidecar

JOURNAL, LEDGER, PARTS, SIDECAR = "journal.jsonl", "spend.jsonl", "shards", "signals"
Say = Callable[[str], None]


class Collection:
    """An open stage folder. `wanted` are the ids of the problems that the stage is about; traces of others are kept on
    disk, in case they are wanted again, but not given. What `capture` holds of a trace is written to `signals`, beside
    the traces."""

    def __init__(self, folder: Path, wanted: set[str], say: Say, capture: Capture | None = None) -> None:
        self.folder, self.wanted, self._say = folder, wanted, say
        (folder / "failed").mkdir(parents=True, exist_ok=True)
        self._closing = ExitStack()
        self.journal = self._open(folder / JOURNAL, Trace)
        self.failures = self._open(folder / "failed" / JOURNAL, Failure)
        self.ledger = self._open(folder / LEDGER, Expense)
        self.capture = capture
        self.sidecar = Sidecar(folder / SIDECAR)
        if capture is not None:
            self.sidecar.open()
        self._places = {trace.id: place for place, trace in self.journal.scan()}
        self._elsewhere: dict[str, Path] = {}  # traces that another folder holds

    def __len__(self) -> int:
        return len(self._places) + len(self._elsewhere)

    def close(self) -> None:
        """Flushes to the disk and lets go of the files."""
        self._closing.close()
        self.sidecar.close()

    def add(self, item: Trace | Failure) -> bool:
        """Puts an outcome on disk; False for a trace that is there already."""
        if isinstance(item, Failure):
            self.failures.append(item)
        elif item.id in self._places or item.id in self._elsewhere:
            return False
        else:
            self._places[item.id] = self.journal.append(item)
            if self.capture is not None:
                self.sidecar.add(item.id, self.capture.take(item.id))
        return True

    def take_over(self) -> None:
        """Takes in what is sealed here, since parts are about to be written anew, and what other processes gathered for
        their shards; raises DistillError while one of these is at work."""
        for trace in shards.read_parts(self.folder, Trace):
            self.add(trace)
        for part in sorted((self.folder / PARTS).glob("*-of-*")):
            with locked(part / ".lock", f"the shard {part.name} is being sampled by another process; wait for it"):
                before = len(self)
                self.sidecar.take_over(part / SIDECAR)
                for _, trace in scan(part / JOURNAL, Trace):
                    self.add(trace)
                for _, failure in scan(part / "failed" / JOURNAL, Failure):
                    self.add(failure)
                if (part / LEDGER).exists():
                    (part / LEDGER).rename(self.folder / f"spend-{part.name}-{time.time_ns()}.jsonl")
                self._say(f"  {len(self) - before:,} traces taken over from the shard {part.name}")
                shutil.rmtree(part)

    def look_at(self, stage: Path) -> None:
        """Learns which wanted traces the stage's own folder and its other shards hold, without touching them."""
        for folder in (stage, *sorted((stage / PARTS).glob("*-of-*"))):
            if folder != self.folder:
                for trace in _held(folder):
                    if trace.problem.id in self.wanted and trace.id not in self._places:
                        self._elsewhere[trace.id] = folder

    def traces(self) -> Iterator[Trace]:
        """Every wanted trace that is there, streamed."""
        for trace in self.journal.read():
            if trace.problem.id in self.wanted:
                yield trace
        for folder in sorted(set(self._elsewhere.values())):
            for trace in _held(folder):
                if self._elsewhere.get(trace.id) == folder:
                    yield trace

    def failed(self) -> dict[str, Failure]:
        """The last failure of every attempt that has no trace."""
        there = self._places.keys() | self._elsewhere.keys()
        return {failure.id: failure for failure in self.failures.read() if failure.id not in there}

    def seal(self) -> dict[str, Any]:
        """Writes the wanted traces, ordered by id, and the failures as parts; gives the facts for the manifest.

        Raises DistillError where there is no trace at all.
        """
        failed, facts = self.failed(), _Facts()
        parts = shards.PartWriter(self.folder, Trace)
        for name in sorted(self._places):
            row = self.journal.row_at(self._places[name])
            if row["problem"]["id"] in self.wanted:
                parts.add_row(row)
                facts.count(row)
        if not parts.count:
            first = next(iter(failed.values()), None)
            why = f"the first failure: {first.error}: {first.message}" if first else "there was nothing to ask"
            raise DistillError(f"the teacher gave no trace at all; {why}")
        parts.close()
        shards.write_parts(self.folder / "failed", failed.values(), Failure)
        self.journal.discard()
        self.failures.discard()
        return facts.manifest(len(failed))

    def _open(self, path: Path, kind: type[Any]) -> Any:
        journal = self._closing.enter_context(closing(Journal(path, kind)))
        if journal.torn:
            self._say(f"  the last line of {path} was torn; {journal.torn} bytes were cut off")
        return journal


class _Facts:
    """What a manifest says of the traces, gathered while they go by."""

    def __init__(self) -> None:
        self.traces = self.tokens = self.unstated = 0
        self.cost: float | None = 0.0
        self.names: dict[str, set[str]] = {"teacher": set(), "served_models": set(), "providers": set()}
        self.created: tuple[str, str] | None = None

    def count(self, row: dict[str, Any]) -> None:
        """Takes a trace as `shards.to_row` made it."""
        said, cost, created = row["completion"], row["cost_usd"], row["created"]
        self.traces += 1
        self.tokens += said["completion_tokens"] or 0
        self.unstated += said["completion_tokens"] is None
        self.cost = None if self.cost is None or cost is None else self.cost + cost
        names = (("teacher", row["teacher"]), ("served_models", said["model"]), ("providers", said["provider"]))
        for name, value in names:
            if value:
                self.names[name].add(value)
        if created:
            first, last = self.created or (created, created)
            self.created = min(first, created), max(last, created)

    def manifest(self, failed: int) -> dict[str, Any]:
        first, last = self.created or ("", "")
        return {
            "traces": self.traces,
            "failed": failed,
            "teacher": ", ".join(sorted(self.names["teacher"])),
            "served_models": sorted(self.names["served_models"]),
            "providers": sorted(self.names["providers"]),
            "completion_tokens": None if self.unstated else self.tokens,
            "traces_without_token_counts": self.unstated,
            "cost_usd": self.cost,
            "first_created": first,
            "last_created": last,
        }


def expenses(folder: Path) -> Iterator[Expense]:
    """All that was spent on the traces of a folder, by whichever process."""
    for path in sorted(folder.glob("spend*.jsonl")):
        yield from (expense for _, expense in scan(path, Expense))


def _held(folder: Path) -> Iterator[Trace]:
    """What a folder holds, sealed or not; another process may be writing to it."""
    yield from shards.read_parts(folder, Trace)
    yield from (trace for _, trace in scan(folder / JOURNAL, Trace))
