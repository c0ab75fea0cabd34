"""How much a text repeats itself: a text in; the passage that follows itself in it, and the share said before, out.

All is done on hashes of words, with numpy, in time that is linear in the text but for one sort, whatever the text is.
"""

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
Places = NDArray[np.int64]

NGRAM = 12
"""Words in a row that count as said again. Gopher counts sequences of five to ten words (Rae et al., 2021, arXiv
2112.11446, table A1) in web pages; R1 says much again while it checks itself, and twelve told its checking from models
that go in circles better than eight or sixteen did."""

_FEW = 60
"""Repeated words that do no harm, whatever their share: a short trace may state its result twice."""

_SEED = 4
"""Words in a row by which it is found how far back the same was said."""

_DENSE = 4
"""A loop's length is a distance that is found once at least for so many of its words."""

_DISTANCES = 64
"""Distances at which a text is compared with itself, at most."""

_FULL = 4
"""Spoken words from which a passage counts in full; one of fewer must stand so much more often. A passage without any,
such as `1 +` or a row of zeros, counts a sixteenth: sums and tables rightly hold these."""

_WORDLESS = 1 / 16
_NO_WORD = 2000
"""Characters; what is longer is looked at by character."""

_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff]{1,2}"
)
_FACTOR = 0x9E3779B97F4A7C15
_POWERS = [np.uint64(pow(_FACTOR, power, 1 << 64)) for power in (1, 2, 4)]
"""Of a hash of words, for so many words that come after it; the order of the words counts."""


@dataclass(frozen=True)
class Loop:
    """A passage that follows itself: how it begins, and how many times it stands in a row. `weighed` is that number,
    made less for passages of few words: it is what a bound is held against."""

    passage: str
    times: int
    weighed: float


@dataclass(frozen=True)
class Repeats:
    """What repeats in a text: its most repeated passage, None where nothing follows itself, and the share, from 0 to 1,
    of its plain words that were said before."""

    loop: Loop | None
    share: float


def repeats(text: str) -> Repeats:
    """Reads a text. In scripts without spaces two characters count as a word.

    `share` counts plain words, which begin with a small letter or one that has no case, within twelve words in a row
    that stood before: a chain of names, a table or a calculation may be written down again. It is 0 where no more than
    60 words are repeated.
    """
    words = pieces(text)
    if len(words) <= _SEED:
        return Repeats(None, 0.0)
    hashes = np.fromiter(map(hash, words), np.int64, len(words)).view(np.uint64)
    fours, twelves = _grams(hashes)
    return Repeats(_loop(words, hashes, fours), _share(words, twelves))


def pieces(text: str) -> list[str]:
    """The words of a text as white space parts them; two characters each in scripts without spaces, and single
    characters where a word is longer than 2,000."""
    if not text.isascii() and _may_lack_spaces(text):
        text = _UNSPACED.sub(r" \g<0> ", text)
    words = text.split()
    if len(text) <= _NO_WORD or max(map(len, words), default=0) <= _NO_WORD:
        return words
    return [piece for word in words for piece in ([word] if len(word) <= _NO_WORD else word)]


def _may_lack_spaces(text: str) -> bool:
    """Whether any character is of a range that `_UNSPACED` lies in: a tenth of the time that the pattern takes."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    return bool(((codes >= 0x3005) | ((codes >= 0x0E00) & (codes < 0x1800))).any())


def _share(words: list[str], twelves: Hashes) -> float:
    if len(words) <= NGRAM + _FEW:
        return 0.0
    _, later = _again(twelves)
    edges = np.zeros(len(words) + 1, np.int64)
    edges[later] += 1
    edges[later + NGRAM] -= 1
    inside = np.cumsum(edges)[:-1] > 0
    if np.count_nonzero(inside) <= _FEW:
        return 0.0
    plain = _plain(words)
    repeated = int(np.count_nonzero(inside & plain))
    return repeated / int(np.count_nonzero(plain)) if repeated > _FEW else 0.0


def _loop(words: list[str], hashes: Hashes, fours: Hashes) -> Loop | None:
    """The weightiest stretch that equals itself at one of the distances at which words come again."""
    found = [loop for distance in _distances(fours) if (loop := _at(words, hashes, distance)) is not None]
    return max(found, key=lambda loop: loop.weighed, default=None)


def _distances(fours: Hashes) -> list[int]:
    """How far back the same words last stood, for distances that are frequent enough to be a loop's length."""
    earlier, later = _again(fours)
    if not later.size:
        return []
    counts = np.bincount(later - earlier)
    distances = np.flatnonzero(_DENSE * counts > np.arange(len(counts)))
    if distances.size > _DISTANCES:
        distances = distances[np.argsort(-counts[distances] / distances, kind="stable")[:_DISTANCES]]
    return [int(distance) for distance in distances]


def _at(words: list[str], hashes: Hashes, distance: int) -> Loop | None:
    """The longest stretch in which each word is the one `distance` before it."""
    differs = np.flatnonzero(hashes[distance:] != hashes[:-distance])
    edges = np.concatenate(([-1], differs, [len(hashes) - distance]))
    lengths = np.diff(edges) - 1
    longest = int(np.argmax(lengths))
    times = int(lengths[longest]) // distance + 1
    if times < 2:
        return None
    start = int(edges[longest]) + 1
    passage = words[start : start + distance]
    return Loop(" ".join(passage[:20]), times, times * _weight(passage))


def _grams(hashes: Hashes) -> tuple[Hashes, Hashes]:
    """A hash of each four words in a row, and of each twelve, put together from fours."""
    pairs = hashes[:-1] * _POWERS[0] + hashes[1:]
    fours = pairs[:-2] * _POWERS[1] + pairs[2:]
    eights = fours[:-4] * _POWERS[2] + fours[4:]
    return fours, eights[:-4] * _POWERS[2] + fours[8:]


def _again(grams: Hashes) -> tuple[Places, Places]:
    """Where each hash that was there before stood last, and where it stands again.

    The places are written into the low bits, so that one plain sort, which numpy does many times faster than an
    indirect one, brings equal hashes together in their order. 40 bits and more are left to tell them apart.
    """
    low = np.uint64((1 << max(len(grams) - 1, 1).bit_length()) - 1)
    keys = np.sort((grams * _POWERS[0] & ~low) | np.arange(len(grams), dtype=np.uint64))
    same = np.flatnonzero((keys[1:] ^ keys[:-1]) <= low)
    places = (keys & low).astype(np.int64)
    return places[same], places[same + 1]


def _weight(passage: list[str]) -> float:
    spoken = sum(any(map(str.isalpha, word[:_NO_WORD])) for word in passage[:100])
    return min(spoken, _FULL) / _FULL if spoken else _WORDLESS


def _plain(words: list[str]) -> NDArray[np.bool_]:
    """Which words begin with a small letter, or with one that has no case."""
    first = "".join([word[0] for word in words])
    codes = np.frombuffer(first.encode("utf-32-le", "surrogatepass"), np.uint32)
    plain = (codes >= ord("a")) & (codes <= ord("z"))
    for at in np.flatnonzero(codes > 127).tolist():
        plain[at] = first[at].isalpha() and not first[at].isupper()
    return plain
