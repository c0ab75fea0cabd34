"""The one place where what is trained on is made: takes a tokenizer and a trace, gives token ids.

A trained text is the prompt, exactly as the generation engine sends it, then the reasoning, `</think>`, the answer and
the end-of-sequence token. Control tokens come from the template alone: `<|im_end|>` in a problem or a trace is text.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from distill import prompts
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
    return render_all(tokenizer, [trace])[0]


def render_all(tokenizer: Any, traces: Sequence[Trace]) -> list[Rendered]:
    """The same for many traces, tokenized together, which the tokenizer does on all cores where it is allowed to."""
    parts = [_parts(tokenizer, trace) for trace in traces]
    flat = [part for prompt, completion in parts for part in (*prompt, *completion)]
    ids = iter(_tokenized(tokenizer, flat))
    made = []
    for prompt, completion in parts:
        prompt_ids = [token for _ in prompt for token in next(ids)]
        completion_ids = [token for _ in completion for token in next(ids)]
        made.append(Rendered((*prompt_ids, *completion_ids, tokenizer.eos_token_id), len(prompt_ids)))
    return made


def _parts(tokenizer: Any, trace: Trace) -> tuple[list[prompts.Part], list[prompts.Part]]:
    ask, said = trace.problem.ask, trace.completion
    prompt = prompts.prompt_parts(tokenizer, ask)
    return prompt, prompts.completion_parts(tokenizer, ask, said.reasoning, said.answer)


def _tokenized(tokenizer: Any, parts: Sequence[prompts.Part]) -> list[list[int]]:
    """Each part's ids, the plain ones in one call and the others in another."""
    ids: list[list[int]] = [[] for _ in parts]
    for wanted in (False, True):
        at = [place for place, (_, plain) in enumerate(parts) if plain is wanted]
        if at:
            texts = [parts[place][0] for place in at]
            made = tokenizer(
                texts, add_special_tokens=False, split_special_tokens=wanted, return_attention_mask=False, verbose=False
            )
            for place, one in zip(at, made["input_ids"], strict=True):
                ids[place] = one
    return ids
