"""Plain numbers, as they stand in final answers: a text in, its value or None out; comparing is exact, and takes
microseconds.

`\\$1{,}000`, `540 \\text{ meters}`, `-3.50`, `35\\%` and `90^\\circ` are plain numbers; everything that must be
computed is not. math-verify reads nearly all of these just so; where it does not, `Number.beyond` names what was
overlooked (one of `LENIENCES`), so that a judgement can say it.
"""

import re
from dataclasses import dataclass
from decimal import Decimal

LENIENCES = ("unit", "thousands separator", "percent or degree sign", "full stop", "formatting", "decimal comma")
"""What a number may be written with here, although math-verify reads another number, or none."""

_LONGEST = 120  # characters; a number with its unit is no longer
_PLAIN = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{1,12})?")
_NUMBER = re.compile(
    r"(?P<sign>[-+]?) ?\$? ?(?P<minus>-?)"
    r"(?:(?P<digits>[1-9][0-9]{0,2}(?:,[0-9]{3}){1,4}(?![0-9])|[0-9]{1,15})(?P<part>\.[0-9]{1,12})?"
    r"|(?P<bare>\.[0-9]{1,12}))"
)
_WRAPPED = re.compile(r"\\(?:text|mathrm|mathbf|textbf|mbox)\s?\{([^{}]*)\}|\{([^{}]*)\}|\$([^$]*)\$|\\\((.*)\\\)")
_MARKED_UNIT = re.compile(r"\\(?:text|mathrm|textbf|mbox)\s?\{([^{}]*)\} ?(?:\^ ?(?:\d|\{\d\}))?")
_SPACED_GROUPS = re.compile(r"([-+]?[1-9][0-9]{0,2})((?: [0-9]{3}){1,4})(?! ?[0-9])")
_DEGREE = re.compile(r" ?\^ ?(?:\\circ|\{ ?\\circ ?\})")
_WORD = re.compile(r"[A-Za-z]+")
_UNIT = re.compile(r"[A-Za-z .,/°²³'()~-]*")
_BARE_UNIT = re.compile(r" [A-Za-z]{3,20}(?:[ /-][A-Za-z]{3,20}){0,4}")
_CURRENCY = "£€¥₹"
_NO_UNIT = frozenset(
    "million millions billion trillion thousand thousands hundred hundreds dozen dozens score half halves third thirds "
    "quarter quarters fourth fourths fifth fifths tenth tenths hundredth hundredths thousandth thousandths pct "
    "percent percentage or and not to minus plus times squared cubed pi sqrt over factorial mod base point less more "
    "than am pm a.m p.m sin cos tan sec csc cot log exp max min gcd lcm sum alpha beta gamma delta theta lambda omega "
    "phi inf infinity remainder except either nor but is are".split()
)
"""Words that change the number before them, or that say more than in what it counts."""


@dataclass(frozen=True)
class Number:
    """A value; `sign` is `%` or nothing; `beyond` one of `LENIENCES`, or empty where math-verify reads the same."""

    value: Decimal
    sign: str = ""
    beyond: str = ""

    @property
    def whole(self) -> bool:
        return self.value == self.value.to_integral_value()


def read(text: str) -> Number | None:
    """The number that a text is, whatever its unit; None where it is no plain number."""
    text = text.strip()
    if len(text) < 30 and _PLAIN.fullmatch(text):
        return Number(Decimal(text))
    if not text or len(text) > _LONGEST or not any(character.isdecimal() for character in text):
        return None
    bare = _unwrapped(text)
    plain, beyond = _cleared(bare)
    found = _NUMBER.match(plain)
    if found is None or (found["sign"] and found["minus"]):
        return None
    known = _rest(plain[found.end() :])
    if known is None:
        return None
    digits = found["bare"] or found["digits"].replace(",", "") + (found["part"] or "")
    value = Decimal(digits) * (-1 if "-" in (found["sign"], found["minus"]) else 1)
    sign, more = known
    if "," in found[0] and (bare != text or plain.lstrip("-$") != f"{found['digits']}{found['part'] or ''}"):
        more = more or "thousands separator"
    if sign and (value < 0 or value % 1):
        more = "percent or degree sign"
    if bare != text and value % 1:
        more = more or "formatting"
    return Number(value, sign, beyond or more)


def decimal_comma(text: str) -> Number | None:
    """The number where a comma parts the decimals: `1,22` and `0,125`, but neither `1,000` nor `1, 22`, which may be a
    list."""
    found = re.fullmatch(r"(-?(?:0(?=,[0-9]{3}$)|[0-9]{1,15}(?!,[0-9]{3}$))),([0-9]{1,12})", text.strip())
    return Number(Decimal(f"{found[1]}.{found[2]}"), beyond="decimal comma") if found else None


def same(gold: Number, said: Number) -> bool | None:
    """Whether two plain numbers are one; None where math-verify must tell, since it compares with a tolerance of six
    decimals, and takes 35% for 35 and for 0.35.

    A percentage with decimals, or below one, is right only as the same percentage: 0.5% is not 0.5.
    """
    if gold.value == said.value:
        if gold.sign == said.sign or (gold.whole and gold.value):
            return True
        return True if abs(gold.value) >= 1 else None
    if gold.sign or said.sign or abs(gold.value - said.value) <= Decimal("0.00001"):
        return None
    return False


def _unwrapped(text: str) -> str:
    """Without what stands around all of it: dollar signs, braces, `\\text{}`, `\\(` and `\\)`."""
    for _ in range(3):
        found = _WRAPPED.fullmatch(text)
        if found is None:
            return text
        text = next(part for part in found.groups() if part is not None).strip()
    return text


def _cleared(text: str) -> tuple[str, str]:
    """A text with LaTeX's spaces and separators written plainly, and what had to be overlooked."""
    text = text.replace("\\!", "").replace("{,}", ",").replace("\\$", "$").replace("\u2212", "-")
    text = text.removeprefix("\\displaystyle").removeprefix("\\pounds")
    beyond = "unit" if "~" in text or text[:1] in _CURRENCY else ""
    text = re.sub(r"\\[,;: ]|~|\\q?quad(?![A-Za-z])", " ", text.lstrip(_CURRENCY))
    text = " ".join(text.split())
    if text.endswith(".") and text[-2:-1].isdecimal():
        text, beyond = text[:-1], "full stop"
    groups = _SPACED_GROUPS.match(text)
    if groups:
        text, beyond = groups[1] + groups[2].replace(" ", "") + text[groups.end() :], "thousands separator"
    return text, beyond


def _rest(rest: str) -> tuple[str, str] | None:
    """What stands behind the digits: (`%` or nothing, what math-verify does not overlook); None where it is no unit."""
    degree = _DEGREE.match(rest)
    if degree:
        rest = rest[degree.end() :]
    if not rest:
        return "", ""
    if rest.strip() in ("\\%", "%"):
        return "%", ""
    if rest.strip() == "°":
        return "", "percent or degree sign"
    if rest.strip() in ("$", *_CURRENCY):
        return "", "" if "$" in rest else "unit"
    marked = _MARKED_UNIT.fullmatch(rest.strip())
    if marked:
        return ("", "") if _is_unit(marked[1]) else None
    return ("", "unit") if _BARE_UNIT.fullmatch(rest) and _is_unit(rest) else None


def _is_unit(text: str) -> bool:
    words = {word.casefold() for word in _WORD.findall(text)}
    return bool(_UNIT.fullmatch(text)) and not words & _NO_UNIT
