"""What can be wrong with a trace by its form alone: a trace in, a sentence about what is wrong out, or None."""

import re

from distill import think
from distill.records import Trace

_BEGINS = re.compile(
    r"error after \d+ attempts|error code:? \d{3}|error:? \d{3}\b|http(?:/[\d.]+)?(?: error)? [45]\d\d\b|[45]\d\d [a-z]"
    r"|<!doctype html|<html|(?:internal )?server error|bad gateway|service (?:temporarily )?unavailable"
    r"|gateway time-?out|too many requests|rate limit|\{\s*[\"'](?:error|detail)[\"']\s*:|upstream (?:connect|request)"
    r"|(?:connection|request) timed out|context deadline exceeded",
    re.IGNORECASE,
)
_HOLDS = re.compile(r"error code: [45]\d\d|internal server error|rate limit (?:exceeded|reached)", re.IGNORECASE)
_SHORT = 600
_CHARACTERS_A_TOKEN = 4


def unfinished(trace: Trace) -> str | None:
    """Cut off by the token limit, or the thinking never closed."""
    if not trace.completion.unfinished:
        return None
    return "cut off by the token limit" if trace.completion.finish == "length" else "the reasoning was never closed"


def no_answer(trace: Trace) -> str | None:
    """Nothing after the reasoning."""
    return None if trace.completion.answer.strip() else "there is no answer"


def api_error(trace: Trace) -> str | None:
    """A server's error message in the place of an answer.

    Without reasoning, a text that begins like one, or a short one that holds one; with reasoning, only a short text
    that begins like one: an answer may speak of errors.
    """
    text = trace.completion.answer.strip()
    alone, short = not trace.completion.reasoning.strip(), len(text) <= _SHORT
    if (_BEGINS.match(text) and (alone or short)) or (alone and short and _HOLDS.search(text)):
        return f"the answer is an error message: {text[:80]!r}"
    return None


def bad_format(trace: Trace) -> str | None:
    """No reasoning, tags out of order, or tags inside the answer."""
    if not trace.completion.reasoning.strip():
        return "there is no reasoning"
    if think.OPEN in trace.completion.answer or think.CLOSE in trace.completion.answer:
        return "a think tag stands inside the answer"
    return None if trace.completion.clean else "the think tags are out of order"


def too_long(trace: Trace, max_tokens: int | None) -> str | None:
    """Longer than `max_tokens` by the teacher's own count, or by an estimate of four characters a token."""
    if max_tokens is None:
        return None
    counted = trace.completion.completion_tokens
    if counted is None:
        counted = (len(trace.completion.reasoning) + len(trace.completion.answer)) // _CHARACTERS_A_TOKEN
    return f"{counted:,} tokens" if counted > max_tokens else None
