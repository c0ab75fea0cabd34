"""The run folder: stages, their fingerprints, and the manifest that seals each, written last, by rename."""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill.errors import DistillError, ShardError
from distill.records import RECORDS_VERSION

STAGES = {
    "problems": "1-problems",
    "sample": "2-traces",
    "curate": "3-kept",
    "train": "4-student",
    "gate": "5-gate",
    "release": "6-release",
}


@dataclass(frozen=True)
class Run:
    """One run's folder."""

    root: Path

    def folder(self, stage: str) -> Path:
        """The folder of a stage, made if it is not there."""
        path = self.root / STAGES[stage]
        path.mkdir(parents=True, exist_ok=True)
        return path

    def manifest(self, stage: str) -> dict[str, Any] | None:
        """What sealed the stage, or None where it is not sealed; raises ShardError for a broken manifest."""
        path = self.root / STAGES[stage] / "manifest.json"
        if not path.exists():
            return None
        try:
            manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ShardError(f"{path} is not JSON; delete it to run the stage again") from error
        if not isinstance(manifest, dict):
            raise ShardError(f"{path} is no manifest; delete it to run the stage again")
        if manifest.get("records_version") != RECORDS_VERSION:
            return None
        return manifest

    def done(self, stage: str, fingerprint: str) -> bool:
        """Whether the stage is sealed by exactly this fingerprint."""
        manifest = self.manifest(stage)
        return manifest is not None and manifest["fingerprint"] == fingerprint

    def begin(self, stage: str, fingerprint: str, keep: str = "") -> Path:
        """Makes the stage's folder ready, and takes the seals off everything after it.

        What this very fingerprint left there stays, to go on from; what another one left is removed, unless `keep`
        (say, the teacher that was paid for its answers) is still the same: what was sampled from another teacher is set
        aside. Later stages' folders are removed, except paid-for traces, whose ids say what is still of use.
        """
        folder = self.folder(stage)
        mark, wanted = folder / "begun.json", {"fingerprint": fingerprint, "keep": keep}
        begun = _begun(mark) if mark.exists() else None
        stays = begun == wanted or (begun is not None and keep != "" and begun.get("keep") == keep)
        if begun is not None and not stays:
            if keep and stage == "sample":
                folder.rename(folder.with_name(f"{folder.name}.before-{time.time_ns()}"))
            else:
                shutil.rmtree(folder)
            folder = self.folder(stage)
        write_json(mark, wanted)
        (folder / "manifest.json").unlink(missing_ok=True)
        for later in list(STAGES)[list(STAGES).index(stage) + 1 :]:
            if later == "sample":
                (self.root / STAGES[later] / "manifest.json").unlink(missing_ok=True)
            else:
                shutil.rmtree(self.root / STAGES[later], ignore_errors=True)
        return folder

    def lock(self, *, wait: bool = False) -> contextlib.AbstractContextManager[None]:
        """Keeps other processes off this run; raises DistillError where one is at work, or waits for it if asked."""
        return locked(self.root / ".lock", f"another distill is at work on {self.root}; wait until it ends", wait=wait)

    def seal(self, stage: str, fingerprint: str, facts: dict[str, Any]) -> dict[str, Any]:
        """Writes the manifest: from here on the stage is done."""
        manifest = {
            "stage": stage,
            "fingerprint": fingerprint,
            "records_version": RECORDS_VERSION,
            "sealed": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            **facts,
        }
        write_json(self.folder(stage) / "manifest.json", manifest)
        return manifest


def _begun(mark: Path) -> dict[str, Any]:
    """What is at work in a stage's folder; a broken mark is nobody's, and so is what lies beside it."""
    try:
        begun = json.loads(mark.read_text(encoding="utf-8"))
    except ValueError:
        return {}
    return begun if isinstance(begun, dict) else {}


@contextlib.contextmanager
def locked(path: Path, otherwise: str, *, wait: bool = False) -> Iterator[None]:
    """Holds a lock file until the block, or the process, ends; raises DistillError(`otherwise`) where another process
    holds it, or waits for it if asked."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            raise DistillError(otherwise) from error
        yield


def fingerprint(*parts: Any) -> str:
    """A short hash of JSON-like parts, the same for the same content."""
    text = json.dumps([RECORDS_VERSION, *parts], sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def hash_file(path: Path) -> str:
    """The sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_path(path: str | None) -> str | None:
    """What a local file or folder holds, in one hash; None for what is not here (a Hub id, say)."""
    if path is None or not (local := Path(path).expanduser()).exists():
        return None
    if local.is_file():
        return hash_file(local)
    return fingerprint(list(hash_files(local).items()))


def hash_files(folder: Path) -> dict[str, str]:
    """The sha256 of every file under a folder, by its path there, in order."""
    files = sorted(item for item in folder.rglob("*") if item.is_file())
    return {str(item.relative_to(folder)): hash_file(item) for item in files}


def write_json(path: Path, data: Any) -> None:
    """Writes JSON as `write_text` does."""
    write_text(path, json.dumps(data, indent=2, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Writes a text as `write_lines` does."""
    write_lines(path, [text])


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Writes texts, which need not fit into one, under a temporary name, flushes them to the disk, and renames; raises
    OSError for a full disk, which gets its room back."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("w", encoding="utf-8") as file:
            file.writelines(lines)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    os.replace(partial, path)
