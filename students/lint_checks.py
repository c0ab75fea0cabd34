"""What is checked in rendered traces: takes a tokenizer and traces as training sees them, gives findings.

Nothing is rendered here a second way: the ids are those of `students.render`, the labels those that
`students.batches.collate` makes of them.
"""

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from distill import prompts, think
from distill.records import Trace, asked
from students.batches import IGNORED, collate
from students.documents import Document
from students.findings import Finding, Level
from students.render import render_all

AT_ONCE = 64
"""Traces that are rendered together."""
LEAST_KEPT = 0.5
"""A trained text with less than this share of the reasoning's letters has lost it; with more, a few were changed."""


@dataclass(frozen=True)
class Looked:
    """A trace as training sees it: its ids, for each of them the label (`IGNORED` where it is not trained), and the
    text that the trained labels read."""

    trace: Trace
    ids: Sequence[int]
    labels: Sequence[int]
    text: str

    @property
    def untrained(self) -> int:
        """How many ids stand before the first that is trained."""
        return next((at for at, label in enumerate(self.labels) if label != IGNORED), len(self.labels))


@dataclass(frozen=True)
class Check:
    """`wrong` says whether a trace offends; {bad}, {all}, {eos} and {bos} are filled in to the sentences."""

    code: str
    level: Level
    wrong: Callable[[Any, Looked], bool]
    good: str
    bad: str
    write: str


def look(tokenizer: Any, traces: Sequence[Trace]) -> list[Looked]:
    """The traces' real ids, and the labels that both layouts of a micro-batch give them."""
    looked = []
    for start in range(0, len(traces), AT_ONCE):
        some = traces[start : start + AT_ONCE]
        rendered = render_all(tokenizer, some)
        documents = [Document(torch.tensor(one.ids, dtype=torch.int32), one.prompt_tokens) for one in rendered]
        packed_T = collate(True, [documents])["labels"][0]
        pieces = packed_T.split([document.tokens for document in documents])
        for trace, one, document, piece_T in zip(some, rendered, documents, pieces, strict=True):
            padded_T = collate(False, [[document]])["labels"][0]
            labels: list[int] = piece_T.where(piece_T == padded_T, IGNORED).tolist()
            looked.append(looked_at(tokenizer, trace, one.ids, labels))
    return looked


def looked_at(tokenizer: Any, trace: Trace, ids: Sequence[int], labels: Sequence[int]) -> Looked:
    """Any ids and labels of a trace, with the text that is trained."""
    trained = [label for label in labels if label != IGNORED]
    text = tokenizer.decode(trained, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    return Looked(trace, ids, labels, text)


def check_rendering(tokenizer: Any, looked: Sequence[Looked]) -> list[Finding]:
    """Every check of `CHECKS` on every trace that was rendered; none where none was."""
    return [_outcome(check, tokenizer, looked) for check in CHECKS] if looked else []


def _outcome(check: Check, tokenizer: Any, looked: Sequence[Looked]) -> Finding:
    bad = [one for one in looked if check.wrong(tokenizer, one)]
    filled = {
        "bad": f"{len(bad):,}",
        "all": f"{len(looked):,}",
        "eos": repr(tokenizer.eos_token),
        "bos": repr(tokenizer.bos_token),
    }
    if not bad:
        return Finding(check.code, "ok", check.good.format(**filled))
    first = bad[0].trace.id
    return Finding(check.code, check.level, check.bad.format(**filled), first, check.write.format(**filled), len(bad))


def _reasoning_lost(tokenizer: Any, looked: Looked) -> bool:
    """The reasoning is not in the trained text, and the text has no room for most of it."""
    said, text = looked.trace.completion, _letters(looked.text)
    reasoning = _letters(said.reasoning)
    room = len(text) - len(_letters(said.answer)) - len(think.CLOSE)
    return reasoning not in text and room < LEAST_KEPT * len(reasoning)


def _text_changed(tokenizer: Any, looked: Looked) -> bool:
    """The trained text has most of the reasoning, but not letter for letter, or lacks a part of the answer."""
    said, text = looked.trace.completion, _letters(looked.text)
    whole = _letters(said.reasoning) in text and _letters(said.answer) in text
    return not whole and not _reasoning_lost(tokenizer, looked)


def _letters(text: str) -> str:
    """Without white space, and composed: what tokenizers may change without loss."""
    return "".join(unicodedata.normalize("NFC", text).split())


def _stop_untrained(tokenizer: Any, looked: Looked) -> bool:
    return not looked.labels or looked.labels[-1] != tokenizer.eos_token_id


def _prefix_differs(tokenizer: Any, looked: Looked) -> bool:
    """What stands before the first trained token is not what generation starts from."""
    return list(looked.ids[: looked.untrained]) != prompts.prompt_ids(tokenizer, looked.trace.problem.ask)


def _double_bos(tokenizer: Any, looked: Looked) -> bool:
    bos = tokenizer.bos_token_id
    return bos is not None and list(looked.ids[:2]) == [bos, bos]


def _control_injected(tokenizer: Any, looked: Looked) -> bool:
    """A control token that neither the template nor the layout put there."""
    spelled = prompts.controls(tokenizer)
    tokens = {tokenizer.convert_tokens_to_ids(control) for control in spelled}
    completion = [token for token in looked.ids[looked.untrained :] if token in tokens]
    expected = (1 if think.CLOSE in spelled else 0) + 1
    if len(completion) > expected:
        return True
    if not prompts.holds(looked.trace.problem.prompt, spelled):
        return False
    plain = prompts.prompt_ids(tokenizer, asked("?"))
    count = sum(1 for token in looked.ids[: looked.untrained] if token in tokens)
    return count != sum(1 for token in plain if token in tokens)


CHECKS = (
    Check(
        code="reasoning-lost",
        level="error",
        wrong=_reasoning_lost,
        good="the trained ids of {all} of {all} traces read back as their whole reasoning",
        bad="the reasoning is not in what is trained in {bad} of {all} traces",
        write="a base whose tokenizer can write every letter (byte-level ones can)",
    ),
    Check(
        code="text-changed",
        level="warning",
        wrong=_text_changed,
        good="no letter of {all} traces is changed by the tokenizer",
        bad="the tokenizer does not give {bad} of {all} traces back letter for letter: it lacks some of their letters",
        write="a base whose tokenizer can write every letter (byte-level ones can)",
    ),
    Check(
        code="stop-untrained",
        level="error",
        wrong=_stop_untrained,
        good="the last target of {all} of {all} traces is the end of the sequence, {eos}",
        bad="{bad} of {all} traces do not end with a trained {eos}, so that the student would never stop",
        write='"eos_token" in tokenizer_config.json: the token that ends an answer',
    ),
    Check(
        code="prefix-differs",
        level="error",
        wrong=_prefix_differs,
        good="the untrained prefix of {all} of {all} traces is, id for id, the prompt that generation starts from",
        bad="{bad} of {all} traces are trained after another prompt than the one that generation starts from",
        write="a chat_template.jinja that renders a user's turn the same way every time",
    ),
    Check(
        code="double-bos",
        level="error",
        wrong=_double_bos,
        good="none of {all} traces begins with two begin-of-sequence tokens",
        bad="{bad} of {all} traces begin with {bos} twice",
        write="a chat_template.jinja that writes {{{{ bos_token }}}} once",
    ),
    Check(
        code="control-injected",
        level="error",
        wrong=_control_injected,
        good="every control token in {all} traces is the template's own",
        bad="the text of {bad} of {all} traces became control tokens, which could end a turn or open another",
        write="a base with a tokenizer.json, whose tokenizer can read control tokens as plain letters",
    ),
)
