"""Problems that say the same in other words: a task's prompts in, and for other prompts the one they are like.

The likeness of a prompt q to one of the gate's, g, is a product of parts between 0 and 1:

    words    W(both) / (W(both) + 0.7 W(only in g) + 0.2 W(only in q)): Tversky's index (1977) of their sets of words,
             W being the sum of log((1 + N) / df) over words, with df of the task's N prompts having the word
    numbers  0 if a number of g is missing in q; otherwise 1, less 0.1 for each number too many, of which a few may be;
             0.8 times that where g has no number, since words alone prove less
    roles    0.4 + 0.6 * the share of g's numbers that stand beside the same word in q, before or behind
    order    0.9 + 0.1 * the share of g's numbers that stand in q in the same order (longest common subsequence)
    pairs    0.9 + 0.1 * the share of g's pairs of words in a row that are in q
    logic    1 less 0.1 for every no, not, none, all or some that only one of them has

Words that the task's prompts never write in small letters are taken for names and weigh nothing, as do the most usual
words of English. So the order of sentences hardly counts, and the numbers, in digits or in words, count most. The
constants were tried on GSM8K and MATH-500: of 400 paraphrases by rule (tests/bench/paraphrase.py) this stage alone
finds all but a few of those that say enough, and of the 14,947 problems of their training parts it takes only six,
which ask for something else about the same figure. bench_decontaminate.py prints what it finds now.

All this says nothing where a task's own prompts are alike: those of a procedural family. A prompt that several others
are like by their words is looked for word for word only, with any names in the place of its own.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from distill.curate.normal import NEVER_NAMES, USUAL, bare

_ONLY_THEIRS, _ONLY_OURS = 0.7, 0.2
_EXTRA, _EXTRA_FEW = 0.1, 1
"""What a number too many costs; of so many and a quarter of the prompt's own may be too many."""

_ROLES, _ORDER, _PAIRS, _NUMBERLESS = 0.6, 0.1, 0.1, 0.8
_LOGIC, _TURNED = ("no", "not", "none", "all", "some"), 0.1
_EVIDENCE = 0.6
"""What the shared words must weigh, in words that a single prompt has."""

_FAMILY = 0.6
"""Likeness by words from which two prompts of a task are of one family."""

_FAMILY_SAMPLE, _FAMILY_SIZE = 400, 3
"""Prompts of a task that are drawn to look for families, so that the work does not grow with the square, and how many
of them must be like a prompt."""

_CLOSEST = 30
"""Prompts with the likest words that are looked at closely."""

_DENSE = 0.05
"""Share of a task's prompts that are others of them under other names, from which its families are so small that fresh
puzzles of them are too."""

_RENAMED_WORDS = 8
"""Words that are no names which a prompt must have to be looked for under other names."""

_UNKNOWN = 0.2
"""How much a word that the task does not know weighs, as a share of one that it has once."""

_ORDERED = 50
"""Numbers whose order is compared."""

_LEAST_WORDS, _LEAST_TOLD = 2, 5
"""Words that weigh which a prompt must have, and how many of them and of different numbers together; what says less is
compared whole only."""

_NAME = "\0"

_Shape = tuple[int, tuple[str, ...]]


@dataclass(frozen=True)
class Features:
    """What a prompt is told by: its words, those of them that weigh, in order and without an s at their end, the words
    that are written in small letters, its numbers in order, and how often `one` is a word, which may be no number."""

    words: Sequence[str]
    stems: Sequence[str]
    bag: frozenset[str]
    small: frozenset[str]
    numbers: tuple[str, ...]
    ones: int


@dataclass(frozen=True)
class Like:
    """A prompt of the task, by its place, and how like it is, from 0 to 1."""

    prompt: int
    score: float


def features(cased: Sequence[str], words: Sequence[str]) -> Features:
    """The features of a prompt, from its `cased_words` and from those in normal form."""
    stems = [_stem(word) for word in words if word not in USUAL]
    return Features(
        words=words,
        stems=stems,
        bag=frozenset(stems),
        small=frozenset([word for word in cased if word.islower()]),
        numbers=tuple([bare(word) for word in stems if word[-1].isdecimal()]),
        ones=cased.count("one") + cased.count("One"),
    )


