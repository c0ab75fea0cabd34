"""Documents on disk: made once for the same traces, tokenizer and template, never taken when torn, read by place."""

import importlib.util
import json
import os
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distill import shards
from distill.errors import DistillError
from distill.records import Trace
from distill.student_sections import Student
from students.corpus import split
from students.documents import Documents, prepare
from students.render import render

_spec = importlib.util.spec_from_file_location("students_tiny", Path(__file__).with_name("tiny.py"))
tiny = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tiny)

HOSTILE = ["", "../../etc/passwd", "a\0b\0\0", "Ω≠∞", "x" * 10_000, "'; drop table traces --", "\n\r\t"]


def quiet(line: str) -> None:
    """Says nothing."""


def write(folder: Path, rows: list[Trace]) -> Path:
    shards.write_parts(folder, rows, Trace)
    return folder


def made(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.iterdir() if path.is_dir())


def test_documents_are_what_is_rendered(tmp_path: Path) -> None:
    rows = tiny.traces(300)
    documents = prepare(write(tmp_path / "kept", rows), tiny.tokenizer(), tmp_path / "cache", quiet)
    assert len(documents) == 300
    for at in (0, 7, 255, 256, 299):
        expected, found = render(tiny.tokenizer(), rows[at]), documents[at]
        assert found.ids_T.tolist() == list(expected.ids) and found.prompt_tokens == expected.prompt_tokens
        assert found.trace == rows[at].id and documents.tokens[at] == found.tokens


def test_any_id_is_taken_as_it_is(tmp_path: Path) -> None:
    named = zip(tiny.traces(len(HOSTILE)), HOSTILE, strict=True)
    rows = [replace(one, id=name, problem=replace(one.problem, id=name)) for one, name in named]
    documents = prepare(write(tmp_path / "kept", rows), tiny.tokenizer(), tmp_path / "cache", quiet)
    assert [document.trace for document in documents] == HOSTILE
    assert len(set(documents.problems.tolist())) == 7


def test_no_traces_are_no_documents(tmp_path: Path) -> None:
    documents = prepare(write(tmp_path / "kept", []), tiny.tokenizer(), tmp_path / "cache", quiet)
    assert len(documents) == 0 and list(documents) == []


def test_the_cache_is_for_these_traces_this_tokenizer_and_this_template(tmp_path: Path) -> None:
    kept, cache = write(tmp_path / "kept", tiny.traces(5)), tmp_path / "cache"
    prepare(kept, tiny.tokenizer(), cache, quiet)
    (first,) = made(cache)
    before = (cache / first / "ids.bin").stat().st_mtime_ns
    prepare(kept, tiny.tokenizer(), cache, quiet)
    assert made(cache) == [first] and (cache / first / "ids.bin").stat().st_mtime_ns == before
    template, token, beginning = tiny.tokenizer(), tiny.tokenizer(), tiny.tokenizer()
    template.chat_template += " "
    token.add_tokens(["<x>"])
    beginning.bos_token = "<|im_start|>"  # templates may begin with it
    seen = {first}
    for tokenizer in (template, token, beginning):
        prepare(kept, tokenizer, cache, quiet)
        assert len(made(cache)) == 1, "what was made before is stale, and takes space"
        seen |= set(made(cache))
    prepare(write(tmp_path / "kept", tiny.traces(6)), tiny.tokenizer(), cache, quiet)
    assert len(seen | set(made(cache))) == 5


def test_what_is_not_the_cache_stays(tmp_path: Path) -> None:
    kept, cache = write(tmp_path / "kept", tiny.traces(5)), tmp_path / "cache"
    (cache / "notes").mkdir(parents=True)
    (cache / "0123456789abcdef").mkdir()
    (cache / "0123456789abcdef.partial").mkdir()
    prepare(kept, tiny.tokenizer(), cache, quiet)
    assert len(made(cache)) == 2 and (cache / "notes").exists()


