"""Final answers inside texts: what stands in the last `\\boxed{}`, the answer in a worked reference solution, and error
messages that stand in an answer's place."""

import re

_BOXED = re.compile(r"\\(?:boxed|fbox)\s*\{")
_GSM8K = re.compile(r"####\s*(.+?)\s*$", re.MULTILINE)
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


def boxed(text: str) -> list[str]:
    """What stands in each `\\boxed{…}`, in order; an unclosed box is none. Looks at the last 100,000 characters."""
    text = text[-_MAX_SCAN:]
    found: list[str] = []
    end_of_last = 0
    for match in _BOXED.finditer(text):
        if match.start() < end_of_last:
            continue
        depth, at = 1, match.end()
        while at < len(text) and depth:
            depth += {"{": 1, "}": -1}.get(text[at], 0) if text[at - 1] != "\\" else 0
            at += 1
        if depth:
            break
        found.append(text[match.end() : at - 1].strip())
        end_of_last = at
    return found


def reference_answer(text: str) -> str:
    """The answer in a reference: after GSM8K's `####` (thousands separators taken out), in MATH's last `\\boxed{}`,
    or the text itself. Empty when there is none."""
    marked = _GSM8K.findall(text)
    if marked:
        answer: str = marked[-1].strip()
        return answer.replace(",", "") if re.fullmatch(r"-?\$?[\d,]+(\.\d+)?%?", answer) else answer
    boxes = boxed(text)
    return boxes[-1] if boxes else text.strip()


def error_text(text: str, *, alone: bool) -> bool:
    """Whether a text is a server's error message instead of an answer.

    `alone` says that it came without reasoning: then a text that begins like one is, or a short one that holds one.
    With reasoning only a short text that begins like one is: an answer may speak of errors.
    """
    text = text.strip()
    short = len(text) <= _SHORT
    return bool((_ERROR_BEGINS.match(text) and (alone or short)) or (alone and short and _ERROR_HOLDS.search(text)))
