"""What one pass over all traces finds by their texts and lengths: takes traces one by one, gives findings."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from distill import prompts, think
from distill.records import Kept, Trace, asked, estimated_tokens
from distill.student_sections import Student
from students.findings import Finding, Level
from students.render import render

MOST_RENDERED = 2_000
"""So many traces, at most, are kept to be rendered,"""
MOST_CHARACTERS = 1_500_000
"""and so many characters of them: a tokenizer of 152 thousand tokens takes about three seconds for these."""
SLACK = 64
"""By fewer tokens than this do the counts of a text and of its parts differ."""


@dataclass
class Tally:
    """How many traces something is true of, and the id of the first."""

    count: int = 0
    first: str = ""

    def add(self, trace: Trace) -> None:
        """One more."""
        self.count += 1
        self.first = self.first or trace.id


class Survey:
    """Every trace's text and length, and an even sample of those that are short enough."""

    def __init__(self, section: Student, tokenizer: Any, context: int | None) -> None:
        self.section, self.tokenizer, self.context = section, tokenizer, context
        self.controls = prompts.controls(tokenizer) - {think.OPEN, think.CLOSE}
        self.overhead = len(prompts.prompt_ids(tokenizer, asked("")))
        self.count = self.tokens = self.lost_tokens = self.longest = 0
        self.special, self.tagged, self.unreasoned = Tally(), Tally(), Tally()
        self.too_long, self.beyond = Tally(), Tally()
        self.problems: dict[str, bool] = {}
        self.even = Even(MOST_RENDERED, MOST_CHARACTERS)

    def add(self, trace: Trace) -> None:
        """Looks at one trace."""
        said = trace.completion
        self.count += 1
        special = any(prompts.holds(text, self.controls) for text in _texts(trace))
        if special:
            self.special.add(trace)
        if any(tag in text for text in (said.reasoning, said.answer) for tag in (think.OPEN, think.CLOSE)):
            self.tagged.add(trace)
        if not said.reasoning.strip():
            self.unreasoned.add(trace)
        self._measure(trace, self._length(trace, counted=not special))

    def _measure(self, trace: Trace, tokens: int) -> None:
        self.tokens += tokens
        self.longest = max(self.longest, tokens)
        fits = tokens <= self.section.max_tokens
        self.problems[trace.problem.id] = fits or self.problems.get(trace.problem.id, False)
        if not fits:
            self.lost_tokens += tokens
            self.too_long.add(trace)
            return
        if self.context is not None and tokens > self.context:
            self.beyond.add(trace)
        self.even.add(trace)

    def _length(self, trace: Trace, counted: bool) -> int:
        """The trace's tokens, prompt and end included: exactly where that decides what it passes, and about
        right elsewhere. `counted` says that a `Kept` trace's own count holds. A token is at least a byte."""
        prompt, limits = trace.problem.prompt, (self.section.max_tokens, self.context or self.section.max_tokens)
        if isinstance(trace, Kept) and counted:
            low, high = trace.tokens - SLACK, trace.tokens + _bytes(prompt)
            guess = trace.tokens + estimated_tokens(prompt)
        else:
            low, high = 0, sum(map(_bytes, _texts(trace)))
            guess = sum(map(estimated_tokens, _texts(trace)))
        if all(low > limit or high + self.overhead + SLACK <= limit for limit in limits):
            return guess + self.overhead
        return len(render(self.tokenizer, trace).ids)

    def findings(self) -> Iterator[Finding]:
        """What was found, once every trace was looked at."""
        yield self._too_long()
        if self.context is not None:
            yield self._beyond(self.context)
        spelled = repr(min(self.controls)) if self.controls else ""
        yield self._in_texts(
            "special-in-text",
            self.special,
            f"spell one of the tokenizer's control tokens in their text, such as {spelled}",
            ". Training reads it as plain letters (see control-injected); other programs may end a turn there",
            "problems without it, where other programs are to read these",
        )
        yield self._in_texts(
            "tags-in-text",
            self.tagged,
            "have <think> or </think> inside their reasoning or answer",
            ": the student learns to end its thinking in the middle of it",
            "nothing, but curate these traces again, which drops them as broken_tags",
        )
        yield self._in_texts(
            "no-reasoning",
            self.unreasoned,
            "come without reasoning",
            ": the student learns to answer at once",
            "nothing, but curate these traces again, which drops them as no_reasoning",
        )

    def _too_long(self) -> Finding:
        code, limit, long = "too-long", self.section.max_tokens, self.too_long
        if not long.count:
            return Finding(
                code,
                "ok",
                f"none of {self.count:,} traces is longer than {limit:,} tokens; the longest has about "
                f"{self.longest:,}",
            )
        share, refused = long.count / self.count, self.section.max_too_long
        lost = sum(1 for fits in self.problems.values() if not fits)
        sentence = (
            f"{long.count:,} of {self.count:,} traces ({share:.1%}) are longer than student.max_tokens: {limit} and "
            f"are left out whole, none is cut; with them go about {self.lost_tokens / self.tokens:.1%} of the tokens "
            f"({self.lost_tokens:,}), and {lost:,} of {len(self.problems):,} problems lose every trace"
        )
        write = f"student: {{max_tokens: {-(-self.longest // 1024) * 1024}}}"
        if share <= refused and long.count < self.count:
            return Finding(code, "warning", sentence, long.first, write, long.count)
        if long.count < self.count:
            sentence += f"; that is more than student.max_too_long: {refused:g} allows"
            write += f", or max_too_long: {min(1.0, -(-share * 100 // 1) / 100):g} to train without them"
        return Finding(code, "error", sentence, long.first, write, long.count)

    def _beyond(self, context: int) -> Finding:
        code, beyond = "beyond-context", self.beyond
        if not beyond.count:
            return Finding(
                code, "ok", f"no trace to be trained on is longer than the base's context of {context:,} tokens"
            )
        return Finding(
            code,
            "warning",
            f"{beyond.count:,} of {self.count:,} traces are longer than the base's context of {context:,} tokens, "
            "where its positions are unknown to it",
            beyond.first,
            f"student: {{max_tokens: {context}}}",
            beyond.count,
        )

    def _in_texts(self, code: str, tally: Tally, fact: str, harm: str, write: str) -> Finding:
        if not tally.count:
            return Finding(code, "ok", f"none of {self.count:,} traces {fact}")
        level: Level = "error" if code == "no-reasoning" and tally.count == self.count else "warning"
        sentence = f"{tally.count:,} of {self.count:,} traces {fact}{harm}"
        return Finding(code, level, sentence, tally.first, write, tally.count)


class Even:
    """An even sample of a stream whose length is not known: every trace, then every second, fourth, eighth …"""

    def __init__(self, most: int, characters: int) -> None:
        self.most, self.characters = most, characters
        self.kept: list[Trace] = []
        self._seen, self._stride, self._sum = 0, 1, 0

    def add(self, trace: Trace) -> None:
        """Takes the trace, or lets it go by."""
        if self._seen % self._stride == 0:
            self.kept.append(trace)
            self._sum += _characters(trace)
        self._seen += 1
        while len(self.kept) > 1 and (len(self.kept) > self.most or self._sum > self.characters):
            self.kept, self._stride = self.kept[::2], self._stride * 2
            self._sum = sum(map(_characters, self.kept))


def _texts(trace: Trace) -> tuple[str, str, str]:
    return trace.problem.prompt, trace.completion.reasoning, trace.completion.answer


def _characters(trace: Trace) -> int:
    return sum(map(len, _texts(trace)))


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "replace"))
