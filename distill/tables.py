"""Rows of a local json, jsonl, csv or parquet file, or of a Hub data set, each with its place for messages."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from distill.errors import InputError
from distill.records import storable

ENDINGS = (".json", ".jsonl", ".csv", ".parquet")
Row = dict[str, Any]


def read_rows(
    path: str, *, subset: str | None = None, split: str = "train", revision: str | None = None
) -> Iterator[tuple[str, Row]]:
    """Yields (place, row), such as ("train.jsonl, line 7", {...}); raises InputError for a file that is not what its
    ending says, naming the line."""
    local = Path(path).expanduser()
    if local.is_file():
        yield from _read_file(local)
    elif local.suffix in ENDINGS or path.startswith((".", "/", "~")) or path.count("/") > 1:
        raise InputError(f"{path}: there is no such file")
    else:
        yield from _read_hub(path, subset, split, revision)


def text_of(row: Row, column: str, place: str) -> str:
    """A column as text that can be stored, empty for null; raises InputError where the column is missing, naming those
    there are."""
    if column not in row:
        raise InputError(f"{place}: there is no column {column!r}; the columns are {', '.join(map(str, row))}")
    value = row[column]
    return "" if value is None else storable(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def _read_file(path: Path) -> Iterator[tuple[str, Row]]:
    readers = {".json": _read_json, ".jsonl": _read_jsonl, ".csv": _read_csv, ".parquet": _read_parquet}
    if path.suffix not in readers:
        raise InputError(f"{path}: the ending {path.suffix!r} is not known; write one of {', '.join(ENDINGS)}")
    try:
        for place, row in readers[path.suffix](path):
            if not isinstance(row, dict):
                raise InputError(f"{place}: not an object with columns, but {str(row)[:60]!r}")
            yield place, row
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text: byte {error.start} is {error.object[error.start]:#x}") from error


def _read_json(path: Path) -> Iterator[tuple[str, Any]]:
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise InputError(f"{path}, line {error.lineno}: not JSON ({error.msg}); is it jsonl?") from error
    except UnicodeDecodeError:
        raise
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, or lists within lists without end
        raise InputError(f"{path}: not JSON that can be read ({error})") from error
    if isinstance(data, dict):
        lists = [value for value in data.values() if isinstance(value, list)]
        data = lists[0] if len(lists) == 1 else [data]
    if not isinstance(data, list):
        raise InputError(f"{path}: not a list of rows, but {str(data)[:60]!r}")
    yield from ((f"{path}, row {at}", row) for at, row in enumerate(data, 1))


def _read_jsonl(path: Path) -> Iterator[tuple[str, Any]]:
    with path.open(encoding="utf-8-sig") as file:
        for at, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                torn = "" if line.endswith("\n") else "; the last line is torn: take it out, or write it again"
                raise InputError(f"{path}, line {at}: not JSON ({error.msg}){torn}") from error
            except (ValueError, RecursionError) as error:
                raise InputError(f"{path}, line {at}: not JSON that can be read ({error})") from error
            yield f"{path}, line {at}", row


def _read_csv(path: Path) -> Iterator[tuple[str, Any]]:
    csv.field_size_limit(2**31 - 1)
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        for at, row in enumerate(reader, 1):
            yield f"{path}, row {at}", row


def _read_parquet(path: Path) -> Iterator[tuple[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        batches = pq.ParquetFile(path).iter_batches(batch_size=1000)
        at = 0
        for batch in batches:
            for row in batch.to_pylist():
                at += 1
                yield f"{path}, row {at}", row
    except (pa.ArrowInvalid, pa.ArrowIOError) as error:
        raise InputError(f"{path} is not parquet: {error}") from error


def _read_hub(path: str, subset: str | None, split: str, revision: str | None) -> Iterator[tuple[str, Row]]:
    import datasets

    try:
        rows = datasets.load_dataset(path, subset, split=split, revision=revision)
    except Exception as error:  # whatever the Hub client raises is told in one sentence, with its cause kept
        raise InputError(
            f"the data set {path!r} cannot be loaded, neither as a file nor from the Hub: {error}"
        ) from error
    for at, row in enumerate(rows, 1):
        yield f"{path}, row {at}", dict(row)
