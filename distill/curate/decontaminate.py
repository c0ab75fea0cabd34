"""What is tested on is never trained on: the gate's prompts in, and for a trace's prompt or text the one it repeats.

Three stages look at a prompt, and the first that finds something is told. `whole`: it is one of the gate's, or a short
one of the gate's stands in it, in normal form (`normal`). `ngram`: it shares words in a row with one (`targets`).
`fuzzy`: it says the same in other words (`fuzzy`). Reasoning and answer are only asked for words in a row, since what a
trace says of a problem is always like the problem. The directive, which every prompt has, is never looked at.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from distill.curate.fuzzy import Features, Like, Likeness, features
from distill.curate.inside import Inside
from distill.curate.ngrams import Reader
from distill.curate.normal import bare, cased_words, folded, normal_text
from distill.curate.plain import NORMAL, PLAIN, TELL_NOTHING
from distill.curate.targets import Rule, Targets, Task
from distill.curate_sections import Decontaminate

_SHOWN = 400
"""Characters of a trace that a match shows."""

_TELLING = 3
"""Words of an n-gram that must say something: others are idioms, such as `m/n, where m and n are relatively prime`."""

_FIGURE = re.compile(r"\[asy\].*?\[/asy\]", re.DOTALL)
_GAP = " figure "
"""Drawings' programs share their words with each other; they only count where prompts are compared whole."""


@dataclass(frozen=True)
class Match:
    """What a trace has of a task of the gate: `ours` stands in the trace, cut off at 400 characters, and `theirs` is
    the gate's prompt. `stage` is whole, ngram or fuzzy, and `score` how like they are (1 for whole and ngram)."""

    task: str
    stage: str
    ours: str
    theirs: str
    score: float


class Index:
    """The prompts of each task, ready to be looked up.

    `ngram` words in a row may not be shared, unless they stand in `common_in` or more prompts of one task: those are
    its template, as are words whose every three in a row do: a template with other names in it. Prompts that are
    shorter, or nothing but template, are compared whole.
    """

    def __init__(self, prompts_by_task: Mapping[str, Sequence[str]], section: Decontaminate) -> None:
        self._tasks: list[str] = []
        self._prompts: list[str] = []
        self._whole: dict[str, int] = {}
        self._likenesses: list[tuple[int, Likeness]] = []
        normal: list[list[str]] = []
        words: list[Task] = []
        plain: list[Task] = []
        for task, prompts in prompts_by_task.items():
            first = len(self._prompts)
            forms = _distinct(prompts)
            self._tasks.extend([task] * len(forms))
            self._prompts.extend(form.text for form in forms)
            for at, form in enumerate(forms, first):
                self._whole.setdefault(form.whole, at)
            if section.fuzzy is not None and forms:
                seen = [form.features() for form in forms]
                self._likenesses.append((first, Likeness(seen, section.fuzzy)))
            normal.append([form.whole for form in forms])
            small = {word for form in forms for word in form.cased if word.islower()}
            known = frozenset(bare(word).encode() for word in small)
            texts = [_FIGURE.sub(_GAP, form.text) for form in forms]
            same = zip(texts, forms, strict=True)
            normals = [form.whole if text == form.text else normal_text(text) for text, form in same]
            words.append(Task(normals, known))
            plain.append(Task(texts, known))
        rule = Rule(section.ngram, section.common_in, _TELLING, TELL_NOTHING)
        self._grams = Targets(Reader(NORMAL), words, rule)
        self._inside = Inside(normal, self._grams.bare)
        self._spoken = Targets(Reader(PLAIN), plain, rule)

    def find(self, prompt: str) -> Match | None:
        """What a prompt repeats of the gate's, or None."""
        return self.find_prompts([prompt])[0]

    def find_prompts(self, prompts: Sequence[str]) -> list[Match | None]:
        """The same for many at once, one for one."""
        forms = [_Form.of(prompt) for prompt in dict.fromkeys(prompts)]
        found: dict[str, Match] = {}
        for stage in (self._find_whole, self._find_grams, self._find_inside, self._find_like):
            rest = [form for form in forms if form.words and form.text not in found]
            found |= {form.text: match for form, match in zip(rest, stage(rest), strict=True) if match is not None}
        return [found.get(prompt) for prompt in prompts]

    def find_texts(self, texts: Sequence[str]) -> list[Match | None]:
        """What reasoning and answers share with the gate's prompts, one for one: words in a row and nothing else."""
        shared = self._spoken.find(texts)
        return [None if one is None else self._match(one.prompt, "ngram", one.words) for one in shared]

    def _find_whole(self, forms: "Sequence[_Form]") -> list[Match | None]:
        places = [self._whole.get(form.whole) for form in forms]
        return [
            None if place is None else self._match(place, "whole", form.whole)
            for form, place in zip(forms, places, strict=True)
        ]

    def _find_grams(self, forms: "Sequence[_Form]") -> list[Match | None]:
        shared = self._grams.find([form.whole for form in forms])
        return [None if one is None else self._match(one.prompt, "ngram", one.words) for one in shared]

    def _find_inside(self, forms: "Sequence[_Form]") -> list[Match | None]:
        places = self._inside.find([form.whole for form in forms])
        return [None if place is None else self._match(place.prompt, "whole", place.words) for place in places]

    def _find_like(self, forms: "Sequence[_Form]") -> list[Match | None]:
        best: list[tuple[int, Like] | None] = [None] * len(forms)
        seen = [form.features() for form in forms] if self._likenesses else []
        for first, likeness in self._likenesses:
            for at, like in enumerate(likeness.find(seen)):
                now = best[at]
                if like is not None and (now is None or like.score > now[1].score):
                    best[at] = (first, like)
        return [
            like and self._match(like[0] + like[1].prompt, "fuzzy", form.text, like[1].score)
            for form, like in zip(forms, best, strict=True)
        ]

    def _match(self, prompt: int, stage: str, ours: str, score: float = 1.0) -> Match:
        return Match(self._tasks[prompt], stage, ours[:_SHOWN], self._prompts[prompt], score)


@dataclass(frozen=True)
class _Form:
    """A prompt as it stands, its words with their case and in normal form, and these as one text."""

    text: str
    cased: list[str]
    words: list[str]
    whole: str

    @classmethod
    def of(cls, text: str) -> "_Form":
        cased = cased_words(text)
        words = folded(cased)
        return cls(text, cased, words, " ".join(words))

    def features(self) -> Features:
        return features(self.cased, self.words)


def _distinct(prompts: Sequence[str]) -> list[_Form]:
    """The prompts that differ in normal form, the first of equal ones; those of no word are none."""
    forms = [_Form.of(prompt) for prompt in prompts]
    return list({form.whole: form for form in reversed(forms) if form.words}.values())[::-1]
