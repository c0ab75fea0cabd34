"""What can be wrong with a trace by its form alone: a trace in, a sentence about what is wrong out, or None."""

from distill import answers, think
from distill.records import Trace


def unfinished(trace: Trace) -> str | None:
    """Cut off by the token limit, or the thinking never closed."""
    if not trace.completion.unfinished:
        return None
    return "cut off by the token limit" if trace.completion.finish == "length" else "the reasoning was never closed"


def no_answer(trace: Trace) -> str | None:
    """Nothing after the reasoning."""
    return None if trace.completion.answer.strip() else "there is no answer"


def api_error(trace: Trace) -> str | None:
    """A server's error message in the place of an answer."""
    text = trace.completion.answer.strip()
    if answers.error_text(text, alone=not trace.completion.reasoning.strip()):
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
    """Longer than `max_tokens` by the teacher's own count, or by an estimate from the text."""
    if max_tokens is None:
        return None
    counted = trace.completion.probable_tokens
    return f"{counted:,} tokens" if counted > max_tokens else None