class Likeness:
    """The prompts of one task. A likeness below `least` is none."""

    def __init__(self, prompts: Sequence[Features], least: float) -> None:
        self._prompts = prompts
        self._least = least
        small = frozenset[str]().union(*(prompt.small for prompt in prompts))
        self._known = small | {_stem(word) for word in small} | {bare(word) for word in small}
        counts = Counter(word for prompt in prompts for word in prompt.bag & self._known)
        self._place = {word: place for place, word in enumerate(counts)}
        self._weights = np.log((1 + len(prompts)) / np.fromiter(counts.values(), float, len(counts)))
        self._unknown = _UNKNOWN * float(np.log1p(len(prompts)))
        self._evidence = _EVIDENCE * float(np.log1p(len(prompts)))
        bags = self._matrix(prompts)
        self._sums = bags @ self._weights
        words = np.diff(bags.indptr)
        told = words + np.array([len(set(prompt.numbers)) for prompt in prompts], int)
        self._alone = np.flatnonzero(~self._families(bags) & (words >= _LEAST_WORDS) & (told >= _LEAST_TOLD))
        self._by_word = (bags[self._alone] @ sparse.diags_array(self._weights)).T.tocsr()
        self._shapes = self._renamable()

    def find(self, prompts: Sequence[Features]) -> list[Like | None]:
        """For each prompt the one of the task that it is most like, or None."""
        found: list[Like | None] = []
        for prompt in prompts:
            place = self._find_renamed(prompt)
            found.append(None if place is None else Like(place, 1.0))
        rest = [at for at, like in enumerate(found) if like is None]
        for at, candidates in zip(rest, self._candidates([prompts[at] for at in rest]), strict=True):
            likes = [Like(place, words * self._rest(prompts[at], self._prompts[place])) for place, words in candidates]
            best = max(likes, key=lambda like: like.score, default=None)
            found[at] = best if best is not None and best.score >= self._least else None
        return found

    def _candidates(self, prompts: Sequence[Features]) -> list[list[tuple[int, float]]]:
        """For each prompt those of the task whose words are like enough, with how like they are."""
        bags = self._matrix(prompts)
        strange = np.array([self._strange(prompt) for prompt in prompts], float)
        ours = bags @ self._weights + self._unknown * strange
        both = (bags @ self._by_word).tocsr()
        candidates = []
        for at in range(len(prompts)):
            span = slice(both.indptr[at], both.indptr[at + 1])
            places, shared = self._alone[both.indices[span]], both.data[span]
            likes = _tversky(shared, self._sums[places], ours[at])
            good = np.flatnonzero((likes >= self._least) & (shared >= self._evidence))
            good = good[np.argsort(-likes[good], kind="stable")[:_CLOSEST]]
            candidates.append(list(zip(places[good].tolist(), likes[good].tolist(), strict=True)))
        return candidates

    def _rest(self, ours: Features, theirs: Features) -> float:
        """The likeness apart from the words."""
        numbers = _by_numbers(ours, theirs)
        if not numbers:
            return 0.0
        pairs = (1 - _PAIRS + _PAIRS * self._by_pairs(ours, theirs)) * _by_logic(ours, theirs)
        if not theirs.numbers:
            return numbers * pairs * _NUMBERLESS
        roles, order = self._by_roles(ours, theirs), _by_order(ours.numbers, theirs.numbers)
        return numbers * pairs * (1 - _ROLES + _ROLES * roles) * (1 - _ORDER + _ORDER * order)

    def _by_pairs(self, ours: Features, theirs: Features) -> float:
        """The share of their pairs of words in a row that ours has too."""
        have, need = (Counter(pairwise(["", *map(self._generic, prompt.stems), ""])) for prompt in (ours, theirs))
        return (have & need).total() / need.total()

    def _by_roles(self, ours: Features, theirs: Features) -> float:
        """The share of their numbers that stand beside the same word in ours; each of ours serves once."""
        free: dict[str, list[tuple[str, str]]] = {}
        for number, beside in self._beside(ours):
            free.setdefault(number, []).append(beside)
        held = 0
        for number, beside in self._beside(theirs):
            places = free.get(number, [])[:_CLOSEST]
            same = next((place for place in places if place[0] == beside[0] or place[1] == beside[1]), None)
            if same is not None:
                free[number].remove(same)
                held += 1
        return held / len(theirs.numbers)

    def _beside(self, prompt: Features) -> Iterator[tuple[str, tuple[str, str]]]:
        """Each number, after what acts on it, and the words before and behind it."""
        words = ["", *map(self._generic, prompt.stems), ""]
        for before, word, behind in zip(words, words[1:], words[2:], strict=False):
            if word[-1].isdecimal():
                yield word, (before, behind)

    def _generic(self, word: str) -> str:
        return word if word in self._known or word[-1].isdecimal() else _NAME

    def _strange(self, prompt: Features) -> int:
        """How many words in small letters the task does not know."""
        return sum(word in prompt.small or f"{word}s" in prompt.small for word in prompt.bag - self._known)

    def _renamable(self) -> dict[_Shape, list[int]]:
        """The prompts that are looked for under other names, by shape; none where many of them are each other's."""
        shapes: dict[_Shape, list[int]] = {}
        for place, prompt in enumerate(self._prompts):
            shapes.setdefault(_shape(prompt), []).append(place)
        again = 0
        for places in shapes.values():
            if len(places) > 1:
                often = Counter(self._renamed(self._prompts[place].words) for place in places)
                again += sum(count for name, count in often.items() if name and count > 1)
        return {} if again > _DENSE * len(self._prompts) else shapes

    def _find_renamed(self, prompt: Features) -> int | None:
        places = self._shapes.get(_shape(prompt), ())
        name = self._renamed(prompt.words) if places else ""
        if not name:
            return None
        return next((place for place in places if self._renamed(self._prompts[place].words) == name), None)

    def _renamed(self, words: Sequence[str]) -> str:
        """The words with a name's place among the prompt's names instead of it, or nothing where too few are no names
        or where none is one."""
        names: dict[str, str] = {}
        given = []
        for word in words:
            plain = bare(word)
            if plain in self._known or plain[0].isdecimal() or plain in USUAL or plain in NEVER_NAMES:
                given.append(word)
            else:
                given.append(names.setdefault(word, f"{_NAME}{len(names)}"))
        others = sum(word[0] != _NAME for word in given)
        return " ".join(given) if names and others >= _RENAMED_WORDS else ""

    def _matrix(self, prompts: Sequence[Features]) -> "sparse.csr_array":
        rows = [[self._place[word] for word in prompt.bag if word in self._place] for prompt in prompts]
        ends = np.cumsum([0, *map(len, rows)])
        columns = np.fromiter((place for row in rows for place in row), np.int64, int(ends[-1]))
        return sparse.csr_array((np.ones(columns.size), columns, ends), shape=(len(rows), len(self._place)))

    def _families(self, bags: "sparse.csr_array") -> NDArray[np.bool_]:
        """Which prompts several others are like by their words, in a sample of the task."""
        count = len(self._prompts)
        sample = np.sort(np.random.default_rng(0).permutation(count)[:_FAMILY_SAMPLE])
        both = (bags @ sparse.diags_array(self._weights) @ bags[sample].T).tocoo()
        likes = _tversky(both.data, self._sums[sample[both.col]], self._sums[both.row])
        close = (likes >= _FAMILY) & (both.row != sample[both.col])
        family: NDArray[np.bool_] = np.bincount(both.row[close], minlength=count) >= _FAMILY_SIZE
        return family


