"""Where reasoning is told from answers: texts and API messages in, (reasoning, answer) out; and back.

One reader for every way that servers send reasoning: the fields `reasoning`, `reasoning_content` and
`reasoning_details`, or `<think>…</think>` inside the content, with or without the opening tag.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

OPEN, CLOSE = "<think>", "</think>"
_OPENINGS = re.compile(rf"\A(?:{OPEN}\s*)+")  # at once: one by one it took seconds for a megabyte of tags
FIELDS = ("reasoning", "reasoning_content", "reasoning_details")


@dataclass(frozen=True)
class Thought:
    """A text taken apart. `closed` says whether the reasoning came to its end; `clean`, whether the tags were
    as they should be: one closing tag, at most one opening tag, and that one first."""

    reasoning: str
    answer: str
    closed: bool
    clean: bool


def split(text: str, *, opened: bool = False) -> Thought:
    """Takes a text apart at its last closing tag.

    `opened` says that the prompt already ended with the opening tag, so that a text without any tag is unfinished
    reasoning, never an answer. What follows the last `</think>` is the answer: no part of the reasoning may ever be
    scored. A `<think>` that opens again after the last `</think>` is unfinished reasoning too.
    """
    head, closing, answer = text.rpartition(CLOSE)
    clean = text.count(CLOSE) <= 1 and text.count(OPEN) <= 1 and OPEN not in text.lstrip().removeprefix(OPEN)
    if not closing:
        before, opening, reasoning = text.partition(OPEN)
        if opening or opened:
            stray = bool(opening) and bool(before.strip())
            return Thought(_bare(before + reasoning), "", closed=False, clean=clean and not stray)
        return Thought("", text.strip(), closed=True, clean=clean)
    if OPEN in answer:
        return Thought(_bare(text), "", closed=False, clean=False)
    return Thought(_bare(head), answer.strip(), closed=True, clean=clean)


def join(reasoning: str, answer: str) -> str:
    """The text of a finished completion, in R1's own layout; the inverse of `split` for stripped parts."""
    return f"{OPEN}\n{reasoning}\n{CLOSE}\n\n{answer}"


def open_prompt(rendered_prompt: str) -> str:
    """The rendered prompt, made to end with the opening tag where its template does not put it there.

    Training prefix and generation prompt both come from here, so that they are equal.
    """
    return rendered_prompt if opens(rendered_prompt) else f"{rendered_prompt}{OPEN}\n"


def opens(rendered_prompt: str) -> bool:
    """Whether a rendered prompt already ends with the opening tag."""
    return rendered_prompt.rstrip().endswith(OPEN)


def read_message(message: Mapping[str, Any]) -> Thought:
    """Takes an OpenAI-style message (or the sum of a stream's deltas) apart, wherever its reasoning is."""
    content = _flat(message.get("content"))
    stated = next((text for field in FIELDS if (text := _flat(message.get(field)).strip())), "")
    if not stated:
        return split(content)
    rest = split(content) if CLOSE in content or OPEN in content else Thought("", content.strip(), True, True)
    return Thought(stated, rest.answer, closed=bool(rest.answer), clean=rest.clean)


def _flat(value: Any) -> str:
    """Text out of a string, or a list of parts such as `reasoning_details` or typed content parts."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(_flat(part) for part in value)
    if isinstance(value, Mapping):
        return _flat(next((value[key] for key in ("text", "summary", "thinking", "content") if value.get(key)), None))
    return str(value)


def _bare(reasoning: str) -> str:
    """Reasoning without the tags that stand at its edges."""
    return _OPENINGS.sub("", reasoning.strip(), count=1)
