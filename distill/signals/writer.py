"""Writes a folder of signals: takes the rows of one trace after another, goes on after a kill, seals what is there."""

import json
import os
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.errors import ShardError
from distill.signals import codec, files
from distill.signals.support import SignalSettings, choose


class SignalWriter:
    """A folder of signals that is open for writing; `done` are the ids of the traces that are in it.

    `vocabulary` is how many token ids the tokenizer assigns: ids from there on are padding rows of an embedding, and
    get no mass. `facts` go into the manifest as they are. A folder that was left unsealed is gone on with: a torn last
    trace is cut off. Raises ShardError for a sealed folder, and for one that was begun with other settings.
    """

    def __init__(self, folder: Path, *, vocabulary: int, settings: SignalSettings, facts: dict[str, Any]) -> None:
        if not 1 <= vocabulary < 2**24:
            raise ValueError(f"a vocabulary has from 1 to 16,777,215 tokens, not {vocabulary}")
        self.folder, self.vocabulary, self.settings, self._facts = folder, vocabulary, settings, facts
        self.done: set[str] = set()
        self._entries: list[tuple[int, int]] = []
        self._sums: Counter[str] = Counter()
        self._nats = 0.0
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / files.MANIFEST).exists():
            raise ShardError(f"{folder} is sealed already; delete it to write its signals again")
        self._end = self._repaired()
        self._file = (folder / files.DATA).open("ab", buffering=0)

    def add(
        self,
        trace_id: str,
        targets_N: NDArray[Any],
        ids_NK: NDArray[Any],
        logprobs_NK: NDArray[Any],
        tail_N: NDArray[Any] | None = None,
        known_N: NDArray[np.bool_] | None = None,
    ) -> None:
        """Takes one trace: at each position whole or top-K rows of natural log-probabilities, sorted or not.

        An id of -1 is padding. `tail_N` is the log of the mass on all tokens that are not given; left out, it is what
        is missing to 1. Where `known_N` is False the row is not looked at. The trace is with the operating system when
        this returns. Raises ValueError for what is no distribution or is there already, OSError when the disk is full.
        """
        if trace_id in self.done:
            raise ValueError(f"trace {trace_id!r} has its signals already")
        known_N = np.ones(len(targets_N), dtype=bool) if known_N is None else np.asarray(known_N, dtype=bool)
        targets_N, ids_NK, logprobs_NK = np.asarray(targets_N), np.asarray(ids_NK), np.asarray(logprobs_NK)
        try:
            _check_shapes(targets_N, ids_NK, logprobs_NK, tail_N, known_N)
            if ((targets_N < 0) | (targets_N >= self.vocabulary)).any():
                raise ValueError(f"a target lies outside 0 to {self.vocabulary - 1}")
            rows, nats = choose(
                targets_N.astype(np.int64), ids_NK, logprobs_NK, tail_N, known_N, self.vocabulary, self.settings
            )
        except ValueError as error:
            raise ValueError(f"the signals of trace {trace_id!r} cannot be: {error}") from error
        counts = (len(targets_N), int(known_N.sum()), int(rows.counts_N.sum()))
        place = self._end
        self._append(files.pack(trace_id, codec.encode(rows, self.vocabulary), counts, nats))
        self._took(trace_id, counts, nats, place)

    def close(self) -> dict[str, Any]:
        """Seals the folder and gives its facts: those that were handed in, and what is in it."""
        os.fsync(self._file.fileno())
        self._file.close()
        entries = np.array(sorted(self._entries), dtype=files.ENTRY).reshape(-1, 2)
        with (self.folder / files.INDEX).open("wb") as file:
            np.save(file, np.ascontiguousarray(entries.T), allow_pickle=False)
            file.flush()
            os.fsync(file.fileno())
        tokens, known = self._sums["tokens"], self._sums["known"]
        size = self._end + entries.nbytes
        facts = self._facts | {
            "traces": len(self.done),
            "tokens": tokens,
            "known_tokens": known,
            "bytes": size,
            "bytes_per_token": size / tokens if tokens else None,
            "kept_per_token": self._sums["kept"] / known if known else None,
            "kl_nats": self._nats / known if known else None,
        }
        partial = self.folder / f"{files.MANIFEST}.partial"
        with partial.open("w", encoding="utf-8") as file:
            json.dump(self._about() | {"bytes": self._end, "facts": facts}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, self.folder / files.MANIFEST)
        return facts

    def _about(self) -> dict[str, Any]:
        return {"version": files.VERSION, "vocabulary": self.vocabulary, "settings": asdict(self.settings)}

    def _repaired(self) -> int:
        """Reads what an earlier writer left, and cuts off what is torn; gives where the file ends."""
        path, head = self.folder / files.DATA, files.file_head(self._about())
        with path.open("a+b") as file:
            file.seek(0)
            found = file.read(len(head))
            if found != head:
                if not head.startswith(found):
                    raise ShardError(
                        f"{path} was begun with other settings or by another version; delete {self.folder}"
                    )
                file.truncate(0)  # the head itself is torn
                file.write(head)
        end, data = len(head), np.memmap(path, dtype=np.uint8, mode="r")
        for record in files.records(data, len(head)):
            self._took(record.trace_id, (record.tokens, record.known, record.kept), record.nats, record.place)
            end = record.end
        del data  # a file that is mapped cannot be cut everywhere
        os.truncate(path, end)
        return end

    def _took(self, trace_id: str, counts: tuple[int, int, int], nats: float, place: int) -> None:
        self.done.add(trace_id)
        self._entries.append((files.hashed(trace_id), place))
        self._sums.update(dict(zip(("tokens", "known", "kept"), counts, strict=True)))
        self._nats += nats

    def _append(self, record: bytes) -> None:
        try:
            if self._file.write(record) != len(record):
                raise OSError(28, "No space left on device", str(self.folder / files.DATA))
        except OSError:
            self._file.truncate(self._end)
            raise
        self._end += len(record)


def _check_shapes(
    targets_N: NDArray[Any],
    ids_NK: NDArray[Any],
    logprobs_NK: NDArray[Any],
    tail_N: NDArray[Any] | None,
    known_N: NDArray[np.bool_],
) -> None:
    count = len(targets_N)
    right = targets_N.ndim == 1 and ids_NK.ndim == 2 and ids_NK.shape == logprobs_NK.shape and len(ids_NK) == count
    right = right and known_N.shape == (count,) and (tail_N is None or np.shape(tail_N) == (count,))
    if not right:
        tail = None if tail_N is None else np.shape(tail_N)
        raise ValueError(
            f"targets {targets_N.shape}, ids {ids_NK.shape}, logprobs {logprobs_NK.shape}, tail {tail} and known "
            f"{known_N.shape} do not fit; N, N by K, N by K, N and N are asked for"
        )
    if targets_N.dtype.kind not in "iu" or ids_NK.dtype.kind not in "iu":
        raise ValueError(f"ids are whole numbers, not {targets_N.dtype} and {ids_NK.dtype}")
