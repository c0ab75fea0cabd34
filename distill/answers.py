"""Final answers inside texts: what stands in the last `\\boxed{}`, and the answer in a worked reference solution."""

import re

_BOXED = re.compile(r"\\(?:boxed|fbox)\s*\{")
_GSM8K = re.compile(r"####\s*(.+?)\s*$", re.MULTILINE)
_MAX_SCAN = 100_000  # characters from the end; hostile text may be megabytes long


def boxed(text: str) -> list[str]:
    """What stands in each `\\boxed{…}`, in order; an unclosed box is none. Looks at the last 100,000 characters."""
    text = text[-_MAX_SCAN:]
    found: list[str] = []
    end_of_last = 0
    for match in _BOXED.finditer(text):
        if match.start() < end_of_last:
            continue
        depth, at = 1, match.end()
        while at < len(text) and depth:
            depth += {"{": 1, "}": -1}.get(text[at], 0) if text[at - 1] != "\\" else 0
            at += 1
        if depth:
            break
        found.append(text[match.end() : at - 1].strip())
        end_of_last = at
    return found


def reference_answer(text: str) -> str:
    """The answer in a reference: after GSM8K's `####` (thousands separators taken out), in MATH's last `\\boxed{}`,
    or the text itself. Empty when there is none."""
    marked = _GSM8K.findall(text)
    if marked:
        answer: str = marked[-1].strip()
        return answer.replace(",", "") if re.fullmatch(r"-?\$?[\d,]+(\.\d+)?%?", answer) else answer
    boxes = boxed(text)
    return boxes[-1] if boxes else text.strip()
