"""What can be wrong with a trace by its form alone: a trace in, a sentence about what is wrong out, or None.

Each filter is a pure function, linear in the text on any text, and has its own reason in `records.REASONS`; `form` runs
them in that order, which is from cheap to dear. The thresholds of `distill.curate_sections.Quality` were measured: the
tests say how many of R1's real traces each filter drops.
"""

import re
from collections.abc import Iterator

from distill import answers
from distill.curate import language, markup, program
from distill.curate.scripts import UNSPACED, present
from distill.curate_sections import Quality
from distill.records import Trace, Verdict
from distill.repetition import repeats

_PAGE = re.compile(r"\s*<(?:!doctype html|html|\?xml)", re.IGNORECASE)
_TROUBLE = re.compile(
    r"\b[45]\d\d\b|error|gateway|unavailable|forbidden|denied|too many|not found|cloudflare|captcha|just a moment",
    re.IGNORECASE,
)
_RAISED = re.compile(
    r"traceback \(most recent call last\)"
    r"|(?:openai|litellm|httpx|aiohttp|requests|anthropic|urllib3|grpc)\.[\w.]{0,60}(?:error|exception)"
    r"|(?:api|rate_?limit|internal_?server|service_?unavailable|bad_?request|authentication|not_?found)\w{0,20}error\b"
    r"|(?:an )?upstream (?:provider |server )?error|the server (?:had an error|is overloaded)"
    r"|(?:an )?(?:unexpected |internal )?error (?:has )?occurred (?:while|during|when) (?:process|generat|call)ing"
    r"|this model's maximum context length|\[\s*\{\s*[\"']error[\"']\s*:"
    r"|\{\s*[\"'](?:object|type|code|status)[\"']\s*:\s*(?:[\"']error|[\"']?[45]\d\d\b)",
    re.IGNORECASE,
)
_MESSAGE = 600
"""Characters; what a program says of its trouble is no longer."""

_HEAD = 2000
"""Characters in which an error page says what it is."""

_NOTHING = re.compile(r"\w")
_SHORT_LINE = 60
"""Characters; a shorter line is an item of a list, a formula, or the last line of a paragraph."""

_ITEM = re.compile(r"\s*(?:[-*+•·>|#]|\d{1,4}[.):]|\(?[a-zA-Z0-9]{1,3}\)|\*\*|\$\$|\\[\[\]])")
_LETTER = re.compile(f"[{UNSPACED}]")
_WORD = 20
"""Letters that a word has at most, and with more it is several: a wall of letters without spaces is a paragraph too."""


def form(trace: Trace, section: Quality, controls: frozenset[str]) -> Verdict | None:
    """The verdict on a trace of the first filter that applies, in the order of `records.REASONS`; None if none does.

    `controls` are the spellings of the control tokens of the student's own tokenizer. The bounds in tokens are not
    among these filters: they need the trace's tokens.
    """
    for reason, detail in _findings(trace, section, controls):
        if detail is not None:
            return Verdict(False, reason, detail)
    return None


def _findings(trace: Trace, section: Quality, controls: frozenset[str]) -> Iterator[tuple[str, str | None]]:
    """(reason, what is wrong or None), one filter after the other and no further than is asked for."""
    yield "unfinished", unfinished(trace)
    yield "no_answer", no_answer(trace)
    yield "api_error", api_error(trace)
    yield "no_reasoning", no_reasoning(trace)
    yield "broken_tags", broken_tags(trace)
    yield "special_tokens", special_tokens(trace, controls)
    yield "code", code(trace, section.code)
    yield "long_paragraph", long_paragraph(trace, section.paragraph_words)
    yield "repetition", repetition(trace, section.repetition, section.loop)
    yield "mixed_language", mixed_language(trace, section.foreign)


def unfinished(trace: Trace) -> str | None:
    """Cut off by the token limit, or the thinking never closed."""
    if not trace.completion.unfinished:
        return None
    return "cut off by the token limit" if trace.completion.finish == "length" else "the reasoning was never closed"


def no_answer(trace: Trace) -> str | None:
    """Nothing after the reasoning."""
    return None if trace.completion.answer.strip() else "there is no answer"


def api_error(trace: Trace) -> str | None:
    """A server's error message in the place of an answer: what `answers.error_text` knows, a page of HTML that speaks
    of trouble, however long, and the words in which programs report a failed call."""
    text = trace.completion.answer.strip()
    head = text[:_HEAD]
    page = _PAGE.match(head) is not None and _TROUBLE.search(head) is not None
    raised = len(text) <= _MESSAGE and _RAISED.match(head) is not None
    if page or raised or answers.error_text(text, alone=not trace.completion.reasoning.strip()):
        return f"the answer is an error message: {text[:80]!r}"
    return None


