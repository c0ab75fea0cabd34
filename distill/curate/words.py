"""Answers that are a short text, compared as strings in linear time: a word, a list of words, brackets, Yes or No.

The box counts, or what follows the last "answer is", or the last line; an explanation behind a bare first line is
overlooked where the reference is one of `PAIRS`. Case, quotes, Markdown, LaTeX's `\\text{}` and the punctuation at the
end do not matter, nor how the words of a list are parted; their order does.
"""

import re

from distill.curate import numbers
from distill.curate.final import Final
from distill.records import Judgement, Problem

LONGEST = 10_000
"""Characters, from the end, that are looked at where the answer is not in a box."""

PAIRS = (("valid", "invalid"), ("true", "false"), ("yes", "no"))
"""References that are one of two words: then the word counts, whatever sentence it stands in."""

_WRAPPED = re.compile(
    r"\\(?:text|textbf|textit|textrm|texttt|textsf|emph|underline|mathrm|mathbf|mathit|mathtt|mbox|operatorname) ?"
    r"\{([^{}]*)\}"
)
_STATED = re.compile(
    r"\b(?:answer|result|(?:sorted|final|ordered|alphabetical) (?:list|order|words))(?: would be| must be| is|:)"
    r"[ :*_]*([^\n]+)",
    re.IGNORECASE,
)
_MARKER = re.compile(r"(?:[-*•]|\(?[0-9]{1,3}[.)])[ \t]+")
_PARTED = re.compile(r"(?:[,;|<>→]|->|\\to\b|\\quad|\\\\)+")
_NEGATED = re.compile(
    r"\b(?:not|n't|isn't|never)(?: (?:deductively|logically|necessarily|an?|the))* (valid|true|false)\b"
)
_OPPOSITE = {one: other for pair in PAIRS for one, other in (pair, pair[::-1])}
_LAID_OUT = re.compile(
    r"\\[,;:! ]|\\(?:text|textbf|texttt|mathrm|mathbf|left|right|quad)(?![A-Za-z])|[\\$*`'\"~]|&[a-z]{2};"
)


def unwrap(text: str) -> str:
    """Without \\text{}, backslashes before signs, dollar signs and Markdown's stars."""
    for _ in range(3):
        text = _WRAPPED.sub(r"\1", text)
    text = re.sub(r"\\([{}\[\]()$%&#_<> ,;!])", r"\1", text)
    return text.replace("**", "").replace("~", " ").strip().strip("$").strip()


def normal(text: str) -> str:
    """The form in which texts are compared; a text of nothing but punctuation keeps it."""
    text = " ".join(unwrap(text).casefold().split())
    return text.strip("\"'“”‘’`*_ ").rstrip(".,;:!? ").strip("\"'“”‘’`*_ ") or text


def judge(problem: Problem, said: Final) -> Judgement:
    """Right where a reading of the answer is the reference; see the module."""
    gold = normal(problem.answer)
    if gold in _OPPOSITE:
        found = _one_of_two(gold, said)
        right = found == gold
    else:
        readings = [normal(reading) for reading in _read(gold, said)]
        found = readings[0]
        right = any(_equal(gold, reading) for reading in readings)
    if right:
        return Judgement(True, said.note)
    return Judgement(False, f"{found[:60]!r} is not {gold[:60]!r}" if found else f"it does not say {gold[:60]!r}")


def judge_signs(problem: Problem, said: Final) -> Judgement | None:
    """For a reference of nothing but signs, such as `] ] >`; None for any other.

    Its braces make LaTeX's own unreadable, so where only signs stand between a box and the last brace of its line, the
    box goes on to there: `\\boxed{} ]}` says `} ]`.
    """
    gold = "".join(problem.answer.split())
    if not gold or any(character.isalnum() for character in gold):
        return None
    whole = said.whole[-LONGEST:]
    _, opening, rest = whole.rpartition("\\boxed{")
    if opening:
        line = rest.partition("\n")[0].rpartition("}")[0]
        if not line and not said.boxes:
            return None  # the box never closes
        closed = bool(said.boxes) and any(character.isalnum() for character in line[len(said.boxes[-1]) :])
        readings = [said.boxes[-1] if closed or not line else line]
    else:
        readings = list(said.texts) or _readings(whole)
    found = [_signs(reading) for reading in readings]
    if gold in found or gold in [text.removesuffix(".") for text in found]:
        return Judgement(True)
    return Judgement(False, f"{(found or [''])[0][:60]!r} is not {gold[:60]!r}")