def _tversky(
    both: NDArray[np.float64], theirs: NDArray[np.float64], ours: "NDArray[np.float64] | float"
) -> "NDArray[np.float64]":
    return both / np.maximum(both + _ONLY_THEIRS * (theirs - both) + _ONLY_OURS * (ours - both), 1e-9)


def _by_numbers(ours: Features, theirs: Features) -> float:
    have, need = Counter(ours.numbers), Counter(theirs.numbers)
    missing = need - have
    missing["1"] -= theirs.ones
    if any(count > 0 for count in missing.values()):
        return 0.0
    extra = have - need
    extra["1"] -= ours.ones
    more = sum(count for count in extra.values() if count > 0)
    few = _EXTRA_FEW + len(theirs.numbers) // 4
    return 1 - _EXTRA * more if more <= few else 0.0


def _by_logic(ours: Features, theirs: Features) -> float:
    differ = sum(abs(ours.words.count(word) - theirs.words.count(word)) for word in _LOGIC)
    return max(0.0, 1 - _TURNED * differ)


def _shape(prompt: Features) -> _Shape:
    """What does not change with names: how many words there are, and the numbers."""
    return len(prompt.words), prompt.numbers


def _by_order(ours: tuple[str, ...], theirs: tuple[str, ...]) -> float:
    """The longest common subsequence, as a share of theirs."""
    ours, theirs = ours[:_ORDERED], theirs[:_ORDERED]
    lengths = [0] * (len(ours) + 1)
    for number in theirs:
        before = 0
        for at, other in enumerate(ours, 1):
            before, lengths[at] = lengths[at], before + 1 if number == other else max(lengths[at], lengths[at - 1])
    return lengths[-1] / len(theirs)


def _stem(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word