def no_reasoning(trace: Trace) -> str | None:
    """Reasoning without a letter or a digit. Where broken tags hide it, they are what is wrong."""
    if _NOTHING.search(trace.completion.reasoning) or markup.tag(trace.completion.answer) is not None:
        return None
    return "there is no reasoning"


def broken_tags(trace: Trace) -> str | None:
    """Tags out of order, doubled or nested, tags left in the reasoning or the answer, halves of tags such as ` </>`,
    a first line `think` without brackets, and other spellings such as `<thinking>` or `<\\/think>`."""
    for part, text in (("reasoning", trace.completion.reasoning), ("answer", trace.completion.answer)):
        found = markup.tag(text)
        if found is not None:
            return f"a broken tag stands in the {part}: {found!r}"
    return None if trace.completion.clean else "the think tags are out of order"


def special_tokens(trace: Trace, controls: frozenset[str]) -> str | None:
    """Control tokens spelled out in the prompt, the reasoning or the answer: the student's own `controls`, or known
    ones of other chat templates."""
    parts = {
        "prompt": trace.problem.prompt,
        "reasoning": trace.completion.reasoning,
        "answer": trace.completion.answer,
    }
    for part, text in parts.items():
        found = markup.control(text, controls)
        if found is not None:
            return f"a control token stands in the {part}: {found!r}"
    return None


def code(trace: Trace, mode: str) -> str | None:
    """Program text in the reasoning or the answer, fenced or not, unless `mode` is keep. LaTeX, formulas and a `name`
    between backticks are none."""
    if mode == "keep":
        return None
    for part, text in (("reasoning", trace.completion.reasoning), ("answer", trace.completion.answer)):
        found = program.first_line(text)
        if found is not None:
            return f"a program stands in the {part}: {found!r}"
    return None


def long_paragraph(trace: Trace, paragraph_words: int | None) -> str | None:
    """A paragraph of more than `paragraph_words` words. An empty line, a short one and an item of a list end one, so
    that a list of facts is none."""
    if paragraph_words is None:
        return None
    for text in (trace.completion.reasoning, trace.completion.answer):
        for paragraph in _paragraphs(text):
            words = sum(map(_count, paragraph)) if sum(map(len, paragraph)) > paragraph_words else 0
            if words > paragraph_words:
                return f"a paragraph of {words:,} words: {paragraph[0].strip()[:60]!r}"
    return None


def repetition(trace: Trace, share: float | None, loop: int | None) -> str | None:
    """A passage that stands more than `loop` times in a row, or more than `share` (0 to 1) of the words of the
    reasoning, or of the answer, in sequences that were there before. An answer may say again what the reasoning says;
    passages of fewer than four words, and of numbers alone, must stand more often."""
    if share is None and loop is None:
        return None
    for part, text in (("reasoning", trace.completion.reasoning), ("answer", trace.completion.answer)):
        found = repeats(text)
        if loop is not None and found.loop is not None and found.loop.weighed > loop:
            return f"a passage stands {found.loop.times:,} times in a row in the {part}: {found.loop.passage[:80]!r}"
        if share is not None and found.share > share:
            return f"{found.share:.0%} of the words of the {part} were there before"
    return None


def mixed_language(trace: Trace, share: float | None) -> str | None:
    """More than `share` (0 to 1) of the words in another language than most of the trace, or a problem in one language
    and its reasoning in another."""
    if share is None:
        return None
    said = trace.completion
    return language.mixed(trace.problem.prompt, f"{said.reasoning}\n\n{said.answer}", share)


def too_short(tokens: int, min_tokens: int | None) -> str | None:
    """Shorter than `min_tokens`, counted by the student's tokenizer."""
    return f"{tokens:,} tokens" if min_tokens is not None and tokens < min_tokens else None


def too_long(tokens: int, max_tokens: int | None) -> str | None:
    """Longer than `max_tokens`, counted by the student's tokenizer."""
    return f"{tokens:,} tokens" if max_tokens is not None and tokens > max_tokens else None


def _paragraphs(text: str) -> Iterator[list[str]]:
    """The lines of each paragraph: long lines in a row, none but the first of which begins an item."""
    current: list[str] = []
    for line in text.split("\n"):
        if current and _ITEM.match(line):
            yield current
            current = []
        current.append(line)
        if len(line) < _SHORT_LINE:
            yield current
            current = []
    if current:
        yield current


def _count(line: str) -> int:
    """The words of a line; two letters are one in scripts without spaces."""
    spaced = len(line.split())
    letters = len(_LETTER.findall(line)) if present(line) else 0
    return max(spaced + letters // 2, len(line) // _WORD)
