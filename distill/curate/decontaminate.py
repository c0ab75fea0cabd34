"""What is tested on is never trained on: the gate's prompts in, and for a trace's prompt the task that it is from.

The problem's prompt is what is compared: not the directive, which every prompt has, and not the reasoning, which
repeats the prompt anyway and holds idioms that many share. Shared n-grams are GPT-3's test (Brown et al., 2020, arXiv
2005.14165, appendix C: 13 words, and none that occurs in ten or more places).
"""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

_WORD = re.compile(r"\d+(?:\.\d+)*|[^\W\d_]+")
_INSIDE = 6
"""Words that a short prompt must have to be looked for inside longer ones; shorter ones match whole prompts only."""

_PIECE = 3
"""Words in a row by which a filled-in template is told."""


def normal_words(text: str) -> list[str]:
    """The words in which prompts are compared: NFKC, lower case, letters and numbers only, decimals in one piece."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).lower())


class Index:
    """The prompts of each task, ready to be looked up.

    `ngram` words in a row may not be shared, unless they stand in `common_in` or more prompts of one task: those are
    its template, as are words whose every three in a row do: a template with other names in it. Prompts that are
    shorter, or nothing but template, are compared whole.
    """

    def __init__(self, prompts_by_task: Mapping[str, Sequence[str]], ngram: int, common_in: int) -> None:
        self._ngram = ngram
        self._grams: dict[str, str] = {}
        self._whole: dict[str, str] = {}
        self._inside: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for task, prompts in prompts_by_task.items():
            self._add(task, prompts, common_in)

    def find(self, text: str) -> tuple[str, str] | None:
        """(task, the words shared), or None for a prompt that shares nothing with any task."""
        words = normal_words(text)
        whole = " ".join(words)
        if whole in self._whole:
            return self._whole[whole], whole
        for gram in _grams(words, self._ngram):
            if gram in self._grams:
                return self._grams[gram], gram
        return self._find_inside(words) if self._inside else None

    def _add(self, task: str, prompts: Sequence[str], common_in: int) -> None:
        distinct = {" ".join(words): words for prompt in prompts if (words := normal_words(prompt))}
        grams = {whole: set(_grams(words, self._ngram)) for whole, words in distinct.items()}
        in_prompts = Counter(gram for own in grams.values() for gram in own)
        pieces = Counter(piece for words in distinct.values() for piece in set(_grams(words, _PIECE)))
        usual = {piece for piece, count in pieces.items() if count >= common_in}
        for whole, words in distinct.items():
            self._whole.setdefault(whole, task)
            own = [gram for gram in grams[whole] if in_prompts[gram] < common_in and not _pieced(gram, usual)]
            for gram in own:
                self._grams.setdefault(gram, task)
            if not own and len(words) >= _INSIDE:
                self._inside[" ".join(words[:_INSIDE])].append((whole, task))

    def _find_inside(self, words: list[str]) -> tuple[str, str] | None:
        for at, start in enumerate(_grams(words, _INSIDE)):
            for whole, task in self._inside.get(start, ()):
                length = whole.count(" ") + 1
                if " ".join(words[at : at + length]) == whole:
                    return task, whole
        return None


def _grams(words: list[str], length: int) -> Iterator[str]:
    return (" ".join(words[at : at + length]) for at in range(len(words) - length + 1))


def _pieced(gram: str, usual: set[str]) -> bool:
    return all(piece in usual for piece in _grams(gram.split(" "), _PIECE))
