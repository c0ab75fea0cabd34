"""Records to parquet and back. A part is written under a temporary name and renamed, so that none is ever half there.

The columns follow from the record's own fields; a `dict` is one JSON column, a nested record is a struct.
"""

import dataclasses
import functools
import json
import os
import types
import typing
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from distill.errors import ShardError
from distill.records import RECORDS_VERSION

R = TypeVar("R")
ROWS_PER_PART = 20_000
ROWS_PER_GROUP = 500
_PLAIN: dict[Any, pa.DataType] = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}


class PartWriter:
    """Writes a stream of records as part-00000.parquet and on, each whole and renamed into place.

    Rows go to the disk in groups, so that memory holds one group however long the stream is. Records come one by one
    (`add`), or as tables that were cut out of other parts (`add_table`), which is much faster.
    """

    def __init__(self, folder: Path, kind: type[Any]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.count = folder, 0
        self._rows: list[dict[str, Any]] = []
        self._tables: list[pa.Table] = []
        self._waiting = self._parts = self._in_part = 0
        self._writer: pq.ParquetWriter | None = None
        self.schema = _schema(kind).with_metadata({"records_version": str(RECORDS_VERSION), "record": kind.__name__})

    def add(self, record: Any) -> None:
        """Takes one record; raises OSError when the disk is full."""
        self.add_row(to_row(record))

    def add_row(self, row: dict[str, Any]) -> None:
        """Takes one record as `to_row` makes it."""
        self._rows.append(row)
        self._took(1)

    def add_table(self, table: pa.Table) -> None:
        """Takes records as columns, of this writer's `schema`."""
        self._gather_rows()
        while table.num_rows:
            piece = table.slice(0, min(ROWS_PER_GROUP - self._waiting, ROWS_PER_PART - self._in_part))
            table = table.slice(piece.num_rows)
            self._tables.append(piece)
            self._took(piece.num_rows)

    def close(self) -> None:
        """Writes what is left, and removes parts that a longer stream left here; nothing leaves one empty part."""
        if self._in_part or not self._parts:
            self._end_part()
        for path in self.folder.glob("part-*.parquet"):
            if int(path.stem.removeprefix("part-")) >= self._parts:
                path.unlink()

    def _took(self, rows: int) -> None:
        self.count += rows
        self._in_part += rows
        self._waiting += rows
        if self._in_part >= ROWS_PER_PART:
            self._end_part()
        elif self._waiting >= ROWS_PER_GROUP:
            self._write_group()

    def _gather_rows(self) -> None:
        if self._rows:
            self._tables.append(pa.Table.from_pylist(self._rows, schema=self.schema))
            self._rows.clear()

    def _write_group(self) -> None:
        self._gather_rows()
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._target.with_suffix(".partial"), self.schema, compression="zstd")
        if self._tables:
            self._writer.write_table(pa.concat_tables(self._tables).combine_chunks())
        self._tables.clear()
        self._waiting = 0

    def _end_part(self) -> None:
        self._write_group()
        if self._writer is not None:
            self._writer.close()
        with self._target.with_suffix(".partial").open("rb") as file:
            os.fsync(file.fileno())
        os.replace(self._target.with_suffix(".partial"), self._target)
        self._writer, self._in_part = None, 0
        self._parts += 1

    @property
    def _target(self) -> Path:
        return self.folder / f"part-{self._parts:05d}.parquet"


def write_parts(folder: Path, records: Iterable[R], kind: type[R]) -> int:
    """Writes records as parts; returns how many. Raises OSError when the disk is full."""
    writer = PartWriter(folder, kind)
    for record in records:
        writer.add(record)
    writer.close()
    return writer.count


def read_parts(folder: Path, kind: type[R]) -> Iterator[R]:
    """Streams the records of every part in order; raises ShardError for a broken part or another version's."""
    for table in read_tables(folder):
        yield from (from_row(kind, row) for row in table.to_pylist())


def read_tables(folder: Path, rows: int = ROWS_PER_GROUP) -> Iterator[pa.Table]:
    """The same as columns, at most so many rows at a time."""
    for path in sorted(folder.glob("part-*.parquet")):
        try:
            with opened(path) as file:
                for batch in file.iter_batches(batch_size=rows):
                    yield pa.Table.from_batches([batch])
        except (pa.ArrowInvalid, pa.ArrowIOError) as error:
            raise ShardError(f"{path} is not a readable parquet file: {error}") from error


def opened(path: Path) -> pq.ParquetFile:
    """A part, ready to be read; raises ShardError for a broken one or another version's."""
    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowInvalid, pa.ArrowIOError) as error:
        raise ShardError(f"{path} is not a readable parquet file: {error}") from error
    version = (file.schema_arrow.metadata or {}).get(b"records_version", b"none").decode()
    if version != str(RECORDS_VERSION):
        raise ShardError(
            f"{path} was written with records version {version}, this distill reads {RECORDS_VERSION}; "
            "delete the stage's folder to make it again"
        )
    return file


def read_list(path: Path, kind: type[R]) -> list[R]:
    """The records of a JSON file that holds a list of them."""
    return [from_row(kind, row) for row in json.loads(path.read_text(encoding="utf-8"))]


def to_row(record: Any) -> dict[str, Any]:
    """A record as plain JSON-like data; a `dict` field becomes JSON text."""
    return {
        name: getattr(record, name) if out is None or getattr(record, name) is None else out(getattr(record, name))
        for name, out, _ in _fields(typing.cast(Any, type(record)))
    }


def from_row(kind: type[R], row: dict[str, Any]) -> R:
    """The inverse of `to_row`; raises ShardError where a field is missing."""
    try:
        return kind(
            **{
                name: row[name] if into is None or row[name] is None else into(row[name])
                for name, _, into in _fields(typing.cast(Any, kind))
            }
        )
    except KeyError as error:
        raise ShardError(f"a {kind.__name__} lacks the field {error}") from error


Converter = Callable[[Any], Any]


@functools.cache
def _fields(kind: Any) -> list[tuple[str, Converter | None, Converter | None]]:
    """Each field's name, and what turns it into plain data and back, None where it is plain; worked out once a type,
    since every record that goes by needs it."""
    return [(name, *_converters(hint)) for name, hint in _hints(kind).items()]


def _converters(hint: Any) -> tuple[Converter | None, Converter | None]:
    if dataclasses.is_dataclass(hint):
        return to_row, functools.partial(from_row, typing.cast(type, hint))
    origin = typing.get_origin(hint)
    if origin is dict:
        _, into = _converters(_bare(typing.get_args(hint)[1]))
        return _to_json, functools.partial(_from_json, into)
    if origin is tuple:
        out, into = _converters(_bare(typing.get_args(hint)[0]))
        return functools.partial(_each, out), lambda value: tuple(_each(into, value))
    return None, None


def _each(convert: Converter | None, values: Iterable[Any]) -> list[Any]:
    return [value if convert is None or value is None else convert(value) for value in values]


def _to_json(value: dict[str, Any]) -> str:
    return json.dumps(_plain(value), ensure_ascii=False, sort_keys=True)


def _from_json(into: Converter | None, text: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(text)
    return dict(zip(data, _each(into, data.values()), strict=True))


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
