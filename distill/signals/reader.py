"""Reads a folder of signals: takes a trace's id, gives the teacher's distributions on it; nothing else is read."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.errors import ShardError
from distill.signals import codec, files


@dataclass(frozen=True)
class Signal:
    """A teacher's next-token distributions at N positions of a trace, of K columns or fewer tokens each.

    All other tokens of the vocabulary share the tail's mass evenly: what is restored sums to 1.
    """

    targets_N: NDArray[np.int32]  # the token that the trace has here
    ids_NK: NDArray[np.int32]  # the likeliest first, the others by id; -1 where padded
    logprobs_NK: NDArray[np.float32]  # natural log; -inf where padded
    tail_N: NDArray[np.float32]  # log of the mass on all other tokens; -inf if none
    known_N: NDArray[np.bool_]  # False: there is no signal at this position


class Signals:
    """A sealed folder of signals, memory-mapped: opening it takes as long for a million traces as for one.

    Raises ShardError for a folder that is torn, not sealed, or written by another version.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        manifest = _manifest(folder)
        self.vocabulary: int = manifest["vocabulary"]
        self.facts: dict[str, Any] = manifest["facts"]
        try:
            self._data = np.memmap(folder / files.DATA, dtype=np.uint8, mode="r")
            self._index: NDArray[Any] = np.load(folder / files.INDEX, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise ShardError(f"{folder} cannot be read as signals: {error}") from error
        expected = (manifest["bytes"], (2, self.facts["traces"]), files.ENTRY)
        if (len(self._data), self._index.shape, self._index.dtype) != expected:
            raise ShardError(f"{folder} does not hold what its manifest says; delete it to have it made again")

    def __len__(self) -> int:
        return int(self._index.shape[1])

    def __contains__(self, trace_id: object) -> bool:
        return isinstance(trace_id, str) and self._find(trace_id) is not None

    def read(self, trace_id: str, start: int = 0, stop: int | None = None) -> Signal:
        """The signal at the positions from `start` up to `stop`, as in a slice.

        Raises KeyError for a trace that is not there, and ShardError for one whose bytes are not those written.
        """
        record = self._find(trace_id)
        if record is None:
            raise KeyError(trace_id)
        if not files.intact(self._data, record):
            raise ShardError(f"{self.folder}: the signals of trace {trace_id!r} are damaged; delete the folder")
        rows = codec.decode(np.asarray(self._data[record.body : record.end]), self.vocabulary)
        return _signal(rows, slice(start, stop))

    def _find(self, trace_id: str) -> files.Record | None:
        key = files.hashed(trace_id)
        at = int(np.searchsorted(self._index[0], np.uint64(key)))
        while at < len(self) and int(self._index[0, at]) == key:
            record = files.record_at(self._data, int(self._index[1, at]))
            if record is None:
                raise ShardError(f"{self.folder}: the index points at no record; delete the folder")
            if record.trace_id == trace_id:
                return record
            at += 1
        return None


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / files.MANIFEST
    if not path.exists():
        raise ShardError(f"{folder} is not sealed: the signals there are not all written, or there are none")
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        version = manifest["version"]
    except (ValueError, KeyError, TypeError) as error:
        raise ShardError(f"{path} is no manifest of signals: {error}") from error
    if version != files.VERSION:
        raise ShardError(
            f"{folder} was written with signals version {version}, this distill reads {files.VERSION}; "
            "delete it to have it made again"
        )
    return manifest


def _signal(rows: codec.Rows, span: slice) -> Signal:
    """Ragged rows as columns, at the positions of a slice."""
    tops_N, others_M, tails_N = codec.restore(rows)
    start, stop, _ = span.indices(len(tops_N))
    stop = max(start, stop)
    beside_N = np.maximum(rows.counts_N - 1, 0)
    ends_N = np.cumsum(beside_N)
    first = int(ends_N[start - 1]) if start else 0
    last = int(ends_N[stop - 1]) if stop > start else first
    width = int(rows.counts_N[start:stop].max(initial=0))
    ids_NK = np.full((stop - start, width), -1, dtype=np.int32)
    logprobs_NK = np.full((stop - start, width), -np.inf, dtype=np.float32)
    some = np.flatnonzero(rows.counts_N[start:stop] > 0)
    firsts = np.zeros_like(some)  # not 0 itself, which is no column where no position keeps a token
    ids_NK[some, firsts], logprobs_NK[some, firsts] = rows.tops_N[start:stop][some], np.log(tops_N[start:stop][some])
    row_M = np.repeat(np.arange(stop - start), beside_N[start:stop])
    column_M = np.arange(first, last) - (ends_N - beside_N)[start:stop][row_M] + 1
    ids_NK[row_M, column_M] = rows.ids_M[first:last]
    logprobs_NK[row_M, column_M] = np.log(others_M[first:last])
    with np.errstate(divide="ignore"):
        tail_N = np.log(tails_N[start:stop]).astype(np.float32)
    known_N = rows.known_N[start:stop]
    return Signal(rows.targets_N[start:stop].astype(np.int32), ids_NK, logprobs_NK, tail_N, known_N)
