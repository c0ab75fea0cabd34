"""Sequences of n words, looked up by the megabyte: prompts in, and for each text a sequence it shares with one of them.

The work is done by numpy on whole blocks of texts: a table maps bytes (case, and what parts words), a word is hashed
eight bytes at a time, and n words in a row are a polynomial in their hashes, modulo 2^64. Hashes that are in a small
table, and then among the sorted hashes of the prompts, are compared as text, so that a collision is never a match.
Time and memory are linear in the texts, whatever they hold.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
Places = NDArray[np.int64]

_BORDER = 0xFF
"""A byte that no UTF-8 has: it stands as a word of its own between two texts."""

_SPACE = 32
_BLOCK = 1 << 18
"""Bytes of text that are looked at at once: what is made of them stays in a core's cache."""

_STEPS = 8
"""Words are hashed in so many steps of eight bytes; longer ones, which no language has, are digested one by one."""

_TABLE_BITS = 22
_SPARSE = 32
"""Bits of the first table, at most, and places in it for each hash."""

_BASE = 0x9E3779B97F4A7C15
_MIX = np.uint64(0xD6E8FEB86659FD93)
_LENGTH = np.uint64(0xA0761D6478BD642F)
_HALF = np.uint64(32)
_MASKS = np.array([(1 << (8 * size)) - 1 for size in range(9)], np.uint64)


@dataclass(frozen=True)
class Form:
    """How a text becomes words.

    `read` gives a text's bytes; `table` has a byte for each of 256, where a space parts words; `aliases` are words
    that are read as others, `commands` words that are left out where a backslash stands before them, and `spell` gives
    the words that a word which is not ASCII is read as (None: it stays).
    """

    read: Callable[[str], bytes]
    table: bytes
    aliases: Mapping[bytes, bytes] = field(default_factory=dict)
    commands: frozenset[bytes] = frozenset()
    spell: Callable[[bytes], list[bytes]] | None = None


@dataclass(frozen=True)
class Words:
    """The words of several texts, one after another with a border between two texts: where each starts and ends in
    `buffer`, and its hash."""

    buffer: bytes
    starts: Places
    ends: Places
    hashes: Hashes
    aliases: Mapping[bytes, bytes]

    def spoken(self, at: int, count: int) -> list[bytes]:
        """`count` words from the one at `at` on."""
        bounds = zip(self.starts[at : at + count].tolist(), self.ends[at : at + count].tolist(), strict=True)
        words = [self.buffer[start:end] for start, end in bounds]
        return [self.aliases.get(word, word) for word in words] if self.aliases else words

    def borders(self) -> Places:
        """Which words are borders: the first one ends the first text."""
        return np.flatnonzero(np.frombuffer(self.buffer, np.uint8)[self.starts] == _BORDER)


class Reader:
    """Texts in, their words out, by one form."""

    def __init__(self, form: Form) -> None:
        self.form = form
        special = sorted({*form.aliases, *form.commands})
        self._special = Table(hashes_of(special)) if special else None
        self._instead = hashes_of([form.aliases.get(word, word) for word in special])
        self._is_command = np.array([word in form.commands for word in special], bool)

    def words(self, texts: Sequence[str]) -> Words:
        """The words of texts, borders between them."""
        raw = b" " + b" \xff ".join(map(self.form.read, texts)) + b" " * 9
        buffer = raw.translate(self.form.table)
        apart = np.frombuffer(buffer, np.uint8) != _SPACE
        edges = np.flatnonzero(apart[1:] != apart[:-1]) + 1
        starts, ends = edges[0::2], edges[1::2]
        words = Words(buffer, starts, ends, _hash(buffer, starts, ends - starts), self.form.aliases)
        out = np.empty(0, np.int64) if self._special is None else self._read_as_others(raw, words, self._special)
        strange = np.empty(0, np.int64) if self.form.spell is None else _strange(words)
        return self._rewritten(words, out, strange) if out.size or strange.size else words

    def _read_as_others(self, raw: bytes, words: Words, special: "Table") -> Places:
        """Gives aliases the hash of what they are read as; the commands, which go, are what it returns."""
        at, which = special.find(words.hashes)
        command = self._is_command[which]
        words.hashes[at[~command]] = self._instead[which[~command]]
        at = at[command]
        out: Places = at[np.frombuffer(raw, np.uint8)[words.starts[at] - 1] == ord("\\")]
        return out

    def _rewritten(self, words: Words, out: Places, strange: Places) -> Words:
        """Without the words that go, and with the strange ones as they are spelled, which stand behind the buffer."""
        distinct, first, which = np.unique(words.hashes[strange], return_index=True, return_inverse=True)
        spelled = [self._spelled(words, int(at)) for at in strange[first]]
        flat = [word for one in spelled for word in one]
        counts = np.array([len(one) for one in spelled], np.int64)
        times = np.ones(words.starts.size, np.int64)
        times[out] = 0
        times[strange] = counts[which] if distinct.size else 0
        sizes = np.array([len(word) for word in flat], np.int64)
        behind = len(words.buffer) + np.cumsum(sizes + 1) - sizes - 1
        buffer = words.buffer + b" ".join(flat) + b" " * 9
        starts, ends = np.repeat(words.starts, times), np.repeat(words.ends, times)
        hashes = np.repeat(words.hashes, times)
        if flat:
            places, own = _spread(np.cumsum(times) - times, strange, counts, which)
            starts[places], ends[places] = behind[own], behind[own] + sizes[own]
            hashes[places] = _hash(buffer, behind, sizes)[own]
        return Words(buffer, starts, ends, hashes, words.aliases)

    def _spelled(self, words: Words, at: int) -> list[bytes]:
        assert self.form.spell is not None
        spelled = self.form.spell(words.spoken(at, 1)[0])
        return [self.form.aliases.get(word, word) for word in spelled]


