"""Exact duplicates: traces in, in order, and whether each says again what an earlier one said of the same problem."""

import hashlib

from distill import think
from distill.records import Trace


class Seen:
    """Remembers sixteen bytes for each text, so that millions fit in memory. The first of equal ones stays."""

    def __init__(self) -> None:
        self._first: dict[bytes, str] = {}

    def again(self, trace: Trace) -> str | None:
        """The id of the earlier trace with the same problem and, but for white space, the same text; else None."""
        text = think.join(trace.completion.reasoning, trace.completion.answer)
        words = f"{trace.problem.id}\0{' '.join(text.split())}".encode("utf-8", "surrogatepass")
        digest = hashlib.blake2b(words, digest_size=16).digest()
        first = self._first.get(digest)
        if first is None:
            self._first[digest] = trace.id
        return first
