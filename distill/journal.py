"""An append-only file of records, one line of JSON each: takes records, which outlive the process once taken."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Generic, TypeVar

import orjson

from distill.errors import ShardError
from distill.shards import from_row, to_row

R = TypeVar("R")


class Journal(Generic[R]):
    """A journal that is open for writing. `torn` is how many bytes of a torn last line were cut off on opening.

    Each record is written whole and handed to the operating system before `append` returns, so that killing the process
    loses nothing; only a full disk or a cut power line can tear a line.
    """

    def __init__(self, path: Path, kind: type[R]) -> None:
        self.path, self.kind = path, kind
        self.torn = _repair(path)
        self._file = path.open("ab", buffering=0)
        self._end = self._file.tell()
        self._reader = path.open("rb")

    def append(self, *records: R) -> int:
        """Adds records at once; gives the first one's place.

        Raises OSError when the disk is full, after taking the torn piece back.
        """
        lines = b"".join(orjson.dumps(to_row(record), option=orjson.OPT_APPEND_NEWLINE) for record in records)
        place = self._end
        try:
            if self._file.write(lines) != len(lines):
                raise OSError(28, "No space left on device", str(self.path))
        except OSError:
            self._file.truncate(place)
            raise
        self._end = place + len(lines)
        return place

    def row_at(self, place: int) -> dict[str, Any]:
        """The record at a place that `append` or `scan` gave, as `shards.to_row` made it."""
        self._reader.seek(place)
        row: dict[str, Any] = orjson.loads(self._reader.readline())
        return row

    def scan(self) -> Iterator[tuple[int, R]]:
        """Every record with its place, in the order of arrival; raises ShardError for a line that is none."""
        return scan(self.path, self.kind)

    def read(self) -> Iterator[R]:
        """Every record, in the order of arrival."""
        return (record for _, record in self.scan())

    def close(self) -> None:
        """Flushes to the disk and lets go of the file; does nothing a second time."""
        if not self._file.closed:
            os.fsync(self._file.fileno())
            self._file.close()
            self._reader.close()

    def discard(self) -> None:
        """Removes the file, whose records are safe elsewhere by now."""
        self._file.close()
        self._reader.close()
        self.path.unlink()


def scan(path: Path, kind: type[R]) -> Iterator[tuple[int, R]]:
    """The records of a journal with their places, none where there is no file.

    A torn last line is left out: another process may still be writing it. Raises ShardError for any other line that is
    no such record.
    """
    if not path.exists():
        return
    place = 0
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                return
            yield place, _record(path, kind, line, place)
            place += len(line)


def _record(path: Path, kind: type[R], line: bytes, place: int) -> R:
    try:
        return from_row(kind, orjson.loads(line))
    except (ValueError, TypeError) as error:
        raise ShardError(f"{path}, byte {place}: the line is no {kind.__name__}; take it out to go on") from error


def _repair(path: Path) -> int:
    """Cuts a torn last line off; gives how many bytes that were."""
    if not path.exists():
        return 0
    with path.open("rb+") as file:
        size = file.seek(0, os.SEEK_END)
        at, tail = size, b""
        while at and b"\n" not in tail:
            step = min(at, 1 << 16)
            at -= step
            file.seek(at)
            tail = file.read(step) + tail
        keep = at + tail.rfind(b"\n") + 1 if b"\n" in tail else 0
        if keep < size:
            file.truncate(keep)
        return size - keep
