"""Final answers inside texts: what stands in the last `\\boxed{}`, the answer in a worked reference solution, and error
messages that stand in an answer's place."""

import re
from dataclasses import dataclass

_BOXED = re.compile(r"\\(?:boxed|fbox)\s*\{")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_GSM8K = re.compile(r"####\s*([^\n]+)")
_ERROR_BEGINS = re.compile(
    r"error after \d+ attempts|error code:? \d{3}|error:? \d{3}\b|http(?:/[\d.]+)?(?: error)? [45]\d\d\b|[45]\d\d [a-z]"
    r"|<!doctype html|<html|(?:internal )?server error|bad gateway|service (?:temporarily )?unavailable"
    r"|gateway time-?out|too many requests|rate limit|\{\s*[\"'](?:error|detail)[\"']\s*:|upstream (?:connect|request)"
    r"|(?:connection|request) timed out|context deadline exceeded",
    re.IGNORECASE,
)
_ERROR_HOLDS = re.compile(r"error code: [45]\d\d|internal server error|rate limit (?:exceeded|reached)", re.IGNORECASE)
_SHORT = 600  # characters; an error message is no longer
_MAX_SCAN = 100_000  # characters from the end; hostile text may be megabytes long


@dataclass(frozen=True)
class Box:
    """What stands in one box, and where the box begins and ends in the text that was looked at."""

    text: str
    start: int
    end: int


@dataclass(frozen=True)
class Boxes:
    """The boxes of `text`, in order. `unclosed` says that another one begins after them and never ends."""

    text: str
    boxes: tuple[Box, ...]
    unclosed: bool

    @property
    def joined(self) -> tuple[Box, ...]:
        """The last box with those before it that only "and", "or" or a comma parts from it: they are one answer."""
        first = len(self.boxes) - 1
        while first > 0 and _joins(self.text[self.boxes[first - 1].end : self.boxes[first].start]):
            first -= 1
        return self.boxes[max(first, 0) :]


def boxes(text: str) -> Boxes:
    """Every `\\boxed{…}` and `\\fbox{…}` in the last 100,000 characters; a box inside a box is part of it. Braces
    after a backslash are signs like any other."""
    text = text[-_MAX_SCAN:]
    found: list[Box] = []
    end_of_last = 0
    for match in _BOXED.finditer(text):
        if match.start() < end_of_last:
            continue
        end_of_last = _end(text, match.end())
        if not end_of_last:
            return Boxes(text, tuple(found), unclosed=True)
        found.append(Box(text[match.end() : end_of_last - 1].strip(), match.start(), end_of_last))
    return Boxes(text, tuple(found), unclosed=False)


def boxed(text: str) -> list[str]:
    """What stands in each `\\boxed{…}`, in order; an unclosed box is none. Looks at the last 100,000 characters."""
    return [box.text for box in boxes(text).boxes]


def _end(text: str, at: int) -> int:
    """Behind the brace that closes the group which is open at `at`, or 0 where none does."""
    depth = 1
    for match in _BRACE.finditer(text, at):
        depth += {"{": 1, "}": -1}.get(match[0], 0)
        if not depth:
            return match.end()
    return 0


def _joins(between: str) -> bool:
    """Whether the text between two boxes only lists them, as in `$\\boxed{1}$ and $\\boxed{2}$`."""
    if len(between) > 80:
        return False
    plain = re.sub(r"\\(?:[()\[\],;:! ]|text|quad|qquad|mathrm|and)|[${}~*,;&]", " ", between)
    return set(plain.casefold().split()) <= {"and", "or"}


def reference_answer(text: str) -> str:
    """The answer in a reference: after GSM8K's `####` (thousands separators taken out), in MATH's last `\\boxed{}`,
    or the text itself. Empty when there is none."""
    marked = [answer for answer in map(str.strip, _GSM8K.findall(text)) if answer]
    if marked:
        return marked[-1].replace(",", "") if re.fullmatch(r"-?\$?[\d,]+(\.\d+)?%?", marked[-1]) else marked[-1]
    found = boxed(text)
    return found[-1] if found else text.strip()


def error_text(text: str, *, alone: bool) -> bool:
    """Whether a text is a server's error message instead of an answer.

    `alone` says that it came without reasoning: then a text that begins like one is, or a short one that holds one.
    With reasoning only a short text that begins like one is: an answer may speak of errors.
    """
    text = text.strip()
    short = len(text) <= _SHORT
    return bool((_ERROR_BEGINS.match(text) and (alone or short)) or (alone and short and _ERROR_HOLDS.search(text)))
