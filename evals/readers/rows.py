"""Rows of a benchmark wherever it lies, and single columns of a row under any of their usual names.

Raises InputError, in one sentence with file and line or row, for what is not there or not of its kind.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from distill.catalogue import info
from distill.errors import InputError
from distill.records import storable
from distill.tables import ENDINGS, Row, read_rows, text_of

Rows = Iterator[tuple[str, Row]]

_SHOWN = 60  # characters of a value that a message shows


def rows_of(task: str, path: str | None, *names: str) -> Rows:
    """(place, row) of the task's Hub data set, or of a local file or folder.

    In a folder it is the file that has one of the `names`, or `test`, or that split's parquet parts as the Hub lays
    them.
    """
    hub = info(task).hub
    assert hub is not None, f"{task} is made, not read"
    if path is None:
        yield from read_rows(hub.path, subset=hub.subset, split=hub.split)
        return
    for file in files_of(path, [*names, "test"], hub.subset):
        yield from read_rows(str(file))


def files_of(path: str, names: Sequence[str], subset: str | None = None) -> list[Path]:
    """The file itself; or of a folder, the first of the names that is there, in it, or in its `data` or subset."""
    local = Path(path).expanduser()
    if not local.is_dir():
        return [local]
    folders = [folder for folder in (local, local / "data", local / (subset or "data")) if folder.is_dir()]
    for name in names:
        for folder in folders:
            for ending in ENDINGS:
                if (folder / f"{name}{ending}").is_file():
                    return [folder / f"{name}{ending}"]
            if parts := sorted(folder.glob(f"{name}-*-of-*.parquet")):
                return parts
    raise InputError(
        f"{local}: there is no file {' or '.join(dict.fromkeys(names))} with an ending of {', '.join(ENDINGS)}; write "
        "the file's own path"
    )


def column(row: Row, names: Sequence[str], place: str) -> str:
    """The first of the names that the row has; raises InputError where it has none."""
    for name in names:
        if name in row:
            return name
    others = f" (nor {', '.join(names[1:])})" if len(names) > 1 else ""
    raise InputError(f"{place}: there is no column {names[0]!r}{others}; the columns are {', '.join(map(str, row))}")


def filled(row: Row, names: Sequence[str], place: str) -> str:
    """A column as text, stripped; raises InputError where it is missing or empty."""
    name = column(row, names, place)
    text = text_of(row, name, place).strip()
    if not text:
        raise InputError(f"{place}: the column {name!r} is empty")
    return text


def prompt(row: Row, names: Sequence[str], place: str) -> str:
    """As `filled`, for what a model is asked: it must be text, not a number and not a list."""
    name = column(row, names, place)
    if row[name] is not None and not isinstance(row[name], str):
        raise InputError(f"{place}: the column {name!r} is no text, but {shown(row[name])}")
    return filled(row, names, place)


def listed(row: Row, names: Sequence[str], place: str) -> list[Any]:
    """A column that holds a list; in a csv file it is written as JSON."""
    if not any(name in row for name in names):
        raise InputError(f"{place}: there is no list in the column {names[0]!r}; the columns are {', '.join(row)}")
    name = column(row, names, place)
    value = row[name]
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            value = None
    if not isinstance(value, list) or not value:
        raise InputError(f"{place}: there is no list in the column {name!r}, but {shown(row[name])}; write it as JSON")
    return value


def words(value: Any, name: str, place: str) -> str:
    """An item of a list as text in one line; raises InputError where it is empty, or neither text nor a number."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise InputError(f"{place}: {name} holds {shown(value)}, which is no text")
    text = " ".join(storable(str(value)).split())
    if not text:
        raise InputError(f"{place}: {name} holds an empty text")
    return text


def shown(value: Any) -> str:
    """A value as a message shows it: its beginning."""
    shown = repr(value)
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"
