"""What a lint finds, as records: made by the checks, read by people, and by `train`, which errors stop."""

import textwrap
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from distill.errors import InputError
from distill.records import printable

Level = Literal["ok", "note", "warning", "error"]
LEVELS: tuple[Level, ...] = ("ok", "note", "warning", "error")
"""In the order in which they are printed: what matters most stands last, nearest to the eye."""
WIDTH = 118


@dataclass(frozen=True)
class Finding:
    """One check's outcome. `trace` is the id of the first offender, `count` how many there are, and `write` the line
    that mends it; all are empty where there is nothing to mend."""

    code: str
    level: Level
    sentence: str
    trace: str = ""
    write: str = ""
    count: int = 0


@dataclass(frozen=True)
class Findings:
    """All outcomes, those of checks that passed included. `source` says what was looked at."""

    source: str
    found: tuple[Finding, ...]

    def of(self, level: Level) -> list[Finding]:
        """Those of one level."""
        return [one for one in self.found if one.level == level]

    def raise_errors(self) -> None:
        """Raises InputError, with every error in one line, where there is any."""
        if errors := self.of("error"):
            said = "; ".join(told(one) for one in errors)
            raise InputError(f"lint found what would spoil the training: {said}")

    def lines(self) -> Iterator[str]:
        """For people: what was looked at, every outcome with its first offender and the line to write, and a count."""
        yield f"looked at {self.source}"
        margin = max((len(one.code) for one in self.found), default=0)
        hang = " " * (margin + 11)
        for level in LEVELS:
            for one in self.of(level):
                head = f"{level:8} {one.code:{margin}}  "
                yield textwrap.fill(
                    head + printable(one.sentence, ""),
                    WIDTH,
                    subsequent_indent=hang,
                    break_long_words=False,
                    break_on_hyphens=False,
                )
                if one.trace:
                    yield f"{hang}first:  {printable(one.trace, '')}"
                if one.write:
                    yield f"{hang}write:  {printable(one.write, '')}"
        counts = Counter(one.level for one in self.found)
        yield ", ".join(f"{counts[level]} {level}{'' if counts[level] == 1 else 's'}" for level in reversed(LEVELS[1:]))


def told(one: Finding) -> str:
    """A finding in one line."""
    first = f" (first: {one.trace})" if one.trace else ""
    write = f"; write {one.write}" if one.write else ""
    return printable(f"{one.code}: {one.sentence}{first}{write}", "")
