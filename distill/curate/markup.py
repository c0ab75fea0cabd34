"""Tags and control tokens that stand in a text as letters: a text in, the first one that does not belong there, out.

Every pattern begins with a fixed sign and has bounds, so that the time is linear on any text.
"""

import re
from collections.abc import Set

_NAMES = "think(?:ing)?|thoughts?"
_PATTERNS = (
    re.compile(rf"<[\s/\\|]{{0,6}}(?:{_NAMES}|(?:begin|end)_of_(?:thought|solution))\b[^<\n]{{0,8}}"),
    re.compile(rf"&lt;\s?/?(?:{_NAMES})\b"),
    re.compile(r"\[/?think(?:ing)?\]"),
    re.compile(r"</?seed:think"),
    re.compile(r"think(?:ing)?>"),
)
"""Ways to spell a tag of reasoning other than R1's own two, and halves of them; in small letters."""

_OTHER_BRACKETS = re.compile("[＜◁〈《⟨]/?think")
_EMPTY = re.compile(r"<\s?[/\\]{1,2}\s?>")
_FIRST_LINE = re.compile(r"\s*[/#*_]{0,3}think(?:ing)?[*_.…:]{0,4}[ \t]*(?:\r?\n|\Z)")
_LINE = re.compile(r"\n[ \t]*/think[ \t]*(?:\n|\Z)")

_CHATML = "im_start|im_end|im_sep|endoftext|endofprompt|fim_prefix|fim_middle|fim_suffix|fim_pad|repo_name|file_sep"
_QWEN = (
    "object_ref_start|object_ref_end|box_start|box_end|quad_start|quad_end|vision_start|vision_end|vision_pad|image_pad"
)
_LLAMA = (
    "begin_of_text|end_of_text|start_header_id|end_header_id|header_start|header_end|eot_id|eom_id|eot|eom|python_tag"
    "|python_start|python_end|finetune_right_pad_id|finetune_right_pad|reserved_special_token_[0-9]{1,3}"
)
_DEEPSEEK = "begin[▁_]of[▁_]sentence|end[▁_]of[▁_]sentence|User|Assistant|EOT"
_PHI = "system|user|assistant|end|endofsystem|endofuser|tool|observation|dummy_[0-9]{1,2}"
_OPENAI = "start|message|channel|return|call|constrain"
_COHERE = "START_OF_TURN_TOKEN|END_OF_TURN_TOKEN|USER_TOKEN|CHATBOT_TOKEN|SYSTEM_TOKEN"
_BARRED = "|".join((_CHATML, _QWEN, _LLAMA, _DEEPSEEK, _PHI, _OPENAI, _COHERE))
_TURNS = "start_of_turn|end_of_turn|start_of_image|end_of_image|BOS_TOKEN|EOS_TOKEN|bos|eos|unk|pad|sop|eop"
_ANGLED = re.compile(
    rf"<(?:\|\s?(?:{_BARRED})\s?\|>|\|im_(?:start|end|sep)\b|｜[^<>｜\n]{{1,40}}｜>?|(?:{_TURNS})>|</?SYS>>|/s>)"
)
_SQUARE = re.compile(
    r"\[/?(?:INST|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|TOOL_CONTENT|SYSTEM_PROMPT|MODEL_SETTINGS|gMASK|sMASK)\]"
)
_BARE = re.compile(r"\s*(?:<s>|(?:assistant|model)[ \t]*\r?\n)")
"""What a template leaves at a text's beginning: Llama 2's `<s>`, or a role whose tokens were taken out around it."""

_CONTROL = 3
"""Characters that a control token has at least, to be told from a sign."""


def tag(text: str) -> str | None:
    """The first tag of reasoning in a text that is none of R1's own two in its own place, or half of one; else None.

    R1's own tags are taken out when a trace is read, so that any that are left are out of place.
    """
    small = text.lower()
    first = _FIRST_LINE.match(small)
    if first is not None:
        return first.group().strip()
    for pattern in _PATTERNS:
        found = pattern.search(small)
        if found is not None:
            return found.group().strip()
    found = _LINE.search(small) if "/think" in small else None
    if found is None and not text.isascii():
        found = _OTHER_BRACKETS.search(small)
    if found is not None:
        return found.group().strip()
    empty = _EMPTY.search(text)
    return None if empty is None or "<>" in text else empty.group()


def control(text: str, controls: Set[str]) -> str | None:
    """The first control token of a chat template that a text spells out, or None: of the student's own `controls`, or
    a known one of ChatML, Qwen, Llama, DeepSeek, Gemma, Mistral, Phi, gpt-oss, GLM or Command.

    Only known spellings count: `<|x|>` is a norm, and `|a|<|b|` a comparison.
    """
    for pattern in (_ANGLED, _SQUARE):
        found = pattern.search(text)
        if found is not None:
            return found.group()
    bare = _BARE.match(text)
    if bare is not None:
        return bare.group().strip()
    spelled = [token for token in controls if len(token.strip()) >= _CONTROL]
    there = tuple(beginning for beginning in {token[:2] for token in spelled} if beginning in text)
    return next((token for token in sorted(spelled) if token.startswith(there) and token in text), None)
