"""Kept traces as token ids on disk: takes the curated parts and a tokenizer, gives documents that are read by place.

The files are made once, as a stream, and found again by a fingerprint of the traces, the tokenizer and its chat
template; they are mapped into memory, so that a million traces take none.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from distill import shards
from distill.records import Trace
from distill.run import fingerprint, hash_file, locked, write_json
from students.render import render_all

AT_ONCE = 256
"""Traces that are tokenized together."""
TOLD_EVERY = 10_000
"""Traces between two lines on how far it is."""
RENDERING = 1
"""Counted up whenever the same trace, template and tokenizer make other ids than before."""
_FIELDS = ("start", "tokens", "prompt_tokens", "problem", "name", "name_bytes")
_ROW = np.dtype(list(zip(_FIELDS, ("<i8", "<i4", "<i4", "<u8", "<i8", "<i4"), strict=True)))
_KINDS = {"rows.bin": _ROW, "ids.bin": np.dtype("<i4"), "names.bin": np.dtype("u1")}
_MADE = re.compile(r"[0-9a-f]{16}(\.partial)?")


@dataclass(frozen=True)
class Document:
    """A rendered trace. `ids_T` are int32; `trace` is its id."""

    ids_T: Tensor
    prompt_tokens: int
    trace: str = ""

    @property
    def tokens(self) -> int:
        """Prompt and completion."""
        return int(self.ids_T.shape[0])


class Documents(Sequence[Document]):
    """Documents on disk, by place; `tokens` are their lengths, `problems` the same number for the same problem only."""

    def __init__(self, folder: Path) -> None:
        self._rows, self._ids, self._names = (_mapped(folder / name, kind) for name, kind in _KINDS.items())
        self.tokens = np.asarray(self._rows["tokens"])
        self.problems = np.asarray(self._rows["problem"])

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, place: Any) -> Any:
        row = self._rows[place]
        start, tokens = int(row["start"]), int(row["tokens"])
        ids_T = torch.from_numpy(np.array(self._ids[start : start + tokens], dtype=np.int32))
        name = int(row["name"])
        trace = self._names[name : name + int(row["name_bytes"])].tobytes().decode("utf-8", "surrogatepass")
        return Document(ids_T, int(row["prompt_tokens"]), trace)


def problem_number(problem: str) -> int:
    """64 bits of a hash of a problem's id, whatever stands in that: the same number for the same problem only."""
    return int.from_bytes(hashlib.sha256(problem.encode("utf-8", "surrogatepass")).digest()[:8], "big")


def prepare(kept: Path, tokenizer: Any, cache: Path, say: Callable[[str], None]) -> Documents:
    """The documents of every trace of the parts in `kept`, whatever their length, made where they are not there yet.

    What was made of other traces, or for another tokenizer, is removed once the new is whole. Raises OSError when the
    disk is full; a folder that is not whole is never taken for one that is.
    """
    files = {path.name: hash_file(path) for path in sorted(kept.glob("part-*.parquet"))}
    folder = cache / fingerprint(files, _identity(tokenizer))
    with locked(cache / ".lock", "another process prepares the same data", wait=True):  # one of torchrun's makes them
        if not _whole(folder):
            partial = folder.with_name(f"{folder.name}.partial")
            _remove(cache, lambda path: path.suffix == ".partial" or path == folder)
            partial.mkdir(parents=True)
            _write(shards.read_parts(kept, Trace), tokenizer, partial, say)
            partial.rename(folder)
            _remove(cache, lambda path: path != folder)
    return Documents(folder)


def _identity(tokenizer: Any) -> str:
    """What token ids depend on besides the texts; a tokenizer without a fast backend is known by its vocabulary."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    known = backend.to_str() if backend is not None else sorted(tokenizer.get_vocab().items())
    special = {name: str(token) for name, token in tokenizer.special_tokens_map.items()}
    return fingerprint(RENDERING, type(tokenizer).__name__, known, tokenizer.chat_template, special)


def _whole(folder: Path) -> bool:
    """Whether every file has the size that it had when it was made."""
    try:
        made = json.loads((folder / "made.json").read_text(encoding="utf-8"))
        return bool(made["bytes"] == {name: (folder / name).stat().st_size for name in _KINDS})
    except (FileNotFoundError, ValueError, KeyError):
        return False


def _remove(cache: Path, unwanted: Callable[[Path], bool]) -> None:
    for path in cache.iterdir():
        if _MADE.fullmatch(path.name) and unwanted(path):
            shutil.rmtree(path)


def _mapped(path: Path, kind: Any) -> Any:
    """A file's numbers, mapped into memory; no file without any can be."""
    return np.memmap(path, dtype=kind, mode="r") if path.stat().st_size else np.zeros(0, kind)


def _write(traces: Iterator[Trace], tokenizer: Any, folder: Path, say: Callable[[str], None]) -> None:
    traces_made = tokens = name_bytes = 0
    with ExitStack() as opened:
        opened.enter_context(_all_cores())
        rows_file, ids_file, names_file = (opened.enter_context((folder / name).open("wb")) for name in _KINDS)
        while some := list(islice(traces, AT_ONCE)):
            rows = []
            for trace, one in zip(some, render_all(tokenizer, some), strict=True):
                name = trace.id.encode("utf-8", "surrogatepass")
                ids_file.write(np.asarray(one.ids, dtype="<i4").tobytes())
                names_file.write(name)
                number = problem_number(trace.problem.id)
                rows.append((tokens, len(one.ids), one.prompt_tokens, number, name_bytes, len(name)))
                tokens, name_bytes = tokens + len(one.ids), name_bytes + len(name)
            rows_file.write(np.array(rows, dtype=_ROW).tobytes())
            before, traces_made = traces_made, traces_made + len(rows)
            if traces_made // TOLD_EVERY > before // TOLD_EVERY:
                say(f"{traces_made:,} traces tokenized, {tokens:,} tokens")
    sizes = {name: (folder / name).stat().st_size for name in _KINDS}
    write_json(folder / "made.json", {"traces": traces_made, "tokens": tokens, "bytes": sizes})


@contextmanager
def _all_cores() -> Iterator[None]:
    """Lets the tokenizer use every core; the command turns that off, since processes that are forked later mind it."""
    before = os.environ.get("TOKENIZERS_PARALLELISM")
    os.environ["TOKENIZERS_PARALLELISM"] = "true"
    try:
        yield
    finally:
        if before is None:
            del os.environ["TOKENIZERS_PARALLELISM"]
        else:
            os.environ["TOKENIZERS_PARALLELISM"] = before
