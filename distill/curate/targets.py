"""The gate's prompts as sequences of words that may not be shared: prompts by task in, for each text what it shares.

Shared sequences are GPT-3's test (Brown et al., 2020, arXiv 2005.14165, appendix C: 13 words, and none that occurs in
ten or more places).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from distill.curate.ngrams import Hashes, Places, Reader, Table, Words, blocks, grams, hashes_of
from distill.curate.normal import NEVER_NAMES, PREFIX, USUAL

Flags = NDArray[np.bool_]

_SIGNS = PREFIX.encode()
_SALT = np.uint64(0x9E3779B97F4A7C15)
_NO_NAMES = frozenset(word.encode() for word in (*USUAL, *NEVER_NAMES))
_PIECE = 3
"""Words in a row by which a filled-in template is told."""


@dataclass(frozen=True)
class Rule:
    """Which sequences count: of `ngram` words. Those that `common_in` or more prompts of one task have, names and
    numbers aside, are its template, as are those whose every three words in a row that many have, names aside (None:
    nothing is template). At least `telling` of the words must not be among `usual`."""

    ngram: int
    common_in: int | None
    telling: int = 0
    usual: frozenset[bytes] = frozenset()


@dataclass(frozen=True)
class Shared:
    """A prompt, by its place among all of them, and the words in a row that a text has in common with it."""

    prompt: int
    words: str


@dataclass(frozen=True)
class Task:
    """A task's prompts, and the words that they write in small letters: others are names."""

    prompts: Sequence[str]
    known: frozenset[bytes]


class Targets:
    """Prompts of several tasks, ready to be looked up. Prompts are numbered on from task to task, and `bare` are those
    that have no sequence of their own: they are shorter, or nothing but template."""

    def __init__(self, reader: Reader, tasks: Sequence[Task], rule: Rule) -> None:
        self._reader = reader
        self._tasks = tasks
        self._rule = rule
        self._words = reader.words([prompt for task in tasks for prompt in task.prompts])
        task_of = np.repeat(np.arange(len(tasks)), [len(task.prompts) for task in tasks])
        self._borders = _flags(self._words.borders(), self._words.hashes.size)
        self._prompt_of = np.cumsum(self._borders)
        keys, self._at = self._own(task_of)
        self._table = Table(keys)
        self.bare = np.setdiff1d(np.arange(task_of.size), self._prompt_of[self._at])

    def find(self, texts: Sequence[str]) -> list[Shared | None]:
        """For each text the first sequence that it shares with a prompt, or None."""
        found: list[Shared | None] = [None] * len(texts)
        for start, block in blocks(texts):
            words = self._reader.words(block)
            at, which = self._table.find(grams(words.hashes, self._rule.ngram))
            if at.size:
                for text, shared in self._confirmed(words, at, self._at[which]):
                    found[start + text] = shared
        return found

    def _confirmed(self, words: Words, at: Places, own: Places) -> list[tuple[int, Shared]]:
        """The texts that do share a sequence: of each one's equal hashes, the first with equal words."""
        texts, firsts = np.unique(np.searchsorted(words.borders(), at), return_index=True)
        ends = [*firsts[1:].tolist(), at.size]
        confirmed = []
        for text, first, end in zip(texts.tolist(), firsts.tolist(), ends, strict=True):
            for place in range(first, end):
                spoken = words.spoken(int(at[place]), self._rule.ngram)
                if spoken == self._words.spoken(int(own[place]), self._rule.ngram):
                    shared = b" ".join(spoken).decode("utf-8", "replace")
                    confirmed.append((text, Shared(int(self._prompt_of[own[place]]), shared)))
                    break
        return confirmed

    def _own(self, task_of: Places) -> tuple[Hashes, Places]:
        """The hashes of the sequences that count, and where in the prompts they begin."""
        rule, size = self._rule, self._rule.ngram
        hashes = grams(self._words.hashes, size)
        if not hashes.size:
            return hashes, np.empty(0, np.int64)
        own = ~_any(self._borders, size)
        nameless, blank, telling = self._seen(task_of)
        if rule.telling:
            own &= _count(telling, size) >= rule.telling
        if rule.common_in is not None:
            template = self._common(grams(blank, size), size, task_of, rule.common_in)
            usual = self._common(grams(nameless, _PIECE), _PIECE, task_of, rule.common_in)
            own &= ~template & _any(~usual, size - _PIECE + 1)
        at = np.flatnonzero(own)
        return hashes[at], at

    def _common(self, hashes: Hashes, size: int, task_of: Places, least: int) -> Flags:
        """Which sequences stand in `least` or more prompts of their task."""
        inside = ~_any(self._borders, size)
        prompts = self._prompt_of[: hashes.size]
        salted = hashes ^ (task_of[prompts].astype(np.uint64) * _SALT)
        key = np.unique(salted, return_inverse=True)[1]
        pairs = np.sort(key[inside] * np.int64(task_of.size) + prompts[inside])
        pairs = pairs[np.append(True, pairs[1:] != pairs[:-1])[: pairs.size]]
        counts = np.bincount(pairs // task_of.size, minlength=int(key.max()) + 1)
        common: Flags = (counts[key] >= least) & inside
        return common

    def _seen(self, task_of: Places) -> tuple[Hashes, Hashes, Flags]:
        """The words' hashes with all names as one word, and with all numbers as one too, and which words tell
        something: those that are neither usual nor a letter alone, whatever acts on it."""
        tasks = np.append(task_of, 0)[self._prompt_of].astype(np.uint64)
        _, first, which = np.unique(self._words.hashes ^ (tasks * _SALT), return_index=True, return_inverse=True)
        nameless, blank, telling = [], [], []
        for at, task in zip(first.tolist(), tasks[first].tolist(), strict=True):
            word = self._words.spoken(at, 1)[0]
            plain = word.lstrip(_SIGNS)
            number = plain[:1].isdigit()
            name = not number and plain not in self._tasks[task].known and plain not in _NO_NAMES
            nameless.append(b"@" if name else word)
            blank.append(b"#" if number else nameless[-1])
            telling.append(plain not in self._rule.usual and (number or len(plain) > 1))
        return hashes_of(nameless)[which], hashes_of(blank)[which], np.array(telling, bool)[which]


def _flags(at: Places, size: int) -> Flags:
    flags = np.zeros(size, bool)
    flags[at] = True
    return flags


def _count(flags: Flags, size: int) -> Places:
    """How many of every `size` flags in a row are set."""
    sums = np.concatenate([[0], np.cumsum(flags)])
    counts: Places = sums[size:] - sums[:-size]
    return counts


def _any(flags: Flags, size: int) -> Flags:
    some: Flags = _count(flags, size) > 0
    return some
