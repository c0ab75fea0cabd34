"""Prompts and completions as token ids, for training, scoring and generation alike: takes a tokenizer and texts.

Control tokens come from the template alone: `<|im_end|>` spelled out in a problem or a trace is text, so that nothing
that comes from a data set can end a turn or open another.
"""

from typing import Any

from distill import think

Part = tuple[str, bool]
"""A text, and whether control tokens that it spells are plain text."""
_STAND_IN = "USERTURN7f3a9c51STANDIN"
"""Takes the user's place in the template where the user's text has to be tokenized apart."""


def rendered(tokenizer: Any, ask: str, *, opened: bool = True) -> str:
    """The template filled in with the user's turn, up to and with the opening tag; it ends as the template ends it
    where the thinking is not to be `opened`."""
    messages = [{"role": "user", "content": ask}]
    text: str = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    return think.open_prompt(text) if opened else text


def prompt_ids(tokenizer: Any, ask: str, *, opened: bool = True) -> list[int]:
    """Token ids of the rendered prompt."""
    return _joined(tokenizer, prompt_parts(tokenizer, ask, opened=opened))


def completion_ids(tokenizer: Any, ask: str, reasoning: str, answer: str) -> list[int]:
    """Token ids of what follows the rendered prompt: the reasoning, `</think>`, the answer, the end of the sequence."""
    return [*_joined(tokenizer, completion_parts(tokenizer, ask, reasoning, answer)), tokenizer.eos_token_id]


def prompt_parts(tokenizer: Any, ask: str, *, opened: bool = True) -> list[Part]:
    """The rendered prompt, to be tokenized part by part: in one, or the user's by itself where it spells a control
    token."""
    prompt = rendered(tokenizer, ask, opened=opened)
    if not holds(ask, controls(tokenizer)):
        return [(prompt, False)]
    before, stand_in, after = rendered(tokenizer, _STAND_IN, opened=opened).partition(_STAND_IN)
    return [(before, False), (ask, True), (after, False)] if stand_in else [(prompt, True)]


def completion_parts(tokenizer: Any, ask: str, reasoning: str, answer: str) -> list[Part]:
    """The completion without the end of the sequence, in one part wherever that can be.

    The opening tag ends the prompt; the line break after it stands there, or else begins the completion.
    """
    lead = "" if rendered(tokenizer, ask)[-1].isspace() else "\n"
    before, after = f"{lead}{reasoning}\n", f"\n\n{answer}"
    spelled = controls(tokenizer)
    if not holds(before + after, spelled):
        return [(f"{before}{think.CLOSE}{after}", False)]
    if think.CLOSE not in spelled:
        return [(f"{before}{think.CLOSE}{after}", True)]
    return [(before, True), (think.CLOSE, False), (after, True)]


def _joined(tokenizer: Any, parts: list[Part]) -> list[int]:
    return [token for text, plain in parts for token in ids(tokenizer, text, plain)]


def ids(tokenizer: Any, text: str, plain: bool) -> list[int]:
    """Token ids of a text without any added BOS; `plain` reads control tokens as the letters they are made of."""
    return list(tokenizer(text, add_special_tokens=False, split_special_tokens=plain)["input_ids"])


def controls(tokenizer: Any) -> frozenset[str]:
    """The spellings of the tokenizer's control tokens."""
    added = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    return frozenset(added | set(tokenizer.all_special_tokens))


def holds(text: str, spelled: frozenset[str]) -> bool:
    """Whether a control token is spelled out in a text."""
    return any(control in text for control in spelled)
