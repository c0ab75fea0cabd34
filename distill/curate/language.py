"""Which languages a trace is in: its problem and its text in, a sentence about the mixture, or None, out.

Mixed language is what R1-Zero was blamed for, and what R1 was rewarded for leaving: the share of the words that are in
the target language (arXiv 2501.12948, section 2.3.2). Other scripts are told by their letters, languages in Latin
letters by py3langid. It is asked only about stretches without the small words of English, of which R1's text has few.
Formulas, numbers, code, single letters and capitalised words, which may be names, are of no language.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from distill.curate.scripts import blanked, present, scripts, units

ENGLISH = "English"
_LETTERS = "Latin letters"
_LATIN = {
    "en": ENGLISH, "de": "German", "fr": "French", "es": "Spanish", "it": "Italian", "pt": "Portuguese", "nl": "Dutch",
    "pl": "Polish", "cs": "Czech or Slovak", "sk": "Czech or Slovak", "hr": "South Slavic", "sl": "South Slavic",
    "sv": "Scandinavian", "da": "Scandinavian", "no": "Scandinavian", "fi": "Finnish", "hu": "Hungarian",
    "ro": "Romanian", "tr": "Turkish", "vi": "Vietnamese", "id": "Indonesian or Malay", "ms": "Indonesian or Malay",
}  # fmt: skip
"""The languages in Latin letters that are told apart; those that are taken for each other have one name."""

_CONFIDENT, _DOUBT = 0.8, 0.05
"""A language counts from a probability of 0.8 on, if English has less than 0.05."""

_STRETCH = 8
"""Words, different ones, from which a stretch is judged: shorter ones are lists of units or of functions."""

_DROP = 8
"""A stretch ends where it has lost so much weight since its height."""

_PIECE, _PIECES = 60, 200
"""Words that are judged together, at least, and how many such pieces of a text are judged, evenly spread, at most."""

_LANGUAGE = 12
"""Words from which a text or a prompt has a language as a whole."""

_PROMPT = 20_000
"""Characters of a prompt that are read."""

_FENCED = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_PHRASE = re.compile(r"(?<![\\A-Za-z])[A-Za-z][a-z]+(?:[ ,]{1,2}[a-z]{2,}){4,}")
_EDGES = ".,;:!?()[]{}<>\"'*_`#“”‘’«»…$-–—|/=+"
_SMALL = frozenset(
    """the of and is are that this these those with which we you it its if then than because from but have has had not
    would should could there their they what how when where who each every both let let's so wait first only same any
    more other since here my i'm don't that's it's to for by as at or be can just like get need know think find okay
    number means given therefore hence thus now also after before into while maybe actually again another check doesn't
    isn't can't i'll we'll there's does did been were being our us your his her him them one two three four didn't
    won't we're you're they're i've we've he's she's what's couldn't wouldn't shouldn't wasn't aren't haven't about
    between during through until without within though although however must might using per out up over""".split()
)
"""The small words of English and of its mathematics; few other languages have any of them often."""

_TOKEN = 40
"""Characters; what is longer is no word."""

_NONE, _OTHER, _ENGLISH = 0, 1, 2
"""What a token is: no word, a word in small letters, or a small word of English."""


class Identifier(Protocol):
    """What is used of py3langid."""

    def rank(self, text: str) -> list[tuple[str, float]]:
        """All languages with their probabilities, the most probable first."""
        ...


@dataclass(frozen=True)
class _Latin:
    """The words of a text in Latin letters, with the signs around them, and which are small words of English."""

    words: list[str]
    small: NDArray[np.bool_]


@dataclass(frozen=True)
class _Languages:
    """The main language of a text, None where it is not certain; all its words; and for each other language how many
    words there are of it, and some of them."""

    main: str | None
    words: float
    others: dict[str, tuple[float, str]]


def mixed(prompt: str, text: str, share: float) -> str | None:
    """What is wrong with the languages of a text, or None.

    `share`, from 0 to 1, is the share of its words that may be of another language than most of it; a name or two in
    another script may always stand there. The prompt must be in the language of the text too, where both have twelve
    words and more.
    """
    own = units(prompt[:_PROMPT]) if present(text) else set()
    found = _languages(text, own)
    for name, (words, example) in found.others.items():
        if words > share * found.words:
            return f"{words:,.0f} words of {name} in a text that is in {found.main or _LETTERS}: {example!r}"
    if found.main is None or found.words < _LANGUAGE:
        return None
    asked = _languages(prompt[:_PROMPT], set())
    if asked.main is None or asked.main == found.main or asked.words < _LANGUAGE:
        return None
    return f"the problem is in {asked.main}, and most of the text in {found.main}"


def _languages(text: str, own: Set[str]) -> _Languages:
    """The languages of a text; `own` words of other scripts belong to it."""
    text = _FENCED.sub(" ", text) if "```" in text else text
    written = scripts(text, own) if present(text) else {}
    latin = _latin(blanked(text) if written else text)
    most = max(written, key=lambda name: written[name].words, default=None)
    words = len(latin.words) + sum(script.words for script in written.values())
    others = {name: (script.strange, script.example) for name, script in written.items() if not script.few}
    if most is not None and written[most].words > len(latin.words):
        others.pop(most, None)
        return _Languages(most, words, others | _phrases(text))
    main, told = _told(latin)
    return _Languages(main, words, others | told)


def _phrases(text: str) -> dict[str, tuple[float, str]]:
    """Phrases in Latin letters, of five words and more, within a text in another script."""
    found = _PHRASE.findall(text)
    return {_LETTERS: (float(sum(len(one.split()) for one in found)), found[0][:60])} if found else {}


def _told(latin: _Latin) -> tuple[str | None, dict[str, tuple[float, str]]]:
    """(the main language of words in Latin letters; for each other one how many there are, and some of them).

    Where stretches without the small words of English are the most, English is what is judged to be; else it is all
    that is not judged to be another language.
    """
    stretches = list(_stretches(latin, small=-3, other=1))
    pieces = _pieces([latin.words[at] for at in stretch if not latin.small[at]] for stretch in stretches)
    elsewhere = 2 * sum(map(len, stretches)) > len(latin.words)
    if elsewhere:
        english = _stretches(latin, small=2, other=-1)
        pieces += _pieces([latin.words[at] for at in stretch] for stretch in english)
    found: Counter[str] = Counter()
    example: dict[str, str] = {}
    for piece in pieces:
        language = _judged(piece)
        if language is not None and (elsewhere or language != ENGLISH):
            found[language] += len(piece)
            example.setdefault(language, " ".join(piece[:10]))
    if latin.words and not elsewhere:
        found[ENGLISH] = len(latin.words) - found.total()
    main = max(found, key=lambda name: found[name], default=None)
    return main, {name: (float(count), example[name]) for name, count in found.items() if name != main}


def _latin(text: str) -> _Latin:
    """Reads the words in small letters, of two letters and more, and the small words of English however written."""
    tokens = text.replace("’", "'").split()
    kinds = {token: _kind(token) if len(token) <= _TOKEN else _NONE for token in set(tokens)}
    known = np.fromiter(map(kinds.__getitem__, tokens), np.int8, len(tokens))
    words = [tokens[at] for at in np.flatnonzero(known).tolist()]
    return _Latin(words, known[known != _NONE] == _ENGLISH)


@lru_cache(maxsize=1 << 15)
def _kind(token: str) -> int:
    if token in _SMALL:
        return _ENGLISH
    bare = token.strip(_EDGES)
    if bare.lower() in _SMALL:
        return _ENGLISH
    word = bare.rpartition("'")[2] if "'" in bare else bare
    return _OTHER if len(word) > 1 and word.isalpha() and word.islower() else _NONE


def _stretches(latin: _Latin, *, small: int, other: int) -> Iterator[list[int]]:
    """Where the one kind of words outweighs the other, as places of words: each adds its weight, and a stretch ends
    where nothing is left, or where it lost eight since its height. It has reached eight, and ends with its height."""
    if not latin.words:
        return
    total = np.concatenate(([0], np.cumsum(np.where(latin.small, small, other))))
    above = total - np.minimum.accumulate(total)
    starts = np.flatnonzero(above == 0)
    for at in np.flatnonzero(np.maximum.reduceat(above, starts) >= _STRETCH).tolist():
        start = int(starts[at])
        end = int(starts[at + 1]) - 1 if at + 1 < len(starts) else len(latin.words)
        yield from _risen(total[start : end + 1].tolist(), start)


def _risen(total: list[int], start: int) -> Iterator[list[int]]:
    """The stretches within one rise of the `total` weight, which begins at the word `start`."""
    begin = height = end = 0
    for at, weight in enumerate(total):
        if weight - total[begin] > height:
            height, end = weight - total[begin], at
        if weight <= total[begin] or weight - total[begin] < height - _DROP:
            if height >= _STRETCH:
                yield list(range(start + begin, start + end))
            begin, height, end = at, 0, at
    if height >= _STRETCH:
        yield list(range(start + begin, start + end))


def _pieces(stretches: Iterable[list[str]]) -> list[list[str]]:
    """The stretches cut into pieces of 60 words and more, those with too few different words left out."""
    pieces: list[list[str]] = []
    for signed in stretches:
        stretch = [word.strip(_EDGES) for word in signed]
        size = -(-len(stretch) // max(1, len(stretch) // _PIECE))
        pieces += [stretch[at : at + size] for at in range(0, len(stretch), size)]
    different = [piece for piece in pieces if len(set(piece)) >= _STRETCH]
    return different[:: max(1, -(-len(different) // _PIECES))]


def _judged(words: list[str]) -> str | None:
    """The name of the language that the words are in, or None where it is not certain."""
    chances: defaultdict[str, float] = defaultdict(float)
    for code, chance in _identifier().rank(" ".join(dict.fromkeys(words))):
        chances[_LATIN[code]] += chance
    best = max(chances, key=lambda name: chances[name])
    return best if chances[best] >= _CONFIDENT and (best == ENGLISH or chances[ENGLISH] < _DOUBT) else None


@cache
def _identifier() -> Identifier:
    """py3langid with its own model, which takes a second to load and 100 MB: once in a process, and not before the
    first stretch that must be judged."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages(list(_LATIN))
    ranking: Identifier = identifier
    return ranking
