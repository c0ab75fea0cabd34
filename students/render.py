"""The one place where what is trained on is made: takes a tokenizer and a trace, gives token ids.

A trained text is the prompt, exactly as the generation engine sends it, then the reasoning, `</think>`, the answer and
the end-of-sequence token. Control tokens come from the template alone: `<|im_end|>` in a problem or a trace is text.
"""

from dataclasses import dataclass
from typing import Any

from distill import prompts, think
from distill.records import Trace


@dataclass(frozen=True)
class Rendered:
    """One document's token ids. The first `prompt_tokens` are the prompt, which is read and not trained."""

    ids: tuple[int, ...]
    prompt_tokens: int


def render(tokenizer: Any, trace: Trace) -> Rendered:
    """Prompt and completion of a trace as token ids; the prompt's are those that generation starts from.

    Needs a chat template and an end-of-sequence token, which `model.load_tokenizer` has checked.
    """
    prompt = prompts.prompt_ids(tokenizer, trace.problem.ask)
    ends_bare = not prompts.rendered(tokenizer, trace.problem.ask)[-1].isspace()
    parts = _completion_parts(trace, prompts.controls(tokenizer), opening_ends_bare=ends_bare)
    completion = [token for text, plain in parts for token in prompts.ids(tokenizer, text, plain)]
    return Rendered((*prompt, *completion, tokenizer.eos_token_id), len(prompt))


def _completion_parts(trace: Trace, controls: frozenset[str], opening_ends_bare: bool) -> list[tuple[str, bool]]:
    """The completion as (text, whether control tokens in it are plain text), in one part wherever that can be.

    The opening tag ends the prompt; `opening_ends_bare` says that no line break follows it there.
    """
    lead = "\n" if opening_ends_bare else ""
    reasoning, answer = f"{lead}{trace.completion.reasoning}\n", f"\n\n{trace.completion.answer}"
    if not prompts.holds(reasoning + answer, controls):
        return [(f"{reasoning}{think.CLOSE}{answer}", False)]
    if think.CLOSE not in controls:
        return [(f"{reasoning}{think.CLOSE}{answer}", True)]
    return [(reasoning, True), (think.CLOSE, False), (answer, True)]
