"""One problem's k answers, each with its mark, in; avg@k, pass@k, cons@k and the shares of what went wrong out.

Pure: no text is judged here, but for the form in which two wrong answers count as the same.
"""

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from math import comb

from distill.answers import boxes
from distill.curate_sections import Quality
from distill.repetition import repeats

RIGHT, WRONG, UNFINISHED, UNVERIFIED = "right", "wrong", "unfinished", "unverified"
METRICS = ("avg_at_k", "pass_at_k", "cons_at_k", UNFINISHED, UNVERIFIED, "repetition", "unboxed")
"""The names under which each document's metrics stand in lm-eval's samples."""

_LONGEST_NUMBER = 50  # characters; longer ones are compared as they are written
_LAYOUT = re.compile(r"\\(?:left|right|displaystyle|[!,;: ])|\$|(?<!\d) | (?!\d)|\{,\}|(?<=\d),(?=\d{3}(?!\d))")
_WRAPPED = re.compile(r"\\(?:text|textbf|mathrm|mathbf|mbox)\{([^{}]*)\}")
_FRACTION = re.compile(r"(-?)\\frac\{(\d+)\}\{(\d+)\}")
_NUMBER = re.compile(r"[-+]?(?:\d+(?:\.\d*)?|\.\d+|\d+/0*[1-9]\d*)")
_LABEL = re.compile(r"[(\[]?([a-z])[)\].:]?")


@dataclass(frozen=True)
class Mark:
    """What is known of one answer. `said` is what it votes for (`evals.votes`), empty where there is nothing;
    `repetition` says that it goes in circles, `unboxed` that it finished without a box or with broken tags."""

    mark: str
    said: str = ""
    repetition: bool = False
    unboxed: bool = False

    def dump(self) -> str:
        """As one line of JSON, which is what lm-eval's samples file keeps."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def load(cls, text: str) -> "Mark":
        """The inverse of `dump`; raises TypeError or ValueError for any other text."""
        return cls(**json.loads(text))


def measure(marks: Sequence[Mark]) -> dict[str, float]:
    """One problem's metrics, each from 0 to 1, under the names of `METRICS`. Only `right` counts as right.

    `unboxed` is the share of the finished answers, and 0 where none finished; the other shares are of all k. Raises
    ValueError where there is no answer.
    """
    if not marks:
        raise ValueError("a problem without an answer has no metrics")
    kinds = Counter(mark.mark for mark in marks)
    finished = len(marks) - kinds[UNFINISHED]
    unboxed = sum(mark.unboxed for mark in marks if mark.mark != UNFINISHED)
    return {
        "avg_at_k": kinds[RIGHT] / len(marks),
        "pass_at_k": pass_at(len(marks), kinds[RIGHT], len(marks)),
        "cons_at_k": cons_at(marks),
        UNFINISHED: kinds[UNFINISHED] / len(marks),
        UNVERIFIED: kinds[UNVERIFIED] / len(marks),
        "repetition": sum(mark.repetition for mark in marks) / len(marks),
        "unboxed": unboxed / finished if finished else 0.0,
    }


def pass_at(n: int, right: int, j: int) -> float:
    """The unbiased pass@j of n answers of which `right` are right: 1 - C(n - right, j) / C(n, j), the chance that j of
    them, drawn without replacement, hold a right one (Chen et al., 2021, arXiv 2107.03374, equation 1). pass@1 is the
    mean, and pass@n whether any is right. Raises ValueError unless 0 <= right <= n and 1 <= j <= n."""
    if not (0 <= right <= n and 1 <= j <= n):
        raise ValueError(f"pass@{j} of {n} answers with {right} right is not defined")
    return 1 - comb(n - right, j) / comb(n, j)


def cons_at(marks: Sequence[Mark]) -> float:
    """The score of the most frequent answer (cons@k; Wang et al., 2022, arXiv 2203.11171; R1's cons@64).

    Right answers all equal the reference and are one group; the others are grouped by what they said. Unfinished and
    empty answers vote for nothing. Where m groups are equally large and the right one is among them, it is 1/m.
    """
    votes = Counter(
        (mark.mark == RIGHT, "" if mark.mark == RIGHT else mark.said)
        for mark in marks
        if mark.mark == RIGHT or (mark.mark != UNFINISHED and mark.said)
    )
    if not votes:
        return 0.0
    most = max(votes.values())
    first = [right for (right, _), count in votes.items() if count == most]
    return sum(first) / len(first)


def said(answer: str) -> str:
    """The final answer in plain form: the last box, or the boxes that are one answer, or else the last line."""
    found = boxes(answer).joined
    if found:
        return plain(", ".join(box.text for box in found))
    lines = answer.strip().splitlines()
    return plain(lines[-1]) if lines else ""


def plain(text: str) -> str:
    """A final answer as it is compared with another: without layout, in small letters, and a number or an option in one
    of the ways to write it. It knows no mathematics beyond 1/2 = 0.5 = \\frac{1}{2}, 1,000 = 1000 and (B) = b."""
    text = " ".join(text.casefold().split())
    text = _WRAPPED.sub(r"\1", text.replace("dfrac", "frac").replace("tfrac", "frac"))
    text = _LAYOUT.sub("", text).removesuffix(".")
    text = _FRACTION.sub(r"\1\2/\3", text)
    if len(text) <= _LONGEST_NUMBER and _NUMBER.fullmatch(text):
        return str(Fraction(text))
    label = _LABEL.fullmatch(text)
    return label[1] if label else text


def loops(*parts: str) -> bool:
    """Whether any of the texts goes in circles, by the bounds that curation drops traces at."""
    bounds = Quality()
    for text in parts:
        found = repeats(text)
        if bounds.loop is not None and found.loop is not None and found.loop.weighed > bounds.loop:
            return True
        if bounds.repetition is not None and found.share > bounds.repetition:
            return True
    return False


def boxless(answer: str) -> bool:
    """Whether the answer stands in no box; one that never closes is none."""
    return not boxes(answer).boxes
