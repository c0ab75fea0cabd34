"""What the small Hub keeps: repositories as commits of trees of blobs, and how it refuses."""

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

LFS_SUFFIXES = (".safetensors", ".parquet", ".bin")
LFS_FROM_BYTES = 10_000_000
ATTRIBUTES = b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"


class Refusal(Exception):
    """An answer with a status other than 200."""

    def __init__(self, status: int, message: str, code: str = "") -> None:
        super().__init__(message)
        self.status, self.code = status, code


@dataclass(frozen=True)
class Blob:
    """A file; `lfs` says that git itself holds a pointer only."""

    content: bytes
    lfs: bool

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def oid(self) -> str:
        data = self.content
        if self.lfs:
            data = b"version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %d\n" % (
                self.sha256.encode(),
                len(self.content),
            )
        return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()

    def row(self, path: str) -> dict[str, Any]:
        row: dict[str, Any] = {"type": "file", "path": path, "size": len(self.content), "oid": self.oid}
        if self.lfs:
            row["lfs"] = {"oid": self.sha256, "size": len(self.content), "pointerSize": 130}
        return row


@dataclass
class Repo:
    """`commits` maps a commit to its tree, `branches` and `tags` map names to commits."""

    private: bool
    commits: dict[str, dict[str, Blob]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    lfs: dict[str, bytes] = field(default_factory=dict)

    def commit(self, branch: str, tree: dict[str, Blob]) -> str:
        parent = self.branches.get(branch, "")
        facts = [parent, len(self.commits), sorted((path, blob.oid) for path, blob in tree.items())]
        name = hashlib.sha1(json.dumps(facts).encode()).hexdigest()
        self.commits[name] = tree
        self.branches[branch] = name
        return name

    def at(self, revision: str) -> str:
        for names in (self.branches, self.tags):
            if revision in names:
                return names[revision]
        if revision in self.commits:
            return revision
        raise Refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")

    def tree(self, revision: str = "main") -> dict[str, Blob]:
        return self.commits[self.at(revision)]

    def listing(self, revision: str = "main") -> dict[str, str]:
        """Every file's sha256: what a reader of the revision sees."""
        return {path: blob.sha256 for path, blob in sorted(self.tree(revision).items())}
