"""Rows with their places, out of every kind of local file."""

import json
from pathlib import Path

import pytest

from distill.errors import InputError
from distill.tables import read_rows, text_of


def test_every_kind_of_file_gives_the_same_rows(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "a.json").write_text('{"version": 1, "examples": [{"q": "x"}, {"q": "y"}]}')
    (tmp_path / "a.jsonl").write_text('{"q": "x"}\n\n{"q": "y"}\n')
    (tmp_path / "a.csv").write_text("q\nx\ny\n")
    pq.write_table(pa.table({"q": ["x", "y"]}), tmp_path / "a.parquet")
    for ending in ("json", "jsonl", "csv", "parquet"):
        assert [row["q"] for _, row in read_rows(str(tmp_path / f"a.{ending}"))] == ["x", "y"]
    assert [place.rsplit(", ")[-1] for place, _ in read_rows(str(tmp_path / "a.jsonl"))] == ["line 1", "line 3"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", b'{"q": 1}\n{"q": 2}\n', "line 2: not JSON .* is it jsonl"),
        ("a.json", b"[" * 100_000, "not JSON that can be read"),
        ("a.jsonl", b'{"q": ' + b"9" * 5000 + b"}\n", "line 1: not JSON that can be read"),
        ("a.json", b"5", "not a list of rows, but '5'"),
        ("a.jsonl", b'{"q": 1}\n[1]\n', "line 2: not an object with columns"),
        ("a.jsonl", b'{"q": "\xff"}\n', "is not UTF-8"),
        ("a.parquet", b"no", "is not parquet"),
        ("a.txt", b"x", "'.txt' is not known"),
    ],
)
def test_bad_files(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        list(read_rows(str(tmp_path / name)))


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    for name, content in (("a.json", '[{"q": "x"}]'), ("a.jsonl", '{"q": "x"}\n'), ("a.csv", "q\nx\n")):
        (tmp_path / name).write_text(content, encoding="utf-8-sig")
        assert [row for _, row in read_rows(str(tmp_path / name))] == [{"q": "x"}]


def test_a_file_that_is_not_there_is_not_looked_for_on_the_hub() -> None:
    with pytest.raises(InputError, match="there is no such file"):
        list(read_rows("./nowhere.jsonl"))


def test_text_of() -> None:
    assert [text_of({"a": value}, "a", "x") for value in ("t", None, 3, ["é"])] == ["t", "", "3", '["é"]']
    with pytest.raises(InputError, match="x: there is no column 'b'; the columns are a"):
        text_of({"a": 1}, "b", "x")


def test_what_no_file_can_hold_is_replaced() -> None:
    assert text_of(json.loads('{"a": "half \\ud83d and whole \\ud83d\\ude00"}'), "a", "x") == "half � and whole 😀"
    assert text_of({"a": ["\ud800"]}, "a", "x") == '["�"]'