class Table:
    """Hashes, each found by its place among those that were given; of equal ones the first."""

    def __init__(self, keys: Hashes) -> None:
        self._keys, self._order = np.unique(keys, return_index=True)
        bits = min(_TABLE_BITS, max(10, int(self._keys.size * _SPARSE).bit_length()))
        self._shift = np.uint64(64 - bits)
        self._maybe = np.zeros(1 << bits, bool)
        self._maybe[(self._keys >> self._shift).view(np.int64)] = True

    def find(self, hashes: Hashes) -> tuple[Places, Places]:
        """Places in `hashes` whose hash is known, in order, and the place that it has among the given ones."""
        likely = np.flatnonzero(self._maybe[(hashes >> self._shift).view(np.int64)])
        if not likely.size:
            return likely, likely
        wanted = hashes[likely]
        at = np.minimum(np.searchsorted(self._keys, wanted), self._keys.size - 1)
        known = self._keys[at] == wanted
        return likely[known], self._order[at[known]]


def grams(hashes: Hashes, length: int) -> Hashes:
    """The hash of every `length` words in a row: sum of hash_i * base^(length - 1 - i), mixed. By doubling: two words,
    four, eight, and together what `length` is made of."""
    count = hashes.size - length + 1
    if count <= 0:
        return np.empty(0, np.uint64)
    level, span, done = hashes, 1, 0
    total = np.zeros(count, np.uint64)
    while True:
        factor = np.uint64(pow(_BASE, span, 1 << 64))
        if length & span:
            total *= factor
            total += level[done : done + count]
            done += span
        if done == length:
            return _mixed(total)
        level = level[:-span] * factor + level[span:]
        span *= 2


def blocks(texts: Sequence[str]) -> Iterator[tuple[int, Sequence[str]]]:
    """Consecutive texts of together about a block, with the place of the first one; a longer text is one alone."""
    start, size = 0, 0
    for at, text in enumerate(texts):
        if at > start and size + len(text) > _BLOCK:
            yield start, texts[start:at]
            start, size = at, 0
        size += len(text)
    if start < len(texts):
        yield start, texts[start:]


def _strange(words: Words) -> Places:
    """The words that are not ASCII, borders aside."""
    read = np.frombuffer(words.buffer, np.uint8)
    high = np.flatnonzero(read > 127)
    at = np.searchsorted(words.starts, high, side="right") - 1
    at = at[np.append(True, at[1:] != at[:-1])[: at.size]]
    strange: Places = at[read[words.starts[at]] != _BORDER]
    return strange


def _spread(new: Places, strange: Places, counts: Places, which: Places) -> tuple[Places, Places]:
    """For each word that a strange one is spelled with: its place among the new words, and among the spelled ones."""
    begin = np.cumsum(counts) - counts
    count = counts[which]
    step = np.arange(int(count.sum())) - np.repeat(np.cumsum(count) - count, count)
    return np.repeat(new[strange], count) + step, np.repeat(begin[which], count) + step


def _hash(buffer: bytes, starts: Places, sizes: Places) -> Hashes:
    """A hash for each word; the buffer goes on for eight bytes after the last one."""
    eights = np.ndarray((len(buffer) - 7,), np.uint64, buffer, strides=(1,))
    hashes = eights[starts] & _MASKS[np.minimum(sizes, 8)]
    hashes ^= sizes.view(np.uint64) * _LENGTH
    hashes = _mixed(hashes)
    longer = np.flatnonzero(sizes > 8)
    for done in range(8, 8 * _STEPS, 8):
        if not longer.size:
            return hashes
        rest = sizes[longer] - done
        hashes[longer] = _mixed(hashes[longer] ^ (eights[starts[longer] + done] & _MASKS[np.minimum(rest, 8)]))
        longer = longer[rest > 8]
    for at in longer.tolist():
        word = memoryview(buffer)[starts[at] : starts[at] + sizes[at]]
        hashes[at] = int.from_bytes(hashlib.blake2b(word, digest_size=8).digest(), "little")
    return hashes


def hashes_of(words: Sequence[bytes]) -> Hashes:
    """A hash for each word."""
    sizes = np.array([len(word) for word in words], np.int64)
    starts = np.cumsum(np.concatenate([[0], sizes[:-1]])).astype(np.int64)[: len(words)]
    return _hash(b"".join(words) + b" " * 8, starts, sizes)


def _mixed(hashes: Hashes) -> Hashes:
    hashes = hashes * _MIX
    hashes ^= hashes >> _HALF
    hashes *= _MIX
    return hashes
