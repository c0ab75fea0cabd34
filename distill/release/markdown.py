"""Text from elsewhere as Markdown that says it and does nothing else: names, sentences and tables.

What a teacher, a data set or a recipe is called is anybody's choice, so it may hold markup, HTML or control characters.
A Hub page renders GitHub's Markdown (github.github.com/gfm) with raw HTML.
"""

import re
from collections.abc import Iterable, Sequence

from distill.records import printable

MAX_CHARS = 500
"""A longer text is cut off there, and ends with an ellipsis."""

_PLAIN = re.compile(r"[\w./:+@, ()=%-]+")
_ENTITIES = {letter: f"&#{ord(letter)};" for letter in '&<>"[]|`@'}
"""Written as character references, which are never markup, not even in a table's cell."""
_MARKUP = re.compile(r"([\\*_{}#!~$]|^[-+=])")
_LINK = re.compile(r"://|\bwww\.|^\d+[.)]", re.IGNORECASE)
"""Addresses become links, and a number at the beginning a list, unless their last character is a reference."""


def line(text: object) -> str:
    """On one line, without control characters, and cut off at 500 characters."""
    flat = " ".join(printable(str(text)).split())
    return flat if len(flat) <= MAX_CHARS else flat[: MAX_CHARS - 1] + "…"


def prose(text: object) -> str:
    """A text as it reads: no character of it is markup, HTML or the start of a link."""
    flat = _MARKUP.sub(r"\\\1", line(text))
    flat = _LINK.sub(lambda found: found[0][:-1] + f"\0{ord(found[0][-1])};", flat)
    return "".join(_ENTITIES.get(letter, letter) for letter in flat).replace("\0", "&#")


def name(text: object) -> str:
    """A name in code type; one with unusual characters as plain text."""
    flat = line(text)
    return f"`{flat}`" if _PLAIN.fullmatch(flat) else prose(flat) or "(no name)"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are Markdown already; where there are no rows, a line says so."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    if not lines:
        return "None."
    return "\n".join([f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}", *lines])


def bullets(items: Iterable[str]) -> str:
    """A list of items that are Markdown already."""
    return "\n".join(f"- {item}" for item in items)
