"""What a final answer looks like before anybody reads it: its normal form, and whether it is too broken to be read.

Everything here is linear in the text, so that it may run on hostile answers without a clock.
"""

import re
from collections import Counter

MAX_DEPTH = 20
"""Braces and brackets inside each other; the answers of MATH (7,974 of them) have at most 3, and math-verify's time
grows exponentially from about 12 on."""

MAX_DIGITS = 1_000
"""Digits in a row; Python itself refuses to read more than 4,300 as a number."""

MAX_EXPONENT = 100_000
"""What a number may be raised to; beyond that sympy gives up in silence, or fills the memory."""

_POWERS = re.compile(r"[0-9]{1,20}(?:[)} ]{0,9}(?:\^|\*\*)[{( ]{0,9}-?[0-9]{1,20})+")
_SIGN = re.compile(r"\\.|[{}()\[\]]", re.DOTALL)
_PAIRED = re.compile(r"\\(?:(?:left|right|begin|end)(?![A-Za-z])|.)", re.DOTALL)
_DIGITS = re.compile(rf"(?<![0-9])[0-9]{{{MAX_DIGITS + 1}}}")
_WRAPPED = re.compile(r"\\(?:text|textbf|textit|textrm|texttt|mathrm|mathbf|mathit|mbox|operatorname) ?\{([^{}]*)\}")
_SPACES = re.compile(r"\\[,;:! ]|~|\\q?quad(?![A-Za-z])|\\(?:displaystyle|left|right)(?![A-Za-z])")
_SHORT_FRACTION = re.compile(r"\\frac ?([0-9]) ?([0-9])(?![0-9])")
_GAP = re.compile(r"(?<![A-Za-z0-9]) +| +(?![A-Za-z0-9])")


def written(text: str) -> str:
    """The normal form of LaTeX: two texts with the same one differ in writing alone.

    Without dollar signs around, sizes of brackets and fractions, `\\text{}`, a full stop at the end, and white space;
    a gap between two letters or digits stays, for `1 2` is not `12`.
    """
    text = text.strip().strip("$").strip()
    text = re.sub(r"\\[dtc]frac(?![A-Za-z])", r"\\frac", _SPACES.sub(" ", text))
    for _ in range(2):
        text = _WRAPPED.sub(r" \1 ", text)
    text = _SHORT_FRACTION.sub(r"\\frac{\1}{\2}", " ".join(text.split()))
    text = _GAP.sub("", text.removesuffix("."))
    return text.removesuffix(".").strip()


def too_much(text: str) -> str:
    """Why a text is not even tried, such as "nested 10,000 deep"; empty where nothing stands against it."""
    depth = deepest = 0
    for match in _SIGN.finditer(text):
        depth += 1 if match[0] in "{([" else -1 if match[0] in "})]" else 0
        deepest = max(deepest, depth)
        depth = max(depth, 0)
    if deepest > MAX_DEPTH:
        return f"nested {deepest:,} deep"
    if _DIGITS.search(text):
        return f"a number of more than {MAX_DIGITS:,} digits"
    return ""


def too_large(text: str) -> str:
    """Why the numbers in a text cannot be computed, such as 2^{2^{40}}; empty where they can."""
    for match in _POWERS.finditer(text):
        value = 1
        for number in reversed([int(digits) for digits in re.findall(r"[0-9]+", match[0])]):
            if value > MAX_EXPONENT and number > 1:
                return "a power that is too large"
            value = number**value if number < 2 or value * len(str(number)) < 20 else MAX_EXPONENT + 1
    return ""


def unbalanced(text: str, *, brackets: bool = False) -> str:
    """Which of a text's LaTeX does not close; empty where all does. With `brackets` as many brackets must close as
    open: `[0, 1)` is an interval, but `((1)` nothing. In sentences they may do as they like."""
    depth = 0
    for match in _SIGN.finditer(text):
        depth += {"{": 1, "}": -1}.get(match[0], 0)
        if depth < 0:
            break
    if depth:
        return "its braces do not close"
    signs = Counter(match[0] for match in _PAIRED.finditer(text))
    for begins, ends in (("\\left", "\\right"), ("\\begin", "\\end"), ("\\(", "\\)"), ("\\[", "\\]")):
        if signs[begins] != signs[ends]:
            return f"{begins} and {ends} do not match"
    if brackets:
        signs = Counter(match[0] for match in _SIGN.finditer(text))
        if signs["("] + signs["["] != signs[")"] + signs["]"]:
            return "its brackets do not close"
    return ""


def same_writing(gold: str, said: str) -> bool:
    """Whether two texts are the same LaTeX."""
    normal = written(said)
    return bool(normal) and normal == written(gold)
