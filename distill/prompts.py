"""The prompt as token ids, for training and for generation alike: takes a tokenizer and a user's turn.

Control tokens come from the template alone: `<|im_end|>` spelled out in a problem or a trace is text, so that nothing
that comes from a data set can end a turn or open another.
"""

from typing import Any

from distill import think

_STAND_IN = "USERTURN7f3a9c51STANDIN"
"""Takes the user's place in the template where the user's text has to be tokenized apart."""


def rendered(tokenizer: Any, ask: str, *, opened: bool = True) -> str:
    """The template filled in with the user's turn, up to and with the opening tag; it ends as the template ends it
    where the thinking is not to be `opened`."""
    messages = [{"role": "user", "content": ask}]
    text: str = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    return think.open_prompt(text) if opened else text


def prompt_ids(tokenizer: Any, ask: str, *, opened: bool = True) -> list[int]:
    """Token ids of the rendered prompt: all at once, or the user's part by itself where it spells a control token."""
    prompt = rendered(tokenizer, ask, opened=opened)
    if not holds(ask, controls(tokenizer)):
        return ids(tokenizer, prompt, plain=False)
    before, stand_in, after = rendered(tokenizer, _STAND_IN, opened=opened).partition(_STAND_IN)
    if not stand_in:
        return ids(tokenizer, prompt, plain=True)
    parts = ((before, False), (ask, True), (after, False))
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
