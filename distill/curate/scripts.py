"""Which scripts other than Latin a text holds: a text in, for each script how many words of it there are, out.

Greek letters never count: they are mathematics. Nor do single letters of alphabets. In scripts without spaces a letter
counts as a part of a word.
"""

import re
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, field

import numpy as np

UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17d3\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\uff66-\uff9f\U00020000-\U0003ffff"
)
"""The letters of scripts that part no words by spaces, for a regular expression."""

_SCRIPTS = {
    "Cyrillic": "\u0400-\u052f\u1c80-\u1c8f\ua640-\ua69f",
    "Armenian": "\u0531-\u0556\u0561-\u0587",
    "Hebrew": "\u05d0-\u05ea",
    "Arabic": "\u0620-\u064a\u066e-\u06d3\u06fa-\u06ff\u0750-\u077f\u08a0-\u08c9\ufb50-\ufdfb\ufe70-\ufefc",
    "Indic": "\u0900-\u0dff",
    "Georgian": "\u10a0-\u10ff\u1c90-\u1cbf",
    "Ethiopic": "\u1200-\u139f",
    "Korean": "\u1100-\u11ff\u3131-\u318e\uac00-\ud7af",
    "Thai, Lao, Khmer or Burmese": "\u0e00-\u0eff\u1000-\u109f\u1780-\u17d3",
    "Chinese or Japanese": UNSPACED.removeprefix("\u0e00-\u0eff\u1000-\u109f\u1780-\u17d3"),
}
_WORDS_A_LETTER = {"Thai, Lao, Khmer or Burmese": 0.2, "Chinese or Japanese": 0.5}
_NAMES = tuple(_SCRIPTS)
_WORD = re.compile("|".join(f"([{letters}]+)" for letters in _SCRIPTS.values()))
_LETTER = "[" + "".join(_SCRIPTS.values()) + "]"
_LETTERS = re.compile(f"{_LETTER}+")
_RUN = re.compile(f"{_LETTER}+(?:[ ,，、·・-]{{1,2}}{_LETTER}+)*")
_GRAMMAR = frozenset("的了是我你他她它们这那在有不没就也都所以因为但如果么算则和与对从到把被让要能会可")
"""Chinese letters of small words; a name has hardly one, so that each counts twice."""

_QUOTES = "\"'“”‘’«»„「」『』`*"
_QUOTED = 8
"""Words that a quotation may have: R1 explains how Russian says "twice as much"."""


@dataclass
class Script:
    """What a text holds in a script, in words. `strange` are those that are no name, not quoted and not the problem's
    own, and `seen` holds each of these once (letters, in scripts without spaces). `example` is the longest run of
    them."""

    words: float = 0.0
    strange: float = 0.0
    seen: set[str] = field(default_factory=set)
    example: str = ""

    @property
    def few(self) -> bool:
        """Whether the strange words are so few that they may be names: two, or in Chinese four letters."""
        letters = any(len(unit) == 1 for unit in self.seen)
        return len(self.seen) + len(self.seen & _GRAMMAR) <= (4 if letters else 2)


def present(text: str) -> bool:
    """Whether the text holds any character from Cyrillic on that is no mathematical sign: a fast look, before others.

    It looks at code points: what lies between Cyrillic and the old extensions of Latin, or from the radicals of Chinese
    on but for the mathematical alphabets and what is above them.
    """
    if text.isascii():
        return False
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    return bool(
        (((codes >= 0x0400) & (codes < 0x1E00)) | ((codes >= 0x2E80) & (codes < 0x1D000)) | (codes >= 0x20000)).any()
    )


def blanked(text: str) -> str:
    """The text without the letters of these scripts."""
    return _LETTERS.sub(" ", text)


def scripts(text: str, own: Set[str] = frozenset()) -> dict[str, Script]:
    """Each script in the text. What is among the `own` words (letters, in scripts without spaces) is not strange."""
    found: dict[str, Script] = {}
    for run in _RUN.finditer(text):
        words = list(_words(run.group()))
        total = sum(len(units) * each for _, units, each in words)
        quoted = total <= _QUOTED and _in_quotes(text, run.start(), run.end())
        example = text[run.start() : min(run.end(), run.start() + 60)]
        for name, units, each in words:
            script = found.setdefault(name, Script())
            script.words += len(units) * each
            strange = [] if quoted else [unit for unit in units if unit not in own and not unit[0].isupper()]
            if strange:
                script.strange += len(strange) * each
                script.seen.update(strange)
                script.example = max(script.example, example, key=len)
    return found


def units(text: str) -> set[str]:
    """The words, and letters of scripts without spaces, that a text holds."""
    return {unit for _, some, _ in _words(text) for unit in some}


def _words(text: str) -> Iterator[tuple[str, Sequence[str], float]]:
    """(script, its words or letters, how many words each is) of each run of letters of one script."""
    for match in _WORD.finditer(text):
        name, word = _NAMES[(match.lastindex or 1) - 1], match.group()
        if name in _WORDS_A_LETTER:
            yield name, word, _WORDS_A_LETTER[name]
        elif len(word) > 1:
            yield name, [word], 1.0


def _in_quotes(text: str, start: int, end: int) -> bool:
    return start > 0 and end < len(text) and text[start - 1] in _QUOTES and text[end] in _QUOTES
