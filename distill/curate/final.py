"""Which part of a text is its final answer: an answer in, a `Final` out, by the same rules for every kind of answer.

The reasoning never counts: what stands before the last `</think>` is cut, and an answer that opens `<think>` again, or
never closes it, is none at all. Then the last `\\boxed{}` counts. Boxes with nothing but "and", "or" or commas
between them are one answer together, so that `\\boxed{5} or \\boxed{6}` is no bet on either; of other boxes that
differ the last one counts, and `note` says so. A sentence "The final answer is $7$" behind the last box takes its
place, as in math-verify and in Minerva's format (Lewkowycz et al., 2022, arXiv 2206.14858, appendix D). Without any
box the last `<answer>…</answer>` counts, the format of R1-Zero (arXiv 2501.12948, table 1); and without either the
whole text is the final answer, to be read as its kind demands.
"""

import re
from dataclasses import dataclass

from distill import think
from distill.answers import boxes
from distill.curate import forms

_TAG = re.compile(r"<(/?)answer>", re.IGNORECASE)
_CLOSING = re.compile(
    r"final answer is:?[ *]{0,4}(?:([^\s*][^\n]{0,200}?)[. ]{0,5}I hope"
    r"|\$([^$\n]{1,200})\$|\\\(([^\n]{1,200}?)\\\)|(-?\$?[0-9](?:[0-9,.]{0,30}[0-9])?))",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Final:
    """`texts` are the boxes that count, one or several joined ones, or what is in the answer's tag; nothing where there
    is neither. `boxes` are all. `whole` is the text without its reasoning. `note` says what was decided between boxes
    that differ."""

    whole: str
    texts: tuple[str, ...]
    boxes: tuple[str, ...]
    unclosed: bool
    note: str

    @property
    def text(self) -> str:
        """The one text that is the answer: the joined boxes in a row, or the whole."""
        return ", ".join(self.texts) if self.texts else self.whole


def final(answer: str) -> Final | None:
    """The final answer in the text after the reasoning; None where the reasoning never ended."""
    answer = answer.rpartition(think.CLOSE)[2].strip()
    if think.OPEN in answer:
        return None
    found = boxes(answer)
    if not found.boxes:
        return Final(answer, _tagged(answer), (), found.unclosed, "")
    said = tuple(box.text for box in found.boxes)
    texts = tuple(dict.fromkeys(box.text for box in found.joined))
    closing = _CLOSING.findall(found.text, found.boxes[-1].end)
    if closing:
        texts = (next(part for part in closing[-1] if part).strip().strip("$"),)
    differ = len(set(said)) > 1 and len({forms.written(text) for text in said}) > 1
    note = "two different boxes, the last one counts" if differ and len(texts) == 1 and not closing else ""
    return Final(answer, texts, said, found.unclosed, note)


def _tagged(answer: str) -> tuple[str, ...]:
    """What stands in the last tag that is opened and closed, if it is anything."""
    tags = list(_TAG.finditer(answer))
    for opening, closing in zip(reversed(tags[:-1]), reversed(tags), strict=False):
        if not opening[1] and closing[1]:
            text = answer[opening.end() : closing.start()].strip()
            return (text,) if text else ()
    return ()
