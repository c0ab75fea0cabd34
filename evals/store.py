"""What models answered and scored, kept beside all runs: takes what an entry is about, gives the entry, open and alone.

An entry holds one model's answers to one task under one way of sampling, whatever the number of problems and of samples
per problem: `answers.jsonl`, one finished sample a line, appended as it ends; and `scored/<key>/`, each whole
evaluation's score with lm-eval's two files. Folders are named by hashes; `entry.json` says what they are.
"""

import contextlib
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from distill import shards
from distill.errors import DistillError, ShardError
from distill.journal import Journal
from distill.records import Completion, Request, Score
from distill.run import fingerprint, locked, write_json
from distill.samples import is_whole

FILES = 2
"""Beside a score: lm-eval's results and its samples."""

Say = Callable[[str], None]
Key = tuple[str, str, int]


@dataclass(frozen=True)
class Answered:
    """One finished sample: `prompt` is the sha256 of what was asked, `engine` the kind of engine that answered."""

    id: str
    prompt: str
    seed: int
    engine: str
    completion: Completion

    @property
    def key(self) -> Key:
        """All that it depends on, besides what the entry is about."""
        return self.id, self.prompt, self.seed


class Entry:
    """An entry that is open. Only one process at a time may hold it: `opened` sees to that."""

    def __init__(self, folder: Path, say: Say) -> None:
        self.folder, self._say = folder, say
        self._journal = Journal(folder / "answers.jsonl", Answered)

    def known(self, requests: Sequence[Request]) -> dict[str, Answered]:
        """The samples among these requests that are there already, by the requests' ids. Says how many lines of the
        journal cannot be read; what they held is asked again."""
        wanted = {_key(request) for request in requests}
        found: dict[str, Answered] = {}
        broken = 0
        with self._journal.path.open("rb") as file:
            for line in file:
                answered = _read(line)
                if answered is None:
                    broken += 1
                elif answered.key in wanted:
                    found.setdefault(answered.id, answered)
        if broken:
            self._say(f"{broken} lines of {self._journal.path} cannot be read; what they held is asked again")
        return found

    def keep(self, request: Request, completion: Completion, engine: str) -> Answered:
        """Takes a sample, which outlives the process from here on; raises OSError when the disk is full."""
        answered = Answered(*_key(request), engine, completion)
        self._journal.append(answered)
        return answered

    def score(self, key: str) -> Score | None:
        """The score of a whole evaluation, None where it was not made, its file is no score, or lm-eval's two files
        are not all beside it."""
        path = self._scored(key) / "score.json"
        if not path.exists() or len(self.files(key)) < FILES:
            return None
        try:
            return shards.from_row(Score, json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError, ShardError):
            self._say(f"{path} cannot be read; the answers are judged again")
            return None

    def put(self, key: str, score: Score, write: Callable[[Path], None]) -> None:
        """Keeps a score, and the files that `write` makes in the folder that it is given; all of it or nothing."""
        whole = self._scored(key)
        partial = whole.with_name(f"{key}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        try:
            write(partial)
            write_json(partial / "score.json", shards.to_row(score))
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)  # a full disk gets its room back
            raise
        shutil.rmtree(whole, ignore_errors=True)
        partial.rename(whole)

    def files(self, key: str) -> list[Path]:
        """What lies beside a score."""
        return sorted(path for path in self._scored(key).iterdir() if path.name != "score.json")

    def _scored(self, key: str) -> Path:
        return self.folder / "scored" / key

    def close(self) -> None:
        """Flushes to the disk and lets go."""
        self._journal.close()


@contextlib.contextmanager
def opened(store: Path, about: Mapping[str, Any], name: str, say: Say) -> Iterator[Entry]:
    """The entry about a model (`content`), a task and a sampling; waits, and says so, while another process holds it.

    `name` is what people call the model; raises OSError where the folder cannot be written.
    """
    folder = store / fingerprint(about)
    busy = f"another distill is measuring {name} on {about['task']}; waiting until it ends"
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(locked(folder / ".lock", busy))
        except DistillError:
            say(busy)
            held.enter_context(locked(folder / ".lock", busy, wait=True))
        write_json(folder / "entry.json", {**about, "name": name})
        entry = Entry(folder, say)
        held.callback(entry.close)
        yield entry


def _key(request: Request) -> Key:
    return request.id, hashlib.sha256(request.prompt.encode()).hexdigest(), request.seed


def _read(line: bytes) -> Answered | None:
    """A line of the journal, None where it is no whole sample."""
    try:
        answered = shards.from_row(Answered, orjson.loads(line))
    except (ValueError, TypeError, ShardError):
        return None
    named = all(isinstance(text, str) for text in (answered.id, answered.prompt, answered.engine))
    return answered if named and is_whole(answered.completion) else None
