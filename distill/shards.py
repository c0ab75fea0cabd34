"""Records to parquet and back. A part is written under a temporary name and renamed, so that none is ever half there.

The columns follow from the record's own fields; a `dict` is one JSON column, a nested record is a struct.
"""

import dataclasses
import json
import os
import types
import typing
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from distill.errors import ShardError
from distill.records import RECORDS_VERSION

R = TypeVar("R")
ROWS_PER_PART = 20_000
_PLAIN: dict[Any, pa.DataType] = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}


class PartWriter:
    """Writes a stream of records as part-00000.parquet and on, each whole and renamed into place."""

    def __init__(self, folder: Path, kind: type[Any]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.count = folder, 0
        self._rows: list[dict[str, Any]] = []
        self._parts = 0
        self._schema = _schema(kind).with_metadata({"records_version": str(RECORDS_VERSION), "record": kind.__name__})

    def add(self, record: Any) -> None:
        """Takes one record; raises OSError when the disk is full."""
        self._rows.append(to_row(record))
        self.count += 1
        if len(self._rows) >= ROWS_PER_PART:
            self._write()

    def close(self) -> None:
        """Writes what is left, and removes parts that a longer stream left here; nothing leaves one empty part."""
        if self._rows or not self._parts:
            self._write()
        for path in self.folder.glob("part-*.parquet"):
            if int(path.stem.removeprefix("part-")) >= self._parts:
                path.unlink()

    def _write(self) -> None:
        target = self.folder / f"part-{self._parts:05d}.parquet"
        partial = target.with_suffix(".partial")
        pq.write_table(pa.Table.from_pylist(self._rows, schema=self._schema), partial, compression="zstd")
        os.replace(partial, target)
        self._rows.clear()
        self._parts += 1


def write_parts(folder: Path, records: Iterable[R], kind: type[R]) -> int:
    """Writes records as parts; returns how many. Raises OSError when the disk is full."""
    writer = PartWriter(folder, kind)
    for record in records:
        writer.add(record)
    writer.close()
    return writer.count


def read_parts(folder: Path, kind: type[R]) -> Iterator[R]:
    """Streams the records of every part in order; raises ShardError for a broken part or another version's."""
    for path in sorted(folder.glob("part-*.parquet")):
        try:
            file = pq.ParquetFile(path)
            version = (file.schema_arrow.metadata or {}).get(b"records_version", b"none").decode()
            if version != str(RECORDS_VERSION):
                raise ShardError(
                    f"{path} was written with records version {version}, this distill reads {RECORDS_VERSION}; "
                    "delete the stage's folder to make it again"
                )
            for batch in file.iter_batches(batch_size=1000):
                yield from (from_row(kind, row) for row in batch.to_pylist())
        except (pa.ArrowInvalid, pa.ArrowIOError) as error:
            raise ShardError(f"{path} is not a readable parquet file: {error}") from error


def read_list(path: Path, kind: type[R]) -> list[R]:
    """The records of a JSON file that holds a list of them."""
    return [from_row(kind, row) for row in json.loads(path.read_text(encoding="utf-8"))]


def to_row(record: Any) -> dict[str, Any]:
    """A record as plain JSON-like data; a `dict` field becomes JSON text."""
    row: dict[str, Any] = {}
    for name, hint in _hints(type(record)).items():
        row[name] = _out(getattr(record, name), hint)
    return row


def from_row(kind: type[R], row: dict[str, Any]) -> R:
    """The inverse of `to_row`; raises ShardError where a field is missing."""
    try:
        return kind(**{name: _in(row[name], hint) for name, hint in _hints(kind).items()})
    except KeyError as error:
        raise ShardError(f"a {kind.__name__} lacks the field {error}") from error


def _hints(kind: type) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    return {item.name: _bare(hints[item.name]) for item in dataclasses.fields(kind)}


def _bare(hint: Any) -> Any:
    """The type inside `X | None` and `Literal[...]`."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return _bare(next(arm for arm in typing.get_args(hint) if arm is not type(None)))
    if typing.get_origin(hint) is typing.Literal:
        return type(typing.get_args(hint)[0])
    return hint


def _out(value: Any, hint: Any) -> Any:
    if value is None:
        return None
    if dataclasses.is_dataclass(hint):
        return to_row(value)
    origin = typing.get_origin(hint)
    if origin is dict:
        return json.dumps(_plain(value), ensure_ascii=False, sort_keys=True)
    if origin is tuple:
        return [_out(item, _bare(typing.get_args(hint)[0])) for item in value]
    return value


def _in(value: Any, hint: Any) -> Any:
    if value is None:
        return None
    if dataclasses.is_dataclass(hint):
        return from_row(typing.cast(type, hint), value)
    origin = typing.get_origin(hint)
    if origin is dict:
        inner = _bare(typing.get_args(hint)[1])
        return {key: _in(item, inner) for key, item in json.loads(value).items()}
    if origin is tuple:
        return tuple(_in(item, _bare(typing.get_args(hint)[0])) for item in value)
    return value


def _plain(value: Any) -> Any:
    """Nested records inside a dict as JSON-like data."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return to_row(value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _schema(kind: type) -> pa.Schema:
    return pa.schema([pa.field(name, _arrow(hint)) for name, hint in _hints(kind).items()])


def _arrow(hint: Any) -> pa.DataType:
    if dataclasses.is_dataclass(hint):
        return pa.struct(list(_schema(typing.cast(type, hint))))
    origin = typing.get_origin(hint)
    if origin is dict:
        return pa.string()
    if origin is tuple:
        return pa.list_(_arrow(_bare(typing.get_args(hint)[0])))
    return _PLAIN[hint]


class Journal:
    """An append-only file of records: what `append` returned from outlives the process.

    Each record is one line of JSON, written whole and flushed to the operating system before `append` returns, so
    that killing the process loses nothing. A torn last line (a full disk, a cut power line) is cut off on opening.
    """

    def __init__(self, path: Path, kind: type[Any]) -> None:
        self.path, self.kind = path, kind
        self.torn = self._repair()
        self._file = path.open("ab", buffering=0)

    def append(self, record: Any) -> None:
        """Adds one record; raises OSError when the disk is full, after taking the torn piece back."""
        line = (json.dumps(to_row(record), ensure_ascii=False) + "\n").encode()
        start = self._file.tell()
        try:
            written = self._file.write(line)
            if written != len(line):
                raise OSError(28, "No space left on device", str(self.path))
        except OSError:
            self._file.truncate(start)
            raise

    def read(self) -> Iterator[Any]:
        """Every record, in the order of arrival."""
        with self.path.open(encoding="utf-8") as file:
            for at, line in enumerate(file, 1):
                try:
                    yield from_row(self.kind, json.loads(line))
                except ValueError as error:
                    raise ShardError(f"{self.path}, line {at} is not JSON; take the line out to go on") from error

    def close(self) -> None:
        """Flushes to the disk and lets go of the file."""
        os.fsync(self._file.fileno())
        self._file.close()

    def _repair(self) -> int:
        """Cuts a torn last line off; returns how many bytes that were."""
        if not self.path.exists():
            return 0
        with self.path.open("rb+") as file:
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
