"""Short prompts inside longer ones: prompts of tasks in, and for each text the short prompt that stands in it whole.

Each short prompt is told by the rarest six words in a row that it has in its task; where they stand in a text, the rest
of the prompt is compared.
"""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from distill.curate.ngrams import Places, Reader, Table, blocks, grams
from distill.curate.plain import NORMAL
from distill.curate.targets import Shared

_LEAST = 6
"""Words that a short prompt must have to be looked for inside longer ones; shorter ones match whole prompts only."""


class Inside:
    """Prompts in normal form, by task and numbered on from task to task; `wanted` are those that are looked for."""

    def __init__(self, tasks: Sequence[Sequence[str]], wanted: Places) -> None:
        self._words: dict[int, list[str]] = {}
        self._anchored: dict[str, list[tuple[int, int]]] = defaultdict(list)
        asked = set(wanted.tolist())
        self._reader = Reader(NORMAL)
        first = 0
        for prompts in tasks:
            self._add(prompts, first, asked)
            first += len(prompts)
        hashes = grams(self._reader.words(list(self._anchored)).hashes, _LEAST)
        self._table = Table(hashes[:: _LEAST + 1])  # each anchor is six words and a border

    def find(self, texts: Sequence[str]) -> list[Shared | None]:
        """For each text in normal form a short prompt that stands in it, or None."""
        found: list[Shared | None] = [None] * len(texts)
        if not self._anchored:
            return found
        for start, block in blocks(texts):
            words = self._reader.words(block)
            at, _ = self._table.find(grams(words.hashes, _LEAST))
            owners, firsts = np.unique(np.searchsorted(words.borders(), at), return_index=True)
            begins = np.concatenate([[0], words.borders() + 1])[owners]
            for owner, begin, places in zip(owners.tolist(), begins.tolist(), np.split(at, firsts[1:]), strict=False):
                spoken = block[owner].split(" ")
                around = (self._around(spoken, place - begin) for place in places.tolist())
                found[start + owner] = next((shared for shared in around if shared is not None), None)
        return found

    def _around(self, words: list[str], place: int) -> Shared | None:
        """The short prompt whose six words stand at a place, if the rest of it stands around them."""
        for prompt, offset in self._anchored.get(" ".join(words[place : place + _LEAST]), ()):
            wanted = self._words[prompt]
            begin = place - offset
            if begin >= 0 and words[begin : begin + len(wanted)] == wanted:
                return Shared(prompt, " ".join(wanted))
        return None

    def _add(self, prompts: Sequence[str], first: int, asked: set[int]) -> None:
        """Anchors a task's prompts, of which the first one has a number."""
        wanted = [at for at in range(len(prompts)) if first + at in asked]
        if not wanted:
            return
        words = self._reader.words(prompts)
        begins = np.concatenate([[0], words.borders() + 1])
        _, which, counts = np.unique(grams(words.hashes, _LEAST), return_inverse=True, return_counts=True)
        for at in wanted:
            own = prompts[at].split(" ")
            if len(own) >= _LEAST:
                begin = int(begins[at])
                offset = int(np.argmin(counts[which[begin : begin + len(own) - _LEAST + 1]]))
                self._words[first + at] = own
                self._anchored[" ".join(own[offset : offset + _LEAST])].append((first + at, offset))