@pytest.mark.parametrize("name", ["ids.bin", "rows.bin", "names.bin", "made.json"])
def test_torn_files_are_made_again(tmp_path: Path, name: str) -> None:
    kept, cache = write(tmp_path / "kept", tiny.traces(5)), tmp_path / "cache"
    whole = [document.ids_T.tolist() for document in prepare(kept, tiny.tokenizer(), cache, quiet)]
    (folder,) = (cache / one for one in made(cache))
    os.truncate(folder / name, 8)
    assert [document.ids_T.tolist() for document in prepare(kept, tiny.tokenizer(), cache, quiet)] == whole
    (folder / name).unlink()
    assert [document.ids_T.tolist() for document in prepare(kept, tiny.tokenizer(), cache, quiet)] == whole


def test_what_a_kill_leaves_is_not_taken(tmp_path: Path) -> None:
    """Whatever is on the disk in the middle of it has another name, which the next call removes."""
    kept, cache = write(tmp_path / "kept", tiny.traces(2)), tmp_path / "cache"
    seen: list[list[str]] = []

    class Dying(BaseException):
        """As a kill, in that nothing is tidied up."""

    def rows(*_: Any) -> Any:
        yield from tiny.traces(300)
        seen.append(made(cache))
        raise Dying

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("distill.shards.read_parts", rows)
        with pytest.raises(Dying):
            prepare(kept, tiny.tokenizer(), cache, quiet)
    assert seen[0] == made(cache) and seen[0][0].endswith(".partial")
    assert len(prepare(kept, tiny.tokenizer(), cache, quiet)) == 2
    assert [f"{name}.partial" for name in made(cache)] == seen[0]


def test_memory_does_not_grow_with_the_traces(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("students.documents.AT_ONCE", 16)
    peaks = []
    for count in (64, 512):
        monkeypatch.setattr("distill.shards.read_parts", lambda *_, count=count: iter(tiny.traces(8) * (count // 8)))
        tracemalloc.start()
        prepare(write(tmp_path / str(count), []), tiny.tokenizer(), tmp_path / f"cache-{count}", quiet)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0]


def test_how_far_it_is_is_told(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("students.documents.AT_ONCE", 4)
    monkeypatch.setattr("students.documents.TOLD_EVERY", 10)
    said: list[str] = []
    documents = prepare(write(tmp_path / "kept", tiny.traces(25)), tiny.tokenizer(), tmp_path / "cache", said.append)
    tokens = np.cumsum(documents.tokens)
    assert said == [f"{count} traces tokenized, {tokens[count - 1]:,} tokens" for count in (12, 20)]


@pytest.fixture
def documents(tmp_path: Path) -> Documents:
    """Nine short traces of nine problems, and one of 400 tokens or more."""
    rows = [*tiny.traces(9), tiny.trace("Long?", "word " * 80)]
    return prepare(write(tmp_path / "kept", rows), tiny.tokenizer(), tmp_path / "cache", quiet)


def section(**changes: Any) -> Student:
    return Student(base="nowhere", **changes)


def test_long_traces_are_left_out_whole_and_counted(documents: Documents) -> None:
    settings = section(max_tokens=300)
    parted = split(documents, settings)
    assert parted.train == list(range(9)) and not parted.held_out
    assert (parted.too_long, parted.too_long_tokens) == (1, documents.tokens[9])
    assert parted.told(settings) == ["1 of 10 traces are longer than 300 tokens and left out"]
    assert split(documents, section()).told(section()) == []


def test_too_many_long_traces_are_refused(documents: Documents) -> None:
    at_99 = int(np.quantile(documents.tokens, 0.99))
    with pytest.raises(DistillError) as told:
        split(documents, section(max_tokens=300, max_too_long=0.05))
    assert str(told.value) == (
        "1 of 10 traces (10%) are longer than student.max_tokens: 300, and none is ever cut; write "
        f"student.max_tokens: {at_99} for 99 % of them, or a larger student.max_too_long"
    )
    with pytest.raises(DistillError, match=r"^all 10 traces \(100%\) are longer than student.max_tokens: 10, and none"):
        split(documents, section(max_tokens=10, max_too_long=1))


def test_the_cache_knows_no_length_limit(documents: Documents, tmp_path: Path) -> None:
    """Another max_tokens takes other documents of the same files."""
    lengths = json.loads(next((tmp_path / "cache").glob("*/made.json")).read_text())
    assert lengths["traces"] == 10 and lengths["tokens"] == documents.tokens.sum()