def _signs(text: str) -> str:
    """Signs without white space and layout; `\\text{…}` around all of them is taken off, but not their own braces."""
    text = text.strip()
    while (found := re.match(r"\$?\\(?:text|texttt|mathrm|textbf|mathbf) ?\{", text)) and text.rstrip("$").endswith(
        "}"
    ):
        text = text.rstrip("$")[found.end() : -1].strip()
    text = re.sub(r"\\(?:lbrace|rbrace|langle|rangle|lt|gt)(?![A-Za-z])", lambda one: _NAMED[one[0]], text)
    return "".join(_LAID_OUT.sub("", text).split())


_NAMED = {"\\lbrace": "{", "\\rbrace": "}", "\\langle": "<", "\\rangle": ">", "\\lt": "<", "\\gt": ">"}


def _read(gold: str, said: Final) -> list[str]:
    """The readings of an answer, one at least: its box, or all that may be one in the text."""
    if said.texts:
        return [said.text]
    readings = _readings(said.whole[-LONGEST:])
    count = len(gold.split())
    if count > 1:  # a list may have every word on a line of its own
        lines = [line for line in said.whole[-LONGEST:].splitlines() if line.strip()]
        readings.append(" ".join(lines[-count:]))
    return readings


def _readings(text: str) -> list[str]:
    """Where an answer without a box may stand: behind the last "answer is", in the last line, or in a closing list."""
    text = text.strip()
    lines = text.splitlines()
    stated = [reading for reading in _STATED.findall(text.replace("**", "")) if reading.strip(" .:*_")]
    last = lines[-1] if lines else ""
    closing: list[str] = []
    while lines and (mark := _MARKER.match(lines[-1].strip())):
        closing.insert(0, lines.pop().strip()[mark.end() :])
    listed = [" ".join(closing)] if closing else []
    return stated[-1:] + listed if stated else [last, *listed]


def _equal(gold: str, found: str) -> bool:
    if gold == found:
        return True
    number, other = numbers.read(gold), numbers.read(found)
    if number is not None and other is not None:
        return number.value == other.value and number.sign == other.sign
    words = gold.split()
    return len(words) > 1 and words == _list_of(found, "and" in words)


def _list_of(text: str, with_and: bool) -> list[str]:
    """A list's words, however they are parted and marked."""
    text = text.strip("[](){}")
    words = [word.strip("\"'“”‘’`.") for word in _PARTED.sub(" ", text).split()]
    return [
        word for word in words if word and (with_and or word != "and") and not re.fullmatch(r"[0-9]{1,3}[.)]", word)
    ]


def _one_of_two(gold: str, said: Final) -> str:
    """Which of the reference's pair the answer says; empty where it says neither, or both."""
    if said.texts:
        return _word_in(gold, said.text) if len(said.texts) == 1 else ""
    whole = said.whole[-LONGEST:].strip()
    lines = whole.splitlines() or [""]
    stated = _STATED.findall(whole.replace("**", ""))
    bare = normal(lines[-1])
    if bare in (gold, _OPPOSITE[gold]):
        return bare
    tried = [*stated[-1:], lines[-1], lines[0]]
    return next((word for reading in tried if (word := _word_in(gold, reading))), "")


def _word_in(gold: str, text: str) -> str:
    text = normal(text).replace("n't", " not")
    pair = (gold, _OPPOSITE[gold])
    first = re.match(r"[a-z]+", text)
    if first and first[0] in pair and gold in PAIRS[-1] and not re.search(r"\b(?:yes or no|no or yes)\b", text):
        return first[0]
    text = _NEGATED.sub(lambda found: _OPPOSITE[found[1]], text)
    found = {word for word in re.findall(r"[a-z]+", text) if word in pair}
    return found.pop() if len(found) == 1 else ""
